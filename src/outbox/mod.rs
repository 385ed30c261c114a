//! What the account still has to be told.
//!
//! ```text
//! Outbox ─▶ run      when a batch is told, and what follows
//!            ├▶ upload   files sent, reports read           ├▶ change   everything else
//!            └▶ look     what became of a call nobody heard the end of
//!        ─▶ telling  changes that belong together
//!        ─▶ journal  when what changed is written down
//!        ─▶ state    what is on its way, waits, or is to be written
//!            ├▶ intent   what is wanted and what the account has         (pure)
//!            ├▶ plan     what can be told now, in few calls              (pure)
//!            ├▶ stuck    what waits for something that was given up      (pure)
//!            ├▶ draft    what is to be written down next, beside entries   (pure)
//!            ├▶ tries    how often something failed, how long it waits   (pure)
//!            └▶ record   an entry as bytes                               (pure)
//! report   which uploaded file is which                                  (pure)
//! ```
//!
//! Promises: what was written down is told sooner or later, in an order in which every moment is one a
//! person would accept; a call that may have been carried out is looked for before it is repeated; a
//! file counts as uploaded when the report shows its size and hash, and not before; what is refused for
//! good is kept and waits for a person. Knows the account's files and folders and their places; never
//! staging files, never the kernel.
mod change;
mod draft;
pub mod intent;
mod journal;
mod look;
mod numbers;
pub mod plan;
mod record;
pub mod report;
mod run;
mod state;
mod stuck;
mod telling;
mod tries;
mod upload;

use crate::api::{Ask, Client, FileUrl, FolderId, Priority, Requester};
use crate::tree::{Ino, Store, StoreError};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::flow::Flow;
use crate::util::sync::lock;
use bytes::Bytes;
use intent::{Done, Entry, Place, Remote, Thing, Version};
use journal::{Journal, Unwritten};
use numbers::Numbers;
use state::State;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

pub use telling::Telling;

/// How long a file is left alone before it is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// After it was written and closed: a program that saves twice costs one upload.
    pub closed: Duration,
    /// After it was flushed by a program that goes on holding it open for writing: a log or a database is
    /// flushed again and again, and each time would be an upload of all of it.
    pub open: Duration,
}

impl Default for Settle {
    fn default() -> Self {
        Self {
            closed: Duration::from_secs(5),
            open: Duration::from_secs(300),
        }
    }
}

/// How often somebody who waits for the end looks whether others still read what is to go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the outbox asks of its surroundings. Nothing here may wait for the network, and nothing may call
/// back.
pub trait Surroundings: Send + Sync + fmt::Debug + 'static {
    /// The bytes of a sealed version, in order and in pieces; an error or an early end means that it
    /// cannot be read.
    fn open(&self, version: Version) -> mpsc::Receiver<io::Result<Bytes>>;
    /// Whether all bytes of a version are on this machine; what is not is fetched while it is sent.
    fn is_here(&self, _version: Version) -> bool {
        true
    }
    /// Versions are of no use any more, and that is written down.
    fn release(&self, versions: &[u64]);
    /// The account's number of a folder that was not made here.
    fn folder(&self, ino: Ino) -> Option<FolderId>;
    /// The folder that holds, in the account, a folder; `None` for the root, and when it is not known.
    fn parent(&self, folder: Ino) -> Option<Ino>;
    /// The folder the account has at a place, as far as is known.
    fn taken(&self, place: &Place) -> Option<Ino>;
    /// Whether a file or folder that the account has in a folder is known to be something else than `ino`: then it
    /// is not what became of a call for `ino`, however alike. Two files may have the same bytes, and one the name
    /// that the other had.
    fn is_other(&self, _ino: Ino, _folder: FolderId, _thing: &Thing) -> bool {
        false
    }
    /// The inode that a file or folder of the account is known as, if it was made or written here.
    fn bearer(&self, _thing: &Thing) -> Option<Ino> {
        None
    }
    /// Whether something went from a folder here so short a time ago, also in an earlier life, that the account may
    /// still show it there.
    fn was_removed(&self, _folder: Ino, _thing: &Thing) -> bool {
        false
    }
    /// Whether somebody here still reads a file of the account; see [`Outbox::let_go`].
    fn is_held(&self, url: &FileUrl) -> bool;
    /// Whether a program has read it for so long that nobody should wait for the end of that.
    fn is_read(&self, url: &FileUrl) -> bool;
    /// A call is about to be made that may put a file or folder there; until [`Surroundings::told`] says that no
    /// attempt is left, nobody knows whether it did.
    fn attempted(&self, _ino: Ino, _place: &Place) {}
    /// The account has done something of what was to be told `before`, and this is `left` of it. What is to be
    /// remembered of it, also over a restart, until the account's listings show it; see [`Outbox::open`].
    fn told(&self, done: &Done, before: Option<&Entry>, left: Option<&Entry>) -> Option<Vec<u8>>;
    /// Something that was wanted in a folder was refused, since the service knows nothing of what the call named:
    /// others may have removed the folder.
    fn missed(&self, _folder: Ino) {}
    /// What was remembered and is shown by the account, since this was asked last.
    fn shown(&self) -> Vec<Ino>;
    /// Where a place is shown, for people.
    fn shown_at(&self, place: &Place) -> PathBuf {
        PathBuf::from(&*place.name)
    }
    /// What was changed of a file or folder is given up: it is as the account has it, `has`, if it has it. What has
    /// taken its place here is told to go elsewhere.
    fn taken_back(&self, tell: &mut Telling<'_>, ino: Ino, has: Option<&Remote>);
}

/// Why a change was not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// It cannot be written down.
    #[error("changes cannot be written down: {0}")]
    Journal(Arc<str>),
    /// It cannot be written down, since the disk is full.
    #[error("changes cannot be written down: {0}")]
    Full(Arc<str>),
    /// The store cannot be read.
    #[error("what was written down cannot be read: {0}")]
    Store(Arc<str>),
}

impl From<StoreError> for OutboxError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string().into())
    }
}

/// Why a file will not get to the account without somebody's help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For a person.
    pub reason: Box<str>,
    /// Whether the account has no room for it.
    pub is_full: bool,
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.into(),
            is_full: false,
        }
    }
}

/// How far the outbox is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxSnapshot {
    /// Files and folders of which the account has to be told something.
    pub waiting: usize,
    /// Bytes of files to be uploaded.
    pub bytes: u64,
    /// Bytes of them that were handed over by uploads under way.
    pub sent: u64,
    /// Those of them that are given up until somebody says so, with the reason.
    pub failed: Vec<(Ino, Box<str>)>,
    /// Files that are being uploaded.
    pub transfers: Vec<FileTransfer>,
    /// Bytes handed over since the process began, whatever became of them.
    pub uploaded: u64,
    /// Bytes per second lately, all uploads together.
    pub speed: u64,
}

/// A file that is being uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTransfer {
    /// Which.
    pub ino: Ino,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of it that were handed over. All of them: the service has not confirmed it yet.
    pub sent: u64,
    /// Bytes per second lately.
    pub speed: u64,
}

/// The outbox of one account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    clock: Clock,
    runtime: Handle,
    around: Arc<dyn Surroundings>,
    state: Arc<Mutex<State>>,
    numbers: Arc<Numbers>,
    journal: Journal,
    /// What uploads hand over.
    sent: Arc<Flow>,
    /// Something can be planned that could not before.
    stirred: Arc<Notify>,
    /// Counts what was done; to wait for.
    steps: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

impl Outbox {
    /// Takes up what `store` has written down. Nothing is told before [`Outbox::start`]. Blocks for the
    /// disk.
    pub fn open(
        client: Client,
        clock: Clock,
        store: Store,
        settle: Settle,
        root: Ino,
        around: Arc<dyn Surroundings>,
        runtime: Handle,
    ) -> Result<Self, OutboxError> {
        let state = State::new(store.pending()?, settle, root);
        let numbers = state.numbers();
        let state = Arc::new(Mutex::new(state));
        let stirred = Arc::new(Notify::new());
        let journal = {
            let (state, around) = (Arc::clone(&state), Arc::clone(&around));
            let stirred = Arc::clone(&stirred);
            Journal::start(move || {
                let written = write_down(&store, &state, &*around);
                if let Ok(true) = written {
                    // What needed a version that is gone now may go as well.
                    stirred.notify_one();
                }
                written.map(|_| ())
            })
        };
        let journal = journal.map_err(|error| OutboxError::Journal(error.to_string().into()))?;
        let shared = Shared {
            client,
            clock,
            runtime,
            around,
            state,
            numbers,
            journal,
            sent: Arc::new(Flow::new(clock)),
            stirred,
            steps: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Begins to tell the account, in the background, until [`Outbox::stop`].
    pub fn start(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(run::run(shared));
    }

    /// A number that was never used: for a new inode, a version or a staging file. Takes no lock.
    pub fn fresh(&self) -> u64 {
        self.shared.numbers.fresh()
    }

    /// Looks at what is to be told of a file or folder while nothing changes, neither here nor in the
    /// account as far as is known. `look` must not wait for anything, nor ask the outbox.
    pub fn look<T>(&self, ino: Ino, look: impl FnOnce(Option<&Entry>) -> T) -> T {
        look(lock(&self.shared.state).entry(ino))
    }

    /// Makes changes that belong together: a crash leaves all of them or none, and nothing is told, and
    /// nobody is told of anything, in between. `make` must not wait for anything.
    pub fn with<T>(&self, make: impl FnOnce(&mut Telling<'_>) -> T) -> T {
        let made = {
            let mut state = lock(&self.shared.state);
            make(&mut Telling::new(
                &mut state,
                &*self.shared.around,
                self.shared.clock.now(),
            ))
        };
        self.shared.journal.changed();
        self.shared.stir();
        made
    }

    /// A program holds a file open for writing, or none does any more, as `is_open` says when it is asked:
    /// meanwhile what is flushed waits longer.
    pub fn hold(&self, ino: Ino, is_open: impl FnOnce() -> bool) {
        let is_sooner = {
            let mut state = lock(&self.shared.state);
            let is_open = is_open();
            state.hold(ino, is_open, self.shared.clock.now());
            !is_open && state.entry(ino).is_some()
        };
        if is_sooner {
            self.shared.stir();
        }
    }

    /// Lets nothing wait any more for more of its kind: somebody waits for the end.
    pub fn hurry(&self) {
        lock(&self.shared.state).hurry(self.shared.clock.now());
        self.shared.stir();
    }

    /// Somebody has stopped reading a file of the account that may have to go.
    pub fn let_go(&self) {
        self.shared.stir();
    }

    /// What is to be told of a file or folder.
    pub fn entry(&self, ino: Ino) -> Option<Entry> {
        lock(&self.shared.state).entry(ino).cloned()
    }

    /// All that is to be told.
    pub fn entries(&self) -> Vec<(Ino, Entry)> {
        let state = lock(&self.shared.state);
        let entries = state.intents.entries().iter();
        entries.map(|(ino, entry)| (*ino, entry.clone())).collect()
    }

    /// The account's number of a folder made here.
    pub fn folder(&self, ino: Ino) -> Option<FolderId> {
        lock(&self.shared.state).folder(ino, &*self.shared.around)
    }

    /// Waits until everything that was changed so far is on disk.
    pub fn written(&self) -> impl Future<Output = Result<(), OutboxError>> + Send + use<> {
        let written = self.shared.journal.written();
        async move {
            written.await.map_err(|error| {
                if error.is_full {
                    OutboxError::Full(error.said)
                } else {
                    OutboxError::Journal(error.said)
                }
            })
        }
    }

    /// Waits until the account knows everything but what was given up and what somebody reads; `false` when time was up first.
    /// That it does is on disk after [`Outbox::written`]; if not, the next process looks for itself.
    pub async fn drained(&self, deadline: Deadline) -> bool {
        let mut steps = self.shared.steps.subscribe();
        let drained = async {
            while lock(&self.shared.state).is_pending(&*self.shared.around) {
                // That somebody goes on reading is no step.
                let step = tokio::time::timeout(LOOK_AGAIN, steps.changed()).await;
                if let Ok(Err(_)) = step {
                    return;
                }
            }
        };
        deadline.run(drained).await.is_some()
    }

    /// Lets a file wait for nothing any more, and waits until the account has what it holds; an error says why it
    /// will not without somebody's help. No limit: an upload may take hours.
    pub async fn uploaded(&self, ino: Ino) -> Result<(), Refusal> {
        let mut steps = self.shared.steps.subscribe();
        lock(&self.shared.state).hurry_one(ino, self.shared.clock.now());
        self.shared.stir();
        loop {
            {
                let state = lock(&self.shared.state);
                match state.entry(ino) {
                    Some(entry) if entry.is_uploaded() => return Ok(()),
                    None => return Ok(()),
                    Some(entry) => {
                        if let Some(failed) = &entry.failed {
                            return Err(Refusal {
                                reason: failed.reason.clone(),
                                is_full: state.full.contains(&ino),
                            });
                        }
                        if stuck::of(&state.intents, |_| false).contains(&ino) {
                            return Err("it waits for something that was refused".into());
                        }
                    }
                }
            }
            if steps.changed().await.is_err() {
                return Err("the mount is ending".into());
            }
        }
    }

    /// Told when something was done or changed; to look again.
    pub fn steps(&self) -> watch::Receiver<u64> {
        self.shared.steps.subscribe()
    }

    /// What is left to be told and can be: nobody has given it up, nor what it depends on, and nobody reads it.
    pub fn tellable(&self) -> Vec<(Ino, Entry)> {
        let state = lock(&self.shared.state);
        let stuck = stuck::of(&state.intents, |url| self.shared.around.is_read(url));
        let entries = state.intents.entries().iter();
        entries
            .filter(|(ino, entry)| entry.is_pending() && !stuck.contains(ino))
            .map(|(ino, entry)| (*ino, entry.clone()))
            .collect()
    }

    /// Figures now.
    pub fn snapshot(&self) -> OutboxSnapshot {
        let state = lock(&self.shared.state);
        let mut snapshot = OutboxSnapshot {
            sent: state.sent_bytes(),
            transfers: state.transfers(),
            uploaded: self.shared.sent.bytes(),
            speed: self.shared.sent.speed(),
            ..OutboxSnapshot::default()
        };
        for (ino, entry) in state.intents.entries() {
            if entry.is_pending() {
                snapshot.waiting += 1;
                snapshot.bytes += entry.content.map_or(0, |version| version.size);
            }
            let failed = entry.failed.as_ref();
            let failed = failed.map(|failed| (*ino, failed.reason.clone()));
            snapshot.failed.extend(failed);
        }
        snapshot
    }

    /// Tells nothing more and writes nothing more down; what is not told is told by the next one that
    /// opens the store. Calls under way are broken off. Blocks for the disk, for a moment.
    pub fn stop(&self) {
        self.shared.stopping.send_replace(true);
        self.shared.journal.close();
    }
}

impl Shared {
    /// Something changed: plan again, and look again whether all is told.
    fn stir(&self) {
        self.steps.send_modify(|steps| *steps += 1);
        self.stirred.notify_one();
    }

    /// The terms of a call that changes the account.
    fn ask(&self, limit: Duration) -> Ask {
        Ask::new(
            Priority::Change,
            Deadline::within(self.clock, limit),
            Requester::SELF,
        )
    }
}

/// Writes everything down that changed; whether versions are of no use any more since.
fn write_down(
    store: &Store,
    state: &Mutex<State>,
    around: &dyn Surroundings,
) -> Result<bool, Unwritten> {
    let (commit, released) = {
        let mut state = lock(state);
        for ino in around.shown() {
            state.remember(ino, None);
        }
        state.take()
    };
    if commit.is_empty() {
        return Ok(false);
    }
    match store.commit(&commit) {
        Ok(()) => {
            if std::mem::take(&mut lock(state).is_unwritten) {
                log::info!("changes are written down again");
            }
            around.release(&released);
            Ok(!released.is_empty())
        }
        Err(error) => {
            let mut state = lock(state);
            // Once: it is tried every second.
            if !std::mem::replace(&mut state.is_unwritten, true) {
                log::error!("{error}; changes are kept in memory until they can be written down");
            }
            state.put_back(commit, released);
            Err(Unwritten {
                said: error.to_string().into(),
                is_full: error.is_full(),
            })
        }
    }
}
