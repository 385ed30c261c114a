//! Looks at every known folder again, whether or not somebody uses it, when a program is to hear of
//! changes: who waits for them looks at no folder.
//!
//! Promises: the folder whose listing is oldest first, none before its lifetime is over, one every
//! [`GAP`] and behind everybody else in the queue. So a change is seen after `dir_cache_time`, or after as
//! many times [`GAP`] as there are folders, whichever is longer.
use super::Tree;
use super::fetch::{LISTING_GAP, Want};
use super::folders::Flight;
use crate::api::FolderId;
use crate::util::clock::Moment;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use std::time::Duration;

/// Between two folders. What the service is said to bear for hours (API reference 3): one listing per 3 s.
const GAP: Duration = Duration::from_secs(3);

/// When to look whether something is due at the latest: folders come.
const IDLE: Duration = Duration::from_secs(30);

/// How long to wait for one folder before the next one: a large one takes minutes by itself.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

impl Tree {
    /// Looks at folders again, in rounds, for ever.
    pub(super) async fn patrol(&self) {
        let clock = self.inner.clock;
        loop {
            let mut rest = IDLE;
            for (due, folder) in self.round() {
                let now = clock.now();
                if due > now {
                    rest = due.since(now).clamp(GAP, IDLE);
                    break;
                }
                rest = GAP;
                if let Some(flight) = self.patrol_flight(folder).await {
                    // What came of it is in the tree, or will be.
                    let patience = Deadline::within(clock, PATIENCE);
                    let _ = flight.landed(folder, patience).await;
                    clock.sleep(GAP).await;
                }
            }
            clock.sleep(rest).await;
        }
    }

    /// The known folders, by when they are to be looked at again.
    fn round(&self) -> Vec<(Moment, FolderId)> {
        let lifetime = self.inner.settings.dir_cache_time.max(LISTING_GAP);
        let root = self.inner.settings.root.id;
        let mut round: Vec<(Moment, FolderId)> = lock(&self.inner.folders)
            .all()
            .filter(|(folder, state)| {
                // Not those that went from where they were.
                state.listed && (*folder == root || state.parent.is_some())
            })
            .map(|(folder, state)| {
                let due = state
                    .asked
                    .map_or(Moment::from_origin(Duration::ZERO), |asked| {
                        asked.after(lifetime)
                    });
                (due, folder)
            })
            .collect();
        round.sort_unstable();
        round
    }

    /// The listing of a folder that is due still; `None` when it is not to be asked for.
    async fn patrol_flight(&self, folder: FolderId) -> Option<Flight> {
        let known = match self.inner.cache.get(folder) {
            Some(known) => known,
            None => self.recall(folder).await?,
        };
        let now = self.inner.clock.now();
        let lifetime = self.lifetime(&known);
        let mut folders = lock(&self.inner.folders);
        if !folders.is_below(folder, self.inner.settings.root.id) {
            return None;
        }
        let state = folders.state(folder);
        if state.alive().is_some() || state.asked_within(lifetime, now) {
            return None;
        }
        state.asked = Some(now);
        let flight = self.launch(folder, Want::Crawl, Some(known));
        state.flight = Some(flight.clone());
        Some(flight)
    }
}
