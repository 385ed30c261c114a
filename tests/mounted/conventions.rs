//! What holds for every command: `--quiet`, colours, exit codes, readers that go away.
use super::harness::{Mount, assert_well_behaved, can_mount, command};
use fake_1fichier::Fake;
use std::process::{Command, Output};

/// The program in a pipe or on a terminal, as a shell starts it.
fn shell(script: &str) -> Output {
    let mut shell = Command::new("bash");
    shell
        .args(["-o", "pipefail", "-c", script])
        .env("P", env!("CARGO_BIN_EXE_fichierfs"))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    shell.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn quiet_is_quiet_in_every_command() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    fake.account().add_bytes(0, "film", b"moving".as_slice());
    let mut mount = Mount::with(&fake, Some("20"), &[]);
    let file = mount.path("film").to_string_lossy().into_owned();
    let dir = mount.dir().to_string_lossy().into_owned();
    for arguments in [
        vec!["status", &dir],
        vec!["explain", &file],
        vec!["refresh", &dir],
        vec!["sync", &file],
        vec!["warm", &file],
        vec!["bwlimit", "off", &dir],
        vec!["retry", &file],
    ] {
        let output = mount.command().arg("--quiet").args(&arguments).output();
        let output = output.unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
    }
    let json = mount
        .command()
        .args(["-q", "status", "--json", &dir])
        .output();
    assert!(text(&json.unwrap().stdout).starts_with('{'));
    let wrong = mount
        .command()
        .args(["-q", "explain", "/proc/version"])
        .output();
    let wrong = wrong.unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(text(&wrong.stderr).lines().count(), 1);
    assert!(mount.umount().success());
    assert_well_behaved(&fake);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for command in [
        "completions zsh",
        "mount --help",
        "--help",
        "--version",
        "completions bash",
    ] {
        // `:` reads nothing at all, so the first byte already meets a closed pipe.
        for reader in ["head -n 1", ":"] {
            let output = shell(&format!("\"$P\" {command} | {reader}"));
            let said = text(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{command}: {said}"
            );
        }
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let painted = |script: &str| text(&shell(script).stdout).contains('\u{1b}');
    // script(1) gives the program a terminal.
    let on_terminal = |prefix: &str, command: &str| {
        painted(&format!(
            "{prefix} script -qec \"'$P' {command}\" /dev/null </dev/null"
        ))
    };
    if !on_terminal("", "dance") {
        let has_script = shell("command -v script").status.success();
        assert!(!has_script, "an error on a terminal is not painted");
        eprintln!("!!! SKIPPED: script(1) is missing, no terminal was tested !!!");
        return;
    }
    assert!(on_terminal("", "--help"));
    for prefix in ["NO_COLOR=1", "TERM=dumb"] {
        for command in ["dance", "--help"] {
            assert!(!on_terminal(prefix, command), "{prefix} {command}");
        }
    }
    assert!(!painted("\"$P\" dance 2>&1 || true"));
    assert!(!painted("\"$P\" --help"));
}

#[test]
fn what_is_typed_wrongly_ends_with_2_and_one_line() {
    for arguments in [
        vec!["fstab", "work"],
        vec!["fstab", "work", "/"],
        vec!["fstab", "Work", "/mnt"],
        vec!["fstab", "work", "/mnt", "-o", "frobnicate"],
        vec!["completions"],
        vec!["completions", "cmd.exe"],
        vec!["man"],
        vec!["umount"],
        vec!["status", "--quiet", "--verbose"],
    ] {
        let output = command().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(said.starts_with("fichierfs: "), "{said}");
    }
    let nowhere = command().args(["man", "/dev/null/x"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}
