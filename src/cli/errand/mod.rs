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
use super::output::{agreed, printable, say};
use crate::config::AccountOptions;
use crate::errand::{Done, Errand, Target};
use anyhow::{anyhow, bail};
use serde::Serialize;
use session::Session;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use target::Named;

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

/// Runs an errand on each of `paths` and has `told` tell what came of it. One of several that fails is told and
/// passed over.
fn each(
    paths: &[OsString],
    given: &AccountOptions,
    json: bool,
    errand: impl Fn(Target) -> Errand,
    mut told: impl FnMut(Done) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let mut session = None;
    let mut failed = 0_u32;
    for typed in paths {
        let named = Named::parse(typed, given.account.as_ref())?;
        let done = Session::of(&named, given, session.take())
            .and_then(|(asked, of)| session.insert(asked).run(errand(of)));
        match done {
            Ok(done) => told(done)?,
            Err(why) if paths.len() > 1 => {
                tell_failed(json, &typed.to_string_lossy(), &why)?;
                failed += 1;
            }
            Err(why) => return Err(why.into()),
        }
    }
    if failed > 0 {
        return Err(anyhow!("{failed} failed, see above").into());
    }
    Ok(ExitCode::SUCCESS)
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
    if !agreed(&format!("{}. Go on?", printable(what)))? {
        bail!("nothing was changed");
    }
    Ok(())
}
