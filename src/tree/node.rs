//! One file or folder as the mount shows it: immutable, shared, small (a million may exist).
use super::inode::Ino;
use crate::api::{FileId, FileUrl, FolderId, UnixSeconds, Whirlpool};
use std::ffi::OsStr;
use std::sync::Arc;

/// Identity of a node in the account; never changes while the content is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKey {
    /// A folder.
    Folder(FolderId),
    /// A file: one content for ever.
    File(FileId),
    /// A file with a content that the account does not have, by inode number.
    Own(Ino),
}

/// A file or folder at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its inode number.
    pub ino: Ino,
    /// The folder it is in; the root of the mount is its own parent.
    pub parent: Ino,
    /// Its name here: decoded, distinct from its neighbours'. Empty for the root of the mount.
    pub name: Box<OsStr>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder(Folder),
    /// A file.
    File(File),
    /// A file with a content that the account does not have.
    Own(OwnFile),
}

/// A file that is new or changed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Its inode number.
    pub ino: Ino,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: UnixSeconds,
}

/// A folder's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its number in the account.
    pub id: FolderId,
    /// When it was made, if the service said so.
    pub created: Option<UnixSeconds>,
    /// When its list of entries last changed, as far as is known: never goes back. Nodes inside a
    /// `Listing` do not have it; those that `Tree` hands out do.
    pub changed: Option<UnixSeconds>,
    /// Whether a password protects its public page.
    pub password: bool,
}

/// A file's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its public URL: identity and address.
    pub url: FileUrl,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded, if the service said so.
    pub uploaded: Option<UnixSeconds>,
    /// Its hash, if the service said so.
    pub whirlpool: Option<Whirlpool>,
    /// MIME type as the service guesses it; one allocation for all files of a type in a folder.
    pub content_type: Option<Arc<ContentType>>,
    /// Whether a password is set.
    pub password: bool,
    /// Whether an access list is set.
    pub access_list: bool,
}

/// A MIME type; behind a thin pointer where it is kept, since a million files have one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentType(Box<str>);

impl ContentType {
    /// The type called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Kind {
    /// Its identity in the account.
    pub fn key(&self) -> NodeKey {
        match self {
            Self::Folder(folder) => NodeKey::Folder(folder.id),
            Self::File(file) => NodeKey::File(file.url.id()),
            Self::Own(file) => NodeKey::Own(file.ino),
        }
    }
}

impl Node {
    /// Its identity in the account.
    pub fn key(&self) -> NodeKey {
        self.kind.key()
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// The folder's attributes, if it is one.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.kind {
            Kind::Folder(folder) => Some(folder),
            Kind::File(_) | Kind::Own(_) => None,
        }
    }

    /// The file's attributes, if it is one.
    pub fn file(&self) -> Option<&File> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Folder(_) | Kind::Own(_) => None,
        }
    }

    /// Bytes; 0 for a folder.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::Folder(_) => 0,
            Kind::File(file) => file.size,
            Kind::Own(file) => file.size,
        }
    }

    /// Its time of modification: a file's upload, a folder's last known change, else its creation.
    pub fn modified(&self) -> Option<UnixSeconds> {
        match &self.kind {
            Kind::Folder(folder) => folder.changed.or(folder.created),
            Kind::File(file) => file.uploaded,
            Kind::Own(file) => Some(file.modified),
        }
    }

    /// When it came into being in the account: the upload or the folder's creation.
    pub fn created(&self) -> Option<UnixSeconds> {
        match &self.kind {
            Kind::Folder(folder) => folder.created,
            Kind::File(file) => file.uploaded,
            Kind::Own(file) => Some(file.modified),
        }
    }

    /// Bytes of memory it takes, about: itself, its name, the counters of its `Arc`.
    pub fn weight(&self) -> usize {
        let domain = self.file().map_or(0, |file| {
            if file.url == FileUrl::of(file.url.id()) {
                0
            } else {
                file.url.domain().len()
            }
        });
        size_of::<Self>() + 2 * size_of::<usize>() + self.name.len() + domain
    }
}

#[cfg(test)]
pub(in crate::tree) mod testing {
    //! Nodes for tests.
    use super::*;

    pub(in crate::tree) fn file(id: &str, name: &str, parent: Ino) -> Node {
        let id = FileId::parse(id).unwrap();
        Node {
            ino: Ino::of(NodeKey::File(id)).unwrap(),
            parent,
            name: OsStr::new(name).into(),
            kind: Kind::File(File {
                url: FileUrl::of(id),
                size: 1,
                uploaded: None,
                whirlpool: None,
                content_type: None,
                password: false,
                access_list: false,
            }),
        }
    }

    pub(in crate::tree) fn folder(id: u64, name: &str, parent: Ino) -> Node {
        let id = FolderId(id);
        Node {
            ino: if id == FolderId::ROOT {
                Ino::ROOT
            } else {
                Ino::of(NodeKey::Folder(id)).unwrap()
            },
            parent,
            name: OsStr::new(name).into(),
            kind: Kind::Folder(Folder {
                id,
                created: None,
                changed: None,
                password: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_nodes_fit_in_memory() {
        // Half of it is the hash and the id; with the counters of its `Arc` it fits a piece of 192 bytes as
        // allocators hand them out, and a careless field would cost 16 MB for each million.
        assert!(size_of::<Node>() <= 168, "{} bytes", size_of::<Node>());
    }
}
