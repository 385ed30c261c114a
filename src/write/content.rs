//! What a file that is being changed consists of: for every byte, where it comes from.
//!
//! Promises: nothing is copied or fetched by changing a file; a version that was sealed and the next
//! one, which began as it, share what is equal. A range nobody wrote is zeros. Pure: knows staging
//! files by their numbers and the account's files by their URLs, and opens neither.
use crate::api::FileUrl;
use crate::util::codec::{Reader, Writer};
use rangemap::RangeMap;
use std::ops::Range;
use std::sync::Arc;

/// A file of the account that parts of a content come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its URL: one content for ever.
    pub url: FileUrl,
    /// Its bytes.
    pub size: u64,
}

/// Which file bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A staging file, by number.
    Staged(u64),
    /// A file of the account.
    Remote(Arc<Origin>),
}

/// Bytes of a source, `shift` further on there than here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapped {
    source: Source,
    shift: i64,
}

/// A part of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes.
    pub range: Range<u64>,
    /// The file they are in and the offset there; `None` for zeros.
    pub from: Option<(Source, u64)>,
}

/// A file's bytes, by where they come from. Cheap to clone as long as it has few pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    size: u64,
    map: RangeMap<u64, Mapped>,
}

/// Marks of a source in a record.
const MARK_STAGED: u8 = 0;
const MARK_REMOTE: u8 = 1;

impl Content {
    /// An empty file.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A file of the account as it is.
    pub fn of(origin: Origin) -> Self {
        let mut content = Self::empty();
        content.size = origin.size;
        content.put(0..origin.size, Source::Remote(Arc::new(origin)), 0);
        content
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes were written to the staging file `stage`, at the same offset. An empty range changes
    /// nothing.
    pub fn written(&mut self, range: Range<u64>, stage: u64) {
        if range.start < range.end {
            self.size = self.size.max(range.end);
            self.put(range, Source::Staged(stage), 0);
        }
    }

    /// Cuts the file or lengthens it with zeros.
    pub fn resize(&mut self, size: u64) {
        if size < self.size {
            self.map.remove(size..self.size);
        }
        self.size = size;
    }

    /// Makes a range zeros without changing the size.
    pub fn punch(&mut self, range: &Range<u64>) {
        if range.start < range.end {
            self.map.remove(range.clone());
        }
    }

    /// Takes over `range` of another content at `to`, by reference: what is in the account is not
    /// fetched. Nothing may be written any more to the staging files `other` needs. Cut at the other's
    /// end; returns how many bytes were taken over.
    pub fn copy(&mut self, to: u64, other: &Self, range: Range<u64>) -> u64 {
        let end = range.end.min(other.size);
        if range.start >= end {
            return 0;
        }
        let length = end - range.start;
        let pieces: Vec<Piece> = other.pieces(range.start..end);
        self.map.remove(to..to + length);
        self.size = self.size.max(to + length);
        for piece in pieces {
            let Some((source, at)) = piece.from else {
                continue;
            };
            let start = to + (piece.range.start - range.start);
            let end = to + (piece.range.end - range.start);
            self.put(start..end, source, at.cast_signed() - start.cast_signed());
        }
        length
    }

    /// The pieces of a range, cut at the end of the file, without gaps.
    pub fn pieces(&self, range: Range<u64>) -> Vec<Piece> {
        let range = range.start..range.end.min(self.size);
        let mut pieces = Vec::new();
        if range.start >= range.end {
            return pieces;
        }
        let zeros = |range| Piece { range, from: None };
        let mut at = range.start;
        for (mapped, value) in self.map.overlapping(&range) {
            let part = mapped.start.max(range.start)..mapped.end.min(range.end);
            if at < part.start {
                pieces.push(zeros(at..part.start));
            }
            at = part.end;
            let there = part.start.saturating_add_signed(value.shift);
            pieces.push(Piece {
                range: part,
                from: Some((value.source.clone(), there)),
            });
        }
        if at < range.end {
            pieces.push(zeros(at..range.end));
        }
        pieces
    }

    /// The first offset from `from` on that holds data, or a hole when `hole`; the end of the file is
    /// the last hole. `None` at or after the end.
    pub fn seek(&self, from: u64, hole: bool) -> Option<u64> {
        if from >= self.size {
            return None;
        }
        let found = self
            .pieces(from..self.size)
            .into_iter()
            .find(|piece| piece.from.is_none() == hole)
            .map(|piece| piece.range.start);
        found.or(hole.then_some(self.size))
    }

    /// The file of the account this is, unchanged.
    pub fn unchanged(&self) -> Option<&Origin> {
        let mut values = self.map.iter();
        let (range, mapped) = values.next()?;
        let Source::Remote(origin) = &mapped.source else {
            return None;
        };
        let is_whole = *range == (0..self.size) && mapped.shift == 0 && origin.size == self.size;
        (is_whole && values.next().is_none()).then_some(&**origin)
    }

    /// The staging files it needs, each once.
    pub fn stages(&self) -> Vec<u64> {
        let mut stages: Vec<u64> = self
            .map
            .iter()
            .filter_map(|(_, mapped)| match mapped.source {
                Source::Staged(stage) => Some(stage),
                Source::Remote(_) => None,
            })
            .collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// The files of the account it needs, each once.
    pub fn origins(&self) -> Vec<&Origin> {
        let mut origins: Vec<&Origin> = Vec::new();
        for (_, mapped) in self.map.iter() {
            if let Source::Remote(origin) = &mapped.source
                && !origins.iter().any(|known| known.url == origin.url)
            {
                origins.push(origin);
            }
        }
        origins
    }

    /// How far into the staging file `stage` it reaches.
    pub fn reach(&self, stage: u64) -> u64 {
        let pieces = self.map.iter();
        let own = pieces.filter(|(_, mapped)| mapped.source == Source::Staged(stage));
        let ends = own.map(|(range, mapped)| range.end.saturating_add_signed(mapped.shift));
        ends.max().unwrap_or(0)
    }

    /// Writes it into a record.
    pub fn write(&self, to: &mut Writer) {
        to.number(self.size);
        to.number(self.map.iter().count() as u64);
        for (range, mapped) in self.map.iter() {
            to.number(range.start);
            to.number(range.end - range.start);
            to.signed(mapped.shift);
            match &mapped.source {
                Source::Staged(stage) => {
                    to.byte(MARK_STAGED);
                    to.number(*stage);
                }
                Source::Remote(origin) => {
                    to.byte(MARK_REMOTE);
                    to.text(origin.url.to_string().as_bytes());
                    to.number(origin.size);
                }
            }
        }
    }

    /// What [`Content::write`] wrote; `None` when it makes no sense.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut content = Self::empty();
        content.size = from.number()?;
        for _ in 0..from.count()? {
            let start = from.number()?;
            let end = start.checked_add(from.number()?)?;
            let shift = from.signed()?;
            let source = if from.byte()? == MARK_STAGED {
                Source::Staged(from.number()?)
            } else {
                let url = FileUrl::parse(std::str::from_utf8(from.text()?).ok()?)?;
                let size = from.number()?;
                Source::Remote(Arc::new(Origin { url, size }))
            };
            let is_sound = start < end
                && end <= content.size
                && start.checked_add_signed(shift).is_some()
                && end.checked_add_signed(shift).is_some();
            if !is_sound {
                return None;
            }
            content.put(start..end, source, shift);
        }
        Some(content)
    }

    fn put(&mut self, range: Range<u64>, source: Source, shift: i64) {
        if range.start < range.end {
            self.map.insert(range, Mapped { source, shift });
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
