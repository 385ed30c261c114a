//! Why something could not be done with a file or folder.
use crate::outbox::OutboxError;
use crate::read::ReadError;
use crate::tree::TreeError;
use crate::write::error::StageError;

/// Why something could not be done with a file or folder.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// The tree could not say.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Bytes could not be staged, or read back.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Bytes could not be had.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A change could not be written down.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// There is no such name.
    #[error("there is no such file or folder")]
    NotFound,
    /// The name is taken.
    #[error("there is something with that name already")]
    Exists,
    /// The folder holds something.
    #[error("the folder is not empty")]
    NotEmpty,
    /// It is a folder.
    #[error("it is a folder")]
    IsFolder,
    /// It is a file.
    #[error("it is a file, not a folder")]
    NotFolder,
    /// The service does not take such a name.
    #[error("the service takes no such name: {0}")]
    Name(&'static str),
    /// The name is too long.
    #[error("the name is too long for the service")]
    NameTooLong,
    /// Nothing may be changed.
    #[error("this mount is read-only")]
    ReadOnly,
    /// It cannot be done with what the account can hold.
    #[error("the account cannot hold that")]
    Unsupported,
    /// The arguments make no sense.
    #[error("that makes no sense: {0}")]
    Invalid(&'static str),
    /// The upload that was waited for failed for good.
    #[error("it could not be uploaded: {0}")]
    Upload(Box<str>),
    /// The upload that was waited for has no room in the account.
    #[error("it could not be uploaded: {0}")]
    OverQuota(Box<str>),
    /// Time was up.
    #[error("it was not done in time; it goes on in the background")]
    Timeout,
    /// The mount is ending.
    #[error("the mount is ending")]
    Ending,
}

/// What an earlier life staged is gone from the disk.
pub(super) fn lost() -> VolumeError {
    VolumeError::Stage(StageError::Disk(std::io::ErrorKind::NotFound))
}
