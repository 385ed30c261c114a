//! What the scheduler shows of itself, for `fichierfs status` and metrics.
use super::gate::GateCause;
use super::queue::PRIORITIES;
use super::saved::Instants;
use super::state::State;
use crate::api::ask::Priority;
use serde::Serialize;
use std::collections::BTreeMap;

/// The scheduler at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchedulerSnapshot {
    /// Calls waiting for their start.
    pub waiting: Waiting,
    /// Calls started and not answered yet.
    pub running: usize,
    /// Starts since the process began, by call.
    pub started: BTreeMap<&'static str, u64>,
    /// Answers since then, floods included.
    pub answered: u64,
    /// Calls without an answer since then.
    pub lost: u64,
    /// Flood answers since then.
    pub floods: u64,
    /// Calls refused since then because they could not start in time.
    pub refused: u64,
    /// Whether calls may start.
    pub gate: GateSnapshot,
    /// Starts per second at present.
    pub rate: f64,
    /// Background starts per second at present.
    pub background_rate: f64,
    /// Calls that may start at once, unless the gate is shut.
    pub free: usize,
    /// Calls made in the last hour, by earlier processes too.
    pub last_hour: u64,
    /// Calls made in the last day, by earlier processes too.
    pub last_day: u64,
    /// Folders that may not be listed again yet.
    pub folders_held: usize,
    /// From when on `user/info` may be called, in milliseconds since 1970.
    pub user_info_at_ms: u64,
}

/// Calls waiting, by priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// For a download link.
    pub token: usize,
    /// For a change.
    pub change: usize,
    /// For names or figures someone waits for.
    pub wanted: usize,
    /// To look again.
    pub refresh: usize,
    /// To complete the tree.
    pub crawl: usize,
}

impl Waiting {
    /// All of them.
    pub fn total(&self) -> usize {
        self.token + self.change + self.wanted + self.refresh + self.crawl
    }
}

/// The flood gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GateSnapshot {
    /// Calls start.
    Open,
    /// No call starts before the time given.
    Shut {
        /// Why.
        cause: GateCause,
        /// In milliseconds since 1970.
        until_ms: u64,
    },
    /// One call goes out alone, or has gone out, and its answer decides.
    Probing {
        /// Why it was shut.
        cause: GateCause,
    },
}

impl State {
    /// The figures now.
    pub(super) fn snapshot(&self, at: Instants) -> SchedulerSnapshot {
        let [token, change, wanted, refresh, crawl] =
            PRIORITIES.map(|priority: Priority| self.waiting(priority));
        let gate = match self.gate.shut() {
            None => GateSnapshot::Open,
            Some(shut) if at.now < shut.until => GateSnapshot::Shut {
                cause: shut.cause,
                until_ms: at.millis(shut.until),
            },
            Some(shut) => GateSnapshot::Probing { cause: shut.cause },
        };
        let after_flood = at.now < self.gate.calm_at();
        let tally = self.tally.clone();
        SchedulerSnapshot {
            waiting: Waiting {
                token,
                change,
                wanted,
                refresh,
                crawl,
            },
            running: self.running(),
            started: tally.started,
            answered: tally.answered,
            lost: tally.lost,
            floods: tally.floods,
            refused: tally.refused,
            gate,
            rate: self.rate(at.now),
            background_rate: self.rates.background_gap(after_flood).as_secs_f64().recip(),
            free: self.window.free(at.now),
            last_hour: self.usage.last_hour(at.now),
            last_day: self.usage.last_day(at.now),
            folders_held: self.spacing.held_folders(at.now).count(),
            user_info_at_ms: at.millis(self.spacing.user_info_at(at.now)),
        }
    }
}
