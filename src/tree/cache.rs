//! The listings in memory: bounded in bytes, least recently used out first.
//!
//! Lifetimes are not the cache's business: a listing of any age is worth more than a call.
use super::listing::Listing;
use crate::api::FolderId;
use moka::policy::EvictionPolicy;
use std::sync::Arc;

/// Least memory for listings in bytes: the largest usual listing (5000 files with long names take
/// 2.5 MB) must fit several times, or a folder would be listed again for every look at it.
pub(super) const LEAST_BYTES: u64 = 16 << 20;

/// No listing counts as more than that share of the memory: a larger one could never stay, and each
/// look at its folder would take minutes of calls again.
const LARGEST_SHARE: u64 = 4;

/// The memory counts as full for what nobody asked for when less than that share of it is free.
const FREE_SHARE: u64 = 4;

/// Listings by folder.
#[derive(Debug)]
pub(super) struct ListingCache {
    listings: moka::sync::Cache<FolderId, Arc<Listing>>,
    bytes: u64,
}

impl ListingCache {
    /// A cache of about `bytes` bytes, at least [`LEAST_BYTES`].
    pub(super) fn new(bytes: u64) -> Self {
        let bytes = bytes.max(LEAST_BYTES);
        let largest = u32::try_from(bytes / LARGEST_SHARE).unwrap_or(u32::MAX);
        let listings = moka::sync::Cache::builder()
            .max_capacity(bytes)
            .weigher(move |_, listing: &Arc<Listing>| {
                u32::try_from(listing.weight()).map_or(largest, |weight| weight.min(largest))
            })
            // The default policy may turn a newcomer away when the cache is full; then the listing
            // just fetched would be gone, and the service would refuse it for the next 30 s.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { listings, bytes }
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

    /// Whether one more listing that nobody asked for would push out those that somebody did.
    pub(super) fn is_full(&self) -> bool {
        self.listings.run_pending_tasks();
        self.listings.weighted_size() > self.bytes - self.bytes / FREE_SHARE
    }

    /// Listings held and the bytes they take, about.
    pub(super) fn size(&self) -> (u64, u64) {
        // It counts when it tidies up, which is otherwise done now and then only.
        self.listings.run_pending_tasks();
        (self.listings.entry_count(), self.listings.weighted_size())
    }
}
