//! What is known below a folder, one name after the other, as the mount shows it: from memory and from the store
//! alone, so that looking changes nothing and makes no call.
//!
//! Promises: folders and files come in the order of their names, a folder before what is in it; memory for one
//! listing per level, whatever the size of the tree; what is not known is counted, never passed over in silence.
//! Everything here may block for the disk.
use super::Tree;
use super::inode::Ino;
use super::listing::Listing;
use super::node::{Node, NodeKey};
use crate::util::sync::lock;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Levels at most: no sensible tree is as deep, and a circle must end.
const DEEPEST: usize = 256;

/// How much of a tree a walk has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walked {
    /// Folders whose entries came.
    pub folders: u64,
    /// Files.
    pub files: u64,
    /// Folders whose entries are not known yet.
    pub unlisted: u64,
    /// Folders of which only a part is known: the service cannot show all of it.
    pub partial: u64,
}

/// A file or folder that was met.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The folder it is in, from the root of the mount on; shared by all that are in it.
    pub folder: Arc<Path>,
    /// What it is.
    pub node: Arc<Node>,
}

impl Visit {
    /// Where it is, from the root of the mount on.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&*self.node.name)
    }
}

/// Why a path leads to nothing that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is nothing.
    #[error("there is no {}", path.display())]
    Missing {
        /// From the root of the mount on.
        path: PathBuf,
    },
    /// The folder it is in was never listed.
    #[error("{} is not listed yet, so nobody knows what is in it", path.display())]
    Unlisted {
        /// The folder, from the root of the mount on.
        path: PathBuf,
    },
}

/// A walk under way; see the module.
#[derive(Debug)]
pub struct Walk {
    tree: Tree,
    /// What is to come before everything else: the beginning.
    first: Option<Visit>,
    levels: Vec<Level>,
    walked: Walked,
}

#[derive(Debug)]
struct Level {
    path: Arc<Path>,
    listing: Arc<Listing>,
    next: usize,
}

impl Tree {
    /// Walks over a file, or over a folder and all below it.
    pub fn walk(&self, from: Visit) -> Walk {
        Walk {
            tree: self.clone(),
            first: Some(from),
            levels: Vec::new(),
            walked: Walked::default(),
        }
    }

    /// The entries of a folder as they are shown, if they are known.
    pub fn known_listing(&self, folder: Ino) -> Option<Arc<Listing>> {
        if let Some(listing) = self.unmade(folder) {
            return Some(listing);
        }
        let id = self.id_of(folder)?;
        lock(&self.inner.folders).get(id)?;
        let listing = self.inner.cache.get(id).or_else(|| self.recall_now(id))?;
        Some(self.over(&listing))
    }

    /// What `path` leads to, from the root of the mount on, as far as it is known.
    pub fn known_at(&self, path: &Path) -> Result<Visit, Unknown> {
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(Ok(name)),
            Component::ParentDir => Some(Err(Unknown::Missing {
                path: path.to_owned(),
            })),
            _ => None,
        });
        let mut at = self.top();
        for name in names {
            let name = name?;
            let inside = at.path();
            let missing = || Unknown::Missing {
                path: inside.join(name),
            };
            if !at.node.is_folder() {
                return Err(missing());
            }
            let Some(listing) = self.known_listing(at.node.ino) else {
                return Err(Unknown::Unlisted { path: inside });
            };
            let node = listing.get(name).filter(|node| !is_snapshot(node));
            let node = node.cloned().ok_or_else(missing)?;
            at = Visit {
                folder: inside.into(),
                node,
            };
        }
        Ok(at)
    }

    /// An inode that the kernel holds, with its place.
    pub fn known_inode(&self, ino: Ino) -> Option<Visit> {
        if ino == Ino::ROOT {
            return Some(self.top());
        }
        let node = self.in_memory(ino)?;
        let folder = self.path_of(node.parent)?.into();
        Some(Visit { folder, node })
    }

    /// The entry of a folder with this number, as it is shown, if that is known.
    pub fn known_entry(&self, folder: Ino, ino: Ino) -> Option<Arc<Node>> {
        self.known_listing(folder)?.at(ino).cloned()
    }

    /// The number that a file or folder of the account bears, or would bear, on this mount; by its id alone, so
    /// also of what no listing has shown yet.
    pub fn number_of(&self, key: NodeKey) -> Option<Ino> {
        self.inner.inodes.number(key, |_| false)
    }

    fn top(&self) -> Visit {
        let node = self.inner.inodes.get(Ino::ROOT);
        Visit {
            folder: Path::new("").into(),
            node: node.expect("the root is held for as long as the tree lives"),
        }
    }
}

/// The name, in the root of a mount, of what is kept in the account of attributes that it cannot hold. Shown by
/// no mount.
pub const SNAPSHOT_NAME: &str = ".fichierfs-state";

/// Whether an entry is the snapshot of attributes, which is nobody's file.
fn is_snapshot(node: &Node) -> bool {
    is_snapshot_name(node.parent, &node.name)
}

/// Whether a name belongs to the snapshot of attributes.
pub fn is_snapshot_name(folder: Ino, name: &OsStr) -> bool {
    folder == Ino::ROOT && name == SNAPSHOT_NAME
}

impl Walk {
    /// What was seen so far.
    pub fn walked(&self) -> Walked {
        self.walked
    }

    fn met(&mut self, visit: &Visit) {
        if !visit.node.is_folder() {
            self.walked.files += 1;
            return;
        }
        let listing = self.tree.known_listing(visit.node.ino);
        match listing.filter(|_| self.levels.len() < DEEPEST) {
            Some(listing) => {
                self.walked.folders += 1;
                self.walked.partial += u64::from(!listing.is_complete());
                self.levels.push(Level {
                    path: visit.path().into(),
                    listing,
                    next: 0,
                });
            }
            None => self.walked.unlisted += 1,
        }
    }
}

impl Iterator for Walk {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        let visit = match self.first.take() {
            Some(first) => first,
            None => loop {
                let level = self.levels.last_mut()?;
                let Some(node) = level.listing.nth_name(level.next) else {
                    self.levels.pop();
                    continue;
                };
                level.next += 1;
                if is_snapshot(node) {
                    continue;
                }
                break Visit {
                    folder: Arc::clone(&level.path),
                    node: Arc::clone(node),
                };
            },
        };
        self.met(&visit);
        Some(visit)
    }
}
