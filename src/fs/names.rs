//! Names: looked up, made, moved and removed.
use super::bytes::{access_of, opened_flags};
use super::change::Maker;
use super::deadline::Class;
use super::{Fs, ino_of};
use crate::tree::{Caller, GENERATION, Ino, Node, Tree, is_snapshot_name};
use crate::util::cached::Cached;
use crate::write::volume::{self, Access, OpenFile, Replace, Volume, VolumeError};
use fuser::{
    Errno, Generation, INodeNo, RenameFlags, ReplyCreate, ReplyEmpty, ReplyEntry, Request,
};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

/// A file that was opened by its name.
struct Opened {
    node: Arc<Node>,
    file: OpenFile,
    /// Whether it was made for that.
    is_new: bool,
}

impl Opened {
    fn made((node, file): (Arc<Node>, OpenFile)) -> Self {
        Self {
            node,
            file,
            is_new: true,
        }
    }
}

impl Fs {
    pub(super) fn look_up(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let answers = self.answers();
        let found = if is_snapshot_name(folder, name) {
            Cached::Hit(Ok(None))
        } else {
            self.tree
                .lookup(folder, name, self.caller(request, Class::Names))
        };
        // What others gave a longer name than can be given here is found all the same.
        let is_too_long = volume::is_too_long(name);
        let found = found.then(move |found| match found? {
            None if is_too_long => Err(VolumeError::NameTooLong),
            found => Ok(found),
        });
        self.answer(
            request,
            ("lookup", parent),
            found,
            reply,
            move |found, reply| answers.entry(folder, found.as_ref(), reply),
        );
    }

    pub(super) fn forget_lookups(&self, ino: INodeNo, lookups: u64) {
        if let Ok(ino) = ino_of(ino) {
            self.tree.forget(ino, lookups);
        }
    }

    /// Makes a file and opens it. The kernel asks for this when it knows of no such name; should there be
    /// one in the meantime, it is opened, as `open` promises.
    pub(super) fn create_file(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        (mode, flags): (u32, i32),
        reply: ReplyCreate,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        if is_snapshot_name(folder, name) {
            return reply.error(Errno::EPERM);
        }
        let (access, caller) = (access_of(flags), self.caller(request, Class::Names));
        let maker = maker(request, mode);
        let created = self.volume.create(folder, name, access, caller);
        let mut created = created.then(|created| Ok(Opened::made(created?)));
        if flags & libc::O_EXCL == 0 {
            let existing = Existing {
                tree: self.tree.clone(),
                volume: self.volume.clone(),
                folder,
                name: name.to_owned(),
                access,
                caller,
            };
            created = existing.or(created);
        }
        let (answers, handles) = (self.answers(), self.handles.clone());
        self.answer(
            request,
            ("create", parent),
            created,
            reply,
            move |opened, reply| {
                // Both before the answer goes out: the kernel may forget and close at once.
                let node = answers.tree.remember(&opened.node);
                let flags = opened_flags(access, opened.file.is_uncached());
                let handle = handles.add(opened.file);
                if opened.is_new {
                    answers.made(folder, &node, maker);
                }
                reply.created(
                    &answers.tree.entry_ttl(folder),
                    &answers.attributes(&node),
                    Generation(GENERATION),
                    handle,
                    flags,
                );
            },
        );
    }

    /// Makes a file without opening it; nothing else can be made this way.
    pub(super) fn make_file(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        reply: ReplyEntry,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        if mode & libc::S_IFMT != libc::S_IFREG || is_snapshot_name(folder, name) {
            return reply.error(Errno::EPERM);
        }
        let access = Access {
            reads: true,
            writes: true,
            truncates: false,
        };
        let caller = self.caller(request, Class::Names);
        let created = self.volume.create(folder, name, access, caller);
        let (answers, maker) = (self.answers(), maker(request, mode));
        self.answer(
            request,
            ("mknod", parent),
            created,
            reply,
            move |(node, _), reply| answers.made_entry(folder, &node, maker, reply),
        );
    }

    pub(super) fn make_folder(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        reply: ReplyEntry,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        if is_snapshot_name(folder, name) {
            return reply.error(Errno::EPERM);
        }
        let caller = self.caller(request, Class::Names);
        let made = self.volume.make_folder(folder, name, caller);
        let (answers, maker) = (self.answers(), maker(request, mode));
        self.answer(
            request,
            ("mkdir", parent),
            made,
            reply,
            move |node, reply| answers.made_entry(folder, &node, maker, reply),
        );
    }

    pub(super) fn remove_file(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEmpty,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let caller = self.caller(request, Class::Names);
        let removed = self.volume.unlink(folder, name, caller);
        self.answer(
            request,
            ("unlink", parent),
            removed,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }

    pub(super) fn remove_folder(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEmpty,
    ) {
        let folder = match ino_of(parent) {
            Ok(folder) => folder,
            Err(errno) => return reply.error(errno),
        };
        let caller = self.caller(request, Class::Names);
        let removed = self.volume.remove_folder(folder, name, caller);
        self.answer(
            request,
            ("rmdir", parent),
            removed,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }

    pub(super) fn move_entry(
        &self,
        request: &Request,
        (from, name): (INodeNo, &OsStr),
        (to, new_name): (INodeNo, &OsStr),
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (folder, new_folder) = match (ino_of(from), ino_of(to)) {
            (Ok(folder), Ok(new_folder)) => (folder, new_folder),
            (Err(errno), _) | (_, Err(errno)) => return reply.error(errno),
        };
        let Some(replace) = replace_of(flags) else {
            return reply.error(Errno::EINVAL);
        };
        if is_snapshot_name(new_folder, new_name) || is_snapshot_name(folder, name) {
            return reply.error(Errno::EPERM);
        }
        let moved = self.volume.rename(
            (folder, name),
            (new_folder, new_name),
            replace,
            self.caller(request, Class::Names),
        );
        self.answer(
            request,
            ("rename", from),
            moved,
            reply,
            |(), reply: ReplyEmpty| reply.ok(),
        );
    }
}

/// Who asks for something to be made.
fn maker(request: &Request, mode: u32) -> Maker {
    Maker {
        mode,
        uid: request.uid(),
        gid: request.gid(),
    }
}

/// What a move does about the name it moves to; `None` when the flags ask for something else.
fn replace_of(flags: RenameFlags) -> Option<Replace> {
    match flags.bits() {
        0 => Some(Replace::Yes),
        libc::RENAME_NOREPLACE => Some(Replace::No),
        libc::RENAME_EXCHANGE => Some(Replace::Exchange),
        _ => None,
    }
}

/// Opens what is there when a name that was to be made is taken.
struct Existing {
    tree: Tree,
    volume: Volume,
    folder: Ino,
    name: OsString,
    access: Access,
    caller: Caller,
}

impl Existing {
    fn or(
        self,
        created: Cached<Result<Opened, VolumeError>>,
    ) -> Cached<Result<Opened, VolumeError>> {
        match created {
            Cached::Hit(Err(VolumeError::Exists)) => Cached::wait(self.open()),
            Cached::Hit(created) => Cached::Hit(created),
            Cached::Wait(created) => Cached::wait(async move {
                match created.await {
                    Err(VolumeError::Exists) => self.open().await,
                    created => created,
                }
            }),
        }
    }

    async fn open(self) -> Result<Opened, VolumeError> {
        let found = self.tree.lookup(self.folder, &self.name, self.caller);
        // Gone again: whoever asks may ask again.
        let node = found.ready().await?.ok_or(VolumeError::NotFound)?;
        // The kernel does not hold it before it is answered, and what nobody holds cannot be opened.
        let node = self.tree.remember(&node);
        let file = self.volume.open_file(node.ino, self.access);
        self.tree.forget(node.ino, 1);
        Ok(Opened {
            node,
            file: file?,
            is_new: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_nobody_knows_are_refused() {
        let of = |bits| replace_of(RenameFlags::from_bits_retain(bits));
        assert_eq!(of(0), Some(Replace::Yes));
        assert_eq!(of(libc::RENAME_NOREPLACE), Some(Replace::No));
        assert_eq!(of(libc::RENAME_EXCHANGE), Some(Replace::Exchange));
        assert_eq!(of(libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE), None);
        assert_eq!(of(libc::RENAME_WHITEOUT), None);
        assert_eq!(of(1 << 20), None);
    }
}
