//! What goes wrong while something is being told to the account: the writer hears of it where there is one,
//! `status`, the attribute and the log say why, nothing is lost, nothing is tried for ever, and once the reason is
//! gone `retry` is all that is needed.
use crate::harness::{Drive, Mount, can_mount, errno, eventually, names};
use crate::outbox::{close, says};
use fake_1fichier::{Config, Fake, Fault, FaultKind};
use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

/// Virtual seconds per real second: minutes of the service's are seconds here.
const CLOCK: &str = "40";

/// Real time in which what is tried again and again would have been: a minute of the mount's.
const A_WHILE: Duration = Duration::from_millis(1_500);

/// A mount of an account of this name that holds `there`, at a service with these switches.
fn drive(account: &str, options: &[&str], setup: impl FnOnce(&mut Config)) -> Option<Drive> {
    if !can_mount() {
        return None;
    }
    let fake = Fake::builder()
        .clock(CLOCK)
        .config(|config| {
            config.enforce_rules = true;
            setup(config);
        })
        .start()
        .unwrap();
    fake.account().add_bytes(0, "there", "as it was");
    let mut all = vec!["--account", account];
    all.extend(options);
    let mount = Mount::with(&fake, Some(CLOCK), &all);
    Some(Drive { fake, mount })
}

/// How far the account is behind a file, as its attribute says.
fn state(drive: &Drive, name: &str) -> String {
    let mut value = [0; 400];
    let path = drive.path(name);
    let length = rustix::fs::getxattr(&path, "user.fichier.state", &mut value).unwrap();
    String::from_utf8(value[..length].to_vec()).unwrap()
}

/// A file is given up for a reason with these words in it, and everything says so.
fn is_given_up(drive: &Drive, name: &str, words: &str) {
    eventually("it is given up", || {
        state(drive, name).starts_with("failed: ")
    });
    let said = state(drive, name);
    assert!(said.contains(words), "{said}");
    let reason = said.strip_prefix("failed: ").unwrap();
    let writing = drive.writing();
    let failures = writing["failures"].as_array().unwrap();
    let own = failures.iter().find(|it| it["path"] == name);
    let own = own.unwrap_or_else(|| panic!("{name} is not in {writing}"));
    assert!(own.to_string().contains(words), "{own}");
    assert!(drive.mount.log().contains(reason), "it is not in the log");
}

/// What the account was asked so far, calls that are made anyway left out.
fn asked(fake: &Fake) -> usize {
    let log = fake.log();
    let kept_fresh = |endpoint: &str| endpoint.ends_with("/ls") || endpoint == "user/info";
    log.iter().filter(|it| !kept_fresh(&it.endpoint)).count()
}

/// Nothing more is asked of the account.
fn is_left_alone(drive: &Drive) {
    let before = asked(&drive.fake);
    std::thread::sleep(A_WHILE);
    assert_eq!(asked(&drive.fake), before, "it is tried again and again");
}

fn retry_all(drive: &Drive, account: &str) {
    let retried = drive.run(&["retry", "--all", "--account", account]);
    says(&retried, 0, &["tried again"]);
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
}

/// Saves as most programs do: a new file beside, put in the place of the old one.
fn save(drive: &Drive, name: &str, bytes: &[u8]) {
    let beside = drive.path(&format!(".{name}.tmp"));
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, drive.path(name)).unwrap();
}

#[test]
fn a_full_account_keeps_what_it_had_and_what_is_here() {
    let account = "failures-quota";
    let Some(drive) = drive(account, &[], |config| config.quota_bytes = 1000) else {
        return;
    };
    fs::write(drive.path("new"), [1; 5000]).unwrap();
    save(&drive, "there", &[2; 3000]);
    save(&drive, "there", &[3; 4000]);
    is_given_up(&drive, "new", "full");
    is_given_up(&drive, "there", "full");
    is_left_alone(&drive);
    assert_eq!(drive.fake.count("file/rm"), 0, "the old one went");
    let old = drive.fake.account().files_at("there");
    assert_eq!(old.len(), 1);
    assert_eq!(fs::read(drive.path("there")).unwrap(), [3; 4000]);
    assert_eq!(fs::read(drive.path("new")).unwrap(), [1; 5000]);
    // What is given up for good leaves what the account has, and does not take it along.
    says(
        &drive.run_at(&["discard", "--yes"], "there"),
        0,
        &["discarded"],
    );
    eventually("the account's own is shown", || {
        fs::read(drive.path("there")).is_ok_and(|bytes| bytes == b"as it was")
    });
    drive.fake.account().set_quota(1 << 30);
    retry_all(&drive, account);
    drive.ends_with(&[("there", b"as it was"), ("new", &[1; 5000])]);
}

#[test]
fn a_node_that_refuses_for_a_while_is_waited_for() {
    let Some(drive) = drive("failures-node", &[], |_| {}) else {
        return;
    };
    let refusing = Fault::on("upload.cgi", FaultKind::Status { code: 503 });
    drive.fake.faults().add(refusing.times(3));
    fs::write(drive.path("new"), "new").unwrap();
    eventually("it is there", || drive.has("new"));
    assert_eq!(drive.fake.count("upload.cgi"), 4);
    // Each time a node is asked for anew, and it is left alone longer.
    let log = drive.fake.log();
    let tries = log.iter().filter(|it| it.endpoint == "upload.cgi");
    let tries: Vec<f64> = tries.map(|it| it.virtual_time).collect();
    assert!(tries[1] - tries[0] >= 4.0, "{tries:?}");
    assert!(tries[3] - tries[2] >= 8.0, "{tries:?}");
    drive.ends_with(&[("there", b"as it was"), ("new", b"new")]);
}

#[test]
fn an_account_that_may_not_upload_says_so() {
    let account = "failures-forbidden";
    let Some(drive) = drive(account, &[], |config| config.upload_forbidden = true) else {
        return;
    };
    fs::write(drive.path("new"), "new").unwrap();
    is_given_up(&drive, "new", "autoris");
    is_left_alone(&drive);
    assert!(drive.fake.count("upload.cgi") <= 2);
    says(
        &drive.run_at(&["discard", "--yes"], "new"),
        0,
        &["discarded"],
    );
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["there"]);
    drive.ends_with(&[("there", b"as it was")]);
}

#[test]
fn a_wait_page_of_minutes_is_waited_for_and_nothing_is_sent_again() {
    let Some(drive) = drive("failures-wait-page", &[], |config| {
        config.wait_seconds = 120.0;
    }) else {
        return;
    };
    fs::write(drive.path("new"), "new").unwrap();
    save(&drive, "there", b"changed");
    eventually("the report is asked for", || drive.fake.count("end.pl") > 3);
    assert_eq!(state(&drive, "new"), "uploading");
    eventually("all is told", || {
        state(&drive, "new") == "clean" && state(&drive, "there") == "clean"
    });
    assert!(drive.fake.count("upload.cgi") <= 2);
    let polls = drive.fake.count("end.pl");
    assert!(polls <= 40, "{polls} looks at two reports of two minutes");
    drive.ends_with(&[("there", b"changed"), ("new", b"new")]);
}

#[test]
fn a_report_without_links_is_no_reason_to_send_again() {
    let Some(drive) = drive("failures-no-links", &[], |config| {
        config.empty_report = true;
    }) else {
        return;
    };
    fs::write(drive.path("new"), "new").unwrap();
    eventually("it is found in the folder", || {
        state(&drive, "new") == "clean"
    });
    assert_eq!(drive.fake.count("upload.cgi"), 1);
    drive.ends_with(&[("there", b"as it was"), ("new", b"new")]);
}

#[test]
fn what_the_service_takes_and_does_not_keep_is_not_sent_for_ever() {
    let account = "failures-not-kept";
    let Some(drive) = drive(account, &[], |config| config.empty_report = true) else {
        return;
    };
    let gone = Fault::on("upload.cgi", FaultKind::Infected);
    drive.fake.faults().add(gone);
    save(&drive, "there", b"changed");
    is_given_up(&drive, "there", "several times");
    assert_eq!(drive.fake.count("upload.cgi"), 3);
    is_left_alone(&drive);
    assert!(drive.has("there"), "the old one went");
    drive.fake.faults().clear();
    retry_all(&drive, account);
    drive.ends_with(&[("there", b"changed")]);
}

#[test]
fn what_arrives_damaged_is_sent_again_a_few_times_and_never_replaces_anything() {
    let account = "failures-damaged";
    let Some(drive) = drive(account, &[], |_| {}) else {
        return;
    };
    let damaged = || Fault::on("upload.cgi", FaultKind::Corrupt { at: 3 });
    drive.fake.faults().add(damaged().once());
    fs::write(drive.path("once"), "sent twice").unwrap();
    eventually("it is there", || state(&drive, "once") == "clean");
    assert_eq!(drive.fake.count("upload.cgi"), 2);

    drive.fake.faults().add(damaged());
    save(&drive, "there", b"changed");
    is_given_up(&drive, "there", "damaged");
    assert_eq!(drive.fake.count("upload.cgi"), 2 + 3);
    is_left_alone(&drive);
    let account_has = drive.fake.account().files_at("there");
    let bytes: Vec<_> = account_has
        .iter()
        .map(|file| drive.fake.account().read_all(&file.url).unwrap())
        .collect();
    assert!(bytes.iter().any(|bytes| *bytes == "as it was"), "{bytes:?}");
    assert_eq!(fs::read(drive.path("there")).unwrap(), b"changed");
    drive.fake.faults().clear();
    retry_all(&drive, account);
    drive.ends_with(&[("there", b"changed"), ("once", b"sent twice")]);
}

#[test]
fn a_full_staging_area_is_told_to_the_writer_and_what_is_in_it_is_good() {
    let account = "failures-staging";
    let Some(drive) = drive(account, &["--staging-size", "1MiB"], |_| {}) else {
        return;
    };
    drive.hold_up();
    let first = vec![1; 600_000];
    fs::write(drive.path("first"), &first).unwrap();
    let mut file = File::create(drive.path("second")).unwrap();
    file.write_all(&vec![2; 300_000]).unwrap();
    let refused = errno(file.write_all(&vec![3; 1_000_000]));
    assert_eq!(refused, libc::ENOSPC);
    close(file).unwrap();
    assert!(drive.mount.log().contains("--staging-size"));
    assert!(drive.writing()["staging_bytes"].as_u64() <= Some(1 << 20));
    // What was written before is there, and there is room again once it is told.
    let second = fs::read(drive.path("second")).unwrap();
    assert!(second.len() >= 300_000 && second[..300_000] == vec![2; 300_000]);
    assert_eq!(fs::read(drive.path("first")).unwrap(), first);
    drive.fake.faults().clear();
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    let third = vec![4; 900_000];
    fs::write(drive.path("third"), &third).unwrap();
    drive.ends_with(&[
        ("there", b"as it was"),
        ("first", &first),
        ("second", &second),
        ("third", &third),
    ]);
}

#[test]
fn a_full_disk_is_told_to_the_writer_and_nothing_is_lost() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .clock(CLOCK)
        .config(|config| config.enforce_rules = true)
        .start()
        .unwrap();
    fake.account().add_bytes(0, "there", "as it was");
    let options = ["--account", "failures-disk", "--staging-size", "1GiB"];
    let mut mount = Mount::prepared(&fake, Some(CLOCK), &options);
    if !mount.keep_state_on_a_disk_of("48m") {
        return;
    }
    mount.start();
    let drive = Drive { fake, mount };
    drive.hold_up();
    let before = vec![1; 1_000_000];
    fs::write(drive.path("before"), &before).unwrap();

    // By what is staged.
    let mut file = File::create(drive.path("large")).unwrap();
    let refused = (0..64).find_map(|_| file.write_all(&vec![2; 1 << 20]).err());
    assert_eq!(refused.unwrap().raw_os_error(), Some(libc::ENOSPC));
    drop(file);
    assert_eq!(fs::read(drive.path("before")).unwrap(), before);
    fs::remove_file(drive.path("large")).unwrap();

    // By others, to the last byte: what is closed cannot be written down.
    let filler = drive.mount.state_dir().join("filler");
    let fill = || {
        let mut file = File::create(&filler).unwrap();
        for piece in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    };
    eventually("the room of the large file is given back", || {
        fs::write(&filler, vec![0; 24 << 20]).is_ok()
    });
    fill();
    let mut refusals = 0;
    for number in 0..40 {
        let file = File::create(drive.path(&format!("small {number}")));
        let closed = file.and_then(|mut file| {
            file.write_all(&vec![3; 30_000])?;
            close(file)
        });
        if let Err(error) = closed {
            let told = error.raw_os_error();
            assert_eq!(told, Some(libc::ENOSPC), "{error}");
            refusals += 1;
        }
    }
    assert!(refusals > 0, "a full disk was not noticed");
    // It is shown, and goes on by itself once there is room.
    let shown = names(&drive.mount.dir()).unwrap();
    let kept = shown.iter().filter(|name| name.starts_with("small"));
    let kept: Vec<String> = kept.cloned().collect();
    let small: Vec<(String, Vec<u8>)> = kept
        .into_iter()
        .map(|name| {
            let bytes = fs::read(drive.path(&name)).unwrap();
            (name, bytes)
        })
        .collect();
    assert!(
        small
            .iter()
            .all(|(_, bytes)| bytes.is_empty() || *bytes == vec![3; 30_000])
    );
    fs::remove_file(&filler).unwrap();
    drive.fake.faults().clear();
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    let mut wanted: Vec<(&str, &[u8])> = vec![("there", b"as it was"), ("before", &before)];
    let full = small.iter().filter(|(_, bytes)| !bytes.is_empty());
    wanted.extend(full.map(|(name, bytes)| (&**name, &**bytes)));
    drive.ends_with(&wanted);
}

#[test]
fn a_key_that_is_revoked_while_something_is_sent_loses_nothing() {
    let account = "failures-key";
    let Some(drive) = drive(account, &[], |_| {}) else {
        return;
    };
    let slow = Fault::on("upload.cgi", FaultKind::Slow { seconds: 60.0 });
    drive.fake.faults().add(slow);
    fs::write(drive.path("there"), "changed").unwrap();
    eventually("it is being sent", || drive.fake.count("upload.cgi") == 1);
    std::thread::sleep(Duration::from_millis(300));
    let key = drive.fake.key();
    drive
        .fake
        .account()
        .change_key("Another-Key_0123456789abcdefghi=");
    fs::write(drive.path("new"), "new").unwrap();
    // A node refuses in words of its own, whoever asks for one.
    is_given_up(&drive, "new", "refused");
    // What was being sent is there, but the one it replaces cannot be removed.
    is_given_up(&drive, "there", "key");
    is_left_alone(&drive);
    assert_eq!(drive.fake.count("upload.cgi"), 2);
    assert_eq!(drive.fake.count("file/rm"), 1);
    drive.fake.account().change_key(&key);
    drive.fake.faults().clear();
    retry_all(&drive, account);
    assert_eq!(drive.fake.count("upload.cgi"), 3);
    drive.ends_with(&[("there", b"changed"), ("new", b"new")]);
}

#[test]
fn a_name_that_is_refused_holds_nobody_else_up() {
    let account = "failures-name";
    let Some(drive) = drive(account, &[], |_| {}) else {
        return;
    };
    let refused = FaultKind::Ko {
        code: 403,
        message: "Bad filename".to_owned(),
    };
    drive
        .fake
        .faults()
        .add(Fault::on("upload.cgi", refused).named("odd"));
    for name in ["a", "odd", "z"] {
        fs::write(drive.path(name), name).unwrap();
    }
    is_given_up(&drive, "odd", "Bad filename");
    eventually("the others are there", || {
        ["a", "z"].iter().all(|name| state(&drive, name) == "clean")
    });
    is_left_alone(&drive);
    assert!(drive.fake.count("upload.cgi") <= 4);
    // Another name is another try.
    fs::rename(drive.path("odd"), drive.path("even")).unwrap();
    drive.ends_with(&[
        ("there", b"as it was"),
        ("a", b"a"),
        ("even", b"odd"),
        ("z", b"z"),
    ]);
}

#[test]
fn a_folder_that_is_refused_keeps_nobody_waiting() {
    let account = "failures-folder";
    let Some(drive) = drive(account, &["--upload", "wait"], |_| {}) else {
        return;
    };
    let refused = FaultKind::Ko {
        code: 403,
        message: "Bad folder name".to_owned(),
    };
    drive.fake.faults().add(Fault::on("folder/mkdir", refused));
    fs::create_dir(drive.path("odd")).unwrap();
    let mut file = File::create(drive.path("odd/file")).unwrap();
    file.write_all(b"file").unwrap();
    // Not after the four hours that an upload may take.
    assert_eq!(errno(close(file)), libc::EIO);
    is_given_up(&drive, "odd", "Bad folder name");
    is_left_alone(&drive);
    drive.fake.faults().clear();
    retry_all(&drive, account);
    drive.ends_with(&[("there", b"as it was"), ("odd/file", b"file")]);
}

#[test]
fn a_file_larger_than_the_service_takes_is_told_to_the_writer() {
    let Some(drive) = drive("failures-large", &[], |_| {}) else {
        return;
    };
    let file = File::create(drive.path("sparse")).unwrap();
    file.set_len(300_000_000_000).unwrap();
    assert_eq!(errno(file.set_len(300_000_000_001)), libc::EFBIG);
    let beyond = std::os::unix::fs::FileExt::write_at(&file, b"x", 300_000_000_000);
    assert_eq!(errno(beyond), libc::EFBIG);
    file.set_len(3).unwrap();
    drop(file);
    drive.ends_with(&[("there", b"as it was"), ("sparse", &[0; 3])]);
}

/// What became of an upload nobody heard the end of is looked for by name, size and hash; a file with all of
/// these may be another's.
#[test]
fn what_another_file_stored_is_not_taken_for_an_upload_of_unknown_outcome() {
    let Some(mut drive) = drive("failures-alike", &[], |_| {}) else {
        return;
    };
    let lost = Fault::on("upload.cgi", FaultKind::Reset).once();
    drive.fake.faults().add(lost);
    let (alike, other) = ([b'x'; 5000], [b'y'; 7000]);
    fs::write(drive.path("c"), alike).unwrap();
    let uploads = |drive: &Drive| {
        let calls = drive.fake.log().into_iter();
        calls.filter(|it| it.endpoint == "upload.cgi").count()
    };
    eventually("it was lost", || uploads(&drive) == 1);
    // A killed process hears nothing, and its successor looks late.
    fs::rename(drive.path("c"), drive.path("d")).unwrap();
    fs::write(drive.path("d"), other).unwrap();
    fs::write(drive.path("c"), alike).unwrap();
    drive.mount.signal("KILL");
    drive.mount.wait();
    drive.mount.start();
    drive.ends_with(&[("c", &alike), ("d", &other), ("there", b"as it was")]);
}

/// A file that was stored a moment ago may be unknown for a while, also to whoever sends a part of it anew.
#[test]
fn what_a_changed_file_needs_of_the_account_may_be_missing_there_for_a_moment() {
    let Some(drive) = drive("failures-base", &[], |_| {}) else {
        return;
    };
    let missing = FaultKind::Ko {
        code: 404,
        message: "Resource not found #469".to_owned(),
    };
    let missing = Fault::on("download/get_token", missing).times(2);
    drive.fake.faults().add(missing);
    let mut how = fs::OpenOptions::new();
    let file = how.write(true).open(drive.path("there")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"X", 3).unwrap();
    close(file).unwrap();
    let asked = |drive: &Drive| {
        let calls = drive.fake.log().into_iter();
        calls
            .filter(|it| it.endpoint == "download/get_token")
            .count()
    };
    eventually("it was missing twice", || asked(&drive) > 2);
    drive.ends_with(&[("there", b"as Xt was")]);
}
