//! Names: made, moved and removed on a mount, seen at once and in the account after the end.
use crate::harness::{self, Drive, errno, eventually, names};
use fake_1fichier::Account;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, XattrFlags, mknodat, renameat_with, setxattr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::time::Duration;

/// A command about a path that must say yes.
fn run(arguments: &[&str], path: &Path) {
    let done = harness::command().args(arguments).arg(path).status();
    assert!(done.unwrap().success(), "{arguments:?} {}", path.display());
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, flags)?)
}

#[test]
fn folders_are_made_filled_and_removed() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    fs::create_dir_all(drive.path("a/b/c")).unwrap();
    assert_eq!(errno(fs::create_dir(drive.path("a/b"))), libc::EEXIST);
    fs::write(drive.path("a/b/file"), "inside").unwrap();
    assert_eq!(names(&drive.path("a/b")).unwrap(), ["c", "file"]);
    assert_eq!(errno(fs::remove_dir(drive.path("a/b"))), libc::ENOTEMPTY);
    assert_eq!(errno(fs::remove_dir(drive.path("a/b/file"))), libc::ENOTDIR);
    assert_eq!(errno(fs::remove_file(drive.path("a/b/c"))), libc::EISDIR);
    fs::remove_dir(drive.path("a/b/c")).unwrap();
    assert_eq!(names(&drive.path("a/b")).unwrap(), ["file"]);
    fs::create_dir(drive.path("gone")).unwrap();
    fs::remove_dir(drive.path("gone")).unwrap();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["a"]);
    drive.ends_with(&[("a/b/file", b"inside")]);
}

#[test]
fn what_is_there_before_is_removed_from_the_account() {
    let Some(mut drive) = Drive::new(|account| {
        let folder = account.mkdir_p("a/b");
        account.add_bytes(folder, "one", "1");
        account.add_bytes(folder, "two", "2");
        account.add_bytes(0, "kept", "3");
    }) else {
        return;
    };
    fs::remove_dir_all(drive.path("a")).unwrap();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["kept"]);
    assert!(drive.mount.umount().success());
    assert_eq!(drive.fake.account().folder_at("a"), None);
    // It does not come back.
    drive.mount.start();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["kept"]);
    drive.ends_with(&[("kept", b"3")]);
}

#[test]
fn a_move_takes_the_place_of_what_is_there() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "old", "old");
        account.add_bytes(0, "new", "new");
        account.mkdir(0, "folder");
    }) else {
        return;
    };
    let open = File::open(drive.path("old")).unwrap();
    let number = fs::metadata(drive.path("new")).unwrap().ino();
    fs::rename(drive.path("new"), drive.path("old")).unwrap();
    assert_eq!(fs::read(drive.path("old")).unwrap(), b"new");
    assert_eq!(fs::metadata(drive.path("old")).unwrap().ino(), number);
    assert_eq!(errno(fs::metadata(drive.path("new"))), libc::ENOENT);
    let mut seen = [0; 3];
    open.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"old");
    assert_eq!(open.metadata().unwrap().nlink(), 0);
    drop(open);
    fs::rename(drive.path("old"), drive.path("folder/moved")).unwrap();
    assert_eq!(names(&drive.path("folder")).unwrap(), ["moved"]);
    // A name of its own is none that is taken.
    fs::rename(drive.path("folder/moved"), drive.path("folder/moved")).unwrap();
    drive.ends_with(&[("folder/moved", b"new")]);
}

#[test]
fn a_folder_moves_with_all_it_holds() {
    let Some(drive) = Drive::new(|account| {
        let folder = account.mkdir_p("from/sub");
        account.add_bytes(folder, "file", "inside");
        account.mkdir(0, "empty");
        let full = account.mkdir(0, "full");
        account.add_bytes(full, "x", "x");
    }) else {
        return;
    };
    fs::write(drive.path("from/sub/own"), "own").unwrap();
    let (from, to) = (drive.path("from"), drive.path("to"));
    assert_eq!(
        errno(fs::rename(&from, drive.path("full"))),
        libc::ENOTEMPTY
    );
    assert_eq!(
        errno(fs::rename(&from, drive.path("full/x"))),
        libc::ENOTDIR
    );
    assert_eq!(errno(fs::rename(drive.path("full/x"), &from)), libc::EISDIR);
    assert_eq!(errno(fs::rename(&from, from.join("sub/in"))), libc::EINVAL);
    fs::rename(&from, &to).unwrap();
    assert_eq!(names(&to.join("sub")).unwrap(), ["file", "own"]);
    fs::rename(&to, drive.path("empty")).unwrap();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["empty", "full"]);
    assert_eq!(fs::read(drive.path("empty/sub/file")).unwrap(), b"inside");
    drive.ends_with(&[
        ("empty/sub/file", b"inside"),
        ("empty/sub/own", b"own"),
        ("full/x", b"x"),
    ]);
}

/// A folder's listing may be an old one when that of where the folder went is long believed, also after a restart.
#[test]
fn a_folder_that_was_moved_or_removed_is_not_shown_where_it_was() {
    let fill = |account: &Account| {
        for name in ["moved", "removed"] {
            let folder = account.mkdir_p(&format!("from/{name}"));
            account.add_bytes(folder, "file", "inside");
        }
        account.mkdir(0, "to");
    };
    let Some(mut drive) = Drive::with("40", &[], fill) else {
        return;
    };
    let (from, to) = (drive.path("from"), drive.path("to"));
    assert_eq!(names(&from).unwrap(), ["moved", "removed"]);
    assert_eq!(names(&to).unwrap(), Vec::<String>::new());
    fs::rename(from.join("moved"), to.join("moved")).unwrap();
    fs::rename(from.join("removed"), to.join("removed")).unwrap();
    fs::remove_dir_all(to.join("removed")).unwrap();
    run(&["sync"], &to);
    // Longer than listings lag (API reference 10), shorter than the listing of a folder is believed.
    std::thread::sleep(Duration::from_secs(130) / 40);
    run(&["refresh"], &to);
    assert_eq!(names(&to).unwrap(), ["moved"]);
    assert_eq!(names(&from).unwrap(), Vec::<String>::new());
    // What was listed is on disk within a second.
    std::thread::sleep(Duration::from_millis(1500));
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!(names(&drive.path("from")).unwrap(), Vec::<String>::new());
    assert_eq!(names(&drive.path("to")).unwrap(), ["moved"]);
    drive.ends_with(&[("to/moved/file", b"inside")]);
}

/// What went with a folder is remembered where the account had it, not where it was seen last.
#[test]
fn a_folder_that_is_removed_with_the_one_it_was_moved_into_does_not_come_back() {
    let fill = |account: &Account| {
        let folder = account.mkdir_p("from/folder");
        account.add_bytes(folder, "file", "inside");
        account.mkdir(0, "to");
    };
    let Some(mut drive) = Drive::with("40", &[], fill) else {
        return;
    };
    assert_eq!(names(&drive.path("from/folder")).unwrap(), ["file"]);
    assert_eq!(names(&drive.path("to")).unwrap(), Vec::<String>::new());
    fs::rename(drive.path("from/folder"), drive.path("to/folder")).unwrap();
    fs::remove_dir_all(drive.path("to")).unwrap();
    run(&["sync"], &drive.mount.dir());
    assert_eq!(names(&drive.path("from")).unwrap(), Vec::<String>::new());
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!(names(&drive.path("from")).unwrap(), Vec::<String>::new());
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["from"]);
    drive.ends_with(&[]);
}

/// No number is kept for it any more, and listings may show it still.
#[test]
fn a_folder_that_was_made_and_removed_here_does_not_come_back_under_another_number() {
    let Some(mut drive) = Drive::with("40", &[], |_| {}) else {
        return;
    };
    let dir = drive.mount.dir();
    fs::create_dir(drive.path("made")).unwrap();
    fs::write(drive.path("made/file"), "inside").unwrap();
    run(&["sync"], &dir);
    std::thread::sleep(Duration::from_secs(130) / 40);
    run(&["refresh"], &dir);
    // What was listed is on disk within a second.
    std::thread::sleep(Duration::from_millis(1500));
    fs::remove_dir_all(drive.path("made")).unwrap();
    run(&["sync"], &dir);
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!(names(&dir).unwrap(), Vec::<String>::new());
    drive.ends_with(&[]);
}

/// The service shows a file for a while after it was removed, and whoever removed it must know that it did.
#[test]
fn a_folder_goes_with_what_was_removed_from_it_before_a_kill() {
    let fill = |account: &Account| {
        let folder = account.mkdir(0, "folder");
        account.add_bytes(folder, "file", "inside");
    };
    let Some(mut drive) = Drive::with("40", &[], fill) else {
        return;
    };
    drive
        .fake
        .set_config(|config| config.vanish_delay_seconds = 60.0);
    fs::remove_dir_all(drive.path("folder")).unwrap();
    eventually("the file is removed", || drive.fake.count("file/rm") > 0);
    std::thread::sleep(Duration::from_millis(200));
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!(names(&drive.mount.dir()).unwrap(), Vec::<String>::new());
    let fake = drive.ends_with(&[]);
    assert_eq!(fake.account().folder_at("folder"), None);
}

/// Whether the service shows folders where they were is not known; should it, nobody else has put them there.
#[test]
fn folders_go_though_they_are_listed_for_a_while_with_what_went_from_them() {
    let fill = |account: &Account| {
        account.mkdir_p("a/b/c");
        let moved = account.mkdir_p("old/moved");
        account.add_bytes(moved, "file", "inside");
    };
    let Some(drive) = Drive::with("40", &[], fill) else {
        return;
    };
    drive
        .fake
        .set_config(|config| config.folder_vanish_delay_seconds = 60.0);
    fs::remove_dir_all(drive.path("a")).unwrap();
    fs::rename(drive.path("old/moved"), drive.path("moved")).unwrap();
    fs::remove_dir(drive.path("old")).unwrap();
    run(&["sync"], &drive.mount.dir());
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["moved"]);
    let fake = drive.ends_with(&[("moved/file", b"inside")]);
    for folder in ["a", "old"] {
        assert_eq!(fake.account().folder_at(folder), None, "{folder}");
    }
}

#[test]
fn a_move_can_be_told_to_replace_nothing_or_to_exchange() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", "of the account");
        account.mkdir(0, "folder");
    }) else {
        return;
    };
    let (there, own, folder) = (drive.path("there"), drive.path("own"), drive.path("folder"));
    fs::write(&own, "of mine").unwrap();
    let refused = rename_with(&own, &there, RenameFlags::NOREPLACE);
    assert_eq!(errno(refused), libc::EEXIST);
    rename_with(&own, &drive.path("mine"), RenameFlags::NOREPLACE).unwrap();
    rename_with(&drive.path("mine"), &there, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(&there).unwrap(), b"of mine");
    assert_eq!(fs::read(drive.path("mine")).unwrap(), b"of the account");
    let missing = rename_with(&there, &drive.path("none"), RenameFlags::EXCHANGE);
    assert_eq!(errno(missing), libc::ENOENT);
    // A file for a folder, too.
    rename_with(&there, &folder, RenameFlags::EXCHANGE).unwrap();
    assert!(fs::metadata(&there).unwrap().is_dir());
    assert_eq!(fs::read(&folder).unwrap(), b"of mine");
    drive.ends_with(&[("folder", b"of mine"), ("mine", b"of the account")]);
}

#[test]
fn names_that_were_missing_or_listed_are_seen_as_they_are_now() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", "x");
    }) else {
        return;
    };
    let dir = drive.mount.dir();
    for round in 0..3 {
        let name = drive.path("comes");
        assert_eq!(errno(fs::metadata(&name)), libc::ENOENT, "round {round}");
        assert_eq!(names(&dir).unwrap(), ["there"]);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .unwrap();
        drop(file);
        assert_eq!(names(&dir).unwrap(), ["comes", "there"]);
        assert!(fs::metadata(&name).is_ok());
        assert_eq!(errno(File::create_new(&name)), libc::EEXIST);
        fs::rename(&name, drive.path("moved")).unwrap();
        assert_eq!(errno(fs::metadata(&name)), libc::ENOENT);
        assert_eq!(names(&dir).unwrap(), ["moved", "there"]);
        fs::create_dir(&name).unwrap();
        assert!(fs::metadata(&name).unwrap().is_dir());
        fs::remove_dir(&name).unwrap();
        fs::remove_file(drive.path("moved")).unwrap();
    }
    drive.ends_with(&[("there", b"x")]);
}

#[test]
fn what_the_account_cannot_hold_is_refused() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", "x");
    }) else {
        return;
    };
    let there = drive.path("there");
    assert_eq!(errno(symlink("there", drive.path("link"))), libc::EPERM);
    assert_eq!(
        errno(fs::hard_link(&there, drive.path("link"))),
        libc::EPERM
    );
    let make = |name: &str, kind| mknodat(CWD, drive.path(name), kind, Mode::RUSR, 0);
    let perm = rustix::io::Errno::PERM;
    assert_eq!(make("pipe", FileType::Fifo).unwrap_err(), perm);
    make("file", FileType::RegularFile).unwrap();
    assert_eq!(fs::metadata(drive.path("file")).unwrap().len(), 0);
    let long = "x".repeat(256);
    assert_eq!(errno(File::create(drive.path(&long))), libc::ENAMETOOLONG);
    let set = |name: &str| setxattr(&there, name, b"value", XattrFlags::empty()).unwrap_err();
    assert_eq!(set("user.fichier.id"), perm);
    assert_eq!(set("user.other"), rustix::io::Errno::OPNOTSUPP);
    // None of them ended something for good.
    fs::write(&there, "y").unwrap();
    drive.ends_with(&[("there", b"y")]);
}
