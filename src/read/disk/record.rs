//! Records of the persisted map as bytes. Pure; what does not decode is the end of the map.
//!
//! ```text
//! kind 1 | length of id 1 | id 20 | segment 4 | mask 8 | [size 8 | checksum 8 per unit] or [print 8] | check 4
//! ```
//! Integers are little-endian; `check` covers all before it and the nonce of the map's file.
use super::checksum;
use super::persist::Snapshot;
use super::segment::{Key, Patch};
use crate::api::FileId;
use std::io::{self, Read};

/// Bytes of a record without checksums of units, at most.
pub(super) const RECORD: u64 = (HEAD + 8 + CHECK) as u64;
/// Bytes per checksum of a unit.
pub(super) const SUM: u64 = 8;

/// Bytes of what every record begins with, from its kind to its mask.
const HEAD: usize = 34;

/// Bytes of a record's own checksum, at its end.
const CHECK: usize = 4;

// What a record's first byte says it is.
const WROTE: u8 = 1;
const DROPPED: u8 = 2;
const USED: u8 = 3;
const FORGOT: u8 = 4;
const PROVED: u8 = 5;

/// One change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// These units are on disk, and were used just then.
    Wrote(Snapshot),
    /// These units are not, any more.
    Dropped(Patch),
    /// A segment was used.
    Used(Key),
    /// Nothing of a file is on disk any more.
    Forgot(FileId),
    /// All of a file was found sound and written through, and it bore this [print](super::proof) then; with
    /// [`NONE`](super::proof::NONE) that does not hold any more.
    Proved(FileId, u64),
}

impl Record {
    /// Appends the record's bytes to `to`.
    pub(super) fn encode(&self, nonce: u64, to: &mut Vec<u8>) {
        let start = to.len();
        let (kind, file, segment, mask) = match self {
            Self::Wrote(s) => (WROTE, s.patch.file, s.patch.segment, s.patch.mask),
            Self::Dropped(patch) => (DROPPED, patch.file, patch.segment, patch.mask),
            Self::Used((file, segment)) => (USED, *file, *segment, 0),
            Self::Forgot(file) => (FORGOT, *file, 0, 0),
            Self::Proved(file, _) => (PROVED, *file, 0, 0),
        };
        let id = file.as_str().as_bytes();
        let mut padded = [0; 20];
        padded[..id.len()].copy_from_slice(id);
        to.extend_from_slice(&[kind, u8::try_from(id.len()).unwrap_or(0)]);
        to.extend_from_slice(&padded);
        to.extend_from_slice(&segment.to_le_bytes());
        to.extend_from_slice(&mask.to_le_bytes());
        if let Self::Wrote(snapshot) = self {
            to.extend_from_slice(&snapshot.size.to_le_bytes());
            for sum in &snapshot.sums {
                to.extend_from_slice(&sum.to_le_bytes());
            }
        }
        if let Self::Proved(_, print) = self {
            to.extend_from_slice(&print.to_le_bytes());
        }
        let check = checksum::record(nonce, &to[start..]);
        to.extend_from_slice(&check.to_le_bytes());
    }

    /// Reads the next record and its length in bytes; `None` at the end of what is sound.
    pub(super) fn decode(nonce: u64, from: &mut impl Read) -> io::Result<Option<(Self, u64)>> {
        let mut bytes = vec![0; HEAD];
        if !fill(from, &mut bytes)? {
            return Ok(None);
        }
        let mask = u64_at(&bytes, 26);
        let more = match bytes[0] {
            WROTE => 8 + 8 * mask.count_ones() as usize,
            DROPPED | USED | FORGOT => 0,
            PROVED => 8,
            _ => return Ok(None),
        };
        bytes.resize(HEAD + more + CHECK, 0);
        if !fill(from, &mut bytes[HEAD..])? {
            return Ok(None);
        }
        let (body, check) = bytes.split_at(HEAD + more);
        if checksum::record(nonce, body).to_le_bytes() != check {
            return Ok(None);
        }
        let id = body.get(2..2 + usize::from(body[1]).min(20)).unwrap_or(&[]);
        let Some(file) = std::str::from_utf8(id).ok().and_then(FileId::parse) else {
            return Ok(None);
        };
        let segment = u32::from_le_bytes([body[22], body[23], body[24], body[25]]);
        let patch = Patch {
            file,
            segment,
            mask,
        };
        let record = match body[0] {
            WROTE => Self::Wrote(Snapshot {
                patch,
                size: u64_at(body, HEAD),
                sums: (HEAD + 8..body.len())
                    .step_by(8)
                    .map(|at| u64_at(body, at))
                    .collect(),
            }),
            DROPPED => Self::Dropped(patch),
            USED => Self::Used((file, segment)),
            PROVED => Self::Proved(file, u64_at(body, HEAD)),
            _ => Self::Forgot(file),
        };
        Ok(Some((record, bytes.len() as u64)))
    }
}

/// Fills `bytes`; `false` when the input ends first.
pub(super) fn fill(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The integer at an offset that lies within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut integer = [0; 8];
    integer.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(integer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let key = ("[a-z0-9]{5,20}", any::<u32>());
        (key, any::<u64>(), any::<u64>(), 0..5u8).prop_map(|((id, segment), mask, size, kind)| {
            let file = FileId::parse(&id).unwrap();
            let patch = Patch {
                file,
                segment,
                mask,
            };
            match kind {
                0 => Record::Wrote(Snapshot {
                    patch,
                    size,
                    sums: (0..u64::from(mask.count_ones())).collect(),
                }),
                1 => Record::Dropped(patch),
                2 => Record::Used((file, segment)),
                3 => Record::Proved(file, mask),
                _ => Record::Forgot(file),
            }
        })
    }

    proptest! {
        #[test]
        fn records_come_back(records in prop::collection::vec(record(), 1..20)) {
            let mut bytes = Vec::new();
            for record in &records {
                record.encode(9, &mut bytes);
            }
            let mut from = &bytes[..];
            for record in &records {
                let (read, len) = Record::decode(9, &mut from).unwrap().unwrap();
                prop_assert_eq!(&read, record);
                prop_assert!(len <= RECORD + SUM * 64);
            }
            prop_assert_eq!(Record::decode(9, &mut from).unwrap(), None);
        }

        #[test]
        fn damage_is_seen(record in record(), at in any::<prop::sample::Index>(), with in 1u8..) {
            let mut bytes = Vec::new();
            record.encode(9, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            prop_assert_eq!(Record::decode(9, &mut &bytes[..]).unwrap(), None);
            prop_assert_eq!(Record::decode(9, &mut &bytes[..at]).unwrap(), None);
        }

        #[test]
        fn garbage_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Record::decode(9, &mut &bytes[..]).unwrap(), None);
        }
    }
}
