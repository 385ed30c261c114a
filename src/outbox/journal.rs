//! When what changed is written down.
//!
//! Promises: who asks for it is told when everything that had changed by then is on disk, or why it
//! cannot be; many who ask at a time share one commit; what nobody asks for is on disk a second later.
//! One thread writes, so commits never overtake each other: what is on disk is always the state as it was at
//! one moment.
use crate::util::sync::lock;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a change that nobody asked to be on disk may wait for more, real time: what a power cut may
/// cost of renames and removals.
const GROUP: Duration = Duration::from_secs(1);

/// Whether something was written down, for all who asked.
pub(super) type Written = Result<(), Unwritten>;

/// Why something could not be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unwritten {
    /// For a person.
    pub(super) said: Arc<str>,
    /// Whether the disk is full.
    pub(super) is_full: bool,
}

impl From<&str> for Unwritten {
    fn from(said: &str) -> Self {
        Self {
            said: said.into(),
            is_full: false,
        }
    }
}

/// The writing end. Dropped without [`Journal::close`], it writes nothing more.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: Vec<oneshot::Sender<Written>>,
    has_changed: bool,
    ending: bool,
}

impl Journal {
    /// Writes with `commit`, which takes everything that changed, and says whether it is on disk.
    pub(super) fn start(commit: impl Fn() -> Written + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || shared.run(&commit))?
        };
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Something changed; it need not be on disk at once.
    pub(super) fn changed(&self) {
        lock(&self.shared.queue).has_changed = true;
        self.shared.filled.notify_one();
    }

    /// Waits until everything that has changed is on disk.
    pub(super) fn written(&self) -> impl Future<Output = Written> + Send + use<> {
        let (tell, told) = oneshot::channel();
        let mut queue = lock(&self.shared.queue);
        if !queue.ending {
            queue.waiters.push(tell);
        }
        drop(queue);
        self.shared.filled.notify_one();
        async move {
            told.await
                .unwrap_or_else(|_| Err("nothing is written down any more".into()))
        }
    }

    /// Writes nothing more; what is being written is waited for. Blocks for the disk.
    pub(super) fn close(&self) {
        lock(&self.shared.queue).ending = true;
        self.shared.filled.notify_one();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            log::error!("the journal's thread was ended by a bug");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self, commit: &impl Fn() -> Written) {
        loop {
            let mut queue = lock(&self.queue);
            while !queue.has_changed && !queue.is_urgent() {
                queue = self
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !queue.is_urgent() {
                let waited = self
                    .filled
                    .wait_timeout_while(queue, GROUP, |queue| !queue.is_urgent());
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if queue.ending {
                queue.waiters.clear();
                return;
            }
            let waiters = std::mem::take(&mut queue.waiters);
            queue.has_changed = false;
            drop(queue);
            let written = commit();
            if written.is_err() {
                lock(&self.queue).has_changed = true;
            }
            for waiter in waiters {
                // Who waited may have given up.
                let _ = waiter.send(written.clone());
            }
        }
    }
}

impl Queue {
    fn is_urgent(&self) -> bool {
        self.ending || !self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn those_who_ask_together_share_a_commit() {
        let commits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&commits);
        let journal = Journal::start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
            Ok(())
        })
        .unwrap();
        let waits: Vec<_> = (0..50).map(|_| tokio::spawn(journal.written())).collect();
        for wait in waits {
            assert_eq!(wait.await.unwrap(), Ok(()));
        }
        assert!((1..=3).contains(&commits.load(Ordering::Relaxed)));
    }

    #[tokio::test]
    async fn a_failure_is_told_and_the_next_commit_tries_again() {
        let commits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&commits);
        let journal = Journal::start(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Err("disk full".into()),
            _ => Ok(()),
        })
        .unwrap();
        assert_eq!(journal.written().await, Err("disk full".into()));
        assert_eq!(journal.written().await, Ok(()));
        journal.close();
        assert!(journal.written().await.is_err(), "it is closed");
    }
}
