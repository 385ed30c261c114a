//! Download URLs (API reference 7).

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fake_1fichier::{ExpiredForm, Fake, Shape, content};
use serde_json::json;

use crate::client::{authority, call, connect, get, range, token};

fn start() -> (Fake, String) {
    let fake = Fake::builder().start().expect("a fake");
    let url = fake.account().add_synthetic(0, "film é.mkv", 1_000_000, 7);
    (fake, url)
}

fn expected(offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    content::fill(7, offset, &mut bytes);
    bytes
}

#[test]
fn whole_and_in_parts() {
    let (fake, url) = start();
    let path = token(&fake, &url, 0);
    let whole = get(&fake, "GET", &path, "").expect("an answer");
    assert_eq!((whole.status, whole.body.len()), (200, 1_000_000));
    assert!(whole.body == expected(0, 1_000_000));
    assert_eq!(
        whole.header("content-disposition"),
        Some("attachment; filename=\"film é.mkv\"")
    );
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );

    for (spec, from, to) in [
        ("0-0", 0, 0),
        ("13-99", 13, 99),
        ("999990-", 999_990, 999_999),
        ("-5", 999_995, 999_999),
        ("999999-2000000", 999_999, 999_999),
    ] {
        let part = range(&fake, &path, spec).expect("an answer");
        assert_eq!(part.status, 206, "{spec}");
        assert_eq!(
            part.header("content-range"),
            Some(format!("bytes {from}-{to}/1000000").as_str())
        );
        assert_eq!(
            part.body,
            expected(from, usize::try_from(to - from + 1).expect("small")),
            "{spec}"
        );
    }
    let beyond = range(&fake, &path, "1000000-").expect("an answer");
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */1000000"))
    );
    assert_eq!(
        range(&fake, &path, "0-1,4-5").expect("an answer").status,
        416
    );
    let head = get(&fake, "HEAD", &path, "").expect("an answer");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("1000000"))
    );
    assert_eq!(
        get(&fake, "POST", &path, "").expect("an answer").status,
        405
    );
    assert_eq!(fake.count_downloads(), 10);
    assert!(fake.violations().is_empty());
}

#[test]
fn far_offsets_of_a_film_cost_nothing() {
    let fake = Fake::builder().start().expect("a fake");
    let url = fake.account().add_synthetic(0, "film", 40_000_000_000, 7);
    let path = token(&fake, &url, 0);
    let part = range(&fake, &path, "39999999000-39999999999").expect("an answer");
    assert_eq!(part.body, expected(39_999_999_000, 1000));
}

#[test]
fn inline_shows_the_type() {
    let (fake, url) = start();
    let answer = call(
        &fake,
        "download/get_token",
        &json!({ "url": url, "inline": 1 }),
    )
    .json();
    let path = answer["url"]
        .as_str()
        .expect("a URL")
        .trim_start_matches(&fake.base_url())
        .to_owned();
    assert!(path.ends_with("?inline"), "{path}");
    let head = get(&fake, "HEAD", &path, "").expect("an answer");
    assert_eq!(head.header("content-type"), Some("video/x-matroska"));
    assert!(
        head.header("content-disposition")
            .is_some_and(|d| d.starts_with("inline"))
    );
}

#[test]
fn lifetimes() {
    let (fake, url) = start();
    let status = |path: &str| range(&fake, path, "0-9").expect("an answer").status;
    let (used, unused) = (token(&fake, &url, 0), token(&fake, &url, 0));
    assert_eq!(status(&used), 206);
    fake.clock().advance(Duration::from_secs(301));
    assert_eq!((status(&used), status(&unused)), (206, 404));
    fake.clock().advance(Duration::from_secs(1500));
    assert_eq!(status(&used), 404);
    let single = token(&fake, &url, 1);
    assert_eq!((status(&single), status(&single)), (206, 404));
    let deleted = token(&fake, &url, 0);
    fake.account().remove(&url);
    assert_eq!(status(&deleted), 404);
    assert_eq!(status("/p1111111111"), 404);
}

#[test]
fn a_dead_url_has_many_faces() {
    let (fake, url) = start();
    let path = token(&fake, &url, 1);
    range(&fake, &path, "0-9").expect("an answer");
    for (form, status) in [
        (ExpiredForm::NotFound, 404),
        (ExpiredForm::Gone, 410),
        (ExpiredForm::Forbidden, 403),
        (ExpiredForm::Page, 200),
        (ExpiredForm::Redirect, 302),
    ] {
        fake.set_config(|c| c.expired_form = form);
        let answer = range(&fake, &path, "0-9").expect("an answer");
        assert_eq!(answer.status, status);
        assert!(
            answer
                .header("content-type")
                .is_some_and(|t| t.starts_with("text/html"))
        );
    }
}

#[test]
fn the_key_has_no_business_here() {
    let (fake, url) = start();
    let path = token(&fake, &url, 0);
    get(&fake, "HEAD", &path, "Authorization: Bearer x\r\n").expect("an answer");
    assert_eq!(fake.violations()[0].rule, "key_on_download");
    fake.clear_log();
    fake.set_config(|c| c.key_on_download_is_violation = false);
    get(&fake, "HEAD", &path, "Authorization: Bearer x\r\n").expect("an answer");
    assert!(fake.violations().is_empty());
    assert_eq!(fake.log()[0].notes, ["key_on_download"]);
}

#[test]
fn one_url_may_serve_one_request_at_a_time() {
    let fake = Fake::builder()
        .config(|c| c.token_parallel = 1)
        .start()
        .expect("a fake");
    let url = fake.account().add_synthetic(0, "film", 1 << 40, 1);
    let path = token(&fake, &url, 0);
    let mut first = connect(&fake);
    write!(
        first,
        "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
        authority(&fake)
    )
    .expect("sent");
    first.read_exact(&mut [0; 100]).expect("it began");
    assert_eq!(range(&fake, &path, "0-9").expect("an answer").status, 404);
    drop(first);
    while fake.connections().downloads > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(range(&fake, &path, "0-9").expect("an answer").status, 206);
}

#[test]
fn a_mirrored_folder_is_served_and_hashed() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = vec![3; 2_000_000];
    std::fs::create_dir(dir.path().join("sub")).expect("made");
    std::fs::write(dir.path().join("sub/a.bin"), &data).expect("written");
    std::fs::write(dir.path().join("empty"), b"").expect("written");
    let fake = Fake::builder().start().expect("a fake");
    assert_eq!(fake.account().add_dir(0, dir.path()).expect("readable"), 1);
    let file = fake.account().files_at("sub/a.bin").remove(0);
    assert!(
        get(&fake, "GET", &token(&fake, &file.url, 0), "")
            .expect("an answer")
            .body
            == data
    );
    assert_ne!(file.checksum, content::whirlpool(&data));
    fake.account().hash_all();
    assert_eq!(
        fake.account().file(&file.url).expect("there").checksum,
        content::whirlpool(&data)
    );
}

#[test]
fn only_customers_download() {
    let (fake, url) = start();
    fake.account().set_offer(0);
    let answer = call(&fake, "download/get_token", &json!({ "url": url }));
    assert!(answer.message().contains("Must be a customer"));
}

#[test]
fn bandwidth_and_delays_are_kept_and_logged() {
    let (fake, url) = start();
    let path = token(&fake, &url, 0);
    fake.set_shape(Shape {
        first_byte_ms: 50.0,
        connection_bytes_per_second: 2e6,
        total_bytes_per_second: 3e6,
        ..Shape::default()
    });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                assert!(
                    get(&fake, "GET", &path, "").expect("an answer").body == expected(0, 1_000_000)
                );
            });
        }
    });
    // 2 MB through 3 MB/s; an upper bound would be a matter of the machine's load.
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds > 0.70, "{seconds}");
    for entry in fake.log().iter().filter(|e| e.endpoint == "download") {
        assert!(
            entry.delays.latency >= 0.05 && entry.delays.bandwidth > 0.3,
            "{:?}",
            entry.delays
        );
        assert_eq!(entry.bytes_sent, 1_000_000);
    }
}
