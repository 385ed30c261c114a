//! What the account was told a moment ago and its listings may not show yet, as bytes: so that it is shown also
//! after a restart. Pure; whatever the bytes are, the answer is something that makes sense or `None`.
use crate::api::{FileId, FileUrl, FolderId};
use crate::outbox::intent::Place;
use crate::tree::Ino;
use crate::util::codec::{Reader, Writer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Files that an entry has been before, of which is remembered that they are gone: whoever writes a file more
/// often than that within two minutes may see an earlier one for a moment.
pub(super) const MOST_SPENT: usize = 16;

/// Marks of what is there.
const MARK_GONE: u8 = 0;
const MARK_FILE: u8 = 1;
const MARK_FOLDER: u8 = 2;

/// What the account was told of one file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recent {
    /// When, since 1970; to the second.
    pub(super) at: Duration,
    /// Where it is, or was.
    pub(super) place: Place,
    /// What it is.
    pub(super) thing: Told,
    /// Files that were removed for it, the newest first, and the folders that may show them still.
    pub(super) spent: Vec<(FileId, Ino)>,
}

/// What the account has by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing any more.
    Gone,
    /// A file.
    File {
        /// Which.
        url: FileUrl,
        /// Bytes.
        size: u64,
        /// Its date, seconds since 1970.
        modified: i64,
    },
    /// A folder.
    Folder(FolderId),
}

impl Recent {
    /// The same by the numbers that folders bear whatever is mounted.
    pub(super) fn lasting(mut self, lasting: impl Fn(Ino) -> Ino) -> Self {
        self.place.folder = lasting(self.place.folder);
        for (_, folder) in &mut self.spent {
            *folder = lasting(*folder);
        }
        self
    }

    pub(super) fn record(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.number(self.at.as_secs());
        to.number(self.place.folder.get());
        to.text(self.place.name.as_bytes());
        match &self.thing {
            Told::Gone => to.byte(MARK_GONE),
            Told::File {
                url,
                size,
                modified,
            } => {
                to.byte(MARK_FILE);
                to.text(url.to_string().as_bytes());
                to.number(*size);
                to.signed(*modified);
            }
            Told::Folder(id) => {
                to.byte(MARK_FOLDER);
                to.number(id.0);
            }
        }
        to.number(self.spent.len() as u64);
        for (file, folder) in &self.spent {
            to.text(file.as_str().as_bytes());
            to.number(folder.get());
        }
        to.finish()
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let mut from = Reader::new(record);
        let at = Duration::from_secs(from.number()?);
        let folder = Ino::new(from.number()?)?;
        let name = OsStr::from_bytes(from.text()?).into();
        let thing = match from.byte()? {
            MARK_GONE => Told::Gone,
            MARK_FILE => Told::File {
                url: FileUrl::parse(std::str::from_utf8(from.text()?).ok()?)?,
                size: from.number()?,
                modified: from.signed()?,
            },
            MARK_FOLDER => Told::Folder(FolderId(from.number()?)),
            _ => return None,
        };
        let mut spent = Vec::new();
        for _ in 0..from.count()? {
            let file = FileId::parse(std::str::from_utf8(from.text()?).ok()?)?;
            spent.push((file, Ino::new(from.number()?)?));
        }
        from.is_at_end().then_some(Self {
            at,
            place: Place { folder, name },
            thing,
            spent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn things() -> impl Strategy<Value = Told> {
        let file =
            (any::<u64>(), any::<i64>(), "[0-9a-z]{5,20}").prop_map(|(size, modified, id)| {
                Told::File {
                    url: FileUrl::of(FileId::parse(&id).unwrap()),
                    size,
                    modified,
                }
            });
        prop_oneof![
            Just(Told::Gone),
            file,
            (0..1u64 << 60).prop_map(|id| Told::Folder(FolderId(id))),
        ]
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            at in 0..1u64 << 40,
            folder in 1..u64::MAX,
            name in "\\PC{1,20}",
            thing in things(),
            spent in prop::collection::vec(("[0-9a-z]{5,20}", 1..u64::MAX), 0..MOST_SPENT),
        ) {
            let recent = Recent {
                at: Duration::from_secs(at),
                place: Place {
                    folder: Ino::new(folder).unwrap(),
                    name: OsStr::new(&name).into(),
                },
                thing,
                spent: spent
                    .iter()
                    .map(|(id, folder)| (FileId::parse(id).unwrap(), Ino::new(*folder).unwrap()))
                    .collect(),
            };
            let record = recent.record();
            prop_assert_eq!(Recent::read(&record), Some(recent));
            for end in 0..record.len() {
                prop_assert_eq!(Recent::read(&record[..end]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            if let Some(recent) = Recent::read(&bytes) {
                prop_assert_eq!(Recent::read(&recent.record()), Some(recent));
            }
        }
    }
}
