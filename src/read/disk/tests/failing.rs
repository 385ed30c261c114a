//! Disks that are full or read-only, for real: small tmpfs mounts, which only root can make.
use super::super::DiskCache;
use super::super::health::PAUSE;
use super::{MIB, check, flush, offer, open};
use crate::util::clock::Clock;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;
use tempfile::TempDir;

/// A file system of its own, unmounted when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    /// `None`, said loudly, without the right to mount.
    fn new(bytes: u64) -> Option<Self> {
        let this = Self(tempfile::tempdir().unwrap());
        match this.mount(MsFlags::empty(), bytes) {
            Ok(()) => Some(this),
            Err(error) => {
                eprintln!("SKIPPED: a full disk is not tested: cannot mount a tmpfs: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mount(&self, flags: MsFlags, bytes: u64) -> nix::Result<()> {
        let options = format!("size={bytes}");
        mount(
            Some("tmpfs"),
            self.path(),
            Some("tmpfs"),
            flags,
            Some(&*options),
        )
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        umount2(self.path(), MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn a_full_disk_keeps_what_it_has_and_is_tried_again() {
    let Some(disk) = Tmpfs::new(4 * MIB) else {
        return;
    };
    let other = disk.path().join("other");
    std::fs::write(&other, vec![1; 2 << 20]).unwrap();
    // A minute is a second here.
    let clock = Clock::scaled(PAUSE.as_secs_f64(), None);
    let dir = disk.path().join("cache");
    let cache = DiskCache::open(&dir, 64 * MIB, clock).unwrap();
    let size = 8 * MIB;
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    let usage = cache.usage();
    let reason = usage.degraded.unwrap();
    assert!(
        reason.contains("No space left") && reason.contains("free some space"),
        "{reason}"
    );
    assert!(usage.dropped > 0 && usage.written > 0);
    // What was written is served, also while nothing can be written.
    let end = cache.present(super::id(1), 0..size);
    assert!(end > MIB && check(&cache, 1, size, 0..end));

    std::fs::remove_file(other).unwrap();
    let before = cache.usage().dropped;
    offer(&cache, 2, MIB, 0..MIB);
    assert_eq!(cache.usage().dropped, before + 4, "left alone for a minute");
    std::thread::sleep(clock.real(PAUSE));
    offer(&cache, 2, MIB, 0..MIB);
    flush(&cache);
    assert!(check(&cache, 2, MIB, 0..MIB), "{:?}", cache.usage());
    assert_eq!(cache.usage().degraded, None);
    drop(cache);
    let cache = open(&dir, 64 * MIB);
    assert!(check(&cache, 1, size, 0..end) && check(&cache, 2, MIB, 0..MIB));
    assert_eq!(cache.usage().damaged, 0);
}

#[test]
fn a_read_only_disk_is_served_from() {
    let Some(disk) = Tmpfs::new(8 * MIB) else {
        return;
    };
    let cache = open(disk.path(), 64 * MIB);
    offer(&cache, 1, MIB, 0..MIB);
    flush(&cache);
    drop(cache);
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    // The last cache's thread may hold its files an instant longer.
    let frozen = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        disk.mount(read_only, 8 * MIB).is_ok()
    });
    assert!(frozen);
    let cache = open(disk.path(), 64 * MIB);
    offer(&cache, 2, MIB, 0..MIB);
    flush(&cache);
    assert!(check(&cache, 1, MIB, 0..MIB));
    assert!(!check(&cache, 2, MIB, 0..MIB));
    let reason = cache.usage().degraded.unwrap();
    assert!(
        reason.contains("Read-only") && reason.contains("make its file system writable"),
        "{reason}"
    );
}
