//! The metrics as a strict reader sees them.
use super::*;
use crate::control::AccountAnswer;
use crate::control::status::{DiskFigures, ReadFigures};
use std::collections::{BTreeMap, BTreeSet};

/// A family as it was read.
#[derive(Debug, Default)]
struct Read {
    kind: String,
    unit: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Labels of a sample and what follows them.
fn labels(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(inner) = rest.strip_prefix('{') else {
        return (labels, rest);
    };
    rest = inner;
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label and its quote");
        assert!(is_name(name), "{name}");
        let mut text = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("something escaped").1 {
                    'n' => text.push('\n'),
                    c @ ('\\' | '"') => text.push(c),
                    c => panic!("\\{c} is no escape"),
                },
                (_, c) => text.push(c),
            }
        };
        assert!(
            labels.insert(name.to_owned(), text).is_none(),
            "{name} twice"
        );
        rest = &value[end + 1..];
        match rest.as_bytes().first() {
            Some(b',') => rest = &rest[1..],
            Some(b'}') => return (labels, &rest[1..]),
            other => panic!("{other:?} after a label"),
        }
    }
}

/// Reads what OpenMetrics 1.0 allows, and nothing else of it than what we use.
fn read(text: &str) -> BTreeMap<String, Read> {
    let body = text.strip_suffix("# EOF\n").expect("the end");
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line == line.trim(), "{line:?}");
        if let Some(described) = line.strip_prefix("# ") {
            let (what, rest) = described.split_once(' ').unwrap();
            let (name, said) = rest.split_once(' ').unwrap();
            assert!(is_name(name), "{name}");
            if what == "HELP" {
                assert!(!families.contains_key(name), "{name} is not in one piece");
                assert!(said.ends_with('.') && !said.contains(['"', '\\']), "{said}");
                name.clone_into(&mut current);
            }
            assert_eq!(name, current, "{line}");
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "{line}");
            match what {
                "HELP" => {}
                "TYPE" => said.clone_into(&mut family.kind),
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{said}")), "{line}");
                    said.clone_into(&mut family.unit);
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (labels, value) = labels(&line[end..]);
        let family = families.get_mut(&current).unwrap();
        let suffix = line[..end]
            .strip_prefix(&*current)
            .expect("its family's name");
        let wanted = match &*family.kind {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            kind => panic!("{kind}"),
        };
        assert_eq!(suffix, wanted, "{line}");
        let value = value.strip_prefix(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        assert!(family.kind == "gauge" || value >= 0.0, "{line}");
        assert!(
            family.samples.iter().all(|(_, known, _)| *known != labels),
            "{line} twice"
        );
        family.samples.push((line[..end].to_owned(), labels, value));
    }
    families
}

/// A mount of which everything is known, with a name that could break something.
pub(in crate::page) fn status() -> Status {
    let text = r#"{
        "mount": {"account": "work", "mountpoint": "/mnt/\"x\"\\\n", "version": "0.1.0", "since": 1795251600},
        "tree": {"folders": 10, "crawl": {"stage": "running", "waiting": 2}},
        "calls": {"made": {"folder/ls": 40, "user/info": 1}, "gate": {"state": "shut", "cause": "flood", "until": 9},
            "rate": 1.25, "waiting": {"token": 3}, "last_hour": 12},
        "reading": {"fetched_bytes": 18446744073709551615, "bwlimit_bytes": 1000},
        "writing": {"failed": 1, "uploads": [{"path": "secret name", "bytes": 9, "sent_bytes": 3}]},
        "trouble": "the key is refused"
    }"#;
    let mut status: Status = serde_json::from_str(text).unwrap();
    let info = r#"{"email": "me@example.org", "offer": "Premium", "subscription_end": null, "cold_storage": 5,
        "hot_storage": 1, "available_cold_storage": -7, "cdn_credits": 0, "use_cdn": false, "over_quota": true,
        "upload_forbidden": false}"#;
    status.account = Some(AccountAnswer {
        info: serde_json::from_str(info).unwrap(),
        age_seconds: 60,
    });
    status.reading = ReadFigures {
        disk: Some(DiskFigures::default()),
        ..status.reading
    };
    status
}

#[test]
fn a_strict_reader_takes_all_of_it() {
    let status = status();
    let families = read(&text(&status, Format::OpenMetrics));
    assert_eq!(families.len(), METRICS.len(), "all are known of this mount");
    for metric in METRICS {
        let Family { name, unit, .. } = metric.family;
        let family = &families[name];
        assert_eq!(family.unit, unit, "{name}");
        assert!(
            !name.ends_with("_total") && !name.ends_with("_info"),
            "{name}"
        );
        let declared: BTreeSet<&str> = metric.labels.iter().copied().collect();
        for (_, labels, _) in &family.samples {
            let used: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
            assert_eq!(used, declared, "{name}");
        }
    }
    let one = |name: &str| families[name].samples[0].clone();
    assert_eq!(one("fichierfs_mount").1["mountpoint"], "/mnt/\"x\"\\\n");
    assert!((one("fichierfs_account_available_bytes").2 + 7.0).abs() < 1e-9);
    let shut: Vec<f64> = families["fichierfs_api_gate"]
        .samples
        .iter()
        .map(|it| it.2)
        .collect();
    assert_eq!(shut, [0.0, 1.0, 0.0]);
    assert!(
        text(&status, Format::Text)
            .contains("fichierfs_downloaded_bytes_total 18446744073709551615\n")
    );
}

#[test]
fn what_is_not_known_is_absent_and_no_file_is_named() {
    let bare = read(&text(&Status::default(), Format::OpenMetrics));
    for absent in [
        "fichierfs_cache_bytes",
        "fichierfs_account_stored_bytes",
        "fichierfs_api_calls",
    ] {
        assert!(!bare.contains_key(absent), "{absent}");
    }
    for format in [Format::OpenMetrics, Format::Text] {
        let text = text(&status(), format);
        assert!(!text.contains("secret") && !text.contains("example.org"));
    }
}

#[test]
fn both_forms_tell_the_same() {
    let samples = |format| -> Vec<String> {
        let text = text(&status(), format);
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(samples(Format::OpenMetrics), samples(Format::Text));
}
