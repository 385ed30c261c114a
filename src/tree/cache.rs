//! The listings in memory: bounded in bytes, least recently used out first.
//!
//! Lifetimes are not the cache's business: a listing of any age is worth more than a call.
use super::listing::Listing;
use crate::api::FolderId;
use moka::policy::EvictionPolicy;
use std::sync::Arc;

/// Least memory for listings in bytes: the largest listing possible (5000 files with long names take
/// 2.5 MB) must fit several times, or a folder would be listed again for every look at it.
pub(super) const LEAST_BYTES: u64 = 16 << 20;

/// Listings by folder.
#[derive(Debug)]
pub(super) struct ListingCache {
    listings: moka::sync::Cache<FolderId, Arc<Listing>>,
}

impl ListingCache {
    /// A cache of about `bytes` bytes, at least [`LEAST_BYTES`].
    pub(super) fn new(bytes: u64) -> Self {
        let listings = moka::sync::Cache::builder()
            .max_capacity(bytes.max(LEAST_BYTES))
            .weigher(|_, listing: &Arc<Listing>| {
                u32::try_from(listing.weight()).unwrap_or(u32::MAX)
            })
            // The default policy may turn a newcomer away when the cache is full; then the listing
            // just fetched would be gone, and the service would refuse it for the next 30 s.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { listings }
    }

    pub(super) fn get(&self, folder: FolderId) -> Option<Arc<Listing>> {
        self.listings.get(&folder)
    }

    pub(super) fn insert(&self, listing: Arc<Listing>) {
        self.listings.insert(listing.folder(), listing);
    }

    pub(super) fn remove(&self, folder: FolderId) {
        self.listings.invalidate(&folder);
    }

    /// Listings held and the bytes they take, about.
    pub(super) fn size(&self) -> (u64, u64) {
        // It counts when it tidies up, which is otherwise done now and then only.
        self.listings.run_pending_tasks();
        (self.listings.entry_count(), self.listings.weighted_size())
    }
}
