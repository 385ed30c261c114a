//! Every kind of bad input gives one line and the right code, and mounts nothing.
use super::{Home, KEY, can_mount};
use nix::mount::{MntFlags, MsFlags};
use nix::unistd::{Gid, Uid};
use std::fs;
use std::process::Command;

/// A user without rights.
const NOBODY: u32 = 65534;

const FAILURE: i32 = 1;
const USAGE: i32 = 2;

fn mounted(home: &Home) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(&home.text("mnt"))
}

#[test]
fn what_was_typed_wrong_is_named() {
    let home = Home::new();
    let mnt = home.text("mnt");
    for (arguments, words) in [
        (vec!["mount", "--frobnicate", &mnt], &["--frobnicate"][..]),
        (
            vec!["mount", "-o", "frobnicate=1", &mnt],
            &["-o frobnicate"],
        ),
        (
            vec!["mount", "-o", "cache_size=lots", &mnt],
            &["-o cache_size", "20GB"],
        ),
        (
            vec!["mount", "--cache-size", "lots", &mnt],
            &["--cache-size", "20GB"],
        ),
        (
            vec!["mount", "--memory", "1KiB", &mnt],
            &["memory", "16MiB"],
        ),
        (vec!["mount", "--rate", "9", &mnt], &["--rate", "3"]),
        (
            vec!["mount", "--account", "../x", &mnt],
            &["--account", "a-z"],
        ),
        (vec!["mount", "--umask", "999", &mnt], &["--umask", "octal"]),
        (
            vec!["mount", "--api-url", "http://example.com", &mnt],
            &["--api-url", "https"],
        ),
        (
            vec!["mount", "--proxy", "proxy", &mnt],
            &["--proxy", "http://"],
        ),
        (vec!["mount"], &["MOUNTPOINT"]),
        (vec!["dance"], &["dance"]),
        (vec![], &["--help"]),
    ] {
        home.run_with_key(&arguments).refused(USAGE, words);
    }
    assert!(!mounted(&home));
}

#[test]
fn the_environment_and_the_config_file_are_checked_alike() {
    let home = Home::new();
    let mut command = home.command();
    command
        .env("FICHIERFS_UMASK", "9")
        .args(["mount", "-f", &home.text("mnt")]);
    let ended = super::Ended::of(command.output().unwrap());
    ended.refused(USAGE, &["FICHIERFS_UMASK", "octal"]);

    home.write("config/fichierfs/config.toml", "cash-size = 1\n", 0o600);
    home.run_with_key(["mount", &home.text("mnt")])
        .refused(USAGE, &["cash-size", "config.toml"]);
    home.write("config/fichierfs/config.toml", "cache-size = \n", 0o600);
    home.run_with_key(["mount", &home.text("mnt")])
        .refused(FAILURE, &["config.toml", "line 1"]);
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let home = Home::new();
    let mnt = home.text("mnt");
    let open = home.write("open", KEY, 0o644);
    let empty = home.write("empty", "\n", 0o600);
    let broken = home.write("broken", "two words", 0o600);
    for (file, word) in [
        (open.to_str().unwrap(), "chmod 600"),
        (empty.to_str().unwrap(), "empty"),
        (broken.to_str().unwrap(), "character"),
        ("/nonexistent/key", "/nonexistent/key"),
    ] {
        let arguments = ["mount", "--api-key-file", file, &mnt];
        home.run(arguments).refused(FAILURE, &[word]);
    }
    home.run(["mount", &mnt])
        .refused(FAILURE, &["fichierfs login"]);
    let toml = format!("api-key = \"{KEY}\"\n");
    home.write("config/fichierfs/config.toml", &toml, 0o644);
    home.run(["mount", &mnt])
        .refused(FAILURE, &["config.toml", "chmod 600"]);
    assert!(!mounted(&home));
}

#[test]
fn mountpoints_that_cannot_be_used_are_told() {
    let home = Home::new();
    fs::create_dir_all(home.at("full/inside")).unwrap();
    home.write("file", "", 0o600);
    for (name, word) in [
        ("none", "mkdir -p"),
        ("file", "not a folder"),
        ("full", "not empty"),
    ] {
        home.run_with_key(["mount", &home.text(name)])
            .refused(FAILURE, &[&home.text(name), word]);
    }
    // Its own files would wait for the mount that waits for them.
    let cache = home.text("mnt/cache");
    home.run_with_key(["mount", "--cache-dir", &cache, &home.text("mnt")])
        .refused(FAILURE, &["hide", &cache]);
    assert!(!home.at("mnt/cache").exists());
}

#[test]
fn folders_and_files_that_cannot_be_used_are_told() {
    let home = Home::new();
    let file = home.write("file", "", 0o600);
    let file = file.to_str().unwrap();
    let mnt = home.text("mnt");
    for (option, word) in [
        ("--cache-dir", "--cache-dir"),
        ("--state-dir", "--state-dir"),
        ("--ca-cert", "PEM"),
    ] {
        home.run_with_key(["mount", option, file, &mnt])
            .refused(FAILURE, &[file, word]);
    }
    let ended = home.run_with_key(["mount", "--cache-dir", file, &mnt]);
    assert_eq!(ended.err.matches("Not a directory").count(), 1, "{ended:?}");
    home.run_with_key(["mount", "--ca-cert", "/nonexistent/ca.pem", &mnt])
        .refused(FAILURE, &["/nonexistent/ca.pem"]);
    assert!(!mounted(&home));
}

#[test]
fn a_folder_on_a_read_only_file_system_is_told() {
    if !can_mount("a_folder_on_a_read_only_file_system_is_told") {
        return;
    }
    // Root may write everywhere but there.
    let home = Home::new();
    let cache = home.at("cache");
    nix::mount::mount(
        Some("none"),
        &cache,
        Some("tmpfs"),
        MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .unwrap();
    let ended = home.run_with_key(["mount", &home.text("mnt")]);
    nix::mount::umount2(&cache, MntFlags::MNT_DETACH).unwrap();
    ended.refused(FAILURE, &["--cache-dir", "Read-only"]);
}

/// A shell that sees no FUSE device, then the binary.
fn without_device(home: &Home) -> Command {
    let mut command = home.dress(Command::new("unshare"));
    let script = format!(
        "mount --bind {} /dev && exec \"$0\" \"$@\"",
        home.text("run")
    );
    command
        .args(["-m", "sh", "-c", &script])
        .arg(env!("CARGO_BIN_EXE_fichierfs"))
        .env("FICHIERFS_API_KEY", KEY);
    command
}

#[test]
fn a_machine_without_fuse_is_told() {
    if !can_mount("a_machine_without_fuse_is_told") {
        return;
    }
    let home = Home::new();
    // The foreground: nothing in this /dev can be opened, not even null.
    let mut command = without_device(&home);
    command.args(["mount", "--foreground", &home.text("mnt")]);
    super::Ended::of(command.output().unwrap()).refused(FAILURE, &["/dev/fuse", "modprobe"]);
}

/// The binary as a user without rights.
fn as_nobody(home: &Home) -> Command {
    for name in [
        "",
        "config",
        "config/fichierfs",
        "state",
        "cache",
        "run",
        "mnt",
    ] {
        nix::unistd::chown(
            &home.at(name),
            Some(Uid::from_raw(NOBODY)),
            Some(Gid::from_raw(NOBODY)),
        )
        .unwrap();
    }
    let mut command = home.dress(Command::new("setpriv"));
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_fichierfs"))
        .env("FICHIERFS_API_KEY", KEY);
    command
}

#[test]
fn a_user_without_fusermount3_or_allow_other_is_told() {
    if !can_mount("a_user_without_fusermount3_or_allow_other_is_told") {
        return;
    }
    let home = Home::new();
    let mnt = home.text("mnt");
    let mut command = as_nobody(&home);
    command
        .env("FUSERMOUNT_PATH", "/nonexistent/fusermount3")
        .args(["mount", &mnt]);
    super::Ended::of(command.output().unwrap()).refused(FAILURE, &["fusermount3", "fuse3"]);

    let conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if conf.lines().any(|line| line.trim() == "user_allow_other") {
        eprintln!("SKIPPED the allow_other half: this machine lets users do so");
        return;
    }
    let mut command = as_nobody(&home);
    command
        .env("FUSERMOUNT_PATH", "/bin/true")
        .args(["mount", "--allow-other", &mnt]);
    super::Ended::of(command.output().unwrap())
        .refused(FAILURE, &["user_allow_other", "/etc/fuse.conf"]);

    let mut command = as_nobody(&home);
    command.args(["mount", "-o", "suid", &mnt]);
    super::Ended::of(command.output().unwrap()).refused(USAGE, &["-o suid", "root"]);
}

#[test]
fn a_taken_mountpoint_names_the_account() {
    if !can_mount("a_taken_mountpoint_names_the_account") {
        return;
    }
    let home = Home::new();
    let mnt = home.at("mnt");
    // A live file system under our name is as good as a mount of ours.
    let Some(fuse) = super::umount::Silent::mount(&mnt, "work") else {
        panic!("cannot mount");
    };
    let mut command = home.command();
    command
        .env("FICHIERFS_API_KEY", KEY)
        .env("FICHIERFS_CLOCK", "50")
        .args(["mount", &home.text("mnt")]);
    let ended = super::Ended::of(command.output().unwrap());
    drop(fuse);
    ended.refused(FAILURE, &["`work`", "umount --lazy"]);
}

#[test]
fn an_unknown_variable_is_a_warning_only() {
    let home = Home::new();
    let mut command = home.command();
    command
        .env("FICHIERFS_CASH_SIZE", "1")
        .args(["account", "--api-key-file", "/nonexistent/key"]);
    let ended = super::Ended::of(command.output().unwrap());
    assert!(ended.err.contains("warning: ") && ended.err.contains("FICHIERFS_CASH_SIZE"));
    assert_eq!(ended.code, Some(FAILURE));
}
