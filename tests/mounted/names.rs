//! Folders, names and attributes.
use crate::harness::{Mount, assert_well_behaved, can_mount, eventually, names};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

#[test]
fn a_tree_costs_one_listing_call_a_folder() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .clock("20")
        .config(|c| c.enforce_rules = true)
        .start()
        .unwrap();
    for folder in 0..12 {
        let id = fake.account().mkdir_p(&format!("films/year {folder}"));
        for file in 0..5 {
            fake.account()
                .add_synthetic(id, &format!("film {file}.mkv"), 1 << 30, file);
        }
    }
    let mut mount = Mount::with(&fake, Some("20"), &[]);
    for _ in 0..2 {
        let out = Command::new("ls")
            .arg("-lR")
            .arg(mount.dir())
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let listed = String::from_utf8(out.stdout).unwrap();
        assert_eq!(listed.matches("film ").count(), 60);
        assert_eq!(listed.matches(" 1073741824 ").count(), 60);
    }
    assert_eq!(fake.count("folder/ls"), 14);
    assert_eq!(fake.count("file/ls") + fake.count("file/info"), 0);
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn names_the_service_cannot_hold_are_shown_as_they_were_meant() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    // Stored as rclone stores them; shown as a person named them.
    let stored_and_shown = [
        ("＄HOME.txt", "$HOME.txt"),
        ("a＼b.txt", "a\\b.txt"),
        ("＇single＇.txt", "'single'.txt"),
        ("＂double＂.txt", "\"double\".txt"),
        ("back｀tick.txt", "back`tick.txt"),
        ("less＜more＞.txt", "less<more>.txt"),
        ("␠leading.txt", " leading.txt"),
        ("tab␉.txt", "tab\t.txt"),
        ("full‛＄width.txt", "full＄width.txt"),
        ("日本語.txt", "日本語.txt"),
    ];
    for (stored, shown) in stored_and_shown {
        fake.account()
            .add_bytes(0, stored, format!("content of {shown}"));
    }
    let mut mount = Mount::new(&fake);
    let mut expected: Vec<String> = stored_and_shown
        .iter()
        .map(|(_, shown)| (*shown).into())
        .collect();
    expected.sort();
    assert_eq!(names(&mount.dir()).unwrap(), expected);
    for (_, shown) in stored_and_shown {
        let content = fs::read_to_string(mount.path(shown)).unwrap();
        assert_eq!(content, format!("content of {shown}"));
    }
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn files_of_one_name_are_told_apart_and_all_readable() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let account = fake.account();
    for (version, date) in [
        ("oldest", "2024-01-01"),
        ("newest", "2026-01-01"),
        ("middle", "2025-01-01"),
    ] {
        let url = account.add_bytes(0, "film.mkv", version);
        account.set_date(&url, &format!("{date} 12:00:00"));
    }
    account.mkdir(0, "both");
    account.add_bytes(0, "both", "a file");
    let mut mount = Mount::new(&fake);
    let read = |name: &str| fs::read_to_string(mount.path(name)).unwrap();
    assert_eq!(
        names(&mount.dir()).unwrap(),
        [
            "both",
            "both (2)",
            "film (2).mkv",
            "film (3).mkv",
            "film.mkv"
        ]
    );
    assert_eq!(read("film.mkv"), "newest");
    let others: HashSet<_> = [read("film (2).mkv"), read("film (3).mkv")].into();
    assert_eq!(others, ["oldest".to_owned(), "middle".to_owned()].into());
    assert_eq!(read("both (2)"), "a file");
    assert!(fs::metadata(mount.path("both")).unwrap().is_dir());
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn attributes_are_those_of_the_account() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    let url = fake
        .account()
        .add_synthetic(0, "summer.bin", 5_000_000_000, 1);
    // 14:00 in Paris in summer is 12:00 in UTC.
    fake.account().set_date(&url, "2026-07-01 14:00:00");
    let mut mount = Mount::with(
        &fake,
        Some("20"),
        &["--uid", "1234", "--gid", "2345", "--umask", "027"],
    );
    let meta = fs::metadata(mount.path("summer.bin")).unwrap();
    assert_eq!(
        (meta.len(), meta.mtime(), meta.nlink()),
        (5_000_000_000, 1_782_907_200, 1)
    );
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (1234, 2345, 0o640)
    );
    assert!(meta.blocks() * 512 >= meta.len());
    let first = meta.ino();
    assert_eq!(fs::metadata(mount.dir()).unwrap().ino(), 1);
    mount.umount();
    // Numbers are the same after a restart: backup tools and NFS rely on it.
    mount.start();
    assert_eq!(fs::metadata(mount.path("summer.bin")).unwrap().ino(), first);
    let space = Command::new("stat")
        .args(["-f", "-c", "%b %f %S"])
        .arg(mount.dir())
        .output()
        .unwrap();
    let space = String::from_utf8(space.stdout).unwrap();
    let figures: Vec<u64> = space
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    let (total, free) = (figures[0] * figures[2], figures[1] * figures[2]);
    assert!(total.abs_diff(2_000_000_000_000) < 1_000_000, "{total}");
    assert!((total - free).abs_diff(5_000_000_000) < 1_000_000, "{free}");
    mount.umount();
}

#[test]
fn links_and_checksums_are_extended_attributes_that_do_not_travel() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let url = fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let mut mount = Mount::new(&fake);
    let get = |name: &str| {
        let out = Command::new("getfattr")
            .args(["--only-values", "--absolute-names", "-n", name])
            .arg(mount.path("hello.txt"))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(get("user.fichier.url"), url);
    assert!(url.ends_with(&get("user.fichier.id")));
    assert_eq!(get("user.fichier.state"), "clean");
    assert!(get("user.fichier.whirlpool").starts_with("0a894ff0"));
    assert_eq!(get("user.fichier.nonsense"), "");
    let all = Command::new("getfattr")
        .args(["-d", "-m", "-"])
        .arg(mount.path("hello.txt"))
        .output();
    assert!(all.unwrap().stdout.is_empty());
    mount.umount();
}

#[test]
fn a_folder_that_cannot_be_listed_is_an_error_and_never_empty() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    let folder = fake.account().mkdir(0, "films");
    fake.account().add_bytes(folder, "film.mkv", "film");
    let faults = [
        FaultKind::MalformedJson,
        FaultKind::HtmlOk,
        FaultKind::Status { code: 500 },
        FaultKind::Reset,
        FaultKind::Close,
        FaultKind::Stall,
        FaultKind::Maintenance,
        FaultKind::KeyRefused,
    ];
    // Nor may the folder be listed in the background before somebody tries.
    let mut mount = Mount::with(&fake, Some("20"), &["--no-crawl"]);
    names(&mount.dir()).unwrap();
    for fault in faults {
        fake.faults().add(Fault::on("folder/ls", fault.clone()));
        let failed = names(&mount.path("films"));
        assert!(failed.is_err(), "{fault:?} showed {failed:?}");
        let lookup = fs::metadata(mount.path("films/film.mkv")).unwrap_err();
        assert_ne!(lookup.kind(), std::io::ErrorKind::NotFound, "{fault:?}");
        fake.faults().clear();
    }
    eventually("the folder shows when the service is back", || {
        names(&mount.path("films")).is_ok_and(|names| names == ["film.mkv"])
    });
    mount.umount();
}

#[test]
fn what_changes_in_the_account_is_seen_after_the_cache_time() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .clock("50")
        .config(|c| c.enforce_rules = true)
        .start()
        .unwrap();
    let account = fake.account();
    let kept = account.add_bytes(0, "kept", "kept");
    let removed = account.add_bytes(0, "removed", "removed");
    let mut mount = Mount::with(&fake, Some("50"), &["--dir-cache-time", "30s"]);
    assert_eq!(names(&mount.dir()).unwrap(), ["kept", "removed"]);
    account.remove(&removed);
    account.rename(&kept, "renamed");
    account.add_bytes(0, "added", "added");
    eventually("the change is seen", || {
        names(&mount.dir()).unwrap() == ["added", "renamed"]
    });
    assert_eq!(fs::read_to_string(mount.path("renamed")).unwrap(), "kept");
    assert!(fs::metadata(mount.path("removed")).is_err());
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_folder_of_the_account_can_be_the_root() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    let folder = fake.account().mkdir_p("media/films");
    fake.account().add_bytes(folder, "film.mkv", "film");
    let mut mount = Mount::with(&fake, Some("20"), &["--root", "/media/films"]);
    assert_eq!(names(&mount.dir()).unwrap(), ["film.mkv"]);
    mount.umount();
    let missing = Mount::prepared(&fake, Some("20"), &["--root", "/media/none"]);
    let out = missing.mount_command().output().unwrap();
    assert!(!out.status.success());
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("/media/none"),
        "{out:?}"
    );
}
