//! The tree: how many calls it takes, what is shown meanwhile, what the kernel is told, and what
//! happens when the service fails.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{Fake, Fault, FaultKind};
use fichierfs::api::{FolderId, Requester};
use fichierfs::tree::{
    Caller, Change, Changes, Ino, Listing, Node, NodeKey, RootError, RootFolder, Tree, TreeError,
    TreeSettings, resolve_root,
};
use fichierfs::util::cached::Cached;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Virtual seconds per real one: the 30 s between two listings of a folder pass in one second.
const FASTER: &str = "40";

/// Age from which listings are looked at again here, in virtual time.
const CACHE_TIME: Duration = Duration::from_secs(32);

/// Longer than [`CACHE_TIME`], in virtual time.
const LATER: Duration = Duration::from_secs(33);

/// A tree on a fake service.
pub(crate) struct Bench {
    pub(crate) fake: Fake,
    pub(crate) tree: Tree,
    pub(crate) clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self::with_root(
            Fake::builder().clock(FASTER).start().expect("a fake"),
            RootFolder::account(),
        )
    }

    fn with_root(fake: Fake, root: RootFolder) -> Self {
        let settings = TreeSettings {
            root,
            dir_cache_time: CACHE_TIME,
            ..TreeSettings::new()
        };
        Self::with_settings(fake, FASTER, settings)
    }

    /// A tree on a clock as fast as the fake's.
    pub(crate) fn with_settings(fake: Fake, faster: &str, settings: TreeSettings) -> Self {
        let clock = Clock::parse(faster).expect("a clock");
        let tree = Tree::new(client(&fake, clock), clock, settings, Handle::current());
        Self { fake, tree, clock }
    }

    /// A caller with that much virtual time.
    pub(crate) fn caller(&self, seconds: u64) -> Caller {
        Caller {
            requester: Requester(1),
            deadline: Deadline::within(self.clock, Duration::from_secs(seconds)),
        }
    }

    pub(crate) async fn children(&self, folder: Ino) -> Result<Arc<Listing>, TreeError> {
        self.tree.children(folder, self.caller(300)).ready().await
    }

    pub(crate) async fn names(&self, folder: Ino) -> Vec<String> {
        let listing = self.children(folder).await.expect("a listing");
        names(&listing)
    }

    /// The node at a path, known to the kernel from then on.
    pub(crate) async fn walk(&self, path: &str) -> Arc<Node> {
        let mut node = self.tree.node(Ino::ROOT).expect("the root");
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let found = self.find(node.ino, name).await;
            node = self.tree.remember(&found.expect("a lookup").expect(name));
        }
        node
    }

    pub(crate) async fn find(
        &self,
        parent: Ino,
        name: &str,
    ) -> Result<Option<Arc<Node>>, TreeError> {
        let caller = self.caller(300);
        self.tree
            .lookup(parent, OsStr::new(name), caller)
            .ready()
            .await
    }

    pub(crate) fn listings(&self) -> usize {
        self.fake.count("folder/ls")
    }

    /// Looks at a folder until its background listing landed.
    async fn refreshed(&self, folder: Ino) -> Arc<Listing> {
        let old = self.children(folder).await.expect("a listing");
        for _ in 0..200 {
            let now = self.children(folder).await.expect("a listing");
            if now.fetched() > old.fetched() {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not looked at again");
    }
}

pub(crate) fn names(listing: &Listing) -> Vec<String> {
    let mut names: Vec<String> = listing
        .entries()
        .iter()
        .map(|node| node.name.to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

fn drain(changes: &mut Changes) -> Vec<Change> {
    std::iter::from_fn(|| changes.try_next()).collect()
}

fn entry(parent: Ino, name: &str) -> Change {
    Change::Entry {
        parent,
        name: OsStr::new(name).into(),
    }
}

fn hit<T>(answer: Cached<T>) -> T {
    match answer {
        Cached::Hit(answer) => answer,
        Cached::Wait(_) => panic!("not answered at once"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_serves_all_who_want_a_folder() {
    let bench = Bench::new();
    bench.fake.account().add_bytes(0, "a.txt", "hello");
    bench.fake.account().mkdir(0, "photos");
    let slow = FaultKind::Slow { seconds: 4.0 };
    bench.fake.faults().add(Fault::on("folder/ls", slow).once());
    let mut waiters = Vec::new();
    for number in 0..40 {
        let (tree, caller) = (bench.tree.clone(), bench.caller(300));
        waiters.push(tokio::spawn(async move {
            let name = OsStr::new(if number % 2 == 0 { "a.txt" } else { "absent" });
            let found = tree.lookup(Ino::ROOT, name, caller).ready().await.unwrap();
            assert_eq!(found.is_some(), number % 2 == 0);
        }));
    }
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(bench.listings(), 1);
    // Known now, absent names too: no call, no waiting.
    let caller = bench.caller(0);
    assert!(
        hit(bench.tree.lookup(Ino::ROOT, OsStr::new("absent"), caller))
            .unwrap()
            .is_none()
    );
    let file = hit(bench.tree.lookup(Ino::ROOT, OsStr::new("a.txt"), caller))
        .unwrap()
        .unwrap();
    assert_eq!(
        (file.size(), file.parent, file.is_folder()),
        (5, Ino::ROOT, false)
    );
    assert_eq!(
        names(&hit(bench.tree.children(Ino::ROOT, caller)).unwrap()),
        ["a.txt", "photos"]
    );
    assert!(matches!(
        hit(bench.tree.children(file.ino, caller)),
        Err(TreeError::NotDir(ino)) if ino == file.ino
    ));
    assert_eq!(bench.listings(), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_fails_nobody_else() {
    let bench = Bench::new();
    bench.fake.account().add_bytes(0, "a.txt", "hello");
    let slow = FaultKind::Slow { seconds: 8.0 };
    bench.fake.faults().add(Fault::on("folder/ls", slow).once());
    let hasty = bench.tree.children(Ino::ROOT, bench.caller(2));
    let patient = bench.tree.children(Ino::ROOT, bench.caller(300));
    let dropped = bench.tree.children(Ino::ROOT, bench.caller(300));
    drop(dropped);
    let gave_up = hasty.ready().await;
    assert!(
        matches!(gave_up, Err(TreeError::Timeout(FolderId::ROOT))),
        "{gave_up:?}"
    );
    assert_eq!(names(&patient.ready().await.unwrap()), ["a.txt"]);
    assert_eq!(bench.listings(), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_listing_is_shown_at_once_and_then_corrected() {
    let bench = Bench::new();
    let account = bench.fake.account();
    let old = account.add_bytes(0, "old", "1");
    let renamed = account.add_bytes(0, "before", "22");
    account.add_bytes(0, "stays", "333");
    let mut changes = bench.tree.take_changes().unwrap();
    assert!(bench.tree.take_changes().is_none());
    bench.names(Ino::ROOT).await;
    let removed = bench.walk("old").await;
    let inode = bench.walk("before").await;
    let changed = bench.tree.node(Ino::ROOT).unwrap().modified();
    drain(&mut changes);

    account.remove(&old);
    account.rename(&renamed, "after");
    bench.clock.sleep(LATER).await;
    let shown = hit(bench.tree.children(Ino::ROOT, bench.caller(0))).unwrap();
    assert_eq!(names(&shown), ["before", "old", "stays"]);
    let now = bench.refreshed(Ino::ROOT).await;
    assert_eq!(names(&now), ["after", "stays"]);
    let mut told = drain(&mut changes);
    told.sort_by_key(|change| format!("{change:?}"));
    let mut expected = vec![
        Change::Attributes(Ino::ROOT),
        Change::Attributes(inode.ino),
        Change::Entries(Ino::ROOT),
        entry(Ino::ROOT, "after"),
        entry(Ino::ROOT, "before"),
        Change::Removed {
            parent: Ino::ROOT,
            child: removed.ino,
            name: OsStr::new("old").into(),
        },
    ];
    expected.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(told, expected);
    // The inode is the same under the new name, the folder's date moved although no file is newer.
    assert_eq!(&*bench.tree.node(inode.ino).unwrap().name, "after");
    assert!(bench.tree.is_gone(removed.ino));
    assert_eq!(bench.tree.node(removed.ino).unwrap().key(), removed.key());
    assert!(bench.tree.node(Ino::ROOT).unwrap().modified() > changed);

    // Looked at often within the gap, and again later without any change: one more call, no noise.
    let changed = bench.tree.node(Ino::ROOT).unwrap().modified();
    bench.clock.sleep(LATER).await;
    for _ in 0..100 {
        bench.names(Ino::ROOT).await;
    }
    bench.refreshed(Ino::ROOT).await;
    for _ in 0..100 {
        bench.names(Ino::ROOT).await;
    }
    assert_eq!(bench.listings(), 3);
    assert_eq!(drain(&mut changes), []);
    assert_eq!(bench.tree.node(Ino::ROOT).unwrap().modified(), changed);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_desktops_look_for_cost_no_call_until_the_folder_is_known() {
    let bench = Bench::new();
    bench.fake.account().add_bytes(0, "desktop.ini", "x");
    let mut changes = bench.tree.take_changes().unwrap();
    for junk in [".Trash-1000", "desktop.ini", ".DS_Store"] {
        let answer = bench
            .tree
            .lookup(Ino::ROOT, OsStr::new(junk), bench.caller(0));
        assert!(hit(answer).unwrap().is_none(), "{junk}");
    }
    assert_eq!(bench.listings(), 0);
    let unsure = bench.tree.absent_ttl(Ino::ROOT);
    bench.names(Ino::ROOT).await;
    assert!(
        bench
            .find(Ino::ROOT, "desktop.ini")
            .await
            .unwrap()
            .is_some()
    );
    assert!(drain(&mut changes).contains(&entry(Ino::ROOT, "desktop.ini")));
    assert!(unsure <= Duration::from_secs(1));
    assert!(bench.tree.entry_ttl(Ino::ROOT) <= bench.clock.real(CACHE_TIME));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_a_failing_folder_is_one_call_and_heals() {
    let bench = Bench::new();
    bench.fake.account().add_bytes(0, "a.txt", "hello");
    let refusal = FaultKind::Ko {
        code: 403,
        message: "Resource not allowed #631".into(),
    };
    bench
        .fake
        .faults()
        .add(Fault::on("folder/ls", refusal).once());
    for _ in 0..20 {
        let error = bench.find(Ino::ROOT, "a.txt").await.unwrap_err();
        assert!(matches!(error, TreeError::Api { .. }), "{error}");
        assert!(!error.is_temporary());
    }
    assert_eq!(bench.listings(), 1);
    bench.clock.sleep(Duration::from_secs(3)).await;
    assert!(bench.find(Ino::ROOT, "a.txt").await.unwrap().is_some());
    assert_eq!(bench.listings(), 2);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_refresh_keeps_what_is_known() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.fake.account().add_bytes(0, name, "hello");
    }
    bench.names(Ino::ROOT).await;
    let refusal = FaultKind::Ko {
        code: 403,
        message: "Resource not allowed #631".into(),
    };
    bench.fake.faults().add(Fault::on("folder/ls", refusal));
    for calls in [2, 3] {
        bench.clock.sleep(LATER).await;
        let caller = bench.caller(300);
        let asked = bench.tree.refresh(Ino::ROOT, caller).ready().await;
        assert!(asked.is_err());
        assert_eq!(
            names(&hit(bench.tree.children(Ino::ROOT, caller)).unwrap()),
            ["a", "b", "c"]
        );
        assert_eq!(bench.listings(), calls);
    }
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_removed_elsewhere_is_stale_and_then_absent() {
    let bench = Bench::new();
    let id = bench.fake.account().mkdir(0, "trips");
    bench.fake.account().add_bytes(id, "a.jpg", "x");
    let trips = bench.walk("trips").await;
    let picture = bench.walk("trips/a.jpg").await;
    assert_eq!((trips.ino.get(), picture.parent), (id + 2, trips.ino));
    bench.fake.account().remove_folder(id);
    bench.clock.sleep(LATER).await;
    let missing = bench
        .tree
        .refresh(trips.ino, bench.caller(300))
        .ready()
        .await;
    assert!(
        matches!(missing, Err(TreeError::NotFound(folder)) if folder.0 == id),
        "{missing:?}"
    );
    for _ in 0..20 {
        let stale = hit(bench.tree.children(trips.ino, bench.caller(0)));
        assert!(matches!(stale, Err(TreeError::Stale(ino)) if ino == trips.ino));
    }
    // The parent was looked at again because of it.
    for _ in 0..200 {
        if bench.find(Ino::ROOT, "trips").await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.find(Ino::ROOT, "trips").await.unwrap().is_none());
    assert_eq!(bench.listings(), 4);
    let unknown = Ino::new(999_999).unwrap();
    assert!(matches!(
        bench.children(unknown).await,
        Err(TreeError::Stale(_))
    ));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_folder_is_the_same_inode_with_another_parent() {
    let bench = Bench::new();
    let account = bench.fake.account();
    let (from, to) = (account.mkdir(0, "from"), account.mkdir(0, "to"));
    let album = account.mkdir(from, "album");
    let before = bench.walk("from/album").await;
    let target = bench.walk("to").await;
    account.move_folder(album, to);
    let after = bench.find(target.ino, "album").await.unwrap().unwrap();
    assert_eq!((after.ino, after.parent), (before.ino, target.ino));
    let above = bench.find(before.ino, "..").await.unwrap().unwrap();
    assert_eq!(above.ino, target.ino);
    let same = bench.find(before.ino, ".").await.unwrap().unwrap();
    assert_eq!(same.key(), NodeKey::Folder(FolderId(album)));
    // Its old folder loses it; the inode is not gone for that.
    bench.clock.sleep(LATER).await;
    let old = bench.refreshed(before.parent).await;
    assert_eq!(names(&old), [""; 0]);
    assert!(!bench.tree.is_gone(before.ino));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_never_shown_inside_itself() {
    let bench = Bench::new();
    let account = bench.fake.account();
    let a = account.mkdir(0, "a");
    let b = account.mkdir(a, "b");
    let inner = bench.walk("a/b").await;
    // Turned inside out behind our back: for us, b is still inside a.
    account.move_folder(b, 0);
    account.move_folder(a, b);
    assert_eq!(bench.names(inner.ino).await, [""; 0]);
    bench.clock.sleep(LATER).await;
    bench.refreshed(Ino::ROOT).await;
    let now = bench.refreshed(inner.ino).await;
    assert_eq!(names(&now), ["a"]);
    assert_eq!(bench.names(Ino::ROOT).await, ["b"]);
    let above = bench.find(inner.ino, "..").await.unwrap().unwrap();
    assert_eq!(above.ino, Ino::ROOT);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_keep_their_names_and_a_newer_one_is_plain() {
    let bench = Bench::new();
    let account = bench.fake.account();
    let first = account.add_bytes(0, "a.txt", "1");
    let second = account.add_bytes(0, "a.txt", "22");
    account.set_date(&first, "2026-01-01 10:00:00");
    account.set_date(&second, "2026-01-02 10:00:00");
    assert_eq!(bench.names(Ino::ROOT).await, ["a (2).txt", "a.txt"]);
    let plain = bench.walk("a.txt").await;
    assert_eq!(plain.size(), 2);
    account.add_bytes(0, "a.txt", "333");
    bench.clock.sleep(LATER).await;
    let now = bench.refreshed(Ino::ROOT).await;
    assert_eq!(names(&now), ["a (2).txt", "a (3).txt", "a.txt"]);
    assert_eq!(now.get(OsStr::new("a.txt")).unwrap().size(), 3);
    assert_eq!(now.get(OsStr::new("a (2).txt")).unwrap().size(), 1);
    assert_eq!(now.get(OsStr::new("a (3).txt")).unwrap().ino, plain.ino);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_bears_the_date_of_its_newest_entry() {
    let bench = Bench::new();
    let account = bench.fake.account();
    let id = account.mkdir(0, "music");
    let song = account.add_bytes(id, "song.flac", "x");
    account.set_date(&song, "2031-06-01 12:00:00");
    let mut changes = bench.tree.take_changes().unwrap();
    let before = bench.walk("music").await;
    bench.names(before.ino).await;
    let after = bench.walk("music").await;
    // 12:00 in Paris is 10:00 UTC in summer.
    assert_eq!(after.modified(), Some(1_938_074_400));
    assert!(before.modified() < after.modified());
    assert_eq!(
        bench.tree.node(before.ino).unwrap().modified(),
        after.modified()
    );
    assert!(drain(&mut changes).contains(&Change::Attributes(before.ino)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_account_can_be_the_root() {
    let fake = Fake::builder().clock(FASTER).start().unwrap();
    let films = fake.account().mkdir_p("media/Tom＇s films");
    fake.account().add_bytes(films, "a.mkv", "x");
    fake.account().add_bytes(0, "notes.txt", "x");
    let clock = Clock::parse(FASTER).unwrap();
    let client = client(&fake, clock);
    let resolve = async |path: &str| {
        let deadline = Deadline::within(clock, Duration::from_secs(600));
        resolve_root(&client, Path::new(path), deadline).await
    };
    let root = resolve("/media/./Tom's films/").await.unwrap();
    assert_eq!((root.id.0, root.above.len()), (films, 2));
    assert_eq!(fake.count("folder/ls"), 2);
    assert_eq!(resolve("/").await.unwrap(), RootFolder::account());
    assert!(matches!(resolve("../x").await, Err(RootError::Upwards(_))));
    let missing = resolve("/nothing/here").await.unwrap_err();
    assert!(matches!(&missing, RootError::Missing(path) if path == Path::new("/nothing")));
    assert!(matches!(
        resolve("notes.txt").await,
        Err(RootError::NotAFolder(_))
    ));

    let bench = Bench::with_root(fake, root);
    assert_eq!(bench.names(Ino::ROOT).await, ["a.mkv"]);
    let above = bench.find(Ino::ROOT, "..").await.unwrap().unwrap();
    assert_eq!(above.ino, Ino::ROOT);
    // A number of a folder outside of it opens nothing.
    let account_root = Ino::new(2).unwrap();
    assert!(matches!(
        bench.children(account_root).await,
        Err(TreeError::Stale(_))
    ));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_answered_at_once_and_asked_for_rarely() {
    let bench = Bench::new();
    bench.fake.account().add_synthetic(0, "a", 700_000, 1);
    bench.fake.account().set_quota(1_000_000);
    assert_eq!(bench.fake.count("user/info"), 0);
    let unknown = bench.tree.space();
    assert!(unknown.free > 1 << 40 && unknown.used == 0);
    for _ in 0..300 {
        if bench.tree.space() != unknown {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let space = bench.tree.space();
    assert_eq!(
        (space.used, space.free, space.total()),
        (700_000, 300_000, 1_000_000)
    );
    assert_eq!(bench.fake.count("user/info"), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_forgets_is_forgotten() {
    let bench = Bench::new();
    bench.fake.account().add_bytes(0, "a", "x");
    let node = bench.walk("a").await;
    bench.walk("a").await;
    assert_eq!(bench.tree.snapshot().inodes, 2);
    bench.tree.forget(node.ino, 2);
    assert!(matches!(
        bench.tree.node(node.ino),
        Err(TreeError::Stale(_))
    ));
    assert_eq!(bench.tree.snapshot().inodes, 1);
    // The number is derived: it is the same when looked up again.
    assert_eq!(bench.walk("a").await.ino, node.ino);
}
