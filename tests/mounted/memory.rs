//! What the program takes of the machine, whatever is opened.
use crate::harness::{Mount, assert_well_behaved, can_mount};
use fake_1fichier::{Fake, content};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

const MIB: u64 = 1 << 20;

/// Files read at the same time.
const STREAMS: u64 = 200;

/// What each is read of, in steps as a player takes them.
const READ: u64 = 3 * MIB;

/// Bytes of a step.
const STEP: usize = 64 * 1024;

/// Reads 200 films at once, each from its beginning, with 128 MiB for contents; returns the most memory
/// it took.
fn peak_of_many_streams(tls: bool, disk: &str) -> u64 {
    let fake = Fake::builder().clock("20").tls(tls).start().unwrap();
    for number in 0..STREAMS {
        fake.account()
            .add_synthetic(0, &format!("{number}.mkv"), 8 << 30, number);
    }
    let mut mount = Mount::with(
        &fake,
        Some("20"),
        &["--memory", "128MiB", "--cache-size", disk],
    );
    // The service gives some two links a second: no reader may have to wait for 200 of them.
    let first_bytes = |first: u64| {
        for number in (first..STREAMS).step_by(8) {
            let file = File::open(mount.path(&format!("{number}.mkv"))).unwrap();
            file.read_exact_at(&mut [0], 0).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for first in 0..8 {
            let first_bytes = &first_bytes;
            scope.spawn(move || first_bytes(first));
        }
    });
    std::thread::scope(|scope| {
        for number in 0..STREAMS {
            let mount = &mount;
            scope.spawn(move || {
                let file = File::open(mount.path(&format!("{number}.mkv"))).unwrap();
                let (mut got, mut want) = (vec![0; STEP], vec![0; STEP]);
                for at in (0..READ).step_by(STEP) {
                    file.read_exact_at(&mut got, at).unwrap();
                    content::fill(number, at, &mut want);
                    assert!(got == want, "wrong bytes in {number}.mkv at {at}");
                }
            });
        }
    });
    let (_, peak) = mount.resident();
    mount.umount();
    assert_well_behaved(&fake);
    peak
}

#[test]
fn two_hundred_streams_over_tls_fit_into_what_was_given() {
    if !can_mount() {
        return;
    }
    let peak = peak_of_many_streams(true, "0");
    assert!(peak <= 200 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn two_hundred_streams_and_a_disk_cache_fit_as_well() {
    if !can_mount() {
        return;
    }
    // The disk cache's own queue and half-filled units are 20 MiB at most.
    let peak = peak_of_many_streams(false, "10GiB");
    assert!(peak <= 200 * MIB, "{} MiB", peak / MIB);
}
