//! The map alone: its sums against a recount, its choice of victims.
use super::super::geometry::{UNIT, edges, existing, on_disk, segment_of, units_in};
use super::super::map::{FILE_COST, FIXED_COST, Map, Place, SEGMENT_COST, Totals, UNIT_COST};
use super::super::segment::Patch;
use super::id;
use proptest::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

const BLOCK: u64 = 4096;
/// Files 0 to 3: one short, one of two segments, two with a body.
const SIZES: [u64; 4] = [UNIT + 9, 100 * UNIT, 400 * UNIT - 5000, 700 * UNIT];

#[derive(Debug, Clone)]
enum Op {
    Write(u64, u64),
    Pin(u64, Range<u64>),
    Unpin(usize),
    Discard(u64, u64),
    Evict,
    EvictFile,
    Forget(u64),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let unit = (0..4u64, 0..700u64).prop_map(|(file, unit)| {
        let size = SIZES[usize::try_from(file).unwrap()];
        (file, unit % size.div_ceil(UNIT))
    });
    prop_oneof![
        12 => unit.clone().prop_map(|(file, unit)| Op::Write(file, unit)),
        3 => (unit.clone(), 1..3u64).prop_map(|((file, unit), len)| Op::Pin(file, unit..unit + len)),
        3 => any::<usize>().prop_map(Op::Unpin),
        1 => unit.prop_map(|(file, unit)| Op::Discard(file, unit)),
        2 => Just(Op::Evict),
        1 => Just(Op::EvictFile),
        1 => (0..4u64).prop_map(Op::Forget),
        2 => Just(Op::Sweep),
    ]
}

fn size(file: u64) -> u64 {
    SIZES[usize::try_from(file).unwrap()]
}

fn sum(file: u64, unit: u64) -> u64 {
    file << 32 | unit
}

fn write(map: &mut Map, file: u64, unit: u64) {
    let before = map.charged();
    if let Place::Free { cost } = map.place(id(file), size(file), unit) {
        map.begin(id(file), size(file), unit);
        assert!(
            map.charged() <= before + cost,
            "charged before it is written"
        );
        assert!(map.commit(id(file), unit, sum(file, unit)));
        assert_eq!(map.charged(), before + cost);
    }
}

/// Everything the map keeps beside the segments, recounted from them.
fn recount(map: &Map) {
    let mut totals = Totals::default();
    let (mut body, mut edge) = (Vec::new(), Vec::new());
    for (file, entry) in &map.files {
        assert!(!entry.segments.is_empty());
        assert!(entry.segments.is_sorted_by_key(|s| s.index));
        let mut units = 0;
        for s in &entry.segments {
            assert!(s.present | s.stale != 0, "an empty segment");
            assert_eq!(s.present & s.stale, 0);
            assert_eq!((s.present | s.stale) & !existing(s.index, entry.size), 0);
            let near = edges(s.index, entry.size);
            let of = |mask| on_disk(mask, s.index, entry.size, BLOCK);
            totals.data += of(s.present | s.stale);
            totals.body += of(s.present & !near);
            totals.segments += 1;
            units += u64::from(s.present.count_ones());
            if s.present & !near != 0 {
                body.push((s.used, (*file, s.index)));
            }
            if s.present & near != 0 {
                edge.push((s.used, (*file, s.index)));
            }
            let number: u64 = file.as_str().parse().unwrap();
            let sums: Vec<u64> = units_in(s.index, s.present)
                .map(|u| sum(number, u))
                .collect();
            assert_eq!(s.sums, sums);
        }
        assert_eq!(entry.units, units);
        totals.units += units;
    }
    body.sort_unstable();
    edge.sort_unstable();
    assert_eq!(map.totals, totals);
    assert!(map.body.iter().map(|(used, key)| (*used, *key)).eq(body));
    assert!(map.edge.iter().map(|(used, key)| (*used, *key)).eq(edge));
    let overhead = FIXED_COST
        + map.files.len() as u64 * FILE_COST
        + totals.segments * SEGMENT_COST
        + totals.units * UNIT_COST;
    assert_eq!(map.charged(), overhead + totals.data);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_and_queues_stay_true(ops in prop::collection::vec(op(), 1..150)) {
        let mut map = Map::new(BLOCK);
        let mut pins: Vec<(u64, Range<u64>)> = Vec::new();
        for op in ops {
            match op {
                Op::Write(file, unit) => write(&mut map, file, unit),
                Op::Pin(file, units) => {
                    if let Ok(sums) = map.pin(id(file), size(file), &units) {
                        let right: Vec<u64> = units.clone().map(|u| sum(file, u)).collect();
                        prop_assert_eq!(sums, right);
                        pins.push((file, units));
                    }
                }
                Op::Unpin(n) if !pins.is_empty() => {
                    let (file, units) = pins.swap_remove(n % pins.len());
                    map.unpin(id(file), &units);
                }
                Op::Unpin(_) => {}
                Op::Discard(file, unit) => {
                    map.discard(Patch::unit(id(file), unit));
                }
                Op::Evict => {
                    if let Some((patch, units)) = map.evict_segment(8 << 20) {
                        prop_assert!(units > 0);
                        let pinned = pins.iter().any(|(file, range)| {
                            id(*file) == patch.file
                                && range.clone().any(|u| segment_of(u) == patch.segment)
                        });
                        prop_assert!(!pinned, "evicted under a reader");
                        map.freed(patch);
                    }
                }
                Op::EvictFile => {
                    if let Some((patch, _)) = map.evict_file(8 << 20) {
                        prop_assert!(pins.iter().all(|(file, _)| id(*file) != patch.file));
                        prop_assert!(map.unlinkable(patch.file));
                        map.remove(patch.file);
                    }
                }
                Op::Forget(file) => map.forget(id(file)),
                Op::Sweep => {
                    for key in map.garbage() {
                        let Some(patch) = map.take_garbage(key) else {
                            continue;
                        };
                        let pinned = pins.iter().any(|(file, range)| {
                            id(*file) == patch.file
                                && range.clone().any(|u| segment_of(u) == patch.segment)
                        });
                        prop_assert!(!pinned, "freed under a reader");
                        map.freed(patch);
                    }
                }
            }
            recount(&map);
        }
        for (file, units) in pins {
            map.unpin(id(file), &units);
        }
        for file in map.all_files() {
            map.forget(file);
        }
        for key in map.garbage() {
            if let Some(patch) = map.take_garbage(key) {
                map.freed(patch);
            }
        }
        recount(&map);
        prop_assert_eq!(map.charged(), FIXED_COST, "all is free in the end");
    }

    #[test]
    fn a_snapshot_restores_contents_and_order(ops in prop::collection::vec(op(), 1..80)) {
        let mut map = Map::new(BLOCK);
        for op in ops {
            match op {
                Op::Write(file, unit) => write(&mut map, file, unit),
                Op::Pin(file, units) => map.touch((id(file), segment_of(units.start))),
                _ => {}
            }
        }
        let order = map.by_recency();
        let mut restored = Map::new(BLOCK);
        for key in &order {
            restored.load(&map.snapshot(*key).unwrap());
        }
        recount(&restored);
        prop_assert_eq!(restored.by_recency(), order);
        prop_assert_eq!(restored.charged(), map.charged());
    }
}

#[test]
fn bodies_go_before_edges_until_little_of_them_is_left() {
    let mut map = Map::new(BLOCK);
    let of = |map: &Map| -> HashMap<bool, u64> {
        let body = map.totals.body;
        HashMap::from([(false, body), (true, map.totals.data - body)])
    };
    // The oldest by far: the edges of file 3, then its body, then that of file 2.
    for unit in (0..64).chain(636..700).chain(64..636) {
        write(&mut map, 3, unit);
    }
    for unit in 64..320 {
        write(&mut map, 2, unit);
    }
    let budget = 32 << 20;
    let edge = of(&map)[&true];
    while map.totals.body > budget / 4 {
        let (patch, _) = map.evict_segment(budget).unwrap();
        map.freed(patch);
        assert_eq!(of(&map)[&true], edge);
    }
    assert_eq!(
        map.present(id(3), &(64 * UNIT..65 * UNIT)),
        64 * UNIT,
        "older went first"
    );
    let (patch, _) = map.evict_segment(budget).unwrap();
    assert_eq!(
        patch,
        Patch {
            file: id(3),
            segment: 0,
            mask: u64::MAX
        }
    );
}

#[test]
fn what_was_forgotten_while_it_was_written_does_not_appear() {
    let mut map = Map::new(BLOCK);
    map.begin(id(0), size(0), 0);
    map.forget(id(0));
    assert!(!map.commit(id(0), 0, 1));
    assert_eq!(map.present(id(0), &(0..9)), 0);
    assert_eq!(map.garbage(), [(id(0), 0)]);
    assert_eq!(map.take_garbage((id(0), 0)), Some(Patch::unit(id(0), 0)));
}
