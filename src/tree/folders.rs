//! What is remembered of every folder seen, for the life of the mount: its place, when it changed, the
//! numbers of duplicates, and the listing under way. About 150 bytes each.
use super::error::TreeError;
use super::listing::Listing;
use super::numbering::Numbering;
use crate::api::{FolderId, Requester, UnixSeconds};
use crate::util::clock::Moment;
use crate::util::deadline::Deadline;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How a listing ended; all who waited for it get the same.
pub(super) type Outcome = Result<Arc<Listing>, TreeError>;

/// All folders seen. Guarded by one lock, held for microseconds.
#[derive(Debug, Default)]
pub(super) struct Folders {
    states: HashMap<FolderId, FolderState>,
    /// Numbers given to duplicates; few folders have any.
    numberings: HashMap<FolderId, Arc<Numbering>>,
}

/// What is remembered of one folder.
#[derive(Debug, Default)]
pub(super) struct FolderState {
    /// The folder that showed it last.
    pub(super) parent: Option<FolderId>,
    /// When its entries last changed, as far as is known; only ever moves forward.
    pub(super) changed: Option<UnixSeconds>,
    /// Whether it was ever listed.
    pub(super) listed: bool,
    /// When the listing that the store keeps was asked for, since 1970; `None` when it keeps none.
    pub(super) kept: Option<Duration>,
    /// How many entries its last listing had.
    pub(super) entries: u32,
    /// When a listing was last asked for.
    pub(super) asked: Option<Moment>,
    /// Why the last one failed, and until when not to try again.
    pub(super) failed: Option<Box<(Moment, TreeError)>>,
    /// The listing under way.
    pub(super) flight: Option<Flight>,
}

/// A listing under way, for those who want its result.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    /// Who last began to wait for it.
    urgent: Arc<watch::Sender<Option<Requester>>>,
    /// How many wait for it.
    waiters: Arc<AtomicUsize>,
    /// What is shown meanwhile.
    pub(super) old: Option<Arc<Listing>>,
}

/// The other end of a [`Flight`]: where its outcome is told.
#[derive(Debug)]
pub(super) struct Landing {
    outcome: watch::Sender<Option<Outcome>>,
    urgent: watch::Receiver<Option<Requester>>,
    waiters: Arc<AtomicUsize>,
}

/// How many folders there are, and how many entries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Folders seen and not gone, as far as is known.
    pub(super) folders: usize,
    /// Those of them that were listed.
    pub(super) listed: usize,
    /// Entries of those.
    pub(super) entries: u64,
}

impl Folders {
    pub(super) fn get(&self, folder: FolderId) -> Option<&FolderState> {
        self.states.get(&folder)
    }

    /// The state of `folder`, which is remembered from now on.
    pub(super) fn state(&mut self, folder: FolderId) -> &mut FolderState {
        self.states.entry(folder).or_default()
    }

    /// The state of `folder`, if it was ever seen.
    pub(super) fn seen(&mut self, folder: FolderId) -> Option<&mut FolderState> {
        self.states.get_mut(&folder)
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (FolderId, &FolderState)> {
        self.states.iter().map(|(folder, state)| (*folder, state))
    }

    /// The numbers given to duplicates in `folder`.
    pub(super) fn numbering(&self, folder: FolderId) -> Arc<Numbering> {
        self.numberings.get(&folder).cloned().unwrap_or_default()
    }

    /// Remembers the numbers given to duplicates in `folder`, which need not have been seen yet.
    pub(super) fn number(&mut self, folder: FolderId, numbering: Numbering) {
        if numbering.is_empty() {
            self.numberings.remove(&folder);
        } else {
            self.numberings.insert(folder, Arc::new(numbering));
        }
    }

    /// `folder` and all folders above it, as far as is known.
    pub(super) fn line_of(&self, folder: FolderId) -> HashSet<FolderId> {
        let mut line = HashSet::new();
        let mut next = Some(folder);
        while let Some(folder) = next {
            if !line.insert(folder) {
                break;
            }
            next = self.get(folder).and_then(|state| state.parent);
        }
        line
    }

    /// Whether `folder` is `root` or somewhere below it, as far as is known.
    pub(super) fn is_below(&self, folder: FolderId, root: FolderId) -> bool {
        self.line_of(folder).contains(&root)
    }

    /// Those that were never listed, in no order.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = FolderId> {
        let unlisted = self.states.iter().filter(|(_, state)| !state.listed);
        unlisted.map(|(folder, _)| *folder)
    }

    /// What there is in and below `root`.
    pub(super) fn counts(&self, root: FolderId) -> Counts {
        let mut counts = Counts::default();
        for (folder, state) in &self.states {
            if *folder == root || state.parent.is_some() {
                counts.folders += 1;
                counts.listed += usize::from(state.listed);
                counts.entries += u64::from(state.entries);
            }
        }
        counts
    }
}

impl FolderState {
    /// The listing under way, unless its task died.
    pub(super) fn alive(&self) -> Option<&Flight> {
        self.flight.as_ref().filter(|flight| !flight.is_dead())
    }

    /// Whether a listing was asked for less than `gap` ago.
    pub(super) fn asked_within(&self, gap: Duration, now: Moment) -> bool {
        self.asked.is_some_and(|asked| now.since(asked) < gap)
    }
}

impl Flight {
    /// A flight and its landing.
    pub(super) fn new(old: Option<Arc<Listing>>) -> (Self, Landing) {
        let (tell, outcome) = watch::channel(None);
        let (urge, urgent) = watch::channel(None);
        let waiters = Arc::new(AtomicUsize::new(0));
        let landing = Landing {
            outcome: tell,
            urgent,
            waiters: Arc::clone(&waiters),
        };
        let flight = Self {
            outcome,
            urgent: Arc::new(urge),
            waiters,
            old,
        };
        (flight, landing)
    }

    fn is_dead(&self) -> bool {
        self.outcome.has_changed().is_err() && self.outcome.borrow().is_none()
    }

    /// The outcome, if it comes before `deadline`; the flight goes on in any case, and no slower
    /// than `requester` may expect.
    pub(super) fn wait(
        self,
        folder: FolderId,
        requester: Requester,
        deadline: Deadline,
    ) -> impl Future<Output = Outcome> + Send {
        let waiting = Waiting::new(&self.waiters);
        self.urgent.send_replace(Some(requester));
        async move {
            let outcome = self.landed(folder, deadline).await;
            drop(waiting);
            outcome
        }
    }

    /// The outcome, if it comes before `deadline`, for one who is in no hurry.
    pub(super) async fn landed(mut self, folder: FolderId, deadline: Deadline) -> Outcome {
        let ended = async {
            let outcome = self.outcome.wait_for(Option::is_some).await;
            outcome.ok().and_then(|outcome| outcome.clone())
        };
        match deadline.run(ended).await {
            Some(Some(outcome)) => outcome,
            Some(None) => Err(TreeError::Interrupted(folder)),
            None => Err(TreeError::Timeout(folder)),
        }
    }
}

impl Landing {
    /// Ends the flight.
    pub(super) fn tell(&self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }

    /// Whether somebody ever waited.
    pub(super) fn was_wanted(&self) -> bool {
        self.urgent.borrow().is_some()
    }

    /// For whom the flight is, if somebody waits; forgets that it was urged.
    pub(super) fn requester(&mut self) -> Option<Requester> {
        let requester = *self.urgent.borrow_and_update();
        requester.filter(|_| self.waiters.load(Ordering::Relaxed) > 0)
    }

    /// Somebody begins to wait, since [`Landing::requester`] was asked.
    pub(super) async fn urged(&mut self) -> Requester {
        loop {
            if self.urgent.changed().await.is_err() {
                // Nobody is left who could.
                std::future::pending::<()>().await;
            }
            if let Some(requester) = self.requester() {
                return requester;
            }
        }
    }
}

/// Counts one who waits.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(waiters: &Arc<AtomicUsize>) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiters))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
