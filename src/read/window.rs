//! Read-ahead as a pure state machine: accesses in, how far to fetch out.
//!
//! A handle is read at a few places at once: the kernel's read-ahead runs behind and before the
//! reader, several kernel threads deliver requests out of order, a demuxer alternates between sound
//! and picture. So a handle has up to [`CURSORS`] cursors. An access near a cursor continues it; an
//! access elsewhere is a seek and takes the cursor that was idle longest. A cursor's window starts
//! small, so that a probe of a file costs little, and grows while it is read on, so that a film
//! costs few requests. Knows nothing of blocks, streams or time.

use std::ops::Range;

/// Places of one handle that are followed at once; one more is as good as random access.
const CURSORS: usize = 4;

/// Bytes: the first fetch after an open or a seek. Small enough that the rest of it passes in 40 ms
/// at 25 MB/s and leaves the connection usable after another seek; large enough for the head of most
/// media files.
pub(super) const INITIAL: u64 = 1024 * 1024;

/// A window grows by this factor each time half of it was read. The second one covers what a probe
/// reads at most of a head (ffprobe 5 MB), so that this costs two requests.
const GROWTH: u64 = 8;

/// Bytes of one request at most. What a seek leaves unread of each connection is no more than that;
/// the set-up of the next request is hidden behind the end of the one before.
pub(super) const RANGE: u64 = 8 * 1024 * 1024;

/// Bytes read on at one place after which the reader is taken to go on: more than a probe reads.
const EAGER: u64 = 6 * 1024 * 1024;

/// Bytes at the end of a file that are fetched to the end as soon as they are looked at: an index
/// is there, and it is read whole.
const TAIL: u64 = 2 * 1024 * 1024;

/// Window of a steady reader over `lanes` connections: each fetches a range while one is read.
pub(super) fn largest(lanes: usize) -> u64 {
    RANGE.saturating_mul(lanes as u64 + 1)
}

/// Bytes an access may lie behind a cursor and still continue it. Kernel threads overtake each
/// other by up to 256 KiB (measured), mountpoint-s3 allows the same.
const BACKWARD: u64 = 1024 * 1024;

/// Bytes an access may lie ahead of a cursor and still continue it: reading on over a gap of this
/// size takes no longer than a new request.
const SKIP: u64 = 1024 * 1024;

/// What lies so far behind an access that no reader of the same place comes back to it, and was
/// not covered by the access before: one block at a time.
pub(super) fn behind(access: &Range<u64>) -> Range<u64> {
    let until = access.start.saturating_sub(BACKWARD);
    until.saturating_sub(2 * super::blocks::BLOCK)..until
}

/// The cursors of one handle.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The most recently used last.
    cursors: Vec<Cursor>,
    /// Cursors made so far.
    made: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    /// One past the highest byte read here.
    next: u64,
    /// Size of the window now.
    ahead: u64,
    /// Bytes read since the window last grew.
    run: u64,
    /// Bytes read on since the cursor was made.
    total: u64,
    /// Up to here fetching has been arranged.
    arranged: u64,
    /// Tells it from the other cursors of its handle.
    number: u64,
}

/// What bounds a window at the moment, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Its size, by the memory that is to be had and the connections there may be.
    pub(super) largest: u64,
    /// For a reader that may stop any moment: fetched ahead when less is left.
    pub(super) near: u64,
}

/// What an access means for fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// The cursor it moved, for [`Window::arranged`].
    cursor: u64,
    /// What lies before was arranged for, or is being read now.
    pub(super) from: u64,
    /// To be looked at for something uncovered: up to the edge for a steady reader, a little ahead
    /// for one that may stop.
    pub(super) look: u64,
    /// Fetching is wanted up to here.
    pub(super) edge: u64,
    /// Less than this is not worth a request of its own.
    pub(super) least: u64,
    /// No cursor was near: what was being fetched for elsewhere is not wanted for now.
    pub(super) seek: bool,
    /// The reader has read on for longer than a probe does.
    pub(super) eager: bool,
    /// Enough of the window may be uncovered to look whether something should be fetched ahead.
    pub(super) due: bool,
}

impl Window {
    /// Notes that `range` of a file of `size` bytes is read. `bounds` are those of the window.
    pub(super) fn on_read(&mut self, range: &Range<u64>, size: u64, bounds: Bounds) -> Access {
        let near = self
            .cursors
            .iter()
            .rposition(|cursor| cursor.is_near(range.start));
        let seek = near.is_none();
        let mut cursor = if let Some(index) = near {
            self.cursors.remove(index)
        } else {
            if self.cursors.len() == CURSORS {
                self.cursors.remove(0);
            }
            self.made += 1;
            Cursor {
                next: range.start,
                ahead: INITIAL,
                run: 0,
                total: 0,
                arranged: range.start,
                number: self.made,
            }
        };
        let access = cursor.advance(range, size, bounds, seek);
        self.cursors.push(cursor);
        access
    }

    /// Notes that fetching up to `until` was arranged for `access`. Other accesses may have come
    /// between: a handle is read by several threads.
    pub(super) fn arranged(&mut self, access: &Access, until: u64) {
        let mut cursors = self.cursors.iter_mut();
        if let Some(cursor) = cursors.find(|it| it.number == access.cursor) {
            cursor.arranged = cursor.arranged.max(until);
        }
    }
}

impl Cursor {
    fn is_near(&self, at: u64) -> bool {
        at.saturating_add(BACKWARD) >= self.next && at <= self.next.saturating_add(SKIP)
    }

    fn advance(&mut self, range: &Range<u64>, size: u64, bounds: Bounds, seek: bool) -> Access {
        let fresh = range.end.saturating_sub(self.next);
        self.run += fresh;
        self.total += fresh;
        self.next = self.next.max(range.end);
        let largest = bounds.largest.max(INITIAL / 4);
        if self.run >= self.ahead / 2 && self.ahead < largest {
            self.ahead *= GROWTH;
            self.run = 0;
        }
        // Memory may have become scarce since the window grew.
        self.ahead = self.ahead.min(largest);
        let is_tail = size.saturating_sub(self.next) <= TAIL;
        let edge = self.next.saturating_add(self.ahead).min(size);
        let edge = if is_tail { size } else { edge };
        let least = (self.ahead / 2).min(RANGE);
        let eager = self.total >= EAGER;
        let (from, look) = if eager {
            (self.next.max(self.arranged), edge)
        } else {
            (self.next, edge.min(self.next.saturating_add(bounds.near)))
        };
        let enough = !eager || edge == size || edge.saturating_sub(self.arranged) >= least;
        Access {
            cursor: self.number,
            from,
            look,
            edge,
            least,
            seek,
            eager,
            due: from < look && enough,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * 1024;
    const SIZE: u64 = 1 << 40;
    const LARGEST: u64 = 32 * MIB;

    fn bounds(largest: u64) -> Bounds {
        Bounds {
            largest,
            near: MIB / 2,
        }
    }

    #[test]
    fn a_probe_fetches_little_and_a_reader_more_and_more() {
        let mut window = Window::default();
        let first = window.on_read(&(0..128 * KIB), SIZE, bounds(LARGEST));
        assert_eq!((first.edge, first.seek), (128 * KIB + MIB, true));
        assert!(first.look < first.edge, "it may stop any moment");
        window.arranged(&first, first.edge);
        let mut largest_step = 0;
        for at in (128 * KIB..64 * MIB).step_by(128 * 1024) {
            let access = window.on_read(&(at..at + 128 * KIB), SIZE, bounds(LARGEST));
            assert!(!access.seek);
            if access.due {
                largest_step = access.look - at;
                window.arranged(&access, access.look);
            }
        }
        assert!(largest_step >= LARGEST, "{largest_step}");
    }

    #[test]
    fn the_end_of_a_file_is_fetched_in_one_go() {
        let mut window = Window::default();
        let access = window.on_read(
            &(SIZE - 2 * MIB + 1..SIZE - 2 * MIB + 10),
            SIZE,
            bounds(LARGEST),
        );
        assert_eq!(access.edge, SIZE);
        let access = window.on_read(
            &(SIZE - 3 * MIB..SIZE - 3 * MIB + 10),
            SIZE,
            bounds(LARGEST),
        );
        assert!(access.edge < SIZE);
    }

    #[test]
    fn out_of_order_requests_are_no_seeks() {
        let mut window = Window::default();
        for at in [0, 256, 128, 512, 384, 640] {
            let access = window.on_read(&(at * KIB..(at + 128) * KIB), SIZE, bounds(LARGEST));
            assert_eq!(access.seek, at == 0, "{at}");
        }
    }

    #[test]
    fn alternating_places_are_followed_each() {
        let mut window = Window::default();
        let places = [0, 100 * MIB, 200 * MIB];
        let seeks = (0..30)
            .filter(|step| {
                let at = places[step % 3] + (*step as u64 / 3) * 64 * KIB;
                window
                    .on_read(&(at..at + 64 * KIB), SIZE, bounds(LARGEST))
                    .seek
            })
            .count();
        assert_eq!(seeks, 3);
    }

    #[test]
    fn scarce_memory_bounds_the_window() {
        let mut window = Window::default();
        for at in (0..32 * MIB).step_by(128 * 1024) {
            let access = window.on_read(&(at..at + 128 * KIB), SIZE, bounds(2 * MIB));
            assert!(access.edge <= at + 128 * KIB + 2 * MIB);
        }
    }

    proptest! {
        /// Whatever is read: what is wanted covers the access and stays bounded.
        #[test]
        fn the_edge_is_past_the_access_and_bounded(
            reads in prop::collection::vec((0..1u64 << 40, 1..MIB), 1..200),
            largest in 0..2 * LARGEST,
            rest in 0..64 * MIB,
        ) {
            let mut window = Window::default();
            for (at, len) in reads {
                let size = at + len + rest;
                let access = window.on_read(&(at..at + len), size, bounds(largest));
                prop_assert!(access.edge >= at + len && access.edge <= size);
                prop_assert!(access.edge <= at + len + BACKWARD + TAIL.max(largest).max(INITIAL));
                prop_assert!(access.look <= access.edge && (!access.due || access.from < access.look));
                prop_assert!(window.cursors.len() <= CURSORS);
                if access.due { window.arranged(&access, access.look); }
            }
        }
    }
}
