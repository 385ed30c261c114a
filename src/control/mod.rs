//! The mount's socket: commands ask a running mount instead of the service.
//!
//! One request per line, one answer per line, both JSON; several may follow each other on one
//! connection. Work that takes long tells how far it is in lines before its answer, and ends when the
//! connection does. This module knows the protocol and the socket; what the answers are, the assembly
//! says through [`Answers`]. Only the mount's own user and root are heard.
pub mod cache;
pub mod client;
pub mod explain;
pub mod find;
pub mod index;
pub mod local_state;
pub mod place;
pub mod server;
pub mod status;
pub mod unsent;

pub use cache::{CheckedFile, ClearedCache, Comparison, WarmedFile};
pub use client::Client;
pub use explain::Explained;
pub use index::{Compared, IndexedFile, Keep, Removed, Seen, Spare, Twins, Within};
pub use local_state::{Exported, Head, Imported, Record};
pub use server::{Answers, Server, Teller};
pub use status::Status;
pub use unsent::{Left, Synced, Unsent};

use crate::api::UserInfo;
use crate::errand::{Done, Errand};
use serde::{Deserialize, Serialize};

/// What a command may ask. New ones are added; a mount that does not know one says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Who are you?
    Ping,
    /// What does the service say of the account?
    Account,
    /// How are you?
    Status,
    /// Look at a folder again, so that everybody sees what it holds now.
    Refresh {
        /// The folder's inode number in the mount.
        inode: u64,
        /// Whether to wait until the service allows it; else a [`Answer::TooSoon`] may come.
        wait: bool,
    },
    /// What is known of a file or folder?
    Explain {
        /// Its inode number in the mount.
        inode: u64,
    },
    /// Bring a file into the disk cache, behind everybody who reads. Long.
    Warm {
        /// Its inode number in the mount.
        inode: u64,
        /// Only its head and its tail.
        edges: bool,
    },
    /// Compare what the disk cache holds with its checksums. Long.
    CacheVerify {
        /// Of this file only; else of all.
        inode: Option<u64>,
        /// Whether to compare whole files with the service's hash too.
        whirlpool: bool,
    },
    /// Throw away what the disk cache holds.
    CacheClear {
        /// Of this file only; else of all.
        inode: Option<u64>,
    },
    /// Wait until the account has everything that was closed here. Long.
    Sync {
        /// Of this file or of what is below this folder; else of all.
        inode: Option<u64>,
    },
    /// What was changed here and the account was not told of?
    Unsent {
        /// Of this file or of what is below this folder; else all that was given up.
        inode: Option<u64>,
    },
    /// Try again what was given up.
    Retry {
        /// Of this file or of what is below this folder; else all.
        inode: Option<u64>,
    },
    /// Forget changes: show again what the account has.
    Discard {
        /// Of this file or of what is below this folder; else all that was given up.
        inode: Option<u64>,
    },
    /// What are all files? Long.
    Index {
        /// Where.
        within: Within,
    },
    /// Which files hold the same? Long.
    Duplicates {
        /// Where.
        within: Within,
        /// Which of each is the first that is told.
        keep: Keep,
    },
    /// Remove files that hold the same as another one. Long: the folder of that one is looked at again first.
    RemoveSpare {
        /// Which.
        spare: Spare,
    },
    /// What exists on this machine only? Long.
    StateExport,
    /// Take in what existed on another machine only. Long.
    StateImport {
        /// Whose it is.
        head: Head,
        /// Whether another account's is taken in, too.
        force: bool,
        /// Some of it.
        records: Vec<Record>,
    },
    /// Keep what exists on this machine only in the account, now. Long.
    StateSave,
    /// Take in what is kept in the account. Long.
    StateRestore {
        /// Whether another account's is taken in, too.
        force: bool,
    },
    /// Leave what is to be told to the next mount, and end. Refused as long as the mount is there.
    GiveWay,
    /// How fast may downloads be?
    Bwlimit {
        /// From now on; absent to leave it as it is.
        set: Option<DownloadLimit>,
    },
    /// Run an errand in the account. Long.
    Errand {
        /// Which.
        errand: Errand,
    },
    /// No answer: the connection ends when the mount's process does. The server sees to this one
    /// itself.
    Wait,
}

/// What a mount answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Ping`].
    Pong(Pong),
    /// To [`Request::Account`].
    Account(AccountAnswer),
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Refresh`].
    Refreshed(Refreshed),
    /// To [`Request::Refresh`] when the folder was listed a moment ago.
    TooSoon {
        /// Seconds until it may be listed again.
        seconds: u64,
    },
    /// To [`Request::Explain`].
    Explained(Box<Explained>),
    /// Before the answer to a long request: how far it is.
    Progress {
        /// Bytes done.
        done: u64,
        /// Bytes in all; 0 while that is not known.
        total: u64,
    },
    /// Before the answer to [`Request::CacheVerify`]: one file.
    Checked(CheckedFile),
    /// To [`Request::CacheVerify`].
    Verified,
    /// To [`Request::Warm`].
    Warmed(WarmedFile),
    /// To [`Request::CacheClear`].
    Cleared(ClearedCache),
    /// Before the answer to [`Request::Sync`]: how far it is.
    Left(Left),
    /// To [`Request::Sync`].
    Synced(Synced),
    /// To [`Request::Unsent`].
    Unsent(Unsent),
    /// To [`Request::Retry`] and [`Request::Discard`].
    Decided {
        /// Of how many files and folders.
        count: u64,
    },
    /// Before the answer to [`Request::Index`]: some files.
    Indexed {
        /// They, in the order of their paths.
        files: Vec<IndexedFile>,
    },
    /// To [`Request::Index`].
    IndexEnd(Seen),
    /// Before the answer to [`Request::Duplicates`]: some files.
    Duplicates(Twins),
    /// To [`Request::Duplicates`].
    Compared(Compared),
    /// To [`Request::RemoveSpare`].
    Removed(Removed),
    /// Before the answer to [`Request::StateExport`]: whose it is.
    StateHead(Head),
    /// Before the answer to [`Request::StateExport`]: some of it.
    State {
        /// Some.
        records: Vec<Record>,
    },
    /// To [`Request::StateExport`] and [`Request::StateSave`].
    StateEnd(Exported),
    /// To [`Request::StateImport`] and [`Request::StateRestore`].
    StateTaken(Imported),
    /// To [`Request::GiveWay`].
    GivesWay,
    /// To [`Request::Bwlimit`]: what holds now.
    Bwlimit(DownloadLimit),
    /// To [`Request::Errand`].
    Done(Done),
    /// To a request that cannot be answered.
    Error {
        /// Why, in a sentence for people.
        message: String,
    },
}

/// Who serves a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pong {
    /// The process.
    pub pid: u32,
    /// The account's name.
    pub account: String,
    /// Where it is mounted; bytes that are no UTF-8 are replaced.
    pub mountpoint: String,
    /// The mount's device as `major:minor`; empty once the mount is gone and its process only tells the account
    /// what is left, since the kernel gives the number to the next mount.
    pub device: String,
    /// The program's version.
    pub version: String,
    /// Base folder of its state.
    pub state_dir: String,
    /// Since when it is mounted, in seconds since 1970.
    pub since: u64,
    /// Address of its status page; absent without one.
    pub page: Option<String>,
}

/// What looking at a folder again brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refreshed {
    /// Entries it holds now.
    pub entries: u64,
    /// What changed; absent when it was not known before.
    pub changed: Option<Changed>,
}

/// How a folder differs from what was known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changed {
    /// Entries that came.
    pub added: u64,
    /// Entries that went.
    pub removed: u64,
    /// Entries that bear another name or attributes.
    pub altered: u64,
}

/// How fast all downloads of a mount may be, together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadLimit {
    /// Bytes per second; absent when nothing limits them.
    pub rate: Option<u64>,
}

/// What the service said of the account, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAnswer {
    /// What it said.
    pub info: UserInfo,
    /// Seconds since it said so.
    pub age_seconds: u64,
}

impl Request {
    /// Whether it may take long: then the mount tells how far it is, and ends it with the connection.
    pub fn is_long(&self) -> bool {
        matches!(
            self,
            Self::Warm { .. }
                | Self::CacheVerify { .. }
                | Self::Sync { .. }
                | Self::Index { .. }
                | Self::Duplicates { .. }
                | Self::RemoveSpare { .. }
                | Self::StateExport
                | Self::StateImport { .. }
                | Self::StateSave
                | Self::StateRestore { .. }
                | Self::Errand { .. }
        )
    }
}

impl Answer {
    /// Whether more is to follow.
    pub fn is_interim(&self) -> bool {
        matches!(
            self,
            Self::Progress { .. }
                | Self::Checked(_)
                | Self::Left(_)
                | Self::Indexed { .. }
                | Self::Duplicates(_)
                | Self::StateHead(_)
                | Self::State { .. }
        )
    }

    /// An error with this message.
    pub fn error(message: impl Into<String>) -> Self {
        Self::Error {
            message: message.into(),
        }
    }
}

/// A value as JSON in one line, with a line break at its end.
pub fn json_line(value: &impl Serialize) -> String {
    let mut line =
        serde_json::to_string(value).expect("names and figures always have a form in JSON");
    line.push('\n');
    line
}

/// Bytes of a request's line at most: most are a word and perhaps a path, the longest name some hundred files
/// or links.
pub const LONGEST_REQUEST: usize = 128 * 1024;

/// Bytes of an answer's line at most, so that a command cannot be made to fill memory.
pub const LONGEST_ANSWER: usize = 1 << 20;
