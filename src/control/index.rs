//! What is told of the whole tree: an index of all files, and files that hold the same. In lines of a bounded
//! length, however many files there are.
use serde::{Deserialize, Serialize};

/// Entries in a line at most.
pub const MOST_IN_LINE: usize = 256;

/// Bytes of paths in a line at most, about; a line may be six times as long, since JSON may need six bytes for one.
pub const PATH_BYTES_IN_LINE: usize = 64 << 10;

/// Removals in a request at most: it must fit a line.
pub const MOST_REMOVED: usize = 256;

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// Everywhere in the mount.
    #[default]
    All,
    /// A file, or what is below a folder, by its inode number in the mount.
    Inode(u64),
    /// The same by its path in the account.
    Path(String),
}

/// How much of the tree was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Folders.
    pub folders: u64,
    /// Files.
    pub files: u64,
    /// Folders whose entries are not known yet.
    pub unlisted: u64,
    /// Folders of which the service cannot show all.
    pub partial: u64,
}

/// How far the account has a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// The account has it as it is here.
    #[default]
    Clean,
    /// It is new or changed here.
    Waiting,
    /// It is empty, which the service does not take: here only.
    Local,
}

/// A file of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedFile {
    /// Where it is, from the root of the account on; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// The same from the folder on that was asked about.
    pub below: String,
    /// Bytes.
    pub size: u64,
    /// The service's hash, if it is known.
    pub whirlpool: Option<String>,
    /// When it was uploaded, in UTC as RFC 3339 has it.
    pub uploaded: Option<String>,
    /// When it was written to last, as the mount shows it; the same.
    pub modified: Option<String>,
    /// The public link.
    pub url: Option<String>,
    /// Its id in the account.
    pub id: Option<String>,
    /// MIME type as the service guesses it.
    pub content_type: Option<String>,
    /// Whether a password protects the link.
    pub password: bool,
    /// How far the account has it.
    pub state: Kept,
}

/// Which of several files that hold the same is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one that was uploaded first
    #[default]
    Oldest,
    /// The one that was uploaded last
    Newest,
    /// The one with the shortest path
    ShortestPath,
}

/// What names a file beyond doubt: its place among the numbers, and its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinId {
    /// Inode number of its folder.
    pub folder: u64,
    /// Its inode number.
    pub inode: u64,
    /// Its id in the account.
    pub id: String,
}

/// One of several files that hold the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Twin {
    /// Which.
    pub file: TwinId,
    /// Where it is, from the root of the account on.
    pub path: String,
    /// The public link.
    pub url: String,
    /// When it was uploaded, in UTC as RFC 3339 has it.
    pub uploaded: Option<String>,
}

/// Files that hold the same, or the next ones of those told before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Twins {
    /// Their hash.
    pub whirlpool: String,
    /// Bytes of each.
    pub size: u64,
    /// How many there are in all.
    pub count: u64,
    /// Whether these are the first; then the first of them is the one that is kept.
    pub is_start: bool,
    /// They.
    pub files: Vec<Twin>,
}

/// What the comparison of all files found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// What was looked at.
    pub seen: Seen,
    /// Contents that there are several files of.
    pub groups: u64,
    /// Those files.
    pub files: u64,
    /// Bytes of all of them but one of each content.
    pub spare_bytes: u64,
    /// Files that could not be compared, since the service has told no hash of them yet.
    pub unhashed: u64,
}

/// Files to be removed that hold the same as one that stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spare {
    /// Their hash.
    pub whirlpool: String,
    /// Bytes of each.
    pub size: u64,
    /// The one that stays.
    pub keep: TwinId,
    /// How long ago the account may have been asked for the folder of the one that stays, in milliseconds: not
    /// before the question was.
    pub believed_ms: u64,
    /// Those that go; at most [`MOST_REMOVED`].
    pub remove: Vec<TwinId>,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// How many were removed.
    pub files: u64,
    /// Ids of those that were not, since something had changed, with the reason.
    pub left: Vec<(String, String)>,
}
