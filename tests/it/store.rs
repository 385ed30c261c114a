//! The tree over restarts: what is known is shown without a call, under the same names and numbers,
//! whatever happened to the service, the process or the disk meanwhile.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{Fake, Fault, FaultKind};
use fichierfs::api::Requester;
use fichierfs::api::scheduler::Fingerprint;
use fichierfs::secret::ApiKey;
use fichierfs::tree::{
    Caller, Change, Ino, Listing, Node, RootFolder, Store, Tree, TreeError, TreeSettings,
};
use fichierfs::util::cached::Cached;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Virtual seconds per real one.
const FASTER: &str = "40";

/// Age from which listings are looked at again here, in virtual time: never by themselves.
const CACHE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A fake account and a folder for the stores of its mounts.
struct Place {
    fake: Fake,
    dir: TempDir,
    clock: Clock,
}

/// One life of a tree.
struct Life {
    tree: Tree,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fichierfs-it").tempdir();
        Self {
            fake: Fake::builder().clock(FASTER).start().unwrap(),
            dir: dir.unwrap(),
            clock: Clock::parse(FASTER).unwrap(),
        }
    }

    fn store(&self) -> Store {
        let key = ApiKey::parse(&self.fake.key()).unwrap();
        Store::open(self.dir.path(), Fingerprint::of(&key), self.clock).unwrap()
    }

    fn mount(&self) -> Life {
        self.mount_at(RootFolder::account(), CACHE_TIME)
    }

    fn mount_at(&self, root: RootFolder, dir_cache_time: Duration) -> Life {
        let settings = TreeSettings {
            root,
            dir_cache_time,
            // As little as it takes, so that most is read from the disk again and again.
            memory: 0,
            ..TreeSettings::new()
        };
        let client = client(&self.fake, self.clock);
        let tree = Tree::with_store(
            client,
            self.clock,
            settings,
            Handle::current(),
            self.store(),
        );
        Life {
            tree: tree.unwrap(),
            clock: self.clock,
        }
    }

    fn listings(&self) -> usize {
        self.fake.count("folder/ls")
    }

    /// A little account with nested folders and duplicates.
    fn furnish(&self) {
        let account = self.fake.account();
        let album = account.mkdir_p("photos/2024");
        account.mkdir_p("photos/2025");
        for number in 0..30 {
            account.add_bytes(album, &format!("img{number}.jpg"), vec![b'x'; number + 1]);
        }
        for (size, date) in ["2026-03-01", "2026-03-02", "2026-03-03"]
            .iter()
            .enumerate()
        {
            let url = account.add_bytes(0, "a.txt", vec![b'x'; size + 1]);
            account.set_date(&url, &format!("{date} 00:00:00"));
        }
    }
}

impl Life {
    fn caller(&self) -> Caller {
        Caller {
            requester: Requester(1),
            deadline: Deadline::within(self.clock, Duration::from_secs(600)),
        }
    }

    async fn children(&self, folder: Ino) -> Result<Arc<Listing>, TreeError> {
        self.tree.children(folder, self.caller()).ready().await
    }

    async fn find(&self, parent: Ino, name: &str) -> Result<Option<Arc<Node>>, TreeError> {
        let found = self.tree.lookup(parent, OsStr::new(name), self.caller());
        found.ready().await
    }

    async fn walk(&self, path: &str) -> Arc<Node> {
        let mut node = self.tree.node(Ino::ROOT).unwrap();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = self.find(node.ino, name).await.unwrap().expect(name);
        }
        node
    }

    /// Everything by path, with what `find -ls` would say of it.
    async fn everything(&self) -> BTreeMap<String, (u64, u64, Option<i64>)> {
        let mut all = BTreeMap::new();
        let mut folders = vec![(Ino::ROOT, String::new())];
        while let Some((folder, path)) = folders.pop() {
            for node in self.children(folder).await.unwrap().entries() {
                let path = format!("{path}/{}", node.name.to_str().unwrap());
                let node = self.tree.current(node);
                // A folder's own date is that of its newest entry, so it is known with them only.
                let modified = node.modified().filter(|_| !node.is_folder());
                all.insert(path.clone(), (node.ino.get(), node.size(), modified));
                if node.is_folder() {
                    folders.push((node.ino, path));
                }
            }
        }
        all
    }

    /// Ends as a mount does.
    async fn end(self) {
        self.tree.flush().await;
        drop(self);
        // Tasks of the tree that hold it end on their own.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(listing: &Listing) -> Vec<String> {
    let mut names: Vec<String> = listing
        .entries()
        .iter()
        .map(|node| node.name.to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_shows_everything_as_it_was_without_a_call() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    let before = life.everything().await;
    assert_eq!(before.len(), 3 + 30 + 3);
    assert_eq!(place.listings(), 4);
    let changed = life.tree.node(Ino::ROOT).unwrap().modified();
    life.end().await;

    // The network is gone, too.
    place.fake.faults().add(Fault::on("*", FaultKind::Reset));
    for _ in 0..2 {
        let life = place.mount();
        assert_eq!(life.tree.snapshot().folders, 4);
        assert_eq!(life.everything().await, before);
        assert_eq!(life.tree.node(Ino::ROOT).unwrap().modified(), changed);
        let album = life.walk("photos/2024").await;
        assert!(album.modified() > album.created().min(Some(0)));
        life.end().await;
    }
    assert_eq!(place.listings(), 4);
    assert_well_behaved(&place.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers_given_before_a_restart_stay() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    let root = life.children(Ino::ROOT).await.unwrap();
    assert_eq!(names(&root), ["a (2).txt", "a (3).txt", "a.txt", "photos"]);
    let newest = root
        .get(OsStr::new("a.txt"))
        .unwrap()
        .file()
        .unwrap()
        .url
        .to_string();
    let numbered = root.get(OsStr::new("a (2).txt")).unwrap().ino;
    life.end().await;

    // The plain one goes: were the numbers lost, another would take its name now.
    assert!(place.fake.account().remove(&newest));
    place.clock.sleep(Duration::from_secs(31)).await;
    // Nor does a cache that is lost take them along.
    for is_lost in [false, true] {
        if is_lost {
            std::fs::remove_file(place.dir.path().join("cache.redb")).unwrap();
            place.clock.sleep(Duration::from_secs(31)).await;
        }
        let life = place.mount();
        let refreshed = life.tree.refresh(Ino::ROOT, life.caller()).ready().await;
        let root = refreshed.unwrap();
        assert_eq!(names(&root), ["a (2).txt", "a (3).txt", "photos"]);
        assert_eq!(root.get(OsStr::new("a (2).txt")).unwrap().ino, numbered);
        life.end().await;
    }
    assert_eq!(place.listings(), 3);
    assert_well_behaved(&place.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_listing_is_shown_after_a_restart_and_then_corrected() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    life.everything().await;
    life.end().await;
    let album = place.fake.account().folder_at("photos/2024").unwrap();
    place.fake.account().add_bytes(album, "new.jpg", "x");
    let removed = place.fake.account().folder_at("photos/2025").unwrap();
    assert!(place.fake.account().remove_folder(removed));
    place.clock.sleep(Duration::from_secs(40)).await;

    // An age from another life counts.
    let life = place.mount_at(RootFolder::account(), Duration::from_secs(35));
    let mut changes = life.tree.take_changes().unwrap();
    let album = life.walk("photos/2024").await;
    let photos = life.walk("photos").await;
    assert_eq!(life.children(album.ino).await.unwrap().entries().len(), 30);
    let mut corrected = false;
    for _ in 0..300 {
        let entries = life.children(album.ino).await.unwrap().entries().len();
        let left = life.children(photos.ino).await.unwrap().entries().len();
        corrected = entries == 31 && left == 1;
        if corrected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(corrected, "not looked at again");
    let told: Vec<Change> = std::iter::from_fn(|| changes.try_next()).collect();
    assert!(told.contains(&Change::Entries(album.ino)), "{told:?}");
    life.end().await;

    // The correction is what the next life begins with.
    let calls = place.listings();
    let life = place.mount();
    assert_eq!(life.children(album.ino).await.unwrap().entries().len(), 31);
    assert_eq!(names(&life.children(photos.ino).await.unwrap()), ["2024"]);
    assert_eq!(place.listings(), calls);
    life.end().await;
    assert_well_behaved(&place.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_handle_of_an_earlier_life_finds_its_file() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    let file = life.walk("photos/2024/img7.jpg").await;
    let folder = life.walk("photos/2024").await;
    let photos = life.walk("photos").await;
    life.end().await;

    // Nothing was looked up in this life: the number is all there is.
    let life = place.mount();
    let calls = place.listings();
    let found = life.find(file.ino, ".").await.unwrap().unwrap();
    assert_eq!(found, file);
    let found = life.find(folder.ino, ".").await.unwrap().unwrap();
    assert_eq!((&found.name, found.parent), (&folder.name, photos.ino));
    let above = life.find(folder.ino, "..").await.unwrap().unwrap();
    assert_eq!((above.ino, &above.name), (photos.ino, &photos.name));
    let above = life.find(photos.ino, "..").await.unwrap().unwrap();
    assert_eq!(above.ino, Ino::ROOT);
    let above = life.find(Ino::ROOT, "..").await.unwrap().unwrap();
    assert_eq!(above.ino, Ino::ROOT);
    assert_eq!(place.listings(), calls);
    for nobody in [999_999, (1 << 62) + 5] {
        let nobody = Ino::new(nobody).unwrap();
        let stale = life.find(nobody, ".").await;
        assert!(matches!(stale, Err(TreeError::Stale(_))), "{stale:?}");
        let stale = life.find(nobody, "..").await;
        assert!(stale.is_err(), "{stale:?}");
    }
    life.end().await;

    // What lies outside of the folder shown stays outside.
    let inside = place.fake.account().folder_at("photos/2024").unwrap();
    let root = RootFolder {
        id: fichierfs::api::FolderId(inside),
        created: None,
        above: Vec::new(),
    };
    let life = place.mount_at(root, CACHE_TIME);
    assert_eq!(life.children(Ino::ROOT).await.unwrap().entries().len(), 30);
    assert_eq!(
        life.find(file.ino, ".").await.unwrap().unwrap().parent,
        Ino::ROOT
    );
    for outside in [photos.ino, folder.ino, Ino::new(2).unwrap()] {
        let stale = life.find(outside, ".").await;
        assert!(matches!(stale, Err(TreeError::Stale(_))), "{stale:?}");
    }
    for outside in [photos.ino, Ino::new(2).unwrap()] {
        assert!(life.children(outside).await.is_err());
    }
    assert_eq!(place.listings(), calls);
    life.end().await;
    // Having been a root does not cut a folder off.
    let life = place.mount();
    assert_eq!(life.walk("photos/2024/img7.jpg").await.ino, file.ino);
    assert_eq!(place.listings(), calls);
    life.end().await;
    assert_well_behaved(&place.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_folder_outlives_failures_and_a_gone_one_does_not() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    life.everything().await;
    life.end().await;
    let gone = place.fake.account().folder_at("photos/2025").unwrap();
    assert!(place.fake.account().remove_folder(gone));
    place.clock.sleep(Duration::from_secs(31)).await;
    let life = place.mount();
    let photos = life.walk("photos").await;
    let gone = life.walk("photos/2025").await;
    let refresh = |ino| life.tree.refresh(ino, life.caller());
    place.fake.faults().add(
        Fault::on(
            "folder/ls",
            FaultKind::Ko {
                code: 403,
                message: "Resource not allowed #631".into(),
            },
        )
        .once(),
    );
    assert!(refresh(photos.ino).ready().await.is_err());
    // Not in memory, failed a moment ago: still known.
    assert_eq!(
        names(&life.children(photos.ino).await.unwrap()),
        ["2024", "2025"]
    );
    let missing = refresh(gone.ino).ready().await;
    assert!(
        matches!(missing, Err(TreeError::NotFound(_))),
        "{missing:?}"
    );
    life.end().await;
    place.clock.sleep(Duration::from_secs(31)).await;
    let calls = place.listings();
    let life = place.mount();
    // Its parent was not looked at since: the name is there, nothing behind it is.
    let gone = life.walk("photos/2025").await;
    let missing = life.children(gone.ino).await;
    assert!(
        matches!(missing, Err(TreeError::NotFound(_))),
        "{missing:?}"
    );
    // So the parent is looked at again.
    for _ in 0..300 {
        if place.listings() == calls + 2 && life.tree.snapshot().refreshing == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(place.listings(), calls + 2);
    assert_eq!(names(&life.children(photos.ino).await.unwrap()), ["2024"]);
    life.end().await;
    assert_well_behaved(&place.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_damages_comes_again_from_the_account() {
    let place = Place::new();
    place.furnish();
    let life = place.mount();
    let before = life.everything().await;
    life.end().await;
    place.clock.sleep(Duration::from_secs(31)).await;
    std::fs::write(place.dir.path().join("cache.redb"), vec![7; 100_000]).unwrap();
    let life = place.mount();
    assert_eq!(life.everything().await, before);
    let store = life.tree.snapshot().store.unwrap();
    assert_eq!(
        (store.rebuilt, store.damaged, store.is_failing),
        (1, 0, false)
    );
    assert_eq!(place.listings(), 8);
    life.end().await;
    let life = place.mount();
    assert_eq!(life.everything().await, before);
    assert_eq!(place.listings(), 8);
    life.end().await;
    assert_well_behaved(&place.fake);
}

/// Memory holds the listings of some 60,000 files here.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_folder_that_fell_out_of_memory_is_kept_fresh() {
    let place = Place::new();
    let account = place.fake.account();
    let open = account.mkdir(0, "open");
    account.add_bytes(open, "before", "x");
    for folder in 0..30 {
        let id = account.mkdir(0, &format!("large {folder}"));
        for number in 0..4_000 {
            account.add_bytes(id, &format!("file {number}"), "x");
        }
    }
    let life = place.mount_at(RootFolder::account(), Duration::from_secs(60));
    let folder = life.walk("open").await;
    life.children(folder.ino).await.unwrap();
    life.tree.opened(folder.ino);
    for number in 0..30 {
        let large = life.walk(&format!("large {number}")).await;
        life.children(large.ino).await.unwrap();
    }
    let known = life.tree.snapshot();
    assert!(known.listings < 30, "{known:?}");
    account.add_bytes(open, "after", "x");
    life.tree.start();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    let is_open = |entry: &fake_1fichier::LogEntry| {
        entry.endpoint == "folder/ls" && entry.params["folder_id"] == open
    };
    while place.fake.log().iter().filter(|it| is_open(it)).count() < 2 {
        assert!(std::time::Instant::now() < end, "never looked at again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.clock.sleep(Duration::from_secs(2)).await;
    let shown = life.children(folder.ino).await.unwrap();
    assert_eq!(names(&shown), ["after", "before"]);
    life.tree.stop();
    life.end().await;
    assert_well_behaved(&place.fake);
}

/// The names of 50,000 files as people have them, 40 bytes in the mean, on at most 300 bytes of disk
/// each.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_entries_take_300_bytes_each_at_most() {
    let place = Place::new();
    for folder in 0..100 {
        let id = place
            .fake
            .account()
            .mkdir(0, &format!("Season {folder:03}"));
        for number in 0..500 {
            let name = format!("Some.Show.S{folder:02}E{number:03}.1080p.WEB.x264.mkv");
            place.fake.account().add_bytes(id, &name, vec![b'x'; 5]);
        }
    }
    place.fake.account().hash_all();
    let life = place.mount();
    let all = life.everything().await;
    assert_eq!(all.len(), 100 + 50_000);
    life.tree.flush().await;
    let bytes = life.tree.snapshot().store.unwrap().cache_bytes;
    assert!(
        bytes > 0 && bytes <= 300 * 50_100,
        "{} bytes per entry",
        bytes / 50_100
    );
    life.end().await;
    let life = place.mount();
    assert_eq!(life.everything().await, all);
    assert_eq!(place.listings(), 101);
    // In memory now, so at once.
    assert!(matches!(
        life.tree.children(Ino::ROOT, life.caller()),
        Cached::Hit(Ok(_))
    ));
    life.end().await;
    assert_well_behaved(&place.fake);
}
