//! One folder's entries as an immutable snapshot, and what changed between two of them.
//!
//! Promises: every entry of the service's answer appears exactly once, under a name that is legal and
//! distinct; entries are sorted by inode number, which is also their directory offset, so that a
//! reader resumes at the right place although entries came and went. Pure: no clock, no lock, no call.
use super::inode::Ino;
use super::names;
use super::node::{ContentType, File, Folder, Kind, Node, NodeKey};
use super::numbering::{Candidate, Numbering};
use super::store::StoredListing;
use crate::api::{FileItem, FolderId, FolderListing, SubFolder, UnixSeconds};
use crate::util::clock::Moment;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::sync::Arc;

/// Characters of an id that tell apart names that had to be cut.
const TAG_CHARS: usize = 6;

/// One folder's entries.
#[derive(Debug, Clone)]
pub struct Listing {
    folder: FolderId,
    ino: Ino,
    /// Sorted by inode number.
    entries: Box<[Arc<Node>]>,
    /// Positions in `entries`, sorted by name.
    by_name: Box<[u32]>,
    modified: Option<UnixSeconds>,
    fetched: Moment,
    is_complete: bool,
    has_refused: bool,
}

/// Gives an entry its inode number, which must not be one that the function handed in calls taken;
/// `None` refuses the entry.
pub(super) type GiveNumber<'a> = dyn Fn(NodeKey, &dyn Fn(Ino) -> bool) -> Option<Ino> + 'a;

/// What a listing needs to know beside the service's answer.
pub(super) struct Surroundings<'a> {
    /// The folder's own inode.
    pub(super) ino: Ino,
    /// Where entries get their inode numbers.
    pub(super) number: &'a GiveNumber<'a>,
    /// Numbers given to duplicates before.
    pub(super) numbering: &'a Numbering,
    /// When the answer came.
    pub(super) fetched: Moment,
    /// Entries known before that stay although the answer lacks them.
    pub(super) kept: &'a [Arc<Node>],
    /// Whether that is all there is.
    pub(super) is_complete: bool,
}

/// How an entry of a folder differs from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChange {
    /// It came.
    Added(Arc<Node>),
    /// It went.
    Removed(Arc<Node>),
    /// It bears another name; its attributes may differ too.
    Renamed {
        /// Before.
        was: Arc<Node>,
        /// After.
        now: Arc<Node>,
    },
    /// Its attributes differ.
    Altered(Arc<Node>),
}

impl Listing {
    /// Builds a listing from an answer and what is kept of the one before; also returns the numbers given to duplicates.
    pub(super) fn build(answer: &FolderListing, around: &Surroundings<'_>) -> (Self, Numbering) {
        let all = answer.folders.len() + answer.files.len() + around.kept.len();
        let mut seen = HashSet::with_capacity(all);
        let mut inos = HashSet::with_capacity(all);
        let mut has_refused = false;
        let mut candidates = Vec::with_capacity(all);
        let mut kinds = Vec::with_capacity(all);
        let mut types = HashMap::new();
        let said = answer
            .folders
            .iter()
            .map(Said::Folder)
            .chain(answer.files.iter().map(Said::File));
        for entry in said {
            let key = entry.key();
            if !seen.insert(key) {
                continue;
            }
            let Some(ino) = (around.number)(key, &|ino| inos.contains(&ino)) else {
                has_refused = true;
                continue;
            };
            inos.insert(ino);
            candidates.push(entry.candidate());
            kinds.push((ino, entry.kind(&mut types)));
        }
        for node in around.kept {
            let key = node.key();
            if seen.insert(key) && inos.insert(node.ino) {
                candidates.push(Candidate {
                    key,
                    name: around.numbering.true_name(node),
                    since: node.created(),
                });
                kinds.push((node.ino, node.kind.clone()));
            }
        }
        let numbering = around.numbering.assign(&mut candidates, around.is_complete);

        let nodes = candidates
            .into_iter()
            .zip(kinds)
            .map(|(candidate, (ino, kind))| Node {
                ino,
                parent: around.ino,
                name: candidate.name.into_boxed_os_str(),
                kind,
            });
        let mut listing = Self::of(answer.folder, around.ino, nodes, around.fetched);
        listing.modified = listing.modified.max(answer.created);
        listing.is_complete = around.is_complete;
        listing.has_refused = has_refused;
        (listing, numbering)
    }

    /// Builds a listing from what was kept of it. Entries that `number` refuses are left out: they are
    /// known to be elsewhere by now.
    pub(super) fn restore(
        folder: FolderId,
        stored: StoredListing,
        ino: Ino,
        number: &GiveNumber<'_>,
        fetched: Moment,
    ) -> Self {
        let mut inos = HashSet::with_capacity(stored.entries.len());
        let nodes = stored.entries.into_iter().filter_map(|(name, kind)| {
            let own = number(kind.key(), &|ino| inos.contains(&ino))?;
            inos.insert(own);
            Some(Node {
                ino: own,
                parent: ino,
                name,
                kind,
            })
        });
        let mut listing = Self::of(folder, ino, nodes, fetched);
        listing.modified = stored.modified;
        listing.is_complete = stored.is_complete;
        listing.has_refused = stored.has_refused;
        listing
    }

    fn of(folder: FolderId, ino: Ino, nodes: impl Iterator<Item = Node>, fetched: Moment) -> Self {
        let mut entries: Box<[Arc<Node>]> = nodes.map(Arc::new).collect();
        entries.sort_unstable_by_key(|node| node.ino);
        Self {
            folder,
            ino,
            modified: entries.iter().filter_map(|node| node.created()).max(),
            by_name: by_name(&entries),
            entries,
            fetched,
            is_complete: true,
            has_refused: false,
        }
    }

    /// The same without some of its entries, which were seen elsewhere since; it is to be looked at
    /// again soon.
    pub(super) fn without(&self, gone: impl Fn(&Node) -> bool) -> Self {
        let entries = self.entries.iter().filter(|node| !gone(node));
        let entries: Box<[Arc<Node>]> = entries.cloned().collect();
        Self {
            by_name: by_name(&entries),
            entries,
            has_refused: true,
            ..*self
        }
    }

    /// The same with other entries.
    pub(super) fn replaced(&self, mut entries: Vec<Arc<Node>>) -> Self {
        entries.sort_unstable_by_key(|node| node.ino);
        let entries: Box<[Arc<Node>]> = entries.into();
        Self {
            by_name: by_name(&entries),
            entries,
            ..*self
        }
    }

    /// A folder that the account does not have yet: never asked for, kept or put into the cache.
    pub(super) fn own(ino: Ino, entries: Vec<Arc<Node>>, now: Moment) -> Self {
        Self::made(FolderId(u64::MAX), ino, now).replaced(entries)
    }

    /// A folder that was just made.
    pub(super) fn made(folder: FolderId, ino: Ino, now: Moment) -> Self {
        Self::of(folder, ino, std::iter::empty(), now)
    }

    /// The entry with this inode number.
    pub fn at(&self, ino: Ino) -> Option<&Arc<Node>> {
        let at = self.entries.binary_search_by_key(&ino, |node| node.ino);
        at.ok().map(|at| &self.entries[at])
    }

    /// The folder listed.
    pub fn folder(&self) -> FolderId {
        self.folder
    }

    /// Its inode.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// All entries, sorted by inode number.
    pub fn entries(&self) -> &[Arc<Node>] {
        &self.entries
    }

    /// The entries that follow the directory offset `cookie`, which is the inode number of the last
    /// entry seen, or 0; whether that entry is still there does not matter.
    pub fn after(&self, cookie: u64) -> &[Arc<Node>] {
        let start = self
            .entries
            .partition_point(|node| node.ino.get() <= cookie);
        &self.entries[start..]
    }

    /// The entry at a place in the order of names.
    pub fn nth_name(&self, place: usize) -> Option<&Arc<Node>> {
        let at = self.by_name.get(place)?;
        self.entries.get(*at as usize)
    }

    /// The entry called `name`.
    pub fn get(&self, name: &OsStr) -> Option<&Arc<Node>> {
        self.by_name
            .binary_search_by(|at| name_at(&self.entries, *at).cmp(name))
            .ok()
            .map(|at| &self.entries[self.by_name[at] as usize])
    }

    /// Whether it shows all there is. If not, a name that is missing here may exist all the same.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether an entry was left out because it cannot be where the service shows it.
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// The newest date in it, the folder's own creation included.
    pub fn newest(&self) -> Option<UnixSeconds> {
        self.modified
    }

    /// When the service was asked.
    pub fn fetched(&self) -> Moment {
        self.fetched
    }

    /// Bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        let nodes: usize = self.entries.iter().map(|node| node.weight()).sum();
        size_of::<Self>() + nodes + self.entries.len() * (size_of::<Arc<Node>>() + size_of::<u32>())
    }
}

/// What turns `old` into `new`, sorted by inode number.
pub fn diff(old: &Listing, new: &Listing) -> Vec<EntryChange> {
    let mut changes = Vec::new();
    let mut before = old.entries.iter().peekable();
    let mut after = new.entries.iter().peekable();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(now)) => was.ino.cmp(&now.ino),
        };
        let was = before.next_if(|_| order.is_le());
        let now = after.next_if(|_| order.is_ge());
        match (was, now) {
            (Some(was), Some(now)) if was.key() == now.key() => {
                if was.name != now.name {
                    changes.push(EntryChange::Renamed {
                        was: Arc::clone(was),
                        now: Arc::clone(now),
                    });
                } else if was != now {
                    changes.push(EntryChange::Altered(Arc::clone(now)));
                }
            }
            (was, now) => {
                changes.extend(was.map(|was| EntryChange::Removed(Arc::clone(was))));
                changes.extend(now.map(|now| EntryChange::Added(Arc::clone(now))));
            }
        }
    }
}

/// Positions sorted by name.
fn by_name(entries: &[Arc<Node>]) -> Box<[u32]> {
    let mut by_name: Box<[u32]> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
    by_name.sort_unstable_by(|a, b| name_at(entries, *a).cmp(name_at(entries, *b)));
    by_name
}

fn name_at(entries: &[Arc<Node>], at: u32) -> &OsStr {
    &entries[at as usize].name
}

/// An entry of an answer.
#[derive(Clone, Copy)]
enum Said<'a> {
    Folder(&'a SubFolder),
    File(&'a FileItem),
}

impl<'a> Said<'a> {
    fn key(self) -> NodeKey {
        match self {
            Self::Folder(folder) => NodeKey::Folder(folder.id),
            Self::File(file) => NodeKey::File(file.url.id()),
        }
    }

    fn candidate(self) -> Candidate {
        let (name, since) = match self {
            Self::Folder(folder) => {
                // The last ones: ids that follow each other differ there.
                let digits = format!("{:0TAG_CHARS$}", folder.id.0);
                let tag = &digits[digits.len() - TAG_CHARS..];
                (names::local_name(&folder.name, tag, true), folder.created)
            }
            Self::File(file) => {
                let id = file.url.id();
                let id = id.as_str();
                let tag = &id[id.len().saturating_sub(TAG_CHARS)..];
                (names::local_name(&file.name, tag, false), file.uploaded)
            }
        };
        Candidate {
            key: self.key(),
            name,
            since,
        }
    }

    /// `types` makes files of one listing share the text of their type.
    fn kind(self, types: &mut HashMap<&'a str, Arc<ContentType>>) -> Kind {
        match self {
            Self::Folder(folder) => Kind::Folder(Folder {
                id: folder.id,
                created: folder.created,
                changed: None,
                password: folder.password,
            }),
            Self::File(file) => Kind::File(File {
                url: file.url.clone(),
                size: file.size,
                uploaded: file.uploaded,
                whirlpool: file.whirlpool,
                content_type: file.content_type.as_deref().map(|name| {
                    let known = types.entry(name);
                    Arc::clone(known.or_insert_with(|| Arc::new(ContentType::new(name))))
                }),
                password: file.password,
                access_list: file.access_list,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
