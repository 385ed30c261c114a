//! Much at the same time: changes under listings, notices among lookups, ends in mid-request.
use crate::harness::{self, Mount, SOON, assert_well_behaved, can_mount, eventually, is_mounted};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Virtual seconds per real second.
const FACTOR: &str = "8";

/// A fake service for mounts that are made to work hard.
fn fake() -> Fake {
    Fake::builder().clock(FACTOR).start().unwrap()
}

/// The number behind `name` in the newest report of the mount.
fn reported(mount: &Mount, name: &str) -> Option<u64> {
    let log = mount.log();
    let line = log.lines().rev().find(|line| line.contains(name))?;
    let rest = &line[line.find(name)? + name.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[test]
fn the_kernel_gives_back_every_inode_it_was_told_of() {
    if !can_mount() || fs::write("/proc/sys/vm/drop_caches", "2").is_err() {
        return;
    }
    let fake = fake();
    for folder in 0..6 {
        let id = fake.account().mkdir_p(&format!("films/year {folder}"));
        for file in 0..200 {
            fake.account().add_synthetic(
                id,
                &format!("a rather long name of a film, number {file}.mkv"),
                1000,
                file,
            );
        }
    }
    let mut mount = Mount::with(&fake, Some(FACTOR), &[]);
    for _ in 0..3 {
        for arguments in [["-R", "-U"], ["-lR", "-U"], ["-lRi", "--color=always"]] {
            let ls = Command::new("ls").args(arguments).arg(mount.dir()).output();
            assert!(ls.unwrap().status.success());
        }
        let _ = fs::metadata(mount.path("films/year 1/no such file"));
        mount.signal("USR1");
        eventually("the kernel holds the tree", || {
            reported(&mount, "inodes: ") > Some(1000)
        });
        eventually("the kernel lets go of the tree", || {
            fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
            mount.signal("USR1");
            std::thread::sleep(Duration::from_millis(50));
            reported(&mount, "inodes: ") == Some(1)
        });
    }
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_listing_under_way_shows_what_stays_exactly_once_whatever_changes() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let folder = fake.account().mkdir(0, "folder");
    let urls: Vec<String> = (0..1500)
        .map(|number| {
            fake.account().add_synthetic(
                folder,
                &format!("{number:04} {}", "x".repeat(60)),
                10,
                number,
            )
        })
        .collect();
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--dir-cache-time", "30s"]);
    let dir = fs::read_dir(mount.path("folder")).unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut removed = 0;
    for (number, entry) in dir.enumerate() {
        *seen
            .entry(entry.unwrap().file_name().to_string_lossy().into_owned())
            .or_default() += 1;
        // Every third file goes from the account while we list, and new ones come.
        if number % 300 == 10 {
            for url in urls.iter().skip(removed).take(300).step_by(3) {
                fake.account().remove(url);
            }
            removed += 300;
            for new in 0..50 {
                fake.account()
                    .add_synthetic(folder, &format!("new {number} {new}"), 10, 1);
            }
            // Long enough for the listing to be looked at again, twice 30 s of the service's time.
            std::thread::sleep(Duration::from_millis(1700));
            let _ = fs::metadata(mount.path("folder"));
            let _ = fs::metadata(mount.path("folder/none"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    for (number, _) in urls
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 3 != 0)
    {
        let name = format!("{number:04} {}", "x".repeat(60));
        assert_eq!(seen.get(&name), Some(&1), "{name}");
    }
    assert!(seen.values().all(|times| *times == 1));
    assert!(
        fake.count("folder/ls") >= 4,
        "the listing never changed under us"
    );
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn notices_and_lookups_never_wait_for_each_other() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let folders: Vec<u64> = (0..4)
        .map(|number| fake.account().mkdir(0, &format!("folder {number}")))
        .collect();
    for folder in &folders {
        for number in 0..100 {
            fake.account()
                .add_synthetic(*folder, &format!("file {number}"), 100_000, number);
        }
    }
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--dir-cache-time", "30s"]);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..6usize {
            let (mount, over) = (&mount, &over);
            scope.spawn(move || {
                let mut turn = worker;
                while !over.load(Ordering::Relaxed) {
                    // Thousands of requests a second are enough, and the rest of the machine lives.
                    std::thread::sleep(Duration::from_micros(500));
                    turn += 1;
                    let folder = mount.path(&format!("folder {}", turn % 4));
                    match turn % 3 {
                        0 => drop(harness::names(&folder)),
                        1 => drop(fs::metadata(folder.join(format!("file {}", turn % 130)))),
                        _ => drop(
                            File::open(folder.join(format!("file {}", turn % 100)))
                                .map(|file| file.read_at(&mut [0; 100], 0)),
                        ),
                    }
                }
            });
        }
        for round in 0..60u64 {
            for folder in &folders {
                let view = fake.account().folder(*folder).unwrap();
                let file = &view.files[usize::try_from(round).unwrap() % view.files.len()];
                fake.account().remove(&file.url);
                fake.account().add_synthetic(
                    *folder,
                    &format!("file {}", 100 + round),
                    1000,
                    round,
                );
            }
            mount.signal("HUP");
            std::thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // What was found last is what is seen.
    eventually("the newest files are seen", || {
        folders.iter().enumerate().all(|(number, id)| {
            let mut want: Vec<_> = fake
                .account()
                .folder(*id)
                .unwrap()
                .files
                .iter()
                .map(|it| it.name.clone())
                .collect();
            want.sort();
            harness::names(&mount.path(&format!("folder {number}"))).is_ok_and(|got| got == want)
        })
    });
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_mount_ends_in_time_with_requests_of_all_kinds_under_way() {
    if !can_mount() {
        return;
    }
    for signal in ["TERM", "KILL"] {
        let fake = Fake::builder().start().unwrap();
        for number in 0..8 {
            fake.account()
                .add_synthetic(0, &format!("film {number}"), 1 << 30, number);
            let id = fake.account().mkdir(0, &format!("folder {number}"));
            fake.account().add_bytes(id, "file", "text");
        }
        let mut mount = Mount::new(&fake);
        assert_eq!(harness::names(&mount.dir()).unwrap().len(), 16);
        fake.faults().add(Fault::on("*", FaultKind::Stall));
        let users: Vec<_> = (0..8)
            .flat_map(|number| {
                let (film, folder) = (
                    mount.path(&format!("film {number}")),
                    mount.path(&format!("folder {number}")),
                );
                [
                    std::thread::spawn(move || {
                        File::open(film).is_ok_and(|file| file.read_at(&mut [0; 9], 0).is_ok())
                    }),
                    std::thread::spawn(move || fs::metadata(folder.join("file")).is_ok()),
                ]
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        mount.signal(signal);
        mount.wait();
        for user in users {
            assert!(!user.join().unwrap(), "an answer that cannot be");
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{signal}: {:?}",
            began.elapsed()
        );
        assert_eq!(is_mounted(&mount.dir()), signal == "KILL");
    }
}

#[test]
fn a_reader_that_is_killed_is_gone_at_once() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    fake.account().add_synthetic(0, "film.mkv", 1 << 30, 1);
    let mut mount = Mount::new(&fake);
    fake.faults().add(Fault::on("download", FaultKind::Stall));
    let mut reader = Command::new("cat")
        .arg(mount.path("film.mkv"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the read is under way", || fake.count_downloads() > 0);
    let began = Instant::now();
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    mount.signal("TERM");
    assert_eq!(mount.wait().code(), Some(0));
}

#[test]
fn of_two_mounts_started_at_once_one_stands() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let mount = Mount::prepared(&fake, None, &[]);
    let both = [(); 2].map(|()| {
        mount
            .mount_command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    });
    let worked = both.map(|mut child| child.wait().unwrap().success());
    assert_eq!(worked.iter().filter(|it| **it).count(), 1);
    assert_eq!(harness::names(&mount.dir()).unwrap(), ["hello.txt"]);
    let umount = harness::command().arg("umount").arg(mount.dir()).status();
    assert!(umount.unwrap().success());
    assert!(!is_mounted(&mount.dir()));
    assert_well_behaved(&fake);
}

#[test]
fn a_cache_that_vanishes_under_the_mount_costs_nothing_but_itself() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    fake.account().add_synthetic(0, "film.mkv", 64 << 20, 3);
    let mut mount = Mount::with(&fake, Some(FACTOR), &["--memory", "16MiB"]);
    let mut want = vec![0; 1 << 20];
    let file = File::open(mount.path("film.mkv")).unwrap();
    let mut check = |at: u64| {
        let mut got = vec![0; 1 << 20];
        file.read_exact_at(&mut got, at).unwrap();
        fake_1fichier::content::fill(3, at, &mut want);
        assert!(got == want, "wrong bytes at {at}");
    };
    (0..20).for_each(|mib| check(mib << 20));
    let own = mount.dir().parent().unwrap().to_owned();
    for folder in ["cache", "state"] {
        fs::remove_dir_all(own.join(folder)).unwrap();
    }
    let _ = fs::write("/proc/sys/vm/drop_caches", "1");
    (0..64).for_each(|mib| check(mib << 20));
    drop(file);
    assert_eq!(mount.umount().code(), Some(0), "{}", mount.log());
    assert!(!mount.log().contains("panicked"), "{}", mount.log());
    assert_well_behaved(&fake);
}

#[test]
fn a_mountpoint_that_moves_is_still_unmounted_at_the_end() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    let mut mount = Mount::new(&fake);
    let own = mount.dir().parent().unwrap().to_owned();
    let moved = own.with_extension("moved");
    fs::rename(&own, &moved).unwrap();
    assert_eq!(harness::names(&moved.join("mnt")).unwrap(), ["hello.txt"]);
    mount.signal("TERM");
    let status = mount.wait();
    let left = is_mounted(&moved.join("mnt"));
    if left {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(moved.join("mnt"))
            .status();
    }
    // The program may have made its own folders again where they were.
    let _ = fs::remove_dir_all(&own);
    fs::rename(&moved, &own).unwrap();
    assert!(!left, "{}", mount.log());
    assert_eq!(status.code(), Some(0), "{}", mount.log());
}
