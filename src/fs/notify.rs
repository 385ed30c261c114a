//! Tells the kernel what it must forget.
//!
//! A notification about an entry takes the lock of its folder in the kernel, one about an inode
//! waits for its pages: both wait while a request there waits for us. So no handler ever notifies,
//! no lock is held while notifying, and a few threads share the work by inode, so that one folder
//! whose listing hangs holds up few others. Every request ends by its deadline, hence so does every
//! wait here. What piles up meanwhile is merged by the tree's queue.
use crate::tree::{Change, Changes, Handed, Ino};
use fuser::{INodeNo, Notifier};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Threads that notify. A wait concerns one folder, and rarely two at once.
const THREADS: u64 = 4;

/// Changes handed to a thread and not yet told. The rest waits where it is merged.
const HANDED_OVER: usize = 64;

/// The threads; they end with the session.
#[derive(Debug)]
pub(super) struct Notifiers {
    stopped: Arc<AtomicBool>,
    dispatcher: JoinHandle<()>,
}

impl Notifiers {
    /// Starts telling `changes` to the kernel.
    pub(super) fn start(
        notifier: &Notifier,
        mut changes: Changes,
        runtime: &runtime::Handle,
    ) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let (sender, mut receiver) = mpsc::channel::<Handed>(HANDED_OVER);
            let (notifier, stopped) = (notifier.clone(), Arc::clone(&stopped));
            thread::Builder::new()
                .name(format!("notify-{number}"))
                .spawn(move || {
                    while let Some(handed) = receiver.blocking_recv() {
                        // A mount that is being taken down forgets everything by itself.
                        if stopped.load(Ordering::Relaxed) {
                            return;
                        }
                        let change = &handed.change;
                        if let Err(error) = tell(&notifier, change) {
                            log::debug!("the kernel did not take {change:?}: {error}");
                        }
                    }
                })?;
            threads.push(sender);
        }
        let dispatcher = runtime.spawn(async move {
            loop {
                let handed = changes.hand_over().await;
                let index = usize::try_from(place(&handed.change).get() % THREADS).unwrap_or(0);
                if threads[index].send(handed).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            stopped,
            dispatcher,
        })
    }

    /// Tells nothing more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.dispatcher.abort();
    }
}

impl Drop for Notifiers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The inode whose lock a notification takes.
fn place(change: &Change) -> Ino {
    match change {
        Change::Entry { parent, .. } | Change::Removed { parent, .. } => *parent,
        Change::Attributes(ino)
        | Change::Content(ino)
        | Change::Entries(ino)
        | Change::Everything(ino) => *ino,
    }
}

fn tell(notifier: &Notifier, change: &Change) -> io::Result<()> {
    let number = |ino: &Ino| INodeNo(ino.get());
    match change {
        Change::Entry { parent, name } => notifier.inval_entry(number(parent), name),
        // Unlike a mere invalidation this also reaches those who watch the folder with inotify. The
        // kernel refuses it for a name that leads elsewhere by now: then it need only look again.
        Change::Removed {
            parent,
            child,
            name,
        } => notifier
            .delete(number(parent), number(child), name)
            .or_else(|_| notifier.inval_entry(number(parent), name)),
        // A negative offset means the attributes alone: the account never changes a content.
        Change::Attributes(ino) => notifier.inval_inode(number(ino), -1, 0),
        Change::Content(ino) | Change::Entries(ino) | Change::Everything(ino) => {
            notifier.inval_inode(number(ino), 0, 0)
        }
    }
}
