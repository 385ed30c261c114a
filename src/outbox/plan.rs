//! What can be told to the account now, in as few calls as possible.
//!
//! Promises: a folder exists before anything is put into it, and is empty of ours before it is removed;
//! what replaces something is there before the replaced goes; no two folders claim one place at a time;
//! names that the service might take for the same never share an upload; batches are bounded in files
//! and bytes. Everything that is wanted is planned sooner or later: nothing waits for something that
//! waits for it. Pure.
use super::intent::{Entry, Intents, Place, Thing, Version};
use crate::api::{FileUrl, FolderId};
use crate::tree::{Ino, encode};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

/// Files in one upload at most: sources name 100 and 500, and each file is looked for in the report
/// (API reference 14).
pub const UPLOAD_FILES: usize = 100;

/// Bytes of several files in one upload at most: some seconds of an ordinary line, so that a failed one
/// costs little and a single large file is alone in its upload.
pub const UPLOAD_BYTES: u64 = 64 << 20;

/// Files in one call that removes, moves or renames: more are not known to work (API reference 5.10).
pub const CALL_FILES: usize = 100;

/// A file in an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Which.
    pub ino: Ino,
    /// Its place, the folder being the batch's.
    pub place: Place,
    /// What it is to hold.
    pub version: Version,
}

/// One call, or one upload with its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// Send files into a folder.
    Upload {
        /// The folder.
        folder: FolderId,
        /// The files; at least one.
        files: Vec<Outgoing>,
    },
    /// Have the service copy a file into a folder.
    Copy {
        /// The folder.
        folder: FolderId,
        /// What it becomes.
        file: Outgoing,
        /// What is copied.
        original: FileUrl,
    },
    /// Find out what became of calls of which the end is not known.
    Resolve {
        /// The folder they concerned.
        folder: FolderId,
        /// Which.
        inos: Vec<Ino>,
    },
    /// Make a folder.
    MakeFolder {
        /// Which.
        ino: Ino,
        /// Where.
        parent: FolderId,
        /// The same place in the tree.
        place: Place,
    },
    /// Move files into a folder.
    MoveFiles {
        /// The folder in the tree.
        folder: Ino,
        /// Its number in the account.
        id: FolderId,
        /// The files.
        files: Vec<(Ino, FileUrl)>,
    },
    /// Rename files where they are.
    RenameFiles(Vec<(Ino, FileUrl, Box<OsStr>)>),
    /// Move a folder into another.
    MoveFolder {
        /// Which.
        ino: Ino,
        /// Its number in the account.
        id: FolderId,
        /// Where to, in the tree.
        folder: Ino,
        /// Where to, in the account.
        to: FolderId,
    },
    /// Rename a folder where it is.
    RenameFolder {
        /// Which.
        ino: Ino,
        /// Its number in the account.
        id: FolderId,
        /// Its new name; not always the one wanted in the end.
        name: Box<OsStr>,
    },
    /// Remove files.
    RemoveFiles(Vec<(Ino, FileUrl)>),
    /// Remove a folder in which nothing of ours is left.
    RemoveFolder {
        /// Which.
        ino: Ino,
        /// Its number in the account.
        id: FolderId,
    },
}

impl Batch {
    /// The files and folders it concerns.
    pub fn inos(&self) -> Vec<Ino> {
        match self {
            Self::Upload { files, .. } => files.iter().map(|file| file.ino).collect(),
            Self::Copy { file, .. } => vec![file.ino],
            Self::Resolve { inos, .. } => inos.clone(),
            Self::MoveFiles { files, .. } | Self::RemoveFiles(files) => {
                files.iter().map(|(ino, _)| *ino).collect()
            }
            Self::RenameFiles(files) => files.iter().map(|(ino, ..)| *ino).collect(),
            Self::MakeFolder { ino, .. }
            | Self::MoveFolder { ino, .. }
            | Self::RenameFolder { ino, .. }
            | Self::RemoveFolder { ino, .. } => vec![*ino],
        }
    }
}

/// What a plan has to know beside the entries.
pub trait Terms {
    /// Whether an entry may be touched now: nothing of it is on its way, its settle time is over and no
    /// failure is being waited out.
    fn is_ready(&self, ino: Ino) -> bool;
    /// Whether a file that cannot be touched now will be soon, since it was written a moment ago.
    fn is_settling(&self, ino: Ino) -> bool;
    /// Whether a file has waited long enough for others to share its upload.
    fn is_overdue(&self, ino: Ino) -> bool;
    /// The number of a folder in the account that has no entry.
    fn folder(&self, ino: Ino) -> Option<FolderId>;
    /// The folder that holds, in the account, a folder that has no entry; `None` for the root.
    fn parent(&self, folder: Ino) -> Option<Ino>;
    /// Whether the account has a folder without an entry at this place.
    fn is_taken(&self, place: &Place) -> bool;
    /// Whether somebody here still reads a file of the account.
    fn is_held(&self, url: &FileUrl) -> bool;
    /// How many files may share an upload with this one.
    fn most_files(&self, ino: Ino) -> usize;
}

/// Everything that can be done now; no file or folder is in two of the batches.
pub fn plan(intents: &Intents, terms: &impl Terms) -> Vec<Batch> {
    Planner::new(intents, terms).run()
}

/// The account's number of a folder, whether it has an entry or not.
pub fn folder_id(intents: &Intents, terms: &impl Terms, folder: Ino) -> Option<FolderId> {
    match intents.get(folder) {
        Some(entry) => match &entry.remote.as_ref()?.thing {
            Thing::Folder(id) => Some(*id),
            Thing::File(_) => None,
        },
        None => terms.folder(folder),
    }
}

struct Planner<'a, T> {
    intents: &'a Intents,
    terms: &'a T,
    /// What of ours is, may be or is to be in a folder.
    inside: HashMap<Ino, Vec<Ino>>,
    /// Folders with an entry by where the account has them, or may have them.
    placed: BTreeMap<&'a Place, Ino>,
    /// Where this plan puts folders.
    claimed: BTreeSet<Place>,
    batches: Vec<Batch>,
    uploads: BTreeMap<FolderId, Vec<Outgoing>>,
    /// Folders into which more is to be sent soon.
    gathering: HashSet<Ino>,
    unknown: BTreeMap<FolderId, Vec<Ino>>,
    moves: BTreeMap<(Ino, FolderId), Vec<(Ino, FileUrl)>>,
    renames: Vec<(Ino, FileUrl, Box<OsStr>)>,
    removals: Vec<(Ino, FileUrl)>,
}

impl<'a, T: Terms> Planner<'a, T> {
    fn new(intents: &'a Intents, terms: &'a T) -> Self {
        let mut inside: HashMap<Ino, Vec<Ino>> = HashMap::new();
        let mut placed = BTreeMap::new();
        for (ino, entry) in intents.entries() {
            let there = entry.remote.as_ref().map(|remote| &remote.place);
            let tried = entry.attempt.as_ref().map(|attempt| &attempt.place);
            let places = [there, entry.wanted.as_ref(), tried];
            let folders = places.iter().flatten().map(|place| place.folder);
            for folder in folders.chain(entry.discard.iter().map(|spent| spent.folder)) {
                inside.entry(folder).or_default().push(*ino);
            }
            if entry.is_folder {
                let maybe = [there, tried].into_iter().flatten();
                placed.extend(maybe.map(|place| (place, *ino)));
            }
        }
        Self {
            intents,
            terms,
            inside,
            placed,
            claimed: BTreeSet::new(),
            batches: Vec::new(),
            uploads: BTreeMap::new(),
            gathering: HashSet::new(),
            unknown: BTreeMap::new(),
            moves: BTreeMap::new(),
            renames: Vec::new(),
            removals: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<Batch> {
        for (ino, entry) in self.intents.entries() {
            if entry.failed.is_some() {
                continue;
            }
            if !self.terms.is_ready(*ino) {
                if entry.content.is_some() && self.terms.is_settling(*ino) {
                    let folder = entry.wanted.as_ref().map(|wanted| wanted.folder);
                    self.gathering.extend(folder);
                }
                continue;
            }
            if let Some(attempt) = &entry.attempt {
                self.unknown.entry(attempt.folder).or_default().push(*ino);
            } else if entry.is_folder {
                self.plan_folder(*ino, entry);
            } else {
                self.plan_file(*ino, entry);
            }
        }
        for (folder, inos) in std::mem::take(&mut self.unknown) {
            self.batches.push(Batch::Resolve { folder, inos });
        }
        for ((folder, id), files) in std::mem::take(&mut self.moves) {
            let parts = self.grouped(files, |file| file.0).into_iter();
            let parts = parts.map(|files| Batch::MoveFiles { folder, id, files });
            self.batches.extend(parts);
        }
        let renames = std::mem::take(&mut self.renames);
        let parts = self.grouped(renames, |file| file.0).into_iter();
        self.batches.extend(parts.map(Batch::RenameFiles));
        let removals = std::mem::take(&mut self.removals);
        let parts = self.grouped(removals, |file| file.0).into_iter();
        self.batches.extend(parts.map(Batch::RemoveFiles));
        for (folder, files) in std::mem::take(&mut self.uploads) {
            let parts: Vec<_> = self.packed(files).collect();
            let parts = parts.into_iter().filter(|files| self.is_worth_it(files));
            let parts: Vec<_> = parts.map(|files| Batch::Upload { folder, files }).collect();
            self.batches.extend(parts);
        }
        self.batches
    }

    fn plan_file(&mut self, ino: Ino, entry: &Entry) {
        let has_to_wait = entry.wanted.is_none()
            && entry
                .after
                .and_then(|after| self.intents.get(after))
                .is_some_and(|after| !after.is_placed());
        if let Some(wanted) = &entry.wanted
            && let Some(version) = entry.content.filter(|version| version.size > 0)
        {
            // Sent to its place; what the account has of it stays until that is done.
            if let Some(folder) = folder_id(self.intents, self.terms, wanted.folder) {
                let file = Outgoing {
                    ino,
                    place: wanted.clone(),
                    version,
                };
                match entry.copy_of.clone() {
                    Some(original) => self.batches.push(Batch::Copy {
                        folder,
                        file,
                        original,
                    }),
                    None => self.uploads.entry(folder).or_default().push(file),
                }
            }
            return;
        }
        if !has_to_wait {
            let doomed = entry.doomed();
            let free = doomed.into_iter().filter(|url| !self.terms.is_held(url));
            let before = self.removals.len();
            self.removals.extend(free.map(|url| (ino, url)));
            if self.removals.len() > before {
                return;
            }
        }
        let (Some(remote), Some(wanted)) = (&entry.remote, &entry.wanted) else {
            return;
        };
        let Thing::File(url) = &remote.thing else {
            return;
        };
        if entry.is_kept_here() {
            return;
        }
        if remote.place.folder != wanted.folder {
            if let Some(id) = folder_id(self.intents, self.terms, wanted.folder) {
                let to = self.moves.entry((wanted.folder, id)).or_default();
                to.push((ino, url.clone()));
            }
        } else if remote.place.name != wanted.name {
            self.renames.push((ino, url.clone(), wanted.name.clone()));
        }
    }

    fn plan_folder(&mut self, ino: Ino, entry: &Entry) {
        let Some(wanted) = &entry.wanted else {
            if let Some(remote) = &entry.remote
                && let Thing::Folder(id) = remote.thing
                && !self.inside.contains_key(&ino)
            {
                self.batches.push(Batch::RemoveFolder { ino, id });
            }
            return;
        };
        let Some(parent) = folder_id(self.intents, self.terms, wanted.folder) else {
            return;
        };
        let Some(remote) = &entry.remote else {
            let mut place = wanted.clone();
            if !self.is_free(&place, ino) && self.is_in_circle(ino) {
                place.name = passing_name(ino);
            }
            if self.claim(&place, ino) {
                self.batches.push(Batch::MakeFolder { ino, parent, place });
            }
            return;
        };
        let Thing::Folder(id) = remote.thing else {
            return;
        };
        if remote.place == *wanted || self.below(wanted.folder, ino).is_some() {
            return;
        }
        let moved = Place {
            folder: wanted.folder,
            name: remote.place.name.clone(),
        };
        let renamed = Place {
            folder: remote.place.folder,
            name: wanted.name.clone(),
        };
        if moved.folder != remote.place.folder && self.claim(&moved, ino) {
            self.batches.push(Batch::MoveFolder {
                ino,
                id,
                folder: wanted.folder,
                to: parent,
            });
        } else if renamed.name != remote.place.name && self.claim(&renamed, ino) {
            let name = renamed.name;
            self.batches.push(Batch::RenameFolder { ino, id, name });
        } else if self.is_free(wanted, ino) || self.is_in_circle(ino) {
            // Neither way is free as it is; who else is in the way goes by itself.
            let name = passing_name(ino);
            if remote.place.name != name {
                self.batches.push(Batch::RenameFolder { ino, id, name });
            }
        }
    }

    /// Whether no other folder is, or may be, at a place.
    fn is_free(&self, place: &Place, own: Ino) -> bool {
        self.placed.get(place).is_none_or(|other| *other == own)
            && !self.claimed.contains(place)
            && !self.terms.is_taken(place)
    }

    /// Takes a place for this plan if it is free.
    fn claim(&mut self, place: &Place, own: Ino) -> bool {
        self.is_free(place, own) && self.claimed.insert(place.clone())
    }

    /// The folders between a folder and one it is, or may be, in or below in the account; `None` when it
    /// is not.
    fn below(&self, folder: Ino, above: Ino) -> Option<Vec<Ino>> {
        let mut seen = Vec::new();
        let mut left = vec![folder];
        let mut is_below = false;
        while let Some(folder) = left.pop() {
            if folder == above {
                is_below = true;
                continue;
            }
            if seen.contains(&folder) {
                continue;
            }
            seen.push(folder);
            match self.intents.get(folder) {
                Some(entry) => {
                    left.extend(entry.remote.iter().map(|remote| remote.place.folder));
                    left.extend(entry.attempt.iter().map(|attempt| attempt.place.folder));
                }
                None => left.extend(self.terms.parent(folder)),
            }
        }
        is_below.then_some(seen)
    }

    /// Whether a folder waits, over others, for itself.
    fn is_in_circle(&self, ino: Ino) -> bool {
        let mut seen = HashSet::new();
        let mut left = self.waits_for(ino);
        while let Some(next) = left.pop() {
            if next == ino {
                return true;
            }
            if seen.insert(next) {
                left.extend(self.waits_for(next));
            }
        }
        false
    }

    /// What must have happened to others before something can be where it is wanted.
    fn waits_for(&self, ino: Ino) -> Vec<Ino> {
        let Some(entry) = self.intents.get(ino) else {
            return Vec::new();
        };
        let Some(wanted) = &entry.wanted else {
            let inside = self.inside.get(&ino).into_iter().flatten().copied();
            return inside.chain(entry.after).collect();
        };
        let is_made = folder_id(self.intents, self.terms, wanted.folder).is_some();
        let parent = (!is_made).then_some(wanted.folder);
        let blocker = self.placed.get(wanted).filter(|_| entry.is_folder);
        let blocker = blocker.copied().filter(|blocker| *blocker != ino);
        // What it is to be put into must first be out of it.
        let between = self.below(wanted.folder, ino).filter(|_| entry.is_folder);
        let between = between.into_iter().flatten();
        parent.into_iter().chain(blocker).chain(between).collect()
    }

    /// Whether an upload should begin now and not wait for more files of its folder.
    fn is_worth_it(&self, files: &[Outgoing]) -> bool {
        let bytes: u64 = files.iter().map(|file| file.version.size).sum();
        files.len() >= UPLOAD_FILES
            || bytes >= UPLOAD_BYTES / 2
            || files.iter().any(|file| {
                !self.gathering.contains(&file.place.folder)
                    || self.terms.is_overdue(file.ino)
                    || self.terms.most_files(file.ino) == 1
            })
    }

    /// What goes into calls of many files; those that failed together with others go alone.
    fn grouped<F: Clone>(&self, files: Vec<F>, ino: impl Fn(&F) -> Ino) -> Vec<Vec<F>> {
        let is_alone = |file: &F| self.terms.most_files(ino(file)) == 1;
        let (alone, together): (Vec<F>, Vec<F>) = files.into_iter().partition(is_alone);
        let alone = alone.into_iter().map(|file| vec![file]);
        alone
            .chain(together.chunks(CALL_FILES).map(<[F]>::to_vec))
            .collect()
    }

    /// Files of one folder in as few uploads as their number, size and names allow.
    fn packed(&self, mut files: Vec<Outgoing>) -> impl Iterator<Item = Vec<Outgoing>> + use<T> {
        // Small ones first: they share uploads, and nobody waits for them behind a large one.
        files.sort_by_key(|file| file.version.size);
        let mut parts: Vec<Part> = Vec::new();
        for file in files {
            let most = self.terms.most_files(file.ino).clamp(1, UPLOAD_FILES);
            let key = look_alike(&file.place.name);
            let fits = parts.iter().position(|part| {
                part.files.len() < most.min(part.most)
                    && part.bytes + file.version.size <= UPLOAD_BYTES
                    && !part.names.contains(&key)
            });
            let at = fits.unwrap_or_else(|| {
                parts.push(Part::default());
                parts.len() - 1
            });
            let part = &mut parts[at];
            part.most = part.most.min(most);
            part.bytes += file.version.size;
            part.names.insert(key);
            part.files.push(file);
        }
        parts.into_iter().map(|part| part.files)
    }
}

/// An upload being packed.
struct Part {
    files: Vec<Outgoing>,
    names: BTreeSet<String>,
    bytes: u64,
    most: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            names: BTreeSet::new(),
            bytes: 0,
            most: UPLOAD_FILES,
        }
    }
}

/// What the service might take for the same name as others: whether it knows capitals, spaces and dots
/// at the edges apart is not known (API reference 4.1).
fn look_alike(name: &OsStr) -> String {
    let stored = encode(name).to_lowercase();
    stored.trim_matches(['.', ' ', '␠']).to_owned()
}

/// A name for a folder on its way, which nobody else has.
fn passing_name(ino: Ino) -> Box<OsStr> {
    OsString::from(format!(".moving-{ino}")).into_boxed_os_str()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
