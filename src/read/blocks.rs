//! The memory of the mount: contents in blocks, one bounded store for all files.
//!
//! Promises: never holds more than its budget plus what streams are filling at this moment; what it
//! gives is exactly what was put in at that offset. A content never changes under its id, so nothing
//! here is ever stale. Knows nothing of handles, streams or the network.
//!
//! A block is [`BLOCK`] bytes of one file, aligned. Whole ones come in one piece, so that a read of
//! them is a slice. What someone waits for of a block that is still being filled comes before as
//! runs of smaller pieces; these make way for the whole one, or are joined when there will be none.
use super::pool::own_piece;
use crate::api::FileId;
use crate::util::sync::lock;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Mutex;

/// Bytes of a block. The kernel asks for 128 KiB at a time (its read-ahead), so that nearly every
/// read is a slice of one block; small enough that 200 streams fit into the default memory.
pub(super) const BLOCK: u64 = 256 * 1024;

/// Bytes a slot takes beside its contents: its places in map and queue, its vectors. About; keeps a
/// million tiny files from taking a hundred times their size.
const SLOT_COST: u64 = 256;

/// The bounded store of blocks; see the module.
#[derive(Debug)]
pub(super) struct Blocks {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Key, Slot>,
    /// Slots in the order of their last use; the first goes first. Ticks are unique.
    order: BTreeMap<u64, Key>,
    tick: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    file: FileId,
    index: u64,
}

#[derive(Debug)]
struct Slot {
    /// Disjoint in no particular order; two at most in practice.
    runs: Vec<Run>,
    tick: u64,
}

/// Bytes `[start, start + len)` of a block, in the pieces they came in.
#[derive(Debug)]
struct Run {
    start: u64,
    len: u64,
    chunks: Vec<Bytes>,
    /// In one piece.
    settled: bool,
}

impl Run {
    fn end(&self) -> u64 {
        self.start + self.len
    }

    /// Appends the bytes `range` of the block to `out`; the run must hold them.
    fn copy(&self, range: Range<u64>, out: &mut impl BufMut) {
        let mut at = self.start;
        for chunk in &self.chunks {
            let end = at + chunk.len() as u64;
            let from = range.start.max(at);
            let to = range.end.min(end);
            if from < to {
                out.put_slice(&chunk[offset(from - at)..offset(to - at)]);
            }
            at = end;
        }
    }
}

/// A length within a block as the index type; a block is far below 4 GiB.
fn offset(of: u64) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

impl Slot {
    /// The end of what is there from `from` on without a gap (`from` itself when it is missing).
    fn present_until(&self, from: u64) -> u64 {
        let mut at = from;
        while let Some(run) = self
            .runs
            .iter()
            .find(|run| run.start <= at && at < run.end())
        {
            at = run.end();
        }
        at
    }
}

impl Blocks {
    /// A store that keeps at most `budget` bytes.
    pub(super) fn new(budget: u64) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// The bytes `range` of `file` if all of them are here, and nothing else.
    /// One slice without a copy when they lie in one piece of one block.
    pub(super) fn get(&self, file: FileId, range: Range<u64>) -> Option<Bytes> {
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let mut state = lock(&self.state);
        let mut joined = BytesMut::new();
        for (index, part) in parts(range.clone()) {
            let key = Key { file, index };
            let slot = state.slots.get(&key)?;
            if slot.present_until(part.start) < part.end {
                return None;
            }
            let whole = part.end - part.start == range.end - range.start;
            if let (true, Some(piece)) = (whole, one_piece(slot, &part)) {
                state.touch(key);
                return Some(piece);
            }
            if joined.is_empty() {
                joined.reserve(offset(range.end - range.start));
            }
            let mut at = part.start;
            while let Some(run) = slot
                .runs
                .iter()
                .find(|run| run.start <= at && at < run.end())
            {
                let end = run.end().min(part.end);
                run.copy(at..end, &mut joined);
                at = end;
                if at == part.end {
                    break;
                }
            }
            state.touch(key);
        }
        Some(joined.freeze())
    }

    /// The first byte of `range` that is not here, `range.end` when all are.
    pub(super) fn first_missing(&self, file: FileId, range: Range<u64>) -> u64 {
        let state = lock(&self.state);
        for (index, part) in parts(range.clone()) {
            let Some(slot) = state.slots.get(&Key { file, index }) else {
                return index * BLOCK + part.start;
            };
            let until = slot.present_until(part.start);
            if until < part.end {
                return index * BLOCK + until;
            }
        }
        range.end
    }

    /// The first byte of `range` that is here, `range.end` when none is.
    pub(super) fn first_present(&self, file: FileId, range: Range<u64>) -> u64 {
        let state = lock(&self.state);
        for (index, part) in parts(range.clone()) {
            let Some(slot) = state.slots.get(&Key { file, index }) else {
                continue;
            };
            let starts = slot.runs.iter().filter(|run| run.end() > part.start);
            let first = starts.map(|run| run.start.max(part.start)).min();
            if let Some(first) = first.filter(|first| *first < part.end) {
                return index * BLOCK + first;
            }
        }
        range.end
    }

    /// Adds a chunk that belongs at `at` of `file`. Chunks of one stream come in order and without
    /// gaps; a chunk may span blocks.
    pub(super) fn append(&self, file: FileId, at: u64, chunk: &Bytes) {
        let mut state = lock(&self.state);
        for (index, part) in parts(at..at + chunk.len() as u64) {
            let from = offset(index * BLOCK + part.start - at);
            let piece = chunk.slice(from..from + offset(part.end - part.start));
            state.append(Key { file, index }, part.start, &piece);
        }
        state.shrink(self.budget);
    }

    /// Puts in `piece`, which lies within one block, for the bytes from `at` on. What came of them
    /// before makes way for it.
    pub(super) fn put(&self, file: FileId, at: u64, piece: &Bytes) {
        if piece.is_empty() {
            return;
        }
        let index = at / BLOCK;
        let mut state = lock(&self.state);
        state.put(Key { file, index }, at - index * BLOCK, piece);
        state.shrink(self.budget);
    }

    /// Copies the block that holds byte `at` of `file` into one piece, so that reads of it are
    /// slices and the chunks' buffers are given back. Called when a stream leaves the block.
    pub(super) fn settle(&self, file: FileId, at: u64) {
        let key = Key {
            file,
            index: at / BLOCK,
        };
        // The copy itself is made outside the lock, from cheap clones of the chunks.
        let runs: Vec<Run> = {
            let state = lock(&self.state);
            let Some(slot) = state.slots.get(&key) else {
                return;
            };
            if matches!(&slot.runs[..], [run] if run.settled) {
                return;
            }
            let copy = |run: &Run| Run {
                chunks: run.chunks.clone(),
                ..*run
            };
            slot.runs.iter().map(copy).collect()
        };
        let settled = join(runs);
        let mut state = lock(&self.state);
        let Some(slot) = state.slots.get_mut(&key) else {
            return;
        };
        // Whoever appended meanwhile settles the block again; never lose its bytes here.
        let is_copied = |run: &Run| {
            let mut copies = settled.iter();
            copies.any(|copy| copy.start <= run.start && run.end() <= copy.end())
        };
        if slot.runs.iter().all(is_copied) {
            let held: u64 = slot.runs.iter().map(|run| run.len).sum();
            let known: u64 = settled.iter().map(|run| run.len).sum();
            slot.runs = settled;
            state.bytes = state.bytes - held + known;
            // It may hold more than before, if it was evicted and begun anew meanwhile.
            state.shrink(self.budget);
        }
    }

    /// Marks what lies wholly before `until` and at most `reach` behind it as read: it goes before
    /// anything that still waits for its reader. The kernel has it in its page cache by now.
    pub(super) fn consumed(&self, file: FileId, range: Range<u64>) {
        let mut state = lock(&self.state);
        let (first, last) = (range.start.div_ceil(BLOCK), range.end / BLOCK);
        for index in first..last {
            state.retire(Key { file, index });
        }
    }

    /// Drops what is here of a file. Looks at all there is: not for a hot path.
    pub(super) fn forget(&self, file: FileId) {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let gone = state.slots.extract_if(|key, _| key.file == file);
        for (_, slot) in gone {
            state.order.remove(&slot.tick);
            state.bytes -= slot.runs.iter().map(|run| run.len).sum::<u64>();
        }
    }

    /// What is here of a file, ascending, neighbours joined. Looks at all there is: for people.
    pub(super) fn held(&self, file: FileId) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = {
            let state = lock(&self.state);
            let ours = state.slots.iter().filter(|(key, _)| key.file == file);
            ours.flat_map(|(key, slot)| {
                let base = key.index * BLOCK;
                slot.runs
                    .iter()
                    .map(move |run| base + run.start..base + run.end())
            })
            .collect()
        };
        runs.sort_unstable_by_key(|run| run.start);
        let mut held: Vec<Range<u64>> = Vec::new();
        for run in runs {
            match held.last_mut() {
                Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
                _ => held.push(run),
            }
        }
        held
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }

    /// The most it keeps.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }
}

/// One piece of a settled block, if `part` lies in it.
fn one_piece(slot: &Slot, part: &Range<u64>) -> Option<Bytes> {
    let run = slot
        .runs
        .iter()
        .find(|run| run.start <= part.start && part.end <= run.end())?;
    let mut at = run.start;
    for chunk in &run.chunks {
        let end = at + chunk.len() as u64;
        if at <= part.start && part.end <= end {
            return Some(chunk.slice(offset(part.start - at)..offset(part.end - at)));
        }
        at = end;
    }
    None
}

/// The runs as few pieces as can be: sorted, overlaps dropped, touching ones joined.
fn join(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_by_key(|run| run.start);
    let mut joined = Vec::new();
    let mut rest = &runs[..];
    while let Some(first) = rest.first() {
        // As far as the next gap.
        let (mut end, mut count) = (first.end(), 1);
        while let Some(next) = rest.get(count).filter(|next| next.start <= end) {
            end = end.max(next.end());
            count += 1;
        }
        let (touching, others) = rest.split_at(count);
        let piece = own_piece(offset(end - first.start), |mut out| {
            let mut at = first.start;
            for run in touching {
                if run.end() > at {
                    run.copy(at..run.end(), &mut out);
                    at = run.end();
                }
            }
        });
        joined.push(Run {
            start: first.start,
            len: end - first.start,
            chunks: vec![piece],
            settled: true,
        });
        rest = others;
    }
    joined
}

/// `range` of a file cut at block borders: block index and the part within that block.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let index = at / BLOCK;
        let end = range.end.min((index + 1) * BLOCK);
        let part = at - index * BLOCK..end - index * BLOCK;
        at = end;
        Some((index, part))
    })
}

impl State {
    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    fn touch(&mut self, key: Key) {
        let tick = self.next_tick();
        if let Some(slot) = self.slots.get_mut(&key) {
            self.order.remove(&slot.tick);
            slot.tick = tick;
            self.order.insert(tick, key);
        }
    }

    /// Puts a slot at the front of the queue of what goes.
    fn retire(&mut self, key: Key) {
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        let front = self.order.first_key_value().map_or(0, |(tick, _)| *tick);
        // Ticks start far above zero (see `append`), so there is always room in front.
        let Some(tick) = front.checked_sub(1) else {
            return;
        };
        self.order.remove(&slot.tick);
        slot.tick = tick;
        self.order.insert(tick, key);
    }

    /// The slot of a block, made when there is none, to be [touched](Self::touch) afterwards, and the
    /// count of bytes held in all.
    fn slot(&mut self, key: Key) -> (&mut Slot, &mut u64) {
        /// Where ticks begin: leaves 2^62 places in front for slots that are retired.
        const FIRST_TICK: u64 = 1 << 62;
        self.tick = self.tick.max(FIRST_TICK);
        let tick = self.next_tick();
        let slot = self.slots.entry(key).or_insert_with(|| Slot {
            runs: Vec::new(),
            tick,
        });
        (slot, &mut self.bytes)
    }

    fn put(&mut self, key: Key, start: u64, piece: &Bytes) {
        let (slot, held) = self.slot(key);
        let (mut from, mut until) = (start, start + piece.len() as u64);
        // What another run holds beyond the piece's ends is not held twice.
        for run in &slot.runs {
            let reaches_out = run.start < from || run.end() > until;
            if reaches_out && run.start <= from {
                from = from.max(run.end());
            } else if reaches_out && run.end() >= until {
                until = until.min(run.start);
            }
        }
        if from < until {
            for gone in slot
                .runs
                .extract_if(.., |run| from <= run.start && run.end() <= until)
            {
                *held -= gone.len;
            }
            *held += until - from;
            slot.runs.push(Run {
                start: from,
                len: until - from,
                chunks: vec![piece.slice(offset(from - start)..offset(until - start))],
                settled: true,
            });
        }
        self.touch(key);
    }

    fn append(&mut self, key: Key, start: u64, piece: &Bytes) {
        let len = piece.len() as u64;
        let (slot, held) = self.slot(key);
        // What is here already is the same: content never changes under an id.
        let have = slot.present_until(start);
        if have >= start + len {
            return;
        }
        let fresh = piece.slice(offset(have - start)..);
        let added = fresh.len() as u64;
        // What it covers is not held twice.
        let covered = |run: &mut Run| have <= run.start && run.end() <= start + len;
        for gone in slot.runs.extract_if(.., covered) {
            *held -= gone.len;
        }
        match slot.runs.iter_mut().find(|run| run.end() == have) {
            Some(run) => {
                run.chunks.push(fresh);
                run.len += added;
                run.settled = false;
            }
            None => slot.runs.push(Run {
                start: have,
                len: added,
                chunks: vec![fresh],
                settled: false,
            }),
        }
        *held += added;
        self.touch(key);
    }

    /// Drops the longest unused until the budget holds.
    fn shrink(&mut self, budget: u64) {
        while self.bytes + self.slots.len() as u64 * SLOT_COST > budget {
            let Some((_, key)) = self.order.pop_first() else {
                return;
            };
            if let Some(slot) = self.slots.remove(&key) {
                self.bytes -= slot.runs.iter().map(|run| run.len).sum::<u64>();
            }
        }
    }
}

#[cfg(test)]
mod tests;
