//! The rate rules of API reference 3, always counted; the caller decides whether they are enforced.
//!
//! A pure state machine: virtual time and requests in, breaches and locks out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::config::Config;

/// What a request is to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any API call or node request without a rule of its own.
    Plain,
    /// `folder/ls` of a folder.
    FolderListing(u64),
    /// `file/ls` of a folder.
    FileListing(u64),
    /// `file/ls` of the whole account.
    AccountListing,
    /// `user/info`.
    UserInfo,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

/// A lock in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    Flood,
    /// The ban announced for an hour, answered as plain text.
    Hard,
}

/// What the rules say of one request.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) breaches: Vec<Breach>,
    /// The request is to be answered by a lock.
    pub(crate) locked: Option<Locked>,
    /// The only breach is a listing too early.
    pub(crate) only_listing: bool,
}

/// Counters of the rules.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    recent: VecDeque<Duration>,
    listings: HashMap<(u8, u64), Duration>,
    account_listing: Option<Duration>,
    last_listing: Option<Duration>,
    user_info: Option<Duration>,
    refused: VecDeque<Duration>,
    flood_until: Option<Duration>,
    hard_until: Option<Duration>,
    hits_in_lock: u32,
}

impl Rules {
    /// Counts a request at virtual time `now`.
    pub(crate) fn request(&mut self, now: Duration, kind: Kind, config: &Config) -> Judgement {
        let mut judgement = Judgement::default();
        if self.hard_until.is_some_and(|until| now < until) {
            judgement.breach("hard_lock", "request during the ban".to_owned());
            judgement.locked = Some(Locked::Hard);
            return judgement;
        }
        if let Some(until) = self.flood_until.filter(|until| now < *until) {
            let left = until.saturating_sub(now).as_secs_f64();
            judgement.breach(
                "flood_lock",
                format!("request with {left:.3} s of the lock left"),
            );
            judgement.locked = Some(Locked::Flood);
            self.hits_in_lock += 1;
            if config.flood_lock_extends {
                self.lock(now, config);
            }
            if config.hard_lock_after > 0 && self.hits_in_lock >= config.hard_lock_after {
                self.ban(now, config);
            }
            return judgement;
        }
        self.hits_in_lock = 0;
        self.count_rate(now, config, &mut judgement);
        let rate_breaches = judgement.breaches.len();
        self.count_kind(now, kind, config, &mut judgement);
        judgement.only_listing =
            rate_breaches == 0 && kind != Kind::UserInfo && !judgement.breaches.is_empty();
        judgement
    }

    /// Takes back that a folder was listed, after a request that broke no rule.
    pub(crate) fn uncount(&mut self, kind: Kind, config: &Config) {
        let (which, folder) = match kind {
            Kind::FolderListing(folder) => (0, folder),
            Kind::FileListing(folder) => (u8::from(!config.listing_rule_shared), folder),
            Kind::Plain | Kind::AccountListing | Kind::UserInfo => return,
        };
        self.listings.remove(&(which, folder));
    }

    /// Starts or extends the flood lock.
    pub(crate) fn lock(&mut self, now: Duration, config: &Config) {
        self.flood_until = Some(now + seconds(config.flood_lock_seconds));
    }

    /// Starts the ban.
    pub(crate) fn ban(&mut self, now: Duration, config: &Config) {
        self.hard_until = Some(now + seconds(config.hard_lock_seconds));
    }

    /// Ends all locks.
    pub(crate) fn unlock(&mut self) {
        self.flood_until = None;
        self.hard_until = None;
    }

    /// Seconds the lock or ban still runs.
    pub(crate) fn locked_for(&self, now: Duration) -> Option<f64> {
        let until = self.flood_until.max(self.hard_until)?;
        (until > now).then(|| until.saturating_sub(now).as_secs_f64())
    }

    /// Counts an answer of 401, 403, 404 or 410.
    pub(crate) fn refusal(&mut self, now: Duration, config: &Config) -> Option<Breach> {
        prune(&mut self.refused, now, Duration::from_secs(60));
        self.refused.push_back(now);
        let limit = config.abuse_per_minute;
        (limit > 0 && self.refused.len() > limit).then(|| Breach {
            rule: "abuse",
            detail: format!("{} refused or missing within a minute", self.refused.len()),
        })
    }

    fn count_rate(&mut self, now: Duration, config: &Config, judgement: &mut Judgement) {
        prune(&mut self.recent, now, seconds(config.rate_window_seconds));
        self.recent.push_back(now);
        if self.recent.len() > config.rate_limit {
            let window = config.rate_window_seconds;
            judgement.breach(
                "rate",
                format!("{} requests within {window} s", self.recent.len()),
            );
        }
    }

    fn count_kind(
        &mut self,
        now: Duration,
        kind: Kind,
        config: &Config,
        judgement: &mut Judgement,
    ) {
        match kind {
            Kind::Plain => {}
            Kind::FolderListing(folder) => self.count_listing(now, 0, folder, config, judgement),
            Kind::FileListing(folder) => {
                let which = u8::from(!config.listing_rule_shared);
                self.count_listing(now, which, folder, config, judgement);
            }
            Kind::AccountListing => {
                let interval = config.account_listing_interval_seconds;
                if let Some(gap) = too_soon(&mut self.account_listing, now, interval) {
                    judgement.breach(
                        "account_listing",
                        format!("whole account listed again after {gap:.3} s"),
                    );
                }
                self.count_spacing(now, config, judgement);
            }
            Kind::UserInfo => {
                let interval = config
                    .user_info_ip_seconds
                    .max(config.user_info_user_seconds);
                if let Some(gap) = too_soon(&mut self.user_info, now, interval) {
                    judgement.breach("user_info", format!("user/info again after {gap:.3} s"));
                }
            }
        }
    }

    fn count_listing(
        &mut self,
        now: Duration,
        which: u8,
        folder: u64,
        config: &Config,
        judgement: &mut Judgement,
    ) {
        let mut last = self.listings.get(&(which, folder)).copied();
        if let Some(gap) = too_soon(&mut last, now, config.listing_interval_seconds) {
            judgement.breach(
                "listing",
                format!("folder {folder} listed again after {gap:.3} s"),
            );
        }
        self.listings.insert((which, folder), now);
        self.count_spacing(now, config, judgement);
    }

    fn count_spacing(&mut self, now: Duration, config: &Config, judgement: &mut Judgement) {
        let interval = config.listing_spacing_seconds;
        if let Some(gap) = too_soon(&mut self.last_listing, now, interval) {
            judgement.breach(
                "listing_spacing",
                format!("another listing after {gap:.3} s"),
            );
        }
    }
}

impl Judgement {
    fn breach(&mut self, rule: &'static str, detail: String) {
        self.breaches.push(Breach { rule, detail });
    }
}

/// Seconds of the configuration as a duration; nonsense is zero.
pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// Notes `now`; the gap in seconds when it is shorter than `interval`.
fn too_soon(last: &mut Option<Duration>, now: Duration, interval: f64) -> Option<f64> {
    let gap = last
        .replace(now)
        .map(|last| now.saturating_sub(last).as_secs_f64())?;
    (gap < interval).then_some(gap)
}

/// Drops what left the sliding window.
fn prune(times: &mut VecDeque<Duration>, now: Duration, window: Duration) {
    while times
        .front()
        .is_some_and(|first| now.saturating_sub(*first) >= window)
    {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(1_000_000 + ms)
    }

    fn rules_of(judgement: &Judgement) -> Vec<&'static str> {
        judgement.breaches.iter().map(|b| b.rule).collect()
    }

    #[test]
    fn three_in_every_sliding_second() {
        let (mut rules, config) = (Rules::default(), Config::default());
        for ms in [0, 400, 800, 1000, 1400] {
            assert!(
                rules
                    .request(at(ms), Kind::Plain, &config)
                    .breaches
                    .is_empty(),
                "{ms}"
            );
        }
        assert_eq!(
            rules_of(&rules.request(at(1500), Kind::Plain, &config)),
            ["rate"]
        );
    }

    #[test]
    fn listings_count_apart_or_together() {
        let (mut rules, mut config) = (Rules::default(), Config::default());
        let ask = |rules: &mut Rules, config: &Config, s: u64, kind| {
            rules_of(&rules.request(at(s * 1000), kind, config))
        };
        assert!(ask(&mut rules, &config, 0, Kind::FolderListing(4)).is_empty());
        assert!(ask(&mut rules, &config, 1, Kind::FileListing(4)).is_empty());
        assert!(ask(&mut rules, &config, 2, Kind::FolderListing(5)).is_empty());
        assert_eq!(
            ask(&mut rules, &config, 29, Kind::FolderListing(4)),
            ["listing"]
        );
        assert!(ask(&mut rules, &config, 59, Kind::FolderListing(4)).is_empty());
        config.listing_rule_shared = true;
        assert_eq!(
            ask(&mut rules, &config, 70, Kind::FileListing(4)),
            ["listing"]
        );
        config.listing_spacing_seconds = 3.0;
        assert!(ask(&mut rules, &config, 80, Kind::FolderListing(6)).is_empty());
        assert_eq!(
            ask(&mut rules, &config, 82, Kind::FolderListing(7)),
            ["listing_spacing"]
        );
    }

    #[test]
    fn a_listing_taken_back_may_be_made_again() {
        let (mut rules, config) = (Rules::default(), Config::default());
        let kind = Kind::FolderListing(4);
        assert!(rules.request(at(0), kind, &config).breaches.is_empty());
        rules.uncount(kind, &config);
        assert!(rules.request(at(1000), kind, &config).breaches.is_empty());
        assert_eq!(
            rules_of(&rules.request(at(2000), kind, &config)),
            ["listing"]
        );
    }

    #[test]
    fn account_listing_and_user_info() {
        let (mut rules, config) = (Rules::default(), Config::default());
        let mut ask = |s: u64, kind| rules_of(&rules.request(at(s * 1000), kind, &config));
        assert!(ask(0, Kind::AccountListing).is_empty());
        assert_eq!(ask(3599, Kind::AccountListing), ["account_listing"]);
        assert!(ask(7199, Kind::AccountListing).is_empty());
        assert!(ask(8000, Kind::UserInfo).is_empty());
        assert_eq!(ask(8299, Kind::UserInfo), ["user_info"]);
        assert!(ask(8600, Kind::UserInfo).is_empty());
    }

    #[test]
    fn the_lock_sticks_and_grows_into_a_ban() {
        let mut rules = Rules::default();
        let config = Config {
            hard_lock_after: 2,
            ..Config::default()
        };
        rules.lock(at(0), &config);
        assert_eq!(
            rules.request(at(29_000), Kind::Plain, &config).locked,
            Some(Locked::Flood)
        );
        // Extended by the request above.
        assert_eq!(
            rules.request(at(58_000), Kind::Plain, &config).locked,
            Some(Locked::Flood)
        );
        assert_eq!(
            rules.request(at(200_000), Kind::Plain, &config).locked,
            Some(Locked::Hard)
        );
        assert_eq!(
            rules
                .request(at(58_000 + 3_600_000), Kind::Plain, &config)
                .locked,
            None
        );
    }

    #[test]
    fn many_refusals_are_abuse() {
        let (mut rules, config) = (
            Rules::default(),
            Config {
                abuse_per_minute: 2,
                ..Config::default()
            },
        );
        assert_eq!(rules.refusal(at(0), &config), None);
        assert_eq!(rules.refusal(at(1), &config), None);
        assert_eq!(rules.refusal(at(2), &config).map(|b| b.rule), Some("abuse"));
        assert_eq!(rules.refusal(at(60_002), &config), None);
    }

    proptest! {
        #[test]
        fn a_breach_exactly_when_four_are_within_a_second(gaps in prop::collection::vec(0_u64..700, 1..60)) {
            let (mut rules, config) = (Rules::default(), Config::default());
            let mut times: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                times.push(now);
                let expected = times.iter().filter(|t| now - **t < 1000).count() > 3;
                prop_assert_eq!(!rules.request(at(now), Kind::Plain, &config).breaches.is_empty(), expected);
            }
        }
    }
}
