//! Calls that change the account.
use super::support::World;
use super::{folder, url};
use fake_1fichier::{DuplicateFolder, FaultKind, FolderRm, KoStatus};
use fichierfs::api::{
    Access, ApiError, Attributes, ErrorKind, FileUrl, FolderId, Reached, Share, ShareWith,
};
use fichierfs::secret::Password;

fn kind<T: std::fmt::Debug>(outcome: Result<T, ApiError>) -> ErrorKind {
    outcome.unwrap_err().kind
}

#[tokio::test]
async fn a_folder_is_made_renamed_moved_and_removed() {
    let world = World::new();
    let (client, account) = (&world.client, world.fake.account());
    let ask = world.ask(60);
    let made = client
        .mkdir(&ask, FolderId::ROOT, "2026 été")
        .await
        .unwrap();
    assert_eq!(account.folder_at("2026 été"), Some(made.id.0));
    assert_eq!(&*made.name, "2026 été");
    let name = client.folder_rename(&ask, made.id, "2027").await.unwrap();
    assert_eq!(&*name, "2027");
    let other = account.mkdir(0, "other");
    client
        .folder_move(&ask, made.id, folder(other))
        .await
        .unwrap();
    assert_eq!(account.folder_at("other/2027"), Some(made.id.0));
    client
        .folder_move(&ask, made.id, FolderId::ROOT)
        .await
        .unwrap();
    assert_eq!(account.folder_at("2027"), Some(made.id.0));
    client.folder_remove(&ask, made.id).await.unwrap();
    assert_eq!(account.folder_at("2027"), None);
    world.done();
}

#[tokio::test]
async fn a_ko_of_a_folder_change_is_an_error_under_any_status() {
    for status in [KoStatus::Ok, KoStatus::Forbidden, KoStatus::Observed] {
        let world = World::with(|fake| fake.config(|c| c.ko_status = status));
        let (client, account) = (&world.client, world.fake.account());
        let ask = world.ask(60);
        let full = account.mkdir(0, "full");
        account.add_bytes(full, "x", &b"x"[..]);
        kind(client.mkdir(&ask, FolderId::ROOT, "full").await);
        kind(client.mkdir(&ask, FolderId::ROOT, "bad<name").await);
        kind(client.folder_remove(&ask, folder(full)).await);
        let gone = client.folder_remove(&ask, folder(999)).await;
        assert_eq!(kind(gone), ErrorKind::NotFound);
        assert_eq!(account.folder_at("full"), Some(full));
        assert_eq!(world.fake.log().len(), 4, "nothing was repeated");
        world.done();
    }
}

#[tokio::test]
async fn a_folder_that_exists_may_be_handed_back() {
    let world = World::with(|fake| fake.config(|c| c.duplicate_folder = DuplicateFolder::Existing));
    let there = world.fake.account().mkdir(0, "there");
    let made = world
        .client
        .mkdir(&world.ask(10), FolderId::ROOT, "there")
        .await
        .unwrap();
    assert_eq!(made.id, folder(there));
    world.done();
}

#[tokio::test]
async fn a_recursive_service_takes_the_content_along() {
    let world = World::with(|fake| fake.config(|c| c.folder_rm = FolderRm::Recursive));
    let id = world.fake.account().mkdir(0, "d");
    world.fake.account().add_bytes(id, "x", &b"x"[..]);
    world
        .client
        .folder_remove(&world.ask(10), folder(id))
        .await
        .unwrap();
    assert_eq!(world.fake.account().folder_at("d"), None);
    world.done();
}

#[tokio::test]
async fn a_folder_is_shared_and_unshared() {
    let world = World::new();
    let id = folder(world.fake.account().mkdir(0, "d"));
    let share = Share {
        public: true,
        password: Some(Password::parse("secret6").unwrap()),
        accounts: Some(vec![ShareWith {
            email: "friend@example.org".into(),
            writable: true,
            hide_links: false,
        }]),
    };
    let address = world
        .client
        .folder_share(&world.ask(10), id, &share)
        .await
        .unwrap();
    assert!(address.unwrap().starts_with("https://1fichier.com/dir/"));
    let params = &world.fake.log()[0].params;
    assert_eq!(params["shares"][0]["rw"], 1);
    assert_eq!(
        (&params["share"], &params["pass"]),
        (&1.into(), &"secret6".into())
    );
    let none = Share {
        accounts: Some(Vec::new()),
        ..Share::default()
    };
    let address = world
        .client
        .folder_share(&world.ask(10), id, &none)
        .await
        .unwrap();
    assert_eq!(address, None);
    world.done();
}

#[tokio::test]
async fn files_are_renamed_in_a_batch() {
    let world = World::new();
    let (client, account) = (&world.client, world.fake.account());
    let a = url(&account.add_bytes(0, "a", &b"a"[..]));
    let b = url(&account.add_bytes(0, "b", &b"b"[..]));
    let names = [(a.clone(), "a 1".into()), (b.clone(), "ü".into())];
    let mut renamed = client.file_rename(&world.ask(10), &names).await.unwrap();
    renamed.sort_by(|x, y| x.name.cmp(&y.name));
    assert_eq!((&renamed[0].url, &*renamed[0].name), (&a, "a 1"));
    assert_eq!((&renamed[1].url, &*renamed[1].name), (&b, "ü"));
    assert_eq!(account.file(&b.to_string()).unwrap().name, "ü");
    let same = client.file_rename(&world.ask(10), &names[..1]).await;
    assert_eq!(kind(same), ErrorKind::NothingRenamed);
    world.done();
}

#[tokio::test]
async fn the_stored_name_is_the_truth() {
    let world = World::with(|fake| fake.config(|c| c.rewrite_bad_names = true));
    let (client, account) = (&world.client, world.fake.account());
    let a = url(&account.add_bytes(0, "a", &b"a"[..]));
    let renamed = client
        .file_rename(&world.ask(10), &[(a.clone(), "b<c".into())])
        .await
        .unwrap();
    assert_eq!(
        *renamed[0].name,
        *account.file(&a.to_string()).unwrap().name
    );
    assert_ne!(&*renamed[0].name, "b<c");
    let made = client
        .mkdir(&world.ask(10), FolderId::ROOT, "x>y")
        .await
        .unwrap();
    assert_eq!(account.folder_at(&made.name), Some(made.id.0));
    world.done();
}

#[tokio::test]
async fn files_are_moved_and_may_get_new_urls() {
    let world = World::with(|fake| fake.config(|c| c.move_changes_url = true));
    let (client, account) = (&world.client, world.fake.account());
    let to = account.mkdir(0, "to");
    let files: Vec<FileUrl> = ["a", "b"]
        .map(|name| url(&account.add_bytes(0, name, name.as_bytes().to_vec())))
        .into();
    let moved = client
        .file_move(&world.ask(10), &files, folder(to), None)
        .await
        .unwrap();
    assert_eq!((moved.count, moved.urls.len()), (2, 2));
    for address in &moved.urls {
        assert_eq!(account.file(&address.to_string()).unwrap().folder, to);
        assert!(!files.contains(address));
    }
    let one = &moved.urls[..1];
    let back = client
        .file_move(&world.ask(10), one, FolderId::ROOT, Some("c"))
        .await
        .unwrap();
    assert_eq!(back.name.as_deref(), Some("c"));
    assert_eq!(account.file(&back.urls[0].to_string()).unwrap().name, "c");
    world.done();
}

#[tokio::test]
async fn files_are_copied_on_the_service_s_side() {
    let world = World::new();
    let (client, account) = (&world.client, world.fake.account());
    let to = account.mkdir(0, "to");
    let a = url(&account.add_bytes(0, "a", &b"abc"[..]));
    let one = [a.clone()];
    let copied = client
        .file_copy(&world.ask(10), &one, folder(to), Some("b"))
        .await
        .unwrap();
    assert_eq!(copied.name.as_deref(), Some("b"));
    let (from, copy) = &copied.copies[0];
    assert_eq!(from, &a);
    let view = account.file(&copy.to_string()).unwrap();
    assert_eq!((view.folder, &*view.name, view.size), (to, "b", 3));
    world.done();
}

#[tokio::test]
async fn files_are_removed_in_a_batch() {
    let world = World::new();
    let (client, account) = (&world.client, world.fake.account());
    let files: Vec<FileUrl> = (0..100)
        .map(|n| url(&account.add_bytes(0, &n.to_string(), &b"x"[..])))
        .collect();
    let mut removed = client.file_remove(&world.ask(10), &files).await.unwrap();
    removed.sort_by_key(FileUrl::id);
    let mut asked = files.clone();
    asked.sort_by_key(FileUrl::id);
    assert_eq!(removed, asked);
    assert!(account.folder(0).unwrap().files.is_empty());
    kind(client.file_remove(&world.ask(10), &files[..1]).await);
    world.done();
}

#[tokio::test]
async fn attributes_are_set_and_setting_them_again_is_said() {
    let world = World::new();
    let (client, account) = (&world.client, world.fake.account());
    let a = [url(&account.add_bytes(0, "a", &b"abc"[..]))];
    let attributes = Attributes {
        description: Some("été".into()),
        inline: Some(true),
        access: Some(Access {
            country: vec!["FR".into()],
            premium: Some(true),
            ..Access::default()
        }),
        ..Attributes::default()
    };
    assert_eq!(
        client
            .file_chattr(&world.ask(10), &a, &attributes)
            .await
            .unwrap(),
        1
    );
    assert_eq!(account.file(&a[0].to_string()).unwrap().description, "été");
    let again = client.file_chattr(&world.ask(10), &a, &attributes).await;
    assert_eq!(kind(again), ErrorKind::NothingChanged);
    let info = client.file_info(&world.ask(10), &a[0]).await.unwrap();
    assert_eq!(
        (info.description.as_deref(), info.inline),
        (Some("été"), true)
    );
    world.done();
}

#[tokio::test]
async fn remote_uploads_are_asked_for_listed_and_looked_at() {
    let world = World::new();
    let client = &world.client;
    let headers = [("X-Test", "1")];
    let ask = world.ask(30);
    let sources = ["https://example.org/a.bin"];
    let id = client
        .remote_request(&ask, &sources, FolderId::ROOT, &headers)
        .await
        .unwrap();
    let jobs = client.remote_ls(&ask).await.unwrap();
    assert!(
        jobs.iter()
            .any(|job| job.id == id && job.requested.is_some()),
        "{jobs:?}"
    );
    let detail = client.remote_info(&ask, id).await.unwrap();
    assert_eq!((detail.job.id, &*detail.links[0]), (id, sources[0]));
    world.done();
}

/// What a user changed is never sent twice, and the error says whether it may have happened.
#[tokio::test]
async fn a_change_is_sent_once_whatever_goes_wrong() {
    use fake_1fichier::Fault;
    let faults = [
        (
            FaultKind::Status { code: 502 },
            ErrorKind::Server,
            Reached::Unknown,
        ),
        (FaultKind::Reset, ErrorKind::Network, Reached::Unknown),
        (FaultKind::Close, ErrorKind::Network, Reached::Unknown),
        (FaultKind::LostReply, ErrorKind::Network, Reached::Unknown),
        (
            FaultKind::MalformedJson,
            ErrorKind::Malformed,
            Reached::Unknown,
        ),
        (FaultKind::HtmlOk, ErrorKind::Server, Reached::Unknown),
        (
            FaultKind::Flood { lock: false },
            ErrorKind::Flood,
            Reached::Answered,
        ),
        (FaultKind::Stall, ErrorKind::Timeout, Reached::Unknown),
        (
            FaultKind::KeyRefused,
            ErrorKind::KeyRefused,
            Reached::Answered,
        ),
    ];
    for (fault, kind, reached) in faults {
        let world = World::new();
        world
            .fake
            .faults()
            .add(Fault::on("folder/mkdir", fault.clone()));
        let error = world
            .client
            .mkdir(&world.ask(25), FolderId::ROOT, "d")
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.reached),
            (kind, reached),
            "{fault:?}: {error}"
        );
        assert_eq!(world.fake.count("folder/mkdir"), 1, "{fault:?}");
        world.done();
    }
}
