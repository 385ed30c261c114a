//! Bytes: the right ones, for every reader, at every offset.
use crate::harness::{Mount, assert_well_behaved, can_mount, names, read_file};
use fake_1fichier::{Fake, content};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;

/// A small generator of offsets: the same in every run.
struct Offsets(u64);

impl Offsets {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) % limit
    }
}

/// Reads `len` bytes at `at` and compares them with the generator's.
fn check(file: &File, seed: u64, at: u64, len: usize, size: u64) {
    let mut got = vec![0; len];
    let want_len = len.min(usize::try_from(size.saturating_sub(at)).unwrap());
    let mut filled = 0;
    while filled < got.len() {
        match file
            .read_at(&mut got[filled..], at + filled as u64)
            .unwrap()
        {
            0 => break,
            read => filled += read,
        }
    }
    assert_eq!(filled, want_len, "length at {at}");
    let mut want = vec![0; want_len];
    content::fill(seed, at, &mut want);
    assert!(
        got[..filled] == want[..],
        "wrong bytes within {at}..{}",
        at + len as u64
    );
}

#[test]
fn a_file_is_read_whole_with_one_token() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let size = 40 * MIB + 12_345;
    fake.account().add_synthetic(0, "film.mkv", size, 7);
    let mut mount = Mount::new(&fake);
    let bytes = read_file(&mount.path("film.mkv")).unwrap();
    let mut want = vec![0; usize::try_from(size).unwrap()];
    content::fill(7, 0, &mut want);
    assert!(bytes == want);
    assert_eq!(fake.count("download/get_token"), 1);
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn the_edges_of_a_file_are_where_they_belong() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    for size in [
        1,
        4095,
        4096,
        4097,
        256 * 1024 - 1,
        256 * 1024,
        256 * 1024 + 1,
        MIB + 1,
    ] {
        fake.account()
            .add_synthetic(0, &format!("{size}"), size, size);
    }
    let mut mount = Mount::new(&fake);
    for size in [
        1,
        4095,
        4096,
        4097,
        256 * 1024 - 1,
        256 * 1024,
        256 * 1024 + 1,
        MIB + 1,
    ] {
        let file = File::open(mount.path(&format!("{size}"))).unwrap();
        for at in [0, size / 2, size - 1, size, size + 1, size + 10 * MIB] {
            check(&file, size, at, 300_000, size);
        }
    }
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn many_readers_of_one_file_each_get_the_right_bytes() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let size = 4 << 30;
    fake.account().add_synthetic(0, "film.mkv", size, 99);
    let mut mount = Mount::with(&fake, None, &["--memory", "64MiB", "--cache-size", "0"]);
    let path = mount.path("film.mkv");
    let read = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (path, read) = (&path, &read);
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                let mut offsets = Offsets(reader);
                for _ in 0..40 {
                    let at = offsets.below(size);
                    let len = 1 + usize::try_from(offsets.below(400_000)).unwrap();
                    check(&file, 99, at, len, size);
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(read.into_inner(), 320);
    let (_, peak) = mount.resident();
    assert!(peak < 200 * MIB, "{} MiB resident", peak / MIB);
    assert_eq!(fake.count("download/get_token"), 1);
    assert!(
        fake.connections().downloads_peak <= 20,
        "{:?}",
        fake.connections()
    );
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn readers_of_the_same_place_share_what_is_fetched() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let size = 24 * MIB;
    fake.account().add_synthetic(0, "film.mkv", size, 5);
    let mut mount = Mount::new(&fake);
    let path = mount.path("film.mkv");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let file = File::open(&path).unwrap();
                for at in (0..size).step_by(usize::try_from(MIB).unwrap()) {
                    check(&file, 5, at, usize::try_from(MIB).unwrap(), size);
                }
            });
        }
    });
    let sent: u64 = fake
        .log()
        .iter()
        .filter(|it| it.endpoint == "download")
        .map(|it| it.bytes_sent)
        .sum();
    // Six readers on their own would take six times the file. What is above one is what the service had
    // sent into the sockets of streams that another one made superfluous.
    assert!(sent <= 2 * size, "{sent} bytes for {size}");
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn the_end_of_a_huge_file_is_reached_without_its_beginning() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let size = 40_000_000_000;
    fake.account().add_synthetic(0, "film.mp4", size, 3);
    let mut mount = Mount::new(&fake);
    let file = File::open(mount.path("film.mp4")).unwrap();
    check(&file, 3, size - 70_000, 80_000, size);
    check(&file, 3, 0, 70_000, size);
    check(&file, 3, size / 2, 70_000, size);
    let sent: u64 = fake
        .log()
        .iter()
        .filter(|it| it.endpoint == "download")
        .map(|it| it.bytes_sent)
        .sum();
    assert!(sent < 8 * MIB, "{sent} bytes");
    drop(file);
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_size_that_no_file_can_have_does_not_hide_the_file() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let account = fake.account();
    account.add_bytes(0, "small", "x");
    account.add_synthetic(0, "huge", 1 << 63, 1);
    let mut mount = Mount::new(&fake);
    let sizes = names(&mount.dir()).unwrap().into_iter().map(|name| {
        let size = fs::metadata(mount.path(&name)).unwrap().len();
        (name, size)
    });
    let sizes: Vec<_> = sizes.collect();
    let largest = u64::try_from(i64::MAX).unwrap();
    assert_eq!(sizes, [("huge".into(), largest), ("small".into(), 1)]);
    mount.umount();
    assert_well_behaved(&fake);
}
