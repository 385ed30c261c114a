//! What the map holds per file and per segment. Plain data; who may change it when is in
//! [`map`](super::map).
use super::geometry::{bit_of, edges, on_disk, segment_of};
use crate::api::FileId;

/// A segment of a file.
pub(super) type Key = (FileId, u32);

/// Units of one segment of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    /// The file.
    pub(super) file: FileId,
    /// The segment.
    pub(super) segment: u32,
    /// The units, as bits.
    pub(super) mask: u64,
}

/// Why a range cannot be read from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Not all of it is present.
    Missing,
    /// The file was kept under another size: all of it has been made stale.
    WrongSize,
}

impl Patch {
    /// One unit.
    pub(super) fn unit(file: FileId, unit: u64) -> Self {
        Self {
            file,
            segment: segment_of(unit),
            mask: bit_of(unit),
        }
    }

    /// A file nothing of which is present: stands for all of it when it is released.
    pub(super) fn whole(file: FileId) -> Self {
        Self {
            file,
            segment: 0,
            mask: u64::MAX,
        }
    }
}

/// One segment of one file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) index: u32,
    /// Reads under way that include this segment; no unit of it is punched meanwhile.
    pub(super) pins: u32,
    /// Units that may be read, as bits.
    pub(super) present: u64,
    /// Units that take space and may not be read, as bits.
    pub(super) stale: u64,
    /// Present units that were read and found sound since they came, as bits; by this process, or by an earlier one
    /// whose [proof](super::proof) holds.
    pub(super) checked: u64,
    /// Checksums of the present units, ascending.
    pub(super) sums: Vec<u64>,
    /// Moment of the last use on the map's own counter; key of the recency queues.
    pub(super) used: u64,
    /// Used since recency was last persisted; listed for that.
    pub(super) touched: bool,
}

impl Segment {
    /// A segment with nothing in it.
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            pins: 0,
            present: 0,
            stale: 0,
            checked: 0,
            sums: Vec::new(),
            used: 0,
            touched: false,
        }
    }

    /// Where the checksum of the unit with this bit is, or belongs.
    pub(super) fn rank(&self, bit: u64) -> usize {
        (self.present & (bit - 1)).count_ones() as usize
    }

    /// Makes a unit present.
    pub(super) fn insert(&mut self, bit: u64, sum: u64) {
        let rank = self.rank(bit);
        if self.present & bit == 0 {
            self.sums.insert(rank, sum);
            self.present |= bit;
        } else {
            self.sums[rank] = sum;
        }
        self.stale &= !bit;
        self.checked &= !bit;
    }

    /// Makes the present units of `mask` stale; says which these are.
    pub(super) fn retire(&mut self, mask: u64) -> u64 {
        let gone = self.present & mask;
        let mut bits = (0..u64::BITS).filter(|bit| self.present >> bit & 1 == 1);
        self.sums
            .retain(|_| bits.next().is_none_or(|bit| gone >> bit & 1 == 0));
        self.present &= !gone;
        self.checked &= !gone;
        self.stale |= gone;
        gone
    }

    /// Bytes on disk of a file of `size` bytes: all, and those of present units outside its edges.
    pub(super) fn bytes(&self, size: u64, block: u64) -> (u64, u64) {
        let body = self.present & !edges(self.index, size);
        (
            on_disk(self.present | self.stale, self.index, size, block),
            on_disk(body, self.index, size, block),
        )
    }
}

/// One file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) size: u64,
    /// Present units of all segments.
    pub(super) units: u64,
    /// Reads under way.
    pub(super) pins: u32,
    /// All of it was written through to the disk after the last unit had come.
    pub(super) durable: bool,
    /// Its [print](super::proof) then, if it is persisted or soon will be.
    pub(super) proof: Option<u64>,
    /// Ascending by index; never empty, no segment without a present or stale unit.
    pub(super) segments: Vec<Segment>,
}

impl Entry {
    /// A segment of the file.
    pub(super) fn segment(&self, index: u32) -> Option<&Segment> {
        let at = self.segments.binary_search_by_key(&index, |s| s.index);
        at.ok().map(|at| &self.segments[at])
    }

    /// A segment of the file, to edit; sums and queues are [`Map::change`](super::map::Map::change)'s.
    pub(super) fn segment_mut(&mut self, index: u32) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&index, |s| s.index);
        at.ok().map(|at| &mut self.segments[at])
    }
}
