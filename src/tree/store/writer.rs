//! Groups what is to be written: one commit takes what came in a second.
//!
//! Promises: what was put is read back at once; it is on disk [`GROUP`] later, or after a flush; who puts never waits for the disk; what waits is bounded, and what does not fit or
//! cannot be written is asked of the account again when it is needed. One thread writes, so commits
//! never overtake each other.
//!
//! The lock guards maps only and is never held while the disk is asked.
use super::Found;
use super::cache::{Batch, CacheStore, Kept, numbers};
use super::record::FolderRecord;
use crate::api::FolderId;
use crate::tree::inode::Ino;
use crate::util::sync::lock;
use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long what came may wait for more, real time. A commit waits for the disk twice, so that one per
/// listing would keep a slow disk busy during a crawl; a second of listings is what a kill may cost.
const GROUP: Duration = Duration::from_secs(1);

/// Listings that are written without waiting for more.
const GROUP_LISTINGS: usize = 256;

/// Bytes of listings that wait at most, about. The service lists some folders a second, so that only
/// a disk that has stopped lets them pile up.
const WAITING_MOST: usize = 64 << 20;

/// The writing end; the thread ends with it.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    cache: CacheStore,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// What came since the last commit began.
    next: Batch,
    /// What is being written.
    writing: Option<Arc<Batch>>,
    /// Bytes of listings in `next`, about.
    bytes: usize,
    /// Folders whose newest listing could not be kept: what is on disk of them is not the last word.
    unkept: HashSet<FolderId>,
    /// Who waits for a commit.
    waiters: Vec<oneshot::Sender<()>>,
    ending: bool,
    is_failing: bool,
}

impl Writer {
    pub(super) fn start(cache: CacheStore) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            cache,
            queue: Mutex::default(),
            filled: Condvar::new(),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("store".to_owned())
                .spawn(move || shared.run())?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The store written to.
    pub(super) fn cache(&self) -> &CacheStore {
        &self.shared.cache
    }

    /// Listings that wait.
    pub(super) fn waiting(&self) -> usize {
        let queue = lock(&self.shared.queue);
        let writing = queue.writing.as_ref();
        queue.next.listings.len() + writing.map_or(0, |batch| batch.listings.len())
    }

    /// Whether the newest listing of a folder is not on disk yet, or could not be kept.
    pub(super) fn is_waiting(&self, folder: FolderId) -> bool {
        let queue = lock(&self.shared.queue);
        let is_in = |batch: &Batch| batch.listings.contains_key(&folder);
        is_in(&queue.next)
            || queue.writing.as_ref().is_some_and(|batch| is_in(batch))
            || queue.unkept.contains(&folder)
    }

    /// Whether the last commit failed.
    pub(super) fn is_failing(&self) -> bool {
        lock(&self.shared.queue).is_failing
    }

    pub(super) fn put(
        &self,
        listings: impl Iterator<Item = Kept>,
        folders: impl IntoIterator<Item = (FolderId, FolderRecord)>,
    ) {
        let mut queue = lock(&self.shared.queue);
        queue.next.folders.extend(folders);
        for kept in listings {
            let folder = kept.listing.folder();
            queue.bytes += kept.listing.weight();
            if queue.bytes > WAITING_MOST {
                queue.unkept.insert(folder);
                queue.next.listings.remove(&folder);
                continue;
            }
            queue.unkept.remove(&folder);
            let places = numbers(&kept.listing).map(|ino| (ino, folder));
            queue.next.places.extend(places);
            queue.next.listings.insert(folder, Some(kept));
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    pub(super) fn remove(&self, folder: FolderId) {
        let mut queue = lock(&self.shared.queue);
        queue.next.listings.insert(folder, None);
        queue.next.folders.remove(&folder);
        queue.unkept.remove(&folder);
        drop(queue);
        self.shared.filled.notify_one();
    }

    pub(super) async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        lock(&self.shared.queue).waiters.push(tell);
        self.shared.filled.notify_one();
        // The thread ends only when nothing is left to write.
        let _ = told.await;
    }

    pub(super) fn listing(&self, folder: FolderId) -> Option<Found> {
        let waiting = {
            let queue = lock(&self.shared.queue);
            if queue.unkept.contains(&folder) {
                return None;
            }
            queue.batches().find_map(|batch| {
                let kept = batch.listings.get(&folder)?;
                Some(kept.as_ref().map(|kept| Arc::clone(&kept.listing)))
            })
        };
        match waiting {
            Some(waiting) => waiting.map(Found::Waiting),
            None => self.cache().listing(folder).map(Found::Read),
        }
    }

    pub(super) fn places(&self, files: &[Ino]) -> Vec<Option<FolderId>> {
        let mut places: Vec<Option<FolderId>> = {
            let queue = lock(&self.shared.queue);
            let waiting = |ino| queue.batches().find_map(|batch| batch.places.get(ino));
            files.iter().map(|ino| waiting(ino).copied()).collect()
        };
        if places.iter().any(Option::is_none) {
            let stored = self.cache().places(files).unwrap_or_default();
            for (place, stored) in places.iter_mut().zip(stored) {
                *place = place.or(stored);
            }
        }
        places
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared.queue).ending = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the last listings could not be written: a bug ended the thread");
        }
    }
}

impl Queue {
    /// What waits, the newest first.
    fn batches(&self) -> impl Iterator<Item = &Batch> {
        [Some(&self.next), self.writing.as_deref()]
            .into_iter()
            .flatten()
    }

    fn is_urgent(&self) -> bool {
        self.ending || !self.waiters.is_empty() || self.next.listings.len() >= GROUP_LISTINGS
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.next.is_empty() && !queue.is_urgent() {
                queue = self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.is_urgent() {
                let wait = self
                    .filled
                    .wait_timeout_while(queue, GROUP, |queue| !queue.is_urgent());
                queue = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            let waiters = std::mem::take(&mut queue.waiters);
            let batch = Arc::new(std::mem::take(&mut queue.next));
            queue.bytes = 0;
            queue.writing = Some(Arc::clone(&batch));
            let ending = queue.ending;
            drop(queue);

            let written = if batch.is_empty() {
                Ok(())
            } else {
                self.cache.commit(&batch)
            };
            let mut queue = lock(&self.queue);
            queue.writing = None;
            let was_failing = std::mem::replace(&mut queue.is_failing, written.is_err());
            if let Err(error) = written {
                queue.unkept.extend(batch.listings.keys());
                if !was_failing {
                    log::warn!("{error}; what is listed now is not known after a restart");
                }
            }
            let is_done = ending && queue.next.is_empty();
            drop(queue);
            for waiter in waiters {
                // Who waited may have given up.
                let _ = waiter.send(());
            }
            if is_done {
                return;
            }
        }
    }
}
