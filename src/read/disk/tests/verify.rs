//! Checking what is kept, and lending it.
use super::super::verify::Lendable;
use super::{MIB, UNIT, check, content, damage, data_file, flush, id, offer, on_disk, open};
use crate::api::Whirlpool;
use std::io::Read;
use std::time::Duration;

#[test]
fn a_check_finds_what_is_damaged_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * MIB);
    let size = 40 * UNIT + 99;
    offer(&cache, 1, size, 0..size);
    offer(&cache, 2, size, 3 * UNIT..20 * UNIT);
    flush(&cache);
    let mut seen = Vec::new();
    let mut tell = |bytes| {
        seen.push(bytes);
        true
    };
    assert_eq!(cache.files()[0].bytes, size);
    let whole = cache.verify(id(1), true, &mut tell).unwrap();
    assert_eq!((whole.sound, whole.damaged, whole.size), (size, 0, size));
    assert_eq!(whole.whirlpool, Some(Whirlpool::of(&content(1, 0..size))));
    assert!(seen.is_sorted() && seen.last() == Some(&size));
    // A part has no hash.
    let part = cache.verify(id(2), true, &mut |_| true).unwrap();
    assert_eq!((part.sound, part.whirlpool), (17 * UNIT, None));
    assert_eq!(cache.verify(id(3), true, &mut |_| true), None);

    damage(dir.path(), 1, 30 * UNIT + 7, b"!");
    let byte = content(1, size - 1..size)[0];
    damage(dir.path(), 1, size - 1, &[byte ^ 1]);
    let found = cache.verify(id(1), true, &mut |_| true).unwrap();
    assert_eq!((found.sound, found.damaged), (39 * UNIT, UNIT + 99));
    assert_eq!(found.whirlpool, None);
    assert_eq!(cache.held(id(1)), [0..30 * UNIT, 31 * UNIT..40 * UNIT]);
    // It is gone once; a second check finds nothing.
    let again = cache.verify(id(1), false, &mut |_| true).unwrap();
    assert_eq!((again.sound, again.damaged), (39 * UNIT, 0));

    // Cut short by somebody else: the rest is as good as before.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(data_file(dir.path(), 2))
        .unwrap();
    file.set_len(10 * UNIT + 5).unwrap();
    let cut = cache.verify(id(2), false, &mut |_| true).unwrap();
    assert_eq!((cut.sound, cut.damaged), (7 * UNIT, 10 * UNIT));
    std::fs::remove_file(data_file(dir.path(), 2)).unwrap();
    let files: Vec<_> = cache.files().iter().map(|it| (it.file, it.bytes)).collect();
    assert_eq!(files, [(id(1), 39 * UNIT), (id(2), 7 * UNIT)]);
    let mut stopped = |_| false;
    assert_eq!(cache.verify(id(1), true, &mut stopped), None);
}

#[test]
fn a_check_is_no_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 32 * MIB);
    let film = 12 * MIB;
    let body = 4 * MIB..6 * MIB;
    for number in 1..=3 {
        offer(&cache, number, film, body.clone());
    }
    flush(&cache);
    cache.verify(id(1), false, &mut |_| true).unwrap();
    drop(cache);
    let cache = open(dir.path(), 3 * MIB);
    flush(&cache);
    let left: Vec<u64> = (1..=3)
        .filter(|number| cache.present(id(*number), body.clone()) > body.start)
        .collect();
    assert_eq!(left, [3], "the one that was checked was taken for used");
}

#[test]
fn only_what_was_read_whole_and_is_durable_is_lent() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 64 * MIB);
    let size = 70 * UNIT + 5;
    offer(&cache, 1, size, 0..size - UNIT);
    flush(&cache);
    let state = || cache.lendable(id(1), size);
    assert!(check(&cache, 1, size, 0..60 * UNIT));
    assert_eq!(state(), Lendable::No);
    offer(&cache, 1, size, 60 * UNIT..size);
    flush(&cache);
    assert_eq!(state(), Lendable::No, "the end was never read");
    assert!(check(&cache, 1, size, 50 * UNIT..size));
    assert_eq!(state(), Lendable::OnceDurable);
    assert!(cache.lend(id(1), size).is_none());
    cache.make_durable(id(1), size).unwrap();
    assert_eq!(
        (state(), cache.lendable(id(1), size + 1)),
        (Lendable::Now, Lendable::No)
    );
    // Damage that is seen ends it; a new unit must be read and synced anew.
    damage(dir.path(), 1, 0, b"!");
    assert!(!check(&cache, 1, size, 0..1));
    offer(&cache, 1, size, 0..UNIT);
    flush(&cache);
    assert!(check(&cache, 1, size, 0..1));
    assert_eq!(state(), Lendable::OnceDurable);
    // A check proves it as well; a restart alone proves nothing.
    drop(cache);
    let cache = open(dir.path(), 64 * MIB);
    flush(&cache);
    assert_eq!(cache.lendable(id(1), size), Lendable::No);
    cache.verify(id(1), false, &mut |_| true).unwrap();
    assert_eq!(cache.lendable(id(1), size), Lendable::OnceDurable);
}

#[test]
fn what_was_proved_is_lent_after_a_restart_unless_it_changed() {
    let dir = tempfile::tempdir().unwrap();
    let size = 70 * UNIT + 5;
    let reopened = || {
        let cache = open(dir.path(), 64 * MIB);
        // What is kept is compared with the disk by then.
        flush(&cache);
        cache
    };
    let mut cache = reopened();
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    for killed in [false, true] {
        cache.verify(id(1), false, &mut |_| true).unwrap();
        cache.make_durable(id(1), size).unwrap();
        flush(&cache);
        if killed {
            cache.abandon();
        } else {
            drop(cache);
        }
        cache = reopened();
        assert_eq!(cache.lendable(id(1), size), Lendable::Now);
        drop(cache.lend(id(1), size).unwrap());
        // Somebody else's doing, while it was not looked at: bytes nobody has compared.
        std::thread::sleep(Duration::from_millis(5));
        damage(dir.path(), 1, 9 * UNIT, b"!");
        assert!(cache.lend(id(1), size).is_none());
        assert_eq!(cache.lendable(id(1), size), Lendable::No);
        drop(cache);
        cache = reopened();
        assert_eq!(cache.lendable(id(1), size), Lendable::No);
        assert!(!check(&cache, 1, size, 9 * UNIT..10 * UNIT));
        offer(&cache, 1, size, 9 * UNIT..10 * UNIT);
        flush(&cache);
        // The new unit was not compared yet, whatever was proved of the others.
        assert!(check(&cache, 1, size, 0..9 * UNIT));
        assert_eq!(cache.lendable(id(1), size), Lendable::No);
    }
}

#[test]
fn what_is_lent_stays_whatever_happens_and_goes_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 16 * MIB);
    let size = 6 * MIB + 5;
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    cache.verify(id(1), false, &mut |_| true).unwrap();
    cache.make_durable(id(1), size).unwrap();
    let loan = cache.lend(id(1), size).unwrap();
    let same = || {
        let mut bytes = Vec::new();
        loan.data()
            .unwrap()
            .try_clone()
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert!(bytes == content(1, 0..size) || bytes.is_empty());
        let mut piece = vec![0; 1000];
        std::os::unix::fs::FileExt::read_exact_at(loan.data().unwrap(), &mut piece, MIB).unwrap();
        assert!(piece == content(1, MIB..MIB + 1000));
    };
    // Three times the budget passes by.
    for start in (0..48 * MIB).step_by(1 << 20) {
        offer(&cache, 9, 48 * MIB, start..start + MIB);
        flush(&cache);
        assert!(on_disk(dir.path()) <= 16 * MIB);
    }
    same();
    cache.clear();
    flush(&cache);
    same();
    assert_eq!(cache.present(id(1), 0..size), 0);
    // Nobody else gets what was cleared, and its place is not written to.
    offer(&cache, 1, size, 0..size);
    flush(&cache);
    same();
    drop(loan);
    flush(&cache);
    flush(&cache);
    assert!(cache.lend(id(1), size).is_none());
    assert_eq!(cache.usage().bytes, 0, "{:?}", cache.usage());
}
