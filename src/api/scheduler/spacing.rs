//! Limits that concern one kind of call: one listing per folder per 30 s, one `user/info` in six
//! minutes. A call that must wait for its turn here takes no slot and stands in nobody's way.
//! A listing that failed for the service's own reasons may be repeated soon, once.
//!
//! Spans are measured from the answer, when the service has surely seen the call. Bounded: a
//! folder is forgotten as soon as it may be listed again.
use super::call::{Call, CallClass, CallId, Verdict};
use super::rates::Rates;
use crate::api::ids::FolderId;
use crate::util::clock::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// Added to each span, for a service whose clock does not tick like ours.
const MARGIN: Duration = Duration::from_millis(250);

/// When a kind of call may be made again.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// The call under way; nothing else of this kind starts before its verdict.
    running: Option<CallId>,
    not_before: Moment,
    /// The same, should the call that failed have counted.
    strictly: Moment,
    /// The call under way came before `strictly`.
    early: bool,
}

impl Turn {
    fn not_before(at: Moment) -> Self {
        Self {
            running: None,
            not_before: at,
            strictly: at,
            early: false,
        }
    }
}

/// The turns of all folders and of `user/info`.
#[derive(Debug)]
pub(super) struct Spacing {
    folders: HashMap<FolderId, Turn>,
    /// No folder is listed before this moment: what an earlier process may have done unseen.
    all_folders: Moment,
    user_info: Turn,
    listing_gap: Duration,
    user_info_gap: Duration,
    hiccup: Duration,
    /// Whether a folder may be listed again early: not once the service has shown what it thinks of it.
    repeats_early: bool,
    arrives_within: Duration,
}

/// Whether a call's turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// From this moment on.
    At(Moment),
    /// Not before another call's verdict.
    AfterVerdict,
}

impl Spacing {
    /// Nothing was called yet.
    pub(super) fn new(rates: &Rates, now: Moment) -> Self {
        Self {
            folders: HashMap::new(),
            all_folders: now,
            user_info: Turn::not_before(now),
            listing_gap: rates.listing_gap.saturating_add(MARGIN),
            user_info_gap: rates.user_info_gap,
            hiccup: rates.hiccup.min(rates.listing_gap),
            repeats_early: true,
            arrives_within: rates.arrives_within,
        }
    }

    /// When the turn of a call comes.
    pub(super) fn ready(&self, class: CallClass, now: Moment) -> Ready {
        match self.turn(class) {
            Some(turn) if turn.running.is_some() => Ready::AfterVerdict,
            turn => {
                let all = match class {
                    CallClass::Listing(_) | CallClass::Files(_) => self.all_folders,
                    _ => now,
                };
                Ready::At(turn.map_or(now, |turn| turn.not_before).max(all).max(now))
            }
        }
    }

    /// A call of this class cannot start before this moment, even if every answer came now.
    pub(super) fn earliest(&self, class: CallClass, now: Moment) -> Moment {
        match self.ready(class, now) {
            Ready::At(at) => at,
            Ready::AfterVerdict => now.after(self.gap(class)),
        }
    }

    /// `id` starts. Whether that makes others of its kind wait.
    pub(super) fn started(&mut self, id: CallId, call: &Call, now: Moment) -> bool {
        match call.class {
            CallClass::Listing(folder) | CallClass::Files(folder) => {
                self.folders
                    .retain(|_, turn| turn.running.is_some() || turn.strictly > now);
                let turn = self.folders.entry(folder);
                let turn = turn.or_insert_with(|| Turn::not_before(now));
                turn.running = Some(id);
                turn.early = turn.strictly > now;
                true
            }
            CallClass::UserInfo => {
                self.user_info.running = Some(id);
                true
            }
            CallClass::Plain | CallClass::Token | CallClass::Node => false,
        }
    }

    /// `id`, of `class`, has its verdict; the service saw it at `seen` at the latest.
    pub(super) fn finished(
        &mut self,
        id: CallId,
        class: CallClass,
        verdict: Verdict,
        seen: Moment,
    ) {
        let strictly = seen.after(self.gap(class));
        let is_listing = matches!(class, CallClass::Listing(_) | CallClass::Files(_));
        let failed = matches!(verdict, Verdict::Failed | Verdict::Maintenance);
        let soon = (is_listing && failed && self.repeats_early).then(|| seen.after(self.hiccup));
        let Some(turn) = self.turn_of(id, class) else {
            return;
        };
        let was_early = std::mem::take(&mut turn.early);
        turn.running = None;
        turn.strictly = turn.strictly.max(strictly);
        turn.not_before = match soon {
            Some(soon) if !was_early => soon,
            _ => turn.strictly,
        };
        if was_early && matches!(verdict, Verdict::Flooded { .. } | Verdict::Banned) {
            self.repeats_early = false;
        }
    }

    /// `id`, of `class`, was never sent.
    pub(super) fn give_back(&mut self, id: CallId, class: CallClass) {
        if let Some(turn) = self.turn_of(id, class) {
            turn.running = None;
        }
    }

    /// Folders that may not be listed yet, with the moment from which they may. A listing under
    /// way counts as seen by the service now.
    pub(super) fn held_folders(&self, now: Moment) -> impl Iterator<Item = (FolderId, Moment)> {
        self.folders.iter().filter_map(move |(folder, turn)| {
            let at = match turn.running {
                Some(_) => now.after(self.listing_gap),
                None => turn.strictly,
            };
            (at > now).then_some((*folder, at))
        })
    }

    /// From when on `user/info` may be called.
    pub(super) fn user_info_at(&self, now: Moment) -> Moment {
        self.earliest(CallClass::UserInfo, now)
    }

    /// Holds a folder until `at`, but never longer than one listing would.
    pub(super) fn hold_folder(&mut self, folder: FolderId, at: Moment, now: Moment) {
        let most = now.after(self.arrives_within).after(self.listing_gap);
        self.folders.insert(folder, Turn::not_before(at.min(most)));
    }

    /// Holds every folder until `at`, but never longer than a listing made just now would.
    pub(super) fn hold_all_folders(&mut self, at: Moment, now: Moment) {
        let most = now.after(self.arrives_within).after(self.listing_gap);
        self.all_folders = self.all_folders.max(at.min(most));
    }

    /// Until when every folder is held.
    pub(super) fn all_folders_at(&self) -> Moment {
        self.all_folders
    }

    /// Between two listings of a folder, margin included.
    pub(super) fn listing_gap(&self) -> Duration {
        self.listing_gap
    }

    /// Holds `user/info` until `at`, but never longer than one call would.
    pub(super) fn hold_user_info(&mut self, at: Moment, now: Moment) {
        let most = now.after(self.arrives_within).after(self.user_info_gap);
        self.user_info = Turn::not_before(at.min(most));
    }

    /// How many folders are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.folders.len()
    }

    fn gap(&self, class: CallClass) -> Duration {
        match class {
            CallClass::Listing(_) | CallClass::Files(_) => self.listing_gap,
            CallClass::UserInfo => self.user_info_gap,
            CallClass::Plain | CallClass::Token | CallClass::Node => Duration::ZERO,
        }
    }

    fn turn(&self, class: CallClass) -> Option<&Turn> {
        match class {
            CallClass::Listing(folder) | CallClass::Files(folder) => self.folders.get(&folder),
            CallClass::UserInfo => Some(&self.user_info),
            CallClass::Plain | CallClass::Token | CallClass::Node => None,
        }
    }

    fn turn_of(&mut self, id: CallId, class: CallClass) -> Option<&mut Turn> {
        let turn = match class {
            CallClass::Listing(folder) | CallClass::Files(folder) => self.folders.get_mut(&folder),
            CallClass::UserInfo => Some(&mut self.user_info),
            CallClass::Plain | CallClass::Token | CallClass::Node => None,
        };
        turn.filter(|turn| turn.running == Some(id))
    }
}
