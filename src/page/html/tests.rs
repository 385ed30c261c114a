//! The page, from figures at hand.
use super::*;
use crate::control::status::{DiskFigures, ReadFigures};
use crate::control::unsent::FailedFigures;
use jiff::tz::TimeZone;
use proptest::prelude::*;

fn now() -> Zoned {
    Timestamp::from_second(1_795_251_600)
        .unwrap()
        .to_zoned(TimeZone::UTC)
}

fn shown(status: &Status) -> String {
    page(status, false, &now())
}

fn uploading(path: &str) -> Status {
    let mut status = Status::default();
    status.mount.mountpoint = "/mnt/x".into();
    status.mount.since = 1_795_244_275;
    status.writing.waiting = 2;
    status.writing.waiting_bytes = 4 << 20;
    status.writing.sent_bytes = 1 << 20;
    status.writing.uploading = 1;
    status.writing.uploads = vec![UploadFigures {
        path: path.to_owned(),
        bytes: 4 << 20,
        sent_bytes: 1 << 20,
        bytes_per_second: 1 << 20,
    }];
    status
}

/// Fails unless every element is closed in its order; returns the text between.
fn checked(html: &str) -> String {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("its type");
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = rest[at..].find('>').expect("the end of a tag") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "in {html}");
        } else if !matches!(name, "meta" | "link") {
            open.push(name.to_owned());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
    text
}

#[test]
fn an_upload_is_shown_with_its_progress() {
    let html = shown(&uploading("films/a.mkv"));
    let text = checked(&html);
    assert!(html.contains("<progress max=\"100\" value=\"25\" aria-label=\"films/a.mkv\">"));
    assert!(
        html.contains("<title>25 % /mnt/x - fichierfs</title>"),
        "{html}"
    );
    for says in [
        "films/a.mkv",
        "25 %",
        "1.0 MiB/s",
        "3s left",
        "2 files and folders on the way",
        "06:57:55 (2h 2m)",
        "1.0 MiB of 4.0 MiB sent",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(html.contains("http-equiv=\"refresh\""));
    assert!(!page(&uploading("x"), true, &now()).contains("http-equiv=\"refresh\""));
}

#[test]
fn what_is_wrong_comes_first() {
    let mut status = uploading("a");
    status.writing.failed = 30;
    status.writing.failures = vec![
        FailedFigures {
            path: "b".into(),
            reason: "over <quota>".into(),
        };
        30
    ];
    let html = shown(&status);
    let text = checked(&html);
    assert!(html.contains("class=\"state bad\"") && html.contains("<title>! "));
    assert!(text.contains("over &lt;quota&gt;") && text.contains("10 more. "));
    status.trouble = Some("the key is refused".into());
    assert!(checked(&shown(&status)).contains("the key is refused"));
    let mut status = Status::default();
    status.reading = ReadFigures {
        disk: Some(DiskFigures {
            problem: Some("no room".into()),
            ..DiskFigures::default()
        }),
        ..status.reading
    };
    assert!(checked(&shown(&status)).contains("not used: no room"));
}

#[test]
fn nothing_comes_from_elsewhere_and_nothing_runs() {
    let html = shown(&uploading("a"));
    for bad in ["<script", "style=", " on", "http://", "https://", "//"] {
        let found = html.replace("2026-11-21T09:00:00Z", "");
        let found = found.replace("on the way", "").replace("On the way", "");
        assert!(
            !found.contains(&format!("<{bad}")) && !found.contains(&format!("\"{bad}")),
            "{bad}"
        );
    }
    assert!(!html.contains("<script") && !html.contains("style=\""));
    // Who pays for the account is nobody's business.
    let known = shown(&crate::page::metrics::tests::status());
    assert!(
        known.contains("Premium") && !known.contains("example.org"),
        "{known}"
    );
}

proptest! {
    #[test]
    fn no_name_is_more_than_text(name in "(<|>|&|\"|'|/|[a-z]|=|\u{202e}|\u{1b}|\n|.){0,30}") {
        let html = shown(&uploading(&name));
        let text = checked(&html);
        // The same elements as with a harmless name.
        prop_assert_eq!(html.matches('<').count(), shown(&uploading("x")).matches('<').count());
        prop_assert!(!text.chars().any(|c| is_unruly(c) && c != '\n'));
        // A browser would see the name again.
        let wanted: String = name.chars().map(|c| if is_unruly(c) { '\u{fffd}' } else { c }).collect();
        let seen = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
            .replace("&#39;", "'").replace("&amp;", "&");
        prop_assert!(seen.contains(&wanted), "{}", text);
    }
}
