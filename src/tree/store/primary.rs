//! The store of what exists nowhere else: numbers that duplicates and displaced inodes were given,
//! changes that the account has not been told of, and attributes that it cannot hold.
//!
//! Promises: what was put is on disk when `put` returns; nothing is ever thrown away. A record that is
//! damaged is set aside in the table `damaged`, a file that cannot be opened at all is kept beside
//! under another name, both are reported, and the mount works without them. A store written by a later
//! version is left alone. Blocks for the disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `numbering` | folder | numbers of its duplicates |
//! | `displaced` | file | the inode number it was given instead of its own |
//! | `made` | folder | the inode number it was made under here |
//! | `pending` | inode number | what the account has to be told of it |
//! | `recent` | inode number | what it was told and may not show yet |
//! | `contents` | number | a version of a file that the account does not have |
//! | `locals` | inode number | attributes that the account cannot hold |
//! | `damaged` | table, key, time | the record as it was found |
//! | `meta` | name | format, owner |
use super::account::Owner;
use super::error::StoreError;
use super::pending::{Commit, Pending};
use super::record::millis;
use super::shelf::{Shelf, remove};
use crate::api::{FileId, FolderId};
use crate::tree::inode::Ino;
use crate::tree::local::Local;
use crate::tree::node::NodeKey;
use crate::tree::numbering::Numbering;
use crate::util::clock::Clock;
use crate::util::codec::{Reader, Writer};
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    TableHandle, WriteTransaction,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Format of everything below. A change that older versions cannot read raises it and comes with a
/// step in [`prepare`] that brings older stores up to it; it is never a reason to lose anything. A table more
/// does not: who does not know it leaves it as it is.
const FORMAT: u32 = 1;

/// Bytes of memory for pages: all of it is read once, at the start.
const MEMORY: usize = 1 << 20;

const NUMBERING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("numbering");
const DISPLACED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("displaced");
const MADE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("made");
const PENDING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pending");
const RECENT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("recent");
const CONTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("contents");
const LOCALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("locals");
const DAMAGED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("damaged");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// Names in `meta`.
const META_FORMAT: &str = "format";
const META_OWNER: &str = "owner";
const META_NEXT: &str = "next";

/// Marks of a key in a record.
const KEY_FOLDER: u8 = 0;
const KEY_FILE: u8 = 1;

/// The file.
#[derive(Debug)]
pub(super) struct PrimaryStore {
    shelf: Shelf,
    /// Damaged records and files that were set aside, now or earlier.
    damaged: u64,
}

/// Everything in it.
#[derive(Debug, Default)]
pub(in crate::tree) struct Primary {
    /// Numbers of duplicates by folder.
    pub(in crate::tree) numbering: Vec<(FolderId, Numbering)>,
    /// Files with inode numbers that are not their own.
    pub(in crate::tree) displaced: Vec<(FileId, Ino)>,
    /// Attributes kept here.
    pub(in crate::tree) locals: Vec<(Ino, Local)>,
}

impl PrimaryStore {
    /// Opens the store at `path`, or makes one. What is damaged is set aside.
    pub(super) fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let now = millis(clock.unix());
        let opened = Shelf::open(path.to_owned(), MEMORY).and_then(|shelf| {
            let found = shelf.read(format_of)?;
            if let Some(found) = found.filter(|found| *found > FORMAT) {
                return Err(StoreError::Newer {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            let damaged = shelf.write(|to| prepare(to, now))?;
            Ok((shelf, damaged))
        });
        let (shelf, damaged) = match opened {
            Err(StoreError::Damaged { detail, .. }) => {
                let aside = path.with_extension(format!("damaged-{now}"));
                log::error!(
                    "{} is damaged ({detail}); it is kept as {}, and the numbers that entries of \
                     the same name bear may change",
                    path.display(),
                    aside.display()
                );
                remove(path, Some(&aside)).map_err(|source| StoreError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                let shelf = Shelf::open(path.to_owned(), MEMORY)?;
                let damaged = shelf.write(|to| prepare(to, now))?;
                (shelf, damaged)
            }
            other => other?,
        };
        Ok(Self {
            damaged: damaged + files_aside(path),
            shelf,
        })
    }

    /// How many damaged records and files are set aside.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Whose it is, as far as is known.
    pub(super) fn owner(&self) -> Result<Option<Owner>, StoreError> {
        self.shelf.read(|from| {
            let meta = from.open_table(META)?;
            let record = meta.get(META_OWNER)?;
            Ok(record.and_then(|record| Owner::read(record.value())))
        })
    }

    /// Notes whose it is; refused when it holds something of another account.
    pub(super) fn claim(&self, owner: &Owner) -> Result<(), StoreError> {
        let known = self.owner()?;
        if known.as_ref() == Some(owner) {
            return Ok(());
        }
        let refused = self.shelf.write(|to| {
            let is_empty = to.open_table(NUMBERING)?.is_empty()?
                && to.open_table(DISPLACED)?.is_empty()?
                && to.open_table(PENDING)?.is_empty()?
                && to.open_table(RECENT)?.is_empty()?
                && to.open_table(MADE)?.is_empty()?
                && to.open_table(LOCALS)?.is_empty()?;
            let refused = known.filter(|known| !known.is(owner) && !is_empty);
            if refused.is_none() {
                to.open_table(META)?.insert(META_OWNER, &*owner.record())?;
            }
            Ok(refused)
        })?;
        match refused {
            None => Ok(()),
            Some(known) => Err(StoreError::OtherAccount {
                path: self.shelf.path().to_owned(),
                owner: known.email,
            }),
        }
    }

    /// Everything in it.
    pub(super) fn all(&self) -> Result<Primary, StoreError> {
        self.shelf.read(|from| {
            let mut all = Primary::default();
            for entry in from.open_table(NUMBERING)?.iter()? {
                let (folder, record) = entry?;
                let folder = FolderId(folder.value());
                let numbering = read_numbering(folder, record.value());
                all.numbering.extend(numbering.map(|it| (folder, it)));
            }
            for entry in from.open_table(DISPLACED)?.iter()? {
                let (file, record) = entry?;
                all.displaced
                    .extend(read_displaced(file.value(), record.value()));
            }
            for entry in from.open_table(LOCALS)?.iter()? {
                let (key, record) = entry?;
                let local = read_local(key.value(), record.value());
                all.locals.extend(Ino::new(key.value()).zip(local));
            }
            Ok(all)
        })
    }

    /// Takes a group of changes in, all of it or nothing; on disk when this returns.
    pub(super) fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.shelf.write_often(|to| {
            for (definition, records) in [
                (PENDING, &commit.pending),
                (CONTENTS, &commit.contents),
                (RECENT, &commit.recent),
                (LOCALS, &commit.locals),
            ] {
                if records.is_empty() {
                    continue;
                }
                let mut table = to.open_table(definition)?;
                for (key, record) in records {
                    match record {
                        Some(record) => table.insert(key, &*sealed(definition, *key, record))?,
                        None => table.remove(key)?,
                    };
                }
            }
            let mut table = to.open_table(DISPLACED)?;
            for (file, ino) in &commit.files {
                table.insert(file.as_str(), &*displaced_record(*file, *ino))?;
            }
            for file in &commit.gone {
                table.remove(file.as_str())?;
            }
            let mut table = to.open_table(MADE)?;
            for (folder, ino) in &commit.folders {
                let record = ino.get().to_le_bytes();
                table.insert(folder.0, &*sealed(MADE, folder.0, &record))?;
            }
            for folder in &commit.folders_gone {
                table.remove(folder.0)?;
            }
            if let Some(next) = commit.next {
                let mut table = to.open_table(META)?;
                table.insert(META_NEXT, &next.to_le_bytes()[..])?;
            }
            Ok(())
        })
    }

    /// What the account has not been told of.
    pub(super) fn pending(&self) -> Result<Pending, StoreError> {
        self.shelf.read(|from| {
            let mut all = Pending::default();
            let Pending {
                pending, recent, ..
            } = &mut all;
            for (definition, records) in [(PENDING, pending), (RECENT, recent)] {
                for entry in from.open_table(definition)?.iter()? {
                    let (key, record) = entry?;
                    let record = unsealed(definition, key.value(), record.value());
                    records.extend(record.map(|it| (key.value(), it.to_vec())));
                }
            }
            for entry in from.open_table(CONTENTS)?.iter()? {
                all.contents.push(entry?.0.value());
            }
            for entry in from.open_table(MADE)?.iter()? {
                let (key, record) = entry?;
                let ino = unsealed(MADE, key.value(), record.value())
                    .and_then(|record| <[u8; 8]>::try_from(record).ok())
                    .and_then(|bytes| Ino::new(u64::from_le_bytes(bytes)));
                all.folders
                    .extend(ino.map(|ino| (FolderId(key.value()), ino)));
            }
            let next = from.open_table(META)?.get(META_NEXT)?;
            let next = next.and_then(|next| <[u8; 8]>::try_from(next.value()).ok());
            all.next = next.map_or(0, u64::from_le_bytes);
            Ok(all)
        })
    }

    /// A version of a file that the account does not have.
    pub(super) fn content(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.shelf.read(|from| {
            let record = from.open_table(CONTENTS)?.get(number)?;
            let record = record
                .as_ref()
                .and_then(|it| unsealed(CONTENTS, number, it.value()));
            Ok(record.map(<[u8]>::to_vec))
        })
    }

    /// Keeps the numbers given in `folder`; on disk when this returns.
    pub(super) fn put_numbering(
        &self,
        folder: FolderId,
        numbering: &Numbering,
    ) -> Result<(), StoreError> {
        self.shelf.write(|to| {
            let mut table = to.open_table(NUMBERING)?;
            if numbering.is_empty() {
                table.remove(folder.0)?;
            } else {
                table.insert(folder.0, &*numbering_record(folder, numbering))?;
            }
            Ok(())
        })
    }

    /// Keeps the inode number of files that could not have their own; on disk when this returns.
    pub(super) fn put_displaced(&self, files: &[(FileId, Ino)]) -> Result<(), StoreError> {
        self.shelf.write(|to| {
            let mut table = to.open_table(DISPLACED)?;
            for (file, ino) in files {
                table.insert(file.as_str(), &*displaced_record(*file, *ino))?;
            }
            Ok(())
        })
    }
}

/// The format of a store; `None` when it is new.
fn format_of(from: &ReadTransaction) -> Result<Option<u32>, redb::Error> {
    let meta = match from.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    let format = meta.get(META_FORMAT)?;
    // What is no number was written by nobody who knows this format.
    Ok(format
        .map(|format| <[u8; 4]>::try_from(format.value()).map_or(u32::MAX, u32::from_le_bytes)))
}

/// Makes the tables of a new store; brings an old one up to date and sets aside what is damaged.
/// Returns how many damaged records are set aside in it.
fn prepare(to: &WriteTransaction, now: u64) -> Result<u64, redb::Error> {
    let mut meta = to.open_table(META)?;
    meta.insert(META_FORMAT, &FORMAT.to_le_bytes()[..])?;
    let damaged_owner = meta
        .get(META_OWNER)?
        .is_some_and(|record| Owner::read(record.value()).is_none());
    if damaged_owner {
        meta.remove(META_OWNER)?;
    }
    let mut aside = to.open_table(DAMAGED)?;
    let mut numbering = to.open_table(NUMBERING)?;
    let mut bad = Vec::new();
    for entry in numbering.iter()? {
        let (folder, record) = entry?;
        if read_numbering(FolderId(folder.value()), record.value()).is_none() {
            bad.push((folder.value(), record.value().to_vec()));
        }
    }
    for (folder, record) in bad {
        log::error!(
            "the numbers of duplicates in folder {folder} were damaged; the record is set aside, \
             and these entries may bear other numbers"
        );
        aside.insert(&*format!("numbering/{folder}/{now}"), &*record)?;
        numbering.remove(folder)?;
    }
    for definition in [PENDING, RECENT, CONTENTS, MADE] {
        let mut table = to.open_table(definition)?;
        let mut bad = Vec::new();
        for entry in table.iter()? {
            let (key, record) = entry?;
            if unsealed(definition, key.value(), record.value()).is_none() {
                bad.push((key.value(), record.value().to_vec()));
            }
        }
        for (key, record) in bad {
            let name = definition.name();
            log::error!(
                "a record of changes that the account was not told of ({name} {key}) was damaged; it is \
                 set aside, and this change is not made"
            );
            aside.insert(&*format!("{name}/{key}/{now}"), &*record)?;
            table.remove(key)?;
        }
    }
    let mut locals = to.open_table(LOCALS)?;
    let mut bad = Vec::new();
    for entry in locals.iter()? {
        let (key, record) = entry?;
        if read_local(key.value(), record.value()).is_none() {
            bad.push((key.value(), record.value().to_vec()));
        }
    }
    for (key, record) in bad {
        log::error!(
            "the attributes kept of inode {key} were damaged; the record is set aside, and its \
             permissions, owner and times are shown as if they had never been set"
        );
        aside.insert(&*format!("locals/{key}/{now}"), &*record)?;
        locals.remove(key)?;
    }
    let mut displaced = to.open_table(DISPLACED)?;
    let mut bad = Vec::new();
    for entry in displaced.iter()? {
        let (file, record) = entry?;
        if read_displaced(file.value(), record.value()).is_none() {
            bad.push((file.value().to_owned(), record.value().to_vec()));
        }
    }
    for (file, record) in bad {
        log::error!(
            "the inode number of a file was damaged; the record is set aside, and the file may bear \
             another number"
        );
        aside.insert(&*format!("displaced/{file}/{now}"), &*record)?;
        displaced.remove(&*file)?;
    }
    aside.len().map_err(redb::Error::from)
}

/// A record with a checksum that is right at its place only.
fn sealed(table: TableDefinition<'_, u64, &[u8]>, key: u64, record: &[u8]) -> Vec<u8> {
    let mut out = Writer::with_room(record.len() + size_of::<u64>());
    out.raw(record);
    out.seal(&place(table, key))
}

/// `None` when the record is damaged.
fn unsealed<'a>(
    table: TableDefinition<'_, u64, &[u8]>,
    key: u64,
    record: &'a [u8],
) -> Option<&'a [u8]> {
    Reader::unseal(&place(table, key), record).map(Reader::rest)
}

fn place(table: TableDefinition<'_, u64, &[u8]>, key: u64) -> Vec<u8> {
    let mut place = table.name().as_bytes().to_vec();
    place.extend(key.to_le_bytes());
    place
}

/// `None` when the record is damaged.
fn read_local(key: u64, record: &[u8]) -> Option<Local> {
    Local::read(unsealed(LOCALS, key, record)?)
}

/// Files that were set aside because they could not be opened.
fn files_aside(path: &Path) -> u64 {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    let (Some(folder), Some(stem)) = (path.parent(), stem) else {
        return 0;
    };
    let beginning = format!("{stem}.damaged-");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let aside = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(&beginning)
    });
    aside.count() as u64
}

fn numbering_record(folder: FolderId, numbering: &Numbering) -> Vec<u8> {
    let mut out = Writer::default();
    for (key, name, number) in numbering.given() {
        match key {
            NodeKey::Folder(id) => {
                out.byte(KEY_FOLDER);
                out.number(id.0);
            }
            NodeKey::File(id) => {
                out.byte(KEY_FILE);
                out.text(id.as_str().as_bytes());
            }
            // Numbers are given to what the account has.
            NodeKey::Own(_) => continue,
        }
        out.text(name.as_bytes());
        out.number(u64::from(number));
    }
    out.seal(&folder.0.to_le_bytes())
}

/// `None` when the record is damaged.
fn read_numbering(folder: FolderId, record: &[u8]) -> Option<Numbering> {
    let mut from = Reader::unseal(&folder.0.to_le_bytes(), record)?;
    let mut numbering = Numbering::default();
    while !from.is_at_end() {
        let key = match from.byte()? {
            KEY_FOLDER => NodeKey::Folder(FolderId(from.number()?)),
            _ => NodeKey::File(read_file_id(from.text()?)?),
        };
        let name = OsStr::from_bytes(from.text()?);
        let number = u32::try_from(from.number()?).ok()?;
        numbering.give(key, name, number);
    }
    Some(numbering)
}

fn displaced_record(file: FileId, ino: Ino) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(ino.get());
    out.seal(file.as_str().as_bytes())
}

/// `None` when the record is damaged.
fn read_displaced(file: &str, record: &[u8]) -> Option<(FileId, Ino)> {
    let mut from = Reader::unseal(file.as_bytes(), record)?;
    Some((FileId::parse(file)?, Ino::new(from.number()?)?))
}

fn read_file_id(bytes: &[u8]) -> Option<FileId> {
    FileId::parse(std::str::from_utf8(bytes).ok()?)
}
