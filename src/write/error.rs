//! What can go wrong with bytes that are staged.
use crate::read::ReadError;
use std::io;

/// Why bytes could not be staged, or read back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StageError {
    /// No room: the limit of the staging area, or the disk.
    #[error(
        "the staging area or its disk is full; wait for uploads, make room, or raise --staging-size"
    )]
    Full,
    /// The service takes no file of that size.
    #[error("the service takes no file of more than 300 GB")]
    TooLarge,
    /// The disk failed.
    #[error("the staging disk: {0}")]
    Disk(io::ErrorKind),
    /// A part that is in the account only could not be had.
    #[error("what was not changed could not be read: {0}")]
    Base(#[from] ReadError),
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            kind => Self::Disk(kind),
        }
    }
}
