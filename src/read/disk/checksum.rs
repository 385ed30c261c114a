//! The checksum of a unit: what makes every other mistake of a disk, a crash or ours harmless.
//!
//! XXH3 in 64 bits: it runs at the speed of memory, so each read can afford it, its output is the
//! same on every machine and release, and an accident passes it once in 10^19. It guards against
//! accidents, not against someone who can write to the cache's folder.
use crate::api::FileId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Checksum of a unit's bytes, bound to the place they belong to: the right bytes at a wrong place,
/// in the wrong file or the zeros of a hole do not match.
pub(super) fn unit(file: FileId, unit: u64, bytes: &[u8]) -> u64 {
    let mut place = [0; 32];
    let id = file.as_str().as_bytes();
    place[..id.len()].copy_from_slice(id);
    place[24..].copy_from_slice(&unit.to_le_bytes());
    xxh3_64_with_seed(bytes, xxh3_64(&place))
}

/// Checksum of a record of the map, bound to the map it was written to by `nonce`.
pub(super) fn record(nonce: u64, bytes: &[u8]) -> u32 {
    let [a, b, c, d, ..] = xxh3_64_with_seed(bytes, nonce).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_length_and_bytes_all_count() {
        let file = FileId::parse("aaaaaaaaaaaaaaaaaaaa").unwrap();
        let other = FileId::parse("aaaaaaaaaaaaaaaaaaab").unwrap();
        let zeros = [0u8; 128];
        let sum = unit(file, 7, &zeros);
        assert_ne!(sum, unit(other, 7, &zeros));
        assert_ne!(sum, unit(file, 8, &zeros));
        assert_ne!(sum, unit(file, 7, &zeros[1..]));
        let mut flipped = zeros;
        flipped[77] = 1;
        assert_ne!(sum, unit(file, 7, &flipped));
        // Persisted: a change of the algorithm must raise the map's version.
        assert_eq!(unit(file, 0, b"fichierfs"), 0xbff3_a108_f6c7_551a);
        // The empty input's hash in the algorithm's own specification.
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    }
}
