//! What the service says, typed: the answers of the calls after lenient parsing. Names are the
//! service's own (not yet decoded for a file system), times are seconds of Unix time in UTC.
use super::ids::{FileUrl, FolderId};

/// The hash the service identifies contents with: Whirlpool, the final ISO/IEC 10118-3:2004
/// version (API reference 4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whirlpool(pub [u8; 64]);

/// Seconds since 1970, UTC. The service's dates have a resolution of one second.
pub type UnixSeconds = i64;

/// A file as a listing shows it (API reference 5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileItem {
    /// Its public URL: identity and address.
    pub url: FileUrl,
    /// Its name as stored.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded, if the service said so in a form we understand.
    pub uploaded: Option<UnixSeconds>,
    /// Its hash, if the service said so.
    pub whirlpool: Option<Whirlpool>,
    /// MIME type as the service guesses it.
    pub content_type: Option<Box<str>>,
    /// Whether a password is set.
    pub password: bool,
    /// Whether an access list is set.
    pub access_list: bool,
}

/// A sub-folder as a listing shows it (API reference 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubFolder {
    /// Its number.
    pub id: FolderId,
    /// Its name as stored.
    pub name: Box<str>,
    /// When it was made.
    pub created: Option<UnixSeconds>,
    /// Whether a password is set.
    pub password: bool,
}

/// The answer of `folder/ls` with `files:1`: one folder, whole or cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderListing {
    /// The folder listed.
    pub folder: FolderId,
    /// Its name as stored (`Root` for the root).
    pub name: Box<str>,
    /// When it was made.
    pub created: Option<UnixSeconds>,
    /// How many files the service says it holds, not counting sub-folders' ones.
    pub file_count: Option<u64>,
    /// Sub-folders in the order given.
    pub folders: Vec<SubFolder>,
    /// Files in the order given.
    pub files: Vec<FileItem>,
}

/// Entries a listing holds at most; the rest is silently missing (API reference 3 and 5.5).
pub const LISTING_CAP: usize = 5_000;

impl FolderListing {
    /// Whether files are, or may be, missing: fewer came than were counted, or the cap was reached.
    /// Whether sub-folders count for the cap is not known (API reference 15.3), so they do here.
    pub fn is_cut(&self) -> bool {
        let got = self.files.len();
        got + self.folders.len() >= LISTING_CAP
            || self.file_count.is_some_and(|count| count > got as u64)
    }

    /// Whether sub-folders may be missing: as many came as a listing holds. With more, the cap
    /// evidently does not concern them.
    pub fn are_folders_cut(&self) -> bool {
        self.folders.len() == LISTING_CAP
    }
}

/// The answer of `file/ls`: files of one folder, optionally of one span of upload dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileListing {
    /// How many the service says there are.
    pub count: Option<u64>,
    /// Files in the order given.
    pub files: Vec<FileItem>,
}

impl FileListing {
    /// Whether files of the span asked for are, or may be, missing: as many came as a listing of
    /// `cap` entries holds, or fewer than were counted.
    pub fn is_cut(&self, cap: usize) -> bool {
        let got = self.files.len();
        got >= cap || self.count.is_some_and(|count| count > got as u64)
    }
}

/// A download link obtained with a token call (API reference 7.1). Whoever knows it can read the
/// file for half an hour, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DownloadLink(pub(in crate::api) Box<str>);

impl DownloadLink {
    /// The link itself, for whoever asked for it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for DownloadLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DownloadLink(…)")
    }
}

/// A value with the moment it was true.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dated<T> {
    /// When, as wall-clock time since 1970.
    pub at: std::time::Duration,
    /// What.
    pub value: T,
}

/// What `user/info` says that we use (API reference 5.13). Bytes are decimal, as given.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserInfo {
    /// The account's mail address.
    pub email: Box<str>,
    /// Which offer it has.
    pub offer: Offer,
    /// When the subscription ends, as the service words it (Paris time).
    pub subscription_end: Option<Box<str>>,
    /// Bytes in cold storage.
    pub cold_storage: u64,
    /// Bytes in hot storage.
    pub hot_storage: u64,
    /// Bytes left in cold storage; negative when over the quota.
    pub available_cold_storage: Option<i64>,
    /// CDN credits in bytes.
    pub cdn_credits: u64,
    /// Whether the account uses CDN credits by itself.
    pub use_cdn: bool,
    /// Whether it stores more than it may.
    pub over_quota: bool,
    /// Whether uploads are refused.
    pub upload_forbidden: bool,
}

/// Account kinds (API reference 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Offer {
    /// Registered without a subscription.
    Free,
    /// Premium.
    Premium,
    /// Access.
    Access,
    /// Premium GOLD.
    Gold,
    /// A number not known yet; treated as paid.
    Other(u32),
}

impl Offer {
    /// Whether the offer is paid for, and so may list and download.
    pub fn is_paid(self) -> bool {
        self != Self::Free
    }
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Premium => f.write_str("Premium"),
            Self::Access => f.write_str("Access"),
            Self::Gold => f.write_str("Premium GOLD"),
            Self::Other(number) => write!(f, "offer {number}"),
        }
    }
}

impl Whirlpool {
    /// Parses 128 hex digits of either case.
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 128 {
            return None;
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(hash))
    }
}

impl std::fmt::Display for Whirlpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Whirlpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whirlpool({self})")
    }
}
