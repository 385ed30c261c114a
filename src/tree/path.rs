//! Where something is shown, for people: from memory alone, so that asking changes nothing.
use super::Tree;
use super::inode::Ino;
use super::node::Node;
use crate::api::FileId;
use crate::util::sync::{lock, read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders above one another at most: no sensible tree is as deep, and a circle must end.
const DEEPEST: usize = 256;

impl Tree {
    /// Where a file or folder is shown, from the mount's root on; `None` when that is not in memory.
    pub fn path_of(&self, ino: Ino) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT {
            if names.len() == DEEPEST {
                return None;
            }
            let node = self.in_memory(at)?;
            at = node.parent;
            names.push(node);
        }
        let names = names.iter().rev().map(|node| Path::new(&*node.name));
        Some(names.collect())
    }

    /// Where the file with an id is shown, from the mount's root on; `None` when that is not in memory.
    pub fn path_of_file(&self, file: FileId) -> Option<PathBuf> {
        self.path_of(self.inner.inodes.of_file(file)?)
    }

    /// Whether a folder, or a folder above it, is `above`; as far as is known from memory.
    pub fn is_within(&self, folder: Ino, above: Ino) -> bool {
        let mut at = folder;
        for _ in 0..DEEPEST {
            if at == above {
                return true;
            }
            match self.in_memory(at).map(|node| node.parent) {
                Some(parent) if at != Ino::ROOT => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// An inode as it is shown, if it is in memory.
    pub fn in_memory(&self, ino: Ino) -> Option<Arc<Node>> {
        if let Some(shown) = read(&self.inner.own).get(ino) {
            return shown.cloned();
        }
        self.inner.inodes.get(ino).or_else(|| {
            let id = self.id_of(ino)?;
            let above = lock(&self.inner.folders).get(id)?.parent?;
            let listing = self.inner.cache.get(above)?;
            let entries = listing.entries();
            entries.iter().find(|node| node.ino == ino).cloned()
        })
    }
}
