//! One database file: opened, locked, closed after a failure, replaced when it is beyond use.
//!
//! Promises: whatever the file holds, whoever asks gets an answer or an error that tells a disk that
//! failed from a file that is damaged; a panic of the database ends nothing but the question. After a
//! failure of the disk the file is opened anew for the next question. Blocks for the disk, so never to
//! be used on an event loop.
use super::error::StoreError;
use crate::util::sync::{read, write};
use redb::{Database, Durability, ReadTransaction, WriteTransaction};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

/// A database file that is held for this process.
#[derive(Debug)]
pub(super) struct Shelf {
    path: PathBuf,
    /// Bytes of memory for pages.
    memory: usize,
    /// `None` after a failure, until somebody asks again.
    open: RwLock<Option<Database>>,
}

impl Shelf {
    /// Opens or makes the file at `path`, for its owner only.
    pub(super) fn open(path: PathBuf, memory: usize) -> Result<Self, StoreError> {
        let shelf = Self {
            path,
            memory,
            open: RwLock::new(None),
        };
        let database = shelf.database()?;
        *write(&shelf.open) = Some(database);
        Ok(shelf)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes it takes on disk.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        /// The unit of `st_blocks`, by POSIX.
        const BLOCK: u64 = 512;
        fs::metadata(&self.path).map_or(0, |meta| meta.blocks() * BLOCK)
    }

    /// Asks a question.
    pub(super) fn read<T>(
        &self,
        question: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        use redb::ReadableDatabase;
        self.run(|database| question(&database.begin_read()?))
    }

    /// Changes something, all of it or nothing; on disk when this returns.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        // What follows a kill or a power cut is an opening like any other (measured: a million
        // entries are open in 80 ms instead of 160), for a fraction of a millisecond per commit.
        self.commit(true, change)
    }

    /// The same for a small file and a program that waits: the disk is waited for once instead of twice,
    /// and an opening after a kill reads the whole file.
    pub(super) fn write_often<T>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.commit(false, change)
    }

    fn commit<T>(
        &self,
        quick_repair: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.run(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(quick_repair);
            transaction.set_durability(Durability::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Puts an empty file in the place of this one, which is kept as `aside` if that is given.
    pub(super) fn replace(&self, aside: Option<&Path>) -> Result<(), StoreError> {
        let mut open = write(&self.open);
        close(&mut open);
        remove(&self.path, aside).map_err(|source| self.io(source))?;
        *open = Some(self.database()?);
        Ok(())
    }

    fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut open = read(&self.open);
        if open.is_none() {
            drop(open);
            let mut closed = write(&self.open);
            if closed.is_none() {
                *closed = Some(self.database()?);
            }
            drop(closed);
            open = read(&self.open);
        }
        let Some(database) = open.as_ref() else {
            return Err(self.io(io::Error::other("it was closed meanwhile")));
        };
        let outcome = guarded(|| work(database));
        drop(open);
        outcome.map_err(|error| {
            let error = self.explain(error);
            // The database refuses everything after a failure of the disk.
            if matches!(error, StoreError::Io { .. }) {
                close(&mut write(&self.open));
            }
            error
        })
    }

    fn database(&self) -> Result<Database, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .map_err(|source| self.io(source))?;
        guarded(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(self.memory);
            Ok(builder.create_file(file)?)
        })
        .map_err(|error| self.explain(error))
    }

    fn explain(&self, error: Failure) -> StoreError {
        let damaged = |detail: String| StoreError::Damaged {
            path: self.path.clone(),
            detail,
        };
        match error {
            Failure::Panic => damaged("the database could not make sense of it".to_owned()),
            Failure::Error(error) => match *error {
                redb::Error::DatabaseAlreadyOpen => StoreError::Held {
                    path: self.path.clone(),
                },
                // Not a database, or shorter than its header says.
                redb::Error::Io(source)
                    if matches!(
                        source.kind(),
                        ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                    ) =>
                {
                    damaged(source.to_string())
                }
                redb::Error::Io(source) => self.io(source),
                error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
                    self.io(io::Error::other(error.to_string()))
                }
                error => damaged(error.to_string()),
            },
        }
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Why a question was not answered.
enum Failure {
    Error(Box<redb::Error>),
    /// The database met what it thought impossible.
    Panic,
}

fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| Failure::Error(Box::new(error))),
        Err(_) => Err(Failure::Panic),
    }
}

/// Closes a database, which writes once more and may fail as everything else.
fn close(open: &mut Option<Database>) {
    let database = open.take();
    let _ = guarded(|| {
        drop(database);
        Ok(())
    });
}

/// Removes a file, or renames it; one that is not there is no failure.
pub(super) fn remove(path: &Path, aside: Option<&Path>) -> io::Result<()> {
    let outcome = match aside {
        Some(aside) => fs::rename(path, aside),
        None => fs::remove_file(path),
    };
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
