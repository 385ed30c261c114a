//! `fichierfs umount`: takes a mount of ours away and waits until its process has ended, which has told the
//! account everything by then.
use super::exit::Failure;
use super::mounts;
use super::output::counted;
use super::progress::Progress;
use super::sync;
use crate::control::client::{self, AskError};
use crate::control::{Answer, Client, Left, Request};
use crate::mount::kernel::{self, MountError, Way};
use crate::mount::mountinfo::{self, Entry};
use crate::mount::users;
use anyhow::{Context, anyhow, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the process may take to end when there is nothing left to upload, or that is to be left.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Arguments of `umount`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The mount is gone at once; what was written and is not in the account yet is uploaded \
    then, with progress. Ending the command (Ctrl-C) ends the waiting only: the process goes on without \
    a mount, and the next mount of the account takes over what is left. Nothing is lost either way."
)]
pub struct Args {
    /// Where the account is mounted
    pub mountpoint: PathBuf,

    /// Take the mount away even while programs use it, and do not wait for its process
    #[arg(short = 'z', long)]
    pub lazy: bool,

    /// Leave what is not uploaded yet to the next mount of the account
    #[arg(long, conflicts_with = "lazy")]
    pub no_wait: bool,
}

/// Unmounts.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    take_away(args, None)
}

/// Unmounts. Uploads that do not go ahead at all are waited for at most `patience`.
pub(super) fn take_away(args: &Args, patience: Option<Duration>) -> Result<ExitCode, Failure> {
    let mountpoint = mountinfo::canonical(&args.mountpoint)
        .with_context(|| format!("cannot look at {}", args.mountpoint.display()))?;
    let entry = ours(&mountpoint)?;
    if args.lazy {
        kernel::unmount(&mountpoint, Way::Lazy)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Asked before: without its mount it is found no more.
    let server = mounts::server_of(&entry);
    kernel::unmount(&mountpoint, Way::Whole).map_err(|err| explain(err, &args.mountpoint))?;
    if let Some((mut client, pong)) = server {
        if args.no_wait {
            client.give_way()?;
        } else {
            let place = mountpoint.to_string_lossy();
            if !uploaded(&mut client, &place, patience)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        wait_for_end(client, pong.pid)?;
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

/// Shows how far the uploads are until the account has everything that it takes; whether it has.
fn uploaded(
    client: &mut Client,
    mountpoint: &str,
    patience: Option<Duration>,
) -> anyhow::Result<bool> {
    let mut progress = Progress::new(false);
    let mut left = Left::default();
    let mut moved = Instant::now();
    let synced = client.ask_while(&Request::Sync { inode: None }, |told| {
        if let Answer::Left(now) = told {
            if now != left {
                moved = Instant::now();
            }
            left = now;
            sync::show(&mut progress, mountpoint, now);
        }
        patience.is_none_or(|patience| moved.elapsed() < patience)
    });
    progress.wipe();
    match synced {
        Ok(None) => {
            log::warn!(
                "unmounted; {} wait for the service, and their process goes on trying",
                sync::rest(left)
            );
            return Ok(false);
        }
        Ok(Some(Answer::Synced(synced))) if synced.failed > 0 => {
            log::warn!(
                "the account did not take {}; the next mount says why (fichierfs status)",
                counted(synced.failed, "file or folder", "files and folders")
            );
        }
        Ok(_) => {}
        // It has ended: there was nothing to do, it was told to, or its time was up.
        Err(AskError::Connection(error)) if client::is_end(&error) => {
            if left.waiting > 0 {
                log::warn!("{} are left to the next mount", sync::rest(left));
            }
        }
        // A read-only mount, one of another version, or one that is past waiting.
        Err(AskError::Refused(why)) => log::debug!("{why}"),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// Waits for the process, which gives the account free.
fn wait_for_end(client: Client, pid: u32) -> anyhow::Result<()> {
    // The process may have ended already: then there is nobody to ask, and nothing to wait for.
    let Ok(end) = client.watch_end() else {
        return Ok(());
    };
    if !end.wait(END_LIMIT)? {
        bail!("unmounted, but its process {pid} has not ended yet; its log says why");
    }
    Ok(())
}

/// What keeps the mount busy, and what to do about it.
fn explain(err: MountError, given: &Path) -> anyhow::Error {
    let MountError::Busy { mountpoint } = err else {
        return err.into();
    };
    // This process uses it as well when it was started from a folder there.
    let users: Vec<String> = users::of(&mountpoint)
        .iter()
        .filter(|user| user.pid != std::process::id())
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
