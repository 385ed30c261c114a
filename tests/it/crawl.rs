//! What happens though nobody asks: the tree is completed, and what is in use is kept fresh.
use crate::common::assert_well_behaved;
use crate::tree::{Bench, names};
use fake_1fichier::{Fake, Fault, FaultKind};
use fichierfs::tree::{CrawlStage, Ino, TreeSettings};
use std::time::{Duration, Instant};

/// Virtual seconds per real one: the crawl makes one call a virtual second.
const FASTER: &str = "50";

/// Age from which listings are looked at again here, in virtual time.
const CACHE_TIME: Duration = Duration::from_secs(32);

/// Real time until something that takes a moment must have happened.
const SOON: Duration = Duration::from_secs(30);

fn bench(settings: TreeSettings) -> Bench {
    let fake = Fake::builder()
        .clock(FASTER)
        .config(|config| config.enforce_rules = true)
        .start()
        .unwrap();
    Bench::with_settings(fake, FASTER, settings)
}

fn usual() -> Bench {
    bench(TreeSettings {
        // Nothing is looked at again while the calls of the crawl are counted.
        dir_cache_time: Duration::from_secs(24 * 60 * 60),
        ..TreeSettings::new()
    })
}

/// 60 folders in three levels, with two files each.
fn sixty_folders(bench: &Bench) {
    let account = bench.fake.account();
    for artist in 0..6 {
        for album in 0..9 {
            let id = account.mkdir_p(&format!("artist {artist}/album {album}"));
            for song in 0..2 {
                account.add_bytes(id, &format!("song {song}"), "la");
            }
        }
    }
}

async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !happened() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The folders listed, in order.
fn listed(bench: &Bench) -> Vec<u64> {
    let log = bench.fake.log();
    let listings = log.iter().filter(|entry| entry.endpoint == "folder/ls");
    listings
        .map(|entry| entry.params["folder_id"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_completes_itself_with_one_call_a_folder() {
    let bench = usual();
    sixty_folders(&bench);
    bench.tree.start();
    eventually("all is known", || {
        bench.tree.snapshot().crawl.stage == CrawlStage::Done
    })
    .await;
    let snapshot = bench.tree.snapshot();
    assert_eq!((snapshot.folders, snapshot.folders_listed), (61, 61));
    assert_eq!(snapshot.entries, 60 + 54 * 2);
    assert_eq!(
        (snapshot.crawl.waiting, snapshot.crawl.seconds_left),
        (0, 0)
    );
    assert_eq!(bench.listings(), 61);
    // Breadth first: the root, then what is in it, then the rest.
    let order = listed(&bench);
    let top: Vec<u64> = (0..6)
        .map(|at| {
            bench
                .fake
                .account()
                .folder_at(&format!("artist {at}"))
                .unwrap()
        })
        .collect();
    assert!(
        order[0] == 0 && order[1..7].iter().all(|id| top.contains(id)),
        "{order:?}"
    );
    // Known now: no call for anything in it.
    bench.walk("artist 3/album 4/song 1").await;
    assert_eq!(bench.listings(), 61);

    // Found later, listed later.
    bench.fake.account().mkdir_p("artist 7/album 0");
    bench.clock.sleep(Duration::from_secs(31)).await;
    let now = bench
        .tree
        .refresh(Ino::ROOT, bench.caller(300))
        .ready()
        .await;
    assert_eq!(now.unwrap().entries().len(), 7);
    eventually("the new ones are known", || bench.listings() == 64).await;
    bench.tree.stop();
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_folders_are_tried_again_and_the_others_go_on() {
    let bench = usual();
    sixty_folders(&bench);
    let forbidden = FaultKind::Ko {
        code: 403,
        message: "Resource not allowed #631".into(),
    };
    bench
        .fake
        .faults()
        .add(Fault::on("folder/ls", forbidden).named("artist 2").times(2));
    let broken = FaultKind::Status { code: 502 };
    bench
        .fake
        .faults()
        .add(Fault::on("folder/ls", broken).after(30).times(3));
    bench.tree.start();
    eventually("a folder failed", || bench.tree.snapshot().crawl.failed > 0).await;
    eventually("all is known", || {
        bench.tree.snapshot().crawl.stage == CrawlStage::Done
    })
    .await;
    assert_eq!(bench.tree.snapshot().folders_listed, 61);
    // One call a folder and one for each failure.
    assert_eq!(bench.listings(), 61 + 5);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_overtakes_the_crawl() {
    let bench = usual();
    sixty_folders(&bench);
    bench.names(Ino::ROOT).await;
    bench.tree.start();
    let mut most = 0;
    for artist in [5, 4, 3] {
        let artist = bench
            .find(Ino::ROOT, &format!("artist {artist}"))
            .await
            .unwrap()
            .unwrap();
        // In mid-crawl, for a folder that waits for its turn there.
        let before = bench.listings();
        let found = bench.find(artist.ino, "album 8").await.unwrap();
        assert!(found.is_some());
        let own = artist.folder().unwrap().id.0;
        let order = listed(&bench);
        assert_eq!(order.iter().filter(|id| **id == own).count(), 1);
        let at = order.iter().position(|id| *id == own).unwrap();
        most = most.max(at.saturating_sub(before));
        bench.clock.sleep(Duration::from_secs(3)).await;
    }
    assert!(
        most <= 1,
        "{most} calls were made before the one somebody waited for"
    );
    eventually("all is known", || {
        bench.tree.snapshot().crawl.stage == CrawlStage::Done
    })
    .await;
    assert_eq!(bench.listings(), 61);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_the_crawl_waits_for_becomes_urgent() {
    let bench = usual();
    let account = bench.fake.account();
    account.add_bytes(account.mkdir(0, "first"), "a", "x");
    account.add_bytes(account.mkdir(0, "second"), "b", "x");
    bench.names(Ino::ROOT).await;
    // Background calls wait for 20 minutes after this, others try each minute.
    let maintenance = Fault::on("folder/ls", FaultKind::Maintenance).times(3);
    bench.fake.faults().add(maintenance);
    bench.tree.start();
    eventually("the crawl met the maintenance", || bench.listings() == 4).await;
    eventually("the crawl waits", || {
        bench.tree.snapshot().crawl.failed + bench.tree.snapshot().crawl.waiting > 0
    })
    .await;
    let started = bench.clock.now();
    for name in ["first", "second"] {
        let folder = bench.find(Ino::ROOT, name).await.unwrap().unwrap();
        while let Err(error) = bench.children(folder.ino).await {
            assert!(error.is_temporary(), "{error}");
            bench.clock.sleep(Duration::from_secs(3)).await;
        }
    }
    assert!(bench.clock.now().since(started) < Duration::from_secs(600));
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_with_its_parent_is_not_asked_for() {
    let bench = usual();
    let account = bench.fake.account();
    let gone = account.mkdir(0, "gone");
    for number in 0..40 {
        account.mkdir(gone, &format!("sub {number}"));
    }
    let stays = account.mkdir(0, "stays");
    account.add_bytes(stays, "a", "x");
    let folder = bench.walk("gone").await;
    assert_eq!(bench.names(folder.ino).await.len(), 40);
    account.remove_folder(gone);
    bench.clock.sleep(Duration::from_secs(31)).await;
    bench.tree.start();
    eventually("all is known", || {
        bench.tree.snapshot().crawl.stage == CrawlStage::Done
    })
    .await;
    let refused = bench
        .fake
        .log()
        .iter()
        .filter(|entry| entry.answer == "ko")
        .count();
    assert!(refused <= 6, "{refused} calls for what is gone");
    assert_eq!(bench.names(Ino::ROOT).await, ["stays"]);
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crawl_leaves_the_memory_to_those_who_use_it() {
    let bench = bench(TreeSettings {
        memory: 0,
        ..TreeSettings::new()
    });
    let account = bench.fake.account();
    // Each takes some 3 MB, and the least memory is 16 MiB.
    for number in 0..8 {
        let folder = account.mkdir(0, &format!("folder {number}"));
        for file in 0..4_900 {
            let name = format!("{file:05} {}", "long name ".repeat(23));
            account.add_synthetic(folder, &name, 7, 1);
        }
    }
    bench.tree.start();
    eventually("the memory is full", || {
        bench.tree.snapshot().crawl.stage == CrawlStage::Full
    })
    .await;
    let snapshot = bench.tree.snapshot();
    assert!(snapshot.crawl.waiting > 0 && snapshot.folders_listed < 9);
    // Nothing that was listed had to go.
    assert_eq!(snapshot.listings, snapshot.folders_listed as u64);
    bench.tree.stop();
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_crawl_and_nothing_else() {
    let bench = usual();
    sixty_folders(&bench);
    bench.tree.start();
    eventually("it runs", || bench.listings() > 3).await;
    bench.tree.stop();
    bench.clock.sleep(Duration::from_secs(5)).await;
    let made = bench.listings();
    bench.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.listings(), made);
    assert!(made < 61);
    bench.walk("artist 5/album 8/song 0").await;
    assert_well_behaved(&bench.fake);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_folders_are_kept_fresh_and_cold_ones_left_alone() {
    let bench = bench(TreeSettings {
        dir_cache_time: CACHE_TIME,
        ..TreeSettings::new()
    });
    let account = bench.fake.account();
    let (open, cold) = (account.mkdir(0, "open"), account.mkdir(0, "cold"));
    account.add_bytes(open, "before", "x");
    let folder = bench.walk("open").await;
    bench.names(folder.ino).await;
    bench.tree.opened(folder.ino);
    bench.tree.start();
    assert_eq!(bench.tree.snapshot().folders_open, 1);
    let count = |bench: &Bench, id: u64| listed(bench).iter().filter(|it| **it == id).count();
    eventually("the cold one was crawled", || count(&bench, cold) == 1).await;
    // Nobody asks for anything any more.
    eventually("the open one was looked at again", || {
        count(&bench, open) >= 3
    })
    .await;
    account.add_bytes(open, "after", "x");
    let seen = count(&bench, open) + 2;
    eventually("and again", || count(&bench, open) >= seen).await;
    let known = bench
        .tree
        .children(folder.ino, bench.caller(0))
        .ready()
        .await;
    assert_eq!(names(&known.unwrap()), ["after", "before"]);
    assert_eq!(count(&bench, cold), 1);
    bench.tree.released(folder.ino);
    assert_eq!(bench.tree.snapshot().folders_open, 0);
    assert_well_behaved(&bench.fake);
}
