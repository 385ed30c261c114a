//! `folder/ls`, `file/ls`, `file/info`.
use super::support::World;
use super::{folder, url};
use fichierfs::api::{ErrorKind, FolderId, LISTING_CAP, Reached, SentSpan, Whirlpool, paris};
use std::time::Duration;

#[tokio::test]
async fn folders_and_files_come_in_one_call() {
    let world = World::new();
    let account = world.fake.account();
    let photos = account.mkdir(0, "photos");
    account.mkdir(photos, "été");
    let address = account.add_bytes(photos, "Hello \u{1f600}.txt", &b"Hello world\n"[..]);
    account.set_date(&address, "2025-10-26 02:30:00");

    let root = world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    assert_eq!(root.folders.len(), 1);
    assert_eq!(
        (root.folders[0].id, &*root.folders[0].name),
        (folder(photos), "photos")
    );
    assert!(root.folders[0].created.is_some());
    assert!(root.files.is_empty());

    let listing = world
        .client
        .list_folder(&world.ask(10), folder(photos))
        .await
        .unwrap();
    assert_eq!((&*listing.name, listing.file_count), ("photos", Some(1)));
    assert_eq!(&*listing.folders[0].name, "été");
    let file = &listing.files[0];
    assert_eq!((&*file.name, file.size), ("Hello \u{1f600}.txt", 12));
    assert_eq!(file.url, url(&address));
    assert_eq!(file.uploaded, paris::parse("2025-10-26 02:30:00"));
    assert_eq!(file.whirlpool, Some(Whirlpool::of(b"Hello world\n")));
    assert!(!listing.is_cut());
    assert_eq!(world.fake.count("folder/ls"), 2);
    world.done();
}

#[tokio::test]
async fn a_folder_is_not_listed_twice_within_half_a_minute() {
    let world = World::new();
    let id = world.fake.account().mkdir(0, "one");
    let start = world.clock.now();
    world
        .client
        .list_folder(&world.ask(60), folder(id))
        .await
        .unwrap();
    // Too early, and no time to wait: refused without a call.
    let early = world
        .client
        .list_folder(&world.ask(5), folder(id))
        .await
        .unwrap_err();
    assert_eq!(
        (early.kind, early.reached),
        (ErrorKind::Timeout, Reached::NotSent)
    );
    assert_eq!(world.fake.count("folder/ls"), 1);
    world
        .client
        .list_files(&world.ask(60), folder(id), SentSpan::default())
        .await
        .unwrap();
    assert!(world.clock.now().since(start) >= Duration::from_secs(30));
    world.done();
}

#[tokio::test]
async fn a_name_with_a_backslash_does_not_hide_its_folder() {
    let world = World::new();
    let account = world.fake.account();
    account.add_bytes(0, "a\\x.txt", &b"1"[..]);
    account.add_bytes(0, "ends\\", &b"2"[..]);
    account.add_bytes(0, "plain", &b"3"[..]);
    let listing = world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    let mut names: Vec<&str> = listing.files.iter().map(|file| &*file.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["a\\x.txt", "ends\\", "plain"]);
    world.done();
}

#[tokio::test]
async fn a_listing_at_the_cap_says_that_it_is_cut() {
    let world = World::with(|fake| fake.config(|c| c.listing_cap = 3));
    for n in 0..5 {
        world
            .fake
            .account()
            .add_bytes(0, &format!("{n}"), &b"x"[..]);
    }
    let listing = world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    assert!(
        listing.files.len() < LISTING_CAP && listing.is_cut(),
        "{listing:?}"
    );
    world.done();
}

#[tokio::test]
async fn files_are_narrowed_by_date() {
    let world = World::new();
    let account = world.fake.account();
    let id = account.mkdir(0, "dated");
    for (name, date) in [
        ("old", "2025-01-01 00:00:00"),
        ("middle", "2025-06-01 12:00:00"),
        ("new", "2025-12-31 23:59:59"),
    ] {
        let address = account.add_bytes(id, name, &b"x"[..]);
        assert!(account.set_date(&address, date));
    }
    let span = SentSpan {
        after: paris::parse("2025-03-01 00:00:00"),
        before: paris::parse("2025-09-01 00:00:00"),
    };
    let listing = world
        .client
        .list_files(&world.ask(10), folder(id), span)
        .await
        .unwrap();
    let names: Vec<&str> = listing.files.iter().map(|file| &*file.name).collect();
    assert_eq!(names, ["middle"]);
    let log = world.fake.log();
    let params = &log.last().unwrap().params;
    assert_eq!(params["sent_after"], "2025-03-01 00:00:00");
    assert_eq!(params["sent_before"], "2025-09-01 00:00:00");
    let far = SentSpan {
        after: Some(i64::MAX),
        before: None,
    };
    let error = world
        .client
        .list_files(&world.ask(90), folder(id), far)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::BadRequest, Reached::NotSent)
    );
    world.done();
}

#[tokio::test]
async fn what_does_not_exist_is_not_asked_for_twice() {
    let world = World::new();
    let error = world
        .client
        .list_folder(&world.ask(90), folder(77))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::NotFound, Reached::Answered)
    );
    assert_eq!(world.fake.count("folder/ls"), 1);
    let gone = url("https://1fichier.com/?aaaabbbbccccddddeeee");
    let error = world
        .client
        .file_info(&world.ask(30), &gone)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(world.fake.count("file/info"), 1);
    world.done();
}

#[tokio::test]
async fn everything_about_one_file() {
    let world =
        World::with(|fake| fake.config(|c| c.mime_key = fake_1fichier::MimeKey::Underscore));
    let account = world.fake.account();
    let id = account.mkdir_p("a/b");
    let address = account.add_bytes(id, "x.txt", &b"abc"[..]);
    let info = world
        .client
        .file_info(&world.ask(10), &url(&address))
        .await
        .unwrap();
    assert_eq!(
        (&*info.name, info.size, info.folder),
        ("x.txt", 3, Some(folder(id)))
    );
    assert_eq!(info.path.as_deref(), Some("a/b"));
    assert_eq!(info.whirlpool, Some(Whirlpool::of(b"abc")));
    assert_eq!(info.content_type.as_deref(), Some("text/plain"));
    assert!(!info.password);
    world.done();
}
