//! The command line: what a person types, and what a person is told.
//!
//! Promises: every failure is one line on standard error that says what failed, on what and what
//! to do, with an exit code of [`exit`]; no input makes the program panic. The parts below never
//! print; this module prints nothing but for them.
pub mod account;
pub mod bwlimit;
pub mod cache;
pub mod decide;
mod desk;
pub mod doctor;
pub mod dupes;
pub mod errand;
pub mod exit;
pub mod explain;
pub mod export_index;
mod files;
pub mod fstab;
pub mod helper;
pub mod login;
pub mod mount;
mod mounts;
mod output;
pub mod pages;
mod progress;
pub mod reference;
pub mod refresh;
mod service;
pub mod state;
pub mod status;
pub mod sync;
pub mod umount;
pub mod umount_helper;
pub mod warm;

use crate::logging::{self, Role, Verbosity};
use crate::util::paint::Paint;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::Failure;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// What stands below the help of `mount`.
const AFTER_HELP: &str = "\
The options below the headings can also be given with -o (-o cache_size=20GB), in the environment \
(FICHIERFS_CACHE_SIZE=20GB) and in the config file (cache-size = \"20GB\"). The command line goes \
first, then -o, the environment, the account's table in the config file, its top level.";

/// Mounts a 1fichier.com account as an ordinary drive.
#[derive(Debug, Parser)]
#[command(
    name = "fichierfs",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = false
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Tell more; twice: tell all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Tell errors only; what --json asks for is told all the same
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show an account in a folder
    Mount(Box<mount::Args>),
    /// Take a mount away and wait until its process has ended
    Umount(umount::Args),
    /// Show how mounts are doing: names, calls, contents, the account
    Status(status::Args),
    /// Look at a folder of a mount again, now: changes made elsewhere appear
    Refresh(refresh::Args),
    /// Wait until the account has everything that was written
    Sync(sync::Args),
    /// Try again what the account refused
    Retry(decide::RetryArgs),
    /// Give up changes that the account does not have
    Discard(decide::DiscardArgs),
    /// Bring files into the disk cache before anybody reads them
    Warm(warm::Args),
    /// Show, throw away or check what the disk cache holds
    Cache(cache::Args),
    /// Show or change how fast the downloads of a mount may be
    Bwlimit(bwlimit::Args),
    /// Show what is known of a file or folder, and why reads of it waited
    Explain(explain::Args),
    /// Find files that hold the same, and remove all but one of each
    Dupes(dupes::Args),
    /// Write names, sizes, hashes, dates and links of all files as a table
    ExportIndex(export_index::Args),
    /// Keep what exists on this machine only, or take it in: attributes, empty files
    State(state::Args),
    /// Print the public link of files and folders, or a direct one
    Link(errand::link::Args),
    /// Show or change who may see a folder: its public page, other accounts
    Share(errand::share::Args),
    /// Set the password or the description of a file
    Protect(errand::protect::Args),
    /// Have the service itself fetch addresses into the account
    Fetch(errand::fetch::Args),
    /// Take files of others into the account by their links, without a download
    Import(errand::import::Args),
    /// Show all the service knows of a file or folder
    Info(errand::info::Args),
    /// Ask for an account's API key, check it and keep it
    Login(login::Args),
    /// Show an account's kind, space and subscription
    Account(account::Args),
    /// Print the line of /etc/fstab for a mount
    Fstab(Box<fstab::Args>),
    /// Print what a shell completes commands and options with
    Completions(pages::CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(pages::ManArgs),
    /// Look whether this machine, the configuration and the account are fit for a mount, and say what to do
    Doctor(doctor::Args),
}

/// Runs the program with the arguments it was called with.
pub fn main() -> ExitCode {
    keep_memory_private();
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "fichierfs".into());
    let arguments: Vec<OsString> = arguments.collect();
    if helper::is_called(&name) {
        return helper::main(arguments);
    }
    if umount_helper::is_called(&name) {
        return umount_helper::main(arguments);
    }
    match parse(&arguments) {
        Ok(cli) => exit::report("fichierfs", run(cli, &arguments)),
        Err(err) => refuse(&err, &arguments),
    }
}

/// Keeps what is in memory, the key above all, out of core files and away from other processes of the same user
/// (docs/security.md). Not for programs that are started from here.
fn keep_memory_private() {
    if let Err(errno) = nix::sys::prctl::set_dumpable(false) {
        // Nobody listens to the log yet.
        let _ = writeln!(
            io::stderr(),
            "fichierfs: memory cannot be kept private: {errno}"
        );
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&matches(arguments)?)
}

fn matches(arguments: &[OsString]) -> Result<clap::ArgMatches, clap::Error> {
    let with_name = [OsString::from("fichierfs")]
        .into_iter()
        .chain(arguments.iter().cloned());
    declaration().try_get_matches_from(with_name)
}

/// Runs one command. `arguments` are the ones it came from, to start the program again with.
fn run(cli: Cli, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let verbosity = Verbosity {
        verbose: cli.verbose,
        quiet: cli.quiet,
    };
    if let Command::Mount(args) = cli.command {
        return mount::run(*args, verbosity, arguments);
    }
    logging::init(verbosity, Role::Command);
    // What --json prints is for a program, which asked for it.
    output::be_quiet(cli.quiet && !arguments.iter().any(|argument| argument == "--json"));
    match cli.command {
        Command::Mount(_) => Ok(ExitCode::SUCCESS),
        Command::Umount(args) => umount::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Refresh(args) => refresh::run(&args),
        Command::Sync(args) => sync::run(&args),
        Command::Retry(args) => decide::retry(&args),
        Command::Discard(args) => decide::discard(&args),
        Command::Warm(args) => warm::run(&args),
        Command::Cache(args) => cache::run(args),
        Command::Bwlimit(args) => bwlimit::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Dupes(args) => dupes::run(args),
        Command::ExportIndex(args) => export_index::run(args),
        Command::State(args) => state::run(args),
        Command::Link(args) => errand::link::run(&args),
        Command::Share(args) => errand::share::run(&args),
        Command::Protect(args) => errand::protect::run(&args),
        Command::Fetch(args) => errand::fetch::run(&args),
        Command::Import(args) => errand::import::run(&args),
        Command::Info(args) => errand::info::run(&args),
        Command::Login(args) => login::run(args),
        Command::Account(args) => account::run(args),
        Command::Fstab(args) => fstab::run(&args, arguments),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
        Command::Doctor(args) => doctor::run(args),
    }
}

/// The whole command line's declaration, for help texts and the reference.
pub fn declaration() -> clap::Command {
    Cli::command()
        .mut_subcommand("mount", |mount| mount.after_help(AFTER_HELP))
        .mut_subcommand("fstab", fstab::without_account_option)
}

/// Tells what clap has to tell: help where it was asked for, else one line.
fn refuse(err: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !err.use_stderr() {
        // Help or the version. A reader that has gone (`| head`) is none of our troubles.
        let mut out = io::stdout();
        let _ = if Paint::of(&out).is_on() {
            write!(out, "{}", err.render().ansi())
        } else {
            write!(out, "{}", err.render())
        };
        return ExitCode::SUCCESS;
    }
    let name = Paint::of(&io::stderr()).bad("fichierfs:");
    let _ = writeln!(io::stderr(), "{name} {}", one_line(err, arguments));
    ExitCode::from(exit::USAGE)
}

/// Clap's message about `arguments` without the usage it adds, in one line, with the help that says more.
pub(crate) fn one_line(err: &clap::Error, arguments: &[OsString]) -> String {
    let declaration = declaration();
    let (command, name) = meant(&declaration, arguments);
    let said = match err.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            missing(command)
        }
        _ => without_usage(&err.render().to_string()),
    };
    format!("{said} (see: {name} --help)")
}

/// The command that `arguments` begin with, and how it is called.
fn meant<'a>(
    declaration: &'a clap::Command,
    arguments: &[OsString],
) -> (&'a clap::Command, String) {
    let mut command = declaration;
    let mut name = declaration.get_name().to_owned();
    for argument in arguments {
        if let Some(found) = command.find_subcommand(argument) {
            name = format!("{name} {}", found.get_name());
            command = found;
        } else if !argument.to_string_lossy().starts_with('-') {
            break;
        }
    }
    (command, name)
}

/// What is said when `command` was typed without one of its own commands.
fn missing(command: &clap::Command) -> String {
    /// Commands named at most: more are better read in the help.
    const MOST: usize = 5;
    let names: Vec<&str> = command
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
        .map(clap::Command::get_name)
        .collect();
    if names.is_empty() || names.len() > MOST {
        return "a command is missing".to_owned();
    }
    format!("a command is missing: {}", names.join(", "))
}

fn without_usage(rendered: &str) -> String {
    let said = rendered
        .split("\n\nUsage:")
        .next()
        .unwrap_or_default()
        .split("\n\nFor more information")
        .next()
        .unwrap_or_default()
        .replace("\n\n  tip: ", "; ");
    let words: Vec<&str> = said.split_whitespace().collect();
    let said = words.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    said.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_declaration_is_sound() {
        declaration().debug_assert();
    }

    #[test]
    fn refusals_fit_in_one_line() {
        for (arguments, says, help) in [
            (
                vec!["mount", "--forground", "/x"],
                "'--forground' found; a similar argument exists: '--foreground' (",
                "fichierfs mount",
            ),
            (vec!["mount"], "MOUNTPOINT", "fichierfs mount"),
            (
                vec!["mount", "--cache-size", "lots", "/x"],
                "20GB",
                "fichierfs mount",
            ),
            (vec!["dance"], "dance", "fichierfs"),
            (vec![], "a command is missing (", "fichierfs"),
            (
                vec!["-v", "cache"],
                "a command is missing: status, clear, verify (",
                "fichierfs cache",
            ),
            (
                vec!["cache", "clear", "--all"],
                "--all",
                "fichierfs cache clear",
            ),
            (vec!["-v", "-q", "account"], "quiet", "fichierfs account"),
        ] {
            let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
            let line = one_line(&parse(&arguments).unwrap_err(), &arguments);
            assert!(line.contains(says), "{arguments:?}: {line}");
            let end = format!("(see: {help} --help)");
            assert!(line.ends_with(&end), "{arguments:?}: {line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(
            arguments in proptest::collection::vec("(mount|umount|-o|--|-v|--[a-z-]{0,9}|.{0,9})", 0..6)
        ) {
            let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
            if let Err(err) = parse(&arguments) {
                prop_assert!(!one_line(&err, &arguments).contains('\n'));
            }
        }
    }
}
