//! Attributes that the account cannot hold: kept here by inode number, in memory at once and on disk with
//! the change they belong to.
//!
//! Permissions, owners and times of files and folders; of files also when they were last written to, so
//! that an upload does not make them look new; of folders when something in them was changed here.
use super::{Volume, VolumeError};
use crate::outbox::Telling;
use crate::tree::{AttributeChange, Ino, Kind, Local, Node, Timestamp, Tree};

impl Volume {
    /// Changes attributes of a file or folder; on disk within a second, or with the next `written`.
    pub fn set_attributes(&self, ino: Ino, change: AttributeChange) -> Result<(), VolumeError> {
        self.admit()?;
        if change.is_empty() {
            return Ok(());
        }
        let node = self.node(ino)?;
        self.admit_in(if node.is_folder() { ino } else { node.parent })?;
        self.inner.outbox.with(|tell| {
            let written = self.fresh(node.ino).map(|fresh| fresh.modified.into());
            merge(&self.inner.tree, tell, node.ino, |local, now| {
                local.with(&change, written, now)
            });
        });
        Ok(())
    }
}

/// A file's content, last written to at `at`, is sealed: that stays its time, whenever it is uploaded. A time
/// that a program has set since stays, too.
pub(super) fn touch(tree: &Tree, tell: &mut Telling<'_>, ino: Ino, at: Timestamp) {
    merge(tree, tell, ino, |local, _| local.written(at));
}

/// Something was made in a folder, removed from it or moved, here and now; or it was made itself.
pub(super) fn touch_folder(tree: &Tree, tell: &mut Telling<'_>, folder: Ino) {
    merge(tree, tell, folder, |local, now| {
        let change = AttributeChange {
            modified: Some(now),
            ..AttributeChange::default()
        };
        local.with(&change, None, now)
    });
}

/// A file of the account is moved: until it is listed in its new place, which may be after a restart, nobody
/// says when it was uploaded.
pub(super) fn keep_time(tree: &Tree, tell: &mut Telling<'_>, node: &Node) {
    if let (Kind::File(_), Some(uploaded)) = (&node.kind, node.modified()) {
        merge(tree, tell, node.ino, |local, _| Local {
            modified: local.modified.or(Some(Timestamp::new(uploaded, 0))),
            ..local
        });
    }
}

/// A file or folder was removed for good. Whoever has it open still sees its attributes.
pub(super) fn forget(tree: &Tree, tell: &mut Telling<'_>, ino: Ino) {
    let was_kept = tree.local(ino).is_some();
    tree.forget_local(ino);
    if was_kept {
        tell.note(ino, None);
    }
}

/// All changes go through here: inside [`Outbox::with`](crate::outbox::Outbox::with), so that none is lost to
/// another.
fn merge(
    tree: &Tree,
    tell: &mut Telling<'_>,
    ino: Ino,
    change: impl FnOnce(Local, Timestamp) -> Local,
) {
    let now = tree.timestamp();
    let before = tree.local(ino);
    let local = change(before.unwrap_or_else(|| Local::new(now)), now);
    if before == Some(local) {
        return;
    }
    tree.set_local(ino, local);
    if !tree.is_leaving(ino) {
        tell.note(tree.lasting(ino), Some(&local));
    }
}
