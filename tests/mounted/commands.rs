//! `status`, `refresh` and `umount` beside a running mount.
use crate::harness::{self, Mount, assert_well_behaved, can_mount, eventually, names};
use fake_1fichier::{Fake, Fault, FaultKind};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

/// Virtual seconds per real second: the 30 s between two listings become one and a half.
const FACTOR: &str = "20";

fn fake() -> Fake {
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    fake
}

/// Runs a command as somebody in another session, who knows nothing of the mount's folders.
fn run(arguments: &[&str], path: &Path) -> Output {
    let mut command = harness::command();
    command.args(arguments).arg(path);
    command.env("FICHIERFS_CLOCK", FACTOR).output().unwrap()
}

fn out(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn status_of(mount: &Mount) -> Value {
    let json = out(&run(&["status", "--json"], &mount.dir()));
    let mut document: Value = serde_json::from_str(&json).unwrap();
    document["mounts"][0].take()
}

#[test]
fn status_tells_who_serves_a_mount_and_how_it_does() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    harness::read_file(&mount.path("hello.txt")).unwrap();
    let found = status_of(&mount);
    let status = &found["status"];
    assert_eq!(found["answers"], true);
    assert_eq!(status["mount"]["pid"], mount.pid());
    assert_eq!(status["mount"]["mountpoint"], found["mountpoint"]);
    assert_eq!(status["calls"]["made"]["folder/ls"], 1);
    assert_eq!(status["calls"]["gate"]["state"], "open");
    assert_eq!(status["reading"]["asked_bytes"], 12);
    assert_eq!(status["account"]["info"]["offer"], "Premium");
    assert!(status["reading"]["disk"]["budget_bytes"].as_u64() > Some(0));
    let page = out(&run(&["status"], &mount.dir()));
    for label in [
        "Account",
        "Process",
        "Names",
        "Calls",
        "Waiting",
        "Gate",
        "Contents",
        "Disk cache",
    ] {
        assert!(page.contains(&format!("\n  {label} ")), "{label}: {page}");
    }
    // It asks nobody but the mount.
    let calls = fake.log().len();
    status_of(&mount);
    assert_eq!(fake.log().len(), calls);
    mount.umount();
    assert_well_behaved(&fake);
}

/// The names of `docs/status.md` are those of the document, all of them, on both sides.
#[test]
fn every_field_of_the_status_is_documented() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    let found = status_of(&mount);
    mount.umount();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.md")).unwrap();
    let mut fields = Vec::new();
    collect(&found, "", &mut fields);
    assert!(fields.len() > 40, "{fields:?}");
    for field in &fields {
        assert!(
            page.contains(&format!("| `{field}` |")),
            "{field} is not documented"
        );
    }
    let optional = [
        "problem",
        "status.calls.gate.cause",
        "status.calls.gate.until",
    ];
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for row in rows.filter(|row| !optional.contains(row)) {
        assert!(
            fields.iter().any(|field| field == row),
            "{row} is documented but not there"
        );
    }
}

/// The paths of all fields; what stands under a call's name or in the account's own words is one.
fn collect(value: &Value, path: &str, fields: &mut Vec<String>) {
    const WHOLE: [&str; 2] = ["status.calls.made", "status.account.info"];
    match value {
        Value::Object(members) if !WHOLE.contains(&path) => {
            for (name, value) in members {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, &below, fields);
            }
        }
        Value::Null if path.ends_with(".problem") => fields.push(path.to_owned()),
        _ => fields.push(path.to_owned()),
    }
}

#[test]
fn a_flood_is_told_with_its_end_and_a_dead_mount_with_its_cure() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let folder = fake.account().mkdir(0, "folder");
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    names(&mount.dir()).unwrap();
    fake.faults()
        .add(Fault::on("folder/ls", FaultKind::Flood { lock: false }).times(1));
    let waiting = {
        let path = mount.path("folder");
        std::thread::spawn(move || names(&path))
    };
    eventually("the gate is shut", || {
        status_of(&mount)["status"]["calls"]["gate"]["state"] == "shut"
    });
    let page = out(&run(&["status"], &mount.dir()));
    assert!(
        page.contains("shut until") && page.contains("too many calls"),
        "{page}"
    );
    // Everything known is still there, and at once.
    assert_eq!(names(&mount.dir()).unwrap(), ["folder", "hello.txt"]);
    assert!(waiting.join().unwrap().unwrap().is_empty(), "{folder:?}");
    assert_well_behaved(&fake);

    mount.signal("KILL");
    mount.wait();
    let dead = run(&["status"], &mount.dir());
    assert_eq!(dead.status.code(), Some(1));
    let page = String::from_utf8(dead.stdout).unwrap();
    assert!(
        page.contains("its process is gone; run: fichierfs umount"),
        "{page}"
    );
    out(&run(&["umount"], &mount.dir()));
    let gone = run(&["status"], &mount.dir());
    assert!(!gone.status.success());
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no account is mounted"));
}

#[test]
fn a_refresh_shows_at_once_what_was_changed_elsewhere() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let folder = fake.account().mkdir(0, "folder");
    let old = fake.account().add_bytes(folder, "old", "old\n");
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    assert_eq!(names(&mount.path("folder")).unwrap(), ["old"]);
    assert!(fs::metadata(mount.path("folder/new")).is_err());
    assert_eq!(names(&mount.dir()).unwrap(), ["folder", "hello.txt"]);

    fake.account().add_bytes(folder, "new", "new\n");
    assert!(fake.account().remove(&old));
    // Too soon for the service: it waits and says so. A file stands for its folder.
    let refreshed = run(&["refresh"], &mount.path("folder/old"));
    let said = String::from_utf8_lossy(&refreshed.stderr).into_owned();
    assert!(said.contains("waiting"), "{said}");
    let line = out(&refreshed);
    assert!(
        line.ends_with("/folder: 1 entry: 1 new, 1 gone\n"),
        "{line}"
    );
    // The kernel knows: neither the absence nor the presence it remembered is shown any more.
    assert_eq!(fs::read(mount.path("folder/new")).unwrap(), b"new\n");
    assert!(fs::metadata(mount.path("folder/old")).is_err());
    assert_eq!(names(&mount.path("folder")).unwrap(), ["new"]);
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_refresh_goes_down_when_asked_to() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let folder = fake.account().mkdir(0, "folder");
    fake.account().mkdir(folder, "below");
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--no-crawl"]);
    assert_eq!(names(&mount.dir()).unwrap(), ["folder", "hello.txt"]);
    // The crawl may have been there before: then nothing has changed, else it was not known.
    let all = out(&run(&["refresh", "--recursive"], &mount.dir()));
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 3, "{all}");
    assert!(
        lines[0].ends_with("/mnt: 2 entries, nothing changed"),
        "{all}"
    );
    assert!(lines[1].contains("/mnt/folder: 1 entry, "), "{all}");
    assert!(lines[2].contains("/below: 0 entries, "), "{all}");
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn sighup_refreshes_the_root() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    assert_eq!(names(&mount.dir()).unwrap(), ["hello.txt"]);
    fake.account().add_bytes(0, "new", "new\n");
    mount.signal("HUP");
    eventually("the new file is there", || {
        names(&mount.dir()).unwrap() == ["hello.txt", "new"]
    });
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn what_cannot_be_refreshed_is_told() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    let refused = |path: &Path, says: &str| {
        let output = run(&["refresh"], path);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    refused(&mount.path("none"), "No such file");
    refused(Path::new("/"), "no mount of fichierfs");
    names(&mount.dir()).unwrap();
    fake.faults().add(Fault::on(
        "folder/ls",
        FaultKind::Ko {
            code: 403,
            message: "Resource not allowed #631".into(),
        },
    ));
    let output = run(&["refresh"], &mount.dir());
    assert!(
        !output.status.success(),
        "a listing that failed passed for one"
    );
    assert_eq!(names(&mount.dir()).unwrap(), ["hello.txt"]);
    mount.umount();
    assert_well_behaved(&fake);
}

/// A download that crawls because of the limit goes on as soon as the limit has gone.
#[test]
fn the_limit_of_downloads_can_be_changed_while_mounted() {
    if !can_mount() {
        return;
    }
    let size = 20_000_000;
    let fake = Fake::builder().start().unwrap();
    fake.account().add_synthetic(0, "film.mkv", size, 7);
    let mut mount = Mount::with(&fake, None, &["--bwlimit", "64KiB"]);
    let limit = |arguments: &[&str]| out(&run(arguments, &mount.dir()));
    let reported = || status_of(&mount)["status"]["reading"]["bwlimit_bytes"].as_u64();
    assert_eq!(
        limit(&["bwlimit"]),
        "downloads may take 64.0 KiB a second together\n"
    );
    // At that rate it would take five minutes.
    let film = mount.path("film.mkv");
    let reader = std::thread::spawn(move || fs::read(film).unwrap().len() as u64);
    eventually("the download has begun", || !fake.log().is_empty());
    assert_eq!(
        limit(&["bwlimit", "1MiB"]),
        "downloads may take 1.0 MiB a second together\n"
    );
    assert_eq!(reported(), Some(1 << 20));
    assert_eq!(limit(&["bwlimit", "off"]), "downloads are not limited\n");
    assert_eq!(reported(), None);
    eventually("all of it has come", || reader.is_finished());
    assert_eq!(reader.join().unwrap(), size);
    let refused = run(&["bwlimit", "1KiB"], &mount.dir());
    assert_eq!(refused.status.code(), Some(2));
    mount.umount();
    assert_well_behaved(&fake);
}

/// Two mounts of one account's name, each with a state folder of its own: one has the usual socket, the
/// other its own place. Commands find both by where they are mounted.
#[test]
fn two_mounts_of_one_name_are_told_apart() {
    if !can_mount() {
        return;
    }
    let (one, two) = (fake(), fake());
    let mut first = Mount::with(&one, Some(FACTOR), &[]);
    let mut second = Mount::with(&two, Some(FACTOR), &[]);
    for mount in [&first, &second] {
        let status = status_of(mount);
        assert_eq!(status["status"]["mount"]["pid"], mount.pid());
    }
    assert!(out(&run(&["umount"], &second.dir())).is_empty());
    // It was waited for: it is gone, but for us who have not asked for its code yet.
    let stat = fs::read_to_string(format!("/proc/{}/stat", second.pid())).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    let mounted = status_of(&first);
    assert_eq!(mounted["status"]["mount"]["pid"], first.pid());
    assert_eq!(second.wait().code(), Some(0));
    first.umount();
    assert_well_behaved(&one);
    assert_well_behaved(&two);
}
