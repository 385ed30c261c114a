//! What files hold: bytes in memory, a file on disk, or bytes computed from a seed.
//!
//! Content never changes once made; copies in the account share it. It knows nothing of names or folders.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use whirlpool::{Digest, Whirlpool};

/// An odd constant with well spread bits (2^64 divided by the golden ratio): consecutive words differ everywhere.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bytes hashed at a time.
const HASH_CHUNK: usize = 256 * 1024;

/// Fills `buffer` with the bytes a synthetic file of `seed` holds at `offset`.
///
/// Each aligned group of 8 bytes is a one-to-one function of its index and the seed, so that a stream shifted by
/// any amount does not compare equal.
pub fn fill(seed: u64, offset: u64, buffer: &mut [u8]) {
    let base = seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ seed.rotate_left(32);
    let word = |index: u64| -> [u8; 8] {
        let x = base.wrapping_add(index.wrapping_mul(STEP));
        (x ^ (x >> 29)).to_le_bytes()
    };
    let mut index = offset / 8;
    let skip = usize::try_from(offset % 8).unwrap_or(0);
    let mut rest = buffer;
    if skip != 0 {
        let bytes = word(index);
        let n = rest.len().min(8 - skip);
        let (head, tail) = rest.split_at_mut(n);
        head.copy_from_slice(&bytes[skip..skip + n]);
        rest = tail;
        index += 1;
    }
    let mut chunks = rest.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.copy_from_slice(&word(index));
        index += 1;
    }
    let tail = chunks.into_remainder();
    let bytes = word(index);
    tail.copy_from_slice(&bytes[..tail.len()]);
}

/// The Whirlpool hash (ISO/IEC 10118-3:2004) of `bytes` as 128 lower-case hex digits (API reference 4.3).
pub fn whirlpool(bytes: &[u8]) -> String {
    hex(&Whirlpool::digest(bytes))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Synthetic {
        seed: u64,
    },
    /// A file of ours that has no name any more.
    Spool(File),
    /// A file of a mirrored folder, opened for each piece so that a large library costs no descriptors.
    Path(PathBuf),
}

/// An immutable run of bytes; clones share it.
#[derive(Debug, Clone)]
pub struct Content(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    size: u64,
    checksum: OnceLock<String>,
}

impl Content {
    fn new(source: Source, size: u64) -> Self {
        Self(Arc::new(Inner {
            source,
            size,
            checksum: OnceLock::new(),
        }))
    }

    /// Bytes held in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        Self::new(Source::Memory(bytes), size)
    }

    /// Bytes computed by [`fill`]; takes no space.
    pub fn synthetic(size: u64, seed: u64) -> Self {
        Self::new(Source::Synthetic { seed }, size)
    }

    /// A file of a mirrored folder.
    pub fn path(path: PathBuf, size: u64) -> Self {
        Self::new(Source::Path(path), size)
    }

    /// A file without a name, with the hash that was computed while it was written.
    pub(crate) fn spooled(file: File, size: u64, checksum: String) -> Self {
        let content = Self::new(Source::Spool(file), size);
        let _ = content.0.checksum.set(checksum);
        content
    }

    /// Bytes in memory with a hash known already.
    pub(crate) fn hashed(bytes: Bytes, checksum: String) -> Self {
        let content = Self::bytes(bytes);
        let _ = content.0.checksum.set(checksum);
        content
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Reads up to `len` bytes at `offset`; shorter only at the end.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let left = self.0.size.saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        match &self.0.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                Ok(bytes.slice(start..start + len))
            }
            Source::Synthetic { seed } => {
                let mut buffer = vec![0; len];
                fill(*seed, offset, &mut buffer);
                Ok(buffer.into())
            }
            Source::Spool(file) => {
                let mut buffer = vec![0; len];
                file.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
            Source::Path(path) => {
                let mut buffer = vec![0; len];
                File::open(path)?.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
        }
    }

    /// The checksum a listing shows.
    ///
    /// The true Whirlpool for uploads and for anything up to `limit` bytes, computed once; above that an arbitrary
    /// but stable value of the same shape for synthetic and mirrored files, because hashing runs at 100 MB/s.
    pub fn checksum(&self, limit: u64) -> String {
        if let Some(known) = self.0.checksum.get() {
            return known.clone();
        }
        let true_hash =
            matches!(self.0.source, Source::Memory(_) | Source::Spool(_)) || self.0.size <= limit;
        if true_hash {
            return self.true_checksum();
        }
        let seed = match &self.0.source {
            Source::Synthetic { seed } => *seed,
            _ => 0,
        };
        let mut bytes = [0; 64];
        fill(seed ^ self.0.size.rotate_left(17), 1 << 40, &mut bytes);
        hex(&bytes)
    }

    /// The true Whirlpool, computed by reading everything unless it is known; empty text if a mirrored file vanished.
    pub fn true_checksum(&self) -> String {
        if let Some(known) = self.0.checksum.get() {
            return known.clone();
        }
        let mut hasher = Whirlpool::new();
        let mut offset = 0;
        while offset < self.0.size {
            let Ok(bytes) = self.read(offset, HASH_CHUNK) else {
                return String::new();
            };
            hasher.update(&bytes);
            offset += bytes.len() as u64;
        }
        self.0
            .checksum
            .get_or_init(|| hex(&hasher.finalize()))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whirlpool_of_the_logged_file() {
        let hash = whirlpool(b"Hello world\n");
        assert!(
            hash.starts_with("0a894ff0") && hash.ends_with("f006a2c5"),
            "{hash}"
        );
    }

    #[test]
    fn checksum_is_true_up_to_the_limit_and_stable_above() {
        let content = Content::synthetic(1000, 7);
        let arbitrary = content.checksum(999);
        assert_eq!(arbitrary.len(), 128);
        assert_eq!(arbitrary, Content::synthetic(1000, 7).checksum(999));
        assert_eq!(
            content.checksum(1000),
            whirlpool(&content.read(0, 1000).expect("computed"))
        );
    }

    proptest! {
        #[test]
        fn any_piece_equals_the_whole(seed: u64, offset in 0_u64..1 << 45, from in 0_usize..64, len in 0_usize..64) {
            let mut whole = [0; 128];
            fill(seed, offset, &mut whole);
            let mut piece = vec![0; len];
            fill(seed, offset + from as u64, &mut piece);
            prop_assert_eq!(&piece[..], &whole[from..from + len]);
        }

        #[test]
        fn a_shift_is_seen(seed: u64, offset in 0_u64..1 << 45, shift in 1_u64..1 << 30) {
            let (mut a, mut b) = ([0; 32], [0; 32]);
            fill(seed, offset, &mut a);
            fill(seed, offset + shift, &mut b);
            prop_assert_ne!(a, b);
        }
    }
}
