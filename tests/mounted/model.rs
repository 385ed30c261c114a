//! The mount against a folder of this machine: the same calls, the same answers, step by step; and in the end
//! the account holds the same.
//!
//! `PROPTEST_CASES` for a long run.
use crate::harness::{self, Mount, assert_well_behaved, can_mount};
use fake_1fichier::{Fake, Fault, FaultKind, Shape, content};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Virtual seconds per real second.
const CLOCK: u64 = 40;

/// Descriptors a program has at most.
const SLOTS: usize = 4;

/// Cases when `PROPTEST_CASES` does not say how many.
const CASES: u32 = 8;

/// Steps to make a failure smaller when `PROPTEST_MAX_SHRINK_ITERS` does not say how many: each mounts anew.
const SHRINKS: u32 = 8;

/// How often something that was not answered in time is asked again.
const PATIENCE: u32 = 5;

#[derive(Debug, Clone)]
enum Op {
    Open {
        slot: usize,
        path: String,
        how: How,
    },
    Close(usize),
    Write {
        slot: usize,
        at: u64,
        length: usize,
        seed: u64,
    },
    Read {
        slot: usize,
        at: u64,
        length: usize,
    },
    SetLen(usize, u64),
    Sync(usize),
    Look(usize),
    Copy {
        from: (usize, u64),
        to: (usize, u64),
        length: usize,
    },
    Allocate {
        slot: usize,
        mode: u32,
        at: u64,
        length: u64,
    },
    Truncate(String, u64),
    Stat(String),
    List(String),
    ReadAll(String),
    Rename(String, String, Flag),
    Unlink(String),
    Mkdir(String),
    Rmdir(String),
    /// Something is told to the account meanwhile.
    Wait(u64),
    /// Unmounted and mounted again.
    Remount,
    /// What was done is on disk; then the process is killed.
    Kill,
    /// Somebody else changes the account.
    Others(Deed, String),
}

#[derive(Debug, Clone, Copy)]
struct How {
    access: u8,
    creates: u8,
    truncates: bool,
    appends: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    None,
    NoReplace,
    Exchange,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Add(u16),
    Remove,
    MakeFolder,
}

/// What a call answered.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Count(u64),
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Like {
        is_folder: bool,
        size: u64,
        links: u64,
    },
}

/// A program with its descriptors, in one of the two folders.
struct Side {
    dir: PathBuf,
    slots: [Option<File>; SLOTS],
}

impl Side {
    fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            slots: [const { None }; SLOTS],
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    fn slot(&self, slot: usize) -> io::Result<&File> {
        let none = || io::Error::from_raw_os_error(libc::EBADF);
        self.slots[slot].as_ref().ok_or_else(none)
    }

    /// One call; `None` when it is not one of a program.
    fn call(&mut self, op: &Op) -> Option<io::Result<Seen>> {
        Some(match op {
            Op::Open { slot, path, how } => self.open(*slot, path, *how),
            Op::Close(slot) => match self.slots[*slot].take() {
                None => Ok(Seen::Nothing),
                Some(file) => close(file),
            },
            Op::Write {
                slot,
                at,
                length,
                seed,
            } => self.write(*slot, *at, *length, *seed),
            Op::Read { slot, at, length } => self.slot(*slot).and_then(|file| {
                let mut bytes = vec![0; *length];
                let count = file.read_at(&mut bytes, *at)?;
                bytes.truncate(count);
                Ok(Seen::Bytes(bytes))
            }),
            Op::SetLen(slot, size) => {
                let file = self.slot(*slot);
                file.and_then(|file| file.set_len(*size)).map(nothing)
            }
            Op::Sync(slot) => self.slot(*slot).and_then(File::sync_all).map(nothing),
            Op::Look(slot) => {
                let meta = self.slot(*slot).and_then(File::metadata);
                meta.map(|meta| like(&meta))
            }
            Op::Copy { from, to, length } => self.copy(*from, *to, *length),
            Op::Allocate {
                slot,
                mode,
                at,
                length,
            } => {
                let mode = FallocateFlags::from_bits_retain(*mode);
                let file = self.slot(*slot);
                let done = file.and_then(|file| Ok(fallocate(file, mode, *at, (*length).max(1))?));
                done.map(nothing)
            }
            Op::Truncate(path, size) => {
                let size = i64::try_from(*size).unwrap();
                let done = nix::unistd::truncate(&self.at(path), size);
                done.map(nothing).map_err(io::Error::from)
            }
            Op::Stat(path) => fs::symlink_metadata(self.at(path)).map(|meta| like(&meta)),
            Op::List(path) => harness::names(&self.at(path)).map(Seen::Names),
            Op::ReadAll(path) => harness::read_file(&self.at(path)).map(Seen::Bytes),
            Op::Rename(from, to, flag) => {
                let flags = match flag {
                    Flag::None => RenameFlags::empty(),
                    Flag::NoReplace => RenameFlags::NOREPLACE,
                    Flag::Exchange => RenameFlags::EXCHANGE,
                };
                let done = renameat_with(CWD, self.at(from), CWD, self.at(to), flags);
                done.map(nothing).map_err(io::Error::from)
            }
            Op::Unlink(path) => fs::remove_file(self.at(path)).map(nothing),
            Op::Mkdir(path) => fs::create_dir(self.at(path)).map(nothing),
            Op::Rmdir(path) => fs::remove_dir(self.at(path)).map(nothing),
            Op::Wait(_) | Op::Remount | Op::Kill | Op::Others(..) => return None,
        })
    }

    fn open(&mut self, slot: usize, path: &str, how: How) -> io::Result<Seen> {
        if let Some(file) = self.slots[slot].take() {
            close(file)?;
        }
        let mut options = OpenOptions::new();
        let writes = how.access != 0;
        options
            .read(how.access != 1)
            .write(writes && !how.appends)
            .append(writes && how.appends)
            .create(writes && how.creates == 1)
            .create_new(writes && how.creates == 2)
            .truncate(writes && how.truncates && !how.appends && how.creates != 2);
        self.slots[slot] = Some(options.open(self.at(path))?);
        Ok(Seen::Nothing)
    }

    fn write(&self, slot: usize, at: u64, length: usize, seed: u64) -> io::Result<Seen> {
        let mut bytes = vec![0; length];
        content::fill(seed, at, &mut bytes);
        let count = self.slot(slot)?.write_at(&bytes, at)?;
        Ok(Seen::Count(count as u64))
    }

    fn copy(&self, from: (usize, u64), to: (usize, u64), length: usize) -> io::Result<Seen> {
        let (source, target) = (self.slot(from.0)?, self.slot(to.0)?);
        let (mut offset, mut at, mut left) = (from.1, to.1, length);
        while left > 0 {
            let copied = rustix::fs::copy_file_range(
                source,
                Some(&mut offset),
                target,
                Some(&mut at),
                left,
            )?;
            if copied == 0 {
                break;
            }
            left -= copied;
        }
        Ok(Seen::Count((length - left) as u64))
    }

    fn close_all(&mut self) {
        for slot in &mut self.slots {
            if let Some(file) = slot.take() {
                close(file).unwrap();
            }
        }
    }

    /// Everything below it: folders, and files with their bytes.
    fn all(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut all = BTreeMap::new();
        let mut next = vec![String::new()];
        while let Some(folder) = next.pop() {
            for name in patiently(|| harness::names(&self.at(&folder))) {
                let path = match &*folder {
                    "" => name,
                    folder => format!("{folder}/{name}"),
                };
                if fs::symlink_metadata(self.at(&path)).unwrap().is_dir() {
                    all.insert(path.clone(), None);
                    next.push(path);
                } else {
                    let bytes = patiently(|| harness::read_file(&self.at(&path)));
                    all.insert(path, Some(bytes));
                }
            }
        }
        all
    }
}

/// What was not answered in time is asked again: the clock runs fast, and the machine is busy.
fn patiently<T>(mut ask: impl FnMut() -> io::Result<T>) -> T {
    for _ in 0..PATIENCE {
        match ask() {
            Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => {}
            answer => return answer.unwrap(),
        }
    }
    ask().unwrap()
}

fn nothing((): ()) -> Seen {
    Seen::Nothing
}

fn close(file: File) -> io::Result<Seen> {
    Ok(nix::unistd::close(file.into_raw_fd()).map(nothing)?)
}

fn like(meta: &fs::Metadata) -> Seen {
    // What size a folder has, and how many links, is up to each file system.
    let is_folder = meta.is_dir();
    Seen::Like {
        is_folder,
        size: if is_folder { 0 } else { meta.len() },
        links: if is_folder { 1 } else { meta.nlink() },
    }
}

fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        4 => name().prop_map(str::to_owned),
        4 => (name(), name()).prop_map(|(one, two)| format!("{one}/{two}")),
        1 => (name(), name(), name()).prop_map(|(one, two, three)| format!("{one}/{two}/{three}")),
    ]
}

fn how() -> impl Strategy<Value = How> {
    (
        0..3u8,
        prop_oneof![3 => Just(1u8), 1 => Just(0u8), 1 => Just(2u8)],
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(access, creates, truncates, appends)| How {
            access,
            creates,
            truncates,
            appends,
        })
}

/// Offsets and lengths: mostly small, some beyond a page and a record.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..100u64, 3 => 0..10_000u64, 2 => 0..150_000u64]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let length = || amount().prop_map(|length| usize::try_from(length).unwrap());
    let flag = prop_oneof![
        4 => Just(Flag::None),
        1 => Just(Flag::NoReplace),
        1 => Just(Flag::Exchange),
    ];
    let deed = prop_oneof![
        2 => (1..5000u16).prop_map(Deed::Add),
        2 => Just(Deed::Remove),
        1 => Just(Deed::MakeFolder),
    ];
    let keep = FallocateFlags::KEEP_SIZE;
    let modes = [
        FallocateFlags::empty(),
        keep,
        FallocateFlags::PUNCH_HOLE | keep,
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::ZERO_RANGE | keep,
    ];
    let mode = prop::sample::select(modes.map(|mode| mode.bits()).to_vec());
    prop_oneof![
        20 => (slot(), path(), how()).prop_map(|(slot, path, how)| Op::Open { slot, path, how }),
        6 => slot().prop_map(Op::Close),
        18 => (slot(), amount(), length(), any::<u64>())
            .prop_map(|(slot, at, length, seed)| Op::Write { slot, at, length, seed }),
        10 => (slot(), amount(), length()).prop_map(|(slot, at, length)| Op::Read { slot, at, length }),
        4 => (slot(), amount()).prop_map(|(slot, size)| Op::SetLen(slot, size)),
        2 => slot().prop_map(Op::Sync),
        4 => slot().prop_map(Op::Look),
        6 => ((slot(), amount()), (slot(), amount()), length())
            .prop_map(|(from, to, length)| Op::Copy { from, to, length }),
        3 => (slot(), mode, amount(), amount())
            .prop_map(|(slot, mode, at, length)| Op::Allocate { slot, mode, at, length }),
        3 => (path(), amount()).prop_map(|(path, size)| Op::Truncate(path, size)),
        4 => path().prop_map(Op::Stat),
        4 => path().prop_map(Op::List),
        5 => path().prop_map(Op::ReadAll),
        12 => (path(), path(), flag).prop_map(|(from, to, flag)| Op::Rename(from, to, flag)),
        7 => path().prop_map(Op::Unlink),
        7 => path().prop_map(Op::Mkdir),
        4 => path().prop_map(Op::Rmdir),
        4 => (0..600u64).prop_map(Op::Wait),
        1 => Just(Op::Remount),
        1 => Just(Op::Kill),
        1 => (deed, path()).prop_map(|(deed, path)| Op::Others(deed, path)),
    ]
}

/// The two sides and the account behind one of them.
struct Trial {
    fake: Fake,
    mount: Mount,
    mounted: Side,
    local: Side,
    _folder: TempDir,
}

impl Trial {
    fn new(is_faulty: bool, is_slow: bool) -> Self {
        let mut shape = Shape::default();
        if is_slow {
            // Long enough for much to be done while something is told.
            (shape.node_ms, shape.api_ms) = (10_000.0, 2_000.0);
        }
        let fake = Fake::builder()
            .clock(&CLOCK.to_string())
            .shape(shape)
            .config(|config| config.enforce_rules = true)
            .start()
            .unwrap();
        let folder = tempfile::Builder::new()
            .prefix("fichierfs-test")
            .tempdir()
            .unwrap();
        let account = fake.account();
        let below = account.mkdir(0, "b");
        fs::create_dir(folder.path().join("b")).unwrap();
        for (path, at, size) in [("a", 0, 4000), ("b/a", below, 300), ("b/c", below, 180_000)] {
            let mut bytes = vec![0; size];
            content::fill(size as u64, 0, &mut bytes);
            fs::write(folder.path().join(path), &bytes).unwrap();
            account.add_bytes(at, path.rsplit('/').next().unwrap(), bytes);
        }
        if is_faulty {
            let changing = [
                "upload.cgi",
                "end.pl",
                "file/mv",
                "file/rm",
                "file/rename",
                "file/cp",
                "folder/mkdir",
                "folder/mv",
                "folder/rm",
            ];
            for endpoint in changing {
                for kind in [
                    FaultKind::LostReply,
                    FaultKind::Reset,
                    FaultKind::Status { code: 502 },
                ] {
                    fake.faults()
                        .add(Fault::on(endpoint, kind).with_probability(0.06));
                }
            }
        }
        let mount = Mount::with(&fake, Some(&CLOCK.to_string()), &[]);
        Self {
            mounted: Side::new(mount.dir()),
            local: Side::new(folder.path().to_owned()),
            fake,
            mount,
            _folder: folder,
        }
    }

    fn step(&mut self, number: usize, op: &Op) -> Result<(), TestCaseError> {
        let ends = matches!(op, Op::Remount | Op::Kill | Op::Others(..));
        if ends {
            self.mounted.close_all();
            self.local.close_all();
        }
        match op {
            Op::Wait(millis) => std::thread::sleep(Duration::from_millis(*millis)),
            Op::Remount => {
                assert!(self.mount.umount().success());
                self.mount.start();
            }
            Op::Kill => {
                File::open(&self.mounted.dir).unwrap().sync_all().unwrap();
                // What others did is listed again when a kill costs the listing; here it must be on disk.
                std::thread::sleep(Duration::from_millis(1200));
                self.mount.signal("KILL");
                self.mount.wait();
                self.mount.start();
            }
            Op::Others(deed, path) => self.others(*deed, path),
            _ => {
                let wanted = self
                    .local
                    .call(op)
                    .expect("a call")
                    .map_err(|error| number_of(&error));
                let mut got = self
                    .mounted
                    .call(op)
                    .expect("a call")
                    .map_err(|error| number_of(&error));
                for _ in 0..PATIENCE {
                    if got == Err(libc::ETIMEDOUT) {
                        // The machine is busy, and nothing was done.
                        got = self
                            .mounted
                            .call(op)
                            .expect("a call")
                            .map_err(|error| number_of(&error));
                    }
                }
                if got != wanted {
                    let text = format!("{} | wanted: {}", brief(&got), brief(&wanted));
                    return Err(TestCaseError::fail(format!(
                        "step {number}, {op:?}: {text}"
                    )));
                }
            }
        }
        if ends {
            self.compare(&format!("after step {number}, {op:?}"))?;
        }
        Ok(())
    }

    /// Somebody else does something that is possible there, and this machine looks again.
    fn others(&mut self, deed: Deed, path: &str) {
        self.drain();
        // Until then listings are not believed about what was changed here.
        std::thread::sleep(Duration::from_millis(125_000 / CLOCK));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let account = self.fake.account();
        let Some(id) = account.folder_at(folder) else {
            return;
        };
        let at = self.local.at(path);
        let is_free = fs::symlink_metadata(&at).is_err();
        match deed {
            Deed::Add(size) if is_free => {
                let bytes = vec![b'o'; usize::from(size)];
                account.add_bytes(id, name, bytes.clone());
                fs::write(at, bytes).unwrap();
            }
            Deed::MakeFolder if is_free => {
                account.mkdir(id, name);
                fs::create_dir(at).unwrap();
            }
            Deed::Remove => {
                for file in account.files_at(path) {
                    assert!(account.remove(&file.url));
                    fs::remove_file(&at).unwrap();
                }
            }
            _ => return,
        }
        let refreshed = harness::command()
            .arg("refresh")
            .arg(self.mounted.at(folder))
            .env("FICHIERFS_CLOCK", CLOCK.to_string())
            .output()
            .unwrap();
        assert!(refreshed.status.success(), "{refreshed:?}");
    }

    fn drain(&self) {
        let synced = harness::command()
            .arg("sync")
            .arg(self.mount.dir())
            .output()
            .unwrap();
        assert!(synced.status.success(), "{synced:?}");
    }

    fn compare(&self, when: &str) -> Result<(), TestCaseError> {
        same(&self.mounted.all(), &self.local.all(), when)
    }

    fn end(mut self) -> Result<(), TestCaseError> {
        self.mounted.close_all();
        self.local.close_all();
        self.compare("in the end")?;
        self.drain();
        self.compare("when the account has it")?;
        assert!(self.mount.umount().success());
        let mut wanted = self.local.all();
        // What is empty cannot be in the account.
        wanted.retain(|_, it| it.as_ref().is_none_or(|bytes| !bytes.is_empty()));
        let mut there = BTreeMap::new();
        for folder in self.fake.account().tree() {
            if !folder.path.is_empty() {
                assert!(there.insert(folder.path.clone(), None).is_none());
            }
            for file in folder.files {
                let path = Path::new(&folder.path).join(&file.name);
                let bytes = self.fake.account().read_all(&file.url).unwrap().to_vec();
                let path = path.to_str().unwrap().to_owned();
                let before = there.insert(path.clone(), Some(bytes));
                prop_assert!(before.is_none(), "twice in the account: {path}");
            }
        }
        same(&there, &wanted, "the account")?;
        prop_assert!(!self.mount.log().contains("panicked"));
        assert_well_behaved(&self.fake);
        Ok(())
    }
}

fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn brief(seen: &Result<Seen, i32>) -> String {
    match seen {
        Ok(Seen::Bytes(bytes)) => {
            let head = &bytes[..bytes.len().min(16)];
            format!("{} bytes, {head:?}", bytes.len())
        }
        Ok(seen) => format!("{seen:?}"),
        Err(number) => io::Error::from_raw_os_error(*number).to_string(),
    }
}

/// Fails where two trees differ.
fn same(
    got: &BTreeMap<String, Option<Vec<u8>>>,
    wanted: &BTreeMap<String, Option<Vec<u8>>>,
    when: &str,
) -> Result<(), TestCaseError> {
    let of = |it: Option<&Option<Vec<u8>>>| match it {
        None => "nothing".to_owned(),
        Some(None) => "a folder".to_owned(),
        Some(Some(bytes)) => format!("{} bytes, {:?}", bytes.len(), bytes.first()),
    };
    let paths: BTreeSet<&String> = got.keys().chain(wanted.keys()).collect();
    for path in paths {
        let (got, wanted) = (got.get(path), wanted.get(path));
        let text = || format!("{when}: {path} is {} and not {}", of(got), of(wanted));
        prop_assert!(got == wanted, "{}", text());
    }
    Ok(())
}

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

proptest! {
    #![proptest_config(Config {
        cases: number("PROPTEST_CASES").unwrap_or(CASES),
        max_shrink_iters: number("PROPTEST_MAX_SHRINK_ITERS").unwrap_or(SHRINKS),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn the_mount_answers_as_a_folder_of_this_machine_does(
        is_faulty in prop::bool::weighted(0.3),
        is_slow in prop::bool::weighted(0.4),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        if can_mount() {
            let mut trial = Trial::new(is_faulty, is_slow);
            for (number, op) in ops.iter().enumerate() {
                trial.step(number, op)?;
            }
            trial.end()?;
        }
    }
}
