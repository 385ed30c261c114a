//! The bytes of a record: numbers in as few bytes as they need, texts with their length, and a
//! checksum over all of it.
//!
//! Written by hand, because a record is mostly ids and hashes that a general serializer would spell
//! out or copy once more, and because reading must survive every input: whatever the bytes are, the
//! answer is a value or `None`. Pure.
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of the checksum at the end of a record.
const SUM_BYTES: usize = size_of::<u64>();

/// Most bytes of a number: 64 bits in groups of 7.
const NUMBER_MOST_BYTES: usize = 10;

/// Writes a record.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A record of about `room` bytes.
    pub fn with_room(room: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(room),
        }
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(low_bits(number) | 0x80);
            number >>= 7;
        }
        self.bytes.push(low_bits(number));
    }

    /// Small numbers of either sign stay small.
    pub fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes with their number.
    pub fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// The bytes as they are, for what is sealed elsewhere.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// The record with its checksum, which is right at `place` only.
    pub fn seal(mut self, place: &[u8]) -> Vec<u8> {
        let sum = sum(place, &self.bytes);
        self.raw(&sum.to_le_bytes());
        self.bytes
    }
}

/// Reads a record. Every method is `None` when the bytes do not hold what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Bytes that were unsealed elsewhere.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A record whose checksum is right for `place`.
    pub fn unseal(place: &[u8], record: &'a [u8]) -> Option<Self> {
        let (bytes, noted) = record.split_last_chunk::<SUM_BYTES>()?;
        (sum(place, bytes) == u64::from_le_bytes(*noted)).then_some(Self { rest: bytes })
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// What [`Writer::number`] wrote.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for at in 0..NUMBER_MOST_BYTES {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * at;
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// What [`Writer::signed`] wrote.
    pub fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// That many bytes.
    pub fn raw(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// As many bytes as the array takes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    /// What [`Writer::text`] wrote.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.raw(usize::try_from(length).ok()?)
    }

    /// A number of things to come, each of which takes a byte at least: what claims more is damaged,
    /// and must not make anyone reserve memory for it.
    pub fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.rest.len()).then_some(count)
    }

    /// All that was not read yet.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Checksum of a record's bytes, bound to the place they belong to: the right bytes under another key
/// do not match.
fn sum(place: &[u8], bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, xxh3_64(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, signed: i64, text: Vec<u8>, hash: [u8; 64]) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.text(&text);
            writer.raw(&hash);
            let record = writer.seal(b"here");
            let mut reader = Reader::unseal(b"here", &record).unwrap();
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.signed(), Some(signed));
            prop_assert_eq!(reader.text(), Some(&*text));
            prop_assert_eq!(reader.array(), Some(hash));
            prop_assert!(reader.is_at_end());
            prop_assert!(Reader::unseal(b"there", &record).is_none());
        }

        #[test]
        fn a_changed_bit_is_noticed(text in prop::collection::vec(any::<u8>(), 0..200), at: usize, bit in 0..8) {
            let mut writer = Writer::default();
            writer.raw(&text);
            let mut record = writer.seal(b"here");
            let at = at % record.len();
            record[at] ^= 1u8 << bit;
            prop_assert!(Reader::unseal(b"here", &record).is_none());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let mut reader = Reader { rest: &bytes };
            while reader.number().is_some() && reader.signed().is_some() && reader.text().is_some() {}
            if let Some(count) = (Reader { rest: &bytes }).count() {
                prop_assert!(count < bytes.len());
            }
        }
    }
}
