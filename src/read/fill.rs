//! The block a stream is filling: its bytes go from the connection to their final place in one copy.
//!
//! Promises: what is shown of it are the bytes that were put in. Knows one block and no file.
use super::blocks::BLOCK;
use super::pool::{Buffer, Pool, own_piece};
use bytes::Bytes;

/// Bytes from `start` on, at most to the end of the block `start` lies in.
#[derive(Debug)]
pub(super) struct Fill {
    start: u64,
    len: usize,
    /// Taken with the first byte: a stream that waits for its connection holds no memory.
    buffer: Option<Buffer>,
}

impl Fill {
    /// Nothing yet, from offset `start` of the file on.
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            len: 0,
            buffer: None,
        }
    }

    /// Where in the file it begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte put in.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Whether the block's end is reached.
    pub(super) fn is_full(&self) -> bool {
        self.len > 0 && self.end().is_multiple_of(BLOCK)
    }

    /// Takes as many of the next bytes as fit into the block; says how many.
    pub(super) fn put(&mut self, bytes: &[u8], pool: &Pool) -> usize {
        let left = BLOCK - self.end() % BLOCK;
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let room = self.buffer.get_or_insert_with(|| pool.take()).room();
        room[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    /// A copy of what was put in from offset `from` of the file on.
    pub(super) fn copy(&self, from: u64) -> Bytes {
        let skip = usize::try_from(from.saturating_sub(self.start)).unwrap_or(usize::MAX);
        match &self.buffer {
            Some(buffer) if skip < self.len => own_piece(self.len - skip, |out| {
                out.copy_from_slice(&buffer.as_ref()[skip..self.len]);
            }),
            _ => Bytes::new(),
        }
    }

    /// All that was put in.
    pub(super) fn finish(self) -> Bytes {
        match self.buffer {
            Some(buffer) => buffer.finish(self.len),
            None => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_up_to_the_end_of_the_block_and_come_out_the_same() {
        let pool = Pool::default();
        let start = 3 * BLOCK - 1000;
        let mut fill = Fill::new(start);
        assert_eq!(fill.copy(start), Bytes::new());
        assert!(!fill.is_full());
        let bytes: Vec<u8> = (0..1500u64).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(fill.put(&bytes[..600], &pool), 600);
        assert_eq!(fill.copy(start + 100), bytes[100..600]);
        assert_eq!(fill.put(&bytes[600..], &pool), 400);
        assert!(fill.is_full());
        assert_eq!(fill.end(), 3 * BLOCK);
        assert_eq!(fill.finish(), bytes[..1000]);
    }
}
