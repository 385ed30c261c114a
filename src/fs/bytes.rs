//! Open files: what comes and goes through a handle.
//!
//! The content belongs to the inode, whichever handle it is read or written by; what is here only finds the
//! handle and puts what it says into the kernel's words.
use super::deadline::Class;
use super::replies::Fails;
use super::{Fs, contained, failure, ino_of};
use crate::read::ReadTerms;
use crate::write::volume::{Access, Allocate, OpenFile};
use fuser::{
    Errno, FileHandle, FopenFlags, INodeNo, OpenAccMode, OpenFlags, ReplyData, ReplyEmpty,
    ReplyLseek, ReplyOpen, ReplyWrite, Request,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes handed on at most while one is under way, of up to 1 MiB each: more come at a time only from mapped
/// files.
const MOST_HANDED_ON: usize = 8;

/// A handle with the inode it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) ino: INodeNo,
    pub(super) handle: FileHandle,
}

impl Fs {
    pub(super) fn open_file(&self, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let access = access_of(flags.0);
        let open = match ino_of(ino) {
            Ok(ino) => self.volume.open_file(ino, access),
            Err(errno) => return reply.error(errno),
        };
        let open = match open {
            Ok(open) => open,
            Err(error) => return reply.error(failure("open", ino.0, &error)),
        };
        let unchanged = open.unchanged();
        let passthrough = self.passthrough.as_ref();
        let lent = passthrough.and_then(|it| it.opened(ino.0, unchanged, &self.reader, &reply));
        if let Some(unchanged) = unchanged.filter(|_| lent.is_some()) {
            unchanged.note_lent();
        }
        let flags = opened_flags(access, open.is_uncached());
        let handle = self.handles.add(open);
        match lent {
            Some(lent) => reply.opened_passthrough(handle, FopenFlags::empty(), &lent.backing),
            None => reply.opened(handle, flags),
        }
    }

    pub(super) fn read_bytes(
        &self,
        request: &Request,
        at: At,
        offset: u64,
        size: u32,
        reply: ReplyData,
    ) {
        let Some((open, reply)) = self.at("read", at, reply) else {
            return;
        };
        let terms = ReadTerms {
            requester: self.requester(request),
            deadline: self.limits.of(Class::Bytes),
        };
        let bytes = open.read(offset, u64::from(size), terms);
        self.answer(
            request,
            ("read", at.ino),
            bytes,
            reply,
            |bytes, reply: ReplyData| reply.data(&bytes),
        );
    }

    /// Writes on the event loop: it is a copy into the system's memory, which costs less than to hand the
    /// bytes to a task, since they are in the buffer of requests and had to be copied once more for that. But
    /// the system holds a writer back whose disk cannot follow, so one event loop at a time writes, and the
    /// others hand on what comes meanwhile, up to a bound, and go on with what needs no disk.
    ///
    /// The offset is the kernel's, also with `O_APPEND`: its size of the file is the true one, since
    /// under an inode only it changes sizes, and bytes put elsewhere than where its pages have them would
    /// read differently later.
    pub(super) fn write_bytes(&self, at: At, offset: u64, bytes: &[u8], reply: ReplyWrite) {
        let Some((open, reply)) = self.at("write", at, reply) else {
            return;
        };
        let under_way = self.writing.fetch_add(1, Ordering::AcqRel);
        let writing = Arc::clone(&self.writing);
        let write = move |open: &OpenFile, bytes: &[u8]| {
            contained("write", || write_now(open, at.ino, offset, bytes, reply));
            writing.fetch_sub(1, Ordering::AcqRel);
        };
        if under_way == 0 || under_way > MOST_HANDED_ON {
            return write(&open, bytes);
        }
        let bytes = bytes.to_vec();
        self.runtime.spawn_blocking(move || write(&open, &bytes));
    }

    /// One of the descriptors of a handle is closed.
    pub(super) fn flush_file(&self, request: &Request, at: At, reply: ReplyEmpty) {
        if self.settings.read_only {
            return reply.error(Errno::ENOSYS);
        }
        let Some((open, reply)) = self.at("flush", at, reply) else {
            return;
        };
        let class = if self.settings.waits_for_upload {
            Class::Upload
        } else {
            Class::Disk
        };
        let flushed = open.flush(self.caller(request, class));
        self.answer(
            request,
            ("flush", at.ino),
            flushed,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }

    pub(super) fn sync_file(&self, request: &Request, at: At, reply: ReplyEmpty) {
        if self.settings.read_only {
            return reply.error(Errno::ENOSYS);
        }
        let Some((open, reply)) = self.at("fsync", at, reply) else {
            return;
        };
        let synced = open.sync(self.caller(request, Class::Disk));
        self.answer(
            request,
            ("fsync", at.ino),
            synced,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }

    /// The last descriptor of a handle is closed, and no page of it is left to be written.
    pub(super) fn close_file(&self, at: At, reply: ReplyEmpty) {
        drop(self.handles.remove(at.handle));
        if let Some(passthrough) = &self.passthrough {
            passthrough.released(at.ino.0);
        }
        reply.ok();
    }

    /// Finds data and holes. On a read-only mount the kernel does well without: it then takes a file for
    /// data from its beginning to its end.
    pub(super) fn seek(&self, at: At, offset: i64, whence: i32, reply: ReplyLseek) {
        if self.settings.read_only {
            return reply.error(Errno::ENOSYS);
        }
        let Some((open, reply)) = self.at("lseek", at, reply) else {
            return;
        };
        let hole = match whence {
            libc::SEEK_DATA => false,
            libc::SEEK_HOLE => true,
            _ => return reply.error(Errno::EINVAL),
        };
        let found = u64::try_from(offset).ok();
        let found = found.and_then(|from| open.seek(from, hole));
        match found.and_then(|found| i64::try_from(found).ok()) {
            Some(found) => reply.offset(found),
            None => reply.error(Errno::ENXIO),
        }
    }

    pub(super) fn allocate(&self, at: At, range: Range<u64>, mode: i32, reply: ReplyEmpty) {
        let Some((open, reply)) = self.at("fallocate", at, reply) else {
            return;
        };
        let done = match allocation(range, mode) {
            Ok(Some(what)) => open.allocate(what),
            Ok(None) => Ok(()),
            Err(errno) => return reply.error(errno),
        };
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(failure("fallocate", at.ino.0, &error)),
        }
    }

    /// Takes a range of one file over into another. The kernel cuts long ones, so that what was copied
    /// fits the answer.
    pub(super) fn copy(
        &self,
        (from, range): (At, Range<u64>),
        (to, offset): (At, u64),
        reply: ReplyWrite,
    ) {
        let Some((source, reply)) = self.at("copy_file_range", from, reply) else {
            return;
        };
        let Some((target, reply)) = self.at("copy_file_range", to, reply) else {
            return;
        };
        let most = range.start.saturating_add(u64::from(u32::MAX));
        let range = range.start..range.end.min(most);
        match target.copy(offset, &source, range) {
            Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
            Err(error) => reply.error(failure("copy_file_range", to.ino.0, &error)),
        }
    }

    /// The open file of a handle; `None` when there is none, which was answered.
    fn at<R: Fails>(
        &self,
        operation: &'static str,
        at: At,
        reply: R,
    ) -> Option<(Arc<OpenFile>, R)> {
        if let Some(open) = self.handles.get(at.handle) {
            return Some((open, reply));
        }
        log::error!("{operation} ino={}: unknown handle {}", at.ino.0, at.handle);
        reply.fail(Errno::EBADF);
        None
    }
}

fn write_now(open: &OpenFile, ino: INodeNo, offset: u64, bytes: &[u8], reply: ReplyWrite) {
    match open.write(offset, bytes) {
        Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        Err(error) => reply.error(failure("write", ino.0, &error)),
    }
}

/// What a program opens a file for.
pub(super) fn access_of(flags: i32) -> Access {
    let mode = OpenFlags(flags).acc_mode();
    Access {
        reads: mode != OpenAccMode::O_WRONLY,
        writes: mode != OpenAccMode::O_RDONLY,
        truncates: flags & libc::O_TRUNC != 0,
    }
}

/// How the kernel is to treat a file that was opened. It may keep its pages: they change with what it
/// writes itself, and otherwise never; those of a handle that is not to have any it neither reads nor makes.
/// `O_DIRECT` it sees to by itself. Closing what nothing can have been
/// written through need not be told.
pub(super) fn opened_flags(access: Access, is_uncached: bool) -> FopenFlags {
    let mut flags = FopenFlags::FOPEN_KEEP_CACHE;
    flags.set(FopenFlags::FOPEN_DIRECT_IO, is_uncached);
    flags.set(
        FopenFlags::FOPEN_NOFLUSH,
        !access.writes && !access.truncates,
    );
    flags
}

/// What `fallocate` asks for; `None` when there is nothing to do, since room is taken when it is
/// written to.
fn allocation(range: Range<u64>, mode: i32) -> Result<Option<Allocate>, Errno> {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
    const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const ZERO_WITHIN: i32 = libc::FALLOC_FL_ZERO_RANGE | KEEP;
    match mode {
        0 => Ok(Some(Allocate::Reach(range.end))),
        KEEP => Ok(None),
        PUNCH | ZERO_WITHIN => Ok(Some(Allocate::Zero {
            range,
            grows: false,
        })),
        ZERO => Ok(Some(Allocate::Zero { range, grows: true })),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_of_fallocate_is_done_or_refused_for_that_file_alone() {
        let of = |mode| allocation(5..9, mode);
        let zero = |grows| Ok(Some(Allocate::Zero { range: 5..9, grows }));
        let keep = libc::FALLOC_FL_KEEP_SIZE;
        let unsupported = Err(Errno::EOPNOTSUPP);
        assert_eq!(of(0), Ok(Some(Allocate::Reach(9))));
        assert_eq!(of(keep), Ok(None));
        assert_eq!(of(libc::FALLOC_FL_PUNCH_HOLE | keep), zero(false));
        assert_eq!(of(libc::FALLOC_FL_PUNCH_HOLE), unsupported);
        assert_eq!(of(libc::FALLOC_FL_ZERO_RANGE), zero(true));
        assert_eq!(of(libc::FALLOC_FL_ZERO_RANGE | keep), zero(false));
        assert_eq!(of(libc::FALLOC_FL_COLLAPSE_RANGE), unsupported);
        assert_eq!(of(libc::FALLOC_FL_INSERT_RANGE), unsupported);
        assert_eq!(of(libc::FALLOC_FL_UNSHARE_RANGE), unsupported);
    }

    #[test]
    fn who_cannot_have_written_is_not_asked_when_he_closes() {
        let quiet =
            |flags| opened_flags(access_of(flags), false).contains(FopenFlags::FOPEN_NOFLUSH);
        assert!(quiet(libc::O_RDONLY));
        assert!(!quiet(libc::O_RDONLY | libc::O_TRUNC));
        assert!(!quiet(libc::O_WRONLY));
        assert!(!quiet(libc::O_RDWR | libc::O_APPEND));
    }
}
