//! Putting a FUSE file system into the kernel's tree of files, and taking out again what we put in.
//!
//! Root calls mount(2); everybody else goes through `fusermount3`, which is set-uid root for this.
//! Knows nothing of what is served: the session is built on [`Attached::session_fd`] by the assembly.
//!
//! Promises: what is detached is the mount that was attached here, never another one that took
//! its place; a detach is lazy, so a busy mount neither fails nor blocks it.
use super::fusermount;
use super::mountinfo::{self, Entry, FS_TYPE, SOURCE_PREFIX};
use crate::config::AccountName;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The device all FUSE sessions speak through.
pub const DEVICE: &str = "/dev/fuse";

/// How a mount shall look to the kernel.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch"
)]
pub struct Options {
    /// The account, for the mount's source `fichierfs:NAME`.
    pub account: AccountName,
    /// Refuse changes.
    pub read_only: bool,
    /// Let other users in.
    pub allow_other: bool,
    /// Run no programs.
    pub noexec: bool,
    /// Keep no access times.
    pub noatime: bool,
}

/// A mount that could not be made or undone.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// mount(2) or the device refused.
    #[error("cannot mount at {}: {why}", mountpoint.display())]
    Refused {
        /// Where.
        mountpoint: PathBuf,
        /// What was refused, by whom, and what to do.
        why: String,
    },
    /// The mount is in use.
    #[error("{} is in use", mountpoint.display())]
    Busy {
        /// Where.
        mountpoint: PathBuf,
    },
    /// An unmount failed otherwise.
    #[error("cannot unmount {}: {why}", mountpoint.display())]
    Stuck {
        /// Where.
        mountpoint: PathBuf,
        /// Why.
        why: String,
    },
    /// The table of mounts cannot be read.
    #[error("cannot read the table of mounts: {0}")]
    Table(#[from] io::Error),
}

/// A mount made by [`attach`]. Dropping it leaves the mount where it is: whoever attached decides.
///
/// It keeps the connection to the kernel open, so it must go when the session has ended: until
/// then, whoever uses the mount waits instead of failing with ENOTCONN.
#[derive(Debug)]
pub struct Attached {
    fd: OwnedFd,
    entry: Entry,
}

impl Attached {
    /// A copy of the descriptor the kernel sends its requests through, for the session.
    pub fn session_fd(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.entry.mountpoint
    }

    /// Its device as `major:minor`, e.g. for `/sys/class/bdi`.
    pub fn device(&self) -> &str {
        &self.entry.device
    }

    /// Whether it is still there, in our view of the tree.
    pub fn is_there(&self) -> io::Result<bool> {
        Ok(self.place()?.is_some())
    }

    /// Where it is now, if it is there and uppermost: a folder above it may have been renamed.
    fn place(&self) -> io::Result<Option<PathBuf>> {
        // The kernel gives numbers of mounts and devices away again at once. Only while our
        // connection stands do they certainly mean our mount, so that is asked first.
        if !self.is_connected() {
            return Ok(None);
        }
        let table = mountinfo::table()?;
        let is_mine = |it: &&Entry| it.id == self.entry.id && it.device == self.entry.device;
        let Some(mine) = table.iter().find(is_mine) else {
            return Ok(None);
        };
        let top = mountinfo::top_at(&mine.mountpoint)?;
        let is_top = top.is_some_and(|top| top.id == mine.id);
        Ok(is_top.then(|| mine.mountpoint.clone()))
    }

    /// Takes it out of the tree of files at once; programs that still use it keep it until they
    /// let go. Does nothing when it is gone already or another mount covers it.
    pub fn detach(&self) -> Result<(), MountError> {
        match self.place()? {
            Some(mountpoint) => unmount(&mountpoint, Way::Lazy),
            None => Ok(()),
        }
    }

    /// Whether the kernel still holds the file system behind our descriptor.
    fn is_connected(&self) -> bool {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
        // A poll that fails tells nothing: the table of mounts decides then.
        let _ = nix::poll::poll(&mut polled, PollTimeout::ZERO);
        !polled[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLERR))
    }
}

/// Mounts at `mountpoint`, which must be canonical (see [`super::check`]). Nobody may look at the
/// mount before a session serves it: whoever does waits for that.
pub fn attach(mountpoint: &Path, options: &Options) -> Result<Attached, MountError> {
    let fd = if nix::unistd::geteuid().is_root() {
        match directly(mountpoint, options)? {
            Some(fd) => fd,
            // Root of a container without the right to mount; fusermount3 may still have it.
            None => fusermount::mount(mountpoint, options)?,
        }
    } else {
        fusermount::mount(mountpoint, options)?
    };
    match mountinfo::top_at(mountpoint)? {
        Some(entry) if entry.is_ours() => Ok(Attached { fd, entry }),
        _ => Err(MountError::Refused {
            mountpoint: mountpoint.to_owned(),
            why: "the mount vanished at once, or another took its place".into(),
        }),
    }
}

/// How to unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Fails while it is in use.
    Whole,
    /// At once; those who use it keep it.
    Lazy,
}

/// Unmounts whatever is uppermost at `mountpoint`. The caller has made sure that it is what shall go.
pub fn unmount(mountpoint: &Path, way: Way) -> Result<(), MountError> {
    let flags = match way {
        Way::Whole => MntFlags::UMOUNT_NOFOLLOW,
        Way::Lazy => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
    };
    let stuck = |why: &str| MountError::Stuck {
        mountpoint: mountpoint.to_owned(),
        why: why.to_owned(),
    };
    match nix::mount::umount2(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => fusermount::unmount(mountpoint, way),
        Err(Errno::EBUSY) => Err(MountError::Busy {
            mountpoint: mountpoint.to_owned(),
        }),
        Err(errno) => Err(stuck(errno.desc())),
    }
}

/// mount(2) by ourselves; `None` when we may not.
fn directly(mountpoint: &Path, options: &Options) -> Result<Option<OwnedFd>, MountError> {
    let refused = |why: String| MountError::Refused {
        mountpoint: mountpoint.to_owned(),
        why,
    };
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|err| refused(format!("{DEVICE}: {err}")))?;
    // Our type is `fuse.fichierfs`; the kernel looks `fuse` up and shows the rest as it is.
    // rootmode says "a folder"; attributes come from the session as soon as anyone asks.
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        nix::unistd::getuid(),
        nix::unistd::getgid(),
    );
    for option in shared_options(options) {
        // Writing to a String cannot fail.
        let _ = write!(data, ",{option}");
    }
    let mut flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_RDONLY, options.read_only);
    flags.set(MsFlags::MS_NOEXEC, options.noexec);
    flags.set(MsFlags::MS_NOATIME, options.noatime);
    let source = source(&options.account);
    let mounted = nix::mount::mount(
        Some(source.as_str()),
        mountpoint,
        Some(FS_TYPE),
        flags,
        Some(data.as_str()),
    );
    match mounted {
        Ok(()) => Ok(Some(device.into())),
        Err(Errno::EPERM) => Ok(None),
        Err(Errno::ENODEV) => Err(refused(
            "the kernel knows no FUSE; run: modprobe fuse".into(),
        )),
        Err(errno) => Err(refused(format!("mount(2): {}", errno.desc()))),
    }
}

/// What the mount's source is in the table of mounts.
pub fn source(account: &AccountName) -> String {
    // An account's name holds neither commas nor line breaks, so it cannot add options.
    format!("{SOURCE_PREFIX}{account}")
}

/// Options that mount(2) and fusermount3 both pass on to FUSE. The kernel checks permissions
/// itself, whatever else is asked for.
pub(super) fn shared_options(options: &Options) -> Vec<&'static str> {
    let mut list = vec!["default_permissions"];
    if options.allow_other {
        list.push("allow_other");
    }
    list
}

#[cfg(test)]
mod tests;
