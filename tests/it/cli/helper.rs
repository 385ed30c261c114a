//! The program under the name `mount.fichierfs`, as mount(8) calls it.
use super::{Ended, Home, KEY, can_mount};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const USAGE: i32 = 1;
const MOUNT: i32 = 32;

fn helper(home: &Home) -> Command {
    let link = home.at("mount.fichierfs");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_fichierfs"), &link).unwrap();
    }
    let mut command = home.dress(Command::new(link));
    command.env("FICHIERFS_API_KEY", KEY);
    command
}

fn run(home: &Home, arguments: &[&str]) -> Ended {
    Ended::of(helper(home).args(arguments).output().unwrap())
}

#[test]
fn a_fake_mount_checks_everything_and_mounts_nothing() {
    if !can_mount("a_fake_mount_checks_everything_and_mounts_nothing") {
        return;
    }
    let home = Home::new();
    let mnt = home.text("mnt");
    let options = "rw,_netdev,nofail,noauto,x-systemd.automount,uid=7,cache_size=1GB";
    let ended = run(&home, &["fichierfs:work", &mnt, "-nf", "-o", options]);
    ended.succeeded();
    assert!(home.at("state/fichierfs/work").exists(), "{ended:?}");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&mnt));
}

#[test]
fn exit_codes_are_mount8s() {
    let home = Home::new();
    let mnt = home.text("mnt");
    run(&home, &["work"]).refused(USAGE, &["mount.fichierfs", "ACCOUNT DIR"]);
    run(&home, &["work", &mnt, "-q"]).refused(USAGE, &["-q"]);
    run(&home, &["../work", &mnt]).refused(USAGE, &["a-z"]);
    run(&home, &["work", &mnt, "-o", "frobnicate"]).refused(USAGE, &["-o frobnicate"]);
    let none = home.text("none");
    run(&home, &["work", &none]).refused(MOUNT, &[&none, "mkdir"]);
}

#[test]
fn sloppy_passes_over_unknown_options() {
    if !can_mount("sloppy_passes_over_unknown_options") {
        return;
    }
    let home = Home::new();
    run(
        &home,
        &["work", &home.text("mnt"), "-sf", "-o", "frobnicate"],
    )
    .succeeded();
}

#[test]
fn another_namespace_is_entered() {
    if !can_mount("another_namespace_is_entered") {
        return;
    }
    let home = Home::new();
    let mnt = home.text("mnt");
    // In a namespace of its own a process sees a folder that is hidden from everyone else.
    let script =
        format!("mount -t tmpfs none {mnt} && mkdir {mnt}/inside && echo && exec sleep 60");
    let mut inside = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0];
    let read = std::io::Read::read(inside.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert_eq!(read, 1);
    let namespace = format!("/proc/{}/ns/mnt", inside.id());
    let dir = format!("{mnt}/inside");
    let there = run(&home, &["work", &dir, "-f", "-N", &namespace]);
    let here = run(&home, &["work", &dir, "-f"]);
    inside.kill().unwrap();
    inside.wait().unwrap();
    there.succeeded();
    here.refused(MOUNT, &[&dir, "does not exist"]);
    run(&home, &["work", &mnt, "-f", "-N", "/nonexistent/ns"]).refused(2, &["/nonexistent/ns"]);
}

#[test]
fn a_refusal_comes_at_once() {
    let home = Home::new();
    let start = Instant::now();
    run(&home, &["work", &home.text("none")]);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "it waited for a time limit"
    );
}
