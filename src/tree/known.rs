//! What is known of the account's own state and of changes made here, for the part that joins both. Nothing
//! here waits for the network or the disk.
use super::Tree;
use super::change::Change;
use super::changes::UNMADE;
use super::inode::Ino;
use super::listing::diff;
use super::node::{Folder, Kind, Node, NodeKey};
use crate::api::FolderId;
use crate::util::sync::{lock, read, write};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

impl Tree {
    /// The account's number of a folder; `None` for one it does not have yet, and for what is no folder.
    pub fn folder_id(&self, ino: Ino) -> Option<FolderId> {
        let id = self.id_of(ino)?;
        let is_seen = lock(&self.inner.folders).get(id).is_some();
        is_seen.then_some(id)
    }

    /// The inode of a folder of the account; `None` when the mount does not know that folder.
    pub fn folder_ino(&self, id: FolderId) -> Option<Ino> {
        let is_seen = lock(&self.inner.folders).get(id).is_some();
        (is_seen || id == self.inner.settings.root.id).then(|| self.ino_of(id))
    }

    /// Whether a folder is, or lies in, what other accounts share.
    pub fn is_of_others(&self, folder: Ino) -> bool {
        let Some(id) = self.id_of(folder) else {
            return false;
        };
        let root = &self.inner.settings.root;
        let is_in = |id: &FolderId| id.is_virtual();
        // Practically always: nothing is shared, and no folder has such a number.
        root.id.is_virtual()
            || root.above.iter().any(is_in)
            || lock(&self.inner.folders).line_of(id).iter().any(is_in)
    }

    /// The same, also of a folder outside the mount, which an earlier mount of the account had.
    pub fn any_folder_id(&self, ino: Ino) -> Option<FolderId> {
        self.id_of(ino)
    }

    /// The folder that holds a folder in the account; `None` for the root of the mount and when it is not
    /// known.
    pub fn folder_above(&self, folder: Ino) -> Option<Ino> {
        let id = self.id_of(folder)?;
        if id == self.inner.settings.root.id {
            return None;
        }
        let parent = lock(&self.inner.folders).get(id)?.parent?;
        Some(self.ino_of(parent))
    }

    /// The account has a folder in `parent` now, whatever listings said before: without this, a folder that is
    /// moved into one that it held before would be shown nowhere.
    pub fn moved(&self, folder: Ino, parent: Ino) {
        let (Some(id), Some(above)) = (self.id_of(folder), self.id_of(parent)) else {
            return;
        };
        let mut folders = lock(&self.inner.folders);
        if folders.get(id).is_some() {
            folders.state(id).parent = Some(above);
        }
    }

    /// Whether what the account has in `folder` under an id is known, and as something else than `ino`: another
    /// inode bears its number, or the folder showed it before a call for `ino` could have put it there, since what
    /// such a call may have put is not shown ([`Tree::doubt`]).
    pub fn is_other(&self, ino: Ino, folder: FolderId, key: NodeKey) -> bool {
        if let Some(owner) = self.bearer(key) {
            return owner != ino;
        }
        let listing = self.inner.cache.get(folder);
        listing.is_some_and(|listing| listing.entries().iter().any(|node| node.key() == key))
    }

    /// The inode that bears the number of what was made or written here.
    pub fn bearer(&self, key: NodeKey) -> Option<Ino> {
        match key {
            NodeKey::File(file) => self.inner.inodes.bearer(file),
            NodeKey::Folder(id) => self.inner.inodes.made(id),
            NodeKey::Own(own) => Some(own),
        }
    }

    /// The folder that the account has under a name, as far as is known: by its newest listing, which may have to
    /// be read from the disk, but for what was made, moved or removed here since.
    pub fn listed_folder(&self, folder: Ino, name: &OsStr) -> Option<Ino> {
        let recalled = |id| Some(self.show_again(self.recall_now(id)?));
        let listing = self
            .id_of(folder)
            .and_then(|id| self.inner.cache.get(id).or_else(|| recalled(id)));
        let own = read(&self.inner.own);
        if let Some(node) = own.find(folder, name)
            && node.is_folder()
        {
            return Some(node.ino);
        }
        let listed = listing.as_ref()?.get(name)?;
        (listed.is_folder() && own.get(listed.ino).is_none()).then_some(listed.ino)
    }

    /// A node as it is shown by now, `None` when it was removed here.
    pub fn newest(&self, node: &Arc<Node>) -> Option<Arc<Node>> {
        match read(&self.inner.own).get(node.ino) {
            Some(shown) => shown.cloned(),
            None => Some(Arc::clone(node)),
        }
    }

    /// What was changed or made here, as it is shown; `None` for everything else.
    pub fn own(&self, ino: Ino) -> Option<Arc<Node>> {
        read(&self.inner.own).get(ino).flatten().cloned()
    }

    /// What was changed or made here and is shown under a name in a folder.
    pub fn own_at(&self, folder: Ino, name: &OsStr) -> Option<Arc<Node>> {
        read(&self.inner.own).find(folder, name).cloned()
    }

    /// What was changed or made here and is shown in a folder.
    pub fn own_in(&self, folder: Ino) -> Vec<Arc<Node>> {
        read(&self.inner.own).entries(folder).cloned().collect()
    }

    /// Whether something is shown under a name in a folder, by what is in memory.
    pub fn shows(&self, folder: Ino, name: &OsStr) -> bool {
        let own = read(&self.inner.own);
        if own.find(folder, name).is_some() {
            return true;
        }
        let listing = self.id_of(folder).and_then(|id| self.inner.cache.get(id));
        listing.is_some_and(|listing| own.look_up(&listing, name).is_some())
    }

    /// Whether the account has another file with the name of this one in its folder, by the listing in memory.
    pub fn has_namesake(&self, node: &Node) -> bool {
        let Some(folder) = self.id_of(node.parent) else {
            return false;
        };
        let Some(listing) = self.inner.cache.get(folder) else {
            return false;
        };
        let numbering = lock(&self.inner.folders).numbering(folder);
        let own = read(&self.inner.own);
        let others = listing
            .entries()
            .iter()
            .filter(|other| !other.is_folder() && other.ino != node.ino && !own.hides(other));
        let mut names = others.map(|other| numbering.true_name(other));
        names.any(|name| *name == *node.name)
    }

    /// The folder that may show an id that is on its way out.
    pub fn hidden_in(&self, key: &NodeKey) -> Vec<Ino> {
        read(&self.inner.own).hidden_in(key)
    }

    /// Whether an id went from a folder so short a time ago that the account may still show it there.
    pub fn may_show(&self, key: NodeKey, folder: Ino) -> bool {
        read(&self.inner.own).may_show(&key, folder, self.inner.clock.now())
    }

    /// A file or folder is in a folder again.
    pub fn unhide(&self, key: NodeKey, folder: Ino) {
        write(&self.inner.own).unhide(key, folder);
    }

    /// The folder from which something was removed here.
    pub fn gone_from(&self, ino: Ino) -> Option<Ino> {
        read(&self.inner.own).gone_from(ino)
    }

    /// A name that something of one's own has left: another file that is called that, and bore a number meanwhile,
    /// bears it without. Blocks for the disk.
    pub fn give_name_back(&self, folder: Ino, name: &OsStr) {
        let Some(id) = self.id_of(folder) else {
            return;
        };
        let Some(listing) = self.inner.cache.get(id) else {
            return;
        };
        let numbering = lock(&self.inner.folders).numbering(id);
        if self.shows(folder, name) {
            return;
        }
        let others = listing.entries().iter().filter(|node| !node.is_folder());
        let mut others = others.filter(|node| *numbering.true_name(node) == *name);
        let Some(other) = others.next() else {
            return;
        };
        let renamed = Node {
            name: name.into(),
            ..Node::clone(other)
        };
        let numbering = numbering.without(other.key());
        if let Some(store) = &self.inner.store {
            store.put_numbering(id, &numbering);
        }
        lock(&self.inner.folders).number(id, numbering);
        let entries = listing.entries().iter().map(|node| {
            if node.ino == renamed.ino {
                Arc::new(renamed.clone())
            } else {
                Arc::clone(node)
            }
        });
        let changed = Arc::new(listing.replaced(entries.collect()));
        self.inner.inodes.refresh([&Arc::new(renamed)]);
        self.inner
            .changes
            .push_entries(folder, &diff(&listing, &changed));
        self.inner.cache.insert(changed);
    }

    /// The name that the account has of a node: without the number that tells it from its namesakes.
    pub fn true_name(&self, node: &Node) -> OsString {
        let Some(folder) = self.id_of(node.parent) else {
            return node.name.to_os_string();
        };
        let numbering = lock(&self.inner.folders).numbering(folder);
        numbering.true_name(node)
    }

    /// A folder is shown at a place, with or without a number of the account's.
    pub fn show_folder(&self, ino: Ino, id: Option<FolderId>, parent: Ino, name: &OsStr) {
        let known = self.own(ino).and_then(|node| node.folder().cloned());
        let known = known.unwrap_or_else(|| {
            let known = id.and_then(|id| lock(&self.inner.folders).get(id)?.changed);
            Folder {
                id: UNMADE,
                created: Some(self.now()),
                changed: known,
                password: false,
            }
        });
        self.show(Node {
            ino,
            parent,
            name: name.into(),
            kind: Kind::Folder(Folder {
                id: id.unwrap_or(UNMADE),
                ..known
            }),
        });
    }

    /// A folder was made here in an earlier life and keeps its number.
    pub fn made_before(&self, ino: Ino, folder: FolderId) {
        self.inner.inodes.make(folder, ino);
        let mut folders = lock(&self.inner.folders);
        folders.state(folder);
    }

    /// What was made here is gone, and the account never had it: no listing can show it.
    pub fn forget_own(&self, ino: Ino) {
        write(&self.inner.own).drop_removed(ino);
    }

    /// Something is shown, or not shown any more, without the kernel having asked for it: it must not believe
    /// what it remembers.
    pub fn disturb(&self, ino: Ino, folder: Ino, name: &OsStr) {
        let entry = Change::Entry {
            parent: folder,
            name: name.into(),
        };
        let all = [entry, Change::Entries(folder), Change::Content(ino)];
        self.inner.changes.push(folder, all);
    }
}
