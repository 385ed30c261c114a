//! The disk cache filled beforehand, the limit of bandwidth, and what is told of a file.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{Fake, Fault, FaultKind, Shape, content};
use fichierfs::api::{FileUrl, Requester};
use fichierfs::read::{
    DiskCache, Handle, Part, ReadError, ReadSettings, ReadTerms, Reader, WarmError, Warmed,
};
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1 << 20;

struct Bench {
    fake: Fake,
    reader: Reader,
    clock: Clock,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(setting: &str, cache: u64, limit: Option<u64>) -> Self {
        let fake = Fake::builder().clock(setting).start().unwrap();
        let clock = Clock::parse(setting).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let disk = (cache > 0).then(|| DiskCache::open(dir.path(), cache, clock).unwrap());
        let settings = ReadSettings {
            disk,
            limit,
            ..ReadSettings::new(32 * MIB)
        };
        let runtime = tokio::runtime::Handle::current();
        let reader = Reader::new(client(&fake, clock), clock, settings, runtime);
        Self {
            fake,
            reader,
            clock,
            _dir: dir,
        }
    }

    fn file(&self, size: u64, seed: u64) -> FileUrl {
        let name = format!("{seed}.bin");
        let url = self.fake.account().add_synthetic(0, &name, size, seed);
        FileUrl::parse(&url).unwrap()
    }

    async fn warm(&self, url: &FileUrl, size: u64, part: Part) -> Result<Warmed, WarmError> {
        self.reader.warm(url, size, part, |_, _| ()).await
    }

    async fn read(
        &self,
        handle: &Handle,
        at: u64,
        len: u64,
        within: Duration,
    ) -> Result<bytes::Bytes, ReadError> {
        let terms = ReadTerms {
            requester: Requester(77),
            deadline: Deadline::within(self.clock, within),
        };
        self.reader.read(handle, at, len, terms).ready().await
    }

    async fn check(&self, handle: &Handle, seed: u64, at: u64, len: u64) {
        let bytes = self.read(handle, at, len, Duration::from_secs(60)).await;
        let mut expected = vec![0; usize::try_from(len).unwrap()];
        content::fill(seed, at, &mut expected);
        assert!(bytes.unwrap() == expected, "wrong bytes at {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_warmed_is_read_without_the_service() {
    let bench = Bench::new("20", 256 * MIB, None);
    let size = 20 * MIB + 777;
    let url = bench.file(size, 1);
    let told = AtomicU64::new(0);
    let tell = |done, total| {
        assert!(done <= total && total == size);
        told.store(done, Ordering::Relaxed);
    };
    let warmed = bench.reader.warm(&url, size, Part::Whole, tell).await;
    let whole = Warmed {
        bytes: size,
        fetched: size,
    };
    assert_eq!(warmed.unwrap(), whole);
    assert_eq!(told.into_inner(), size);
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert_eq!(bench.fake.count_downloads(), 3, "ranges of 8 MiB");
    // Nothing of it went through the readers' memory.
    assert_eq!(bench.reader.snapshot().memory_bytes, 0);

    bench.fake.clear_log();
    let again = bench.warm(&url, size, Part::Whole).await.unwrap();
    assert_eq!((again.bytes, again.fetched), (size, 0));
    let handle = bench.reader.open(&url, size);
    for at in [0, 7 * MIB + 5, size - 1000] {
        bench.check(&handle, 1, at, 1000).await;
    }
    assert!(bench.fake.log().is_empty(), "{:?}", bench.fake.log());
    let figures = bench.reader.explain(url.id());
    assert_eq!(figures.disk.unwrap().first, [(0, size)]);
    assert!(figures.handles[0].from_disk_bytes > 0 && figures.handles[0].pid == 77);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_are_warmed_alone_and_what_readers_left_is_not_fetched_again() {
    let bench = Bench::new("20", 256 * MIB, None);
    let size = 40 * MIB;
    let url = bench.file(size, 2);
    let handle = bench.reader.open(&url, size);
    bench.check(&handle, 2, 0, 300_000).await;
    drop(handle);
    let warmed = bench.warm(&url, size, Part::Edges).await.unwrap();
    assert_eq!(warmed.bytes, 8 * MIB);
    assert!(warmed.fetched <= 8 * MIB - 300_000, "{warmed:?}");
    assert_eq!(bench.fake.count("download/get_token"), 1);
    let disk = bench.reader.disk().unwrap();
    assert_eq!(disk.present(url.id(), 0..size), 4 * MIB);
    assert_eq!(disk.present(url.id(), size - 4 * MIB..size), size);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_survives_trouble_and_says_what_cannot_be() {
    let bench = Bench::new("20", 64 * MIB, None);
    let size = 12 * MIB;
    let url = bench.file(size, 3);
    for bytes in [100_000, 3 * MIB] {
        let fault = Fault::on("download", FaultKind::ResetAfter { bytes });
        bench.fake.faults().add(fault.times(1));
    }
    let warmed = bench.warm(&url, size, Part::Whole).await.unwrap();
    assert_eq!((warmed.bytes, warmed.fetched), (size, size));

    let huge = bench.file(100 * MIB, 4);
    let refused = bench.warm(&huge, 100 * MIB, Part::Whole).await.unwrap_err();
    assert!(matches!(refused, WarmError::TooLarge { .. }), "{refused}");
    let gone = bench.file(MIB, 5);
    assert!(bench.fake.account().remove(&gone.to_string()));
    let refused = bench.warm(&gone, MIB, Part::Whole).await.unwrap_err();
    assert!(matches!(refused, WarmError::Read(_)), "{refused}");
    let bare = Bench::new("20", 0, None);
    let url = bare.file(MIB, 6);
    let refused = bare.warm(&url, MIB, Part::Whole).await.unwrap_err();
    assert!(refused.to_string().contains("--cache-size"), "{refused}");
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_takes_the_link_over_that_warming_waits_for() {
    let bench = Bench::new("20", 64 * MIB, None);
    let slow = Duration::from_millis(600);
    let (first, second) = (bench.file(4 * MIB, 7), bench.file(4 * MIB, 8));
    // Background calls are made one a second at most, so the second waits for its turn.
    bench.warm(&first, 4 * MIB, Part::Edges).await.unwrap();
    let reader = bench.reader.clone();
    let url = second.clone();
    let warming =
        tokio::spawn(async move { reader.warm(&url, 4 * MIB, Part::Whole, |_, _| ()).await });
    bench.clock.sleep(slow / 3).await;
    let handle = bench.reader.open(&second, 4 * MIB);
    bench.check(&handle, 8, 0, 1000).await;
    assert_eq!(warming.await.unwrap().unwrap().bytes, 4 * MIB);
    assert!(bench.fake.count("download/get_token") <= 3);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_downloads_together_keep_to_the_limit() {
    let limit = 2 * MIB;
    let bench = Bench::new("4", 0, Some(limit));
    let size = 64 * MIB;
    let handles: Vec<Handle> = (10..14)
        .map(|seed| bench.reader.open(&bench.file(size, seed), size))
        .collect();
    let started = bench.clock.now();
    let span = Duration::from_secs(4);
    // As fast as it can, as far as it gets.
    let reader = async |index: usize| {
        let mut at = 0;
        while bench.clock.now().since(started) < span {
            let seed = 10 + index as u64;
            bench.check(&handles[index], seed, at, 65_536).await;
            at += 65_536;
        }
        at
    };
    let (a, b, c, d) = tokio::join!(reader(0), reader(1), reader(2), reader(3));
    let at: [u64; 4] = [a, b, c, d];
    let spent = bench.clock.now().since(started);
    let fetched = bench.reader.snapshot().fetched_bytes;
    // What comes before the first payment of each stream, two streams for each reader.
    let slack = 8 * MIB / 2;
    let most = u64::try_from(spent.as_millis()).unwrap() * limit / 1000 + slack;
    assert!(fetched <= most, "{fetched} bytes in {spent:?}");
    assert!(at.iter().all(|it| *it > 0), "{at:?}");
    let times = &bench.reader.explain(handles[0].id()).handles[0].times;
    assert!(times.limit > 0.5, "{times:?}");
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_the_limit_does_not_allow_in_time_fails_in_time() {
    let bench = Bench::new("4", 0, Some(65_536));
    let size = 64 * MIB;
    let handle = bench.reader.open(&bench.file(size, 20), size);
    let started = bench.clock.now();
    let failed = bench
        .read(&handle, 0, 8 * MIB, Duration::from_secs(5))
        .await;
    assert!(matches!(failed, Err(ReadError::Timeout)), "{failed:?}");
    assert!(bench.clock.now().since(started) < Duration::from_secs(9));
    let figures = &bench.reader.explain(handle.id()).handles[0];
    let last = figures.last_wait.as_ref().unwrap();
    assert!(last.error.is_some() && last.times.limit + last.times.transfer > 0.0);
    assert!(figures.doing.len() <= 2, "{figures:?}");
    // What is small is still read, if slowly.
    bench.check(&handle, 20, 0, 1000).await;
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_read_is_told_by_what_it_was_spent_on() {
    let bench = Bench::new("4", 0, None);
    bench.fake.set_shape(Shape {
        token_ms: 400.0,
        first_byte_ms: 300.0,
        ..bench.fake.shape()
    });
    let size = 4 * MIB;
    let url = bench.file(size, 30);
    let handle = bench.reader.open(&url, size);
    bench.check(&handle, 30, 0, 1000).await;
    let figures = bench.reader.explain(url.id());
    let open = &figures.handles[0];
    assert_eq!((open.reads, open.hits, open.asked_bytes), (1, 0, 1000));
    assert!(open.fetched_bytes >= 1000 && open.ranges == 1);
    let times = open.last_wait.as_ref().unwrap().times;
    assert!(times.call >= 0.3, "{times:?}");
    assert!(times.first_byte >= 0.25, "{times:?}");
    assert!(figures.link.as_ref().unwrap().age.is_some());
    assert_eq!(figures.open, 1);
    drop(handle);
    let figures = bench.reader.explain(url.id());
    assert_eq!((figures.open, figures.handles[0].closed), (0, true));
    assert_eq!(figures.memory.first[0].0, 0);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_a_link_that_is_asked_for_already_and_overtakes_one_that_is_not() {
    let bench = Bench::new("4", 256 * MIB, None);
    let slow = FaultKind::Slow { seconds: 4.0 };
    let failing = FaultKind::Status { code: 502 };
    let size = MIB;
    for (seed, fault, calls) in [(5, slow, 1), (6, failing, 2)] {
        let url = bench.file(size, seed);
        let fault = Fault::on("download/get_token", fault);
        bench.fake.faults().add(fault.once());
        bench.fake.clear_log();
        let reader = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let handle = bench.reader.open(&url, size);
            bench.check(&handle, seed, 0, 1000).await;
        };
        let (warmed, ()) = tokio::join!(bench.warm(&url, size, Part::Whole), reader);
        assert_eq!(warmed.unwrap().bytes, size);
        assert_eq!(bench.fake.count("download/get_token"), calls);
    }
    assert_well_behaved(&bench.fake);
}
