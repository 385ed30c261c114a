//! When a folder is listed, and by whom it is waited for.
//!
//! A folder that is not known is listed once for all who want it: the call runs in a task of its own
//! with a deadline of its own, so that a caller who gives up neither stops it nor fails the others. A
//! known folder is answered from memory, else from the store, whatever its age, and looked at again in
//! the background.
use super::error::TreeError;
use super::folders::{Flight, Outcome};
use super::listing::Listing;
use super::{Caller, Tree};
use crate::api::{Ask, FolderId, FolderListing, Priority, Requester};
use crate::util::cached::Cached;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// The service allows one listing of a folder in that time (API reference 3).
pub(super) const LISTING_GAP: Duration = Duration::from_secs(30);

/// How long a listing someone waits for may take, its wait for a turn included: twice the longest
/// wait for a folder that was listed a moment ago and fell out of memory.
const WANTED_LIMIT: Duration = Duration::from_secs(60);

/// How long a listing nobody waits for may take: background calls have one turn a second, and
/// [`REFRESHES`] may be before it.
const REFRESH_LIMIT: Duration = Duration::from_secs(120);

/// Background listings that wait or run at a time. What does not fit is not forgotten: the next look
/// at the folder asks again.
const REFRESHES: usize = 64;

/// How long a failure is remembered, so that a storm of lookups does not become a storm of calls.
const FAILURE_MEMORY: Duration = Duration::from_secs(2);

/// How long an absent folder is not asked for again: repeated 404s count as abuse (API reference 2.2).
const ABSENCE_MEMORY: Duration = Duration::from_secs(5 * 60);

/// Who wants a listing, and how badly.
#[derive(Clone, Copy)]
enum Want {
    /// Somebody waits.
    Now(Requester),
    /// Nobody waits.
    Sometime,
}

impl Tree {
    /// The listing of `folder`: the known one, which is looked at again when it is old, else a new one.
    pub(super) fn listing(&self, folder: FolderId, caller: Caller) -> Cached<Outcome> {
        if let Some(known) = self.inner.cache.get(folder) {
            self.look_again(&known);
            return Cached::Hit(Ok(known));
        }
        let now = self.inner.clock.now();
        let flight = {
            let mut folders = lock(&self.inner.folders);
            let state = folders.state(folder);
            if let Some(flight) = state.alive() {
                if let Some(old) = &flight.old {
                    return Cached::Hit(Ok(Arc::clone(old)));
                }
                flight.clone()
            } else if let Some(known) = self.inner.cache.get(folder) {
                // It landed between the first look and the lock.
                return Cached::Hit(Ok(known));
            } else if let Some(failed) = state.failed.as_deref()
                && now < failed.0
                && state.kept.is_none()
            {
                return Cached::Hit(Err(failed.1.clone()));
            } else {
                let flight = self.launch(folder, Want::Now(caller.requester), None);
                state.flight = Some(flight.clone());
                flight
            }
        };
        Cached::wait(flight.wait(folder, caller.deadline))
    }

    /// A listing no older than the service allows: the one under way, else a new one, else, within
    /// [`LISTING_GAP`] of the last, that one.
    pub(super) fn newest_listing(&self, folder: FolderId, caller: Caller) -> Cached<Outcome> {
        match self.inner.cache.get(folder) {
            Some(known) => self.newer_listing(known, caller),
            None if self.is_kept(folder) => {
                let (tree, known) = (self.clone(), self.listing(folder, caller));
                Cached::wait(async move {
                    let known = known.ready().await?;
                    tree.newer_listing(known, caller).ready().await
                })
            }
            None => self.listing(folder, caller),
        }
    }

    fn newer_listing(&self, known: Arc<Listing>, caller: Caller) -> Cached<Outcome> {
        let folder = known.folder();
        let now = self.inner.clock.now();
        let mut folders = lock(&self.inner.folders);
        let state = folders.state(folder);
        let flight = if let Some(flight) = state.alive() {
            flight.clone()
        } else if state.asked_within(LISTING_GAP, now) {
            return Cached::Hit(Ok(known));
        } else {
            state.asked = Some(now);
            let flight = self.launch(folder, Want::Now(caller.requester), Some(known));
            state.flight = Some(flight.clone());
            flight
        };
        Cached::wait(flight.wait(folder, caller.deadline))
    }

    /// Lists a known folder again in the background, when it is time.
    pub(super) fn look_again(&self, known: &Arc<Listing>) {
        let limit = if known.has_refused() {
            LISTING_GAP
        } else {
            self.inner.settings.dir_cache_time
        };
        if self.inner.clock.now().since(known.fetched()) >= limit {
            self.refresh_known(known);
        }
    }

    /// Lists a known folder again in the background, unless that was tried a moment ago or too many
    /// folders wait for the same.
    pub(super) fn refresh_known(&self, known: &Arc<Listing>) {
        let (folder, now) = (known.folder(), self.inner.clock.now());
        let mut folders = lock(&self.inner.folders);
        let state = folders.state(folder);
        if state.alive().is_some()
            || state.asked_within(LISTING_GAP, now)
            || self.inner.refreshing.load(Ordering::Relaxed) >= REFRESHES
        {
            return;
        }
        state.asked = Some(now);
        state.flight = Some(self.launch(folder, Want::Sometime, Some(Arc::clone(known))));
    }

    /// Starts a listing in a task of its own. The caller holds the lock on the folders, so that there
    /// is one flight per folder.
    fn launch(&self, folder: FolderId, want: Want, old: Option<Arc<Listing>>) -> Flight {
        let (flight, tell) = Flight::new(old.clone());
        let slot = matches!(want, Want::Sometime).then(|| Slot::take(self));
        let tree = self.clone();
        self.inner.runtime.spawn(async move {
            if old.is_none() {
                if let Some(known) = tree.recall(folder).await {
                    lock(&tree.inner.folders).state(folder).flight = None;
                    tell.send_replace(Some(Ok(Arc::clone(&known))));
                    tree.look_again(&known);
                    return;
                }
                let mut folders = lock(&tree.inner.folders);
                let state = folders.state(folder);
                state.asked = Some(tree.inner.clock.now());
                state.kept = None;
            }
            let answer = tree.call(folder, want).await;
            drop(slot);
            tree.land(folder, answer, old, &tell).await;
        });
        flight
    }

    async fn call(&self, folder: FolderId, want: Want) -> Result<FolderListing, TreeError> {
        let (priority, requester, limit) = match want {
            Want::Now(requester) => (Priority::Wanted, requester, WANTED_LIMIT),
            Want::Sometime => (Priority::Refresh, Requester::SELF, REFRESH_LIMIT),
        };
        let deadline = Deadline::within(self.inner.clock, limit);
        let ask = Ask::new(priority, deadline, requester);
        match deadline
            .run(self.inner.client.list_folder(&ask, folder))
            .await
        {
            Some(answer) => answer.map_err(|error| TreeError::of_call(folder, error)),
            None => Err(TreeError::Timeout(folder)),
        }
    }

    /// Takes a listing's answer in, ends the flight and tells who waits.
    async fn land(
        &self,
        folder: FolderId,
        answer: Result<FolderListing, TreeError>,
        old: Option<Arc<Listing>>,
        tell: &watch::Sender<Option<Outcome>>,
    ) {
        let outcome = match answer {
            Ok(answer) => {
                let tree = self.clone();
                let runtime = &self.inner.runtime;
                let installed = runtime.spawn_blocking(move || tree.install(folder, answer, old));
                let installed = installed.await;
                installed.map_err(|_| TreeError::Interrupted(folder))
            }
            Err(error @ TreeError::NotFound(_)) => {
                log::info!("{error}");
                self.vanished(folder);
                Err(error)
            }
            Err(error) => {
                log::info!("{error}");
                // Shown until it is known better, also when it fell out of memory meanwhile.
                if let Some(old) = old
                    && self.inner.cache.get(folder).is_none()
                {
                    self.inner.cache.insert(old);
                }
                Err(error)
            }
        };
        {
            let mut folders = lock(&self.inner.folders);
            let state = folders.state(folder);
            state.flight = None;
            state.failed = outcome.as_ref().err().map(|error| {
                let memory = match error {
                    TreeError::NotFound(_) => ABSENCE_MEMORY,
                    _ => FAILURE_MEMORY,
                };
                Box::new((self.inner.clock.now().after(memory), error.clone()))
            });
        }
        tell.send_replace(Some(outcome));
    }
}

impl Tree {
    /// Whether the store keeps a listing of `folder`.
    pub(super) fn is_kept(&self, folder: FolderId) -> bool {
        let folders = lock(&self.inner.folders);
        folders
            .get(folder)
            .is_some_and(|state| state.kept.is_some())
    }
}

/// A place among the background listings.
struct Slot(Tree);

impl Slot {
    fn take(tree: &Tree) -> Self {
        tree.inner.refreshing.fetch_add(1, Ordering::Relaxed);
        Self(tree.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.inner.refreshing.fetch_sub(1, Ordering::Relaxed);
    }
}
