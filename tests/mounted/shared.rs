//! `--shared`: what other accounts share with this one, read-only.
use crate::harness::{
    self, Mount, assert_well_behaved, can_mount, errno, eventually, names, read_file,
};
use fake_1fichier::Fake;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const FACTOR: &str = "20";

const EACCES: i32 = 13;
const EROFS: i32 = 30;

/// An account with a file, and one that shares folders with it.
fn world() -> Fake {
    let fake = Fake::builder()
        .clock(FACTOR)
        .config(|config| config.enforce_rules = true)
        .start()
        .unwrap();
    let account = fake.account();
    account.add_bytes(0, "mine", "my own");
    let films = account.share_foreign("a@example.org", "films", false);
    let below = account.mkdir(films, "below");
    account.add_bytes(below, "a.mkv", "a film");
    let hidden = account.share_foreign("a@example.org", "hidden", true);
    account.add_bytes(hidden, "b", "hidden");
    fake
}

#[test]
fn what_others_share_is_read_and_not_changed() {
    if !can_mount() {
        return;
    }
    let fake = world();
    let options = ["--shared", "a@example.org, nobody@example.org"];
    let mut mount = Mount::with(&fake, Some(FACTOR), &options);
    assert_eq!(names(&mount.dir()).unwrap(), ["Shared with me", "mine"]);
    let shared = mount.path("Shared with me");
    assert_eq!(
        names(&shared).unwrap(),
        ["a@example.org", "nobody@example.org"]
    );
    let alice = shared.join("a@example.org");
    assert_eq!(names(&alice).unwrap(), ["films", "hidden"]);
    let film = alice.join("films/below/a.mkv");
    assert_eq!(read_file(&film).unwrap(), b"a film");
    // What cannot be read is an error and never looks empty.
    assert_eq!(errno(names(&alice.join("hidden"))), EACCES);
    assert_eq!(errno(names(&shared.join("nobody@example.org"))), EACCES);

    let calls = fake.log().len();
    let below = alice.join("films/below");
    let mine = mount.path("mine");
    let refused = |what: &str, result: std::io::Result<()>| {
        assert_eq!(errno(result), EROFS, "{what}");
    };
    let writing = |path: &Path| OpenOptions::new().write(true).open(path).map(drop);
    for folder in [&below, &alice, &shared] {
        refused("create", File::create(folder.join("new")).map(drop));
        refused("mkdir", fs::create_dir(folder.join("new")));
        refused("move in", fs::rename(&mine, folder.join("mine")));
        refused(
            "chmod",
            fs::set_permissions(folder, Permissions::from_mode(0o700)),
        );
    }
    refused("write", writing(&film));
    refused("truncate", File::create(&film).map(drop));
    refused("unlink", fs::remove_file(&film));
    refused("move out", fs::rename(&film, mount.path("a.mkv")));
    refused("rename", fs::rename(&film, below.join("b.mkv")));
    refused("rmdir", fs::remove_dir(alice.join("films/below")));
    refused("rmdir of what stands for it", fs::remove_dir(&alice));
    refused(
        "rename of what shows it",
        fs::rename(&shared, mount.path("x")),
    );
    refused("rmdir of what shows it", fs::remove_dir(&shared));
    assert_eq!(fake.log().len(), calls, "nobody was asked for any of this");

    // Taken into one's own, it is one's own.
    fs::copy(&film, mount.path("copy.mkv")).unwrap();
    fs::rename(mount.path("copy.mkv"), mount.path("film.mkv")).unwrap();
    assert!(mount.umount().success());
    let there = fake.account().folder(0).unwrap().files;
    let there: Vec<&str> = there.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(there, ["film.mkv", "mine"]);
    assert_well_behaved(&fake);
}

#[test]
fn errands_know_what_is_of_others() {
    if !can_mount() {
        return;
    }
    let fake = world();
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--shared", "a@example.org"]);
    let run = |arguments: &[&str]| {
        let output = mount.command().args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let alice = mount.path("Shared with me/a@example.org");
    let film = alice.join("films/below/a.mkv");
    let film = film.to_str().unwrap();
    let (code, link, _) = run(&["link", film]);
    assert_eq!(code, Some(0));
    assert!(fake.account().file(link.trim_end()).is_some());
    let films = alice.join("films");
    let films = films.to_str().unwrap();
    for (arguments, says) in [
        (
            vec!["share", alice.to_str().unwrap()],
            "no folder of the account",
        ),
        (
            vec!["share", films, "--public", "--yes"],
            "a@example.org shares it",
        ),
        (
            vec!["protect", "--description", "x", film],
            "somebody else's",
        ),
        (
            vec!["fetch", "http://example.com/a", films],
            "does not allow",
        ),
    ] {
        let (code, _, err) = run(&arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    let (code, out, _) = run(&["info", films]);
    assert!(
        code == Some(0) && out.contains("Shared by     a@example.org"),
        "{out}"
    );
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn it_is_there_again_after_a_restart_and_gone_without_the_option() {
    if !can_mount() {
        return;
    }
    let fake = world();
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--shared", "a@example.org"]);
    let film = "Shared with me/a@example.org/films/below/a.mkv";
    let inode = |mount: &Mount| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(mount.path(film)).map(|it| it.ino())
    };
    let before = inode(&mount).unwrap();
    mount.umount();
    mount.start();
    assert_eq!(inode(&mount).unwrap(), before);
    mount.umount();
    mount.remove_option("--shared");
    mount.remove_option("a@example.org");
    mount.start();
    // What is kept of the root is looked at again when it is old, or at once when somebody says so.
    let refresh = mount
        .command()
        .arg("refresh")
        .arg(mount.dir())
        .output()
        .unwrap();
    assert!(refresh.status.success());
    eventually("it is gone", || names(&mount.dir()).unwrap() == ["mine"]);
    assert!(inode(&mount).is_err());
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn it_is_shown_as_a_drive_of_its_own() {
    if !can_mount() {
        return;
    }
    let fake = world();
    let root = "/Shared with me/a@example.org/films";
    let options = ["--shared", "a@example.org", "--root", root];
    let mut mount = Mount::with(&fake, Some(FACTOR), &options);
    assert_eq!(read_file(&mount.path("below/a.mkv")).unwrap(), b"a film");
    assert_eq!(errno(fs::create_dir(mount.path("new"))), EROFS);
    assert_eq!(errno(fs::remove_file(mount.path("below/a.mkv"))), EROFS);
    mount.umount();
    assert_well_behaved(&fake);
    let wrong = harness::command()
        .args(["mount", "--shared", "nobody", "/mnt"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("mail addresses"), "{said}");
}
