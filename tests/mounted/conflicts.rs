//! A file that is changed here and by others: both are kept.
use crate::harness::{Drive, eventually, names};
use std::fs::{self, OpenOptions};
use std::io::Write as _;

/// What is in the account's root, by name.
fn account(drive: &Drive) -> Vec<(String, Vec<u8>)> {
    let account = drive.fake.account();
    let root = account.tree().into_iter().find(|it| it.path.is_empty());
    let files = root.map(|root| root.files).unwrap_or_default();
    let mut all: Vec<_> = files
        .iter()
        .map(|file| {
            (
                file.name.clone(),
                account.read_all(&file.url).unwrap().to_vec(),
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn what_others_put_in_the_place_of_an_open_file_stays_and_ours_stays_beside_it() {
    let mut url = String::new();
    let Some(drive) = Drive::with("20", &["--dir-cache-time=30s"], |account| {
        url = account.add_bytes(0, "letter.txt", "the first");
    }) else {
        return;
    };
    let mut file = OpenOptions::new()
        .append(true)
        .open(drive.path("letter.txt"))
        .unwrap();
    // Somebody else saves it meanwhile, and the mount hears of it.
    drive.fake.account().remove(&url);
    drive.fake.account().add_bytes(0, "letter.txt", "theirs");
    eventually("theirs is seen", || {
        fs::read(drive.path("letter.txt")).is_ok_and(|bytes| bytes == b"theirs")
    });
    file.write_all(b", and ours").unwrap();
    drop(file);
    assert_eq!(fs::read(drive.path("letter.txt")).unwrap(), b"theirs");
    let here = names(&drive.mount.dir()).unwrap();
    assert_eq!(here.len(), 2, "{here:?}");
    assert!(
        here.iter()
            .any(|name| name.starts_with("letter (conflict "))
    );
}

#[test]
fn what_others_changed_before_ours_was_sent_is_told_apart_afterwards() {
    let mut url = String::new();
    let Some(drive) = Drive::with("20", &["--dir-cache-time=30s"], |account| {
        url = account.add_bytes(0, "letter.txt", "the first");
    }) else {
        return;
    };
    assert_eq!(fs::read(drive.path("letter.txt")).unwrap(), b"the first");
    fs::write(drive.path("letter.txt"), "ours").unwrap();
    // Somebody else saves it before ours has left.
    drive.fake.account().remove(&url);
    drive.fake.account().add_bytes(0, "letter.txt", "theirs");
    eventually("both are in the account, told apart", || {
        let all = account(&drive);
        all.len() == 2
            && all[0].0.starts_with("letter (conflict ")
            && all[0].1 == b"ours"
            && all[1] == ("letter.txt".to_owned(), b"theirs".to_vec())
    });
    eventually("both are shown, each under its name", || {
        fs::read(drive.path("letter.txt")).is_ok_and(|bytes| bytes == b"theirs")
            && names(&drive.mount.dir()).is_ok_and(|names| names.len() == 2)
    });
}

/// What a folder holds, should it be there.
fn inside(drive: &Drive, folder: &str) -> Vec<String> {
    names(&drive.path(folder)).unwrap_or_default()
}

#[test]
fn a_folder_that_others_fill_while_it_is_replaced_stays_and_ours_goes_beside_it() {
    let (mut replaced, mut remade) = (0, 0);
    let Some(drive) = Drive::new(|account| {
        let moved = account.mkdir(0, "moved");
        account.add_bytes(moved, "ours", "ours");
        replaced = account.mkdir(0, "replaced");
        remade = account.mkdir(0, "remade");
    }) else {
        return;
    };
    // It was just looked into, so a while passes until it is looked into again before it goes.
    assert_eq!(inside(&drive, "replaced").len(), 0);
    assert_eq!(inside(&drive, "remade").len(), 0);
    fs::rename(drive.path("moved"), drive.path("replaced")).unwrap();
    fs::remove_dir(drive.path("remade")).unwrap();
    fs::create_dir(drive.path("remade")).unwrap();
    fs::write(drive.path("remade/ours"), "ours too").unwrap();
    let account = drive.fake.account();
    account.add_bytes(replaced, "theirs", "theirs");
    account.add_bytes(remade, "theirs", "theirs too");
    eventually("theirs is seen under the names", || {
        inside(&drive, "replaced") == ["theirs"] && inside(&drive, "remade") == ["theirs"]
    });
    let here = names(&drive.mount.dir()).unwrap();
    assert_eq!(here.len(), 4, "{here:?}");
    let beside: Vec<&String> = here
        .iter()
        .filter(|name| name.contains(" (conflict "))
        .collect();
    assert_eq!(beside.len(), 2, "{here:?}");
    assert!(
        beside
            .iter()
            .all(|folder| inside(&drive, folder) == ["ours"])
    );
    let ours: Vec<String> = beside
        .iter()
        .map(|folder| format!("{folder}/ours"))
        .collect();
    drive.ends_with(&[
        ("replaced/theirs", b"theirs"),
        ("remade/theirs", b"theirs too"),
        (&ours[1], b"ours"),
        (&ours[0], b"ours too"),
    ]);
}

#[test]
fn a_folder_that_others_made_as_well_shows_what_they_put_into_it() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    fs::create_dir(drive.path("folder")).unwrap();
    let theirs = drive.fake.account().mkdir(0, "folder");
    drive.fake.account().add_bytes(theirs, "theirs", "theirs");
    fs::write(drive.path("folder/ours"), "ours").unwrap();
    eventually("both are shown", || {
        inside(&drive, "folder") == ["ours", "theirs"]
    });
    drive.ends_with(&[("folder/ours", b"ours"), ("folder/theirs", b"theirs")]);
}

/// The service puts it into its root without a word.
#[test]
fn what_was_put_into_a_folder_that_others_removed_is_shown_where_it_came_to() {
    let mut folder = 0;
    let Some(mut drive) = Drive::with("20", &["--dir-cache-time=30s"], |account| {
        folder = account.mkdir(0, "folder");
    }) else {
        return;
    };
    assert_eq!(inside(&drive, "folder").len(), 0);
    fs::write(drive.path("folder/ours"), "ours").unwrap();
    drive.fake.account().remove_folder(folder);
    eventually("it is in the root", || drive.has("ours"));
    let root = drive.mount.dir();
    eventually("and shown there", || names(&root).unwrap() == ["ours"]);
    assert_eq!(fs::read(drive.path("ours")).unwrap(), b"ours");
    assert!(drive.mount.umount().success());
    drive.mount.start();
    eventually("also by the next mount", || {
        names(&root).unwrap() == ["ours"]
    });
    drive.ends_with(&[("ours", b"ours")]);
}

/// The service refuses it, and no path would lead to it any more.
#[test]
fn what_is_wanted_in_a_folder_that_others_removed_has_a_new_one_in_its_place() {
    let mut folder = 0;
    let Some(mut drive) = Drive::with("20", &["--dir-cache-time=30s"], |account| {
        folder = account.mkdir_p("above/folder");
        account.add_bytes(0, "moved", "moved");
    }) else {
        return;
    };
    assert_eq!(inside(&drive, "above/folder").len(), 0);
    drive.fake.account().remove_folder(folder);
    fs::create_dir(drive.path("above/folder/new")).unwrap();
    fs::write(drive.path("above/folder/new/ours"), "ours").unwrap();
    fs::rename(drive.path("moved"), drive.path("above/folder/moved")).unwrap();
    eventually("all of it is there", || {
        let account = drive.fake.account();
        let in_new = account.files_at("above/folder/new/ours").len();
        in_new == 1 && account.files_at("above/folder/moved").len() == 1
    });
    let shown = |drive: &Drive| {
        let path = drive.path("above/folder");
        names(&path).is_ok_and(|names| names == ["moved", "new"])
    };
    eventually("and shown", || shown(&drive));
    let read = fs::read(drive.path("above/folder/new/ours")).unwrap();
    assert_eq!(read, b"ours");
    assert!(drive.mount.umount().success());
    drive.mount.start();
    eventually("also by the next mount", || shown(&drive));
    assert_eq!(names(&drive.path("above")).unwrap(), ["folder"]);
    drive.ends_with(&[
        ("above/folder/moved", b"moved"),
        ("above/folder/new/ours", b"ours"),
    ]);
}
