//! What the account cannot hold, taken to another machine: by a file, and by what is kept in the account.
use crate::attributes::{set_time, source};
use crate::harness::{
    Mount, assert_well_behaved, can_mount, command, eventually, is_mounted, names,
};
use crate::schema;
use fake_1fichier::Fake;
use fichierfs::control::local_state::{
    Attributes, FORMAT, Owner, StateWriter, VERSION, batches, check,
};
use fichierfs::control::{Head, Record};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The file in the account.
const KEPT: &str = "/.fichierfs-state";

/// A service, the time that all share, and whether rsync is there.
fn service() -> Option<(Fake, String)> {
    if !can_mount() {
        return None;
    }
    if Command::new("rsync").arg("--version").output().is_err() {
        eprintln!("!!! SKIPPED: rsync is not installed, nothing was tested !!!");
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = format!("60@{}", now.as_secs());
    let fake = Fake::builder().clock(&clock).start().unwrap();
    Some((fake, clock))
}

fn run(fake: &Fake, mount: &Mount, arguments: &[&str]) -> Output {
    let mut command = mount.command();
    command
        .args(arguments)
        .arg("--state-dir")
        .arg(mount.state_dir())
        .args(["--api-url", &fake.api_url()])
        .env("FICHIERFS_API_KEY", fake.key());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is missing: {err}");
    }
}

fn sync(dir: &Path) {
    let output = command().arg("sync").arg(dir).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A mount of another machine, which knows nothing but what its calls may be: the service counts those of both.
fn another(fake: &Fake, clock: &str, options: &[&str], known: &Mount) -> Mount {
    let mut mount = Mount::prepared(fake, Some(clock), options);
    let (from, to) = (known.state_dir(), mount.state_dir());
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from.join("budget")).arg(&to);
    assert!(copy.status().unwrap().success());
    mount.start();
    mount
}

/// Waits until the tree is known whole.
fn completed(mount: &Mount) {
    eventually("the tree is complete", || {
        let mut command = command();
        let out = command.args(["status", "--json"]).arg(mount.dir());
        let status: Value = serde_json::from_slice(&out.output().unwrap().stdout).unwrap();
        status["mounts"][0]["status"]["tree"]["crawl"]["stage"] == "done"
    });
}

/// Copies with all that is kept of files, and sets the times of the folders last.
fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("rsync");
    command.arg("-a").arg(from.join("")).arg(to.join(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What rsync would do to make them the same.
fn differences(from: &Path, to: &Path) -> String {
    let mut command = Command::new("rsync");
    command.args(["-ain", "--checksum"]);
    let output = command.arg(from.join("")).arg(to.join("")).output();
    text(&output.unwrap())
}

fn temp() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("fichierfs-state").tempdir().unwrap()
}

#[test]
fn a_file_takes_everything_to_another_machine() {
    let Some((fake, clock)) = service() else {
        return;
    };
    let (source, files) = (source(), temp());
    let mut here = Mount::with(&fake, Some(&clock), &["--dir-cache-time", "1h"]);
    copy(source.path(), &here.path("copy"));
    assert_eq!(differences(source.path(), &here.path("copy")), "");
    sync(&here.dir());
    // Folders that were made here are listed by the next mount.
    assert!(here.umount().success());
    here.start();
    let refreshed = command().arg("refresh").arg(here.dir()).output().unwrap();
    assert!(refreshed.status.success(), "{refreshed:?}");
    eventually("everything is listed", || {
        run(&fake, &here, &["dupes"]).status.success()
    });
    let mut written = Vec::new();
    for name in ["mounted", "alone"] {
        let path: PathBuf = files.path().join(name);
        let file = path.to_str().unwrap();
        let told = text(&run(&fake, &here, &["state", "export", file, "--json"]));
        let told: Value = serde_json::from_str(&told).unwrap();
        schema::check("state", &told);
        assert_eq!(told["waiting"], 0);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            schema::check("state-file", &serde_json::from_str(line).unwrap());
        }
        assert!(!text.contains(&fake.key()), "no secret");
        let records: Vec<Record> = batches(text.as_bytes()).flatten().collect();
        assert!(matches!(&records[0], Record::Empty { path, .. } if path == "/copy/empty"));
        written.push(records);
        if is_mounted(&here.dir()) {
            assert!(here.umount().success());
        }
    }
    assert_eq!(written[0], written[1], "with a mount and without");

    let file = files.path().join("mounted");
    let file = file.to_str().unwrap();
    let mut last = here;
    for is_mounted in [true, false] {
        let mut there = another(&fake, &clock, &["--dir-cache-time", "1h"], &last);
        completed(&there);
        assert_ne!(differences(source.path(), &there.path("copy")), "");
        if !is_mounted {
            assert!(there.umount().success());
        }
        let told = text(&run(&fake, &there, &["state", "import", file, "--json"]));
        let told: Value = serde_json::from_str(&told).unwrap();
        schema::check("state", &told);
        assert!(told["applied"].as_u64() > Some(8), "{told}");
        // Twice is once.
        let again = text(&run(&fake, &there, &["state", "import", file]));
        assert!(again.starts_with("0 applied"), "{again}");
        if !is_mounted {
            there.start();
        }
        assert_eq!(differences(source.path(), &there.path("copy")), "");
        // What is changed here later stays.
        let tool = there.path("copy/tool");
        fs::set_permissions(&tool, Permissions::from_mode(0o700)).unwrap();
        text(&run(&fake, &there, &["state", "import", file]));
        let mode = fs::metadata(&tool).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(there.umount().success());
        last = there;
    }
    assert_well_behaved(&fake);
}

#[test]
fn what_is_kept_in_the_account_is_shown_by_no_mount_and_taken_in_by_a_new_machine() {
    let Some((fake, clock)) = service() else {
        return;
    };
    let options = ["--keep-state-in-account", "--dir-cache-time", "1h"];
    let source = source();
    let mut here = Mount::with(&fake, Some(&clock), &options);
    copy(source.path(), &here.dir());
    assert_eq!(differences(source.path(), &here.dir()), "");
    sync(&here.dir());
    let kept = || fake.account().files_at(KEPT);
    // By itself, some minutes after the mount began.
    eventually("the state is kept", || !kept().is_empty());
    let first = kept().remove(0).url;
    let shown = names(&here.dir()).unwrap();
    assert!(
        !shown.iter().any(|name| name.contains("fichierfs")),
        "{shown:?}"
    );
    let path = here.path(&KEPT[1..]);
    assert_eq!(
        fs::metadata(&path).unwrap_err().raw_os_error(),
        Some(libc_enoent())
    );
    assert!(fs::write(&path, "mine").is_err(), "the name is taken");
    assert!(fs::rename(here.path("plain"), &path).is_err());
    let index = text(&run(&fake, &here, &["export-index"]));
    assert!(!index.contains("fichierfs-state"), "{index}");
    assert_eq!(
        differences(source.path(), &here.dir()),
        "",
        "nobody's time moved on"
    );

    // Nothing has changed, so nothing is told.
    let save = ["state", "export", "--to-account"];
    let told = text(&run(&fake, &here, &save));
    assert!(told.contains("nothing has changed"), "{told}");
    set_time(&source.path().join("tool"), 7, 7);
    set_time(&here.path("tool"), 7, 7);
    assert!(text(&run(&fake, &here, &save)).contains("kept in the account"));
    sync(&here.dir());
    assert_eq!(kept().len(), 1);
    assert_ne!(kept()[0].url, first);
    assert!(here.umount().success());

    let mut there = another(&fake, &clock, &options, &here);
    eventually("the state is taken in", || {
        differences(source.path(), &there.dir()).is_empty()
    });
    assert!(there.umount().success());

    // Without the option a person may ask for it.
    let mut third = another(&fake, &clock, &["--dir-cache-time", "1h"], &there);
    completed(&third);
    assert_ne!(differences(source.path(), &third.dir()), "");
    text(&run(&fake, &third, &["state", "import", "--from-account"]));
    assert_eq!(differences(source.path(), &third.dir()), "");
    assert!(third.umount().success());
    assert_eq!(kept().len(), 1);
    assert_well_behaved(&fake);
}

fn libc_enoent() -> i32 {
    rustix::io::Errno::NOENT.raw_os_error()
}

/// A state file with these records.
fn file(path: &Path, email: &str, records: &[Record]) {
    let head = Head {
        format: FORMAT.into(),
        version: VERSION,
        account: Owner {
            email: email.into(),
            key: "0123".into(),
        },
        made: 1,
    };
    let out = fs::File::create(path).unwrap();
    let mut writer = StateWriter::new(out, &head).unwrap();
    for record in records {
        writer.record(record).unwrap();
    }
    writer.end().unwrap();
}

#[test]
fn what_is_not_applicable_is_told_and_what_is_no_state_is_refused() {
    let Some((fake, clock)) = service() else {
        return;
    };
    fake.account().add_bytes(0, "here", "x");
    let mut mount = Mount::with(&fake, Some(&clock), &[]);
    let files = temp();
    let path = files.path().join("file");
    let name = path.to_str().unwrap();
    let exported = files.path().join("exported");
    text(&run(
        &fake,
        &mount,
        &["state", "export", exported.to_str().unwrap()],
    ));
    let head = check(&*fs::read(&exported).unwrap()).unwrap();
    let import = |mount: &Mount, more: &[&str]| {
        let arguments = [&["state", "import", name][..], more].concat();
        run(&fake, mount, &arguments)
    };
    let attributes = Attributes {
        mode: Some(0o600),
        changed: (i64::MAX / 2, 0),
        ..Attributes::default()
    };
    let records = [
        Record::Empty {
            path: "/nowhere/empty".into(),
            attributes,
        },
        Record::Empty {
            path: "/here".into(),
            attributes,
        },
        Record::File {
            path: "/gone".into(),
            id: "abcdefghij".into(),
            size: 1,
            whirlpool: None,
            attributes,
        },
        Record::Folder {
            path: "/here".into(),
            id: 77,
            newest: None,
            attributes,
        },
    ];
    for _ in 0..2 {
        file(&path, &head.account.email, &records);
        let words = [
            "/nowhere/empty: its folder is not there",
            "/here: there is something else of that name",
            "/gone: it is not there any more",
            "/here: there is a file of that name",
            "4 files not applicable",
        ];
        refused(&import(&mount, &[]), 1, &words);
        file(&path, "somebody@else.example", &records[..0]);
        text(&import(&mount, &[]));
        file(&path, "somebody@else.example", &records);
        refused(
            &import(&mount, &[]),
            1,
            &["somebody@else.example", "--force"],
        );
        refused(
            &import(&mount, &["--force"]),
            1,
            &["4 files not applicable"],
        );
        fs::write(&path, "hello\n").unwrap();
        refused(&import(&mount, &[]), 1, &["no state file"]);
        let whole = fs::read(&exported).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        refused(&import(&mount, &[]), 1, &["damaged"]);
        fs::remove_file(&path).unwrap();
        refused(&import(&mount, &[]), 1, &["cannot take in"]);
        let restored = run(&fake, &mount, &["state", "import", "--from-account"]);
        refused(&restored, 1, &["nothing is kept in the account"]);
        let nowhere = run(&fake, &mount, &["state", "export", "/nowhere/at/all"]);
        refused(&nowhere, 1, &["cannot write /nowhere/at/all"]);
        if is_mounted(&mount.dir()) {
            assert!(mount.umount().success());
        }
    }
    for arguments in [
        &["state", "import"][..],
        &["state", "export"],
        &["state", "forget"],
        &["state", "import", name, "--from-account"],
    ] {
        assert_eq!(run(&fake, &mount, arguments).status.code(), Some(2));
    }
    assert_well_behaved(&fake);
}

/// Which of several files bears the plain name depends on the order in which a machine saw them: so that is taken
/// along, too.
#[test]
fn files_of_one_name_bear_the_same_numbers_on_another_machine() {
    let Some((fake, clock)) = service() else {
        return;
    };
    let account = fake.account();
    let folder = account.mkdir(0, "folder");
    let mut here = Mount::with(&fake, Some(&clock), &["--no-crawl"]);
    let dir = here.path("folder");
    for (at, text) in ["one", "two", "three"].into_iter().enumerate() {
        let url = account.add_bytes(folder, "same", text);
        account.set_date(&url, &format!("202{at}-01-01 00:00:00"));
        let refreshed = command().arg("refresh").arg(&dir).output().unwrap();
        assert!(refreshed.status.success(), "{refreshed:?}");
    }
    let shown = |mount: &Mount| {
        let names = names(&mount.path("folder")).unwrap().into_iter();
        let all = names.map(|name| {
            let text = fs::read_to_string(mount.path("folder").join(&name)).unwrap();
            (name, text)
        });
        all.collect::<Vec<_>>()
    };
    let seen = shown(&here);
    let expected = [("same", "three"), ("same (2)", "one"), ("same (3)", "two")];
    assert_eq!(
        seen,
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
    let files = temp();
    let file = files.path().join("file");
    let file = file.to_str().unwrap();
    text(&run(&fake, &here, &["state", "export", file]));
    assert!(here.umount().success());
    let mut there = another(&fake, &clock, &["--no-crawl"], &here);
    let told = text(&run(&fake, &there, &["state", "import", file]));
    assert!(told.starts_with("1 applied"), "{told}");
    assert_eq!(shown(&there), seen);
    assert!(there.umount().success());
    // Where they bear others already, these stay.
    let mut third = another(&fake, &clock, &["--no-crawl"], &there);
    assert_ne!(shown(&third), seen);
    let output = run(&fake, &third, &["state", "import", file]);
    refused(
        &output,
        1,
        &["/folder: files of one name bear other numbers"],
    );
    assert!(third.umount().success());
    assert_well_behaved(&fake);
}
