//! What is known of one file's bytes, for `fichierfs explain`. Asks nobody, changes nothing.
use super::disk::DiskCache;
use super::tally::OpenFigures;
use super::token::LinkFigures;
use super::{Reader, Shared};
use crate::api::FileId;
use crate::util::sync::lock;
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;

/// Ranges and handles told of at most: more are of no use to anybody who reads them.
const MOST: usize = 64;

/// What is held of a file in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Bytes in all.
    pub bytes: u64,
    /// How many ranges there are.
    pub ranges: u64,
    /// First byte and end of the first ranges.
    pub first: Vec<(u64, u64)>,
}

/// What is known of one file's bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileFigures {
    /// In memory.
    pub memory: Held,
    /// On disk; absent without a disk cache.
    pub disk: Option<Held>,
    /// First byte and end of what is on its way.
    pub coming: Vec<(u64, u64)>,
    /// How many handles are open.
    pub open: u64,
    /// The handles, and the one closed last.
    pub handles: Vec<OpenFigures>,
    /// Its download link; absent when nobody has read it lately.
    pub link: Option<LinkFigures>,
}

impl Reader {
    /// What is known of a file's bytes at this moment.
    pub fn explain(&self, file: FileId) -> FileFigures {
        let Shared { store, files, .. } = &*self.shared;
        let known = lock(files).get(&file).map(Arc::clone);
        FileFigures {
            memory: held(store.memory.held(file)),
            disk: store.disk().map(|disk| held(disk.held(file))),
            coming: known
                .iter()
                .flat_map(|it| it.coming())
                .take(MOST)
                .map(|it| (it.start, it.end))
                .collect(),
            open: known.as_ref().map_or(0, |it| it.opens.count() as u64),
            handles: known
                .as_ref()
                .map_or_else(Vec::new, |it| it.opens.figures(MOST)),
            link: known.as_ref().map(|it| it.token.figures()),
        }
    }

    /// Drops what is kept of a file, in memory and on disk: it was proved wrong, or is not wanted.
    pub fn forget(&self, file: FileId) {
        self.shared.store.memory.forget(file);
        if let Some(disk) = self.disk() {
            disk.forget(file);
        }
    }

    /// The disk cache, if there is one.
    pub fn disk(&self) -> Option<&DiskCache> {
        self.shared.store.disk()
    }
}

fn held(ranges: Vec<Range<u64>>) -> Held {
    Held {
        bytes: ranges.iter().map(|it| it.end - it.start).sum(),
        ranges: ranges.len() as u64,
        first: ranges
            .into_iter()
            .take(MOST)
            .map(|it| (it.start, it.end))
            .collect(),
    }
}
