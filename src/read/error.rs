//! Why a read could not be answered.
use crate::api::{ApiError, ErrorKind};

/// A failed read. Cheap to clone: all who waited for the same bytes hear the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The bytes did not come in time.
    #[error("no bytes within the read time-out")]
    Timeout,
    /// The service failed and trying again within the deadline did not help, or never will.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The mount is going away.
    #[error("the mount is being taken down")]
    Shutdown,
}

impl ReadError {
    /// Whether a later read of the same bytes may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Api(error) => error.is_temporary(),
            Self::Shutdown => false,
        }
    }

    /// Whether the file is no longer in the account.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Api(error) if error.kind == ErrorKind::NotFound)
    }
}
