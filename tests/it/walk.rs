//! A walk over what is known: in order, with one's own changes, without a call, and honest about the rest.
use crate::common::client;
use fake_1fichier::Fake;
use fichierfs::api::Requester;
use fichierfs::tree::{
    Caller, Ino, Kind, Node, OwnFile, Tree, TreeSettings, Unknown, Visit, Walked,
};
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Handle;

fn visits(tree: &Tree, from: &str) -> (Vec<String>, Walked) {
    let from = tree.known_at(Path::new(from)).unwrap();
    let mut walk = tree.walk(from);
    let paths = walk.by_ref().map(|visit: Visit| visit.path());
    let paths = paths
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    (paths, walk.walked())
}

#[tokio::test]
async fn what_is_known_is_seen_in_order_and_the_rest_is_counted() {
    let fake = Fake::builder().clock("20").start().unwrap();
    let clock = Clock::parse("20").unwrap();
    let inner = fake.account().mkdir_p("/b/inner");
    fake.account().add_bytes(inner, "x", "1");
    fake.account().mkdir(0, "unseen");
    for name in ["c", "a", ".fichierfs-state"] {
        fake.account().add_bytes(0, name, "1");
    }
    let settings = TreeSettings::default();
    let tree = Tree::new(client(&fake, clock), clock, settings, Handle::current());
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, Duration::from_secs(60)),
    };
    let unlisted = Unknown::Unlisted { path: "".into() };
    assert_eq!(tree.known_at(Path::new("a")).unwrap_err(), unlisted);
    let mut folder = Ino::ROOT;
    for name in ["b", "inner", "x"] {
        let found = tree.lookup(folder, OsStr::new(name), caller).ready().await;
        folder = found.unwrap().unwrap().ino;
    }
    let calls = fake.log().len();
    let (paths, walked) = visits(&tree, "");
    assert_eq!(paths, ["", "a", "b", "b/inner", "b/inner/x", "c", "unseen"]);
    let expected = Walked {
        folders: 3,
        files: 3,
        unlisted: 1,
        partial: 0,
    };
    assert_eq!(walked, expected);
    assert_eq!(visits(&tree, "b/inner").0, ["b/inner", "b/inner/x"]);
    assert_eq!(visits(&tree, "c").0, ["c"]);

    // What was changed here is seen as it is shown.
    let inner = tree.known_at(Path::new("b/inner")).unwrap().node.ino;
    let gone = tree.known_at(Path::new("c")).unwrap().node.ino;
    tree.unshow(gone, Ino::ROOT);
    let ino = Ino::own(1).unwrap();
    tree.show(Node {
        ino,
        parent: inner,
        name: OsStr::new("new").into(),
        kind: Kind::Own(OwnFile {
            ino,
            size: 0,
            modified: 1,
        }),
    });
    let (paths, _) = visits(&tree, "");
    let expected = [
        "",
        "a",
        "b",
        "b/inner",
        "b/inner/new",
        "b/inner/x",
        "unseen",
    ];
    assert_eq!(paths, expected);
    for (path, missing) in [("c", "c"), ("a/below", "a/below"), ("b/../a", "b/../a")] {
        let missing = Unknown::Missing {
            path: missing.into(),
        };
        assert_eq!(tree.known_at(Path::new(path)).unwrap_err(), missing);
    }
    let hidden = tree.known_at(Path::new(".fichierfs-state"));
    assert!(matches!(hidden, Err(Unknown::Missing { .. })));
    assert_eq!(fake.log().len(), calls, "nobody was asked");
}
