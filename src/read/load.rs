//! How many handles are being read at the moment, so that memory can be shared among them. Exact
//! to within one period; costs two atomic operations per read.
use crate::util::clock::Moment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A handle counts as being read for at least this long after its last read, twice as long at most.
const PERIOD: Duration = Duration::from_secs(5);

/// Counts the handles read in this period and the one before.
#[derive(Debug, Default)]
pub(super) struct Load {
    origin: std::sync::OnceLock<Moment>,
    period: AtomicU64,
    now: AtomicU64,
    before: AtomicU64,
}

/// A handle's part in the count: the period it was last counted in, plus one.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU64);

impl Load {
    /// Notes a read by the holder of `ticket`; returns how many handles are being read.
    pub(super) fn note(&self, ticket: &Ticket, now: Moment) -> u64 {
        let origin = *self.origin.get_or_init(|| now);
        let period = 1 + now.since(origin).as_secs() / PERIOD.as_secs();
        let current = self.period.load(Ordering::Relaxed);
        // Threads may race for the turn of a period: one of them wins, the others count on.
        if period > current
            && self
                .period
                .compare_exchange(current, period, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let ended = self.now.swap(0, Ordering::Relaxed);
            self.before.store(
                if period == current + 1 { ended } else { 0 },
                Ordering::Relaxed,
            );
        }
        if ticket.0.swap(period, Ordering::Relaxed) != period {
            self.now.fetch_add(1, Ordering::Relaxed);
        }
        self.now
            .load(Ordering::Relaxed)
            .max(self.before.load(Ordering::Relaxed))
            .max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_count_once_a_period_and_are_forgotten_after_two() {
        let load = Load::default();
        let at = |seconds| Moment::from_origin(Duration::from_secs(seconds));
        let tickets: Vec<Ticket> = (0..10).map(|_| Ticket::default()).collect();
        for _ in 0..3 {
            for ticket in &tickets {
                load.note(ticket, at(1));
            }
        }
        assert_eq!(load.note(&tickets[0], at(2)), 10);
        assert_eq!(load.note(&tickets[0], at(6)), 10);
        assert_eq!(load.note(&tickets[0], at(11)), 1);
        assert_eq!(load.note(&tickets[0], at(100)), 1);
    }
}
