//! One whole listing of a large folder as it grows, slice by slice.
//!
//! Promises: what comes out is the whole folder, every file once, or is known to be a part; every
//! step is one call; a step that fails costs nothing of what was gathered before. Pure.
use super::slices::{Plan, Shown, Slice};
use crate::api::{FileId, FileItem, FileListing, FolderListing, LISTING_CAP, UnixSeconds};
use std::collections::HashMap;

/// What to ask for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The sub-folders and the number of files.
    Head,
    /// The files of some dates.
    Slice(Slice),
    /// Nothing: it has come to its end.
    Done,
}

/// A listing of a large folder under way.
#[derive(Debug, Clone)]
pub(super) struct Round {
    /// Sub-folders and number of files, without the files.
    head: Option<FolderListing>,
    plan: Plan,
    /// Files of slices that were shown whole.
    files: HashMap<FileId, FileItem>,
    /// Files of answers that were cut: they exist, though perhaps not any more.
    glimpsed: HashMap<FileId, FileItem>,
    /// The head is younger than all slices.
    recounted: bool,
    /// How many files were found when the answers were doubted last.
    doubted: Option<usize>,
}

impl Round {
    /// Begins with an answer that was cut, if there was one, and the dates of files known before.
    /// Nothing in the folder is much newer than `now`.
    pub(super) fn new(
        cut: Option<FolderListing>,
        mut known: Vec<UnixSeconds>,
        now: UnixSeconds,
    ) -> Self {
        let mut glimpsed = HashMap::new();
        let head = cut.map(|mut head| {
            glimpsed = by_id(std::mem::take(&mut head.files));
            head
        });
        known.extend(glimpsed.values().filter_map(|file| file.uploaded));
        let count = head.as_ref().and_then(|head| head.file_count);
        Self {
            plan: Plan::new(&mut known, count, now, LISTING_CAP),
            head,
            files: HashMap::new(),
            glimpsed,
            recounted: false,
            doubted: None,
        }
    }

    /// What to ask for next.
    pub(super) fn next(&mut self) -> Step {
        loop {
            if let Some(slice) = self.plan.next() {
                return Step::Slice(slice);
            }
            if self.head.is_none() {
                return Step::Head;
            }
            if self.plan.is_hopeless() || !self.is_short(self.files.len()) {
                return Step::Done;
            }
            // Some may have been removed meanwhile: only a new count tells.
            if !self.recounted {
                return Step::Head;
            }
            let found = self.files.len();
            let dates: Vec<UnixSeconds> =
                self.files.values().filter_map(|it| it.uploaded).collect();
            if self.doubted.replace(found) == Some(found) || !self.plan.doubt(&dates) {
                self.plan.give_up();
            }
            self.recounted = false;
        }
    }

    /// Takes in the answer to [`Step::Head`].
    pub(super) fn take_head(&mut self, mut head: FolderListing) {
        head.files.clear();
        self.head = Some(head);
        self.recounted = self.plan.next().is_none();
    }

    /// Takes in the answer to [`Step::Slice`]; `None` when the service refused to show so many.
    pub(super) fn take_slice(&mut self, answer: Option<FileListing>) {
        let (Some(slice), Some(answer)) = (self.plan.next(), answer) else {
            return self.plan.take(Shown::Refused);
        };
        if answer.is_cut(self.plan.cap()) {
            let dates = answer.files.iter().filter_map(|file| file.uploaded);
            self.plan.take(Shown::Cut(dates.collect()));
            self.glimpsed.extend(by_id(answer.files));
            return;
        }
        let found = by_id(answer.files);
        if let Some(second) = slice.tight_second() {
            let mut known = self.files.values().chain(self.glimpsed.values());
            let lacks_one = known
                .any(|file| file.uploaded == Some(second) && !found.contains_key(&file.url.id()));
            if lacks_one || found.is_empty() {
                self.plan.give_up();
            }
        }
        self.plan.take(Shown::Whole(found.len()));
        self.files.extend(found);
    }

    /// Files found so far, how many there should be, slices known and slices to come.
    pub(super) fn progress(&self) -> (usize, Option<u64>, usize, usize) {
        let (done, todo) = self.plan.progress();
        (self.files.len(), self.count(), done, todo)
    }

    /// The folder and whether that is all of it; `None` before [`Step::Done`].
    pub(super) fn finish(mut self) -> Option<(FolderListing, bool)> {
        if self.next() != Step::Done {
            return None;
        }
        if self.plan.is_hopeless() {
            for (id, file) in std::mem::take(&mut self.glimpsed) {
                self.files.entry(id).or_insert(file);
            }
        }
        let counted = self.count().is_some() && !self.is_short(self.files.len());
        let mut listing = self.head?;
        let is_whole = !listing.are_folders_cut() && (counted || !self.plan.is_hopeless());
        listing.files = self.files.into_values().collect();
        Some((listing, is_whole))
    }

    fn count(&self) -> Option<u64> {
        self.head.as_ref().and_then(|head| head.file_count)
    }

    fn is_short(&self, found: usize) -> bool {
        self.count().is_some_and(|count| count > found as u64)
    }
}

fn by_id(files: Vec<FileItem>) -> HashMap<FileId, FileItem> {
    files
        .into_iter()
        .map(|file| (file.url.id(), file))
        .collect()
}

#[cfg(test)]
mod tests;
