//! What was kept elsewhere of this machine's own: taken in again, and the file in the account in which it is kept.
use super::{Access, Volume, VolumeError};
use crate::outbox::Telling;
use crate::outbox::intent::Place;
use crate::read::ReadTerms;
use crate::tree::{Caller, Ino, Local, Node, SNAPSHOT_NAME, Tree};
use crate::write::error::StageError;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::sync::Arc;

/// Bytes that are read or written at a time.
const PIECE: u64 = 1 << 20;

impl Volume {
    /// Takes attributes in that were kept elsewhere; those that were changed here later stay. How many were taken in.
    pub fn restore_attributes(&self, all: &[(Ino, Local)]) -> u64 {
        let tree = &self.inner.tree;
        let mut restored = Vec::new();
        self.inner.outbox.with(|tell| {
            for (ino, saved) in all {
                let before = tree.local(*ino);
                let is_newer = before.is_none_or(|before| before.changed < saved.changed);
                if is_newer && !tree.is_leaving(*ino) {
                    put(tree, tell, *ino, Some(over(*saved, before)));
                    restored.push(*ino);
                }
            }
        });
        for ino in &restored {
            tree.disturb_attributes(*ino);
        }
        restored.len() as u64
    }

    /// Makes an empty file that was kept elsewhere. Its folder looks as before.
    pub fn restore_empty(
        &self,
        folder: Ino,
        name: &OsStr,
        saved: Local,
    ) -> Result<(), VolumeError> {
        self.admit()?;
        let node = self.make_unnoticed(folder, name)?;
        let tree = &self.inner.tree;
        self.inner
            .outbox
            .with(|tell| put(tree, tell, node.ino, Some(saved)));
        tree.disturb(node.ino, folder, name);
        Ok(())
    }

    /// The file in the account in which things are kept that are this machine's own, if there is one. It may have
    /// to be listed.
    pub async fn snapshot(&self, caller: Caller) -> Result<Option<Arc<Node>>, VolumeError> {
        let name = OsStr::new(SNAPSHOT_NAME);
        let found = self.inner.tree.lookup(Ino::ROOT, name, caller);
        Ok(found.ready().await?.filter(|node| !node.is_folder()))
    }

    /// Copies it.
    pub async fn read_snapshot(
        &self,
        node: &Arc<Node>,
        to: &mut impl Write,
        terms: ReadTerms,
    ) -> Result<(), VolumeError> {
        let access = Access {
            reads: true,
            writes: false,
            truncates: false,
        };
        let open = self.open_node(node, access)?;
        let mut at = 0;
        loop {
            let bytes = open.read(at, PIECE, terms).ready().await?;
            if bytes.is_empty() {
                return Ok(());
            }
            at += bytes.len() as u64;
            to.write_all(&bytes).map_err(StageError::from)?;
        }
    }

    /// Puts another content in its place; it is uploaded as every file is, and replaces the one that was there when
    /// the account has it. On disk when this returns.
    pub async fn write_snapshot(
        &self,
        from: &mut impl Read,
        caller: Caller,
    ) -> Result<(), VolumeError> {
        self.admit()?;
        let node = match self.snapshot(caller).await? {
            Some(node) => node,
            None => self.make_unnoticed(Ino::ROOT, OsStr::new(SNAPSHOT_NAME))?,
        };
        let access = Access {
            reads: false,
            writes: true,
            truncates: true,
        };
        let open = self.open_node(&node, access)?;
        open.resize(0)?;
        let mut piece = Vec::new();
        let mut at = 0;
        loop {
            piece.clear();
            let mut part = from.take(PIECE);
            part.read_to_end(&mut piece).map_err(StageError::from)?;
            if piece.is_empty() {
                break;
            }
            open.write(at, &piece)?;
            at += piece.len() as u64;
        }
        open.sync(caller).ready().await
    }

    /// Makes an empty file without its folder's time moving on: nobody here made it.
    fn make_unnoticed(&self, folder: Ino, name: &OsStr) -> Result<Arc<Node>, VolumeError> {
        let tree = &self.inner.tree;
        let before = tree.local(folder);
        let node = self.make_file(Place {
            folder,
            name: name.into(),
        })?;
        self.inner
            .outbox
            .with(|tell| put(tree, tell, folder, before));
        Ok(node)
    }
}

/// What was kept elsewhere, and what is known here only.
fn over(saved: Local, before: Option<Local>) -> Local {
    let Some(before) = before else {
        return saved;
    };
    Local {
        mode: saved.mode.or(before.mode),
        uid: saved.uid.or(before.uid),
        gid: saved.gid.or(before.gid),
        modified: saved.modified.or(before.modified),
        accessed: saved.accessed.or(before.accessed),
        changed: saved.changed,
    }
}

fn put(tree: &Tree, tell: &mut Telling<'_>, ino: Ino, local: Option<Local>) {
    match local {
        Some(local) => tree.set_local(ino, local),
        None => tree.unset_local(ino),
    }
    tell.note(tree.lasting(ino), local.as_ref());
}
