//! What is here of files: in memory, and on disk behind it. Knows nothing of readers or the network.
use super::blocks::{BLOCK, Blocks};
use super::disk::DiskCache;
use super::fill::Fill;
use super::pool::Pool;
use crate::api::FileId;
use bytes::Bytes;
use std::ops::Range;
use tokio::sync::Semaphore;

/// Bytes brought from disk to memory at once: a sequential reader then goes to the disk once per
/// eight of the kernel's requests, a random one reads no more than a disk does for one anyway.
const LOAD: u64 = 1024 * 1024;

/// Loads at a time. More does not make a disk faster, and each holds a thread and its bytes: two
/// hundred readers would have two hundred of both.
const LOADS: usize = 4;

/// Bytes of the disk cache's unit: what begins within one is fetched from its beginning, or the
/// unit could not be kept. It costs 3 ms at 25 MB/s.
pub(super) const UNIT: u64 = 64 * 1024;

/// The two places; see the module.
pub(super) struct Store {
    pub(super) memory: Blocks,
    /// Where blocks being filled get their room.
    pub(super) pool: Pool,
    disk: Option<DiskCache>,
    loads: Semaphore,
}

impl Store {
    pub(super) fn new(memory: Blocks, disk: Option<DiskCache>) -> Self {
        Self {
            memory,
            pool: Pool::default(),
            disk,
            loads: Semaphore::new(LOADS),
        }
    }

    /// The disk cache, if there is one.
    pub(super) fn disk(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    /// The end of what is here of `range`, in memory or on disk, from its start without a gap.
    pub(super) fn here_until(&self, file: FileId, range: &Range<u64>) -> u64 {
        let mut at = range.start;
        loop {
            at = self.memory.first_missing(file, at..range.end);
            let on_disk = self.on_disk(file, at..range.end);
            if on_disk.is_empty() {
                return at;
            }
            at = on_disk.end;
        }
    }

    /// The first byte of `range` that is here, `range.end` when none is. What is on disk counts by
    /// whole blocks: less is not worth interrupting a stream for.
    pub(super) fn here_from(&self, file: FileId, range: Range<u64>) -> u64 {
        let in_memory = self.memory.first_present(file, range.clone());
        let Some(disk) = &self.disk else {
            return in_memory;
        };
        let mut block = range.start.next_multiple_of(BLOCK);
        while block + BLOCK <= in_memory {
            if disk.present(file, block..block + BLOCK) == block + BLOCK {
                return block;
            }
            block += BLOCK;
        }
        in_memory
    }

    /// The part of `range` at its start that is on disk; empty when its first byte is not.
    pub(super) fn on_disk(&self, file: FileId, range: Range<u64>) -> Range<u64> {
        let end = match &self.disk {
            Some(disk) if !range.is_empty() => disk.present(file, range.clone()),
            _ => range.start,
        };
        range.start..end
    }

    /// The part of `range` that is worth loading for a reader that lacks its first byte.
    pub(super) fn loadable(&self, file: FileId, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(range.start.saturating_add(LOAD));
        self.on_disk(file, range.start..end)
    }

    /// Brings `range` from disk to memory; returns what could be read, nothing when that failed.
    pub(super) async fn load(&self, file: FileId, size: u64, range: Range<u64>) -> Bytes {
        let Some(disk) = self.disk.clone() else {
            return Bytes::new();
        };
        // The semaphore is never closed; without a permit the load is merely not bounded.
        let _turn = self.loads.acquire().await.ok();
        let part = range.clone();
        let read = tokio::task::spawn_blocking(move || disk.read(file, size, part)).await;
        let Ok(Some(bytes)) = read else {
            return Bytes::new();
        };
        // Block by block, or each of them would keep all of it.
        let (mut at, mut rest) = (range.start, &bytes[..]);
        while !rest.is_empty() {
            let mut fill = Fill::new(at);
            let taken = fill.put(rest, &self.pool);
            rest = &rest[taken..];
            let next = fill.end();
            self.memory.put(file, at, &fill.finish());
            at = next;
        }
        bytes
    }

    /// Takes in what a stream brought: a whole block, or the end of what it brings.
    pub(super) fn filled(&self, file: FileId, size: u64, fill: Fill) {
        let at = fill.start();
        let piece = fill.finish();
        self.memory.put(file, at, &piece);
        if let Some(disk) = &self.disk {
            disk.offer(file, size, at, piece);
        }
    }

    /// Shows what a stream brought from `from` on of the block it is filling; the rest follows.
    pub(super) fn shown(&self, file: FileId, from: u64, fill: &Fill) {
        self.memory.append(file, from, &fill.copy(from));
    }

    /// Where a stream for the byte at `at`, which is not here, should begin.
    pub(super) fn begin(&self, file: FileId, at: u64) -> u64 {
        let unit = at - at % UNIT;
        let lacks_all = self.memory.first_present(file, unit..at + 1) > at
            && self.on_disk(file, unit..at + 1).is_empty();
        if self.disk.is_some() && lacks_all {
            unit
        } else {
            at
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
