//! Names: what is made, moved and removed here. Shown at once; told to the account later.
//!
//! The kernel lets one program at a time change a folder, so what was looked up is still so when it is
//! changed, but for what the account was told meanwhile.
use super::open::{Access, OpenFile};
use super::{Volume, VolumeError, attributes};
use crate::outbox::intent::{Place, Version};
use crate::tree::{Caller, Ino, Kind, NAME_MAX, Node, OwnFile, encode};
use crate::util::cached::Cached;
use crate::write::bytes::Sealed;
use crate::write::content::Content;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;

/// Characters of the longest name that can be given: documented for folders, assumed for files (API reference
/// 4.1). What others gave may be longer.
pub const NAME_CHARS: usize = 250;

/// What a move does about the name it moves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Takes its place.
    Yes,
    /// Fails if it is taken.
    No,
    /// Puts what is there in the place of what moves.
    Exchange,
}

type Found = Result<Option<Arc<Node>>, VolumeError>;

impl Volume {
    /// Makes an empty file and opens it.
    pub fn create(
        &self,
        folder: Ino,
        name: &OsStr,
        access: Access,
        caller: Caller,
    ) -> Cached<Result<(Arc<Node>, OpenFile), VolumeError>> {
        let (volume, place) = (self.clone(), place(folder, name));
        let found = self.to_make(&place, caller);
        found.then(move |free| {
            free?;
            let node = volume.make_file(place)?;
            let open = volume.open_node(&node, access)?;
            open.noted();
            Ok((node, open))
        })
    }

    pub(super) fn make_file(&self, place: Place) -> Result<Arc<Node>, VolumeError> {
        let inner = &self.inner;
        let ino = self.fresh_ino()?;
        let version = Version {
            id: inner.outbox.fresh(),
            size: 0,
        };
        let nothing = Sealed {
            content: Content::empty(),
            stages: HashMap::new(),
        };
        let record = inner.versions.add(version.id, nothing)?;
        let node = Node {
            ino,
            parent: place.folder,
            name: place.name.clone(),
            kind: Kind::Own(OwnFile {
                ino,
                size: 0,
                modified: inner.tree.now(),
            }),
        };
        inner.outbox.with(|tell| {
            let folder = place.folder;
            tell.create(ino, place, version, record);
            inner.tree.show(node.clone());
            attributes::touch(&inner.tree, tell, ino, inner.tree.timestamp());
            attributes::touch_folder(&inner.tree, tell, folder);
        });
        Ok(Arc::new(node))
    }

    /// Makes a folder.
    pub fn make_folder(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<Arc<Node>, VolumeError>> {
        let (volume, place) = (self.clone(), place(folder, name));
        let found = self.to_make(&place, caller);
        found.then(move |free| {
            free?;
            let inner = &volume.inner;
            let ino = volume.fresh_ino()?;
            inner.outbox.with(|tell| {
                tell.make_folder(ino, place.clone());
                inner.tree.show_folder(ino, None, place.folder, &place.name);
                attributes::touch_folder(&inner.tree, tell, ino);
                attributes::touch_folder(&inner.tree, tell, place.folder);
            });
            inner.tree.changed(ino);
            inner.tree.own(ino).ok_or(VolumeError::NotFound)
        })
    }

    /// Removes a file. Who has it open goes on reading and writing it.
    pub fn unlink(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let volume = self.clone();
        self.to_change(folder, name, caller).then(move |node| {
            let node = node?;
            if node.is_folder() {
                return Err(VolumeError::IsFolder);
            }
            volume.remove(&node)
        })
    }

    /// Removes an empty folder.
    pub fn remove_folder(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let volume = self.clone();
        match self.to_change(folder, name, caller) {
            Cached::Hit(node) => volume.remove_empty(node, caller),
            Cached::Wait(node) => {
                Cached::wait(async move { volume.remove_empty(node.await, caller).ready().await })
            }
        }
    }

    fn remove_empty(
        &self,
        node: Result<Arc<Node>, VolumeError>,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let node = match node {
            Ok(node) if node.is_folder() => node,
            Ok(_) => return Cached::Hit(Err(VolumeError::NotFolder)),
            Err(error) => return Cached::Hit(Err(error)),
        };
        let volume = self.clone();
        self.empty(&node, caller).then(move |empty| {
            empty?;
            volume.remove(&node)
        })
    }

    /// Moves a file or folder.
    pub fn rename(
        &self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        replace: Replace,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        if let Err(error) = check(to.1) {
            return Cached::Hit(Err(error));
        }
        let moved = self.to_change(from.0, from.1, caller);
        let there = self.find(to.0, to.1, caller);
        let (volume, to) = (self.clone(), place(to.0, to.1));
        match (moved, there) {
            (Cached::Hit(moved), Cached::Hit(there)) => {
                volume.put(moved, there, to, replace, caller)
            }
            (moved, there) => Cached::wait(async move {
                let (moved, there) = (moved.ready().await, there.ready().await);
                let put = volume.put(moved, there, to, replace, caller);
                put.ready().await
            }),
        }
    }

    fn put(
        &self,
        moved: Result<Arc<Node>, VolumeError>,
        there: Found,
        to: Place,
        replace: Replace,
        caller: Caller,
    ) -> Cached<Result<(), VolumeError>> {
        let (moved, there) = match (moved, there) {
            (Ok(moved), Ok(there)) => (moved, there),
            (Err(error), _) | (_, Err(error)) => return Cached::Hit(Err(error)),
        };
        let volume = self.clone();
        match (there, replace) {
            (None, Replace::Exchange) => Cached::Hit(Err(VolumeError::NotFound)),
            (None, _) => Cached::Hit(self.replace(&moved, None, to)),
            (Some(_), Replace::No) => Cached::Hit(Err(VolumeError::Exists)),
            (Some(there), _) if there.ino == moved.ino => Cached::Hit(Ok(())),
            (Some(there), Replace::Exchange) => Cached::Hit(self.exchange(&moved, &there)),
            (Some(there), Replace::Yes) => match (moved.is_folder(), there.is_folder()) {
                (true, false) => Cached::Hit(Err(VolumeError::NotFolder)),
                (false, true) => Cached::Hit(Err(VolumeError::IsFolder)),
                (false, false) => Cached::Hit(self.replace(&moved, Some(&there), to)),
                (true, true) => self.empty(&there, caller).then(move |empty| {
                    empty?;
                    volume.replace(&moved, Some(&there), to)
                }),
            },
        }
    }

    /// Moves something, in the place of what is there if something is.
    fn replace(
        &self,
        moved: &Arc<Node>,
        there: Option<&Arc<Node>>,
        to: Place,
    ) -> Result<(), VolumeError> {
        let (tree, around) = (&self.inner.tree, &self.inner.around);
        self.inner.outbox.with(|tell| {
            let moved = tree.newest(moved).ok_or(VolumeError::NotFound)?;
            if let Some(there) = there.and_then(|there| tree.newest(there)) {
                // A folder's name must be free first; a file is there until what replaces it is.
                let after = (!moved.is_folder()).then_some(moved.ino);
                around.remove(tell, &there, after);
            }
            let (from, into) = (moved.parent, to.folder);
            around.place(tell, &moved, to);
            tree.changed(from);
            tree.changed(if moved.is_folder() { moved.ino } else { into });
            attributes::touch_folder(tree, tell, from);
            if from != into {
                attributes::touch_folder(tree, tell, into);
            }
            Ok(())
        })
    }

    fn exchange(&self, one: &Arc<Node>, other: &Arc<Node>) -> Result<(), VolumeError> {
        let (tree, around) = (&self.inner.tree, &self.inner.around);
        self.inner.outbox.with(|tell| {
            let one = tree.newest(one).ok_or(VolumeError::NotFound)?;
            let other = tree.newest(other).ok_or(VolumeError::NotFound)?;
            around.place(tell, &one, place(other.parent, &other.name));
            around.place(tell, &other, place(one.parent, &one.name));
            attributes::touch_folder(tree, tell, one.parent);
            attributes::touch_folder(tree, tell, other.parent);
            tree.changed(one.parent);
            tree.changed(other.parent);
            Ok(())
        })
    }

    fn remove(&self, node: &Arc<Node>) -> Result<(), VolumeError> {
        let tree = &self.inner.tree;
        self.inner.outbox.with(|tell| {
            let node = tree.newest(node).ok_or(VolumeError::NotFound)?;
            self.inner.around.remove(tell, &node, None);
            attributes::touch_folder(tree, tell, node.parent);
            tree.changed(node.parent);
            Ok(())
        })
    }

    /// Whether a name may be made and is free.
    fn to_make(&self, place: &Place, caller: Caller) -> Cached<Result<(), VolumeError>> {
        if let Err(error) = check(&place.name) {
            return Cached::Hit(Err(error));
        }
        let found = self.find(place.folder, &place.name, caller);
        found.then(|found| match found? {
            Some(_) => Err(VolumeError::Exists),
            None => Ok(()),
        })
    }

    /// What a name leads to that is about to be changed.
    fn to_change(
        &self,
        folder: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<Arc<Node>, VolumeError>> {
        let found = self.find(folder, name, caller);
        found.then(|found| found?.ok_or(VolumeError::NotFound))
    }

    /// What a name leads to, when it may be changed.
    fn find(&self, folder: Ino, name: &OsStr, caller: Caller) -> Cached<Found> {
        if let Err(error) = self.admit_in(folder) {
            return Cached::Hit(Err(error));
        }
        let (volume, found) = (self.clone(), self.inner.tree.lookup(folder, name, caller));
        found.then(move |found| {
            let found = found?;
            // The folder that shows what others share lies in one's own.
            if let Some(folder) = found.as_ref().filter(|node| node.is_folder()) {
                volume.admit_in(folder.ino)?;
            }
            Ok(found)
        })
    }

    /// Whether nothing is in a folder.
    fn empty(&self, folder: &Node, caller: Caller) -> Cached<Result<(), VolumeError>> {
        let children = self.inner.tree.children(folder.ino, caller);
        children.then(|children| {
            let children = children?;
            if children.entries().is_empty() && children.is_complete() {
                Ok(())
            } else {
                Err(VolumeError::NotEmpty)
            }
        })
    }

    pub(super) fn fresh_ino(&self) -> Result<Ino, VolumeError> {
        Ino::own(self.inner.outbox.fresh()).ok_or(VolumeError::Unsupported)
    }
}

/// A name in a folder.
pub(super) fn place(folder: Ino, name: &OsStr) -> Place {
    Place {
        folder,
        name: name.into(),
    }
}

/// Whether the service takes such a name.
fn check(name: &OsStr) -> Result<(), VolumeError> {
    if is_too_long(name) {
        return Err(VolumeError::NameTooLong);
    }
    Ok(())
}

/// Whether a name is too long to be given to anything.
pub fn is_too_long(name: &OsStr) -> bool {
    // Nearly all are shorter in whatever way it is counted.
    name.len() > NAME_MAX
        || name.len() > NAME_CHARS / 4 && encode(name).chars().count() > NAME_CHARS
}
