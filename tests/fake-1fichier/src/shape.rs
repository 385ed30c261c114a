//! Delays and bandwidth. Accurate on average: a late timer is made up for by the next piece.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::lock;

/// Delays in virtual milliseconds, bandwidth in bytes per virtual second (0 = no limit).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// JSON calls.
    pub api_ms: f64,
    /// `download/get_token`.
    pub token_ms: f64,
    /// First byte of a download.
    pub first_byte_ms: f64,
    /// `upload.cgi`, after the body, and `end.pl`.
    pub node_ms: f64,
    /// Between the acceptance of a connection and its first request being looked at.
    pub connect_ms: f64,
    /// Delays vary by that share up and down, 0 to 1.
    pub jitter: f64,
    /// Bandwidth of one connection, each direction.
    pub connection_bytes_per_second: f64,
    /// Bandwidth of all connections, each direction.
    pub total_bytes_per_second: f64,
}

impl Shape {
    /// Milliseconds before an answer of `endpoint`.
    pub(crate) fn latency_ms(&self, endpoint: &str) -> f64 {
        match endpoint {
            "download/get_token" => self.token_ms,
            "download" | "dir" => self.first_byte_ms,
            "upload.cgi" | "end.pl" => self.node_ms,
            _ => self.api_ms,
        }
    }
}

/// Late timers are made up for within that time; longer pauses are not, so that idle time is no credit.
const CATCH_UP: Duration = Duration::from_millis(20);

/// One limited link: pieces pass one after the other, each taking its size divided by the rate.
#[derive(Debug, Default)]
pub(crate) struct Pacer(Mutex<Option<Instant>>);

impl Pacer {
    /// Books `bytes` at `rate` bytes per real second; returns when they have passed.
    pub(crate) fn book(&self, bytes: usize, rate: f64, now: Instant) -> Instant {
        if rate <= 0.0 {
            return now;
        }
        #[expect(clippy::cast_precision_loss, reason = "pieces are small")]
        let time = Duration::from_secs_f64(bytes as f64 / rate);
        let mut free = lock(&self.0);
        let floor = now.checked_sub(CATCH_UP).unwrap_or(now);
        let start = free.map_or(now, |free| if free < floor { now } else { free });
        let done = start + time;
        *free = Some(done);
        done
    }
}

/// Bytes sent at a time when bandwidth is limited: 2 ms of a second, within 16 to 256 KiB, else 256 KiB.
pub(crate) fn piece(rate: f64) -> usize {
    const SMALLEST: usize = 16 * 1024;
    const LARGEST: usize = 256 * 1024;
    if rate <= 0.0 {
        return LARGEST;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let wanted = (rate / 500.0).min(1e9) as usize;
    wanted.clamp(SMALLEST, LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_many_pieces_and_idle_time_is_no_credit() {
        let (pacer, start) = (Pacer::default(), Instant::now());
        let mut done = start;
        for _ in 0..1000 {
            // Each sender comes 1 ms late.
            done = pacer.book(50_000, 50e6, done + Duration::from_millis(1));
        }
        let seconds = (done - start).as_secs_f64();
        assert!((0.99..1.01).contains(&seconds), "{seconds}");
        let later = done + Duration::from_secs(60);
        assert_eq!(
            pacer.book(50_000, 50e6, later),
            later + Duration::from_millis(1)
        );
    }

    #[test]
    fn no_rate_no_wait() {
        let now = Instant::now();
        assert_eq!(Pacer::default().book(1 << 30, 0.0, now), now);
    }
}
