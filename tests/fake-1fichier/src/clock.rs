//! The virtual clock: every lifetime and every rule of the service is measured with it.
//!
//! virtual = base + (real - base) * factor, plus what a test added by hand. A client process that is given the
//! same setting computes the same virtual time, so both sides age together. It never touches real waiting
//! except in [`Clock::sleep`], which divides by the factor.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock setting as text: `FACTOR[@UNIX_SECONDS]`, for example `20@1763700000`.
///
/// Without a base the moment of parsing is the base.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClockSetting {
    /// Virtual seconds per real second; at least 0.001.
    pub factor: f64,
    /// Common base in UNIX seconds, at which virtual and real time agree.
    pub base: f64,
}

impl Default for ClockSetting {
    fn default() -> Self {
        Self {
            factor: 1.0,
            base: unix_now(),
        }
    }
}

impl FromStr for ClockSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (factor, base) = match text.split_once('@') {
            Some((factor, base)) => {
                let base: f64 = base
                    .parse()
                    .map_err(|_| format!("clock base {base:?} is not a number of UNIX seconds"))?;
                (factor, base)
            }
            None => (text, unix_now()),
        };
        let factor: f64 = factor
            .parse()
            .map_err(|_| format!("clock factor {factor:?} is not a number"))?;
        if !(0.001..=1_000_000.0).contains(&factor) || !(0.0..1e11).contains(&base) {
            return Err(format!(
                "clock setting {text:?} is out of range; use FACTOR[@UNIX_SECONDS] such as 20@1763700000"
            ));
        }
        Ok(Self { factor, base })
    }
}

impl fmt::Display for ClockSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.factor, self.base)
    }
}

/// The running clock; clones share one time.
#[derive(Debug, Clone)]
pub struct Clock {
    setting: ClockSetting,
    /// Real UNIX time at `anchor`: later readings use the monotonic clock, so a step of the wall clock changes nothing.
    started: Duration,
    anchor: Instant,
    /// Nanoseconds added by hand.
    extra: Arc<AtomicU64>,
}

impl Clock {
    /// Starts a clock with `setting`.
    pub fn new(setting: ClockSetting) -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            setting,
            started,
            anchor: Instant::now(),
            extra: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The setting it runs with.
    pub fn setting(&self) -> ClockSetting {
        self.setting
    }

    /// Virtual time since the UNIX epoch.
    pub fn now(&self) -> Duration {
        let real = (self.started + self.anchor.elapsed()).as_secs_f64();
        let seconds = self.setting.base + (real - self.setting.base) * self.setting.factor;
        Duration::from_secs_f64(seconds.clamp(0.0, 1e15))
            + Duration::from_nanos(self.extra.load(Ordering::Relaxed))
    }

    /// Virtual UNIX time in whole seconds.
    pub fn unix(&self) -> i64 {
        i64::try_from(self.now().as_secs()).unwrap_or(i64::MAX)
    }

    /// Lets virtual time jump forward.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.extra.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The real time a virtual duration takes.
    pub fn real(&self, virtual_time: Duration) -> Duration {
        Duration::from_secs_f64((virtual_time.as_secs_f64() / self.setting.factor).min(1e9))
    }

    /// Waits for a virtual duration; returns the real time asked for.
    pub(crate) async fn sleep(&self, virtual_time: Duration) -> Duration {
        let real = self.real(virtual_time);
        if !real.is_zero() {
            tokio::time::sleep(real).await;
        }
        real
    }
}

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clocks_with_one_setting_agree() {
        let setting: ClockSetting = "20@1763700000".parse().expect("valid");
        let (a, b) = (Clock::new(setting), Clock::new(setting));
        let gap = a.now().as_secs_f64() - b.now().as_secs_f64();
        assert!(gap.abs() < 5.0, "{gap}");
        assert!(a.now().as_secs_f64() > unix_now());
    }

    #[test]
    fn advance_moves_and_real_divides() {
        let clock = Clock::new(ClockSetting::default());
        let before = clock.now();
        clock.clone().advance(Duration::from_secs(3600));
        assert!(clock.now() >= before + Duration::from_secs(3600));
        let fast = Clock::new("10".parse().expect("valid"));
        assert_eq!(
            fast.real(Duration::from_secs(5)),
            Duration::from_millis(500)
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_text() {
        for text in ["", "x", "0", "-1", "1@", "1@x", "inf", "NaN", "1@-5"] {
            assert!(text.parse::<ClockSetting>().is_err(), "{text:?}");
        }
    }
}
