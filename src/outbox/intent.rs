//! What the account still has to be told, one entry per file or folder: where the account has it and
//! where it is wanted.
//!
//! Not a list of operations but the difference they make. So everything that can be merged is merged by
//! nature: created and renamed is created elsewhere, created and removed is nothing, renamed there and
//! back is nothing, ten rewrites are the last one; and a change that arrives while an earlier one of the
//! same file is on its way simply leaves a difference to be made up for afterwards.
//!
//! Promises: an id of the account is discarded only if an entry began with it or its own upload made
//! it. Pure: no clock, no call, no disk.
use crate::api::{FileUrl, FolderId, UploadTicket, Whirlpool};
use crate::tree::Ino;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ffi::OsStr;

/// A place in the tree: a folder and a name in it, as the mount shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The folder.
    pub folder: Ino,
    /// The name.
    pub name: Box<OsStr>,
}

/// What the account has something as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A file with one content for ever.
    File(FileUrl),
    /// A folder.
    Folder(FolderId),
}

/// Something the account has, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What.
    pub thing: Thing,
    /// Where, as far as is known.
    pub place: Place,
    /// Bytes of a file: what is shown of one that was only moved must not wait for a listing.
    pub size: u64,
}

/// A content that was sealed and is to be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Its number; never used for another content.
    pub id: u64,
    /// Its bytes. An empty one is never uploaded: the service refuses it.
    pub size: u64,
}

/// What a call was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Store a version of a file.
    Store(Version),
    /// Have the service copy a file of the account.
    Copy(Version),
    /// Make a folder.
    Make,
    /// Put what the account has already elsewhere.
    Place,
}

/// A call that may have been carried out, written down before it is made. As long as it is there, the
/// account may have the file or folder as [`Entry::remote`] says or as this says, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What the call was to do.
    pub goal: Goal,
    /// Where to.
    pub place: Place,
    /// That folder's id then.
    pub folder: FolderId,
    /// When, seconds since 1970.
    pub since: u64,
    /// Where an upload's report is found, once all was sent.
    pub ticket: Option<UploadTicket>,
    /// Hash of what was sent, once all was.
    pub whirlpool: Option<Whirlpool>,
}

/// A file of the account that held an earlier content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Which.
    pub url: FileUrl,
    /// The folder it is in.
    pub folder: Ino,
}

/// Why an entry is left alone until somebody says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For a person.
    pub reason: Box<str>,
}

/// One file or folder of which the account does not have what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a folder.
    pub is_folder: bool,
    /// What the account has of it.
    pub remote: Option<Remote>,
    /// Where it is wanted; `None` when it is to be gone.
    pub wanted: Option<Place>,
    /// What a file is to hold, if the account does not have that.
    pub content: Option<Version>,
    /// The file of the account that holds exactly that, if one does: the service copies it.
    pub copy_of: Option<FileUrl>,
    /// Files of the account that held earlier contents of it.
    pub discard: Vec<Spent>,
    /// Its removal waits until that one is where it is wanted: it takes this one's place.
    pub after: Option<Ino>,
    /// A call under way or of unknown outcome.
    pub attempt: Option<Attempt>,
    /// The account did something else than asked for, so many times in a row: other names than asked.
    pub renames: u8,
    /// Given up until somebody says so.
    pub failed: Option<Failure>,
}

/// How a file or folder is known before anything of it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its inode number, which it keeps whatever happens to it.
    pub ino: Ino,
    /// What the account has of it.
    pub remote: Remote,
}

/// Something the account has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// A version was stored.
    Stored {
        /// Of which file.
        ino: Ino,
        /// As what.
        url: FileUrl,
        /// Under which name.
        name: Box<OsStr>,
    },
    /// The call that was attempted was surely not carried out.
    Nothing(Ino),
    /// The service cannot copy what was to be copied: it is sent.
    Uncopied(Ino),
    /// A file of this one's that is to go is stored as something damaged or not wanted any more.
    Surplus {
        /// Of which file.
        ino: Ino,
        /// What is to go.
        spent: Spent,
    },
    /// A folder was made, or found, in the folder that the call named.
    Made {
        /// Which.
        ino: Ino,
        /// Its number in the account.
        id: FolderId,
        /// Its name there.
        name: Box<OsStr>,
        /// Whether it is new, so that nobody else can have put anything into it.
        is_new: bool,
    },
    /// It is elsewhere, or where it was.
    Placed {
        /// What.
        ino: Ino,
        /// Where.
        place: Place,
        /// A file's URL from now on, if it is a new one.
        url: Option<FileUrl>,
        /// Whether that is the name that was asked for.
        is_as_asked: bool,
    },
    /// A file of the account is gone.
    Removed {
        /// Whose it was.
        ino: Ino,
        /// Which.
        url: FileUrl,
        /// Whether it was there until now, as far as is known.
        was_there: bool,
    },
    /// A folder is gone.
    FolderRemoved(Ino),
}

impl Done {
    /// The file or folder concerned.
    pub fn ino(&self) -> Ino {
        match self {
            Self::Stored { ino, .. }
            | Self::Nothing(ino)
            | Self::Uncopied(ino)
            | Self::Surplus { ino, .. }
            | Self::Made { ino, .. }
            | Self::Placed { ino, .. }
            | Self::Removed { ino, .. }
            | Self::FolderRemoved(ino) => *ino,
        }
    }

    /// What the account has of it by this, if it had something else or nothing before.
    pub fn gives(&self) -> Option<Thing> {
        match self {
            Self::Stored { url, .. } | Self::Placed { url: Some(url), .. } => {
                Some(Thing::File(url.clone()))
            }
            Self::Made { id, .. } => Some(Thing::Folder(*id)),
            _ => None,
        }
    }
}

/// All entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intents {
    entries: BTreeMap<Ino, Entry>,
    /// Entries that changed since [`Intents::take_changed`].
    changed: BTreeSet<Ino>,
    /// Versions nobody needs any more, since [`Intents::take_released`].
    released: Vec<u64>,
    /// What takes the place of something, with what: [`Entry::after`] the other way round.
    replacing: BTreeSet<(Ino, Ino)>,
}

impl Entry {
    fn new(is_folder: bool, remote: Option<Remote>, wanted: Option<Place>) -> Self {
        Self {
            is_folder,
            remote,
            wanted,
            content: None,
            copy_of: None,
            discard: Vec::new(),
            after: None,
            attempt: None,
            renames: 0,
            failed: None,
        }
    }

    /// Whether the account has it where it is wanted, with what it is to hold. What can never be in the
    /// account, an empty file, is where it is wanted.
    pub fn is_placed(&self) -> bool {
        let is_there = match (&self.remote, &self.wanted) {
            (Some(remote), Some(wanted)) => remote.place == *wanted,
            (None, None) => true,
            (None, Some(_)) => self.is_kept_here(),
            (Some(_), None) => false,
        };
        let is_stored = self.content.is_none_or(|version| version.size == 0);
        is_there && is_stored && self.attempt.is_none()
    }

    /// Whether it is an empty file, which exists here only.
    pub fn is_kept_here(&self) -> bool {
        self.content.is_some_and(|version| version.size == 0)
    }

    /// Whether nothing is left to be done or to be remembered.
    fn is_over(&self) -> bool {
        let is_same = match (&self.remote, &self.wanted) {
            (Some(remote), Some(wanted)) => remote.place == *wanted,
            (None, None) => true,
            _ => false,
        };
        is_same && self.content.is_none() && self.attempt.is_none() && self.discard.is_empty()
    }

    /// Whether the account has to be told something, now or after others.
    pub fn is_pending(&self) -> bool {
        let rests = self.is_kept_here()
            && self.wanted.is_some()
            && self.remote.is_none()
            && self.attempt.is_none()
            && self.discard.is_empty();
        !rests
    }

    /// Whether the account has what a file holds, or can never have it.
    pub fn is_uploaded(&self) -> bool {
        self.content.is_none_or(|version| version.size == 0)
    }

    /// Whether nothing is left to be done of a file but to remove what it was.
    pub(super) fn is_spent(&self) -> bool {
        let is_there = match (&self.remote, &self.wanted) {
            (Some(remote), Some(wanted)) => remote.place == *wanted,
            (_, None) => true,
            (None, Some(_)) => self.is_kept_here(),
        };
        !self.is_folder
            && self.attempt.is_none()
            && is_there
            && self.is_uploaded()
            && !self.doomed().is_empty()
    }

    /// Whether nobody wants any more what is being uploaded.
    pub fn is_superseded(&self) -> bool {
        match self.attempt.as_ref().map(|attempt| attempt.goal) {
            Some(Goal::Store(version)) => self.content != Some(version),
            _ => false,
        }
    }

    /// Whether what is being stored was given up, and the account's file is to stay as it is.
    fn is_given_up(&self) -> bool {
        let goal = self.attempt.as_ref().map(|attempt| attempt.goal);
        let stores = matches!(goal, Some(Goal::Store(_) | Goal::Copy(_)));
        stores && self.content.is_none() && self.wanted.is_some() && self.remote.is_some()
    }

    /// The versions it needs.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        let content = self.content.map(|version| version.id);
        let sent = match self.attempt.as_ref().map(|attempt| attempt.goal) {
            Some(Goal::Store(version) | Goal::Copy(version)) => Some(version.id),
            _ => None,
        };
        content
            .into_iter()
            .chain(sent.filter(|id| Some(*id) != content))
    }

    /// The same with other numbers for the folders.
    #[must_use]
    pub(super) fn in_folders(mut self, number: impl Fn(Ino) -> Ino) -> Self {
        let remote = self.remote.as_mut().map(|it| &mut it.place.folder);
        let wanted = self.wanted.as_mut().map(|it| &mut it.folder);
        let attempt = self.attempt.as_mut().map(|it| &mut it.place.folder);
        let spent = self.discard.iter_mut().map(|it| &mut it.folder);
        for folder in remote.into_iter().chain(wanted).chain(attempt).chain(spent) {
            *folder = number(*folder);
        }
        self
    }

    /// What a removal of it would remove of the account's files.
    pub fn doomed(&self) -> Vec<FileUrl> {
        let discard = self.discard.iter().map(|spent| spent.url.clone());
        let mut doomed: Vec<FileUrl> = discard.collect();
        if (self.wanted.is_none() || self.is_kept_here())
            && let Some(Remote {
                thing: Thing::File(url),
                ..
            }) = &self.remote
        {
            doomed.push(url.clone());
        }
        doomed
    }
}

impl Intents {
    /// Those that were written down earlier.
    pub fn of(entries: impl IntoIterator<Item = (Ino, Entry)>) -> Self {
        let entries: BTreeMap<Ino, Entry> = entries.into_iter().collect();
        let replaced = entries.iter();
        let replacing = replaced.filter_map(|(ino, entry)| Some((entry.after?, *ino)));
        Self {
            replacing: replacing.collect(),
            entries,
            ..Self::default()
        }
    }

    /// All entries by inode number.
    pub fn entries(&self) -> &BTreeMap<Ino, Entry> {
        &self.entries
    }

    /// The entry of an inode.
    pub fn get(&self, ino: Ino) -> Option<&Entry> {
        self.entries.get(&ino)
    }

    /// The entries that changed since this was asked last, with what they are now.
    pub fn take_changed(&mut self) -> Vec<(Ino, Option<Entry>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|ino| (ino, self.entries.get(&ino).cloned()))
            .collect()
    }

    /// The versions nobody needs any more since this was asked last; to be thrown away once the
    /// changes are written down.
    pub fn take_released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released)
    }

    /// Changes that were taken and could not be written down are to be taken again.
    pub fn changed_again(&mut self, ino: Ino) {
        self.changed.insert(ino);
    }

    /// The same for versions.
    pub fn released_again(&mut self, mut versions: Vec<u64>) {
        self.released.append(&mut versions);
    }

    /// A new file with a content.
    pub fn create(&mut self, ino: Ino, place: Place, version: Version) {
        let mut entry = Entry::new(false, None, Some(place));
        entry.content = Some(version);
        self.entries.insert(ino, entry);
        self.changed.insert(ino);
    }

    /// A new folder.
    pub fn make_folder(&mut self, ino: Ino, place: Place) {
        self.entries
            .insert(ino, Entry::new(true, None, Some(place)));
        self.changed.insert(ino);
    }

    /// A file holds something else. `known` is what the account has of it, should no entry say.
    pub fn rewrite(&mut self, ino: Ino, known: Option<Remote>, version: Version) {
        self.change(ino, false, known, |entry| {
            entry.content = Some(version);
            entry.copy_of = None;
            entry.failed = None;
        });
    }

    /// A file holds exactly what a file of the account does, as its content says; or does not any more.
    pub fn copy_of(&mut self, ino: Ino, original: Option<FileUrl>) {
        self.change(ino, false, None, |entry| entry.copy_of = original);
    }

    /// It is wanted elsewhere.
    pub fn rename(&mut self, ino: Ino, is_folder: bool, known: Option<Remote>, to: Place) {
        self.change(ino, is_folder, known, |entry| {
            entry.wanted = Some(to);
            entry.renames = 0;
            entry.failed = None;
        });
    }

    /// It is to be gone; with `after`, not before that one is where it is wanted.
    pub fn remove(&mut self, ino: Ino, is_folder: bool, known: Option<Remote>, after: Option<Ino>) {
        self.change(ino, is_folder, known, |entry| {
            entry.wanted = None;
            entry.content = None;
            entry.copy_of = None;
            entry.after = after;
            entry.failed = None;
        });
        if after.is_some() {
            // It may never get to the account: what it was to replace waits for what replaces it.
            for replaced in self.replaced_by(ino) {
                self.change(replaced, false, None, |entry| entry.after = after);
            }
        }
    }

    /// What is removed once this one is in its place.
    pub fn replaced_by(&self, ino: Ino) -> Vec<Ino> {
        let all = self.replacing.range((ino, Ino::ROOT)..);
        let own = all.take_while(|(replacing, _)| *replacing == ino);
        own.map(|(_, replaced)| *replaced).collect()
    }

    /// A call is about to be made. It must not be before this is written down.
    pub fn begin(&mut self, ino: Ino, attempt: Attempt) {
        self.change(ino, false, None, |entry| entry.attempt = Some(attempt));
    }

    /// All of an upload was sent.
    pub fn sent(&mut self, ino: Ino, ticket: UploadTicket, whirlpool: Whirlpool) {
        self.change(ino, false, None, |entry| {
            if let Some(attempt) = &mut entry.attempt {
                attempt.ticket = Some(ticket);
                attempt.whirlpool = Some(whirlpool);
            }
        });
    }

    /// It is left alone until [`Intents::retry`].
    pub fn fail(&mut self, ino: Ino, reason: &str) {
        self.change(ino, false, None, |entry| {
            entry.failed = Some(Failure {
                reason: reason.into(),
            });
        });
    }

    /// It is tried again.
    pub fn retry(&mut self, ino: Ino) {
        self.change(ino, false, None, |entry| {
            entry.failed = None;
            entry.renames = 0;
        });
    }

    /// It is wanted as the account has it: a removal or move that cannot be made is undone. What the
    /// account never had is gone.
    pub fn give_up(&mut self, ino: Ino) {
        self.change(ino, false, None, |entry| {
            entry.wanted = entry.remote.as_ref().map(|remote| remote.place.clone());
            entry.content = None;
            entry.copy_of = None;
            entry.after = None;
            entry.failed = None;
        });
    }

    /// What something the account has done comes to: a version that was stored although it had been given up must
    /// not take the place of what was to stay, and goes.
    pub fn judged(&self, done: Done) -> Vec<Done> {
        let Done::Stored { ino, url, .. } = &done else {
            return vec![done];
        };
        let given_up = self.get(*ino).filter(|entry| entry.is_given_up());
        let Some(attempt) = given_up.and_then(|entry| entry.attempt.as_ref()) else {
            return vec![done];
        };
        let spent = Spent {
            url: url.clone(),
            folder: attempt.place.folder,
        };
        // In this order: an entry with nothing left to be done is forgotten.
        vec![Done::Surplus { ino: *ino, spent }, Done::Nothing(*ino)]
    }

    /// The account has done something.
    pub fn done(&mut self, done: Done) {
        match done {
            Done::Stored { ino, url, name } => self.change(ino, false, None, |entry| {
                let Some(attempt) = entry.attempt.take() else {
                    return;
                };
                if let Some(Remote {
                    thing: Thing::File(old),
                    place,
                    ..
                }) = entry.remote.take()
                    && old != url
                {
                    let folder = place.folder;
                    entry.discard.push(Spent { url: old, folder });
                }
                let (Goal::Store(version) | Goal::Copy(version)) = attempt.goal else {
                    return;
                };
                if entry.content == Some(version) {
                    entry.content = None;
                    entry.copy_of = None;
                }
                let folder = attempt.place.folder;
                entry.remote = Some(Remote {
                    thing: Thing::File(url),
                    place: Place { folder, name },
                    size: version.size,
                });
            }),
            Done::Nothing(ino) => self.change(ino, false, None, |entry| entry.attempt = None),
            Done::Uncopied(ino) => self.change(ino, false, None, |entry| {
                entry.attempt = None;
                entry.copy_of = None;
            }),
            Done::Surplus { ino, spent } => self.change(ino, false, None, |entry| {
                let is_current = entry
                    .remote
                    .as_ref()
                    .is_some_and(|remote| remote.thing == Thing::File(spent.url.clone()));
                if !is_current && !entry.discard.contains(&spent) {
                    entry.discard.push(spent);
                }
            }),
            Done::Made { ino, id, name, .. } => self.change(ino, true, None, |entry| {
                if let Some(attempt) = entry.attempt.take() {
                    let folder = attempt.place.folder;
                    entry.remote = Some(Remote {
                        thing: Thing::Folder(id),
                        place: Place { folder, name },
                        size: 0,
                    });
                }
            }),
            Done::Placed {
                ino,
                place,
                url,
                is_as_asked,
            } => self.change(ino, false, None, |entry| {
                entry.attempt = None;
                entry.renames = if is_as_asked { 0 } else { entry.renames + 1 };
                if let Some(remote) = &mut entry.remote {
                    remote.place = place;
                    if let (Thing::File(own), Some(url)) = (&mut remote.thing, url) {
                        *own = url;
                    }
                }
            }),
            Done::Removed { ino, url, .. } => self.change(ino, false, None, |entry| {
                entry.discard.retain(|spent| spent.url != url);
                let thing = Thing::File(url);
                let gone = entry.remote.take_if(|remote| remote.thing == thing);
                if gone.is_some() && entry.content.is_none() {
                    // Also when that was given up while it was done.
                    entry.wanted = None;
                }
            }),
            Done::FolderRemoved(ino) => self.change(ino, true, None, |entry| entry.remote = None),
        }
    }

    /// Changes an entry, made from what is known if there is none yet, and drops it when nothing is
    /// left to be done. Without an entry and without anything known there is nothing to change.
    fn change(
        &mut self,
        ino: Ino,
        is_folder: bool,
        known: Option<Remote>,
        change: impl FnOnce(&mut Entry),
    ) {
        let entry = match self.entries.entry(ino) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let Some(known) = known else { return };
                let wanted = Some(known.place.clone());
                place.insert(Entry::new(is_folder, Some(known), wanted))
            }
        };
        let before: Vec<u64> = entry.versions().collect();
        let waited_for = entry.after;
        change(entry);
        let after: Vec<u64> = entry.versions().collect();
        self.released
            .extend(before.into_iter().filter(|id| !after.contains(id)));
        let is_over = entry.is_over();
        let waits_for = entry.after.filter(|_| !is_over);
        if waited_for != waits_for {
            self.replacing
                .extend(waits_for.map(|replacing| (replacing, ino)));
            if let Some(replacing) = waited_for {
                self.replacing.remove(&(replacing, ino));
            }
        }
        if is_over {
            self.entries.remove(&ino);
        }
        self.changed.insert(ino);
    }
}
