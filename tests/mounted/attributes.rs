//! What the account cannot hold: permissions, owners and times, as `cp -a`, `tar` and `rsync` leave them,
//! kept over uploads, restarts and kills.
use crate::harness::{Drive, eventually};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, futimens, utimensat};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Mode, owner, group, seconds and nanoseconds of the last write, size of a file.
type Shown = (u32, u32, u32, i64, i64, u64);

fn shown(path: &Path) -> Shown {
    let it = fs::symlink_metadata(path).unwrap();
    let size = if it.is_dir() { 0 } else { it.size() };
    (
        it.mode(),
        it.uid(),
        it.gid(),
        it.mtime(),
        it.mtime_nsec(),
        size,
    )
}

/// Everything below a folder, itself included, by path.
fn everything(top: &Path) -> BTreeMap<String, Shown> {
    let mut all = BTreeMap::new();
    let mut next = vec![top.to_owned()];
    while let Some(path) = next.pop() {
        let below = path.strip_prefix(top).unwrap().to_str().unwrap();
        all.insert(below.to_owned(), shown(&path));
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            next.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    all
}

fn times(seconds: i64, nanoseconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    }
}

pub(crate) fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    utimensat(CWD, path, &times(seconds, nanoseconds), AtFlags::empty()).unwrap();
}

fn modified(path: &Path) -> (i64, i64) {
    let shown = shown(path);
    (shown.3, shown.4)
}

/// A folder with what archives have: modes, times of all ages, an empty file, folders in folders.
pub(crate) fn source() -> TempDir {
    let top = tempfile::Builder::new()
        .prefix("fichierfs-source")
        .tempdir()
        .unwrap();
    let at = |below: &str| top.path().join(below);
    fs::create_dir_all(at("folder/inner")).unwrap();
    let files = [
        ("plain", 0o644, 1_234_567_890, 123_456_789),
        ("tool", 0o755, 981_173_106, 1),
        ("secret", 0o400, -7, 250_000_000),
        ("empty", 0o664, 1_000_000_000, 999_999_999),
        ("folder/inner/deep", 0o600, 4_294_967_296, 5),
        ("folder/special", 0o6711, 1, 0),
    ];
    for (name, mode, seconds, nanoseconds) in files {
        let text = if name == "empty" { "" } else { name };
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        set_time(&at(name), seconds, nanoseconds);
    }
    for (name, mode, seconds) in [
        ("folder/inner", 0o700, 86_400),
        ("folder", 0o1777, 946_684_800),
        ("", 0o750, 1_500_000_000),
    ] {
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        set_time(&at(name), seconds, 42);
    }
    top
}

/// Runs a program that must have nothing to say.
fn quietly(command: &mut Command) {
    let out = command.output().unwrap();
    let said = [&out.stdout[..], &out.stderr[..]].concat();
    assert!(
        out.status.success() && said.is_empty(),
        "{command:?}: {}: {}",
        out.status,
        String::from_utf8_lossy(&said)
    );
}

/// A file as `rsync` puts it there: under another name, with everything set, then moved over.
fn sync_file(from: &Path, to: &Path) {
    let temporary = to.with_file_name(".plain.Xr4f2a");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .unwrap();
    file.write_all(&fs::read(from).unwrap()).unwrap();
    drop(file);
    let (mode, uid, gid, seconds, nanoseconds, _) = shown(from);
    chown(&temporary, Some(uid), Some(gid)).unwrap();
    set_time(&temporary, seconds, nanoseconds);
    fs::set_permissions(&temporary, Permissions::from_mode(mode & 0o7777)).unwrap();
    fs::rename(&temporary, to).unwrap();
}

#[test]
fn copies_that_keep_attributes_are_the_same_before_and_after_a_restart() {
    let Some(mut drive) = Drive::new(|_| {}) else {
        return;
    };
    let source = source();
    let wanted = everything(source.path());
    let (copy, unpacked) = (drive.path("copy"), drive.path("unpacked"));
    quietly(Command::new("cp").arg("-a").arg(source.path()).arg(&copy));
    fs::create_dir(&unpacked).unwrap();
    let mut pack = Command::new("tar")
        .args(["--format=posix", "-C"])
        .arg(source.path())
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let archive = pack.stdout.take().unwrap();
    // It doubts what is older than 1970 or still to come.
    let mut unpack = Command::new("tar");
    unpack
        .args(["--warning=no-timestamp", "-xpC"])
        .arg(&unpacked);
    quietly(unpack.stdin(archive));
    assert!(pack.wait().unwrap().success());
    // A second run replaces one file and sets its folder's time last.
    sync_file(&source.path().join("plain"), &copy.join("plain"));
    set_time(&copy, 1_500_000_000, 42);
    let same = |drive: &Drive| {
        for top in ["copy", "unpacked"] {
            assert_eq!(everything(&drive.path(top)), wanted, "{top}");
        }
    };
    same(&drive);
    for _ in 0..2 {
        assert!(drive.mount.umount().success());
        drive.mount.start();
        same(&drive);
    }
    let all = [
        "plain",
        "tool",
        "secret",
        "folder/inner/deep",
        "folder/special",
    ];
    let tops = ["copy", "unpacked"];
    let paths = tops.map(|top| all.map(|name| format!("{top}/{name}")));
    let paths = paths.as_flattened().iter();
    let files: Vec<(&str, &[u8])> = paths
        .zip(all.iter().cycle())
        .map(|(path, name)| (path.as_str(), name.as_bytes()))
        .collect();
    drive.ends_with(&files);
}

#[test]
fn what_was_set_survives_a_kill_and_goes_with_the_file() {
    let Some(mut drive) = Drive::new(|account| {
        account.add_bytes(0, "theirs", "of the account");
    }) else {
        return;
    };
    let (theirs, mine) = (drive.path("theirs"), drive.path("mine"));
    fs::set_permissions(&theirs, Permissions::from_mode(0o604)).unwrap();
    set_time(&theirs, 77, 7);
    chown(&theirs, Some(12), Some(34)).unwrap();
    fs::write(&mine, "mine").unwrap();
    set_time(&mine, 99, 9);
    let kept = (shown(&theirs), shown(&mine));
    assert_eq!((kept.0.1, kept.0.2), (12, 34));
    File::open(&theirs).unwrap().sync_all().unwrap();
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!((shown(&theirs), shown(&mine)), kept);
    // A number is never used again, but a name is.
    fs::remove_file(&mine).unwrap();
    fs::write(&mine, "another").unwrap();
    let another = shown(&mine);
    assert!(another.3 > 1_000_000_000);
    assert_eq!(another.0 & 0o7777, 0o644);
    drive.ends_with(&[("theirs", b"of the account"), ("mine", b"another")]);
}

#[test]
fn the_last_of_writing_and_setting_a_time_is_shown() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let path = drive.path("file");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"one").unwrap();
    // Before it is closed, as `cp -p` does.
    futimens(&file, &times(5, 6)).unwrap();
    assert_eq!(modified(&path), (5, 6));
    drop(file);
    assert_eq!(modified(&path), (5, 6));
    let folder = modified(&drive.path(""));
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"two").unwrap();
    let written = modified(&path);
    assert!(written > (1_000_000_000, 0));
    drop(file);
    assert_eq!(modified(&path), written, "closing is no modification");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(modified(&path), written);
    assert!(fs::metadata(&path).unwrap().ctime() >= written.0);
    assert_eq!(modified(&drive.path("")), folder, "nothing came or went");
    fs::rename(&path, drive.path("other")).unwrap();
    assert!(modified(&drive.path("")) > folder);
    assert_eq!(modified(&drive.path("other")), written);
    drive.ends_with(&[("other", b"onetwo")]);
}

#[test]
fn what_is_made_is_like_its_maker_wants_it() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let mode = |path: &Path| shown(path).0 & 0o7777;
    let private = drive.path("private");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&private)
        .unwrap();
    assert_eq!(mode(&private), 0o600);
    // Removed and still open: attributes go on as they do elsewhere.
    fs::remove_file(&private).unwrap();
    file.set_permissions(Permissions::from_mode(0o640)).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640);
    drop(file);
    let shared = drive.path("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, None, Some(77)).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o2775)).unwrap();
    fs::create_dir(shared.join("inner")).unwrap();
    fs::write(shared.join("inner/file"), "x").unwrap();
    assert_eq!(mode(&shared.join("inner")) & 0o2000, 0o2000);
    assert_eq!(shown(&shared.join("inner/file")).2, 77);
    drive.ends_with(&[("shared/inner/file", b"x")]);
}

#[test]
fn every_file_says_how_far_the_account_is_behind() {
    let Some(drive) = Drive::with("1", &[], |account| {
        account.add_bytes(0, "theirs", "x");
    }) else {
        return;
    };
    let state = |name: &str| {
        let mut value = [0; 100];
        let path = drive.path(name);
        let length = rustix::fs::getxattr(&path, "user.fichier.state", &mut value).unwrap();
        String::from_utf8(value[..length].to_vec()).unwrap()
    };
    assert_eq!(state("theirs"), "clean");
    let mut file = File::create(drive.path("mine")).unwrap();
    assert_eq!(state("mine"), "local");
    file.write_all(b"bytes").unwrap();
    assert_eq!(state("mine"), "changed");
    drop(file);
    // It settles for five seconds.
    assert_eq!(state("mine"), "staged");
    fs::rename(drive.path("theirs"), drive.path("moved")).unwrap();
    assert_eq!(state("moved"), "staged");
    eventually("the move is told", || state("moved") == "clean");
    drive.ends_with(&[("mine", b"bytes"), ("moved", b"x")]);
}
