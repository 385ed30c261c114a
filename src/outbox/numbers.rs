//! Numbers that are given out once, over all lives of the store.
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that were never used. Without a lock, so that whoever holds one may ask. What is written down with a
/// number, or after it was given out, comes with the mark that it is used.
#[derive(Debug)]
pub(super) struct Numbers {
    next: AtomicU64,
    /// The mark that was written down last.
    marked: AtomicU64,
}

impl Numbers {
    pub(super) fn after(next: u64) -> Self {
        Self {
            next: AtomicU64::new(next),
            marked: AtomicU64::new(next),
        }
    }

    /// A number that was never used.
    pub(super) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The mark to write down, unless it is.
    pub(super) fn take(&self) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        (self.marked.swap(next, Ordering::Relaxed) != next).then_some(next)
    }

    /// The mark could not be written down.
    pub(super) fn put_back(&self) {
        self.marked.store(0, Ordering::Relaxed);
    }
}
