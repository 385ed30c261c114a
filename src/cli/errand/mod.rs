//! Commands that run an errand in the account: `link`, `share`, `protect`, `fetch`, `import`, `info`.
//!
//! A running mount is asked through its socket; else the command takes the account's lock and asks the
//! service itself. `target` says how files and folders are named, `session` who is asked.
pub mod fetch;
pub mod import;
pub mod info;
pub mod link;
pub mod protect;
mod secret;
mod session;
pub mod share;
mod target;

use super::exit::Failure;
use super::output::{printable, say};
use anyhow::{Context, bail};
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};

/// How files and folders are named, for the help of each command.
const NAMING: &str = "\
Files and folders are named by a path in a mount; by ACCOUNT:/PATH, from the account's root, mounted or \
not; with --account, all of them by their paths in that account. Files also by their links. A running \
mount of the account does the work; else the command does it itself, a call for each folder on the path.";

/// What is told of something that failed while others are gone on with.
#[derive(Serialize)]
struct Failed<'a> {
    path: &'a str,
    error: &'a str,
}

/// Tells one result: a line of JSON for programs, else `words`.
fn tell(json: bool, result: &impl Serialize, words: &str) -> Result<(), Failure> {
    let text = if json {
        crate::control::json_line(result)
    } else {
        words.lines().map(|line| printable(line) + "\n").collect()
    };
    say(&text).map(drop)
}

/// Tells that one of several failed; what it was is in `why`.
fn tell_failed(json: bool, path: &str, why: &anyhow::Error) -> Result<(), Failure> {
    let error = super::exit::sentence(why);
    log::warn!("{}", printable(&error));
    if json {
        let failed = Failed {
            path,
            error: &error,
        };
        say(&crate::control::json_line(&failed)).map(drop)?;
    }
    Ok(())
}

/// Asks a person whether `what` is meant; without a terminal, `--yes` must have been said.
fn confirm(what: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!("{what}; say --yes if that is meant");
    }
    // A person at a terminal sees this, or answers nothing.
    let _ = write!(io::stderr(), "{}. Go on? [y/N] ", printable(what));
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot hear the answer")?;
    if !matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}
