//! The one thread that changes anything on the disk: writes units, makes room, frees what is
//! stale, keeps the persisted map.
//!
//! The order that keeps the promises: *charge, make room, write, show* for a unit that comes;
//! *hide, record, free, discharge* for one that goes. No lock is held across a system call.
use super::assemble::Assembler;
use super::behind::Behind;
use super::checksum;
use super::geometry::{UNIT, runs};
use super::health::PAUSE;
use super::map::Place;
use super::mapfile::MapFile;
use super::persist::Snapshot;
use super::proof;
use super::queue::{Next, Offer};
use super::record::Record;
use super::segment::Patch;
use super::{Shared, recover};
use crate::api::FileId;
use crate::util::clock::Moment;
use crate::util::sync::lock;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How soon records gathered are written, and garbage someone still reads is looked at again.
const SOON: Duration = Duration::from_secs(1);
/// How often recency is persisted: a crash forgets what was used in the last minute.
const RECENCY: Duration = Duration::from_secs(60);
/// Segments copied out of the map at a time while it is rewritten; readers wait some 20 µs.
const REWRITE: usize = 128;

/// See the module.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) mapfile: MapFile,
    assembler: Assembler,
    behind: Behind,
    /// The disk has been compared with the map; before that nothing is written, since what else
    /// takes space is not known.
    recovered: bool,
    /// Whether the file system can free a part of a file; if not, whole files are evicted.
    punches: bool,
    /// When to free space again after that has failed.
    sweep_at: Moment,
    recency_at: Moment,
}

/// Why a unit was not written.
enum Refused {
    /// There is no room that could be made, or the unit's place is not free yet.
    NoRoom,
    /// The disk.
    Disk(io::Error),
}

impl Writer {
    /// A writer of what `shared` queues, going on with `mapfile`.
    pub(super) fn new(shared: Arc<Shared>, mapfile: MapFile) -> Self {
        let now = shared.clock.now();
        Self {
            mapfile,
            assembler: Assembler::default(),
            behind: Behind::default(),
            recovered: false,
            punches: true,
            sweep_at: now,
            recency_at: now.after(RECENCY),
            shared,
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let ended = Ended(self.shared.clone());
        self.tidy(false);
        loop {
            match ended.0.queue.next(self.patience()) {
                Next::Offer(offer) => self.take(&offer),
                Next::Flush(ticket) => {
                    self.tidy(true);
                    ended.0.queue.flushed(ticket);
                }
                Next::Idle => self.tidy(false),
                Next::Stop => break,
            }
        }
        if !self.shared.abandoned.load(Ordering::Relaxed) {
            self.tidy(true);
        }
    }

    /// How long (real time) the queue may be empty before something is to be tidied up.
    fn patience(&self) -> Duration {
        let soon = self.mapfile.gathered() || lock(&self.shared.map).has_garbage();
        self.shared.clock.real(if soon { SOON } else { RECENCY })
    }

    /// Compares disk and map, once, as soon as the disk permits.
    fn recover(&mut self) {
        if self.recovered || !self.shared.health.may_write() {
            return;
        }
        let compared = recover::run(self).and_then(|()| self.make_room(0).or_else(Refused::fatal));
        match compared {
            Ok(()) => self.recovered = true,
            Err(error) => self.failed("looking through its folder", &error),
        }
    }

    fn take(&mut self, offer: &Offer) {
        self.recover();
        if !self.recovered || !self.shared.health.may_write() {
            self.dropped();
            return;
        }
        let mut assembler = std::mem::take(&mut self.assembler);
        assembler.take(offer, |unit, bytes| {
            match self.store(offer.file, offer.size, unit, bytes) {
                Ok(()) => true,
                Err(Refused::NoRoom) => {
                    self.dropped();
                    true
                }
                Err(Refused::Disk(error)) => {
                    self.dropped();
                    // A file too large for the file system says nothing about others.
                    if error.kind() != io::ErrorKind::FileTooLarge {
                        self.failed("writing", &error);
                    }
                    false
                }
            }
        });
        self.assembler = assembler;
    }

    /// Puts a whole unit on the disk.
    fn store(&mut self, file: FileId, size: u64, unit: u64, bytes: &[u8]) -> Result<(), Refused> {
        let shared = self.shared.clone();
        if !self.charge(file, size, unit)? {
            return Ok(());
        }
        let sum = checksum::unit(file, unit, bytes);
        let written = shared.data.write(file, size, unit * UNIT, bytes);
        if let Err(error) = written {
            lock(&shared.map).abort(file, unit);
            return Err(Refused::Disk(error));
        }
        if !lock(&shared.map).commit(file, unit, sum) {
            return Ok(());
        }
        shared.health.wrote();
        shared.written.fetch_add(1, Ordering::Relaxed);
        let patch = Patch::unit(file, unit);
        let sums = vec![sum];
        self.record(&Record::Wrote(Snapshot { patch, size, sums }));
        if let Some(written) = self.behind.wrote(file, size, bytes.len() as u64) {
            shared.data.let_go(file, &written);
        }
        Ok(())
    }

    /// Charges a unit, evicting until it fits; `false` when it is here already.
    fn charge(&mut self, file: FileId, size: u64, unit: u64) -> Result<bool, Refused> {
        let shared = self.shared.clone();
        loop {
            let cost = {
                let mut map = lock(&shared.map);
                // Asked again each time: evicting may remove the file, which makes it dearer.
                match map.place(file, size, unit) {
                    Place::Present => return Ok(false),
                    Place::Busy => return Err(Refused::NoRoom),
                    Place::Free { cost } if map.charged() + cost <= shared.budget => {
                        let is_proved = map.begin(file, size, unit);
                        drop(map);
                        if is_proved {
                            self.record(&Record::Proved(file, proof::NONE));
                            self.save();
                        }
                        return Ok(true);
                    }
                    Place::Free { cost } => cost,
                }
            };
            self.make_room(cost)?;
        }
    }

    /// Evicts until `cost` more bytes fit into the budget.
    fn make_room(&mut self, cost: u64) -> Result<(), Refused> {
        let shared = self.shared.clone();
        let fits = || lock(&shared.map).charged() + cost <= shared.budget;
        if !fits() {
            self.sweep().map_err(Refused::Disk)?;
        }
        while !fits() {
            let victim = if self.punches {
                lock(&shared.map).evict_segment(shared.budget)
            } else {
                lock(&shared.map).evict_file(shared.budget)
            };
            let (patch, units) = victim.ok_or(Refused::NoRoom)?;
            shared.evicted.fetch_add(units, Ordering::Relaxed);
            self.release(patch).map_err(Refused::Disk)?;
        }
        Ok(())
    }

    /// Frees the space of stale units nobody reads.
    pub(super) fn release(&mut self, patch: Patch) -> io::Result<()> {
        let shared = self.shared.clone();
        let whole = lock(&shared.map).unlinkable(patch.file);
        let freed = if whole {
            self.record(&Record::Forgot(patch.file));
            self.save();
            shared.data.remove(patch.file)
        } else if self.punches {
            self.record(&Record::Dropped(patch));
            self.save();
            runs(patch.segment, patch.mask)
                .iter()
                .try_for_each(|run| shared.data.punch(patch.file, run))
        } else {
            // Its space goes with the file, or is used again by the same unit.
            lock(&shared.map).list_unless_kept(patch);
            return Ok(());
        };
        let mut map = lock(&shared.map);
        match freed {
            Ok(()) if whole => map.remove(patch.file),
            Ok(()) => map.freed(patch),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                log::info!("disk cache: no holes can be punched here, whole files are evicted");
                self.punches = false;
                map.list_unless_kept(patch);
            }
            Err(error) => {
                map.list_garbage((patch.file, patch.segment));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Frees all garbage nobody reads.
    fn sweep(&mut self) -> io::Result<()> {
        let garbage = lock(&self.shared.map).garbage();
        for key in garbage {
            let patch = lock(&self.shared.map).take_garbage(key);
            if let Some(patch) = patch {
                self.release(patch)?;
            }
        }
        Ok(())
    }

    /// Does what can wait until nothing else is to do; `all` of it, or what is due.
    fn tidy(&mut self, all: bool) {
        self.recover();
        let now = self.shared.clock.now();
        if now >= self.sweep_at
            && let Err(error) = self.sweep()
        {
            self.sweep_at = now.after(PAUSE);
            self.failed("freeing space", &error);
        }
        if all || now >= self.recency_at {
            self.recency_at = now.after(RECENCY);
            let used = lock(&self.shared.map).take_touched();
            for key in used {
                self.record(&Record::Used(key));
            }
        }
        let proved = lock(&self.shared.map).take_proved();
        for (file, print) in proved {
            self.record(&Record::Proved(file, print));
        }
        self.save();
        self.rewrite();
    }

    /// Appends a record to the persisted map.
    fn record(&mut self, record: &Record) {
        if let Err(error) = self.mapfile.push(record) {
            self.failed("writing its map", &error);
        }
        self.rewrite();
    }

    /// Writes the records gathered.
    fn save(&mut self) {
        if let Err(error) = self.mapfile.flush() {
            self.failed("writing its map", &error);
        }
    }

    /// Rewrites the persisted map when it should be and the disk permits.
    fn rewrite(&mut self) {
        let shared = self.shared.clone();
        let due = self.recovered
            && shared.health.may_write()
            && self.mapfile.wants_rewrite(&lock(&shared.map));
        if !due {
            return;
        }
        let keys = lock(&shared.map).by_recency();
        let mut chunks = keys.chunks(REWRITE);
        let next = || {
            // A chunk whose segments have all gone must not look like the end.
            chunks
                .by_ref()
                .map(|chunk| {
                    let map = lock(&shared.map);
                    chunk.iter().filter_map(|key| map.snapshot(*key)).collect()
                })
                .find(|snapshots: &Vec<Snapshot>| !snapshots.is_empty())
                .unwrap_or_default()
        };
        let proofs = || lock(&shared.map).with_proof();
        match self.mapfile.rewrite(next, proofs) {
            Ok(()) => shared.health.wrote(),
            Err(error) => self.failed("rewriting its map", &error),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) {
        let what = format!("{what} ({})", self.shared.dir.display());
        self.shared.health.writing_failed(&what, error);
    }

    fn dropped(&self) {
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Refused {
    /// Nothing that could be evicted is no failure where nothing is to be written.
    fn fatal(self) -> io::Result<()> {
        match self {
            Self::NoRoom => Ok(()),
            Self::Disk(error) => Err(error),
        }
    }
}

/// Says that the writer has ended, also when it panicked.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}
