//! Looking at what the cache holds from outside a read: what is there, whether it is sound, and the
//! loan of a whole file's data to the kernel.
//!
//! A check counts as no use: it changes nobody's turn to be evicted. What it finds damaged is not
//! present from then on.
use super::geometry::{UNIT, bit_of, existing, masks, runs, segment_of, unit_range, units_touched};
use super::map::Map;
use super::proof;
use super::segment::Entry;
use super::{DiskCache, Pin};
use crate::api::{FileId, Whirlpool, WhirlpoolHasher};
use crate::util::sync::lock;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;

/// Units checked at a time: 1 MiB, what a disk reads in one go.
const PIECE: u64 = 16;

/// What a check of one file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The file.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of it that are here and sound.
    pub sound: u64,
    /// Bytes that were not, and are not kept any more.
    pub damaged: u64,
    /// The hash of its content, if that was asked for and all of it is here and sound.
    pub whirlpool: Option<Whirlpool>,
}

/// A file the cache holds something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The file.
    pub file: FileId,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of it that are here.
    pub bytes: u64,
}

impl DiskCache {
    /// The files something is here of, in the order of their ids.
    pub fn files(&self) -> Vec<Kept> {
        let map = lock(&self.shared().map);
        let mut files: Vec<Kept> = map
            .files
            .iter()
            .filter_map(|(file, entry)| entry.kept(*file))
            .collect();
        files.sort_unstable_by_key(|kept| kept.file);
        files
    }

    /// A file, if something is here of it.
    pub fn kept(&self, file: FileId) -> Option<Kept> {
        lock(&self.shared().map).files.get(&file)?.kept(file)
    }

    /// The ranges of a file that are here, ascending.
    pub fn held(&self, file: FileId) -> Vec<Range<u64>> {
        lock(&self.shared().map).held(file)
    }

    /// Reads all that is here of a file from the disk itself and compares it with its checksums;
    /// with `hash`, a file that is here as a whole is hashed as well, at some 100 MB/s. `tell` hears
    /// how many bytes were looked at and stops it with `false`; then, and when nothing is here of the
    /// file, there is no result. Blocks: for a thread that may.
    pub fn verify(
        &self,
        file: FileId,
        hash: bool,
        tell: &mut dyn FnMut(u64) -> bool,
    ) -> Option<Checked> {
        let shared = self.shared();
        let size = lock(&shared.map).files.get(&file)?.size;
        let held = self.held(file);
        // Else the system's memory answers, which is not what is to be tried.
        if let Err(error) = shared.data.settle(file) {
            log::debug!("disk cache: writing {file} through: {error}");
        }
        let is_whole = matches!(&held[..], [all] if *all == (0..size));
        let mut hasher = (hash && is_whole).then(WhirlpoolHasher::new);
        let mut checked = Checked {
            file,
            size,
            sound: 0,
            damaged: 0,
            whirlpool: None,
        };
        let mut seen = 0;
        for range in held {
            let units = units_touched(&range);
            for first in units.clone().step_by(usize::try_from(PIECE).unwrap_or(1)) {
                let piece = first..units.end.min(first + PIECE);
                let bytes =
                    unit_range(piece.start, size).start..unit_range(piece.end - 1, size).end;
                match self.check(file, size, piece, &mut checked) {
                    Some(content) => {
                        if let Some(hasher) = &mut hasher {
                            hasher.update(&content);
                        }
                    }
                    None => hasher = None,
                }
                seen += bytes.end - bytes.start;
                if !tell(seen) {
                    return None;
                }
            }
        }
        if checked.damaged > 0 {
            shared.queue.nudge();
        }
        checked.whirlpool = hasher.map(WhirlpoolHasher::finish);
        Some(checked)
    }

    /// Checks some neighbouring units, and gives their bytes when all are sound.
    fn check(
        &self,
        file: FileId,
        size: u64,
        units: Range<u64>,
        checked: &mut Checked,
    ) -> Option<Vec<u8>> {
        let shared = self.shared();
        let Some((mut pin, sums)) = Pin::hold(shared, file, size, units.clone()) else {
            // Some were evicted meanwhile; what is left is looked at one by one.
            if units.end - units.start > 1 {
                for unit in units {
                    self.check(file, size, unit..unit + 1, checked);
                }
            }
            return None;
        };
        let first = unit_range(units.start, size);
        let last = unit_range(units.end - 1, size);
        let mut bytes = vec![0; usize::try_from(last.end - first.start).ok()?];
        if let Err(error) = shared.data.read(file, first.start, &mut bytes) {
            let fails = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::NotFound)
                || error.raw_os_error() == Some(libc::EIO);
            if fails && units.end - units.start > 1 {
                drop(pin);
                for unit in units {
                    self.check(file, size, unit..unit + 1, checked);
                }
            } else {
                // Out of descriptors or memory says nothing about the bytes.
                if fails {
                    checked.damaged += bytes.len() as u64;
                }
                shared.unreadable(&pin, &error);
            }
            return None;
        }
        let sound = shared.prove(&mut pin, &sums, &bytes);
        let damaged = bytes.len() as u64 - sound;
        checked.sound += sound;
        checked.damaged += damaged;
        (damaged == 0).then_some(bytes)
    }

    /// What of a file stands between it and a [`Loan`].
    pub fn lendable(&self, file: FileId, size: u64) -> Lendable {
        let shared = self.shared();
        if !shared.health.may_read() {
            return Lendable::No;
        }
        lock(&shared.map).lendable(file, size)
    }

    /// Makes sure that a file that was read and found sound in all its parts is on the disk itself,
    /// after which it can be lent. Blocks: for a thread that may.
    pub fn make_durable(&self, file: FileId, size: u64) -> io::Result<()> {
        let shared = self.shared();
        shared.data.sync(file)?;
        let print = shared.data.print(file)?;
        lock(&shared.map).durable(file, size, print);
        // That is persisted, too.
        shared.queue.nudge();
        Ok(())
    }

    /// The data of a file that is [`Lendable::Now`], as a file with the same bytes at the same places.
    /// None of it is evicted, punched or changed while the loan lives, whatever is forgotten.
    pub fn lend(&self, file: FileId, size: u64) -> Option<Loan> {
        let shared = self.shared();
        let units = units_touched(&(0..size));
        let proof = {
            let mut map = lock(&shared.map);
            if map.lendable(file, size) != Lendable::Now {
                return None;
            }
            map.pin(file, size, &units).ok()?;
            map.files.get(&file)?.proof
        };
        // From here on dropping it gives the units back.
        let mut loan = Loan {
            cache: self.clone(),
            file,
            units,
            data: None,
        };
        let data = shared.data.reopen(file).ok()?;
        let now = data.metadata().ok()?;
        // Whoever else changed it since it was found sound: its bytes go past all checksums now.
        if now.len() != size || proof.is_some_and(|proof| proof::print(&now) != Some(proof)) {
            lock(&shared.map).doubt(file);
            return None;
        }
        loan.data = Some(data);
        Some(loan)
    }
}

/// Whether a file can be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lendable {
    /// Not all of it is here, or not all of it was read and found sound since it came or the machine
    /// started.
    No,
    /// Once it is certain to be on the disk.
    OnceDurable,
    /// Now.
    Now,
}

/// A whole file's data, kept as they are while this lives.
pub struct Loan {
    cache: DiskCache,
    file: FileId,
    units: Range<u64>,
    data: Option<File>,
}

impl Loan {
    /// The data, opened for reading.
    pub fn data(&self) -> Option<&File> {
        self.data.as_ref()
    }
}

impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Loan").field(&self.file).finish()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let shared = self.cache.shared();
        lock(&shared.map).unpin(self.file, &self.units);
        // It may have been forgotten meanwhile.
        shared.queue.nudge();
    }
}

impl Entry {
    fn kept(&self, file: FileId) -> Option<Kept> {
        (self.units > 0).then(|| Kept {
            file,
            size: self.size,
            bytes: self.present_bytes(),
        })
    }

    /// Bytes of the file in its present units.
    fn present_bytes(&self) -> u64 {
        let last = self.size.div_ceil(UNIT).saturating_sub(1);
        let has_last = self
            .segment(segment_of(last))
            .is_some_and(|it| it.present & bit_of(last) != 0);
        let range = unit_range(last, self.size);
        let short = if has_last {
            UNIT - (range.end - range.start)
        } else {
            0
        };
        self.units * UNIT - short
    }
}

impl Map {
    /// The ranges of a file that are present, ascending, neighbours joined.
    fn held(&self, file: FileId) -> Vec<Range<u64>> {
        let Some(entry) = self.files.get(&file) else {
            return Vec::new();
        };
        let mut held: Vec<Range<u64>> = Vec::new();
        for segment in &entry.segments {
            for run in runs(segment.index, segment.present) {
                let run = run.start..run.end.min(entry.size);
                match held.last_mut() {
                    Some(last) if last.end == run.start => last.end = run.end,
                    _ => held.push(run),
                }
            }
        }
        held
    }

    fn lendable(&self, file: FileId, size: u64) -> Lendable {
        let Some(entry) = self.files.get(&file) else {
            return Lendable::No;
        };
        let is_whole = entry.size == size && size > 0 && entry.units == size.div_ceil(UNIT);
        let all = |segment: u32| existing(segment, size);
        if !is_whole || entry.segments.iter().any(|it| it.checked != all(it.index)) {
            return Lendable::No;
        }
        if entry.durable {
            Lendable::Now
        } else {
            Lendable::OnceDurable
        }
    }

    fn durable(&mut self, file: FileId, size: u64, print: Option<u64>) {
        if self.lendable(file, size) != Lendable::OnceDurable {
            return;
        }
        if let Some(entry) = self.files.get_mut(&file) {
            entry.durable = true;
            entry.proof = print;
            self.proved.push(file);
        }
    }

    /// What was found of a file does not hold any more: it is read and compared again before it is lent.
    fn doubt(&mut self, file: FileId) {
        if let Some(entry) = self.files.get_mut(&file) {
            entry.durable = false;
            for segment in &mut entry.segments {
                segment.checked = 0;
            }
        }
    }

    /// These units were read and their checksums were right.
    pub(super) fn found_sound(&mut self, file: FileId, units: &Range<u64>) {
        let Some(entry) = self.files.get_mut(&file) else {
            return;
        };
        for (index, mask) in masks(units.clone()) {
            if let Some(segment) = entry.segment_mut(index) {
                segment.checked |= mask & segment.present;
            }
        }
    }
}
