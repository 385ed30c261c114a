//! What is to be written down next, beside the entries. Pure.
//!
//! Promises: of each inode's attributes, and of what the account was told of it, the last counts, also when a commit
//! fails and its content goes into the next; what came and went between two commits is never written.
use super::numbers::Numbers;
use crate::api::{FileId, FolderId};
use crate::tree::{Commit, Ino, Local};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All that was not written down yet, but for the entries.
#[derive(Debug)]
pub(super) struct Draft {
    numbers: Arc<Numbers>,
    /// What has no other place here.
    rest: Commit,
    /// Attributes, the last of each inode.
    locals: BTreeMap<u64, Option<Vec<u8>>>,
    /// What the account was told and may not show yet.
    recent: BTreeMap<u64, Option<Vec<u8>>>,
}

impl Draft {
    /// With the first number that was never used.
    pub(super) fn after(next: u64) -> Self {
        Self {
            numbers: Arc::new(Numbers::after(next)),
            rest: Commit::default(),
            locals: BTreeMap::new(),
            recent: BTreeMap::new(),
        }
    }

    /// Where numbers that were never used come from.
    pub(super) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    /// The record of a version.
    pub(super) fn content(&mut self, version: u64, record: Vec<u8>) {
        self.rest.contents.push((version, Some(record)));
    }

    /// What is kept of an inode's attributes, or that nothing is.
    pub(super) fn local(&mut self, ino: Ino, local: Option<&Local>) {
        self.locals.insert(ino.get(), local.map(Local::record));
    }

    /// What the account was told of an inode, or that nothing need be remembered.
    pub(super) fn recent(&mut self, ino: Ino, record: Option<Vec<u8>>) {
        self.recent.insert(ino.get(), record);
    }

    /// A file has an inode's number.
    pub(super) fn file(&mut self, file: FileId, ino: Ino) {
        self.rest.files.push((file, ino));
    }

    /// A folder has an inode's number.
    pub(super) fn folder(&mut self, folder: FolderId, ino: Ino) {
        self.rest.folders.push((folder, ino));
    }

    /// A file is gone from the account.
    pub(super) fn gone(&mut self, file: FileId) {
        self.rest.gone.push(file);
    }

    /// A folder that was made here is gone from the account.
    pub(super) fn folder_gone(&mut self, folder: FolderId) {
        self.rest.folders_gone.push(folder);
    }

    /// All of it, with these entries, and without the contents of versions that are of no use any more.
    pub(super) fn take(
        &mut self,
        entries: impl Iterator<Item = (u64, Option<Vec<u8>>)>,
        released: &[u64],
    ) -> Commit {
        let mut commit = std::mem::take(&mut self.rest);
        commit.next = self.numbers.take();
        commit.pending.extend(entries);
        commit.locals = std::mem::take(&mut self.locals).into_iter().collect();
        commit.recent = std::mem::take(&mut self.recent).into_iter().collect();
        commit.contents.retain(|(id, _)| !released.contains(id));
        let dropped = released.iter().map(|id| (*id, None));
        commit.contents.extend(dropped);
        commit
    }

    /// What could not be written down waits for the next commit, unless something newer does. The entries and what
    /// was released are told again by who has them.
    pub(super) fn put_back(&mut self, mut commit: Commit) {
        commit.contents.retain(|(_, record)| record.is_some());
        commit.contents.append(&mut self.rest.contents);
        commit.files.append(&mut self.rest.files);
        commit.gone.append(&mut self.rest.gone);
        commit.folders.append(&mut self.rest.folders);
        commit.folders_gone.append(&mut self.rest.folders_gone);
        for (key, record) in commit.locals.drain(..) {
            self.locals.entry(key).or_insert(record);
        }
        for (key, record) in commit.recent.drain(..) {
            self.recent.entry(key).or_insert(record);
        }
        self.numbers.put_back();
        commit.next = None;
        commit.pending.clear();
        self.rest = commit;
    }
}
