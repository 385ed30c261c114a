//! `fichierfs warm`: brings files into the disk cache of their mount before anybody reads them.
//!
//! The mount fetches, behind everybody who reads; ending the command ends it.
use super::exit::Failure;
use super::files::{self, Stop};
use super::output::{binary, say};
use super::progress::Progress;
use crate::control::client::AskError;
use crate::control::{Answer, Request};
use anyhow::anyhow;
use std::path::PathBuf;
use std::process::ExitCode;

/// Bytes that `--edges` fetches of a file at most.
const EDGES: u64 = 8 << 20;

/// Arguments of `warm`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Fetching goes behind everybody who reads, and ends with the command. What is in \
    the cache already is not fetched. It stops before the cache would throw away what was fetched \
    first. With --json each line is an object: \"progress\", \"file\", \"failed\" and, at the end, \
    \"done\". The exit code is 1 when a file failed."
)]
pub struct Args {
    /// Files in a mount, or folders: all files below
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,

    /// Only the first and last 4 MiB of each file: what scanners look at, and what players need to
    /// start
    #[arg(long)]
    pub edges: bool,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    File {
        path: &'a str,
        bytes: u64,
        fetched_bytes: u64,
    },
    Failed {
        path: &'a str,
        message: &'a str,
    },
    Done {
        files: u64,
        failed: u64,
        bytes: u64,
        fetched_bytes: u64,
    },
}

/// Warms.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut progress = Progress::new(args.json);
    let (mut bytes, mut fetched, mut budget) = (0_u64, 0_u64, u64::MAX);
    let outcome = files::each(&args.paths, |client, file| {
        let wanted = if args.edges {
            file.size.min(EDGES)
        } else {
            file.size
        };
        if bytes.saturating_add(wanted) > budget {
            return Err(Stop::All(anyhow!(
                "the disk cache holds {} and is full of what was fetched now; {} and what follows \
                 are left out (enlarge --cache-size, or use --edges)",
                binary(budget),
                file.path.display()
            )));
        }
        let path = file.path.to_string_lossy();
        let request = Request::Warm {
            inode: file.inode,
            edges: args.edges,
        };
        let answer = client.ask_long(&request, |told| {
            if let Answer::Progress { done, total } = told {
                progress.show(&path, done, total);
            }
        });
        match answer {
            Ok(Answer::Warmed(warmed)) => {
                bytes = bytes.saturating_add(warmed.bytes);
                fetched = fetched.saturating_add(warmed.fetched_bytes);
                budget = warmed.budget_bytes;
                progress.event(&Event::File {
                    path: &path,
                    bytes: warmed.bytes,
                    fetched_bytes: warmed.fetched_bytes,
                });
                Ok(())
            }
            Ok(_) => Err(Stop::All(AskError::Malformed.into())),
            Err(AskError::Refused(message)) => {
                progress.wipe();
                progress.event(&Event::Failed {
                    path: &path,
                    message: &message,
                });
                Err(Stop::File(anyhow!(message)))
            }
            Err(other) => Err(Stop::All(other.into())),
        }
    })?;
    progress.wipe();
    progress.event(&Event::Done {
        files: outcome.files,
        failed: outcome.failed,
        bytes,
        fetched_bytes: fetched,
    });
    if !args.json {
        let text = format!(
            "{} of {} on disk, {} of it fetched now\n",
            binary(bytes),
            files::count(outcome.files),
            binary(fetched)
        );
        say(&text)?;
    }
    if outcome.failed > 0 {
        return Err(anyhow!("{} failed, see above", outcome.failed).into());
    }
    Ok(ExitCode::SUCCESS)
}
