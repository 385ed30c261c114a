//! Inode numbers and the table of the inodes the kernel holds.
//!
//! Numbers are derived from the account's ids, so that they are the same on every mount, with or
//! without a store:
//!
//! | number | what |
//! |---|---|
//! | 1 | the root of the mount, whichever folder it shows |
//! | folder id + 2, below 2^62 | a folder |
//! | 2^62 + (file id read as base 36) mod (2^61 - 1) | a file |
//! | 2^62 + 2^61 and above, below 2^63 | what was made here, and keeps it when it gets an id |
//!
//! All are below 2^63, because they serve as directory offsets, which are signed. Should two files
//! have one number (one chance in 2^61 per pair), the later takes the next free one; the table
//! decides and remembers it for the life of the account's store. Ids never come back with another content, so
//! the generation of every inode is [`GENERATION`].
//!
//! One lock guards maps only and is held for microseconds; nothing else is locked under it.
use super::node::{Node, NodeKey};
use crate::api::{FileId, FolderId};
use crate::util::sync::{read, write};
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, RwLock};

/// The generation of every inode: a number is never used again for something else.
pub const GENERATION: u64 = 0;

/// First number of files.
const FILES: u64 = 1 << 62;

/// Size of the range of files' numbers: a Mersenne prime, so that every character of an id counts.
const FILE_NUMBERS: u64 = (1 << 61) - 1;

/// The table of held inodes gives memory back when it is this many times too large.
const SPARE: usize = 8;

/// First number of what was made here.
const OWN: u64 = FILES + (1 << 61);

/// How many numbers there are for that.
const OWN_NUMBERS: u64 = 1 << 61;

/// Distance of a folder's number to its id: 0 is no inode and 1 is the root of the mount.
const FOLDER_OFFSET: u64 = 2;

/// An inode number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(NonZeroU64);

impl Ino {
    /// The root of the mount.
    pub const ROOT: Self = Self(NonZeroU64::MIN);

    /// The number as the kernel says it; 0 is none.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number for the kernel.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The number derived from an id; `None` for a folder id no account can have.
    pub fn of(key: NodeKey) -> Option<Self> {
        match key {
            NodeKey::Folder(id) => {
                let number = id.0.checked_add(FOLDER_OFFSET)?;
                (number < FILES).then(|| Self::new(number)).flatten()
            }
            NodeKey::File(id) => Self::new(FILES + base_36(id)),
            NodeKey::Own(ino) => Some(ino),
        }
    }

    /// The `number`th of what is made here.
    pub fn own(number: u64) -> Option<Self> {
        (number < OWN_NUMBERS)
            .then(|| Self::new(OWN + number))
            .flatten()
    }

    /// Whether it is in the range of files.
    pub fn is_file(self) -> bool {
        self.get() >= FILES
    }

    /// The folder with this number; `None` for a file and for the root of the mount, which may be any.
    pub fn folder(self) -> Option<FolderId> {
        let is_folder = self.get() >= FOLDER_OFFSET && !self.is_file();
        is_folder.then(|| FolderId(self.get() - FOLDER_OFFSET))
    }

    /// The number to try when this file's is taken.
    fn next_file(self) -> Self {
        let next = (self.get() - FILES + 1) % FILE_NUMBERS;
        Self::new(FILES + next).unwrap_or(self)
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ino({self})")
    }
}

/// An id as a number of base 36 (`0-9`, then `a-z`), modulo [`FILE_NUMBERS`].
fn base_36(id: FileId) -> u64 {
    id.as_str().bytes().fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte.wrapping_sub(b'a').wrapping_add(10),
        };
        // At most 36 * 2^61 + 255: fits 2^67, so in u128.
        let wide = u128::from(value) * 36 + u128::from(digit);
        u64::try_from(wide % u128::from(FILE_NUMBERS)).unwrap_or_default()
    })
}

/// The inodes the kernel holds, with what they are.
#[derive(Debug)]
pub(super) struct InodeTable {
    maps: RwLock<Maps>,
}

#[derive(Debug)]
struct Maps {
    held: HashMap<Ino, Held>,
    /// Files that could not have their own number. Practically always empty.
    displaced: HashMap<FileId, Ino>,
    /// The numbers they were given instead, with whom.
    given_away: HashMap<Ino, FileId>,
    /// Those of them that are not kept yet.
    unkept: Vec<(FileId, Ino)>,
    /// The numbers of folders that were made here, and whose they are.
    made: HashMap<FolderId, Ino>,
    made_as: HashMap<Ino, FolderId>,
}

/// An inode the kernel holds; in 16 bytes, since it may hold a million.
#[derive(Debug)]
struct Held {
    node: Arc<Node>,
    /// Lookups the kernel has not forgotten yet, and in the lowest bit whether no listing shows it any more.
    count: u64,
}

impl Held {
    const GONE: u64 = 1;
    const LOOKUP: u64 = 2;

    fn new(node: Arc<Node>) -> Self {
        Self { node, count: 0 }
    }

    fn is_gone(&self) -> bool {
        self.count & Self::GONE != 0
    }

    fn set_gone(&mut self, gone: bool) {
        self.count = (self.count & !Self::GONE) | u64::from(gone);
    }

    fn look_up(&mut self) {
        self.count = self.count.saturating_add(Self::LOOKUP);
    }

    /// Takes lookups back; whether none is left.
    fn forget(&mut self, lookups: u64) -> bool {
        let left = (self.count / Self::LOOKUP).saturating_sub(lookups);
        self.count = (left * Self::LOOKUP) | (self.count & Self::GONE);
        left == 0
    }
}

impl InodeTable {
    /// A table that holds the root only, for ever.
    /// `displaced` are the files that could not have their own number in an earlier life.
    pub(super) fn new(root: Arc<Node>, displaced: Vec<(FileId, Ino)>) -> Self {
        let mut held = Held::new(root);
        held.look_up();
        Self {
            maps: RwLock::new(Maps {
                held: HashMap::from([(Ino::ROOT, held)]),
                given_away: displaced.iter().map(|(file, ino)| (*ino, *file)).collect(),
                displaced: displaced.into_iter().collect(),
                unkept: Vec::new(),
                made: HashMap::new(),
                made_as: HashMap::new(),
            }),
        }
    }

    /// The number of `key`: its own, or another when its own is in use by something the kernel holds
    /// or by `taken`. `None` for a folder id no account can have.
    pub(super) fn number(&self, key: NodeKey, taken: impl Fn(Ino) -> bool) -> Option<Ino> {
        if let NodeKey::Folder(folder) = key
            && let Some(ino) = self.made(folder)
        {
            return Some(ino);
        }
        let own = Ino::of(key)?;
        {
            let maps = read(&self.maps);
            if maps.given_away.is_empty() && maps.is_free_for(own, key) && !taken(own) {
                return Some(own);
            }
        }
        Some(write(&self.maps).number(key, own, taken))
    }

    /// The number derived from the id of the file with the number `ino`: the same for nearly all.
    pub(super) fn derived(&self, ino: Ino) -> Ino {
        let maps = read(&self.maps);
        let displaced = maps.given_away.get(&ino);
        displaced
            .and_then(|file| Ino::of(NodeKey::File(*file)))
            .unwrap_or(ino)
    }

    /// Files that were given another number than their own and are not kept yet.
    pub(super) fn take_unkept(&self) -> Vec<(FileId, Ino)> {
        if read(&self.maps).unkept.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut write(&self.maps).unkept)
    }

    /// The number that a file was given instead of its own, as all that were written here are.
    pub(super) fn bearer(&self, file: FileId) -> Option<Ino> {
        read(&self.maps).displaced.get(&file).copied()
    }

    /// The number of a folder that was made here.
    pub(super) fn made(&self, folder: FolderId) -> Option<Ino> {
        read(&self.maps).made.get(&folder).copied()
    }

    /// The folder made here that bears a number.
    pub(super) fn made_as(&self, ino: Ino) -> Option<FolderId> {
        read(&self.maps).made_as.get(&ino).copied()
    }

    /// A folder made here has an id from now on.
    pub(super) fn make(&self, folder: FolderId, ino: Ino) {
        let mut maps = write(&self.maps);
        maps.made.insert(folder, ino);
        maps.made_as.insert(ino, folder);
    }

    /// A file has a new id and keeps its number, which no earlier id of it has any more.
    pub(super) fn rename_file(&self, file: FileId, ino: Ino) {
        let mut maps = write(&self.maps);
        maps.displaced.insert(file, ino);
        maps.given_away.insert(ino, file);
    }

    /// What is held under the number of `node` is that node from now on, whatever it was.
    pub(super) fn exchange(&self, node: &Arc<Node>) {
        if let Some(held) = write(&self.maps).held.get_mut(&node.ino) {
            held.node = Arc::clone(node);
            held.set_gone(false);
        }
    }

    /// What is held under a number is gone.
    pub(super) fn lose(&self, ino: Ino) {
        if let Some(held) = write(&self.maps).held.get_mut(&ino) {
            held.set_gone(true);
        }
    }

    /// Counts one lookup of `node` that the kernel is about to be told of, and returns the node to tell:
    /// the newest known of that inode. It bears another number when its own came into use by another
    /// file since it was listed.
    #[must_use = "the kernel must be told of the node returned, which may bear another number"]
    pub(super) fn remember(&self, node: &Arc<Node>) -> Arc<Node> {
        let mut maps = write(&self.maps);
        let key = node.key();
        let node = match maps.held.get(&node.ino) {
            Some(held) if held.node.key() == key => Arc::clone(&held.node),
            Some(_) => Arc::new(Node {
                ino: maps.number(key, node.ino, |_| false),
                ..Node::clone(node)
            }),
            None => Arc::clone(node),
        };
        let held = maps.held.entry(node.ino);
        let held = held.or_insert_with(|| Held::new(Arc::clone(&node)));
        held.look_up();
        Arc::clone(&held.node)
    }

    /// Takes back `lookups` lookups; the inode goes when none is left. The root stays.
    pub(super) fn forget(&self, ino: Ino, lookups: u64) {
        let mut maps = write(&self.maps);
        let is_over = maps
            .held
            .get_mut(&ino)
            .is_some_and(|held| held.forget(lookups));
        if is_over && ino != Ino::ROOT {
            maps.held.remove(&ino);
            // A walk over everything leaves room for a million behind.
            if maps.held.len() < maps.held.capacity() / SPARE {
                let room = maps.held.len() * 2;
                maps.held.shrink_to(room);
            }
        }
    }

    /// What an inode the kernel holds is, also when it is gone from the account.
    pub(super) fn get(&self, ino: Ino) -> Option<Arc<Node>> {
        read(&self.maps)
            .held
            .get(&ino)
            .map(|held| Arc::clone(&held.node))
    }

    /// Whether the kernel holds `ino` and no listing shows it any more.
    pub(super) fn is_gone(&self, ino: Ino) -> bool {
        read(&self.maps).held.get(&ino).is_some_and(Held::is_gone)
    }

    /// Replaces what is known of those of `nodes` that the kernel holds: they were just listed.
    pub(super) fn refresh<'a>(&self, nodes: impl IntoIterator<Item = &'a Arc<Node>>) {
        let mut maps = write(&self.maps);
        for node in nodes {
            if let Some(held) = maps.held.get_mut(&node.ino)
                && held.node.key() == node.key()
            {
                held.node = Arc::clone(node);
                held.set_gone(false);
            }
        }
    }

    /// Marks `node` as gone, unless it has been listed in another folder meanwhile.
    pub(super) fn mark_gone(&self, node: &Node) {
        if let Some(held) = write(&self.maps).held.get_mut(&node.ino)
            && held.node.key() == node.key()
            && held.node.parent == node.parent
            && node.ino != Ino::ROOT
        {
            held.set_gone(true);
        }
    }

    /// How many inodes the kernel holds, the root included.
    pub(super) fn count(&self) -> usize {
        read(&self.maps).held.len()
    }
}

impl Maps {
    fn is_free_for(&self, ino: Ino, key: NodeKey) -> bool {
        let held = self.held.get(&ino).map(|held| held.node.key());
        let given = self.given_away.get(&ino).map(|file| NodeKey::File(*file));
        // What was made or rewritten here is held under its number until the account's id is known for it; a
        // file that has no other id yet is the one whose number it is.
        let is_whose = given == Some(key) || given.is_none() && Ino::of(key) == Some(ino);
        let is_its_own = held == Some(NodeKey::Own(ino)) && is_whose;
        let is_not_held = held.is_none_or(|held| held == key) || is_its_own;
        is_not_held && given.is_none_or(|given| given == key)
    }

    fn number(&mut self, key: NodeKey, own: Ino, taken: impl Fn(Ino) -> bool) -> Ino {
        // A folder's number is its own: ids differ, and files are in another range.
        let NodeKey::File(file) = key else { return own };
        let known = self.displaced.get(&file).copied();
        let mut ino = known.unwrap_or(own);
        while !self.is_free_for(ino, key) || taken(ino) {
            ino = ino.next_file();
        }
        if ino != known.unwrap_or(own) {
            self.displaced.insert(file, ino);
            self.given_away.insert(ino, file);
            self.unkept.push((file, ino));
        }
        ino
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::node::testing::{file, folder};
    use crate::tree::node::{Kind, OwnFile};

    /// An id whose number is that of `id` shifted by whole turns of the range.
    fn twin_of(id: FileId) -> FileId {
        let target = base_36(id);
        let mut value = u128::from(FILE_NUMBERS) * 7 + u128::from(target);
        let mut digits = Vec::new();
        while value > 0 {
            let digit = u32::try_from(value % 36).unwrap();
            digits.push(char::from_digit(digit, 36).unwrap());
            value /= 36;
        }
        FileId::parse(&digits.iter().rev().collect::<String>()).unwrap()
    }

    #[test]
    fn numbers_are_derived_from_ids_and_stay_below_2_to_the_63() {
        let ino = |key| Ino::of(key).unwrap().get();
        assert_eq!(ino(NodeKey::Folder(FolderId(4_100_021))), 4_100_023);
        assert_eq!(
            ino(NodeKey::File(FileId::parse("0000z").unwrap())),
            FILES + 35
        );
        assert_eq!(
            ino(NodeKey::File(FileId::parse("00010").unwrap())),
            FILES + 36
        );
        let last = ino(NodeKey::File(FileId::parse(&"z".repeat(20)).unwrap()));
        assert!((FILES..1 << 63).contains(&last));
        assert_eq!(Ino::of(NodeKey::Folder(FolderId(u64::MAX))), None);
        assert_eq!(Ino::of(NodeKey::Folder(FolderId(FILES - 2))), None);
        let largest = Ino::of(NodeKey::Folder(FolderId(FILES - 3))).unwrap();
        assert_eq!(largest.folder(), Some(FolderId(FILES - 3)));
        assert_eq!(Ino::ROOT.folder(), None);
        assert_eq!(Ino::new(last).unwrap().folder(), None);
    }

    #[test]
    fn the_later_of_two_files_with_one_number_takes_the_next() {
        let table = InodeTable::new(Arc::new(folder(0, "", Ino::ROOT)), Vec::new());
        let first = Arc::new(file("aaaabbbbccccddddeeee", "a", Ino::ROOT));
        let NodeKey::File(id) = first.key() else {
            unreachable!()
        };
        let mut second = file(twin_of(id).as_str(), "b", Ino::ROOT);
        assert_eq!(second.ino, first.ino);
        assert_eq!(table.remember(&first).ino, first.ino);
        // Listed after the first is held: the table gives another number at once, and always the same.
        let other = table.number(second.key(), |_| false).unwrap();
        assert_eq!(other.get(), first.ino.get() + 1);
        assert_eq!(table.number(second.key(), |_| false), Some(other));
        assert_eq!(table.number(first.key(), |_| false), Some(first.ino));
        // Listed before the first was held: it is renumbered when the kernel is told.
        second.name = std::ffi::OsStr::new("c").into();
        let told = table.remember(&Arc::new(second));
        assert_eq!((told.ino, &*told.name), (other, std::ffi::OsStr::new("c")));
        assert_eq!(table.get(first.ino).unwrap().key(), first.key());

        // In the next life the second comes first: nobody's number changes.
        let NodeKey::File(displaced) = told.key() else {
            unreachable!()
        };
        assert_eq!(table.take_unkept(), [(displaced, other)]);
        assert_eq!(table.take_unkept(), []);
        let root = Arc::new(folder(0, "", Ino::ROOT));
        let table = InodeTable::new(root, vec![(displaced, other)]);
        assert_eq!(table.number(told.key(), |_| false), Some(other));
        assert_eq!(table.number(first.key(), |_| false), Some(first.ino));
        assert_eq!(table.derived(other), first.ino);
    }

    #[test]
    fn a_file_rewritten_here_keeps_its_number_until_it_has_another_id() {
        let table = InodeTable::new(Arc::new(folder(0, "", Ino::ROOT)), Vec::new());
        let old = Arc::new(file("aaaabbbbccccddddeeee", "a", Ino::ROOT));
        let rewritten = Arc::new(Node {
            kind: Kind::Own(OwnFile {
                ino: old.ino,
                size: 1,
                modified: 0,
            }),
            ..Node::clone(&old)
        });
        // After a restart the kernel has never heard of the old one.
        assert_eq!(table.remember(&rewritten).ino, old.ino);
        assert_eq!(table.number(old.key(), |_| false), Some(old.ino));
        let new = FileId::parse("ffffgggghhhhiiiijjjj").unwrap();
        table.rename_file(new, old.ino);
        assert_eq!(table.number(NodeKey::File(new), |_| false), Some(old.ino));
        assert_ne!(table.number(old.key(), |_| false), Some(old.ino));
    }

    /// Their order says nothing.
    #[test]
    fn of_the_ids_kept_for_a_number_the_one_named_last_has_it() {
        let root = Arc::new(folder(0, "", Ino::ROOT));
        let (first, last) = (
            FileId::parse("aaaabbbbccccddddeeee").unwrap(),
            FileId::parse("ffffgggghhhhiiiijjjj").unwrap(),
        );
        let ino = Ino::own(1).unwrap();
        for kept in [
            vec![(first, ino), (last, ino)],
            vec![(last, ino), (first, ino)],
        ] {
            let table = InodeTable::new(Arc::clone(&root), kept);
            table.rename_file(last, ino);
            assert_eq!(table.number(NodeKey::File(last), |_| false), Some(ino));
            assert_ne!(table.number(NodeKey::File(first), |_| false), Some(ino));
        }
    }

    #[test]
    fn inodes_go_with_the_last_lookup_and_the_root_never() {
        let table = InodeTable::new(Arc::new(folder(0, "", Ino::ROOT)), Vec::new());
        let node = Arc::new(file("aaaabbbbccccddddeeee", "a", Ino::ROOT));
        let _ = table.remember(&node);
        let _ = table.remember(&node);
        table.forget(node.ino, 1);
        assert!(table.get(node.ino).is_some());
        table.forget(node.ino, 5);
        assert!(table.get(node.ino).is_none());
        table.forget(node.ino, 1);
        table.forget(Ino::ROOT, u64::MAX);
        assert!(table.get(Ino::ROOT).is_some());
        assert_eq!(table.count(), 1);
    }

    #[test]
    fn a_held_inode_keeps_its_newest_state() {
        let table = InodeTable::new(Arc::new(folder(0, "", Ino::ROOT)), Vec::new());
        let old = Arc::new(file("aaaabbbbccccddddeeee", "old", Ino::ROOT));
        let new = Arc::new(file("aaaabbbbccccddddeeee", "new", Ino::new(7).unwrap()));
        let _ = table.remember(&old);
        table.refresh([&new]);
        assert_eq!(&*table.remember(&old).name, "new");
        // Moved, then missed in its old folder: not gone.
        table.mark_gone(&old);
        assert!(!table.is_gone(old.ino));
        table.mark_gone(&new);
        assert!(table.is_gone(old.ino));
        table.refresh([&new]);
        assert!(!table.is_gone(old.ino));
    }
}
