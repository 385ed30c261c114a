//! The files that are open, or were written to and are not sealed yet: one content for all handles of an inode.
use super::{Fresh, VolumeError};
use crate::api::{FileId, FileUrl};
use crate::read::Reader;
use crate::tree::{Ino, Node};
use crate::util::sync::{lock, read, write};
use crate::write::bytes::Sealed;
use crate::write::content::Origin;
use crate::write::file::StagedFile;
use crate::write::staging::Staging;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

/// The kernel tells of the last close a moment after the program went on; real time.
const ABOUT_TO_CLOSE: Duration = Duration::from_secs(3);

/// All of them. The table's lock is held for a look only.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: RwLock<HashMap<Ino, Arc<FileState>>>,
    /// Files of the account that would be removed if nobody read them, and since when.
    wanted: Mutex<HashMap<FileId, Instant>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct FileState {
    pub(super) ino: Ino,
    /// Held while a version is sealed and noted, so that versions are noted in their order.
    pub(super) sealing: Mutex<()>,
    state: Mutex<State>,
}

/// What a file held before it was changed here.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// A file of the account.
    Remote(Origin),
    /// A version that was sealed and is not in the account.
    Sealed(Sealed),
    /// A version that an earlier life left and that cannot be read any more.
    Lost,
}

#[derive(Debug)]
pub(super) struct State {
    /// Where it was when it was opened, or moved since.
    pub(super) node: Arc<Node>,
    pub(super) base: Base,
    /// What it holds, once it was changed or if it is not in the account.
    pub(super) staged: Option<Arc<StagedFile>>,
    /// Opens.
    pub(super) handles: usize,
    /// Those of them that may write.
    pub(super) writers: usize,
    /// Those of the writers of which the kernel keeps no pages.
    pub(super) uncached_writers: usize,
    /// When it was written to last, since 1970, as long as the tree does not show that.
    pub(super) modified: Option<Duration>,
    /// A version was sealed that is not noted yet: nobody else can say what the file holds.
    pub(super) is_sealing: bool,
    /// What of it is on disk.
    pub(super) versions: Progress,
    /// No name leads to it any more: its content goes with the last handle.
    pub(super) is_unlinked: bool,
}

/// How far versions of a file are, counted since it was opened.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Sealed, or being sealed.
    pub(super) begun: u64,
    /// Noted in the outbox.
    pub(super) noted: u64,
    /// Known to be written down.
    pub(super) written: u64,
    /// Told to programs that want to hear of changes: those noted when the file was closed.
    pub(super) told: u64,
}

impl Progress {
    /// Whether all are on disk.
    pub(super) fn is_written(&self) -> bool {
        self.begun <= self.written
    }
}

impl Files {
    /// The state of a file, if there is one.
    pub(super) fn get(&self, ino: Ino) -> Option<Arc<FileState>> {
        read(&self.open).get(&ino).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<FileState>> {
        read(&self.open).values().cloned().collect()
    }

    /// One more handle of a file. To be called under the outbox's lock: `base` says what the account or the
    /// outbox has of it, should it not be open.
    pub(super) fn opened(
        &self,
        node: &Arc<Node>,
        writes: bool,
        base: impl FnOnce() -> Result<Base, VolumeError>,
    ) -> Result<Arc<FileState>, VolumeError> {
        let mut open = write(&self.open);
        let file = if let Some(file) = open.get(&node.ino) {
            Arc::clone(file)
        } else {
            let file = Arc::new(FileState::new(node, base()?));
            open.insert(node.ino, Arc::clone(&file));
            file
        };
        let mut state = file.lock();
        state.handles += 1;
        state.writers += usize::from(writes);
        drop(state);
        Ok(file)
    }

    /// Forgets a file that has no handle and nothing that is not sealed. Returns whether somebody waits for it
    /// to be let go of.
    pub(super) fn tidy(&self, file: &Arc<FileState>) -> bool {
        let mut open = write(&self.open);
        let is_known = open
            .get(&file.ino)
            .is_some_and(|known| Arc::ptr_eq(known, file));
        if is_known && file.is_idle() {
            open.remove(&file.ino);
        }
        drop(open);
        let mut wanted = lock(&self.wanted);
        !wanted.is_empty()
            && file
                .origins()
                .iter()
                .any(|url| wanted.remove(&url.id()).is_some())
    }

    /// Whether a file of the account is read by who has a file open. If so, and it is not any more, it is
    /// let go of.
    pub(super) fn is_held(&self, url: &FileUrl) -> bool {
        let is_held = read(&self.open).values().any(|file| file.needs(url));
        if is_held {
            let mut wanted = lock(&self.wanted);
            wanted.entry(url.id()).or_insert_with(Instant::now);
        }
        is_held
    }

    /// Whether it is held, and not by who is about to close it.
    pub(super) fn is_read(&self, url: &FileUrl) -> bool {
        let is_held = self.is_held(url);
        let wanted = lock(&self.wanted);
        is_held
            && wanted
                .get(&url.id())
                .is_some_and(|since| since.elapsed() >= ABOUT_TO_CLOSE)
    }
}

impl FileState {
    fn new(node: &Arc<Node>, base: Base) -> Self {
        Self {
            ino: node.ino,
            sealing: Mutex::default(),
            state: Mutex::new(State {
                node: Arc::clone(node),
                base,
                staged: None,
                handles: 0,
                writers: 0,
                uncached_writers: 0,
                modified: None,
                is_sealing: false,
                versions: Progress::default(),
                is_unlinked: false,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What was written and not flushed.
    pub(super) fn fresh(&self) -> Option<Fresh> {
        let state = self.lock();
        Some(Fresh {
            size: state.staged.as_ref()?.size(),
            modified: state.modified?,
        })
    }

    /// Whether all its bytes are staged here.
    pub(super) fn is_staged_whole(&self) -> bool {
        let state = self.lock();
        state
            .staged
            .as_ref()
            .is_some_and(|it| it.origins().is_empty())
    }

    fn is_idle(&self) -> bool {
        let state = self.lock();
        let has_all = state.is_unlinked || !state.is_changed();
        state.handles == 0 && !state.is_sealing && has_all
    }

    fn needs(&self, url: &FileUrl) -> bool {
        self.origins().contains(url)
    }

    fn origins(&self) -> Vec<FileUrl> {
        let state = self.lock();
        match (&state.staged, &state.base) {
            (Some(staged), _) => staged.origins(),
            (None, Base::Remote(origin)) => vec![origin.url.clone()],
            (None, Base::Sealed(sealed)) => {
                let origins = sealed.content.origins().into_iter();
                origins.map(|origin| origin.url.clone()).collect()
            }
            (None, Base::Lost) => Vec::new(),
        }
    }
}

impl State {
    /// Whether there is something that no version has.
    pub(super) fn is_changed(&self) -> bool {
        self.staged.as_ref().is_some_and(|it| it.is_changed())
    }

    /// Its content here, made if it is in the account only.
    pub(super) fn staged(
        &mut self,
        staging: &Staging,
        reader: &Reader,
    ) -> Result<Arc<StagedFile>, VolumeError> {
        if let Some(staged) = &self.staged {
            return Ok(Arc::clone(staged));
        }
        let (staging, reader) = (staging.clone(), reader.clone());
        let staged = match &self.base {
            Base::Remote(origin) => StagedFile::of(origin.clone(), staging, reader),
            Base::Sealed(sealed) => StagedFile::after(sealed.clone(), staging, reader),
            Base::Lost => return Err(super::error::lost()),
        };
        let staged = Arc::new(staged);
        self.staged = Some(Arc::clone(&staged));
        Ok(staged)
    }
}
