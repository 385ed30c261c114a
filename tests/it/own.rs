//! What was changed here, over what the account says.
use crate::common::assert_well_behaved;
use crate::tree::{Bench, names};
use fake_1fichier::Fake;
use fichierfs::api::{FileUrl, FolderId};
use fichierfs::tree::{File, Ino, Kind, Node, NodeKey, OwnFile, TreeSettings};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

const FASTER: &str = "40";

fn bench() -> Bench {
    let fake = Fake::builder().clock(FASTER).start().unwrap();
    let settings = TreeSettings {
        dir_cache_time: Duration::from_secs(32),
        ..TreeSettings::new()
    };
    Bench::with_settings(fake, FASTER, settings)
}

fn own(number: u64) -> Ino {
    Ino::own(number).unwrap()
}

fn file(ino: Ino, parent: Ino, name: &str, size: u64) -> Node {
    Node {
        ino,
        parent,
        name: OsStr::new(name).into(),
        kind: Kind::Own(OwnFile {
            ino,
            size,
            modified: 1_700_000_000,
        }),
    }
}

/// The node of a file in the account.
fn stored(ino: Ino, parent: Ino, name: &str, url: &str, size: u64) -> Node {
    Node {
        ino,
        parent,
        name: OsStr::new(name).into(),
        kind: Kind::File(File {
            url: FileUrl::parse(url).unwrap(),
            size,
            uploaded: None,
            whirlpool: None,
            content_type: None,
            password: false,
            access_list: false,
        }),
    }
}

fn key(url: &str) -> NodeKey {
    NodeKey::File(FileUrl::parse(url).unwrap().id())
}

/// Looks at the root until it was listed after what is shown now was told.
async fn believed(bench: &Bench) {
    bench.clock.sleep(Duration::from_secs(125)).await;
    let old = bench.children(Ino::ROOT).await.unwrap().fetched();
    for _ in 0..300 {
        if bench.children(Ino::ROOT).await.unwrap().fetched() > old {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never listed again");
}

#[tokio::test]
async fn a_file_made_here_keeps_its_number_from_the_first_byte_to_the_account_s_listing() {
    let bench = bench();
    bench.fake.account().add_bytes(0, "theirs", b"x".to_vec());
    assert_eq!(bench.names(Ino::ROOT).await, ["theirs"]);
    let changed = |bench: &Bench| {
        let root = bench.tree.node(Ino::ROOT).unwrap();
        root.folder().unwrap().changed
    };
    let before = changed(&bench);
    let ino = own(1);
    bench.tree.show(file(ino, Ino::ROOT, "mine", 0));
    assert_eq!(bench.names(Ino::ROOT).await, ["mine", "theirs"]);
    let held = bench.walk("mine").await;
    assert_eq!((held.ino, held.size()), (ino, 0));
    bench.tree.show(file(ino, Ino::ROOT, "mine", 7));
    assert_eq!(bench.tree.node(ino).unwrap().size(), 7);
    // Uploaded: another id, the same number.
    let url = bench
        .fake
        .account()
        .add_bytes(0, "mine", b"content".to_vec());
    let id = FileUrl::parse(&url).unwrap().id();
    bench.tree.stored(ino, id);
    bench.tree.show(stored(ino, Ino::ROOT, "mine", &url, 7));
    bench.tree.told(ino);
    believed(&bench).await;
    let listed = bench.find(Ino::ROOT, "mine").await.unwrap().unwrap();
    assert_eq!((listed.ino, listed.key()), (ino, key(&url)));
    assert!(
        listed.file().unwrap().whirlpool.is_some(),
        "as the account says"
    );
    assert_eq!(bench.tree.remember(&listed).ino, ino);
    assert_eq!(bench.names(Ino::ROOT).await, ["mine", "theirs"]);
    // The folder was changed when the file was made, by whoever made it: that it is listed is no news. What
    // others put there is.
    assert_eq!(changed(&bench), before);
    bench
        .fake
        .account()
        .add_bytes(0, "more of theirs", b"y".to_vec());
    believed(&bench).await;
    assert!(changed(&bench) > before);
    assert_well_behaved(&bench.fake);
}

#[tokio::test]
async fn what_was_removed_moved_or_replaced_here_does_not_come_back_with_a_late_listing() {
    let bench = bench();
    let account = bench.fake.account();
    let (gone, moved) = (
        account.add_bytes(0, "gone", b"1".to_vec()),
        account.add_bytes(0, "moved", b"2".to_vec()),
    );
    let replaced = account.add_bytes(0, "replaced", b"3".to_vec());
    let folder = account.mkdir(0, "folder");
    let (gone, moved) = (
        bench.walk("gone").await,
        (bench.walk("moved").await, moved, gone),
    );
    let (moved, moved_url, gone_url) = moved;
    let folder_ino = bench.walk("folder").await.ino;
    let target = bench.walk("replaced").await.ino;
    bench.tree.unshow(gone.ino, Ino::ROOT);
    bench
        .tree
        .show(stored(moved.ino, folder_ino, "elsewhere", &moved_url, 1));
    // Rewritten: the new content has an id, the old one is on its way out.
    let newer = account.add_bytes(0, "replaced", b"33".to_vec());
    bench
        .tree
        .stored(target, FileUrl::parse(&newer).unwrap().id());
    bench
        .tree
        .show(stored(target, Ino::ROOT, "replaced", &newer, 2));
    let old = NodeKey::File(FileUrl::parse(&replaced).unwrap().id());
    bench.tree.hide(old, Ino::ROOT, false);
    assert!(bench.tree.is_gone(gone.ino));
    for _ in 0..2 {
        assert_eq!(bench.names(Ino::ROOT).await, ["folder", "replaced"]);
        assert_eq!(bench.names(folder_ino).await, ["elsewhere"]);
        assert!(bench.find(Ino::ROOT, "gone").await.unwrap().is_none());
        assert_eq!(bench.walk("folder/elsewhere").await.ino, moved.ino);
        // Listed again, before the account was told.
        bench.clock.sleep(Duration::from_secs(35)).await;
        let _ = bench
            .tree
            .refresh(Ino::ROOT, bench.caller(100))
            .ready()
            .await
            .unwrap();
    }
    for url in [&gone_url, &replaced] {
        account.remove(url);
    }
    account.move_to(&moved_url, folder);
    account.rename(&moved_url, "elsewhere");
    for ino in [gone.ino, moved.ino, target] {
        bench.tree.told(ino);
    }
    bench.tree.hide(old, Ino::ROOT, true);
    believed(&bench).await;
    assert_eq!(bench.names(Ino::ROOT).await, ["folder", "replaced"]);
    assert_eq!(
        bench
            .find(Ino::ROOT, "replaced")
            .await
            .unwrap()
            .unwrap()
            .ino,
        target
    );
    assert_well_behaved(&bench.fake);
}

/// Also after a crash: the call was made, and nobody heard what became of it.
#[tokio::test]
async fn what_a_call_of_unknown_outcome_made_is_not_shown_beside_what_is_shown_already() {
    let bench = bench();
    let account = bench.fake.account();
    account.add_bytes(0, "file", b"theirs of before".to_vec());
    assert_eq!(bench.names(Ino::ROOT).await, ["file"]);
    let (folder, copy) = (own(1), own(2));
    let name = OsStr::new("folder");
    bench.tree.show_folder(folder, None, Ino::ROOT, name);
    bench.tree.doubt(folder, Ino::ROOT, name);
    bench.tree.show(file(copy, Ino::ROOT, "copy", 7));
    bench.tree.doubt(copy, Ino::ROOT, OsStr::new("copy"));
    bench.tree.doubt(own(3), Ino::ROOT, OsStr::new("file"));
    let made = account.mkdir(0, "folder");
    let url = account.add_bytes(0, "copy", b"content".to_vec());
    account.add_bytes(0, "other", b"theirs".to_vec());
    bench.clock.sleep(Duration::from_secs(35)).await;
    let caller = bench.caller(100);
    let listed = bench.tree.refresh(Ino::ROOT, caller).ready().await;
    let _ = listed.unwrap();
    // What was listed before and what comes under another name is somebody else's.
    let names = ["copy", "file", "folder", "other"];
    assert_eq!(bench.names(Ino::ROOT).await, names);
    assert_eq!(bench.walk("folder").await.ino, folder);
    assert_eq!(bench.walk("copy").await.ino, copy);
    // The outcome is known.
    bench.tree.made(folder, FolderId(made));
    bench.tree.undoubt(folder);
    bench.tree.stored(copy, FileUrl::parse(&url).unwrap().id());
    bench.tree.show(stored(copy, Ino::ROOT, "copy", &url, 7));
    bench.tree.undoubt(copy);
    assert_eq!(bench.names(Ino::ROOT).await, names);
    bench.tree.told(folder);
    bench.tree.told(copy);
    believed(&bench).await;
    assert_eq!(bench.names(Ino::ROOT).await, names);
    assert_eq!(bench.walk("folder").await.ino, folder);
    assert_well_behaved(&bench.fake);
}

#[tokio::test]
async fn a_folder_made_here_can_be_used_at_once_and_keeps_its_number() {
    let bench = bench();
    assert!(bench.names(Ino::ROOT).await.is_empty());
    let calls = bench.fake.log().len();
    let (folder, below) = (own(1), own(2));
    bench
        .tree
        .show_folder(folder, None, Ino::ROOT, OsStr::new("folder"));
    bench
        .tree
        .show_folder(below, None, folder, OsStr::new("below"));
    bench.tree.show(file(own(3), below, "file", 5));
    assert_eq!(bench.walk("folder/below/file").await.ino, own(3));
    assert!(bench.find(below, "other").await.unwrap().is_none());
    assert_eq!(bench.names(folder).await, ["below"]);
    let id = bench.fake.account().mkdir(0, "folder");
    bench.tree.made(folder, FolderId(id));
    assert_eq!(bench.walk("folder/below/file").await.ino, own(3));
    assert_eq!(
        bench.fake.log().len(),
        calls,
        "a folder made here need not be listed"
    );
    let below_id = bench.fake.account().mkdir(id, "below");
    bench.tree.made(below, FolderId(below_id));
    for ino in [folder, below] {
        bench.tree.told(ino);
    }
    believed(&bench).await;
    let listed = bench.find(Ino::ROOT, "folder").await.unwrap().unwrap();
    assert_eq!(
        (listed.ino, listed.key()),
        (folder, NodeKey::Folder(FolderId(id)))
    );
    assert_eq!(
        bench.find(folder, "..").await.unwrap().unwrap().ino,
        Ino::ROOT
    );
    assert_eq!(bench.walk("folder/below/file").await.ino, own(3));
    assert_well_behaved(&bench.fake);
}

#[tokio::test]
async fn what_others_put_under_a_name_taken_here_gets_a_number() {
    let bench = bench();
    bench.tree.show(file(own(1), Ino::ROOT, "a.txt", 5));
    bench
        .fake
        .account()
        .add_bytes(0, "a.txt", b"theirs".to_vec());
    let listing = bench.children(Ino::ROOT).await.unwrap();
    assert_eq!(names(&listing), ["a (2).txt", "a.txt"]);
    let theirs: Arc<Node> = bench.find(Ino::ROOT, "a (2).txt").await.unwrap().unwrap();
    assert_eq!(theirs.size(), 6);
    assert_eq!(
        bench.find(Ino::ROOT, "a.txt").await.unwrap().unwrap().ino,
        own(1)
    );
    assert_well_behaved(&bench.fake);
}

/// No listing of a folder that is gone says that its files are gone, too.
#[tokio::test]
async fn what_was_removed_from_a_folder_that_is_gone_is_not_remembered_for_ever() {
    let bench = bench();
    let account = bench.fake.account();
    let folder = account.mkdir(0, "folder");
    let url = account.add_bytes(folder, "file", b"1".to_vec());
    let node = bench.walk("folder/file").await;
    let key = NodeKey::File(FileUrl::parse(&url).unwrap().id());
    bench.tree.unshow(node.ino, node.parent);
    account.remove(&url);
    bench.tree.hide(key, node.parent, true);
    bench.tree.told(node.ino);
    bench.tree.unshow(node.parent, Ino::ROOT);
    assert_eq!(bench.tree.take_confirmed(), []);
    bench.tree.left(node.parent);
    assert_eq!(bench.tree.take_confirmed(), [node.ino]);
    assert_eq!(bench.tree.hidden_in(&key), []);
    assert_well_behaved(&bench.fake);
}

/// A listing that came meanwhile shows it under the name it had: that is no news of it.
#[tokio::test]
async fn what_was_renamed_here_is_there_whatever_a_late_listing_shows() {
    let bench = bench();
    let account = bench.fake.account();
    let folder = account.mkdir(0, "folder");
    let url = account.add_bytes(folder, "file", b"1".to_vec());
    let held = bench.walk("folder/file").await;
    let parent = bench.walk("folder").await;
    bench.tree.show(Node {
        name: OsStr::new("renamed").into(),
        ..Node::clone(&parent)
    });
    bench
        .tree
        .show(stored(held.ino, parent.ino, "other", &url, 1));
    for folder in [Ino::ROOT, parent.ino] {
        bench.clock.sleep(Duration::from_secs(35)).await;
        let listed = bench.tree.refresh(folder, bench.caller(100)).ready().await;
        let _ = listed.unwrap();
    }
    assert_eq!(bench.names(Ino::ROOT).await, ["renamed"]);
    assert_eq!(bench.names(parent.ino).await, ["other"]);
    assert!(!bench.tree.is_gone(parent.ino) && !bench.tree.is_gone(held.ino));
    assert_eq!(bench.walk("renamed/other").await.ino, held.ino);
    assert_well_behaved(&bench.fake);
}

#[tokio::test]
async fn a_folder_can_be_moved_into_one_that_it_held() {
    let bench = bench();
    let account = bench.fake.account();
    let outer = account.mkdir(0, "outer");
    let inner = account.mkdir(outer, "inner");
    let inner_node = bench.walk("outer/inner").await;
    let outer_node = bench.walk("outer").await;
    account.move_folder(inner, 0);
    account.move_folder(outer, inner);
    let to = |node: &Node, parent: Ino| Node {
        parent,
        ..Node::clone(node)
    };
    for (node, parent) in [(&inner_node, Ino::ROOT), (&outer_node, inner_node.ino)] {
        bench.tree.show(to(node, parent));
        bench.tree.moved(node.ino, parent);
        bench.tree.told(node.ino);
    }
    bench.clock.sleep(Duration::from_secs(125)).await;
    // The folder is listed before the one that says where it is by now.
    for _ in 0..2 {
        let listed = bench.tree.refresh(inner_node.ino, bench.caller(100));
        let _ = listed.ready().await.unwrap();
        assert_eq!(bench.names(inner_node.ino).await, ["outer"]);
        believed(&bench).await;
    }
    assert_eq!(bench.walk("inner/outer").await.ino, outer_node.ino);
    assert_well_behaved(&bench.fake);
}
