//! Bytes that flow: how many so far, and how fast lately.
//!
//! Promises: noting costs a lock held for a moment and no memory, however long it goes on; nothing is
//! decided by these figures. A flow may be part of another, which then counts what it brings too.
use super::clock::{Clock, Moment};
use super::sync::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One cell of the ring. Short beside [`CELLS`] of them, so that a speed does not jump when one goes.
const CELL: Duration = Duration::from_millis(500);

/// Cells kept: the speed is that of the last five seconds. Long enough to even out pieces that come in
/// bursts, short enough to show that something has stopped.
const CELLS: usize = 10;

/// A flow younger than this counts as this old: the first piece is no measure of a speed.
const YOUNGEST: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Flow {
    clock: Clock,
    bytes: AtomicU64,
    ring: Mutex<Ring>,
    whole: Option<Arc<Flow>>,
}

/// Bytes by cell of time; the cell of the number `n` is at `n % CELLS`.
#[derive(Debug, Default)]
struct Ring {
    /// When the flow began, or began anew after a pause as long as the ring.
    began: Option<Moment>,
    /// The number of the latest cell.
    latest: u64,
    cells: [u64; CELLS],
}

impl Flow {
    /// Nothing has flowed yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            bytes: AtomicU64::new(0),
            ring: Mutex::default(),
            whole: None,
        }
    }

    /// A part of `whole`.
    pub fn part_of(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::new(whole.clock)
        }
    }

    /// Notes that `bytes` came or went just now.
    pub fn add(&self, bytes: u64) {
        let now = self.clock.now();
        let mut flow = Some(self);
        while let Some(it) = flow {
            // Relaxed: a figure for people.
            it.bytes.fetch_add(bytes, Ordering::Relaxed);
            lock(&it.ring).add(bytes, now);
            flow = it.whole.as_deref();
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes per second over the last five seconds.
    pub fn speed(&self) -> u64 {
        lock(&self.ring).speed(self.clock.now())
    }
}

impl Default for Flow {
    /// One in real time.
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

/// The number of the cell `now` lies in.
fn cell(now: Moment) -> u64 {
    let since = now.since(Moment::from_origin(Duration::ZERO));
    u64::try_from(since.as_millis() / CELL.as_millis()).unwrap_or(u64::MAX)
}

/// Where a cell is kept.
fn place(cell: u64) -> usize {
    usize::try_from(cell % CELLS as u64).unwrap_or(0)
}

impl Ring {
    /// Forgets what is older than the ring.
    fn turn_to(&mut self, now: Moment) {
        let cell = cell(now);
        let passed = cell.saturating_sub(self.latest);
        if passed >= CELLS as u64 {
            *self = Self {
                latest: cell,
                ..Self::default()
            };
            return;
        }
        for gone in self.latest + 1..=cell {
            self.cells[place(gone)] = 0;
        }
        self.latest = self.latest.max(cell);
    }

    fn add(&mut self, bytes: u64, now: Moment) {
        self.turn_to(now);
        self.began.get_or_insert(now);
        let cell = &mut self.cells[place(self.latest)];
        *cell = cell.saturating_add(bytes);
    }

    fn speed(&mut self, now: Moment) -> u64 {
        self.turn_to(now);
        let Some(began) = self.began else {
            return 0;
        };
        // The cell that is being filled counts for as much of it as has passed.
        let in_cell = now.since(Moment::from_origin(Duration::ZERO)).as_millis() % CELL.as_millis();
        let covered = CELL.as_millis() * (CELLS as u128 - 1) + in_cell;
        let age = now.since(began).max(YOUNGEST).as_millis();
        let bytes: u128 = self.cells.iter().map(|bytes| u128::from(*bytes)).sum();
        u64::try_from(bytes * 1000 / covered.min(age).max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(1_000_000 + millis))
    }

    #[test]
    fn a_steady_flow_has_its_speed_soon_and_a_stopped_one_none() {
        let mut ring = Ring::default();
        assert_eq!(ring.speed(at(0)), 0);
        for step in 0..100 {
            ring.add(1_000, at(step * 100));
            // From the second second on within a tenth of 10 kB/s.
            if step > 10 {
                let speed = ring.speed(at(step * 100));
                assert!((9_000..=11_100).contains(&speed), "{step}: {speed}");
            }
        }
        assert!(ring.speed(at(12_000)) < 10_000);
        assert_eq!(ring.speed(at(15_000)), 0);
        // After a pause it is measured anew, not thinned out by the pause.
        ring.add(10_000, at(60_000));
        assert_eq!(ring.speed(at(61_000)), 10_000);
    }

    #[test]
    fn a_part_counts_for_the_whole() {
        let whole = Arc::new(Flow::default());
        let (one, two) = (Flow::part_of(&whole), Flow::part_of(&whole));
        one.add(5);
        two.add(7);
        assert_eq!((one.bytes(), two.bytes(), whole.bytes()), (5, 7, 12));
        assert!(whole.speed() >= one.speed().max(two.speed()));
    }

    proptest! {
        /// Whatever comes when: never more than came in the span that is looked at allows.
        #[test]
        fn no_speed_is_above_what_came(pieces in prop::collection::vec((0u64..3_000, 0u64..1_000_000), 1..60)) {
            let mut ring = Ring::default();
            let (mut now, mut all) = (0, 0);
            for (pause, bytes) in pieces {
                now += pause;
                ring.add(bytes, at(now));
                all += bytes;
                let speed = ring.speed(at(now));
                prop_assert!(speed <= all * 1000 / 500, "{speed} after {all}");
            }
            prop_assert_eq!(ring.speed(at(now + 5_000)), 0);
        }
    }
}
