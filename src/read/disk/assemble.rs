//! Puts whole units together from offers that begin and end anywhere. In memory only, bounded.
use super::geometry::{unit_range, units_touched};
use super::queue::Offer;
use crate::api::FileId;
use std::collections::HashMap;
use std::ops::Range;

/// Partial units kept at most: what comes begins and ends with units, but where a stream broke off; 4 MiB if all
/// were nearly full.
const PARTIALS: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Assembler {
    partials: HashMap<(FileId, u64), Partial>,
    uses: u64,
}

/// A gapless part of a unit.
struct Partial {
    /// Where in the unit it starts.
    start: usize,
    bytes: Vec<u8>,
    used: u64,
}

impl Assembler {
    /// Hands every unit that `offer` completes to `write`, until that says to stop.
    pub(super) fn take(&mut self, offer: &Offer, mut write: impl FnMut(u64, &[u8]) -> bool) {
        let end = offer.offset + offer.bytes.len() as u64;
        for unit in units_touched(&(offer.offset..end)) {
            let whole = unit_range(unit, offer.size);
            let part = whole.start.max(offer.offset)..whole.end.min(end);
            let piece = &offer.bytes[index(&part, offer.offset)];
            let more = if part == whole {
                self.partials.remove(&(offer.file, unit));
                write(unit, piece)
            } else {
                let at = index(&part, whole.start).start;
                match self.join(
                    (offer.file, unit),
                    at,
                    piece,
                    index(&whole, whole.start).end,
                ) {
                    Some(bytes) => write(unit, &bytes),
                    None => true,
                }
            };
            if !more {
                return;
            }
        }
    }

    /// Adds a piece to a unit of `len` bytes; returns the unit when that completes it.
    fn join(
        &mut self,
        key: (FileId, u64),
        start: usize,
        piece: &[u8],
        len: usize,
    ) -> Option<Vec<u8>> {
        self.uses += 1;
        let end = start + piece.len();
        let partial = self.partials.entry(key).or_insert_with(|| Partial {
            start,
            bytes: Vec::new(),
            used: 0,
        });
        partial.used = self.uses;
        let kept = partial.start..partial.start + partial.bytes.len();
        if end < kept.start || kept.end < start {
            // A gap between the two: the newer one is where a stream is now.
            partial.start = start;
            partial.bytes = piece.to_vec();
        } else {
            if kept.end < end {
                partial.bytes.extend_from_slice(&piece[kept.end - start..]);
            }
            if start < kept.start {
                partial
                    .bytes
                    .splice(..0, piece[..kept.start - start].iter().copied());
                partial.start = start;
            }
        }
        if partial.start == 0 && partial.bytes.len() == len {
            return self.partials.remove(&key).map(|partial| partial.bytes);
        }
        if self.partials.len() > PARTIALS {
            let oldest = self.partials.iter().min_by_key(|(_, p)| p.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.partials.remove(&oldest);
            }
        }
        None
    }
}

/// A range relative to `base`, for slices of something that begins there and fits into memory.
fn index(range: &Range<u64>, base: u64) -> Range<usize> {
    let relative = |at: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
    relative(range.start)..relative(range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::disk::geometry::UNIT;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id() -> FileId {
        FileId::parse("aaaabbbbccccddddeeee").unwrap()
    }

    fn content(range: Range<u64>) -> Bytes {
        range.map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[test]
    fn a_stream_of_odd_pieces_gives_every_unit_once() {
        let size = 3 * UNIT + 777;
        let mut assembler = Assembler::default();
        let mut units = Vec::new();
        let mut offset = 0;
        for step in (1..).map(|n| n * 7919 % 50_000 + 1) {
            let end = size.min(offset + step);
            let offer = Offer {
                file: id(),
                size,
                offset,
                bytes: content(offset..end),
            };
            assembler.take(&offer, |unit, bytes| {
                assert_eq!(bytes, content(unit_range(unit, size)));
                units.push(unit);
                true
            });
            offset = end;
            if offset == size {
                break;
            }
        }
        assert_eq!(units, [0, 1, 2, 3]);
        assert!(assembler.partials.is_empty());
    }

    #[test]
    fn partials_are_bounded() {
        let mut assembler = Assembler::default();
        for unit in 0..2 * PARTIALS as u64 {
            let offer = Offer {
                file: id(),
                size: 1 << 40,
                offset: unit * UNIT + 5,
                bytes: Bytes::from_static(b"piece"),
            };
            assembler.take(&offer, |_, _| panic!("no unit is whole"));
        }
        assert_eq!(assembler.partials.len(), PARTIALS);
    }

    proptest! {
        #[test]
        fn units_are_right_and_complete(
            pieces in prop::collection::vec((0..4 * UNIT, 1..2 * UNIT), 1..20),
            size in 1..4 * UNIT,
        ) {
            let mut assembler = Assembler::default();
            let mut given = BTreeSet::new();
            let mut whole = BTreeSet::new();
            for (start, len) in pieces {
                let range = start.min(size)..(start + len).min(size);
                whole.extend(units_touched(&range).filter(|unit| {
                    let unit = unit_range(*unit, size);
                    range.start <= unit.start && unit.end <= range.end
                }));
                let offer = Offer {
                    file: id(),
                    size,
                    offset: range.start,
                    bytes: content(range),
                };
                assembler.take(&offer, |unit, bytes| {
                    assert_eq!(bytes, content(unit_range(unit, size)));
                    given.insert(unit);
                    true
                });
            }
            prop_assert!(given.is_superset(&whole), "{given:?} lacks some of {whole:?}");
        }
    }
}
