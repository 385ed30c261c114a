//! The `fichierfs` command.
fn main() {}
