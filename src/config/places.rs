//! Where files go when no option says so.
//!
//! A user's files go where the XDG specification puts them. Root's go where a system service's do
//! (`/etc/fichierfs`, `/var/lib/fichierfs`, `/var/cache/fichierfs`, `/run/fichierfs`), because root mounts for the
//! machine; an XDG variable that is set still counts. What systemd chose for a service
//! (`StateDirectory=` and its kin) goes before both.
use etcetera::BaseStrategy;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Our folder within the places of the XDG specification.
const NAME: &str = "fichierfs";

/// The folders of this user on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The config file and stored logins.
    pub config: PathBuf,
    /// What must survive a restart.
    pub state: PathBuf,
    /// What may be thrown away.
    pub cache: PathBuf,
    /// Sockets, gone after a reboot; not every session has such a place.
    pub runtime: Option<PathBuf>,
}

impl Places {
    /// The places of this process, from its user and environment.
    pub fn of_process() -> Option<Self> {
        let root = nix::unistd::geteuid().is_root();
        let xdg = etcetera::base_strategy::Xdg::new().ok();
        if xdg.is_none() && !root {
            return None;
        }
        let home = |choose: fn(&etcetera::base_strategy::Xdg) -> PathBuf| xdg.as_ref().map(choose);
        Some(Self {
            config: choose(
                ("CONFIGURATION_DIRECTORY", "XDG_CONFIG_HOME"),
                (root, "/etc"),
                home(BaseStrategy::config_dir),
            )?,
            state: choose(
                ("STATE_DIRECTORY", "XDG_STATE_HOME"),
                (root, "/var/lib"),
                home(|xdg| xdg.state_dir().unwrap_or_else(|| xdg.data_dir())),
            )?,
            cache: choose(
                ("CACHE_DIRECTORY", "XDG_CACHE_HOME"),
                (root, "/var/cache"),
                home(BaseStrategy::cache_dir),
            )?,
            runtime: choose(
                ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"),
                (root, "/run"),
                xdg.as_ref().and_then(BaseStrategy::runtime_dir),
            ),
        })
    }
}

/// One place: systemd's variable, root's own unless the XDG variable is set, else the XDG one.
fn choose(
    (systemd, xdg_variable): (&str, &str),
    (root, system): (bool, &str),
    xdg: Option<PathBuf>,
) -> Option<PathBuf> {
    let systemd = std::env::var_os(systemd).and_then(|list| first(&list));
    let xdg_set = std::env::var_os(xdg_variable).is_some_and(|dir| Path::new(&dir).is_absolute());
    if systemd.is_some() {
        return systemd;
    }
    if root && !xdg_set {
        return Some(Path::new(system).join(NAME));
    }
    xdg.map(|dir| dir.join(NAME))
}

/// The first absolute path of systemd's colon-separated list.
fn first(list: &OsString) -> Option<PathBuf> {
    std::env::split_paths(list).find(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemds_list_gives_its_first_folder() {
        let list = OsString::from("/var/lib/a:/var/lib/b");
        assert_eq!(first(&list), Some(PathBuf::from("/var/lib/a")));
        assert_eq!(first(&OsString::from("")), None);
        assert_eq!(first(&OsString::from("relative")), None);
    }

    #[test]
    fn every_place_is_our_own_folder() {
        let places = Places::of_process().unwrap();
        for place in [&places.config, &places.state, &places.cache] {
            assert!(place.is_absolute(), "{place:?}");
        }
    }
}
