//! What a mount shows of itself while something is on its way: status, `--watch`, metrics, log.
use crate::harness::{self, Drive, assert_well_behaved, can_mount, eventually};
use crate::schema;
use fake_1fichier::{Fault, FaultKind, Shape};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Bytes a second of one connection: what is on its way stays there for a while.
const SLOW: f64 = 1e6;

/// Bytes of what is on its way.
const LARGE: usize = 12_000_000;

/// A mount on a slow line with a status page, in real time; its film takes some seconds each way.
pub(crate) fn slow_drive(account: &str, options: &[&str]) -> Option<Drive> {
    let mut all = vec![
        "--account",
        account,
        "--settle",
        "0s",
        "--metrics",
        "127.0.0.1:0",
    ];
    all.extend(options);
    let drive = Drive::with("1", &all, |account| {
        account.add_synthetic(0, "film.mkv", LARGE as u64, 7);
    })?;
    drive.fake.set_shape(Shape {
        connection_bytes_per_second: SLOW,
        ..Shape::default()
    });
    Some(drive)
}

/// The line is fast again.
pub(crate) fn hurry(drive: &Drive) {
    drive.fake.set_shape(Shape::default());
}

fn mount_of(drive: &Drive) -> Value {
    let output = drive.run_at(&["status", "--json"], "");
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    schema::check("status", &document);
    document["mounts"][0].take()
}

pub(crate) fn status_of(drive: &Drive) -> Value {
    mount_of(drive)["status"].take()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn what_is_on_its_way_is_told_with_its_speed() {
    let Some(drive) = slow_drive("under-way", &["--streams-per-file", "1"]) else {
        return;
    };
    let film = drive.path("film.mkv");
    let reader = std::thread::spawn(move || harness::read_file(&film).unwrap().len());
    fs::write(drive.path("up.bin"), vec![7; LARGE]).unwrap();
    let mut status = Value::Null;
    eventually("both are on their way", || {
        status = status_of(&drive);
        let moves = |list: &Value| {
            let one = &list[0];
            one["bytes_per_second"].as_u64() > Some(0) && one["path"].is_string()
        };
        moves(&status["writing"]["uploads"]) && moves(&status["reading"]["downloads"])
    });
    let (up, down) = (
        &status["writing"]["uploads"][0],
        &status["reading"]["downloads"][0],
    );
    assert_eq!(
        (&up["path"], &up["bytes"]),
        (&"up.bin".into(), &Value::from(LARGE))
    );
    assert_eq!(
        (&down["path"], &down["bytes"]),
        (&"film.mkv".into(), &Value::from(LARGE))
    );
    assert_eq!(status["writing"]["uploading"], 1);
    assert_eq!(
        (&down["readers"], &status["reading"]["downloading"]),
        (&1.into(), &1.into())
    );
    for one in [up, down] {
        // The line gives a megabyte a second; sockets hold some at first.
        let speed = one["bytes_per_second"].as_u64().unwrap();
        assert!((10_000..=12_000_000).contains(&speed), "{one}");
    }
    let page = text(&drive.run_at(&["status"], ""));
    for says in [
        "Upload     up.bin: ",
        " % of 11.4 MiB, ",
        "Download   film.mkv: ",
        "/s now",
        "in the last hour, which",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    hurry(&drive);
    assert_eq!(reader.join().unwrap(), LARGE);
    text(&drive.run_at(&["sync"], ""));
    let status = status_of(&drive);
    assert!(
        status["writing"]["uploaded_bytes"].as_u64() >= Some(LARGE as u64),
        "{status}"
    );
    assert_eq!(status["writing"]["uploads"], Value::Array(Vec::new()));
    assert!(status["calls"]["last_hour"].as_u64() >= Some(3), "{status}");
    assert!(
        status["calls"]["hour_most"].as_u64() > Some(1000),
        "{status}"
    );
    let log = drive.mount.log();
    assert!(log.contains("uploaded up.bin (11.4 MiB in "), "{log}");
    let mut drive = drive;
    assert!(drive.mount.umount().success());
    assert_well_behaved(&drive.fake);
}

/// The calls of a mount are known to the next one.
#[test]
fn the_budget_of_the_hour_outlives_the_mount() {
    let Some(mut drive) = Drive::with("1", &["--account", "budget"], |_| {}) else {
        return;
    };
    harness::names(&drive.mount.dir()).unwrap();
    let before = status_of(&drive)["calls"]["last_hour"].as_u64().unwrap();
    assert!(before >= 1);
    assert!(drive.mount.umount().success());
    drive.mount.start();
    let after = status_of(&drive);
    let made: u64 = after["calls"]["made"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert!(
        after["calls"]["last_hour"].as_u64() >= Some(before + made),
        "{before}: {after}"
    );
    assert!(drive.mount.umount().success());
    assert_well_behaved(&drive.fake);
}

/// Without a terminal the whole is written again and again, until the mount has gone.
#[test]
fn a_watch_without_a_terminal_tells_all_of_it_each_time() {
    let Some(mut drive) = Drive::with("1", &["--account", "watched"], |_| {}) else {
        return;
    };
    let watch = |arguments: &[&str]| {
        let mut command = drive.mount.command();
        command.args(["status", "--watch=200ms"]).args(arguments);
        let dir = drive.mount.dir();
        let child = command.arg(dir).stdout(Stdio::piped()).stdin(Stdio::null());
        child.spawn().unwrap()
    };
    let mut json = watch(&["--json"]);
    let mut plain = watch(&[]);
    let mut lines = BufReader::new(json.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let document: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        schema::check("status", &document);
        assert_eq!(document["mounts"][0]["answers"], true);
    }
    // A reader that goes ends it.
    let mut headless = watch(&["--json"]);
    drop(headless.stdout.take());
    assert!(headless.wait().unwrap().success());
    assert!(drive.mount.umount().success());
    assert!(lines.all(|line| line.is_ok()) && json.wait().unwrap().success());
    let mut said = String::new();
    plain
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(plain.wait().unwrap().success());
    assert!(
        said.ends_with("\nunmounted\n") && !said.contains('\x1b'),
        "{said}"
    );
    assert!(said.matches("  Process ").count() >= 1, "{said}");
    assert_well_behaved(&drive.fake);
}

/// Shows what was written on a terminal of that size, as far as what is used of it goes, and returns what it
/// shows in the end. Fails when something is written beyond its bounds.
fn terminal(written: &str, (width, height): (usize, usize)) -> Vec<String> {
    let mut cells = vec![vec![' '; width]; height];
    let (mut row, mut column) = (0, 0);
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(chars.next(), Some('['), "{written:?}");
                let mut code = String::new();
                while !code.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    code.extend(chars.next());
                }
                let (number, what) = code.split_at(code.len() - 1);
                match what {
                    "A" => row -= number.parse::<usize>().unwrap(),
                    "K" => cells[row][column..].fill(' '),
                    "J" => {
                        cells[row][column..].fill(' ');
                        cells[row + 1..].iter_mut().for_each(|line| line.fill(' '));
                    }
                    other => panic!("{number}{other} in {written:?}"),
                }
            }
            c => {
                assert!(!c.is_control(), "{c:?} in {written:?}");
                assert!(column < width, "a line is too wide: {written:?}");
                cells[row][column] = c;
                column += 1;
            }
        }
        assert!(row < height, "it scrolled: {written:?}");
    }
    let lines = cells.iter().map(|line| line.iter().collect::<String>());
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// On a terminal it is drawn in place: never wider, never higher, and obeying no name.
#[test]
fn a_watch_on_a_terminal_stays_in_its_bounds() {
    let Some(mut drive) = slow_drive("watched-on-a-terminal", &[]) else {
        return;
    };
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("!!! SKIPPED: there is no script(1), --watch on a terminal was not tested !!!");
        return;
    }
    let evil = "\u{1b}[2Jevil\u{202e}\n.bin";
    fs::write(drive.path(evil), vec![7; LARGE]).unwrap();
    eventually("it is on its way", || {
        status_of(&drive)["writing"]["uploads"][0]["bytes_per_second"].as_u64() > Some(0)
    });
    let run = format!(
        "stty cols 60 rows 20; exec '{}' status --watch=200ms '{}'",
        env!("CARGO_BIN_EXE_fichierfs"),
        drive.mount.dir().display()
    );
    let mut command = Command::new("script");
    command
        .args(["-qec", &run, "/dev/null"])
        .env("TERM", "xterm")
        .env("NO_COLOR", "1");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    hurry(&drive);
    assert!(drive.mount.umount().success());
    let mut written = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut written)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let (frames, end) = written.rsplit_once("unmounted").expect("its end");
    assert_eq!(end.trim(), "");
    assert!(frames.matches("\u{1b}[J").count() >= 3, "{frames:?}");
    assert!(!frames.contains('\u{202e}'), "{frames:?}");
    // Nor is the log.
    let log = drive.mount.log();
    let uploaded: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("uploaded"))
        .collect();
    assert!(
        uploaded.len() == 1 && uploaded[0].contains("\\u{1b}[2Jevil\\u{202e}\\n.bin ("),
        "{log}"
    );
    assert!(!log.contains('\x1b'), "{log}");
    // NO_COLOR is set: nothing is painted, and the terminal takes all that comes.
    terminal(frames, (60, 20));
    let (first, _) = frames.split_once("\u{1b}[J").unwrap();
    let first = terminal(first, (60, 20));
    let row = first
        .iter()
        .find(|line| line.starts_with("  up  "))
        .expect("a row");
    assert!(row.contains("evil?") && row.contains('%'), "{first:#?}");
    assert_well_behaved(&drive.fake);
}

/// A process without a mount is shown whatever its account.
#[test]
fn a_process_that_drains_is_shown_without_being_named() {
    let Some(mut drive) = slow_drive("some-other", &[]) else {
        return;
    };
    fs::write(drive.path("up.bin"), vec![7; LARGE]).unwrap();
    let mut child = drive.mount.unmount_only();
    let mut found = Value::Null;
    eventually("it is shown", || {
        let output = drive.run(&["status", "--json"]);
        let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
        schema::check("status", &document);
        let mounts = document["mounts"].as_array_mut().unwrap();
        let ours = mounts.iter_mut().find(|it| it["account"] == "some-other");
        found = ours.map_or(Value::Null, Value::take);
        found["status"]["writing"]["draining"] == true
    });
    assert_eq!(found["status"]["mount"]["pid"], child.id());
    let page = String::from_utf8(drive.run(&["status"]).stdout).unwrap();
    assert!(
        page.contains("the mount is gone, and its process goes on"),
        "{page}"
    );
    hurry(&drive);
    assert!(child.wait().unwrap().success());
    assert_well_behaved(&drive.fake);
}

/// One line for what the account does not take, with where it is and why; calls with their time for who asks.
#[test]
fn what_is_refused_and_what_calls_take_is_logged() {
    let Some(mut drive) = Drive::with("20", &["--account", "logged", "-v"], |account| {
        account.mkdir(0, "folder");
    }) else {
        return;
    };
    drive
        .fake
        .faults()
        .add(Fault::on("upload.cgi", FaultKind::Quota));
    fs::write(drive.path("folder/too large.bin"), b"bytes").unwrap();
    eventually("it is refused", || drive.writing()["failed"] == 1);
    assert!(drive.mount.umount().success());
    let log = drive.mount.log();
    let refused: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("was not taken"))
        .collect();
    assert_eq!(refused.len(), 1, "{log}");
    assert!(
        refused[0].contains(" WARN ") && refused[0].contains("folder/too large.bin"),
        "{refused:?}"
    );
    let call = log
        .lines()
        .find(|line| line.contains("folder/ls: answered in "));
    assert!(
        call.is_some_and(|line| line.contains(" DEBUG ") && line.ends_with(" ms")),
        "{log}"
    );
    assert_well_behaved(&drive.fake);
}

/// Where the page of a mount is: `127.0.0.1:PORT`.
pub(crate) fn page_of(drive: &Drive) -> String {
    let status = status_of(drive);
    let url = status["mount"]["page"].as_str().expect("a page");
    let address = url
        .strip_prefix("http://")
        .and_then(|it| it.strip_suffix('/'));
    address.expect("an address").to_owned()
}

/// Gets `path` from a mount's page.
pub(crate) fn get(address: &str, path: &str, accept: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(harness::SOON)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_and_page_tell_what_the_status_tells() {
    let Some(mut drive) = slow_drive("page", &[]) else {
        return;
    };
    let address = page_of(&drive);
    fs::write(drive.path("up.bin"), vec![7; LARGE]).unwrap();
    eventually("it is on its way", || {
        get(&address, "/metrics", "*/*").contains("\nfichierfs_uploads 1\n")
    });
    let metrics = get(&address, "/metrics", "application/openmetrics-text");
    let labels = format!(
        "fichierfs_mount_info{{account=\"page\",mountpoint=\"{}\",version=\"{}\"}} 1\n",
        drive.mount.dir().display(),
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        metrics.contains(&labels) && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("up.bin"), "a file became a label");
    let page = get(&address, "/", "text/html");
    assert!(
        page.contains("up.bin") && page.contains("<progress "),
        "{page}"
    );
    let log = drive.mount.log();
    assert!(
        log.contains(&format!("status page at http://{address}/")),
        "{log}"
    );
    hurry(&drive);
    assert!(drive.mount.umount().success());
    assert!(
        TcpStream::connect(&address).is_err(),
        "the page outlived its mount"
    );
    assert_well_behaved(&drive.fake);
}

/// Two mounts cannot have one port; the second does without, and says so.
#[test]
fn a_port_in_use_costs_the_page_and_not_the_mount() {
    if !can_mount() {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let options = ["--account", "port-in-use", "--metrics", &address];
    let Some(mut drive) = Drive::with("1", &options, |_| {}) else {
        return;
    };
    assert_eq!(status_of(&drive)["mount"]["page"], Value::Null);
    let log = drive.mount.log();
    assert!(
        log.contains(&format!("no status page at {address}")),
        "{log}"
    );
    assert!(drive.mount.umount().success());
    assert_well_behaved(&drive.fake);
}

/// A mount that takes over from a process that still uploads takes over its port, too.
#[test]
fn the_page_passes_from_one_mount_to_the_next() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let options = [
        "--account",
        "page-again",
        "--settle",
        "0s",
        "--metrics",
        &address,
    ];
    let Some(mut drive) = Drive::with("20", &options, |_| {}) else {
        return;
    };
    drive.fake.set_shape(Shape {
        // Per virtual second.
        connection_bytes_per_second: SLOW / 20.0,
        ..Shape::default()
    });
    assert_eq!(page_of(&drive), address);
    fs::write(drive.path("up.bin"), vec![7; LARGE]).unwrap();
    let mut before = drive.mount.unmount_only();
    eventually("the page knows that the mount is gone", || {
        get(&address, "/", "*/*").contains("the mount itself is gone")
    });
    drive.mount.start();
    assert!(before.wait().unwrap().success());
    assert_eq!(page_of(&drive), address);
    hurry(&drive);
    assert!(drive.mount.umount().success());
    assert_well_behaved(&drive.fake);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_mounted() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], says: &str| {
        let mut command = harness::command();
        command
            .args(arguments)
            .env("HOME", dir.path())
            .env("FICHIERFS_API_KEY", "x".repeat(32));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(
            said.contains(says) && said.lines().count() == 1,
            "{arguments:?}: {said}"
        );
    };
    for address in ["9815", "example.org:1", "127.0.0.1:70000"] {
        refused(
            &["mount", "--metrics", address, "/nowhere"],
            "127.0.0.1:PORT",
        );
    }
    for address in ["0.0.0.0:9815", "[::]:9815", "192.0.2.1:80"] {
        refused(
            &["mount", "--metrics", address, "/nowhere"],
            "--metrics-public",
        );
    }
    refused(&["status", "--watch=1ms"], "200ms");
    refused(&["status", "--watch=never"], "200ms");
    refused(&["status", "--account", "x", "/mnt"], "cannot be used with");
}
