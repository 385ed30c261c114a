//! The `fichierfs` command.
fn main() -> std::process::ExitCode {
    fichierfs::cli::main()
}
