//! How a file is cut up: units, segments, edges. Pure arithmetic.
//!
//! A *unit* is what is present or not and bears one checksum. A *segment* is 64 units, so that one
//! machine word says which of them are present; it is what is used, evicted and punched together.
//! The *edges* of a file are its head and its tail.
use std::ops::Range;

/// Bytes of a unit. The checksum of a unit is proved on every read, so a small read costs a whole
/// unit: 64 KiB are read and checked in some 20 µs, and one 8-byte checksum per 64 KiB keeps the
/// map of a 10 GiB cache at 1.3 MB.
pub(in crate::read) const UNIT: u64 = 64 * 1024;

/// Units of a segment: the bits of its mask. Its 4 MiB are small beside any budget and large enough
/// that evicting behind a stream costs a few system calls per second.
pub(super) const SEGMENT_UNITS: u64 = 64;

/// Bytes at the start and at the end of a file that are evicted last. A probe (ffprobe reads up to
/// 5 MB at the start) and a player opening an mp4 or mkv (3 to 4 MiB of index at the end of a long
/// film) want no more; files up to twice this size are kept whole.
pub(in crate::read) const EDGE: u64 = 4 * 1024 * 1024;

/// Largest file size believed, bytes (1 PiB; the service takes 300 GB): keeps all sums here far
/// from overflow whatever a server claims.
pub(super) const MAX_SIZE: u64 = 1 << 50;

/// The segment a unit lies in.
pub(super) fn segment_of(unit: u64) -> u32 {
    u32::try_from(unit / SEGMENT_UNITS).unwrap_or(u32::MAX)
}

/// The bit of a unit in its segment's mask.
pub(super) fn bit_of(unit: u64) -> u64 {
    1 << (unit % SEGMENT_UNITS)
}

/// First unit of a segment.
pub(super) fn first_unit(segment: u32) -> u64 {
    u64::from(segment) * SEGMENT_UNITS
}

/// The bytes of a unit in a file of `size` bytes; shorter than [`UNIT`] only at the end.
pub(super) fn unit_range(unit: u64, size: u64) -> Range<u64> {
    let start = unit.saturating_mul(UNIT).min(size);
    start..start.saturating_add(UNIT).min(size)
}

/// The units a range of bytes touches; none when it is empty.
pub(super) fn units_touched(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / UNIT..range.end.div_ceil(UNIT)
}

/// The segments that units lie in, each with the bits of those units.
pub(super) fn masks(units: Range<u64>) -> impl Iterator<Item = (u32, u64)> {
    let mut next = units.start;
    std::iter::from_fn(move || {
        if next >= units.end {
            return None;
        }
        let segment = segment_of(next);
        let stop = (first_unit(segment) + SEGMENT_UNITS).min(units.end);
        let mask = low_bits(stop - first_unit(segment)) & !low_bits(next - first_unit(segment));
        next = stop;
        Some((segment, mask))
    })
}

/// The bits of a segment that a file of `size` bytes has at all.
pub(super) fn existing(segment: u32, size: u64) -> u64 {
    low_bits(
        size.div_ceil(UNIT)
            .saturating_sub(first_unit(segment))
            .min(SEGMENT_UNITS),
    )
}

/// The bits of a segment that lie in the head or the tail of a file of `size` bytes.
pub(super) fn edges(segment: u32, size: u64) -> u64 {
    let start = first_unit(segment);
    let head = (EDGE / UNIT).saturating_sub(start).min(SEGMENT_UNITS);
    let before_tail = (size.saturating_sub(EDGE) / UNIT)
        .saturating_sub(start)
        .min(SEGMENT_UNITS);
    (low_bits(head) | !low_bits(before_tail)) & existing(segment, size)
}

/// Bytes on disk of the units in `mask`, the short last unit rounded up to `block`.
pub(super) fn on_disk(mask: u64, segment: u32, size: u64, block: u64) -> u64 {
    let last = size.div_ceil(UNIT).saturating_sub(1);
    let full = u64::from(mask.count_ones()) * UNIT;
    if segment_of(last) != segment || mask & bit_of(last) == 0 {
        return full;
    }
    let range = unit_range(last, size);
    full - UNIT + (range.end - range.start).next_multiple_of(block).min(UNIT)
}

/// The units of a segment whose bits are set, ascending.
pub(super) fn units_in(segment: u32, mask: u64) -> impl Iterator<Item = u64> {
    (0..SEGMENT_UNITS)
        .filter(move |bit| mask >> bit & 1 == 1)
        .map(move |bit| first_unit(segment) + bit)
}

/// Byte ranges of the neighbouring units in `mask`, ascending; the last may reach beyond the end
/// of the file.
pub(super) fn runs(segment: u32, mask: u64) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for unit in units_in(segment, mask) {
        let start = unit * UNIT;
        match runs.last_mut() {
            Some(run) if run.end == start => run.end += UNIT,
            _ => runs.push(start..start + UNIT),
        }
    }
    runs
}

/// The lowest `count` bits set; all of them from 64 on.
fn low_bits(count: u64) -> u64 {
    match count {
        0..64 => (1 << count) - 1,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEGMENT: u64 = SEGMENT_UNITS * UNIT;

    #[test]
    fn head_and_tail_are_edges_and_nothing_between() {
        let size = 10 * SEGMENT + 100;
        assert_eq!(edges(0, size), u64::MAX);
        assert_eq!(edges(1, size), 0);
        assert_eq!(edges(8, size), 0);
        // The tail starts 100 bytes into segment 9; the unit it starts in belongs to it.
        assert_eq!(edges(9, size), u64::MAX);
        assert_eq!(edges(10, size), 1);
        assert_eq!(edges(11, size), 0);
        assert_eq!(edges(0, 1), 1);
    }

    #[test]
    fn only_the_last_unit_is_short_on_disk() {
        let size = 3 * UNIT + 5000;
        assert_eq!(on_disk(0b1111, 0, size, 4096), 3 * UNIT + 8192);
        assert_eq!(on_disk(0b0111, 0, size, 4096), 3 * UNIT);
        assert_eq!(on_disk(0b1000, 0, size, 128 * 1024), UNIT);
        assert_eq!(on_disk(0, 0, 0, 4096), 0);
    }

    proptest! {
        #[test]
        fn masks_say_exactly_the_units_of_a_range(start in 0u64..300, len in 0u64..300) {
            let units: Vec<u64> = masks(start..start + len)
                .flat_map(|(segment, mask)| units_in(segment, mask))
                .collect();
            prop_assert_eq!(units, (start..start + len).collect::<Vec<_>>());
        }

        #[test]
        fn runs_cover_exactly_the_mask(mask in any::<u64>(), segment in 0u32..5) {
            let covered: Vec<u64> = runs(segment, mask)
                .into_iter()
                .flat_map(|run| run.start / UNIT..run.end / UNIT)
                .collect();
            prop_assert_eq!(covered, units_in(segment, mask).collect::<Vec<_>>());
        }

        #[test]
        fn edges_are_the_units_near_the_ends(size in 1u64..40 << 20, unit in 0u64..640) {
            prop_assume!(unit * UNIT < size);
            let range = unit_range(unit, size);
            let near = range.start < EDGE || range.end > size.saturating_sub(EDGE);
            prop_assert_eq!(edges(segment_of(unit), size) & bit_of(unit) != 0, near);
            prop_assert!(existing(segment_of(unit), size) & bit_of(unit) != 0);
        }
    }
}
