//! What the outbox asks of the tree and of the files, and what it tells them.
//!
//! Everything here runs under the outbox's lock, or on its journal's thread.
use super::attributes;
use super::conflict::{Doubt, apart};
use super::files::{Base, Files};
use super::names::place;
use super::recent::{MOST_SPENT, Recent, Told};
use crate::api::{FileUrl, FolderId};
use crate::outbox::intent::{Done, Entry, Place, Remote, Thing, Version};
use crate::outbox::{Surroundings, Telling};
use crate::tree::{File, Ino, Kind, Node, NodeKey, Tree};
use crate::util::sync::lock;
use crate::write::content::Origin;
use crate::write::versions::Versions;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// The tree, the versions and the open files.
#[derive(Debug)]
pub(super) struct Around {
    tree: Tree,
    versions: Versions,
    pub(super) files: Files,
    doubts: mpsc::UnboundedSender<Doubt>,
    /// What the account does not have in a folder any more, by whose it was, until the account was told all of those.
    pub(super) spent: Mutex<HashMap<Ino, Vec<(NodeKey, Ino)>>>,
    /// Folders that the account had something in, and that may show it still when it was moved, until the account
    /// was told all of it.
    was_in: Mutex<HashMap<Ino, Vec<Ino>>>,
    /// What listings show as the account was told, while they may still show what it was before.
    confirmed: Mutex<HashSet<Ino>>,
}

impl Around {
    /// Files that others may have changed as well are told to `doubts`: few, and each a folder to be listed.
    pub(super) fn new(
        tree: Tree,
        versions: Versions,
        doubts: mpsc::UnboundedSender<Doubt>,
    ) -> Self {
        Self {
            tree,
            versions,
            files: Files::default(),
            doubts,
            spent: Mutex::default(),
            was_in: Mutex::default(),
            confirmed: Mutex::default(),
        }
    }

    /// What the account has of something that was not changed here.
    pub(super) fn known(&self, node: &Node) -> Option<Remote> {
        let thing = match (&node.kind, node.key()) {
            (Kind::File(file), _) => Thing::File(file.url.clone()),
            (Kind::Folder(_), NodeKey::Folder(_)) => Thing::Folder(self.tree.folder_id(node.ino)?),
            _ => return None,
        };
        let name = self.tree.true_name(node).into_boxed_os_str();
        let folder = node.parent;
        Some(Remote {
            thing,
            place: Place { folder, name },
            size: node.size(),
        })
    }

    /// Something is to be gone, and is not shown any more.
    pub(super) fn remove(&self, tell: &mut Telling<'_>, node: &Node, after: Option<Ino>) {
        let ino = node.ino;
        let was_here_only = tell.entry(ino).is_some_and(|entry| {
            entry.remote.is_none() && entry.attempt.is_none() && entry.discard.is_empty()
        });
        tell.remove(ino, node.is_folder(), || self.known(node), after);
        self.tree.unshow(ino, node.parent);
        attributes::forget(&self.tree, tell, ino);
        if let Some(file) = self.files.get(ino) {
            file.lock().is_unlinked = true;
        }
        if was_here_only {
            self.tree.forget_own(ino);
        } else if tell.entry(ino).is_none() {
            self.tree.told(ino);
        }
    }

    /// Something is wanted, and shown, elsewhere.
    pub(super) fn place(&self, tell: &mut Telling<'_>, node: &Node, to: Place) {
        let ino = node.ino;
        let remote = tell.entry(ino).map(|entry| entry.remote.as_ref());
        let from = match remote {
            Some(remote) => remote.map(|remote| remote.place.folder),
            None => Some(node.parent),
        };
        if let Some(from) = from.filter(|from| *from != to.folder) {
            lock(&self.was_in).entry(ino).or_default().push(from);
        }
        tell.rename(ino, node.is_folder(), || self.known(node), to.clone());
        attributes::keep_time(&self.tree, tell, node);
        let placed = Node {
            parent: to.folder,
            name: to.name,
            ..Node::clone(node)
        };
        if let Some(file) = self.files.get(ino) {
            file.lock().node = Arc::new(placed.clone());
        }
        self.tree.show(placed);
        if tell.entry(ino).is_none() {
            // Back where the account has it.
            self.tree.told(ino);
            tell.remember(ino, self.record(ino));
        }
    }

    /// What was put where the account has something that is shown again goes to another name: of two with one
    /// name only one could be shown, and a folder would wait for its place for ever.
    fn make_room(&self, tell: &mut Telling<'_>, ino: Ino, place: &Place) {
        let there = self.tree.own_at(place.folder, &place.name);
        let Some(there) = there.filter(|there| there.ino != ino) else {
            return;
        };
        let to = apart(&self.tree, place);
        log::warn!(
            "{} is shown again as the account has it; what was put there meanwhile is kept as {}",
            there.name.to_string_lossy(),
            to.name.to_string_lossy()
        );
        self.place(tell, &there, to.clone());
        self.tree.disturb(there.ino, there.parent, &there.name);
        self.tree.disturb(there.ino, to.folder, &to.name);
    }

    /// What is to be remembered of something the account was told.
    fn record(&self, ino: Ino) -> Option<Vec<u8>> {
        let spent = lock(&self.spent).get(&ino).cloned().unwrap_or_default();
        let recent = self.recent(ino, spent)?;
        Some(recent.lasting(|folder| self.tree.lasting(folder)).record())
    }

    /// What the account has by now of something it was told all of.
    fn recent(&self, ino: Ino, spent: Vec<(NodeKey, Ino)>) -> Option<Recent> {
        lock(&self.confirmed).remove(&ino);
        let at = Duration::from_secs(self.tree.now().unsigned_abs());
        let Some(node) = self.tree.own(ino) else {
            let folder = self.tree.gone_from(ino)?;
            return Some(Recent {
                at,
                place: Place {
                    folder,
                    name: OsStr::new("").into(),
                },
                thing: Told::Gone,
                spent,
            });
        };
        let thing = match &node.kind {
            Kind::File(file) => Told::File {
                url: file.url.clone(),
                size: file.size,
                modified: file.uploaded.unwrap_or_default(),
            },
            Kind::Folder(_) => Told::Folder(self.tree.folder_id(ino)?),
            Kind::Own(_) if spent.is_empty() => return None,
            // Not all told yet: what is left to be told says what it is.
            Kind::Own(_) => Told::Gone,
        };
        Some(Recent {
            at,
            place: place(node.parent, &node.name),
            thing,
            spent,
        })
    }

    /// The folders whose listings may show what is gone now: where the account had it, and where it was before
    /// that; not where it was seen here alone.
    fn may_show(&self, ino: Ino, key: NodeKey, before: Option<&Entry>) -> BTreeSet<Ino> {
        let mut folders = BTreeSet::from_iter(self.tree.hidden_in(&key));
        if let Some(entry) = before {
            let spent = entry.discard.iter();
            let spent = spent.filter(|it| NodeKey::File(it.url.id()) == key);
            folders.extend(spent.map(|it| it.folder));
            folders.extend(had_in(entry, key));
        }
        folders.extend(lock(&self.was_in).get(&ino).into_iter().flatten());
        if folders.is_empty() {
            let own = || self.tree.own(ino).map(|node| node.parent);
            folders.extend(self.tree.gone_from(ino).or_else(own));
        }
        folders
    }

    /// The account has nothing under an id any more.
    fn removed(&self, ino: Ino, key: NodeKey, before: Option<&Entry>) {
        for folder in self.may_show(ino, key, before) {
            self.tree.hide(key, folder, true);
            self.spend(ino, key, folder);
        }
    }

    /// What the account had is not in a folder any more that may show it still.
    fn spend(&self, ino: Ino, key: NodeKey, folder: Ino) {
        let mut spent = lock(&self.spent);
        let spent = spent.entry(ino).or_default();
        spent.retain(|known| *known != (key, folder));
        spent.truncate(MOST_SPENT - 1);
        spent.insert(0, (key, folder));
    }

    /// The account has something in `folder` now, and in none that it was in before.
    fn moved(&self, ino: Ino, folder: Ino, before: Option<&Entry>, left: Option<&Entry>) {
        let remote = left.and_then(|entry| entry.remote.as_ref());
        let known = || self.tree.own(ino).map(|node| node.key());
        let key = remote.map(|remote| key_of(&remote.thing)).or_else(known);
        let Some(key) = key.filter(|key| !matches!(key, NodeKey::Own(_))) else {
            return;
        };
        self.tree.unhide(key, folder);
        if let Some(spent) = lock(&self.spent).get_mut(&ino) {
            spent.retain(|known| *known != (key, folder));
        }
        let mut were = lock(&self.was_in).get(&ino).cloned().unwrap_or_default();
        were.extend(before.and_then(|entry| had_in(entry, key)));
        for from in were.into_iter().filter(|from| *from != folder) {
            self.tree.hide(key, from, true);
            self.spend(ino, key, from);
        }
    }

    /// A file of the account is shown in the place of what was made here.
    fn show_stored(&self, ino: Ino, url: &FileUrl, left: Option<&Entry>) {
        if left.is_some_and(|entry| entry.content.is_some()) {
            return;
        }
        let Some(node) = self.tree.own(ino).filter(|node| !node.is_folder()) else {
            return;
        };
        let remote = left.and_then(|entry| entry.remote.as_ref());
        let size = remote.map_or(node.size(), |remote| remote.size);
        if let Some(file) = self.files.get(ino) {
            let mut state = file.lock();
            if state.staged.is_none()
                && let Base::Remote(origin) = &mut state.base
            {
                origin.url = url.clone();
            }
        }
        let mut stored = remote_file(url.clone(), size);
        // Its time is what it was, not that of the upload.
        stored.uploaded = node.modified();
        self.tree.show(Node {
            kind: Kind::File(stored),
            ..Node::clone(&node)
        });
    }
}

fn key_of(thing: &Thing) -> NodeKey {
    match thing {
        Thing::File(url) => NodeKey::File(url.id()),
        Thing::Folder(id) => NodeKey::Folder(*id),
    }
}

/// Where the account had what has this id.
fn had_in(entry: &Entry, key: NodeKey) -> Option<Ino> {
    let remote = entry.remote.as_ref();
    let remote = remote.filter(|remote| key_of(&remote.thing) == key)?;
    Some(remote.place.folder)
}

/// A file of the account of which nothing else is known.
pub(super) fn remote_file(url: FileUrl, size: u64) -> File {
    File {
        url,
        size,
        uploaded: None,
        whirlpool: None,
        content_type: None,
        password: false,
        access_list: false,
    }
}

impl Surroundings for Around {
    fn open(&self, version: Version) -> mpsc::Receiver<io::Result<Bytes>> {
        self.versions.open(version)
    }

    fn is_here(&self, version: Version) -> bool {
        let sealed = self.versions.get(version.id);
        sealed.is_none_or(|sealed| sealed.content.origins().is_empty())
    }

    fn release(&self, versions: &[u64]) {
        self.versions.release(versions);
    }

    fn folder(&self, ino: Ino) -> Option<FolderId> {
        self.tree.any_folder_id(ino)
    }

    fn parent(&self, folder: Ino) -> Option<Ino> {
        self.tree.folder_above(folder)
    }

    fn taken(&self, place: &Place) -> Option<Ino> {
        self.tree.listed_folder(place.folder, &place.name)
    }

    fn is_other(&self, ino: Ino, folder: FolderId, thing: &Thing) -> bool {
        self.tree.is_other(ino, folder, key_of(thing))
    }

    fn bearer(&self, thing: &Thing) -> Option<Ino> {
        self.tree.bearer(key_of(thing))
    }

    fn was_removed(&self, folder: Ino, thing: &Thing) -> bool {
        self.tree.may_show(key_of(thing), folder)
    }

    fn is_held(&self, url: &FileUrl) -> bool {
        self.versions.needs(url) || self.files.is_held(url)
    }

    fn attempted(&self, ino: Ino, place: &Place) {
        self.tree.doubt(ino, place.folder, &place.name);
    }

    fn is_read(&self, url: &FileUrl) -> bool {
        self.files.is_read(url)
    }

    fn told(&self, done: &Done, before: Option<&Entry>, left: Option<&Entry>) -> Option<Vec<u8>> {
        let ino = done.ino();
        log::debug!("inode {ino}: {done:?}; left: {left:?}");
        for spent in left.iter().flat_map(|entry| &entry.discard) {
            let key = NodeKey::File(spent.url.id());
            self.tree.hide(key, spent.folder, false);
        }
        match done {
            Done::Stored { url, .. } | Done::Placed { url: Some(url), .. } => {
                self.tree.stored(ino, url.id());
                self.show_stored(ino, url, left);
            }
            Done::Made { id, is_new, .. } if *is_new => self.tree.made(ino, *id),
            Done::Made { id, .. } => self.tree.found(ino, *id),
            Done::Removed { url, was_there, .. } => {
                if let Some(node) = self.tree.own(ino)
                    && node.key() == NodeKey::File(url.id())
                {
                    // Its removal was given up while it was done.
                    self.tree.unshow(ino, node.parent);
                    self.tree.disturb(ino, node.parent, &node.name);
                }
                self.removed(ino, NodeKey::File(url.id()), before);
                if !was_there && let Some(node) = self.tree.own(ino) {
                    let folder = node.parent;
                    // Nobody listens on a mount that is read-only.
                    let _ = self.doubts.send(Doubt::Replaced { ino, folder });
                }
            }
            Done::Placed { url: None, .. }
            | Done::Nothing(_)
            | Done::Uncopied(_)
            | Done::Surplus { .. } => {}
            Done::FolderRemoved(ino) => {
                if let Some(remote) = before.and_then(|entry| entry.remote.as_ref()) {
                    self.removed(*ino, key_of(&remote.thing), before);
                }
                self.tree.left(*ino);
            }
        }
        if let Done::Placed { place, .. } = done {
            self.tree.moved(ino, place.folder);
            self.moved(ino, place.folder, before, left);
        }
        if left.is_none_or(|entry| entry.attempt.is_none()) {
            self.tree.undoubt(ino);
        }
        if left.is_none() {
            lock(&self.was_in).remove(&ino);
            self.tree.told(ino);
            return self.record(ino);
        }
        // More is to be told, and that is shown after a restart; what is gone must not come back beside it.
        let has_spent = lock(&self.spent).contains_key(&ino);
        has_spent.then(|| self.record(ino)).flatten()
    }

    fn missed(&self, folder: Ino) {
        // Nobody listens on a mount that is read-only.
        let _ = self.doubts.send(Doubt::Missed { folder });
    }

    fn shown(&self) -> Vec<Ino> {
        let mut confirmed = lock(&self.confirmed);
        confirmed.extend(self.tree.take_confirmed());
        let mut spent = lock(&self.spent);
        // What it was before may be in another folder, of which an earlier listing is on disk.
        let is_over = |spent: &Vec<(NodeKey, Ino)>| {
            spent.iter().all(|(key, folder)| {
                !self.tree.hidden_in(key).contains(folder) && self.tree.is_on_disk(*folder)
            })
        };
        let over: Vec<Ino> = confirmed
            .iter()
            .copied()
            .filter(|ino| spent.get(ino).is_none_or(is_over))
            .collect();
        for ino in &over {
            confirmed.remove(ino);
            spent.remove(ino);
        }
        over
    }

    fn shown_at(&self, place: &Place) -> PathBuf {
        let folder = self.tree.path_of(place.folder).unwrap_or_default();
        folder.join(&*place.name)
    }

    fn taken_back(&self, tell: &mut Telling<'_>, ino: Ino, has: Option<&Remote>) {
        let before = self.tree.own(ino);
        if let Some(file) = self.files.get(ino) {
            let mut state = file.lock();
            state.staged = None;
            state.modified = None;
            if let Some((Thing::File(url), size)) = has.map(|it| (&it.thing, it.size)) {
                let url = url.clone();
                state.base = Base::Remote(Origin { url, size });
                state.is_unlinked = false;
            } else {
                state.base = Base::Lost;
                state.is_unlinked = true;
            }
        }
        match has {
            Some(Remote { thing, place, size }) => {
                self.make_room(tell, ino, place);
                self.tree.recall_local(ino);
                match thing {
                    Thing::File(url) => self.tree.show(Node {
                        ino,
                        parent: place.folder,
                        name: place.name.clone(),
                        kind: Kind::File(remote_file(url.clone(), *size)),
                    }),
                    Thing::Folder(id) => {
                        self.tree
                            .show_folder(ino, Some(*id), place.folder, &place.name);
                        if before.is_none() {
                            // It was empty when it was removed, and what it holds now is to be seen.
                            let _ = self.doubts.send(Doubt::Filled { folder: ino });
                        }
                    }
                }
                self.tree.told(ino);
                self.tree.disturb(ino, place.folder, &place.name);
            }
            None => {
                if let Some(node) = &before {
                    self.tree.unshow(ino, node.parent);
                    self.tree.forget_own(ino);
                }
            }
        }
        if let Some(node) = before {
            self.tree.disturb(ino, node.parent, &node.name);
        }
    }
}
