//! What a mount tells of its disk cache, and of files on their way there.
use serde::{Deserialize, Serialize};

/// What the check of one file brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckedFile {
    /// The file's id in the account.
    pub id: String,
    /// Its size.
    pub size: u64,
    /// Bytes of it that are on disk and sound.
    pub sound_bytes: u64,
    /// Bytes that were damaged; they are not kept any more.
    pub damaged_bytes: u64,
    /// How the whole file compares with the service's hash.
    pub whirlpool: Comparison,
    /// Why it could not be compared, if that was asked for.
    pub problem: Option<String>,
}

/// How a file compares with the service's hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Not asked for, or not possible: not all of the file is here and sound.
    #[default]
    NotMade,
    /// They are the same.
    Same,
    /// They differ: what was kept of the file was thrown away.
    Differs,
    /// The service did not say its hash.
    NotKnown,
}

impl CheckedFile {
    /// Whether nothing wrong was found.
    pub fn is_sound(&self) -> bool {
        self.damaged_bytes == 0 && self.whirlpool != Comparison::Differs
    }
}

/// What warming a file brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WarmedFile {
    /// Bytes of it that are on disk now, of those asked for.
    pub bytes: u64,
    /// Of them fetched just now.
    pub fetched_bytes: u64,
    /// What the cache may take in all.
    pub budget_bytes: u64,
}

/// What was thrown away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClearedCache {
    /// Files something was kept of.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}
