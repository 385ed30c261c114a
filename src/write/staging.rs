//! Staging files: where bytes wait until the account has them.
//!
//! Promises: what was written is read back; a limit on all of them together, beyond which a write fails
//! and everything staged before stays good; a file that is kept outlives the process, any other goes with the last who
//! needs it. Sparse: a byte nobody wrote takes no room. Knows numbers and bytes; never what they are of.
use super::error::StageError;
use crate::api::MAX_FILE_BYTES;
use crate::util::sync::lock;
use rangemap::RangeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What names of staging files end with.
const ENDING: &str = "stage";

/// What they end with when nobody knows what they are of.
const LOST: &str = "lost";

/// Bytes of the disk that are left free: what was staged must be written down, and that it was removed, too,
/// or a full disk would stay full.
const HEADROOM: u64 = 16 << 20;

/// Bytes that are staged before the disk is asked again how much is free.
const MEASURED: u64 = 16 << 20;

/// The folder of staging files; cheap to clone.
#[derive(Debug, Clone)]
pub struct Staging {
    area: Arc<Area>,
}

#[derive(Debug)]
struct Area {
    dir: PathBuf,
    /// Bytes at most.
    limit: u64,
    used: AtomicU64,
    /// Bytes that fit the disk without asking it.
    free: AtomicU64,
    lost: AtomicU64,
}

/// How much is staged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StagingUsage {
    /// Bytes.
    pub used: u64,
    /// Bytes at most.
    pub limit: u64,
    /// Files that were set aside because nobody knows what they are of; not counted in the bytes.
    pub lost: u64,
}

/// A staging file.
#[derive(Debug)]
pub struct Stage {
    number: u64,
    file: File,
    area: Arc<Area>,
    /// What is in it, and counted.
    written: Mutex<RangeSet<u64>>,
    /// How many versions that are written down need it.
    kept: AtomicUsize,
    /// Counts what was done to it.
    changes: AtomicU64,
    /// How many of these are on disk. Held while the disk is waited for: who comes second must not be told
    /// sooner.
    synced: Mutex<u64>,
}

impl Staging {
    /// The staging files in `dir`, which is made for its owner only; at most `limit` bytes of them.
    pub fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let area = Area {
            dir: dir.to_owned(),
            limit,
            used: AtomicU64::new(0),
            free: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        Ok(Self {
            area: Arc::new(area),
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.area.used.load(Ordering::Relaxed)
    }

    /// How much is staged, and what was set aside, as far as [`Staging::sweep`] has seen.
    pub fn usage(&self) -> StagingUsage {
        StagingUsage {
            used: self.used(),
            limit: self.area.limit,
            lost: self.area.lost.load(Ordering::Relaxed),
        }
    }

    /// A new file; the number must never have been used.
    pub fn create(&self, number: u64) -> Result<Arc<Stage>, StageError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.area.path(number, ENDING))?;
        Ok(self.stage(number, file))
    }

    /// A file of an earlier life, which holds `ranges`. An error when it does not reach as far.
    pub fn adopt(&self, number: u64, ranges: &[Range<u64>]) -> io::Result<Arc<Stage>> {
        let path = self.area.path(number, ENDING);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let written: RangeSet<u64> = ranges
            .iter()
            .filter(|it| it.start < it.end)
            .cloned()
            .collect();
        let reach = written.last().map_or(0, |last| last.end);
        if file.metadata()?.len() < reach {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stage = self.stage(number, file);
        // Beyond the limit or not: it is there.
        self.area
            .used
            .fetch_add(bytes_of(&written), Ordering::Relaxed);
        *lock(&stage.written) = written;
        Ok(stage)
    }

    /// Puts files of an earlier life that nobody needs out of the way: removed when it is sure that
    /// nobody does, else kept under another name. Returns how many there were.
    pub fn sweep(&self, is_needed: impl Fn(u64) -> bool, is_sure: bool) -> io::Result<usize> {
        let mut swept = 0;
        let mut lost_files = 0;
        for entry in fs::read_dir(&self.area.dir)? {
            let path = entry?.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            let is_stage = path.extension().is_some_and(|ending| ending == ENDING);
            lost_files += u64::from(path.extension().is_some_and(|ending| ending == LOST));
            if !is_stage || stem.is_some_and(&is_needed) {
                continue;
            }
            if is_sure {
                fs::remove_file(&path)?;
            } else {
                let lost = path.with_extension(LOST);
                log::error!(
                    "nobody knows any more what {} is of; it is kept as {}",
                    path.display(),
                    lost.display()
                );
                fs::rename(&path, &lost)?;
                lost_files += 1;
            }
            swept += 1;
        }
        self.area.lost.store(lost_files, Ordering::Relaxed);
        Ok(swept)
    }

    fn stage(&self, number: u64, file: File) -> Arc<Stage> {
        Arc::new(Stage {
            number,
            file,
            area: Arc::clone(&self.area),
            written: Mutex::default(),
            kept: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            synced: Mutex::new(0),
        })
    }
}

impl Area {
    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.dir.join(format!("{number}.{ending}"))
    }

    /// Takes room for `bytes` more.
    fn charge(&self, bytes: u64) -> Result<(), StageError> {
        self.measure(bytes)?;
        let take = |used: u64| {
            let used = used.checked_add(bytes)?;
            (used <= self.limit).then_some(used)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map(|_| ())
            .map_err(|_| StageError::Full)
    }

    /// Whether the disk has room for `bytes` more, and for what must be written beside them.
    fn measure(&self, bytes: u64) -> Result<(), StageError> {
        let take = |free: u64| free.checked_sub(bytes);
        let fits = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if fits.is_ok() {
            return Ok(());
        }
        let disk = nix::sys::statvfs::statvfs(&self.dir).map_err(io::Error::from)?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        let Some(left) = free.checked_sub(HEADROOM.saturating_add(bytes)) else {
            return Err(StageError::Full);
        };
        self.free.store(left.min(MEASURED), Ordering::Relaxed);
        Ok(())
    }

    fn discharge(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Stage {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        bytes_of(&lock(&self.written))
    }

    /// Writes bytes; all of them or, when that fails, none that count.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StageError> {
        self.put(bytes, offset, |more| self.area.charge(more))
    }

    /// The same beyond the limit: what is known already must be kept.
    pub fn restore(&self, bytes: &[u8], offset: u64) -> Result<(), StageError> {
        self.put(bytes, offset, |more| {
            self.area.used.fetch_add(more, Ordering::Relaxed);
            Ok(())
        })
    }

    fn put(
        &self,
        bytes: &[u8],
        offset: u64,
        charge: impl FnOnce(u64) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let range = offset..offset.saturating_add(bytes.len() as u64);
        if range.is_empty() {
            return Ok(());
        }
        if range.end > MAX_FILE_BYTES {
            return Err(StageError::TooLarge);
        }
        let mut written = lock(&self.written);
        let covered: u64 = written
            .overlapping(&range)
            .map(|part| part.end.min(range.end) - part.start.max(range.start))
            .sum();
        let more = range.end - range.start - covered;
        charge(more)?;
        let outcome = self.file.write_all_at(bytes, offset);
        self.changes.fetch_add(1, Ordering::Release);
        if let Err(error) = outcome {
            self.area.discharge(more);
            return Err(error.into());
        }
        written.insert(range);
        Ok(())
    }

    /// Reads exactly as many bytes as fit; what nobody wrote is zeros.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            match self.file.read_at(&mut bytes[at..], offset + at as u64) {
                Ok(0) => {
                    bytes[at..].fill(0);
                    return Ok(());
                }
                Ok(got) => at += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the room beyond `size` back. Only as long as nobody else needs it.
    pub fn cut(&self, size: u64) -> io::Result<()> {
        let mut written = lock(&self.written);
        let reach = written.last().map_or(0, |last| last.end);
        if size < reach {
            self.file.set_len(size)?;
            let before = bytes_of(&written);
            written.remove(size..reach);
            self.area.discharge(before - bytes_of(&written));
        }
        Ok(())
    }

    /// Waits until everything in it is on disk, its name included. Blocks.
    pub fn sync(&self) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        // A write from now on is not promised by this.
        let changes = self.changes.load(Ordering::Acquire);
        if *synced < changes {
            self.file.sync_data()?;
            File::open(&self.area.dir)?.sync_all()?;
            *synced = changes;
        }
        Ok(())
    }

    /// A version that is, or is about to be, written down needs it: it outlives the process.
    pub fn keep(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// Such a version is of no use any more, and that is written down.
    pub fn release(&self) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.area.discharge(bytes_of(&lock(&self.written)));
        if *self.kept.get_mut() == 0
            && let Err(error) = fs::remove_file(self.area.path(self.number, ENDING))
        {
            log::warn!("staging file {} could not be removed: {error}", self.number);
        }
    }
}

fn bytes_of(ranges: &RangeSet<u64>) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tempfile::TempDir;

    fn staging(limit: u64) -> (Staging, TempDir) {
        let dir = tempfile::Builder::new().prefix("fichierfs-test").tempdir();
        let dir = dir.unwrap();
        (
            Staging::open(&dir.path().join("staging"), limit).unwrap(),
            dir,
        )
    }

    fn files(dir: &TempDir) -> usize {
        fs::read_dir(dir.path().join("staging")).unwrap().count()
    }

    #[test]
    fn a_full_area_refuses_and_keeps_what_it_has() {
        let (staging, _dir) = staging(100);
        let first = staging.create(1).unwrap();
        first.write(&[1; 60], 0).unwrap();
        let second = staging.create(2).unwrap();
        assert!(matches!(second.write(&[2; 50], 7), Err(StageError::Full)));
        // Written again it takes no more room.
        first.write(&[3; 60], 0).unwrap();
        second.write(&[2; 40], 1_000_000).unwrap();
        assert!(matches!(second.write(&[2; 1], 0), Err(StageError::Full)));
        let mut bytes = [9; 60];
        first.read(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [3; 60]);
        drop(first);
        assert_eq!(staging.used(), 40);
        assert!(matches!(
            second.write(&[0; 2], MAX_FILE_BYTES - 1),
            Err(StageError::TooLarge)
        ));
    }

    #[test]
    fn what_is_kept_outlives_who_made_it_and_the_rest_does_not() {
        let (staging, dir) = staging(1000);
        let (kept, other) = (staging.create(1).unwrap(), staging.create(2).unwrap());
        kept.write(b"kept", 10).unwrap();
        kept.keep();
        kept.sync().unwrap();
        drop((kept, other));
        assert_eq!((files(&dir), staging.used()), (1, 0));
        assert!(
            staging.adopt(1, &[0..2, 10..15]).is_err(),
            "it is shorter than that"
        );
        let again = staging.adopt(1, &[10..12, 12..14]).unwrap();
        assert_eq!(staging.used(), 4);
        let mut bytes = [9; 8];
        again.read(&mut bytes, 8).unwrap();
        assert_eq!(&bytes, b"\0\0kept\0\0");
        drop(again);
        assert_eq!(files(&dir), 0, "nobody said that it is needed still");
    }

    #[test]
    fn leftovers_go_only_when_it_is_sure_that_nobody_needs_them() {
        let (staging, dir) = staging(1000);
        for number in 1..4 {
            let stage = staging.create(number).unwrap();
            stage.keep();
        }
        assert_eq!(staging.sweep(|number| number == 1, true).unwrap(), 2);
        assert_eq!(files(&dir), 1);
        assert_eq!(staging.sweep(|_| false, false).unwrap(), 1);
        assert!(dir.path().join("staging/1.lost").exists());
        assert_eq!(staging.usage().lost, 1);
        assert_eq!(staging.sweep(|_| false, true).unwrap(), 0);
        assert_eq!(staging.usage().lost, 1, "as long as it lies there");
    }

    proptest! {
        /// The count is what is there, whatever was written over what.
        #[test]
        fn the_count_is_what_is_there(
            steps in prop::collection::vec((0..200u64, 0..50usize, any::<bool>()), 0..20),
        ) {
            let (staging, _dir) = staging(10_000);
            let stage = staging.create(1).unwrap();
            let mut model = vec![false; 300];
            for (at, length, cuts) in steps {
                let start = usize::try_from(at).unwrap();
                if cuts {
                    stage.cut(at).unwrap();
                    model[start..].fill(false);
                } else {
                    stage.write(&vec![1; length], at).unwrap();
                    model[start..start + length].fill(true);
                }
                let there = model.iter().filter(|it| **it).count();
                prop_assert_eq!(staging.used(), there as u64);
            }
            let mut bytes = vec![9; 300];
            stage.read(&mut bytes, 0).unwrap();
            let read: Vec<bool> = bytes.iter().map(|byte| *byte == 1).collect();
            prop_assert_eq!(read, model);
        }
    }
}
