//! `fichierfs retry` and `fichierfs discard`: what becomes of changes the account did not take.
use super::exit::Failure;
use super::files;
use super::mounts;
use super::output::{agreed, binary, printable, say};
use crate::config::AccountName;
use crate::control::client::AskError;
use crate::control::unsent::{Change, UnsentFigures};
use crate::control::{Answer, Client, Request, Unsent};
use anyhow::{Context, anyhow, bail};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take: it only writes down what was decided.
const LIMIT: Duration = Duration::from_secs(30);

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What the account refused waits for this: when the reason is gone (room was made, the \
    key replaced, the name changed), it is told again. Renaming or writing a file tries again, too."
)]
pub struct RetryArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
}

/// Arguments of `discard`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The bytes of a file that was written here and never uploaded are lost by this, so it \
    asks first. A removal or a move that was not told is undone: the file is shown where the account \
    has it. With paths, all changes of these that the account does not have are discarded, also those \
    still on their way; with --all only what the account refused."
)]
pub struct DiscardArgs {
    /// Which.
    #[command(flatten)]
    pub which: Which,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Which changes.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Files in a mount, or folders: all that is below
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub paths: Vec<PathBuf>,

    /// Everything the account refused, in all your mounts; what was removed here has no path any more
    #[arg(long)]
    pub all: bool,

    /// With --all: only in the mount of this account
    #[arg(long, value_name = "NAME", requires = "all")]
    pub account: Option<AccountName>,
}

/// Where something is decided: a mount, and a file or folder in it unless all is meant.
struct Target {
    name: String,
    client: Client,
    inode: Option<u64>,
    _held: Option<File>,
}

/// Tries again.
pub fn retry(args: &RetryArgs) -> Result<ExitCode, Failure> {
    let mut count = 0;
    for mut target in targets(&args.which)? {
        let inode = target.inode;
        count += decided(&mut target.client, &Request::Retry { inode })?;
    }
    if count == 0 {
        return say("nothing was refused\n");
    }
    say(&format!("{} tried again\n", files::count(count)))
}

/// Discards.
pub fn discard(args: &DiscardArgs) -> Result<ExitCode, Failure> {
    let mut count = 0;
    for mut target in targets(&args.which)? {
        let inode = target.inode;
        let asked = target.client.ask(&Request::Unsent { inode }, LIMIT)?;
        let Answer::Unsent(unsent) = asked else {
            return Err(AskError::Malformed.into());
        };
        if unsent.count == 0 {
            continue;
        }
        if !args.yes && !confirmed(&target.name, &unsent)? {
            return Err(anyhow!("nothing more was discarded").into());
        }
        count += decided(&mut target.client, &Request::Discard { inode })?;
    }
    if count == 0 {
        return say("there was nothing to discard\n");
    }
    say(&format!(
        "the changes of {} were discarded\n",
        files::count(count)
    ))
}

fn decided(client: &mut Client, request: &Request) -> Result<u64, AskError> {
    match client.ask(request, LIMIT)? {
        Answer::Decided { count } => Ok(count),
        _ => Err(AskError::Malformed),
    }
}

fn targets(which: &Which) -> anyhow::Result<Vec<Target>> {
    if which.all {
        let servers = mounts::servers(which.account.as_ref())?.into_iter();
        let all = servers.map(|(client, pong)| Target {
            name: pong.mountpoint,
            client,
            inode: None,
            _held: None,
        });
        return Ok(all.collect());
    }
    which.paths.iter().map(|path| target(path)).collect()
}

fn target(given: &Path) -> anyhow::Result<Target> {
    let (path, client) = files::server(given)?;
    let what = || format!("cannot look at {}", path.display());
    // Held open, it keeps its number until that was decided.
    let held = files::hold(&path).with_context(what)?;
    let inode = held.metadata().with_context(what)?.ino();
    Ok(Target {
        name: path.to_string_lossy().into_owned(),
        client,
        inode: Some(inode),
        _held: Some(held),
    })
}

/// Asks a person whether these may be lost.
fn confirmed(name: &str, unsent: &Unsent) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(
            "{} of {} would be lost for {name}; say --yes if that is meant",
            binary(unsent.bytes),
            files::count(unsent.count)
        );
    }
    agreed(&question(name, unsent))
}

fn question(name: &str, unsent: &Unsent) -> String {
    /// More than fits a screen is not read.
    const SHOWN: usize = 10;
    let mut text = format!("{}\n", printable(name));
    for it in unsent.first.iter().take(SHOWN) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", printable(&line(it)));
    }
    let more = unsent
        .count
        .saturating_sub(unsent.first.len().min(SHOWN) as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    let _ = write!(
        text,
        "{} that the account does not have would be lost. Discard these changes?",
        binary(unsent.bytes)
    );
    text
}

fn line(it: &UnsentFigures) -> String {
    let change = match it.change {
        Change::Upload => format!("{} not uploaded", binary(it.bytes)),
        Change::Make => "a new folder".to_owned(),
        Change::Move => "moved or renamed".to_owned(),
        Change::Remove => "removed".to_owned(),
        Change::Other => "changed".to_owned(),
    };
    match &it.reason {
        Some(reason) => format!("{}: {change} ({reason})", it.path),
        None => format!("{}: {change}", it.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_what_would_be_lost() {
        let one = UnsentFigures {
            path: "a\u{1b}b".into(),
            change: Change::Upload,
            bytes: 2048,
            reason: Some("over quota".into()),
        };
        let text = question(
            "/mnt",
            &Unsent {
                count: 12,
                bytes: 1 << 20,
                first: vec![one; 11],
            },
        );
        for says in [
            "  a?b: 2.0 KiB not uploaded (over quota)\n",
            "  and 2 more\n",
            "1.0 MiB that the account does not have would be lost",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
