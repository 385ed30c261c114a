//! Reading: how many calls, ranges and bytes it takes, and what is told when it fails.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{Fake, Fault, FaultKind, content};
use fichierfs::api::{FileUrl, Requester};
use fichierfs::read::{DiskCache, ReadError, ReadSettings, ReadTerms, Reader};
use fichierfs::util::cached::Cached;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::time::Duration;

const MIB: u64 = 1 << 20;

struct Bench {
    fake: Fake,
    reader: Reader,
    clock: Clock,
}

impl Bench {
    /// The same account after a restart, with nothing in memory and what is on `disk`.
    fn restarted(self, disk: DiskCache) -> Self {
        let settings = ReadSettings {
            disk: Some(disk),
            ..ReadSettings::new(64 * MIB)
        };
        let client = client(&self.fake, self.clock);
        let runtime = tokio::runtime::Handle::current();
        let reader = Reader::new(client, self.clock, settings, runtime);
        Self { reader, ..self }
    }

    /// Reads as a probe does: the head in the kernel's steps, then the last bytes.
    async fn probe(&self, url: &FileUrl, seed: u64, size: u64, head: u64, tail: u64) {
        const STEP: u64 = 128 * 1024;
        let handle = self.reader.open(url, size);
        for at in (0..head).step_by(128 * 1024).chain([size - tail]) {
            let terms = self.terms(Duration::from_secs(30));
            let len = if at < head { STEP } else { tail };
            let bytes = self.reader.read(&handle, at, len, terms).ready().await;
            assert_eq!(bytes.unwrap(), expected(seed, at, len));
        }
    }

    /// Waits until nothing is on its way.
    async fn quiet(&self) {
        while self.reader.snapshot().connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn new(setting: &str, memory: u64) -> Self {
        let fake = Fake::builder().clock(setting).start().unwrap();
        let clock = Clock::parse(setting).unwrap();
        let settings = ReadSettings::new(memory);
        let runtime = tokio::runtime::Handle::current();
        let reader = Reader::new(client(&fake, clock), clock, settings, runtime);
        Self {
            fake,
            reader,
            clock,
        }
    }

    fn file(&self, size: u64, seed: u64) -> FileUrl {
        let url = self
            .fake
            .account()
            .add_synthetic(0, &format!("{seed}.bin"), size, seed);
        FileUrl::parse(&url).unwrap()
    }

    fn terms(&self, span: Duration) -> ReadTerms {
        ReadTerms {
            requester: Requester(1),
            deadline: Deadline::within(self.clock, span),
        }
    }

    fn fetched(&self) -> u64 {
        self.fake
            .log()
            .iter()
            .filter(|it| it.endpoint == "download")
            .map(|it| it.bytes_sent)
            .sum()
    }
}

/// The generator's bytes.
fn expected(seed: u64, at: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    content::fill(seed, at, &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_answered_on_the_spot() {
    let bench = Bench::new("1", 16 * MIB);
    let handle = bench.reader.open(&bench.file(8 * MIB, 1), 8 * MIB);
    let limit = Duration::from_secs(30);
    let first = bench.reader.read(&handle, 1000, 5000, bench.terms(limit));
    assert!(matches!(first, Cached::Wait(_)));
    assert_eq!(first.ready().await.unwrap(), expected(1, 1000, 5000));
    let again = bench.reader.read(&handle, 2000, 3000, bench.terms(limit));
    let Cached::Hit(again) = again else {
        panic!("not in memory")
    };
    assert_eq!(again.unwrap(), expected(1, 2000, 3000));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_head_and_tail_costs_one_token_and_little_more_than_it_reads() {
    let bench = Bench::new("1", 64 * MIB);
    let size = 40_000_000_000;
    let handle = bench.reader.open(&bench.file(size, 2), size);
    for at in [0, 32_768, size - 100_000, size - 40_000, 65_536] {
        let bytes = bench
            .reader
            .read(&handle, at, 32_768, bench.terms(Duration::from_secs(30)));
        assert_eq!(bytes.ready().await.unwrap(), expected(2, at, 32_768));
    }
    drop(handle);
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert!(
        bench.fake.count_downloads() <= 2,
        "{} ranges",
        bench.fake.count_downloads()
    );
    assert!(bench.fetched() <= 2 * MIB, "{} bytes", bench.fetched());
    // Opening it again within half an hour needs no other token.
    let handle = bench.reader.open(&FileUrl::of(first_id(&bench)), size);
    let bytes = bench
        .reader
        .read(&handle, size / 2, 100, bench.terms(Duration::from_secs(30)));
    assert_eq!(bytes.ready().await.unwrap(), expected(2, size / 2, 100));
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert_well_behaved(&bench.fake);
}

fn first_id(bench: &Bench) -> fichierfs::api::FileId {
    let file = bench.fake.account().folder(0).unwrap().files[0].clone();
    FileUrl::parse(&file.url).unwrap().id()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_reader_is_fetched_ahead_for_in_few_large_ranges() {
    let bench = Bench::new("1", 64 * MIB);
    let size = 100 * MIB;
    let handle = bench.reader.open(&bench.file(size, 3), size);
    for at in (0..size).step_by(128 * 1024) {
        let bytes = bench.reader.read(
            &handle,
            at,
            128 * 1024,
            bench.terms(Duration::from_secs(30)),
        );
        assert_eq!(bytes.ready().await.unwrap(), expected(3, at, 128 * 1024));
    }
    let ranges = bench.fake.count_downloads();
    assert!(ranges <= 14, "{ranges} ranges");
    assert!(
        bench.fetched() <= size + 2 * MIB,
        "{} bytes",
        bench.fetched()
    );
    assert!(bench.reader.snapshot().memory_bytes <= 64 * MIB);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_probe_costs_nothing_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        // The one before is let go as soon as its last task has ended.
        (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(4));
            DiskCache::open(folder.path(), 1 << 30, Clock::system()).ok()
        })
    };
    let disk = open().unwrap();
    let bench = Bench::new("1", MIB).restarted(disk.clone());
    let size = 300 * MIB;
    // Heads and tails as media files have them, with borders of windows and blocks among them.
    let probes = [
        (100_000, 5_000),
        (600_000, 100_000),
        (1_000_000, 250_000),
        (1_200_000, 1_000),
        (2_500_000, 1_900_000),
        (5_000_000, 250_000),
    ];
    let urls: Vec<_> = (0..)
        .zip(probes)
        .map(|(n, _)| bench.file(size, n))
        .collect();
    for again in [false, true] {
        for ((url, (head, tail)), seed) in urls.iter().zip(probes).zip(0..) {
            let before = bench.fake.count_downloads();
            bench.probe(url, seed, size, head, tail).await;
            let ranges = bench.fake.count_downloads() - before;
            let most = if again { 0 } else { 3 };
            assert!(
                ranges <= most,
                "{ranges} ranges for {head} and {tail} bytes"
            );
            bench.quiet().await;
        }
    }
    assert_eq!(bench.fake.count("download/get_token"), probes.len());
    assert!(disk.flush(Deadline::within(bench.clock, Duration::from_secs(10))));
    drop(disk);
    let Bench {
        fake,
        clock,
        reader,
    } = bench;
    drop(reader);
    let reader = Bench::new("1", MIB).reader;
    let bench = Bench {
        fake,
        reader,
        clock,
    }
    .restarted(open().expect("nobody holds it"));
    bench.fake.clear_log();
    for ((url, (head, tail)), seed) in urls.iter().zip(probes).zip(0..) {
        bench.probe(url, seed, size, head, tail).await;
    }
    let log = bench.fake.log();
    assert!(log.is_empty(), "{} requests, first {:?}", log.len(), log[0]);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_reader_held_up_by_one_connection_gets_several() {
    let bench = Bench::new("1", 128 * MIB);
    bench.fake.set_shape(fake_1fichier::Shape {
        first_byte_ms: 20.0,
        connection_bytes_per_second: 8e6,
        total_bytes_per_second: 32e6,
        ..fake_1fichier::Shape::default()
    });
    let size = 1 << 30;
    let handle = bench.reader.open(&bench.file(size, 8), size);
    for at in (0..40 * MIB).step_by(128 * 1024) {
        let bytes = bench.reader.read(
            &handle,
            at,
            128 * 1024,
            bench.terms(Duration::from_secs(30)),
        );
        assert_eq!(bytes.ready().await.unwrap(), expected(8, at, 128 * 1024));
        if at < 6 * MIB {
            let peak = bench.fake.connections().downloads_peak;
            assert!(peak <= 2, "{peak} connections for what may be a probe");
        }
    }
    let peak = bench.fake.connections().downloads_peak;
    assert!((3..=5).contains(&peak), "{peak} connections");
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_stops_what_was_fetched_ahead() {
    let bench = Bench::new("1", 128 * MIB);
    bench.fake.set_shape(fake_1fichier::Profile::Home.shape());
    let size = 1 << 30;
    let handle = bench.reader.open(&bench.file(size, 4), size);
    for at in (0..24 * MIB).step_by(128 * 1024) {
        let bytes = bench.reader.read(
            &handle,
            at,
            128 * 1024,
            bench.terms(Duration::from_secs(30)),
        );
        assert_eq!(bytes.ready().await.unwrap(), expected(4, at, 128 * 1024));
    }
    let far = bench.reader.read(
        &handle,
        size / 2,
        4096,
        bench.terms(Duration::from_secs(30)),
    );
    far.ready().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let settled = bench.reader.snapshot().fetched_bytes;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        bench.reader.snapshot().fetched_bytes,
        settled,
        "still fetching after a seek"
    );
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_smaller_than_what_is_read_still_gives_every_byte() {
    let bench = Bench::new("1", 2 * MIB);
    let size = 30 * MIB;
    let url = bench.file(size, 5);
    let readers = (0..8).map(|reader| {
        let (url, bench) = (&url, &bench);
        async move {
            let handle = bench.reader.open(url, size);
            for step in 0..40 {
                let at = (step * 7_654_321 + reader * 3_210_987) % (size - 300_000);
                let bytes =
                    bench
                        .reader
                        .read(&handle, at, 300_000, bench.terms(Duration::from_secs(60)));
                assert_eq!(bytes.ready().await.unwrap(), expected(5, at, 300_000));
            }
        }
    });
    futures_join(readers).await;
    assert!(bench.reader.snapshot().memory_bytes <= 2 * MIB);
    assert_well_behaved(&bench.fake);
}

/// Runs all of them at once.
async fn futures_join(all: impl IntoIterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_hears_of_the_deadline_and_the_next_one_is_served() {
    let bench = Bench::new("20", 16 * MIB);
    let handle = bench.reader.open(&bench.file(8 * MIB, 6), 8 * MIB);
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::Stall).times(1));
    let late = bench
        .reader
        .read(&handle, 0, 1000, bench.terms(Duration::from_secs(2)));
    assert!(matches!(late.ready().await, Err(ReadError::Timeout)));
    let patient = bench
        .reader
        .read(&handle, 0, 1000, bench.terms(Duration::from_secs(60)));
    assert_eq!(patient.ready().await.unwrap(), expected(6, 0, 1000));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_told_to_all_who_wait() {
    let bench = Bench::new("20", 16 * MIB);
    let url = bench.file(8 * MIB, 7);
    let handle = bench.reader.open(&url, 8 * MIB);
    bench.fake.account().remove(&url.to_string());
    let reads = [0, 100, 200].map(|at| {
        bench
            .reader
            .read(&handle, at, 100, bench.terms(Duration::from_secs(60)))
    });
    for read in reads {
        let error = read.ready().await.unwrap_err();
        assert!(error.is_gone(), "{error}");
    }
}
