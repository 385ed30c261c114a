//! What must be right before anything is mounted: the machine has FUSE, the mountpoint is an
//! empty folder that nobody uses, the caches do not lie below it.
//!
//! Promises: each fault is told in one sentence with what to do; nothing is changed but that a
//! dead mount of an earlier process is detached.
use super::fusermount;
use super::kernel::{DEVICE, MountError};
use super::mountinfo::{self, Entry};
use super::stale::{self, Found, Life};
use crate::util::clock::Clock;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where libfuse's settings stand.
pub const FUSE_CONF: &str = "/etc/fuse.conf";

/// What to do when `allow_other` is refused.
pub(super) const ALLOW_OTHER_ADVICE: &str = "allow-other is for root only on this machine; ask \
    root to add the line `user_allow_other` to /etc/fuse.conf";

/// Why mounting cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The machine lacks something.
    #[error("{0}")]
    Machine(String),
    /// The mountpoint cannot be used.
    #[error("the mountpoint {} {why}", path.display())]
    Mountpoint {
        /// The mountpoint as given.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// A dead mount could not be cleared away.
    #[error(transparent)]
    Stale(#[from] MountError),
}

/// Whether this machine lets us mount at all.
pub fn machine(allow_other: bool) -> Result<(), Unfit> {
    if !Path::new(DEVICE).exists() {
        return Err(Unfit::Machine(format!(
            "{DEVICE} does not exist: this kernel or container has no FUSE; run: modprobe fuse \
             (or start the container with --device {DEVICE})"
        )));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    if fusermount::find().is_none() {
        return Err(Unfit::Machine(fusermount::ADVICE.into()));
    }
    if allow_other && !lets_others_in(&fs::read_to_string(FUSE_CONF).unwrap_or_default()) {
        return Err(Unfit::Machine(ALLOW_OTHER_ADVICE.into()));
    }
    Ok(())
}

/// Whether fuse.conf holds the line `user_allow_other`.
pub fn lets_others_in(conf: &str) -> bool {
    conf.lines().any(|line| line.trim() == "user_allow_other")
}

/// The program that mounts for ordinary users, if it is there.
pub fn fusermount() -> Option<PathBuf> {
    fusermount::find()
}

/// Makes sure that `mountpoint` can be mounted on and returns its canonical form. `own_folders`
/// are those we keep files in: below our own mountpoint they would wait for themselves.
pub fn mountpoint(path: &Path, own_folders: &[&Path], clock: Clock) -> Result<PathBuf, Unfit> {
    let unfit = |why: String| Unfit::Mountpoint {
        path: path.to_owned(),
        why,
    };
    let real = mountinfo::canonical(path).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => {
            unfit(format!("does not exist; run: mkdir -p {}", path.display()))
        }
        io::ErrorKind::NotADirectory => unfit("is not a folder".into()),
        _ => unfit(format!("cannot be looked at: {err}")),
    })?;
    if let Found::Ours(entry, life) = stale::clear(&real, clock)? {
        return Err(unfit(taken(&entry, life, path)));
    }
    let metadata = fs::metadata(&real).map_err(|err| unfit(format!("cannot be used: {err}")))?;
    if !metadata.is_dir() {
        return Err(unfit("is not a folder".into()));
    }
    let mut entries = fs::read_dir(&real).map_err(|err| unfit(format!("cannot be read: {err}")))?;
    if entries.next().is_some() {
        return Err(unfit(
            "is not empty: what is in it would be hidden; choose an empty folder".into(),
        ));
    }
    for folder in own_folders {
        if folder.starts_with(&real) {
            return Err(unfit(format!(
                "would hide {}, where our own files are; choose another one",
                folder.display()
            )));
        }
    }
    Ok(real)
}

fn taken(entry: &Entry, life: Life, path: &Path) -> String {
    let what = entry.account().map_or_else(
        || mountinfo::printable(&entry.source),
        |account| format!("the account `{account}`"),
    );
    match life {
        Life::Silent => format!(
            "holds a mount of {what} that does not answer; run: fichierfs umount --lazy {}",
            path.display()
        ),
        _ => format!("is in use already: {what} is mounted there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_line_lets_others_in() {
        assert!(lets_others_in(
            "# comment\n user_allow_other \nmount_max = 3\n"
        ));
        assert!(!lets_others_in("#user_allow_other\n"));
        assert!(!lets_others_in(""));
    }

    #[test]
    fn mountpoints_that_cannot_be_used_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("full/inside")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("file"), "").unwrap();
        let why = |path: PathBuf, own: &[&Path]| {
            mountpoint(&path, own, Clock::system())
                .unwrap_err()
                .to_string()
        };
        assert!(why(at("none"), &[]).contains("mkdir -p"));
        assert!(why(at("file"), &[]).contains("not a folder"));
        assert!(why(at("file/below"), &[]).contains("not a folder"));
        assert!(why(at("full"), &[]).contains("not empty"));
        let real = dir.path().canonicalize().unwrap().join("empty");
        assert!(why(at("empty"), &[&real.join("cache")]).contains("hide"));
        assert_eq!(
            mountpoint(&at("empty/."), &[], Clock::system()).unwrap(),
            real
        );
    }
}
