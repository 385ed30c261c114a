//! `dupes` and `export-index`: beside a running mount, and without one from what it left.
use crate::harness::{
    Mount, assert_well_behaved, can_mount, command, eventually, is_mounted, names,
};
use crate::schema;
use fake_1fichier::{Account, Fake};
use fichierfs::control::client::AskError;
use fichierfs::control::find::{self, Mounted};
use fichierfs::control::index::TwinId;
use fichierfs::control::{Answer, Client, Keep, Request, Spare, Within};
use nix::sys::stat;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

/// Virtual seconds per real second.
const FACTOR: &str = "20";

/// An account that is mounted and known whole.
struct Known {
    fake: Fake,
    mount: Mount,
}

impl Known {
    fn new(fill: impl FnOnce(&Account)) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let fake = Fake::builder().clock(FACTOR).start().unwrap();
        fill(fake.account());
        fake.account().hash_all();
        let known = Self {
            mount: Mount::with(&fake, Some(FACTOR), &["--dir-cache-time", "1h"]),
            fake,
        };
        known.completed();
        Some(known)
    }

    /// Waits until the tree is known whole.
    fn completed(&self) {
        eventually("the tree is complete", || {
            let mut command = command();
            let command = command.args(["status", "--json"]).arg(self.mount.dir());
            let out = command.output().unwrap();
            let status: Value = serde_json::from_slice(&out.stdout).unwrap();
            status["mounts"][0]["status"]["tree"]["crawl"]["stage"] == "done"
        });
    }

    /// A command about the account, which it finds by the mount's socket or in the mount's state folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.mount.command();
        command
            .args(arguments)
            .arg("--state-dir")
            .arg(self.mount.state_dir())
            .args(["--api-url", &self.fake.api_url()])
            .env("FICHIERFS_API_KEY", self.fake.key());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for folder in self.fake.account().tree() {
            for file in folder.files {
                let path = Path::new("/").join(&folder.path).join(&file.name);
                files.push(path.to_str().unwrap().to_owned());
            }
        }
        files.sort();
        files
    }
}

fn text(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.trim_end().lines().count() == 1, "{err}");
    for word in words {
        assert!(err.contains(word), "`{word}` is missing: {err}");
    }
}

fn lines(name: &str, output: &Output) -> Vec<Value> {
    let text = text(output);
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        schema::check(name, line);
    }
    lines
}

/// Three of one content and two of another, an empty-looking stranger and names that are hard to write.
fn twins(account: &Account) {
    let photos = account.mkdir_p("/photos/2020");
    let copies = account.mkdir_p("/copies of photos");
    let first = account.add_bytes(photos, "a.jpg", vec![1; 5000]);
    let second = account.add_bytes(copies, "a.jpg", vec![1; 5000]);
    let third = account.add_bytes(0, "z.jpg", vec![1; 5000]);
    account.set_date(&first, "2020-05-01 12:00:00");
    account.set_date(&second, "2019-05-01 12:00:00");
    account.set_date(&third, "2021-05-01 12:00:00");
    account.add_bytes(photos, "b.jpg", vec![2; 100]);
    account.add_bytes(copies, "renamed, \"b\".jpg", vec![2; 100]);
    account.add_bytes(photos, "alone.jpg", vec![3; 100]);
    // As long as another, and something else.
    account.add_bytes(photos, "other.jpg", vec![4; 5000]);
}

fn check_twins(output: &Output) {
    let lines = lines("dupes", output);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let others = |line: &Value| -> Vec<String> {
        let others = line["others"].as_array().unwrap().iter();
        others
            .map(|it| it["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(lines[0]["size"], 5000);
    assert_eq!(lines[0]["keep"]["path"], "/copies of photos/a.jpg");
    assert_eq!(others(&lines[0]), ["/photos/2020/a.jpg", "/z.jpg"]);
    assert_eq!(lines[1]["size"], 100);
    assert_eq!(lines[2]["event"], "done");
    assert_eq!(lines[2]["groups"], 2);
    assert_eq!(lines[2]["spare_bytes"], 10_100);
    assert_eq!(lines[2]["seen"]["files"], 7);
}

#[test]
fn files_that_hold_the_same_are_found_without_a_call() {
    let Some(mut known) = Known::new(twins) else {
        return;
    };
    let calls = known.fake.log().len();
    check_twins(&known.run(&["dupes", "--json"]));
    let page = text(&known.run(&["dupes", "--keep", "newest"]));
    assert!(
        page.contains("3 files of 4.9 KiB each\n  /z.jpg\n"),
        "{page}"
    );
    assert!(
        page.contains("5 files hold 2 contents; 9.9 KiB would"),
        "{page}"
    );
    // Only what is below a folder, by either kind of path.
    let below = known.mount.path("photos");
    for folder in [below.to_str().unwrap(), "/photos"] {
        let page = text(&known.run(&["dupes", folder]));
        assert_eq!(page, "no two of 4 files hold the same\n", "{folder}");
    }
    assert!(known.mount.umount().success());
    check_twins(&known.run(&["dupes", "--json"]));
    let page = text(&known.run(&["dupes", "--keep", "shortest-path", "/"]));
    assert!(
        page.contains("  /z.jpg\n  /copies of photos/a.jpg\n"),
        "{page}"
    );
    assert_eq!(known.fake.log().len(), calls, "nobody was asked");
    assert_well_behaved(&known.fake);
}

#[test]
fn all_but_one_are_removed_and_only_after_a_yes() {
    let Some(known) = Known::new(twins) else {
        return;
    };
    let dir = known.mount.dir();
    refused(
        &known.run(&["dupes", "--delete"]),
        1,
        &["3 files with 9.9 KiB", "--yes"],
    );
    assert_eq!(known.files().len(), 7);
    // What is changed here meanwhile stays, whatever the account still shows.
    fs::write(dir.join("photos/2020/b.jpg"), "mine").unwrap();
    let output = known.run(&["dupes", "--delete", "--yes", "--json"]);
    let told = lines("dupes", &output);
    let done = told.last().unwrap();
    assert_eq!(done["removed_files"], 2);
    assert_eq!(done["removed_bytes"], 10_000);
    // Seen at once by everybody.
    assert_eq!(
        names(&dir.join("photos/2020")).unwrap(),
        ["alone.jpg", "b.jpg", "other.jpg"]
    );
    assert!(!dir.join("z.jpg").exists());
    let mut command = command();
    let synced = command.arg("sync").arg(&dir).output().unwrap();
    assert!(synced.status.success());
    assert_eq!(
        known.files(),
        [
            "/copies of photos/a.jpg",
            "/copies of photos/renamed, \"b\".jpg",
            "/photos/2020/alone.jpg",
            "/photos/2020/b.jpg",
            "/photos/2020/other.jpg",
        ]
    );
    assert_well_behaved(&known.fake);
}

#[test]
fn without_a_mount_the_account_is_told_before_the_command_ends() {
    let Some(mut known) = Known::new(twins) else {
        return;
    };
    assert!(known.mount.umount().success());
    let before = known.fake.log().len();
    let output = known.run(&["dupes", "--delete", "--yes", "--keep", "newest"]);
    assert!(
        text(&output).ends_with("3 files, 9.9 KiB, removed\n"),
        "{output:?}"
    );
    assert_eq!(known.files().len(), 4);
    assert!(known.files().contains(&"/z.jpg".to_owned()));
    // Two folders looked at again, and all removals in one call.
    let calls = known.fake.log().len() - before;
    assert!(calls <= 4, "{calls} calls");
    known.mount.start();
    assert!(!known.mount.path("photos/2020/a.jpg").exists());
    assert_well_behaved(&known.fake);
}

/// Somebody else removes the only other one: then this one is the last, and stays.
#[test]
fn the_last_one_is_never_removed() {
    let Some(mut known) = Known::new(|account| {
        let folder = account.mkdir(0, "folder");
        let first = account.add_bytes(folder, "first", vec![7; 100]);
        account.set_date(&first, "2019-05-01 12:00:00");
        account.add_bytes(0, "second", vec![7; 100]);
    }) else {
        return;
    };
    let first = known.fake.account().files_at("/folder/first").remove(0);
    assert!(known.fake.account().remove(&first.url));
    let output = known.run(&["dupes", "--delete", "--yes", "--json"]);
    let told = lines("dupes", &output);
    assert_eq!(told[1]["event"], "removed");
    assert_eq!(told[1]["files"], 0);
    let reason = told[1]["left"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("nothing was removed"), "{reason}");
    assert!(known.mount.umount().success());
    assert_eq!(known.files(), ["/second"]);
    assert_well_behaved(&known.fake);
}

#[test]
fn what_is_not_listed_yet_is_said() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    fake.account().mkdir_p("/one/two");
    let mut known = Known {
        mount: Mount::with(&fake, Some(FACTOR), &["--no-crawl"]),
        fake,
    };
    names(&known.mount.dir()).unwrap();
    for _ in 0..2 {
        for arguments in [&["dupes"][..], &["export-index"]] {
            let output = known.run(arguments);
            refused(&output, 3, &["1 folder is not listed yet"]);
        }
        refused(
            &known.run(&["dupes", "/one/two"]),
            1,
            &["one is not listed yet"],
        );
        if is_mounted(&known.mount.dir()) {
            known.mount.umount();
        }
    }
    assert_well_behaved(&known.fake);
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let Some(mut known) = Known::new(twins) else {
        return;
    };
    for _ in 0..2 {
        for command in ["dupes", "export-index"] {
            let missing = ["there is no", "nowhere"];
            refused(&known.run(&[command, "/nowhere"]), 1, &missing);
            refused(
                &known.run(&[command, "nowhere"]),
                1,
                &["no path in the account"],
            );
            refused(&known.run(&[command, "/photos/.."]), 1, &["there is no"]);
        }
        if is_mounted(&known.mount.dir()) {
            known.mount.umount();
        }
    }
    for (arguments, word) in [
        (&["dupes", "--keep", "prettiest"][..], "prettiest"),
        (&["dupes", "--yes"], "--delete"),
        (&["export-index", "--format", "xml"], "xml"),
    ] {
        refused(&known.run(arguments), 2, &[word]);
    }
    // An account nothing is known of.
    let mut command = known.command(&["dupes", "--account", "stranger"]);
    refused(
        &command.output().unwrap(),
        1,
        &["stranger", "mount it once"],
    );
    assert_well_behaved(&known.fake);
}

/// A table as RFC 4180 has it, as rows of fields.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let (mut is_quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let row = rows.last_mut().unwrap();
        let field = row.last_mut().unwrap();
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            '"' => is_quoted = !is_quoted,
            c if is_quoted => field.push(c),
            ',' => row.push(String::new()),
            '\r' => {
                assert_eq!(chars.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            c => field.push(c),
        }
    }
    assert_eq!(rows.pop().unwrap(), [""], "the last line has an end");
    rows
}

#[test]
fn the_index_is_a_table_or_lines_of_json() {
    let Some(mut known) = Known::new(twins) else {
        return;
    };
    let calls = known.fake.log().len();
    let url = known.fake.account().files_at("/z.jpg").remove(0).url;
    let mut tables = Vec::new();
    for _ in 0..2 {
        let table = text(&known.run(&["export-index"]));
        let rows = read_csv(&table);
        let paths: Vec<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
        assert_eq!(
            paths,
            [
                "/copies of photos/a.jpg",
                "/copies of photos/renamed, \"b\".jpg",
                "/photos/2020/a.jpg",
                "/photos/2020/alone.jpg",
                "/photos/2020/b.jpg",
                "/photos/2020/other.jpg",
                "/z.jpg",
            ]
        );
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        assert_eq!(rows[7][1], "5000");
        assert_eq!(rows[7][3], "2021-05-01T10:00:00Z", "Paris time in UTC");
        assert_eq!(rows[7][6], url);
        let json = lines(
            "export-index",
            &known.run(&["export-index", "--format", "json"]),
        );
        for (row, line) in rows[1..].iter().zip(&json) {
            assert_eq!(line["path"], row[0].as_str());
            assert_eq!(line["whirlpool"], row[2].as_str());
            assert_eq!(line["id"], row[5].as_str());
        }
        assert_eq!(json.len(), 7);
        // A single file has a name, too.
        let one = text(&known.run(&[
            "export-index",
            "/photos/2020/a.jpg",
            "--format",
            "whirlpool",
        ]));
        assert!(one.ends_with("  ./a.jpg\n"), "{one}");
        tables.push(table);
        if is_mounted(&known.mount.dir()) {
            known.mount.umount();
        }
    }
    assert_eq!(tables[0], tables[1], "with a mount and without");
    assert_eq!(known.fake.log().len(), calls, "nobody was asked");
    assert_well_behaved(&known.fake);
}

#[test]
fn what_is_only_here_is_in_the_index_too() {
    let Some(mut known) = Known::new(|_| {}) else {
        return;
    };
    fs::write(known.mount.path("with\nbreak, and \"quotes\""), "abc").unwrap();
    fs::write(known.mount.path("empty"), "").unwrap();
    let rows = read_csv(&text(&known.run(&["export-index"])));
    assert_eq!(rows[1][..2], ["/empty", "0"]);
    assert_eq!(rows[1].last().unwrap(), "local");
    assert_eq!(rows[2][..2], ["/with\nbreak, and \"quotes\"", "3"]);
    assert!(known.mount.umount().success());
    let again = read_csv(&text(&known.run(&["export-index"])));
    assert_eq!(again[1], rows[1]);
    assert_eq!(again[2][..2], rows[2][..2]);
    assert_eq!(again[2].last().unwrap(), "clean");
    assert_well_behaved(&known.fake);
}

/// The sum file is one that a program of others reads.
#[test]
fn rhash_checks_the_sum_file() {
    if Command::new("rhash").arg("--version").output().is_err() {
        eprintln!("!!! SKIPPED: rhash is not installed, the sum file was not tried !!!");
        return;
    }
    let Some(mut known) = Known::new(|account| {
        let folder = account.mkdir_p("/set/sub dir");
        let encoded = |name| fichierfs::tree::encode(OsStr::new(name));
        let broken = [encoded("line\nbreak"), encoded("back\\slash")];
        let plain = [
            "plain",
            " blank first",
            "#x",
            ";x",
            "*x",
            "-x",
            "a  b",
            "é",
            "(x) = y",
        ];
        let names = plain.into_iter().chain(broken.iter().map(|name| &**name));
        for (at, name) in names.enumerate() {
            account.add_bytes(folder, name, vec![u8::try_from(at).unwrap(); 50]);
        }
    }) else {
        return;
    };
    let folder = known.mount.path("set");
    let check = |known: &Known, arguments: &[&str], damage: bool| {
        let sums = known.run(arguments);
        let mut text = text(&sums);
        if damage {
            let first = if text.starts_with('0') { "1" } else { "0" };
            text.replace_range(..1, first);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &text).unwrap();
        let mut command = Command::new("rhash");
        command.args(["--whirlpool", "--check"]).arg(file.path());
        let output = command.current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text.lines().count(), said)
    };
    let arguments = ["export-index", "--format", "whirlpool", "/set"];
    let (is_well, count, said) = check(&known, &arguments, false);
    assert!(is_well && count == 10, "{said}");
    assert!(!check(&known, &arguments, true).0, "it compares");
    // What the account does not have yet has no hash.
    fs::write(folder.join("new"), "x").unwrap();
    let output = known.run(&arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("2 files left out"), "{err}");
    known.mount.umount();
    assert_well_behaved(&known.fake);
}

/// What the mount refuses, whatever a command asks of it: the last line of defence.
#[test]
fn a_mount_removes_nothing_that_is_not_as_it_was() {
    let Some(mut known) = Known::new(twins) else {
        return;
    };
    let mut found = Vec::new();
    let mut client = client(&known.mount);
    let request = Request::Duplicates {
        within: Within::All,
        keep: Keep::Oldest,
    };
    client
        .ask_long(&request, |told| {
            if let Answer::Duplicates(twins) = told {
                found.push(twins);
            }
        })
        .unwrap();
    let three = &found[0];
    let [keep, other, third] = &three.files[..] else {
        panic!("{three:?}");
    };
    let spare = |keep: &TwinId, remove: &[&TwinId]| Spare {
        whirlpool: three.whirlpool.clone(),
        size: three.size,
        keep: keep.clone(),
        believed_ms: 0,
        remove: remove.iter().map(|it| (*it).clone()).collect(),
    };
    let mut ask = |spare: Spare| match client.ask_long(&Request::RemoveSpare { spare }, |_| {}) {
        Ok(Answer::Removed(removed)) => Ok(removed),
        Err(AskError::Refused(why)) => Err(why),
        other => panic!("{other:?}"),
    };
    // The kept one itself, one of another content, one that is elsewhere.
    let stranger = &found[1].files[0].file;
    let moved = TwinId {
        folder: keep.file.folder,
        ..other.file.clone()
    };
    let refused = ask(spare(&keep.file, &[&keep.file, stranger, &moved])).unwrap();
    assert_eq!((refused.files, refused.left.len()), (0, 3), "{refused:?}");
    // Another content than they have.
    let mut wrong = spare(&keep.file, &[&other.file]);
    wrong.size += 1;
    assert!(ask(wrong).unwrap_err().contains("nothing was removed"));
    let mut wrong = spare(&keep.file, &[&other.file]);
    wrong.whirlpool = "nonsense".into();
    assert!(ask(wrong).unwrap_err().contains("nothing was removed"));
    // One that is being written to, and one that was.
    let open = fs::OpenOptions::new()
        .append(true)
        .open(known.mount.dir().join(&other.path[1..]))
        .unwrap();
    fs::write(known.mount.dir().join(&third.path[1..]), "mine").unwrap();
    let refused = ask(spare(&keep.file, &[&other.file, &third.file])).unwrap();
    assert_eq!((refused.files, refused.left.len()), (0, 2), "{refused:?}");
    drop(open);
    // The kept one was written to.
    fs::write(known.mount.dir().join(&keep.path[1..]), "mine").unwrap();
    assert!(ask(spare(&keep.file, &[&other.file])).is_err());
    assert!(known.mount.umount().success());
    assert_eq!(known.files().len(), 7);
    assert_well_behaved(&known.fake);
}

/// A connection to the process that serves a mount.
fn client(mount: &Mount) -> Client {
    let account = Mounted {
        account: &"default".parse().unwrap(),
        device: &device(&mount.dir()),
        owner: nix::unistd::geteuid().as_raw(),
    };
    find::of_mount(&account, &[])
        .expect("a mount that answers")
        .0
}

/// The device of a mount, as the kernel writes it.
fn device(dir: &Path) -> String {
    let device = fs::metadata(dir).unwrap().dev();
    format!("{}:{}", stat::major(device), stat::minor(device))
}
