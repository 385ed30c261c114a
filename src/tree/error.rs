//! Why the tree could not answer.
use super::inode::Ino;
use super::listing::Listing;
use crate::api::{ApiError, ErrorKind, FolderId};
use std::sync::Arc;

/// Why the tree could not answer. Cheap to clone: all who wait for one listing get the same.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TreeError {
    /// The account has no such folder any more.
    #[error("folder {0} is not in the account any more")]
    NotFound(FolderId),
    /// What was asked about is a file.
    #[error("inode {0} is a file, not a folder")]
    NotDir(Ino),
    /// Nothing is known of the inode, or it is gone from the account.
    #[error("inode {0} is not there any more; look its path up again")]
    Stale(Ino),
    /// The service shows a part of the folder only, and what was asked for is not in that part.
    #[error(
        "only {} entries of folder {} are known, the service does not list more at once; spread \
         them over sub-folders",
        listing.entries().len(), listing.folder()
    )]
    Cut {
        /// The known part, which must not pass for the whole.
        listing: Arc<Listing>,
    },
    /// The call failed.
    #[error("cannot list folder {folder}: {source}")]
    Api {
        /// The folder.
        folder: FolderId,
        /// Why.
        source: ApiError,
    },
    /// Time was up before the folder's listing came.
    #[error("folder {0} was not listed in time; it goes on in the background, try again")]
    Timeout(FolderId),
    /// The listing was given up, because the mount is ending.
    #[error("folder {0} was not listed: the mount is ending")]
    Interrupted(FolderId),
}

impl TreeError {
    /// What a failed listing of `folder` means here.
    pub(super) fn of_call(folder: FolderId, source: ApiError) -> Self {
        if source.kind == ErrorKind::NotFound {
            Self::NotFound(folder)
        } else {
            Self::Api { folder, source }
        }
    }

    /// Whether the same question may be answered later without anyone doing anything.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Api { source, .. } => source.is_temporary(),
            Self::Timeout(_) => true,
            Self::NotFound(_)
            | Self::NotDir(_)
            | Self::Stale(_)
            | Self::Cut { .. }
            | Self::Interrupted(_) => false,
        }
    }
}
