//! Open files. The content belongs to the inode: all handles see one.
use super::files::{Base, FileState};
use super::{Volume, VolumeError};
use crate::api::{FileUrl, MAX_FILE_BYTES};
use crate::read::{self, ReadTerms};
use crate::tree::{Caller, Ino, Node};
use crate::util::cached::Cached;
use crate::write::bytes::Sealed;
use crate::write::content::Content;
use crate::write::error::StageError;
use crate::write::file::StagedFile;
use crate::write::versions::SMALL;
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What a program opens a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// It may read.
    pub reads: bool,
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
    file: Arc<FileState>,
    writes: bool,
    /// Whether what was written is sealed when it is closed.
    seals: bool,
    /// Whether its pages are not worth keeping, or cannot be trusted; see [`OpenFile::is_uncached`].
    uncached: bool,
    /// Its content in the account when it was opened, if it was that.
    remote: Option<(FileUrl, read::Handle)>,
}

impl Volume {
    /// Opens a file; nothing is fetched. At once.
    pub fn open_file(&self, ino: Ino, access: Access) -> Result<OpenFile, VolumeError> {
        let node = self.inner.tree.node(ino)?;
        if access.writes || access.truncates {
            self.admit_in(node.parent)?;
        }
        let open = self.open_node(&node, access)?;
        if access.truncates {
            open.resize(0)?;
        }
        Ok(open)
    }

    /// Opens a file that the kernel need not hold.
    pub(super) fn open_node(
        &self,
        node: &Arc<Node>,
        access: Access,
    ) -> Result<OpenFile, VolumeError> {
        let inner = &self.inner;
        let file = inner.outbox.look(node.ino, |entry| {
            // As it is while nothing can be told.
            let newest = inner.tree.newest(node);
            let is_removed = newest.is_none();
            let node = newest.unwrap_or_else(|| Arc::clone(node));
            let version = entry.and_then(|entry| entry.content);
            let base = || self.base(&node, version);
            let file = inner.around.files.opened(&node, access.writes, base)?;
            // By its descriptor, in /proc, after its name went.
            file.lock().is_unlinked |= is_removed;
            Ok::<_, VolumeError>(file)
        })?;
        let (uncached, remote) = {
            let mut state = file.lock();
            let is_alone = state.handles == 1 && access.writes && !access.reads;
            let uncached = is_alone || state.uncached_writers > 0;
            state.uncached_writers += usize::from(uncached && access.writes);
            let remote = match (&state.staged, &state.base) {
                (None, Base::Remote(origin)) if !access.truncates => Some(origin.clone()),
                _ => None,
            };
            (uncached, remote)
        };
        let remote = remote.map(|origin| {
            inner
                .reader
                .place(&origin.url, || inner.tree.path_of(node.ino));
            let handle = inner.reader.open(&origin.url, origin.size);
            (origin.url, handle)
        });
        let open = OpenFile {
            volume: self.clone(),
            file,
            writes: access.writes,
            seals: access.writes,
            uncached,
            remote,
        };
        if access.writes {
            open.hold();
        }
        Ok(open)
    }

    /// Cuts a file or lengthens it with zeros, whether somebody has it open or not. If nobody has it open for
    /// writing, who could close it later, it is noted like what was closed: what is done later is not on disk
    /// before it.
    pub fn resize(&self, ino: Ino, size: u64) -> Cached<Result<(), VolumeError>> {
        let access = Access {
            reads: true,
            writes: true,
            truncates: size == 0,
        };
        let resized = self.open_file(ino, access).and_then(|open| {
            open.resize(size)?;
            Ok(open)
        });
        match resized {
            Ok(mut open) => {
                let is_alone = open.file.lock().writers == 1;
                open.seals = is_alone;
                if is_alone {
                    open.hand_over()
                } else {
                    Cached::Hit(Ok(()))
                }
            }
            Err(error) => Cached::Hit(Err(error)),
        }
    }
}

impl OpenFile {
    /// Which file.
    pub fn ino(&self) -> Ino {
        self.file.ino
    }

    /// Whether the kernel is to keep no pages of what goes through this handle. Who only writes, and is alone with
    /// the file, needs none: what copies and unpacks writes twice as fast. And as long as one writes like that,
    /// pages of others would go out of date, so nobody has any.
    pub fn is_uncached(&self) -> bool {
        self.uncached
    }

    /// The handle of a file that is as the account has it; `None` when it was changed here.
    pub fn unchanged(&self) -> Option<&read::Handle> {
        let state = self.file.lock();
        let (url, handle) = self.remote.as_ref()?;
        match (&state.staged, &state.base) {
            (None, Base::Remote(origin)) if origin.url == *url => Some(handle),
            _ => None,
        }
    }

    /// Bytes, as they are now.
    pub fn size(&self) -> u64 {
        let state = self.file.lock();
        match (&state.staged, &state.base) {
            (Some(staged), _) => staged.size(),
            (None, Base::Remote(origin)) => origin.size,
            (None, Base::Sealed(sealed)) => sealed.content.size(),
            (None, Base::Lost) => state.node.size(),
        }
    }

    /// The bytes of a range as they are now; fewer only at the end of the file.
    pub fn read(
        &self,
        offset: u64,
        length: u64,
        terms: ReadTerms,
    ) -> Cached<Result<Bytes, VolumeError>> {
        if let Some(handle) = self.unchanged() {
            let bytes = self.volume.inner.reader.read(handle, offset, length, terms);
            return bytes.then(|bytes| Ok(bytes?));
        }
        match self.content() {
            Ok(staged) => {
                let range = offset..offset.saturating_add(length);
                staged.read(range, terms).then(|bytes| Ok(bytes?))
            }
            Err(error) => Cached::Hit(Err(error)),
        }
    }

    /// Writes at `offset`, all or nothing. Copies to the staging file, which is the system's memory: at once
    /// unless the disk is overloaded.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let fresh = || self.volume.inner.outbox.fresh();
        self.change(|content| content.write(bytes, offset, fresh))
    }

    /// Cuts it or lengthens it with zeros.
    pub fn resize(&self, size: u64) -> Result<(), VolumeError> {
        if size == self.size() {
            return Ok(());
        }
        self.change(|content| content.resize(size))
    }

    /// Somebody closes one of the descriptors of this open: what was written survives a crash from then on, and is
    /// uploaded some time later, or by then if the volume waits for uploads. Nothing to do if nothing was written.
    pub fn flush(&self, caller: Caller) -> Cached<Result<(), VolumeError>> {
        let is_settled = {
            let state = self.file.lock();
            state.is_unlinked || (!state.is_changed() && state.versions.is_written())
        };
        if is_settled {
            return Cached::Hit(Ok(()));
        }
        self.settle(caller, self.volume.inner.settings.waits_for_upload)
    }

    /// What was written, whoever wrote it, and what was set of its attributes survives a crash from then on. Never
    /// waits for an upload.
    pub fn sync(&self, caller: Caller) -> Cached<Result<(), VolumeError>> {
        self.settle(caller, false)
    }

    fn settle(&self, caller: Caller, uploads: bool) -> Cached<Result<(), VolumeError>> {
        let handed_over = self.hand_over();
        let (volume, file) = (self.volume.clone(), Arc::clone(&self.file));
        Cached::wait(async move {
            let handed_over = caller.deadline.run(handed_over.ready()).await;
            handed_over.ok_or(VolumeError::Timeout)??;
            let noted = file.lock().versions.noted;
            volume.written(caller.deadline).await?;
            {
                let versions = &mut file.lock().versions;
                versions.written = versions.written.max(noted);
            }
            if uploads {
                let uploaded = caller.deadline.run(volume.uploaded(file.ino)).await;
                uploaded.ok_or(VolumeError::Timeout)??;
            }
            Ok(())
        })
    }

    /// Seals and notes what was written; it is on disk with whatever is written down next.
    fn hand_over(&self) -> Cached<Result<(), VolumeError>> {
        let (is_changed, is_sealing, is_written, is_small) = {
            let state = self.file.lock();
            let is_changed = state.is_changed() && !state.is_unlinked;
            let staged = state.staged.as_ref();
            let is_small = staged.is_some_and(|staged| staged.size() <= SMALL);
            let is_written = state.versions.is_written();
            (is_changed, state.is_sealing, is_written, is_small)
        };
        if !is_changed && is_written {
            return Cached::Hit(Ok(()));
        }
        let (volume, file) = (self.volume.clone(), Arc::clone(&self.file));
        // A small one goes into its record: no wait for the disk before the record's own.
        if is_small && is_changed && !is_sealing && file.is_staged_whole() {
            return Cached::Hit(volume.seal_for(&file));
        }
        // Also when there is nothing to seal: another handle may be at it.
        let runtime = self.volume.inner.runtime.clone();
        Cached::wait(async move {
            let ended = runtime.spawn_blocking(move || volume.seal_for(&file)).await;
            ended.map_err(|_| VolumeError::Ending)?
        })
    }

    /// The next offset with data, or without when `hole`; `None` at or after the end.
    pub fn seek(&self, from: u64, hole: bool) -> Option<u64> {
        let size = self.size();
        if self.unchanged().is_none()
            && let Ok(staged) = self.content()
        {
            return staged.seek(from, hole);
        }
        (from < size).then_some(if hole { size } else { from })
    }

    /// Makes room or holes.
    pub fn allocate(&self, what: Allocate) -> Result<(), VolumeError> {
        match what {
            Allocate::Reach(size) => {
                if size > self.size() {
                    self.resize(size)?;
                }
            }
            Allocate::Zero { range, grows } => {
                if range.end > MAX_FILE_BYTES {
                    return Err(StageError::TooLarge.into());
                }
                self.change(|content| {
                    let end = range.end.min(content.size());
                    content.punch(&(range.start.min(end)..end));
                    if grows && range.end > content.size() {
                        content.resize(range.end)?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Takes over a range of another open file at `to` without fetching it. Returns how many bytes.
    pub fn copy(&self, to: u64, from: &Self, range: Range<u64>) -> Result<u64, VolumeError> {
        let sealed = from.sealed()?;
        self.change(|content| content.copy(to, &sealed, range))
    }

    /// It was just made, and its first version noted: closing it waits for that to be on disk.
    pub(super) fn noted(&self) {
        let versions = &mut self.file.lock().versions;
        versions.begun += 1;
        versions.noted = versions.begun;
    }

    /// What it holds now, never to be changed again.
    fn sealed(&self) -> Result<Sealed, VolumeError> {
        let state = self.file.lock();
        match (&state.staged, &state.base) {
            (Some(staged), _) => Ok(staged.seal()),
            (None, Base::Remote(origin)) => Ok(Sealed {
                content: Content::of(origin.clone()),
                stages: HashMap::new(),
            }),
            (None, Base::Sealed(sealed)) => Ok(sealed.clone()),
            (None, Base::Lost) => Err(super::error::lost()),
        }
    }

    /// Its content here.
    fn content(&self) -> Result<Arc<StagedFile>, VolumeError> {
        let inner = &self.volume.inner;
        self.file.lock().staged(&inner.staging, &inner.reader)
    }

    /// Changes its content.
    fn change<T>(
        &self,
        make: impl FnOnce(&StagedFile) -> Result<T, StageError>,
    ) -> Result<T, VolumeError> {
        self.volume.admit()?;
        let staged = self.content()?;
        let made = make(&staged);
        let mut state = self.file.lock();
        // Afterwards: a seal that ends meanwhile takes what is not changed yet for what it sealed. And only if no
        // seal has it already.
        if staged.is_changed() {
            state.modified = Some(self.volume.inner.clock.unix());
        }
        drop(state);
        Ok(made?)
    }

    /// The outbox hears whether somebody may write to it.
    fn hold(&self) {
        let (inner, ino) = (&self.volume.inner, self.file.ino);
        // Whoever has it open by then, which need not be who had it open before.
        let is_open = || {
            let file = inner.around.files.get(ino);
            file.is_some_and(|file| file.lock().writers > 0)
        };
        inner.outbox.hold(ino, is_open);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        {
            let mut state = self.file.lock();
            state.handles -= 1;
            state.writers -= usize::from(self.writes);
            state.uncached_writers -= usize::from(self.uncached && self.writes);
        }
        self.volume.closed(Arc::clone(&self.file), self.seals);
        if self.writes {
            self.hold();
        }
    }
}
