//! What a mount is told by the network and the service when it cannot be: one line that says what to do,
//! within the time a person waits, and nothing half mounted.
use crate::harness::{Mount, assert_well_behaved, can_mount, is_mounted, names};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;

/// Virtual seconds per real second: what is repeated for ten seconds is repeated for half a one.
const FACTOR: &str = "20";

/// Asserts that mounting failed as it shall, with these words.
fn refused(fake: &Fake, mount: &Mount, output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    // A warning about what is waited for may come before the one line.
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("warning: "))
        .collect();
    assert_eq!(errors.len(), 1, "{said}");
    for word in words {
        assert!(errors[0].contains(word), "`{word}` is missing: {said}");
    }
    assert!(!said.contains(&fake.key()), "{said}");
    assert!(!is_mounted(&mount.dir()));
    assert!(std::fs::read_dir(mount.dir()).unwrap().next().is_none());
}

/// Mounts with these options, in the background.
fn mount_with(fake: &Fake, options: &[&str], words: &[&str]) {
    let mount = Mount::prepared(fake, Some(FACTOR), options);
    let output = mount.mount_command().output().unwrap();
    refused(fake, &mount, &output, words);
}

/// A port nobody listens at: taken and given back.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_certificate_nobody_vouches_for_is_told() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).tls(true).start().unwrap();
    let url = fake.tls_api_url().unwrap();
    mount_with(&fake, &["--api-url", &url], &["certificate", "--ca-cert"]);
    // Another authority than the one that signed.
    let other = Fake::builder().tls(true).start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("ca.pem");
    std::fs::write(&path, other.ca_pem().unwrap()).unwrap();
    let path = path.to_str().unwrap();
    mount_with(
        &fake,
        &["--api-url", &url, "--ca-cert", path],
        &["certificate", "--ca-cert"],
    );
    assert!(fake.log().is_empty(), "the key was sent to a stranger");
}

#[test]
fn the_right_certificate_mounts() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).tls(true).start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, fake.ca_pem().unwrap()).unwrap();
    let url = fake.tls_api_url().unwrap();
    let options = ["--api-url", &url, "--ca-cert", path.to_str().unwrap()];
    let mut mount = Mount::with(&fake, Some(FACTOR), &options);
    assert_eq!(
        std::fs::read(mount.path("hello.txt")).unwrap(),
        b"Hello world\n"
    );
    mount.umount();
}

#[test]
fn a_proxy_that_is_not_there_is_told() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let proxy = format!("http://me:password@127.0.0.1:{}", closed_port());
    let options = ["--api-url", "https://api.1fichier.com/v1"];
    let mount = Mount::prepared(&fake, Some(FACTOR), &options);
    let mut command = mount.mount_command();
    let output = command.env("FICHIERFS_PROXY", &proxy).output().unwrap();
    refused(&fake, &mount, &output, &["reach"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("password"));
}

#[test]
fn answers_that_make_no_sense_are_told() {
    if !can_mount() {
        return;
    }
    for (kind, word) in [
        (FaultKind::MalformedJson, "sense"),
        (FaultKind::HtmlOk, "trouble"),
        (FaultKind::Status { code: 502 }, "502"),
        (FaultKind::Close, "reach"),
        (FaultKind::Stall, "answer"),
        (FaultKind::Maintenance, "maintenance"),
        (
            FaultKind::Ko {
                code: 403,
                message: "Something nobody has seen #7".into(),
            },
            "nobody has seen",
        ),
        (FaultKind::IpLocked { lock: false }, "address"),
    ] {
        let fake = Fake::builder().clock(FACTOR).start().unwrap();
        fake.faults().add(Fault::on("*", kind.clone()));
        let mount = Mount::prepared(&fake, Some(FACTOR), &[]);
        let output = mount.mount_command().output().unwrap();
        eprintln!("{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
        refused(&fake, &mount, &output, &[word]);
    }
}

/// The service says only once in six minutes who the account is; when that goes wrong, the rest is
/// good enough.
#[test]
fn a_hiccup_at_the_start_refuses_no_mount() {
    if !can_mount() {
        return;
    }
    for kind in [
        FaultKind::MalformedJson,
        FaultKind::Status { code: 502 },
        FaultKind::Maintenance,
        FaultKind::LostReply,
        FaultKind::Flood { lock: true },
    ] {
        let fake = Fake::builder().clock(FACTOR).start().unwrap();
        fake.account().add_bytes(0, "file", "x");
        fake.faults().add(Fault::on("user/info", kind).once());
        let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
        assert_eq!(names(&mount.dir()).unwrap(), ["file"]);
        mount.umount();
        assert_well_behaved(&fake);
    }
}

#[test]
fn a_folder_of_the_account_that_is_not_there_is_told() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    fake.account().add_bytes(0, "file", "x");
    for (root, word) in [("/none", "/none"), ("/file", "file")] {
        let mount = Mount::prepared(&fake, Some(FACTOR), &["--root", root]);
        let output = mount.mount_command().output().unwrap();
        refused(&fake, &mount, &output, &[word]);
    }
}
