//! What exists on one machine only, as a file: a line of JSON for each thing, so that a person can read it and a
//! program of another version can say what it does not know. See docs/state.md.
//!
//! ```text
//! {"line":"head", …}      whose it is, and when it was made
//! {"line":"empty", …}     empty files come before all else
//! {"line":"folder", …}    a folder's attributes
//! {"line":"file", …}      a file's
//! {"line":"numbers", …}   the numbers of files of one name
//! {"line":"end", …}       how many, and a hash of all lines before
//! ```
//!
//! Promises: a file that was cut or changed is not taken for a whole one; reading and writing hold one line in memory.
use crate::api::WhirlpoolHasher;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// What the first line says the file is.
pub const FORMAT: &str = "fichierfs-state";

/// The version written, and the newest that is read.
pub const VERSION: u32 = 1;

/// Bytes of a line at most: a path of 64 KiB, each byte written as six.
const LONGEST_LINE: u64 = 512 << 10;

/// Records in a request at most, and bytes of them, about: so that it fits a line of the socket.
const MOST_IN_REQUEST: usize = 200;
const BYTES_IN_REQUEST: usize = 64 << 10;

/// A point of time: whole seconds since 1970, rounded down, and the nanoseconds that follow.
pub type Time = (i64, u32);

/// Whose state it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// The account's mail address; empty when the service did not tell it.
    pub email: String,
    /// 16 digits of a hash of its key, by which the account's files of this machine are called.
    pub key: String,
}

/// The first line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// Of the format.
    pub version: u32,
    /// Whose it is.
    pub account: Owner,
    /// When it was made, in seconds since 1970.
    pub made: i64,
}

/// Attributes; what is absent was not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Permission bits, as a decimal number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u16>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// When it was written to last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Time>,
    /// When it was read last, if a program said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accessed: Option<Time>,
    /// When any of this was changed last; the later one holds.
    pub changed: Time,
}

/// A number that tells a file or folder from another of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Id of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Number of the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<u64>,
    /// Its name without it.
    pub name: String,
    /// The number.
    pub number: u32,
}

/// A thing that exists on one machine only. Paths are those in the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Record {
    /// An empty file.
    Empty {
        /// Where.
        path: String,
        /// Its attributes.
        #[serde(flatten)]
        attributes: Attributes,
    },
    /// Attributes of a folder.
    Folder {
        /// Where.
        path: String,
        /// Its number in the account.
        id: u64,
        /// The newest date of what is in it: what was uploaded by then is no later change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        newest: Option<i64>,
        /// Its attributes.
        #[serde(flatten)]
        attributes: Attributes,
    },
    /// Attributes of a file.
    File {
        /// Where.
        path: String,
        /// Its id in the account.
        id: String,
        /// Bytes.
        size: u64,
        /// Its hash, if the service has told it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whirlpool: Option<String>,
        /// Its attributes.
        #[serde(flatten)]
        attributes: Attributes,
    },
    /// Numbers given in a folder.
    Numbers {
        /// The folder.
        path: String,
        /// Its number in the account.
        id: u64,
        /// The numbers.
        given: Vec<Given>,
    },
}

/// The last line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lines between the first and this one.
    pub records: u64,
    /// Whirlpool hash of all lines before this one, line breaks included.
    pub whirlpool: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum Edge {
    Head(Head),
    End(End),
}

/// What was made of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exported {
    /// What was looked at.
    pub seen: super::Seen,
    /// Things told.
    pub records: u64,
    /// Files and folders that the account does not have yet, of which nothing could be told.
    pub waiting: u64,
}

/// What became of records that were handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// Taken in.
    pub applied: u64,
    /// As it is here already, or changed here later.
    pub known: u64,
    /// Taken in for files and folders that are not listed yet.
    pub ahead: u64,
    /// Not applicable: path and reason.
    pub left: Vec<(String, String)>,
}

impl Imported {
    /// Adds another part.
    pub fn add(&mut self, other: Self) {
        self.applied += other.applied;
        self.known += other.known;
        self.ahead += other.ahead;
        self.left.extend(other.left);
    }
}

impl Record {
    /// Where it is in the account.
    pub fn path(&self) -> &str {
        match self {
            Self::Empty { path, .. }
            | Self::Folder { path, .. }
            | Self::File { path, .. }
            | Self::Numbers { path, .. } => path,
        }
    }
}

/// Writes such a file.
pub struct StateWriter<W> {
    out: W,
    all: WhirlpoolHasher,
    /// Of the records alone, so that two files that say the same are known by it.
    content: WhirlpoolHasher,
    records: u64,
}

impl<W: Write> StateWriter<W> {
    /// Begins with whose it is.
    pub fn new(out: W, head: &Head) -> io::Result<Self> {
        let mut writer = Self {
            out,
            all: WhirlpoolHasher::new(),
            content: WhirlpoolHasher::new(),
            records: 0,
        };
        writer.line(&super::json_line(&Edge::Head(head.clone())))?;
        Ok(writer)
    }

    /// One more.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        let line = super::json_line(record);
        self.content.update(line.as_bytes());
        self.records += 1;
        self.line(&line)
    }

    /// Ends it. How many there were, and a hash of them.
    pub fn end(mut self) -> io::Result<(u64, String)> {
        let end = End {
            records: self.records,
            whirlpool: self.all.finish().to_string(),
        };
        self.out
            .write_all(super::json_line(&Edge::End(end)).as_bytes())?;
        self.out.flush()?;
        Ok((self.records, self.content.finish().to_string()))
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.all.update(line.as_bytes());
        self.out.write_all(line.as_bytes())
    }
}

/// Why a file is none of ours.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("it is no state file of fichierfs")]
    Other,
    /// It is of a later version.
    #[error(
        "it has version {0}, and this program knows versions up to {VERSION}; update fichierfs"
    )]
    Newer(u32),
    /// It was cut or changed.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// Reads such a file: first all of it, to see that it is whole, then record by record.
pub fn check(mut from: impl BufRead) -> Result<Head, StateError> {
    let mut hash = WhirlpoolHasher::new();
    let mut line = Vec::new();
    read_line(&mut from, &mut line)?;
    let Ok(Edge::Head(head)) = serde_json::from_slice(&line) else {
        return Err(StateError::Other);
    };
    if head.format != FORMAT {
        return Err(StateError::Other);
    }
    if head.version > VERSION {
        return Err(StateError::Newer(head.version));
    }
    let mut records = 0;
    loop {
        hash.update(&line);
        if !read_line(&mut from, &mut line)? {
            return Err(StateError::Damaged("its end is missing"));
        }
        if let Ok(Edge::End(end)) = serde_json::from_slice(&line) {
            let is_whole = end.records == records && end.whirlpool == hash.finish().to_string();
            if !is_whole {
                return Err(StateError::Damaged("its hash differs from what it holds"));
            }
            return Ok(head);
        }
        if serde_json::from_slice::<Record>(&line).is_err() {
            return Err(StateError::Damaged("a line makes no sense"));
        }
        records += 1;
    }
}

/// The records of a file that was checked, as many as fit a request each time; ends at the first failure.
pub fn batches(mut from: impl BufRead) -> impl Iterator<Item = Vec<Record>> {
    let mut line = Vec::new();
    let mut is_over = false;
    std::iter::from_fn(move || {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while !is_over && records.len() < MOST_IN_REQUEST && bytes < BYTES_IN_REQUEST {
            is_over = !matches!(read_line(&mut from, &mut line), Ok(true));
            // The first and the last line are none.
            if let Ok(record) = serde_json::from_slice::<Record>(&line)
                && !is_over
            {
                // What no request can hold is told of nowhere else.
                if line.len() < BYTES_IN_REQUEST {
                    bytes += line.len();
                    records.push(record);
                } else {
                    log::warn!("a path of {} bytes is too long and left out", line.len());
                }
            }
        }
        (!records.is_empty()).then_some(records)
    })
}

/// The next line, its break included; `false` at the end.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, StateError> {
    line.clear();
    from.by_ref().take(LONGEST_LINE).read_until(b'\n', line)?;
    match line.last() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) => Err(StateError::Damaged("a line has no end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let attributes = Attributes {
            mode: Some(0o644),
            modified: Some((-7, 250_000_000)),
            changed: (5, 6),
            ..Attributes::default()
        };
        vec![
            Record::Empty {
                path: "/a/line\nbreak".into(),
                attributes,
            },
            Record::Folder {
                path: "/a".into(),
                id: 7,
                newest: Some(8),
                attributes,
            },
            Record::File {
                path: "/a/b".into(),
                id: "abcde".into(),
                size: 9,
                whirlpool: None,
                attributes,
            },
            Record::Numbers {
                path: "/a".into(),
                id: 7,
                given: vec![Given::default()],
            },
        ]
    }

    fn written(made: i64) -> (Vec<u8>, String) {
        let head = Head {
            format: FORMAT.into(),
            version: VERSION,
            made,
            ..Head::default()
        };
        let mut bytes = Vec::new();
        let mut writer = StateWriter::new(&mut bytes, &head).unwrap();
        for record in records() {
            writer.record(&record).unwrap();
        }
        let (count, hash) = writer.end().unwrap();
        assert_eq!(count, 4);
        (bytes, hash)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, hash) = written(1);
        assert_eq!(check(&*bytes).unwrap().made, 1);
        assert_eq!(batches(&*bytes).collect::<Vec<_>>(), [records()]);
        assert_eq!(written(2).1, hash, "the same content at another time");
    }

    #[test]
    fn what_was_cut_or_changed_is_refused() {
        let (bytes, _) = written(1);
        for end in 0..bytes.len() {
            assert!(check(&bytes[..end]).is_err(), "cut after {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(check(&*changed).is_err(), "changed at {at}");
        }
        assert!(matches!(check(&b"hello\n"[..]), Err(StateError::Other)));
        let text = String::from_utf8(bytes).unwrap();
        let newer = text.replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(check(newer.as_bytes()), Err(StateError::Newer(2))));
    }
}
