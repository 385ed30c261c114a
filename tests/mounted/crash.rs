//! The process is killed at any moment while programs write, and mounted again, at a service at its worst.
//!
//! After each kill what is shown is what some moment had that programs were told of, no older than the last
//! close or fsync that said yes; in the end the account is that and nothing else.
use crate::harness::{self, Mount, can_mount};
use fake_1fichier::{Fake, Profile, Shape};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Virtual seconds per real second: what settles for 5 s is sent within the life of most mounts.
const FACTOR: u32 = 40;

/// Kills of a story when `FICHIERFS_CRASH_KILLS` does not say how many; after these the account is looked at.
const KILLS: usize = 10;

/// Stories when `FICHIERFS_CRASH_STORIES` does not say how many; `scripts/crash-test` does.
const STORIES: usize = 2;

/// Programs that write at the same time, each in a folder of its own.
const PROGRAMS: usize = 3;

/// Real time until the account must have everything: a hostile service makes many a call wait for
/// minutes.
const DRAINED: Duration = Duration::from_secs(120);

/// Seconds a lock lasts (API reference 3).
const LOCK: f64 = 30.0;

/// Virtual seconds before a kill from which on it is chance whether an answer is known to the next mount.
const LOST: f64 = 3.0;

/// Steps that are told when something is wrong.
const TRACE: usize = 60;

/// Numbers that look random, other ones in each run.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % (sides.max(1) as u64)).unwrap()
    }
}

/// Files with their bytes and folders, by their path below a program's folder.
type State = BTreeMap<String, Option<Arc<Vec<u8>>>>;

/// What a program knows of what it did.
struct History {
    /// What may be found after a crash: how it was at the last close or fsync, and since.
    states: Vec<State>,
    /// What it is when the call that is under way is done.
    doubt: Option<State>,
    /// The last things it did, for whoever looks into a failure.
    trace: Vec<String>,
}

impl History {
    fn new(state: State) -> Self {
        Self {
            states: vec![state],
            doubt: None,
            trace: Vec::new(),
        }
    }

    fn now(&self) -> &State {
        self.states.last().expect("one at least")
    }

    /// One call that changes something: how it is afterwards, and whether that is on disk then.
    fn call<T>(
        &mut self,
        change: impl FnOnce(&mut State),
        is_durable: bool,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut next = self.now().clone();
        change(&mut next);
        let what = difference(self.now(), &next, "is", "becomes");
        self.trace.push(format!("durable {is_durable}: {what}"));
        self.doubt = Some(next);
        let value = call()?;
        if is_durable {
            self.states.clear();
        }
        self.states.extend(self.doubt.take());
        Ok(value)
    }

    /// After a crash `found` is what is there.
    fn settle(&mut self, found: State) {
        let all = self.states.iter().chain(&self.doubt);
        let known = all.filter(|state| **state == found).count();
        let trace = self.trace.split_off(self.trace.len().saturating_sub(TRACE));
        let told = || format!("{}\nafter:\n{}", self.difference(&found), trace.join("\n"));
        assert!(known > 0, "{}", told());
        *self = Self {
            trace,
            ..Self::new(found)
        };
        self.trace.push("-- killed".to_owned());
    }

    fn difference(&self, found: &State) -> String {
        let all = self.states.iter().chain(&self.doubt).enumerate();
        let parts = all.map(|(number, state)| {
            let part = difference(state, found, "was", "found");
            format!("\n  state {number}: {part}")
        });
        format!("nothing that ever was:{}", parts.collect::<String>())
    }
}

/// Where two states differ.
fn difference(one: &State, other: &State, a: &str, b: &str) -> String {
    let of = |it: Option<&Option<Arc<Vec<u8>>>>| match it {
        None => "nothing".to_owned(),
        Some(None) => "a folder".to_owned(),
        Some(Some(bytes)) => {
            let head = &bytes[..bytes.len().min(4)];
            format!("{} bytes {:?}", bytes.len(), String::from_utf8_lossy(head))
        }
    };
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = paths
        .into_iter()
        .filter(|path| one.get(*path) != other.get(*path));
    let parts = differing.map(|path| {
        let (was, is) = (of(one.get(path)), of(other.get(path)));
        format!("{path:?} {a} {was}, {b} {is}")
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// Closes it and says what that said.
fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file.into_raw_fd())?)
}

/// A program that does one thing after the other until the mount is gone.
struct Program {
    dir: PathBuf,
    dice: Dice,
    history: History,
    step: usize,
}

impl Program {
    /// One thing; an error is the end of the mount.
    fn act(&mut self) -> io::Result<()> {
        self.step += 1;
        let state = self.history.now().clone();
        let files: Vec<String> = paths(&state, true);
        let mut folders: Vec<String> = paths(&state, false);
        let new = self.new_path(&folders);
        let is_free = !state.contains_key(&new);
        let old = (!files.is_empty()).then(|| files[self.dice.roll(files.len())].clone());
        match (self.dice.roll(16), old) {
            (0..=3, _) if !matches!(state.get(&new), Some(None)) => self.write(&new),
            (4, Some(old)) => self.patch(&old),
            (5, Some(old)) => self.append(&old),
            (6, Some(old)) => self.truncate(&old),
            (7 | 8, Some(old)) if old != new && !matches!(state.get(&new), Some(None)) => {
                self.rename(&old, &new)
            }
            (9, Some(old)) if is_free => self.copy(&old, &new),
            (10, Some(old)) => {
                let change = |state: &mut State| {
                    state.remove(&old);
                };
                let path = self.dir.join(&old);
                self.history.call(change, false, || fs::remove_file(path))
            }
            (11, _) if is_free => {
                let change = |state: &mut State| {
                    state.insert(new.clone(), None);
                };
                let path = self.dir.join(&new);
                self.history.call(change, false, || fs::create_dir(path))
            }
            (12, _) if !folders.is_empty() => {
                let folder = folders.swap_remove(self.dice.roll(folders.len()));
                let is_empty = !state.keys().any(|path| is_below(path, &folder));
                let is_outside = !is_below(&new, &folder) && new != folder;
                let is_allowed = match state.get(&new) {
                    None => true,
                    Some(None) => !state.keys().any(|path| is_below(path, &new)),
                    Some(Some(_)) => false,
                };
                if is_empty && self.dice.roll(2) == 0 {
                    let change = |state: &mut State| {
                        state.remove(&folder);
                    };
                    let path = self.dir.join(&folder);
                    self.history.call(change, false, || fs::remove_dir(path))
                } else if is_outside && is_allowed {
                    self.rename(&folder, &new)
                } else {
                    Ok(())
                }
            }
            (13, Some(old)) => {
                let other = &files[self.dice.roll(files.len())];
                self.exchange(&old, other)
            }
            (14, Some(old)) if old != new && !matches!(state.get(&new), Some(None)) => {
                self.save(&old, &new)
            }
            _ => Ok(()),
        }
    }

    fn new_path(&mut self, folders: &[String]) -> String {
        const NAMES: [&str; 6] = ["a", "b", "c", "d e", "é", "f.txt"];
        let name = NAMES[self.dice.roll(NAMES.len())];
        match folders.get(self.dice.roll(folders.len() + 1)) {
            Some(folder) if folder.matches('/').count() < 2 => format!("{folder}/{name}"),
            _ => name.to_owned(),
        }
    }

    /// Bytes that no other step writes: mostly few, sometimes more than a record takes.
    fn bytes(&mut self) -> Vec<u8> {
        let most = if self.dice.roll(6) == 0 {
            300_000
        } else {
            20_000
        };
        let size = 1 + self.dice.roll(most);
        let text = format!("{} ", self.step).into_bytes();
        text.into_iter().cycle().take(size).collect()
    }

    fn write(&mut self, path: &str) -> io::Result<()> {
        let bytes = self.bytes();
        let is_new = !self.history.now().contains_key(path);
        let at = self.dir.join(path);
        let mut file = if is_new {
            let change = |state: &mut State| {
                state.insert(path.to_owned(), Some(Arc::default()));
            };
            self.history.call(change, false, || File::create_new(at))?
        } else {
            File::create(at)?
        };
        let cut = self.dice.roll(bytes.len());
        file.write_all(&bytes[..cut])?;
        if self.dice.roll(4) == 0 {
            let change = becomes(path, bytes[..cut].to_vec());
            self.history.call(change, true, || file.sync_all())?;
        }
        file.write_all(&bytes[cut..])?;
        let change = becomes(path, bytes);
        self.history.call(change, true, || close(file))
    }

    fn patch(&mut self, path: &str) -> io::Result<()> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.dir.join(path))?;
        let mut bytes = self.content(path);
        let patch = self.bytes();
        let at = self.dice.roll(bytes.len() + 1000);
        file.write_all_at(&patch, at as u64)?;
        bytes.resize(bytes.len().max(at + patch.len()), 0);
        bytes[at..at + patch.len()].copy_from_slice(&patch);
        self.history
            .call(becomes(path, bytes), true, || close(file))
    }

    fn append(&mut self, path: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.dir.join(path))?;
        let mut bytes = self.content(path);
        let more = self.bytes();
        file.write_all(&more)?;
        bytes.extend(more);
        self.history
            .call(becomes(path, bytes), true, || close(file))
    }

    fn truncate(&mut self, path: &str) -> io::Result<()> {
        let mut bytes = self.content(path);
        let size = self.dice.roll(bytes.len() + 1000);
        bytes.resize(size, 0);
        let at = self.dir.join(path);
        self.history.call(becomes(path, bytes), false, || {
            Ok(nix::unistd::truncate(&at, i64::try_from(size).unwrap())?)
        })
    }

    fn copy(&mut self, from: &str, to: &str) -> io::Result<()> {
        let bytes = self.content(from);
        let source = File::open(self.dir.join(from))?;
        let create = |state: &mut State| {
            state.insert(to.to_owned(), Some(Arc::default()));
        };
        let at = self.dir.join(to);
        let target = self.history.call(create, false, || File::create_new(at))?;
        let mut left = bytes.len();
        while left > 0 {
            left -= rustix::fs::copy_file_range(&source, None, &target, None, left)?;
        }
        self.history
            .call(becomes(to, bytes), true, || close(target))
    }

    /// As editors do: into a new file, which takes the place of the old one.
    fn save(&mut self, path: &str, beside: &str) -> io::Result<()> {
        self.write(beside)?;
        self.rename(beside, path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let change = |state: &mut State| {
            state.remove(to);
            moved(state, from, to);
        };
        let (old, new) = (self.dir.join(from), self.dir.join(to));
        self.history.call(change, false, || fs::rename(old, new))
    }

    fn exchange(&mut self, one: &str, other: &str) -> io::Result<()> {
        let change = |state: &mut State| {
            let (a, b) = (state[one].clone(), state[other].clone());
            state.insert(one.to_owned(), b);
            state.insert(other.to_owned(), a);
        };
        let (old, new) = (self.dir.join(one), self.dir.join(other));
        self.history.call(change, false, || {
            Ok(renameat_with(CWD, old, CWD, new, RenameFlags::EXCHANGE)?)
        })
    }

    fn content(&self, path: &str) -> Vec<u8> {
        let bytes = self.history.now()[path].as_deref();
        bytes.expect("a file").clone()
    }
}

/// A file holds these bytes.
fn becomes(path: &str, bytes: Vec<u8>) -> impl FnOnce(&mut State) {
    let path = path.to_owned();
    move |state| {
        state.insert(path, Some(Arc::new(bytes)));
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn paths(state: &State, files: bool) -> Vec<String> {
    let all = state.iter().filter(|(_, it)| it.is_some() == files);
    all.map(|(path, _)| path.clone()).collect()
}

fn moved(state: &mut State, from: &str, to: &str) {
    let all: Vec<String> = state
        .keys()
        .filter(|path| *path == from || is_below(path, from))
        .cloned()
        .collect();
    for path in all {
        let it = state.remove(&path).expect("it is there");
        state.insert(format!("{to}{}", &path[from.len()..]), it);
    }
}

/// What is shown below a folder. A hostile service makes a read fail now and then.
fn shown(dir: &Path) -> State {
    let mut state = State::new();
    let mut next = vec![String::new()];
    while let Some(folder) = next.pop() {
        for name in patiently(|| harness::names(&dir.join(&folder))) {
            let path = match &*folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            let at = dir.join(&path);
            if fs::symlink_metadata(&at).unwrap().is_dir() {
                state.insert(path.clone(), None);
                next.push(path);
            } else {
                let bytes = patiently(|| harness::read_file(&at));
                state.insert(path, Some(Arc::new(bytes)));
            }
        }
    }
    state
}

fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let end = Instant::now() + DRAINED;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The account below its root: paths with their bytes. One that is there twice fails.
fn account(fake: &Fake) -> State {
    let mut state = State::new();
    for folder in fake.account().tree() {
        if !folder.path.is_empty() {
            let before = state.insert(folder.path.clone(), None);
            assert_eq!(before, None, "twice: {}", folder.path);
        }
        for file in &folder.files {
            let path = Path::new(&folder.path).join(&file.name);
            let bytes = fake.account().read_all(&file.url).unwrap().to_vec();
            let path = path.to_str().unwrap().to_owned();
            let before = state.insert(path.clone(), Some(Arc::new(bytes)));
            assert_eq!(before, None, "twice: {path}");
        }
    }
    state
}

/// Programs at work on a mount until it is killed at a random moment.
fn until_killed(mount: &mut Mount, programs: &mut [Program], dice: &mut Dice) {
    // Often soon, sometimes late.
    let life = match dice.roll(4) {
        0 => dice.roll(60),
        1 | 2 => dice.roll(800),
        _ => 500 + dice.roll(2000),
    };
    let is_killed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for program in programs {
            let is_killed = &is_killed;
            scope.spawn(move || {
                loop {
                    if let Err(error) = program.act() {
                        // What a kill cuts off; nothing else may fail, whatever the service does.
                        std::thread::sleep(Duration::from_millis(200));
                        let last = program.history.trace.last();
                        assert!(is_killed.load(Ordering::SeqCst), "{error} after {last:?}");
                        return;
                    }
                    let pause = program.dice.roll(20);
                    std::thread::sleep(Duration::from_millis((pause * pause / 4) as u64));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(life as u64));
        is_killed.store(true, Ordering::SeqCst);
        // Not by a command: a process that is started closes what it inherits, and a close is a flush.
        let pid = Pid::from_raw(i32::try_from(mount.pid()).unwrap());
        kill(pid, Signal::SIGKILL).unwrap();
        mount.wait();
    });
    let log = mount.log();
    println!("killed:\n{log}");
    assert!(
        !log.contains("panicked") && !log.contains("damaged"),
        "{log}"
    );
}

/// What the service was asked, told if the test fails.
struct Asked<'a>(&'a Fake);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for folder in self.0.account().tree() {
                eprintln!("{:?} is folder {}", folder.path, folder.id);
                for file in folder.files {
                    eprintln!("{:?}: {} bytes, {}", file.name, file.size, file.url);
                }
            }
            for entry in self.0.log() {
                let (at, what) = (entry.virtual_time, &entry.endpoint);
                let params = entry.params.to_string();
                eprintln!(
                    "{at:.1} {what} {params:.300} {} {:?}",
                    entry.answer, entry.fault
                );
            }
        }
    }
}

fn story(seed: u64, kills: usize) {
    let mut dice = Dice::new(seed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = format!("{FACTOR}@{}", now.as_secs());
    let fake = Fake::builder().clock(&clock).start().unwrap();
    let _asked = Asked(&fake);
    let mut mount = Mount::prepared(&fake, Some(&clock), &["-v"]);
    let mut programs: Vec<Program> = (0..PROGRAMS)
        .map(|number| {
            let name = format!("program {number}");
            let folder = fake.account().mkdir(0, &name);
            let mut state = State::new();
            for name in ["a", "b"] {
                let bytes = format!("{name} of before").repeat(1 + dice.roll(5000));
                fake.account().add_bytes(folder, name, bytes.clone());
                state.insert(name.to_owned(), Some(Arc::new(bytes.into_bytes())));
            }
            Program {
                dir: mount.path(&name),
                dice: Dice::new(seed ^ (number as u64 + 1) << 32),
                history: History::new(state),
                step: 0,
            }
        })
        .collect();
    // Known before the service becomes what it is.
    mount.start();
    for program in &mut programs {
        program.history.settle(shown(&program.dir));
    }
    let worst = Profile::Hostile;
    fake.set_shape(worst.shape());
    fake.set_config(|config| worst.configure(config));
    for fault in worst.faults() {
        fake.faults().add(fault);
    }
    // When the service was asked last before each kill.
    let mut asked = Vec::new();
    for kill in 0..kills {
        until_killed(&mut mount, &mut programs, &mut dice);
        asked.extend(fake.log().last().map(|entry| entry.virtual_time));
        mount.start();
        for program in &mut programs {
            println!("after kill {kill} in {}", program.dir.display());
            let _ = std::process::Command::new("ls")
                .arg("-lRi")
                .arg(&program.dir)
                .status();
            program.history.settle(shown(&program.dir));
        }
    }
    assert_drained(&mount);
    for program in &mut programs {
        program.history.settle(shown(&program.dir));
    }
    mount.umount();
    let mut wanted = State::new();
    for program in programs {
        let name = program.dir.file_name().unwrap().to_str().unwrap();
        wanted.insert(name.to_owned(), None);
        for (path, it) in program.history.now() {
            // What is empty cannot be in the account.
            if it.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                wanted.insert(format!("{name}/{path}"), it.clone());
            }
        }
    }
    History::new(wanted).settle(account(&fake));
    let steps = fake.log().len();
    println!("story {seed}: {kills} kills, {steps} calls");
    for violation in fake.violations() {
        // Locks are among the faults. What was under way when one struck cannot be helped.
        let left = lock_left(&violation.detail).filter(|_| violation.rule == "flood_lock");
        let struck = left.map(|left| violation.virtual_time + left - LOCK);
        let was_under_way = left.is_some_and(|left| left > LOCK - 1.0);
        // What a mount was told right before it was killed is not known to the next: a lock, or that it
        // listed a folder.
        let was_lost = struck.is_some_and(|at| asked.iter().any(|kill| (kill - at).abs() < LOST));
        let was_killed = violation.rule == "listing";
        assert!(was_under_way || was_lost || was_killed, "{violation:?}");
    }
}

/// Seconds of a lock that a request met.
fn lock_left(detail: &str) -> Option<f64> {
    let mut words = detail.split_ascii_whitespace();
    words.find_map(|word| word.parse().ok())
}

/// Waits until the account has everything.
fn assert_drained(mount: &Mount) {
    let mut sync = harness::command();
    sync.arg("sync").arg(mount.dir());
    let mut sync = sync.spawn().unwrap();
    let end = Instant::now() + DRAINED;
    let status = loop {
        if let Some(status) = sync.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = sync.kill();
            let _ = sync.wait();
            panic!("not told after {DRAINED:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn after_kills_at_any_moment_the_account_is_what_programs_were_told() {
    if !can_mount() {
        return;
    }
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let seed = number("FICHIERFS_CRASH_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_micros())
    });
    let stories = number("FICHIERFS_CRASH_STORIES").unwrap_or(STORIES as u64);
    let kills =
        number("FICHIERFS_CRASH_KILLS").map_or(KILLS, |kills| usize::try_from(kills).unwrap());
    for story_number in 0..stories {
        println!("FICHIERFS_CRASH_SEED={}", seed + story_number);
        story(seed + story_number, kills);
    }
}

/// A replaced file is hidden from the moment its successor is stored until listings can be believed about it.
#[test]
fn what_was_replaced_does_not_come_back_whenever_the_process_is_killed() {
    if !can_mount() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let clock = format!("{FACTOR}@{}", now.as_secs());
    // Long enough to be killed in the middle of each.
    let shape = Shape {
        node_ms: 10_000.0,
        api_ms: 2_000.0,
        ..Shape::default()
    };
    let fake = Fake::builder().clock(&clock).shape(shape).start().unwrap();
    fake.account().add_bytes(0, "a", vec![b'0'; 4000]);
    let mut mount = Mount::with(&fake, Some(&clock), &[]);
    let names = |mount: &Mount| patiently(|| harness::names(&mount.dir()));
    assert_eq!(names(&mount), ["a"]);
    // Listings are kept in a second.
    std::thread::sleep(Duration::from_millis(1200));
    for round in 0..10_u64 {
        let text = format!("{round}").repeat(100);
        fs::write(mount.path("a"), &text).unwrap();
        std::thread::sleep(Duration::from_millis(150 * round));
        mount.signal("KILL");
        mount.wait();
        mount.start();
        assert_eq!(names(&mount), ["a"], "round {round}");
        let found = patiently(|| fs::read_to_string(mount.path("a")));
        assert_eq!(found, text);
    }
    assert_drained(&mount);
    mount.umount();
    let found = account(&fake);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a"]);
}
