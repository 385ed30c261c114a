//! Removing a file because another one holds the same: only while both are as they were when they were compared.
use super::{Volume, attributes};
use crate::tree::{Node, NodeKey};
use std::sync::Arc;

/// Why a file stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// Nothing may be changed.
    #[error("the mount is read-only")]
    ReadOnly,
    /// The one that was to stay is not there any more, or holds something else.
    #[error("the file that was to be kept has changed")]
    KeptChanged,
    /// It is not what it was itself.
    #[error("it has changed")]
    Changed,
}

impl Volume {
    /// Removes `spare` if it and `keep` are shown as they were, and nobody has written to either.
    pub fn remove_spare(&self, keep: &Arc<Node>, spare: &Arc<Node>) -> Result<(), Stays> {
        self.admit().map_err(|_| Stays::ReadOnly)?;
        let tree = &self.inner.tree;
        let removed = self.inner.outbox.with(|tell| {
            let is_same = |node: &Arc<Node>| {
                let entry = tell.entry(node.ino);
                let is_told = entry.is_none_or(|entry| entry.content.is_none());
                let now = tree.newest(node).filter(|now| now.key() == node.key());
                now.filter(|_| is_told && self.is_untouched(node))
            };
            if keep.key() == spare.key() || !matches!(spare.key(), NodeKey::File(_)) {
                return Err(Stays::Changed);
            }
            is_same(keep).ok_or(Stays::KeptChanged)?;
            let spare = is_same(spare).ok_or(Stays::Changed)?;
            self.inner.around.remove(tell, &spare, None);
            attributes::touch_folder(tree, tell, spare.parent);
            Ok(spare)
        })?;
        // The kernel did not ask for it.
        tree.disturb(removed.ino, removed.parent, &removed.name);
        Ok(())
    }

    /// Whether nobody has written to a file since it was stored.
    fn is_untouched(&self, node: &Node) -> bool {
        let open = self.inner.around.files.get(node.ino);
        open.is_none_or(|file| {
            let state = file.lock();
            !state.is_changed() && !state.is_sealing && state.writers == 0
        })
    }
}
