//! The kernel's requests, each handed to the part that answers it.
use super::bytes::At;
use super::change;
use super::{Fs, contained, init};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::SystemTime;

impl Filesystem for Fs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        init::negotiate(config, self.passthrough.as_ref());
        Ok(())
    }

    fn destroy(&mut self) {
        log::debug!("session ended with {} files open", self.handles.len());
    }

    // Names.

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        contained("lookup", || self.look_up(request, parent, name, reply));
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        contained("forget", || self.forget_lookups(ino, lookups));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        contained("create", || {
            self.create_file(request, parent, name, (mode, flags), reply);
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        contained("mknod", || {
            self.make_file(request, parent, name, mode, reply);
        });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        contained("mkdir", || {
            self.make_folder(request, parent, name, mode, reply);
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        contained("unlink", || self.remove_file(request, parent, name, reply));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        contained("rmdir", || self.remove_folder(request, parent, name, reply));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        contained("rename", || {
            let (from, to) = ((parent, name), (new_parent, new_name));
            self.move_entry(request, from, to, flags, reply);
        });
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        // The account cannot hold one, and one that is known here only would be lost with its state.
        reply.error(Errno::EPERM);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    // Open folders.

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        contained("opendir", || self.open_folder(request, ino, reply));
    }

    fn releasedir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        contained("releasedir", || self.close_folder(ino, reply));
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectory,
    ) {
        contained("readdir", || self.list(request, ino, cookie, reply));
    }

    fn readdirplus(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        contained("readdirplus", || {
            self.list_with_attributes(request, ino, cookie, reply);
        });
    }

    fn fsyncdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        contained("fsyncdir", || self.sync_folder(request, ino, reply));
    }

    // Open files.

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        contained("open", || self.open_file(ino, flags, reply));
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        contained("read", || {
            self.read_bytes(request, At { ino, handle }, offset, size, reply);
        });
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _how: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        contained("write", || {
            self.write_bytes(At { ino, handle }, offset, bytes, reply);
        });
    }

    fn flush(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        contained("flush", || {
            self.flush_file(request, At { ino, handle }, reply);
        });
    }

    fn fsync(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        contained("fsync", || {
            self.sync_file(request, At { ino, handle }, reply);
        });
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        contained("release", || self.close_file(At { ino, handle }, reply));
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        contained("lseek", || {
            self.seek(At { ino, handle }, offset, whence, reply);
        });
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        contained("fallocate", || {
            let range = offset..offset.saturating_add(length);
            self.allocate(At { ino, handle }, range, mode, reply);
        });
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        new_ino: INodeNo,
        new_handle: FileHandle,
        new_offset: u64,
        length: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        contained("copy_file_range", || {
            if !flags.is_empty() {
                return reply.error(Errno::EINVAL);
            }
            let from = (At { ino, handle }, offset..offset.saturating_add(length));
            let to = At {
                ino: new_ino,
                handle: new_handle,
            };
            self.copy(from, (to, new_offset), reply);
        });
    }

    // Attributes.

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        contained("getattr", || self.get_attributes(ino, reply));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        contained("setattr", || {
            let owner = (uid, gid);
            let change = change::of_request(mode, owner, atime, mtime, self.tree.timestamp());
            self.set_attributes(request, ino, size, change, reply);
        });
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        contained("getxattr", || {
            self.get_xattr(request, ino, name, size, reply);
        });
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, size: u32, reply: ReplyXattr) {
        // None is listed, see the module `xattr`.
        if size == 0 {
            reply.size(0);
        } else {
            reply.data(&[]);
        }
    }

    fn setxattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        contained("setxattr", || self.refuse_xattr(name, reply));
    }

    fn removexattr(&self, _request: &Request, _ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        contained("removexattr", || self.refuse_xattr(name, reply));
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        contained("statfs", || self.get_space(reply));
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // On purpose and for the life of the mount: the kernel checks by itself.
        reply.error(Errno::ENOSYS);
    }
}
