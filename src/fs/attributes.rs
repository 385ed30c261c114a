//! What files and folders are like, and how large the account is.
use super::xattr::{self, PREFIX};
use super::{Fs, failure, ino_of};
use crate::tree::AttributeChange;
use crate::util::cached::Cached;
use crate::write::volume::NAME_CHARS;
use fuser::{Errno, INodeNo, ReplyAttr, ReplyEmpty, ReplyStatfs, ReplyXattr, Request};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Bytes of the unit statfs counts in. Larger than most, so that 32-bit programs that multiply can
/// count to some petabytes.
const STATFS_UNIT: u32 = 64 * 1024;

impl Fs {
    /// Also of a file that was removed and is still open: the tree knows what the kernel holds.
    pub(super) fn get_attributes(&self, ino: INodeNo, reply: ReplyAttr) {
        match ino_of(ino) {
            Ok(ino) => self.answers().tell_attributes("getattr", ino, reply),
            Err(errno) => reply.error(errno),
        }
    }

    /// Sets the size and what is kept here; one content belongs to the inode, so it does not matter through
    /// which handle, or through none.
    pub(super) fn set_attributes(
        &self,
        request: &Request,
        ino: INodeNo,
        size: Option<u64>,
        change: AttributeChange,
        reply: ReplyAttr,
    ) {
        let ino = match ino_of(ino) {
            Ok(ino) => ino,
            Err(errno) => return reply.error(errno),
        };
        if self.settings.read_only {
            return reply.error(Errno::EROFS);
        }
        let resized = size.map_or(Cached::Hit(Ok(())), |size| self.volume.resize(ino, size));
        let (answers, volume) = (self.answers(), self.volume.clone());
        // After the size: a time that is set with it is not that of the cut.
        let changed = resized.then(move |resized| {
            resized?;
            volume.set_attributes(ino, change)
        });
        self.answer(
            request,
            ("setattr", INodeNo(ino.get())),
            changed,
            reply,
            move |(), reply: ReplyAttr| answers.tell_attributes("setattr", ino, reply),
        );
    }

    pub(super) fn get_xattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        match self.xattr(request, ino, name) {
            Ok(value) => {
                let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
                match size {
                    0 => reply.size(length),
                    room if room < length => reply.error(Errno::ERANGE),
                    _ => reply.data(value.as_bytes()),
                }
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn xattr(&self, request: &Request, ino: INodeNo, name: &OsStr) -> Result<String, Errno> {
        let trusted = request.uid() == 0 || request.uid() == self.settings.mounted_by;
        if !trusted {
            return Err(Errno::ENODATA);
        }
        let node = self
            .tree
            .node(ino_of(ino)?)
            .map_err(|e| failure("getxattr", ino.0, &e))?;
        xattr::value(&node, name.as_bytes(), || self.volume.state(node.ino)).ok_or(Errno::ENODATA)
    }

    /// Answers a change of an extended attribute: what the service says of a file cannot be set from
    /// here, and there is no place in the account for others. Never ENOSYS, which would end reading as well.
    pub(super) fn refuse_xattr(&self, name: &OsStr, reply: ReplyEmpty) {
        let is_told = name.as_bytes().starts_with(PREFIX);
        reply.error(match is_told {
            true => Errno::EPERM,
            false if self.settings.read_only => Errno::EROFS,
            false => Errno::EOPNOTSUPP,
        });
    }

    pub(super) fn get_space(&self, reply: ReplyStatfs) {
        let space = self.tree.space();
        let units = |bytes: u64| bytes / u64::from(STATFS_UNIT);
        let free = units(space.free);
        // The service sets no limit to how many files there are: 0 of 0, as btrfs has it.
        reply.statfs(
            units(space.total()),
            free,
            free,
            0,
            0,
            STATFS_UNIT,
            u32::try_from(NAME_CHARS).unwrap_or(u32::MAX),
            STATFS_UNIT,
        );
    }
}
