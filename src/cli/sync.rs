//! `fichierfs sync`: waits until the account has everything that was written to mounts.
use super::exit::{self, Failure};
use super::files;
use super::mounts;
use super::output::{binary, printable, say};
use super::progress::Progress;
use crate::config::AccountName;
use crate::control::client::AskError;
use crate::control::unsent::FailedFigures;
use crate::control::{Answer, Client, Left, Request, Synced};
use anyhow::{Context, anyhow};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without arguments everything written to your mounts is waited for, also to those \
    that are gone and whose process still uploads. What a program has written and neither closed nor \
    flushed is not waited for. Ending the command ends the waiting only. The exit code is 1 when the \
    account did not take something. With --json each line is an object: \"progress\" and, for each \
    mount or path, \"done\"."
)]
pub struct Args {
    /// Files in a mount, or folders: all that is below
    #[arg(conflicts_with = "account")]
    pub paths: Vec<PathBuf>,

    /// The mount of this account
    #[arg(long, value_name = "NAME")]
    pub account: Option<AccountName>,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(serde::Serialize)]
struct Done<'a> {
    event: &'static str,
    path: &'a str,
    failed: u64,
    failures: &'a [FailedFigures],
    held_up: u64,
}

/// Waits.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut failed = 0;
    for given in &args.paths {
        let (path, mut client) = files::server(given)?;
        let what = || format!("cannot look at {}", path.display());
        let held = files::hold(&path).with_context(what)?;
        let inode = held.metadata().with_context(what)?.ino();
        failed += one(&mut client, Some(inode), &path.to_string_lossy(), args.json)?;
    }
    if args.paths.is_empty() {
        let mut servers = mounts::servers(args.account.as_ref())?;
        if servers.is_empty() && args.account.is_some() {
            return Err(anyhow!("no mount of that account runs").into());
        }
        for (client, pong) in &mut servers {
            failed += one(client, None, &pong.mountpoint, args.json)?;
        }
    }
    if failed > 0 {
        return Err(Failure::explained(exit::FAILURE));
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for one mount or path; how much failed there.
fn one(client: &mut Client, inode: Option<u64>, path: &str, json: bool) -> anyhow::Result<u64> {
    let mut progress = Progress::new(json);
    let answer = client
        .ask_long(&Request::Sync { inode }, |told| {
            if let Answer::Left(left) = told {
                show(&mut progress, path, left);
            }
        })
        .with_context(|| printable(path))?;
    let Answer::Synced(synced) = answer else {
        return Err(AskError::Malformed.into());
    };
    progress.wipe();
    progress.event(&Done {
        event: "done",
        path,
        failed: synced.failed,
        failures: &synced.failures,
        held_up: synced.held_up,
    });
    if !json {
        say(&words(path, &synced))
            .map_err(|failure| failure.why.unwrap_or_else(|| anyhow!("cannot write")))?;
    }
    Ok(synced.failed)
}

/// Shows how far it is: bytes, or what is left where no bytes are to be sent.
pub(super) fn show(progress: &mut Progress, path: &str, left: Left) {
    if left.of_bytes == 0 {
        progress.count(path, left.waiting);
    } else {
        progress.show(
            path,
            left.of_bytes - left.bytes.min(left.of_bytes),
            left.of_bytes,
        );
    }
}

/// What the account has, in words; what it did not take, a line for each.
fn words(path: &str, synced: &Synced) -> String {
    let path = printable(path);
    if synced.failed == 0 {
        return format!("{path}: the account has everything\n");
    }
    let mut text = String::new();
    for failure in &synced.failures {
        text.push_str(&printable(&format!("{}: {}", failure.path, failure.reason)));
        text.push('\n');
    }
    let more = synced.failed.saturating_sub(synced.failures.len() as u64);
    if more > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "and {more} more");
    }
    if synced.held_up > 0 {
        let _ = writeln!(text, "{} more wait for these", synced.held_up);
    }
    let _ = writeln!(
        text,
        "{path}: the account did not take {}; see: fichierfs retry --help, fichierfs discard --help",
        files::count(synced.failed)
    );
    text
}

/// What is left when somebody stops waiting.
pub(super) fn rest(left: Left) -> String {
    format!("{} of {}", binary(left.bytes), files::count(left.waiting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_named_with_what_to_do() {
        assert_eq!(
            words("/mnt\u{1b}", &Synced::default()),
            "/mnt?: the account has everything\n"
        );
        let text = words(
            "/mnt",
            &Synced {
                failed: 2,
                failures: vec![FailedFigures {
                    path: "a\nb".into(),
                    reason: "over quota".into(),
                }],
                held_up: 3,
            },
        );
        for says in [
            "a?b: over quota\n",
            "and 1 more",
            "3 more wait",
            "2 files",
            "discard",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
