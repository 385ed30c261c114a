//! A mount in the background, as far as it goes without a session: what is told, where the log is.
use super::{Ended, Home, KEY, can_mount};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

#[test]
fn the_childs_word_and_code_are_the_commands() {
    let home = Home::new();
    let none = home.text("none");
    let background = home.run_with_key(["mount", &none]);
    let foreground = home.run_with_key(["mount", "--foreground", &none]);
    background.refused(1, &[&none, "mkdir"]);
    assert_eq!(background.err, foreground.err);
}

#[test]
fn the_key_is_in_no_process_table_and_in_no_log() {
    if !can_mount("the_key_is_in_no_process_table_and_in_no_log") {
        return;
    }
    let home = Home::new();
    let ended = home.run_with_key(["-vv", "mount", &home.text("mnt")]);
    assert!(!ended.err.contains(KEY));
    let log = fs::read_to_string(home.at("state/fichierfs/default/log")).unwrap();
    assert!(
        log.contains("FICHIERFS_API_KEY") && !log.contains(KEY),
        "{log}"
    );
}

#[test]
fn switches_before_and_after_the_command_reach_the_child() {
    let home = Home::new();
    // The mountpoint may be called as the command is.
    fs::create_dir(home.at("mount")).unwrap();
    fs::create_dir(home.at("mount/full")).unwrap();
    let mut command = home.command();
    command
        .current_dir(home.at(""))
        .env("FICHIERFS_API_KEY", KEY)
        .args(["-v", "mount", "-o", "ro", "--", "mount"]);
    Ended::of(command.output().unwrap()).refused(1, &["mountpoint mount", "not empty"]);
}

#[test]
fn nobody_is_left_behind_when_it_fails() {
    let home = Home::new();
    let mut child = home
        .command()
        .env("FICHIERFS_API_KEY", KEY)
        .args(["mount", &home.text("none")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // End of file comes when the last process that holds the other end has gone.
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.contains("mkdir"), "{said}");
}

#[test]
fn the_journal_gets_priorities_instead_of_times() {
    let home = Home::new();
    let log = home.at("stderr");
    let run = |journal: Option<String>| {
        let file = fs::File::create(&log).unwrap();
        let mut command = home.command();
        command
            .env("FICHIERFS_CASH_SIZE", "1")
            .args(["mount", "--foreground", &home.text("none")])
            .stderr(Stdio::from(file));
        if let Some(stream) = journal {
            command.env("JOURNAL_STREAM", stream);
        }
        command.status().unwrap();
        fs::read_to_string(&log).unwrap()
    };
    fs::write(&log, "").unwrap();
    let stat = fs::metadata(&log).unwrap();
    let stream = format!("{}:{}", stat.dev(), stat.ino());
    let journal = run(Some(stream));
    assert!(journal.starts_with("<4>fichierfs::config"), "{journal}");
    // The variable may be inherited by a process whose standard error is another file.
    for other in [None, Some("1:1".to_owned())] {
        let plain = run(other);
        assert!(
            plain.starts_with('[') && plain.contains(" WARN "),
            "{plain}"
        );
    }
}
