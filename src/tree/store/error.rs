//! Why what is kept on disk cannot be used.
use std::io;
use std::path::PathBuf;

/// Why a store cannot be used. Says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{} is in use by another fichierfs: an account can be mounted once; look at `findmnt -t \
         fuse.fichierfs`, or give this mount another --account or --state-dir",
        path.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error(
        "{} was written by a later version of fichierfs (format {found}, this one knows {known}); \
         use that version, or another --state-dir",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest this version knows.
        known: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "{} holds what belongs to the account of {owner}; give this account another name with \
         --account, or remove that file if that account is not used here any more",
        path.display()
    )]
    OtherAccount {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: Box<str>,
    },
    /// Its bytes make no sense.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The disk failed.
    #[error("cannot use {}: {source}; check the folder's owner and free space", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the disk has no room left.
    pub fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                )
        )
    }
}
