//! Folders that hold more than one listing shows: how they are listed whole all the same.
//!
//! Promises: such a folder is shown whole or, as long as it is not known, not at all; only when the
//! service itself cannot show all of it (a single second of too many uploads) a part is shown, and
//! marked as one. What was gathered survives failed calls, and the next listing goes on with it. A
//! known large folder costs two calls to look at again: its head (sub-folders and the number of
//! files) and the files that are newer than the newest; a whole round only when the number does not
//! fit then, and now and then.
//!
//! Calls for one folder are 30 s apart; the scheduler sees to it. What is gathered lies under a lock
//! that is held while an answer is taken in, never across a call.
use super::Tree;
use super::error::TreeError;
use super::fetch::{Answer, Want};
use super::folders::Landing;
use super::listing::Listing;
use super::node::NodeKey;
use super::round::{Round, Step};
use crate::api::{
    ApiError, ErrorKind, FileListing, FolderId, FolderListing, LISTING_CAP, Reached, SentSpan,
    UnixSeconds,
};
use crate::util::clock::Moment;
use crate::util::sync::lock;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long changes may go unseen that neither the newest dates nor the number of files betray: a
/// file renamed, or one removed and another moved in.
const ROUND_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Large folders shown in a snapshot; more are rare, and the answer stays readable.
const SHOWN: usize = 32;

/// The large folders, by id.
pub(super) type LargeFolders = HashMap<FolderId, Large>;

/// What is remembered of one large folder.
#[derive(Debug, Default)]
pub(super) struct Large {
    /// When it was listed whole last.
    rounded: Option<Moment>,
    /// The listing under way.
    round: Option<Round>,
    /// The last listing could not show all of it.
    is_part: bool,
}

/// How far the listing of a large folder has come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LargeSnapshot {
    /// The folder's number.
    pub folder: u64,
    /// Files found so far.
    pub found: usize,
    /// Files it holds, as the service says.
    pub expected: Option<u64>,
    /// Slices known.
    pub slices: usize,
    /// Slices to come, as far as is known now; each takes 30 s.
    pub slices_left: usize,
    /// Whether the last listing could not show all of it.
    pub is_part: bool,
}

impl Tree {
    /// Whether a folder is known to be too large for one listing.
    pub(super) fn is_large(&self, folder: FolderId) -> bool {
        lock(&self.inner.large).contains_key(&folder)
    }

    /// How far the listings of large folders have come, and which are known in part only.
    pub(super) fn large_snapshot(&self) -> Vec<LargeSnapshot> {
        let large = lock(&self.inner.large);
        let mut shown: Vec<LargeSnapshot> = large
            .iter()
            .filter(|(_, it)| it.round.is_some() || it.is_part)
            .map(|(folder, it)| {
                let progress = it.round.as_ref().map(Round::progress);
                let (found, expected, slices, slices_left) = progress.unwrap_or_default();
                LargeSnapshot {
                    folder: folder.0,
                    found,
                    expected,
                    slices,
                    slices_left,
                    is_part: it.is_part,
                }
            })
            .collect();
        shown.sort_unstable_by_key(|it| it.folder);
        shown.truncate(SHOWN);
        shown
    }

    /// Forgets a folder's state, because it is gone or small again.
    pub(super) fn forget_large(&self, folder: FolderId) {
        lock(&self.inner.large).remove(&folder);
    }

    /// The service refused to list a folder without a word we know. If that is because of its size,
    /// lists it in slices; else that error it is.
    pub(super) async fn list_refused(
        &self,
        folder: FolderId,
        landing: &mut Landing,
        want: &mut Want,
        refusal: TreeError,
    ) -> Result<Answer, TreeError> {
        let Ok(head) = self.head(folder, landing, want).await else {
            return Err(refusal);
        };
        if head.file_count.is_none() || fits(&head) {
            return Err(refusal);
        }
        self.list_slices(folder, Some(head), None, landing, want)
            .await
    }

    /// Looks at a large folder again, or goes on listing it; `None` when it is not large any more.
    pub(super) async fn list_large(
        &self,
        folder: FolderId,
        old: Option<&Listing>,
        landing: &mut Landing,
        want: &mut Want,
    ) -> Result<Option<Answer>, TreeError> {
        let (under_way, rounded) = {
            let large = lock(&self.inner.large);
            let state = large.get(&folder);
            let under_way = state.is_some_and(|it| it.round.is_some());
            (under_way, state.and_then(|it| it.rounded))
        };
        if under_way {
            let answer = self.list_slices(folder, None, old, landing, want).await;
            return answer.map(Some);
        }
        let head = self.head(folder, landing, want).await?;
        if fits(&head) {
            self.forget_large(folder);
            return Ok(None);
        }
        let now = self.inner.clock.now();
        let is_recent = rounded.is_some_and(|rounded| now.since(rounded) < ROUND_AGAIN);
        if let Some(old) = old.filter(|_| is_recent)
            && let Some(answer) = self.catch_up(folder, &head, old, landing, want).await?
        {
            return Ok(Some(answer));
        }
        let answer = self
            .list_slices(folder, Some(head), old, landing, want)
            .await;
        answer.map(Some)
    }

    /// Asks for what is newer than the newest known; `None` when that does not explain how many files
    /// there are now.
    async fn catch_up(
        &self,
        folder: FolderId,
        head: &FolderListing,
        old: &Listing,
        landing: &mut Landing,
        want: &mut Want,
    ) -> Result<Option<Answer>, TreeError> {
        let (Some(count), Some(newest)) = (head.file_count, dates(old).into_iter().max()) else {
            return Ok(None);
        };
        let span = SentSpan {
            after: Some(newest.saturating_sub(1)),
            before: None,
        };
        let Some(newer) = self.slice(folder, span, landing, want).await? else {
            return Ok(None);
        };
        let mut all: HashSet<NodeKey> = old
            .entries()
            .iter()
            .filter(|node| !node.is_folder())
            .map(|node| node.key())
            .collect();
        all.extend(newer.files.iter().map(|it| NodeKey::File(it.url.id())));
        let fits = !newer.is_cut(LISTING_CAP) && count == all.len() as u64;
        // A part that is known to be one holds whatever it holds until it is listed again.
        if !fits && old.is_complete() {
            return Ok(None);
        }
        let mut listing = head.clone();
        listing.files = newer.files;
        Ok(Some(Answer::Newer {
            is_whole: fits && old.is_complete() && !head.are_folders_cut(),
            listing,
        }))
    }

    /// Lists a folder slice by slice: goes on with what was begun, else begins with `cut`.
    pub(super) async fn list_slices(
        &self,
        folder: FolderId,
        mut cut: Option<FolderListing>,
        old: Option<&Listing>,
        landing: &mut Landing,
        want: &mut Want,
    ) -> Result<Answer, TreeError> {
        loop {
            let step = {
                let mut large = lock(&self.inner.large);
                let state = large.entry(folder).or_default();
                let round = state.round.get_or_insert_with(|| {
                    let known = old.map(dates).unwrap_or_default();
                    Round::new(cut.take(), known, self.now())
                });
                round.next()
            };
            match step {
                Step::Head => {
                    let head = self.head(folder, landing, want).await?;
                    self.with_round(folder, |round| round.take_head(head));
                }
                Step::Slice(slice) => {
                    let answer = self.slice(folder, slice.sent(), landing, want).await?;
                    self.with_round(folder, |round| round.take_slice(answer));
                }
                Step::Done => break,
            }
        }
        let mut large = lock(&self.inner.large);
        let state = large.entry(folder).or_default();
        let finished = state.round.take().and_then(Round::finish);
        let (listing, is_whole) = finished.ok_or(TreeError::Interrupted(folder))?;
        if !is_whole && listing.files.is_empty() {
            // The service shows nothing at all of a folder that it says is full.
            large.remove(&folder);
            let detail = "more files than the service shows";
            let refusal = ApiError::new(ErrorKind::Refused, "file/ls", Reached::Answered, detail);
            return Err(TreeError::of_call(folder, refusal));
        }
        state.rounded = Some(self.inner.clock.now());
        state.is_part = !is_whole;
        Ok(if is_whole {
            Answer::Whole(listing)
        } else {
            Answer::Part(listing)
        })
    }

    fn with_round(&self, folder: FolderId, work: impl FnOnce(&mut Round)) {
        if let Some(state) = lock(&self.inner.large).get_mut(&folder)
            && let Some(round) = &mut state.round
        {
            work(round);
        }
    }

    async fn head(
        &self,
        folder: FolderId,
        landing: &mut Landing,
        want: &mut Want,
    ) -> Result<FolderListing, TreeError> {
        let client = &self.inner.client;
        let call = |ask| async move { client.list_sub_folders(&ask, folder).await };
        self.ask(folder, landing, want, call)
            .await
            .map_err(|error| TreeError::of_call(folder, error))
    }

    /// The files of a span; `None` when the service refuses, as it may do when they are too many.
    async fn slice(
        &self,
        folder: FolderId,
        span: SentSpan,
        landing: &mut Landing,
        want: &mut Want,
    ) -> Result<Option<FileListing>, TreeError> {
        let client = &self.inner.client;
        let call = |ask| async move { client.list_files(&ask, folder, span).await };
        match self.ask(folder, landing, want, call).await {
            Ok(files) => Ok(Some(files)),
            Err(error) if error.kind == ErrorKind::Refused => Ok(None),
            Err(error) => Err(TreeError::of_call(folder, error)),
        }
    }
}

/// Whether one listing shows all of a folder with this head.
fn fits(head: &FolderListing) -> bool {
    let all = head
        .file_count
        .map(|files| files.saturating_add(head.folders.len() as u64));
    all.is_some_and(|all| all < LISTING_CAP as u64)
}

/// The upload dates in a listing.
fn dates(listing: &Listing) -> Vec<UnixSeconds> {
    let files = listing.entries().iter().filter_map(|node| node.file());
    files.filter_map(|file| file.uploaded).collect()
}
