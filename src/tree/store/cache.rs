//! The store of what the account can tell again: listings, places and dates of folders.
//!
//! Promises: a listing is there whole, as it was put, or not at all; what is damaged or of another
//! format is thrown away and said. A commit takes a batch or nothing of it. Bounded memory. Blocks for
//! the disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `listings` | folder | its listing |
//! | `folders` | folder | place, date of change, age of its listing |
//! | `places` | inode number of a file | the folder that showed it last |
//! | `roots` | path | the folder it led to |
//! | `meta` | name | format, owner |
use super::account::Owner;
use super::error::StoreError;
use super::record::{self, FolderRecord, StoredListing};
use super::shelf::{Shelf, remove};
use crate::api::FolderId;
use crate::tree::inode::Ino;
use crate::tree::listing::Listing;
use crate::tree::root::RootFolder;
use crate::util::sync::lock;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Format of everything below; a store of another one is thrown away.
const FORMAT: u32 = 1;

/// Bytes of memory for pages: a batch of a few hundred listings is written without going to the disk
/// twice, and a million entries are still read at 4 us a listing (measured; the system caches the rest).
const MEMORY: usize = 8 << 20;

const LISTINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("listings");
const FOLDERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("folders");
const PLACES: TableDefinition<'_, u64, u64> = TableDefinition::new("places");
const ROOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("roots");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Names in `meta`.
const META_FORMAT: &str = "format";
const META_OWNER: &str = "owner";

/// What is to be written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Listings that came; `None` for a folder that is gone.
    pub(super) listings: HashMap<FolderId, Option<Kept>>,
    /// What is remembered of folders.
    pub(super) folders: HashMap<FolderId, FolderRecord>,
    /// Where files are by these listings, by inode number.
    pub(super) places: HashMap<Ino, FolderId>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.listings.is_empty() && self.folders.is_empty()
    }
}

/// A listing to be kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) listing: Arc<Listing>,
    /// When it was asked for, since 1970.
    pub(super) fetched: Duration,
}

/// The file.
#[derive(Debug)]
pub(super) struct CacheStore {
    shelf: Shelf,
    owner: Mutex<Option<Owner>>,
    /// How often it was thrown away.
    rebuilt: AtomicU32,
}

impl CacheStore {
    /// Opens the store at `path`, or makes one.
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let mut rebuilt = 0;
        let shelf = match Shelf::open(path.clone(), MEMORY) {
            Err(StoreError::Damaged { detail, .. }) => {
                log::warn!(
                    "the stored tree {} is damaged ({detail}); it is thrown away and comes again \
                     from the account",
                    path.display()
                );
                rebuilt = 1;
                remove(&path, None).map_err(|source| StoreError::Io {
                    path: path.clone(),
                    source,
                })?;
                Shelf::open(path, MEMORY)?
            }
            other => other?,
        };
        let store = Self {
            shelf,
            owner: Mutex::new(None),
            rebuilt: AtomicU32::new(rebuilt),
        };
        match store.shelf.write(prepare) {
            Ok(Prepared::Ready(owner)) => *lock(&store.owner) = owner,
            Ok(Prepared::OtherFormat(found)) => {
                store.start_over(&format!("it has format {found}, this version has {FORMAT}"))?;
            }
            Err(error @ StoreError::Damaged { .. }) => store.start_over(&error.to_string())?,
            Err(error) => return Err(error),
        }
        Ok(store)
    }

    /// Whose tree it is, as far as is known.
    pub(super) fn owner(&self) -> Option<Owner> {
        lock(&self.owner).clone()
    }

    /// Notes whose tree it is; what is there of another account is thrown away.
    pub(super) fn claim(&self, owner: &Owner) -> Result<(), StoreError> {
        let is_same = self.owner().is_none_or(|known| known.is(owner));
        *lock(&self.owner) = Some(owner.clone());
        if is_same {
            self.shelf.write(|to| note_owner(to, owner))
        } else {
            self.start_over("it is that of another account")
        }
    }

    /// Everything is forgotten.
    pub(super) fn start_over(&self, why: &str) -> Result<(), StoreError> {
        log::warn!(
            "the stored tree {} is thrown away and comes again from the account: {why}",
            self.shelf.path().display()
        );
        self.rebuilt.fetch_add(1, Ordering::Relaxed);
        self.shelf.replace(None)?;
        let owner = self.owner();
        self.shelf.write(|to| {
            prepare(to)?;
            owner.map_or(Ok(()), |owner| note_owner(to, &owner))
        })
    }

    /// How often everything was forgotten.
    pub(super) fn rebuilt(&self) -> u32 {
        self.rebuilt.load(Ordering::Relaxed)
    }

    /// Bytes on disk.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        self.shelf.bytes_on_disk()
    }

    /// The listing of `folder`. A damaged one counts as none and is removed.
    pub(super) fn listing(&self, folder: FolderId) -> Option<StoredListing> {
        let record = self.ask(|from| {
            let table = from.open_table(LISTINGS)?;
            let record = table.get(folder.0)?;
            Ok(record.map(|record| record.value().to_vec()))
        })??;
        let listing = record::read_listing(folder, &record);
        if listing.is_none() {
            log::warn!("the stored listing of folder {folder} is damaged; it is asked for again");
            self.settle(self.shelf.write(|to| {
                to.open_table(LISTINGS)?.remove(folder.0)?;
                Ok(())
            }));
        }
        listing
    }

    /// The folders that showed these files last.
    pub(super) fn places(&self, files: &[Ino]) -> Option<Vec<Option<FolderId>>> {
        self.ask(|from| {
            let table = from.open_table(PLACES)?;
            files
                .iter()
                .map(|ino| Ok(table.get(ino.get())?.map(|place| FolderId(place.value()))))
                .collect()
        })
    }

    /// All folders. Damaged records count as none.
    pub(super) fn folders(&self) -> Vec<(FolderId, FolderRecord)> {
        let all = self.ask(|from| {
            let mut all = Vec::new();
            for entry in from.open_table(FOLDERS)?.iter()? {
                let (folder, record) = entry?;
                let folder = FolderId(folder.value());
                all.extend(
                    record::read_folder_record(folder, record.value())
                        .map(|record| (folder, record)),
                );
            }
            Ok(all)
        });
        all.unwrap_or_default()
    }

    /// The folder that `path` of the account led to.
    pub(super) fn root(&self, path: &str) -> Option<RootFolder> {
        let record = self.ask(|from| {
            let table = from.open_table(ROOTS)?;
            let record = table.get(path)?;
            Ok(record.map(|record| record.value().to_vec()))
        })??;
        record::read_root(path, &record)
    }

    /// All folders that paths of the account led to. Damaged records count as none.
    pub(super) fn roots(&self) -> Vec<(String, RootFolder)> {
        let all = self.ask(|from| {
            let mut all = Vec::new();
            for entry in from.open_table(ROOTS)?.iter()? {
                let (path, record) = entry?;
                let root = record::read_root(path.value(), record.value());
                all.extend(root.map(|root| (path.value().to_owned(), root)));
            }
            Ok(all)
        });
        all.unwrap_or_default()
    }

    /// Notes the folder that `path` leads to.
    pub(super) fn keep_root(&self, path: &str, root: &RootFolder) {
        self.settle(self.shelf.write(|to| {
            to.open_table(ROOTS)?
                .insert(path, &*record::root(path, root))?;
            Ok(())
        }));
    }

    /// Writes a batch; on disk when this returns.
    pub(super) fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let outcome = self.shelf.write(|to| {
            let mut tables = Tables {
                listings: to.open_table(LISTINGS)?,
                folders: to.open_table(FOLDERS)?,
                places: to.open_table(PLACES)?,
            };
            // The newest last: a file that two listings show is where the newer one says.
            let mut listings: Vec<_> = batch.listings.iter().collect();
            listings.sort_unstable_by_key(|(_, kept)| kept.as_ref().map(|kept| kept.fetched));
            for (folder, kept) in listings {
                match kept {
                    Some(kept) => tables.put(*folder, kept)?,
                    None => tables.remove(*folder)?,
                }
            }
            for (folder, record) in &batch.folders {
                tables.note(*folder, record)?;
            }
            Ok(())
        });
        if let Err(error @ StoreError::Damaged { .. }) = &outcome {
            self.start_over(&error.to_string())?;
        }
        outcome
    }

    /// A question whose answer may be missing: the account knows it, too.
    fn ask<T>(
        &self,
        question: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Option<T> {
        self.settle(self.shelf.read(question))
    }

    fn settle<T>(&self, outcome: Result<T, StoreError>) -> Option<T> {
        match outcome {
            Ok(answer) => return Some(answer),
            Err(error @ StoreError::Damaged { .. }) => {
                if let Err(error) = self.start_over(&error.to_string()) {
                    log::warn!("{error}");
                }
            }
            Err(error) => log::warn!("{error}"),
        }
        None
    }
}

/// What was found when a store was opened.
enum Prepared {
    Ready(Option<Owner>),
    OtherFormat(u32),
}

/// Makes the tables of a new store, looks at those of an old one.
fn prepare(to: &WriteTransaction) -> Result<Prepared, redb::Error> {
    let mut meta = to.open_table(META)?;
    let format = meta.get(META_FORMAT)?.map(|format| format.value().to_vec());
    let Some(format) = format else {
        meta.insert(META_FORMAT, &FORMAT.to_le_bytes()[..])?;
        drop(meta);
        to.open_table(LISTINGS)?;
        to.open_table(FOLDERS)?;
        to.open_table(PLACES)?;
        to.open_table(ROOTS)?;
        return Ok(Prepared::Ready(None));
    };
    let format = <[u8; 4]>::try_from(&*format).map_or(u32::MAX, u32::from_le_bytes);
    if format != FORMAT {
        return Ok(Prepared::OtherFormat(format));
    }
    let owner = meta.get(META_OWNER)?;
    Ok(Prepared::Ready(
        owner.and_then(|record| Owner::read(record.value())),
    ))
}

fn note_owner(to: &WriteTransaction, owner: &Owner) -> Result<(), redb::Error> {
    to.open_table(META)?.insert(META_OWNER, &*owner.record())?;
    Ok(())
}

/// The tables a batch goes to.
struct Tables<'a> {
    listings: Table<'a, u64, &'static [u8]>,
    folders: Table<'a, u64, &'static [u8]>,
    places: Table<'a, u64, u64>,
}

impl Tables<'_> {
    fn put(&mut self, folder: FolderId, kept: &Kept) -> Result<(), redb::Error> {
        let now: HashSet<Ino> = numbers(&kept.listing).collect();
        for gone in self.files_of(folder)?.difference(&now) {
            self.displace(*gone, folder)?;
        }
        for ino in now {
            // Reading is cheap, writing copies a page.
            let known = self.places.get(ino.get())?.map(|place| place.value());
            if known != Some(folder.0) {
                self.places.insert(ino.get(), folder.0)?;
            }
        }
        let record = record::listing(&kept.listing, kept.fetched);
        self.listings.insert(folder.0, &*record)?;
        Ok(())
    }

    fn remove(&mut self, folder: FolderId) -> Result<(), redb::Error> {
        for gone in self.files_of(folder)? {
            self.displace(gone, folder)?;
        }
        self.listings.remove(folder.0)?;
        self.folders.remove(folder.0)?;
        Ok(())
    }

    fn note(&mut self, folder: FolderId, record: &FolderRecord) -> Result<(), redb::Error> {
        let record = record::folder(folder, record);
        let is_known = self
            .folders
            .get(folder.0)?
            .is_some_and(|known| known.value() == record);
        if !is_known {
            self.folders.insert(folder.0, &*record)?;
        }
        Ok(())
    }

    /// The files that the listing on disk shows; none when it is damaged.
    fn files_of(&self, folder: FolderId) -> Result<HashSet<Ino>, redb::Error> {
        let record = self.listings.get(folder.0)?;
        let listing = record.and_then(|record| record::read_listing(folder, record.value()));
        Ok(listing.iter().flat_map(record::file_numbers).collect())
    }

    /// The file is not in `folder` any more.
    fn displace(&mut self, file: Ino, folder: FolderId) -> Result<(), redb::Error> {
        let known = self.places.get(file.get())?.map(|place| place.value());
        if known == Some(folder.0) {
            self.places.remove(file.get())?;
        }
        Ok(())
    }
}

/// The inode numbers derived from the ids of a listing's files.
pub(super) fn numbers(listing: &Listing) -> impl Iterator<Item = Ino> {
    let files = listing.entries().iter().filter(|node| !node.is_folder());
    files.filter_map(|node| Ino::of(node.key()))
}
