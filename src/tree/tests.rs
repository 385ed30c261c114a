//! What only shows when memory is short: listings that fell out of it.
use super::*;
use crate::api::scheduler::{Rates, Scheduler};
use crate::api::{ApiUrl, Settings};
use crate::secret::ApiKey;
use fake_1fichier::Fake;

/// Virtual seconds per real one.
const FASTER: &str = "100";

fn tree_of(fake: &Fake) -> Tree {
    let clock = Clock::parse(FASTER).unwrap();
    let settings = Settings {
        api_url: ApiUrl::parse(&fake.api_url()).unwrap(),
        clock,
        ..Settings::new(ApiKey::parse(&fake.key()).unwrap())
    };
    let client = Client::new(settings, Scheduler::new(clock, Rates::default(), None)).unwrap();
    Tree::new(client, clock, TreeSettings::new(), Handle::current())
}

fn caller(tree: &Tree) -> Caller {
    Caller {
        requester: Requester(1),
        deadline: Deadline::within(tree.inner.clock, Duration::from_secs(600)),
    }
}

async fn names(tree: &Tree) -> Vec<String> {
    let listing = tree.children(Ino::ROOT, caller(tree)).ready().await;
    let mut names: Vec<String> = listing
        .unwrap()
        .entries()
        .iter()
        .map(|node| node.name.to_str().unwrap().into())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_fell_out_of_memory_keeps_its_names_and_its_date() {
    let fake = Fake::builder().clock(FASTER).start().unwrap();
    let account = fake.account();
    for (size, date) in [
        "2026-03-01 00:00:00",
        "2026-03-02 00:00:00",
        "2026-03-03 00:00:00",
    ]
    .iter()
    .enumerate()
    {
        let url = account.add_bytes(0, "a.txt", vec![b'x'; size + 1]);
        assert!(account.set_date(&url, date));
    }
    let tree = tree_of(&fake);
    let mut changes = tree.take_changes().unwrap();
    assert_eq!(names(&tree).await, ["a (2).txt", "a (3).txt", "a.txt"]);
    let before = tree.node(Ino::ROOT).unwrap().modified();
    assert!(before.is_some());
    while changes.try_next().is_some() {}

    // The newest goes while nobody looks: the numbers stay, and so does the date.
    let newest = account
        .folder(0)
        .unwrap()
        .files
        .into_iter()
        .max_by_key(|file| file.size);
    assert!(account.remove(&newest.unwrap().url));
    tree.inner.cache.remove(FolderId::ROOT);
    assert_eq!(names(&tree).await, ["a (2).txt", "a (3).txt"]);
    assert_eq!(tree.node(Ino::ROOT).unwrap().modified(), before);
    // What the kernel remembers cannot be compared with anything.
    assert_eq!(changes.try_next(), Some(Change::Everything(Ino::ROOT)));
    assert_eq!(fake.count("folder/ls"), 2);
    assert!(fake.violations().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_whose_task_died_is_asked_for_again() {
    let fake = Fake::builder().clock(FASTER).start().unwrap();
    fake.account().add_bytes(0, "a", "x");
    let tree = tree_of(&fake);
    let (flight, landing) = folders::Flight::new(None);
    lock(&tree.inner.folders).state(FolderId::ROOT).flight = Some(flight.clone());
    drop(landing);
    let deadline = caller(&tree).deadline;
    let died = flight.wait(FolderId::ROOT, Requester(1), deadline).await;
    assert!(matches!(died, Err(TreeError::Interrupted(_))), "{died:?}");
    assert_eq!(names(&tree).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_fails_brings_back_what_fell_out_of_memory_meanwhile() {
    let fake = Fake::builder().clock(FASTER).start().unwrap();
    fake.account().add_bytes(0, "a", "x");
    let tree = tree_of(&fake);
    assert_eq!(names(&tree).await, ["a"]);
    let known = tree.inner.cache.get(FolderId::ROOT).unwrap();
    tree.inner.clock.sleep(fetch::LISTING_GAP).await;
    fake.faults().add(fake_1fichier::Fault::on(
        "folder/ls",
        fake_1fichier::FaultKind::KeyRefused,
    ));
    let refresh = tree.refresh(Ino::ROOT, caller(&tree));
    tree.inner.cache.remove(FolderId::ROOT);
    // Shown while it is under way, and after it failed.
    assert_eq!(names(&tree).await, ["a"]);
    assert!(refresh.ready().await.is_err());
    assert_eq!(names(&tree).await, ["a"]);
    assert_eq!(
        tree.inner.cache.get(FolderId::ROOT).unwrap().fetched(),
        known.fetched()
    );
}
