//! `fichierfs umount`: takes a mount of ours away and waits until its process has ended.
use super::exit::Failure;
use super::mounts;
use crate::control::Client;
use crate::mount::kernel::{self, MountError, Way};
use crate::mount::mountinfo::{self, Entry};
use crate::mount::users;
use anyhow::{Context, anyhow, bail};
use nix::poll::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the process may take to end: what is still to be sent to the account goes first.
const END_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long a process that has nothing left to do may take to go, in milliseconds: its last tasks are
/// given a second.
const LAST_MOMENT: u16 = 1_500;

/// Arguments of `umount`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the account is mounted
    pub mountpoint: PathBuf,

    /// Take the mount away even while programs use it, and do not wait for its process
    #[arg(short = 'z', long)]
    pub lazy: bool,
}

/// Unmounts.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mountpoint = mountinfo::canonical(&args.mountpoint)
        .with_context(|| format!("cannot look at {}", args.mountpoint.display()))?;
    let entry = ours(&mountpoint)?;
    if args.lazy {
        kernel::unmount(&mountpoint, Way::Lazy)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Asked before: without its mount it is found no more.
    let server = mounts::server_of(&entry).map(|(client, pong)| Server {
        process: Pid::from_raw(client.pid())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
        pid: pong.pid,
        client,
    });
    kernel::unmount(&mountpoint, Way::Whole).map_err(|err| explain(err, &args.mountpoint))?;
    if let Some(server) = server {
        server.wait_for_end()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The mount at `mountpoint`, if it is one of ours.
fn ours(mountpoint: &Path) -> anyhow::Result<Entry> {
    match mountinfo::top_at(mountpoint)? {
        Some(entry) if entry.is_ours() => Ok(entry),
        Some(entry) => bail!(
            "{} is no mount of fichierfs but of {}; use umount(8)",
            mountpoint.display(),
            entry.fs_type
        ),
        None => bail!("nothing is mounted at {}", mountpoint.display()),
    }
}

/// The process that serves a mount.
struct Server {
    client: Client,
    pid: u32,
    /// The process itself, where this kernel and container show it.
    process: Option<OwnedFd>,
}

impl Server {
    /// Waits until nothing is left to send, then for the process, which gives the account free.
    fn wait_for_end(self) -> anyhow::Result<()> {
        // The process may have ended already: then there is nobody to ask, and nothing to wait for.
        let Ok(end) = self.client.watch_end() else {
            return Ok(());
        };
        if !end.wait(END_LIMIT)? {
            bail!(
                "unmounted, but its process {} still has changes to send to the account; leave it \
                 to finish",
                self.pid
            );
        }
        if let Some(process) = self.process {
            let mut polled = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            // It said that it is done: whether this takes long or fails, nothing is lost.
            let _ = nix::poll::poll(&mut polled, LAST_MOMENT);
        }
        Ok(())
    }
}

/// What keeps the mount busy, and what to do about it.
fn explain(err: MountError, given: &Path) -> anyhow::Error {
    let MountError::Busy { mountpoint } = err else {
        return err.into();
    };
    let users: Vec<String> = users::of(&mountpoint)
        .iter()
        .map(|user| format!("{} ({})", user.name, user.pid))
        .collect();
    let by = if users.is_empty() {
        String::new()
    } else {
        format!(" by {}", users.join(", "))
    };
    anyhow!(
        "{} is in use{by}; close what uses it, or run: fichierfs umount --lazy {}",
        given.display(),
        given.display()
    )
}
