//! `doctor`: what it finds with and without a service, and what it costs.
use super::{Ended, Home, KEY, feed};
use fake_1fichier::Fake;
use serde_json::Value;

/// The findings of `doctor --json` with these arguments: the document, and how the program ended.
fn doctor(home: &Home, key: Option<&str>, arguments: &[&str]) -> (Value, Ended) {
    let mut command = home.command();
    command.args(["doctor", "--json"]).args(arguments);
    if let Some(key) = key {
        command.env("FICHIERFS_API_KEY", key);
    }
    let ended = Ended::of(command.output().unwrap());
    let document: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (document, ended)
}

fn found<'a>(document: &'a Value, check: &str) -> Option<&'a Value> {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|it| it["check"] == check)
}

/// The finding says this, and the exit code agrees with the worst of all.
fn says(document: &Value, ended: &Ended, check: &str, state: &str, words: &str) {
    let finding = found(document, check).unwrap_or_else(|| panic!("no {check}: {document:#}"));
    assert_eq!(finding["state"], state, "{finding:#}");
    let text = finding["says"].as_str().unwrap();
    assert!(text.contains(words), "{check}: {text}");
    let fails = document["state"] == "fail";
    assert_eq!(ended.code, Some(i32::from(fails)), "{ended:?}");
}

#[test]
fn a_sound_account_costs_one_call_and_the_next_look_none() {
    let (fake, home) = (Fake::builder().start().unwrap(), Home::new());
    let url = fake.api_url();
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    for check in ["key", "dns", "tcp", "account", "lock", "config"] {
        says(&document, &ended, check, "ok", "");
    }
    says(&document, &ended, "clock", "ok", "agrees");
    assert_eq!(fake.log().len(), 1, "one call");
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    says(&document, &ended, "account", "ok", "may be mounted");
    assert_eq!((fake.log().len(), fake.count("user/info")), (1, 1));
    // Offline it still knows what the service said.
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url, "--offline"]);
    says(&document, &ended, "account", "ok", "may be mounted");
    assert!(found(&document, "tcp").is_none());
    assert_eq!(fake.log().len(), 1);
    let ended = home.run(["doctor", "--offline"]);
    assert!(
        ended.out.lines().any(|line| line.starts_with("fail  key ")),
        "{ended:?}"
    );
    assert!(ended.out.contains("-> run: fichierfs login"), "{ended:?}");
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn login_account_and_doctor_ask_once() {
    let (fake, home) = (Fake::builder().start().unwrap(), Home::new());
    let url = fake.api_url();
    let mut command = home.command();
    command.args(["login", "--api-url", &url]);
    feed(command, &fake.key()).succeeded();
    home.run(["account", "--api-url", &url]).succeeded();
    let (document, ended) = doctor(&home, None, &["--api-url", &url]);
    says(&document, &ended, "account", "ok", "may be mounted");
    home.run(["account", "--api-url", &url]).succeeded();
    assert_eq!(fake.count("user/info"), 1);
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn what_is_wrong_is_named() {
    let (fake, home) = (Fake::builder().start().unwrap(), Home::new());
    let url = fake.api_url();
    let (document, ended) = doctor(&home, None, &["--offline"]);
    says(&document, &ended, "key", "fail", "no API key");
    assert_eq!(ended.code, Some(1));

    let (document, ended) = doctor(&home, Some(KEY), &["--api-url", &url]);
    says(&document, &ended, "key", "ok", "");
    let refused = document["checks"].as_array().unwrap().iter();
    assert!(
        refused
            .clone()
            .any(|it| it["check"] == "key" && it["state"] == "fail"),
        "{document:#}"
    );
    assert!(
        !ended.out.contains(KEY) && ended.code == Some(1),
        "{ended:?}"
    );

    // Nobody listens on that port.
    let (document, ended) = doctor(&home, Some(KEY), &["--api-url", "http://127.0.0.1:9/v1"]);
    says(&document, &ended, "dns", "ok", "");
    says(&document, &ended, "tcp", "fail", "127.0.0.1:9");
    assert!(found(&document, "account").is_none(), "{document:#}");

    let (document, ended) = doctor(&home, Some(KEY), &["--api-url", "https://name.invalid/v1"]);
    says(&document, &ended, "dns", "fail", "name.invalid");

    let file = home.write("config/fichierfs/config.toml", "cash-size = 1\n", 0o600);
    let (document, ended) = doctor(&home, Some(KEY), &["--offline"]);
    says(&document, &ended, "config", "fail", "cash-size");
    std::fs::remove_file(file).unwrap();
    let file = home.write("config/fichierfs/config.toml", "api-key = \"k\"\n", 0o644);
    let (document, ended) = doctor(&home, None, &["--offline"]);
    says(&document, &ended, "config", "fail", "chmod 600");
    std::fs::remove_file(file).unwrap();
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn a_free_account_and_a_lock_are_told() {
    let (fake, home) = (Fake::builder().start().unwrap(), Home::new());
    fake.account().set_offer(0);
    let url = fake.api_url();
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    says(&document, &ended, "account", "fail", "");

    let home = Home::new();
    fake.account().set_offer(1);
    fake.faults().add(
        fake_1fichier::Fault::on(
            "user/info",
            fake_1fichier::FaultKind::IpLocked { lock: false },
        )
        .once(),
    );
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    says(&document, &ended, "account", "fail", "");
    says(&document, &ended, "lock", "fail", "banned");
    let calls = fake.log().len();
    // The lock is known to the next process, which leaves the service alone.
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    says(&document, &ended, "lock", "fail", "banned");
    assert_eq!(fake.log().len(), calls);
}

#[test]
fn tls_is_looked_at_by_itself() {
    let (fake, home) = (Fake::builder().tls(true).start().unwrap(), Home::new());
    let url = fake.tls_api_url().unwrap();
    let (document, ended) = doctor(&home, Some(&fake.key()), &["--api-url", &url]);
    says(&document, &ended, "tcp", "ok", "");
    says(&document, &ended, "tls", "fail", "");
    assert_eq!(fake.log().len(), 0);
    let ca = home.write("ca.pem", fake.ca_pem().unwrap(), 0o644);
    let ca = ca.to_str().unwrap();
    let (document, ended) = doctor(
        &home,
        Some(&fake.key()),
        &["--api-url", &url, "--ca-cert", ca],
    );
    says(&document, &ended, "tls", "ok", "");
    says(&document, &ended, "account", "ok", "");
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn wrong_arguments_are_refused() {
    let home = Home::new();
    home.run(["doctor", "/mnt"]).refused(2, &["/mnt"]);
    home.run(["doctor", "--account", "../x"])
        .refused(2, &["a-z"]);
    home.run(["doctor", "--frobnicate"])
        .refused(2, &["--frobnicate"]);
}
