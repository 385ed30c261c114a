//! Identifiers of the service as types that cannot be mixed up.
//!
//! A folder is an integer, a file is a public URL whose query is its id (API reference 1 and 4).
use serde::{Deserialize, Serialize};
use std::fmt;

/// A folder's number; the account's root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FolderId(pub u64);

impl FolderId {
    /// The root of an account.
    pub const ROOT: Self = Self(0);
}

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// First of the numbers that no account has: they stand for what is shown and is no folder of the account. Folders'
/// numbers on the service are counted up, and have eight digits or so today.
const FIRST_VIRTUAL: u64 = 1 << 61;

impl FolderId {
    /// The folder that shows what other accounts share.
    pub const SHARED: Self = Self(FIRST_VIRTUAL);

    /// What stands for all that the account with this mail address shares; the same for ever.
    pub fn shared_by(mail: &str) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(mail.to_lowercase().as_bytes());
        Self(FIRST_VIRTUAL + 1 + hash % (FIRST_VIRTUAL - 4))
    }

    /// Whether it stands for something that is no folder of the account.
    pub fn is_virtual(self) -> bool {
        self.0 >= FIRST_VIRTUAL
    }
}

/// Fewest and most characters of a file id (API reference 1); every id seen today has 20.
const FILE_ID_CHARS: std::ops::RangeInclusive<usize> = 5..=20;

/// The id in a file's public URL: 5 to 20 characters of `a-z0-9`. One content for ever: a rewrite
/// makes a new id. Kept inline, so that a million of them cost no allocation each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    bytes: [u8; 20],
    len: u8,
}

impl FileId {
    /// Takes an id of the documented shape; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let shape = FILE_ID_CHARS.contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !shape {
            return None;
        }
        let mut bytes = [0; 20];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self {
            bytes,
            len: u8::try_from(text.len()).ok()?,
        })
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

/// A file's public URL, `https://<domain>/?<id>`. The domain is kept as the service gave it: an
/// owner may bind a file to one domain, and the others then answer "not found" (API reference 1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileUrl {
    id: FileId,
    /// `None` = the usual domain, so that a million URLs share nothing and allocate nothing.
    domain: Option<Box<Domain>>,
}

/// Behind a thin pointer: hardly any URL has one, and a million have room for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Domain(Box<str>);

/// The domain nearly every file bears.
const USUAL_DOMAIN: &str = "1fichier.com";

impl FileUrl {
    /// Takes a URL as the service gives it; what follows an `&` (affiliate, language) is dropped
    /// (API reference 1). `None` when it is not a file's URL.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        let (domain, query) = rest.split_once("/?")?;
        let id = FileId::parse(query.split('&').next()?)?;
        let sound = !domain.is_empty()
            && domain
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        if !sound {
            return None;
        }
        Some(Self {
            id,
            domain: (domain != USUAL_DOMAIN).then(|| Box::new(Domain(domain.into()))),
        })
    }

    /// The URL of `id` on the usual domain.
    pub fn of(id: FileId) -> Self {
        Self { id, domain: None }
    }

    /// The file's id.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// The domain, as the service gave it.
    pub fn domain(&self) -> &str {
        self.domain
            .as_deref()
            .map_or(USUAL_DOMAIN, |domain| &domain.0)
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/?{}", self.domain(), self.id)
    }
}

impl Serialize for FileUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_their_domain_and_lose_their_parameters() {
        let url = FileUrl::parse("https://1fichier.com/?aaaabbbbccccddddeeee&af=12").unwrap();
        assert_eq!(
            url.to_string(),
            "https://1fichier.com/?aaaabbbbccccddddeeee"
        );
        let other = FileUrl::parse("https://alterupload.com/?abcde").unwrap();
        assert_eq!(other.domain(), "alterupload.com");
        assert_eq!(other.id().as_str(), "abcde");
    }

    #[test]
    fn what_others_share_has_numbers_of_its_own() {
        let one = FolderId::shared_by("a@example.org");
        assert_eq!(one, FolderId::shared_by("A@Example.org"));
        assert_ne!(one, FolderId::shared_by("b@example.org"));
        assert!(one.is_virtual() && FolderId::SHARED.is_virtual() && one != FolderId::SHARED);
        assert!(!FolderId(99_999_999).is_virtual() && !FolderId::ROOT.is_virtual());
        // An inode number for a folder is below 2^62.
        assert!(one.0 < (1 << 62) - 2);
    }

    #[test]
    fn what_is_no_file_url_is_refused() {
        for bad in [
            "",
            "https://1fichier.com/",
            "https://1fichier.com/?",
            "https://1fichier.com/?abcd",
            "https://1fichier.com/?ABCDEF",
            "https://1fichier.com/dir/abcdef",
            "https://1fichier.com/?aaaabbbbccccddddeeeef",
            "ftp://1fichier.com/?abcdef",
            "https:///?abcdef",
            "https://a b/?abcdef",
        ] {
            assert_eq!(FileUrl::parse(bad), None, "{bad}");
        }
    }
}
