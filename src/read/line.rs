//! What the line to the service is like, as measured: how long until an answer begins, and how fast
//! one connection brings it. Decides what is worth waiting for instead of asking anew.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Until an answer begins, before anything was measured (µs): an ordinary home line.
const FIRST_GUESS_DELAY: u64 = 60_000;

/// Bytes per second of one connection, before anything was measured.
const FIRST_GUESS_RATE: u64 = 16 << 20;

/// A new value counts one over this in the average, so that one hiccup decides nothing.
const WEIGHT: u64 = 4;

/// Bytes that pass at least while a request is under way, however near the service is.
const LEAST: u64 = 256 * 1024;

/// Bytes that pass at most: beyond it reading on would waste more than a request.
const MOST: u64 = 4 << 20;

/// How long what nobody wants any more may still come: a seek has cancelled it within that.
const FINISH: Duration = Duration::from_millis(100);

/// Bytes that may still come at most, and at least.
const FINISH_MOST: u64 = 1 << 20;
const FINISH_LEAST: u64 = 128 * 1024;

/// Shorter answers say nothing about a connection's speed: bytes.
const TELLING: u64 = 1 << 20;

/// Averages of the whole mount. Relaxed: each is a figure of its own.
#[derive(Debug)]
pub(super) struct Line {
    delay_us: AtomicU64,
    rate: AtomicU64,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            delay_us: FIRST_GUESS_DELAY.into(),
            rate: FIRST_GUESS_RATE.into(),
        }
    }
}

impl Line {
    /// An answer began `after` it was asked for.
    pub(super) fn began(&self, after: Duration) {
        let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        mix(&self.delay_us, after);
    }

    /// One connection brought `bytes` `within` a span.
    pub(super) fn brought(&self, bytes: u64, within: Duration) {
        let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX).max(1);
        if bytes >= TELLING {
            mix(&self.rate, bytes.saturating_mul(1_000_000) / micros);
        }
    }

    /// Bytes a connection brings in the time a new request takes: what lies no further ahead is
    /// there sooner by reading on.
    pub(super) fn reach(&self) -> u64 {
        let delay = self.delay_us.load(Ordering::Relaxed);
        let rate = self.rate.load(Ordering::Relaxed);
        (rate.saturating_mul(delay) / 1_000_000).clamp(LEAST, MOST)
    }

    /// Bytes of a stream that nobody wants any more that still come: reading it to its end leaves
    /// the connection usable for the next range, abandoning it costs a new connection and handshake.
    pub(super) fn finish(&self) -> u64 {
        let rate = self.rate.load(Ordering::Relaxed);
        let millis = u64::try_from(FINISH.as_millis()).unwrap_or(u64::MAX);
        (rate.saturating_mul(millis) / 1000).clamp(FINISH_LEAST, FINISH_MOST)
    }

    /// Bytes ahead of a reader that may stop any moment which are fetched before they are needed.
    /// Half of what still comes after a close, so that the next probe of the same place finds all it
    /// wants here.
    pub(super) fn near(&self) -> u64 {
        self.finish() / 2
    }
}

fn mix(average: &AtomicU64, value: u64) {
    let before = average.load(Ordering::Relaxed);
    let after = before - before / WEIGHT + value / WEIGHT;
    average.store(after, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reach_follows_delay_and_speed_within_bounds() {
        let line = Line::default();
        let first = line.reach();
        assert!((LEAST..=MOST).contains(&first), "{first}");
        for _ in 0..30 {
            line.began(Duration::from_millis(60));
            line.brought(25_000_000, Duration::from_secs(1));
        }
        assert!(
            (1_400_000..=1_600_000).contains(&line.reach()),
            "{}",
            line.reach()
        );
        assert_eq!((line.finish(), line.near()), (1 << 20, 1 << 19));
        for _ in 0..30 {
            line.began(Duration::from_micros(200));
        }
        assert_eq!(line.reach(), LEAST);
        for _ in 0..30 {
            line.began(Duration::from_secs(3));
        }
        assert_eq!(line.reach(), MOST);
        // Nothing is learnt from a short answer.
        line.brought(1000, Duration::ZERO);
        assert_eq!(line.reach(), MOST);
        for _ in 0..30 {
            line.brought(2_000_000, Duration::from_secs(1));
        }
        assert!(line.finish() < 210_000, "{}", line.finish());
        line.brought(u64::MAX, Duration::ZERO);
        assert_eq!(line.reach(), MOST);
    }
}
