//! One scheduler per account and machine, and its record on disk.
//!
//! Promises: as long as a [`BudgetFile`] lives no other process on the machine has one of the same account, in
//! this folder or in another; the locks go with the process, however it ends. The record is replaced whole
//! or not at all, can be read by its owner only, and no file name tells the key. A record that cannot be
//! read is set aside, not trusted and not lost.
use super::machine_lock::{LockError, MachineLock};
use super::saved::{Loaded, Saved, VERSION};
use crate::secret::ApiKey;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use whirlpool::{Digest, Whirlpool};

/// A record is a few kilobytes; what is larger is none.
const RECORD_MOST_BYTES: u64 = 1 << 20;

/// Which account a budget belongs to, without telling its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Box<str>);

impl Fingerprint {
    /// The first 16 hex digits of a hash of the key.
    pub fn of(key: &ApiKey) -> Self {
        let mut hash = Whirlpool::new();
        hash.update(b"fichierfs budget\0");
        hash.update(key.expose().as_bytes());
        let mut digits = String::new();
        for byte in hash.finalize().iter().take(8) {
            let _ = write!(digits, "{byte:02x}"); // a String takes everything
        }
        Self(digits.into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Another process has the account's budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// That process, if its number could be read.
    pub pid: Option<u32>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another fichierfs ")?;
        if let Some(pid) = self.pid {
            write!(f, "(process {pid}) ")?;
        }
        f.write_str(
            "uses this account on this machine; if it is mounted, `fichierfs status` says where",
        )
    }
}

/// Why the budget of an account cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// Another process has it.
    #[error("{0}")]
    Held(Held),
    /// The folder or a file in it cannot be used.
    #[error("cannot {doing} {}: {source}; check the folder's owner and free space", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The lock and the record of one account.
#[derive(Debug)]
pub struct BudgetFile {
    record: PathBuf,
    loaded: Loaded,
    /// Held for as long as this lives.
    _lock: Flock<File>,
    /// The same against processes with other folders.
    _machine: Option<MachineLock>,
}

impl BudgetFile {
    /// Takes the locks of an account at `service`, a URL: one in the folder `dir`, which is made when missing,
    /// and one against processes with other folders. Then it reads the record. Blocks for the disk only.
    pub fn open(dir: &Path, fingerprint: &Fingerprint, service: &str) -> Result<Self, BudgetError> {
        let fails = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| BudgetError::Io {
                doing,
                path,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(fails("make the folder", dir))?;
        let lock_path = dir.join(format!("{fingerprint}.lock"));
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(fails("open", &lock_path))?;
        let mut lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, Errno::EWOULDBLOCK)) => return Err(BudgetError::Held(Held::read(file))),
            Err((_, errno)) => return Err(fails("lock", &lock_path)(errno.into())),
        };
        let machine = match MachineLock::take(fingerprint, service) {
            Ok(lock) => Some(lock),
            Err(LockError::Held(held)) => return Err(BudgetError::Held(held)),
            // A confined process may be denied such sockets; the lock in the folder stays.
            Err(LockError::Io(error)) => {
                log::warn!("processes with other state folders cannot be kept off: {error}");
                None
            }
        };
        write_pid(&mut lock).map_err(fails("write", &lock_path))?;
        let record = dir.join(format!("{fingerprint}.json"));
        let loaded = load(&record).map_err(fails("read", &record))?;
        Ok(Self {
            record,
            loaded,
            _lock: lock,
            _machine: machine,
        })
    }

    /// What an earlier process left.
    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Replaces the record; `durable` also waits until the disk has it.
    pub(super) fn write(&self, saved: &Saved, durable: bool) -> io::Result<()> {
        let fresh = self.record.with_extension("json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&fresh, &self.record)
    }
}

impl Held {
    fn read(lock: File) -> Self {
        let mut text = String::new();
        let read = lock.take(32).read_to_string(&mut text);
        Self {
            pid: read.ok().and_then(|_| text.trim().parse().ok()),
        }
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn load(record: &Path) -> io::Result<Loaded> {
    let file = match File::open(record) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Fresh),
        Err(error) => return Err(error),
    };
    let written = file.metadata()?.modified()?;
    let mut text = Vec::new();
    file.take(RECORD_MOST_BYTES).read_to_end(&mut text)?;
    match serde_json::from_slice::<Saved>(&text) {
        Ok(saved) if saved.version == VERSION => Ok(Loaded::Sound(Box::new(saved))),
        _ => {
            let aside = record.with_extension("json.bad");
            fs::rename(record, &aside)?;
            log::warn!(
                "the record of earlier calls was damaged; set aside as {}, going on carefully",
                aside.display()
            );
            Ok(Loaded::Damaged(written.elapsed().unwrap_or_default()))
        }
    }
}
