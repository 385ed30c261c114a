//! Reading: how many calls, ranges and bytes it takes, and what is told when it fails.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{Fake, Fault, FaultKind, content};
use fichierfs::api::{FileUrl, Requester};
use fichierfs::read::{ReadError, ReadSettings, ReadTerms, Reader};
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
    fn new(setting: &str, memory: u64) -> Self {
        let fake = Fake::builder().clock(setting).start().unwrap();
        let clock = Clock::parse(setting).unwrap();
        let settings = ReadSettings {
            memory,
            disk: None,
            connections: ReadSettings::CONNECTIONS,
            limit: None,
            streams_per_file: ReadSettings::STREAMS_PER_FILE,
        };
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
