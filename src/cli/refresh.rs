//! `fichierfs refresh`: looks at a folder of a mount again, so that changes made elsewhere are seen at
//! once.
//!
//! The service allows one listing of a folder in 30 s; what comes too soon waits, and says so.
use super::exit::{self, Failure};
use super::mounts;
use super::output::{counted, hint, printable, say};
use crate::control::client::AskError;
use crate::control::{Answer, Changed, Client, Refreshed, Request};
use anyhow::{Context, anyhow, bail};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take: the wait for the service's leave, and a call. Longer than the mount
/// allows itself.
const LIMIT: Duration = Duration::from_secs(70);

/// Arguments of `refresh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder in a mount, or the mountpoint; of a file, the folder it is in
    #[arg(default_value = ".")]
    pub path: PathBuf,

    /// Look at all folders below as well: a call for each
    #[arg(short, long)]
    pub recursive: bool,
}

/// Looks again.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let path = folder(&args.path)?;
    let entry = mounts::holding(&path)
        .context("cannot read the table of mounts")?
        .ok_or_else(|| anyhow!("{} lies in no mount of fichierfs", path.display()))?;
    let (mut client, _) = mounts::server_of(&entry).ok_or_else(|| {
        anyhow!(
            "the mount at {} does not answer; see: fichierfs status",
            entry.mountpoint.display()
        )
    })?;
    let mut waiting = vec![path];
    let mut failed = 0_u32;
    while let Some(path) = waiting.pop() {
        match one(&mut client, &path) {
            Ok(refreshed) => {
                tell(&path, &refreshed)?;
            }
            // One folder that fails, e.g. because it went meanwhile, must not hide the others.
            Err(err) if args.recursive => {
                log::warn!("{}", exit::sentence(&err));
                failed += 1;
                continue;
            }
            Err(err) => return Err(err.into()),
        }
        if args.recursive {
            waiting.extend(below(&path)?);
        }
    }
    if failed > 0 {
        return Err(anyhow!("{failed} folders could not be looked at").into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder meant, in its canonical form.
fn folder(given: &Path) -> anyhow::Result<PathBuf> {
    let what = || format!("cannot look at {}", given.display());
    let path = given.canonicalize().with_context(what)?;
    if fs::metadata(&path).with_context(what)?.is_dir() {
        return Ok(path);
    }
    let folder = path.parent().map(Path::to_path_buf);
    folder.ok_or_else(|| anyhow!("{} is in no folder", path.display()))
}

/// Looks at one folder again.
fn one(client: &mut Client, path: &Path) -> anyhow::Result<Refreshed> {
    let what = || format!("cannot look at {}", path.display());
    // Held open, the folder keeps its number until it has been looked at.
    let held = hold(path).with_context(what)?;
    let inode = held.metadata().with_context(what)?.ino();
    let mut ask = |wait| client.ask(&Request::Refresh { inode, wait }, LIMIT);
    let mut answer = ask(false).with_context(what)?;
    if let Answer::TooSoon { seconds } = answer {
        hint(&format!(
            "{}: listed a moment ago; the service allows it again in {seconds} s, waiting",
            path.display()
        ));
        answer = ask(true).with_context(what)?;
    }
    match answer {
        Answer::Refreshed(refreshed) => Ok(refreshed),
        _ => bail!(AskError::Malformed),
    }
}

/// Opens a folder without reading it.
fn hold(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// The folders in a folder that was just looked at, the last one first.
fn below(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let what = || format!("cannot read {}", path.display());
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).with_context(what)? {
        let entry = entry.with_context(what)?;
        if entry.file_type().with_context(what)?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable_by(|a, b| b.cmp(a));
    Ok(folders)
}

fn tell(path: &Path, refreshed: &Refreshed) -> Result<ExitCode, Failure> {
    let line = format!("{}: {}", path.display(), words(refreshed));
    say(&format!("{}\n", printable(&line)))
}

/// What came of it, in words.
fn words(refreshed: &Refreshed) -> String {
    let entries = counted(refreshed.entries, "entry", "entries");
    match refreshed.changed {
        None => format!("{entries}, not known before"),
        Some(Changed {
            added: 0,
            removed: 0,
            altered: 0,
        }) => format!("{entries}, nothing changed"),
        Some(changed) => {
            let counts = [
                (changed.added, "new"),
                (changed.removed, "gone"),
                (changed.altered, "changed"),
            ];
            let counts: Vec<String> = counts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            format!("{entries}: {}", counts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_in_words() {
        let words = |entries, changed| words(&Refreshed { entries, changed });
        assert_eq!(words(1, None), "1 entry, not known before");
        assert_eq!(
            words(0, Some(Changed::default())),
            "0 entries, nothing changed"
        );
        let changed = Changed {
            added: 2,
            removed: 0,
            altered: 1,
        };
        assert_eq!(words(7, Some(changed)), "7 entries: 2 new, 1 changed");
    }
}
