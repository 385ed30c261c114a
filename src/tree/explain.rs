//! How fresh what is known of a folder is, for `fichierfs explain`. Asks nobody.
use super::{Ino, Tree};
use std::time::Duration;

/// Where a folder's listing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingPlace {
    /// In memory.
    Memory {
        /// Since the service said so.
        age: Duration,
        /// Entries.
        entries: usize,
        /// Whether that is all there is.
        is_complete: bool,
    },
    /// On disk.
    Disk,
    /// Nowhere.
    None,
}

impl Tree {
    /// Where the listing of a folder is.
    pub fn listing_place(&self, folder: Ino) -> ListingPlace {
        let Some(id) = self.id_of(folder) else {
            return ListingPlace::None;
        };
        if let Some(known) = self.inner.cache.get(id) {
            return ListingPlace::Memory {
                age: self.inner.clock.now().since(known.fetched()),
                entries: known.entries().len(),
                is_complete: known.is_complete(),
            };
        }
        if self.is_kept(id) {
            ListingPlace::Disk
        } else {
            ListingPlace::None
        }
    }

    /// Age from which a listing is looked at again.
    pub fn fresh_for(&self) -> Duration {
        self.inner.settings.dir_cache_time
    }
}
