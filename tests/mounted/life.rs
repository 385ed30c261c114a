//! From the mount command to the end of the process, the clean ends and the others.
use crate::harness::{self, Mount, SOON, assert_well_behaved, can_mount, eventually, is_mounted};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

fn fake() -> Fake {
    let fake = Fake::builder().start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    fake
}

#[test]
fn umount_ends_the_program_and_it_says_so_with_0() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::new(&fake);
    assert_eq!(harness::names(&mount.dir()).unwrap(), ["hello.txt"]);
    assert_eq!(mount.umount().code(), Some(0), "{}", mount.log());
    assert!(harness::names(&mount.dir()).unwrap().is_empty());
    assert_well_behaved(&fake);
}

#[test]
fn sigterm_and_sigint_unmount_even_a_mount_in_use() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let mut mount = Mount::prepared(&fake, Some("20"), &[]);
    for signal in ["TERM", "INT"] {
        mount.start();
        let open = std::fs::File::open(mount.path("hello.txt")).unwrap();
        mount.signal(signal);
        assert_eq!(mount.wait().code(), Some(0), "{signal}: {}", mount.log());
        assert!(!is_mounted(&mount.dir()), "{signal}");
        drop(open);
    }
    assert_well_behaved(&fake);
}

#[test]
fn a_mount_that_was_killed_is_cleared_away_by_the_next() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let mut mount = Mount::with(&fake, Some("20"), &[]);
    mount.signal("KILL");
    mount.wait();
    let dead = harness::names(&mount.dir()).unwrap_err();
    assert_eq!(
        dead.raw_os_error(),
        Some(107),
        "{dead}: transport endpoint is not connected"
    );
    mount.start();
    assert_eq!(harness::names(&mount.dir()).unwrap(), ["hello.txt"]);
    assert_eq!(mount.umount().code(), Some(0));
    assert_well_behaved(&fake);
}

#[test]
fn without_foreground_the_command_returns_when_the_mount_answers() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mount = Mount::prepared(&fake, None, &[]);
    let out = mount.mount_command().output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(harness::names(&mount.dir()).unwrap(), ["hello.txt"]);
    let began = Instant::now();
    let umount = harness::command()
        .arg("umount")
        .arg(mount.dir())
        .output()
        .unwrap();
    assert!(
        umount.status.success(),
        "{}",
        String::from_utf8_lossy(&umount.stderr)
    );
    assert!(began.elapsed() < SOON);
    eventually("the mount is gone", || !is_mounted(&mount.dir()));
    assert_well_behaved(&fake);
}

#[test]
fn what_cannot_be_mounted_is_told_in_one_line_and_leaves_nothing_behind() {
    if !can_mount() {
        return;
    }
    let refused = |change: &dyn Fn(&Fake), expect: &str| {
        let fake = fake();
        let mount = Mount::prepared(&fake, Some("20"), &[]);
        change(&fake);
        let out = mount.mount_command().output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{expect}");
        assert!(said.contains(expect), "expected {expect:?} in {said:?}");
        let lines: Vec<_> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        assert_eq!(lines.len(), 1, "{said:?}");
        assert!(!said.contains(&fake.key()), "{said}");
        assert!(!is_mounted(&mount.dir()));
    };
    refused(
        &|fake| {
            fake.account()
                .change_key("another-key-0123456789abcdefghij");
        },
        "login",
    );
    refused(&|fake| fake.account().set_offer(0), "paid");
    refused(
        &|fake| fake.faults().add(Fault::on("*", FaultKind::MalformedJson)),
        "sense",
    );
    refused(
        &|fake| fake.faults().add(Fault::on("*", FaultKind::Reset)),
        "reach",
    );
    refused(
        &|fake| fake.faults().add(Fault::on("*", FaultKind::Maintenance)),
        "maintenance",
    );
}

#[test]
fn a_second_mount_of_the_same_account_is_refused_by_name() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::new(&fake);
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = |dir: &Path, state: &Path| {
        let mut command = mount.mount_command_at(dir, state);
        let out = command.arg("--foreground").output().unwrap();
        assert!(!out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let said = refused(&mount.dir(), &mount.state_dir());
    assert!(said.contains("mounted"), "{said}");
    let (dir, state) = (elsewhere.path().join("mnt"), elsewhere.path().join("state"));
    for folder in [&dir, &state] {
        std::fs::create_dir(folder).unwrap();
    }
    // A state folder of its own gives no budget of its own.
    for state in [&mount.state_dir(), &state] {
        let said = refused(&dir, state);
        assert!(said.contains(&format!("process {}", mount.pid())), "{said}");
    }
    assert_eq!(harness::names(&mount.dir()).unwrap(), ["hello.txt"]);
    mount.umount();
}

#[test]
fn findmnt_sees_a_fuse_mount_of_ours() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::prepared(&fake, None, &[]);
    for access in ["rw", "ro"] {
        mount.start();
        let out = Command::new("findmnt")
            .args(["-n", "-o", "FSTYPE,OPTIONS"])
            .arg(mount.dir())
            .output();
        let out = String::from_utf8(out.unwrap().stdout).unwrap();
        assert!(out.starts_with("fuse.fichierfs"), "{out}");
        for option in [access, "nosuid", "nodev", "default_permissions"] {
            assert!(
                out.split([' ', ',', '\n']).any(|word| word == option),
                "{option} in {out}"
            );
        }
        mount.umount();
        mount.add_option("--read-only");
    }
}
