//! What the outbox holds in memory: the entries, what is on its way, what is waited for, and what is to
//! be written down next. One lock around it, held for microseconds; nothing is awaited under it.
mod terms;

use super::draft::Draft;
use super::intent::{Attempt, Done, Entry, Goal, Intents, Thing, Version};
use super::numbers::Numbers;
use super::plan::{self, Batch};
use super::record;
use super::run::APPEARS;
use super::tries::{Tries, Vain};
use super::{FileTransfer, Settle, Surroundings, stuck};
use crate::api::{FileId, FileUrl, FolderId, UploadProgress};
use crate::tree::{Commit, Ino, Local, Pending};
use crate::util::clock::Moment;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use terms::{COMPANY, View};
use tokio::sync::Notify;

/// Changes that are not uploads wait so long for more of their kind: a program that removes or moves a
/// thousand files does so one by one.
const GATHER: Duration = Duration::from_secs(1);

/// How often the account may give something another name than asked before that is left to a person.
const RENAMES: u8 = 2;

/// The state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) intents: Intents,
    /// Folders that were made here, by inode number.
    folders: HashMap<Ino, FolderId>,
    /// What a call under way concerns.
    busy: BTreeSet<Ino>,
    /// What is not to be touched before.
    not_before: HashMap<Ino, Moment>,
    /// Calls of unknown outcome that are not to be looked for before: too early a look would take what
    /// appears late for not done. Nothing that happens here makes that earlier.
    unheard: HashMap<Ino, Moment>,
    tries: Tries,
    /// What was given up because the account has no room, for who waits for it.
    pub(super) full: BTreeSet<Ino>,
    /// Files that may have been removed by a call whose end nobody heard, in this life or an earlier one.
    unsure: BTreeSet<FileId>,
    /// Files that are gone, and that a listing may still show.
    removed: BTreeMap<FileId, Moment>,
    /// The last commit failed.
    pub(super) is_unwritten: bool,
    /// What is to be written down beside the entries.
    draft: Draft,
    /// Files that programs hold open for writing.
    open: BTreeSet<Ino>,
    /// Uploads under way, by one of the files.
    uploads: BTreeMap<Ino, Transfer>,
    settle: Settle,
    /// The number of the mount's root that is written down: another mount may have another root.
    root: Ino,
}

/// An upload under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Transfer {
    /// The files with their bytes, in the order they are sent in.
    pub(super) files: Arc<[(Ino, u64)]>,
    /// How much of it was handed over.
    pub(super) progress: UploadProgress,
    /// Told when nobody wants what it sends any more; only of a file that is alone in its upload.
    pub(super) superseded: Arc<Notify>,
}

impl State {
    /// `root` is the number that the root of the mount has on every mount of the account.
    pub(super) fn new(pending: Pending, settle: Settle, root: Ino) -> Self {
        let here = |folder| if folder == root { Ino::ROOT } else { folder };
        let read = |(key, record): &(u64, Vec<u8>)| {
            let entry = record::read(record).map(|entry| entry.in_folders(here));
            let entry = Ino::new(*key).zip(entry);
            if entry.is_none() {
                log::error!("what is written down of inode {key} makes no sense; it is left alone");
            }
            entry
        };
        let intents = Intents::of(pending.pending.iter().filter_map(read));
        let entries = intents.entries().values();
        let doomed = entries.flat_map(Entry::doomed);
        Self {
            unsure: doomed.map(|url| url.id()).collect(),
            intents,
            folders: pending
                .folders
                .into_iter()
                .map(|(id, ino)| (ino, id))
                .collect(),
            busy: BTreeSet::new(),
            not_before: HashMap::new(),
            unheard: HashMap::new(),
            tries: Tries::default(),
            full: BTreeSet::new(),
            removed: BTreeMap::new(),
            is_unwritten: false,
            draft: Draft::after(pending.next),
            open: BTreeSet::new(),
            uploads: BTreeMap::new(),
            settle,
            root,
        }
    }

    /// Where numbers that were never used come from.
    pub(super) fn numbers(&self) -> Arc<Numbers> {
        self.draft.numbers()
    }

    /// A version's record is to be written down.
    pub(super) fn keep(&mut self, version: Version, record: Vec<u8>) {
        self.draft.content(version.id, record);
    }

    /// What is kept here of an inode's attributes is to be written down, or that nothing is.
    pub(super) fn note(&mut self, ino: Ino, local: Option<&Local>) {
        self.draft.local(ino, local);
    }

    /// A change was made here at `now`.
    pub(super) fn settle(&mut self, ino: Ino, is_content: bool, now: Moment) {
        let wait = match is_content {
            true if self.open.contains(&ino) => self.settle.open,
            true => self.settle.closed,
            false => GATHER,
        };
        let at = now.after(wait);
        let before = self.not_before.entry(ino).or_insert(at);
        *before = if is_content { at } else { at.max(*before) };
        self.tries.changed(ino);
        if let Some(transfer) = self.uploads.get(&ino)
            && self.intents.get(ino).is_some_and(Entry::is_superseded)
        {
            transfer.superseded.notify_one();
        }
    }

    /// A program holds a file open for writing, or none does any more.
    pub(super) fn hold(&mut self, ino: Ino, is_open: bool, now: Moment) {
        if is_open {
            self.open.insert(ino);
        } else if self.open.remove(&ino)
            && !self.tries.has_failed(ino)
            && let Some(at) = self.not_before.get_mut(&ino)
        {
            *at = (*at).min(now.after(self.settle.closed));
        }
    }

    /// Nothing waits any more for more of its kind; what waits after a failure does.
    pub(super) fn hurry(&mut self, now: Moment) {
        for (ino, at) in &mut self.not_before {
            let is_unheard = self
                .intents
                .get(*ino)
                .is_some_and(|it| it.attempt.is_some());
            if !is_unheard && !self.tries.has_failed(*ino) {
                *at = now;
            }
        }
    }

    /// One file waits no more for it to settle.
    pub(super) fn hurry_one(&mut self, ino: Ino, now: Moment) {
        let is_new = self.intents.get(ino).is_some_and(|it| it.attempt.is_none());
        if is_new && !self.tries.has_failed(ino) {
            self.not_before.insert(ino, now);
        }
    }

    /// A transfer of files begins.
    pub(super) fn transfer(&mut self, transfer: Transfer) {
        let Some((first, _)) = transfer.files.first().copied() else {
            return;
        };
        if self.intents.get(first).is_some_and(Entry::is_superseded) {
            // While a node was asked for.
            transfer.superseded.notify_one();
        }
        self.uploads.insert(first, transfer);
    }

    /// The files of transfers under way, each with what was handed over of it.
    pub(super) fn transfers(&self) -> Vec<FileTransfer> {
        let each = self.uploads.values().flat_map(|transfer| {
            let mut handed_over = transfer.progress.bytes();
            // Files follow each other: one at a time moves.
            let mut speed = Some(transfer.progress.speed());
            transfer.files.iter().map(move |(ino, bytes)| {
                let sent = handed_over.min(*bytes);
                handed_over -= sent;
                let moves = (sent < *bytes).then(|| speed.take()).flatten();
                FileTransfer {
                    ino: *ino,
                    bytes: *bytes,
                    sent,
                    speed: moves.unwrap_or(0),
                }
            })
        });
        each.collect()
    }

    /// Bytes of transfers under way that were handed over.
    pub(super) fn sent_bytes(&self) -> u64 {
        let uploads = self.uploads.values();
        uploads.map(|transfer| transfer.progress.bytes()).sum()
    }

    /// A call that may have been carried out is not looked for before `at`.
    pub(super) fn look_after(&mut self, ino: Ino, at: Moment) {
        self.unheard.insert(ino, at);
    }

    /// Tries an entry again after a while; longer each time.
    pub(super) fn later(&mut self, ino: Ino, at_least: Duration, now: Moment) {
        let wait = self.tries.next_wait(ino).max(at_least);
        self.not_before.insert(ino, now.after(wait));
        if self.intents.get(ino).is_some_and(|it| it.attempt.is_some()) {
            self.look_after(ino, now.after(at_least));
        }
    }

    /// From now on it is told alone.
    pub(super) fn single_out(&mut self, ino: Ino) {
        self.tries.single_out(ino);
    }

    /// Files may have been removed by a call whose end nobody heard.
    pub(super) fn unsure_of(&mut self, urls: &[FileUrl]) {
        self.unsure.extend(urls.iter().map(FileUrl::id));
    }

    /// Whether that was said of a file.
    pub(super) fn may_be_removed(&self, url: &FileUrl) -> bool {
        self.unsure.contains(&url.id())
    }

    /// Whether files that went a moment ago explain what a listing shows.
    pub(super) fn was_removed(&self, file: FileId) -> bool {
        self.removed.contains_key(&file)
    }

    /// Whether an entry has, or had, this file.
    pub(super) fn is_ours(&self, url: &FileUrl) -> bool {
        let thing = Thing::File(url.clone());
        self.intents.entries().values().any(|entry| {
            entry.remote.as_ref().is_some_and(|it| it.thing == thing)
                || entry.discard.iter().any(|spent| spent.url == *url)
        })
    }

    /// Whether an entry has this folder.
    pub(super) fn has_folder(&self, id: FolderId) -> bool {
        let thing = Thing::Folder(id);
        let mut entries = self.intents.entries().values();
        entries.any(|entry| entry.remote.as_ref().is_some_and(|it| it.thing == thing))
    }

    /// The account's number of a folder.
    pub(super) fn folder(&self, ino: Ino, around: &dyn Surroundings) -> Option<FolderId> {
        let made = self.folders.get(&ino).copied();
        made.or_else(|| around.folder(ino))
    }

    /// What can be told now.
    pub(super) fn plan(&self, now: Moment, around: &dyn Surroundings) -> Vec<Batch> {
        let view = View {
            state: self,
            now,
            around,
        };
        plan::plan(&self.intents, &view)
    }

    /// When something that waits may be told, if anything waits for its time.
    pub(super) fn next_moment(&self, now: Moment) -> Option<Moment> {
        let all = self.not_before.iter().chain(&self.unheard);
        let all = all.map(|(ino, at)| (ino, *at));
        // What has settled waits for company until then.
        let overdue = self.not_before.iter();
        let overdue = overdue.map(|(ino, at)| (ino, at.after(COMPANY)));
        let waiting = all.chain(overdue).filter(|(ino, at)| {
            *at > now && !self.busy.contains(ino) && self.intents.get(**ino).is_some()
        });
        waiting.map(|(_, at)| at).min()
    }

    /// Whether something is left to be told that nobody has given up, nor what it depends on, and that nobody
    /// reads.
    pub(super) fn is_pending(&self, around: &dyn Surroundings) -> bool {
        let stuck = stuck::of(&self.intents, |url| around.is_read(url));
        let mut entries = self.intents.entries().iter();
        !self.busy.is_empty()
            || entries.any(|(ino, entry)| entry.is_pending() && !stuck.contains(ino))
    }

    /// A batch is about to be told.
    pub(super) fn start(&mut self, batch: &Batch, since: Duration, around: &dyn Surroundings) {
        self.busy.extend(batch.inos());
        let attempt = |goal, folder, place| Attempt {
            goal,
            place,
            folder,
            since: since.as_secs(),
            ticket: None,
            whirlpool: None,
        };
        let mut begun = Vec::new();
        let at = |ino: Ino| {
            let remote = self.intents.get(ino)?.remote.as_ref()?;
            let folder = self.id_of(remote.place.folder, around)?;
            Some((remote.place.clone(), folder))
        };
        match batch {
            Batch::Upload { folder, files } => {
                let files = files.iter().map(|file| {
                    let goal = Goal::Store(file.version);
                    (file.ino, attempt(goal, *folder, file.place.clone()))
                });
                begun.extend(files);
            }
            Batch::Copy { folder, file, .. } => {
                let goal = Goal::Copy(file.version);
                begun.push((file.ino, attempt(goal, *folder, file.place.clone())));
            }
            Batch::MakeFolder { ino, parent, place } => {
                begun.push((*ino, attempt(Goal::Make, *parent, place.clone())));
            }
            Batch::MoveFiles { folder, id, files } => {
                for (ino, _) in files {
                    if let Some((mut place, _)) = at(*ino) {
                        place.folder = *folder;
                        begun.push((*ino, attempt(Goal::Place, *id, place)));
                    }
                }
            }
            Batch::MoveFolder {
                ino, folder, to, ..
            } => {
                if let Some((mut place, _)) = at(*ino) {
                    place.folder = *folder;
                    begun.push((*ino, attempt(Goal::Place, *to, place)));
                }
            }
            Batch::RenameFiles(files) => {
                for (ino, _, name) in files {
                    if let Some((mut place, folder)) = at(*ino) {
                        place.name.clone_from(name);
                        begun.push((*ino, attempt(Goal::Place, folder, place)));
                    }
                }
            }
            Batch::RenameFolder { ino, name, .. } => {
                if let Some((mut place, folder)) = at(*ino) {
                    place.name.clone_from(name);
                    begun.push((*ino, attempt(Goal::Place, folder, place)));
                }
            }
            Batch::Resolve { .. } | Batch::RemoveFiles(_) | Batch::RemoveFolder { .. } => {}
        }
        for (ino, attempt) in begun {
            around.attempted(ino, &attempt.place);
            self.intents.begin(ino, attempt);
        }
    }

    /// The account's number of a folder, with or without an entry.
    fn id_of(&self, folder: Ino, around: &dyn Surroundings) -> Option<FolderId> {
        let now = Moment::from_origin(Duration::ZERO);
        let view = View {
            state: self,
            now,
            around,
        };
        plan::folder_id(&self.intents, &view, folder)
    }

    /// A call about them has ended, one way or the other.
    pub(super) fn end(&mut self, inos: &[Ino]) {
        for ino in inos {
            self.busy.remove(ino);
            self.uploads.remove(ino);
        }
        let busy = &self.busy;
        let intents = &self.intents;
        let is_known = |ino: &Ino| busy.contains(ino) || intents.get(*ino).is_some();
        self.not_before.retain(|ino, _| is_known(ino));
        self.unheard.retain(|ino, _| {
            let entry = intents.get(*ino);
            entry.is_some_and(|entry| entry.attempt.is_some())
        });
        self.tries.retain(is_known);
        self.full.retain(is_known);
    }

    /// The account has done something.
    pub(super) fn done(&mut self, done: Done, now: Moment) {
        /// How long the service's listings may show what is gone (API reference 10).
        const LAG: Duration = Duration::from_secs(120);
        let ino = done.ino();
        match &done {
            Done::Stored { url, .. } | Done::Placed { url: Some(url), .. } => {
                self.draft.file(url.id(), ino);
            }
            Done::Made { id, .. } => {
                self.folders.insert(ino, *id);
                self.draft.folder(*id, ino);
            }
            Done::Removed { url, .. } => {
                self.unsure.remove(&url.id());
                self.removed.retain(|_, at| *at > now);
                self.removed.insert(url.id(), now.after(LAG));
                self.draft.gone(url.id());
            }
            Done::FolderRemoved(_) => {
                if let Some(id) = self.folders.get(&ino) {
                    self.draft.folder_gone(*id);
                }
            }
            Done::Placed { url: None, .. }
            | Done::Surplus { .. }
            | Done::Nothing(_)
            | Done::Uncopied(_) => {}
        }
        let is_nothing = matches!(done, Done::Nothing(_));
        let is_unkept = is_nothing && self.was_sent(ino);
        if !matches!(done, Done::Nothing(_) | Done::Surplus { .. }) {
            self.tries.told(ino);
        }
        self.intents.done(done);
        if is_unkept {
            self.not_kept(ino, now);
        } else if is_nothing && self.tries.is_too_often(ino, Vain::Lost) && self.is_wanted(ino) {
            self.fail(
                ino,
                "all of it was sent again and again, and the service neither kept it nor said why",
            );
        }
        let renamed = self
            .intents
            .get(ino)
            .is_some_and(|it| it.renames >= RENAMES);
        if renamed {
            self.fail(
                ino,
                "the service stores it under another name than asked for",
            );
        }
    }

    /// It is left to a person.
    pub(super) fn fail(&mut self, ino: Ino, reason: &str) {
        self.full.remove(&ino);
        self.intents.fail(ino, reason);
    }

    /// What was to be sent could not be read: that is tried again if the account may have it in a moment, and is
    /// of no account once the content is not wanted any more.
    pub(super) fn unread(
        &mut self,
        ino: Ino,
        reason: &str,
        around: &dyn Surroundings,
        now: Moment,
    ) {
        let Some(version) = self.intents.get(ino).and_then(|entry| entry.content) else {
            return self.later(ino, Duration::ZERO, now);
        };
        self.tries.count(ino, Vain::Unread);
        if self.tries.is_too_often(ino, Vain::Unread) || around.is_here(version) {
            self.fail(ino, reason);
        } else {
            log::info!("{reason}; trying again in {} s", APPEARS.as_secs());
            self.later(ino, APPEARS, now);
        }
    }

    /// Whether a transfer of it was sent to its last byte.
    fn was_sent(&self, ino: Ino) -> bool {
        let attempt = self.intents.get(ino).and_then(|it| it.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.whirlpool.is_some())
    }

    /// Whether a content of it is to be sent still.
    fn is_wanted(&self, ino: Ino) -> bool {
        let entry = self.intents.get(ino);
        entry.is_some_and(|entry| !entry.is_uploaded())
    }

    /// All bytes of these were handed over, and the transfer came to nothing that is known.
    pub(super) fn lost(&mut self, inos: &[Ino]) {
        for ino in inos {
            self.tries.count(*ino, Vain::Lost);
        }
    }

    /// Whether all bytes of the transfer that began with this file were handed over.
    pub(super) fn is_handed_over(&self, first: Ino) -> bool {
        self.uploads.get(&first).is_some_and(|transfer| {
            let bytes: u64 = transfer.files.iter().map(|(_, bytes)| bytes).sum();
            transfer.progress.bytes() >= bytes
        })
    }

    /// It was sent, and is not in the account as it was sent.
    fn not_kept(&mut self, ino: Ino, now: Moment) {
        if !self.is_wanted(ino) {
            return;
        }
        self.tries.count(ino, Vain::Unkept);
        if self.tries.is_too_often(ino, Vain::Unkept) {
            self.fail(
                ino,
                "the service took all of it several times and kept it damaged or not at all",
            );
        } else {
            self.later(ino, Duration::ZERO, now);
        }
    }

    /// What was not told of an entry, should there be one, is given up; says what the entry was.
    pub(super) fn give_up(&mut self, ino: Ino) -> Option<Entry> {
        self.remember(ino, None);
        let entry = self.intents.get(ino).cloned();
        self.intents.give_up(ino);
        entry
    }

    /// What the account was told of something is to be remembered until it shows that, or need not be.
    pub(super) fn remember(&mut self, ino: Ino, record: Option<Vec<u8>>) {
        self.draft.recent(ino, record);
    }

    /// What is to be written down, and the versions that are of no use once it is.
    pub(super) fn take(&mut self) -> (Commit, Vec<u64>) {
        let changed = self.intents.take_changed().into_iter();
        let root = self.root;
        let lasting = |folder| if folder == Ino::ROOT { root } else { folder };
        let written = |entry: Entry| record::write(&entry.in_folders(lasting));
        let changed = changed.map(|(ino, entry)| (ino.get(), entry.map(written)));
        let released = self.intents.take_released();
        (self.draft.take(changed, &released), released)
    }

    /// What could not be written down waits for the next commit, unless something newer does.
    pub(super) fn put_back(&mut self, commit: Commit, released: Vec<u64>) {
        for (key, _) in &commit.pending {
            if let Some(ino) = Ino::new(*key) {
                self.intents.changed_again(ino);
            }
        }
        self.intents.released_again(released);
        self.draft.put_back(commit);
    }

    /// The entry of an inode.
    pub(super) fn entry(&self, ino: Ino) -> Option<&Entry> {
        self.intents.get(ino)
    }
}

#[cfg(test)]
mod tests;
