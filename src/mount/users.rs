//! Who keeps a mount busy: processes with a folder or file of it open, as far as we may see.
use std::fs;
use std::path::{Path, PathBuf};

/// A process that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

/// Processes looked at, at most: busy machines have thousands, and the answer is only a hint.
const MOST_PROCESSES: usize = 20_000;

/// Processes told, at most.
const MOST_USERS: usize = 10;

/// The processes that keep the mount at `mountpoint` busy. Only links in `/proc` are read, never
/// the mount itself. Other users' processes stay unseen unless root asks.
pub fn of(mountpoint: &Path) -> Vec<User> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .take(MOST_PROCESSES)
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            uses(&folder, mountpoint).then(|| User {
                pid,
                name: name(&folder),
            })
        })
        .take(MOST_USERS)
        .collect()
}

/// Whether the process described in `folder` has its working folder, root, program or a file there.
fn uses(folder: &Path, mountpoint: &Path) -> bool {
    let links = ["cwd", "root", "exe"].map(|link| folder.join(link));
    let files = fs::read_dir(folder.join("fd"))
        .into_iter()
        .flatten()
        .filter_map(|fd| Some(fd.ok()?.path()));
    let points_there =
        |link: PathBuf| fs::read_link(link).is_ok_and(|target| target.starts_with(mountpoint));
    links.into_iter().chain(files).any(points_there)
}

fn name(folder: &Path) -> String {
    let bytes = fs::read(folder.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_in_a_folder_is_seen_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let mut child = Command::new("sleep")
            .arg("30")
            .current_dir(&real)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let users = of(&real);
        let elsewhere = of(&real.join("below"));
        child.kill().unwrap();
        child.wait().unwrap();
        let user = User {
            pid: child.id(),
            name: "sleep".into(),
        };
        assert_eq!(users, [user]);
        assert!(elsewhere.is_empty());
    }
}
