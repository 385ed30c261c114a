//! What is done millions of times: reads that hit, lookups, plans, checksums. `cargo bench` tells the time of each and
//! the bytes or items per second; nothing here touches a network.
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use fichierfs::api::scheduler::{Fingerprint, Rates, Scheduler};
use fichierfs::api::{
    Client, FileId, FileItem, FileUrl, FolderId, FolderListing, Requester, Settings, Whirlpool,
    WhirlpoolHasher,
};
use fichierfs::outbox::intent::{Intents, Place, Version};
use fichierfs::outbox::plan::{Terms, plan};
use fichierfs::read::{DiskCache, Handle, ReadSettings, ReadTerms, Reader};
use fichierfs::secret::ApiKey;
use fichierfs::tree::{self, Caller, Ino, Store, Tree, TreeSettings};
use fichierfs::util::cached::Cached;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::ffi::{OsStr, OsString};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the kernel asks for at a time when it reads ahead.
const REQUEST: u64 = 128 * KIB;

fn main() {
    divan::main();
}

fn key() -> ApiKey {
    ApiKey::parse("0123456789abcdef").expect("it looks like a key")
}

/// A client that nobody asks anything.
fn client(clock: Clock) -> Client {
    fichierfs::util::crypto::install();
    let scheduler = Scheduler::new(clock, Rates::default(), None);
    Client::new(Settings::new(key()), scheduler).expect("nothing is connected to")
}

fn soon(clock: Clock) -> Deadline {
    Deadline::within(clock, Duration::from_secs(3600))
}

fn id(number: u64) -> FileId {
    FileId::parse(&format!("{number:020}")).expect("twenty digits")
}

/// A disk cache that holds one film.
struct Film {
    disk: DiskCache,
    clock: Clock,
    _dir: TempDir,
}

impl Film {
    const SIZE: u64 = 64 * MIB;

    fn new() -> Self {
        let dir = TempDir::new().expect("a folder for temporary files");
        let clock = Clock::system();
        let disk = DiskCache::open(dir.path(), 1 << 30, clock).expect("a folder of its own");
        let piece = vec![7; usize::try_from(MIB).unwrap_or(0)];
        for at in (0..Self::SIZE).step_by(piece.len()) {
            disk.offer(id(1), Self::SIZE, at, piece.clone().into());
            // No more at once than may wait.
            if at % (8 * MIB) == 0 {
                disk.flush(soon(clock));
            }
        }
        disk.flush(soon(clock));
        assert_eq!(disk.present(id(1), 0..Self::SIZE), Self::SIZE);
        Self {
            disk,
            clock,
            _dir: dir,
        }
    }

    /// The reading part with all of the film in memory.
    fn open(&self, runtime: &Runtime) -> (Reader, Handle) {
        let settings = ReadSettings {
            disk: Some(self.disk.clone()),
            ..ReadSettings::new(2 * Self::SIZE)
        };
        let client = client(self.clock);
        let reader = Reader::new(client, self.clock, settings, runtime.handle().clone());
        let handle = reader.open(&FileUrl::of(id(1)), Self::SIZE);
        for at in (0..Self::SIZE).step_by(usize::try_from(MIB).unwrap_or(1)) {
            let read = reader.read(&handle, at, MIB, self.terms());
            let bytes = runtime.block_on(read.ready()).expect("all is on the disk");
            assert_eq!(bytes.len() as u64, MIB);
        }
        // Another handle: what one has read to its end may be dropped behind it.
        let again = reader.open(&FileUrl::of(id(1)), Self::SIZE);
        (reader, again)
    }

    fn terms(&self) -> ReadTerms {
        ReadTerms {
            requester: Requester(1),
            deadline: soon(self.clock),
        }
    }
}

/// A read that hits memory, with the window's decision about what to fetch ahead: in order, and at random places,
/// each of which is a seek.
#[divan::bench(args = ["in order", "anywhere"], sample_size = 1000)]
fn read_from_memory(bencher: Bencher, order: &str) {
    let runtime = Runtime::new().expect("threads");
    let film = Film::new();
    let (reader, handle) = film.open(&runtime);
    let (terms, pieces) = (film.terms(), Film::SIZE / REQUEST);
    let step = if order == "in order" { 1 } else { 199 };
    let mut number = 0;
    // Nothing is copied, so bytes per second would say nothing.
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        number = (number + step) % pieces;
        match reader.read(&handle, number * REQUEST, REQUEST, terms) {
            Cached::Hit(bytes) => bytes.map_or(0, |bytes| bytes.len()),
            Cached::Wait(_) => panic!("not in memory"),
        }
    });
}

/// A read of the disk cache, from the system's memory, every checksum compared.
#[divan::bench(args = [64 * KIB, MIB])]
fn read_from_disk_cache(bencher: Bencher, length: u64) {
    let film = Film::new();
    let mut at = 0;
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        at = (at + length) % Film::SIZE;
        film.disk
            .read(id(1), Film::SIZE, at..at + length)
            .expect("it is there and sound")
    });
}

/// A tree of folders of some size, on disk, as a mount that comes back has it.
fn with_tree(files: u64, work: impl FnOnce(&Tree, Ino, Caller)) {
    let runtime = Runtime::new().expect("threads");
    let dir = TempDir::new().expect("a folder for temporary files");
    let clock = Clock::system();
    let store = Store::open(dir.path(), Fingerprint::of(&key()), clock).expect("a new store");
    store.claim("somebody@example.org").expect("room");
    let listing = FolderListing {
        folder: FolderId::ROOT,
        name: "".into(),
        created: None,
        file_count: Some(files),
        folders: Vec::new(),
        files: (0..files).map(file_item).collect(),
    };
    store.fill([listing]).expect("room");
    let settings = TreeSettings {
        crawl: false,
        dir_cache_time: Duration::from_secs(3600),
        ..TreeSettings::default()
    };
    let handle = runtime.handle().clone();
    let tree = Tree::with_store(client(clock), clock, settings, handle, store).expect("it is ours");
    let caller = Caller {
        requester: Requester(1),
        deadline: soon(clock),
    };
    let known = runtime.block_on(tree.children(Ino::ROOT, caller).ready());
    assert_eq!(
        known.expect("it is on the disk").entries().len() as u64,
        files
    );
    work(&tree, Ino::ROOT, caller);
}

fn file_item(number: u64) -> FileItem {
    FileItem {
        url: FileUrl::of(id(number)),
        name: name(number).into(),
        size: 1_000_000_000 + number,
        uploaded: Some(1_700_000_000),
        whirlpool: Some(Whirlpool([0; 64])),
        content_type: None,
        password: false,
        access_list: false,
    }
}

fn name(number: u64) -> String {
    format!("Some.Show.S01E{number:07}.1080p.WEB.x264.mkv")
}

/// A name in a folder that is known.
#[divan::bench(args = [50, 5_000], sample_size = 1000)]
fn look_up_a_name(bencher: Bencher, files: u64) {
    with_tree(files, |tree, folder, caller| {
        let names: Vec<OsString> = (0..files).map(|number| name(number).into()).collect();
        let mut names = names.iter().cycle();
        bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
            let name = names.next().expect("it goes round");
            match tree.lookup(folder, name, caller) {
                Cached::Hit(found) => assert!(found.is_ok_and(|node| node.is_some())),
                Cached::Wait(_) => panic!("not known"),
            }
        });
    });
}

/// A name as the service holds it, from what a person called it, and back.
#[divan::bench(args = ["Some.Show.S01E01.mkv", "a<b>:\"c\\d\".txt", " ends with a blank "])]
fn encode_and_decode_a_name(bencher: Bencher, name: &str) {
    bencher.bench(|| tree::decode(&tree::encode(OsStr::new(black_box(name)))));
}

/// Everything may be told at once.
struct Free;

impl Terms for Free {
    fn is_ready(&self, _: Ino) -> bool {
        true
    }
    fn is_settling(&self, _: Ino) -> bool {
        false
    }
    fn is_overdue(&self, _: Ino) -> bool {
        false
    }
    fn folder(&self, folder: Ino) -> Option<FolderId> {
        (folder == Ino::ROOT).then_some(FolderId::ROOT)
    }
    fn parent(&self, _: Ino) -> Option<Ino> {
        None
    }
    fn is_taken(&self, _: &Place) -> bool {
        false
    }
    fn is_held(&self, _: &FileUrl) -> bool {
        false
    }
    fn most_files(&self, _: Ino) -> usize {
        100
    }
}

/// What an outbox can tell now in which calls, with so many new files in it.
#[divan::bench(args = [100, 10_000])]
fn plan_an_outbox(bencher: Bencher, files: u64) {
    let mut intents = Intents::default();
    for number in 0..files {
        let ino = Ino::new(1_000 + number).expect("not 0");
        let place = Place {
            folder: Ino::ROOT,
            name: OsStr::new(&name(number)).into(),
        };
        let version = Version {
            id: number,
            size: 20_000,
        };
        intents.create(ino, place, version);
    }
    bencher
        .counter(ItemsCount::new(files))
        .bench_local(|| plan(&intents, &Free).len());
}

/// The service's hash.
#[divan::bench]
fn whirlpool(bencher: Bencher) {
    let bytes = vec![7_u8; usize::try_from(MIB).unwrap_or(0)];
    bencher.counter(BytesCount::new(MIB)).bench_local(|| {
        let mut hasher = WhirlpoolHasher::new();
        hasher.update(&bytes);
        hasher.finish()
    });
}
