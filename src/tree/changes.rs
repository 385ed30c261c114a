//! What was changed here, shown at once: the way into [`Own`](super::own::Own), and what it means for the
//! inodes the kernel holds.
//!
//! Promises: what was told here is what every look finds from then on, over restarts only if whoever
//! tells writes it down; a number stays with its file or folder when that gets an id. Tells the account
//! nothing.
use super::Tree;
use super::change::Change;
use super::folders::Outcome;
use super::inode::Ino;
use super::listing::Listing;
use super::names;
use super::node::{Folder, Kind, Node, NodeKey};
use super::own::LAG;
use crate::api::{FileId, FolderId, FolderListing};
use crate::util::cached::Cached;
use crate::util::sync::{lock, read, write};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

impl Tree {
    /// A file or folder was made, changed or moved here: it is what `node` says, and where.
    pub fn show(&self, node: Node) {
        let node = Arc::new(node);
        write(&self.inner.own).show(&node);
        self.inner.inodes.exchange(&node);
    }

    /// A file or folder was removed from a folder here.
    pub fn unshow(&self, ino: Ino, folder: Ino) {
        write(&self.inner.own).remove(ino, folder);
        self.inner.inodes.lose(ino);
    }

    /// The account has been told all of a file or folder: listings are believed again when they are late
    /// enough.
    pub fn told(&self, ino: Ino) {
        write(&self.inner.own).told(ino, self.inner.clock.now());
    }

    /// The same, at a time of an earlier life, since 1970. What the last listing of `folder` can be believed
    /// about is not shown.
    pub fn told_before(&self, ino: Ino, folder: Ino, at: Duration) {
        let clock = self.inner.clock;
        let told = clock.happened(at).unwrap_or(clock.now());
        let listed = self.folder_id(folder).and_then(|id| {
            let folders = lock(&self.inner.folders);
            folders.get(id)?.kept
        });
        let is_known = self
            .folder_id(folder)
            .is_some_and(|id| lock(&self.inner.folders).get(id).is_some());
        let mut own = write(&self.inner.own);
        own.told(ino, told);
        if !is_known && told.after(LAG) <= clock.now() {
            own.leave(folder);
        }
        if let Some(listed) = listed.and_then(|listed| clock.happened(listed)) {
            own.confirm(folder, listed);
        }
    }

    /// A folder is gone from the account: what was removed from it need not be remembered.
    pub fn left(&self, folder: Ino) {
        write(&self.inner.own).leave(folder);
    }

    /// What the account's listings show by now, of what it was told, and would show after a crash.
    pub fn take_confirmed(&self) -> Vec<Ino> {
        if read(&self.inner.own).has_none_over() {
            return Vec::new();
        }
        write(&self.inner.own).take_over(|folder| self.is_on_disk(folder))
    }

    /// Whether the newest listing of a folder is what a restart would show.
    pub fn is_on_disk(&self, folder: Ino) -> bool {
        match (&self.inner.store, self.id_of(folder)) {
            (Some(store), Some(folder)) => !store.is_waiting(folder),
            _ => true,
        }
    }

    /// An id of a folder's is on its way out; `removed` when the account does not have it any more.
    pub fn hide(&self, key: NodeKey, folder: Ino, removed: bool) {
        let removed = removed.then(|| self.inner.clock.now());
        write(&self.inner.own).hide(key, folder, removed);
    }

    /// A file has an id, or another one, and keeps its number.
    pub fn stored(&self, ino: Ino, file: FileId) {
        self.inner.inodes.rename_file(file, ino);
    }

    /// A folder made here has an id, and keeps its number. It is as empty as it was made, as far as the
    /// account is concerned, so there is no need to ask.
    pub fn made(&self, ino: Ino, folder: FolderId) {
        self.identify(ino, folder);
        lock(&self.inner.folders).state(folder).listed = true;
        let listing = Listing::made(folder, ino, self.inner.clock.now());
        self.inner.cache.insert(Arc::new(listing));
    }

    /// The same of one that is there already: others may have put something into it, which is asked for when
    /// somebody looks.
    pub fn found(&self, ino: Ino, folder: FolderId) {
        self.identify(ino, folder);
        self.inner.changes.push(ino, [Change::Everything(ino)]);
    }

    fn identify(&self, ino: Ino, folder: FolderId) {
        self.inner.inodes.make(folder, ino);
        let parent = {
            let own = read(&self.inner.own);
            own.get(ino).flatten().cloned()
        };
        let above = parent.as_ref().and_then(|node| self.id_of(node.parent));
        lock(&self.inner.folders).state(folder).parent = above;
        if let Some(node) = parent
            && let Kind::Folder(known) = &node.kind
        {
            let known = Folder {
                id: folder,
                ..known.clone()
            };
            self.show(Node {
                kind: Kind::Folder(known),
                ..Node::clone(&node)
            });
        }
    }

    /// The listing of a folder that the account does not have yet.
    pub(super) fn unmade(&self, folder: Ino) -> Option<Arc<Listing>> {
        let own = read(&self.inner.own);
        let node = own.get(folder)??;
        if node.folder()?.id != UNMADE {
            return None;
        }
        let entries = own.entries(folder).cloned().collect();
        Some(Arc::new(Listing::own(
            folder,
            entries,
            self.inner.clock.now(),
        )))
    }

    /// The same when it is here.
    pub(super) fn with_own(&self, outcome: Cached<Outcome>) -> Cached<Outcome> {
        match outcome {
            Cached::Hit(outcome) => Cached::Hit(outcome.map(|listing| self.over(&listing))),
            Cached::Wait(outcome) => {
                let tree = self.clone();
                Cached::wait(async move { outcome.await.map(|listing| tree.over(&listing)) })
            }
        }
    }

    /// A listing with what was changed here.
    pub(super) fn over(&self, listing: &Arc<Listing>) -> Arc<Listing> {
        let own = read(&self.inner.own);
        if own.is_empty() {
            return Arc::clone(listing);
        }
        own.over(listing)
    }

    /// The entry called `name` in a folder with this listing, as it is shown.
    pub(super) fn look_up(&self, listing: &Arc<Listing>, name: &OsStr) -> Option<Arc<Node>> {
        let own = read(&self.inner.own);
        if own.is_empty() {
            return listing.get(name).cloned();
        }
        own.look_up(listing, name)
    }

    /// A call that is about to be made, or whose outcome nobody knows, may put a file or folder there: what a
    /// listing shows there for the first time is not shown a second time.
    pub fn doubt(&self, ino: Ino, folder: Ino, name: &OsStr) {
        write(&self.inner.own).doubt(ino, Some((folder, name.into())));
    }

    /// It is known again where a file or folder is.
    pub fn undoubt(&self, ino: Ino) {
        write(&self.inner.own).doubt(ino, None);
    }

    /// The account has taken what was put into a folder that is gone somewhere else, an upload into its root without
    /// a word (API reference 6): what the answer for `folder` shows of that is where it is. Nothing else would ever
    /// say so, since the folder is not listed any more.
    /// Returns whether there is any.
    pub(super) fn believe_stranded(&self, said: &FolderListing, folder: Ino) -> bool {
        if read(&self.inner.own).is_empty() {
            return false;
        }
        let keys = said.files.iter().map(|file| NodeKey::File(file.url.id()));
        let inos = keys.filter_map(|key| self.inner.inodes.number(key, |_| false));
        let told: Vec<(Ino, Ino)> = {
            let own = read(&self.inner.own);
            inos.filter_map(|ino| Some((ino, own.told_in(ino)?)))
                .collect()
        };
        let mut is_any = false;
        for (ino, place) in told {
            if place != folder && !self.is_in_account(place) {
                write(&self.inner.own).believe(ino, folder);
                is_any = true;
            }
        }
        is_any
    }

    /// Whether the account has a folder, as far as is known.
    fn is_in_account(&self, folder: Ino) -> bool {
        let root = self.inner.settings.root.id;
        let id = self.id_of(folder);
        id.is_some_and(|id| lock(&self.inner.folders).is_below(id, root))
    }

    /// An answer without what is shown elsewhere, or not at all any more, and without what may have come by a
    /// call of one's own whose outcome is not known: that is shown as one's own. `old` is the listing so far.
    pub(super) fn without_elsewhere(
        &self,
        mut said: FolderListing,
        folder: Ino,
        old: Option<&Listing>,
    ) -> FolderListing {
        let own = read(&self.inner.own);
        if own.is_empty() {
            return said;
        }
        let was_listed =
            |key| old.is_some_and(|old| old.entries().iter().any(|node| node.key() == key));
        let is_here = |key, name: &str| {
            let ino = self.inner.inodes.number(key, |_| false);
            let name = names::decode(name);
            let may_be_ours = own.is_doubted(folder, &name)
                && !was_listed(key)
                && ino.is_none_or(|ino| own.get(ino).is_none());
            !may_be_ours && !ino.is_some_and(|ino| own.is_elsewhere(key, ino, folder, &name))
        };
        said.files
            .retain(|file| is_here(NodeKey::File(file.url.id()), &file.name));
        said.folders
            .retain(|sub| is_here(NodeKey::Folder(sub.id), &sub.name));
        said
    }

    /// A folder was listed: what that confirms need not be remembered.
    pub(super) fn confirm(&self, listing: &Listing) {
        if !read(&self.inner.own).is_empty() {
            write(&self.inner.own).confirm(listing.ino(), listing.fetched());
        }
    }
}

/// The id of a folder that has none: no account's.
pub(super) const UNMADE: FolderId = FolderId(u64::MAX);
