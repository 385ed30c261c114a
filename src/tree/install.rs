//! What an answer of the service changes: the listing, the inodes the kernel holds, the folders'
//! places and dates, and what the kernel must be told.
//!
//! Answers are taken in one after the other, so that the checks of one see all that others brought, on
//! the blocking pool: what was known may have to be read, and numbers that duplicates are given are on
//! disk before anyone sees them.
//! Lock order: `installing`, then either `folders` or the inodes, never both of these.
use super::change::Change;
use super::folders::FolderState;
use super::inode::Ino;
use super::junk;
use super::listing::{EntryChange, Listing, Surroundings, diff};
use super::node::{Node, NodeKey};
use super::numbering::Numbering;
use super::{Tree, with_change};
use crate::api::{FolderId, FolderListing, UnixSeconds};
use crate::util::sync::lock;
use std::collections::HashSet;
use std::sync::Arc;

impl Tree {
    /// Takes an answer in; returns what is shown from now on, which is `old` when the answer is
    /// worth less.
    pub(super) fn install(
        &self,
        folder: FolderId,
        mut answer: FolderListing,
        old: Option<Arc<Listing>>,
    ) -> Arc<Listing> {
        let _one_at_a_time = lock(&self.inner.installing);
        answer.folder = folder;
        let ino = self.ino_of(folder);
        let old = old
            .or_else(|| self.inner.cache.get(folder))
            .or_else(|| self.recall_now(folder));
        let (line, former) = {
            let folders = lock(&self.inner.folders);
            let mut line = folders.line_of(folder);
            line.extend(&self.inner.settings.root.above);
            (line, folders.numbering(folder))
        };
        let (listing, numbering) = self.build(&answer, ino, &line, &former);
        if let Some(old) = &old
            && old.is_complete()
            && !listing.is_complete()
        {
            log::warn!(
                "folder {folder} was listed in part only; what was known before is still shown"
            );
            self.inner.cache.insert(Arc::clone(old));
            return Arc::clone(old);
        }
        if !listing.is_complete() {
            log::warn!("folder {folder} holds more than the service lists; a part is known");
        }
        let changes = old.as_deref().map(|old| diff(old, &listing));
        if numbering != *former
            && let Some(store) = &self.inner.store
        {
            store.put_numbering(folder, &numbering);
        }
        let noted = self.note(folder, &listing, changes.as_deref(), numbering);

        let listing = Arc::new(listing);
        self.keep(&listing, changes.as_deref());
        self.inner.cache.insert(Arc::clone(&listing));
        self.inner.inodes.refresh(&noted.nodes);
        for change in changes.iter().flatten() {
            if let EntryChange::Removed(node) = change {
                self.inner.inodes.mark_gone(node);
            }
        }
        self.tell(ino, &listing, changes.as_deref(), &noted);
        listing
    }

    fn build(
        &self,
        answer: &FolderListing,
        ino: Ino,
        line: &HashSet<FolderId>,
        numbering: &Numbering,
    ) -> (Listing, Numbering) {
        let folder = answer.folder;
        let number = |key, taken: &dyn Fn(Ino) -> bool| {
            if let NodeKey::Folder(id) = key
                && line.contains(&id)
            {
                log::warn!(
                    "folder {folder} is shown to hold folder {id}, which holds it; left out"
                );
                return None;
            }
            let number = self.inner.inodes.number(key, taken);
            if number.is_none() {
                log::warn!("folder {folder} is shown to hold {key:?}, which cannot be; left out");
            }
            number
        };
        let around = Surroundings {
            ino,
            number: &number,
            numbering,
            fetched: self.inner.clock.now(),
        };
        Listing::build(answer, &around)
    }

    /// Notes what a listing says of its folder and of the folders in it.
    fn note(
        &self,
        folder: FolderId,
        listing: &Listing,
        changes: Option<&[EntryChange]>,
        numbering: Numbering,
    ) -> Noted {
        let noticed = i64::try_from(self.inner.clock.unix().as_secs()).unwrap_or(i64::MAX);
        let mut folders = lock(&self.inner.folders);
        for change in changes.unwrap_or_default() {
            if let EntryChange::Removed(node) = change
                && let NodeKey::Folder(child) = node.key()
                && let Some(state) = folders.seen(child)
                && state.parent == Some(folder)
            {
                state.parent = None;
            }
        }
        let nodes = listing
            .entries()
            .iter()
            .map(|node| match node.key() {
                NodeKey::Folder(child) => {
                    let state = folders.state(child);
                    state.parent = Some(folder);
                    with_change(node, state.changed)
                }
                NodeKey::File(_) => Arc::clone(node),
            })
            .collect();
        let state = folders.state(folder);
        let before = state.changed;
        let relisted_blindly = state.listed && changes.is_none();
        state.changed = moved_on(state, listing.newest(), changes, noticed);
        state.listed = true;
        let changed = state.changed.filter(|_| state.changed != before);
        folders.number(folder, numbering);
        Noted {
            nodes,
            changed,
            relisted_blindly,
        }
    }

    /// Queues what the kernel must be told of.
    fn tell(&self, ino: Ino, listing: &Listing, changes: Option<&[EntryChange]>, noted: &Noted) {
        if let Some(changed) = noted.changed
            && let Some(own) = self.inner.inodes.get(ino)
        {
            self.inner
                .inodes
                .refresh([&with_change(&own, Some(changed))]);
            self.inner.changes.push(ino, [Change::Attributes(ino)]);
        }
        match changes {
            Some(changes) => self.inner.changes.push_entries(ino, changes),
            // What the kernel knows of it cannot be compared any more.
            None if noted.relisted_blindly => {
                self.inner.changes.push(ino, [Change::Everything(ino)]);
            }
            // The kernel may have been told that they are absent.
            None => {
                let junk = listing
                    .entries()
                    .iter()
                    .filter(|it| junk::is_junk(&it.name));
                let names = junk.map(|node| Change::Entry {
                    parent: ino,
                    name: node.name.clone(),
                });
                self.inner.changes.push(ino, names);
            }
        }
    }

    /// The service knows nothing of `folder`: it is gone, and so it must be from its parent soon.
    pub(super) fn vanished(&self, folder: FolderId) {
        self.inner.cache.remove(folder);
        if let Some(store) = &self.inner.store {
            store.remove(folder);
        }
        if let Some(node) = self.inner.inodes.get(self.ino_of(folder)) {
            self.inner.inodes.mark_gone(&node);
        }
        let parent = lock(&self.inner.folders).seen(folder).and_then(|state| {
            state.kept = None;
            state.parent
        });
        if let Some(parent) = parent
            && let Some(known) = self.inner.cache.get(parent)
        {
            self.refresh_known(&known);
        }
    }
}

/// What taking a listing in found out.
struct Noted {
    /// The entries as the kernel sees them.
    nodes: Vec<Arc<Node>>,
    /// The folder's new time of change, if it moved.
    changed: Option<UnixSeconds>,
    /// It had been listed before, and what it showed then is not known any more.
    relisted_blindly: bool,
}

/// A folder's time of change after a listing: its newest date, and later than before when entries
/// changed in a way that no date shows, such as a removal.
fn moved_on(
    state: &FolderState,
    newest: Option<UnixSeconds>,
    changes: Option<&[EntryChange]>,
    noticed: UnixSeconds,
) -> Option<UnixSeconds> {
    let Some(before) = state.changed else {
        return newest;
    };
    let has_changed = changes.is_some_and(|changes| {
        changes
            .iter()
            .any(|it| !matches!(it, EntryChange::Altered(_)))
    });
    if has_changed && newest.is_none_or(|newest| newest <= before) {
        Some(noticed.max(before.saturating_add(1)))
    } else {
        newest.max(Some(before))
    }
}
