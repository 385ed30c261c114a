//! Dead mountpoints: mounts whose serving process is gone (killed, crashed) without unmounting.
//! Everything on them fails with ENOTCONN, "Transport endpoint is not connected".
//!
//! Promises: only FUSE mounts are touched, and only when nobody serves them any more; someone
//! else's live file system never is.
use super::kernel::{MountError, Way, unmount};
use super::mountinfo::{self, Entry};
use crate::util::clock::Clock;
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How long a mount is given to say that it lives. A healthy one answers within milliseconds.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// How a mount answers when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Someone serves it.
    Alive,
    /// Nobody serves it any more.
    Dead,
    /// It holds the question without answering.
    Silent,
}

/// Looks whether anyone serves the mount at `mountpoint`.
pub fn probe(mountpoint: &Path, clock: Clock) -> Life {
    let path = mountpoint.to_owned();
    let (told, answer) = mpsc::channel();
    // On a thread of its own, because nothing bounds how long the kernel waits for an answer.
    let asked = std::thread::Builder::new()
        .name("probe".into())
        .spawn(move || {
            // The kernel may know the root's attributes long after the server has died; statfs
            // always asks the server.
            let dead = |errno| errno == Errno::ENOTCONN || errno == Errno::ECONNABORTED;
            let stat = nix::sys::stat::stat(&path).is_err_and(dead);
            let statfs = || nix::sys::statvfs::statvfs(&path).is_err_and(dead);
            // Nobody listens any more when the limit has passed: that is no error.
            let _ = told.send(stat || statfs());
        });
    if asked.is_err() {
        return Life::Silent;
    }
    match answer.recv_timeout(clock.real(PROBE_LIMIT)) {
        Ok(true) => Life::Dead,
        Ok(false) => Life::Alive,
        Err(_) => Life::Silent,
    }
}

/// What was found at a mountpoint.
#[derive(Debug)]
pub enum Found {
    /// No mount of ours, nor a dead one of anybody's.
    Nothing,
    /// A dead mount, which is detached now.
    Cleared(Entry),
    /// A mount of ours that someone serves, or that does not answer.
    Ours(Entry, Life),
}

/// Detaches dead FUSE mounts at `mountpoint` (canonical, see [`mountinfo::canonical`]).
pub fn clear(mountpoint: &Path, clock: Clock) -> Result<Found, MountError> {
    let mut cleared = None;
    loop {
        let Some(entry) = mountinfo::top_at(mountpoint)?.filter(Entry::is_fuse) else {
            return Ok(cleared.map_or(Found::Nothing, Found::Cleared));
        };
        match probe(mountpoint, clock) {
            Life::Dead if was_seen(cleared.as_ref(), &entry) => {
                return Err(MountError::Stuck {
                    mountpoint: PathBuf::from(mountpoint),
                    why: "the dead mount there does not go away".into(),
                });
            }
            Life::Dead => {
                unmount(mountpoint, Way::Lazy)?;
                log::info!(
                    "detached the dead mount {} at {}",
                    mountinfo::printable(&entry.source),
                    mountpoint.display()
                );
                cleared = Some(entry);
            }
            life if entry.is_ours() => return Ok(Found::Ours(entry, life)),
            // Someone else's file system: whether one may mount over it is not decided here.
            _ => return Ok(cleared.map_or(Found::Nothing, Found::Cleared)),
        }
    }
}

/// Whether this very mount was detached already: then detaching does not help.
fn was_seen(cleared: Option<&Entry>, entry: &Entry) -> bool {
    cleared.is_some_and(|seen| seen.id == entry.id && seen.device == entry.device)
}
