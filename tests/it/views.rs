//! Whatever happens in the account, to the calls and to the mount: each folder is shown as one whole listing had
//! it, without what was seen elsewhere since; nothing is shown in two folders, nothing in itself.
//!
//! The fake's log says which listings came, in which order. A plain model takes them in; the tree
//! must show the same.
use crate::common::{assert_well_behaved, client};
use crate::tree::Bench;
use fake_1fichier::{Fake, Fault, FaultKind};
use fichierfs::api::scheduler::Fingerprint;
use fichierfs::secret::ApiKey;
use fichierfs::tree::{Ino, Node, NodeKey, Store, StoreError, Tree, TreeSettings};
use fichierfs::util::clock::Clock;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Virtual seconds per real one: the 30 s between two listings of a folder pass in 100 ms.
const FASTER: &str = "300";

/// What happens next. Numbers pick one of the folders or files there are.
#[derive(Debug, Clone)]
enum Step {
    AddFile(usize),
    MoveFile(usize, usize),
    RemoveFile(usize),
    RenameFile(usize),
    AddFolder(usize),
    MoveFolder(usize, usize),
    RemoveFolder(usize),
    /// The next calls fail in one of some ways.
    Fail(usize),
    /// Somebody wants to see a folder as it is now.
    Refresh(usize),
    /// Time passes, so that every folder may be listed again.
    Rest,
    /// The mount ends and comes again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0usize..64;
    prop_oneof![
        3 => any().prop_map(Step::AddFile),
        6 => (any(), any()).prop_map(|(file, folder)| Step::MoveFile(file, folder)),
        2 => any().prop_map(Step::RemoveFile),
        2 => any().prop_map(Step::RenameFile),
        2 => any().prop_map(Step::AddFolder),
        5 => (any(), any()).prop_map(|(folder, into)| Step::MoveFolder(folder, into)),
        1 => any().prop_map(Step::RemoveFolder),
        2 => any().prop_map(Step::Fail),
        12 => any().prop_map(Step::Refresh),
        3 => Just(Step::Rest),
        2 => Just(Step::Restart),
    ]
}

/// A folder's entries: names by id.
type View = BTreeMap<String, String>;

/// What must be shown.
#[derive(Default)]
struct Model {
    /// The last whole listing of each folder, without what was seen elsewhere since.
    views: HashMap<u64, View>,
    /// The folder each folder was seen in last.
    parents: HashMap<u64, u64>,
    /// Entries of the log taken in.
    seq: u64,
}

impl Model {
    /// Takes in the listings since the last time; the account is still as it was for all of them.
    fn take_in(&mut self, fake: &Fake) {
        for entry in fake.log() {
            if entry.seq <= self.seq {
                continue;
            }
            self.seq = entry.seq;
            if entry.endpoint != "folder/ls" || entry.fault.is_some() {
                continue;
            }
            let folder = entry.params["folder_id"].as_u64().unwrap();
            match entry.answer.as_str() {
                "ok" => self.listed(fake, folder),
                "ko" => {
                    self.views.remove(&folder);
                    self.parents.remove(&folder);
                }
                other => panic!("{other}"),
            }
        }
    }

    fn listed(&mut self, fake: &Fake, folder: u64) {
        let mut line = vec![folder];
        while let Some(above) = self.parents.get(line.last().unwrap()) {
            line.push(*above);
        }
        let tree = fake.account().tree();
        let own = tree.iter().find(|it| it.id == folder).unwrap();
        let files = own
            .files
            .iter()
            .map(|file| (id_in(&file.url), file.name.clone()));
        let mut view: View = files.collect();
        let inside = tree.iter().filter(|it| it.parent == folder && it.id != 0);
        let inside: Vec<_> = inside.filter(|it| !line.contains(&it.id)).collect();
        view.extend(inside.iter().map(|it| (it.id.to_string(), it.name.clone())));
        self.parents
            .retain(|child, parent| *parent != folder || view.contains_key(&child.to_string()));
        self.parents.extend(inside.iter().map(|it| (it.id, folder)));
        for (other, shown) in &mut self.views {
            if *other != folder {
                shown.retain(|id, _| !view.contains_key(id));
            }
        }
        self.views.insert(folder, view);
    }

    /// What can be seen from the root.
    fn shown(&self) -> BTreeMap<u64, View> {
        let mut shown = BTreeMap::new();
        let mut folders = vec![0];
        while let Some(folder) = folders.pop() {
            if let Some(view) = self.views.get(&folder) {
                // Ids of files hold letters, or are longer than any number of a folder.
                folders.extend(view.keys().filter_map(|id| id.parse::<u64>().ok()));
                assert!(shown.insert(folder, view.clone()).is_none());
            }
        }
        shown
    }
}

fn id_in(url: &str) -> String {
    url.rsplit('?').next().unwrap().to_owned()
}

fn id_of(node: &Node) -> String {
    match node.key() {
        NodeKey::Folder(id) => id.to_string(),
        NodeKey::File(id) => id.to_string(),
    }
}

struct Story {
    bench: Bench,
    model: Model,
    names: usize,
    /// Where the stores are.
    dir: TempDir,
}

impl Story {
    fn new() -> Self {
        let fake = Fake::builder().clock(FASTER).start().unwrap();
        let dir = tempfile::Builder::new().prefix("fichierfs-views").tempdir();
        let dir = dir.unwrap();
        let clock = Clock::parse(FASTER).unwrap();
        let tree = Self::tree(&fake, clock, &dir).unwrap();
        let mut story = Self {
            bench: Bench { fake, tree, clock },
            model: Model::default(),
            names: 0,
            dir,
        };
        for folder in 0..4 {
            story.change(&Step::AddFolder(folder));
            story.change(&Step::AddFile(folder));
        }
        story
    }

    fn tree(fake: &Fake, clock: Clock, dir: &TempDir) -> Result<Tree, StoreError> {
        let settings = TreeSettings {
            // Looked at again when a step says so.
            dir_cache_time: Duration::from_secs(24 * 60 * 60),
            crawl: false,
            ..TreeSettings::new()
        };
        let key = ApiKey::parse(&fake.key()).unwrap();
        let store = Store::open(dir.path(), Fingerprint::of(&key), clock)?;
        Tree::with_store(
            client(fake, clock),
            clock,
            settings,
            Handle::current(),
            store,
        )
    }

    /// Ends the tree and begins another over the same stores.
    async fn restart(&mut self) {
        self.quiet().await;
        self.bench.tree.flush().await;
        // The old one must let go of its stores first.
        let Bench { fake, clock, .. } = &self.bench;
        let placeholder = Tree::new(
            client(fake, *clock),
            *clock,
            TreeSettings::new(),
            Handle::current(),
        );
        self.bench.tree = placeholder;
        loop {
            match Self::tree(&self.bench.fake, self.bench.clock, &self.dir) {
                Ok(tree) => {
                    self.bench.tree = tree;
                    return;
                }
                Err(StoreError::Held { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("name {}", self.names)
    }

    fn folders(&self) -> Vec<u64> {
        self.bench
            .fake
            .account()
            .tree()
            .iter()
            .map(|it| it.id)
            .collect()
    }

    fn folder(&self, pick: usize) -> u64 {
        let folders = self.folders();
        folders[pick % folders.len()]
    }

    fn file(&self, pick: usize) -> Option<String> {
        let tree = self.bench.fake.account().tree();
        let mut files = tree.into_iter().flat_map(|it| it.files);
        let count = self
            .bench
            .fake
            .account()
            .tree()
            .iter()
            .map(|it| it.files.len())
            .sum::<usize>();
        files.nth(pick % count.max(1)).map(|file| file.url)
    }

    /// What happens in the account, or to the next calls.
    fn change(&mut self, step: &Step) {
        let name = self.name();
        let account = self.bench.fake.account();
        match *step {
            Step::AddFile(folder) => {
                account.add_bytes(self.folder(folder), &name, "x");
            }
            Step::AddFolder(folder) => {
                account.mkdir(self.folder(folder), &name);
            }
            Step::MoveFolder(folder, into) => {
                account.move_folder(self.folder(folder), self.folder(into));
            }
            Step::RemoveFolder(folder) => {
                account.remove_folder(self.folder(folder));
            }
            Step::MoveFile(file, folder) => {
                let moved = self
                    .file(file)
                    .map(|url| account.move_to(&url, self.folder(folder)));
                assert_ne!(moved, Some(false));
            }
            Step::RemoveFile(file) => {
                self.file(file).map(|url| account.remove(&url));
            }
            Step::RenameFile(file) => {
                self.file(file).map(|url| account.rename(&url, &name));
            }
            Step::Fail(how) => {
                let kinds = [
                    FaultKind::LostReply,
                    FaultKind::MalformedJson,
                    FaultKind::Status { code: 502 },
                    FaultKind::Ko {
                        code: 403,
                        message: "Resource not allowed #631".into(),
                    },
                ];
                let kind = kinds[how % kinds.len()].clone();
                self.bench
                    .fake
                    .faults()
                    .add(Fault::on("folder/ls", kind).times(2));
            }
            Step::Refresh(_) | Step::Rest | Step::Restart => {}
        }
    }

    /// Waits until nothing is under way.
    async fn quiet(&self) {
        while self.bench.tree.snapshot().refreshing > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Does one step and looks at everything after it.
    async fn go(&mut self, step: &Step) {
        self.change(step);
        match step {
            Step::Rest => self.bench.clock.sleep(Duration::from_secs(31)).await,
            Step::Restart => {
                // A new life knows what may be called when from its budget file, which is not here.
                self.bench.clock.sleep(Duration::from_secs(31)).await;
                self.restart().await;
            }
            Step::Refresh(pick) => {
                let shown: Vec<u64> = self.model.shown().into_keys().collect();
                let known: BTreeSet<u64> = shown
                    .iter()
                    .flat_map(|folder| self.model.views[folder].keys())
                    .filter_map(|id| id.parse().ok())
                    .chain([0])
                    .collect();
                let folder = known.iter().nth(pick % known.len()).unwrap();
                let caller = self.bench.caller(400);
                // Failures are part of the story.
                let _ = self.bench.tree.refresh(ino(*folder), caller).ready().await;
            }
            _ => {}
        }
        self.check().await;
    }

    /// Compares what is shown with the model.
    async fn check(&mut self) {
        loop {
            self.quiet().await;
            self.model.take_in(&self.bench.fake);
            let expected = self.model.shown();
            let mut shown = BTreeMap::new();
            for folder in expected.keys() {
                let caller = self.bench.caller(100);
                let listing = self.bench.tree.children(ino(*folder), caller);
                let listing = listing.ready().await.unwrap();
                assert!(listing.is_complete());
                let names = |node: &Node| (id_of(node), node.name.to_str().unwrap().to_owned());
                shown.insert(
                    *folder,
                    listing.entries().iter().map(|it| names(it)).collect(),
                );
            }
            self.quiet().await;
            // Looking may have made the tree look again.
            if self.bench.fake.log().last().map_or(0, |entry| entry.seq) == self.model.seq {
                assert_eq!(shown, expected);
                let all: Vec<&String> = shown.values().flat_map(View::keys).collect();
                assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
                return;
            }
        }
    }
}

fn ino(folder: u64) -> Ino {
    if folder == 0 {
        Ino::ROOT
    } else {
        Ino::new(folder + 2).unwrap()
    }
}

/// Stories to try: as many as a quick run has time for, or what `PROPTEST_CASES` says.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_view_is_one_past_listing(steps in prop::collection::vec(step(), 20..60)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut story = Story::new();
            for step in &steps {
                story.go(step).await;
            }
            // In the end everything can be seen as it is.
            story.bench.fake.faults().clear();
            for _ in 0..4 {
                story.go(&Step::Rest).await;
                for pick in 0..64 {
                    story.go(&Step::Refresh(pick)).await;
                }
            }
            assert_well_behaved(&story.bench.fake);
        });
    }
}
