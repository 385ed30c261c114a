//! What a mount tells of changes that the account does not know yet.
//!
//! Promises as in [`super::status`]. Lists are bounded, so that an answer fits in its line; the counts
//! beside them are of all.
use serde::{Deserialize, Serialize};

/// Files or folders of a list at most: more than a person reads.
pub const MOST_LISTED: usize = 100;

/// What is written here and not in the account yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WriteFigures {
    /// Whether the mount is read-only: then nothing of this is told to the account.
    pub read_only: bool,
    /// Whether the mount itself is gone and its process goes on only for this.
    pub draining: bool,
    /// Files and folders of which the account has to be told something, failed ones included.
    pub waiting: u64,
    /// Bytes of files among them that are to be uploaded.
    pub waiting_bytes: u64,
    /// Bytes of those that uploads under way have handed over.
    pub sent_bytes: u64,
    /// Bytes handed over to the service since the process began.
    pub uploaded_bytes: u64,
    /// Bytes per second handed over lately.
    pub bytes_per_second: u64,
    /// Files being uploaded.
    pub uploading: u64,
    /// Those, or the first of them.
    pub uploads: Vec<UploadFigures>,
    /// Files and folders that were given up until somebody decides.
    pub failed: u64,
    /// Those, or the first of them.
    pub failures: Vec<FailedFigures>,
    /// Bytes staged.
    pub staging_bytes: u64,
    /// Bytes staged at most.
    pub staging_budget_bytes: u64,
    /// Staging files that were set aside after damage, since nobody knows what they are of.
    pub staging_lost: u64,
}

/// A file that is being uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadFigures {
    /// Where it is shown, from the mountpoint on.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes handed over. All of them: the service has not confirmed it yet.
    pub sent_bytes: u64,
    /// Bytes per second handed over lately.
    pub bytes_per_second: u64,
}

/// Something that was given up until somebody decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedFigures {
    /// Where it is shown, from the mountpoint on; of what was removed here, where it was.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// How far telling is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Left {
    /// Files and folders left.
    pub waiting: u64,
    /// Bytes left to be handed over.
    pub bytes: u64,
    /// Bytes at the most that were left so far: with `bytes`, how far it is.
    pub of_bytes: u64,
}

/// The account has everything but this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synced {
    /// Files and folders that were given up.
    pub failed: u64,
    /// Those, or the first of them.
    pub failures: Vec<FailedFigures>,
    /// Files and folders that wait for one of those.
    pub held_up: u64,
}

/// Changes the account was not told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsent {
    /// Files and folders.
    pub count: u64,
    /// Bytes that exist here only.
    pub bytes: u64,
    /// Those, or the first of them.
    pub first: Vec<UnsentFigures>,
}

/// A change the account was not told of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnsentFigures {
    /// Where it is shown, from the mountpoint on.
    pub path: String,
    /// What is to be told.
    pub change: Change,
    /// Bytes of its content that exist here only.
    pub bytes: u64,
    /// Why it was given up, if it was.
    pub reason: Option<String>,
}

/// What is to be told of a file or folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A new file, or another content of one.
    Upload,
    /// A new folder.
    Make,
    /// Another name or folder.
    Move,
    /// It is to be gone.
    Remove,
    /// Something this version does not know.
    #[default]
    #[serde(other)]
    Other,
}
