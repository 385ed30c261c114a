//! What programs do when they save, copy and unpack.
use crate::harness::{Drive, names};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

/// Runs a program, which must have nothing to complain about.
fn quietly(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{command:?}: {said}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a program is there; says loudly when it is not.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("!!! SKIPPED: {program} is missing !!!");
    }
    there
}

/// A small tree of files; returns what the account is to hold of it below `at`.
fn tree(dir: &Path, at: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (folder, count) in [("", 2), ("sub", 3), ("sub/deeper", 2)] {
        fs::create_dir_all(dir.join(folder)).unwrap();
        for number in 0..count {
            let name = format!("file {number}.bin");
            let bytes = vec![b'a' + number; 1000 * (usize::from(number) + 1)];
            let path = dir.join(folder).join(&name);
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let there = Path::new(at).join(folder).join(name);
            files.push((there.to_str().unwrap().to_owned(), bytes));
        }
    }
    files
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    let files = files.iter();
    files.map(|(path, bytes)| (&**path, &**bytes)).collect()
}

/// Most programs: a new file beside, put in the place of the old one.
#[test]
fn saving_by_a_move_leaves_one_file_and_one_upload() {
    // Slow enough for all of it to be done before the first would be sent.
    let Some(drive) = Drive::with("5", &[], |account| {
        account.add_bytes(0, "text", "old");
    }) else {
        return;
    };
    for text in ["first", "second", "third"] {
        let mut file = File::create_new(drive.path(".text.tmp")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::rename(drive.path(".text.tmp"), drive.path("text")).unwrap();
        assert_eq!(fs::read(drive.path("text")).unwrap(), text.as_bytes());
    }
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["text"]);
    let fake = drive.ends_with(&[("text", b"third")]);
    assert_eq!(fake.count("upload.cgi"), 1);
}

/// As vim saves: the old one is put aside, a new one written, the old one removed.
#[test]
fn saving_beside_a_backup_leaves_one_file() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "text", "old");
    }) else {
        return;
    };
    let probe = drive.path("4913");
    File::create_new(&probe).unwrap();
    fs::remove_file(&probe).unwrap();
    fs::rename(drive.path("text"), drive.path("text~")).unwrap();
    let mut file = File::create_new(drive.path("text")).unwrap();
    file.write_all(b"new").unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::remove_file(drive.path("text~")).unwrap();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["text"]);
    drive.ends_with(&[("text", b"new")]);
}

/// As browsers load: a partial file that grows at several places, then gets its name.
#[test]
fn a_download_that_grows_in_pieces_is_uploaded_when_it_is_whole() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let file = File::create_new(drive.path("film.part")).unwrap();
    file.set_len(300_000).unwrap();
    for piece in [2u8, 0, 1] {
        let at = u64::from(piece) * 100_000;
        file.write_all_at(&vec![piece + 1; 100_000], at).unwrap();
    }
    drop(file);
    fs::rename(drive.path("film.part"), drive.path("film")).unwrap();
    let mut whole = vec![1; 100_000];
    whole.resize(200_000, 2);
    whole.resize(300_000, 3);
    drive.ends_with(&[("film", &whole)]);
}

#[test]
fn cp_copies_a_tree_without_a_word() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let mut files = tree(from.path(), "copied");
    quietly(
        Command::new("cp")
            .arg("-a")
            .arg(from.path())
            .arg(drive.path("copied")),
    );
    quietly(
        Command::new("diff")
            .arg("-r")
            .arg(from.path())
            .arg(drive.path("copied")),
    );
    // And on the mount itself.
    quietly(
        Command::new("cp")
            .arg("-a")
            .arg(drive.path("copied/sub"))
            .arg(drive.path("again")),
    );
    quietly(
        Command::new("diff")
            .arg("-r")
            .arg(from.path().join("sub"))
            .arg(drive.path("again")),
    );
    let again = files.iter().filter_map(|(path, bytes)| {
        let below = path.strip_prefix("copied/sub/")?;
        Some((format!("again/{below}"), bytes.clone()))
    });
    let again: Vec<_> = again.collect();
    files.extend(again);
    drive.ends_with(&borrowed(&files));
}

#[test]
fn rsync_has_nothing_to_do_the_second_time() {
    if !is_there("rsync") {
        return;
    }
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let files = tree(from.path(), "");
    let rsync = || {
        let mut source = from.path().as_os_str().to_owned();
        source.push("/");
        let mut command = Command::new("rsync");
        command.args(["-a", "--itemize-changes"]);
        quietly(command.arg(source).arg(drive.mount.dir()))
    };
    assert!(!rsync().is_empty());
    assert_eq!(rsync(), "");
    drive.ends_with(&borrowed(&files));
}

#[test]
fn tar_unpacks_a_tree_without_a_word() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let from = tempfile::tempdir().unwrap();
    let files = tree(&from.path().join("tree"), "tree");
    let archive = from.path().join("archive.tar");
    let tar = |arguments: &[&str], dir: &Path| {
        let mut command = Command::new("tar");
        command.args(arguments).arg(&archive).arg("-C").arg(dir);
        command
    };
    quietly(tar(&["-cf"], from.path()).arg("tree"));
    quietly(&mut tar(&["-xf"], &drive.mount.dir()));
    drive.ends_with(&borrowed(&files));
}
