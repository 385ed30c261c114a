//! The stores over restarts, kills and damage, through their own seams.
use super::*;
use crate::api::{FileId, FileItem, FileUrl, FolderListing, SubFolder, Whirlpool};
use crate::secret::ApiKey;
use crate::tree::NodeKey;
use crate::tree::listing::{Surroundings, diff};
use crate::tree::local::{Local, Timestamp};
use crate::util::clock::Moment;
use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::path::PathBuf;
use tempfile::TempDir;

const MAIL: &str = "someone@example.org";

fn fingerprint(key: &str) -> Fingerprint {
    Fingerprint::of(&ApiKey::parse(key).unwrap())
}

fn open(dir: &TempDir) -> Result<Store, StoreError> {
    Store::open(dir.path(), fingerprint("key-of-someone"), Clock::system())
}

fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("fichierfs-store")
        .tempdir()
        .unwrap()
}

fn file(id: &str, name: &str) -> FileItem {
    FileItem {
        url: FileUrl::of(FileId::parse(id).unwrap()),
        name: name.into(),
        size: 5,
        uploaded: Some(1_700_000_000),
        whirlpool: Some(Whirlpool([7; 64])),
        content_type: Some("video/x-matroska".into()),
        password: false,
        access_list: true,
    }
}

fn answer(folder: u64, files: Vec<FileItem>) -> FolderListing {
    FolderListing {
        folder: FolderId(folder),
        name: "x".into(),
        created: Some(1_600_000_000),
        file_count: None,
        folders: Vec::new(),
        files,
    }
}

fn build(answer: &FolderListing, fetched: Moment) -> Arc<Listing> {
    let around = Surroundings {
        ino: Ino::of(NodeKey::Folder(answer.folder)).unwrap(),
        number: &|key, taken| Ino::of(key).filter(|ino| !taken(*ino)),
        numbering: &Numbering::default(),
        fetched,
        kept: &[],
        is_complete: !answer.is_cut(),
    };
    Arc::new(Listing::build(answer, &around).0)
}

fn listing(folder: u64, files: Vec<FileItem>) -> Arc<Listing> {
    build(&answer(folder, files), Clock::system().now())
}

/// Puts a listing as the tree does.
fn put(store: &Store, listing: &Arc<Listing>) {
    let record = FolderRecord {
        parent: Some(FolderId(0)),
        changed: Some(-3),
        entries: 1,
        fetched: Some(store.inner.clock.unix_at(listing.fetched())),
    };
    store.put(vec![Arc::clone(listing)], [(listing.folder(), record)]);
}

/// The names that the store keeps of a folder.
fn names(store: &Store, folder: u64) -> Option<Vec<String>> {
    let mut names: Vec<String> = match store.listing(FolderId(folder))? {
        Found::Waiting(listing) => {
            let nodes = listing.entries().iter();
            nodes
                .map(|node| node.name.to_str().unwrap().into())
                .collect()
        }
        Found::Read(stored) => {
            let entries = stored.entries.iter();
            entries
                .map(|(name, _)| name.to_str().unwrap().into())
                .collect()
        }
    };
    names.sort_unstable();
    Some(names)
}

fn number_of(id: &str) -> Ino {
    Ino::of(NodeKey::File(FileId::parse(id).unwrap())).unwrap()
}

/// Changes a byte of every occurrence of `what` in a file.
fn scratch(path: PathBuf, what: &[u8]) {
    let mut bytes = std::fs::read(&path).unwrap();
    let mut hits = 0;
    for at in 0..bytes.len() - what.len() {
        if bytes[at..].starts_with(what) {
            bytes[at] ^= 0x20;
            hits += 1;
        }
    }
    assert!(hits > 0, "nothing to damage");
    std::fs::write(path, bytes).unwrap();
}

/// Changes a table of a store that nobody has open.
fn edit(path: PathBuf, table: TableDefinition<'_, &str, &[u8]>, key: &str, value: &[u8]) {
    let database = redb::Database::open(path).unwrap();
    let change = database.begin_write().unwrap();
    change
        .open_table(table)
        .unwrap()
        .insert(key, value)
        .unwrap();
    change.commit().unwrap();
}

#[test]
fn what_is_put_is_read_at_once_and_after_a_restart() {
    let dir = folder();
    let store = open(&dir).unwrap();
    let kept = listing(4, vec![file("aaaaaaaaaa", "a"), file("bbbbbbbbbb", "b")]);
    put(&store, &kept);
    assert_eq!(names(&store, 4).unwrap(), ["a", "b"]);
    assert_eq!(
        store.places(&[number_of("bbbbbbbbbb")]),
        [Some(FolderId(4))]
    );
    drop(store);

    let store = open(&dir).unwrap();
    let Some(Found::Read(stored)) = store.listing(FolderId(4)) else {
        panic!("not kept")
    };
    assert_eq!(stored.modified, kept.newest());
    assert!(stored.is_complete && !stored.has_refused);
    let folders = store.folders();
    assert_eq!(folders.len(), 1);
    assert_eq!(
        (folders[0].1.parent, folders[0].1.changed),
        (Some(FolderId(0)), Some(-3))
    );
    assert_eq!(folders[0].1.fetched, Some(stored.fetched));
    let again = Listing::restore(
        FolderId(4),
        stored,
        kept.ino(),
        &|key, _| Ino::of(key),
        kept.fetched(),
    );
    assert_eq!(diff(&kept, &again), []);
    assert_eq!(
        store.places(&[number_of("bbbbbbbbbb"), number_of("cccccccccc")]),
        [Some(FolderId(4)), None]
    );
    assert_eq!(names(&store, 5), None);

    store.remove(FolderId(4));
    assert_eq!(names(&store, 4), None);
    drop(store);
    let store = open(&dir).unwrap();
    assert_eq!(names(&store, 4), None);
    assert_eq!(store.places(&[number_of("bbbbbbbbbb")]), [None]);
    assert!(store.folders().is_empty());
}

#[test]
fn a_file_is_where_the_newest_listing_shows_it() {
    let dir = folder();
    let store = open(&dir).unwrap();
    let file = || file("bbbbbbbbbb", "b");
    put(&store, &listing(1, vec![file()]));
    drop(store);
    let store = open(&dir).unwrap();
    put(&store, &listing(2, vec![file()]));
    // Before and after it is on disk.
    for _ in 0..2 {
        assert_eq!(
            store.places(&[number_of("bbbbbbbbbb")]),
            [Some(FolderId(2))]
        );
        finish(store.flush());
    }
    // The old folder loses it: the new one keeps it.
    put(&store, &listing(1, Vec::new()));
    drop(store);
    let store = open(&dir).unwrap();
    assert_eq!(
        store.places(&[number_of("bbbbbbbbbb")]),
        [Some(FolderId(2))]
    );
    assert_eq!(names(&store, 2).unwrap(), ["b"]);
}

fn finish<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn one_process_at_a_time() {
    let dir = folder();
    let _store = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(error.to_string().contains("--state-dir"), "{error}");
}

#[test]
fn a_store_is_of_one_account() {
    let dir = folder();
    let store = open(&dir).unwrap();
    assert!(!store.is_known());
    store.claim(MAIL).unwrap();
    put(&store, &listing(1, vec![file("aaaaaaaaaa", "a")]));
    assert!(store.is_known());
    drop(store);
    assert!(open(&dir).unwrap().is_known());

    let other = |key: &str| Store::open(dir.path(), fingerprint(key), Clock::system()).unwrap();
    // The same account with another key must say who it is.
    let store = other("another-key");
    assert!(!store.is_known());
    store.claim(MAIL).unwrap();
    assert_eq!(names(&store, 1).unwrap(), ["a"]);
    drop(store);
    assert!(other("another-key").is_known());

    // Another account: nothing of the first may be shown.
    let store = other("a-third-key");
    store.claim("other@example.org").unwrap();
    assert!(store.is_known());
    assert_eq!(names(&store, 1), None);
    let mut numbering = Numbering::default();
    numbering.give(NodeKey::Folder(FolderId(3)), "x".as_ref(), 2);
    store.put_numbering(FolderId(1), &numbering);
    drop(store);

    // What cannot be told again is not thrown away for a fourth.
    let store = open(&dir).unwrap();
    let refused = store.claim(MAIL).unwrap_err();
    assert!(
        matches!(&refused, StoreError::OtherAccount { owner, .. } if &**owner == "other@example.org"),
        "{refused}"
    );
}

#[test]
fn a_damaged_listing_counts_as_none_and_the_others_stay() {
    let dir = folder();
    let store = open(&dir).unwrap();
    put(&store, &listing(1, vec![file("aaaaaaaaaa", "harmed-name")]));
    put(&store, &listing(2, vec![file("bbbbbbbbbb", "b")]));
    drop(store);
    scratch(dir.path().join("cache.redb"), b"harmed-name");
    let store = open(&dir).unwrap();
    assert_eq!(names(&store, 1), None);
    assert_eq!(names(&store, 2).unwrap(), ["b"]);
    assert_eq!(store.snapshot().rebuilt, 0);
}

#[test]
fn a_cache_beyond_use_is_made_anew() {
    let dir = folder();
    let path = dir.path().join("cache.redb");
    let ruins: [&dyn Fn(); 4] = [
        &|| std::fs::write(&path, b"no database at all").unwrap(),
        &|| {
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(5000).unwrap();
        },
        &|| {
            let length = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap();
            std::fs::write(&path, vec![0; length]).unwrap();
        },
        &|| {
            edit(
                path.clone(),
                TableDefinition::new("meta"),
                "format",
                &99u32.to_le_bytes(),
            );
        },
    ];
    for (number, ruin) in ruins.iter().enumerate() {
        let store = open(&dir).unwrap();
        store.claim(MAIL).unwrap();
        put(&store, &listing(1, vec![file("aaaaaaaaaa", "a")]));
        drop(store);
        ruin();
        let store = open(&dir).unwrap();
        assert_eq!(store.snapshot().rebuilt, 1, "{number}");
        assert_eq!(names(&store, 1), None, "{number}");
        assert!(
            !store.is_known(),
            "{number}: nothing is known of whose it is"
        );
        put(&store, &listing(1, vec![file("aaaaaaaaaa", "a")]));
        drop(store);
        assert_eq!(names(&open(&dir).unwrap(), 1).unwrap(), ["a"], "{number}");
    }
}

#[test]
fn numbers_survive_everything_but_their_own_damage_which_is_set_aside() {
    let dir = folder();
    let path = dir.path().join("primary.redb");
    let numbering = |name: &str| {
        let mut numbering = Numbering::default();
        let file = FileId::parse("aaaaaaaaaa").unwrap();
        numbering.give(NodeKey::File(file), name.as_ref(), 2);
        numbering
    };
    let file = FileId::parse("cccccccccc").unwrap();
    let ino = Ino::new(1 << 62).unwrap();
    let store = open(&dir).unwrap();
    store.put_numbering(FolderId(1), &numbering("harmed-name"));
    store.put_numbering(FolderId(2), &numbering("b"));
    store.put_numbering(FolderId(3), &numbering("c"));
    store.put_numbering(FolderId(3), &Numbering::default());
    store.put_displaced(&[(file, ino)]);
    // Gone without a word, as in a kill.
    std::mem::forget(store);
    let copy = folder();
    std::fs::copy(&path, copy.path().join("primary.redb")).unwrap();
    let store = open(&copy).unwrap();
    let all = store.primary().unwrap();
    assert_eq!(all.numbering.len(), 2);
    assert_eq!(all.numbering[1], (FolderId(2), numbering("b")));
    assert_eq!(all.displaced, [(file, ino)]);
    assert_eq!(store.snapshot().damaged, 0);
    drop(store);

    scratch(copy.path().join("primary.redb"), b"harmed-name");
    for _ in 0..2 {
        let store = open(&copy).unwrap();
        assert_eq!(
            store.snapshot().damaged,
            1,
            "kept, and still told at the next start"
        );
        let all = store.primary().unwrap();
        assert_eq!(all.numbering, [(FolderId(2), numbering("b"))]);
        assert_eq!(all.displaced, [(file, ino)]);
    }
    let database = redb::Database::open(copy.path().join("primary.redb")).unwrap();
    let aside: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("damaged");
    let aside = database.begin_read().unwrap().open_table(aside).unwrap();
    assert_eq!(aside.len().unwrap(), 1);
    drop((aside, database));

    // The whole file: kept beside, and the mount works.
    std::fs::write(copy.path().join("primary.redb"), b"no database at all").unwrap();
    let store = open(&copy).unwrap();
    assert_eq!(store.snapshot().damaged, 1);
    assert!(store.primary().unwrap().numbering.is_empty());
    drop(store);
    let ours = std::fs::read_dir(copy.path()).unwrap().flatten();
    let kept = ours
        .map(|entry| std::fs::read(entry.path()).unwrap())
        .filter(|bytes| bytes == b"no database at all");
    assert_eq!(kept.count(), 1);
}

#[test]
fn changes_that_are_to_be_told_survive_a_kill_and_damage_takes_only_its_own() {
    let dir = folder();
    let store = open(&dir).unwrap();
    let (kept, gone) = (FileId::parse("cccccccccc"), FileId::parse("dddddddddd"));
    let (kept, gone) = (kept.unwrap(), gone.unwrap());
    let ino = Ino::new((1 << 62) + 5).unwrap();
    let record = |text: &str| Some(text.as_bytes().to_vec());
    let first = Commit {
        pending: vec![
            (5, record("harmed-entry")),
            (6, record("b")),
            (7, record("c")),
        ],
        contents: vec![(1, record("bytes")), (2, record("more"))],
        files: vec![(kept, ino), (gone, ino)],
        gone: Vec::new(),
        folders: vec![(FolderId(9), ino), (FolderId(10), ino)],
        folders_gone: Vec::new(),
        locals: Vec::new(),
        recent: vec![(8, record("shown")), (9, None)],
        next: Some(8),
    };
    store.commit(&first).unwrap();
    let second = Commit {
        pending: vec![(7, None)],
        contents: vec![(2, None)],
        gone: vec![gone],
        folders_gone: vec![FolderId(10)],
        ..Commit::default()
    };
    store.commit(&second).unwrap();
    // Gone without a word, as in a kill.
    std::mem::forget(store);
    let copy = folder();
    let path = copy.path().join("primary.redb");
    std::fs::copy(dir.path().join("primary.redb"), &path).unwrap();
    let store = open(&copy).unwrap();
    let pending = store.pending().unwrap();
    let numbers: Vec<u64> = pending.pending.iter().map(|(number, _)| *number).collect();
    assert_eq!(
        (numbers, pending.contents, pending.next),
        (vec![5, 6], vec![1], 8)
    );
    assert_eq!(pending.pending[0].1, b"harmed-entry");
    assert_eq!(pending.folders, [(FolderId(9), ino)]);
    assert_eq!(store.content(1).unwrap().as_deref(), Some(&b"bytes"[..]));
    assert_eq!(store.content(2).unwrap(), None);
    assert_eq!(store.primary().unwrap().displaced, [(kept, ino)]);
    assert!(!store.is_damaged());
    drop(store);

    scratch(path, b"harmed-entry");
    let store = open(&copy).unwrap();
    let pending = store.pending().unwrap();
    assert_eq!(pending.pending, [(6, b"b".to_vec())]);
    assert_eq!((pending.contents.len(), pending.next), (1, 8));
    assert!(store.is_damaged(), "set aside, not thrown away");
}

#[test]
fn attributes_survive_a_kill_and_a_damaged_record_takes_only_itself() {
    let dir = folder();
    let store = open(&dir).unwrap();
    let number = |at: u64| Ino::new((1 << 62) + at).unwrap();
    let local = |mode| Local {
        mode: Some(mode),
        modified: Some(Timestamp::new(-5, 999_999_999)),
        ..Local::new(Timestamp::new(1_700_000_000, 1))
    };
    // Bytes by which the record is found in the file again.
    let harmed = Local {
        uid: Some(0x6d72_6168),
        gid: Some(0x6465_6d72),
        accessed: Some(Timestamp::new(0x6d6d_6d6d_6d6d_6d6d, 0)),
        ..local(0o644)
    };
    let commit = |locals: Vec<(u64, Option<Vec<u8>>)>| {
        let commit = Commit {
            locals,
            ..Commit::default()
        };
        store.commit(&commit).unwrap();
    };
    let record = |at, local: Local| (number(at).get(), Some(local.record()));
    commit(vec![
        record(1, local(0o600)),
        record(2, harmed),
        record(3, local(0o7)),
    ]);
    commit(vec![record(1, local(0o4711)), (number(3).get(), None)]);
    // Gone without a word, as in a kill.
    std::mem::forget(store);
    let copy = folder();
    let path = copy.path().join("primary.redb");
    std::fs::copy(dir.path().join("primary.redb"), &path).unwrap();
    let store = open(&copy).unwrap();
    let all = store.primary().unwrap().locals;
    assert_eq!(all, [(number(1), local(0o4711)), (number(2), harmed)]);
    // Nobody else's account: permissions are of no use to its files.
    store.claim(MAIL).unwrap();
    drop(store);
    let other = Store::open(copy.path(), fingerprint("another-key"), Clock::system()).unwrap();
    let error = other.claim("other@example.org").unwrap_err();
    assert!(matches!(error, StoreError::OtherAccount { .. }), "{error}");
    drop(other);

    scratch(path.clone(), &harmed.record());
    let store = open(&copy).unwrap();
    let all = store.primary().unwrap().locals;
    assert_eq!(all, [(number(1), local(0o4711))]);
    assert_eq!(store.snapshot().damaged, 1, "set aside, not thrown away");
    drop(store);

    // A store of a version that kept none gets the table, and loses nothing.
    let database = redb::Database::open(&path).unwrap();
    let change = database.begin_write().unwrap();
    let table: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("locals");
    assert!(change.delete_table(table).unwrap());
    change.commit().unwrap();
    drop(database);
    let store = open(&copy).unwrap();
    assert!(store.primary().unwrap().locals.is_empty());
    assert_eq!(store.snapshot().damaged, 1);
    let again = Commit {
        locals: vec![record(1, local(0o600))],
        ..Commit::default()
    };
    store.commit(&again).unwrap();
    let all = store.primary().unwrap().locals;
    assert_eq!(all, [(number(1), local(0o600))]);
}

#[test]
fn a_later_version_s_numbers_are_left_alone() {
    let dir = folder();
    let store = open(&dir).unwrap();
    let mut numbering = Numbering::default();
    numbering.give(NodeKey::Folder(FolderId(3)), "x".as_ref(), 2);
    store.put_numbering(FolderId(1), &numbering);
    drop(store);
    let path = dir.path().join("primary.redb");
    edit(
        path.clone(),
        TableDefinition::new("meta"),
        "format",
        &2u32.to_le_bytes(),
    );
    for _ in 0..2 {
        let error = open(&dir).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
    edit(
        path,
        TableDefinition::new("meta"),
        "format",
        &1u32.to_le_bytes(),
    );
    let all = open(&dir).unwrap().primary().unwrap();
    assert_eq!(all.numbering, [(FolderId(1), numbering)]);
}

/// Whatever a disk does to the file, nobody panics, and what is read is what was put.
#[test]
fn random_damage_is_never_shown() {
    let dir = folder();
    let path = dir.path().join("cache.redb");
    let store = open(&dir).unwrap();
    for folder in 0..40 {
        let id = |number| format!("{folder:05}{number:05}");
        let files = (0..30).map(|number| file(&id(number), &format!("name-{folder}-{number}")));
        put(&store, &listing(folder, files.collect()));
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(below).unwrap()).unwrap()
    };
    let mut missing = 0;
    for _ in 0..30 {
        let mut bytes = whole.clone();
        // A run of a sector, anywhere: most of a file of this size is unused.
        for _ in 0..20 {
            let at = random(bytes.len() - 512);
            let with = u8::try_from(random(256)).unwrap();
            bytes[at..at + 512].fill(with);
        }
        std::fs::write(&path, &bytes).unwrap();
        let store = open(&dir).unwrap();
        for folder in 0..40 {
            match names(&store, folder) {
                Some(names) => {
                    assert!(names.len() <= 30);
                    let own = format!("name-{folder}-");
                    assert!(names.iter().all(|name| name.starts_with(&own)));
                }
                None => missing += 1,
            }
        }
        put(&store, &listing(99, vec![file("aaaaaaaaaa", "a")]));
        drop(store);
    }
    assert!(missing > 0, "nothing was ever damaged");
}

prop_compose! {
    fn any_file()(
        id in "[a-z0-9]{5,20}",
        name in "[^/\0]{1,40}",
        domain in prop::option::of("[a-z]{1,10}\\.com"),
        size: u64,
        uploaded: Option<i64>,
        hash in prop::option::of(any::<u8>()),
        content_type in prop::option::of("[a-z]{1,3}/[a-z]{1,3}"),
        password: bool,
        access_list: bool,
    ) -> FileItem {
        let domain = domain.unwrap_or_else(|| "1fichier.com".into());
        FileItem {
            url: FileUrl::parse(&format!("https://{domain}/?{id}")).unwrap(),
            name: name.into(),
            size,
            uploaded,
            whirlpool: hash.map(|byte| Whirlpool([byte; 64])),
            content_type: content_type.map(Into::into),
            password,
            access_list,
        }
    }
}

prop_compose! {
    fn any_folder()(id in 1u64..1 << 40, name in "[^/\0]{1,40}", created: Option<i64>, password: bool) -> SubFolder {
        SubFolder { id: FolderId(id), name: name.into(), created, password }
    }
}

proptest! {
    #[test]
    fn a_listing_comes_back_as_it_was(
        folders in prop::collection::vec(any_folder(), 0..8),
        files in prop::collection::vec(any_file(), 0..20),
        file_count in prop::option::of(0u64..40),
        fetched in 0u64..1 << 42,
    ) {
        let said = FolderListing { file_count, folders, files, ..answer(9, Vec::new()) };
        let built = build(&said, Moment::from_origin(std::time::Duration::ZERO));
        let record = record::listing(&built, std::time::Duration::from_millis(fetched));
        let stored = record::read_listing(FolderId(9), &record).unwrap();
        prop_assert_eq!(stored.fetched.as_millis(), u128::from(fetched));
        let again = Listing::restore(FolderId(9), stored, built.ino(), &|key, _| Ino::of(key), built.fetched());
        prop_assert_eq!(diff(&built, &again), []);
        prop_assert_eq!(built.newest(), again.newest());
        prop_assert_eq!(built.is_complete(), again.is_complete());
        prop_assert!(record::read_listing(FolderId(8), &record).is_none());
    }
}
