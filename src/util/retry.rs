//! How long to wait before something is tried again: doubling from 400 ms to 5 s, as rclone has
//! proved against the service for years (API reference 2.2).
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(400);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// A sequence of growing waits.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// 400 ms, 800 ms, … 5 s, 5 s, …
    pub const fn new() -> Self {
        Self::between(FIRST, LONGEST)
    }

    /// `first`, twice that, … `longest`, `longest`, …
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait.saturating_mul(2);
        wait
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..6).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [400, 800, 1600, 3200, 5000, 5000]);
    }
}
