//! Memory for contents, outside the heap and used again.
//!
//! Blocks come and go in random order for weeks: in the heap of libc they would leave holes that take
//! up as much again as the blocks (measured), so each has a mapping of its own. A fresh mapping costs
//! more than the copy into it, since every page of it is cleared and faulted in; so a few mappings
//! that were given back are kept for the next block. Knows no files and no offsets.
use super::blocks::BLOCK;
use crate::util::sync::lock;
use bytes::Bytes;
use memmap2::MmapMut;
use std::sync::{Arc, Mutex};

/// Blocks kept for their next use at most (4 MiB): a streaming reader frees about as many as it
/// fills, in turns of its read-ahead.
const KEPT: usize = 16;

/// Bytes from which a piece of its own is worth a mapping.
const LARGE: usize = 32 * 1024;

/// [`BLOCK`] as a length in memory.
const BLOCK_LEN: usize = 256 * 1024;
const _: () = assert!(BLOCK_LEN as u64 == BLOCK);

/// Where blocks come from and go to; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    kept: Arc<Mutex<Vec<MmapMut>>>,
}

/// Room for one block. What it holds at first is left from another one: only what was written to it
/// may be shown.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Memory,
    home: Pool,
}

#[derive(Debug)]
enum Memory {
    Mapped(MmapMut),
    /// When the system gives no mapping, or none is worth it.
    Heap(Vec<u8>),
}

impl Pool {
    /// Room for a block.
    pub(super) fn take(&self) -> Buffer {
        let kept = lock(&self.kept).pop();
        let memory = match kept {
            Some(mapped) => Memory::Mapped(mapped),
            None => Memory::new(BLOCK_LEN),
        };
        Buffer {
            memory,
            home: self.clone(),
        }
    }
}

impl Memory {
    fn new(len: usize) -> Self {
        MmapMut::map_anon(len).map_or_else(|_| Self::Heap(vec![0; len]), Self::Mapped)
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Heap(heap) => heap,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Heap(heap) => heap,
        }
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Buffer {
    /// The first `len` bytes, which were all written. A part of a block moves to memory of its own
    /// size, so that what is counted as held is what is held.
    pub(super) fn finish(self, len: usize) -> Bytes {
        if len < BLOCK_LEN {
            return own_piece(len, |out| out.copy_from_slice(&self.memory.bytes()[..len]));
        }
        Bytes::from_owner(self)
    }

    /// All of its room.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.bytes()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Memory::Mapped(mapped) = std::mem::replace(&mut self.memory, Memory::Heap(Vec::new()))
        else {
            return;
        };
        let mut kept = lock(&self.home.kept);
        if kept.len() < KEPT {
            kept.push(mapped);
        }
    }
}

/// `len` bytes in memory of their own, written by `fill`. Larger ones go back to the system as soon
/// as they are dropped.
pub(super) fn own_piece(len: usize, fill: impl FnOnce(&mut [u8])) -> Bytes {
    let mut memory = if len >= LARGE {
        Memory::new(len)
    } else {
        Memory::Heap(vec![0; len])
    };
    fill(memory.bytes_mut());
    match memory {
        Memory::Heap(heap) => heap.into(),
        mapped @ Memory::Mapped(_) => Bytes::from_owner(mapped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again_and_never_more_than_a_few_are_kept() {
        let pool = Pool::default();
        let all: Vec<Bytes> = (0..2 * KEPT)
            .map(|_| pool.take().finish(BLOCK_LEN))
            .collect();
        drop(all);
        assert_eq!(lock(&pool.kept).len(), KEPT);
        let again = pool.take();
        assert_eq!(lock(&pool.kept).len(), KEPT - 1);
        drop(again);
        assert_eq!(lock(&pool.kept).len(), KEPT);
    }

    #[test]
    fn a_block_in_use_is_never_written_to_again() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.room().fill(1);
        let first = first.finish(BLOCK_LEN);
        let slice = first.slice(1000..2000);
        drop(first);
        let mut second = pool.take();
        second.room().fill(2);
        assert!(slice.iter().all(|byte| *byte == 1));
        let part = second.finish(5);
        assert_eq!(part, [2; 5][..]);
    }
}
