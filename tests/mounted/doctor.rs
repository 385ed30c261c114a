//! `doctor` beside a mount, and what a day of commands costs.
use crate::harness::{self, Mount, assert_well_behaved, can_mount, eventually, is_mounted};
use crate::schema;
use crate::secrets::Home;
use fake_1fichier::Fake;
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn finding<'a>(document: &'a Value, check: &str, place: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    let mut these = checks.iter().filter(|it| it["check"] == check);
    these
        .find(|it| it["says"].as_str().unwrap().contains(place))
        .unwrap_or_else(|| panic!("no {check} of {place}: {document:#}"))
}

fn document(output: &Output) -> Value {
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    schema::check("doctor", &document);
    document
}

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn login_mount_account_and_doctor_ask_the_service_who_it_is_once() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .config(|it| it.enforce_rules = true)
        .start()
        .unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let home = Home::new();
    let url = fake.api_url();
    let typed = home.at("typed");
    std::fs::write(&typed, fake.key()).unwrap();
    let typed = std::fs::File::open(&typed).unwrap();
    succeeded(
        home.command()
            .args(["login", "--api-url", &url])
            .stdin(typed),
    );
    succeeded(
        home.command()
            .args(["mount", "--api-url", &url])
            .arg(home.at("mnt"))
            .stdin(Stdio::null()),
    );
    assert_eq!(harness::names(&home.at("mnt")).unwrap(), ["hello.txt"]);
    succeeded(home.command().args(["account", "--api-url", &url]));
    let output = home
        .command()
        .args(["doctor", "--json", "--api-url", &url])
        .output()
        .unwrap();
    let found = document(&output);
    let place = home.at("mnt");
    let place = place.to_str().unwrap();
    assert_eq!(finding(&found, "mount", place)["state"], "ok");
    assert_eq!(finding(&found, "account", "may be mounted")["state"], "ok");
    assert_eq!(finding(&found, "lock", "no lock")["state"], "ok");
    // And once the mount is gone.
    succeeded(home.command().arg("umount").arg(home.at("mnt")));
    succeeded(home.command().args(["account", "--api-url", &url]));
    let output = home
        .command()
        .args(["doctor", "--json", "--api-url", &url])
        .output()
        .unwrap();
    assert_eq!(
        finding(&document(&output), "account", "may be mounted")["state"],
        "ok"
    );
    assert_eq!(fake.count("user/info"), 1);
    assert_well_behaved(&fake);
}

#[test]
fn a_dead_mount_is_found_and_its_cure_works() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let mut mount = Mount::new(&fake);
    mount.signal("KILL");
    mount.wait();
    let ask = |mount: &Mount| {
        let mut command = mount.command();
        command
            .args(["doctor", "--json", "--offline", "--state-dir"])
            .arg(mount.state_dir());
        command
            .env("FICHIERFS_API_KEY", fake.key())
            .output()
            .unwrap()
    };
    let output = ask(&mount);
    let found = document(&output);
    let place = mount.dir();
    let dead = finding(&found, "mount", place.to_str().unwrap());
    assert_eq!(
        (&dead["state"], output.status.code()),
        (&"fail".into(), Some(1))
    );
    let advice = dead["advice"].as_str().unwrap();
    assert!(advice.contains("fichierfs umount"), "{advice}");
    succeeded(mount.command().arg("umount").arg(&place));
    eventually("it is gone", || !is_mounted(&place));
    let output = ask(&mount);
    let found = document(&output);
    let mounts = found["checks"].as_array().unwrap().iter();
    let place = place.to_str().unwrap();
    assert!(
        !mounts
            .clone()
            .any(|it| it["says"].as_str().unwrap().contains(place)),
        "{found:#}"
    );
    assert_well_behaved(&fake);
}
