//! Open files. The content belongs to the inode: all handles see one.
use super::{Volume, VolumeError};
use crate::read::{self, ReadTerms};
use crate::tree::{Caller, Ino};
use crate::util::cached::Cached;
use bytes::Bytes;
use std::ops::Range;

/// What a program opens a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// It may write.
    pub writes: bool,
    /// It wants it empty.
    pub truncates: bool,
}

/// What room a program asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocate {
    /// The file must be that long at least; zeros take no room.
    Reach(u64),
    /// The range is to be zeros; `grows` when the file may become longer.
    Zero {
        /// Which.
        range: Range<u64>,
        /// Whether the file becomes longer if the range ends behind it.
        grows: bool,
    },
}

/// One open of a file. Dropping it closes it: what was written since the last flush is sealed and told.
#[derive(Debug)]
pub struct OpenFile {
    volume: Volume,
    ino: Ino,
}

impl Volume {
    /// Opens a file; nothing is fetched. At once.
    pub fn open_file(&self, ino: Ino, access: Access) -> Result<OpenFile, VolumeError> {
        let _ = access;
        Ok(OpenFile {
            volume: self.clone(),
            ino,
        })
    }

    /// Cuts a file or lengthens it with zeros, whether somebody has it open or not.
    pub fn resize(&self, ino: Ino, size: u64) -> Result<(), VolumeError> {
        let _ = (ino, size);
        todo!()
    }
}

impl OpenFile {
    /// Which file.
    pub fn ino(&self) -> Ino {
        self.ino
    }

    /// The handle of a file that is as the account has it; `None` when it was changed here.
    pub fn unchanged(&self) -> Option<&read::Handle> {
        todo!()
    }

    /// The bytes of a range as they are now; fewer only at the end of the file.
    pub fn read(
        &self,
        offset: u64,
        length: u64,
        terms: ReadTerms,
    ) -> Cached<Result<Bytes, VolumeError>> {
        let _ = (offset, length, terms);
        todo!()
    }

    /// Writes at `offset`. Copies to the staging file, which is the system's memory; at once unless the disk is
    /// overloaded.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let _ = (offset, bytes, &self.volume);
        todo!()
    }

    /// Somebody closes one of the descriptors of this open: what was written survives a crash from then on, and is
    /// uploaded some time later, or by then if the volume waits for uploads. Nothing to do if nothing was written.
    pub fn flush(&self, caller: Caller) -> Cached<Result<(), VolumeError>> {
        let _ = caller;
        todo!()
    }

    /// What was written survives a crash from then on. Never waits for an upload.
    pub fn sync(&self, caller: Caller) -> Cached<Result<(), VolumeError>> {
        let _ = caller;
        todo!()
    }

    /// The next offset with data, or without when `hole`; `None` at or after the end.
    pub fn seek(&self, from: u64, hole: bool) -> Option<u64> {
        let _ = (from, hole);
        todo!()
    }

    /// Makes room or holes.
    pub fn allocate(&self, what: Allocate) -> Result<(), VolumeError> {
        let _ = what;
        todo!()
    }

    /// Takes over a range of another open file at `to` without fetching it. Returns how many bytes.
    pub fn copy(&self, to: u64, from: &Self, range: Range<u64>) -> Result<u64, VolumeError> {
        let _ = (to, from, range);
        todo!()
    }
}
