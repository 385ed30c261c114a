//! What the kernel must be told: it keeps names and attributes for minutes, so it hears of every
//! change found meanwhile.
//!
//! The queue is bounded and never blocks who fills it. A change that waits already is not queued
//! twice; what comes when it is full turns into one [`Change::Everything`] per folder. What one listing
//! changed is told one by one all the same, however large it is: only so does the kernel forget names.
use super::inode::Ino;
use super::listing::EntryChange;
use crate::util::sync::lock;
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// When so many changes wait, about 100 bytes each, no more are taken: only a kernel that does not answer
/// leaves as many waiting.
const QUEUE_LIMIT: usize = 16_384;

/// Something the kernel may remember and must not any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// What `name` in `parent` leads to, or that it leads nowhere.
    Entry {
        /// The folder.
        parent: Ino,
        /// The name.
        name: Box<OsStr>,
    },
    /// `name` in `parent` led to `child` and was removed.
    Removed {
        /// The folder.
        parent: Ino,
        /// What the name led to.
        child: Ino,
        /// The name.
        name: Box<OsStr>,
    },
    /// The attributes of an inode.
    Attributes(Ino),
    /// The attributes and the content of an inode.
    Content(Ino),
    /// The attributes of a folder and the list of its entries, should it be cached.
    Entries(Ino),
    /// Everything under a folder: too much changed to tell one by one.
    Everything(Ino),
}

/// The filling end.
#[derive(Debug, Clone)]
pub(super) struct ChangeQueue {
    shared: Arc<Shared>,
}

/// The taking end; there is one.
#[derive(Debug)]
pub struct Changes {
    shared: Arc<Shared>,
}

/// A change on its way to the kernel; dropped when the kernel has heard of it.
#[derive(Debug)]
pub struct Handed {
    /// What to tell.
    pub change: Change,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    /// Nothing waits and nothing is on its way.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<Change>,
    waiting: HashSet<Change>,
    /// Folders whose changes did not fit.
    overflown: HashSet<Ino>,
    /// Changes taken and on their way to the kernel.
    handed: usize,
    closed: bool,
}

impl ChangeQueue {
    /// A queue's two ends.
    pub(super) fn new() -> (Self, Changes) {
        let shared = Arc::new(Shared::default());
        let queue = Self {
            shared: Arc::clone(&shared),
        };
        (queue, Changes { shared })
    }

    /// Queues what the kernel must forget when `changes` happened in `folder`.
    pub(super) fn push_entries(&self, folder: Ino, changes: &[EntryChange]) {
        if changes.is_empty() {
            return;
        }
        let entry = |name: &OsStr| Change::Entry {
            parent: folder,
            name: name.into(),
        };
        let mut all = vec![Change::Entries(folder)];
        for change in changes {
            match change {
                EntryChange::Added(node) => all.push(entry(&node.name)),
                EntryChange::Removed(node) => all.push(Change::Removed {
                    parent: folder,
                    child: node.ino,
                    name: node.name.clone(),
                }),
                EntryChange::Renamed { was, now } => all.extend([
                    entry(&was.name),
                    entry(&now.name),
                    Change::Attributes(now.ino),
                ]),
                EntryChange::Altered(node) => all.push(Change::Attributes(node.ino)),
            }
        }
        self.push(folder, all);
    }

    /// Queues changes in or of `folder`.
    pub(super) fn push(&self, folder: Ino, changes: impl IntoIterator<Item = Change>) {
        {
            let mut queue = lock(&self.shared.queue);
            if queue.closed {
                return;
            }
            let is_full = queue.order.len() >= QUEUE_LIMIT;
            for change in changes {
                queue.push(folder, change, is_full);
            }
        }
        self.shared.filled.notify_one();
    }

    /// Waits until the kernel has heard of everything, at most `limit` of real time.
    pub(super) async fn told(&self, limit: Duration) {
        let all_told = async {
            loop {
                // Made before the look, so that an end in between is not missed.
                let emptied = self.shared.emptied.notified();
                if lock(&self.shared.queue).is_told() {
                    return;
                }
                emptied.await;
            }
        };
        // What is not told by then is told later: nobody is kept waiting for it.
        let _ = tokio::time::timeout(limit, all_told).await;
    }
}

impl Queue {
    fn push(&mut self, folder: Ino, change: Change, is_full: bool) {
        if self.waiting.contains(&change) || self.overflown.contains(&folder) {
            return;
        }
        if is_full {
            self.overflown.insert(folder);
            return;
        }
        self.waiting.insert(change.clone());
        self.order.push_back(change);
    }

    fn is_told(&self) -> bool {
        self.order.is_empty() && self.overflown.is_empty() && self.handed == 0
    }

    fn pop(&mut self) -> Option<Change> {
        if let Some(change) = self.order.pop_front() {
            self.waiting.remove(&change);
            return Some(change);
        }
        let folder = self.overflown.iter().next().copied()?;
        self.overflown.remove(&folder);
        Some(Change::Everything(folder))
    }
}

impl Changes {
    /// The next change; waits for one as long as it takes.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.try_next() {
                return change;
            }
            self.shared.filled.notified().await;
        }
    }

    /// The next change, for one who tells the kernel; waits for one as long as it takes.
    pub async fn hand_over(&mut self) -> Handed {
        loop {
            {
                let mut queue = lock(&self.shared.queue);
                if let Some(change) = queue.pop() {
                    queue.handed += 1;
                    let shared = Arc::clone(&self.shared);
                    return Handed { change, shared };
                }
            }
            self.shared.filled.notified().await;
        }
    }

    /// The next change, if one waits.
    pub fn try_next(&mut self) -> Option<Change> {
        lock(&self.shared.queue).pop()
    }
}

impl Drop for Changes {
    /// Nobody listens any more: nothing is collected any more.
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        let handed = queue.handed;
        *queue = Queue {
            handed,
            closed: true,
            ..Queue::default()
        };
        drop(queue);
        self.shared.emptied.notify_waiters();
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.handed -= 1;
        let is_told = queue.is_told();
        drop(queue);
        if is_told {
            self.shared.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(parent: u64, name: &str) -> Change {
        Change::Entry {
            parent: Ino::new(parent).unwrap(),
            name: OsStr::new(name).into(),
        }
    }

    #[test]
    fn a_change_waits_once_and_comes_again_after_it_was_taken() {
        let (queue, mut changes) = ChangeQueue::new();
        let folder = Ino::new(5).unwrap();
        queue.push(folder, [entry(5, "a"), entry(5, "b"), entry(5, "a")]);
        assert_eq!(changes.try_next(), Some(entry(5, "a")));
        queue.push(folder, [entry(5, "b"), entry(5, "a")]);
        assert_eq!(changes.try_next(), Some(entry(5, "b")));
        assert_eq!(changes.try_next(), Some(entry(5, "a")));
        assert_eq!(changes.try_next(), None);
    }

    #[test]
    fn overflow_becomes_one_change_per_folder_and_ends() {
        let (queue, mut changes) = ChangeQueue::new();
        let (five, six) = (Ino::new(5).unwrap(), Ino::new(6).unwrap());
        queue.push(
            five,
            (0..QUEUE_LIMIT + 10).map(|n| entry(5, &n.to_string())),
        );
        queue.push(six, [entry(6, "x"), entry(6, "y")]);
        queue.push(five, [entry(5, "x"), entry(5, "y")]);
        let mut whole = HashSet::new();
        let mut single = 0;
        while let Some(change) = changes.try_next() {
            match change {
                Change::Everything(folder) => assert!(whole.insert(folder)),
                _ => single += 1,
            }
        }
        assert_eq!(
            (single, whole),
            (QUEUE_LIMIT + 10, HashSet::from([five, six]))
        );
        queue.push(six, [entry(6, "x")]);
        assert_eq!(changes.try_next(), Some(entry(6, "x")));
    }

    #[tokio::test]
    async fn all_is_told_when_nothing_waits_and_nothing_is_on_its_way() {
        const NEVER: Duration = Duration::from_secs(60);
        let (queue, mut changes) = ChangeQueue::new();
        queue.told(NEVER).await;
        queue.push(Ino::ROOT, [entry(1, "a"), entry(1, "b")]);
        let (first, second) = (changes.hand_over().await, changes.hand_over().await);
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.told(NEVER).await }
        });
        drop(second);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished(), "one is on its way still");
        drop(first);
        waiting.await.unwrap();
        // Nobody tells the kernel: whoever waits is not kept for ever.
        queue.push(Ino::ROOT, [entry(1, "a")]);
        queue.told(Duration::from_millis(1)).await;
    }

    #[tokio::test]
    async fn a_waiting_taker_is_woken() {
        let (queue, mut changes) = ChangeQueue::new();
        let taker = tokio::spawn(async move { changes.next().await });
        tokio::task::yield_now().await;
        queue.push(Ino::ROOT, [entry(1, "a")]);
        assert_eq!(taker.await.unwrap(), entry(1, "a"));
    }
}
