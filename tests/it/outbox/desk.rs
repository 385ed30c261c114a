//! A tree as programs see it, an outbox that tells the fake account of it, and what the outbox asks of
//! its surroundings, without a mount.
use crate::common::{assert_well_behaved, client};
use bytes::Bytes;
use fake_1fichier::{Builder, Fake};
use fichierfs::api::scheduler::Fingerprint;
use fichierfs::api::{Client, FileUrl, FolderId};
use fichierfs::outbox::intent::{Done, Entry, Place, Remote, Thing, Version};
use fichierfs::outbox::{Outbox, Settle, Surroundings, Telling};
use fichierfs::secret::ApiKey;
use fichierfs::tree::{Ino, Store};
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Virtual seconds per real one: the 30 s before a second look pass in less than a second.
const FASTER: &str = "40";

/// The first number of inodes made here.
const OWN: u64 = (1 << 62) + (1 << 61);

/// One file or folder as programs see it.
#[derive(Debug, Clone)]
struct Shown {
    place: Place,
    /// `None` for a folder.
    bytes: Option<Vec<u8>>,
}

/// What is known of the account beside what is to be told.
#[derive(Debug, Default)]
struct Known {
    shown: BTreeMap<Ino, Shown>,
    files: HashMap<Ino, FileUrl>,
    folders: HashMap<Ino, FolderId>,
    /// Between two pieces of what is sent, and how large they are; all at once when it is zero.
    pause: Duration,
    /// Nothing that is to be sent can be read.
    is_unreadable: bool,
}

/// Bytes of a piece.
const PIECE: usize = 10_000;

/// Bytes of a piece when there are pauses in between.
const SMALL_PIECE: usize = 100;

#[derive(Debug)]
struct Ground {
    store: Store,
    known: Arc<Mutex<Known>>,
}

impl Surroundings for Ground {
    fn open(&self, version: Version) -> mpsc::Receiver<io::Result<Bytes>> {
        let bytes = self.store.content(version.id).unwrap();
        let (tell, content) = mpsc::channel(1);
        let (pause, is_unreadable) = {
            let known = self.known.lock().unwrap();
            (known.pause, known.is_unreadable)
        };
        if is_unreadable {
            let _ = tell.try_send(Err(io::Error::other("unreadable")));
            return content;
        }
        let size = if pause.is_zero() { PIECE } else { SMALL_PIECE };
        std::thread::spawn(move || {
            for piece in bytes.iter().flat_map(|bytes| bytes.chunks(size)) {
                std::thread::sleep(pause);
                if tell
                    .blocking_send(Ok(Bytes::copy_from_slice(piece)))
                    .is_err()
                {
                    return;
                }
            }
        });
        content
    }
    fn release(&self, versions: &[u64]) {
        for version in versions {
            assert_eq!(
                self.store.content(*version).unwrap(),
                None,
                "released before it is written"
            );
        }
    }
    fn folder(&self, ino: Ino) -> Option<FolderId> {
        self.known.lock().unwrap().folders.get(&ino).copied()
    }
    fn parent(&self, folder: Ino) -> Option<Ino> {
        let known = self.known.lock().unwrap();
        Some(known.shown.get(&folder)?.place.folder)
    }
    fn taken(&self, _: &Place) -> Option<Ino> {
        None
    }
    fn bearer(&self, thing: &Thing) -> Option<Ino> {
        let known = self.known.lock().unwrap();
        match thing {
            Thing::File(url) => {
                let mut files = known.files.iter();
                files.find(|(_, file)| *file == url).map(|(ino, _)| *ino)
            }
            Thing::Folder(id) => {
                let mut folders = known.folders.iter();
                folders.find(|(_, it)| *it == id).map(|(ino, _)| *ino)
            }
        }
    }
    fn is_read(&self, _: &FileUrl) -> bool {
        false
    }
    fn is_held(&self, _: &FileUrl) -> bool {
        false
    }
    fn taken_back(&self, _: &mut Telling<'_>, _: Ino, _: Option<&Remote>) {}
    fn shown(&self) -> Vec<Ino> {
        Vec::new()
    }
    fn told(&self, done: &Done, _: Option<&Entry>, _: Option<&Entry>) -> Option<Vec<u8>> {
        let mut known = self.known.lock().unwrap();
        match done {
            Done::Stored { ino, url, .. }
            | Done::Placed {
                ino,
                url: Some(url),
                ..
            } => {
                known.files.insert(*ino, url.clone());
            }
            Done::Made { ino, id, .. } => {
                known.folders.insert(*ino, *id);
            }
            Done::Removed { ino, url, .. } if known.files.get(ino) == Some(url) => {
                known.files.remove(ino);
            }
            _ => {}
        }
        None
    }
}

/// The tree, the outbox and the account.
pub(super) struct Desk {
    pub(super) fake: Fake,
    pub(super) outbox: Outbox,
    pub(super) clock: Clock,
    client: Client,
    dir: TempDir,
    known: Arc<Mutex<Known>>,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(|fake| fake)
    }

    pub(super) fn with(setup: impl FnOnce(Builder) -> Builder) -> Self {
        Self::at_speed(FASTER, setup)
    }

    /// The same with so many virtual seconds per real second.
    pub(super) fn at_speed(factor: &str, setup: impl FnOnce(Builder) -> Builder) -> Self {
        let _ = env_logger::builder().is_test(true).try_init();
        let builder = setup(Fake::builder().clock(factor));
        // The fake starts a runtime of its own, which no thread of another one may do.
        let fake = std::thread::spawn(|| builder.start())
            .join()
            .unwrap()
            .unwrap();
        let clock = Clock::parse(factor).unwrap();
        let dir = tempfile::Builder::new()
            .prefix("fichierfs-it")
            .tempdir()
            .unwrap();
        let mut known = Known::default();
        known.folders.insert(Ino::ROOT, FolderId::ROOT);
        let known = Arc::new(Mutex::new(known));
        let client = client(&fake, clock);
        let outbox = open(&client, &fake, clock, &dir, &known);
        outbox.start();
        Self {
            fake,
            outbox,
            clock,
            client,
            dir,
            known,
        }
    }

    /// Waits until the service was asked that so often.
    pub(super) async fn is_asked(&self, endpoint: &str, times: usize) {
        let end = Instant::now() + Duration::from_secs(30);
        while self.fake.count(endpoint) < times {
            assert!(
                Instant::now() < end,
                "{endpoint} is not asked {times} times"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// From now on what is sent is read so slowly, in real time.
    pub(super) fn read_slowly(&self, pause: Duration) {
        self.known.lock().unwrap().pause = pause;
    }

    /// From now on nothing that is to be sent can be read, or all of it can again.
    pub(super) fn unreadable(&self, is_unreadable: bool) {
        self.known.lock().unwrap().is_unreadable = is_unreadable;
    }

    /// Waits until something was given up: what, and why.
    pub(super) async fn given_up(&self) -> (Ino, String) {
        let end = Instant::now() + Duration::from_secs(100);
        loop {
            if let Some((ino, reason)) = self.outbox.snapshot().failed.into_iter().next() {
                return (ino, reason.to_string());
            }
            assert!(Instant::now() < end, "nothing is given up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process ends without a warning and another one goes on. The client stays, since a real one
    /// remembers over restarts when it may ask again.
    pub(super) async fn crash(&mut self) {
        self.outbox.stop();
        // Its tasks let go of the store.
        let closed = self.closed();
        drop(std::mem::replace(&mut self.outbox, closed));
        for _ in 0..500 {
            if let Some(outbox) =
                try_open(&self.client, &self.fake, self.clock, &self.dir, &self.known)
            {
                self.outbox = outbox;
                self.outbox.start();
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the store was never let go of");
    }

    /// An outbox over another store, to have one while the real one is away.
    fn closed(&self) -> Outbox {
        let dir = tempfile::Builder::new()
            .prefix("fichierfs-it")
            .tempdir()
            .unwrap();
        open(&self.client, &self.fake, self.clock, &dir, &Arc::default())
    }

    fn place(folder: Ino, name: &str) -> Place {
        Place {
            folder,
            name: OsStr::new(name).into(),
        }
    }

    fn fresh_ino(&self) -> Ino {
        Ino::new(OWN + self.outbox.fresh()).unwrap()
    }

    fn version(&self, bytes: &[u8]) -> Version {
        Version {
            id: self.outbox.fresh(),
            size: bytes.len() as u64,
        }
    }

    /// What the account has of something, as far as the tree knows.
    fn remote(&self, ino: Ino) -> Option<Remote> {
        let known = self.known.lock().unwrap();
        let place = known.shown[&ino].place.clone();
        let file = known.files.get(&ino).cloned().map(Thing::File);
        let thing = file.or(known.folders.get(&ino).copied().map(Thing::Folder))?;
        let bytes = known.shown[&ino].bytes.as_ref();
        let size = bytes.map_or(0, |bytes| bytes.len() as u64);
        Some(Remote { thing, place, size })
    }

    pub(super) fn create(&self, folder: Ino, name: &str, bytes: &[u8]) -> Ino {
        let ino = self.fresh_ino();
        let place = Self::place(folder, name);
        let version = self.version(bytes);
        let shown = Shown {
            place: place.clone(),
            bytes: Some(bytes.to_vec()),
        };
        self.known.lock().unwrap().shown.insert(ino, shown);
        self.outbox
            .with(|tell| tell.create(ino, place, version, bytes.to_vec()));
        ino
    }

    pub(super) fn write(&self, ino: Ino, bytes: &[u8]) {
        let version = self.version(bytes);
        let mut known = self.known.lock().unwrap();
        known.shown.get_mut(&ino).unwrap().bytes = Some(bytes.to_vec());
        drop(known);
        self.outbox
            .with(|tell| tell.rewrite(ino, || self.remote(ino), version, bytes.to_vec()));
    }

    pub(super) fn mkdir(&self, folder: Ino, name: &str) -> Ino {
        let ino = self.fresh_ino();
        let place = Self::place(folder, name);
        let shown = Shown {
            place: place.clone(),
            bytes: None,
        };
        self.known.lock().unwrap().shown.insert(ino, shown);
        self.outbox.with(|tell| tell.make_folder(ino, place));
        ino
    }

    pub(super) fn rename(&self, ino: Ino, folder: Ino, name: &str) {
        let to = Self::place(folder, name);
        let victim = self.at(&to);
        let after = (!self.is_folder(ino)).then_some(ino);
        self.outbox.with(|tell| {
            if let Some(victim) = victim {
                self.remove_with(tell, victim, after);
            }
            let is_folder = self.is_folder(ino);
            tell.rename(ino, is_folder, || self.remote(ino), to.clone());
            let mut known = self.known.lock().unwrap();
            known.shown.get_mut(&ino).unwrap().place = to;
        });
    }

    pub(super) fn remove(&self, ino: Ino) {
        self.outbox.with(|tell| self.remove_with(tell, ino, None));
    }

    fn remove_with(&self, tell: &mut Telling<'_>, ino: Ino, after: Option<Ino>) {
        let is_folder = self.is_folder(ino);
        tell.remove(ino, is_folder, || self.remote(ino), after);
        self.known.lock().unwrap().shown.remove(&ino);
    }

    fn at(&self, place: &Place) -> Option<Ino> {
        let known = self.known.lock().unwrap();
        let found = known.shown.iter().find(|(_, it)| it.place == *place);
        found.map(|(ino, _)| *ino)
    }

    /// The number of what is at a place.
    pub(super) fn find(&self, folder: Ino, name: &str) -> Option<Ino> {
        self.at(&Self::place(folder, name))
    }

    pub(super) fn is_folder(&self, ino: Ino) -> bool {
        self.known.lock().unwrap().shown[&ino].bytes.is_none()
    }

    pub(super) fn is_empty(&self, folder: Ino) -> bool {
        let known = self.known.lock().unwrap();
        !known.shown.values().any(|it| it.place.folder == folder)
    }

    /// Whether a folder is another or below it.
    pub(super) fn is_below(&self, folder: Ino, above: Ino) -> bool {
        let known = self.known.lock().unwrap();
        let mut next = folder;
        while next != above {
            match known.shown.get(&next) {
                Some(shown) => next = shown.place.folder,
                None => return false,
            }
        }
        true
    }

    /// All numbers, of folders only when wanted.
    pub(super) fn inos(&self, folders_only: bool) -> Vec<Ino> {
        let known = self.known.lock().unwrap();
        let all = known.shown.iter();
        let wanted = all.filter(|(_, it)| it.bytes.is_none() || !folders_only);
        wanted.map(|(ino, _)| *ino).collect()
    }

    /// The URL a file has in the account, as far as is known.
    pub(super) fn url(&self, ino: Ino) -> Option<String> {
        let known = self.known.lock().unwrap();
        known.files.get(&ino).map(ToString::to_string)
    }

    /// Waits until all changes are on disk.
    pub(super) async fn written(&self) {
        self.outbox.written().await.unwrap();
    }

    /// Waits until all is told; `seconds` of virtual time at most.
    pub(super) async fn drain(&self, seconds: u64) {
        let deadline = Deadline::within(self.clock, Duration::from_secs(seconds));
        let is_drained = self.outbox.drained(deadline).await;
        assert!(is_drained, "not told in time: {:#?}", self.outbox.entries());
    }

    /// The account as paths with their bytes, folders with a slash. A path that is there twice fails.
    pub(super) fn account(&self) -> BTreeMap<String, Vec<u8>> {
        let mut paths = BTreeMap::new();
        for folder in self.fake.account().tree() {
            let at = |name: &str| match &*folder.path {
                "" => name.to_owned(),
                path => format!("{path}/{name}"),
            };
            if !folder.path.is_empty() {
                let before = paths.insert(format!("{}/", folder.path), Vec::new());
                assert_eq!(before, None, "twice: {}", folder.path);
            }
            for file in &folder.files {
                let bytes = self.fake.account().read_all(&file.url).unwrap().to_vec();
                let before = paths.insert(at(&file.name), bytes);
                assert_eq!(before, None, "twice: {}", at(&file.name));
            }
        }
        paths
    }

    /// The tree as programs see it, without the empty files that exist here only.
    pub(super) fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let known = self.known.lock().unwrap();
        let mut paths = BTreeMap::new();
        for shown in known.shown.values() {
            let mut path = shown.place.name.to_string_lossy().into_owned();
            let mut above = shown.place.folder;
            while above != Ino::ROOT {
                let place = &known.shown[&above].place;
                path = format!("{}/{path}", place.name.to_string_lossy());
                above = place.folder;
            }
            match &shown.bytes {
                None => paths.insert(format!("{path}/"), Vec::new()),
                Some(bytes) if bytes.is_empty() => None,
                Some(bytes) => paths.insert(path, bytes.clone()),
            };
        }
        paths
    }

    /// Fails unless the account is the tree.
    pub(super) fn assert_told(&self) {
        let (account, tree) = (self.account(), self.tree());
        let names = |paths: &BTreeMap<String, Vec<u8>>| paths.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&account), names(&tree));
        for (path, bytes) in &tree {
            assert!(account[path] == *bytes, "other bytes in {path}");
        }
    }

    /// Every test ends here: nothing that was done could have locked the account.
    pub(super) fn done(self) {
        self.outbox.stop();
        assert_well_behaved(&self.fake);
    }
}

fn open(
    client: &Client,
    fake: &Fake,
    clock: Clock,
    dir: &TempDir,
    known: &Arc<Mutex<Known>>,
) -> Outbox {
    try_open(client, fake, clock, dir, known).expect("a store")
}

/// `None` while somebody else has the store.
fn try_open(
    client: &Client,
    fake: &Fake,
    clock: Clock,
    dir: &TempDir,
    known: &Arc<Mutex<Known>>,
) -> Option<Outbox> {
    let key = ApiKey::parse(&fake.key()).unwrap();
    let store = Store::open(dir.path(), Fingerprint::of(&key), clock).ok()?;
    let known = Arc::clone(known);
    let around = Arc::new(Ground {
        store: store.clone(),
        known,
    });
    let client = client.clone();
    Some(
        Outbox::open(
            client,
            clock,
            store,
            Settle::default(),
            Ino::ROOT,
            around,
            Handle::current(),
        )
        .unwrap(),
    )
}
