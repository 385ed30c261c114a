//! The persisted map: one file of records for the whole cache, appended to and rewritten now and
//! then. One file, because a start then costs one sequential read, whatever the number of files.
//!
//! Nothing here is synced and nothing needs to be: a record that outlived the bytes it speaks of
//! fails their checksum, bytes that outlived their record are found and freed at the next start.
//! A file that could not be written to is *broken*: it takes no more records until it has been
//! rewritten from what is in memory.
use super::map::Map;
use super::persist::Snapshot;
use super::record::{RECORD, Record, SUM, fill, u64_at};
use super::{checksum, geometry, proof};
use crate::api::FileId;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Raised with every change of the records, the checksum or the geometry; a cache of another
/// version starts empty.
const VERSION: u32 = 2;
const MAGIC: [u8; 16] = *b"fichierfs cache\n";
const HEADER: usize = 40;

/// Bytes of records gathered before they are written: a crash of the process forgets so much at
/// most, some 5 MiB of data.
const GATHER: usize = 4096;

/// Bytes of superseded records always allowed, so that a small map is not rewritten all the time;
/// part of [`FIXED_COST`](super::map::FIXED_COST).
const SLACK: u64 = 64 * 1024;

/// See the module.
pub(super) struct MapFile {
    path: PathBuf,
    file: Option<File>,
    nonce: u64,
    /// Bytes written, all of them sound.
    len: u64,
    gathered: Vec<u8>,
}

impl MapFile {
    /// Reads the map kept in `dir` into `map`. Never fails: what cannot be read is not cached, and
    /// what cannot be written is broken.
    pub(super) fn open(dir: &Path, map: &mut Map) -> Self {
        let path = dir.join("map");
        let mut this = Self {
            nonce: fresh_nonce(),
            file: None,
            len: 0,
            gathered: Vec::new(),
            path,
        };
        let Ok(file) = File::open(&this.path) else {
            return this;
        };
        match this.load(&file, map) {
            Ok(true) => {}
            Ok(false) => return this,
            Err(error) => log::warn!("disk cache: reading {}: {error}", this.path.display()),
        }
        let end = this.len;
        this.file = OpenOptions::new()
            .write(true)
            .open(&this.path)
            .and_then(|file| file.set_len(end).map(|()| file))
            .ok();
        this
    }

    /// Whether records can be appended.
    pub(super) fn broken(&self) -> bool {
        self.file.is_none()
    }

    /// Whether the file should be rewritten: it is broken, or mostly superseded.
    pub(super) fn wants_rewrite(&self, map: &Map) -> bool {
        self.broken() || self.len > 2 * live_len(map) + SLACK
    }

    /// Whether records wait to be written.
    pub(super) fn gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Gathers a record; [`flush`](Self::flush) writes it. Errors as there.
    pub(super) fn push(&mut self, record: &Record) -> io::Result<()> {
        if self.broken() {
            return Ok(());
        }
        record.encode(self.nonce, &mut self.gathered);
        if self.gathered.len() >= GATHER {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the records gathered. A file that refuses them is broken from then on.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            self.gathered.clear();
            return Ok(());
        };
        let written = file.write_all_at(&self.gathered, self.len);
        self.len += self.gathered.len() as u64;
        self.gathered.clear();
        if written.is_err() {
            self.file = None;
        }
        written
    }

    /// Writes the file anew from what `next` gives, until that is empty, then what `proofs` gives, and puts it in
    /// place. When that fails the file is broken: the one in place is too long, or unsound.
    pub(super) fn rewrite(
        &mut self,
        next: impl FnMut() -> Vec<Snapshot>,
        proofs: impl FnOnce() -> Vec<(FileId, u64)>,
    ) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        self.file = None;
        self.gathered.clear();
        let nonce = fresh_nonce();
        match write_whole(&temporary, nonce, next, proofs) {
            Ok((file, len)) => {
                std::fs::rename(&temporary, &self.path)?;
                (self.file, self.nonce, self.len) = (Some(file), nonce, len);
                Ok(())
            }
            Err(error) => {
                // Only to give the space back; the next rewrite truncates what is left.
                std::fs::remove_file(&temporary).ok();
                Err(error)
            }
        }
    }

    /// `false` when this is no map of this version.
    fn load(&mut self, file: &File, map: &mut Map) -> io::Result<bool> {
        let mut from = BufReader::with_capacity(256 * 1024, file);
        let mut header = [0; HEADER];
        if !fill(&mut from, &mut header)? {
            return Ok(false);
        }
        let nonce = u64_at(&header, 24);
        if header != self::header(nonce) {
            return Ok(false);
        }
        self.nonce = nonce;
        self.len = HEADER as u64;
        while let Some((record, len)) = Record::decode(nonce, &mut from)? {
            self.len += len;
            match record {
                Record::Wrote(snapshot) => map.load(&snapshot),
                Record::Dropped(patch) => {
                    map.load_proof(patch.file, proof::NONE);
                    let gone = map.retire(patch);
                    map.freed(gone);
                }
                Record::Used(key) => map.touch(key),
                Record::Forgot(file) => map.remove(file),
                Record::Proved(file, print) => map.load_proof(file, print),
            }
        }
        // What was just read is persisted.
        map.take_touched();
        Ok(true)
    }
}

/// Bytes of a map file with nothing superseded.
fn live_len(map: &Map) -> u64 {
    // A proof at most for every file, which has a segment at least.
    HEADER as u64 + 2 * map.totals.segments * RECORD + map.totals.units * SUM
}

fn header(nonce: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(&MAGIC);
    header[16..20].copy_from_slice(&VERSION.to_le_bytes());
    let unit = u32::try_from(geometry::UNIT).unwrap_or(0);
    header[20..24].copy_from_slice(&unit.to_le_bytes());
    header[24..32].copy_from_slice(&nonce.to_le_bytes());
    let check = checksum::record(nonce, &header[..32]);
    header[32..36].copy_from_slice(&check.to_le_bytes());
    header
}

fn write_whole(
    path: &Path,
    nonce: u64,
    mut next: impl FnMut() -> Vec<Snapshot>,
    proofs: impl FnOnce() -> Vec<(FileId, u64)>,
) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut bytes = header(nonce).to_vec();
    let mut len = 0;
    let mut proofs = Some(proofs);
    loop {
        let snapshots = next();
        let last = snapshots.is_empty();
        for snapshot in snapshots {
            Record::Wrote(snapshot).encode(nonce, &mut bytes);
        }
        // After the units they speak of.
        for (file, print) in proofs.take_if(|_| last).map_or_else(Vec::new, |all| all()) {
            Record::Proved(file, print).encode(nonce, &mut bytes);
        }
        file.write_all_at(&bytes, len)?;
        len += bytes.len() as u64;
        bytes.clear();
        if last {
            break;
        }
    }
    // A rename that reached the disk before the bytes would leave an empty map after a power cut.
    file.sync_data()?;
    Ok((file, len))
}

/// Different for every file written, so that left-over blocks of an earlier one do not decode.
fn fresh_nonce() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.unwrap_or_default().as_nanos().to_le_bytes();
    u64_at(&nanos, 0) ^ u64::from(std::process::id()).rotate_left(40)
}
