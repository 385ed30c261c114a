//! The kernel's adaptor: requests in, answers out, and no knowledge of its own.
//!
//! Promises: what is known is answered on the event loop that got the request; what is not goes
//! through a task, so that an event loop never waits for the network, a disk or a lock held across
//! either. Every operation ends by its deadline. A panic is one request's EIO. This is the only
//! module that knows fuser and errno; it knows no HTTP and no JSON.
//!
//! The answers that are sticky in the kernel (ENOSYS: never asked again) are chosen on purpose:
//! `access` is checked by the kernel itself (`default_permissions`), `flush` and `fsync` have
//! nothing to do on a read-only mount, `lseek` is right without us.
mod answers;
mod attr;
mod change;
mod deadline;
mod errno;
mod handles;
mod init;
mod notify;
mod passthrough;
mod requester;
mod session;
mod xattr;

pub use attr::Ownership;
pub use session::Session;

use crate::api::Requester;
use crate::read::{self, ReadTerms, Reader};
use crate::tree::{Caller, Ino, Kind, NAME_MAX, Tree};
use crate::util::cached::Cached;
use crate::util::clock::Clock;
use crate::write::volume::State;
use crate::write::{self, Wish};
use answers::Answers;
use deadline::{Class, Limits};
use errno::ToErrno;
use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request, TimeOrNow,
};
use handles::HandleTable;
use passthrough::Passthrough;
use requester::Requesters;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};
use tokio::runtime;

/// Bytes of the unit statfs counts in. Larger than most, so that 32-bit programs that multiply can
/// count to some petabytes.
const STATFS_UNIT: u32 = 64 * 1024;

/// What the adaptor is told at the start.
#[derive(Debug, Clone, Copy)]
pub struct FsSettings {
    /// Whose files they are.
    pub ownership: Ownership,
    /// Who mounted: may read the attributes that hold public links.
    pub mounted_by: u32,
    /// How long a read may take.
    pub read_timeout: Duration,
    /// Whether the kernel may read files of the disk cache itself: nothing can change, and root mounts.
    pub passthrough: bool,
}

/// The file system as the kernel sees it.
#[derive(Debug)]
pub struct Fs {
    tree: Tree,
    reader: Reader,
    runtime: runtime::Handle,
    settings: FsSettings,
    limits: Limits,
    handles: HandleTable,
    passthrough: Option<Passthrough>,
    requesters: Requesters,
}

impl Fs {
    /// Joins the parts; nothing is asked of them yet.
    pub fn new(
        tree: Tree,
        reader: Reader,
        clock: Clock,
        runtime: runtime::Handle,
        settings: FsSettings,
    ) -> Self {
        let limits = Limits {
            clock,
            read: settings.read_timeout,
        };
        Self {
            tree,
            reader,
            runtime,
            settings,
            limits,
            handles: HandleTable::default(),
            passthrough: settings.passthrough.then(Passthrough::default),
            requesters: Requesters::default(),
        }
    }

    fn caller(&self, request: &Request) -> Caller {
        Caller {
            requester: self.requester(request),
            deadline: self.limits.of(Class::Names),
        }
    }

    /// The process that asks.
    fn requester(&self, request: &Request) -> Requester {
        self.requesters.of(request.pid(), self.limits.clock.now())
    }

    /// Hands an answer on: at once when it is known, from a task when it is not. Who was killed
    /// meanwhile is not waited with: the reply is dropped, which lets him go.
    fn when_ready<T: 'static>(
        &self,
        request: &Request,
        answer: Cached<T>,
        then: impl FnOnce(T) + Send + 'static,
    ) {
        match answer {
            Cached::Hit(answer) => then(answer),
            Cached::Wait(answer) => {
                let killed = requester::killed(request.pid(), self.limits.clock);
                self.runtime.spawn(async move {
                    tokio::select! {
                        answer = answer => then(answer),
                        () = killed => {}
                    }
                });
            }
        }
    }
}

/// Keeps a panic from ending an event loop: the reply it held is dropped, which answers EIO.
fn contained(operation: &'static str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("{operation}: a bug ended this request; please report the lines above");
    }
}

/// Logs a failure as loudly as the table says and returns what the kernel hears.
fn failure(operation: &'static str, ino: u64, error: &impl ToErrno) -> Errno {
    let verdict = error.verdict();
    log::log!(verdict.level, "{operation} ino={ino}: {error}");
    verdict.errno
}

/// Answers a change that is not made.
fn refuse(operation: &'static str, ino: INodeNo, wish: Wish, answer: impl FnOnce(Errno)) {
    match write::admit(wish) {
        Ok(()) => answer(Errno::EOPNOTSUPP),
        Err(error) => answer(failure(operation, ino.0, &error)),
    }
}

/// What setting or removing an extended attribute would change.
fn wish_of(name: &OsStr) -> Wish {
    if name.as_bytes().starts_with(xattr::PREFIX) {
        Wish::ToldAttribute
    } else {
        Wish::ExtendedAttribute
    }
}

/// The tree's name for an inode; 0 is none of ours.
fn ino_of(ino: INodeNo) -> Result<Ino, Errno> {
    Ino::new(ino.0).ok_or(Errno::ESTALE)
}

impl Fs {
    fn answers(&self) -> Answers {
        Answers {
            tree: self.tree.clone(),
            ownership: self.settings.ownership,
        }
    }

    fn open_file(&self, ino: INodeNo, flags: OpenFlags) -> Result<read::Handle, Errno> {
        if flags.acc_mode() != OpenAccMode::O_RDONLY || flags.0 & libc::O_TRUNC != 0 {
            write::admit(Wish::Content).map_err(|e| failure("open", ino.0, &e))?;
        }
        let node = self
            .tree
            .node(ino_of(ino)?)
            .map_err(|e| failure("open", ino.0, &e))?;
        match &node.kind {
            Kind::File(file) => Ok(self.reader.open(&file.url, file.size)),
            Kind::Folder(_) => Err(Errno::EISDIR),
            // Nothing makes one yet on a mount.
            Kind::Own(_) => Err(Errno::EIO),
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
        xattr::value(&node, name.as_bytes(), || State::InAccount).ok_or(Errno::ENODATA)
    }
}

impl Filesystem for Fs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        init::negotiate(config, self.passthrough.as_ref());
        Ok(())
    }

    fn destroy(&mut self) {
        log::debug!("session ended with {} files open", self.handles.len());
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        contained("lookup", || {
            let folder = match ino_of(parent) {
                Ok(folder) => folder,
                Err(errno) => return reply.error(errno),
            };
            let answers = self.answers();
            let found = self.tree.lookup(folder, name, self.caller(request));
            self.when_ready(request, found, move |found| {
                answers.entry(folder, found, reply);
            });
        });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, nlookup: u64) {
        contained("forget", || {
            if let Ok(ino) = ino_of(ino) {
                self.tree.forget(ino, nlookup);
            }
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        contained("getattr", || {
            let node = match ino_of(ino) {
                Ok(ino) => self.tree.node(ino),
                Err(errno) => return reply.error(errno),
            };
            match node {
                Ok(node) => {
                    let ttl = self.tree.entry_ttl(node.parent);
                    reply.attr(&ttl, &self.answers().attributes(&node));
                }
                Err(error) => reply.error(failure("getattr", ino.0, &error)),
            }
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        contained("open", || match self.open_file(ino, flags) {
            Ok(handle) => {
                let passthrough = self.passthrough.as_ref();
                let lent =
                    passthrough.and_then(|it| it.opened(ino.0, &handle, &self.reader, &reply));
                if lent.is_some() {
                    handle.note_lent();
                }
                let number = self.handles.add(handle);
                match lent {
                    Some(lent) => {
                        reply.opened_passthrough(number, FopenFlags::empty(), &lent.backing);
                    }
                    // The content never changes under an id: what the kernel has of it stays right.
                    None => reply.opened(number, FopenFlags::FOPEN_KEEP_CACHE),
                }
            }
            Err(errno) => reply.error(errno),
        });
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
            let Some(open) = self.handles.get(handle) else {
                log::error!("read ino={}: unknown handle {handle}", ino.0);
                return reply.error(Errno::EBADF);
            };
            let terms = ReadTerms {
                requester: self.requester(request),
                deadline: self.limits.of(Class::Bytes),
            };
            let bytes = self.reader.read(&open, offset, u64::from(size), terms);
            self.when_ready(request, bytes, move |bytes| match bytes {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(failure("read", ino.0, &error)),
            });
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
        contained("release", || {
            drop(self.handles.remove(handle));
            if let Some(passthrough) = &self.passthrough {
                passthrough.released(ino.0);
            }
            reply.ok();
        });
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        contained("opendir", || {
            let folder = match ino_of(ino) {
                Ok(folder) => folder,
                Err(errno) => return reply.error(errno),
            };
            // The listing is waited for here: an error of `opendir` is one people see, an error in
            // the middle of a listing is one that programs take for its end.
            let listing = self.tree.children(folder, self.caller(request));
            let tree = self.tree.clone();
            self.when_ready(request, listing, move |listing| match listing {
                Ok(_) => {
                    // Before the answer goes out: the program may close it at once.
                    tree.opened(folder);
                    reply.opened(
                        FileHandle(0),
                        FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
                    );
                }
                Err(error) => reply.error(failure("opendir", ino.0, &error)),
            });
        });
    }

    fn releasedir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        contained("releasedir", || {
            if let Ok(folder) = ino_of(ino) {
                self.tree.released(folder);
            }
            reply.ok();
        });
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectory,
    ) {
        contained("readdir", || {
            let folder = match ino_of(ino) {
                Ok(folder) => folder,
                Err(errno) => return reply.error(errno),
            };
            let answers = self.answers();
            let listing = self.tree.children(folder, self.caller(request));
            self.when_ready(request, listing, move |listing| match listing {
                Ok(listing) => answers.names(&listing, cookie, reply),
                Err(error) => reply.error(failure("readdir", ino.0, &error)),
            });
        });
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
            let folder = match ino_of(ino) {
                Ok(folder) => folder,
                Err(errno) => return reply.error(errno),
            };
            let answers = self.answers();
            let listing = self.tree.children(folder, self.caller(request));
            self.when_ready(request, listing, move |listing| match listing {
                Ok(listing) => answers.names_and_attributes(&listing, cookie, reply),
                Err(error) => reply.error(failure("readdirplus", ino.0, &error)),
            });
        });
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        contained("statfs", || {
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
                u32::try_from(NAME_MAX).unwrap_or(u32::MAX),
                STATFS_UNIT,
            );
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
        contained("getxattr", || match self.xattr(request, ino, name) {
            Ok(value) => {
                let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
                match size {
                    0 => reply.size(length),
                    room if room < length => reply.error(Errno::ERANGE),
                    _ => reply.data(value.as_bytes()),
                }
            }
            Err(errno) => reply.error(errno),
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
        ino: INodeNo,
        name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        refuse("setxattr", ino, wish_of(name), |errno| reply.error(errno));
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        refuse("removexattr", ino, wish_of(name), |errno| {
            reply.error(errno);
        });
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        refuse("setattr", ino, Wish::Attributes, |errno| reply.error(errno));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel then answers SEEK_DATA and SEEK_HOLE by itself: no file here has holes.
        reply.error(Errno::ENOSYS);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // On purpose and for the life of the mount: the kernel checks by itself.
        reply.error(Errno::ENOSYS);
    }
}
