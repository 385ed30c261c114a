//! Open folders: their listings, and when what changed in them is on disk.
use super::deadline::Class;
use super::{Fs, ino_of};
use crate::util::cached::Cached;
use fuser::{
    Errno, FileHandle, FopenFlags, INodeNo, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyOpen, Request,
};

impl Fs {
    pub(super) fn open_folder(&self, request: &Request, ino: INodeNo, reply: ReplyOpen) {
        let folder = match ino_of(ino) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        // The listing is waited for here: an error of `opendir` is one people see, an error in
        // the middle of a listing is one that programs take for its end.
        let listing = self
            .tree
            .children(folder, self.caller(request, Class::Names));
        let tree = self.tree.clone();
        self.answer(
            request,
            ("opendir", ino),
            listing,
            reply,
            move |_, reply| {
                // Before the answer goes out: the program may close it at once.
                tree.opened(folder);
                reply.opened(
                    FileHandle(0),
                    FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
                );
            },
        );
    }

    pub(super) fn close_folder(&self, ino: INodeNo, reply: ReplyEmpty) {
        if let Ok(folder) = ino_of(ino) {
            self.tree.released(folder);
        }
        reply.ok();
    }

    pub(super) fn list(&self, request: &Request, ino: INodeNo, cookie: u64, reply: ReplyDirectory) {
        let folder = match ino_of(ino) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let answers = self.answers();
        let listing = self
            .tree
            .children(folder, self.caller(request, Class::Names));
        self.answer(
            request,
            ("readdir", ino),
            listing,
            reply,
            move |listing, reply| answers.names(&listing, cookie, reply),
        );
    }

    pub(super) fn list_with_attributes(
        &self,
        request: &Request,
        ino: INodeNo,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let folder = match ino_of(ino) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let answers = self.answers();
        let listing = self
            .tree
            .children(folder, self.caller(request, Class::Names));
        self.answer(
            request,
            ("readdirplus", ino),
            listing,
            reply,
            move |listing, reply| answers.names_and_attributes(&listing, cookie, reply),
        );
    }

    /// Waits until every name that was made, moved or removed so far is on disk: they are written down
    /// together, whichever folder they are in.
    pub(super) fn sync_folder(&self, request: &Request, ino: INodeNo, reply: ReplyEmpty) {
        if self.settings.read_only {
            return reply.error(Errno::ENOSYS);
        }
        let (volume, caller) = (self.volume.clone(), self.caller(request, Class::Disk));
        let written = Cached::wait(async move { volume.sync(caller).await });
        self.answer(
            request,
            ("fsyncdir", ino),
            written,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }
}
