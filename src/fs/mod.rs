//! The kernel's adaptor: requests in, answers out, and no knowledge of its own.
//!
//! ```text
//! requests ─▶ names       lookup, create, mkdir, unlink, rename
//!          ─▶ folders     opendir, readdir, fsyncdir
//!          ─▶ bytes       open, read, write, flush, lseek, fallocate, copy_file_range
//!          ─▶ attributes  getattr, setattr, extended attributes, statfs
//!               │    └▶ change            what it wants changed       (pure)
//!               └▶ answers, attr, errno   what the kernel is told
//! session, init, notify, passthrough      the kernel's side
//! ```
//!
//! Promises: what is known is answered on the event loop that got the request; what is not goes
//! through a task, so that an event loop never waits for the network, a disk or a lock held across
//! either. Every operation ends by its deadline. A change has happened when it is answered, and has not
//! when whoever asked was let go before. A panic is one request's EIO. This is the only module that knows
//! fuser and errno; it knows no HTTP and no JSON.
//!
//! What the kernel keeps stays right without a word from here: pages, since under an inode the
//! content changes through this mount only, and the kernel keeps its pages in step with what it sends
//! (`write`, `O_DIRECT`, `truncate`, `fallocate`, `copy_file_range`); names and listings, since it takes
//! its own changes in by itself. What changes in the account goes through `notify`.
//!
//! The answers that are sticky in the kernel (ENOSYS: never asked again) are chosen on purpose:
//! `access` is checked by the kernel itself (`default_permissions`). On a read-only mount `flush` and
//! `fsync` have nothing to do, and `lseek` is right without us. What cannot be done with a file is EOPNOTSUPP
//! or EPERM.
mod answers;
mod attr;
mod attributes;
mod bytes;
mod change;
mod deadline;
mod errno;
mod folders;
mod handles;
mod init;
mod names;
mod notify;
mod passthrough;
mod replies;
mod requester;
mod requests;
mod session;
mod xattr;

pub use attr::Ownership;
pub use session::Session;

use crate::api::Requester;
use crate::read::Reader;
use crate::tree::{Caller, Ino, Tree};
use crate::util::cached::Cached;
use crate::util::clock::Clock;
use crate::write::volume::Volume;
use answers::Answers;
use deadline::{Class, Limits};
use errno::ToErrno;
use fuser::{Errno, INodeNo, Request};
use handles::HandleTable;
use passthrough::Passthrough;
use replies::Fails;
use requester::Requesters;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::runtime;

/// What the adaptor is told at the start.
#[derive(Debug, Clone, Copy)]
pub struct FsSettings {
    /// Whose files they are.
    pub ownership: Ownership,
    /// Who mounted: may read the attributes that hold public links.
    pub mounted_by: u32,
    /// How long a read may take.
    pub read_timeout: Duration,
    /// Whether the kernel may read files of the disk cache itself: nothing can change, and root mounts.
    pub passthrough: bool,
    /// Whether nothing may be changed; the kernel refuses most of it by itself then.
    pub read_only: bool,
    /// Whether closing a file waits for its upload, and so may take as long as one.
    pub waits_for_upload: bool,
}

/// The file system as the kernel sees it.
#[derive(Debug)]
pub struct Fs {
    tree: Tree,
    volume: Volume,
    reader: Reader,
    runtime: runtime::Handle,
    settings: FsSettings,
    limits: Limits,
    handles: HandleTable,
    passthrough: Option<Passthrough>,
    requesters: Requesters,
    /// Writes under way.
    writing: Arc<AtomicUsize>,
}

impl Fs {
    /// Joins the parts; nothing is asked of them yet. `volume` is over `tree` and `reader`.
    pub fn new(
        tree: Tree,
        reader: Reader,
        volume: Volume,
        clock: Clock,
        runtime: runtime::Handle,
        settings: FsSettings,
    ) -> Self {
        let limits = Limits {
            clock,
            read: settings.read_timeout,
        };
        Self {
            tree,
            volume,
            reader,
            runtime,
            settings,
            limits,
            handles: HandleTable::default(),
            passthrough: settings.passthrough.then(Passthrough::default),
            requesters: Requesters::default(),
            writing: Arc::default(),
        }
    }

    /// On whose behalf something of this kind is done, and until when.
    fn caller(&self, request: &Request, class: Class) -> Caller {
        Caller {
            requester: self.requester(request),
            deadline: self.limits.of(class),
        }
    }

    /// The process that asks.
    fn requester(&self, request: &Request) -> Requester {
        self.requesters.of(request.pid(), self.limits.clock.now())
    }

    fn answers(&self) -> Answers {
        Answers {
            tree: self.tree.clone(),
            volume: self.volume.clone(),
            ownership: self.settings.ownership,
        }
    }

    /// Hands an answer on: at once when it is known, from a task when it is not. Who was killed
    /// meanwhile is not waited with: the reply is dropped, which lets him go. What was to be changed is
    /// changed within one step of the answer, so then it was either answered or not done.
    fn when_ready<T: 'static>(
        &self,
        request: &Request,
        answer: Cached<T>,
        then: impl FnOnce(T) + Send + 'static,
    ) {
        match answer {
            Cached::Hit(answer) => then(answer),
            Cached::Wait(answer) => {
                let killed = requester::killed(request.pid(), self.limits.clock);
                self.runtime.spawn(async move {
                    tokio::select! {
                        answer = answer => then(answer),
                        () = killed => {}
                    }
                });
            }
        }
    }

    /// Answers with what comes of a question about an inode: `then`, or an error.
    fn answer<T: 'static, E: ToErrno + 'static, R: Fails>(
        &self,
        request: &Request,
        (operation, ino): (&'static str, INodeNo),
        answer: Cached<Result<T, E>>,
        reply: R,
        then: impl FnOnce(T, R) + Send + 'static,
    ) {
        let clock = self.limits.clock;
        let waits = matches!(answer, Cached::Wait(_)).then(|| clock.now());
        self.when_ready(request, answer, move |answer| {
            if let Some(since) = waits {
                let took = clock.now().since(since).as_millis();
                log::debug!("{operation} ino={}: answered in {took} ms", ino.0);
            }
            match answer {
                Ok(answer) => then(answer, reply),
                Err(error) => reply.fail(failure(operation, ino.0, &error)),
            }
        });
    }
}

/// Keeps a panic from ending an event loop: the reply it held is dropped, which answers EIO.
fn contained(operation: &'static str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("{operation}: a bug ended this request; please report the lines above");
    }
}

/// Logs a failure as loudly as the table says and returns what the kernel hears.
fn failure(operation: &'static str, ino: u64, error: &impl ToErrno) -> Errno {
    let verdict = error.verdict();
    log::log!(verdict.level, "{operation} ino={ino}: {error}");
    verdict.errno
}

/// The tree's name for an inode; 0 is none of ours.
fn ino_of(ino: INodeNo) -> Result<Ino, Errno> {
    Ino::new(ino.0).ok_or(Errno::ESTALE)
}
