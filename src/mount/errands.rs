//! Errands in an account whose tree is at hand: what paths lead to, and who hears of changes.
//!
//! Promises: a path means what the mount shows there; what the account does not have yet has no link and is
//! refused with what to do; what an errand changed is looked at again, so that the mount shows it within
//! the half minute that the service wants between two listings.
use crate::api::scheduler::Fingerprint;
use crate::api::{Ask, Client, FileId, FileUrl, FolderId, Priority, Requester};
use crate::config::AccountPath;
use crate::errand::{self, Done, Errand, News, Places, Refusal, Subject, Target, What};
use crate::secret::ApiKey;
use crate::tree::{
    Caller, Ino, Kind, ListingPlace, Node, NodeKey, Store, Tree, TreeError, TreeSettings,
};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use crate::write::volume::{State, Volume};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long one folder on a path may take: the 30 s the service may want us to wait (API reference 3), a
/// silence after a flood, and the call.
const FOLDER_LIMIT: Duration = Duration::from_secs(90);

/// How often a folder is looked at until it shows what came into it: listings lag (API reference 10), and
/// what they do not show after two minutes is found in the ordinary way.
const LOOKS: u32 = 4;

/// Until a request to fetch is asked after for the first time (45 s between two questions were fine, API
/// reference 8), and between two questions at most.
const FIRST_QUESTION: Duration = Duration::from_secs(45);
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How long a request to fetch is asked after. What takes longer is found in the ordinary way.
const FOLLOWED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests to fetch asked after at a time, so that they cost a call in some seconds at the most.
const MOST_FOLLOWED: usize = 32;

/// Paths of one account, by its tree.
#[derive(Debug, Clone)]
pub(super) struct InTree {
    client: Client,
    clock: Clock,
    tree: Tree,
    /// What was changed here and not told yet; absent when nothing is mounted.
    volume: Option<Volume>,
    /// The folder of the account that the tree begins with.
    root: AccountPath,
    /// Whether the tree begins where the paths of passwords do.
    is_main: bool,
    /// The folders that requests to fetch go into, by their numbers.
    followed: Arc<Mutex<HashMap<u64, FolderId>>>,
}

impl InTree {
    /// Those of a mount that shows `root`.
    pub(super) fn of_mount(
        client: Client,
        clock: Clock,
        tree: Tree,
        volume: Volume,
        root: AccountPath,
    ) -> Self {
        Self {
            client,
            clock,
            tree,
            volume: Some(volume),
            root,
            is_main: true,
            followed: Arc::default(),
        }
    }

    /// Runs an errand.
    pub(super) async fn run(&self, errand: Errand) -> Result<Done, Refusal> {
        errand::run(&self.client, self.clock, self, errand).await
    }

    fn caller(&self) -> Caller {
        Caller {
            requester: Requester::SELF,
            deadline: Deadline::within(self.clock, FOLDER_LIMIT),
        }
    }

    /// The node that names below the root of the tree lead to.
    async fn walk(&self, names: &[&str], path: &str) -> Result<Arc<Node>, Refusal> {
        let mut walked = String::new();
        let mut at: Option<Arc<Node>> = None;
        for name in names {
            let folder = match &at {
                None => Ino::ROOT,
                Some(node) if node.is_folder() => node.ino,
                Some(_) => return Err(Refusal(format!("{path}: {walked} is a file"))),
            };
            walked = format!("{walked}/{name}");
            at = Some(self.entry(folder, name, path, &walked).await?);
        }
        at.map_or_else(
            || {
                let root = self.tree.node(Ino::ROOT);
                root.map_err(|error| Refusal(format!("{path}: {error}")))
            },
            Ok,
        )
    }

    /// What is called `name` in a folder.
    async fn entry(
        &self,
        folder: Ino,
        name: &str,
        path: &str,
        walked: &str,
    ) -> Result<Arc<Node>, Refusal> {
        let failed = |error: &TreeError| Refusal(format!("{path}: {error}"));
        let mut listing = self
            .tree
            .children(folder, self.caller())
            .ready()
            .await
            .map_err(|error| failed(&error))?;
        // Nobody keeps it fresh but a mount.
        if self.volume.is_none() && self.is_old(folder) {
            let renewed = self.tree.renew(folder, self.caller()).await;
            listing = renewed.map_err(|error| failed(&error))?.listing;
        }
        match listing.get(OsStr::new(name)) {
            Some(node) => Ok(Arc::clone(node)),
            None if listing.is_complete() => Err(Refusal(format!(
                "{path}: there is no {walked} in the account"
            ))),
            None => Err(Refusal(format!(
                "{path}: {walked} is not among the entries that the service lists; name the file by its \
                 link, or move it to a folder with fewer"
            ))),
        }
    }

    fn is_old(&self, folder: Ino) -> bool {
        match self.tree.listing_place(folder) {
            ListingPlace::Memory { age, .. } => age > self.tree.fresh_for(),
            ListingPlace::Disk | ListingPlace::None => false,
        }
    }

    /// What a node is for the account.
    fn subject(&self, node: &Node, path: &str) -> Result<Subject, Refusal> {
        let local = |what: &str| {
            Refusal(format!(
                "{path}: {what}; run `fichierfs sync` first, then this again"
            ))
        };
        let state = self.volume.as_ref().map(|volume| volume.state(node.ino));
        let what = match &node.kind {
            _ if self.tree.is_gone(node.ino) => {
                return Err(Refusal(format!("{path}: it is gone from the account")));
            }
            Kind::Own(_) => {
                return Err(match state {
                    Some(State::HereOnly) => Refusal(format!(
                        "{path}: it is empty, and the service holds no empty files"
                    )),
                    Some(State::Failed(why)) => Refusal(format!(
                        "{path}: the account did not take it ({why}); see `fichierfs retry --help`"
                    )),
                    _ => local("the account does not have it yet"),
                });
            }
            Kind::File(_) if state == Some(State::Changed) => {
                return Err(local("it was changed and is not in the account like this"));
            }
            Kind::File(file) => {
                // By its folder: the kernel need not hold the file.
                let folder = || self.tree.path_of(node.parent).filter(|_| self.is_main);
                let path = || Some(folder()?.join(&*node.name));
                self.client.passwords().place(file.url.id(), path);
                What::File(file.url.clone())
            }
            Kind::Folder(_) => {
                let id = self.tree.folder_id(node.ino);
                if id.is_some_and(FolderId::is_virtual) {
                    return Err(Refusal(format!(
                        "{path}: this is no folder of the account; it stands for what others share with \
                         it"
                    )));
                }
                What::Folder(id.ok_or_else(|| local("the account does not have this folder yet"))?)
            }
        };
        let parent = (node.ino != Ino::ROOT)
            .then(|| self.tree.folder_id(node.parent))
            .flatten();
        Ok(Subject {
            path: path.to_owned(),
            what,
            parent,
        })
    }

    /// The names below the root of the tree; `None` when the path leads elsewhere.
    fn below_root<'a>(&self, path: &'a AccountPath) -> Option<Vec<&'a str>> {
        let mut names = path.components();
        for name in self.root.components() {
            if names.next() != Some(name) {
                return None;
            }
        }
        Some(names.collect())
    }

    /// The same over the whole account, knowing nothing: each folder costs a call.
    fn outside(&self) -> Self {
        let settings = TreeSettings {
            crawl: false,
            ..TreeSettings::default()
        };
        let tree = Tree::new(self.client.clone(), self.clock, settings, Handle::current());
        Self {
            tree,
            volume: None,
            root: AccountPath::default(),
            is_main: false,
            ..self.clone()
        }
    }

    /// Looks at a folder again until it shows what came into it.
    async fn see(self, folder: FolderId, files: Vec<FileId>) {
        let Some(ino) = self.tree.folder_ino(folder) else {
            return;
        };
        // What nobody has looked at yet is listed when somebody does.
        if matches!(self.tree.listing_place(ino), ListingPlace::None) {
            return;
        }
        for _ in 0..LOOKS {
            let renewed = match self.tree.renew(ino, self.caller()).await {
                Ok(renewed) => renewed,
                Err(error) if error.is_temporary() => continue,
                Err(error) => {
                    log::info!("looking for what came into folder {folder}: {error}");
                    return;
                }
            };
            let shows = |file: &FileId| {
                let mut entries = renewed.listing.entries().iter();
                entries.any(|node| node.key() == NodeKey::File(*file))
            };
            if files.iter().all(shows) {
                return;
            }
        }
        log::info!("folder {folder} does not show yet what came into it; it will");
    }

    /// Asks after a request to fetch until it was carried out, behind everybody else.
    async fn follow(self, id: u64) {
        let end = Deadline::within(self.clock, FOLLOWED_FOR);
        let mut pause = FIRST_QUESTION;
        while !end.passed() && lock(&self.followed).contains_key(&id) {
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if !lock(&self.followed).contains_key(&id) {
                return;
            }
            let deadline = Deadline::within(self.clock, FOLDER_LIMIT);
            let ask = Ask::new(Priority::Crawl, deadline, Requester::SELF);
            match self.client.remote_info(&ask, id).await {
                Ok(detail) if detail.job.executed.is_some() => {
                    let files = detail.results.iter().filter_map(|it| it.file.as_ref());
                    let files = files.map(FileUrl::id).collect();
                    self.hear(News::Fetched { id, files });
                }
                Ok(_) => {}
                Err(error) if error.is_temporary() => {}
                Err(error) => {
                    log::info!("request {id} to fetch: {error}");
                    break;
                }
            }
        }
        lock(&self.followed).remove(&id);
    }
}

impl Places for InTree {
    async fn find(&self, target: &Target) -> Result<Subject, Refusal> {
        match target {
            Target::Inode { inode, path } => {
                let node = Ino::new(*inode).and_then(|ino| self.tree.node(ino).ok());
                let node = node.ok_or_else(|| {
                    Refusal(format!("{path}: the mount does not know it any more"))
                })?;
                self.subject(&node, path)
            }
            Target::Path(path) => {
                let parsed: AccountPath = path
                    .parse()
                    .map_err(|why| Refusal(format!("{path}: {why}")))?;
                if let Some(names) = self.below_root(&parsed) {
                    let node = self.walk(&names, path).await?;
                    return self.subject(&node, path);
                }
                let names: Vec<&str> = parsed.components().collect();
                let outside = self.outside();
                let node = outside.walk(&names, path).await?;
                outside.subject(&node, path)
            }
            Target::Link(link) => Err(Refusal(format!("{link} is a link, not a path"))),
        }
    }

    fn hear(&self, news: News) {
        // Without a mount nobody looks.
        if self.volume.is_none() {
            return;
        }
        match news {
            News::Came { folder, files } => _ = tokio::spawn(self.clone().see(folder, files)),
            News::Altered { folder } => _ = tokio::spawn(self.clone().see(folder, Vec::new())),
            News::Fetching { id, folder } => {
                let mut followed = lock(&self.followed);
                if followed.len() < MOST_FOLLOWED {
                    followed.insert(id, folder);
                    tokio::spawn(self.clone().follow(id));
                }
            }
            News::Fetched { id, files } => {
                if let Some(folder) = lock(&self.followed).remove(&id) {
                    tokio::spawn(self.clone().see(folder, files));
                }
            }
        }
    }
}

/// The account where nothing is mounted, through a client that holds its lock. Paths go by what an earlier
/// mount of the account left, as long as that is fresh, else by a call for each folder.
#[derive(Debug)]
pub struct Alone {
    places: InTree,
}

impl Alone {
    /// With what mounts keep of the account in `state_dir`, if that is surely of the account with this key.
    /// To be called on a runtime. Blocks for the disk.
    pub fn new(client: &Client, clock: Clock, state_dir: &Path, key: &ApiKey) -> Self {
        let settings = TreeSettings {
            crawl: false,
            ..TreeSettings::default()
        };
        let new = |settings| Tree::new(client.clone(), clock, settings, Handle::current());
        let tree = match kept(state_dir, key, clock) {
            Some(store) => {
                let kept = settings.clone();
                Tree::with_store(client.clone(), clock, kept, Handle::current(), store)
                    .unwrap_or_else(|error| {
                        log::info!("{error}; going on without what was kept");
                        new(settings)
                    })
            }
            None => new(settings),
        };
        Self {
            places: InTree {
                client: client.clone(),
                clock,
                tree,
                volume: None,
                root: AccountPath::default(),
                is_main: true,
                followed: Arc::default(),
            },
        }
    }

    /// Runs an errand.
    pub async fn run(&self, errand: Errand) -> Result<Done, Refusal> {
        self.places.run(errand).await
    }

    /// Keeps what was learnt.
    pub async fn end(self) {
        self.places.tree.stop();
        self.places.tree.flush().await;
    }
}

/// What mounts keep of the account in a folder, if there is anything and it is surely of this account. What is
/// not is left alone: whose it is, a mount finds out. So is a tree with changes that were not told: only with
/// those it is what a person was shown.
fn kept(state_dir: &Path, key: &ApiKey, clock: Clock) -> Option<Store> {
    if !state_dir.join("cache.redb").exists() {
        return None;
    }
    Store::open(state_dir, Fingerprint::of(key), clock)
        .inspect_err(|error| log::info!("{error}; going on without what was kept"))
        .ok()
        .filter(Store::is_known)
        .filter(|store| store.pending().is_ok_and(|it| it.pending.is_empty()))
}
