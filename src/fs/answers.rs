//! Answers that hand nodes to the kernel, with the count of what it holds. Made on the event loop
//! or in a task, whichever has the listing.
use super::attr::{Ownership, blocks_of};
use super::change::{self, Maker};
use super::failure;
use crate::tree::{GENERATION, Ino, Kind, Listing, Node, Tree, is_snapshot_name};
use crate::write::volume::Volume;
use fuser::{
    FileAttr, FileType, Generation, INodeNo, ReplyAttr, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEntry,
};
use std::sync::Arc;
use std::time::SystemTime;

/// The cookie of the entry "."; children's cookies are their inode numbers, which are larger.
const COOKIE_SELF: u64 = 1;

/// The cookie of the entry "..".
const COOKIE_PARENT: u64 = 2;

/// Everything a task needs to answer with nodes, apart from `Fs` itself.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) tree: Tree,
    pub(super) volume: Volume,
    pub(super) ownership: Ownership,
}

impl Answers {
    /// The attributes of a node as they are now: what was written to a file is in no node before it is
    /// closed, and a file that was removed while it was open has no name left.
    pub(super) fn attributes(&self, node: &Node) -> FileAttr {
        let fresh = self.volume.fresh(node.ino);
        // After that: what is sealed meanwhile is in the node from then on, and not in the one handed in.
        let newest = match fresh {
            None if !node.is_folder() => self.tree.own(node.ino),
            _ => None,
        };
        let node = newest.as_deref().unwrap_or(node);
        let local = self.tree.local(node.ino);
        let written = fresh.map(|fresh| fresh.modified.into());
        let mut attributes = self.ownership.attributes(node, local.as_ref(), written);
        if let Some(fresh) = fresh {
            attributes.size = fresh.size;
            attributes.blocks = blocks_of(fresh.size);
        }
        if self.tree.is_gone(node.ino) {
            attributes.nlink = 0;
        }
        attributes
    }

    /// Answers with the attributes of an inode the kernel holds.
    pub(super) fn tell_attributes(&self, operation: &'static str, ino: Ino, reply: ReplyAttr) {
        match self.tree.node(ino) {
            Ok(node) => {
                let ttl = self.tree.entry_ttl(node.parent);
                reply.attr(&ttl, &self.attributes(&node));
            }
            Err(error) => reply.error(failure(operation, ino.get(), &error)),
        }
    }

    /// Keeps how something that was just made differs from the usual. The kernel holds it already, and has the
    /// folder locked.
    pub(super) fn made(&self, folder: Ino, node: &Arc<Node>, maker: Maker) {
        let Ok(above) = self.tree.node(folder) else {
            return;
        };
        let change = change::of_made(maker, &self.attributes(&above), &self.attributes(node));
        if let Err(error) = self.volume.set_attributes(node.ino, change) {
            log::warn!("attributes of inode {}, just made: {error}", node.ino);
        }
    }

    /// Answers with what was just made; the kernel holds it from then on.
    pub(super) fn made_entry(
        &self,
        folder: Ino,
        node: &Arc<Node>,
        maker: Maker,
        reply: ReplyEntry,
    ) {
        let node = self.tree.remember(node);
        self.made(folder, &node, maker);
        let ttl = self.tree.entry_ttl(folder);
        reply.entry(&ttl, &self.attributes(&node), Generation(GENERATION));
    }

    /// Answers with an entry of a folder, or with its absence; the kernel holds the node from then on.
    pub(super) fn entry(&self, folder: Ino, node: Option<&Arc<Node>>, reply: ReplyEntry) {
        let (ttl, attributes) = match node {
            Some(node) => {
                // Counted before the answer goes out: the kernel may forget at once.
                let node = self.tree.remember(node);
                (self.tree.entry_ttl(folder), self.attributes(&node))
            }
            None => (self.tree.absent_ttl(folder), self.absent()),
        };
        reply.entry(&ttl, &attributes, Generation(GENERATION));
    }

    /// An entry with inode 0 tells the kernel that the name does not exist and for how long it need
    /// not ask again.
    fn absent(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo(0),
            size: 0,
            blocks: 0,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0,
            nlink: 0,
            uid: self.ownership.uid,
            gid: self.ownership.gid,
            rdev: 0,
            blksize: 0,
            flags: 0,
        }
    }

    /// The folder itself and the one above it, with their names and cookies in its listing.
    fn dots(&self, listing: &Listing) -> Vec<(u64, &'static str, Arc<Node>)> {
        let own = self.tree.node(listing.ino());
        let above = own
            .as_ref()
            .map(|own| own.parent)
            .map(|above| self.tree.node(above));
        let above = above
            .ok()
            .and_then(Result::ok)
            .or_else(|| own.as_ref().ok().cloned());
        let dots = [(COOKIE_SELF, ".", own.ok()), (COOKIE_PARENT, "..", above)];
        dots.into_iter()
            .filter_map(|(cookie, name, node)| Some((cookie, name, node?)))
            .collect()
    }

    /// The entries of a folder after `cookie`, names only.
    pub(super) fn names(&self, listing: &Listing, cookie: u64, mut reply: ReplyDirectory) {
        for (at, name, node) in self.dots(listing) {
            if cookie < at && reply.add(INodeNo(node.ino.get()), at, FileType::Directory, name) {
                return reply.ok();
            }
        }
        for node in shown(listing, cookie) {
            let ino = node.ino.get();
            if reply.add(INodeNo(ino), ino, file_type(node), &node.name) {
                break;
            }
        }
        reply.ok();
    }

    /// The entries of a folder after `cookie` with attributes. The kernel holds every node that was
    /// added; the one that did not fit is not held, and "." and ".." never are.
    pub(super) fn names_and_attributes(
        &self,
        listing: &Listing,
        cookie: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let ttl = self.tree.entry_ttl(listing.ino());
        let generation = Generation(GENERATION);
        for (at, name, node) in self.dots(listing) {
            let attributes = self.attributes(&node);
            let ino = attributes.ino;
            if cookie < at && reply.add(ino, at, name, &ttl, &attributes, generation) {
                return reply.ok();
            }
        }
        for node in shown(listing, cookie) {
            let at = node.ino.get();
            // Counted before the answer goes out, taken back for the one that did not fit.
            let node = self.tree.remember(node);
            let attributes = self.attributes(&node);
            if reply.add(
                attributes.ino,
                at,
                &node.name,
                &ttl,
                &attributes,
                generation,
            ) {
                self.tree.forget(node.ino, 1);
                break;
            }
        }
        reply.ok();
    }
}

/// The entries after `cookie` that are anybody's.
fn shown(listing: &Listing, cookie: u64) -> impl Iterator<Item = &Arc<Node>> {
    let entries = listing.after(cookie).iter();
    entries.filter(|node| !is_snapshot_name(node.parent, &node.name))
}

fn file_type(node: &Node) -> FileType {
    match node.kind {
        Kind::Folder(_) => FileType::Directory,
        Kind::File(_) | Kind::Own(_) => FileType::RegularFile,
    }
}
