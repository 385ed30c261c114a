//! Every number the scheduler goes by, with its unit and reason. All can be set; none can be set
//! so that more than three calls arrive in a second (see `window`).
use crate::util::clock::Clock;
use std::time::Duration;

/// How fast calls may be made and how long silence lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Call starts per second over three calls. 2.5 is what rclone has proved for years (one per
    /// 400 ms); the page allows 3 (API reference 3).
    pub starts_per_second: f64,
    /// Starts per second of refresh and crawl together: "1 request/s is fine" (API reference 3).
    pub background_per_second: f64,
    /// The same while [`Rates::calm`] has not passed since a flood.
    pub background_after_flood: f64,
    /// Between two listings of one folder (API reference 3: one per 30 s).
    pub listing_gap: Duration,
    /// Between two calls of `user/info`. The page says 5 min and locks the key otherwise; a
    /// minute more costs nothing (API reference 3).
    pub user_info_gap: Duration,
    /// Silence after a first flood answer; rclone waits 30 s (API reference 2.2).
    pub flood_first: Duration,
    /// Silence never doubles beyond this; `JDownloader` waits 5 min (API reference 2.2).
    pub flood_longest: Duration,
    /// Time without a flood after which silence starts again at [`Rates::flood_first`].
    pub calm: Duration,
    /// Silence after a ban, announced as lifted within the hour (API reference 2.2).
    pub ban: Duration,
    /// Silence after `Owner locked` (API reference 2.2).
    pub owner_locked: Duration,
    /// Silence of refresh and crawl in maintenance: "retry after 20 min" (API reference 2.2).
    pub maintenance: Duration,
    /// Between two probes for a waiting caller in maintenance. Unlike a flood answer the
    /// maintenance page says nothing of our calls, and one call a minute is far below every
    /// limit: a user need not wait for the end of the 20 min when the service is back before.
    pub maintenance_probe: Duration,
    /// Silence when answers fail one after the other, doubled each time the probe fails as well:
    /// rclone never waits longer between two tries (API reference 2.2).
    pub down_first: Duration,
    /// That silence never doubles beyond this; refresh and crawl wait for so long from the start.
    pub down_longest: Duration,
    /// After an answer that failed, the folder it was about may be listed again this much later,
    /// once: rclone repeats after 0.4 s and has been let for years (API reference 2.2). It may
    /// count against the folder's limit all the same, so the next time it is the whole gap, and a
    /// single flood answer to such a repetition is the end of them.
    pub hiccup: Duration,
    /// A call without an answer is taken to have arrived this long after its start: name
    /// resolution, connection and handshake on a slow line. One that takes longer is nearly always
    /// lost.
    pub arrives_within: Duration,
    /// Calls that may wait at a time; background ones may fill half of it. Bounds memory.
    pub waiting_most: usize,
}

/// How long this machine may hold up a call of ours between its start and the wire when it is busy,
/// in real time. Matters only where a clock runs fast: there it is more than
/// [`Rates::arrives_within`], and a call under way would be taken for lost.
const HELD_UP: Duration = Duration::from_millis(500);

impl Default for Rates {
    fn default() -> Self {
        Self {
            starts_per_second: 2.5,
            background_per_second: 1.0,
            background_after_flood: 1.0 / 3.0,
            listing_gap: Duration::from_secs(30),
            user_info_gap: Duration::from_secs(6 * 60),
            flood_first: Duration::from_secs(30),
            flood_longest: Duration::from_secs(5 * 60),
            calm: Duration::from_secs(10 * 60),
            ban: Duration::from_secs(60 * 60),
            owner_locked: Duration::from_secs(5 * 60),
            maintenance: Duration::from_secs(20 * 60),
            maintenance_probe: Duration::from_secs(60),
            down_first: Duration::from_secs(5),
            down_longest: Duration::from_secs(60),
            hiccup: Duration::from_secs(1),
            arrives_within: Duration::from_secs(2),
            waiting_most: 4096,
        }
    }
}

/// Slowest rate that can be set, per second: below it a mount looks dead rather than slow.
const SLOWEST: f64 = 0.01;

/// Fastest rate that can be set, per second: what the page allows (API reference 3).
const FASTEST: f64 = 3.0;

impl Rates {
    /// The same with every rate brought into the range that makes sense; a rate that is no number
    /// becomes the slowest.
    #[must_use]
    pub(super) fn sane(mut self) -> Self {
        for rate in [
            &mut self.starts_per_second,
            &mut self.background_per_second,
            &mut self.background_after_flood,
        ] {
            *rate = if rate.is_nan() {
                SLOWEST
            } else {
                rate.clamp(SLOWEST, FASTEST)
            };
        }
        self.flood_longest = self.flood_longest.max(self.flood_first);
        self.down_longest = self.down_longest.max(self.down_first);
        self
    }

    /// The same for a clock that may run faster than the machine.
    #[must_use]
    pub(super) fn on(mut self, clock: Clock) -> Self {
        self.arrives_within = self.arrives_within.max(clock.meanwhile(HELD_UP));
        self
    }

    /// Between two background starts.
    pub(super) fn background_gap(&self, after_flood: bool) -> Duration {
        let rate = if after_flood {
            self.background_after_flood
        } else {
            self.background_per_second
        };
        Duration::from_secs_f64(1.0 / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_rates_become_sensible() {
        let rates = Rates {
            starts_per_second: f64::NAN,
            background_per_second: 1e9,
            background_after_flood: -1.0,
            ..Rates::default()
        }
        .sane();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(rates.starts_per_second, SLOWEST));
        assert!(near(rates.background_per_second, FASTEST));
        assert_eq!(rates.background_gap(true), Duration::from_secs(100));
        assert_eq!(Rates::default().sane(), Rates::default());
    }
}
