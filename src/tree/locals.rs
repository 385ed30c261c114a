//! The attributes kept here, by inode number, in memory: asked with every answer to the kernel.
//!
//! Promises: asking costs nothing while there are none, and never waits for the disk. Whoever changes them
//! writes them down; see [`Commit`](super::Commit). Knows no file and no folder.
use super::Tree;
use super::inode::Ino;
use super::local::{Local, Timestamp};
use super::node::NodeKey;
use crate::util::sync::{read, write};
use std::collections::{HashMap, HashSet};
use std::sync::RwLock;

/// The table; one lock, held for a look.
#[derive(Debug, Default)]
pub(super) struct Locals {
    maps: RwLock<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    locals: HashMap<Ino, Local>,
    /// Those of files that were removed and that the kernel still holds.
    leaving: HashSet<Ino>,
}

impl Locals {
    pub(super) fn new(locals: impl IntoIterator<Item = (Ino, Local)>) -> Self {
        let maps = Maps {
            locals: locals.into_iter().collect(),
            leaving: HashSet::new(),
        };
        Self {
            maps: RwLock::new(maps),
        }
    }

    /// The kernel has let go of some inodes: what was kept for the last look at them goes.
    pub(super) fn sweep(&self, ino: Ino, is_held: impl FnOnce() -> bool) {
        let is_leaving = read(&self.maps).leaving.contains(&ino);
        if is_leaving && !is_held() {
            let mut maps = write(&self.maps);
            maps.leaving.remove(&ino);
            maps.locals.remove(&ino);
        }
    }
}

impl Tree {
    /// The attributes of an inode that are kept here; at once.
    pub fn local(&self, ino: Ino) -> Option<Local> {
        let maps = read(&self.inner.locals.maps);
        if maps.locals.is_empty() {
            return None;
        }
        maps.locals.get(&self.lasting(ino)).copied()
    }

    /// Keeps attributes of an inode, in memory only.
    pub fn set_local(&self, ino: Ino, local: Local) {
        let ino = self.lasting(ino);
        write(&self.inner.locals.maps).locals.insert(ino, local);
    }

    /// Nothing is kept of an inode any more, in memory only.
    pub fn unset_local(&self, ino: Ino) {
        let ino = self.lasting(ino);
        write(&self.inner.locals.maps).locals.remove(&ino);
    }

    /// Whether nothing is kept of any inode.
    pub fn has_no_locals(&self) -> bool {
        read(&self.inner.locals.maps).locals.is_empty()
    }

    /// A file or folder was removed for good: what is kept of it goes as soon as the kernel does not hold it
    /// any more.
    pub fn forget_local(&self, ino: Ino) {
        let mut maps = write(&self.inner.locals.maps);
        if self.inner.inodes.get(ino).is_some() {
            maps.leaving.insert(ino);
        } else {
            maps.locals.remove(&ino);
        }
    }

    /// It is there after all: its removal was taken back.
    pub fn recall_local(&self, ino: Ino) {
        write(&self.inner.locals.maps).leaving.remove(&ino);
    }

    /// Whether it was removed for good, so that nothing of it is to be written down any more.
    pub fn is_leaving(&self, ino: Ino) -> bool {
        read(&self.inner.locals.maps).leaving.contains(&ino)
    }

    /// The number under which something is known on every mount of the account: its own, except that the
    /// root of a mount may be any folder.
    pub fn lasting(&self, ino: Ino) -> Ino {
        if ino != Ino::ROOT {
            return ino;
        }
        let root = NodeKey::Folder(self.inner.settings.root.id);
        Ino::of(root).unwrap_or(ino)
    }

    /// Now, as attributes say it.
    pub fn timestamp(&self) -> Timestamp {
        self.inner.clock.unix().into()
    }
}
