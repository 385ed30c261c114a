//! A service at its worst: every fault a client can survive, all the time. Whatever is read is right,
//! nearly all is read, and what is not is an error in time.
use crate::harness::{Mount, can_mount};
use fake_1fichier::{Fake, Profile, content};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Virtual seconds per real second.
const FACTOR: &str = "10";

/// Reads when `FICHIERFS_SOAK_READS` does not say how many; `scripts/fault-soak` does.
const READS: usize = 400;

/// Programs that read at the same time.
const READERS: usize = 16;

/// Files, and the bytes of each: 20 GiB, far more than memory and the disk cache hold, so that most reads need the
/// service and the cache is full, evicted from and read back all the time.
const FILES: u64 = 5;
const SIZE: u64 = 4 << 30;

/// What the disk cache may take; a short run does not fill it.
const CACHE: &str = "1GiB";

/// Real time after which an answer is late: two deadlines of 60 s at 10 times the speed, since the
/// kernel asks again for a page it could not read ahead, and as much again for a busy machine.
const LATE: Duration = Duration::from_secs(24);

/// Real time before a program that met an error goes on, 10 s for the mount. While the service asks
/// for silence, reads that need it fail at once; one that does not wait proves how fast that is.
const PATIENCE: Duration = Duration::from_secs(1);

#[test]
fn random_reads_are_right_or_an_error_in_time() {
    if !can_mount() {
        return;
    }
    let reads = std::env::var("FICHIERFS_SOAK_READS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(READS);
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let seeds = 1..=FILES;
    for seed in seeds.clone() {
        fake.account()
            .add_synthetic(0, &format!("{seed}.mkv"), SIZE, seed);
    }
    let mut mount = Mount::with(
        &fake,
        Some(FACTOR),
        &["--memory", "64MiB", "--cache-size", CACHE],
    );
    let worst = Profile::Hostile;
    fake.set_shape(worst.shape());
    fake.set_config(|config| worst.configure(config));
    for fault in worst.faults() {
        fake.faults().add(fault);
    }
    let files: Vec<(u64, File)> = seeds
        .map(|seed| (seed, open(&mount, &format!("{seed}.mkv"))))
        .collect();
    let (next, begun) = (AtomicUsize::new(0), Instant::now());
    let (failed, early, longest) = (
        Mutex::new(Vec::new()),
        AtomicUsize::new(0),
        Mutex::default(),
    );
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= reads {
                        return;
                    }
                    let outcome = read(&files, number);
                    let mut longest = longest.lock().unwrap();
                    *longest = outcome.longest.max(*longest);
                    drop(longest);
                    early.fetch_add(outcome.early, Ordering::Relaxed);
                    if let Err(error) = outcome.result {
                        failed.lock().unwrap().push(error.to_string());
                        std::thread::sleep(PATIENCE);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{reads} reads in {:.0?}: {} failed {failed:?}; {} calls ended before a page that failed; the longest call took \
         {:.1?}, {LATE:?} allowed",
        begun.elapsed(),
        failed.len(),
        early.into_inner(),
        longest.into_inner().unwrap(),
    );
    // One bad moment of the service meets every reader.
    assert!(failed.len() <= READERS + reads / 200, "{failed:?}");
    assert!(!mount.log().contains("panicked"));
    // Locks are among the faults here. A call that was under way when one struck cannot be helped;
    // a second of silence later there is none.
    for violation in fake.violations() {
        let of_all = |left: &&str| violation.detail.contains(left);
        let was_under_way = violation.rule == "flood_lock" && ["29.", "30."].iter().any(of_all);
        assert!(was_under_way, "{violation:?}");
    }
    drop(files);
    mount.umount();
}

/// Opens a file; the folder's listing may fail now and then.
fn open(mount: &Mount, name: &str) -> File {
    let mut tries = 0;
    loop {
        match File::open(mount.path(name)) {
            Ok(file) => return file,
            Err(error) if tries >= 5 => panic!("{name}: {error}"),
            Err(_) => tries += 1,
        }
    }
}

/// How one read went.
struct Outcome {
    /// Every byte, or the error that a program saw.
    result: std::io::Result<()>,
    /// Calls that gave less than was asked for.
    early: usize,
    /// Real time the longest call took.
    longest: Duration,
}

/// Read number `number` of the sequence that every run goes through.
fn read(files: &[(u64, File)], number: usize) -> Outcome {
    let mut dice = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut below = |limit: u64| {
        dice ^= dice >> 29;
        dice = dice.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        dice ^= dice >> 32;
        dice % limit
    };
    let (seed, file) = &files[usize::try_from(below(files.len() as u64)).unwrap()];
    let len = 1 + below(300_000);
    let at = below(SIZE - len);
    let mut got = vec![0; usize::try_from(len).unwrap()];
    let (mut filled, mut calls, mut longest) = (0, 0, Duration::ZERO);
    // A read(2) may end before a page that failed, and the kernel tells that by a short answer. Then the next one
    // says why, or gives the rest.
    let result = loop {
        let began = Instant::now();
        let outcome = file.read_at(&mut got[filled..], at + filled as u64);
        longest = longest.max(began.elapsed());
        assert!(longest < LATE, "an answer after {longest:?}: {outcome:?}");
        calls += 1;
        match outcome {
            Ok(0) => panic!("the end of the file in its middle, at {at} + {filled}"),
            Ok(more) => filled += more,
            Err(error) => break Err(error),
        }
        if filled == got.len() {
            break Ok(());
        }
    };
    let mut want = vec![0; filled];
    content::fill(*seed, at, &mut want);
    assert!(
        got[..filled] == want,
        "wrong bytes within {at}..{}",
        at + len
    );
    Outcome {
        result,
        early: calls - 1,
        longest,
    }
}
