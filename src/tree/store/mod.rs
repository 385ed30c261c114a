//! What is known of the account, kept over restarts.
//!
//! ```text
//! Store ─▶ writer     groups what is to be written
//!           ├▶ cache     what the account can tell again      cache.redb     thrown away when damaged
//!           └▶ primary   what exists nowhere else             primary.redb   never thrown away
//!               ├▶ pending   changes to be told      (pure)
//!               ├▶ shelf     one database file and its failures
//!               ├▶ record    listings as bytes      (pure)
//!               └▶ account   whose it is            (pure)
//! ```
//!
//! Promises: one process at a time; a listing that was put is what the next reader gets, also before it
//! is on disk; a kill loses at most the last second of listings and no number that was ever shown;
//! memory is bounded. Reading blocks for the disk: a listing in the system's memory takes some
//! microseconds (measured: 4 us with a million entries), one that is not takes a disk's time, and nobody
//! can tell before, so nothing here may be asked on an event loop. Knows no call and no kernel.
mod account;
mod cache;
mod error;
mod fill;
mod pending;
mod primary;
mod record;
mod shelf;
mod writer;

#[cfg(test)]
mod tests;

pub use account::Owner;
pub use error::StoreError;
pub use pending::{Commit, Pending};
pub(super) use primary::Primary;
pub(super) use record::{FolderRecord, StoredListing};

use super::inode::Ino;
use super::listing::Listing;
use super::numbering::Numbering;
use super::root::RootFolder;
use crate::api::scheduler::Fingerprint;
use crate::api::{FileId, FolderId};
use crate::util::clock::Clock;
use cache::{CacheStore, Kept};
use primary::PrimaryStore;
use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// Figures for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct StoreSnapshot {
    /// Bytes on disk of what the account can tell again.
    pub cache_bytes: u64,
    /// Listings that are not on disk yet.
    pub unwritten: usize,
    /// How often the stored tree was thrown away since the mount began, because it was damaged or of
    /// another format.
    pub rebuilt: u32,
    /// Damaged records of what exists nowhere else that are set aside, now or earlier.
    pub damaged: u64,
    /// Whether the last attempt to write failed.
    pub is_failing: bool,
}

/// The stores of one account; cheap to clone. The last one to go writes what is left.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: Fingerprint,
    clock: Clock,
    primary: PrimaryStore,
    writer: Writer,
}

/// A listing that is kept.
#[derive(Debug)]
pub(super) enum Found {
    /// It is on its way to the disk.
    Waiting(Arc<Listing>),
    /// It was read.
    Read(StoredListing),
}

impl Store {
    /// Opens the stores of the account whose key has the fingerprint `key`, in the folder `dir`, which
    /// must exist. Blocks for the disk.
    pub fn open(dir: &Path, key: Fingerprint, clock: Clock) -> Result<Self, StoreError> {
        let primary = PrimaryStore::open(&dir.join("primary.redb"), clock)?;
        let cache = CacheStore::open(dir.join("cache.redb"))?;
        let writer = Writer::start(cache).map_err(|source| StoreError::Io {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                key,
                clock,
                primary,
                writer,
            }),
        })
    }

    /// Whether this is surely the tree of the account, because it was mounted with this key before. If
    /// not, the account must be asked who it is; see [`Store::claim`].
    pub fn is_known(&self) -> bool {
        let own = Owner::new(&self.inner.key, "");
        let is_own = |owner: Option<Owner>| owner.map(|owner| owner.is(&own));
        let cache = is_own(self.inner.writer.cache().owner());
        let primary = is_own(self.inner.primary.owner().ok().flatten());
        cache == Some(true) && primary != Some(false)
    }

    /// Whether the newest listing of a folder is not on disk yet, or could not be kept.
    pub fn is_waiting(&self, folder: FolderId) -> bool {
        self.inner.writer.is_waiting(folder)
    }

    /// Whether it was last claimed with another key, so that only the account's mail address can tell
    /// whether it is the same account.
    pub fn is_of_another_key(&self) -> bool {
        let own = Owner::new(&self.inner.key, "");
        let owners = [
            self.inner.writer.cache().owner(),
            self.inner.primary.owner().ok().flatten(),
        ];
        owners.into_iter().flatten().any(|owner| !owner.is(&own))
    }

    /// Whose it is, as far as is known. Blocks for the disk.
    pub fn owner(&self) -> Option<Owner> {
        let cache = || self.inner.writer.cache().owner();
        self.inner.primary.owner().ok().flatten().or_else(cache)
    }

    /// Notes that it is the account with this mail address. What is kept of another account is thrown
    /// away if that account can tell it again, and else is a reason to refuse. Blocks for the disk.
    pub fn claim(&self, email: &str) -> Result<(), StoreError> {
        let owner = Owner::new(&self.inner.key, email);
        self.inner.primary.claim(&owner)?;
        self.inner.writer.cache().claim(&owner)
    }

    /// The folder that `path` of the account led to when it was last looked for. Blocks for the disk.
    pub fn root(&self, path: &str) -> Option<RootFolder> {
        self.inner.writer.cache().root(path)
    }

    /// All folders that were looked for by a path, with it. Blocks for the disk.
    pub fn roots(&self) -> Vec<(String, RootFolder)> {
        self.inner.writer.cache().roots()
    }

    /// Notes the folder that `path` leads to. Blocks for the disk.
    pub fn keep_root(&self, path: &str, root: &RootFolder) {
        self.inner.writer.cache().keep_root(path, root);
    }

    /// Whether a listing of `folder` is kept. Blocks for the disk.
    pub fn has_listing(&self, folder: FolderId) -> bool {
        self.listing(folder).is_some()
    }

    /// Waits until everything put so far is on disk, or could not be written.
    pub async fn flush(&self) {
        self.inner.writer.flush().await;
    }

    /// Figures now. Blocks for a look at the file's size.
    pub fn snapshot(&self) -> StoreSnapshot {
        let cache = self.inner.writer.cache();
        StoreSnapshot {
            cache_bytes: cache.bytes_on_disk(),
            unwritten: self.inner.writer.waiting(),
            rebuilt: cache.rebuilt(),
            damaged: self.inner.primary.damaged(),
            is_failing: self.inner.writer.is_failing(),
        }
    }

    /// Takes changes in that the account has not been told of, all of them or none; on disk when this
    /// returns. Blocks for the disk.
    pub fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.inner.primary.commit(commit)
    }

    /// What was taken in and is not told yet. Blocks for the disk.
    pub fn pending(&self) -> Result<Pending, StoreError> {
        self.inner.primary.pending()
    }

    /// A version of a file that is kept. Blocks for the disk.
    pub fn content(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.primary.content(number)
    }

    /// Whether something that exists nowhere else was damaged, now or earlier.
    pub fn is_damaged(&self) -> bool {
        self.inner.primary.damaged() > 0
    }

    /// What exists nowhere else. Blocks for the disk.
    pub(super) fn primary(&self) -> Result<Primary, StoreError> {
        self.inner.primary.all()
    }

    /// What is remembered of all folders. Blocks for the disk.
    pub(super) fn folders(&self) -> Vec<(FolderId, FolderRecord)> {
        self.inner.writer.cache().folders()
    }

    /// The listing of `folder` that was put last. Blocks for the disk.
    pub(super) fn listing(&self, folder: FolderId) -> Option<Found> {
        self.inner.writer.listing(folder)
    }

    /// The folders that showed these files last, in their order; files go by the inode number derived
    /// from their id. Blocks for the disk.
    pub(super) fn places(&self, files: &[Ino]) -> Vec<Option<FolderId>> {
        self.inner.writer.places(files)
    }

    /// Keeps listings, and what is remembered of folders since: all of it or nothing.
    pub(super) fn put(
        &self,
        listings: Vec<Arc<Listing>>,
        folders: impl IntoIterator<Item = (FolderId, FolderRecord)>,
    ) {
        let kept = listings.into_iter().map(|listing| Kept {
            fetched: self.inner.clock.unix_at(listing.fetched()),
            listing,
        });
        self.inner.writer.put(kept, folders);
    }

    /// Forgets a folder that is gone.
    pub(super) fn remove(&self, folder: FolderId) {
        self.inner.writer.remove(folder);
    }

    /// Keeps the numbers of duplicates; on disk when this returns, since nobody else knows them. Blocks
    /// for the disk.
    pub(super) fn put_numbering(&self, folder: FolderId, numbering: &Numbering) {
        if let Err(error) = self.inner.primary.put_numbering(folder, numbering) {
            log::error!(
                "{error}; entries of folder {folder} that bear the same name may swap their numbers \
                 after a restart"
            );
        }
    }

    /// Keeps inode numbers that are not derived; on disk when this returns. Blocks for the disk.
    pub(super) fn put_displaced(&self, files: &[(FileId, Ino)]) {
        if let Err(error) = self.inner.primary.put_displaced(files) {
            log::error!(
                "{error}; {} inode numbers may change after a restart",
                files.len()
            );
        }
    }
}
