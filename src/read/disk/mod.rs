//! The disk cache: bytes of files that outlive the memory, the process and a crash.
//!
//! What it promises:
//! * **Never a wrong byte.** Every byte handed out was checked against the checksum of its unit in
//!   that very read. A torn write, a hole, a rotten sector or a crash at any moment costs cache,
//!   nothing else; so nothing is ever synced for safety's sake.
//! * **Never over its budget**, metadata and the file being streamed included: room is made before
//!   it is used, by punching holes into files least recently used.
//! * **Heads and tails of files stay longest**, so that a library's second scan costs nothing.
//! * **Never an error, never a wait** for whoever streams. A disk that is full, read-only or
//!   failing is left alone for a minute; [`Usage::degraded`] says why.
//!
//! What it never knows: names, folders, the service. A [`FileId`] is one content for ever, so
//! nothing here is ever invalidated.
//!
//! On disk, below the cache's folder: `lock`, `map` (all files' contents, see `mapfile`) and
//! `data/<c>/<id>`, one sparse file per id.
//!
//! One thread, the `writer`, changes the disk. Readers share with it the `map` behind one
//! mutex, held for microseconds; locks are never nested.
mod assemble;
mod behind;
mod checksum;
mod data;
mod evict;
mod folder;
mod geometry;
mod health;
mod map;
mod mapfile;
mod persist;
mod proof;
mod queue;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub(super) use geometry::{EDGE, UNIT};
pub use verify::{Checked, Kept, Lendable, Loan};

use crate::api::FileId;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use bytes::Bytes;
use data::DataFiles;
use geometry::{MAX_SIZE, unit_range, units_touched};
use health::Health;
use map::Map;
use mapfile::MapFile;
use queue::{Offer, Queue};
use segment::{Absent, Patch};
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use writer::Writer;

/// How long (real time) dropping the cache waits for the writer's last records. A disk that takes
/// longer keeps the folder locked until it is done.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// See the module. Cheap to clone; the folder is free again when the last clone is gone.
#[derive(Clone)]
pub struct DiskCache {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DiskCache")
            .field(&self.inner.shared.dir)
            .finish()
    }
}

/// What the cache holds and how it fares. Counters start with the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes of files on disk.
    pub bytes: u64,
    /// Bytes set aside for the map, folders and inodes; part of the budget.
    pub overhead: u64,
    /// Bytes the cache may take on disk, `bytes` and `overhead` together.
    pub budget: u64,
    /// Files of which something is on disk.
    pub files: u64,
    /// Bytes that wait to be written.
    pub waiting: u64,
    /// Units of 64 KiB written.
    pub written: u64,
    /// Units evicted.
    pub evicted: u64,
    /// Times something offered was not kept: too much waiting, no room, or the disk failing.
    pub dropped: u64,
    /// Units that failed their checksum or could not be read.
    pub damaged: u64,
    /// Why the disk is not used, in a sentence that says what to do.
    pub degraded: Option<String>,
}

struct Inner {
    shared: Arc<Shared>,
}

/// What readers and the writer share.
struct Shared {
    dir: PathBuf,
    /// Bytes.
    budget: u64,
    clock: Clock,
    map: Mutex<Map>,
    data: DataFiles,
    queue: Queue,
    health: Health,
    /// Held while the folder is ours.
    lock: File,
    /// Set by tests: the writer ends as if it had been killed.
    abandoned: AtomicBool,
    written: AtomicU64,
    evicted: AtomicU64,
    dropped: AtomicU64,
    damaged: AtomicU64,
}

impl DiskCache {
    /// Opens the cache kept in `dir`, which is made when missing, to take at most `budget` bytes
    /// (below 1 MiB it holds nothing). What a crash left behind is recovered, partly later on the
    /// writer's thread; a full or failing disk is no error.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] when another process uses the folder; any other when the folder
    /// cannot be made or locked. The message names the folder; a mount does well without.
    pub fn open(dir: &Path, budget: u64, clock: Clock) -> io::Result<Self> {
        let lock = folder::lock(dir)?;
        let mut map = Map::new(dir.metadata()?.blksize());
        let mapfile = MapFile::open(dir, &mut map);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            budget,
            clock,
            map: Mutex::new(map),
            data: DataFiles::new(dir),
            queue: Queue::default(),
            health: Health::new(clock),
            lock,
            abandoned: AtomicBool::new(false),
            written: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        });
        let writer = Writer::new(shared.clone(), mapfile);
        std::thread::Builder::new()
            .name("disk-cache".into())
            .spawn(move || writer.run())?;
        Ok(Self {
            inner: Arc::new(Inner { shared }),
        })
    }

    /// End of what is here of `file` from `range.start` on without a gap, at most `range.end`;
    /// `range.start` when its first byte is missing. Costs microseconds, touches no disk.
    pub fn present(&self, file: FileId, range: Range<u64>) -> u64 {
        let shared = self.shared();
        if !shared.health.may_read() {
            return range.start;
        }
        lock(&shared.map).present(file, &range)
    }

    /// The bytes of `range` (as far as a file of `size` bytes has them), or `None` when any of
    /// them is missing or damaged; what is damaged is not [`present`](Self::present) from then on.
    /// Blocks on the disk: for a thread that may. Takes memory for the range rounded up to units.
    pub fn read(&self, file: FileId, size: u64, range: Range<u64>) -> Option<Bytes> {
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Some(Bytes::new());
        }
        let shared = self.shared();
        if !shared.health.may_read() {
            return None;
        }
        let (mut pin, sums) = Pin::take(shared, file, size, units_touched(&range))?;
        let first = unit_range(pin.units.start, size);
        let last = unit_range(pin.units.end - 1, size);
        let mut bytes = vec![0; usize::try_from(last.end - first.start).ok()?];
        if let Err(error) = shared.data.read(file, first.start, &mut bytes) {
            shared.unreadable(&pin, &error);
            return None;
        }
        let sound = shared.prove(&mut pin, &sums, &bytes) == bytes.len() as u64;
        drop(pin);
        if !sound {
            shared.queue.nudge();
            return None;
        }
        shared.health.read();
        let start = usize::try_from(range.start - first.start).ok()?;
        let end = usize::try_from(range.end - first.start).ok()?;
        Some(Bytes::from(bytes).slice(start..end))
    }

    /// Offers bytes of a file of `size` bytes that begin at `offset`, checked by whoever fetched
    /// them. Never blocks: what is too much at once is dropped. Whole units are kept, also when
    /// they come in pieces.
    pub fn offer(&self, file: FileId, size: u64, offset: u64, bytes: Bytes) {
        let shared = self.shared();
        let sound = size <= MAX_SIZE
            && offset
                .checked_add(bytes.len() as u64)
                .is_some_and(|end| end <= size);
        if bytes.is_empty() || shared.budget == 0 {
            return;
        }
        let offer = Offer {
            file,
            size,
            offset,
            bytes,
        };
        if !sound || !shared.health.may_write() || !shared.queue.offer(offer) {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was offered is on disk, or was dropped, and what was forgotten has
    /// given its space back, unless someone is reading it. `false` when the deadline came first.
    /// Blocks: for a thread that may.
    pub fn flush(&self, deadline: Deadline) -> bool {
        let within = deadline.clock().real(deadline.remaining());
        self.shared().queue.flush(within)
    }

    /// Forgets everything at once; its space is given back soon ([`flush`](Self::flush) waits).
    pub fn clear(&self) {
        let shared = self.shared();
        shared.queue.forget(None);
        let files = lock(&shared.map).all_files();
        // One at a time, so that a large cache holds nobody up.
        for file in files {
            lock(&shared.map).forget(file);
        }
        shared.queue.nudge();
    }

    /// Forgets one file at once; its space is given back soon.
    pub fn forget(&self, file: FileId) {
        let shared = self.shared();
        shared.queue.forget(Some(file));
        lock(&shared.map).forget(file);
        shared.queue.nudge();
    }

    /// What the cache holds and how it fares.
    pub fn usage(&self) -> Usage {
        let shared = self.shared();
        let (bytes, charged, files) = {
            let map = lock(&shared.map);
            (map.totals.data, map.charged(), map.files.len() as u64)
        };
        let ended = || {
            let over = shared.queue.ended();
            over.then(|| "disk cache: its writer has ended; mount again".to_owned())
        };
        Usage {
            bytes,
            overhead: charged - bytes,
            budget: shared.budget,
            files,
            waiting: shared.queue.waiting() as u64,
            written: shared.written.load(Ordering::Relaxed),
            evicted: shared.evicted.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            degraded: shared.health.reason().or_else(ended),
        }
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Ends as if the process had been killed.
    #[cfg(test)]
    fn abandon(self) {
        self.shared().abandoned.store(true, Ordering::Relaxed);
    }
}

/// [`geometry::UNIT`] as a length in memory.
const UNIT_LEN: usize = 64 * 1024;
const _: () = assert!(UNIT_LEN as u64 == UNIT);

impl Shared {
    /// Compares the bytes of pinned units with their checksums; returns how many bytes are sound. Units that
    /// are not are not present from then on.
    fn prove(&self, pin: &mut Pin<'_>, sums: &[u64], bytes: &[u8]) -> u64 {
        let mut sound = 0;
        for ((unit, sum), this) in pin.units.clone().zip(sums).zip(bytes.chunks(UNIT_LEN)) {
            if checksum::unit(pin.file, unit, this) == *sum {
                sound += this.len() as u64;
            } else {
                self.damaged(Patch::unit(pin.file, unit));
            }
        }
        pin.is_sound = sound == bytes.len() as u64;
        sound
    }

    /// Reading pinned units failed.
    fn unreadable(&self, pin: &Pin<'_>, error: &io::Error) {
        match error.kind() {
            ErrorKind::NotFound => {
                log::warn!("disk cache: the data of {} are gone", pin.file);
                lock(&self.map).forget(pin.file);
            }
            // Shorter than the map says: someone else cut it.
            ErrorKind::UnexpectedEof => self.damaged_units(pin),
            _ => {
                // Out of descriptors or memory says nothing about the bytes.
                if error.raw_os_error() == Some(libc::EIO) {
                    self.damaged_units(pin);
                }
                let what = format!("reading {} ({})", pin.file, self.dir.display());
                self.health.reading_failed(&what, error);
            }
        }
        self.queue.nudge();
    }

    fn damaged_units(&self, pin: &Pin<'_>) {
        for unit in pin.units.clone() {
            self.damaged(Patch::unit(pin.file, unit));
        }
    }

    fn damaged(&self, patch: Patch) {
        let units = lock(&self.map).discard(patch);
        self.damaged.fetch_add(u64::from(units), Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.stop(LAST_RECORDS);
        if self.shared.queue.ended() {
            // The writer's last reference may live an instant longer than it works.
            self.shared.lock.unlock().ok();
        }
    }
}

/// Units that are not evicted while this lives.
struct Pin<'a> {
    shared: &'a Shared,
    file: FileId,
    units: Range<u64>,
    /// All of them were read and proved right.
    is_sound: bool,
}

impl<'a> Pin<'a> {
    /// Pins units for a read and says their checksums; `None` when not all of them are present.
    fn take(
        shared: &'a Shared,
        file: FileId,
        size: u64,
        units: Range<u64>,
    ) -> Option<(Self, Vec<u64>)> {
        let pinned = lock(&shared.map).pin(file, size, &units);
        Self::of(shared, file, units, pinned)
    }

    /// The same without its counting as a use.
    fn hold(
        shared: &'a Shared,
        file: FileId,
        size: u64,
        units: Range<u64>,
    ) -> Option<(Self, Vec<u64>)> {
        let pinned = lock(&shared.map).hold(file, size, &units);
        Self::of(shared, file, units, pinned)
    }

    fn of(
        shared: &'a Shared,
        file: FileId,
        units: Range<u64>,
        pinned: Result<Vec<u64>, Absent>,
    ) -> Option<(Self, Vec<u64>)> {
        match pinned {
            Ok(sums) => {
                let pin = Self {
                    shared,
                    file,
                    units,
                    is_sound: false,
                };
                Some((pin, sums))
            }
            Err(Absent::Missing) => None,
            Err(Absent::WrongSize) => {
                log::warn!("disk cache: {file} is said to have another size, forgetting it");
                shared.queue.nudge();
                None
            }
        }
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut map = lock(&self.shared.map);
        if self.is_sound {
            map.found_sound(self.file, &self.units);
        }
        map.unpin(self.file, &self.units);
    }
}
