//! What a mount tells of one file or folder: the figures behind `fichierfs explain`.
//!
//! Promises as in [`super::status`]: names and meanings stay, new ones are added. Spans are seconds,
//! amounts bytes, ranges a first byte and an end.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is known of a file or folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explained {
    /// Its path, as the command found it.
    pub path: String,
    /// Its number in the mount.
    pub inode: u64,
    /// `file` or `folder`.
    pub kind: String,
    /// Its id in the account.
    pub id: String,
    /// Its public URL, if it is a file.
    pub url: Option<String>,
    /// Its size, if it is a file.
    pub size: u64,
    /// When it was uploaded, or made, in seconds since 1970.
    pub date: Option<i64>,
    /// Its hash, if the service said it.
    pub whirlpool: Option<String>,
    /// Whether it has gone from the account since a program opened it.
    pub gone: bool,
    /// The listing it is known from; of a folder, its own.
    pub listing: Listed,
    /// Its bytes, if it is a file.
    pub reading: Option<FileReading>,
}

/// How fresh a folder's listing is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// `memory`, `disk` or `none`.
    pub kept: String,
    /// Seconds since the service said so, if it is in memory.
    pub age: Option<u64>,
    /// Age from which it is looked at again.
    pub fresh_for: u64,
    /// Seconds until the service may be asked for it again.
    pub pause: u64,
    /// Entries.
    pub entries: Option<u64>,
    /// Whether that is all there is.
    pub complete: Option<bool>,
}

/// What is known of a file's bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileReading {
    /// In memory.
    pub memory: Held,
    /// On disk; absent without a disk cache.
    pub disk: Option<Held>,
    /// Ranges on their way.
    pub coming: Vec<(u64, u64)>,
    /// How many handles are open.
    pub open: u64,
    /// The handles, and the one closed last.
    pub handles: Vec<OpenHandle>,
    /// Its download link; absent when nobody has read it lately.
    pub link: Option<Link>,
}

/// What is held of a file in one place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Bytes in all.
    pub bytes: u64,
    /// How many ranges there are.
    pub ranges: u64,
    /// The first of them.
    pub first: Vec<(u64, u64)>,
}

/// A download link.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Links asked for so far.
    pub issued: u64,
    /// Seconds since the present one was asked for; absent when there is none that lives.
    pub age: Option<f64>,
    /// Seconds for which it is still used.
    pub left: Option<f64>,
    /// Seconds the last call took, without its wait for a turn.
    pub call: f64,
    /// Whether one is being asked for.
    pub asking: bool,
    /// Why there is none.
    pub refused: Option<String>,
}

/// One open file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenHandle {
    /// The process that read last; 0 before the first read.
    pub pid: u32,
    /// Seconds since it was opened.
    pub age: f64,
    /// Whether it was closed meanwhile.
    pub closed: bool,
    /// Whether the kernel reads the disk cache itself: such reads are not counted here.
    pub lent: bool,
    /// Reads that came from the kernel.
    pub reads: u64,
    /// Of them answered from memory at once.
    pub hits: u64,
    /// Bytes asked for.
    pub asked_bytes: u64,
    /// Bytes received from the service for it.
    pub fetched_bytes: u64,
    /// Bytes brought from the disk cache for it.
    pub from_disk_bytes: u64,
    /// Ranges requested for it.
    pub ranges: u64,
    /// Of them failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Where the time went.
    pub times: Times,
    /// Seconds in which a program waited for a read.
    pub waited: f64,
    /// What its streams do now, in words.
    pub doing: Vec<String>,
    /// The last read that had to wait.
    pub last_wait: Option<SlowRead>,
    /// The read that took longest.
    pub longest_wait: Option<SlowRead>,
}

/// Seconds by what they were spent on. Streams that run at a time add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// In the queue of calls.
    pub queue: f64,
    /// In the call for a link.
    pub call: f64,
    /// Without a free connection.
    pub connection: f64,
    /// From asking for a range to its first byte, connection set-up included.
    pub first_byte: f64,
    /// Receiving.
    pub transfer: f64,
    /// Held back by `--bwlimit`.
    pub limit: f64,
    /// Resting after failures.
    pub pause: f64,
    /// Reading the disk cache.
    pub disk: f64,
}

impl Times {
    /// Names and figures, in the order of a read.
    pub fn each(&self) -> [(&'static str, f64); 8] {
        [
            ("disk cache", self.disk),
            ("waiting for its turn to ask for a link", self.queue),
            ("asking for a link", self.call),
            ("waiting for a connection", self.connection),
            ("until the first byte", self.first_byte),
            ("receiving", self.transfer),
            ("held back by --bwlimit", self.limit),
            ("resting after failures", self.pause),
        ]
    }
}

/// A read that had to wait.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlowRead {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Seconds since it ended.
    pub ago: f64,
    /// What the streams of its handle did meanwhile.
    pub times: Times,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl FileReading {
    /// These figures from those of the part that keeps them, field by field of the same name.
    pub fn of(figures: &impl Serialize) -> Self {
        translated(figures)
    }
}

/// The same figures under the names that are promised. Both sides must have the same names, or one would
/// silently be 0: what is built for tests fails then.
fn translated<T: DeserializeOwned + Serialize + Default>(figures: &impl Serialize) -> T {
    let value = serde_json::to_value(figures);
    let translated = value.and_then(|value| {
        let translated: T = serde_json::from_value(value.clone())?;
        debug_assert_eq!(serde_json::to_value(&translated)?, value);
        Ok(translated)
    });
    translated.unwrap_or_else(|error| {
        log::error!("figures that have no form: {error}");
        T::default()
    })
}
