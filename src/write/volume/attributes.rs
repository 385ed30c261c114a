//! Attributes that the account cannot hold: kept here by inode number, in memory at once and on disk with
//! the change they belong to.
//!
//! Permissions, owners and times of files and folders; of files also when they were last written to, so
//! that an upload does not make them look new; of folders when something in them was changed here.
use super::{Volume, VolumeError};
use crate::outbox::Telling;
use crate::tree::{AttributeChange, Ino, Local, Timestamp};

impl Volume {
    /// Changes attributes of a file or folder; on disk within a second, or with the next `written`.
    pub fn set_attributes(&self, ino: Ino, change: AttributeChange) -> Result<(), VolumeError> {
        if change.is_empty() {
            return Ok(());
        }
        let node = self.node(ino)?;
        self.inner.outbox.with(|tell| {
            let written = self.last_write(node.ino);
            self.merge(tell, node.ino, |local, now| {
                local.with(&change, written, now)
            });
        });
        Ok(())
    }

    /// When a file was written to since it was last sealed.
    pub fn last_write(&self, ino: Ino) -> Option<Timestamp> {
        self.fresh(ino).map(|fresh| fresh.modified.into())
    }

    /// A file's content, last written to at `at`, is sealed: that stays its time, whenever it is uploaded.
    /// A time that a program has set since stays, too.
    pub fn touch(&self, tell: &mut Telling<'_>, ino: Ino, at: Timestamp) {
        self.merge(tell, ino, |local, _| local.written(at));
    }

    /// Something was made in a folder, removed from it or moved, here and now.
    pub fn touch_folder(&self, tell: &mut Telling<'_>, folder: Ino) {
        self.merge(tell, folder, |local, now| {
            let change = AttributeChange {
                modified: Some(now),
                ..AttributeChange::default()
            };
            local.with(&change, None, now)
        });
    }

    /// A file or folder was moved or linked elsewhere: nothing but its time of change is another one.
    pub fn touch_entry(&self, tell: &mut Telling<'_>, ino: Ino) {
        self.merge(tell, ino, |local, now| {
            local.with(&AttributeChange::default(), None, now)
        });
    }

    /// A file or folder was removed for good. Whoever has it open still sees its attributes.
    pub fn forget_attributes(&self, tell: &mut Telling<'_>, ino: Ino) {
        self.inner.tree.forget_local(ino);
        tell.note(ino, None);
    }

    /// All changes go through here: inside [`Outbox::with`](crate::outbox::Outbox::with), so that none is
    /// lost to another.
    fn merge(
        &self,
        tell: &mut Telling<'_>,
        ino: Ino,
        change: impl FnOnce(Local, Timestamp) -> Local,
    ) {
        let tree = &self.inner.tree;
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
}
