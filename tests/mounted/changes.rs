//! What happens in the account while a program looks on.
use crate::harness::{Mount, assert_well_behaved, can_mount, command, eventually, names};
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

#[test]
fn what_went_with_thousands_of_others_is_not_found_by_its_name_any_more() {
    /// More than the queue of what the kernel must be told holds.
    const MANY: usize = 17_000;
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("50").start().unwrap();
    let account = fake.account();
    let many = account.mkdir(0, "many");
    let files: Vec<String> = (0..MANY)
        .map(|number| {
            let file = account.add_synthetic(many, &format!("{number:05}"), 7, 1);
            let (day, hour, minute) = (number / 1440, number / 60 % 24, number % 60);
            let date = format!("2025-01-{:02} {hour:02}:{minute:02}:00", day + 1);
            assert!(account.set_date(&file, &date));
            file
        })
        .collect();
    // Nothing is forgotten for its age while this lasts.
    let options = ["--no-crawl", "--dir-cache-time", "24h"];
    let mut mount = Mount::with(&fake, Some("50"), &options);
    let dir = mount.path("many");
    eventually("all are listed", || {
        names(&dir).is_ok_and(|names| names.len() == MANY)
    });
    let looked_at: Vec<_> = (0..MANY)
        .step_by(99)
        .map(|number| dir.join(format!("{number:05}")))
        .collect();
    assert!(looked_at.iter().all(|path| path.is_file()));
    assert!(!dir.join("late").exists());

    assert!(files.iter().all(|file| account.remove(file)));
    account.add_bytes(many, "late", "x");
    let refreshed = command().arg("refresh").arg(&dir).output().unwrap();
    assert!(refreshed.status.success(), "{refreshed:?}");
    eventually("the new one is seen", || names(&dir).unwrap() == ["late"]);
    eventually("nothing that went is found", || {
        looked_at.iter().all(|path| !path.exists())
    });
    eventually("what came is found", || dir.join("late").is_file());
    mount.umount();
    assert_well_behaved(&fake);
}
