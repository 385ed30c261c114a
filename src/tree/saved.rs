//! What exists on this machine only, handed out to be kept elsewhere and taken in again.
use super::Tree;
use super::change::Change;
use super::inode::Ino;
use super::node::NodeKey;
use super::numbering::Numbering;
use super::store::Owner;
use crate::api::FolderId;
use crate::util::sync::lock;
use std::ffi::{OsStr, OsString};

impl Tree {
    /// Whose tree it is, as far as is known. Blocks for the disk.
    pub fn owner(&self) -> Option<Owner> {
        self.inner.store.as_ref()?.owner()
    }

    /// The numbers given to entries of one name in a folder, with the names they belong to.
    pub fn numbers_in(&self, folder: Ino) -> Vec<(NodeKey, OsString, u32)> {
        let Some(id) = self.id_of(folder) else {
            return Vec::new();
        };
        let numbering = lock(&self.inner.folders).numbering(id);
        let given = numbering.given();
        let mut given: Vec<_> = given
            .map(|(key, name, number)| (key, name.to_owned(), number))
            .collect();
        given.sort_unstable();
        given
    }

    /// Takes numbers over that another machine gave, if none were given here; whether they are those that hold now.
    /// Blocks for the disk.
    pub fn restore_numbers<'a>(
        &self,
        folder: FolderId,
        given: impl IntoIterator<Item = (NodeKey, &'a OsStr, u32)>,
    ) -> bool {
        let mut wanted = Numbering::default();
        for (key, name, number) in given {
            wanted.give(key, name, number);
        }
        let known = lock(&self.inner.folders).numbering(folder);
        if *known == wanted {
            return true;
        }
        if !known.is_empty() {
            return false;
        }
        if let Some(store) = &self.inner.store {
            store.put_numbering(folder, &wanted);
        }
        lock(&self.inner.folders).number(folder, wanted);
        true
    }

    /// Whether a file or folder was seen anywhere, by the last listings. Blocks for the disk.
    pub fn is_somewhere(&self, key: NodeKey) -> bool {
        match (key, &self.inner.store) {
            (NodeKey::Folder(id), _) => {
                let folders = lock(&self.inner.folders);
                folders.get(id).is_some_and(|state| state.parent.is_some())
            }
            (NodeKey::File(_), Some(store)) => {
                let derived = Ino::of(key);
                let places = derived.map(|ino| store.places(&[ino]));
                places.is_some_and(|places| places.iter().any(Option::is_some))
            }
            _ => false,
        }
    }

    /// The attributes of an inode are others now, without the kernel having asked for it.
    pub fn disturb_attributes(&self, ino: Ino) {
        self.inner.changes.push(ino, [Change::Attributes(ino)]);
    }
}
