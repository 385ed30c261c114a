//! What can be wrong with a configuration: one sentence each, with what to do about it.
use crate::secret::BadKey;
use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An option, wherever it was given, that does not exist or has no sensible value.
    #[error("{origin}: {why}")]
    Option {
        /// Where it was given, as the user wrote it.
        origin: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the {what} {}: {source}", path.display())]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file whose contents make no sense.
    #[error("the {what} {}: {why}", path.display())]
    Malformed {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong; never a piece of the contents, which may hold the key.
        why: String,
    },
    /// A file with a key or passwords that others may read.
    #[error(
        "the {what} {} holds a key or passwords and others may read it (mode {mode:04o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key that cannot be one.
    #[error("{origin}: {source}")]
    Key {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        source: BadKey,
    },
    /// No key anywhere.
    #[error(
        "there is no API key for the account `{account}`; run: fichierfs login{}",
        if account == "default" { String::new() } else { format!(" --account {account}") }
    )]
    NoKey {
        /// The account's name.
        account: String,
    },
    /// A folder that cannot be used.
    #[error("the {what} folder {} cannot be used: {source}; choose another with {option}",
        path.display())]
    Folder {
        /// What the folder is for.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The option that chooses it.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl ConfigError {
    /// Whether the user wrote something wrong, rather than the machine lacking something.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Option { .. })
    }

    /// An error about one option.
    pub(super) fn option(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Option {
            origin: origin.into(),
            why: why.into(),
        }
    }
}
