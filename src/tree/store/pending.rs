//! What the outbox writes down: groups of changes that are taken in at once, and what is read back. The
//! store knows where they belong, not what they say. Pure.
use crate::api::{FileId, FolderId};
use crate::tree::inode::Ino;

/// Changes that are on disk together, or not at all. `None` removes a record.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What the account has to be told, by inode number.
    pub pending: Vec<(u64, Option<Vec<u8>>)>,
    /// Versions of files that the account does not have, by number.
    pub contents: Vec<(u64, Option<Vec<u8>>)>,
    /// What the account was told and its listings may not show yet, by inode number.
    pub recent: Vec<(u64, Option<Vec<u8>>)>,
    /// Files that are in the account now, with the inode numbers they keep.
    pub files: Vec<(FileId, Ino)>,
    /// Files that are gone from the account: no number is kept for them.
    pub gone: Vec<FileId>,
    /// Folders that are in the account now, with the inode numbers they keep.
    pub folders: Vec<(FolderId, Ino)>,
    /// Folders that are gone from the account: no number is kept for them.
    pub folders_gone: Vec<FolderId>,
    /// Attributes that the account cannot hold, by inode number.
    pub locals: Vec<(u64, Option<Vec<u8>>)>,
    /// The next number that was never used.
    pub next: Option<u64>,
}

impl Commit {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
            && self.contents.is_empty()
            && self.files.is_empty()
            && self.gone.is_empty()
            && self.folders.is_empty()
            && self.folders_gone.is_empty()
            && self.locals.is_empty()
            && self.recent.is_empty()
            && self.next.is_none()
    }
}

/// What was written down and is not told yet.
#[derive(Debug, Clone, Default)]
pub struct Pending {
    /// What the account has to be told, by inode number.
    pub pending: Vec<(u64, Vec<u8>)>,
    /// Numbers of the versions that are kept.
    pub contents: Vec<u64>,
    /// What it was told and may not show yet, by inode number.
    pub recent: Vec<(u64, Vec<u8>)>,
    /// Folders made here, with their inode numbers.
    pub folders: Vec<(FolderId, Ino)>,
    /// The next number that was never used.
    pub next: u64,
}
