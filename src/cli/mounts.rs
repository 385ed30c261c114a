//! The mounts of ours on this machine, and the processes that serve them.
//!
//! The kernel's table says what is mounted, whoever did it and whether or not it still lives; no mount
//! is touched to find out.
use crate::config::{Account, AccountName, AccountOptions, Surroundings};
use crate::control::find::{self, Mounted};
use crate::control::{Client, Pong, place};
use crate::mount::mountinfo::{self, Entry};
use anyhow::{Context, anyhow};
use std::io;
use std::path::{Path, PathBuf};

/// All mounts of ours, each once, however often it is bound elsewhere.
pub(super) fn all() -> io::Result<Vec<Entry>> {
    let mut found: Vec<Entry> = Vec::new();
    for entry in mountinfo::table()?.into_iter().filter(Entry::is_ours) {
        if found.iter().all(|known| known.device != entry.device) {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The processes that serve mounts of ours, or of `account` alone; with them those whose mount is gone and
/// which still upload.
pub(super) fn servers(account: Option<&AccountName>) -> anyhow::Result<Vec<(Client, Pong)>> {
    let user = nix::unistd::geteuid();
    let mut found: Vec<(Client, Pong)> = Vec::new();
    for entry in all().context("cannot read the table of mounts")? {
        let is_ours = user.is_root() || entry.owner == Some(user.as_raw());
        let is_meant = account.is_none_or(|it| entry.account() == Some(it.as_str()));
        if !is_ours || !is_meant {
            continue;
        }
        let server = server_of(&entry).ok_or_else(|| {
            anyhow!(
                "the mount at {} does not answer; see: fichierfs status",
                entry.mountpoint.display()
            )
        })?;
        found.push(server);
    }
    for (client, pong) in draining(account) {
        if found.iter().all(|(_, known)| known.pid != pong.pid) {
            found.push((client, pong));
        }
    }
    Ok(found)
}

/// The processes that have no mount any more and still upload, if they answer: that of `account`, else all of
/// this user, for root those of everybody.
pub(super) fn draining(account: Option<&AccountName>) -> Vec<(Client, Pong)> {
    let Ok(around) = Surroundings::of_process() else {
        return Vec::new();
    };
    let is_named = account.is_some();
    let options = AccountOptions {
        account: account.cloned(),
        ..AccountOptions::default()
    };
    // It may have been told a state folder of its own.
    let account = Account::resolve(options, &around).ok();
    let mut found = if is_named {
        let client = account.and_then(|account| find::of_account(&account));
        let asked = client.and_then(|mut client| client.ping().ok().map(|pong| (client, pong)));
        asked.into_iter().collect()
    } else {
        let known = account.map_or_else(Vec::new, |account| place::of(&account));
        find::of_any_account(&around.places, &known)
    };
    found.retain(|(_, pong)| {
        mountinfo::is_there(&pong.account, &pong.device).is_ok_and(|is_mounted| !is_mounted)
    });
    found
}

/// The mount of ours that `path` (canonical) lies in.
pub(super) fn holding(path: &Path) -> io::Result<Option<Entry>> {
    let table = mountinfo::table()?;
    // The uppermost of the deepest: the kernel lists mounts in the order they were made.
    let holding = table
        .into_iter()
        .filter(|entry| path.starts_with(&entry.mountpoint))
        .max_by_key(|entry| entry.mountpoint.components().count());
    Ok(holding.filter(Entry::is_ours))
}

/// The process that serves a mount, if it answers us.
pub(super) fn server_of(entry: &Entry) -> Option<(Client, Pong)> {
    let account: AccountName = entry.account()?.parse().ok()?;
    let mounted = Mounted {
        account: &account,
        device: &entry.device,
        owner: entry.owner?,
    };
    find::of_mount(&mounted, &known_places(&account))
}

/// Where a mount of `account` has its socket unless it was told otherwise.
fn known_places(account: &AccountName) -> Vec<PathBuf> {
    let options = AccountOptions {
        account: Some(account.clone()),
        ..AccountOptions::default()
    };
    let account = Surroundings::of_process().and_then(|around| Account::resolve(options, &around));
    // A configuration that is broken now was not when the mount was made: it is found by other ways.
    account.map_or_else(|_| Vec::new(), |account| place::of(&account))
}
