//! Bytes of a content, wherever they are: in staging files or still in the account.
//!
//! Promises: exactly the bytes asked for, cut at the end of the content, or an error; what is staged is
//! answered on the spot, the rest comes through [`Reader`], so that it is fetched once and read ahead
//! like any other file. Knows no names.
use super::content::{Content, Origin, Piece, Source};
use super::error::StageError;
use super::staging::Stage;
use crate::api::FileId;
use crate::read::{self, ReadTerms, Reader};
use crate::util::cached::Cached;
use crate::util::sync::lock;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A content with the files it consists of, never to be changed again.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// What it consists of.
    pub content: Content,
    /// The staging files among it, by number.
    pub stages: HashMap<u64, Arc<Stage>>,
}

/// Files of the account that are read from, opened once.
#[derive(Debug)]
pub struct Bases {
    reader: Reader,
    open: Mutex<HashMap<FileId, Arc<read::Handle>>>,
}

impl Bases {
    /// Nothing opened yet.
    pub fn new(reader: Reader) -> Self {
        Self {
            reader,
            open: Mutex::default(),
        }
    }

    fn open(&self, origin: &Origin) -> Arc<read::Handle> {
        let mut open = lock(&self.open);
        let make = || Arc::new(self.reader.open(&origin.url, origin.size));
        Arc::clone(open.entry(origin.url.id()).or_insert_with(make))
    }

    /// Bytes of a file of the account.
    fn read(
        &self,
        origin: &Origin,
        offset: u64,
        length: u64,
        terms: ReadTerms,
    ) -> Cached<Result<Bytes, read::ReadError>> {
        let handle = self.open(origin);
        match self.reader.read(&handle, offset, length, terms) {
            Cached::Hit(bytes) => Cached::Hit(bytes),
            Cached::Wait(bytes) => Cached::wait(async move {
                let bytes = bytes.await;
                // Open until its bytes are here, whoever closes the file meanwhile.
                drop(handle);
                bytes
            }),
        }
    }
}

/// A part of what is read, with the file it is in.
#[derive(Debug)]
enum Part {
    Zeros(u64),
    Staged(Arc<Stage>, u64, u64),
    Remote(Arc<Origin>, u64, u64),
    /// Its staging file is gone.
    Missing,
}

/// What is to be read, with the files it is in: a later change of the content does not matter.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

impl Sealed {
    /// The parts of a range, cut at the end.
    pub(super) fn parts(&self, range: Range<u64>) -> Parts {
        let pieces = self.content.pieces(range).into_iter();
        let parts = pieces.map(|Piece { range, from }| {
            let length = range.end - range.start;
            match from {
                None => Part::Zeros(length),
                Some((Source::Staged(number), at)) => match self.stages.get(&number) {
                    Some(stage) => Part::Staged(Arc::clone(stage), at, length),
                    None => Part::Missing,
                },
                Some((Source::Remote(origin), at)) => Part::Remote(origin, at, length),
            }
        });
        Parts(parts.collect())
    }
}

impl Parts {
    /// Their bytes.
    pub(super) fn read(self, bases: &Bases, terms: ReadTerms) -> Cached<Result<Bytes, StageError>> {
        let mut parts = Vec::with_capacity(self.0.len());
        let mut waits = Vec::new();
        for (at, part) in self.0.into_iter().enumerate() {
            match part.read(bases, terms) {
                Cached::Hit(Ok(bytes)) => parts.push(bytes),
                Cached::Hit(Err(error)) => return Cached::Hit(Err(error)),
                Cached::Wait(bytes) => {
                    parts.push(Bytes::new());
                    waits.push((at, bytes));
                }
            }
        }
        if waits.is_empty() {
            return Cached::Hit(Ok(joined(parts)));
        }
        Cached::wait(async move {
            for (at, bytes) in waits {
                parts[at] = bytes.await?;
            }
            Ok(joined(parts))
        })
    }
}

impl Part {
    fn read(self, bases: &Bases, terms: ReadTerms) -> Cached<Result<Bytes, StageError>> {
        match self {
            Self::Zeros(length) => Cached::Hit(zeros(length)),
            Self::Missing => Cached::Hit(Err(StageError::Disk(io::ErrorKind::NotFound))),
            Self::Staged(stage, at, length) => Cached::Hit(staged(&stage, at, length)),
            Self::Remote(origin, at, length) => match bases.read(&origin, at, length, terms) {
                Cached::Hit(bytes) => Cached::Hit(bytes.map_err(StageError::from)),
                Cached::Wait(bytes) => {
                    Cached::wait(async move { bytes.await.map_err(StageError::from) })
                }
            },
        }
    }
}

fn staged(stage: &Stage, at: u64, length: u64) -> Result<Bytes, StageError> {
    let mut bytes = BytesMut::zeroed(room(length)?);
    stage.read(&mut bytes, at)?;
    Ok(bytes.freeze())
}

/// Nobody asks for more at a time than memory can hold.
fn room(length: u64) -> Result<usize, StageError> {
    usize::try_from(length).map_err(|_| StageError::Disk(io::ErrorKind::OutOfMemory))
}

fn zeros(length: u64) -> Result<Bytes, StageError> {
    Ok(BytesMut::zeroed(room(length)?).freeze())
}

/// Without a copy when it came in one piece.
fn joined(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        1 => parts.remove(0),
        _ => parts.concat().into(),
    }
}
