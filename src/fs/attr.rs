//! A node as the kernel wants to see it.
use super::change::to_kernel;
use crate::tree::{Kind, Local, Node, Times, Timestamp};
use fuser::{FileAttr, FileType, INodeNo};

/// Bytes of the unit `st_blocks` counts in, by POSIX.
const BLOCK_UNIT: u64 = 512;

/// What `st_blksize` says: the size in which reading is cheapest for us. `cp` and `cat` follow it.
const PREFERRED_IO: u32 = 1024 * 1024;

/// Bytes of the largest file: of a larger one the kernel tells nothing at all.
const LARGEST_SIZE: u64 = i64::MAX as u64;

/// Whose files they are and what may be done with them, unless somebody has set that: the service stores none
/// of it.
#[derive(Debug, Clone, Copy)]
pub struct Ownership {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits that are taken away.
    pub umask: u16,
    /// Whether write permission is taken away as well.
    pub read_only: bool,
}

impl Ownership {
    /// Permission bits of what nobody has set any of.
    fn permissions(self, all: u16) -> u16 {
        let writable = if self.read_only { !0o222 } else { !0 };
        all & !self.umask & writable
    }

    /// Permission bits that are shown of those that somebody has set.
    fn kept(self, mode: u16) -> u16 {
        if self.read_only { mode & !0o222 } else { mode }
    }

    /// The attributes of `node`, with what is kept of it here and when it was written to since it was last
    /// flushed.
    pub(super) fn attributes(
        self,
        node: &Node,
        local: Option<&Local>,
        written: Option<Timestamp>,
    ) -> FileAttr {
        let (kind, perm, size, nlink) = match &node.kind {
            // 1 is what file systems answer that do not count sub-folders; `find` then looks itself.
            Kind::Folder(_) => (FileType::Directory, self.permissions(0o777), 0, 1),
            Kind::File(_) | Kind::Own(_) => (
                FileType::RegularFile,
                self.permissions(0o666),
                node.size().min(LARGEST_SIZE),
                1,
            ),
        };
        let mode = local.and_then(|local| local.mode);
        let times = Times::of(node, local, written);
        FileAttr {
            ino: INodeNo(node.ino.get()),
            size,
            blocks: blocks_of(size),
            atime: to_kernel(times.accessed),
            mtime: to_kernel(times.modified),
            ctime: to_kernel(times.changed),
            crtime: to_kernel(Timestamp::new(node.created().unwrap_or(0), 0)),
            kind,
            perm: mode.map_or(perm, |mode| self.kept(mode)),
            nlink,
            uid: local.and_then(|local| local.uid).unwrap_or(self.uid),
            gid: local.and_then(|local| local.gid).unwrap_or(self.gid),
            rdev: 0,
            blksize: PREFERRED_IO,
            flags: 0,
        }
    }
}

/// What `st_blocks` says of a file of `size` bytes. Full blocks: `cp` takes a file that looks sparse
/// apart, hole by hole.
pub(super) fn blocks_of(size: u64) -> u64 {
    size.div_ceil(BLOCK_UNIT)
}
