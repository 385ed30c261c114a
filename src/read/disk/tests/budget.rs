//! The budget at every instant, and who has to go for it.
use super::super::Pin;
use super::super::geometry::{EDGE, UNIT};
use super::{MIB, check, content, data_file, flush, id, offer, on_disk, open};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Looks at the folder all the time `work` takes; the most it took on disk.
fn most_on_disk(dir: &Path, work: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(on_disk(dir));
            }
            most
        });
        work();
        done.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    })
}

#[test]
fn three_times_the_budget_never_takes_more_than_the_budget() {
    let dir = tempfile::tempdir().unwrap();
    let budget = 24 * MIB;
    let cache = open(dir.path(), budget);
    let size = 60 * MIB + 5;
    let most = most_on_disk(dir.path(), || {
        for number in 1..=30 {
            offer(&cache, number, 200_000, 0..200_000);
        }
        for start in (0..size).step_by(3 << 20) {
            offer(&cache, 99, size, start..size.min(start + 3 * MIB));
            flush(&cache);
            assert!(on_disk(dir.path()) <= budget);
            let usage = cache.usage();
            assert!(usage.bytes + usage.overhead <= budget, "{usage:?}");
        }
    });
    assert!(most <= budget, "{most}");
    let usage = cache.usage();
    assert_eq!(usage.dropped, 0);
    assert!(usage.evicted * UNIT >= 2 * budget - 8 * MIB, "{usage:?}");
    assert!(
        usage.bytes >= budget * 3 / 4,
        "a cache that stays empty is no feat: {usage:?}"
    );
    assert!(check(&cache, 99, size, size - 3 * MIB..size));
}

#[test]
fn a_huge_stream_leaves_the_heads_and_tails_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 40 * MIB);
    let film = 16 * MIB;
    // Players read less than what counts as an edge.
    let (head, tail) = (0..MIB / 2, film - MIB / 4..film);
    for number in 1..=20 {
        offer(&cache, number, film, head.clone());
        offer(&cache, number, film, tail.clone());
    }
    // Watched in part, a long time ago.
    offer(&cache, 1, film, EDGE..EDGE + 2 * MIB);
    flush(&cache);
    let size = 90 * MIB;
    for start in (0..size).step_by(8 << 20) {
        offer(&cache, 99, size, start..size.min(start + 8 * MIB));
        flush(&cache);
    }
    for number in 1..=20 {
        assert!(
            check(&cache, number, film, head.clone()),
            "head of {number}"
        );
        assert!(
            check(&cache, number, film, tail.clone()),
            "tail of {number}"
        );
    }
    assert!(!check(&cache, 1, film, EDGE..EDGE + UNIT));
    assert!(check(&cache, 99, size, size - 4 * MIB..size));
}

#[test]
fn recency_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let film = 12 * MIB;
    let body = EDGE..EDGE + 2 * MIB;
    let cache = open(dir.path(), 32 * MIB);
    for number in 1..=4 {
        offer(&cache, number, film, body.clone());
    }
    flush(&cache);
    // The oldest becomes the newest by being read, not by being written.
    assert!(check(&cache, 1, film, body.clone()));
    drop(cache);
    let cache = open(dir.path(), 5 * MIB);
    flush(&cache);
    assert!(on_disk(dir.path()) <= 5 * MIB);
    let left: Vec<u64> = (1..=4)
        .filter(|number| cache.present(id(*number), body.clone()) > body.start)
        .collect();
    assert_eq!(left, [1, 4]);
}

#[test]
fn readers_are_never_punched_under() {
    let dir = tempfile::tempdir().unwrap();
    // Room for little more than one segment: whatever is evicted was read just now.
    let cache = open(dir.path(), 6 * MIB);
    let size = 64 * MIB;
    let written = AtomicU64::new(0);
    let hits: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4u64)
            .map(|reader| {
                let (cache, written) = (cache.clone(), &written);
                scope.spawn(move || {
                    let mut hits = 0u64;
                    loop {
                        let end = written.load(Ordering::Relaxed);
                        if end == size {
                            return hits;
                        }
                        let start = end.saturating_sub((reader + 1) * MIB);
                        hits += u64::from(check(&cache, 1, size, start..start + MIB));
                    }
                })
            })
            .collect();
        for start in (0..size).step_by(1 << 20) {
            offer(&cache, 1, size, start..start + MIB);
            flush(&cache);
            written.store(start + MIB, Ordering::Relaxed);
        }
        let hits = readers.into_iter().map(|reader| reader.join().unwrap());
        hits.sum()
    });
    let usage = cache.usage();
    assert!(hits > 0 && usage.evicted > 0, "{hits} hits, {usage:?}");
    assert_eq!(usage.damaged, 0, "a reader saw a hole: {usage:?}");
}

#[test]
fn what_is_being_read_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 16 * MIB);
    let size = 64 * MIB;
    offer(&cache, 1, size, 8 * MIB..12 * MIB);
    flush(&cache);
    let units = 8 * MIB / UNIT..12 * MIB / UNIT;
    let (pin, _) = Pin::take(cache.shared(), id(1), size, units).unwrap();
    for start in (12 * MIB..60 * MIB).step_by(1 << 20) {
        offer(&cache, 1, size, start..start + MIB);
        flush(&cache);
    }
    // Looked at past the cache, which would make it the most recently used.
    let mut bytes = vec![0; 4 << 20];
    cache
        .shared()
        .data
        .read(id(1), 8 * MIB, &mut bytes)
        .unwrap();
    assert!(bytes == content(1, 8 * MIB..12 * MIB));
    drop(pin);
    offer(&cache, 1, size, 12 * MIB..24 * MIB);
    flush(&cache);
    assert_eq!(cache.present(id(1), 8 * MIB..size), 8 * MIB);
}

#[test]
fn without_holes_whole_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let budget = 8 * MIB;
    let cache = open(dir.path(), budget);
    flush(&cache);
    cache.shared().data.holeless.store(true, Ordering::Relaxed);
    let size = 2 * MIB;
    let most = most_on_disk(dir.path(), || {
        for number in 1..=12 {
            offer(&cache, number, size, 0..size);
            flush(&cache);
        }
        // One that is larger than the budget.
        for start in (0..20 * MIB).step_by(1 << 20) {
            offer(&cache, 99, 20 * MIB, start..start + MIB);
            flush(&cache);
        }
    });
    assert!(most <= budget, "{most}");
    assert!(!data_file(dir.path(), 1).exists());
    let usage = cache.usage();
    assert_eq!((usage.dropped, &usage.degraded), (0, &None));
    assert!(usage.bytes > 0);
    // Damage keeps its place until it is written again, or the file goes.
    super::damage(dir.path(), 99, 20 * MIB - 9, b"!");
    assert!(!check(&cache, 99, 20 * MIB, 20 * MIB - UNIT..20 * MIB));
    cache.offer(
        id(99),
        20 * MIB,
        20 * MIB - UNIT,
        content(99, 20 * MIB - UNIT..20 * MIB),
    );
    flush(&cache);
    assert!(check(&cache, 99, 20 * MIB, 20 * MIB - UNIT..20 * MIB));
    cache.clear();
    flush(&cache);
    assert_eq!(cache.usage().bytes, 0);
}

#[test]
fn too_small_a_budget_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for budget in [0, 4096, 500_000] {
        let cache = open(dir.path(), budget);
        offer(&cache, 1, MIB, 0..MIB);
        flush(&cache);
        assert_eq!(cache.usage().bytes, 0);
        assert!(!check(&cache, 1, MIB, 0..UNIT));
    }
}
