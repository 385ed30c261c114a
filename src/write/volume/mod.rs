//! What the files and folders of a mount hold and are called, changes included: the tree, the reader, staged
//! contents and the outbox as one drive.
//!
//! ```text
//! Volume ─▶ names     create, make, move, remove: shown at once, told later
//!        ─▶ open      handles; one content per inode for all of them
//!        ─▶ seal      what was written becomes a version the outbox knows
//!        ─▶ attributes  what the account cannot hold       ─▶ state   how far the account is behind
//!        ─▶ around    what the outbox asks of the tree and of the files
//!        ─▶ replay    what an earlier life did not get told
//! ```
//!
//! Promises: a change is seen by the next look, whoever looks; what `flush` or `sync` said yes to survives
//! a crash; reading sees what was written, whatever handle it came by. Knows inode numbers, names and bytes;
//! never the kernel, never HTTP.
//!
//! Lock order: the outbox's, then a file's, then the tree's. None is held across an await.
mod attributes;
mod error;
mod names;
mod open;
mod state;

pub use error::VolumeError;
pub use names::Replace;
pub use open::{Access, Allocate, OpenFile};
pub use state::State;

use crate::api::Client;
use crate::outbox::Outbox;
use crate::read::Reader;
use crate::tree::{Ino, Node, Store, Tree};
use crate::util::clock::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;

/// What a volume is made of and bounded by.
#[derive(Debug)]
pub struct VolumeSettings {
    /// Folder of the staged files; made for its owner only.
    pub staging_dir: PathBuf,
    /// Bytes staged at most.
    pub staging_size: u64,
    /// How long a file is left alone after it was closed before it is uploaded.
    pub settle: Duration,
    /// How long one that is held open for writing is, after it was flushed.
    pub settle_open: Duration,
    /// Whether `flush` waits for the upload.
    pub waits_for_upload: bool,
    /// Whether nothing may be changed; what an earlier mount did not get told is shown all the same.
    pub is_read_only: bool,
}

/// The files and folders of one mount; cheap to clone.
#[derive(Debug, Clone)]
pub struct Volume {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tree: Tree,
    reader: Reader,
    outbox: Outbox,
}

/// Size and times of a file as they are now, where its node does not say so yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    /// Bytes.
    pub size: u64,
    /// When it was written to last, since 1970.
    pub modified: Duration,
}

impl Volume {
    /// The volume over `tree`, whose store is `store`: takes up what an earlier life did not get told, so
    /// that everything is shown as it was left. Nothing is told before [`Volume::start`]. Blocks for the disk.
    pub fn open(
        tree: Tree,
        reader: Reader,
        client: Client,
        clock: Clock,
        store: Store,
        settings: VolumeSettings,
        runtime: runtime::Handle,
    ) -> Result<Self, VolumeError> {
        let _ = (tree, reader, client, clock, store, settings, runtime);
        todo!()
    }

    /// Begins to tell the account, in the background.
    pub fn start(&self) {
        self.inner.outbox.start();
    }

    /// What the account has to be told.
    pub fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// Size and times of a file that was changed since its node was made; at once.
    pub fn fresh(&self, ino: Ino) -> Option<Fresh> {
        let _ = ino;
        todo!()
    }

    /// The newest known of an inode that the kernel holds.
    pub fn node(&self, ino: Ino) -> Result<Arc<Node>, VolumeError> {
        Ok(self.inner.tree.node(ino)?)
    }
}
