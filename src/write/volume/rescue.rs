//! Others have removed a folder in which something is wanted here: a new one takes its place, with all of that.
//!
//! Promises: what was made, written or moved here has a path as long as nobody removes it here, and is told to the
//! account. What the account had in the folder is gone, as others wanted it.
use super::conflict::apart;
use super::names::place;
use super::{Volume, attributes};
use crate::tree::{Ino, Node};
use std::ffi::OsStr;
use std::sync::Arc;

/// What the new folder is called if nobody knows any more what the old one was called.
const NAMELESS: &str = "removed by others";

impl Volume {
    /// Makes a folder in the place of `gone`, which `was` this, if anything is wanted in that. Blocks for the disk.
    pub(super) fn rescue(&self, gone: Ino, was: Option<&Node>) {
        let (tree, around) = (&self.inner.tree, &self.inner.around);
        if gone == Ino::ROOT {
            return;
        }
        self.inner.outbox.with(|tell| {
            // What the account was told of in time is gone with the folder.
            let is_wanted = |node: &Arc<Node>| tell.entry(node.ino).is_some();
            let wanted: Vec<Arc<Node>> = tree.own_in(gone).into_iter().filter(is_wanted).collect();
            if wanted.is_empty() {
                return;
            }
            let ino = match self.fresh_ino() {
                Ok(ino) => ino,
                Err(error) => {
                    log::warn!(
                        "what is wanted in inode {gone}, which others have removed, stays there: {error}"
                    );
                    return;
                }
            };
            let mut new = match was {
                Some(was) => place(was.parent, &was.name),
                None => place(Ino::ROOT, OsStr::new(NAMELESS)),
            };
            if let Some(was) = was {
                // Listings may show it still.
                tree.unshow(gone, was.parent);
                tree.told(gone);
            }
            if tree.shows(new.folder, &new.name) {
                new = apart(tree, &new);
            }
            log::warn!(
                "others have removed {}; what was made in it here since is kept in a new folder",
                new.name.to_string_lossy()
            );
            tell.make_folder(ino, new.clone());
            tree.show_folder(ino, None, new.folder, &new.name);
            attributes::touch_folder(tree, tell, ino);
            for node in wanted {
                let to = place(ino, &node.name);
                around.place(tell, &node, to);
            }
            tree.disturb(ino, new.folder, &new.name);
        });
    }
}
