//! What is remembered of every folder seen, for the life of the mount: its place, when it changed, the
//! numbers of duplicates, and the listing under way. About 150 bytes each.
use super::error::TreeError;
use super::listing::Listing;
use super::numbering::Numbering;
use crate::api::{FolderId, UnixSeconds};
use crate::util::clock::Moment;
use crate::util::deadline::Deadline;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
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
    /// When a listing was last asked for.
    pub(super) asked: Option<Moment>,
    /// Why the last one failed, and until when not to try again.
    pub(super) failed: Option<Box<(Moment, TreeError)>>,
    /// The listing under way.
    pub(super) flight: Option<Flight>,
}

/// A listing under way: one call for all who want its result.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    /// What is shown meanwhile.
    pub(super) old: Option<Arc<Listing>>,
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

    pub(super) fn count(&self) -> usize {
        self.states.len()
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
    /// A flight, and where its end is told.
    pub(super) fn new(old: Option<Arc<Listing>>) -> (Self, watch::Sender<Option<Outcome>>) {
        let (tell, outcome) = watch::channel(None);
        (Self { outcome, old }, tell)
    }

    fn is_dead(&self) -> bool {
        self.outcome.has_changed().is_err() && self.outcome.borrow().is_none()
    }

    /// The outcome, if it comes before `deadline`; the flight goes on in any case.
    pub(super) async fn wait(mut self, folder: FolderId, deadline: Deadline) -> Outcome {
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
