//! What was written becomes a version: sealed, on disk, and noted in the outbox.
use super::conflict::apart;
use super::files::{Base, FileState};
use super::names::place;
use super::{Volume, VolumeError, attributes};
use crate::outbox::Telling;
use crate::outbox::intent::{Place, Version};
use crate::tree::{Ino, Kind, Node, OwnFile, Timestamp};
use crate::util::sync::lock;
use std::sync::Arc;
use std::time::Duration;

/// How long a file that could not be sealed after its last handle was closed is left alone before that is
/// tried again: the disk is full or fails, and nobody is there to hear of it.
const AGAIN: Duration = Duration::from_secs(15);

impl Volume {
    /// Seals a version of what a file holds now, if that is not sealed yet, and notes it. What is not in the
    /// note is on disk; the note itself is with the outbox's next commit. Blocks for the disk.
    pub(super) fn seal(&self, file: &Arc<FileState>) -> Result<Option<Version>, VolumeError> {
        let sealed = {
            let _sealing = lock(&file.sealing);
            file.lock().is_sealing = true;
            let sealed = self.seal_now(file);
            file.lock().is_sealing = false;
            sealed
        };
        // Its last handle may have been closed meanwhile.
        self.tidy(file);
        sealed
    }

    fn seal_now(&self, file: &Arc<FileState>) -> Result<Option<Version>, VolumeError> {
        let inner = &self.inner;
        let begun = {
            let mut state = file.lock();
            let staged = state.staged.clone().filter(|_| !state.is_unlinked);
            let begun = staged.and_then(|staged| Some((staged.begin_version()?, staged)));
            // In one step: who finds it unchanged from now on waits for this one.
            state.versions.begun += u64::from(begun.is_some());
            begun
        };
        let Some((sealed, staged)) = begun else {
            return Ok(None);
        };
        let sealed = staged.merged(sealed, || inner.outbox.fresh());
        let version = Version {
            id: inner.outbox.fresh(),
            size: sealed.content.size(),
        };
        let record = match inner.versions.add(version.id, sealed.clone()) {
            Ok(record) => record,
            Err(error) => {
                staged.unsealed();
                return Err(error.into());
            }
        };
        let noted = inner.outbox.with(|tell| {
            let (node, modified) = {
                let mut state = file.lock();
                if state.is_unlinked {
                    return false;
                }
                state.versions.noted = state.versions.begun;
                (Arc::clone(&state.node), state.modified)
            };
            // The kernel may have forgotten it by now, and the tree with it.
            let node = inner
                .tree
                .node(file.ino)
                .ok()
                .or(inner.tree.own(file.ino))
                .unwrap_or(node);
            let node = inner.tree.newest(&node).unwrap_or(node);
            let place = self.note(tell, &node, version, record);
            if let Some(original) = sealed.content.unchanged() {
                tell.copy_of(file.ino, original.url.clone());
            }
            let modified = modified.map_or_else(|| inner.tree.timestamp(), Timestamp::from);
            attributes::touch(&inner.tree, tell, file.ino, modified);
            inner.tree.show(Node {
                ino: file.ino,
                kind: Kind::Own(OwnFile {
                    ino: file.ino,
                    size: version.size,
                    modified: modified.seconds(),
                }),
                parent: place.folder,
                name: place.name,
            });
            let mut state = file.lock();
            if !state.is_changed() {
                state.modified = None;
            }
            true
        });
        if !noted {
            // Its name went meanwhile, and the content with it.
            inner.versions.release(&[version.id]);
            return Ok(None);
        }
        Ok(Some(version))
    }

    /// Notes a version of a file; says where the file is wanted and to be shown.
    fn note(
        &self,
        tell: &mut Telling<'_>,
        node: &Node,
        version: Version,
        record: Vec<u8>,
    ) -> Place {
        let (inner, ino) = (&self.inner, node.ino);
        let here = place(node.parent, &node.name);
        if tell.entry(ino).is_some() {
            tell.rewrite(ino, || None, version, record);
            return here;
        }
        if inner.tree.is_gone(ino) {
            // Others have removed or replaced what it was made of.
            let place = if inner.tree.shows(here.folder, &here.name) {
                apart(&inner.tree, &here)
            } else {
                here.clone()
            };
            log::warn!(
                "{} was changed here and removed or replaced by others; it is kept as {}",
                here.name.to_string_lossy(),
                place.name.to_string_lossy()
            );
            tell.create(ino, place.clone(), version, record);
            inner.tree.disturb(ino, here.folder, &here.name);
            inner.tree.disturb(ino, place.folder, &place.name);
            return place;
        }
        let known = inner.around.known(node);
        let true_name = known.as_ref().map(|known| known.place.name.clone());
        tell.rewrite(ino, || known, version, record);
        if true_name.is_some_and(|name| name != here.name) {
            // What tells it from its namesakes becomes its name, so that they do not change theirs.
            tell.rename(ino, false, || None, here.clone());
        }
        here
    }

    /// Waits until the account has what a file holds.
    pub(super) async fn uploaded(&self, ino: Ino) -> Result<(), VolumeError> {
        let uploaded = self.inner.outbox.uploaded(ino).await;
        uploaded.map_err(|refusal| {
            if refusal.is_full {
                VolumeError::OverQuota(refusal.reason)
            } else {
                VolumeError::Upload(refusal.reason)
            }
        })
    }

    /// Seals for a program that waits. Should that fail, and nobody have the file open any more, it is tried again
    /// until it does not.
    pub(super) fn seal_for(&self, file: &Arc<FileState>) -> Result<(), VolumeError> {
        let sealed = self.seal(file);
        if sealed.is_err() && file.lock().handles == 0 {
            self.closed(Arc::clone(file), true);
        }
        sealed.map(|_| ())
    }

    /// A handle was closed: what it wrote and did not flush is sealed, and the file forgotten if it was the last.
    /// Who only read seals nothing of what others are writing.
    pub(super) fn closed(&self, file: Arc<FileState>, wrote: bool) {
        let is_changed = {
            let state = file.lock();
            let is_last = state.handles == 0;
            (wrote || is_last) && state.is_changed() && !state.is_unlinked
        };
        if !is_changed {
            self.announce(&file);
            return self.tidy(&file);
        }
        let volume = self.clone();
        self.inner.runtime.spawn(async move {
            loop {
                let (sealing, sealed) = (volume.clone(), Arc::clone(&file));
                let runtime = &volume.inner.runtime;
                let ended = runtime.spawn_blocking(move || sealing.seal(&sealed)).await;
                match ended {
                    Ok(Ok(_)) => break,
                    Ok(Err(error)) => log::error!(
                        "what was written to inode {} is kept in memory until the disk takes it: {error}",
                        file.ino
                    ),
                    Err(error) => log::error!("sealing inode {}: {error}", file.ino),
                }
                volume.inner.clock.sleep(AGAIN).await;
            }
            volume.announce(&file);
            volume.tidy(&file);
        });
    }

    /// A file that was written and that nobody has open any more is news; see [`Tree::changed`](crate::tree::Tree::changed).
    fn announce(&self, file: &FileState) {
        let node = {
            let mut state = file.lock();
            if state.handles > 0 || state.is_unlinked || state.versions.told >= state.versions.noted
            {
                return;
            }
            state.versions.told = state.versions.noted;
            Arc::clone(&state.node)
        };
        let tree = &self.inner.tree;
        let node = tree.own(file.ino).unwrap_or(node);
        tree.changed(
            tree.newest(&node)
                .map_or(node.parent, |newest| newest.parent),
        );
    }

    fn tidy(&self, file: &Arc<FileState>) {
        if self.inner.around.files.tidy(file) {
            self.inner.outbox.let_go();
        }
    }

    /// What a file that is not open holds, for who opens it. To be called while the outbox does not change.
    pub(super) fn base(&self, node: &Node, version: Option<Version>) -> Result<Base, VolumeError> {
        if let Some(version) = version {
            let sealed = self.inner.versions.get(version.id);
            return Ok(sealed.map_or(Base::Lost, Base::Sealed));
        }
        match &node.kind {
            Kind::File(known) => Ok(Base::Remote(crate::write::content::Origin {
                url: known.url.clone(),
                size: known.size,
            })),
            Kind::Folder(_) => Err(VolumeError::IsFolder),
            Kind::Own(_) => Ok(Base::Lost),
        }
    }
}
