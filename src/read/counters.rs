//! What reading did so far, for the status.
use crate::util::clock::Clock;
use crate::util::flow::Flow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the whole mount; they only grow.
#[derive(Debug)]
pub(super) struct Counters {
    /// Bytes asked for by readers.
    pub(super) asked: AtomicU64,
    /// Reads answered from memory at once.
    pub(super) hits: AtomicU64,
    /// Reads that had to wait.
    pub(super) waits: AtomicU64,
    /// Bytes brought from disk to memory.
    pub(super) from_disk: AtomicU64,
    /// Ranges requested from the service.
    pub(super) ranges: AtomicU64,
    /// Bytes received from the service.
    pub(super) fetched: Arc<Flow>,
}

impl Counters {
    /// Nothing was done yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            asked: AtomicU64::default(),
            hits: AtomicU64::default(),
            waits: AtomicU64::default(),
            from_disk: AtomicU64::default(),
            ranges: AtomicU64::default(),
            fetched: Arc::new(Flow::new(clock)),
        }
    }

    /// Adds to a counter. Relaxed: figures for people, nothing is decided by them.
    pub(super) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub(super) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
