//! Keeps the folders that are in use fresh: those that programs have open, and those looked at a
//! moment ago, though nobody looks again. The kernel answers most looks by itself, so a program that
//! waits for a change would otherwise wait for ever.
//!
//! Promises: one folder at a time, at low priority, none twice in 30 s; cold folders are left alone
//! until somebody looks at them. Bounded: folders that are open, and [`RECENT_FOLDERS`] others.
use super::Tree;
use super::fetch::LISTING_GAP;
use crate::api::FolderId;
use crate::util::clock::Moment;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// Folders looked at last that are kept fresh: what a person or a media server is busy with; a walk
/// over a whole tree must not make all of it warm.
const RECENT_FOLDERS: usize = 64;

/// How long a folder counts as in use after a look: three times the usual lifetime of a listing, so
/// that a file manager left alone for a moment shows what happened.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// When to look whether something is due at the latest.
const IDLE: Duration = Duration::from_secs(60);

/// How long to wait for one folder before the next one: a large one takes minutes by itself.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// The folders in use.
#[derive(Debug, Default)]
pub(super) struct InUse {
    uses: Mutex<Uses>,
    /// A folder came into use.
    came: Notify,
}

#[derive(Debug, Default)]
struct Uses {
    /// How often each is open.
    open: HashMap<FolderId, usize>,
    /// When each was looked at last.
    recent: HashMap<FolderId, Moment>,
}

impl InUse {
    /// A program opened `folder`.
    pub(super) fn opened(&self, folder: FolderId) {
        *lock(&self.uses).open.entry(folder).or_default() += 1;
        self.came.notify_one();
    }

    /// A program closed `folder`.
    pub(super) fn released(&self, folder: FolderId) {
        let mut uses = lock(&self.uses);
        if let Some(count) = uses.open.get_mut(&folder) {
            *count -= 1;
            if *count == 0 {
                uses.open.remove(&folder);
            }
        }
    }

    /// Somebody looked at `folder`.
    pub(super) fn used(&self, folder: FolderId, now: Moment) {
        let mut uses = lock(&self.uses);
        if uses.recent.insert(folder, now).is_some() {
            return;
        }
        if uses.recent.len() > RECENT_FOLDERS {
            let oldest = uses.recent.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(folder, _)| *folder) {
                uses.recent.remove(&oldest);
            }
        }
        drop(uses);
        self.came.notify_one();
    }

    /// How many folders are open.
    pub(super) fn open(&self) -> usize {
        lock(&self.uses).open.len()
    }

    fn all(&self, now: Moment) -> Vec<FolderId> {
        let mut uses = lock(&self.uses);
        uses.recent.retain(|_, at| now.since(*at) < RECENT);
        let recent = uses.recent.keys().copied();
        let recent = recent.filter(|folder| !uses.open.contains_key(folder));
        recent.chain(uses.open.keys().copied()).collect()
    }
}

impl Tree {
    /// Looks at folders in use again when it is time, for ever.
    pub(super) async fn keep_fresh(&self) {
        let clock = self.inner.clock;
        loop {
            let now = clock.now();
            let mut rest = IDLE;
            if let Some((due, folder)) = self.most_overdue(now) {
                rest = due.since(now).min(IDLE);
                if rest.is_zero() {
                    rest = LISTING_GAP;
                    if self.freshen(folder).await {
                        continue;
                    }
                }
            }
            tokio::select! {
                () = clock.sleep(rest) => {}
                () = self.inner.in_use.came.notified() => {}
            }
        }
    }

    /// Looks at a folder again and waits for it; false when it is not to be asked for now.
    async fn freshen(&self, folder: FolderId) -> bool {
        // What fell out of memory is not out of use.
        let known = match self.inner.cache.get(folder) {
            Some(known) => Some(known),
            None => self.recall(folder).await,
        };
        let Some(known) = known else {
            // Whoever looks at it next lists it.
            lock(&self.inner.folders).state(folder).kept = None;
            return true;
        };
        let Some(flight) = self.refresh_known(&known) else {
            return false;
        };
        let patience = Deadline::within(self.inner.clock, PATIENCE);
        // What came of it is in the tree, or will be.
        let _ = flight.landed(folder, patience).await;
        true
    }

    /// The known folder in use that is to be looked at first, and when.
    fn most_overdue(&self, now: Moment) -> Option<(Moment, FolderId)> {
        let used = self.inner.in_use.all(now).into_iter();
        used.filter_map(|folder| Some((self.due(folder)?, folder)))
            .min_by_key(|(due, _)| *due)
    }

    /// When a folder in use is to be looked at again; `None` while that is under way, and when nothing
    /// is known that could be old. One that failed is left alone for as long as one that came.
    fn due(&self, folder: FolderId) -> Option<Moment> {
        let known = self.inner.cache.get(folder);
        let folders = lock(&self.inner.folders);
        let state = folders.get(folder)?;
        if state.alive().is_some() || (known.is_none() && state.kept.is_none()) {
            return None;
        }
        let fetched = known.as_ref().map(|known| known.fetched());
        let lifetime = known.map_or(self.inner.settings.dir_cache_time.max(LISTING_GAP), |it| {
            self.lifetime(&it)
        });
        // Neither is known of what was kept by a clock that has been set back since.
        let last = state.asked.max(fetched);
        Some(last.map_or(Moment::from_origin(Duration::ZERO), |last| {
            last.after(lifetime)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn open_folders_count_until_the_last_closes() {
        let uses = InUse::default();
        let folder = FolderId(7);
        uses.opened(folder);
        uses.opened(folder);
        uses.released(folder);
        assert_eq!(uses.all(at(0)), [folder]);
        uses.used(folder, at(0));
        assert_eq!(uses.all(at(0)), [folder]);
        uses.released(folder);
        uses.released(folder);
        assert_eq!((uses.open(), uses.all(at(1))), (0, vec![folder]));
        assert_eq!(uses.all(at(0).after(RECENT)), []);
    }

    #[test]
    fn a_walk_over_everything_keeps_only_its_end_warm() {
        let uses = InUse::default();
        for number in 0..10_000 {
            uses.used(FolderId(number), at(number));
        }
        uses.opened(FolderId(3));
        let mut all = uses.all(at(10_000 - 1));
        all.sort_unstable();
        let mut expected: Vec<FolderId> = (10_000 - RECENT_FOLDERS as u64..10_000)
            .map(FolderId)
            .collect();
        expected.insert(0, FolderId(3));
        assert_eq!(all, expected);
    }
}
