//! Where a mount's socket is.
//!
//! In the session's folder for such things if there is one, else beside the account's state. A
//! command looks at every place a mount of the account may have chosen, because the mount may run
//! as a service while the command runs in a session.
use crate::config::{Account, AccountName, Places};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where system services have their sockets.
const SYSTEM: &str = "/run/fichierfs";

/// The socket's name in the account's state folder.
pub(super) const IN_STATE: &str = "control.sock";

/// Bytes of a socket's path at most, with the zero at its end (unix(7)).
const LONGEST_PATH: usize = 108;

/// The places for an account's socket: a mount takes the first it can, a command tries them all.
pub fn of(account: &Account) -> Vec<PathBuf> {
    candidates(
        &account.name,
        account.runtime_dir.as_deref(),
        &account.own_state_dir(),
    )
}

fn candidates(
    account: &AccountName,
    runtime_dir: Option<&Path>,
    own_state_dir: &Path,
) -> Vec<PathBuf> {
    let name = format!("{account}.sock");
    let mut places: Vec<PathBuf> = runtime_dir.iter().map(|dir| dir.join(&name)).collect();
    places.push(own_state_dir.join(IN_STATE));
    let system = Path::new(SYSTEM).join(&name);
    if !places.contains(&system) {
        places.push(system);
    }
    places
}

/// The sockets there are of accounts that did not choose a state folder of their own.
pub(super) fn of_all(around: &Places) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path()))
    };
    let mut places: Vec<PathBuf> = around
        .runtime
        .iter()
        .map(PathBuf::as_path)
        .chain([Path::new(SYSTEM)])
        .flat_map(entries)
        .filter(|path| path.extension().is_some_and(|it| it == "sock"))
        .collect();
    places.extend(entries(&around.state).map(|account| account.join(IN_STATE)));
    places
}

/// A socket's path in a form short enough for the kernel, whatever its length. Valid while it lives.
pub(super) struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    /// Shortens `path` if it needs to be, through its opened folder.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() < LONGEST_PATH {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }

    /// The short form.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_tried_once() {
        let account = AccountName::default();
        let state = Path::new("/state/default");
        assert_eq!(
            candidates(&account, Some(Path::new("/run/user/7/fichierfs")), state),
            [
                "/run/user/7/fichierfs/default.sock",
                "/state/default/control.sock",
                "/run/fichierfs/default.sock"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(
            candidates(&account, Some(Path::new(SYSTEM)), state).len(),
            2
        );
        assert_eq!(candidates(&account, None, state).len(), 2);
    }
}
