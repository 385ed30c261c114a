//! What programs do when they save, copy and unpack. Each file is sent once, and what was there for a moment only
//! never is.
use crate::harness::{Drive, names};
use crate::outbox::{LATER, says};
use fake_1fichier::{Fake, content};
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

/// A mount of which nothing is uploaded before somebody waits for it: what programs do takes less than a file
/// takes to settle, however slow the machine is.
fn patient() -> Option<Drive> {
    Drive::with("20", &LATER, |_| {})
}

/// The names of what was sent, in order.
fn sent(fake: &Fake) -> Vec<String> {
    let log = fake.log();
    let uploads = log.iter().filter(|it| it.endpoint == "upload.cgi");
    let files = uploads.flat_map(|it| it.params["files"].as_array().cloned().unwrap_or_default());
    let mut names: Vec<String> = files
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The account holds these files in the end, and each was sent once, and nothing else.
fn ends_having_sent_only(drive: Drive, files: &[(&str, &[u8])]) {
    let fake = drive.ends_with(files);
    let mut wanted: Vec<String> = files
        .iter()
        .map(|(path, _)| path.rsplit('/').next().unwrap().to_owned())
        .collect();
    wanted.sort();
    assert_eq!(sent(&fake), wanted);
}

/// Everything below a folder that the account can hold: all but empty files.
fn all_below(dir: &Path, at: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in names(dir).unwrap() {
        let (path, there) = (dir.join(&name), format!("{at}{name}"));
        if path.is_dir() {
            files.extend(all_below(&path, &format!("{there}/")));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if !bytes.is_empty() {
            files.push((there, bytes));
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
    let Some(drive) = Drive::with("20", &LATER, |account| {
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
    ends_having_sent_only(drive, &[("text", b"new")]);
}

/// As office programs save: a lock beside, the new one under a passing name in the same folder, moved over the old
/// one; twice.
#[test]
fn saving_with_a_lock_beside_sends_the_last_state_only() {
    let Some(drive) = Drive::with("20", &LATER, |account| {
        account.add_bytes(0, "letter.odt", "old");
    }) else {
        return;
    };
    let lock = drive.path(".~lock.letter.odt#");
    fs::write(&lock, ",user,machine,21.11.2026 15:00;").unwrap();
    for text in ["first", "second"] {
        let beside = drive.path(&format!("lu{}.tmp", text.len()));
        let mut file = File::create_new(&beside).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::rename(&beside, drive.path("letter.odt")).unwrap();
        assert_eq!(fs::read(drive.path("letter.odt")).unwrap(), text.as_bytes());
    }
    fs::remove_file(&lock).unwrap();
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["letter.odt"]);
    ends_having_sent_only(drive, &[("letter.odt", b"second")]);
}

#[test]
fn sqlite_keeps_its_database_whole() {
    if !is_there("sqlite3") {
        return;
    }
    let Some(drive) = patient() else {
        return;
    };
    let database = drive.path("data.db");
    let sqlite = |statements: &str| {
        let mut command = Command::new("sqlite3");
        quietly(command.arg("-batch").arg(&database).arg(statements))
    };
    sqlite("CREATE TABLE t (number INTEGER PRIMARY KEY, text TEXT);");
    for round in 0..5 {
        sqlite(&format!(
            "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) \
             INSERT INTO t(text) SELECT printf('%d of round {round}', i) FROM n; COMMIT; \
             DELETE FROM t WHERE number % 7 = 0;"
        ));
    }
    sqlite("VACUUM;");
    let check = "PRAGMA integrity_check; SELECT count(*) FROM t WHERE text LIKE '%round 4';";
    let checked = sqlite(check);
    assert!(checked.starts_with("ok\n"), "{checked}");
    assert_eq!(names(&drive.mount.dir()).unwrap(), ["data.db"]);
    let bytes = fs::read(&database).unwrap();
    // What the account has is such a database, too.
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::write(copy.path(), &bytes).unwrap();
    let mut there = Command::new("sqlite3");
    assert_eq!(
        quietly(there.arg("-batch").arg(copy.path()).arg(check)),
        checked
    );
    ends_having_sent_only(drive, &[("data.db", &bytes)]);
}

#[test]
fn git_keeps_a_repository() {
    if !is_there("git") {
        return;
    }
    let Some(drive) = patient() else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .env("HOME", home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .arg("-C")
            .arg(drive.mount.dir())
            .args(["-c", "user.name=T", "-c", "user.email=t@example.org"])
            .args(["-c", "gc.auto=0", "-c", "init.defaultBranch=main"])
            .args(["-c", "safe.directory=*"])
            .args(arguments);
        quietly(&mut command)
    };
    git(&["init", "--quiet", "--template="]);
    let files = tree(&drive.path("work"), "work");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    fs::write(drive.path("work/file 0.bin"), "changed").unwrap();
    git(&["commit", "--quiet", "-a", "-m", "second"]);
    assert_eq!(git(&["status", "--porcelain"]), "");
    git(&["fsck", "--strict", "--no-progress"]);
    assert_eq!(git(&["log", "--format=%s"]), "second\nfirst\n");
    assert!(files.len() > 5);
    let all = all_below(&drive.mount.dir(), "");
    let is_passing = |path: &str| path.contains(".lock") || path.contains("tmp_obj");
    assert!(!all.iter().any(|(path, _)| is_passing(path)), "{all:?}");
    ends_having_sent_only(drive, &borrowed(&all));
}

/// A large file of the account, changed in the middle: only the change is staged, and the new version is right to
/// the last byte.
#[test]
fn a_kilobyte_changed_in_a_large_file_stages_a_kilobyte() {
    const SIZE: u64 = 256 << 20;
    const AT: u64 = SIZE / 2 + 777;
    const SEED: u64 = 4;
    // Slow enough for the account to be asked for all of it in time.
    let Some(drive) = Drive::with(
        "4",
        &["--account", "programs-large", "--settle", "1h"],
        |account| {
            account.add_synthetic(0, "large", SIZE, SEED);
        },
    ) else {
        return;
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open(drive.path("large"))
        .unwrap();
    file.write_all_at(&[0xab; 1024], AT).unwrap();
    drop(file);
    let writing = drive.writing();
    let staged = writing["staging_bytes"].as_u64().unwrap();
    assert!((1024..2 << 20).contains(&staged), "{writing}");
    let before: u64 = drive.fake.log().iter().map(|it| it.bytes_sent).sum();
    assert!(
        before < 4 << 20,
        "{before} bytes were fetched for a kilobyte"
    );
    let mut around = vec![0; 3072];
    let shown = File::open(drive.path("large")).unwrap();
    shown.read_exact_at(&mut around, AT - 1024).unwrap();
    let mut wanted = vec![0; 3072];
    content::fill(SEED, AT - 1024, &mut wanted);
    wanted[1024..2048].fill(0xab);
    assert!(around == wanted, "other bytes around the change");
    drop(shown);
    let old = drive.fake.account().files_at("large").remove(0).url;
    says(&drive.run_at(&["sync"], ""), 0, &["has everything"]);
    let there = drive.fake.account().files_at("large");
    assert_eq!(there.len(), 1, "{there:?}");
    assert_ne!(there[0].url, old, "it is a new one");
    assert!(
        drive.fake.account().file(&old).is_none(),
        "the old one is there"
    );
    let bytes = drive.fake.account().read_all(&there[0].url).unwrap();
    assert_eq!(bytes.len() as u64, SIZE);
    let mut piece = vec![0; 1 << 20];
    for (number, is) in bytes.chunks(1 << 20).enumerate() {
        let start = (number as u64) << 20;
        content::fill(SEED, start, &mut piece);
        for offset in AT.max(start)..(AT + 1024).min(start + (1 << 20)) {
            piece[usize::try_from(offset - start).unwrap()] = 0xab;
        }
        assert!(is == &piece[..], "other bytes in piece {number}");
    }
    assert_eq!(sent(&drive.fake), ["large"]);
}

/// As browsers load: a partial file that grows at several places, then gets its name.
#[test]
fn a_download_that_grows_in_pieces_is_uploaded_when_it_is_whole() {
    let Some(drive) = patient() else {
        return;
    };
    // The name is taken first, by an empty file.
    File::create_new(drive.path("film")).unwrap();
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
    ends_having_sent_only(drive, &[("film", &whole)]);
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
    let Some(drive) = patient() else {
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
    ends_having_sent_only(drive, &borrowed(&files));
}

#[test]
fn tar_unpacks_a_tree_without_a_word() {
    let Some(drive) = patient() else {
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
    ends_having_sent_only(drive, &borrowed(&files));
}
