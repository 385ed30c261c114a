//! Finding the process that serves a mount, or an account.
//!
//! An account's mount is looked for where [`super::place`] says. A mount in the kernel's table is looked
//! for there too, and at every socket of its name the kernel knows: it may serve another user, have been
//! told another state folder, or share its account's name with a second mount. Nobody is believed
//! who is neither the mount's user nor root, and no answer but one that names the very device.
use super::client::Client;
use super::{Pong, place};
use crate::config::{Account, AccountName, Places};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel's table of Unix sockets.
const TABLE: &str = "/proc/net/unix";

/// The folder our sockets are in, wherever that is.
const OURS: &str = "fichierfs";

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
        .map(|table| listening(&table, |path| is_named(path, mounted.account)))
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

/// The processes that serve an account, with or without a mount, each once: those of this user, for root
/// those of everybody. They are looked for at `known` and where accounts usually have their sockets.
pub fn of_any_account(around: &Places, known: &[PathBuf]) -> Vec<(Client, Pong)> {
    let own = nix::unistd::geteuid();
    let table = fs::read(TABLE).unwrap_or_default();
    let mut places = listening(&table, is_usual);
    for place in place::of_all(around).into_iter().chain(known.to_vec()) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let mut found: Vec<(Client, Pong)> = Vec::new();
    for place in places {
        let Ok(socket) = fs::symlink_metadata(&place) else {
            continue;
        };
        if !own.is_root() && ![own.as_raw(), 0].contains(&socket.uid()) {
            continue;
        }
        // Whoever listens is who made the socket, or somebody plays a trick on us.
        let answered = Client::connect_to(&place, &[socket.uid()]);
        let answered =
            answered.and_then(|mut client| client.ping().ok().map(|pong| (client, pong)));
        if let Some((client, pong)) = answered
            && found.iter().all(|(_, known)| known.pid != pong.pid)
        {
            found.push((client, pong));
        }
    }
    found
}

/// Whether a socket lies where one of ours usually does: `fichierfs/ACCOUNT.sock` or
/// `fichierfs/ACCOUNT/control.sock`.
fn is_usual(path: &Path) -> bool {
    let name = |path: Option<&Path>| path.and_then(Path::file_name).map(OsStr::to_owned);
    let (above, two_above) = (path.parent(), path.ancestors().nth(2));
    let is_account = |name: Option<&OsStr>| {
        let name = name.and_then(OsStr::to_str);
        name.is_some_and(|name| name.parse::<AccountName>().is_ok())
    };
    let ours = Some(OsStr::new(OURS));
    if name(above).as_deref() == ours {
        return path.extension() == Some(OsStr::new("sock")) && is_account(path.file_stem());
    }
    path.file_name() == Some(OsStr::new(place::IN_STATE))
        && name(two_above).as_deref() == ours
        && is_account(name(above).as_deref())
}

/// The sockets in the kernel's table that listen and that `is_meant` knows by their path.
fn listening(table: &[u8], is_meant: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
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
            (rest.is_none() && flags & LISTENS != 0 && is_meant(path)).then(|| path.to_owned())
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
            listening(table.as_bytes(), |path| is_named(path, &account)),
            [
                "/run/user/7/fichierfs/work.sock",
                "/srv/state/work/control.sock"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn sockets_of_other_programs_are_left_alone() {
        for (path, is_ours) in [
            ("/run/user/7/fichierfs/work.sock", true),
            ("/home/me/.local/state/fichierfs/work/control.sock", true),
            ("/run/fichierfs/default.sock", true),
            ("/run/other/control.sock", false),
            ("/run/other/work/control.sock", false),
            ("/run/fichierfs/work.pid", false),
            ("/run/fichierfs/Not A Name.sock", false),
            ("/control.sock", false),
        ] {
            assert_eq!(is_usual(Path::new(path)), is_ours, "{path}");
        }
    }

    #[test]
    fn the_kernel_lists_a_socket_that_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("work.sock");
        let account: AccountName = "work".parse().unwrap();
        let ours = |path: &Path| is_named(path, &account);
        let there = || listening(&fs::read(TABLE).unwrap(), ours).contains(&path);
        assert!(!there());
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(there());
    }
}
