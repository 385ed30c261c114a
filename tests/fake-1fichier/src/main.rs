//! The fake service as a program.
fn main() {}
