//! Rate rules and locks (API reference 3).

use std::io::Write;
use std::time::Duration;

use fake_1fichier::{Fake, FloodText, ListingBreach, Profile};
use serde_json::json;

use crate::client::{authority, call, connect, get, read_answer, token};

fn strict() -> Fake {
    Fake::builder()
        .config(|c| c.enforce_rules = true)
        .start()
        .expect("a fake")
}

fn later(fake: &Fake, seconds: u64) {
    fake.clock().advance(Duration::from_secs(seconds));
}

#[test]
fn counted_but_not_enforced_by_default() {
    let fake = Fake::builder().start().expect("a fake");
    for _ in 0..5 {
        assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    }
    let rules: Vec<String> = fake.violations().into_iter().map(|v| v.rule).collect();
    assert!(
        rules.contains(&"rate".to_owned()) && rules.contains(&"listing".to_owned()),
        "{rules:?}"
    );
    assert_eq!(fake.log()[1].violation.as_deref(), Some("listing"));
}

#[test]
fn a_breach_locks_and_knocking_prolongs() {
    let fake = strict();
    assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    let flood = call(&fake, "folder/ls", &json!({}));
    assert_eq!(
        (
            flood.status,
            flood.message().starts_with("Flood detected: IP Locked")
        ),
        (403, true)
    );
    later(&fake, 20);
    assert!(
        call(&fake, "file/mv", &json!({}))
            .message()
            .starts_with("Flood detected")
    );
    later(&fake, 20);
    assert!(fake.locked_for().is_some());
    later(&fake, 11);
    assert!(fake.locked_for().is_none());
    assert!(call(&fake, "folder/ls", &json!({})).is_ok());
    let rules: Vec<String> = fake.violations().into_iter().map(|v| v.rule).collect();
    assert_eq!(rules, ["listing", "flood_lock"]);
}

#[test]
fn the_flood_answer_has_switches() {
    let fake = strict();
    fake.set_config(|c| {
        c.flood_status = 429;
        c.flood_text = FloodText::Apk;
        c.flood_retry_after = Some(30);
        c.hard_lock_after = 1;
    });
    call(&fake, "user/info", &json!({}));
    let flood = call(&fake, "user/info", &json!({}));
    assert_eq!(
        (flood.status, flood.header("retry-after")),
        (429, Some("30"))
    );
    assert_eq!(flood.message(), "Flood detected: User APK Locked");
    call(&fake, "user/info", &json!({}));
    let ban = call(&fake, "user/info", &json!({}));
    assert_eq!((ban.status, ban.text().as_str()), (403, "IP Locked"));
    fake.unlock();
    assert!(call(&fake, "file/ls", &json!({})).is_ok());
}

#[test]
fn an_early_listing_may_be_answered_from_memory() {
    let fake = strict();
    fake.set_config(|c| c.listing_breach = ListingBreach::Cached);
    assert!(call(&fake, "folder/ls", &json!({})).json()["files"] == 0);
    fake.account().add_bytes(0, "new", vec![1]);
    assert_eq!(call(&fake, "folder/ls", &json!({})).json()["files"], 0);
    later(&fake, 30);
    assert_eq!(call(&fake, "folder/ls", &json!({})).json()["files"], 1);
}

#[test]
fn node_requests_count_downloads_do_not() {
    let fake = Fake::builder().start().expect("a fake");
    let url = fake.account().add_bytes(0, "a", vec![1; 100]);
    let path = token(&fake, &url, 0);
    for _ in 0..5 {
        get(&fake, "GET", &path, "").expect("an answer");
    }
    assert!(fake.violations().is_empty());
    for _ in 0..3 {
        get(&fake, "GET", "/end.pl?xid=x", "").expect("an answer");
    }
    assert_eq!(
        fake.violations()
            .first()
            .map(|v| (v.rule.clone(), v.endpoint.clone())),
        Some(("rate".into(), "end.pl".into()))
    );
}

#[test]
fn too_many_downloads_at_once() {
    let fake = strict();
    fake.set_config(|c| c.download_connections = 2);
    let url = fake.account().add_synthetic(0, "film", 1 << 40, 1);
    let path = token(&fake, &url, 0);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", authority(&fake));
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&fake);
        stream.write_all(request.as_bytes()).expect("sent");
        open.push(stream);
    }
    while fake.connections().downloads < 2 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut third = connect(&fake);
    third.write_all(request.as_bytes()).expect("sent");
    let refused = read_answer(&mut third, false).expect("an answer");
    assert_eq!(
        (
            refused.status,
            refused.text().contains("too many connections")
        ),
        (403, true)
    );
    assert_eq!(fake.violations()[0].rule, "connections");
    drop(open);
    while fake.connections().downloads > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(fake.connections().downloads_peak, 3);
}

#[test]
fn asking_for_what_is_gone_again_and_again_is_abuse() {
    let fake = Fake::builder()
        .config(|c| (c.abuse_per_minute, c.rate_limit) = (3, 100))
        .start()
        .expect("a fake");
    for _ in 0..4 {
        call(
            &fake,
            "file/info",
            &json!({ "url": "https://1fichier.com/?aaaaa" }),
        );
    }
    assert_eq!(
        fake.violations()
            .iter()
            .map(|v| v.rule.as_str())
            .collect::<Vec<_>>(),
        ["abuse"]
    );
}

#[test]
fn virtual_time_runs_the_rules() {
    let fake = Fake::builder()
        .profile(Profile::Home)
        .clock("100000@1763700000")
        .start()
        .expect("a fake");
    // 30 virtual seconds are less than a millisecond here.
    for _ in 0..4 {
        assert!(call(&fake, "folder/ls", &json!({})).is_ok());
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(fake.violations().is_empty());
    assert!(fake.log()[0].virtual_time > 1_763_700_000.0);
}
