//! Every fault once.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use fake_1fichier::{ExpiredForm, Fake, Fault, FaultKind, Profile};
use serde_json::{Value, json};

use crate::client::{
    authority, call, connect, file_part, get, range, report, token, try_call, upload,
};

fn start() -> (Fake, String) {
    let fake = Fake::builder()
        .config(|c| c.rate_limit = 1000)
        .start()
        .expect("a fake");
    let url = fake.account().add_synthetic(0, "film.mkv", 300_000, 7);
    (fake, url)
}

fn once(fake: &Fake, endpoint: &str, kind: FaultKind) {
    fake.faults().add(Fault::on(endpoint, kind).once());
}

#[test]
fn answers_in_place_of_the_call() {
    let (fake, _) = start();
    let cases = [
        (FaultKind::Status { code: 502 }, 502, "<html"),
        (FaultKind::Maintenance, 503, "maintenance"),
        (FaultKind::Flood { lock: false }, 403, "Flood detected"),
        (FaultKind::IpLocked { lock: false }, 403, "IP Locked"),
        (
            FaultKind::Ko {
                code: 403,
                message: "Owner locked #649".into(),
            },
            403,
            "Owner locked",
        ),
        (FaultKind::KeyRefused, 403, "No such user"),
        (FaultKind::HtmlOk, 200, "<html"),
    ];
    for (kind, status, text) in cases {
        once(&fake, "folder/mkdir", kind);
        let answer = call(&fake, "folder/mkdir", &json!({ "name": "x" }));
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(text), "{}", answer.text());
    }
    assert_eq!(fake.account().folder_at("x"), None);
    assert!(fake.log().iter().all(|e| e.fault.is_some()));
    assert!(call(&fake, "folder/mkdir", &json!({ "name": "x" })).is_ok());
}

#[test]
fn a_flood_fault_can_lock() {
    let (fake, _) = start();
    once(&fake, "api", FaultKind::Flood { lock: true });
    call(&fake, "folder/ls", &json!({}));
    assert!(
        call(&fake, "folder/ls", &json!({}))
            .message()
            .contains("Flood")
    );
    assert_eq!(fake.violations()[0].rule, "flood_lock");
    fake.unlock();
    once(&fake, "api", FaultKind::IpLocked { lock: true });
    call(&fake, "folder/ls", &json!({}));
    assert_eq!(call(&fake, "folder/ls", &json!({})).text(), "IP Locked");
}

#[test]
fn broken_connections() {
    let (fake, _) = start();
    let mkdir =
        |name: &str| try_call(&fake, "folder/mkdir", &json!({ "name": name })).map(|a| a.status);
    once(&fake, "folder/mkdir", FaultKind::Reset);
    assert_eq!(
        mkdir("a").expect_err("reset").kind(),
        ErrorKind::ConnectionReset
    );
    once(&fake, "folder/mkdir", FaultKind::Close);
    assert_eq!(
        mkdir("b").expect_err("closed").kind(),
        ErrorKind::UnexpectedEof
    );
    once(&fake, "folder/mkdir", FaultKind::LostReply);
    assert_eq!(
        mkdir("c").expect_err("reset").kind(),
        ErrorKind::ConnectionReset
    );
    let there = ["a", "b", "c"].map(|name| fake.account().folder_at(name).is_some());
    assert_eq!(there, [false, false, true]);
}

#[test]
fn broken_json() {
    let (fake, _) = start();
    once(&fake, "folder/ls", FaultKind::MalformedJson);
    let answer = call(&fake, "folder/ls", &json!({}));
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
}

#[test]
fn a_slow_answer_and_none_at_all() {
    let (fake, _) = start();
    once(&fake, "folder/ls", FaultKind::Slow { seconds: 0.1 });
    assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    assert!(fake.log()[0].delays.latency >= 0.1);
    once(&fake, "download", FaultKind::Stall);
    let mut stream = connect(&fake);
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    write!(
        stream,
        "GET /p1 HTTP/1.1\r\nHost: {}\r\n\r\n",
        authority(&fake)
    )
    .expect("sent");
    let error = stream.read(&mut [0; 10]).expect_err("nothing comes");
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    assert_eq!(fake.connections().downloads, 1);
    drop(stream);
    for _ in 0..500 {
        if fake.connections().downloads == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("the stalled request outlives its connection");
}

#[test]
fn downloads_that_end_early() {
    let (fake, url) = start();
    let path = token(&fake, &url, 0);
    let read = |kind: FaultKind| {
        once(&fake, "download", kind);
        let mut stream = connect(&fake);
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
            authority(&fake)
        )
        .expect("sent");
        let mut all = Vec::new();
        let result = stream.read_to_end(&mut all).map_err(|e| e.kind());
        let head = all
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(0, |at| at + 4);
        assert!(
            String::from_utf8_lossy(&all[..head])
                .to_ascii_lowercase()
                .contains("content-length: 300000")
        );
        (result.map(|_| ()), all.len() - head)
    };
    assert_eq!(read(FaultKind::CloseAfter { bytes: 1000 }), (Ok(()), 1000));
    let (stalled, bytes) = read(FaultKind::StallAfter { bytes: 2000 });
    assert!(stalled.is_err_and(|e| matches!(e, ErrorKind::WouldBlock | ErrorKind::TimedOut)));
    assert_eq!(bytes, 2000);
    let (reset, bytes) = read(FaultKind::ResetAfter { bytes: 3000 });
    assert_eq!(reset, Err(ErrorKind::ConnectionReset));
    assert!(bytes <= 3000);
}

#[test]
fn downloads_that_lie() {
    let (fake, url) = start();
    let path = token(&fake, &url, 0);
    let read = |kind: FaultKind| {
        once(&fake, "download", kind);
        range(&fake, &path, "1000-1999").expect("an answer")
    };
    let good = range(&fake, &path, "1000-1999").expect("an answer");
    let short = read(FaultKind::ShortBody { bytes: 10 });
    assert_eq!(
        (short.body.as_slice(), short.header("content-range")),
        (&good.body[..10], good.header("content-range"))
    );
    let start = read(FaultKind::WrongRangeStart);
    assert_eq!(
        start.header("content-range"),
        Some("bytes 1001-2000/300000")
    );
    let total = read(FaultKind::WrongRangeTotal);
    assert_eq!(
        total.header("content-range"),
        Some("bytes 1000-1999/300001")
    );
    let whole = read(FaultKind::IgnoreRange);
    assert_eq!((whole.status, whole.body.len()), (200, 300_000));
    let corrupt = read(FaultKind::Corrupt { at: 5 });
    let wrong: Vec<usize> = (0..1000)
        .filter(|i| corrupt.body[*i] != good.body[*i])
        .collect();
    assert_eq!(wrong, [5]);
    assert_eq!(
        read(FaultKind::ExpiredToken {
            form: ExpiredForm::Gone
        })
        .status,
        410
    );
    assert_eq!(
        range(&fake, &path, "1000-1999").expect("an answer").body,
        good.body
    );
}

#[test]
fn uploads_that_break_or_vanish() {
    let (fake, _) = start();
    let data = vec![1; 200_000];
    let stored = |name: &str| fake.account().files_at(name).len();
    for kind in [
        FaultKind::ResetAfter { bytes: 50_000 },
        FaultKind::CloseAfter { bytes: 50_000 },
        FaultKind::Reset,
    ] {
        once(&fake, "upload.cgi", kind);
        assert!(upload(&fake, &[file_part("a", &data)]).is_err());
    }
    once(&fake, "upload.cgi", FaultKind::Quota);
    assert_eq!(
        upload(&fake, &[file_part("a", &data)])
            .expect("an answer")
            .status,
        200
    );
    once(&fake, "upload.cgi", FaultKind::Status { code: 500 });
    assert_eq!(
        upload(&fake, &[file_part("a", &data)])
            .expect("an answer")
            .status,
        500
    );
    assert_eq!(stored("a"), 0);
    once(&fake, "upload.cgi", FaultKind::LostReply);
    assert!(upload(&fake, &[file_part("a", &data)]).is_err());
    assert_eq!(stored("a"), 1);
    once(&fake, "upload.cgi", FaultKind::Infected);
    let done = upload(&fake, &[file_part("virus", &data)]).expect("an answer");
    assert_eq!(
        report(&fake, &done).json()["links"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(stored("virus"), 0);
    once(&fake, "end.pl", FaultKind::EmptyReport);
    let done = upload(&fake, &[file_part("b", &data)]).expect("an answer");
    assert_eq!(report(&fake, &done).json()["links"], json!([]));
    assert_eq!(stored("b"), 1);
}

#[test]
fn an_outage_breaks_what_runs_and_what_comes() {
    let fake = Fake::builder().start().expect("a fake");
    let url = fake.account().add_synthetic(0, "film", 1 << 40, 1);
    let path = token(&fake, &url, 0);
    let mut running = connect(&fake);
    write!(
        running,
        "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
        authority(&fake)
    )
    .expect("sent");
    running.read_exact(&mut [0; 1000]).expect("it began");
    fake.set_config(|c| c.offline = true);
    let end = std::io::copy(&mut running, &mut std::io::sink());
    assert_eq!(end.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert!(try_call(&fake, "folder/ls", &json!({})).is_err());
    assert_eq!(
        get(&fake, "GET", "/_admin/state", "")
            .expect("an answer")
            .status,
        200
    );
    fake.set_config(|c| c.offline = false);
    assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    assert_eq!(
        fake.count("folder/ls"),
        1,
        "what came during the outage never arrived"
    );
}

#[test]
fn a_stalled_upload_is_never_answered() {
    let (fake, _) = start();
    once(&fake, "upload.cgi", FaultKind::StallAfter { bytes: 10 });
    let id = crate::client::node(&fake);
    let part = file_part("a", &[1; 1000]);
    let head = crate::client::upload_head(&fake, &id, "Content-Length: 100000\r\n");
    let mut stream = connect(&fake);
    stream
        .write_all(&[head.into_bytes(), part].concat())
        .expect("sent");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let error = stream.read(&mut [0; 10]).expect_err("nothing comes");
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    assert!(fake.account().files_at("a").is_empty());
}

#[test]
fn faults_by_name_meet_only_that_name() {
    let (fake, url) = start();
    fake.faults()
        .add(Fault::on("*", FaultKind::Status { code: 500 }).named("film"));
    assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    assert_eq!(call(&fake, "file/info", &json!({ "url": url })).status, 500);
    assert_eq!(
        upload(&fake, &[file_part("a", b"1"), file_part("my film", b"1")])
            .expect("an answer")
            .status,
        500
    );
    assert_eq!(
        upload(&fake, &[file_part("a", b"1")])
            .expect("an answer")
            .status,
        302
    );
    fake.faults().clear();
    assert!(call(&fake, "file/info", &json!({ "url": url })).is_ok());
}

#[test]
fn the_hostile_profile_fails_now_and_then_and_can_be_survived() {
    let fake = Fake::builder()
        .profile(Profile::Hostile)
        .clock("1000")
        .start()
        .expect("a fake");
    let url = fake.account().add_synthetic(0, "film.mkv", 50_000, 7);
    let info = json!({ "url": url });
    let (mut good, mut bad) = (0, 0);
    for _ in 0..120 {
        match crate::client::patient_call(&fake, "file/info", &info, Duration::from_millis(100)) {
            Ok(answer)
                if answer.status == 200
                    && answer.body.starts_with(b"{")
                    && answer.body.ends_with(b"}") =>
            {
                good += 1;
            }
            _ => bad += 1,
        }
        // The rules run in virtual time, and so does the lock.
        fake.unlock();
        fake.clock().advance(Duration::from_secs(60));
    }
    assert!(bad >= 5 && good >= 60, "{good} good, {bad} bad");
}

#[test]
fn the_admin_interface_does_all_that_too() {
    let (fake, _) = start();
    let post = |path: &str, body: Value| {
        let body = body.to_string();
        let (host, length) = (authority(&fake), body.len());
        let text = format!(
            "POST /_admin/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        crate::client::raw(&fake, text.as_bytes()).expect("an answer")
    };
    let read = |path: &str| {
        get(&fake, "GET", &format!("/_admin/{path}"), "")
            .expect("an answer")
            .json()
    };
    let added = post(
        "account",
        json!({ "op": "add", "path": "x/y.bin", "size": 5, "date": "2025-01-01 00:00:00" }),
    );
    let url = added.json()["url"].as_str().expect("a URL").to_owned();
    assert_eq!(
        post(
            "account",
            json!({ "op": "rename", "url": url, "name": "z" })
        )
        .status,
        200
    );
    assert_eq!(fake.account().files_at("x/z").len(), 1);
    assert_eq!(read("tree")[1]["files"][0]["date"], "2025-01-01 00:00:00");
    assert_eq!(
        post(
            "faults",
            json!({ "endpoint": "folder/ls", "kind": "maintenance", "times": 1 })
        )
        .status,
        200
    );
    assert_eq!(call(&fake, "folder/ls", &json!({})).status, 503);
    assert_eq!(post("config", json!({ "offer": 3 })).status, 200);
    assert_eq!(post("config", json!({ "offers": 3 })).status, 400);
    assert_eq!(fake.config().offer, 3);
    let before = read("state")["clock"]["now"].as_f64().expect("a time");
    post("clock", json!({ "advance": 100.0 }));
    assert!(read("state")["clock"]["now"].as_f64().expect("a time") >= before + 100.0);
    assert_eq!(read("log").as_array().map(Vec::len), Some(1));
    assert_eq!(read("log?since=1"), json!([]));
    post("reset-log", json!(null));
    assert_eq!(read("log"), json!([]));
    assert_eq!(post("nothing", json!({})).status, 404);
    assert_eq!(
        post("account", json!({ "op": "rm", "url": "x" })).status,
        400
    );
}
