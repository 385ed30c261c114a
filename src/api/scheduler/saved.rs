//! What of the scheduler outlives the process, and how it comes back.
//!
//! Promises: a restart, a second command or a crash provokes nothing a single long run would not
//! have. Times are wall-clock here; one that lies further ahead than it ever can (a clock that was
//! set back, a damaged file) is cut to what it can be. Never touches the disk.
use super::gate::{Gate, GateCause, LONGEST};
use super::rates::Rates;
use super::state::State;
use super::usage::Usage;
use super::window::{ARRIVED, SLOTS, Window};
use crate::api::ids::FolderId;
use crate::api::types::UserInfo;
use crate::util::clock::Moment;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Format of the record; another one counts as damaged.
pub(super) const VERSION: u32 = 1;

/// While calls are made the record is written this often, so that a crash leaves at most this much
/// unknown.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(2);

/// What a write may take before a crash cuts it off.
const SAVE_TAKES: Duration = Duration::from_secs(1);

/// One instant on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instants {
    pub(super) now: Moment,
    /// Since 1970.
    pub(super) unix: Duration,
}

impl Instants {
    /// A moment as milliseconds since 1970; what is past becomes now.
    pub(super) fn millis(&self, at: Moment) -> u64 {
        millis(self.unix.saturating_add(at.since(self.now)))
    }

    /// Milliseconds since 1970 as a moment, at most `longest` ahead; what is past becomes now.
    fn moment(&self, millis: u64, longest: Duration) -> Moment {
        let ahead = Duration::from_millis(millis).saturating_sub(self.unix);
        self.now.after(ahead.min(longest))
    }
}

/// A span since 1970 in milliseconds.
pub(super) fn millis(unix: Duration) -> u64 {
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

/// The last answer of `user/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptUserInfo {
    /// When it came, in milliseconds since 1970.
    pub(super) at_ms: u64,
    pub(super) answer: UserInfo,
}

/// The record. All times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) version: u32,
    /// Whether the process had ended its calls; otherwise it may have made some more.
    pub(super) clean: bool,
    /// When it was written.
    pub(super) at_ms: u64,
    /// From when on each slot is free.
    slots_free_at_ms: Vec<u64>,
    gate: Option<SavedGate>,
    /// Floods in a row, and from when on they count no more.
    floods: u32,
    calm_at_ms: u64,
    /// What the rate is multiplied with.
    rate_factor: f64,
    /// Folders that may not be listed yet, with the time from which they may.
    folders: Vec<(FolderId, u64)>,
    /// From when on any folder may be listed.
    all_folders_at_ms: u64,
    /// From when on `user/info` may be called.
    user_info_at_ms: u64,
    pub(super) user_info: Option<KeptUserInfo>,
    /// How many seconds before `at_ms` calls were made, and how many; see [`super::usage`].
    #[serde(default)]
    recent: Vec<(u64, u64)>,
}

/// A shut gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct SavedGate {
    cause: GateCause,
    until_ms: u64,
    background_until_ms: u64,
}

/// What an earlier process left.
#[derive(Debug)]
pub(super) enum Loaded {
    /// Nothing.
    Fresh,
    /// A sound record.
    Sound(Box<Saved>),
    /// A record that could not be read, last written this long ago.
    Damaged(Duration),
}

impl State {
    /// The record of the present state.
    pub(super) fn save(&self, at: Instants, user_info: Option<KeptUserInfo>, clean: bool) -> Saved {
        Saved {
            version: VERSION,
            clean: clean && self.running() == 0,
            at_ms: millis(at.unix),
            slots_free_at_ms: self.window.free_times().map(|t| at.millis(t)).to_vec(),
            gate: self.gate.shut().map(|shut| SavedGate {
                cause: shut.cause,
                until_ms: at.millis(shut.until),
                background_until_ms: at.millis(shut.background_until),
            }),
            floods: self.gate.floods(),
            calm_at_ms: at.millis(self.gate.calm_at()),
            rate_factor: self.gate.factor(at.now),
            folders: self
                .spacing
                .held_folders(at.now)
                .map(|(folder, until)| (folder, at.millis(until)))
                .collect(),
            all_folders_at_ms: at.millis(self.spacing.all_folders_at()),
            user_info_at_ms: at.millis(self.spacing.user_info_at(at.now)),
            user_info,
            recent: self.usage.ages(at.now),
        }
    }

    /// The state an earlier process left. What it may have done unseen counts as done.
    pub(super) fn restore(rates: Rates, loaded: &Loaded, at: Instants) -> Self {
        let mut state = Self::new(rates, at.now);
        match loaded {
            Loaded::Fresh => {}
            Loaded::Sound(saved) => {
                state.apply(saved, at);
                if !saved.clean {
                    let saved_at = Duration::from_millis(saved.at_ms);
                    state.allow_for_unseen(saved_at + SAVE_EVERY + SAVE_TAKES, at);
                }
            }
            Loaded::Damaged(ago) => {
                let written = at.unix.saturating_sub(*ago);
                state.allow_for_unseen(written + SAVE_EVERY + SAVE_TAKES, at);
                // Also `user/info`: asking twice locks the key, old figures hurt nobody.
                let user_info = written + state.rates.arrives_within + state.rates.user_info_gap;
                let until = at.moment(millis(user_info), LONGEST);
                state.spacing.hold_user_info(until, at.now);
                // The account may be locked: one call goes out alone and finds out.
                let shut = Some((GateCause::Unknown, at.now, at.now));
                state.gate = Gate::restored(shut, 0, at.now, 1.0, at.now);
            }
        }
        state
    }

    fn apply(&mut self, saved: &Saved, at: Instants) {
        let shut = saved.gate.map(|gate| {
            let until = at.moment(gate.until_ms, LONGEST);
            let background_until = at.moment(gate.background_until_ms, LONGEST);
            (gate.cause, until, background_until)
        });
        let calm_at = at.moment(saved.calm_at_ms, LONGEST.saturating_add(self.rates.calm));
        self.gate = Gate::restored(shut, saved.floods, calm_at, saved.rate_factor, at.now);
        let spacing = Duration::from_secs_f64(3.0 / self.rate(at.now));
        let longest = spacing.max(self.rates.arrives_within + ARRIVED);
        let mut slots = [at.now; SLOTS];
        for (slot, free_at) in slots.iter_mut().zip(&saved.slots_free_at_ms) {
            *slot = at.moment(*free_at, longest);
        }
        self.window = Window::new(&slots, at.now);
        for (folder, until) in &saved.folders {
            let until = at.moment(*until, LONGEST);
            if until > at.now {
                self.spacing.hold_folder(*folder, until, at.now);
            }
        }
        let all_folders = at.moment(saved.all_folders_at_ms, LONGEST);
        self.spacing.hold_all_folders(all_folders, at.now);
        let user_info = at.moment(saved.user_info_at_ms, LONGEST);
        self.spacing.hold_user_info(user_info, at.now);
        let later = at.unix.saturating_sub(Duration::from_millis(saved.at_ms));
        self.usage = Usage::of_ages(&saved.recent, later, at.now);
    }

    /// Any call may have been made until `unseen` (since 1970) that the record does not hold.
    fn allow_for_unseen(&mut self, unseen: Duration, at: Instants) {
        let seen = unseen.min(at.unix) + self.rates.arrives_within;
        let slots = at.moment(millis(seen + ARRIVED), LONGEST);
        let free_times = self.window.free_times().map(|free_at| free_at.max(slots));
        self.window = Window::new(&free_times, at.now);
        let folders = at.moment(millis(seen + self.spacing.listing_gap()), LONGEST);
        self.spacing.hold_all_folders(folders, at.now);
    }
}
