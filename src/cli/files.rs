//! The files a command is told of, one after the other, each with the process that serves its mount.
use super::exit;
use super::mounts;
use super::output::counted;
use crate::control::Client;
use anyhow::{Context, anyhow};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file in a mount.
pub(super) struct Found<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// Its number in the mount, which is its own while this lives.
    pub(super) inode: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    _held: &'a File,
}

/// What became of all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Files worked on.
    pub(super) files: u64,
    /// Files and folders that failed, each of which was told.
    pub(super) failed: u64,
}

/// Why a command ends before its last file.
pub(super) enum Stop {
    /// This file failed; the others may not.
    File(anyhow::Error),
    /// All is over.
    All(anyhow::Error),
}

/// Does `work` for each path that is a file, and for all files below each that is a folder, in the order
/// of their names.
pub(super) fn each(
    paths: &[PathBuf],
    mut work: impl FnMut(&mut Client, &Found<'_>) -> Result<(), Stop>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for given in paths {
        let (path, mut client) = server(given)?;
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            match one(&mut client, &path, &mut work) {
                Ok(None) => outcome.files += 1,
                Ok(Some(below)) => waiting.extend(below),
                Err(Stop::All(error)) => return Err(error),
                // One that fails, e.g. because it went meanwhile, must not hide the others.
                Err(Stop::File(error)) => {
                    log::warn!("{}: {}", path.display(), exit::sentence(&error));
                    outcome.failed += 1;
                }
            }
        }
    }
    Ok(outcome)
}

/// The path in its canonical form, and the process that serves it.
pub(super) fn server(given: &Path) -> anyhow::Result<(PathBuf, Client)> {
    let what = || format!("cannot look at {}", given.display());
    let path = given.canonicalize().with_context(what)?;
    let entry = mounts::holding(&path)
        .context("cannot read the table of mounts")?
        .ok_or_else(|| anyhow!("{} lies in no mount of fichierfs", path.display()))?;
    let (client, _) = mounts::server_of(&entry).ok_or_else(|| {
        anyhow!(
            "the mount at {} does not answer; see: fichierfs status",
            entry.mountpoint.display()
        )
    })?;
    Ok((path, client))
}

/// A number of files in words.
pub(super) fn count(files: u64) -> String {
    counted(files, "file", "files")
}

/// Opens a file or folder without reading it: it keeps its number while this lives.
pub(super) fn hold(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(path)
}

/// Works on a file, or says what is in a folder, the last name first.
fn one(
    client: &mut Client,
    path: &Path,
    work: &mut impl FnMut(&mut Client, &Found<'_>) -> Result<(), Stop>,
) -> Result<Option<Vec<PathBuf>>, Stop> {
    let failed = |error: io::Error| Stop::File(error.into());
    let held = hold(path).map_err(failed)?;
    let metadata = held.metadata().map_err(failed)?;
    if metadata.is_dir() {
        let mut below = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            below.push(entry.map_err(failed)?.path());
        }
        below.sort_unstable_by(|a, b| b.cmp(a));
        return Ok(Some(below));
    }
    let found = Found {
        path,
        inode: metadata.ino(),
        size: metadata.len(),
        _held: &held,
    };
    work(client, &found).map(|()| None)
}
