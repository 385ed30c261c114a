//! Sealed versions that wait to be uploaded.
//!
//! Promises: a version is found again after a restart: a small one is in its record, of a larger one the
//! record says which staging files it consists of, and those are on disk before the record is handed
//! out. Knows versions by their numbers; never whose they are.
use super::bytes::{Bases, Sealed};
use super::content::{Content, Source};
use super::error::StageError;
use super::pace::Pace;
use super::staging::{Stage, Staging};
use crate::api::{FileId, FileUrl, Requester};
use crate::outbox::intent::Version;
use crate::read::{ReadTerms, Reader};
use crate::tree::Store;
use crate::util::clock::Clock;
use crate::util::codec;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use bytes::Bytes;
use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Bytes of the largest file that is kept inside its record: one wait for the disk instead of three. The
/// store copies a record when it is changed, which larger ones would make slow.
pub const SMALL: u64 = 64 << 10;

/// Pieces that wait for an upload.
const PIECES: usize = 2;

/// Until a piece that is in the account only must be here; an upload that hands over nothing for two
/// minutes is given up.
const FETCH: Duration = Duration::from_secs(100);

/// Marks of where the bytes of a version are.
const MARK_INSIDE: u8 = 0;
const MARK_STAGED: u8 = 1;

/// The versions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Versions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    staging: Staging,
    reader: Reader,
    clock: Clock,
    runtime: Handle,
    sealed: Mutex<HashMap<u64, Sealed>>,
    /// Files of the account that they need, and how many do.
    bases: Mutex<HashMap<FileId, usize>>,
    pace: Pace,
}

impl Versions {
    /// None yet. All uploads together take at most `limit` bytes per second.
    pub fn new(
        staging: Staging,
        reader: Reader,
        limit: Option<u64>,
        clock: Clock,
        runtime: Handle,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                staging,
                reader,
                clock,
                runtime,
                sealed: Mutex::default(),
                bases: Mutex::default(),
                pace: Pace::new(limit, clock),
            }),
        }
    }

    /// Takes up those that `store` keeps, and puts staging files that no version needs out of the way;
    /// `fresh` gives numbers. A version that cannot be read stays known and fails when it is asked for.
    /// Blocks for the disk.
    pub fn recover(&self, store: &Store, fresh: impl Fn() -> u64) -> Result<(), StageError> {
        let broken = |error: crate::tree::StoreError| {
            log::error!("{error}");
            StageError::Disk(io::ErrorKind::InvalidData)
        };
        let pending = store.pending().map_err(broken)?;
        let mut needed = HashSet::new();
        for id in &pending.contents {
            let record = store.content(*id).map_err(broken)?;
            needed.extend(record.iter().flat_map(|record| stages_of(record)));
        }
        // Before the first new one: what an earlier life staged and nobody wrote down may bear its number.
        let is_sure = !store.is_damaged();
        let staging = &self.shared.staging;
        staging.sweep(|number| needed.contains(&number), is_sure)?;
        let mut stages = HashMap::new();
        for id in pending.contents {
            let Some(record) = store.content(id).map_err(broken)? else {
                continue;
            };
            match self.restore(&record, &mut stages, &fresh) {
                Ok(sealed) => {
                    self.keep(id, sealed);
                }
                Err(error) => log::error!("version {id} of a file cannot be read: {error}"),
            }
        }
        Ok(())
    }

    /// Adds a version; what must be written down of it is handed back, and what is not in that is on
    /// disk. Blocks for the disk.
    pub fn add(&self, id: u64, sealed: Sealed) -> Result<Vec<u8>, StageError> {
        let mut to = codec::Writer::default();
        let size = sealed.content.size();
        let is_inside = size <= SMALL && sealed.content.origins().is_empty();
        if is_inside {
            to.byte(MARK_INSIDE);
            to.raw(&self.staged_bytes(&sealed)?);
        } else {
            for stage in sealed.stages.values() {
                stage.sync()?;
            }
            to.byte(MARK_STAGED);
            sealed.content.write(&mut to);
        }
        self.keep(id, sealed);
        Ok(to.finish())
    }

    fn keep(&self, id: u64, sealed: Sealed) {
        for stage in sealed.stages.values() {
            stage.keep();
        }
        {
            let mut bases = lock(&self.shared.bases);
            for origin in sealed.content.origins() {
                *bases.entry(origin.url.id()).or_default() += 1;
            }
        }
        lock(&self.shared.sealed).insert(id, sealed);
    }

    /// Whether a version consists of a file of the account, in part at least.
    pub fn needs(&self, url: &FileUrl) -> bool {
        lock(&self.shared.bases).contains_key(&url.id())
    }

    /// A version, if it is known.
    pub fn get(&self, id: u64) -> Option<Sealed> {
        lock(&self.shared.sealed).get(&id).cloned()
    }

    /// Versions are of no use any more, and that is written down.
    pub fn release(&self, ids: &[u64]) {
        for id in ids {
            let Some(released) = lock(&self.shared.sealed).remove(id) else {
                continue;
            };
            for stage in released.stages.values() {
                stage.release();
            }
            let mut bases = lock(&self.shared.bases);
            for origin in released.content.origins() {
                if let Entry::Occupied(mut needed) = bases.entry(origin.url.id()) {
                    *needed.get_mut() -= 1;
                    if *needed.get() == 0 {
                        needed.remove();
                    }
                }
            }
        }
    }

    /// The bytes of a version, in order and in pieces.
    pub fn open(&self, version: Version) -> mpsc::Receiver<io::Result<Bytes>> {
        let (tell, content) = mpsc::channel(PIECES);
        let Some(sealed) = self.get(version.id) else {
            let missing = io::Error::new(io::ErrorKind::NotFound, "its staging file is gone");
            // There is room for one.
            let _ = tell.try_send(Err(missing));
            return content;
        };
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let bases = Bases::new(shared.reader.clone());
            let mut at = 0;
            while at < version.size {
                let end = (at + shared.pace.piece()).min(version.size);
                shared.pace.pay(end - at).await;
                let terms = ReadTerms {
                    requester: Requester::SELF,
                    deadline: Deadline::within(shared.clock, FETCH),
                };
                let bytes = sealed.parts(at..end).read(&bases, terms).ready().await;
                let bytes = bytes.map_err(io::Error::other);
                let is_bad = bytes.is_err();
                if tell.send(bytes).await.is_err() || is_bad {
                    return;
                }
                at = end;
            }
        });
        content
    }

    /// The bytes of a version of which everything is staged.
    fn staged_bytes(&self, sealed: &Sealed) -> Result<Bytes, StageError> {
        let terms = ReadTerms {
            requester: Requester::SELF,
            deadline: Deadline::within(self.shared.clock, Duration::ZERO),
        };
        let bases = Bases::new(self.shared.reader.clone());
        match sealed.parts(0..u64::MAX).read(&bases, terms) {
            crate::util::cached::Cached::Hit(bytes) => bytes,
            crate::util::cached::Cached::Wait(_) => {
                Err(StageError::Disk(io::ErrorKind::InvalidInput))
            }
        }
    }

    fn restore(
        &self,
        record: &[u8],
        stages: &mut HashMap<u64, Arc<Stage>>,
        fresh: &impl Fn() -> u64,
    ) -> Result<Sealed, StageError> {
        let senseless = StageError::Disk(io::ErrorKind::InvalidData);
        let mut from = codec::Reader::new(record);
        let mark = from.byte().ok_or(senseless.clone())?;
        if mark == MARK_INSIDE {
            return self.unpack(from.rest(), stages, fresh());
        }
        let content = Content::read(&mut from).ok_or(senseless)?;
        let mut own = HashMap::new();
        for number in content.stages() {
            let stage = match stages.get(&number) {
                Some(stage) => Arc::clone(stage),
                None => self
                    .shared
                    .staging
                    .adopt(number, &ranges_in(&content, number))?,
            };
            stages.insert(number, Arc::clone(&stage));
            own.insert(number, stage);
        }
        Ok(Sealed {
            content,
            stages: own,
        })
    }

    /// Stages what was kept inside a record.
    fn unpack(
        &self,
        bytes: &[u8],
        stages: &mut HashMap<u64, Arc<Stage>>,
        number: u64,
    ) -> Result<Sealed, StageError> {
        let mut content = Content::empty();
        let mut own = HashMap::new();
        if !bytes.is_empty() {
            let stage = self.shared.staging.create(number)?;
            stage.restore(bytes, 0)?;
            content.written(0..bytes.len() as u64, number);
            stages.insert(number, Arc::clone(&stage));
            own.insert(number, stage);
        }
        Ok(Sealed {
            content,
            stages: own,
        })
    }
}

/// The staging files that a version needs, by its record.
fn stages_of(record: &[u8]) -> Vec<u64> {
    let mut from = codec::Reader::new(record);
    if from.byte() != Some(MARK_STAGED) {
        return Vec::new();
    }
    let content = Content::read(&mut from);
    content.map(|content| content.stages()).unwrap_or_default()
}

/// What a content needs of a staging file.
fn ranges_in(content: &Content, number: u64) -> Vec<Range<u64>> {
    let pieces = content.pieces(0..u64::MAX).into_iter();
    let ranges = pieces.filter_map(|piece| match piece.from {
        Some((Source::Staged(stage), at)) if stage == number => {
            Some(at..at + (piece.range.end - piece.range.start))
        }
        _ => None,
    });
    ranges.collect()
}
