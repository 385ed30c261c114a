//! The flood gate: silence when the service asks for it, then a single probe.
//!
//! Promises: while the gate is shut nothing starts; requests made during a lock probably extend it
//! (API reference 3). When the time is up one call goes out alone, and only its answer opens the
//! gate again, at half the rate, which recovers slowly. A flood that answers the probe doubles the
//! silence; one that answers a call from before the last closing tells nothing new and only
//! prolongs it. Failed answers shut the gate when there is a row of them (`trouble`).
use super::call::{CallId, Verdict};
use super::rates::Rates;
use super::trouble::{Meaning, Origin, Row};
use crate::util::clock::Moment;
use std::time::Duration;

/// After a probe that got no answer: long enough not to knock on a locked door, short enough that
/// a network hiccup costs little.
const PROBE_AGAIN: Duration = Duration::from_secs(5);

/// A probe without an answer for so long (an upload's answer takes hours) does not hold up the
/// next one: a flood answer comes within seconds.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// What the rate is multiplied with when the gate opens again after a flood.
const SLOWER: f64 = 0.5;

/// The rate is never multiplied with less, 0.5/s from 2.5/s: no report of a lock at half the rate
/// the admin calls fine is known (API reference 3).
const SLOWEST: f64 = 0.2;

/// Share of the full rate won back in [`RECOVERY_SPAN`]: the full rate is back after 2.5 minutes.
const RECOVERY: f64 = 0.1;

/// See [`RECOVERY`].
const RECOVERY_SPAN: Duration = Duration::from_secs(30);

/// No silence is longer, whatever a `Retry-After`, a setting or a file says: the longest the
/// service speaks of is an hour (API reference 2.2).
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Why the gate is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCause {
    /// `Flood detected`.
    Flood,
    /// `IP Locked`.
    Banned,
    /// `Owner locked`.
    OwnerLocked,
    /// The maintenance page, several times.
    Maintenance,
    /// Nothing but failed answers.
    Down,
    /// The record of earlier calls could not be read, so the first call goes out alone.
    Unknown,
}

impl GateCause {
    /// Whether our own calls were a cause, so that fewer must follow.
    fn is_ours(self) -> bool {
        !matches!(self, Self::Maintenance | Self::Down)
    }
}

/// A call that came to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) id: CallId,
    /// What [`Gate::started`] said.
    pub(super) epoch: u64,
    pub(super) origin: Origin,
    pub(super) verdict: Verdict,
}

/// The gate of one account.
#[derive(Debug)]
pub(super) struct Gate {
    shut: Option<Shut>,
    /// Number of closings so far: a call started under an earlier one says nothing of the present.
    epoch: u64,
    /// Floods since the last good answer.
    floods: u32,
    /// Failed answers since the last good one, and how often they have shut the gate.
    row: Row,
    downs: u32,
    /// Until when background calls are few.
    calm_at: Moment,
    /// What the rate was multiplied with at `slow_since`.
    slow: f64,
    slow_since: Moment,
}

/// A closed gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shut {
    pub(super) cause: GateCause,
    /// Nothing starts before.
    pub(super) until: Moment,
    /// No background call starts before.
    pub(super) background_until: Moment,
    /// Whether our own calls were a cause, so that fewer must follow.
    ours: bool,
    /// The probe under way and how long it holds up the next.
    probe: Option<(CallId, Moment)>,
}

/// What the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Everything.
    Open,
    /// One call.
    Probe,
    /// Nothing before the moment, unless a verdict comes.
    Closed(Moment),
}

impl Gate {
    /// An open gate.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            shut: None,
            epoch: 0,
            floods: 0,
            row: Row::default(),
            downs: 0,
            calm_at: now,
            slow: 1.0,
            slow_since: now,
        }
    }

    /// The gate as an earlier process left it. `slow` is its factor when it was saved.
    pub(super) fn restored(
        shut: Option<(GateCause, Moment, Moment)>,
        floods: u32,
        calm_at: Moment,
        slow: f64,
        now: Moment,
    ) -> Self {
        Self {
            shut: shut.map(|(cause, until, background_until)| Shut {
                cause,
                until,
                background_until,
                ours: cause.is_ours(),
                probe: None,
            }),
            epoch: 0,
            floods,
            row: Row::default(),
            downs: 0,
            calm_at,
            slow: slow.clamp(SLOWEST, 1.0),
            slow_since: now,
        }
    }

    /// What may start now.
    pub(super) fn passage(&self, now: Moment) -> Passage {
        match &self.shut {
            None => Passage::Open,
            Some(shut) if now < shut.until => Passage::Closed(shut.until),
            Some(Shut {
                probe: Some((_, lapses)),
                ..
            }) if now < *lapses => Passage::Closed(*lapses),
            Some(_) => Passage::Probe,
        }
    }

    /// No call can start before this moment.
    pub(super) fn earliest(&self, background: bool, now: Moment) -> Moment {
        match &self.shut {
            Some(shut) if background => shut.background_until.max(now),
            Some(shut) => shut.until.max(now),
            None => now,
        }
    }

    /// The closed gate, for figures and for keeping.
    pub(super) fn shut(&self) -> Option<&Shut> {
        self.shut.as_ref()
    }

    /// Floods since the last good answer.
    pub(super) fn floods(&self) -> u32 {
        self.floods
    }

    /// From when on background calls are as if there had been no flood.
    pub(super) fn calm_at(&self) -> Moment {
        self.calm_at
    }

    /// What the rate is to be multiplied with.
    pub(super) fn factor(&self, now: Moment) -> f64 {
        let spans = now.since(self.slow_since).as_secs_f64() / RECOVERY_SPAN.as_secs_f64();
        (self.slow + RECOVERY * spans).min(1.0)
    }

    /// `id` starts; returns the epoch it belongs to.
    pub(super) fn started(&mut self, id: CallId, now: Moment) -> u64 {
        if let Some(shut) = &mut self.shut {
            shut.probe = Some((id, now.after(PROBE_PATIENCE)));
        }
        self.epoch
    }

    /// `id` was never sent.
    pub(super) fn give_back(&mut self, id: CallId) {
        if let Some(shut) = &mut self.shut
            && shut.probe.is_some_and(|(probe, _)| probe == id)
        {
            shut.probe = None;
        }
    }

    /// A call came to its end. Whether the gate closed, stays closed longer, or opened.
    pub(super) fn verdict(&mut self, ended: &Ended, rates: &Rates, now: Moment) -> bool {
        let current = ended.epoch == self.epoch;
        match ended.verdict {
            Verdict::Answered if current => self.open(rates, now),
            Verdict::Lost | Verdict::NotSent => {
                self.probe_again(ended.id, PROBE_AGAIN, now);
                false
            }
            // What was under way when the gate closed says nothing of the time since.
            Verdict::Answered => {
                self.probe_again(ended.id, Duration::ZERO, now);
                false
            }
            Verdict::Failed | Verdict::Maintenance if !current => {
                self.probe_again(ended.id, rates.hiccup, now);
                false
            }
            Verdict::Failed => self.failed(ended, false, rates, now),
            Verdict::Maintenance => self.failed(ended, true, rates, now),
            Verdict::Flooded { retry_after } => {
                if current {
                    self.floods = self.floods.saturating_add(1);
                }
                let silence = doubled(rates.flood_first, self.floods, rates.flood_longest);
                let silence = silence.max(retry_after.unwrap_or_default());
                self.close_for_calls(ended.id, GateCause::Flood, silence, rates, now)
            }
            Verdict::Banned => {
                self.close_for_calls(ended.id, GateCause::Banned, rates.ban, rates, now)
            }
            Verdict::OwnerLocked => self.close_for_calls(
                ended.id,
                GateCause::OwnerLocked,
                rates.owner_locked,
                rates,
                now,
            ),
        }
    }

    /// The service failed; `page` when it said that it is in maintenance.
    fn failed(&mut self, ended: &Ended, page: bool, rates: &Rates, now: Moment) -> bool {
        let (cause, silence, background) = match self.row.failed(ended.origin, page) {
            Meaning::Hiccup => {
                self.probe_again(ended.id, rates.hiccup, now);
                return false;
            }
            Meaning::Down => {
                self.downs = self.downs.saturating_add(1);
                let silence = doubled(rates.down_first, self.downs, rates.down_longest);
                (GateCause::Down, silence, rates.down_longest)
            }
            Meaning::Maintenance => (
                GateCause::Maintenance,
                rates.maintenance_probe,
                rates.maintenance,
            ),
        };
        self.close(ended.id, cause, silence, background, now)
    }

    /// If `id` was the probe, another one may go out `pause` from now.
    fn probe_again(&mut self, id: CallId, pause: Duration, now: Moment) {
        if let Some(shut) = &mut self.shut
            && shut.probe.is_some_and(|(probe, _)| probe == id)
        {
            shut.probe = None;
            shut.until = shut.until.max(now.after(pause));
        }
    }

    /// Closes because of what we did: background calls are few for a while.
    fn close_for_calls(
        &mut self,
        id: CallId,
        cause: GateCause,
        silence: Duration,
        rates: &Rates,
        now: Moment,
    ) -> bool {
        let silence = silence.min(LONGEST);
        self.calm_at = self
            .calm_at
            .max(now.after(silence.saturating_add(rates.calm)));
        self.close(id, cause, silence, silence, now)
    }

    /// Closes after the end of `id` for `silence`, background calls for `background`; never opens
    /// earlier than before. A probe that is still under way stays the only one.
    fn close(
        &mut self,
        id: CallId,
        cause: GateCause,
        silence: Duration,
        background: Duration,
        now: Moment,
    ) -> bool {
        self.epoch += 1;
        let ours = cause.is_ours() || self.shut.is_some_and(|shut| shut.ours);
        let until = now.after(silence.min(LONGEST));
        let background_until = now.after(background.min(LONGEST));
        let probe = self.shut.and_then(|shut| shut.probe);
        let probe = probe.filter(|(probe, _)| *probe != id);
        self.shut = Some(match self.shut {
            Some(shut) if shut.until > until => Shut {
                background_until: shut.background_until.max(background_until),
                ours,
                probe,
                ..shut
            },
            shut => Shut {
                cause,
                until,
                background_until: shut.map_or(background_until, |s| {
                    s.background_until.max(background_until)
                }),
                ours,
                probe,
            },
        });
        true
    }

    /// A good answer.
    fn open(&mut self, rates: &Rates, now: Moment) -> bool {
        self.row.ended();
        (self.floods, self.downs) = (0, 0);
        let Some(shut) = self.shut.take() else {
            return false;
        };
        if shut.ours {
            self.slow = (self.factor(now) * SLOWER).max(SLOWEST);
            self.slow_since = now;
            self.calm_at = now.after(rates.calm);
        }
        true
    }
}

/// `first`, twice that for the second `time`, and so on, at most `longest`.
fn doubled(first: Duration, time: u32, longest: Duration) -> Duration {
    let doublings = time.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(longest)
}
