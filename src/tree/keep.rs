//! Between the tree and its store: what is taken over at the start, what is put, what is read again.
//!
//! Everything here that asks the store blocks for the disk and runs on the blocking pool.
use super::error::TreeError;
use super::folders::{Folders, Outcome};
use super::inode::Ino;
use super::listing::{EntryChange, Listing};
use super::node::{Node, NodeKey};
use super::root::RootFolder;
use super::store::{FolderRecord, Found, Store};
use super::{Caller, Tree};
use crate::api::FolderId;
use crate::util::cached::Cached;
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use std::collections::HashMap;
use std::sync::Arc;

/// Folders above one another that are read to find out where one is, at most.
pub(super) const DEEPEST_RECALL: usize = 256;

/// The folders that a store knows below the root of the mount. Those outside stay unknown, so that their
/// numbers open nothing.
pub(super) fn folders_of(store: &Store, root: &RootFolder, clock: Clock) -> Folders {
    let records: HashMap<FolderId, FolderRecord> = store.folders().into_iter().collect();
    let mut below: HashMap<FolderId, Vec<FolderId>> = HashMap::new();
    for (folder, record) in &records {
        if let Some(parent) = record.parent {
            below.entry(parent).or_default().push(*folder);
        }
    }
    let mut folders = Folders::default();
    let mut next = vec![root.id];
    while let Some(folder) = next.pop() {
        let state = folders.state(folder);
        if let Some(record) = records.get(&folder) {
            state.parent = record.parent;
            state.changed = record.changed;
            state.listed = record.fetched.is_some();
            state.kept = record.fetched;
            state.entries = record.entries;
            state.asked = record.fetched.and_then(|fetched| clock.happened(fetched));
        }
        // Taken away, so that no circle of damaged records is walked for ever.
        next.extend(below.remove(&folder).unwrap_or_default());
    }
    folders
}

impl Tree {
    /// Puts a listing that was just taken in, what is left of others because of it, and what is
    /// remembered of the folders concerned.
    pub(super) fn keep(
        &self,
        listing: &Arc<Listing>,
        shrunk: &[Arc<Listing>],
        changes: Option<&[EntryChange]>,
    ) {
        let Some(store) = &self.inner.store else {
            return;
        };
        let unkept = self.inner.inodes.take_unkept();
        if !unkept.is_empty() {
            store.put_displaced(&unkept);
        }
        let fetched = self.inner.clock.unix_at(listing.fetched());
        let removed = changes.unwrap_or_default().iter().filter_map(|change| {
            let EntryChange::Removed(node) = change else {
                return None;
            };
            Some(node.key())
        });
        let shown = listing.entries().iter().map(|node| node.key());
        let concerned = shown.chain(removed).filter_map(|key| match key {
            NodeKey::Folder(folder) => Some(folder),
            NodeKey::File(_) | NodeKey::Own(_) => None,
        });
        let mut listings = vec![Arc::clone(listing)];
        listings.extend(shrunk.iter().cloned());
        let listed = listings.iter().map(|it| it.folder());
        let mut records = Vec::new();
        let mut folders = lock(&self.inner.folders);
        folders.state(listing.folder()).kept = Some(fetched);
        for folder in concerned.chain(listed) {
            if let Some(state) = folders.get(folder) {
                let record = FolderRecord {
                    parent: state.parent,
                    changed: state.changed,
                    entries: state.entries,
                    fetched: state.kept,
                };
                records.push((folder, record));
            }
        }
        drop(folders);
        store.put(listings, records);
    }

    /// The folders that showed these files last, as far as that is kept.
    pub(super) fn kept_places(&self, files: &[&Arc<Node>]) -> Vec<Option<FolderId>> {
        let Some(store) = &self.inner.store else {
            return vec![None; files.len()];
        };
        let derived: Vec<Ino> = files
            .iter()
            .map(|node| self.inner.inodes.derived(node.ino))
            .collect();
        store.places(&derived)
    }

    /// The listing of `folder` that the store keeps, if any: in memory from then on.
    pub(super) async fn recall(&self, folder: FolderId) -> Option<Arc<Listing>> {
        lock(&self.inner.folders).get(folder)?.kept?;
        let tree = self.clone();
        let runtime = &self.inner.runtime;
        let recalled = runtime.spawn_blocking(move || {
            let listing = tree.recall_now(folder)?;
            Some(tree.show_again(listing))
        });
        recalled.await.ok().flatten()
    }

    /// The listing of `folder` that the store keeps, if any.
    pub(super) fn recall_now(&self, folder: FolderId) -> Option<Arc<Listing>> {
        let store = self.inner.store.as_ref()?;
        let stored = match store.listing(folder)? {
            Found::Waiting(listing) => return Some(listing),
            Found::Read(stored) => stored,
        };
        let line = lock(&self.inner.folders).line_of(folder);
        let number = |key, taken: &dyn Fn(Ino) -> bool| {
            if let NodeKey::Folder(id) = key {
                let mut folders = lock(&self.inner.folders);
                // What was remembered of it may be lost; its name is not.
                let parent = folders.state(id).parent.get_or_insert(folder);
                if *parent != folder || line.contains(&id) {
                    return None;
                }
            }
            self.inner.inodes.number(key, taken)
        };
        // Dated after now: the clock was set back. So it counts as older than everything.
        let fetched = self.inner.clock.happened(stored.fetched);
        let fetched = fetched.unwrap_or(Moment::from_origin(std::time::Duration::ZERO));
        let ino = self.ino_of(folder);
        Some(Arc::new(Listing::restore(
            folder, stored, ino, &number, fetched,
        )))
    }

    /// What an inode is that the kernel does not hold: one that a file handle of an earlier time names.
    pub(super) fn locate(
        &self,
        ino: Ino,
        caller: Caller,
    ) -> Cached<Result<Option<Arc<Node>>, TreeError>> {
        if self.inner.inodes.get(ino).is_some() {
            let node = if self.is_gone(ino) {
                Err(TreeError::Stale(ino))
            } else {
                self.node(ino).map(Some)
            };
            return Cached::Hit(node);
        }
        if let Some(folder) = ino.folder() {
            let parent = {
                let folders = lock(&self.inner.folders);
                let parent = folders.get(folder).and_then(|state| state.parent);
                // The root of the mount may lie in a folder outside.
                parent.filter(|parent| {
                    folder != self.inner.settings.root.id && folders.get(*parent).is_some()
                })
            };
            return match parent {
                Some(parent) => self.located(parent, ino, caller),
                None => Cached::Hit(Err(TreeError::Stale(ino))),
            };
        }
        let Some(store) = self.inner.store.clone() else {
            return Cached::Hit(Err(TreeError::Stale(ino)));
        };
        let tree = self.clone();
        Cached::wait(async move {
            let derived = tree.inner.inodes.derived(ino);
            let asked = tree.inner.runtime.spawn_blocking(move || {
                let places = store.places(&[derived]);
                places.first().copied().flatten()
            });
            let place = asked.await.ok().flatten();
            // Outside the mount, or not known: the same for who asks.
            let inside = place.filter(|place| lock(&tree.inner.folders).get(*place).is_some());
            match inside {
                Some(folder) => tree.located(folder, ino, caller).ready().await,
                None => Err(TreeError::Stale(ino)),
            }
        })
    }

    /// The entry of `folder` with the number `ino`.
    fn located(
        &self,
        folder: FolderId,
        ino: Ino,
        caller: Caller,
    ) -> Cached<Result<Option<Arc<Node>>, TreeError>> {
        let tree = self.clone();
        let find = move |outcome: Outcome| match outcome?.at(ino) {
            Some(node) => Ok(Some(tree.current(node))),
            None => Err(TreeError::Stale(ino)),
        };
        match self.listing(folder, caller) {
            Cached::Hit(outcome) => Cached::Hit(find(outcome)),
            Cached::Wait(outcome) => Cached::wait(async move { find(outcome.await) }),
        }
    }

    /// Waits until all that is known is on disk, as far as it can be written.
    pub async fn flush(&self) {
        if let Some(store) = &self.inner.store {
            store.flush().await;
        }
    }
}
