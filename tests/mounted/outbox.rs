//! What was written and the account does not have yet: waiting for it, seeing it, deciding about it, and
//! the ends of a mount that leave it or tell it.
use crate::harness::{self, Drive, SOON, errno, eventually, names};
use crate::schema;
use fake_1fichier::{Fault, FaultKind};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::process::{Output, Stdio};

const CLOCK: &str = "20";

/// So long that nothing is uploaded before somebody waits for it.
pub(crate) const LATER: [&str; 2] = ["--settle", "1h"];

/// A mount of an account of this name: commands for all mounts must not meet those of other tests.
fn drive(account: &str, options: &[&str]) -> Option<Drive> {
    let mut all = vec!["--account", account];
    all.extend(options);
    Drive::with(CLOCK, &all, |account| {
        account.add_bytes(0, "there", "as it was");
    })
}

impl Drive {
    /// Runs a command in the mount's own surroundings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.mount.command();
        command.args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    }

    pub(crate) fn run_at(&self, arguments: &[&str], below: &str) -> Output {
        let path = self.path(below);
        let mut all = arguments.to_vec();
        all.push(path.to_str().unwrap());
        self.run(&all)
    }

    pub(crate) fn writing(&self) -> Value {
        let output = self.run_at(&["status", "--json"], "");
        let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["mounts"][0]["status"]["writing"].take()
    }

    /// Whether the account has a file there.
    pub(crate) fn has(&self, path: &str) -> bool {
        !self.fake.account().files_at(path).is_empty()
    }

    /// Uploads come to nothing until the faults are cleared, for a reason that passes.
    pub(crate) fn hold_up(&self) {
        let fault = Fault::on("upload.cgi", FaultKind::Status { code: 503 });
        self.fake.faults().add(fault);
    }

    /// Uploads are refused for good.
    fn refuse(&self) {
        let fault = Fault::on("upload.cgi", FaultKind::Quota);
        self.fake.faults().add(fault);
    }
}

pub(crate) fn says(output: &Output, code: i32, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Closes a file as a program that looks at the answer does.
pub(crate) fn close(file: File) -> io::Result<()> {
    nix::unistd::close(file).map_err(io::Error::from)
}

#[test]
fn sync_waits_and_status_tells_what_for() {
    let Some(drive) = drive("outbox-sync", &LATER) else {
        return;
    };
    fs::create_dir(drive.path("folder")).unwrap();
    fs::write(drive.path("folder/in"), [1; 3000]).unwrap();
    fs::write(drive.path("beside"), [2; 2000]).unwrap();
    let writing = drive.writing();
    assert!(writing["waiting"].as_u64() >= Some(2), "{writing}");
    assert_eq!(writing["waiting_bytes"], 5000, "{writing}");
    assert_eq!(writing["staging_lost"], 0);
    says(
        &drive.run_at(&["status"], ""),
        0,
        &["Writing", "on their way"],
    );
    says(
        &drive.run_at(&["sync"], "folder"),
        0,
        &["folder: the account has everything"],
    );
    assert!(drive.has("folder/in"));
    let synced = drive.run(&["sync", "--json", "--account", "outbox-sync"]);
    says(&synced, 0, &["\"event\":\"done\"", "\"failed\":0"]);
    for line in String::from_utf8_lossy(&synced.stdout).lines() {
        schema::check("sync", &serde_json::from_str(line).unwrap());
    }
    assert!(drive.has("beside"));
    assert_eq!(drive.writing()["waiting"], 0);
    drive.ends_with(&[
        ("beside", &[2; 2000]),
        ("folder/in", &[1; 3000]),
        ("there", b"as it was"),
    ]);
}

#[test]
fn what_was_refused_is_told_and_tried_again_when_asked_for() {
    let Some(drive) = drive("outbox-retry", &LATER) else {
        return;
    };
    drive.refuse();
    fs::write(drive.path("new"), "new").unwrap();
    let waited = drive.run_at(&["sync"], "new");
    says(&waited, 1, &["new: ", "fichierfs retry"]);
    let writing = drive.writing();
    assert_eq!(writing["failed"], 1, "{writing}");
    assert_eq!(writing["failures"][0]["path"], "new");
    says(&drive.run_at(&["status"], ""), 0, &["Refused", "new: "]);
    assert_eq!(fs::read(drive.path("new")).unwrap(), b"new");
    drive.fake.faults().clear();
    says(&drive.run_at(&["retry"], "new"), 0, &["1 file tried again"]);
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    says(
        &drive.run(&["retry", "--all", "--account", "outbox-retry"]),
        0,
        &["nothing was refused"],
    );
    drive.ends_with(&[("new", b"new"), ("there", b"as it was")]);
}

#[test]
fn who_reads_what_was_replaced_keeps_nobody_waiting() {
    let Some(drive) = drive("outbox-reader", &[]) else {
        return;
    };
    let reader = File::open(drive.path("there")).unwrap();
    fs::write(drive.path("new"), "new").unwrap();
    fs::rename(drive.path("new"), drive.path("there")).unwrap();
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    assert_eq!(drive.fake.count("file/rm"), 0);
    assert_eq!(io::read_to_string(&reader).unwrap(), "as it was");
    drop(reader);
    drive.ends_with(&[("there", b"new")]);
}

#[test]
fn what_is_discarded_is_as_the_account_has_it() {
    let Some(drive) = drive("outbox-discard", &LATER) else {
        return;
    };
    drive.refuse();
    fs::write(drive.path("new"), "new").unwrap();
    fs::write(drive.path("there"), "changed").unwrap();
    fs::rename(drive.path("there"), drive.path("elsewhere")).unwrap();
    says(
        &drive.run(&["sync", "--account", "outbox-discard"]),
        1,
        &["did not take"],
    );
    // Nobody can be asked.
    let asked = drive.run_at(&["discard"], "new");
    says(&asked, 1, &["would be lost", "--yes"]);
    assert_eq!(fs::read(drive.path("new")).unwrap(), b"new");
    let discarded = drive.run_at(&["discard", "--yes"], "new");
    says(&discarded, 0, &["1 file were discarded"]);
    says(
        &drive.run(&["discard", "--yes", "--all", "--account", "outbox-discard"]),
        0,
        &[],
    );
    eventually("the account's own is shown", || {
        let shown = names(&drive.mount.dir()).unwrap();
        !shown.contains(&"new".to_owned()) && drive.writing()["failed"] == 0
    });
    let shown = names(&drive.mount.dir()).unwrap();
    assert_eq!(shown.len(), 1, "{shown:?}");
    eventually("its bytes are shown", || {
        fs::read(drive.path(&shown[0])).is_ok_and(|bytes| bytes == b"as it was")
    });
    drive.fake.faults().clear();
    let name = shown[0].clone();
    drive.ends_with(&[(&name, b"as it was")]);
}

#[test]
fn what_is_discarded_has_its_name_again_and_what_took_it_another() {
    let Some(drive) = drive("outbox-discard-name", &[]) else {
        return;
    };
    let no = FaultKind::Ko {
        code: 200,
        message: "not now #1".into(),
    };
    drive.fake.faults().add(Fault::on("file/rename", no));
    fs::rename(drive.path("there"), drive.path("elsewhere")).unwrap();
    fs::write(drive.path("there"), "another").unwrap();
    let discarded = drive.run_at(&["discard", "--yes"], "elsewhere");
    says(&discarded, 0, &["1 file"]);
    drive.fake.faults().clear();
    assert_eq!(fs::read(drive.path("there")).unwrap(), b"as it was");
    let here = names(&drive.mount.dir()).unwrap();
    assert_eq!(here.len(), 2, "{here:?}");
    assert!(here[1].starts_with("there (conflict "), "{here:?}");
    assert_eq!(fs::read(drive.path(&here[1])).unwrap(), b"another");
    drive.ends_with(&[("there", b"as it was"), (&here[1], b"another")]);
}

#[test]
fn what_is_discarded_while_it_is_uploaded_takes_nothing_away() {
    let Some(drive) = drive("outbox-discard-late", &[]) else {
        return;
    };
    // All of it is sent; the account has it before anybody hears of that.
    let slow = FaultKind::Slow { seconds: 60.0 };
    drive.fake.faults().add(Fault::on("end.pl", slow));
    fs::write(drive.path("there"), "changed").unwrap();
    fs::write(drive.path("new"), "new").unwrap();
    eventually("both are sent", || {
        drive.fake.account().files_at("there").len() == 2 && drive.has("new")
    });
    for name in ["there", "new"] {
        says(&drive.run_at(&["discard", "--yes"], name), 0, &["1 file"]);
    }
    drive.fake.faults().clear();
    assert_eq!(fs::read(drive.path("there")).unwrap(), b"as it was");
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    assert_eq!(fs::read(drive.path("there")).unwrap(), b"as it was");
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["there"]);
    drive.ends_with(&[("there", b"as it was")]);
}

#[test]
fn what_is_discarded_when_it_is_too_late_is_as_the_account_has_it() {
    let options = ["--account", "outbox-discard-too-late"];
    let Some(drive) = Drive::with(CLOCK, &options, |account| {
        let folder = account.mkdir(0, "folder");
        account.add_bytes(folder, "file", "removed");
    }) else {
        return;
    };
    assert_eq!(names(&drive.path("folder")).unwrap(), ["file"]);
    let slow = FaultKind::Slow { seconds: 15.0 };
    drive.fake.faults().add(Fault::on("file/rm", slow));
    fs::remove_file(drive.path("folder/file")).unwrap();
    eventually("it is asked for", || drive.fake.count("file/rm") > 0);
    says(
        &drive.run_at(&["discard", "--yes"], "folder"),
        0,
        &["1 file"],
    );
    eventually("it is removed", || !drive.has("folder/file"));
    // Not only once a late listing can be believed.
    let listings = drive.fake.count("folder/ls");
    eventually("that is shown", || {
        names(&drive.path("folder")).unwrap().is_empty()
    });
    assert_eq!(drive.fake.count("folder/ls"), listings);
    drive.ends_with(&[]);
}

#[test]
fn the_umount_command_returns_when_the_account_has_everything_or_at_once() {
    let Some(mut drive) = drive("outbox-umount", &LATER) else {
        return;
    };
    fs::write(drive.path("one"), "1").unwrap();
    says(&drive.run_at(&["umount"], ""), 0, &[]);
    assert!(drive.has("one"));
    assert!(drive.mount.wait().success());

    drive.mount.start();
    fs::write(drive.path("two"), "2").unwrap();
    says(&drive.run_at(&["umount", "--no-wait"], ""), 0, &[]);
    assert!(drive.mount.wait().success());
    assert!(!drive.has("two"));

    drive.mount.start();
    assert_eq!(fs::read(drive.path("two")).unwrap(), b"2");
    drive.ends_with(&[("one", b"1"), ("two", b"2"), ("there", b"as it was")]);
}

#[test]
fn what_was_closed_before_a_kill_is_uploaded_by_the_next_mount() {
    let Some(mut drive) = drive("outbox-kill", &LATER) else {
        return;
    };
    fs::write(drive.path("small"), "small").unwrap();
    fs::write(drive.path("large"), vec![3; 300_000]).unwrap();
    fs::write(drive.path("there"), "changed").unwrap();
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    assert_eq!(fs::read(drive.path("there")).unwrap(), b"changed");
    drive.ends_with(&[
        ("small", b"small"),
        ("large", &vec![3; 300_000]),
        ("there", b"changed"),
    ]);
}

#[test]
fn a_read_only_mount_shows_what_waits_and_tells_nothing() {
    let Some(mut drive) = drive("outbox-read-only", &LATER) else {
        return;
    };
    fs::write(drive.path("new"), "new").unwrap();
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.add_option("--read-only");
    drive.mount.start();
    assert_eq!(fs::read(drive.path("new")).unwrap(), b"new");
    assert!(drive.mount.log().contains("read-only, tells it nothing"));
    let writing = drive.writing();
    assert_eq!(writing["read_only"], true);
    assert_eq!(writing["waiting"], 1);
    says(
        &drive.run(&["sync", "--account", "outbox-read-only"]),
        1,
        &["--read-only"],
    );
    says(
        &drive.run_at(&["discard", "--yes"], "new"),
        1,
        &["read-only"],
    );
    assert!(drive.mount.umount().success());
    assert!(!drive.has("new"));
    assert_eq!(drive.fake.count("upload.cgi"), 0);
    drive.mount.remove_option("--read-only");
    drive.mount.start();
    drive.ends_with(&[("new", b"new"), ("there", b"as it was")]);
}

#[test]
fn with_upload_wait_closing_means_that_the_account_has_it() {
    let Some(drive) = drive("outbox-wait", &["--upload", "wait"]) else {
        return;
    };
    let mut file = File::create(drive.path("new")).unwrap();
    file.write_all(b"new").unwrap();
    close(file).unwrap();
    assert!(drive.has("new"));
    drive.refuse();
    let mut file = File::create(drive.path("refused")).unwrap();
    file.write_all(b"refused").unwrap();
    let refused = errno(close(file));
    assert_eq!(refused, libc::EDQUOT);
    drive.fake.faults().clear();
    says(
        &drive.run(&["retry", "--all", "--account", "outbox-wait"]),
        0,
        &["tried again"],
    );
    drive.ends_with(&[
        ("new", b"new"),
        ("refused", b"refused"),
        ("there", b"as it was"),
    ]);
}

#[test]
fn a_new_mount_takes_over_what_an_earlier_one_still_uploads() {
    let Some(mut drive) = drive("outbox-take-over", &[]) else {
        return;
    };
    drive.hold_up();
    fs::write(drive.path("new"), "new").unwrap();
    let mut earlier = drive.mount.unmount_only();
    // It goes on without a mount, and says so.
    eventually("the process is seen without its mount", || {
        let page = drive.run(&["status", "--account", "outbox-take-over"]);
        String::from_utf8_lossy(&page.stdout).contains("the mount is gone")
    });
    assert!(earlier.try_wait().unwrap().is_none(), "it has ended");
    drive.mount.start();
    let end = std::time::Instant::now() + SOON;
    while earlier.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < end, "two processes");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(fs::read(drive.path("new")).unwrap(), b"new");
    drive.fake.faults().clear();
    drive.ends_with(&[("new", b"new"), ("there", b"as it was")]);
}

#[test]
fn a_second_signal_and_the_end_of_the_drain_time_leave_the_rest() {
    let Some(mut drive) = drive("outbox-signals", &[]) else {
        return;
    };
    drive.hold_up();
    fs::write(drive.path("new"), "new").unwrap();
    drive.mount.signal("TERM");
    eventually("it is unmounted", || {
        !harness::is_mounted(&drive.mount.dir())
    });
    eventually("it says what it waits for", || {
        drive.mount.log().contains("uploading before the end")
    });
    drive.mount.signal("TERM");
    assert!(drive.mount.wait().success());
    assert!(drive.mount.log().contains("left to the next mount"));

    drive.mount.add_option("--drain=2s");
    drive.mount.start();
    assert!(drive.mount.umount().success());
    assert!(!drive.has("new"));

    drive.mount.remove_option("--drain=2s");
    drive.mount.start();
    drive.fake.faults().clear();
    drive.ends_with(&[("new", b"new"), ("there", b"as it was")]);
}
