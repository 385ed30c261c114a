//! Attributes that the service cannot hold, of one file or folder: what is kept, how a change is merged
//! in, and which of several times is shown. Pure.
use super::node::{Kind, Node};
use crate::api::UnixSeconds;
use crate::util::codec::{Reader, Writer};
use std::time::Duration;

/// Permission bits, setuid, setgid and sticky among them.
pub const MODE_BITS: u16 = 0o7777;

/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// Marks of what a record holds beside the time of change.
mod mark {
    pub(super) const MODE: u8 = 1;
    pub(super) const UID: u8 = 1 << 1;
    pub(super) const GID: u8 = 1 << 2;
    pub(super) const MODIFIED: u8 = 1 << 3;
    pub(super) const ACCESSED: u8 = 1 << 4;
    pub(super) const ALL: u8 = MODE | UID | GID | MODIFIED | ACCESSED;
}

/// A point of wall-clock time to the nanosecond, as POSIX has it: whole seconds since 1970, rounded down,
/// and the nanoseconds that follow. In 12 bytes, since a million files may have three of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(4))]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// `nanoseconds` after a second; a second's worth of them or more counts as the last one.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        let nanoseconds = if nanoseconds < SECOND {
            nanoseconds
        } else {
            SECOND - 1
        };
        Self {
            seconds,
            nanoseconds,
        }
    }

    /// Seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after them.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

/// From the time since 1970.
impl From<Duration> for Timestamp {
    fn from(unix: Duration) -> Self {
        let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
        Self::new(seconds, unix.subsec_nanos())
    }
}

/// What is kept here of a file or folder. What is absent is as everything on the mount is, or as the
/// account says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Permission bits; see [`MODE_BITS`].
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// When the content was written to last, or whatever a program set that to.
    pub modified: Option<Timestamp>,
    /// When a program said it was read.
    pub accessed: Option<Timestamp>,
    /// When anything of it was changed here last; nobody can set that.
    pub changed: Timestamp,
}

/// What a program wants changed; what is absent stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// Permission bits; others are ignored.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Time of the last write.
    pub modified: Option<Timestamp>,
    /// Time of the last read.
    pub accessed: Option<Timestamp>,
}

impl AttributeChange {
    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The times that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Of the last write.
    pub modified: Timestamp,
    /// Of the last read.
    pub accessed: Timestamp,
    /// Of the last change of anything.
    pub changed: Timestamp,
}

impl Times {
    /// The times of a node with what is kept of it here and, if it was written to since it was last flushed,
    /// when that was.
    ///
    /// What was written after the last change noted here is newer than any time a program had set before.
    /// The upload of what was written here is no modification, so a file's date in the account counts only
    /// while nothing else is known. A folder's does also when others changed what is in it since.
    pub fn of(node: &Node, local: Option<&Local>, written: Option<Timestamp>) -> Self {
        // What is not known is 1970, as in an archive without dates, so that it never looks newer than
        // what is.
        let told = Timestamp::new(node.modified().unwrap_or(0), 0);
        let Some(local) = local else {
            let modified = written.unwrap_or(told);
            return Self {
                modified,
                accessed: modified,
                changed: modified,
            };
        };
        let changed_by_others = others_change(node).filter(|at| *at > local.changed.seconds());
        let later = written.filter(|at| *at > local.changed);
        let later = later.or_else(|| changed_by_others.map(|at| Timestamp::new(at, 0)));
        let modified = later.or(local.modified).unwrap_or(told);
        Self {
            modified,
            accessed: local.accessed.unwrap_or(modified),
            changed: later.unwrap_or(local.changed),
        }
    }
}

/// When others last changed what is in a folder.
fn others_change(node: &Node) -> Option<UnixSeconds> {
    match &node.kind {
        Kind::Folder(folder) => folder.changed,
        Kind::File(_) | Kind::Own(_) => None,
    }
}

impl Local {
    /// Nothing but the time of the first change.
    pub fn new(changed: Timestamp) -> Self {
        Self {
            mode: None,
            uid: None,
            gid: None,
            modified: None,
            accessed: None,
            changed,
        }
    }

    /// Takes a change in that a program makes now. What was `written` before and is not noted yet comes
    /// first: so that it neither hides a time that is set now, nor is forgotten because of it.
    #[must_use]
    pub fn with(
        mut self,
        change: &AttributeChange,
        written: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        if let Some(at) = written {
            self = self.written(at);
        }
        self.mode = change.mode.map(|mode| mode & MODE_BITS).or(self.mode);
        self.uid = change.uid.or(self.uid);
        self.gid = change.gid.or(self.gid);
        self.modified = change.modified.or(self.modified);
        self.accessed = change.accessed.or(self.accessed);
        self.changed = now.max(self.changed);
        self
    }

    /// Notes that it was written to; nothing new if that was before the last change that is noted.
    #[must_use]
    pub fn written(mut self, at: Timestamp) -> Self {
        if at > self.changed || self.modified.is_none() {
            self.modified = Some(at);
            self.changed = at.max(self.changed);
        }
        self
    }

    /// The bytes of it that are written down.
    pub fn record(&self) -> Vec<u8> {
        let mut to = Writer::with_room(40);
        let marks = [
            (mark::MODE, self.mode.is_some()),
            (mark::UID, self.uid.is_some()),
            (mark::GID, self.gid.is_some()),
            (mark::MODIFIED, self.modified.is_some()),
            (mark::ACCESSED, self.accessed.is_some()),
        ];
        let marks = marks.iter().filter(|(_, is_there)| *is_there);
        to.byte(marks.map(|(mark, _)| mark).sum());
        write_time(&mut to, self.changed);
        let numbers = [self.mode.map(u32::from), self.uid, self.gid];
        for number in numbers.into_iter().flatten() {
            to.number(number.into());
        }
        for time in [self.modified, self.accessed].into_iter().flatten() {
            write_time(&mut to, time);
        }
        to.finish()
    }

    /// Reads what [`Local::record`] wrote; `None` when these are other bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        let marks = from.byte()?;
        let has = |mark| marks & mark != 0;
        let mut local = Self::new(read_time(&mut from)?);
        if has(mark::MODE) {
            let mode = u16::try_from(from.number()?).ok()?;
            local.mode = Some(mode).filter(|mode| mode & !MODE_BITS == 0);
            local.mode?;
        }
        if has(mark::UID) {
            local.uid = Some(u32::try_from(from.number()?).ok()?);
        }
        if has(mark::GID) {
            local.gid = Some(u32::try_from(from.number()?).ok()?);
        }
        if has(mark::MODIFIED) {
            local.modified = Some(read_time(&mut from)?);
        }
        if has(mark::ACCESSED) {
            local.accessed = Some(read_time(&mut from)?);
        }
        (from.is_at_end() && marks & !mark::ALL == 0).then_some(local)
    }
}

fn write_time(to: &mut Writer, time: Timestamp) {
    to.signed(time.seconds());
    to.number(time.nanoseconds().into());
}

fn read_time(from: &mut Reader<'_>) -> Option<Timestamp> {
    let seconds = from.signed()?;
    let nanoseconds = u32::try_from(from.number()?).ok()?;
    (nanoseconds < SECOND).then(|| Timestamp::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::super::inode::Ino;
    use super::super::node::testing::{file, folder};
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 5)
    }

    prop_compose! {
        fn any_time()(seconds: i64, nanoseconds in 0..SECOND) -> Timestamp {
            Timestamp::new(seconds, nanoseconds)
        }
    }

    prop_compose! {
        fn any_local()(
            mode in prop::option::of(0..=MODE_BITS),
            uid: Option<u32>,
            gid: Option<u32>,
            modified in prop::option::of(any_time()),
            accessed in prop::option::of(any_time()),
            changed in any_time(),
        ) -> Local {
            Local { mode, uid, gid, modified, accessed, changed }
        }
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(local in any_local()) {
            let record = local.record();
            prop_assert_eq!(Local::read(&record), Some(local));
            for end in 0..record.len() {
                prop_assert_eq!(Local::read(&record[..end]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            if let Some(local) = Local::read(&bytes) {
                prop_assert_eq!(Local::read(&local.record()), Some(local));
            }
        }

        #[test]
        fn a_change_leaves_what_it_does_not_name(local in any_local(), now in any_time()) {
            let same = local.with(&AttributeChange::default(), None, now);
            prop_assert_eq!(same, Local { changed: now.max(local.changed), ..local });
        }
    }

    #[test]
    fn a_million_of_them_are_affordable() {
        assert!(size_of::<Local>() <= 64, "{} bytes", size_of::<Local>());
    }

    #[test]
    fn the_last_of_writing_and_setting_a_time_wins() {
        let set = |time| AttributeChange {
            modified: Some(at(time)),
            ..AttributeChange::default()
        };
        let mode = AttributeChange {
            mode: Some(0o100_600),
            ..AttributeChange::default()
        };
        let node = file("aaaaa", "a", Ino::ROOT);
        let shown = |local: &Local, written| Times::of(&node, Some(local), written).modified;

        // Written at 10, set to 1 at 11, flushed afterwards: as `cp -p` does.
        let written = Some(at(10));
        let local = Local::new(at(11)).with(&set(1), written, at(11));
        assert_eq!(shown(&local, written), at(1));
        let flushed = local.written(at(10));
        assert_eq!(shown(&flushed, None), at(1));
        // Written again: newer than what was set, before and after it is flushed.
        assert_eq!(shown(&flushed, Some(at(12))), at(12));
        let again = flushed.written(at(12));
        assert_eq!(shown(&again, None), at(12));
        // Other attributes do not bring the old time back.
        let moded = flushed.with(&mode, Some(at(12)), at(13));
        assert_eq!(shown(&moded, Some(at(12))), at(12));
        assert_eq!(moded.mode, Some(0o600));
        assert_eq!(Times::of(&node, Some(&moded), None).changed, at(13));
    }

    #[test]
    fn uploading_is_no_modification_and_what_others_put_into_a_folder_is() {
        let mut node = file("aaaaa", "a", Ino::ROOT);
        if let Kind::File(file) = &mut node.kind {
            file.uploaded = Some(500);
        }
        let mut local = Local::new(at(100));
        assert_eq!(
            Times::of(&node, None, None).modified,
            Timestamp::new(500, 0)
        );
        assert_eq!(
            Times::of(&node, Some(&local), None).modified,
            Timestamp::new(500, 0)
        );
        local.modified = Some(at(7));
        let times = Times::of(&node, Some(&local), None);
        assert_eq!((times.modified, times.changed), (at(7), at(100)));

        let mut node = folder(5, "a", Ino::ROOT);
        let mut shown = |changed| {
            if let Kind::Folder(folder) = &mut node.kind {
                folder.changed = changed;
            }
            Times::of(&node, Some(&local), None).modified
        };
        assert_eq!(shown(None), at(7));
        assert_eq!(shown(Some(100)), at(7), "before it was set here");
        assert_eq!(shown(Some(101)), Timestamp::new(101, 0));
    }
}
