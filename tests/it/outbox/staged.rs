//! Staged files: read back at once, sealed, uploaded with what the account has already, found again
//! after a crash.
use crate::common::{assert_well_behaved, client};
use bytes::Bytes;
use fake_1fichier::{Fake, content};
use fichierfs::api::scheduler::Fingerprint;
use fichierfs::api::{FileUrl, FolderId, Requester};
use fichierfs::outbox::intent::{Done, Entry, Place, Remote, Thing, Version};
use fichierfs::outbox::{Outbox, Settle, Surroundings, Telling};
use fichierfs::read::{ReadSettings, ReadTerms, Reader};
use fichierfs::secret::ApiKey;
use fichierfs::tree::{Ino, Store};
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use fichierfs::write::content::Origin;
use fichierfs::write::file::StagedFile;
use fichierfs::write::staging::Staging;
use fichierfs::write::versions::{SMALL, Versions};
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

const FASTER: &str = "40";
const MIB: u64 = 1 << 20;
const SEED: u64 = 5;

#[derive(Debug)]
struct Ground(Versions);

impl Surroundings for Ground {
    fn open(&self, version: Version) -> mpsc::Receiver<io::Result<Bytes>> {
        self.0.open(version)
    }
    fn release(&self, versions: &[u64]) {
        self.0.release(versions);
    }
    fn folder(&self, ino: Ino) -> Option<FolderId> {
        (ino == Ino::ROOT).then_some(FolderId::ROOT)
    }
    fn parent(&self, _: Ino) -> Option<Ino> {
        None
    }
    fn taken(&self, _: &Place) -> Option<Ino> {
        None
    }
    fn is_read(&self, _: &FileUrl) -> bool {
        false
    }
    fn is_held(&self, _: &FileUrl) -> bool {
        false
    }
    fn taken_back(&self, _: &mut Telling<'_>, _: Ino, _: Option<&Remote>) {}
    fn told(&self, _: &Done, _: Option<&Entry>, _: Option<&Entry>) -> Option<Vec<u8>> {
        None
    }
    fn shown(&self) -> Vec<Ino> {
        Vec::new()
    }
}

/// One life of a process that stages and uploads.
struct Life {
    staging: Staging,
    reader: Reader,
    versions: Versions,
    store: Store,
    clock: Clock,
    numbers: Arc<AtomicU64>,
}

impl Life {
    fn new(fake: &Fake, dir: &TempDir, first: u64) -> Self {
        let clock = Clock::parse(FASTER).unwrap();
        let client = client(fake, clock);
        let settings = ReadSettings::new(16 * MIB);
        let reader = Reader::new(client, clock, settings, Handle::current());
        let staging = Staging::open(&dir.path().join("staging"), 100 * MIB).unwrap();
        let versions = Versions::new(
            staging.clone(),
            reader.clone(),
            None,
            clock,
            Handle::current(),
        );
        let key = ApiKey::parse(&fake.key()).unwrap();
        let store = Store::open(dir.path(), Fingerprint::of(&key), clock).unwrap();
        let numbers = Arc::new(AtomicU64::new(first));
        let life = Self {
            staging,
            reader,
            versions,
            store,
            clock,
            numbers,
        };
        life.versions.recover(&life.store, || life.fresh()).unwrap();
        life
    }

    fn fresh(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn empty(&self) -> StagedFile {
        StagedFile::empty(self.staging.clone(), self.reader.clone())
    }

    fn of(&self, url: &str, size: u64) -> StagedFile {
        let url = FileUrl::parse(url).unwrap();
        let origin = Origin { url, size };
        StagedFile::of(origin, self.staging.clone(), self.reader.clone())
    }

    fn write(&self, file: &StagedFile, bytes: &[u8], at: u64) {
        file.write(bytes, at, || self.fresh()).unwrap();
    }

    async fn read(&self, file: &StagedFile, at: u64, length: u64) -> Vec<u8> {
        let terms = ReadTerms {
            requester: Requester(1),
            deadline: Deadline::within(self.clock, Duration::from_secs(100)),
        };
        file.read(at..at + length, terms)
            .ready()
            .await
            .unwrap()
            .to_vec()
    }

    fn outbox(&self, fake: &Fake) -> Outbox {
        let around = Arc::new(Ground(self.versions.clone()));
        let client = client(fake, self.clock);
        let settle = Settle {
            closed: Duration::ZERO,
            ..Settle::default()
        };
        let store = self.store.clone();
        Outbox::open(
            client,
            self.clock,
            store,
            settle,
            Ino::ROOT,
            around,
            Handle::current(),
        )
        .unwrap()
    }

    /// Seals a version of a file and hands it to the outbox.
    fn submit(
        &self,
        outbox: &Outbox,
        ino: u64,
        name: &str,
        file: &StagedFile,
        known: Option<Thing>,
    ) {
        let version = Version {
            id: outbox.fresh(),
            size: file.size(),
        };
        let begun = file.begin_version().expect("a change");
        let sealed = file.merged(begun, || outbox.fresh());
        let record = self.versions.add(version.id, sealed).unwrap();
        let ino = Ino::new(ino).unwrap();
        let place = Place {
            folder: Ino::ROOT,
            name: OsStr::new(name).into(),
        };
        match known {
            None => outbox.with(|tell| tell.create(ino, place, version, record)),
            Some(thing) => {
                let size = version.size;
                let known = Remote { thing, place, size };
                outbox.with(|tell| tell.rewrite(ino, || Some(known), version, record));
            }
        }
    }

    async fn drain(&self, outbox: &Outbox) {
        let deadline = Deadline::within(self.clock, Duration::from_secs(1000));
        assert!(outbox.drained(deadline).await, "{:#?}", outbox.entries());
        assert_eq!(outbox.snapshot().failed, []);
        outbox.written().await.unwrap();
    }
}

fn start() -> (Fake, TempDir) {
    let fake = std::thread::spawn(|| Fake::builder().clock(FASTER).start());
    let dir = tempfile::Builder::new().prefix("fichierfs-it").tempdir();
    (fake.join().unwrap().unwrap(), dir.unwrap())
}

/// What a file made of [`SEED`] holds.
fn original(size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    content::fill(SEED, 0, &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_large_file_is_changed_without_fetching_the_rest() {
    const HUGE: u64 = 8_000_000_000;
    let (fake, dir) = start();
    let url = fake.account().add_synthetic(0, "huge", HUGE, SEED);
    let life = Life::new(&fake, &dir, 1);
    let file = life.of(&url, HUGE);
    life.write(&file, &[7; 1024], HUGE / 2);
    assert_eq!((file.size(), life.staging.used()), (HUGE, 1024));
    assert_eq!(life.read(&file, HUGE / 2, 1024).await, [7; 1024]);
    assert!(fake.log().is_empty(), "nothing was fetched");
    let mut before = vec![0; 100];
    content::fill(SEED, HUGE / 2 - 100, &mut before);
    assert_eq!(
        life.read(&file, HUGE / 2 - 100, 101).await,
        [&*before, &[7]].concat()
    );
    assert_eq!(life.staging.used(), 1024);
    assert_well_behaved(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_version_of_a_changed_file_is_whole() {
    let (fake, dir) = start();
    let size = 5 * MIB;
    let url = fake.account().add_synthetic(0, "file", size, SEED);
    let life = Life::new(&fake, &dir, 1);
    let file = life.of(&url, size);
    life.write(&file, b"changed", 3 * MIB);
    file.resize(4 * MIB + 5).unwrap();
    file.resize(4 * MIB + 10).unwrap();
    let outbox = life.outbox(&fake);
    let known = Thing::File(FileUrl::parse(&url).unwrap());
    life.submit(&outbox, 77, "file", &file, Some(known));
    // Written while the version before it is on its way: it stays as it was sealed.
    life.write(&file, b"CHANGED AGAIN", 3 * MIB);
    outbox.start();
    life.drain(&outbox).await;
    let mut wanted = original(size);
    wanted.truncate(usize::try_from(4 * MIB + 5).unwrap());
    wanted.extend([0; 5]);
    let at = usize::try_from(3 * MIB).unwrap();
    wanted[at..at + 7].copy_from_slice(b"changed");
    let stored = fake.account().files_at("file");
    assert_eq!(stored.len(), 1);
    assert!(fake.account().read_all(&stored[0].url).unwrap() == wanted);
    assert_ne!(stored[0].url, url);
    outbox.stop();
    assert_well_behaved(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_outlive_the_process_small_and_large() {
    let (fake, dir) = start();
    let small = vec![1; usize::try_from(SMALL).unwrap()];
    let large: Vec<u8> = (0..=SMALL)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let next = {
        let life = Life::new(&fake, &dir, 1);
        let outbox = life.outbox(&fake);
        for (ino, name, bytes) in [(77, "small", &small), (78, "large", &large)] {
            let file = life.empty();
            life.write(&file, bytes, 0);
            life.submit(&outbox, ino, name, &file, None);
        }
        let unfinished = life.empty();
        life.write(&unfinished, b"never flushed", 0);
        outbox.written().await.unwrap();
        outbox.stop();
        // Killed: nothing is tidied up.
        std::mem::forget(unfinished);
        life.numbers.load(Ordering::Relaxed)
    };
    // Of the small one only the record is left, as after a power cut.
    for entry in std::fs::read_dir(dir.path().join("staging")).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().len() == SMALL {
            std::fs::write(path, b"").unwrap();
        }
    }
    // One that nobody wrote down, with the number that comes next.
    std::fs::write(
        dir.path().join(format!("staging/{next}.stage")),
        b"leftover",
    )
    .unwrap();
    let life = Life::new(&fake, &dir, next);
    let outbox = life.outbox(&fake);
    outbox.start();
    life.drain(&outbox).await;
    for (name, bytes) in [("small", small), ("large", large)] {
        let stored = fake.account().files_at(name);
        assert_eq!(stored.len(), 1, "{name}");
        assert!(
            fake.account().read_all(&stored[0].url).unwrap() == bytes,
            "{name}"
        );
    }
    assert_eq!(life.staging.used(), 0);
    assert_eq!(
        std::fs::read_dir(dir.path().join("staging"))
            .unwrap()
            .count(),
        0
    );
    outbox.stop();
    assert_well_behaved(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_whose_staging_file_is_gone_waits_for_a_person() {
    let (fake, dir) = start();
    {
        let life = Life::new(&fake, &dir, 1);
        let outbox = life.outbox(&fake);
        let file = life.empty();
        life.write(&file, &vec![3; 100_000], 0);
        life.submit(&outbox, 77, "file", &file, None);
        outbox.written().await.unwrap();
        outbox.stop();
    }
    std::fs::remove_dir_all(dir.path().join("staging")).unwrap();
    let life = Life::new(&fake, &dir, 100);
    let outbox = life.outbox(&fake);
    outbox.start();
    let deadline = Deadline::within(life.clock, Duration::from_secs(1000));
    assert!(outbox.drained(deadline).await);
    assert_eq!(outbox.snapshot().failed.len(), 1);
    assert!(fake.account().files_at("file").is_empty());
    outbox.stop();
    assert_well_behaved(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_copy_is_one_call_and_no_traffic() {
    const LARGE: u64 = 40_000_000_000;
    let (fake, dir) = start();
    let url = fake.account().add_synthetic(0, "film", LARGE, SEED);
    let life = Life::new(&fake, &dir, 1);
    let original = life.of(&url, LARGE).seal();
    let copy = life.empty();
    // As the kernel asks for it: in requests of less than 4 GiB.
    let mut at = 0;
    while at < LARGE {
        at += copy.copy(at, &original, at..at + (4 << 30)).unwrap();
    }
    let sealed = copy.seal();
    let unchanged = sealed
        .content
        .unchanged()
        .expect("one whole file")
        .url
        .clone();
    let outbox = life.outbox(&fake);
    life.submit(&outbox, 77, "film 2", &copy, None);
    outbox.with(|tell| tell.copy_of(Ino::new(77).unwrap(), unchanged));
    outbox.start();
    life.drain(&outbox).await;
    let stored = fake.account().files_at("film 2");
    assert_eq!((stored.len(), stored[0].size), (1, LARGE));
    assert_eq!(fake.log().len(), 1, "{:#?}", fake.log());
    assert_eq!(life.staging.used(), 0);
    outbox.stop();
    assert_well_behaved(&fake);
}
