//! The data files: one sparse file per file id, at the offsets the bytes have in the original.
//! Knows paths, descriptors and system calls; never what is in the files.
use super::proof;
use crate::api::FileId;
use crate::util::sync::lock;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::unistd::{Whence, lseek};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Descriptors kept open: as many files as are usually streamed at once; opening another costs
/// some 10 µs.
const OPEN_FILES: usize = 64;

/// Bytes per block of [`MetadataExt::blocks`], by definition.
const STAT_BLOCK: u64 = 512;

/// See the module.
pub(super) struct DataFiles {
    dir: PathBuf,
    open: Mutex<OpenFiles>,
    /// Plays a file system that cannot punch holes.
    #[cfg(test)]
    pub(super) holeless: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct OpenFiles {
    files: HashMap<FileId, (Arc<File>, u64)>,
    uses: u64,
}

impl DataFiles {
    /// The data files below `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.join("data"),
            open: Mutex::default(),
            #[cfg(test)]
            holeless: false.into(),
        }
    }

    /// Fills `buffer` from `offset` on. `UnexpectedEof` when the file ends first.
    pub(super) fn read(&self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let handle = self.existing(file)?.ok_or(io::ErrorKind::NotFound)?;
        handle.read_exact_at(buffer, offset)
    }

    /// Writes `bytes` at `offset` of a file of `size` bytes, creating it when new.
    pub(super) fn write(
        &self,
        file: FileId,
        size: u64,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let handle = match self.handle(file) {
            Some(handle) => handle,
            None => self.keep(file, self.create(file, size)?),
        };
        handle.write_all_at(bytes, offset)
    }

    /// Has the system write `range` of a file soon, and take out of its memory what of it is written. Not all of
    /// it may be, and nothing depends on it.
    pub(super) fn let_go(&self, file: FileId, range: &Range<u64>) {
        let signed = |value: u64| i64::try_from(value).ok();
        let (Some(handle), Some(start), Some(len)) = (
            self.handle(file),
            signed(range.start),
            signed(range.end - range.start),
        ) else {
            return;
        };
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        if let Err(error) = posix_fadvise(&*handle, start, len, advice) {
            log::debug!("disk cache: letting go of {file}: {error}");
        }
    }

    /// Frees the space of `range`, which reads as zeros from then on. `EOPNOTSUPP` where the file
    /// system cannot.
    pub(super) fn punch(&self, file: FileId, range: &Range<u64>) -> io::Result<()> {
        let Some(handle) = self.existing(file)? else {
            return Ok(());
        };
        #[cfg(test)]
        if self.holeless.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let signed = |value: u64| i64::try_from(value).map_err(io::Error::other);
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (start, len) = (signed(range.start)?, signed(range.end - range.start)?);
        Ok(fallocate(&*handle, flags, start, len)?)
    }

    /// Whether anything of `range` takes space, as far as the file system can tell. A file that is not
    /// there has nothing.
    pub(super) fn has_data(&self, file: FileId, range: &Range<u64>) -> io::Result<bool> {
        let Some(handle) = self.existing(file)? else {
            return Ok(false);
        };
        let start = i64::try_from(range.start).map_err(io::Error::other)?;
        match lseek(&*handle, start, Whence::SeekData) {
            Ok(at) => Ok(u64::try_from(at).map_err(io::Error::other)? < range.end),
            Err(Errno::ENXIO) => Ok(false),
            // A file system that cannot tell: it may be full of data.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes what the system holds of a data file through to the disk.
    pub(super) fn sync(&self, file: FileId) -> io::Result<()> {
        self.reopen(file)?.sync_data()
    }

    /// The same, after which the system has to read it from the disk.
    pub(super) fn settle(&self, file: FileId) -> io::Result<()> {
        let handle = self.reopen(file)?;
        handle.sync_data()?;
        Ok(posix_fadvise(
            &handle,
            0,
            0,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )?)
    }

    /// The [print](proof) of a data file, if this machine has such.
    pub(super) fn print(&self, file: FileId) -> io::Result<Option<u64>> {
        Ok(proof::print(&self.reopen(file)?.metadata()?))
    }

    /// A data file opened anew, for reading alone.
    pub(super) fn reopen(&self, file: FileId) -> io::Result<File> {
        options().write(false).open(self.path(file))
    }

    /// Removes a data file. Its space is free on return unless someone is reading it.
    pub(super) fn remove(&self, file: FileId) -> io::Result<()> {
        lock(&self.open).files.remove(&file);
        match std::fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Shows every data file to `visit`. Names that are none of ours are left alone.
    pub(super) fn walk(&self, mut visit: impl FnMut(FileId)) -> io::Result<()> {
        let shards = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            shards => shards?,
        };
        for shard in shards {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for found in std::fs::read_dir(shard.path())? {
                let found = found?;
                let Some(file) = found.file_name().to_str().and_then(FileId::parse) else {
                    continue;
                };
                if found.file_type()?.is_file() && found.path() == self.path(file) {
                    visit(file);
                }
            }
        }
        Ok(())
    }

    /// Whether a long file with nothing in it takes no space here: everything rests on that.
    pub(super) fn sparse(&self) -> io::Result<bool> {
        /// Bytes; far more than any file system gives out in advance.
        const LONG: u64 = 8 << 20;
        make_dir(&self.dir)?;
        let path = self.dir.join("sparse-test");
        let file = options().create(true).truncate(true).open(&path)?;
        let blocks = file.set_len(LONG).and_then(|()| file.metadata());
        std::fs::remove_file(&path)?;
        Ok(blocks?.blocks() * STAT_BLOCK < LONG / 2)
    }

    fn path(&self, file: FileId) -> PathBuf {
        // Ids are random: their first character spreads the files over 36 folders.
        let id = file.as_str();
        self.dir.join(&id[..1]).join(id)
    }

    /// A data file that may not be there, kept open from then on.
    fn existing(&self, file: FileId) -> io::Result<Option<Arc<File>>> {
        if let Some(handle) = self.handle(file) {
            return Ok(Some(handle));
        }
        match self.open(file) {
            Ok(handle) => Ok(Some(self.keep(file, handle))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, file: FileId) -> io::Result<File> {
        let path = self.path(file);
        match options().open(&path) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                options().write(false).open(&path)
            }
            opened => opened,
        }
    }

    fn create(&self, file: FileId, size: u64) -> io::Result<File> {
        let path = self.path(file);
        let handle = match options().create(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_dir(&self.dir)?;
                make_dir(path.parent().unwrap_or(&self.dir))?;
                options().create(true).open(&path)?
            }
            opened => opened?,
        };
        // Long at once: a file that grows makes some file systems reserve space beyond its end.
        if handle.metadata()?.len() != size {
            handle.set_len(size)?;
        }
        Ok(handle)
    }

    fn handle(&self, file: FileId) -> Option<Arc<File>> {
        let mut open = lock(&self.open);
        open.uses += 1;
        let now = open.uses;
        let (handle, used) = open.files.get_mut(&file)?;
        *used = now;
        Some(handle.clone())
    }

    fn keep(&self, file: FileId, handle: File) -> Arc<File> {
        let handle = Arc::new(handle);
        let mut open = lock(&self.open);
        open.uses += 1;
        let now = open.uses;
        open.files.insert(file, (handle.clone(), now));
        if open.files.len() > OPEN_FILES {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(file, _)| *file) {
                open.files.remove(&oldest);
            }
        }
        handle
    }
}

/// How data files are opened: by their owner only, and never through a symbolic link.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

/// Makes a folder for its owner only, unless it exists.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
