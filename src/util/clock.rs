//! The one source of time. Every wait and every lifetime in this crate goes through a [`Clock`], so
//! that a debug build can run twenty times faster against a service that runs as fast.
//!
//! `FICHIERFS_CLOCK=FACTOR[@UNIX_SECONDS]` (debug builds only) makes one real second count as FACTOR
//! seconds; with a base given, several processes agree on the wall-clock time:
//! virtual = base + (real - base) × factor.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far a [`Moment`] can lie before the making of its clock: what an earlier process did has an age,
/// too. Longer than the service exists.
const PAST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A point of monotonic (virtual) time; only comparable within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// Time from `earlier` to `self`, zero when `earlier` is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// A moment at a fixed offset from an arbitrary origin, for pure state machines under test.
    pub const fn from_origin(offset: Duration) -> Self {
        Self(offset)
    }
}

/// Reads and waits for (virtual) time. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Virtual seconds per real second; `None` = real time, without rounding.
    factor: Option<f64>,
    origin: Instant,
    /// The virtual wall-clock time at `origin`.
    wall_origin: Duration,
}

/// What the system's clock says, since 1970.
fn system_unix() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl Clock {
    /// Real time.
    pub fn system() -> Self {
        Self::scaled(1.0, None)
    }

    /// Real time, or what `FICHIERFS_CLOCK` says in a debug build. A value that does not parse is
    /// ignored: the variable exists for tests only.
    pub fn from_env() -> Self {
        if !cfg!(debug_assertions) {
            return Self::system();
        }
        std::env::var("FICHIERFS_CLOCK")
            .ok()
            .and_then(|text| Self::parse(&text))
            .unwrap_or_else(Self::system)
    }

    /// Parses `FACTOR[@UNIX_SECONDS]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (factor, base) = match text.split_once('@') {
            Some((factor, base)) => (factor, Some(Duration::from_secs(base.parse().ok()?))),
            None => (text, None),
        };
        let factor: f64 = factor.parse().ok()?;
        (factor.is_finite() && factor > 0.0).then(|| Self::scaled(factor, base))
    }

    /// One real second counts as `factor` seconds; `base` is the Unix time at which virtual and
    /// real wall clock agree (now, when absent).
    pub fn scaled(factor: f64, base: Option<Duration>) -> Self {
        let real = system_unix();
        let base = base.unwrap_or(real);
        let wall_origin = match real.checked_sub(base) {
            Some(since) => base + since.mul_f64(factor),
            None => base.saturating_sub(base.saturating_sub(real).mul_f64(factor)),
        };
        let factor = ((factor - 1.0).abs() > f64::EPSILON).then_some(factor);
        Self {
            factor,
            origin: Instant::now(),
            wall_origin,
        }
    }

    /// Now, for measuring and for deadlines.
    pub fn now(&self) -> Moment {
        Moment(PAST + self.virtual_elapsed())
    }

    /// The moment at which something happened that was noted as wall-clock time since 1970, in this
    /// process or an earlier one. `None` when it lies ahead: the clock was set back since, and nothing
    /// is known of its age.
    pub fn happened(&self, unix: Duration) -> Option<Moment> {
        let ago = self.unix().checked_sub(unix)?;
        Some(Moment((PAST + self.virtual_elapsed()).saturating_sub(ago)))
    }

    /// A moment as wall-clock time since 1970, to be noted.
    pub fn unix_at(&self, moment: Moment) -> Duration {
        let now = self.now();
        self.unix()
            .saturating_sub(now.since(moment))
            .saturating_add(moment.since(now))
    }

    /// Now as wall-clock time since 1970, for what is persisted or shown: in real time that of the system,
    /// which goes on while the machine sleeps and may be put right meanwhile.
    pub fn unix(&self) -> Duration {
        match self.factor {
            None => system_unix(),
            Some(_) => self.wall_origin + self.virtual_elapsed(),
        }
    }

    /// The real time that passes while `virtual_time` does.
    pub fn real(&self, virtual_time: Duration) -> Duration {
        match self.factor {
            None => virtual_time,
            Some(factor) => virtual_time.div_f64(factor),
        }
    }

    /// The virtual time that passes while `real_time` does.
    pub fn meanwhile(&self, real_time: Duration) -> Duration {
        match self.factor {
            None => real_time,
            Some(factor) => real_time.mul_f64(factor),
        }
    }

    /// Waits for a (virtual) span.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// Waits until `at`; returns at once when it has passed.
    pub async fn sleep_until(&self, at: Moment) {
        self.sleep(at.since(self.now())).await;
    }

    /// Runs `work` for at most `span`; `None` when time was up first.
    pub async fn timeout<F: Future>(&self, span: Duration, work: F) -> Option<F::Output> {
        tokio::time::timeout(self.real(span), work).await.ok()
    }

    fn virtual_elapsed(&self) -> Duration {
        self.meanwhile(self.origin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_faster_and_agrees_on_the_wall() {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let base = real.checked_sub(Duration::from_secs(100)).unwrap();
        let clock = Clock::scaled(20.0, Some(base));
        let ahead = clock.unix().checked_sub(base).unwrap();
        assert!(ahead >= Duration::from_secs(2000) && ahead < Duration::from_secs(2100));
        assert_eq!(clock.real(Duration::from_secs(40)), Duration::from_secs(2));
        assert_eq!(
            clock.meanwhile(Duration::from_secs(2)),
            Duration::from_secs(40)
        );
    }

    #[test]
    fn what_an_earlier_process_did_has_an_age() {
        let clock = Clock::system();
        let day = Duration::from_secs(86_400);
        let noted = clock.unix().checked_sub(day).unwrap();
        let yesterday = clock.happened(noted).unwrap();
        let age = clock.now().since(yesterday);
        assert!(age >= day && age < day + Duration::from_secs(60), "{age:?}");
        assert!(clock.unix_at(yesterday).abs_diff(noted) < Duration::from_secs(60));
        assert_eq!(clock.happened(clock.unix() + day), None);
    }

    #[test]
    fn the_wall_clock_does_not_fall_behind_a_machine_that_slept() {
        let night = Duration::from_secs(8 * 60 * 60);
        for setting in [None, Some("1"), Some("1@1763700000")] {
            let clock = setting.map_or(Some(Clock::system()), Clock::parse);
            // As after a night that no `Instant` counts.
            let clock = clock.map(|clock| Clock {
                wall_origin: clock.wall_origin.checked_sub(night).unwrap(),
                ..clock
            });
            let clock = clock.unwrap();
            let behind = system_unix().abs_diff(clock.unix());
            assert!(behind < Duration::from_secs(60), "{behind:?}");
            let just_now = clock.unix_at(clock.now());
            assert!(system_unix().abs_diff(just_now) < Duration::from_secs(60));
        }
    }

    #[test]
    fn only_sound_settings_parse() {
        assert!(Clock::parse("20").is_some());
        assert!(Clock::parse("0.5@1763700000").is_some());
        for bad in ["", "0", "-3", "NaN", "20@", "inf", "20@x"] {
            assert!(Clock::parse(bad).is_none(), "{bad}");
        }
    }
}
