//! Filling a store with answers that were not asked for through a tree: how large trees come into
//! being for measurements.
use super::cache::{Batch, Kept};
use super::{FolderRecord, Store, StoreError};
use crate::api::{FolderId, FolderListing};
use crate::tree::inode::Ino;
use crate::tree::listing::{Listing, Surroundings};
use crate::tree::node::NodeKey;
use crate::tree::numbering::Numbering;
use crate::util::clock::Clock;
use std::collections::HashMap;
use std::sync::Arc;

/// Listings in one commit.
const AT_ONCE: usize = 256;

impl Store {
    /// Keeps answers of `folder/ls`, a folder's before those of the folders in it, as if they had just
    /// come. Returns the number of entries. Blocks for the disk.
    pub fn fill(
        &self,
        answers: impl IntoIterator<Item = FolderListing>,
    ) -> Result<u64, StoreError> {
        let mut parents: HashMap<FolderId, FolderId> = HashMap::new();
        let mut batch = Batch::default();
        let mut entries = 0;
        for answer in answers {
            let kept = self.fill_in(&answer);
            let folder = answer.folder;
            let count = kept.listing.entries().len();
            entries += count as u64;
            for below in &answer.folders {
                parents.insert(below.id, folder);
                let record = FolderRecord {
                    parent: Some(folder),
                    ..FolderRecord::default()
                };
                batch.folders.insert(below.id, record);
            }
            let record = FolderRecord {
                parent: parents.get(&folder).copied(),
                changed: kept.listing.newest(),
                entries: u32::try_from(count).unwrap_or(u32::MAX),
                fetched: Some(kept.fetched),
            };
            batch.folders.insert(folder, record);
            batch.listings.insert(folder, Some(kept));
            if batch.listings.len() >= AT_ONCE {
                self.inner
                    .writer
                    .cache()
                    .commit(&std::mem::take(&mut batch))?;
            }
        }
        self.inner.writer.cache().commit(&batch)?;
        Ok(entries)
    }

    fn fill_in(&self, answer: &FolderListing) -> Kept {
        let clock: Clock = self.inner.clock;
        let around = Surroundings {
            ino: Ino::of(NodeKey::Folder(answer.folder)).unwrap_or(Ino::ROOT),
            number: &|key, taken| Ino::of(key).filter(|ino| !taken(*ino)),
            numbering: &Numbering::default(),
            fetched: clock.now(),
            kept: &[],
            is_complete: !answer.is_cut(),
        };
        Kept {
            listing: Arc::new(Listing::build(answer, &around).0),
            fetched: clock.unix(),
        }
    }
}
