//! What happens in the account while a program looks on.
use crate::harness::{Mount, assert_well_behaved, can_mount, eventually, names};
use fake_1fichier::Fake;
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::path::Path;

/// A folder that stays open, as a program's working directory does.
struct Open(File);

impl Open {
    fn new(dir: &Path) -> Self {
        Self(File::open(dir).unwrap())
    }

    /// The names in it now, read through the descriptor it was opened with.
    fn names(&self) -> Vec<String> {
        rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0)).unwrap();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = rustix::fs::RawDir::new(&self.0, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        names
    }
}

#[test]
fn a_program_that_keeps_a_folder_open_sees_what_changes_in_it() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .clock("50")
        .config(|c| c.enforce_rules = true)
        .start()
        .unwrap();
    let account = fake.account();
    let (here, there) = (account.mkdir(0, "here"), account.mkdir(0, "there"));
    let removed = account.add_bytes(here, "removed", "x");
    let renamed = account.add_bytes(here, "before", "kept");
    let moved = account.add_bytes(here, "moved", "x");
    let mut mount = Mount::with(&fake, Some("50"), &["--dir-cache-time", "30s"]);
    let dir = mount.path("here");
    let open = Open::new(&dir);
    assert_eq!(open.names(), ["before", "moved", "removed"]);
    let meta = fs::metadata(&dir).unwrap();
    assert_eq!(names(&mount.path("there")).unwrap(), [""; 0]);

    // Nobody opens it or looks a name up from here on.
    account.remove(&removed);
    account.rename(&renamed, "after");
    account.move_to(&moved, there);
    account.add_bytes(here, "added", "x");
    eventually("the change is seen through the open folder", || {
        open.names() == ["added", "after"]
    });
    assert_eq!(fs::read_to_string(dir.join("after")).unwrap(), "kept");
    assert!(fs::metadata(dir.join("removed")).is_err());
    assert!(fs::metadata(&dir).unwrap().modified().unwrap() > meta.modified().unwrap());
    eventually("the file is where it was moved to", || {
        names(&mount.path("there")).unwrap() == ["moved"]
    });
    drop(open);
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn what_moved_is_never_seen_in_two_folders() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("50").start().unwrap();
    let account = fake.account();
    let (from, to) = (account.mkdir(0, "from"), account.mkdir(0, "to"));
    let file = account.add_bytes(from, "file", "x");
    let folder = account.mkdir(from, "folder");
    account.add_bytes(folder, "inside", "x");
    // The new place is not known before, and listings stay as they are for long: only what is seen elsewhere can change them.
    let mut mount = Mount::with(&fake, Some("50"), &["--no-crawl", "--dir-cache-time", "1h"]);
    assert_eq!(names(&mount.path("from")).unwrap(), ["file", "folder"]);
    assert!(fs::metadata(mount.path("from/file")).is_ok());
    account.move_to(&file, to);
    account.move_folder(folder, to);
    eventually("the new place shows them", || {
        names(&mount.path("to")).is_ok_and(|names| names == ["file", "folder"])
    });
    eventually("the old place does not", || {
        names(&mount.path("from")).unwrap().is_empty()
    });
    eventually("the old name leads nowhere", || {
        fs::metadata(mount.path("from/file")).is_err()
    });
    let listings = fake
        .log()
        .into_iter()
        .filter(|entry| entry.endpoint == "folder/ls");
    let old_place = listings.filter(|entry| entry.params["folder_id"] == from);
    assert_eq!(old_place.count(), 1);
    assert_eq!(names(&mount.path("to/folder")).unwrap(), ["inside"]);
    mount.umount();
    assert_well_behaved(&fake);
}
