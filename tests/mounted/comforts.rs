//! `warm`, `cache` and `explain` beside a mount and after it, and the promises of the disk cache there.
use crate::harness::{self, Mount, assert_well_behaved, can_mount, eventually, read_file};
use fake_1fichier::{Fake, content};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

const MIB: u64 = 1 << 20;

/// Virtual seconds per real second.
const FACTOR: &str = "20";

/// Runs a command in the mount's session.
fn run(mount: &Mount, arguments: &[&str]) -> Output {
    let at = |name: &str| mount.state_dir().parent().unwrap().join(name);
    let mut command = harness::command();
    command
        .args(arguments)
        .env("HOME", at("home"))
        .env("XDG_RUNTIME_DIR", at("run"))
        .env("FICHIERFS_STATE_DIR", at("state"))
        .env("FICHIERFS_CACHE_DIR", at("cache"))
        .env("FICHIERFS_CLOCK", FACTOR);
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn cache_dir(mount: &Mount) -> PathBuf {
    mount.state_dir().parent().unwrap().join("cache")
}

fn expected(seed: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    content::fill(seed, 0, &mut bytes);
    bytes
}

/// The data files of a cache.
fn data_files(mount: &Mount) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for shard in fs::read_dir(cache_dir(mount).join("default/data")).unwrap() {
        for file in fs::read_dir(shard.unwrap().path()).unwrap() {
            files.push(file.unwrap().path());
        }
    }
    files
}

#[test]
fn what_was_warmed_is_read_at_once_and_can_be_checked_and_cleared() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let films = fake.account().mkdir(0, "films");
    // The fake tells the true hash of what has a MiB or less, and another of the rest.
    fake.account().add_synthetic(films, "small", MIB, 1);
    fake.account().add_synthetic(films, "large", 9 * MIB + 5, 2);
    fake.account().add_synthetic(0, "other", MIB, 3);
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    let films = mount.path("films");

    let told = lines(&run(&mount, &["warm", "--json", text(&films)]));
    let files: Vec<_> = told.iter().filter(|it| it["event"] == "file").collect();
    assert_eq!(files.len(), 2, "{told:?}");
    let done = told.last().unwrap();
    assert_eq!(done["event"], "done");
    assert_eq!(done["fetched_bytes"], 10 * MIB + 5);
    fake.clear_log();
    assert!(read_file(&films.join("large")).unwrap() == expected(2, 9 * MIB + 5));
    assert_eq!(fake.count_downloads(), 0);
    let again = out(&run(&mount, &["warm", text(&films)]));
    assert_eq!(
        again,
        "10.0 MiB of 2 files on disk, 0 B of it fetched now\n"
    );

    let status = &lines(&run(&mount, &["cache", "status", "--json"]))[0];
    assert_eq!(status["files"], 2);
    assert!(status["bytes"].as_u64().unwrap() > 10 * MIB);
    let page = out(&run(&mount, &["cache", "status"]));
    assert!(page.contains("of 2 files\nLimit"), "{page}");

    // All checksums are right; compared with the service, one is the same and one is not.
    let checked = out(&run(&mount, &["cache", "verify"]));
    assert_eq!(checked, "10.0 MiB of 2 files sound\n");
    let small = films.join("small");
    let checked = out(&run(&mount, &["cache", "verify", text(&small)]));
    assert!(
        checked.contains("1 file whole and as the service has it"),
        "{checked}"
    );
    let differs = run(&mount, &["cache", "verify", "--json", text(&films)]);
    assert_eq!(differs.status.code(), Some(1));
    let sum = lines(&differs).pop().unwrap();
    assert_eq!((&sum["compared"], &sum["differ"]), (&1.into(), &1.into()));
    // What differs is not kept.
    let status = &lines(&run(&mount, &["cache", "status", "--json"]))[0];
    assert_eq!(status["files"], 1);
    // Listings had said the hashes: no call was made for them.
    assert_eq!(fake.count("file/info"), 0);
    // Without paths nothing is known from listings.
    out(&run(&mount, &["cache", "verify", "--whirlpool"]));
    assert_eq!(fake.count("file/info"), 1);

    out(&run(
        &mount,
        &["warm", "--edges", text(&mount.path("other"))],
    ));
    let cleared = out(&run(&mount, &["cache", "clear", text(&small)]));
    assert_eq!(cleared, "1.0 MiB of 1 file thrown away\n");
    let cleared = out(&run(&mount, &["cache", "clear"]));
    assert_eq!(cleared, "1.0 MiB of 1 file thrown away\n");

    // A folder somebody else uses is not touched.
    let cache = cache_dir(&mount);
    let refused = run(&mount, &["cache", "clear", "--cache-dir", text(&cache)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("pid {}", mount.pid())), "{said}");
    for command in [
        &["warm", "/"][..],
        &["cache", "verify", "/"],
        &["explain", "/"],
    ] {
        let refused = run(&mount, command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("no mount of fichierfs"), "{said}");
        assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1));
    }
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_cache_that_nobody_mounts_can_be_looked_at_checked_and_cleared() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    fake.account().add_synthetic(0, "film", 2 * MIB, 1);
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    out(&run(&mount, &["warm", text(&mount.path("film"))]));
    mount.umount();
    let page = out(&run(&mount, &["cache", "status"]));
    assert!(page.contains("of 1 file\nLimit    10.0 GiB"), "{page}");
    let checked = out(&run(&mount, &["cache", "verify"]));
    assert_eq!(checked, "2.0 MiB of 1 file sound\n");
    let data = File::options().write(true).open(&data_files(&mount)[0]);
    data.unwrap().write_all_at(b"damage", MIB).unwrap();
    let found = run(&mount, &["cache", "verify"]);
    assert_eq!(found.status.code(), Some(1));
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(said.contains("64.0 KiB damaged"), "{said}");
    // It is fetched anew, and nothing else is.
    fake.clear_log();
    mount.start();
    assert!(read_file(&mount.path("film")).unwrap() == expected(1, 2 * MIB));
    let sent: u64 = fake.log().iter().map(|it| it.bytes_sent).sum();
    assert!((65_536..MIB).contains(&sent), "{sent}");
    mount.umount();
    let cleared = out(&run(&mount, &["cache", "clear"]));
    assert!(cleared.ends_with("of 1 file thrown away\n"), "{cleared}");
    assert!(data_files(&mount).is_empty());
    assert!(
        run(&mount, &["cache", "verify", "--whirlpool"])
            .status
            .code()
            == Some(1)
    );
    assert_well_behaved(&fake);
}

/// The names of `docs/explain.md` are those of the document, all of them, on both sides.
#[test]
fn an_explanation_tells_all_that_is_documented() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let folder = fake.account().mkdir(0, "folder");
    fake.account().add_synthetic(folder, "film", 3 * MIB, 1);
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    let path = mount.path("folder/film");
    let mut file = File::open(&path).unwrap();
    file.read_exact(&mut [0; 5000]).unwrap();
    let calls = fake.log().len();
    let explained = &lines(&run(&mount, &["explain", "--json", text(&path)]))[0];
    let handle = &explained["reading"]["handles"][0];
    assert_eq!(handle["pid"], std::process::id());
    assert!(handle["last_wait"]["seconds"].as_f64() > Some(0.0));
    assert_eq!(explained["inode"], fs::metadata(&path).unwrap().ino());
    let mut fields = Vec::new();
    collect(explained, "", &mut fields);
    assert!(fields.len() > 50, "{fields:?}");
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/explain.md");
    let docs = fs::read_to_string(docs).unwrap();
    for field in &fields {
        assert!(
            docs.contains(&format!("| `{field}` |")),
            "{field} is not documented"
        );
    }
    for row in docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
    {
        assert!(
            fields.iter().any(|field| field == row),
            "{row} is not there"
        );
    }
    let page = out(&run(&mount, &["explain", text(&path)]));
    let us = format!("(process {})", std::process::id());
    for says in ["Listing", "Memory", "Link", "last wait", &us] {
        assert!(page.contains(says), "{says}: {page}");
    }
    let folder = out(&run(&mount, &["explain", text(&mount.path("folder"))]));
    assert!(folder.contains("1 entry"), "{folder}");
    assert_eq!(fake.log().len(), calls, "it asked the service");
    drop(file);
    mount.umount();
    assert_well_behaved(&fake);
}

/// The paths of all fields; of lists the first element's.
fn collect(value: &Value, path: &str, fields: &mut Vec<String>) {
    match value {
        Value::Object(members) if !path.ends_with("longest_wait") => {
            for (name, value) in members {
                let below = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                collect(value, &below, fields);
            }
        }
        Value::Array(items) if items.first().is_some_and(Value::is_object) => {
            collect(&items[0], path, fields);
        }
        _ => fields.push(path.to_owned()),
    }
}

#[test]
fn two_mounts_never_share_a_cache_and_both_serve() {
    if !can_mount() {
        return;
    }
    let fakes = [1, 2].map(|seed| {
        let fake = Fake::builder().clock(FACTOR).start().unwrap();
        fake.account().add_synthetic(0, "film", MIB, seed);
        fake
    });
    let mut first = Mount::with(&fakes[0], Some(FACTOR), &[]);
    let mut second = Mount::prepared(&fakes[1], Some(FACTOR), &[]);
    fs::remove_dir(cache_dir(&second)).unwrap();
    symlink(cache_dir(&first), cache_dir(&second)).unwrap();
    second.start();
    assert!(read_file(&second.path("film")).unwrap() == expected(2, MIB));
    assert!(read_file(&first.path("film")).unwrap() == expected(1, MIB));
    let log = second.log();
    let pid = format!("in use by another process (pid {})", first.pid());
    assert!(log.contains("no disk cache") && log.contains(&pid), "{log}");
    second.umount();
    first.umount();
    fakes.iter().for_each(assert_well_behaved);
}

#[test]
fn the_cache_is_never_over_its_limit_while_three_times_as_much_is_read() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let (limit, size) = (24 * MIB, 18 * MIB);
    for seed in 0..4 {
        fake.account()
            .add_synthetic(0, &format!("{seed}"), size, seed);
    }
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--cache-size", "24MiB"]);
    let cache = cache_dir(&mount).join("default");
    let done = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(on_disk(&cache));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            most
        });
        // All are open all the time.
        let files: Vec<File> = (0..4)
            .map(|seed| File::open(mount.path(&format!("{seed}"))).unwrap())
            .collect();
        let mut piece = vec![0; 1 << 20];
        for at in (0..size).step_by(1 << 20) {
            for (file, seed) in files.iter().zip(0..) {
                file.read_exact_at(&mut piece, at).unwrap();
                let mut want = vec![0; piece.len()];
                content::fill(seed, at, &mut want);
                assert!(piece == want, "wrong bytes at {at} of {seed}");
            }
        }
        done.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    });
    assert!(most <= limit, "{most} bytes");
    assert!(most > limit / 2, "{most} bytes: it was hardly used");
    mount.umount();
    assert_well_behaved(&fake);
}

/// A small file system on a folder, gone when dropped.
struct Tmpfs(PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_cache_disk_leaves_reading_as_it_was() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let size = 9 * MIB;
    fake.account().add_synthetic(0, "film", size, 6);
    let mut mount = Mount::prepared(&fake, Some(FACTOR), &[]);
    let small = Tmpfs(cache_dir(&mount));
    let mut command = Command::new("mount");
    command
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(&small.0);
    if !command.status().is_ok_and(|status| status.success()) {
        eprintln!("!!! SKIPPED: no small file system can be mounted here !!!");
        return;
    }
    mount.start();
    let want = expected(6, size);
    for _ in 0..2 {
        assert!(read_file(&mount.path("film")).unwrap() == want);
        let _ = fs::write("/proc/sys/vm/drop_caches", "1");
    }
    let status = &lines(&run(&mount, &["cache", "status", "--json"]))[0];
    let problem = status["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("No space left"), "{status}");
    // Warming says why it cannot.
    let refused = run(&mount, &["warm", text(&mount.path("film"))]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("No space left"),
        "{said}"
    );
    mount.umount();
    drop(small);
    assert_well_behaved(&fake);
}

/// Bytes a folder takes on disk with all below; files may vanish meanwhile.
fn on_disk(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|it| on_disk(&it.path())).sum::<u64>()
}

#[test]
fn the_kernel_reads_what_is_whole_in_the_cache_itself() {
    if !can_mount() || fs::write("/proc/sys/vm/drop_caches", "1").is_err() {
        return;
    }
    let fake = Fake::builder().clock(FACTOR).start().unwrap();
    let size = 5 * MIB + 77;
    fake.account().add_synthetic(0, "film", size, 4);
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--read-only"]);
    let path = mount.path("film");
    let handles = |mount: &Mount| {
        let told = lines(&run(mount, &["explain", "--json", text(&path)]));
        told[0]["reading"]["handles"].clone()
    };
    // Not before it was read whole and found sound.
    out(&run(&mount, &["warm", text(&path)]));
    drop(File::open(&path).unwrap());
    let ordinary = File::open(&path).unwrap();
    assert_eq!(handles(&mount)[0]["lent"], false);
    assert!(run(&mount, &["cache", "verify"]).status.success());
    // As long as it is open in the ordinary way, everybody opens it so.
    let beside = File::open(&path).unwrap();
    assert_eq!(handles(&mount)[1]["lent"], false);
    drop((ordinary, beside));
    let log = mount.log();
    if log.contains("no passthrough") || log.contains("does not read the disk cache") {
        eprintln!("!!! SKIPPED: this kernel or file system has no passthrough !!!");
        return;
    }
    let mut lent = None;
    eventually("it is lent", || {
        drop(lent.take());
        // The last close reaches the mount a moment later.
        let file = File::open(&path).unwrap();
        let is_lent = handles(&mount)[0]["lent"] == true;
        lent = Some(file);
        is_lent || mount.log().contains("does not read the disk cache")
    });
    if mount.log().contains("does not read the disk cache") {
        eprintln!("!!! SKIPPED: no passthrough on this file system !!!");
        return;
    }
    let lent = lent.unwrap();
    let second = File::open(&path).unwrap();
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    fake.clear_log();
    let all = |file: &File| {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == expected(4, size));
    };
    all(&lent);
    all(&second);
    let now = handles(&mount);
    assert_eq!((&now[0]["reads"], &now[1]["reads"]), (&0.into(), &0.into()));
    assert_eq!(now[1]["lent"], true);
    // The next mount need not read it again: it is the very file that was found sound.
    drop((lent, second));
    mount.umount();
    mount.start();
    let mut lent = None;
    eventually("it is lent by the next mount", || {
        drop(lent.take());
        let file = File::open(&path).unwrap();
        let is_lent = handles(&mount)[0]["lent"] == true;
        lent = Some(file);
        is_lent
    });
    let (lent, second) = (lent.unwrap(), File::open(&path).unwrap());
    fake.clear_log();
    all(&lent);
    // What is thrown away stays for those who have it open, and for them alone.
    out(&run(&mount, &["cache", "clear"]));
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    all(&lent);
    assert_eq!(fake.log().len(), 0);
    drop((lent, second));
    eventually("it is opened in the ordinary way", || {
        let file = File::open(&path).unwrap();
        all(&file);
        handles(&mount)[0]["lent"] == false
    });
    mount.umount();
    assert_well_behaved(&fake);
}
