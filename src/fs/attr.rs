//! A node as the kernel wants to see it.
use crate::tree::{Kind, Node};
use fuser::{FileAttr, FileType, INodeNo};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of the unit `st_blocks` counts in, by POSIX.
const BLOCK_UNIT: u64 = 512;

/// What `st_blksize` says: the size in which reading is cheapest for us. `cp` and `cat` follow it.
const PREFERRED_IO: u32 = 1024 * 1024;

/// Whose files they are and what may be done with them: the service stores none of it.
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
    fn permissions(self, all: u16) -> u16 {
        let writable = if self.read_only { !0o222 } else { !0 };
        all & !self.umask & writable
    }

    /// The attributes of `node`.
    pub(super) fn attributes(self, node: &Node) -> FileAttr {
        let (kind, perm, size, nlink) = match &node.kind {
            // 1 is what file systems answer that do not count sub-folders; `find` then looks itself.
            Kind::Folder(_) => (FileType::Directory, self.permissions(0o777), 0, 1),
            Kind::File(_) | Kind::Own(_) => (
                FileType::RegularFile,
                self.permissions(0o666),
                node.size(),
                1,
            ),
        };
        let modified = at(node.modified());
        FileAttr {
            ino: INodeNo(node.ino.get()),
            size,
            blocks: blocks_of(size),
            atime: modified,
            mtime: modified,
            ctime: modified,
            crtime: at(node.created()),
            kind,
            perm,
            nlink,
            uid: self.uid,
            gid: self.gid,
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

/// Seconds of Unix time as the type the reply wants; what is not known is 1970, as in an archive
/// without dates, so that it never looks newer than what is.
fn at(seconds: Option<i64>) -> SystemTime {
    let seconds = seconds.unwrap_or(0);
    let span = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        UNIX_EPOCH.checked_sub(span)
    } else {
        UNIX_EPOCH.checked_add(span)
    };
    moment.unwrap_or(UNIX_EPOCH)
}
