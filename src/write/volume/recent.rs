//! What the account was told a moment ago and its listings may not show yet, as bytes: so that it is shown also
//! after a restart. Pure; whatever the bytes are, the answer is something that makes sense or `None`.
use crate::api::{FileId, FileUrl, FolderId};
use crate::outbox::intent::Place;
use crate::tree::{Ino, NodeKey};
use crate::util::codec::{Reader, Writer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Files that an entry has been before, and folders that have had it, of which is remembered that they are gone:
/// whoever writes or moves a file more often than that within two minutes may see an earlier one for a moment.
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
    /// What was removed for it or taken elsewhere, the newest first, and the folders that may show it still.
    pub(super) spent: Vec<(NodeKey, Ino)>,
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
        let spent = self.spent.iter();
        let spent = spent.filter_map(|(key, folder)| Some((text_of(*key)?, folder)));
        let spent: Vec<(String, &Ino)> = spent.collect();
        to.number(spent.len() as u64);
        for (key, folder) in spent {
            to.text(key.as_bytes());
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
            let key = key_of(std::str::from_utf8(from.text()?).ok()?)?;
            spent.push((key, Ino::new(from.number()?)?));
        }
        from.is_at_end().then_some(Self {
            at,
            place: Place { folder, name },
            thing,
            spent,
        })
    }
}

/// Before the number of a folder: no file's id begins like that.
const FOLDER: char = '/';

fn text_of(key: NodeKey) -> Option<String> {
    match key {
        NodeKey::File(file) => Some(file.as_str().to_owned()),
        NodeKey::Folder(id) => Some(format!("{FOLDER}{}", id.0)),
        // The account has no such thing.
        NodeKey::Own(_) => None,
    }
}

fn key_of(text: &str) -> Option<NodeKey> {
    match text.strip_prefix(FOLDER) {
        Some(number) => Some(NodeKey::Folder(FolderId(number.parse().ok()?))),
        None => Some(NodeKey::File(FileId::parse(text)?)),
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

    fn keys() -> impl Strategy<Value = NodeKey> {
        prop_oneof![
            "[0-9a-z]{5,20}".prop_map(|id| NodeKey::File(FileId::parse(&id).unwrap())),
            any::<u64>().prop_map(|id| NodeKey::Folder(FolderId(id))),
        ]
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            at in 0..1u64 << 40,
            folder in 1..u64::MAX,
            name in "\\PC{1,20}",
            thing in things(),
            spent in prop::collection::vec((keys(), 1..u64::MAX), 0..MOST_SPENT),
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
                    .map(|(key, folder)| (*key, Ino::new(*folder).unwrap()))
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
