//! When a folder is listed, and by whom it is waited for.
//!
//! A folder that is not known is listed once for all who want it: the call runs in a task of its own
//! with a deadline of its own, so that a caller who gives up neither stops it nor fails the others. A
//! known folder is answered from memory, else from the store, whatever its age, and looked at again in
//! the background.
use super::error::TreeError;
use super::folders::{Flight, Landing, Outcome};
use super::listing::Listing;
use super::{Caller, Tree};
use crate::api::{ApiError, Ask, ErrorKind, FolderId, FolderListing, Priority, Reached, Requester};
use crate::util::cached::Cached;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The service allows one listing of a folder in that time (API reference 3).
pub(super) const LISTING_GAP: Duration = Duration::from_secs(30);

/// How long a call of a listing someone waits for may take, its wait for a turn included: twice the longest
/// wait for a folder that was listed a moment ago and fell out of memory.
const WANTED_LIMIT: Duration = Duration::from_secs(60);

/// How long a call of a listing nobody waits for may take: background calls have one turn a second, and
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
#[derive(Debug, Clone, Copy)]
pub(super) enum Want {
    /// Somebody waits.
    Now(Requester),
    /// It is known and looked at again; nobody waits.
    Again,
    /// It is not known; nobody waits.
    Crawl,
}

impl Want {
    /// For whom it is; and how much the calls after this one are wanted when nobody waits by then.
    fn requester(&mut self) -> Option<Requester> {
        match *self {
            Self::Now(requester) => {
                *self = Self::Again;
                Some(requester)
            }
            Self::Again | Self::Crawl => None,
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Now(_) => Priority::Wanted,
            Self::Again => Priority::Refresh,
            Self::Crawl => Priority::Crawl,
        }
    }
}

/// What the service said of a folder.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// All that is in it.
    Whole(FolderListing),
    /// Its sub-folders and its newest files; the others are as before.
    Newer {
        /// What was said.
        listing: FolderListing,
        /// Whether that and what was known before is all.
        is_whole: bool,
    },
    /// Its sub-folders and some of its files; it cannot show more.
    Part(FolderListing),
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
        Cached::wait(flight.wait(folder, caller.requester, caller.deadline))
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
        Cached::wait(flight.wait(folder, caller.requester, caller.deadline))
    }

    /// Lists a known folder again in the background, when it is time.
    pub(super) fn look_again(&self, known: &Arc<Listing>) {
        if self.inner.clock.now().since(known.fetched()) >= self.lifetime(known) {
            drop(self.refresh_known(known));
        }
    }

    /// The age from which a listing is looked at again.
    pub(super) fn lifetime(&self, known: &Listing) -> Duration {
        if known.has_refused() {
            LISTING_GAP
        } else {
            self.inner.settings.dir_cache_time.max(LISTING_GAP)
        }
    }

    /// Lists a known folder again in the background, unless that was tried a moment ago or too many
    /// folders wait for the same.
    pub(super) fn refresh_known(&self, known: &Arc<Listing>) -> Option<Flight> {
        let (folder, now) = (known.folder(), self.inner.clock.now());
        let mut folders = lock(&self.inner.folders);
        let state = folders.state(folder);
        if state.alive().is_some()
            || state.asked_within(LISTING_GAP, now)
            || self.inner.refreshing.load(Ordering::Relaxed) >= REFRESHES
        {
            return None;
        }
        state.asked = Some(now);
        let flight = self.launch(folder, Want::Again, Some(Arc::clone(known)));
        state.flight = Some(flight.clone());
        Some(flight)
    }

    /// Starts a listing in a task of its own. The caller holds the lock on the folders, so that there
    /// is one flight per folder.
    pub(super) fn launch(&self, folder: FolderId, want: Want, old: Option<Arc<Listing>>) -> Flight {
        let (flight, mut landing) = Flight::new(old.clone());
        let slot = matches!(want, Want::Again).then(|| Slot::take(self));
        let tree = self.clone();
        self.inner.runtime.spawn(async move {
            // What the store keeps is as good as what is in memory.
            if old.is_none() {
                if let Some(known) = tree.recall(folder).await {
                    lock(&tree.inner.folders).state(folder).flight = None;
                    landing.tell(Ok(Arc::clone(&known)));
                    tree.look_again(&known);
                    return;
                }
                let mut folders = lock(&tree.inner.folders);
                let state = folders.state(folder);
                state.asked = Some(tree.inner.clock.now());
                state.kept = None;
            }
            let answer = tokio::select! {
                biased;
                () = tree.stopped(), if !matches!(want, Want::Now(_)) => {
                    Err(TreeError::Interrupted(folder))
                }
                answer = tree.fetch(folder, old.as_deref(), want, &mut landing) => answer,
            };
            tree.land(folder, answer, old, &landing).await;
            drop(slot);
        });
        flight
    }

    /// Lists a folder, with as many calls as that takes.
    async fn fetch(
        &self,
        folder: FolderId,
        old: Option<&Listing>,
        mut want: Want,
        landing: &mut Landing,
    ) -> Result<Answer, TreeError> {
        if self.is_large(folder)
            && let Some(answer) = self.list_large(folder, old, landing, &mut want).await?
        {
            return Ok(answer);
        }
        let client = &self.inner.client;
        let call = |ask| async move { client.list_folder(&ask, folder).await };
        match self.ask(folder, landing, &mut want, call).await {
            Ok(answer) if !answer.is_cut() => Ok(Answer::Whole(answer)),
            Ok(cut) => {
                log::info!(
                    "folder {folder} holds more than one listing shows; listing it in parts"
                );
                self.list_slices(folder, Some(cut), old, landing, &mut want)
                    .await
            }
            Err(error) => {
                let is_refused = error.kind == ErrorKind::Refused;
                let error = TreeError::of_call(folder, error);
                if is_refused {
                    self.list_refused(folder, landing, &mut want, error).await
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Makes a call as urgent as it is: in the background until somebody waits for it, then also as
    /// one somebody waits for. Only one of the two is ever sent: the scheduler starts the more urgent
    /// one first, and no second listing of a folder while one is under way.
    pub(super) async fn ask<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        folder: FolderId,
        landing: &mut Landing,
        want: &mut Want,
        call: impl Fn(Ask) -> F,
    ) -> Result<T, ApiError> {
        let timed = |priority, requester, limit| {
            let deadline = Deadline::within(self.inner.clock, limit);
            // A call's future takes 10 kB, and three of them wait here.
            let work = Box::pin(call(Ask::new(priority, deadline, requester)));
            async move {
                deadline.run(work).await.unwrap_or_else(|| {
                    let detail = format!("folder {folder}: no answer in {} s", limit.as_secs());
                    let kind = ErrorKind::Timeout;
                    Err(ApiError::new(kind, "listing", Reached::Unknown, detail))
                })
            }
        };
        let first = want.requester();
        if let Some(requester) = landing.requester().or(first) {
            return timed(Priority::Wanted, requester, WANTED_LIMIT).await;
        }
        let background = timed(want.priority(), Requester::SELF, REFRESH_LIMIT);
        let mut background = pin!(background);
        let requester = tokio::select! {
            biased;
            requester = landing.urged() => requester,
            answer = &mut background => match landing.requester() {
                Some(requester) if answer.is_err() => {
                    return timed(Priority::Wanted, requester, WANTED_LIMIT).await;
                }
                _ => return answer,
            },
        };
        let mut wanted = pin!(timed(Priority::Wanted, requester, WANTED_LIMIT));
        tokio::select! {
            biased;
            answer = &mut background => if answer.is_ok() {
                return answer;
            },
            answer = &mut wanted => return answer,
        }
        wanted.await
    }

    /// Takes a listing's answer in, ends the flight and tells who waits.
    async fn land(
        &self,
        folder: FolderId,
        answer: Result<Answer, TreeError>,
        old: Option<Arc<Listing>>,
        landing: &Landing,
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
                    && !self.is_kept(folder)
                {
                    let tree = self.clone();
                    let shown = self
                        .inner
                        .runtime
                        .spawn_blocking(move || tree.show_again(old));
                    // An error means that the mount is ending.
                    let _ = shown.await;
                }
                Err(error)
            }
        };
        {
            let mut folders = lock(&self.inner.folders);
            let state = folders.state(folder);
            state.flight = None;
            state.failed = outcome.as_ref().err().and_then(|error| {
                let memory = match error {
                    TreeError::NotFound(_) => ABSENCE_MEMORY,
                    _ if landing.was_wanted() => FAILURE_MEMORY,
                    // A call nobody waited for fails sooner than one somebody waits for.
                    _ => return None,
                };
                let until = self.inner.clock.now().after(memory);
                Some(Box::new((until, error.clone())))
            });
        }
        landing.tell(outcome);
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
