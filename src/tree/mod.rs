//! What exists: inodes, names, attributes, listings.
//!
//! Promises: what is known is answered on the thread that asks, however old it is, and looked at
//! again in the background; what is not known costs one call per folder, shared by all who want it;
//! an incomplete listing never passes for a complete one; names and inode numbers are stable; the
//! memory for listings is bounded. Knows folder and file ids, names and attributes; never bytes of
//! files, never the kernel.
//!
//! ```text
//! Tree ─▶ fetch    when a folder is listed, who waits      cache    listings in memory
//!  │       ├▶ keep     what the store is told and asked     store    listings on disk
//!  │       ├▶ large    folders beyond one listing          folders  place, dates, flights
//!  │       │   └▶ round ─▶ slices                 (pure)   places   who shows a file (pure)
//!  │       └▶ install  what an answer changes
//!              ├▶ listing   one folder, immutable           (pure)
//!              │   ├▶ names      service ⇄ file system      (pure)
//!              │   └▶ numbering  duplicates                 (pure)
//!              ├▶ inode     numbers, what the kernel holds
//!              └▶ change    what the kernel must be told
//!  ├▶ changes   what was changed here ─▶ own             (pure)
//!  ├▶ locals    attributes kept here ─▶ local            (pure)
//!  │   └▶ saved     the same for another machine
//!  ├▶ walk      all that is known, without asking anybody
//!  ├▶ crawl     lists what nobody asked for yet
//!  ├▶ refresh   keeps what is in use fresh
//!  └▶ patrol    looks at the rest again, for who takes the news
//! news    what programs beside the mount are told
//! space   statfs      root   the folder a mount shows      junk   names not worth a call
//! ```
mod cache;
mod change;
mod changes;
mod crawl;
mod error;
mod explain;
mod fetch;
mod folders;
mod inode;
mod install;
mod junk;
mod keep;
mod known;
mod large;
mod listing;
mod local;
mod locals;
mod names;
mod news;
mod node;
mod numbering;
mod own;
mod path;
mod patrol;
mod places;
mod refresh;
mod renew;
mod root;
mod round;
mod saved;
mod slices;
mod space;
mod store;
mod walk;

pub use change::{Change, Changes, Handed};
pub use crawl::{CrawlSnapshot, CrawlStage};
pub use error::TreeError;
pub use explain::ListingPlace;
pub use inode::{GENERATION, Ino};
pub use large::LargeSnapshot;
pub use listing::{EntryChange, Listing, diff};
pub use local::{AttributeChange, Local, MODE_BITS, Times, Timestamp};
pub use names::{NAME_MAX, decode, encode, name_with};
pub use news::News;
pub use node::{ContentType, File, Folder, Kind, Node, NodeKey, OwnFile};
pub use renew::Renewed;
pub use root::{RootError, RootFolder, resolve_root};
pub use space::Space;
pub use store::{Commit, Owner, Pending, Store, StoreError, StoreSnapshot};
pub use walk::{SNAPSHOT_NAME, Unknown, Visit, Walk, Walked, is_snapshot_name};

use crate::api::{Client, FileId, FolderId, Requester, UnixSeconds, UserInfo};
use crate::util::cached::Cached;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use cache::ListingCache;
use change::ChangeQueue;
use crawl::Crawl;
use folders::{Folders, Outcome};
use inode::InodeTable;
use large::LargeFolders;
use locals::Locals;
use news::Newsroom;
use own::Own;
use places::Places;
use refresh::InUse;
use space::SpaceKeeper;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long "no such name" may be believed when the folder is not listed yet, real time.
const UNSURE_TTL: Duration = Duration::from_secs(1);

/// The numbers the tree goes by.
#[derive(Debug, Clone)]
pub struct TreeSettings {
    /// The folder shown as root.
    pub root: RootFolder,
    /// Age from which a listing is looked at again when someone looks at it.
    pub dir_cache_time: Duration,
    /// Bytes of memory for listings, about; at least 16 MiB.
    pub memory: u64,
    /// Whether folders that nobody asked for are listed in the background.
    pub crawl: bool,
    /// Whether known folders are looked at again although nobody looks at them, and changes are kept for
    /// who takes them: see [`Tree::take_news`].
    pub watch: bool,
}

impl TreeSettings {
    /// Age from which a listing is looked at again: what rclone's mount does.
    pub const DIR_CACHE_TIME: Duration = Duration::from_secs(5 * 60);

    /// Bytes of memory for listings: some 250,000 entries.
    pub const MEMORY: u64 = 64 << 20;

    /// The usual numbers for the account's root.
    pub fn new() -> Self {
        Self {
            root: RootFolder::account(),
            dir_cache_time: Self::DIR_CACHE_TIME,
            memory: Self::MEMORY,
            crawl: true,
            watch: false,
        }
    }
}

impl Default for TreeSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// On whose behalf something is looked up, and by when the answer is of use.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// For whom; within a priority, requesters are served in turn.
    pub requester: Requester,
    /// When it gives up.
    pub deadline: Deadline,
}

/// Figures for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TreeSnapshot {
    /// Folders known to exist.
    pub folders: usize,
    /// Those of them whose entries are known, or were.
    pub folders_listed: usize,
    /// Entries of those.
    pub entries: u64,
    /// Listings in memory.
    pub listings: u64,
    /// Bytes they take, about.
    pub listing_bytes: u64,
    /// Inodes the kernel holds.
    pub inodes: usize,
    /// Folders being looked at again in the background.
    pub refreshing: usize,
    /// Folders that are open in programs.
    pub folders_open: usize,
    /// How the tree is being completed.
    pub crawl: CrawlSnapshot,
    /// Folders beyond one listing that are being listed in slices, or are known in part only; some
    /// of them when there are very many.
    pub large: Vec<LargeSnapshot>,
    /// What is kept on disk, if anything is.
    pub store: Option<StoreSnapshot>,
}

/// The tree of one mount; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tree {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    clock: Clock,
    runtime: Handle,
    settings: TreeSettings,
    inodes: InodeTable,
    cache: ListingCache,
    store: Option<Store>,
    folders: Mutex<Folders>,
    /// Held while an answer is taken in; never across an await.
    installing: Mutex<Places>,
    large: Mutex<LargeFolders>,
    crawl: Crawl,
    in_use: InUse,
    stopping: watch::Sender<bool>,
    changes: ChangeQueue,
    news: Newsroom,
    taker: Mutex<Option<Changes>>,
    /// What was changed here. Only the inodes are ever locked under it.
    own: RwLock<Own>,
    /// Attributes that the account cannot hold. Only the inodes are ever locked under it.
    locals: Locals,
    space: Arc<SpaceKeeper>,
    /// Background listings that wait or run.
    refreshing: AtomicUsize,
}

/// What a tree starts with.
struct Known {
    folders: Folders,
    displaced: Vec<(FileId, Ino)>,
    locals: Vec<(Ino, Local)>,
    store: Option<Store>,
}

impl Tree {
    /// A tree that knows its root only, and forgets all it learns. Calls run on `runtime`.
    pub fn new(client: Client, clock: Clock, settings: TreeSettings, runtime: Handle) -> Self {
        let known = Known {
            folders: Folders::default(),
            displaced: Vec::new(),
            locals: Vec::new(),
            store: None,
        };
        Self::knowing(client, clock, settings, runtime, known)
    }

    /// A tree that knows what `store` keeps of the account. Blocks for the disk.
    pub fn with_store(
        client: Client,
        clock: Clock,
        settings: TreeSettings,
        runtime: Handle,
        store: Store,
    ) -> Result<Self, StoreError> {
        let primary = store.primary()?;
        let mut folders = keep::folders_of(&store, &settings.root, clock);
        for (folder, numbering) in primary.numbering {
            folders.number(folder, numbering);
        }
        let known = Known {
            folders,
            displaced: primary.displaced,
            locals: primary.locals,
            store: Some(store),
        };
        Ok(Self::knowing(client, clock, settings, runtime, known))
    }

    fn knowing(
        client: Client,
        clock: Clock,
        settings: TreeSettings,
        runtime: Handle,
        known: Known,
    ) -> Self {
        let mut folders = known.folders;
        let changed = folders.state(settings.root.id).changed;
        let root = Arc::new(Node {
            ino: Ino::ROOT,
            parent: Ino::ROOT,
            name: OsStr::new("").into(),
            kind: Kind::Folder(Folder {
                id: settings.root.id,
                created: settings.root.created,
                changed,
                password: false,
            }),
        });
        let (changes, taker) = ChangeQueue::new();
        Self {
            inner: Arc::new(Inner {
                client,
                clock,
                runtime,
                inodes: InodeTable::new(root, known.displaced),
                cache: ListingCache::new(settings.memory),
                store: known.store,
                folders: Mutex::new(folders),
                installing: Mutex::default(),
                large: Mutex::default(),
                crawl: Crawl::new(settings.crawl),
                in_use: InUse::default(),
                stopping: watch::Sender::new(false),
                changes,
                news: Newsroom::default(),
                taker: Mutex::new(Some(taker)),
                own: RwLock::default(),
                locals: Locals::new(known.locals),
                space: SpaceKeeper::new(),
                refreshing: AtomicUsize::new(0),
                settings,
            }),
        }
    }

    /// Begins to keep what is in use fresh and to complete the tree, in the background, until
    /// [`Tree::stop`]. To be called once.
    pub fn start(&self) {
        let tree = self.clone();
        self.inner.runtime.spawn(async move {
            let crawl = async {
                if tree.inner.settings.crawl {
                    tree.crawl().await;
                }
            };
            let patrol = async {
                if tree.inner.settings.watch {
                    tree.patrol().await;
                }
            };
            tokio::select! {
                () = tree.stopped() => {}
                ((), (), ()) = async { tokio::join!(tree.keep_fresh(), crawl, patrol) } => {}
            }
        });
    }

    /// Ends all work in the background; what somebody waits for goes on.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
    }

    /// Waits for [`Tree::stop`].
    pub async fn stopped(&self) {
        let mut stopping = self.inner.stopping.subscribe();
        // An error means that the tree is gone, and it is here.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// A program has opened a folder: it is kept fresh until [`Tree::released`].
    pub fn opened(&self, folder: Ino) {
        if let Some(folder) = self.id_of(folder) {
            self.inner.in_use.opened(folder);
        }
    }

    /// A program has closed a folder.
    pub fn released(&self, folder: Ino) {
        if let Some(folder) = self.id_of(folder) {
            self.inner.in_use.released(folder);
        }
    }

    /// The entry called `name` in a folder. `Ok(None)` when a complete listing lacks it, and for names
    /// that desktops look for everywhere while the folder is not listed yet: see [`Tree::absent_ttl`].
    /// `.` and `..` are understood, also of inodes that the kernel does not hold: those of file handles
    /// that outlived a mount. `.` of a file is the file.
    pub fn lookup(
        &self,
        parent: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Cached<Result<Option<Arc<Node>>, TreeError>> {
        if name == "." {
            return self.locate(parent, caller);
        }
        if let Some(listing) = self.unmade(parent).filter(|_| name != "..") {
            return Cached::Hit(Ok(listing.get(name).cloned()));
        }
        let folder = match self.folder_of(parent) {
            Ok(folder) => folder,
            Err(error) => return Cached::Hit(Err(error)),
        };
        if name == ".." {
            return self.locate(self.above(folder), caller);
        }
        if junk::is_junk(name) && self.inner.cache.get(folder).is_none() && !self.is_kept(folder) {
            return Cached::Hit(Ok(None));
        }
        match self.listing(folder, caller) {
            Cached::Hit(outcome) => Cached::Hit(self.find(outcome, name)),
            Cached::Wait(outcome) => {
                let (tree, name) = (self.clone(), name.to_owned());
                Cached::wait(async move { tree.find(outcome.await, &name) })
            }
        }
    }

    /// All entries of a folder, never a part of them, with one exception: when the service itself
    /// cannot show all, because too many were uploaded within a second, what is known is shown, and
    /// never becomes less: see [`Listing::is_complete`]. A folder beyond one listing is
    /// [`TreeError::Timeout`] until it is known whole. Entries are to be shown through
    /// [`Tree::remember`].
    pub fn children(&self, folder: Ino, caller: Caller) -> Cached<Result<Arc<Listing>, TreeError>> {
        if let Some(listing) = self.unmade(folder) {
            return Cached::Hit(Ok(listing));
        }
        match self.folder_of(folder) {
            Ok(folder) => self.with_own(self.listing(folder, caller)),
            Err(error) => Cached::Hit(Err(error)),
        }
    }

    /// Like [`Tree::children`], but asks the service first, as far as it allows: at most once in 30 s.
    pub fn refresh(&self, folder: Ino, caller: Caller) -> Cached<Result<Arc<Listing>, TreeError>> {
        match self.folder_of(folder) {
            Ok(folder) => self.with_own(self.newest_listing(folder, caller)),
            Err(error) => Cached::Hit(Err(error)),
        }
    }

    /// What an inode that the kernel holds is, also when it has gone from the account meanwhile.
    pub fn node(&self, ino: Ino) -> Result<Arc<Node>, TreeError> {
        let node = self.inner.inodes.get(ino).ok_or(TreeError::Stale(ino))?;
        // Somebody looks at it: see whether it is still so.
        for seen_in in [Some(node.parent), node.is_folder().then_some(ino)] {
            if let Some(known) = seen_in
                .and_then(|folder| self.id_of(folder))
                .and_then(|id| self.inner.cache.get(id))
            {
                self.inner
                    .in_use
                    .used(known.folder(), self.inner.clock.now());
                self.look_again(&known);
            }
        }
        Ok(node)
    }

    /// Whether an inode the kernel holds is gone from the account.
    pub fn is_gone(&self, ino: Ino) -> bool {
        self.inner.inodes.is_gone(ino)
    }

    /// Counts a lookup that the kernel is about to be told of. Tell it of the node returned: it is the
    /// newest known of the inode, and in the rarest of cases bears another number.
    #[must_use = "the kernel must be told of the node returned"]
    pub fn remember(&self, node: &Arc<Node>) -> Arc<Node> {
        self.inner.inodes.remember(&self.current(node))
    }

    /// The kernel forgets `lookups` lookups of an inode.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        let inodes = &self.inner.inodes;
        inodes.forget(ino, lookups);
        self.inner.locals.sweep(ino, || inodes.get(ino).is_some());
    }

    /// A node of a listing as the kernel sees it, for directory entries without a lookup.
    pub fn current(&self, node: &Arc<Node>) -> Arc<Node> {
        let NodeKey::Folder(id) = node.key() else {
            return Arc::clone(node);
        };
        let changed = lock(&self.inner.folders)
            .get(id)
            .and_then(|state| state.changed);
        with_change(node, changed)
    }

    /// What the kernel must be told, for the one who tells it; `None` when that was taken already.
    pub fn take_changes(&self) -> Option<Changes> {
        lock(&self.inner.taker).take()
    }

    /// The size of the account, at once; asks the service in the background when it is old.
    pub fn space(&self) -> Space {
        let inner = &self.inner;
        inner.space.get(&inner.client, inner.clock, &inner.runtime)
    }

    /// Takes over figures that were asked for elsewhere and true `at`, since 1970, so that `space` is
    /// right from the start.
    pub fn know_space(&self, info: &UserInfo, at: Duration) {
        self.inner.space.know(info, at, self.inner.clock);
    }

    /// How long, in real time, the kernel may believe names and attributes from `parent`'s listing
    /// without asking: until the listing is to be looked at again. Changes found before are queued.
    pub fn entry_ttl(&self, parent: Ino) -> Duration {
        self.listing_ttl(parent).unwrap_or(UNSURE_TTL)
    }

    /// How long, in real time, the kernel may believe that `parent` lacks a name.
    pub fn absent_ttl(&self, parent: Ino) -> Duration {
        self.listing_ttl(parent).unwrap_or(UNSURE_TTL)
    }

    /// Figures now.
    pub fn snapshot(&self) -> TreeSnapshot {
        let (listings, listing_bytes) = self.inner.cache.size();
        let counts = lock(&self.inner.folders).counts(self.inner.settings.root.id);
        TreeSnapshot {
            folders: counts.folders,
            folders_listed: counts.listed,
            entries: counts.entries,
            listings,
            listing_bytes,
            inodes: self.inner.inodes.count(),
            refreshing: self.inner.refreshing.load(Ordering::Relaxed),
            folders_open: self.inner.in_use.open(),
            crawl: self.crawl_snapshot(),
            large: self.large_snapshot(),
            store: self.inner.store.as_ref().map(Store::snapshot),
        }
    }

    fn listing_ttl(&self, folder: Ino) -> Option<Duration> {
        let known = self.inner.cache.get(self.id_of(folder)?)?;
        let age = self.inner.clock.now().since(known.fetched());
        let left = self.inner.settings.dir_cache_time.saturating_sub(age);
        // An old one is being looked at again, and cannot be twice within the gap.
        Some(self.inner.clock.real(left.max(fetch::LISTING_GAP)))
    }

    /// The entry called `name` in a listing that is here.
    fn find(&self, outcome: Outcome, name: &OsStr) -> Result<Option<Arc<Node>>, TreeError> {
        let listing = outcome?;
        match self.look_up(&listing, name) {
            Some(node) => Ok(Some(self.current(&node))),
            None if listing.is_complete() => Ok(None),
            None => Err(TreeError::Cut { listing }),
        }
    }

    /// The folder behind an inode that is one, known to the tree and not gone.
    fn folder_of(&self, ino: Ino) -> Result<FolderId, TreeError> {
        let id = self.id_of(ino).ok_or(TreeError::NotDir(ino))?;
        // A number no listing gave could be that of a folder outside the mount.
        let is_seen = lock(&self.inner.folders).get(id).is_some();
        if is_seen && !self.inner.inodes.is_gone(ino) {
            self.inner.in_use.used(id, self.inner.clock.now());
            Ok(id)
        } else {
            Err(TreeError::Stale(ino))
        }
    }

    fn id_of(&self, ino: Ino) -> Option<FolderId> {
        if ino == Ino::ROOT {
            Some(self.inner.settings.root.id)
        } else {
            ino.folder().or_else(|| self.inner.inodes.made_as(ino))
        }
    }

    /// The inode of the folder above `folder`; the root is above itself.
    fn above(&self, folder: FolderId) -> Ino {
        let parent = lock(&self.inner.folders)
            .get(folder)
            .and_then(|state| state.parent)
            .filter(|_| folder != self.inner.settings.root.id);
        parent.map_or(Ino::ROOT, |parent| self.ino_of(parent))
    }

    /// The inode of a folder whose number passed the checks when it was listed.
    fn ino_of(&self, folder: FolderId) -> Ino {
        if folder == self.inner.settings.root.id {
            Ino::ROOT
        } else {
            let made = self.inner.inodes.made(folder);
            made.or_else(|| Ino::of(NodeKey::Folder(folder)))
                .unwrap_or(Ino::ROOT)
        }
    }
}

/// A folder's node with its time of change.
fn with_change(node: &Arc<Node>, changed: Option<UnixSeconds>) -> Arc<Node> {
    match &node.kind {
        Kind::Folder(folder) if folder.changed != changed && changed.is_some() => Arc::new(Node {
            kind: Kind::Folder(Folder {
                changed,
                ..folder.clone()
            }),
            ..Node::clone(node)
        }),
        _ => Arc::clone(node),
    }
}

#[cfg(test)]
mod tests;
