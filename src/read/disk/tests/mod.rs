//! The cache as its callers see it, on a real file system.
mod budget;
mod crash;
mod failing;
mod map;
mod verify;

use super::geometry::UNIT;
use super::{DiskCache, UNIT_LEN, Usage};
use crate::api::FileId;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use bytes::Bytes;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn id(number: u64) -> FileId {
    FileId::parse(&format!("{number:020}")).unwrap()
}

/// What file `number` has at `range`: nowhere twice the same, never zeros.
fn content(number: u64, range: Range<u64>) -> Bytes {
    let words = range.start / 8..range.end.div_ceil(8);
    let mut bytes = Vec::with_capacity(usize::try_from((words.end - words.start) * 8).unwrap());
    for word in words.clone() {
        let mixed = (word + 1 + (number << 44)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 32;
        bytes.extend_from_slice(&mixed.to_le_bytes());
    }
    let start = usize::try_from(range.start - words.start * 8).unwrap();
    let len = usize::try_from(range.end - range.start).unwrap();
    Bytes::from(bytes).slice(start..start + len)
}

fn open(dir: &Path, budget: u64) -> DiskCache {
    DiskCache::open(dir, budget, Clock::system()).unwrap()
}

/// Offers a range in pieces a stream would bring, each wholly.
fn offer(cache: &DiskCache, number: u64, size: u64, range: Range<u64>) {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + 256 * 1024);
        cache.offer(id(number), size, at, content(number, at..end));
        at = end;
    }
}

fn flush(cache: &DiskCache) {
    let deadline = Deadline::within(Clock::system(), Duration::from_secs(20));
    assert!(
        cache.flush(deadline),
        "the writer is stuck: {:?}",
        cache.usage()
    );
}

/// Reads and compares; whether it was there.
fn check(cache: &DiskCache, number: u64, size: u64, range: Range<u64>) -> bool {
    let read = cache.read(id(number), size, range.clone());
    if let Some(bytes) = &read {
        let end = range.end.min(size);
        assert!(
            *bytes == content(number, range.start.min(end)..end),
            "wrong bytes at {range:?}"
        );
    }
    read.is_some()
}

/// Bytes a folder takes on disk, itself and all below included.
fn on_disk(dir: &Path) -> u64 {
    // Files may vanish while this looks.
    let Ok(metadata) = std::fs::symlink_metadata(dir) else {
        return 0;
    };
    let below = std::fs::read_dir(dir).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|entry| on_disk(&entry.path())).sum::<u64>()
}

fn data_file(dir: &Path, number: u64) -> PathBuf {
    let id = id(number);
    dir.join("data").join(&id.as_str()[..1]).join(id.as_str())
}

/// Overwrites bytes of a data file behind the cache's back.
fn damage(dir: &Path, number: u64, offset: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(data_file(dir, number))
        .unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn what_was_offered_is_there_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let size = 10 * UNIT + 777;
    let cache = open(dir.path(), 64 * MIB);
    assert_eq!(cache.present(id(1), 5..size), 5);
    assert!(!check(&cache, 1, size, 0..size));
    offer(&cache, 1, size, 2 * UNIT..5 * UNIT);
    offer(&cache, 1, size, 9 * UNIT..size);
    flush(&cache);
    let look = |cache: &DiskCache| {
        assert_eq!(cache.present(id(1), 0..size), 0);
        assert_eq!(cache.present(id(1), 3 * UNIT + 9..size), 5 * UNIT);
        assert_eq!(cache.present(id(1), 3 * UNIT + 9..4 * UNIT), 4 * UNIT);
        assert_eq!(cache.present(id(1), 9 * UNIT + 1..u64::MAX), size);
        assert!(check(cache, 1, size, 2 * UNIT..5 * UNIT));
        assert!(check(cache, 1, size, 3 * UNIT + 9..3 * UNIT + 10));
        assert!(check(cache, 1, size, 10 * UNIT + 1..u64::MAX));
        assert!(
            check(cache, 1, size, size..size + 5),
            "nothing is always there"
        );
        assert!(!check(cache, 1, size, UNIT..3 * UNIT));
        assert!(!check(cache, 1, size, 4 * UNIT..6 * UNIT));
    };
    look(&cache);
    drop(cache);
    look(&open(dir.path(), 64 * MIB));
}

#[test]
fn the_folder_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), MIB);
    let refused = DiskCache::open(dir.path(), MIB, Clock::system())
        .err()
        .unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::ResourceBusy);
    let message = refused.to_string();
    assert!(
        message.contains(&format!("pid {}", std::process::id())),
        "{message}"
    );
    drop(cache);
    open(dir.path(), MIB);
}

#[test]
fn damage_of_any_kind_is_a_miss() {
    let dir = tempfile::tempdir().unwrap();
    let size = 8 * UNIT;
    let cache = open(dir.path(), 64 * MIB);
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    let flip = || {
        let byte = content(1, UNIT + 100..UNIT + 101)[0];
        damage(dir.path(), 1, UNIT + 100, &[byte ^ 1]);
    };
    flip();
    let beside = UNIT + 5000..UNIT + 5001;
    assert!(!check(&cache, 1, size, beside), "the whole unit is checked");
    offer(&cache, 1, size, UNIT..2 * UNIT);
    flush(&cache);
    assert!(check(&cache, 1, size, 0..size), "it can be had anew");
    // A flipped bit, a unit of zeros as a lost write leaves it, and right bytes at a wrong place.
    flip();
    damage(dir.path(), 1, 3 * UNIT, &vec![0; UNIT_LEN]);
    damage(dir.path(), 1, 5 * UNIT, &content(1, 4 * UNIT..5 * UNIT));
    assert!(!check(&cache, 1, size, 0..size));
    assert_eq!(cache.usage().damaged, 4);
    for unit in 0..8 {
        let range = unit * UNIT..(unit + 1) * UNIT;
        assert_eq!(check(&cache, 1, size, range), ![1, 3, 5].contains(&unit));
    }
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    assert!(check(&cache, 1, size, 0..size));
    // A file cut short.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(data_file(dir.path(), 1))
        .unwrap();
    file.set_len(2 * UNIT + 1).unwrap();
    assert!(!check(&cache, 1, size, 2 * UNIT..3 * UNIT));
    assert!(check(&cache, 1, size, 0..2 * UNIT));
    assert_eq!(cache.usage().degraded, None);
}

#[test]
fn real_zeros_are_kept_and_holes_are_not_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let size = 4 * UNIT;
    let cache = open(dir.path(), 64 * MIB);
    let zeros = Bytes::from(vec![0; UNIT_LEN]);
    cache.offer(id(1), size, UNIT, zeros.clone());
    flush(&cache);
    assert_eq!(cache.read(id(1), size, UNIT..2 * UNIT), Some(zeros));
    assert_eq!(cache.read(id(1), size, 0..UNIT), None);
    assert_eq!(cache.read(id(1), size, 2 * UNIT..3 * UNIT), None);
}

#[test]
fn another_size_is_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * MIB);
    offer(&cache, 1, 4 * UNIT, 0..4 * UNIT);
    flush(&cache);
    assert!(!check(&cache, 1, 4 * UNIT + 1, 0..UNIT));
    assert_eq!(cache.present(id(1), 0..UNIT), 0);
    flush(&cache);
    assert_eq!(cache.usage().bytes, 0);
    offer(&cache, 1, 4 * UNIT + 1, 0..4 * UNIT + 1);
    flush(&cache);
    assert!(check(&cache, 1, 4 * UNIT + 1, 0..4 * UNIT + 1));
}

#[test]
fn nonsense_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * MIB);
    let bytes = Bytes::from_static(b"bytes");
    cache.offer(id(1), 4, 0, bytes.clone());
    cache.offer(id(1), u64::MAX, u64::MAX - 2, bytes.clone());
    cache.offer(id(1), u64::MAX, 0, bytes.clone());
    cache.offer(id(1), 0, 0, Bytes::new());
    assert_eq!(cache.usage().dropped, 3);
    assert_eq!(cache.present(id(1), u64::MAX - 1..u64::MAX), u64::MAX - 1);
    #[expect(clippy::reversed_empty_ranges)]
    let backwards = 9..3;
    assert_eq!(cache.present(id(1), backwards.clone()), 9);
    assert_eq!(cache.read(id(1), 20, backwards), Some(Bytes::new()));
    assert_eq!(cache.read(id(1), u64::MAX, 5..9), None);
}

#[test]
fn what_is_forgotten_is_gone_and_its_space_too() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * MIB);
    for number in 1..=3 {
        offer(&cache, number, MIB, 0..MIB);
    }
    flush(&cache);
    cache.forget(id(2));
    assert_eq!(cache.present(id(2), 0..MIB), 0);
    assert!(check(&cache, 1, MIB, 0..MIB));
    flush(&cache);
    assert!(!data_file(dir.path(), 2).exists());
    let Usage { bytes, files, .. } = cache.usage();
    assert_eq!((bytes, files), (2 * MIB, 2));
    cache.clear();
    assert!(!check(&cache, 1, MIB, 0..MIB));
    flush(&cache);
    assert_eq!((cache.usage().bytes, cache.usage().files), (0, 0));
    assert!(on_disk(dir.path()) < MIB / 2);
    drop(cache);
    assert_eq!(open(dir.path(), 64 * MIB).usage().files, 0);
}
