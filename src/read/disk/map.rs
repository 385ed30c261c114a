//! What is on the disk: which units of which file, their checksums, how recently they were used,
//! who is reading them, and what they cost. In memory only; knows no file and no system call.
//!
//! A unit is *present* (may be read), *stale* (takes space, may not be read: being written, being
//! evicted, damaged, forgotten) or neither. A unit turns stale before its bytes are written or
//! punched and is charged until its space is really free, so [`Map::charged`] is never below the truth.
//!
//! Every mutation of a segment goes through [`Map::change`], which keeps sums and queues right.
//! Eviction is in [`evict`](super::evict), what is persisted in [`persist`](super::persist).
use super::geometry::{UNIT, bit_of, edges, first_unit, masks, on_disk, segment_of, units_touched};
use super::segment::{Absent, Entry, Key, Segment};
use crate::api::FileId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// Bytes charged whatever the cache holds: folders, the lock, the map's slack, room to rewrite it.
pub(super) const FIXED_COST: u64 = 512 * 1024;
/// Bytes charged per file: its entry in a folder, its inode, its extent block.
pub(super) const FILE_COST: u64 = 4096;
/// Bytes charged per segment: its records in the map three times over (one live, one superseded,
/// one in a rewrite under way) and its share of the extent tree when badly fragmented.
pub(super) const SEGMENT_COST: u64 = 1024;
/// Bytes charged per unit beside its data: its checksum, three times over as above.
pub(super) const UNIT_COST: u64 = 24;

/// Whether a unit that was offered can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Yes; it adds so many bytes to what is charged.
    Free { cost: u64 },
    /// It is here already.
    Present,
    /// Not now: stale bytes at its place are still being read or removed.
    Busy,
}

/// Sums over all segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of data on disk, stale ones included.
    pub(super) data: u64,
    /// Bytes of present data outside heads and tails.
    pub(super) body: u64,
    /// Present units.
    pub(super) units: u64,
    /// Segments.
    pub(super) segments: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) files: HashMap<FileId, Entry>,
    /// Segments with present units outside heads and tails, least recently used first.
    pub(super) body: BTreeMap<u64, Key>,
    /// Segments with present units in a head or a tail, least recently used first.
    pub(super) edge: BTreeMap<u64, Key>,
    pub(super) totals: Totals,
    /// Segments used since recency was last persisted.
    pub(super) touched: Vec<Key>,
    /// Segments with stale units nobody is removing yet.
    pub(super) garbage: BTreeSet<Key>,
    /// Files that were proved and whose proof is not persisted yet.
    pub(super) proved: Vec<FileId>,
    /// The unit being written.
    pub(super) writing: Option<(FileId, u64)>,
    counter: u64,
    /// Block size of the file system, bytes.
    pub(super) block: u64,
}

impl Map {
    /// An empty map over a file system that gives out space in blocks of `block` bytes.
    pub(super) fn new(block: u64) -> Self {
        Self {
            files: HashMap::new(),
            body: BTreeMap::new(),
            edge: BTreeMap::new(),
            totals: Totals::default(),
            touched: Vec::new(),
            garbage: BTreeSet::new(),
            proved: Vec::new(),
            writing: None,
            counter: 0,
            block: block.clamp(512, UNIT),
        }
    }

    /// Bytes the cache takes on disk at most, metadata included.
    pub(super) fn charged(&self) -> u64 {
        FIXED_COST
            + self.files.len() as u64 * FILE_COST
            + self.totals.segments * SEGMENT_COST
            + self.totals.units * UNIT_COST
            + self.totals.data
    }

    /// End of what is present from `range.start` on without a gap, at most `range.end`.
    pub(super) fn present(&self, file: FileId, range: &Range<u64>) -> u64 {
        let Some(entry) = self.files.get(&file) else {
            return range.start;
        };
        let end = range.end.min(entry.size);
        for (segment, mask) in masks(units_touched(&(range.start..end))) {
            let present = entry.segment(segment).map_or(0, |s| s.present);
            let missing = mask & !present;
            if missing != 0 {
                let unit = first_unit(segment) + u64::from(missing.trailing_zeros());
                return (unit * UNIT).clamp(range.start, end.max(range.start));
            }
        }
        end.max(range.start)
    }

    /// Pins `units` of a file against eviction and returns their checksums. Whoever pins must
    /// [`unpin`](Self::unpin) the same units.
    pub(super) fn pin(
        &mut self,
        file: FileId,
        size: u64,
        units: &Range<u64>,
    ) -> Result<Vec<u64>, Absent> {
        let sums = self.hold(file, size, units)?;
        for (index, _) in masks(units.clone()) {
            self.touch((file, index));
        }
        Ok(sums)
    }

    /// The same without its counting as a use.
    pub(super) fn hold(
        &mut self,
        file: FileId,
        size: u64,
        units: &Range<u64>,
    ) -> Result<Vec<u64>, Absent> {
        let entry = self.files.get_mut(&file).ok_or(Absent::Missing)?;
        if entry.size != size {
            self.forget(file);
            return Err(Absent::WrongSize);
        }
        let mut sums = Vec::new();
        for (segment, mask) in masks(units.clone()) {
            let segment = entry.segment(segment).ok_or(Absent::Missing)?;
            if segment.present & mask != mask {
                return Err(Absent::Missing);
            }
            let first = segment.rank(1 << mask.trailing_zeros());
            sums.extend_from_slice(&segment.sums[first..first + mask.count_ones() as usize]);
        }
        entry.pins += 1;
        for (index, _) in masks(units.clone()) {
            if let Some(segment) = entry.segment_mut(index) {
                segment.pins += 1;
            }
        }
        Ok(sums)
    }

    /// Ends a [`pin`](Self::pin).
    pub(super) fn unpin(&mut self, file: FileId, units: &Range<u64>) {
        let Some(entry) = self.files.get_mut(&file) else {
            return;
        };
        entry.pins = entry.pins.saturating_sub(1);
        for (index, _) in masks(units.clone()) {
            if let Some(segment) = entry.segment_mut(index) {
                segment.pins = segment.pins.saturating_sub(1);
            }
        }
    }

    /// Whether a unit that was offered can be written, and what that costs.
    pub(super) fn place(&mut self, file: FileId, size: u64, unit: u64) -> Place {
        let (index, bit) = (segment_of(unit), bit_of(unit));
        let data = on_disk(bit, index, size, self.block) + UNIT_COST;
        let Some(entry) = self.files.get(&file) else {
            return Place::Free {
                cost: data + SEGMENT_COST + FILE_COST,
            };
        };
        if entry.size != size {
            self.forget(file);
            return Place::Busy;
        }
        match entry.segment(index) {
            None => Place::Free {
                cost: data + SEGMENT_COST,
            },
            Some(segment) if segment.present & bit != 0 => Place::Present,
            // A reader that pinned the unit before it turned stale may still be at it.
            Some(segment) if segment.stale & bit != 0 && segment.pins > 0 => Place::Busy,
            Some(segment) if segment.stale & bit != 0 => Place::Free { cost: UNIT_COST },
            Some(_) => Place::Free { cost: data },
        }
    }

    /// Charges a unit that is about to be written; [`commit`](Self::commit) makes it readable. Whether a proof of the
    /// file is persisted, which must be withdrawn before.
    pub(super) fn begin(&mut self, file: FileId, size: u64, unit: u64) -> bool {
        let bit = bit_of(unit);
        self.entry(file, size);
        let mut is_proved = false;
        if let Some(entry) = self.files.get_mut(&file) {
            entry.durable = false;
            is_proved = entry.proof.take().is_some();
        }
        self.change((file, segment_of(unit)), |segment| segment.stale |= bit);
        self.writing = Some((file, unit));
        is_proved
    }

    /// Makes the unit begun last readable; not when it was forgotten meanwhile, then it is garbage.
    pub(super) fn commit(&mut self, file: FileId, unit: u64, sum: u64) -> bool {
        let key = (file, segment_of(unit));
        if self.writing.take() != Some((file, unit)) {
            self.garbage.insert(key);
            return false;
        }
        let counter = self.next();
        self.change(key, |segment| {
            segment.insert(bit_of(unit), sum);
            segment.used = counter;
        });
        true
    }

    /// Gives up the unit begun last: it is garbage until its space is freed.
    pub(super) fn abort(&mut self, file: FileId, unit: u64) {
        self.writing = None;
        self.garbage.insert((file, segment_of(unit)));
    }

    /// Makes a segment the most recently used.
    pub(super) fn touch(&mut self, key: Key) {
        let newest = self.counter;
        let Some(segment) = self.segment_mut(key) else {
            return;
        };
        let fresh = !std::mem::replace(&mut segment.touched, true);
        if segment.used != newest {
            let counter = self.next();
            self.change(key, |segment| segment.used = counter);
        }
        if fresh {
            self.touched.push(key);
        }
    }

    /// The next moment on the counter of uses.
    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Adds a file unless it is known; the caller puts something into it at once.
    pub(super) fn entry(&mut self, file: FileId, size: u64) {
        self.files.entry(file).or_insert_with(|| Entry {
            size,
            units: 0,
            pins: 0,
            durable: false,
            proof: None,
            segments: Vec::with_capacity(1),
        });
    }

    /// A segment, for its pins and marks.
    pub(super) fn segment_mut(&mut self, (file, index): Key) -> Option<&mut Segment> {
        self.files.get_mut(&file)?.segment_mut(index)
    }

    /// Edits one segment of a known file, adding it when new and removing it (and the file) when
    /// nothing of it is on disk any more; sums and queues follow.
    pub(super) fn change<R>(
        &mut self,
        key: Key,
        edit: impl FnOnce(&mut Segment) -> R,
    ) -> Option<R> {
        let (file, index) = key;
        let entry = self.files.get_mut(&file)?;
        let size = entry.size;
        let at = match entry.segments.binary_search_by_key(&index, |s| s.index) {
            Ok(at) => {
                let segment = &entry.segments[at];
                let (data, body) = segment.bytes(size, self.block);
                let units = u64::from(segment.present.count_ones());
                self.body.remove(&segment.used);
                self.edge.remove(&segment.used);
                self.totals.data -= data;
                self.totals.body -= body;
                self.totals.units -= units;
                self.totals.segments -= 1;
                entry.units -= units;
                at
            }
            Err(at) => {
                entry.segments.insert(at, Segment::new(index));
                at
            }
        };
        let segment = &mut entry.segments[at];
        let result = edit(segment);
        if segment.present | segment.stale == 0 {
            entry.segments.remove(at);
            if entry.segments.is_empty() {
                self.files.remove(&file);
            }
            return Some(result);
        }
        let near = edges(index, size);
        if segment.present & !near != 0 {
            self.body.insert(segment.used, key);
        }
        if segment.present & near != 0 {
            self.edge.insert(segment.used, key);
        }
        let (data, body) = segment.bytes(size, self.block);
        let units = u64::from(segment.present.count_ones());
        self.totals.data += data;
        self.totals.body += body;
        self.totals.units += units;
        self.totals.segments += 1;
        entry.units += units;
        Some(result)
    }
}
