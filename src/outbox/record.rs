//! An entry as the bytes that are written down. Pure; whatever the bytes are, the answer is an entry or
//! `None`.
use super::intent::{Attempt, Entry, Failure, Goal, Place, Remote, Spent, Thing, Version};
use crate::api::{FileUrl, FolderId, UploadTicket, Whirlpool};
use crate::tree::Ino;
use crate::util::codec::{Reader, Writer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Marks of what is there of an entry.
const FOLDER: u64 = 1;
const REMOTE: u64 = 1 << 1;
const WANTED: u64 = 1 << 2;
const CONTENT: u64 = 1 << 3;
const AFTER: u64 = 1 << 4;
const ATTEMPT: u64 = 1 << 5;
const TICKET: u64 = 1 << 6;
const WHIRLPOOL: u64 = 1 << 7;
const FAILED: u64 = 1 << 8;
const COPY: u64 = 1 << 9;

/// Marks of what an attempt was to do.
const GOAL_PLACE: u8 = 0;
const GOAL_MAKE: u8 = 1;
const GOAL_STORE: u8 = 2;
const GOAL_COPY: u8 = 3;

/// The bytes of an entry.
pub(super) fn write(entry: &Entry) -> Vec<u8> {
    let mut to = Writer::default();
    let attempt = entry.attempt.as_ref();
    let marks = [
        (FOLDER, entry.is_folder),
        (REMOTE, entry.remote.is_some()),
        (WANTED, entry.wanted.is_some()),
        (CONTENT, entry.content.is_some()),
        (AFTER, entry.after.is_some()),
        (ATTEMPT, attempt.is_some()),
        (TICKET, attempt.is_some_and(|it| it.ticket.is_some())),
        (WHIRLPOOL, attempt.is_some_and(|it| it.whirlpool.is_some())),
        (FAILED, entry.failed.is_some()),
        (COPY, entry.copy_of.is_some()),
    ];
    let marks = marks.iter().filter(|(_, is_there)| *is_there);
    to.number(marks.map(|(mark, _)| mark).sum());
    if let Some(remote) = &entry.remote {
        match &remote.thing {
            Thing::File(url) => to.text(url.to_string().as_bytes()),
            Thing::Folder(id) => to.number(id.0),
        }
        write_place(&mut to, &remote.place);
        to.number(remote.size);
    }
    if let Some(wanted) = &entry.wanted {
        write_place(&mut to, wanted);
    }
    if let Some(version) = entry.content {
        write_version(&mut to, version);
    }
    if let Some(after) = entry.after {
        to.number(after.get());
    }
    if let Some(attempt) = attempt {
        match attempt.goal {
            Goal::Place => to.byte(GOAL_PLACE),
            Goal::Make => to.byte(GOAL_MAKE),
            Goal::Store(version) => {
                to.byte(GOAL_STORE);
                write_version(&mut to, version);
            }
            Goal::Copy(version) => {
                to.byte(GOAL_COPY);
                write_version(&mut to, version);
            }
        }
        write_place(&mut to, &attempt.place);
        to.number(attempt.folder.0);
        to.number(attempt.since);
        if let Some(ticket) = &attempt.ticket {
            to.text(ticket.host.as_bytes());
            to.text(ticket.xid.as_bytes());
        }
        if let Some(hash) = &attempt.whirlpool {
            to.raw(&hash.0);
        }
    }
    if let Some(failed) = &entry.failed {
        to.text(failed.reason.as_bytes());
    }
    if let Some(original) = &entry.copy_of {
        to.text(original.to_string().as_bytes());
    }
    to.byte(entry.renames);
    to.number(entry.discard.len() as u64);
    for spent in &entry.discard {
        to.text(spent.url.to_string().as_bytes());
        to.number(spent.folder.get());
    }
    to.finish()
}

/// The entry of some bytes; `None` when they are none.
pub(super) fn read(bytes: &[u8]) -> Option<Entry> {
    let mut from = Reader::new(bytes);
    let marks = from.number()?;
    let has = |mark| marks & mark != 0;
    let is_folder = has(FOLDER);
    let remote = optional(has(REMOTE), || {
        let thing = if is_folder {
            Thing::Folder(FolderId(from.number()?))
        } else {
            Thing::File(read_url(&mut from)?)
        };
        let place = read_place(&mut from)?;
        let size = from.number()?;
        Some(Remote { thing, place, size })
    })?;
    let wanted = optional(has(WANTED), || read_place(&mut from))?;
    let content = optional(has(CONTENT), || read_version(&mut from))?;
    let after = optional(has(AFTER), || Ino::new(from.number()?))?;
    let attempt = optional(has(ATTEMPT), || {
        let goal = match from.byte()? {
            GOAL_PLACE => Goal::Place,
            GOAL_MAKE => Goal::Make,
            GOAL_STORE => Goal::Store(read_version(&mut from)?),
            _ => Goal::Copy(read_version(&mut from)?),
        };
        let place = read_place(&mut from)?;
        let folder = FolderId(from.number()?);
        let since = from.number()?;
        let ticket = optional(has(TICKET), || {
            let host = read_text(&mut from)?;
            let xid = read_text(&mut from)?;
            Some(UploadTicket { host, xid })
        })?;
        let whirlpool = optional(has(WHIRLPOOL), || from.array().map(Whirlpool))?;
        Some(Attempt {
            goal,
            place,
            folder,
            since,
            ticket,
            whirlpool,
        })
    })?;
    let failed = optional(has(FAILED), || {
        let reason = read_text(&mut from)?;
        Some(Failure { reason })
    })?;
    let copy_of = optional(has(COPY), || read_url(&mut from))?;
    let renames = from.byte()?;
    let count = from.number()?;
    let mut discard = Vec::new();
    for _ in 0..count {
        let url = read_url(&mut from)?;
        let folder = Ino::new(from.number()?)?;
        discard.push(Spent { url, folder });
    }
    from.is_at_end().then_some(Entry {
        is_folder,
        remote,
        wanted,
        content,
        copy_of,
        discard,
        after,
        attempt,
        renames,
        failed,
    })
}

/// What `read` reads if it is there; `None` when it is there and cannot be read.
#[expect(clippy::option_option, reason = "absent and unreadable are two things")]
fn optional<T>(is_there: bool, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if is_there {
        read().map(Some)
    } else {
        Some(None)
    }
}

fn write_place(to: &mut Writer, place: &Place) {
    to.number(place.folder.get());
    to.text(place.name.as_bytes());
}

fn read_place(from: &mut Reader<'_>) -> Option<Place> {
    let folder = Ino::new(from.number()?)?;
    let name = OsStr::from_bytes(from.text()?).into();
    Some(Place { folder, name })
}

fn write_version(to: &mut Writer, version: Version) {
    to.number(version.id);
    to.number(version.size);
}

fn read_version(from: &mut Reader<'_>) -> Option<Version> {
    let id = from.number()?;
    let size = from.number()?;
    Some(Version { id, size })
}

fn read_text(from: &mut Reader<'_>) -> Option<Box<str>> {
    std::str::from_utf8(from.text()?).ok().map(Into::into)
}

fn read_url(from: &mut Reader<'_>) -> Option<FileUrl> {
    FileUrl::parse(&read_text(from)?)
}
