//! A file that is being changed: one content for all who have it open.
//!
//! Promises: a write is read back at once, by whatever handle; changing a part of a file of the account
//! fetches nothing; a version that was sealed never changes: what is written afterwards goes to another
//! staging file, and the next version consists of both. Knows no name and no inode.
//!
//! One lock, held while a piece is written to the disk and never while the network is waited for. How large it
//! is and whether it was changed is known without it: who only asks for that does not wait for a slow disk.
use super::bytes::{Bases, Sealed};
use super::content::{Content, Origin};
use super::error::StageError;
use super::staging::{Stage, Staging};
use crate::api::{FileUrl, MAX_FILE_BYTES};
use crate::read::{ReadTerms, Reader};
use crate::util::cached::Cached;
use crate::util::sync::lock;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A file that is being changed.
#[derive(Debug)]
pub struct StagedFile {
    staging: Staging,
    bases: Bases,
    state: Mutex<State>,
    /// Bytes, as in the state.
    size: AtomicU64,
    /// Whether it differs from the last version that was sealed, as in the state.
    is_changed: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// What it is now, with every staging file that needs.
    now: Sealed,
    /// The staging file that is written to; none sealed needs it.
    current: Option<Arc<Stage>>,
}

impl StagedFile {
    /// A new, empty file. It counts as changed: nobody has it yet.
    pub fn empty(staging: Staging, reader: Reader) -> Self {
        Self::starting(staging, reader, Content::empty(), true)
    }

    /// A file of the account, about to be changed.
    pub fn of(origin: Origin, staging: Staging, reader: Reader) -> Self {
        Self::starting(staging, reader, Content::of(origin), false)
    }

    /// A version that was sealed, about to be changed further.
    pub fn after(sealed: Sealed, staging: Staging, reader: Reader) -> Self {
        let file = Self::starting(staging, reader, Content::empty(), false);
        {
            let mut state = lock(&file.state);
            state.now = sealed;
            file.tell_size(&state);
        }
        file
    }

    fn starting(staging: Staging, reader: Reader, content: Content, is_changed: bool) -> Self {
        let size = AtomicU64::new(content.size());
        let now = Sealed {
            content,
            stages: std::collections::HashMap::new(),
        };
        Self {
            staging,
            bases: Bases::new(reader),
            state: Mutex::new(State { now, current: None }),
            size,
            is_changed: AtomicBool::new(is_changed),
        }
    }

    fn tell_size(&self, state: &State) {
        self.size.store(state.now.content.size(), Ordering::Release);
    }

    /// It was changed, under the lock.
    fn changed(&self, state: &State) {
        self.tell_size(state);
        self.is_changed.store(true, Ordering::Release);
    }

    /// Bytes; at once.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Whether it differs from the last version that was sealed; at once.
    pub fn is_changed(&self) -> bool {
        self.is_changed.load(Ordering::Acquire)
    }

    /// The files of the account that it needs.
    pub fn origins(&self) -> Vec<FileUrl> {
        let state = lock(&self.state);
        let origins = state.now.content.origins().into_iter();
        origins.map(|origin| origin.url.clone()).collect()
    }

    /// Writes at an offset; `fresh` gives a number should a staging file be needed. Waits for the disk.
    pub fn write(
        &self,
        bytes: &[u8],
        offset: u64,
        fresh: impl FnOnce() -> u64,
    ) -> Result<(), StageError> {
        self.write_where(bytes, |_| offset, fresh)
    }

    /// Writes at the end, wherever that is by then.
    pub fn append(&self, bytes: &[u8], fresh: impl FnOnce() -> u64) -> Result<(), StageError> {
        self.write_where(bytes, Content::size, fresh)
    }

    fn write_where(
        &self,
        bytes: &[u8],
        offset: impl FnOnce(&Content) -> u64,
        fresh: impl FnOnce() -> u64,
    ) -> Result<(), StageError> {
        let mut state = lock(&self.state);
        let offset = offset(&state.now.content);
        let stage = match &state.current {
            Some(stage) => Arc::clone(stage),
            None => self.staging.create(fresh())?,
        };
        stage.write(bytes, offset)?;
        let range = offset..offset + bytes.len() as u64;
        state.now.content.written(range, stage.number());
        state.now.stages.insert(stage.number(), Arc::clone(&stage));
        state.current = Some(stage);
        if !bytes.is_empty() {
            self.changed(&state);
        }
        Ok(())
    }

    /// Cuts it or lengthens it with zeros, which take no room.
    pub fn resize(&self, size: u64) -> Result<(), StageError> {
        if size > MAX_FILE_BYTES {
            return Err(StageError::TooLarge);
        }
        let mut state = lock(&self.state);
        let before = state.now.content.size();
        if size == before {
            return Ok(());
        }
        state.now.content.resize(size);
        self.changed(&state);
        if size < before
            && let Some(stage) = &state.current
        {
            stage.cut(size)?;
        }
        state.tidy();
        Ok(())
    }

    /// Makes a range zeros without changing the size.
    pub fn punch(&self, range: &Range<u64>) {
        let mut state = lock(&self.state);
        state.now.content.punch(range);
        self.changed(&state);
    }

    /// Takes over a range of another content at `to`, without fetching what is in the account. Returns
    /// how many bytes.
    pub fn copy(&self, to: u64, other: &Sealed, range: Range<u64>) -> Result<u64, StageError> {
        let length = range
            .end
            .min(other.content.size())
            .saturating_sub(range.start);
        if to.saturating_add(length) > MAX_FILE_BYTES {
            return Err(StageError::TooLarge);
        }
        let mut state = lock(&self.state);
        let copied = state.now.content.copy(to, &other.content, range);
        if copied > 0 {
            let stages = other.stages.iter();
            let stages = stages.map(|(number, stage)| (*number, Arc::clone(stage)));
            state.now.stages.extend(stages);
            self.changed(&state);
            state.tidy();
        }
        Ok(copied)
    }

    /// The next offset with data, or without when `hole`.
    pub fn seek(&self, from: u64, hole: bool) -> Option<u64> {
        lock(&self.state).now.content.seek(from, hole)
    }

    /// The bytes of a range as they are now, cut at the end.
    pub fn read(&self, range: Range<u64>, terms: ReadTerms) -> Cached<Result<Bytes, StageError>> {
        let parts = lock(&self.state).now.parts(range);
        parts.read(&self.bases, terms)
    }

    /// Seals what it is now: nothing written later changes that. For a copy, and for a version.
    pub fn seal(&self) -> Sealed {
        let mut state = lock(&self.state);
        state.current = None;
        state.tidy();
        state.now.clone()
    }

    /// Seals a version, if there is anything to it that the last one had not. Waits for a write under way only;
    /// [`StagedFile::merged`] puts its staging files into one.
    pub fn begin_version(&self) -> Option<Sealed> {
        let mut state = lock(&self.state);
        if !self.is_changed.swap(false, Ordering::AcqRel) {
            return None;
        }
        state.current = None;
        state.tidy();
        Some(state.now.clone())
    }

    /// A version that was just sealed, its staging files put into one if they are many, which gets the number
    /// that `fresh` gives. Waits for the disk.
    pub fn merged(&self, mut sealed: Sealed, fresh: impl FnOnce() -> u64) -> Sealed {
        // Without the lock: readers must not wait for it.
        let before = sealed.content.clone();
        match sealed.merge(&self.staging, fresh) {
            Ok(true) => {
                let mut state = lock(&self.state);
                if state.now.content == before {
                    state.now = sealed.clone();
                }
            }
            Ok(false) => {}
            Err(error) => log::debug!("staging files are not put into one: {error}"),
        }
        sealed
    }

    /// A version that was sealed could not be written down: it is to be sealed again.
    pub fn unsealed(&self) {
        self.is_changed.store(true, Ordering::Release);
    }

    /// Waits until everything written so far is on disk. Blocks.
    pub fn sync(&self) -> io::Result<()> {
        let stages: Vec<Arc<Stage>> = {
            let state = lock(&self.state);
            state.now.stages.values().cloned().collect()
        };
        stages.iter().try_for_each(|stage| stage.sync())
    }
}

impl State {
    /// Lets go of staging files that nothing is left of.
    fn tidy(&mut self) {
        let needed = self.now.content.stages();
        let current = self.current.as_ref().map(|stage| stage.number());
        self.now
            .stages
            .retain(|number, _| needed.contains(number) || current == Some(*number));
    }
}
