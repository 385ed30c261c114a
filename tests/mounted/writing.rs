//! Bytes of files, written in every way a program can: read back at once, and in the account after the
//! end.
use crate::harness::{Drive, errno, read_file};
use fake_1fichier::content;
use rustix::fs::{AtFlags, CWD, FallocateFlags, SeekFrom, StatxFlags, fallocate, seek, statx};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};

const MIB: usize = 1 << 20;

fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    content::fill(seed, 0, &mut bytes);
    bytes
}

#[test]
fn what_was_written_is_read_back_at_once_and_reaches_the_account() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let (small, large) = (bytes(1, 5000), bytes(2, 3 * MIB + 7));
    let path = drive.path("small");
    let mut file = File::create_new(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    for piece in small.chunks(999) {
        file.write_all(piece).unwrap();
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 5000);
    assert_eq!(read_file(&path).unwrap(), small);
    drop(file);
    assert_eq!(read_file(&path).unwrap(), small);
    fs::write(drive.path("large"), &large).unwrap();
    assert_eq!(fs::read(drive.path("large")).unwrap(), large);
    assert_eq!(drive.fake.count_downloads(), 0);
    drive.ends_with(&[("small", &small), ("large", &large)]);
}

#[test]
fn an_empty_file_is_here_alone_until_it_holds_something() {
    let Some(mut drive) = Drive::new(|_| {}) else {
        return;
    };
    File::create(drive.path("empty")).unwrap();
    File::create(drive.path("later")).unwrap();
    assert!(drive.mount.umount().success());
    drive.mount.start();
    assert_eq!(fs::metadata(drive.path("empty")).unwrap().len(), 0);
    fs::write(drive.path("later"), "something").unwrap();
    assert_eq!(fs::read(drive.path("empty")).unwrap(), b"");
    drive.ends_with(&[("later", b"something")]);
}

#[test]
fn what_is_appended_comes_at_the_end_whoever_appends() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "log", "one\n");
    }) else {
        return;
    };
    let appender = || OpenOptions::new().append(true).open(drive.path("log"));
    let (mut first, mut second) = (appender().unwrap(), appender().unwrap());
    first.write_all(b"two\n").unwrap();
    second.write_all(b"three\n").unwrap();
    first.write_all(b"four\n").unwrap();
    let all = b"one\ntwo\nthree\nfour\n";
    assert_eq!(read_file(&drive.path("log")).unwrap(), all);
    drop((first, second));
    drive.ends_with(&[("log", all)]);
}

#[test]
fn a_file_is_cut_and_lengthened_with_and_without_a_handle() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", "0123456789");
    }) else {
        return;
    };
    let path = drive.path("there");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4);
    assert_eq!(read_file(&path).unwrap(), b"0123");
    file.set_len(6).unwrap();
    assert_eq!(read_file(&path).unwrap(), b"0123\0\0");
    drop(file);
    // Nobody has it open.
    nix::unistd::truncate(&path, 2).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 2);
    nix::unistd::truncate(&path, 3).unwrap();
    assert_eq!(read_file(&path).unwrap(), b"01\0");
    drive.ends_with(&[("there", b"01\0")]);
}

#[test]
fn a_file_that_is_opened_empty_is_not_fetched() {
    let old = bytes(3, MIB);
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", old.clone());
    }) else {
        return;
    };
    let path = drive.path("there");
    let mut file = File::create(&path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 0);
    assert_eq!(read_file(&path).unwrap(), b"");
    file.write_all(b"new").unwrap();
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(drive.fake.count_downloads(), 0);
    drive.ends_with(&[("there", b"new")]);
}

#[test]
fn all_who_have_a_file_open_see_one_content() {
    let mut now = bytes(4, 300_000);
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", now.clone());
    }) else {
        return;
    };
    let path = drive.path("there");
    let before = File::open(&path).unwrap();
    let mut seen = vec![0; now.len()];
    before.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == now);
    let writer = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    for at in [0, 99_999, 299_990] {
        writer.write_all_at(b"changed", at).unwrap();
        let at = usize::try_from(at).unwrap();
        now[at..at + 7].copy_from_slice(b"changed");
    }
    for reader in [&before, &writer, &File::open(&path).unwrap()] {
        reader.read_exact_at(&mut seen, 0).unwrap();
        assert!(seen == now);
    }
    drop((before, writer));
    drive.ends_with(&[("there", &now)]);
}

#[test]
fn a_file_that_was_removed_stays_with_those_who_have_it_open() {
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", "of the account");
    }) else {
        return;
    };
    for (name, text) in [("there", "of the account"), ("own", "written by hand")] {
        let path = drive.path(name);
        if name == "own" {
            fs::write(&path, text).unwrap();
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(errno(fs::metadata(&path)), libc::ENOENT);
        let meta = file.metadata().unwrap();
        assert_eq!((meta.len(), meta.nlink()), (text.len() as u64, 0));
        let mut seen = vec![0; text.len()];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, text.as_bytes());
        file.write_all_at(b"OF", 0).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 6);
        file.sync_all().unwrap();
        // The name is free.
        fs::write(&path, "another").unwrap();
        let mut seen = [0; 2];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(&seen, b"OF");
    }
    drive.ends_with(&[("there", b"another"), ("own", b"another")]);
}

#[test]
fn direct_writes_and_ordinary_ones_see_each_other() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let path = drive.path("file");
    let ordinary = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    ordinary.write_all_at(&bytes(5, 16384), 0).unwrap();
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .unwrap();
    direct.write_all_at(&bytes(6, 8192), 4096).unwrap();
    let mut wanted = bytes(5, 16384);
    wanted[4096..12288].copy_from_slice(&bytes(6, 8192));
    let mut seen = vec![0; 16384];
    ordinary.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == wanted);
    ordinary.write_all_at(&bytes(7, 4096), 8192).unwrap();
    wanted[8192..12288].copy_from_slice(&bytes(7, 4096));
    direct.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen == wanted);
    drop((ordinary, direct));
    drive.ends_with(&[("file", &wanted)]);
}

#[test]
fn stores_to_a_mapping_are_writes_also_after_the_file_was_closed() {
    let old = bytes(8, 100_000);
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", old.clone());
    }) else {
        return;
    };
    let path = drive.path("there");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    #[expect(unsafe_code, reason = "nobody cuts the file while it is mapped")]
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
    drop(file);
    assert!(map[..] == old);
    map[70_000..70_005].copy_from_slice(b"store");
    map.flush().unwrap();
    let mut wanted = old.clone();
    wanted[70_000..70_005].copy_from_slice(b"store");
    // What is stored after the file was closed and written back is not lost either.
    map[99_998..].copy_from_slice(b"!!");
    wanted[99_998..].copy_from_slice(b"!!");
    assert!(read_file(&path).unwrap() == wanted);
    drop(map);
    assert!(read_file(&path).unwrap() == wanted);
    drive.ends_with(&[("there", &wanted)]);
}

#[test]
fn room_is_made_and_given_back_and_holes_are_found() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let path = drive.path("sparse");
    let file = File::create_new(&path).unwrap();
    let size = || file.metadata().unwrap().len();
    let none = FallocateFlags::empty();
    let (keep, punch) = (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE);
    let zero = FallocateFlags::ZERO_RANGE;
    // What is refused is refused for itself: it goes on working.
    let collapse = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(collapse.unwrap_err(), rustix::io::Errno::OPNOTSUPP);
    fallocate(&file, none, 0, 1000).unwrap();
    assert_eq!(size(), 1000);
    fallocate(&file, keep, 0, 5000).unwrap();
    assert_eq!(size(), 1000);
    fallocate(&file, zero | keep, 500, 5000).unwrap();
    assert_eq!(size(), 1000);
    fallocate(&file, zero, 500, 5000).unwrap();
    assert_eq!(size(), 5500);
    let mut wanted = vec![0; 300_000];
    file.write_all_at(&vec![7; 100_000], 200_000).unwrap();
    wanted[200_000..].fill(7);
    fallocate(&file, punch | keep, 250_000, 10_000).unwrap();
    wanted[250_000..260_000].fill(0);
    assert!(read_file(&path).unwrap() == wanted);
    for (from, to) in [
        (SeekFrom::Data(0), 200_000),
        (SeekFrom::Hole(0), 0),
        (SeekFrom::Hole(200_000), 250_000),
        (SeekFrom::Data(255_000), 260_000),
        (SeekFrom::Hole(260_000), 300_000),
    ] {
        assert_eq!(seek(&file, from).unwrap(), to, "{from:?}");
    }
    let beyond = seek(&file, SeekFrom::Data(300_000));
    assert_eq!(beyond.unwrap_err(), rustix::io::Errno::NXIO);
    drop(file);
    drive.ends_with(&[("sparse", &wanted)]);
}

/// Copies a range as `cp` does.
fn copy_range(from: &File, offset: u64, to: &File, at: u64, length: usize) {
    let (mut offset, mut at, mut left) = (offset, at, length);
    while left > 0 {
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut offset), to, Some(&mut at), left).unwrap();
        assert!(copied > 0, "{left} bytes are left");
        left -= copied;
    }
}

#[test]
fn a_whole_copy_is_one_call_and_no_traffic() {
    let content = bytes(9, 5 * MIB);
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", content.clone());
    }) else {
        return;
    };
    let from = File::open(drive.path("there")).unwrap();
    let to = File::create_new(drive.path("copy")).unwrap();
    copy_range(&from, 0, &to, 0, content.len());
    assert_eq!(to.metadata().unwrap().len(), content.len() as u64);
    drop((from, to));
    crate::harness::eventually("the account has the copy", || {
        !drive.fake.account().files_at("copy").is_empty()
    });
    assert_eq!(drive.fake.count("file/cp"), 1);
    assert_eq!(drive.fake.count_downloads(), 0);
    assert!(fs::read(drive.path("copy")).unwrap() == content);
    drive.ends_with(&[("there", &content), ("copy", &content)]);
}

#[test]
fn ranges_are_copied_between_files_and_within_one() {
    let content = bytes(10, 200_000);
    let Some(drive) = Drive::new(|account| {
        account.add_bytes(0, "there", content.clone());
    }) else {
        return;
    };
    let from = File::open(drive.path("there")).unwrap();
    let to = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(drive.path("own"))
        .unwrap();
    to.write_all_at(&[1; 1000], 0).unwrap();
    let mut seen = [0; 1000];
    to.read_exact_at(&mut seen, 0).unwrap();
    copy_range(&from, 50_000, &to, 500, 100_000);
    copy_range(&to, 100, &to, 150_000, 1000);
    let mut wanted = vec![1; 500];
    wanted.extend(&content[50_000..150_000]);
    wanted.resize(150_000, 0);
    wanted.extend_from_within(100..1100);
    assert!(read_file(&drive.path("own")).unwrap() == wanted);
    drop((from, to));
    drive.ends_with(&[("there", &content), ("own", &wanted)]);
}

#[test]
fn syncing_is_possible_at_any_time_and_uploads_nothing() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let mut file = File::create_new(drive.path("file")).unwrap();
    file.sync_all().unwrap();
    file.write_all(b"begun").unwrap();
    file.sync_data().unwrap();
    fs::create_dir(drive.path("folder")).unwrap();
    File::open(drive.path("folder"))
        .unwrap()
        .sync_all()
        .unwrap();
    File::open(drive.mount.dir()).unwrap().sync_all().unwrap();
    let log = drive.fake.log();
    assert!(log.iter().all(|entry| entry.endpoint != "upload.cgi"));
    file.write_all(b" and ended").unwrap();
    drop(file);
    drive.ends_with(&[("file", b"begun and ended")]);
}

/// `make`, `git` and editors take any change of a time for a change of the file.
#[test]
fn the_time_of_the_last_write_stays_through_closing_and_uploading() {
    let Some(drive) = Drive::new(|_| {}) else {
        return;
    };
    let path = drive.path("file");
    // The kernel is not to answer by itself.
    let modified = || {
        let asked = statx(CWD, &path, AtFlags::STATX_FORCE_SYNC, StatxFlags::MTIME);
        let modified = asked.unwrap().stx_mtime;
        (modified.tv_sec, modified.tv_nsec)
    };
    let mut file = File::create_new(&path).unwrap();
    file.write_all(b"text").unwrap();
    let written = modified();
    drop(file);
    assert_eq!(modified(), written, "after it was closed");
    crate::harness::eventually("the account has it", || {
        !drive.fake.account().files_at("file").is_empty()
    });
    assert_eq!(modified(), written, "after it was uploaded");
    drive.ends_with(&[("file", b"text")]);
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let Some(drive) = Drive::with("20", &["--read-only"], |account| {
        account.add_bytes(0, "there", "text");
    }) else {
        return;
    };
    let path = drive.path("there");
    assert_eq!(errno(File::create(&path)), libc::EROFS);
    assert_eq!(errno(File::create_new(drive.path("new"))), libc::EROFS);
    assert_eq!(
        errno(OpenOptions::new().append(true).open(&path)),
        libc::EROFS
    );
    assert_eq!(errno(fs::remove_file(&path)), libc::EROFS);
    assert_eq!(errno(fs::create_dir(drive.path("new"))), libc::EROFS);
    assert_eq!(errno(fs::rename(&path, drive.path("new"))), libc::EROFS);
    assert_eq!(
        nix::unistd::truncate(&path, 1).unwrap_err(),
        nix::errno::Errno::EROFS
    );
    assert_eq!(fs::read(&path).unwrap(), b"text");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o222, 0);
    drive.ends_with(&[("there", b"text")]);
}

#[test]
fn a_full_staging_area_refuses_what_is_more_and_keeps_what_it_has() {
    let Some(drive) = Drive::with("20", &["--staging-size", "1MiB"], |_| {}) else {
        return;
    };
    let (first, second) = (bytes(11, 700_000), bytes(12, 600_000));
    fs::write(drive.path("first"), &first).unwrap();
    let mut file = File::create_new(drive.path("second")).unwrap();
    assert_eq!(errno(file.write_all(&second)), libc::ENOSPC);
    assert!(read_file(&drive.path("first")).unwrap() == first);
    assert_eq!(file.metadata().unwrap().len(), 0);
    // What the account has needs no room any more.
    crate::harness::eventually("there is room again", || file.write_all(&second).is_ok());
    drop(file);
    assert!(read_file(&drive.path("second")).unwrap() == second);
    drive.ends_with(&[("first", &first), ("second", &second)]);
}
