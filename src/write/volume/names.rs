//! Names: what is made, moved and removed here. Shown at once; told to the account later.
use super::open::{Access, OpenFile};
use super::{Volume, VolumeError};
use crate::tree::{Caller, Ino, Node};
use crate::util::cached::Cached;
use std::ffi::OsStr;
use std::sync::Arc;

/// What a move does about the name it moves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Takes its place.
    Yes,
    /// Fails if it is taken.
    No,
    /// Puts what is there in the place of what moves.
    Exchange,
}

impl Volume {
    /// Makes an empty file and opens it.
    pub fn create(
        &self,
        folder: Ino,
        name: &OsStr,
        access: Access,
        caller: Caller,
    ) -> Cached<Result<(Arc<Node>, OpenFile), VolumeError>> {
        let _ = (folder, name, access, caller);
        todo!()
    }

    /// Makes a folder.
    pub fn make_folder(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<Arc<Node>, VolumeError>> {
        let _ = (folder, name, caller);
        todo!()
    }

    /// Removes a file. Who has it open goes on reading and writing it.
    pub fn unlink(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let _ = (folder, name, caller);
        todo!()
    }

    /// Removes an empty folder.
    pub fn remove_folder(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let _ = (folder, name, caller);
        todo!()
    }

    /// Moves a file or folder.
    pub fn rename(
        &self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        replace: Replace,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let _ = (from, to, replace, caller);
        todo!()
    }
}
