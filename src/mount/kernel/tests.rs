//! Real mounts that nobody serves. They need root and the FUSE device, and say so when skipped.
use super::super::{check, mountinfo, stale};
use super::*;
use crate::util::clock::Clock;
use std::fs;

fn can_mount(test: &str) -> bool {
    let can = nix::unistd::geteuid().is_root() && Path::new(DEVICE).exists();
    if !can {
        eprintln!("SKIPPED {test}: needs root and {DEVICE}");
    }
    can
}

fn options() -> Options {
    Options {
        account: "test".parse().unwrap(),
        read_only: true,
        allow_other: false,
        noexec: true,
        noatime: false,
    }
}

/// Limits pass a hundred times faster.
fn fast() -> Clock {
    Clock::scaled(100.0, None)
}

/// A mountpoint that is free again when the test ends, however it ends.
struct Mountpoint(tempfile::TempDir);

impl Mountpoint {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0
            .path()
            .canonicalize()
            .unwrap_or_else(|_| self.0.path().to_owned())
    }
}

impl Drop for Mountpoint {
    fn drop(&mut self) {
        while let Ok(Some(_)) = mountinfo::top_at(self.0.path()) {
            if unmount(self.0.path(), Way::Lazy).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_mount_is_ours_and_goes_when_detached() {
    if !can_mount("a_mount_is_ours_and_goes_when_detached") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    let attached = attach(&path, &options()).unwrap();
    let entry = mountinfo::top_at(&path).unwrap().unwrap();
    assert_eq!(entry.account(), Some("test"));
    assert!(attached.is_there().unwrap());
    attached.detach().unwrap();
    assert!(!attached.is_there().unwrap());
    assert!(mountinfo::top_at(&path).unwrap().is_none());
    attached.detach().unwrap();
}

#[test]
fn the_kernel_hears_every_switch() {
    if !can_mount("the_kernel_hears_every_switch") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    let options = Options {
        allow_other: true,
        ..options()
    };
    let attached = attach(&path, &options).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(path.to_str().unwrap()))
        .unwrap();
    for word in [
        "ro,",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
        "allow_other",
        "user_id=0",
    ] {
        assert!(line.contains(word), "{word} is not in: {line}");
    }
    attached.detach().unwrap();
}

#[test]
fn another_mount_that_took_the_place_is_left_alone() {
    if !can_mount("another_mount_that_took_the_place_is_left_alone") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    let first = attach(&path, &options()).unwrap();
    unmount(&path, Way::Lazy).unwrap();
    let second = attach(&path, &options()).unwrap();
    first.detach().unwrap();
    assert!(second.is_there().unwrap());
    second.detach().unwrap();
}

#[test]
fn a_dead_mount_is_cleared_and_a_silent_one_is_not() {
    if !can_mount("a_dead_mount_is_cleared_and_a_silent_one_is_not") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    drop(attach(&path, &options()).unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap_err().raw_os_error(),
        Some(Errno::ENOTCONN as i32)
    );
    assert_eq!(mountinfo::canonical(&path).unwrap(), path);
    assert_eq!(stale::probe(&path, fast()), stale::Life::Dead);
    assert_eq!(check::mountpoint(&path, &[], fast()).unwrap(), path);
    assert!(mountinfo::top_at(&path).unwrap().is_none());
    assert!(matches!(
        stale::clear(&path, fast()).unwrap(),
        stale::Found::Nothing
    ));
}

#[test]
fn a_mount_that_does_not_answer_is_left_alone_and_told() {
    if !can_mount("a_mount_that_does_not_answer_is_left_alone_and_told") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    let attached = attach(&path, &options()).unwrap();
    let found = stale::clear(&path, fast()).unwrap();
    assert!(
        matches!(found, stale::Found::Ours(_, stale::Life::Silent)),
        "{found:?}"
    );
    let err = check::mountpoint(&path, &[], fast()).unwrap_err();
    assert!(err.to_string().contains("`test`"), "{err}");
    assert!(attached.is_there().unwrap());
    attached.detach().unwrap();
}

#[test]
fn a_foreign_file_system_is_not_touched() {
    if !can_mount("a_foreign_file_system_is_not_touched") {
        return;
    }
    let place = Mountpoint::new();
    let path = place.path();
    nix::mount::mount(
        Some("none"),
        &path,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    assert!(matches!(
        stale::clear(&path, fast()).unwrap(),
        stale::Found::Nothing
    ));
    assert!(mountinfo::top_at(&path).unwrap().is_some());
}

#[test]
fn an_impossible_mountpoint_is_refused_with_the_reason() {
    if !can_mount("an_impossible_mountpoint_is_refused_with_the_reason") {
        return;
    }
    let err = attach(Path::new("/nonexistent/place"), &options()).unwrap_err();
    assert!(err.to_string().contains("/nonexistent/place"), "{err}");
}
