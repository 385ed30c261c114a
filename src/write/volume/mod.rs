//! What the files and folders of a mount hold and are called, changes included: the tree, the reader, staged
//! contents and the outbox as one drive.
//!
//! ```text
//! Volume ─▶ names     create, make, move, remove: shown at once, told later
//!        ─▶ open      handles
//!        ─▶ files     one content per inode, for all its handles
//!        ─▶ seal      what was written becomes a version that the outbox knows
//!        ─▶ conflict  what others changed as well
//!        ─▶ rescue    what is wanted in a folder that others have removed
//!        ─▶ spare     files that hold the same as another one, removed
//!        ─▶ attributes   what the account cannot hold      ─▶ state   how far the account is behind
//!        ─▶ around    what the outbox asks of the tree and of the files
//!        ─▶ restore   what another machine kept of it
//!        ─▶ replay    what an earlier life did not get told
//! ```
//!
//! Promises: a change is seen by the next look, whoever looks; what `flush` or `sync` said yes to survives
//! a crash; reading sees what was written, whatever handle it came by. Knows inode numbers, names and bytes;
//! never the kernel, never HTTP.
//!
//! Lock order: a file's sealing, the outbox, a file, the tree. None is held across an await. What the outbox
//! has of a file and what the tree shows of it change under the outbox's lock only, so under that they agree.
mod around;
mod attributes;
mod conflict;
mod decide;
mod error;
mod files;
mod names;
mod open;
mod recent;
mod replay;
mod rescue;
mod restore;
mod seal;
mod spare;
mod state;

pub use error::VolumeError;
pub use names::{NAME_CHARS, Replace, is_too_long};
pub use open::{Access, Allocate, OpenFile};
pub use spare::Stays;
pub use state::State;

use super::staging::Staging;
use super::versions::Versions;
use crate::api::Client;
use crate::outbox::{Outbox, Settle};
use crate::read::Reader;
use crate::tree::{Caller, Ino, Node, Store, Tree};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use around::Around;
use conflict::Doubt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc;

/// What a volume is bounded by and where it keeps things.
#[derive(Debug, Clone)]
pub struct VolumeSettings {
    /// Folder of the staged files; made for its owner only.
    pub staging_dir: PathBuf,
    /// Bytes staged at most.
    pub staging_size: u64,
    /// How long a file is left alone after it was closed before it is uploaded.
    pub settle: Duration,
    /// How long one that is held open for writing is, after it was flushed.
    pub settle_open: Duration,
    /// Bytes per second that all uploads together may take.
    pub upload_limit: Option<u64>,
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
    clock: Clock,
    runtime: runtime::Handle,
    staging: Staging,
    versions: Versions,
    around: Arc<Around>,
    outbox: Outbox,
    doubts: Mutex<Option<mpsc::UnboundedReceiver<Doubt>>>,
    settings: VolumeSettings,
}

/// Size and time of a file that was written to and not flushed since.
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
        store: &Store,
        settings: VolumeSettings,
        runtime: runtime::Handle,
    ) -> Result<Self, VolumeError> {
        let staging = Staging::open(&settings.staging_dir, settings.staging_size)
            .map_err(super::error::StageError::from)?;
        let versions = Versions::new(
            staging.clone(),
            reader.clone(),
            settings.upload_limit,
            clock,
            runtime.clone(),
        );
        let (tell_doubts, doubts) = mpsc::unbounded_channel();
        let around = Arc::new(Around::new(tree.clone(), versions.clone(), tell_doubts));
        let pending = store.pending().map_err(crate::outbox::OutboxError::from)?;
        let outbox = Outbox::open(
            client,
            clock,
            store.clone(),
            Settle {
                closed: settings.settle,
                open: settings.settle_open,
            },
            tree.lasting(Ino::ROOT),
            Arc::clone(&around) as Arc<dyn crate::outbox::Surroundings>,
            runtime.clone(),
        )?;
        versions.recover(store, || outbox.fresh())?;
        let volume = Self {
            inner: Arc::new(Inner {
                tree,
                reader,
                clock,
                runtime,
                staging,
                versions,
                around,
                outbox,
                doubts: Mutex::new(Some(doubts)),
                settings,
            }),
        };
        volume.replay(&pending);
        Ok(volume)
    }

    /// Begins to tell the account, in the background; not if nothing may be changed.
    pub fn start(&self) {
        if self.inner.settings.is_read_only {
            return;
        }
        self.inner.outbox.start();
        if let Some(doubts) = lock(&self.inner.doubts).take() {
            let volume = Arc::downgrade(&self.inner);
            self.inner.runtime.spawn(Self::watch_doubts(volume, doubts));
        }
    }

    /// What the account has to be told.
    pub fn outbox(&self) -> &Outbox {
        &self.inner.outbox
    }

    /// Size and time of a file that was written to and not flushed since; at once.
    pub fn fresh(&self, ino: Ino) -> Option<Fresh> {
        self.inner.around.files.get(ino)?.fresh()
    }

    /// The newest known of an inode that the kernel holds.
    pub fn node(&self, ino: Ino) -> Result<Arc<Node>, VolumeError> {
        Ok(self.inner.tree.node(ino)?)
    }

    /// Seals what programs have written and not closed, as if they had: the mount is at its end. Then waits until
    /// everything is written down.
    pub async fn close(&self) -> Result<(), VolumeError> {
        let volume = self.clone();
        let sealing = move || {
            let files = volume.inner.around.files.all();
            // One that fails must not keep the others back.
            let sealed = files.iter().map(|file| volume.seal(file).map(|_| ()));
            sealed.fold(Ok(()), Result::and)
        };
        let sealed = self.inner.runtime.spawn_blocking(sealing).await;
        sealed.map_err(|_| VolumeError::Ending)??;
        Ok(self.inner.outbox.written().await?)
    }

    /// Whether changes may be made.
    fn admit(&self) -> Result<(), VolumeError> {
        if self.inner.settings.is_read_only {
            return Err(VolumeError::ReadOnly);
        }
        Ok(())
    }

    /// Whether changes may be made in a folder: not in what others share.
    fn admit_in(&self, folder: Ino) -> Result<(), VolumeError> {
        self.admit()?;
        if self.inner.tree.is_of_others(folder) {
            return Err(VolumeError::ReadOnly);
        }
        Ok(())
    }

    /// Waits until everything that was changed so far is written down.
    async fn written(&self, deadline: Deadline) -> Result<(), VolumeError> {
        let written = deadline.run(self.inner.outbox.written()).await;
        Ok(written.ok_or(VolumeError::Timeout)??)
    }

    /// What was changed in a folder is on disk, `fsync` of a folder says: all that was changed anywhere.
    pub async fn sync(&self, caller: Caller) -> Result<(), VolumeError> {
        self.written(caller.deadline).await
    }
}
