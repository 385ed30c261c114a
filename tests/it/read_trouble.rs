//! Reading when things go wrong at the same time: what one reader's trouble may cost the others.
use crate::common::{assert_well_behaved, client};
use fake_1fichier::{ExpiredForm, Fake, Fault, FaultKind, content};
use fichierfs::api::{FileUrl, Requester};
use fichierfs::read::{Handle, ReadError, ReadSettings, ReadTerms, Reader};
use fichierfs::util::cached::Cached;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Virtual seconds per real second.
const FACTOR: &str = "20";

/// A reader on a fake service, with a clock that both share.
struct Bench {
    fake: Fake,
    reader: Reader,
    clock: Clock,
}

impl Bench {
    fn new(memory: u64) -> Self {
        let fake = Fake::builder().clock(FACTOR).start().unwrap();
        let clock = Clock::parse(FACTOR).unwrap();
        let settings = ReadSettings::new(memory);
        let runtime = tokio::runtime::Handle::current();
        let reader = Reader::new(client(&fake, clock), clock, settings, runtime);
        Self {
            fake,
            reader,
            clock,
        }
    }

    fn open(&self, name: &str, size: u64, seed: u64) -> Handle {
        let url = self.fake.account().add_synthetic(0, name, size, seed);
        self.reader.open(&FileUrl::parse(&url).unwrap(), size)
    }

    fn read(&self, handle: &Handle, at: u64, len: u64) -> Cached<Result<bytes::Bytes, ReadError>> {
        let terms = ReadTerms {
            requester: Requester(1),
            deadline: Deadline::within(self.clock, Duration::from_secs(60)),
        };
        self.reader.read(handle, at, len, terms)
    }
}

/// The generator's bytes.
fn expected(seed: u64, at: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    content::fill(seed, at, &mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_a_part_hears_of_the_failure_like_those_who_have_nothing() {
    let bench = Bench::new(16 * MIB);
    let handle = bench.open("film.mkv", 8 * MIB, 1);
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::ResetAfter { bytes: 100_000 }).once());
    let form = ExpiredForm::Gone;
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::ExpiredToken { form }));
    // The first has its beginning when the connection breaks, the second has nothing.
    let reads = [(0, 300_000), (200_000, 100_000)].map(|(at, len)| bench.read(&handle, at, len));
    for read in reads {
        let error = read.ready().await.unwrap_err();
        assert!(matches!(error, ReadError::Api(_)), "{error}");
    }
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_wait_for_a_link_hold_no_connection_that_others_could_use() {
    let bench = Bench::new(64 * MIB);
    let here = bench.open("here.mkv", 64 * MIB, 2);
    assert!(bench.read(&here, 0, 1000).ready().await.is_ok());
    bench
        .fake
        .faults()
        .add(Fault::on("download/get_token", FaultKind::Slow { seconds: 50.0 }).named("waits"));
    let waiting: Vec<Handle> = (0..40)
        .map(|index| bench.open(&format!("waits {index}"), MIB, index))
        .collect();
    let reads: Vec<_> = waiting
        .iter()
        .map(|handle| bench.read(handle, 0, 1000))
        .collect();
    let began = bench.clock.now();
    let bytes = bench.read(&here, 32 * MIB, 1000).ready().await.unwrap();
    assert_eq!(bytes, expected(2, 32 * MIB, 1000));
    let took = bench.clock.now().since(began);
    assert!(
        took < Duration::from_secs(30),
        "waited {took:?} for the links of other files"
    );
    drop(reads);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_about_maintenance_costs_a_moment_and_not_the_twenty_minutes_it_is_for() {
    for status in [503, 509] {
        let bench = Bench::new(16 * MIB);
        let handle = bench.open("film.mkv", 8 * MIB, 3);
        let kind = match status {
            503 => FaultKind::Maintenance,
            code => FaultKind::Status { code },
        };
        bench
            .fake
            .faults()
            .add(Fault::on("download", kind).times(2));
        let bytes = bench.read(&handle, 0, 1000).ready().await;
        assert_eq!(bytes.unwrap(), expected(3, 0, 1000), "{status}");
        assert_well_behaved(&bench.fake);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_costs_one_call_however_often_it_is_read() {
    let bench = Bench::new(16 * MIB);
    let handle = bench.open("gone.mkv", 8 * MIB, 4);
    let url = bench.fake.account().folder(0).unwrap().files[0].url.clone();
    bench.fake.account().remove(&url);
    for _ in 0..50 {
        let error = bench.read(&handle, 0, 1000).ready().await.unwrap_err();
        assert!(error.is_gone(), "{error}");
    }
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_never_work_are_not_asked_for_again_and_again() {
    let bench = Bench::new(16 * MIB);
    let handle = bench.open("film.mkv", 8 * MIB, 5);
    let form = ExpiredForm::Forbidden;
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::ExpiredToken { form }));
    for _ in 0..50 {
        assert!(bench.read(&handle, 0, 1000).ready().await.is_err());
    }
    assert!(
        bench.fake.count("download/get_token") <= 6,
        "{} links",
        bench.fake.count("download/get_token")
    );
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_left_for_another() {
    let bench = Bench::new(16 * MIB);
    let handle = bench.open("film.mkv", 8 * MIB, 6);
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::Status { code: 502 }).times(4));
    let bytes = bench.read(&handle, 0, 1000).ready().await.unwrap();
    assert_eq!(bytes, expected(6, 0, 1000));
    assert!(bench.fake.count("download/get_token") >= 2);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_does_not_use_up_the_connections() {
    let bench = Bench::new(64 * MIB);
    let stuck = bench.open("stuck.mkv", 64 << 30, 7);
    assert!(bench.read(&stuck, 0, 1000).ready().await.is_ok());
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::Stall).times(16));
    let before = bench.fake.count_downloads();
    // Sixteen hold what one process may have; two hundred more queue up behind them and give up.
    let reads: Vec<_> = (1..=220)
        .map(|index| bench.read(&stuck, index * 64 * MIB, 1000))
        .collect();
    tokio::time::sleep(bench.clock.real(Duration::from_secs(5))).await;
    drop(reads);
    let bytes = bench.read(&stuck, 60 << 30, 1000).ready().await.unwrap();
    assert_eq!(bytes, expected(7, 60 << 30, 1000));
    let ranges = bench.fake.count_downloads() - before;
    assert!(ranges <= 22, "{ranges} ranges for one reader");
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_connections_all_hang_holds_up_no_other() {
    let bench = Bench::new(64 * MIB);
    let stuck = bench.open("stuck.mkv", 64 << 30, 7);
    let other = bench.open("other.mkv", 64 * MIB, 8);
    assert!(bench.read(&stuck, 0, 1000).ready().await.is_ok());
    bench
        .fake
        .faults()
        .add(Fault::on("download", FaultKind::Stall).named("stuck"));
    let before = bench.fake.count_downloads();
    let reads: Vec<_> = (1..=64)
        .map(|index| bench.read(&stuck, index * 64 * MIB, 1000))
        .collect();
    while bench.fake.count_downloads() - before < 16 {
        bench.clock.sleep(Duration::from_millis(100)).await;
    }
    let terms = ReadTerms {
        requester: Requester(2),
        deadline: Deadline::within(bench.clock, Duration::from_secs(60)),
    };
    let bytes = bench.reader.read(&other, 0, 1000, terms).ready().await;
    assert_eq!(bytes.unwrap(), expected(8, 0, 1000));
    // Not one of those that hang had to be given up for it.
    assert_eq!(bench.fake.count_downloads() - before, 17);
    drop(reads);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_brings_next_to_nothing_is_replaced() {
    let bench = Bench::new(16 * MIB);
    let handle = bench.open("film.mkv", 8 * MIB, 10);
    let trickle = FaultKind::TrickleAfter { bytes: 50_000 };
    let fault = Fault::on("download", trickle);
    bench.fake.faults().add(fault.times(2));
    let bytes = bench.read(&handle, 0, 300_000).ready().await;
    assert_eq!(bytes.unwrap(), expected(10, 0, 300_000));
    // Once per such connection, and the link was good.
    assert_eq!(bench.fake.count_downloads(), 3);
    assert_eq!(bench.fake.count("download/get_token"), 1);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_shared_ends_when_both_have_closed() {
    let bench = Bench::new(128 * MIB);
    bench.fake.set_shape(fake_1fichier::Profile::Home.shape());
    let size = 1 << 30;
    let first = bench.open("film.mkv", size, 8);
    let url = bench.fake.account().folder(0).unwrap().files[0].url.clone();
    let second = bench.reader.open(&FileUrl::parse(&url).unwrap(), size);
    for at in (0..24 * MIB).step_by(128 * 1024) {
        for handle in [&first, &second] {
            let bytes = bench.read(handle, at, 128 * 1024).ready().await;
            assert_eq!(bytes.unwrap(), expected(8, at, 128 * 1024));
        }
    }
    let wanted = bench.reader.snapshot().fetched_bytes;
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let fetched = bench.reader.snapshot().fetched_bytes - wanted;
    assert!(fetched <= 4 * MIB, "{fetched} bytes for nobody");
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_and_sizes_at_the_end_of_the_numbers_are_just_numbers() {
    let bench = Bench::new(16 * MIB);
    let small = bench.open("small", 10, 9);
    let id = bench.fake.account().folder(0).unwrap().files[0].url.clone();
    for (at, len) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (10, u64::MAX), (0, 0)] {
        let bytes = bench.read(&small, at, len).ready().await.unwrap();
        assert!(bytes.is_empty(), "{at} {len}");
    }
    assert_eq!(
        bench.read(&small, 9, u64::MAX).ready().await.unwrap(),
        expected(9, 9, 1)
    );
    drop(small);
    // A size that no service has: whatever is answered, nothing panics.
    let url = FileUrl::parse(&id).unwrap();
    let other = Bench::new(16 * MIB);
    let huge = other.reader.open(&url, u64::MAX);
    let last = huge.size() - 1;
    for at in [last, last / 2, 0] {
        assert!(other.read(&huge, at, MIB).ready().await.is_err());
    }
    assert!(
        other
            .read(&huge, u64::MAX - 1, 1)
            .ready()
            .await
            .unwrap()
            .is_empty()
    );
}
