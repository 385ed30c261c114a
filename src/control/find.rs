//! Finding the process that serves a mount, or an account.
//!
//! An account's mount is looked for where [`super::place`] says. A mount in the kernel's table is looked
//! for there too, and at every socket of its name the kernel knows: it may serve another user, have been
//! told another state folder, or share its account's name with a second mount. Nobody is believed
//! who is neither the mount's user nor root, and no answer but one that names the very device.
use super::client::Client;
use super::{Pong, place};
use crate::config::{Account, AccountName};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The kernel's table of Unix sockets.
const TABLE: &str = "/proc/net/unix";

/// The flag of a socket that takes connections in that table (`__SO_ACCEPTCON`).
const LISTENS: u64 = 1 << 16;

/// A mount as the kernel knows it.
#[derive(Debug, Clone)]
pub struct Mounted<'a> {
    /// The account's name.
    pub account: &'a AccountName,
    /// Its device as `major:minor`; no two mounts share one.
    pub device: &'a str,
    /// The user who mounted it.
    pub owner: u32,
}

/// The process that serves `mounted`. `known` are places it may have chosen.
pub fn of_mount(mounted: &Mounted<'_>, known: &[PathBuf]) -> Option<(Client, Pong)> {
    let mut places = known.to_vec();
    // The kernel's table holds this network's sockets only, so the known places go first.
    for place in fs::read(TABLE)
        .map(|table| listening(&table, mounted.account))
        .into_iter()
        .flatten()
    {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.iter().find_map(|place| {
        let mut client = Client::connect_to(place, &[mounted.owner, 0])?;
        let pong = client.ping().ok()?;
        (pong.device == mounted.device).then_some((client, pong))
    })
}

/// A running mount of `account`: one with its state folder, else, unless the user chose that folder,
/// any of its name.
pub fn of_account(account: &Account) -> Option<Client> {
    let own = nix::unistd::geteuid().as_raw();
    let mut other = None;
    for place in place::of(account) {
        let Some(mut client) = Client::connect_to(&place, &[own, 0]) else {
            continue;
        };
        let Ok(pong) = client.ping() else {
            continue;
        };
        if pong.account != account.name.as_str() {
            continue;
        }
        if Path::new(&pong.state_dir) == account.state_dir {
            return Some(client);
        }
        other = other.or(Some(client));
    }
    other.filter(|_| !account.state_dir_chosen)
}

/// The sockets in the kernel's table that listen and are called as those of `account` are.
fn listening(table: &[u8], account: &AccountName) -> Vec<PathBuf> {
    let table = String::from_utf8_lossy(table);
    table
        .lines()
        .filter_map(|line| {
            // Num RefCount Protocol Flags Type St Inode Path
            let mut fields = line.split_ascii_whitespace();
            let flags = u64::from_str_radix(fields.nth(3)?, 16).ok()?;
            let path = Path::new(fields.nth(3)?);
            let rest = fields.next();
            // A path with a blank in it is cut here, and found in the known places only.
            (rest.is_none() && flags & LISTENS != 0 && is_named(path, account))
                .then(|| path.to_owned())
        })
        .collect()
}

/// Whether a socket is called as a mount of `account` calls its own.
fn is_named(path: &Path, account: &AccountName) -> bool {
    let account = OsStr::new(account.as_str());
    let folder = path.parent().and_then(Path::file_name);
    path.is_absolute()
        && path.extension() == Some(OsStr::new("sock"))
        && (path.file_stem() == Some(account)
            || (path.file_name() == Some(OsStr::new(place::IN_STATE)) && folder == Some(account)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";

    #[test]
    fn only_sockets_that_listen_under_the_accounts_name_count() {
        let account: AccountName = "work".parse().unwrap();
        let line = |flags: &str, path: &str| {
            format!("0000000000000000: 00000002 00000000 {flags} 0001 01 259700 {path}\n")
        };
        let table = [
            HEAD.to_owned(),
            line("00010000", "/run/user/7/fichierfs/work.sock"),
            line("00010000", "/srv/state/work/control.sock"),
            line("00000000", "/run/not-listening/work.sock"),
            line("00010000", "/srv/state/other/control.sock"),
            line("00010000", "/run/fichierfs/other.sock"),
            line("00010000", "@/abstract/work.sock"),
            line("00010000", ""),
            "nonsense\n".to_owned(),
        ]
        .concat();
        assert_eq!(
            listening(table.as_bytes(), &account),
            [
                "/run/user/7/fichierfs/work.sock",
                "/srv/state/work/control.sock"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn the_kernel_lists_a_socket_that_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("work.sock");
        let account: AccountName = "work".parse().unwrap();
        let there = || listening(&fs::read(TABLE).unwrap(), &account).contains(&path);
        assert!(!there());
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(there());
    }
}
