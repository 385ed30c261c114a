//! Whatever happens, never a wrong byte, never over the budget; and what was flushed is there.
use super::super::DiskCache;
use super::super::geometry::{UNIT, unit_range, units_touched};
use super::super::verify::Lendable;
use super::{MIB, check, content, damage, data_file, flush, id, offer, on_disk, open};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SIZES: [u64; 3] = [5 * UNIT + 123, 2 * MIB, 14 * MIB + 1];
const ROOMY: u64 = 64 * MIB;
const TIGHT: u64 = 4 * MIB;

#[derive(Debug, Clone)]
enum Op {
    Offer(u64, Range<u64>),
    Read(u64, Range<u64>),
    Damage(u64, u64),
    Forget(u64),
    Clear,
    Flush,
    /// What is lent, if anything is, has the right bytes; then all is done that makes a file fit to be lent.
    Lend(u64),
    Restart,
    /// The process is killed; the map loses so many bytes at its end, and one byte is changed that
    /// far from there.
    Crash {
        cut: u64,
        garble: Option<u64>,
    },
}

fn range(longest: u64) -> impl Strategy<Value = (u64, Range<u64>)> {
    (0..3u64, any::<prop::sample::Index>(), 1..longest).prop_map(|(file, at, len)| {
        let size = size(file);
        let start = at.index(usize::try_from(size).unwrap()) as u64;
        (file, start..size.min(start + len))
    })
}

fn op() -> impl Strategy<Value = Op> {
    let far = 0..400u64;
    prop_oneof![
        8 => range(MIB).prop_map(|(file, range)| Op::Offer(file, range)),
        4 => range(MIB / 2).prop_map(|(file, range)| Op::Read(file, range)),
        2 => range(2).prop_map(|(file, range)| Op::Damage(file, range.start)),
        1 => (0..3u64).prop_map(Op::Forget),
        1 => Just(Op::Clear),
        3 => Just(Op::Flush),
        3 => (0..3u64).prop_map(Op::Lend),
        2 => Just(Op::Restart),
        2 => Just(Op::Crash { cut: 0, garble: None }),
        2 => (far.clone(), prop::option::of(far)).prop_map(|(cut, garble)| Op::Crash { cut, garble }),
    ]
}

fn size(file: u64) -> u64 {
    SIZES[usize::try_from(file).unwrap()]
}

/// What must be there, in a cache with room for all.
#[derive(Default)]
struct Model {
    offered: BTreeSet<(u64, u64)>,
    flushed: BTreeSet<(u64, u64)>,
    /// Damaged, which the cache cannot know before it reads them: offers of them are not needed.
    hurt: BTreeSet<(u64, u64)>,
}

impl Model {
    fn offer(&mut self, file: u64, range: &Range<u64>) {
        let whole = |unit: &u64| {
            let unit = unit_range(*unit, size(file));
            range.start <= unit.start && unit.end <= range.end
        };
        let units = units_touched(range).filter(whole).map(|unit| (file, unit));
        self.offered.extend(units);
    }

    fn flush(&mut self) {
        self.flushed.append(&mut self.offered);
        self.flushed.retain(|unit| !self.hurt.contains(unit));
    }

    fn check(&self, cache: &DiskCache) {
        for (file, unit) in &self.flushed {
            let range = unit_range(*unit, size(*file));
            assert_eq!(
                cache.present(id(*file), range.clone()),
                range.end,
                "{file}: {unit}"
            );
            assert!(check(cache, *file, size(*file), range), "{file}: {unit}");
        }
    }
}

/// Reads everything that is said to be there; how many units of it were.
fn read_all(cache: &DiskCache) -> u64 {
    let mut there = 0;
    for (file, size) in (0..).zip(SIZES) {
        for unit in 0..size.div_ceil(UNIT) {
            let range = unit_range(unit, size);
            let said = cache.present(id(file), range.clone()) == range.end;
            let read = check(cache, file, size, range);
            assert!(said || !read);
            there += u64::from(read);
        }
    }
    there
}

/// Nothing but the right bytes is ever lent.
fn compare_lent(cache: &DiskCache, file: u64) {
    let size = size(file);
    if let Some(loan) = cache.lend(id(file), size) {
        let mut bytes = Vec::new();
        loan.data().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == content(file, 0..size), "wrong bytes are lent");
    }
}

fn crash(dir: &Path, cut: u64, garble: Option<u64>) {
    let path = dir.join("map");
    // There is none before the writer's first steps.
    let Ok(mut map) = std::fs::read(&path) else {
        return;
    };
    map.truncate(map.len().saturating_sub(usize::try_from(cut).unwrap()));
    if let Some(far) = garble {
        let at = map.len().saturating_sub(usize::try_from(far).unwrap() + 1);
        if let Some(byte) = map.get_mut(at) {
            *byte ^= 0x55;
        }
    }
    std::fs::write(path, map).unwrap();
}

fn run(ops: Vec<Op>, budget: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = open(dir.path(), budget);
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Offer(file, range) => {
                offer(&cache, file, size(file), range.clone());
                model.offer(file, &range);
            }
            Op::Read(file, range) => {
                check(&cache, file, size(file), range);
            }
            Op::Damage(file, at) => {
                if data_file(dir.path(), file).exists() {
                    // It must have been written before it can be damaged.
                    flush(&cache);
                    model.flush();
                }
                if data_file(dir.path(), file).exists() {
                    // Where the system counts a file's times in ticks, so that this is not the one of the last write.
                    std::thread::sleep(Duration::from_millis(5));
                    damage(dir.path(), file, at, &[0]);
                    model.hurt.insert((file, at / UNIT));
                    model.flush();
                }
            }
            Op::Forget(file) => {
                cache.forget(id(file));
                model.offered.retain(|(other, _)| *other != file);
                model.flushed.retain(|(other, _)| *other != file);
                model.hurt.retain(|(other, _)| *other != file);
            }
            Op::Clear => {
                cache.clear();
                model = Model::default();
            }
            Op::Flush => {
                flush(&cache);
                model.flush();
                if budget == ROOMY {
                    model.check(&cache);
                }
            }
            Op::Lend(file) => {
                compare_lent(&cache, file);
                offer(&cache, file, size(file), 0..size(file));
                flush(&cache);
                model.offer(file, &(0..size(file)));
                model.flush();
                check(&cache, file, size(file), 0..size(file));
                if cache.lendable(id(file), size(file)) == Lendable::OnceDurable {
                    cache.make_durable(id(file), size(file)).unwrap();
                    compare_lent(&cache, file);
                }
            }
            Op::Restart => {
                drop(cache);
                model.offered.clear();
                cache = open(dir.path(), budget);
            }
            Op::Crash { cut, garble } => {
                cache.abandon();
                crash(dir.path(), cut, garble);
                model.offered.clear();
                cache = open(dir.path(), budget);
                if cut > 0 || garble.is_some() {
                    model.flushed.clear();
                    // What was forgotten last may be thought to be there again. The cache finds out when it
                    // reads; before that, offers of it are not needed.
                    read_all(&cache);
                    model.hurt.clear();
                }
            }
        }
        assert!(on_disk(dir.path()) <= budget);
    }
    flush(&cache);
    model.flush();
    if budget == ROOMY {
        model.check(&cache);
    }
    read_all(&cache);
    let usage = cache.usage();
    assert_eq!(usage.degraded, None);
    let taken = on_disk(dir.path());
    assert!(
        taken <= usage.bytes + usage.overhead,
        "space nobody knows of: {taken} bytes, {usage:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn with_room_for_all(ops in prop::collection::vec(op(), 1..30)) {
        run(ops, ROOMY);
    }

    #[test]
    fn with_room_for_little(ops in prop::collection::vec(op(), 1..30)) {
        run(ops, TIGHT);
    }
}

#[test]
fn a_map_of_another_version_is_an_empty_cache() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), ROOMY);
    offer(&cache, 1, size(1), 0..size(1));
    flush(&cache);
    drop(cache);
    let mut map = std::fs::read(dir.path().join("map")).unwrap();
    map[16] += 1;
    std::fs::write(dir.path().join("map"), map).unwrap();
    let cache = open(dir.path(), ROOMY);
    flush(&cache);
    assert_eq!(read_all(&cache), 0);
    assert!(
        !data_file(dir.path(), 1).exists(),
        "bytes nobody knows of are freed"
    );
    offer(&cache, 1, size(1), 0..size(1));
    flush(&cache);
    drop(cache);
    assert_eq!(read_all(&open(dir.path(), ROOMY)), size(1).div_ceil(UNIT));
}

#[test]
fn the_map_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), ROOMY);
    for _ in 0..2500 {
        cache.offer(id(1), 5, 0, content(1, 0..5));
        flush(&cache);
        cache.forget(id(1));
    }
    assert!(cache.usage().written > 1000);
    drop(cache);
    assert!(dir.path().join("map").metadata().unwrap().len() < 80 * 1024);
}

const KILLED: &str = "FICHIERFS_TEST_DISK_CACHE";

/// The process that is killed below; does nothing by itself.
#[test]
#[ignore = "started by a_killed_process_loses_little_and_nothing_wrong"]
fn streams_until_it_is_killed() {
    let Some(dir) = std::env::var_os(KILLED) else {
        return;
    };
    let cache = open(Path::new(&dir), TIGHT);
    for round in 0.. {
        for (file, size) in (0..).zip(SIZES) {
            for start in (0..size).step_by(1 << 20) {
                offer(&cache, file, size, start..size.min(start + MIB));
            }
        }
        flush(&cache);
        println!("round {round}");
    }
}

#[test]
fn a_killed_process_loses_little_and_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("read::disk::tests::crash::streams_until_it_is_killed")
        .env(KILLED, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let rounds = lines.filter(|line| line.as_ref().unwrap().contains("round"));
    assert_eq!(rounds.take(2).count(), 2);
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(on_disk(dir.path()) <= TIGHT);
    // With room for all, so that nothing of what the map says is evicted before it is proved.
    let cache = open(dir.path(), ROOMY);
    flush(&cache);
    assert!(on_disk(dir.path()) <= TIGHT);
    let there = read_all(&cache);
    let usage = cache.usage();
    assert!(there > 10, "{there}");
    // The kernel kept what the process had written: no record can be ahead of its bytes, none of
    // a hole can be left.
    assert_eq!(usage.damaged, 0, "{usage:?}");
}
