//! Bytes out. `fs` asks for a range of a file by its id; what is in memory is answered on the spot,
//! everything else by streams that many readers share.
//!
//! Promises: the bytes asked for and no others, or an error before the deadline; never fewer bytes
//! than asked for except at the end of the file, because the kernel takes a short answer for the
//! end. One download link per file, no byte fetched twice at a time, memory and connections bounded
//! for the whole mount. Knows file ids, offsets and bytes; never names, folders or the kernel.
//!
//! ```text
//! Reader::read ─▶ window   how far ahead to fetch          (pure, one per handle)
//!              ─▶ blocks   is it in memory?                (one for the mount)
//!              ─▶ file     join or plan streams, wait      (one per file id)
//!                   ├▶ store   memory, and disk behind it
//!                   └▶ stream  one span: link, range, chunks, again after a failure
//!                        ├▶ token  one link per file
//!                        └▶ connections  the mount's, in turn for those who wait
//! ```
mod blocks;
mod connections;
mod counters;
mod disk;
mod downloads;
mod error;
mod explain;
mod file;
mod fill;
mod lanes;
mod lend;
mod line;
mod load;
mod pace;
mod pool;
mod store;
mod stream;
mod tally;
mod token;
mod warm;
mod window;

pub use disk::{Checked, DiskCache, Kept as KeptFile, Lendable, Loan, Usage};
pub use downloads::Download;
pub use error::ReadError;
pub use explain::{FileFigures, Held};
pub use tally::{OpenFigures, SlowRead, Times};
pub use token::LinkFigures;
pub use warm::{Part, WarmError, Warmed};

use crate::api::{Client, FileId, FileUrl, Requester};
use crate::util::cached::Cached;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::flow::Flow;
use crate::util::sync::lock;
use blocks::Blocks;
use bytes::Bytes;
use connections::{Connection, Connections};
use counters::Counters;
use file::{Fetch, File, Need, Reading, Sources};
use line::Line;
use load::Load;
use pace::Pace;
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use store::Store;
use tally::{Phase, Stopwatch, Tally};
use token::Token;
use tokio::runtime;
use tokio::sync::Semaphore;
use window::{Access, Bounds, Window};

/// Files without a handle that are remembered for their link: a player closes and opens again, a
/// scanner opens everything twice.
const REMEMBERED: usize = 1024;

/// Bytes of the largest file: what the kernel can address. Leaves room for sums of offsets.
const LARGEST_SIZE: u64 = i64::MAX as u64;

/// What reading is bounded by and where it keeps things.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Bytes of contents kept in memory.
    pub memory: u64,
    /// Where contents are kept on disk; `None` keeps none.
    pub disk: Option<DiskCache>,
    /// Download connections at most; the service allows 30 per account (API reference 3).
    pub connections: usize,
    /// Connections one file is read over at most.
    pub streams_per_file: usize,
    /// Bytes per second that all downloads together may take; `None` limits nothing.
    pub limit: Option<u64>,
}

impl ReadSettings {
    /// Connections per file when nothing else is asked for.
    pub const STREAMS_PER_FILE: usize = 4;

    /// Connections when nothing else is asked for: well below the service's 30, since the same
    /// account may be in use elsewhere.
    pub const CONNECTIONS: usize = 20;

    /// What is used when nothing but the memory is chosen, in bytes: no disk cache, no limit.
    pub fn new(memory: u64) -> Self {
        Self {
            memory,
            disk: None,
            connections: Self::CONNECTIONS,
            streams_per_file: Self::STREAMS_PER_FILE,
            limit: None,
        }
    }
}

/// The reading part; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    clock: Clock,
    runtime: runtime::Handle,
    store: Arc<Store>,
    connections: Arc<Connections>,
    streams_per_file: usize,
    files: Mutex<HashMap<FileId, Arc<File>>>,
    load: Load,
    line: Arc<Line>,
    counters: Counters,
    pace: Pace,
    /// Reads that wait now.
    waiting: AtomicUsize,
    /// One file at a time is warmed.
    warming: Semaphore,
    handles_issued: AtomicU64,
}

/// An open file. Dropping it closes it; what only it wanted stops being fetched.
#[derive(Debug)]
pub struct Handle {
    number: u64,
    file: Arc<File>,
    window: Mutex<Window>,
    load: load::Ticket,
    tally: Arc<Tally>,
}

/// Who reads and until when.
#[derive(Debug, Clone, Copy)]
pub struct ReadTerms {
    /// For whom, should a call be needed.
    pub requester: Requester,
    /// The read has ended by then, one way or the other.
    pub deadline: Deadline,
}

/// Figures of reading, for the status.
#[derive(Debug, Clone, Serialize)]
pub struct ReadSnapshot {
    /// Bytes asked for by readers.
    pub asked_bytes: u64,
    /// Bytes received from the service.
    pub fetched_bytes: u64,
    /// Bytes per second received lately.
    pub speed: u64,
    /// Reads answered from memory at once.
    pub hits: u64,
    /// Reads that had to wait.
    pub waits: u64,
    /// Bytes brought from disk to memory.
    pub from_disk_bytes: u64,
    /// Ranges requested.
    pub ranges: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// The most that may be in memory.
    pub memory_budget: u64,
    /// Connections in use.
    pub connections: usize,
    /// Bytes per second that all downloads together may take, if there is a limit.
    pub limit: Option<u64>,
    /// The disk cache, if there is one.
    pub disk: Option<Usage>,
}

impl Reader {
    /// The reading part of a mount; streams run on `runtime`.
    pub fn new(
        client: Client,
        clock: Clock,
        settings: ReadSettings,
        runtime: runtime::Handle,
    ) -> Self {
        let shared = Shared {
            client,
            clock,
            runtime,
            store: Arc::new(Store::new(Blocks::new(settings.memory), settings.disk)),
            connections: Connections::new(settings.connections),
            streams_per_file: settings.streams_per_file.max(1),
            files: Mutex::default(),
            load: Load::default(),
            line: Arc::default(),
            counters: Counters::new(clock),
            pace: Pace::new(settings.limit, clock),
            waiting: AtomicUsize::default(),
            warming: Semaphore::new(1),
            handles_issued: AtomicU64::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Another limit for all downloads together, in bytes per second, from now on; `None` limits nothing.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.shared.pace.set(limit);
    }

    /// Says where a file is that is about to be read, so that a password written down for that place is
    /// used for it. `path` is asked only if there are such.
    pub fn place(&self, url: &FileUrl, path: impl FnOnce() -> Option<PathBuf>) {
        self.shared.client.passwords().place(url.id(), path);
    }

    /// Opens a file; no call is made before something is read.
    pub fn open(&self, url: &FileUrl, size: u64) -> Handle {
        let file = self.shared.opened(url, size.min(LARGEST_SIZE));
        let number = self.shared.handles_issued.fetch_add(1, Ordering::Relaxed);
        let tally = file.opens.add(number, self.shared.clock);
        Handle {
            number,
            file,
            window: Mutex::default(),
            load: load::Ticket::default(),
            tally,
        }
    }

    /// The bytes `offset..offset + len` of the file, cut at its end. `Hit` when they are in memory.
    pub fn read(
        &self,
        handle: &Handle,
        offset: u64,
        len: u64,
        terms: ReadTerms,
    ) -> Cached<Result<Bytes, ReadError>> {
        let file = &handle.file;
        let range = offset..offset.saturating_add(len).min(file.size);
        if range.start >= range.end {
            return Cached::Hit(Ok(Bytes::new()));
        }
        let shared = &self.shared;
        let now = shared.clock.now();
        let who = Reading {
            handle: handle.number,
            requester: terms.requester,
            now,
        };
        Counters::add(&shared.counters.asked, range.end - range.start);
        handle
            .tally
            .asked(terms.requester.0, range.end - range.start);
        let limit = shared.window_limit(shared.load.note(&handle.load, now));
        let bounds = Bounds {
            largest: limit.min(window::largest(file.lanes())),
            near: shared.line.near(),
        };
        let access = lock(&handle.window).on_read(&range, file.size, bounds);
        file.on_read(&who, &access);
        file.reached(range.end);

        if let Some(bytes) = shared.store.memory.get(file.id, range.clone()) {
            Counters::add(&shared.counters.hits, 1);
            handle.tally.hit();
            if access.due {
                shared.fetch_ahead(handle, access, &who);
            }
            if !access.seek && file.handles() == 1 {
                shared
                    .store
                    .memory
                    .consumed(file.id, window::behind(&range));
            }
            return Cached::Hit(Ok(bytes));
        }
        Counters::add(&shared.counters.waits, 1);
        let watched = handle.tally.waits(range.clone());
        // The first stream is started here and not in the future: the caller may take a moment.
        let need = shared.need(file, &range, access.edge, &who, Sources::All);
        if access.due {
            shared.fetch_ahead(handle, access, &who);
        }
        let (shared, file) = (Arc::clone(shared), Arc::clone(file));
        Cached::wait(async move {
            let _waiting = Waiting::of(&shared);
            let waited = shared.wait(&file, range, access.edge, who, need);
            let answer = terms.deadline.run(waited).await.unwrap_or_else(|| {
                shared.pace.blame(&file.id);
                Err(ReadError::Timeout)
            });
            file.waited(shared.clock.now().since(now));
            watched.end(answer.as_ref().err().map(|error| error as _));
            answer
        })
    }

    /// Figures at this moment.
    pub fn snapshot(&self) -> ReadSnapshot {
        let Shared {
            counters,
            store,
            connections,
            pace,
            ..
        } = &*self.shared;
        ReadSnapshot {
            asked_bytes: Counters::get(&counters.asked),
            fetched_bytes: counters.fetched.bytes(),
            speed: counters.fetched.speed(),
            hits: Counters::get(&counters.hits),
            waits: Counters::get(&counters.waits),
            from_disk_bytes: Counters::get(&counters.from_disk),
            ranges: Counters::get(&counters.ranges),
            memory_bytes: store.memory.bytes(),
            memory_budget: store.memory.budget(),
            connections: connections.used(),
            limit: pace.rate(),
            disk: store.disk().map(DiskCache::usage),
        }
    }
}

impl Handle {
    /// The file's id.
    pub fn id(&self) -> FileId {
        self.file.id
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.file.size
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.file.closed(self.number);
    }
}

impl Shared {
    /// The one [`File`] of an id, made when there is none, with one handle more.
    fn opened(&self, url: &FileUrl, size: u64) -> Arc<File> {
        let mut files = lock(&self.files);
        if files.len() >= REMEMBERED {
            files.retain(|_, file| !file.is_idle() || file.token.is_live());
        }
        if files.len() >= REMEMBERED {
            files.retain(|_, file| !file.is_idle());
        }
        let make = || {
            let token = Token::new(self.client.clone(), self.clock, url.clone());
            Arc::new(File::new(
                url,
                size,
                Arc::new(token),
                Arc::clone(&self.store),
                Arc::clone(&self.line),
                Flow::part_of(&self.counters.fetched),
                self.streams_per_file,
            ))
        };
        let file = Arc::clone(files.entry(url.id()).or_insert_with(make));
        // Counted before the lock goes, or another open could take it for idle and forget it.
        file.opened();
        file
    }

    /// What one reader's window may hold when `readers` read: together less than the memory, so that
    /// nothing is evicted before it was read.
    fn window_limit(&self, readers: u64) -> u64 {
        self.store.memory.budget() / 4 * 3 / readers.max(1)
    }

    /// Waits until all of `range` is in memory, planning again for what is still missing.
    async fn wait(
        self: &Arc<Self>,
        file: &Arc<File>,
        range: Range<u64>,
        edge: u64,
        who: Reading,
        first: Need,
    ) -> Result<Bytes, ReadError> {
        let mut need = first;
        let mut kept = Kept::default();
        let mut at = range.start;
        loop {
            match need {
                Need::Present => {}
                Need::OnDisk(part) => {
                    let begun = self.clock.now();
                    let loaded = self.store.load(file.id, file.size, part.clone()).await;
                    Counters::add(&self.counters.from_disk, loaded.len() as u64);
                    let tally = file.opens.get(who.handle, self.clock);
                    tally.loaded(loaded.len() as u64, begun);
                    if loaded.is_empty() {
                        // The disk could not give what it had promised: the service will.
                        let rest = at..range.end;
                        need = self.need(file, &rest, edge, &who, Sources::ServiceOnly);
                        continue;
                    }
                    if part.start == at {
                        at += kept.add(&loaded, range.end - at);
                    }
                }
                Need::Wait(told, _) => told.await.map_err(|_| ReadError::Shutdown)??,
            }
            // What is here is kept: others may push it out before the rest has come.
            let until = self.store.memory.first_missing(file.id, at..range.end);
            if let Some(bytes) = self.store.memory.get(file.id, at..until) {
                at += kept.add(&bytes, range.end - at);
            }
            if at == range.end {
                return Ok(kept.join());
            }
            need = self.need(file, &(at..range.end), edge, &who, Sources::All);
        }
    }

    /// Plans what `range` lacks and starts the stream the plan names.
    fn need(
        self: &Arc<Self>,
        file: &Arc<File>,
        range: &Range<u64>,
        edge: u64,
        who: &Reading,
        sources: Sources,
    ) -> Need {
        match file.need(range, edge, who, sources) {
            Need::Wait(told, Some(fetch)) => {
                self.start(file, fetch, who, None);
                Need::Wait(told, None)
            }
            other => other,
        }
    }

    /// Fetches ahead of a reader, as far as connections are to spare.
    fn fetch_ahead(self: &Arc<Self>, handle: &Handle, mut access: Access, who: &Reading) {
        while access.from < access.look {
            let Some(permit) = self.connections.spare(who.requester) else {
                return;
            };
            let (fetch, until) = handle.file.ahead(&access, who);
            lock(&handle.window).arranged(&access, until);
            let Some(fetch) = fetch else {
                return;
            };
            access.from = until;
            self.start(&handle.file, fetch, who, Some(permit));
        }
    }

    fn start(
        self: &Arc<Self>,
        file: &Arc<File>,
        fetch: Fetch,
        who: &Reading,
        permit: Option<Connection>,
    ) {
        let tally = file.opens.get(who.handle, self.clock);
        let watch = Stopwatch::start(tally, fetch.number, Phase::Link);
        let (shared, file) = (Arc::clone(self), Arc::clone(file));
        self.runtime.spawn(stream::run(
            shared,
            file,
            fetch,
            who.requester,
            permit,
            watch,
        ));
    }
}

/// Counts a read that waits, until dropped.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The beginning of an answer that is waited for.
#[derive(Debug, Default)]
struct Kept(Vec<Bytes>);

impl Kept {
    /// Adds the next bytes, at most `most` of them; returns how many were added.
    fn add(&mut self, bytes: &Bytes, most: u64) -> u64 {
        let len = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        if len > 0 {
            self.0.push(bytes.slice(..len));
        }
        len as u64
    }

    /// All of it; without a copy when it came in one piece.
    fn join(mut self) -> Bytes {
        match self.0.len() {
            1 => self.0.remove(0),
            _ => self.0.concat().into(),
        }
    }
}
