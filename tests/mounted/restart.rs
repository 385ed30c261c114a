//! Mounts that knew the tree before: what they show without the service, and what outlives them.
use crate::harness::{
    self, Mount, assert_well_behaved, can_mount, eventually, is_mounted, names, read_file,
};
use fake_1fichier::Fake;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Virtual seconds per real second, for the service and for every life of the mount.
static CLOCK: LazyLock<String> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("20@{}", now.as_secs())
});

/// A number that differs from run to run, so that kills hit everywhere in time.
fn jitter(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below
}

fn fake() -> Fake {
    let fake = Fake::builder().clock(&CLOCK).start().unwrap();
    let account = fake.account();
    for album in ["2023", "2024", "2025"] {
        let folder = account.mkdir_p(&format!("photos/{album}"));
        for number in 0..40 {
            account.add_bytes(folder, &format!("img{number}.jpg"), vec![b'x'; number + 1]);
        }
    }
    account.add_bytes(0, "twice.txt", "1");
    account.add_bytes(0, "twice.txt", "22");
    fake
}

/// Everything below `dir` by path, as `find -ls` shows it.
fn everything(dir: &Path) -> BTreeMap<String, (u64, u64, i64)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for name in names(&folder).unwrap() {
            let path = folder.join(name);
            let meta = fs::metadata(&path).unwrap();
            let modified = if meta.is_dir() { 0 } else { meta.mtime() };
            let below = path.strip_prefix(dir).unwrap().display().to_string();
            all.insert(below, (meta.ino(), meta.len(), modified));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

#[test]
fn a_known_tree_is_mounted_and_shown_whole_without_the_service() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(&CLOCK), &[]);
    let before = everything(&mount.dir());
    assert_eq!(before.len(), 1 + 3 + 120 + 2);
    let space = nix::sys::statvfs::statvfs(&mount.dir()).unwrap();
    mount.umount();
    assert_well_behaved(&fake);
    // Nobody listens there any more.
    drop(fake);
    mount.start();
    assert_eq!(everything(&mount.dir()), before);
    let offline = nix::sys::statvfs::statvfs(&mount.dir()).unwrap();
    assert_eq!(
        (offline.blocks(), offline.blocks_free()),
        (space.blocks(), space.blocks_free())
    );
    let absent = fs::metadata(mount.path("photos/2024/none")).unwrap_err();
    assert_eq!(absent.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(mount.umount().code(), Some(0), "{}", mount.log());
}

#[test]
fn a_restart_asks_for_nothing_it_knows() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(&CLOCK), &[]);
    let before = everything(&mount.dir());
    mount.umount();
    let calls = fake.log().len();
    mount.start();
    assert_eq!(everything(&mount.dir()), before);
    mount.umount();
    assert_eq!(fake.log().len(), calls, "{:?}", fake.log().last());
    assert_well_behaved(&fake);
}

#[test]
fn a_kill_at_any_time_costs_no_names_and_no_numbers() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::prepared(&fake, Some(&CLOCK), &[]);
    let mut numbers = BTreeMap::new();
    for round in 0..6 {
        mount.start();
        // Listings come in and are written while the kill comes.
        let album = ["2023", "2024", "2025"][round % 3];
        for name in [
            "twice.txt",
            "twice (2).txt",
            &format!("photos/{album}/img3.jpg"),
        ] {
            let number = fs::metadata(mount.path(name)).unwrap().ino();
            let known = *numbers.entry(name.to_owned()).or_insert(number);
            assert_eq!(known, number, "{name} in round {round}");
        }
        std::thread::sleep(Duration::from_millis(jitter(1500)));
        mount.signal("KILL");
        mount.wait();
        let log = mount.log();
        assert!(!log.contains("damaged"), "{log}");
    }
    mount.start();
    let after = everything(&mount.dir());
    assert_eq!(after.len(), 1 + 3 + 120 + 2);
    for (name, number) in &numbers {
        assert_eq!(after[name].0, *number, "{name}");
    }
    mount.umount();
    assert_well_behaved(&fake);
}

#[test]
fn a_refused_key_is_told_and_takes_nothing_away() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(&CLOCK), &[]);
    let before = everything(&mount.dir());
    mount.umount();
    fake.account()
        .change_key("another-key-0123456789abcdefghij");
    mount.start();
    assert_eq!(everything(&mount.dir()), before);
    // The service is asked as soon as it may be, and it is told where people look.
    eventually("status tells it", || {
        let status = harness::command()
            .args(["status", "--json"])
            .arg(mount.dir())
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let trouble = status["mounts"][0]["status"]["trouble"].as_str();
        trouble.is_some_and(|trouble| trouble.contains("login"))
    });
    assert!(mount.log().contains("ERROR"), "{}", mount.log());
    assert_eq!(everything(&mount.dir()), before);
    mount.umount();
}

#[test]
fn damaged_stores_are_said_and_the_mount_works() {
    if !can_mount() {
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(&CLOCK), &[]);
    let before = everything(&mount.dir());
    mount.umount();
    std::thread::sleep(Duration::from_secs(31) / 20);
    let stores = mount.state_dir().join("default");
    for name in ["cache.redb", "primary.redb"] {
        fs::write(stores.join(name), b"no database at all").unwrap();
    }
    mount.start();
    assert_eq!(everything(&mount.dir()), before);
    let log = mount.log();
    for name in ["cache.redb", "primary.redb"] {
        assert!(log.contains(name), "{name}: {log}");
    }
    assert_eq!(mount.umount().code(), Some(0));
    let aside = names(&stores).unwrap();
    assert!(
        aside
            .iter()
            .any(|name| name.starts_with("primary.damaged-")),
        "{aside:?}"
    );
    assert_well_behaved(&fake);
}

/// What an NFS server does: it keeps a handle, and opens it long after.
#[test]
fn a_file_handle_opens_its_file_after_a_restart() {
    if !can_mount() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("!!! SKIPPED: only root may open by handle, nothing was tested !!!");
        return;
    }
    let fake = fake();
    let mut mount = Mount::with(&fake, Some(&CLOCK), &[]);
    let path = mount.path("photos/2024/img7.jpg");
    let content = read_file(&path).unwrap();
    let handle = handle::of(&path);
    let folder = handle::of(&mount.path("photos/2024"));
    mount.umount();
    mount.start();
    let root = fs::File::open(mount.dir()).unwrap();
    let mut bytes = Vec::new();
    handle::open(&root, &handle, libc::O_RDONLY)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, content);
    let folder = handle::open(&root, &folder, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    // The kernel finds the way up from there.
    let link = fs::read_link(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&folder)
    ));
    assert_eq!(link.unwrap(), mount.path("photos/2024"));
    // One whose file is gone is stale, not another file.
    let album = fake.account().folder_at("photos/2024").unwrap();
    let gone = handle::of(&mount.path("photos/2023/img1.jpg"));
    let id = fake.account().folder_at("photos/2023").unwrap();
    for file in fake.account().folder(id).unwrap().files {
        assert!(fake.account().remove(&file.url));
    }
    assert_ne!(id, album);
    drop((folder, root));
    mount.umount();
    std::thread::sleep(Duration::from_secs(31) / 20);
    mount.start();
    let refreshed = harness::command()
        .arg("refresh")
        .arg(mount.path("photos/2023"))
        .env("FICHIERFS_CLOCK", &*CLOCK)
        .status();
    assert!(refreshed.unwrap().success());
    let root = fs::File::open(mount.dir()).unwrap();
    let stale = handle::open(&root, &gone, libc::O_RDONLY).unwrap_err();
    assert_eq!(stale.raw_os_error(), Some(libc::ESTALE), "{stale}");
    drop(root);
    mount.umount();
    assert!(!is_mounted(&mount.dir()));
    assert_well_behaved(&fake);
}

mod handle {
    //! name_to_handle_at(2) and open_by_handle_at(2), which no crate of ours wraps.
    #![expect(unsafe_code, reason = "two system calls")]
    use std::ffi::CString;
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    /// Longest handle of the system (`MAX_HANDLE_SZ`).
    const MOST: usize = 128;

    /// `struct file_handle` with room for any handle.
    #[repr(C)]
    #[derive(Clone)]
    pub(super) struct Handle {
        bytes: u32,
        kind: i32,
        opaque: [u8; MOST],
    }

    pub(super) fn of(path: &Path) -> Handle {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        let mut handle = Handle {
            bytes: u32::try_from(MOST).unwrap(),
            kind: 0,
            opaque: [0; MOST],
        };
        let mut mount = 0;
        // SAFETY: the pointers are to live values, and `bytes` says how much room there is.
        let result = unsafe {
            libc::name_to_handle_at(
                libc::AT_FDCWD,
                path.as_ptr(),
                (&raw mut handle).cast(),
                &raw mut mount,
                0,
            )
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        handle
    }

    pub(super) fn open(mount: &File, handle: &Handle, flags: i32) -> io::Result<File> {
        let mut handle = handle.clone();
        // SAFETY: the handle is as the kernel filled it in; the descriptor is new and ours.
        unsafe {
            let fd = libc::open_by_handle_at(mount.as_raw_fd(), (&raw mut handle).cast(), flags);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(File::from_raw_fd(fd))
        }
    }
}
