//! What an answer of the service changes: the listing, the inodes the kernel holds, the folders'
//! places and dates, and what the kernel must be told.
//!
//! Answers are taken in one after the other, so that the checks of one see all that others brought, on
//! the blocking pool: what was known may have to be read, and numbers that duplicates are given are on
//! disk before anyone sees them. An id seen in two folders belongs to the one listed last.
//! Lock order: `installing`, then either `folders` or the inodes, never both of these.
use super::change::Change;
use super::fetch::Answer;
use super::inode::Ino;
use super::junk;
use super::listing::{EntryChange, Listing, Surroundings, diff};
use super::node::{Node, NodeKey};
use super::numbering::Numbering;
use super::places::Places;
use super::walk::is_snapshot_name;
use super::{Tree, with_change};
use crate::api::{FolderId, FolderListing, UnixSeconds};
use crate::util::sync::{lock, read};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl Tree {
    /// Takes an answer in; returns what is shown from now on.
    pub(super) fn install(
        &self,
        folder: FolderId,
        answer: Answer,
        old: Option<Arc<Listing>>,
    ) -> Arc<Listing> {
        let mut places = lock(&self.inner.installing);
        let ino = self.ino_of(folder);
        // What is in memory or kept lacks what was seen elsewhere meanwhile.
        let known = self.inner.cache.get(folder);
        let known = known.or_else(|| self.recall_now(folder));
        let old = known.or_else(|| old.map(|old| self.still_here(old, &places)));
        let (line, former) = {
            let folders = lock(&self.inner.folders);
            let mut line = folders.line_of(folder);
            line.extend(&self.inner.settings.root.above);
            (line, folders.numbering(folder))
        };
        let (said, is_complete, kept) = kept_of(answer, old.as_deref());
        let has_stranded = self.believe_stranded(&said, ino);
        let said = self.without_elsewhere(said, ino, old.as_deref());
        if !is_complete {
            log::warn!("folder {folder} holds more than the service shows; a part is known");
        }
        let number = |key, taken: &dyn Fn(Ino) -> bool| self.number(folder, &line, key, taken);
        let around = Surroundings {
            ino,
            number: &number,
            numbering: &former,
            fetched: self.inner.clock.now(),
            kept: &kept,
            is_complete,
        };
        let (listing, numbering) = Listing::build(&said, &around);
        let listing = Arc::new(listing);
        let changes = old.as_deref().map(|old| diff(old, &listing));
        if numbering != *former
            && let Some(store) = &self.inner.store
        {
            store.put_numbering(folder, &numbering);
        }
        let shrunk = self.take_over(folder, &listing, changes.as_deref(), &mut places);
        let noted = self.note(folder, &listing, changes.as_deref(), numbering);
        self.keep(&listing, &shrunk, changes.as_deref());

        self.inner.cache.insert(Arc::clone(&listing));
        self.inner.inodes.refresh(&noted.nodes);
        for node in self.gone(changes.as_deref()) {
            self.inner.inodes.mark_gone(node);
        }
        self.tell(ino, &listing, changes.as_deref(), &noted);
        if has_stranded {
            // It may have been listed all the time, and was not shown.
            self.inner.changes.push(ino, [Change::Everything(ino)]);
        }
        self.confirm(&listing);
        self.inner.crawl.discover(noted.unlisted);
        listing
    }

    /// Shows a listing again that fell out of memory; returns what is shown. Waits for answers that are
    /// being taken in, so not to be used on an event loop.
    pub(super) fn show_again(&self, listing: Arc<Listing>) -> Arc<Listing> {
        let mut places = lock(&self.inner.installing);
        if let Some(shown) = self.inner.cache.get(listing.folder()) {
            return shown;
        }
        let listing = self.still_here(listing, &places);
        for node in listing.entries().iter().filter(|node| !node.is_folder()) {
            places.put(node.ino, listing.folder());
        }
        self.inner.cache.insert(Arc::clone(&listing));
        self.sweep(&mut places);
        listing
    }

    /// Forgets the places of files whose listings fell out of memory.
    fn sweep(&self, places: &mut Places) {
        // The cache is asked once per folder, and a listing is searched only when more files are thought to
        // be in it than are: who waited for a listing was held up for 70 ms otherwise (measured).
        let mut shown: HashMap<FolderId, Option<Arc<Listing>>> = HashMap::new();
        places.sweep(|ino, folder, count| {
            let known = shown
                .entry(folder)
                .or_insert_with(|| self.inner.cache.get(folder));
            known
                .as_ref()
                .is_some_and(|known| count <= known.entries().len() || known.at(ino).is_some())
        });
    }

    /// A listing that fell out of memory, without what was seen elsewhere since.
    fn still_here(&self, listing: Arc<Listing>, places: &Places) -> Arc<Listing> {
        let here = listing.folder();
        let moved: HashSet<Ino> = {
            let folders = lock(&self.inner.folders);
            let entries = listing.entries().iter();
            let moved = entries.filter(|node| match node.key() {
                NodeKey::Folder(id) => {
                    let parent = folders.get(id).and_then(|state| state.parent);
                    parent.is_some_and(|parent| parent != here)
                }
                // Not in a listing of the account.
                NodeKey::Own(_) => false,
                NodeKey::File(_) => places
                    .of(node.ino)
                    .filter(|other| *other != here)
                    .is_some_and(|other| shows(self.inner.cache.get(other).as_deref(), node)),
            });
            moved.map(|node| node.ino).collect()
        };
        if moved.is_empty() {
            listing
        } else {
            Arc::new(listing.without(|node| moved.contains(&node.ino)))
        }
    }

    /// The inode number of an entry; `None` when it cannot be in `folder`, whose line of ancestors is
    /// given.
    fn number(
        &self,
        folder: FolderId,
        line: &HashSet<FolderId>,
        key: NodeKey,
        taken: &dyn Fn(Ino) -> bool,
    ) -> Option<Ino> {
        if let NodeKey::Folder(id) = key
            && line.contains(&id)
        {
            log::warn!("folder {folder} is shown to hold folder {id}, which holds it; left out");
            return None;
        }
        let number = self.inner.inodes.number(key, taken);
        if number.is_none() {
            log::warn!("folder {folder} is shown to hold {key:?}, which cannot be; left out");
        }
        number
    }

    /// Takes what came into `folder` out of the folders that showed it before; returns what is left of
    /// their listings.
    fn take_over(
        &self,
        folder: FolderId,
        listing: &Listing,
        changes: Option<&[EntryChange]>,
        places: &mut Places,
    ) -> Vec<Arc<Listing>> {
        let came: Vec<&Arc<Node>> = match changes {
            None => listing.entries().iter().collect(),
            Some(changes) => changes
                .iter()
                .filter_map(|change| match change {
                    EntryChange::Added(node) => Some(node),
                    _ => None,
                })
                .collect(),
        };
        let mut losses: HashMap<FolderId, HashSet<Ino>> = HashMap::new();
        let mut lose = |before: Option<FolderId>, ino| {
            if let Some(before) = before.filter(|before| *before != folder) {
                losses.entry(before).or_default().insert(ino);
            }
        };
        let (sub_folders, files): (Vec<&Arc<Node>>, _) =
            came.iter().copied().partition(|node| node.is_folder());
        {
            let folders = lock(&self.inner.folders);
            for node in sub_folders {
                let before = node.folder().and_then(|it| folders.get(it.id));
                lose(before.and_then(|state| state.parent), node.ino);
            }
        }
        for (node, kept) in files.iter().zip(self.kept_places(&files)) {
            lose(kept, node.ino);
            lose(places.put(node.ino, folder), node.ino);
        }
        self.sweep(places);
        let shrunk = losses.into_iter().filter_map(|(loser, lost)| {
            let known = self.inner.cache.get(loser);
            let known = known.or_else(|| self.recall_now(loser))?;
            self.lose(&known, &lost)
        });
        let shrunk = shrunk.collect();
        // The kernel may remember a place that is not in memory any more.
        for node in came {
            if let Some(held) = self.inner.inodes.get(node.ino)
                && held.key() == node.key()
                && held.parent != node.parent
            {
                let entry = Change::Entry {
                    parent: held.parent,
                    name: held.name.clone(),
                };
                self.inner.changes.push(held.parent, [entry]);
            }
        }
        shrunk
    }

    /// Takes entries out of a listing that were seen in another folder since; returns what is left, if
    /// it is less than before.
    fn lose(&self, known: &Listing, lost: &HashSet<Ino>) -> Option<Arc<Listing>> {
        let shrunk = Arc::new(known.without(|node| lost.contains(&node.ino)));
        if shrunk.entries().len() == known.entries().len() {
            return None;
        }
        let changes = diff(known, &shrunk);
        let others = self.by_others(&shrunk, Some(&changes));
        self.all_changed(others.news.iter().copied());
        let changed = {
            let mut folders = lock(&self.inner.folders);
            let state = folders.state(known.folder());
            state.changed = moved_on(state.changed, &others, self.now());
            state.entries = u32::try_from(shrunk.entries().len()).unwrap_or(u32::MAX);
            state.changed
        };
        let ino = known.ino();
        self.inner.cache.insert(Arc::clone(&shrunk));
        if let Some(own) = self.inner.inodes.get(ino) {
            self.inner.inodes.refresh([&with_change(&own, changed)]);
        }
        let names = changes.iter().filter_map(|change| match change {
            EntryChange::Removed(node) => Some(Change::Entry {
                parent: ino,
                name: node.name.clone(),
            }),
            _ => None,
        });
        let whole = [Change::Entries(ino), Change::Attributes(ino)];
        self.inner.changes.push(ino, whole.into_iter().chain(names));
        Some(shrunk)
    }

    /// The time of a change that bears no date: now.
    pub fn now(&self) -> UnixSeconds {
        i64::try_from(self.inner.clock.unix().as_secs()).unwrap_or(i64::MAX)
    }

    /// What a listing lacks that it had before. Not what was renamed or moved here: the listing was made without
    /// it, since it may show it as it was, and it is there.
    fn gone<'a>(&self, changes: Option<&'a [EntryChange]>) -> Vec<&'a Arc<Node>> {
        let own = read(&self.inner.own);
        let removed = changes.unwrap_or_default().iter().filter_map(|change| {
            let EntryChange::Removed(node) = change else {
                return None;
            };
            Some(node)
        });
        let is_shown = |ino| own.get(ino).flatten().is_some();
        removed.filter(|node| !is_shown(node.ino)).collect()
    }

    /// Notes what a listing says of its folder and of the folders in it.
    fn note(
        &self,
        folder: FolderId,
        listing: &Listing,
        changes: Option<&[EntryChange]>,
        numbering: Numbering,
    ) -> Noted {
        let noticed = self.now();
        let others = self.by_others(listing, changes);
        self.all_changed(others.news.iter().copied());
        let gone = self.gone(changes);
        let mut unlisted = Vec::new();
        let mut folders = lock(&self.inner.folders);
        for node in gone {
            if let NodeKey::Folder(child) = node.key()
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
                    if !state.listed {
                        unlisted.push(child);
                    }
                    with_change(node, state.changed)
                }
                NodeKey::File(_) | NodeKey::Own(_) => Arc::clone(node),
            })
            .collect();
        let state = folders.state(folder);
        let before = state.changed;
        let relisted_blindly = state.listed && changes.is_none();
        state.changed = moved_on(before, &others, noticed);
        state.listed = true;
        state.entries = u32::try_from(listing.entries().len()).unwrap_or(u32::MAX);
        let changed = state.changed.filter(|_| state.changed != before);
        folders.number(folder, numbering);
        Noted {
            nodes,
            unlisted,
            changed,
            relisted_blindly,
        }
    }

    /// What others did in a folder. What was done here is known when it is done, and its appearance in the
    /// account's listings, minutes later, changes nothing: a folder's time would not stay what a program set
    /// otherwise. What was made here is told by its number, which is not derived from its id.
    fn by_others(&self, listing: &Listing, changes: Option<&[EntryChange]>) -> ByOthers {
        let all = changes.unwrap_or_default().iter();
        let moves = all.filter(|change| !matches!(change, EntryChange::Altered(_)));
        let is_made_here = |node: &Node| Ino::of(node.key()) != Some(node.ino);
        let own = read(&self.inner.own);
        let is_own = |node: &Node| {
            is_made_here(node) || own.hides(node) || is_snapshot_name(node.parent, &node.name)
        };
        let mut own_numbers = HashSet::new();
        let mut theirs = Vec::new();
        for change in moves {
            let (EntryChange::Added(node)
            | EntryChange::Removed(node)
            | EntryChange::Renamed { now: node, .. }
            | EntryChange::Altered(node)) = change;
            if is_own(node) {
                own_numbers.insert(node.ino);
            } else {
                theirs.push((node.ino, change));
            }
        }
        // The old content of a file that was rewritten here goes when the new one comes.
        theirs.retain(|(ino, _)| !own_numbers.contains(ino));
        let entries = listing.entries();
        let newest = if entries.iter().any(|node| is_own(node)) {
            let theirs = entries.iter().filter(|node| !is_own(node));
            theirs.filter_map(|node| node.created()).max()
        } else {
            listing.newest()
        };
        // What was moved here was told when it was moved, though its number is that of the account's file.
        let news = theirs.iter().filter(|(ino, _)| own.get(*ino).is_none());
        let news: Vec<&EntryChange> = news.map(|(_, change)| *change).collect();
        drop(own);
        let local = self.local(listing.ino());
        ByOthers {
            newest,
            has_changed: !theirs.is_empty(),
            news: self.news_of(listing.ino(), &news),
            seen: local.map(|local| local.changed.seconds()),
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
                self.changed(ino);
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
        self.forget_large(folder);
        if let Some(node) = self.inner.inodes.get(self.ino_of(folder)) {
            self.inner.inodes.mark_gone(&node);
        }
        // What is below it is out of reach from now on.
        let parent = lock(&self.inner.folders).seen(folder).and_then(|state| {
            state.kept = None;
            state.parent.take()
        });
        if let Some(parent) = parent
            && let Some(known) = self.inner.cache.get(parent)
        {
            drop(self.refresh_known(&known));
        }
    }
}

/// An answer, whether that and what is kept of `old` is all, and what is kept.
fn kept_of(answer: Answer, old: Option<&Listing>) -> (FolderListing, bool, Vec<Arc<Node>>) {
    let (said, is_complete) = match answer {
        Answer::Whole(said) => return (said, true, Vec::new()),
        Answer::Newer { listing, is_whole } => (listing, is_whole),
        Answer::Part(said) => (said, false),
    };
    // The sub-folders are all there, unless they are as many as a listing shows.
    let keeps_folders = said.are_folders_cut();
    let old = old.map(Listing::entries).unwrap_or_default();
    let kept = old.iter().filter(|node| keeps_folders || !node.is_folder());
    let kept = kept.cloned().collect();
    (said, is_complete, kept)
}

/// Whether `listing` shows `node`.
fn shows(listing: Option<&Listing>, node: &Node) -> bool {
    let shown = listing.and_then(|listing| listing.at(node.ino));
    shown.is_some_and(|shown| shown.key() == node.key())
}

/// What taking a listing in found out.
struct Noted {
    /// The entries as the kernel sees them.
    nodes: Vec<Arc<Node>>,
    /// Sub-folders that were never listed.
    unlisted: Vec<FolderId>,
    /// The folder's new time of change, if it moved.
    changed: Option<UnixSeconds>,
    /// It had been listed before, and what it showed then is not known any more.
    relisted_blindly: bool,
}

/// What others did in a folder, as a listing of it shows.
struct ByOthers {
    /// The newest date of what is theirs.
    newest: Option<UnixSeconds>,
    /// Whether entries came, went or got other names.
    has_changed: bool,
    /// The folders that changed by it, to be told.
    news: Vec<Ino>,
    /// When something was changed here last: whoever looked at the folder then has not seen theirs.
    seen: Option<UnixSeconds>,
}

/// A folder's time of change after a listing: its newest date, and later than before when entries
/// changed in a way that no later date shows, such as a removal.
fn moved_on(
    before: Option<UnixSeconds>,
    others: &ByOthers,
    noticed: UnixSeconds,
) -> Option<UnixSeconds> {
    let newest = others.newest;
    let Some(known) = before else {
        return newest;
    };
    let known = known.max(others.seen.unwrap_or(known));
    if others.has_changed && newest.is_none_or(|newest| newest <= known) {
        Some(noticed.max(known.saturating_add(1)))
    } else {
        newest.max(before)
    }
}
