//! `--bwlimit UP`: how fast all uploads of the mount may be, together.
//!
//! Promises: over any span longer than a second uploads hand over no more than the rate allows. What is sent is
//! handed over in small pieces then, in turn for those who upload at the same time. Without a limit it costs
//! nothing.
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use std::sync::Mutex;
use std::time::Duration;

/// Bytes of a piece when nothing is limited.
const PIECE: u64 = 1 << 20;

/// Bytes of a piece at least: below, requests would cost more than they order.
const LEAST_PIECE: u64 = 16 << 10;

/// Pieces a second when there is a limit.
const PIECES_PER_SECOND: u64 = 10;

/// The limit.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    /// Bytes per second.
    rate: Option<u64>,
    /// When the next piece may be handed over.
    next: Mutex<Moment>,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>, clock: Clock) -> Self {
        Self {
            clock,
            rate: rate.filter(|rate| *rate > 0),
            next: Mutex::new(clock.now()),
        }
    }

    /// Bytes to hand over at a time.
    pub(super) fn piece(&self) -> u64 {
        self.rate.map_or(PIECE, |rate| {
            (rate / PIECES_PER_SECOND).clamp(LEAST_PIECE, PIECE)
        })
    }

    /// Waits until so many bytes may be handed over.
    pub(super) async fn pay(&self, bytes: u64) {
        let Some(rate) = self.rate else {
            return;
        };
        let turn = {
            let mut next = lock(&self.next);
            let turn = (*next).max(self.clock.now());
            let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            let span = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            *next = turn.after(span);
            turn
        };
        self.clock.sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_upload_share_what_is_allowed() {
        let clock = Clock::parse("100").unwrap();
        let pace = std::sync::Arc::new(Pace::new(Some(1_000_000), clock));
        assert_eq!(pace.piece(), 100_000);
        let began = clock.now();
        let one = |pace: std::sync::Arc<Pace>| async move {
            for _ in 0..10 {
                pace.pay(100_000).await;
            }
        };
        tokio::join!(one(pace.clone()), one(pace.clone()));
        // Twenty pieces; the last one is handed over when nineteen have passed.
        let took = clock.now().since(began);
        assert!(took >= Duration::from_millis(1_900), "{took:?}");
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        let pace = Pace::new(None, Clock::parse("1").unwrap());
        assert_eq!(pace.piece(), PIECE);
        pace.pay(u64::MAX).await;
    }
}
