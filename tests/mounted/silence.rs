//! A service that says nothing, or wants to hear nothing: what is known stays, and nobody hangs.
use crate::harness::{self, Mount, assert_well_behaved, can_mount, eventually, names, read_file};
use fake_1fichier::{Fake, Fault, FaultKind};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Virtual seconds per real second.
const FACTOR: f64 = 20.0;

/// The clock of the service and of each life of the mount.
fn clock() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{FACTOR}@{}", now.as_secs())
}

/// What the mount says of its calls' gate.
fn gate(mount: &Mount, clock: &str) -> Value {
    let mut command = harness::command();
    command.args(["status", "--json"]).arg(mount.dir());
    let output = command.env("FICHIERFS_CLOCK", clock).output().unwrap();
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["mounts"][0]["status"]["calls"]["gate"].take()
}

/// Names and contents of what the mount knows.
fn known(mount: &Mount) -> (Vec<String>, Vec<String>, Vec<u8>) {
    (
        names(&mount.dir()).unwrap(),
        names(&mount.path("known")).unwrap(),
        read_file(&mount.path("known/text")).unwrap(),
    )
}

#[test]
fn a_lock_is_kept_to_its_end_by_every_life_of_the_mount_and_what_is_known_stays() {
    if !can_mount() {
        return;
    }
    let clock = clock();
    let lasts = |config: &mut fake_1fichier::Config| {
        config.enforce_rules = true;
        config.flood_lock_seconds = 60.0;
        config.flood_retry_after = Some(60);
    };
    let fake = Fake::builder().clock(&clock).config(lasts).start().unwrap();
    let folder = fake.account().mkdir(0, "known");
    fake.account()
        .add_bytes(folder, "text", "what was read before");
    fake.account().mkdir(0, "unknown");
    let mut mount = Mount::with(&fake, Some(&clock), &["--no-crawl"]);
    let before = known(&mount);
    // A kill may cost the names of the last second; these are older.
    mount.umount();
    mount.start();

    fake.faults()
        .add(Fault::on("folder/ls", FaultKind::Flood { lock: true }).once());
    // The lock lasts longer than a listing may take, so who needs a call hears of it.
    assert!(names(&mount.path("unknown")).is_err());
    let locked = fake.log().last().unwrap().virtual_time;
    let calls = fake.log().len();
    let shut = gate(&mount, &clock);
    assert_eq!(
        (&shut["state"], &shut["cause"]),
        (&"shut".into(), &"flood".into())
    );
    let until = shut["until"].as_f64().unwrap();
    assert!((until - locked - 60.0).abs() < 10.0, "{until} {locked}");
    assert_eq!(known(&mount), before);

    mount.signal("KILL");
    mount.wait();
    mount.start();
    eventually("the next life says the same", || {
        gate(&mount, &clock)["until"].as_f64() == Some(until)
    });
    assert_eq!(known(&mount), before);
    assert!(names(&mount.path("unknown")).is_err());
    assert_eq!(fake.log().len(), calls, "{:?}", fake.log().last());

    eventually("the lock is over", || names(&mount.path("unknown")).is_ok());
    let resumed = fake.log()[calls].virtual_time;
    assert!(resumed >= until - 1.0, "{resumed}, before {until}");
    assert_eq!(gate(&mount, &clock)["state"], "open");
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_network_that_swallows_everything_hangs_nobody() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().start().unwrap();
    let folder = fake.account().mkdir(0, "known");
    fake.account()
        .add_bytes(folder, "text", "what was read before");
    fake.account().mkdir(0, "unknown");
    fake.account().add_synthetic(0, "film.mkv", 1 << 30, 1);
    let mut mount = Mount::with(&fake, None, &["--no-crawl"]);
    let before = known(&mount);
    let space = nix::sys::statvfs::statvfs(&mount.dir()).unwrap();
    fake.faults().add(Fault::on("*", FaultKind::Stall));
    // The kernel's own copies would prove nothing; as root only, elsewhere the test proves less.
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");

    let film = mount.path("film.mkv");
    let mut stuck: Vec<_> = [
        ("ls", mount.path("unknown")),
        ("cat", film.clone()),
        ("head", film),
    ]
    .into_iter()
    .map(|(program, path)| {
        let mut command = Command::new(program);
        let quiet = command
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.spawn().unwrap()
    })
    .collect();
    eventually("calls are under way", || {
        fake.count("folder/ls") == 3 && fake.count("download/get_token") == 2
    });
    assert_eq!(known(&mount), before);
    let offline = nix::sys::statvfs::statvfs(&mount.dir()).unwrap();
    assert_eq!(offline.blocks_free(), space.blocks_free());
    let began = Instant::now();
    for process in &mut stuck {
        assert!(process.try_wait().unwrap().is_none(), "it did not wait");
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?} to kill them");
    mount.signal("TERM");
    assert_eq!(mount.wait().code(), Some(0));
}

/// Threads of one program are one program: however many wait, another one comes next.
#[test]
fn a_program_with_many_threads_holds_up_another_one_by_a_call() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("2").start().unwrap();
    let folder = fake.account().mkdir(0, "many");
    for number in 0..60 {
        let name = format!("{number}");
        fake.account().add_synthetic(folder, &name, 1000, number);
    }
    fake.account().add_bytes(0, "other", "something else");
    let mut mount = Mount::with(&fake, Some("2"), &["--no-crawl"]);
    assert_eq!(names(&mount.path("many")).unwrap().len(), 60);
    let readers: Vec<_> = (0..60)
        .map(|number| {
            let path = mount.path(&format!("many/{number}"));
            std::thread::spawn(move || read_file(&path).map(|bytes| bytes.len()))
        })
        .collect();
    let tokens = || fake.count("download/get_token");
    eventually("the readers wait", || tokens() >= 4);
    let before = tokens();
    let other = Command::new("cat")
        .arg(mount.path("other"))
        .output()
        .unwrap();
    assert_eq!(other.stdout, b"something else");
    // Its own, the one before it, and what starts while the program comes and goes: calls come in
    // threes. Were each thread a program, it would be all sixty.
    let made = tokens() - before;
    assert!(made <= 8, "{made} calls until another program was served");
    mount.signal("TERM");
    mount.wait();
    for reader in readers {
        let _ = reader.join().unwrap();
    }
    assert_well_behaved(&fake);
}
