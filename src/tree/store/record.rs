//! A folder's listing as a record, and what is remembered of a folder beside it.
//!
//! A record holds what the service said and the names shown for it; inode numbers and the folder's own
//! place are not in it, since they follow from the ids. About 100 bytes and the name per file.
//!
//! ```text
//! listing   fetched · modified · marks · types · entries
//! entry     marks · id · (domain) · size · (date) · (hash) · (type) · name       a file
//!           marks · number · (date) · name                                       a folder
//! ```
use super::codec::{Reader, Writer};
use crate::api::{FileId, FileUrl, FolderId, UnixSeconds, Whirlpool};
use crate::tree::inode::Ino;
use crate::tree::listing::Listing;
use crate::tree::node::{ContentType, File, Folder, Kind};
use crate::tree::root::RootFolder;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an entry, about, to reserve memory for a record.
const ENTRY_BYTES: usize = 140;

/// Marks of an entry.
mod mark {
    pub(super) const FOLDER: u8 = 1;
    pub(super) const PASSWORD: u8 = 1 << 1;
    pub(super) const ACCESS_LIST: u8 = 1 << 2;
    pub(super) const DATED: u8 = 1 << 3;
    pub(super) const HASHED: u8 = 1 << 4;
    pub(super) const TYPED: u8 = 1 << 5;
    pub(super) const OTHER_DOMAIN: u8 = 1 << 6;
}

/// Marks of a listing.
mod whole {
    pub(super) const COMPLETE: u8 = 1;
    pub(super) const REFUSED: u8 = 1 << 1;
    pub(super) const MODIFIED: u8 = 1 << 2;
}

/// A listing as it was kept: what it takes to make a `Listing` of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tree) struct StoredListing {
    /// When the service was asked, since 1970.
    pub(in crate::tree) fetched: Duration,
    pub(in crate::tree) modified: Option<UnixSeconds>,
    pub(in crate::tree) is_complete: bool,
    pub(in crate::tree) has_refused: bool,
    /// Names and what bears them.
    pub(in crate::tree) entries: Vec<(Box<OsStr>, Kind)>,
}

/// What is remembered of a folder beside its listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::tree) struct FolderRecord {
    /// The folder that shows it.
    pub(in crate::tree) parent: Option<FolderId>,
    /// When its entries last changed.
    pub(in crate::tree) changed: Option<UnixSeconds>,
    /// How many entries its last listing had.
    pub(in crate::tree) entries: u32,
    /// When its listing that is kept was asked for, since 1970; `None` when none is kept.
    pub(in crate::tree) fetched: Option<Duration>,
}

/// The record of a listing asked for at `fetched`.
pub(super) fn listing(listing: &Listing, fetched: Duration) -> Vec<u8> {
    let entries = listing.entries();
    let mut out = Writer::with_room(entries.len() * ENTRY_BYTES + 32);
    out.number(millis(fetched));
    let mut marks = 0;
    for (is_set, mark) in [
        (listing.is_complete(), whole::COMPLETE),
        (listing.has_refused(), whole::REFUSED),
        (listing.newest().is_some(), whole::MODIFIED),
    ] {
        marks |= if is_set { mark } else { 0 };
    }
    out.byte(marks);
    if let Some(modified) = listing.newest() {
        out.signed(modified);
    }
    let mut types: Vec<&str> = entries
        .iter()
        .filter_map(|node| Some(node.file()?.content_type.as_deref()?.as_str()))
        .collect();
    types.sort_unstable();
    types.dedup();
    out.number(types.len() as u64);
    for text in &types {
        out.text(text.as_bytes());
    }
    out.number(entries.len() as u64);
    for node in entries {
        match &node.kind {
            Kind::Folder(folder) => write_folder(&mut out, folder),
            Kind::File(file) => write_file(&mut out, file, &types),
        }
        out.text(node.name.as_bytes());
    }
    out.seal(&listing_place(listing.folder()))
}

/// Reads the record of the listing of `folder`; `None` when it is damaged.
pub(super) fn read_listing(folder: FolderId, record: &[u8]) -> Option<StoredListing> {
    let mut from = Reader::unseal(&listing_place(folder), record)?;
    let fetched = Duration::from_millis(from.number()?);
    let marks = from.byte()?;
    let modified = optional(marks & whole::MODIFIED != 0, || from.signed())?;
    let mut types = Vec::new();
    for _ in 0..from.count()? {
        let name = std::str::from_utf8(from.text()?).ok()?;
        types.push(Arc::new(ContentType::new(name)));
    }
    let count = from.count()?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let marks = from.byte()?;
        let kind = if marks & mark::FOLDER == 0 {
            Kind::File(read_file(&mut from, marks, &types)?)
        } else {
            Kind::Folder(read_folder(&mut from, marks)?)
        };
        entries.push((OsStr::from_bytes(from.text()?).into(), kind));
    }
    from.is_at_end().then_some(StoredListing {
        fetched,
        modified,
        is_complete: marks & whole::COMPLETE != 0,
        has_refused: marks & whole::REFUSED != 0,
        entries,
    })
}

fn write_folder(out: &mut Writer, folder: &Folder) {
    let mut marks = mark::FOLDER;
    marks |= if folder.password { mark::PASSWORD } else { 0 };
    marks |= folder.created.map_or(0, |_| mark::DATED);
    out.byte(marks);
    out.number(folder.id.0);
    if let Some(created) = folder.created {
        out.signed(created);
    }
}

fn read_folder(from: &mut Reader<'_>, marks: u8) -> Option<Folder> {
    Some(Folder {
        id: FolderId(from.number()?),
        created: optional(marks & mark::DATED != 0, || from.signed())?,
        changed: None,
        password: marks & mark::PASSWORD != 0,
    })
}

fn write_file(out: &mut Writer, file: &File, types: &[&str]) {
    let content_type = file
        .content_type
        .as_deref()
        .and_then(|it| types.binary_search(&it.as_str()).ok());
    let is_usual = file.url == FileUrl::of(file.url.id());
    let mut marks = 0;
    for (is_set, mark) in [
        (file.password, mark::PASSWORD),
        (file.access_list, mark::ACCESS_LIST),
        (file.uploaded.is_some(), mark::DATED),
        (file.whirlpool.is_some(), mark::HASHED),
        (content_type.is_some(), mark::TYPED),
        (!is_usual, mark::OTHER_DOMAIN),
    ] {
        marks |= if is_set { mark } else { 0 };
    }
    out.byte(marks);
    out.text(file.url.id().as_str().as_bytes());
    if !is_usual {
        out.text(file.url.domain().as_bytes());
    }
    out.number(file.size);
    if let Some(uploaded) = file.uploaded {
        out.signed(uploaded);
    }
    if let Some(hash) = &file.whirlpool {
        out.raw(&hash.0);
    }
    if let Some(at) = content_type {
        out.number(at as u64);
    }
}

fn read_file(from: &mut Reader<'_>, marks: u8, types: &[Arc<ContentType>]) -> Option<File> {
    let id = FileId::parse(std::str::from_utf8(from.text()?).ok()?)?;
    let url = if marks & mark::OTHER_DOMAIN == 0 {
        FileUrl::of(id)
    } else {
        let domain = std::str::from_utf8(from.text()?).ok()?;
        FileUrl::parse(&format!("https://{domain}/?{id}"))?
    };
    Some(File {
        url,
        size: from.number()?,
        uploaded: optional(marks & mark::DATED != 0, || from.signed())?,
        whirlpool: optional(marks & mark::HASHED != 0, || from.array().map(Whirlpool))?,
        content_type: optional(marks & mark::TYPED != 0, || {
            let at = usize::try_from(from.number()?).ok()?;
            types.get(at).cloned()
        })?,
        password: marks & mark::PASSWORD != 0,
        access_list: marks & mark::ACCESS_LIST != 0,
    })
}

/// A part that may be there; `None` when it should be and is not.
#[expect(clippy::option_option, reason = "damage and absence are two things")]
fn optional<T>(is_there: bool, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if is_there {
        read().map(Some)
    } else {
        Some(None)
    }
}

/// The record of a folder.
pub(super) fn folder(id: FolderId, record: &FolderRecord) -> Vec<u8> {
    let mut out = Writer::with_room(40);
    out.number(record.parent.map_or(0, |parent| parent.0.saturating_add(1)));
    out.number(record.fetched.map_or(0, millis));
    out.number(record.entries.into());
    if let Some(changed) = record.changed {
        out.signed(changed);
    }
    out.seal(&folder_place(id))
}

/// Reads the record of a folder; `None` when it is damaged.
pub(super) fn read_folder_record(id: FolderId, record: &[u8]) -> Option<FolderRecord> {
    let mut from = Reader::unseal(&folder_place(id), record)?;
    let parent = from.number()?.checked_sub(1).map(FolderId);
    let fetched = Some(from.number()?)
        .filter(|fetched| *fetched > 0)
        .map(Duration::from_millis);
    let entries = u32::try_from(from.number()?).ok()?;
    let changed = optional(!from.is_at_end(), || from.signed())?;
    Some(FolderRecord {
        parent,
        changed,
        entries,
        fetched,
    })
}

/// The record of the folder that a path of the account led to.
pub(super) fn root(path: &str, root: &RootFolder) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(root.id.0);
    out.number(root.above.len() as u64);
    for above in &root.above {
        out.number(above.0);
    }
    if let Some(created) = root.created {
        out.signed(created);
    }
    out.seal(path.as_bytes())
}

/// Reads the record of a path; `None` when it is damaged.
pub(super) fn read_root(path: &str, record: &[u8]) -> Option<RootFolder> {
    let mut from = Reader::unseal(path.as_bytes(), record)?;
    let id = FolderId(from.number()?);
    let mut above = Vec::new();
    for _ in 0..from.number()? {
        above.push(FolderId(from.number()?));
    }
    let created = optional(!from.is_at_end(), || from.signed())?;
    Some(RootFolder { id, created, above })
}

/// The inode numbers of the files of a stored listing, as derived from their ids.
pub(super) fn file_numbers(stored: &StoredListing) -> impl Iterator<Item = Ino> {
    stored.entries.iter().filter_map(|(_, kind)| match kind {
        Kind::File(file) => Ino::of(crate::tree::NodeKey::File(file.url.id())),
        Kind::Folder(_) => None,
    })
}

fn listing_place(folder: FolderId) -> [u8; 9] {
    place(b'l', folder)
}

fn folder_place(folder: FolderId) -> [u8; 9] {
    place(b'f', folder)
}

/// Where a record belongs, for its checksum.
fn place(table: u8, folder: FolderId) -> [u8; 9] {
    let mut place = [table; 9];
    place[1..].copy_from_slice(&folder.0.to_le_bytes());
    place
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
