//! Folders beyond one listing: shown whole, or not yet, or marked as a part; never a void.
use crate::common::assert_well_behaved;
use crate::tree::{Bench, names};
use fake_1fichier::CapForm;
use fake_1fichier::{Fake, Fault, FaultKind};
use fichierfs::tree::{Ino, Listing, TreeError, TreeSettings};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

/// Virtual seconds per real one: the 30 s between two slices pass in a second, and nearly as much time
/// is left to answer with 5,000 files on a busy machine.
const FASTER: &str = "30";

/// The time after which a folder may be listed again, in virtual time.
const LATER: Duration = Duration::from_secs(31);

fn bench(configure: impl FnOnce(&mut fake_1fichier::Config)) -> Bench {
    bench_at(FASTER, configure)
}

fn bench_at(faster: &str, configure: impl FnOnce(&mut fake_1fichier::Config)) -> Bench {
    let fake = Fake::builder()
        .clock(faster)
        .config(|config| config.enforce_rules = true)
        .config(configure)
        .start()
        .unwrap();
    let settings = TreeSettings {
        // Looked at again when a test says so.
        dir_cache_time: Duration::from_secs(24 * 60 * 60),
        ..TreeSettings::new()
    };
    Bench::with_settings(fake, faster, settings)
}

/// Adds files a minute apart, the last one a day ago; their URLs.
fn fill(bench: &Bench, folder: u64, count: usize) -> Vec<String> {
    let account = bench.fake.account();
    let mut urls = Vec::with_capacity(count);
    for number in 0..count {
        let url = account.add_synthetic(folder, &format!("{number:05}"), 7, 1);
        let minutes = number % 1440;
        let date = format!(
            "2025-{:02}-{:02} {:02}:{:02}:00",
            1 + number / 1440 / 28,
            1 + number / 1440 % 28,
            minutes / 60,
            minutes % 60
        );
        assert!(account.set_date(&url, &date));
        urls.push(url);
    }
    urls
}

/// Calls made so far: of the folder, and of files by date.
fn calls(bench: &Bench) -> (usize, usize) {
    (bench.listings(), bench.fake.count("file/ls"))
}

/// The root, however long it takes; failures that pass are tried again.
async fn root(bench: &Bench) -> Arc<Listing> {
    loop {
        match bench.children(Ino::ROOT).await {
            Ok(listing) => return listing,
            Err(error) => assert!(error.is_temporary(), "{error:?}"),
        }
        bench.clock.sleep(Duration::from_secs(3)).await;
    }
}

/// The root as it is now.
async fn root_now(bench: &Bench) -> Arc<Listing> {
    bench.clock.sleep(LATER).await;
    let caller = bench.caller(1_200);
    let listing = bench.tree.refresh(Ino::ROOT, caller).ready().await;
    listing.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_thousand_files_are_all_listed_and_none_twice() {
    let bench = bench(|_| {});
    fill(&bench, 0, 12_000);
    bench.fake.account().mkdir(0, "folder");
    // A program's patience is shorter than the slices take: it is told so, and never shown a part.
    let early = bench
        .tree
        .children(Ino::ROOT, bench.caller(45))
        .ready()
        .await;
    assert!(matches!(early, Err(TreeError::Timeout(_))), "{early:?}");
    let absent = bench
        .tree
        .lookup(Ino::ROOT, OsStr::new("absent"), bench.caller(1));
    let absent = absent.ready().await;
    assert!(matches!(absent, Err(TreeError::Timeout(_))), "{absent:?}");
    let progress = &bench.tree.snapshot().large[0];
    assert_eq!((progress.folder, progress.expected), (0, Some(12_000)));
    assert!(progress.slices_left > 0 && !progress.is_part);

    let listing = root(&bench).await;
    assert!(listing.is_complete());
    let all: HashSet<String> = names(&listing).into_iter().collect();
    assert_eq!((all.len(), listing.entries().len()), (12_001, 12_001));
    assert!(bench.find(Ino::ROOT, "absent").await.unwrap().is_none());
    assert!(bench.find(Ino::ROOT, "11999").await.unwrap().is_some());
    assert_eq!(calls(&bench), (1, 3));
    assert_eq!(bench.tree.snapshot().large, []);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_gathered_survives_failures_and_restarts_nothing() {
    let bench = bench(|_| {});
    fill(&bench, 0, 12_000);
    let refusal = FaultKind::Ko {
        code: 403,
        message: "Resource not allowed #631".into(),
    };
    bench
        .fake
        .faults()
        .add(Fault::on("file/ls", refusal).after(1).times(2));
    let mut failures = 0;
    let listing = loop {
        match bench.children(Ino::ROOT).await {
            Ok(listing) => break listing,
            Err(error) => failures += i32::from(!error.is_temporary()),
        }
        bench.clock.sleep(Duration::from_secs(3)).await;
    };
    assert_eq!(failures, 2);
    assert_eq!(listing.entries().len(), 12_000);
    // Three slices and the two failures: nothing was asked for again.
    assert_eq!(calls(&bench), (1, 5));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_beyond_the_cap_is_survived_too() {
    // Refusals are short, and finding the dates takes many.
    let bench = bench_at("150", |config| {
        config.listing_cap_form = CapForm::Refuse;
        config.sent_bounds_inclusive = true;
    });
    fill(&bench, 0, 6_000);
    let listing = root(&bench).await;
    assert!(listing.is_complete());
    assert_eq!(listing.entries().len(), 6_000);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_another_reason_is_that_refusal() {
    let bench = bench(|_| {});
    bench.fake.account().add_bytes(0, "a", "x");
    let refusal = FaultKind::Ko {
        code: 200,
        message: "Something new #999".into(),
    };
    bench
        .fake
        .faults()
        .add(Fault::on("folder/ls", refusal).once());
    let refused = bench.children(Ino::ROOT).await;
    assert!(matches!(refused, Err(TreeError::Api { .. })), "{refused:?}");
    bench.clock.sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.names(Ino::ROOT).await, ["a"]);
    assert_eq!(bench.fake.count("file/ls"), 0);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_folders_that_count_for_the_cap_hide_no_file() {
    let bench = bench(|config| config.listing_cap_counts_folders = true);
    for number in 0..3_000 {
        bench.fake.account().mkdir(0, &format!("folder {number}"));
    }
    fill(&bench, 0, 2_500);
    let listing = root(&bench).await;
    assert!(listing.is_complete());
    assert_eq!(listing.entries().len(), 5_500);
    assert_eq!(calls(&bench), (1, 1));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_of_too_many_files_is_a_part_that_only_grows() {
    let bench = bench(|_| {});
    let account = bench.fake.account();
    let urls = fill(&bench, 0, 12_300);
    for url in &urls[..12_000] {
        assert!(account.set_date(url, "2024-06-01 12:00:00"));
    }
    let part = root(&bench).await;
    assert!(!part.is_complete());
    let mut shown: HashSet<String> = names(&part).into_iter().collect();
    assert!(shown.len() >= 5_300 && shown.len() < 12_300);
    assert!(bench.tree.snapshot().large[0].is_part);
    let absent = bench.find(Ino::ROOT, "absent").await;
    assert!(matches!(absent, Err(TreeError::Cut { .. })), "{absent:?}");

    // One that is shown goes, one comes: the part gains the one and keeps the other.
    let gone = urls
        .iter()
        .zip(0..)
        .find(|(_, at)| shown.contains(&format!("{at:05}")));
    assert!(account.remove(gone.unwrap().0));
    account.add_bytes(0, "new", "x");
    shown.insert("new".into());
    for _ in 0..2 {
        let refreshed = root_now(&bench).await;
        assert!(!refreshed.is_complete());
        let now: HashSet<String> = names(&refreshed).into_iter().collect();
        assert!(now.is_superset(&shown));
        shown = now;
    }
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_large_folder_costs_two_calls_to_look_at_again() {
    let bench = bench_at("60", |_| {});
    let urls = fill(&bench, 0, 9_000);
    let folder = bench.fake.account().mkdir(0, "folder");
    assert_eq!(root(&bench).await.entries().len(), 9_001);
    let (heads, slices) = calls(&bench);

    // Something new, and a sub-folder less.
    bench.fake.account().add_bytes(0, "new", "x");
    bench.fake.account().remove_folder(folder);
    let listing = root_now(&bench).await;
    assert!(listing.is_complete() && listing.get(OsStr::new("new")).is_some());
    assert_eq!(listing.entries().len(), 9_001);
    assert_eq!(calls(&bench), (heads + 1, slices + 1));

    // One less: the number betrays it, and a whole round finds out which.
    assert!(bench.fake.account().remove(&urls[17]));
    let listing = root_now(&bench).await;
    assert!(listing.is_complete() && listing.get(OsStr::new("00017")).is_none());
    assert_eq!(listing.entries().len(), 9_000);

    // Small again: one call as for any other.
    for url in &urls[100..] {
        bench.fake.account().remove(url);
    }
    let listing = root_now(&bench).await;
    assert!(listing.is_complete());
    assert_eq!(listing.entries().len(), 100);
    let before = calls(&bench);
    root_now(&bench).await;
    assert_eq!(calls(&bench), (before.0 + 1, before.1));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_grows_beyond_the_cap_never_shrinks_meanwhile() {
    let bench = bench(|_| {});
    fill(&bench, 0, 4_990);
    assert_eq!(root(&bench).await.entries().len(), 4_990);
    for number in 0..50 {
        bench
            .fake
            .account()
            .add_bytes(0, &format!("new {number}"), "x");
    }
    bench.clock.sleep(LATER).await;
    let refresh = tokio::spawn(bench.tree.refresh(Ino::ROOT, bench.caller(900)).ready());
    while !refresh.is_finished() {
        let shown = bench.children(Ino::ROOT).await.unwrap();
        assert!(shown.is_complete() && [4_990, 5_040].contains(&shown.entries().len()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(refresh.await.unwrap().unwrap().entries().len(), 5_040);
    assert_well_behaved(&bench.fake);
}
