//! The disks that a mount keeps its cache and its state on.
use super::super::Finding;
use super::super::facts::{Disk, Facts};
use super::{fail, ok, warn};
use crate::cli::output::binary;

/// Bytes below which a disk of state is as good as full: the tree of a large account and a few small files.
const LEAST_STATE: u64 = 64 << 20;

/// Bytes below which few films can wait there for their upload.
const LITTLE_STATE: u64 = 2 << 30;

/// What kind of file system a number stands for, and what is to be feared of it.
fn kind(number: u64) -> Option<(&'static str, Fear)> {
    Some(match number {
        0x0102_1994 => ("tmpfs", Fear::Vanishes),
        0x8584_58f6 => ("ramfs", Fear::Vanishes),
        0x6969 => ("NFS", Fear::Remote),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => ("SMB", Fear::Remote),
        0x6573_5546 => ("FUSE", Fear::Remote),
        0x0102_1997 => ("9p", Fear::Remote),
        0x4d44 => ("FAT", Fear::Simple),
        0x2011_bab0 => ("exFAT", Fear::Simple),
        _ => return None,
    })
}

/// What a file system is not to be trusted with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fear {
    /// It is gone after a reboot, and takes memory.
    Vanishes,
    /// Locks and durability are somebody else's.
    Remote,
    /// No permissions, no holes.
    Simple,
}

/// What keeps anything from being written there.
fn unusable(check: &'static str, disk: &Disk, option: &str) -> Option<Finding> {
    (!disk.is_writable).then(|| {
        fail(
            check,
            format!("{} cannot be written", disk.found.display()),
            format!("give it to the user who mounts, or choose another folder with {option}"),
        )
    })
}

/// Whether the disk of the cache is fit for it.
pub(super) fn cache(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "cache";
    const OPTION: &str = "--cache-dir";
    let size = facts.config.cache_size;
    if facts.config.trouble.is_some() {
        return None;
    }
    let Some(disk) = &facts.cache else {
        return Some(if size == 0 {
            ok(CHECK, "no contents are kept on disk (--cache-size 0)")
        } else {
            fail(
                CHECK,
                "its disk cannot be looked at",
                format!("choose another folder with {OPTION}"),
            )
        });
    };
    let folder = disk.folder.display();
    Some(if let Some(finding) = unusable(CHECK, disk, OPTION) {
        finding
    } else if disk.makes_holes == Some(false) {
        warn(
            CHECK,
            format!(
                "the disk of {folder} makes no holes in files: each cached file takes its full size"
            ),
            format!("choose a folder on ext4, xfs or btrfs with {OPTION}"),
        )
    } else if let Some((name, fear)) = kind(disk.kind) {
        let why = match fear {
            Fear::Vanishes => "it takes memory, and is gone after a reboot",
            Fear::Remote => "a cache beyond a network is hardly faster than the service",
            Fear::Simple => "it makes no holes in files",
        };
        warn(
            CHECK,
            format!("{folder} is on {name}: {why}"),
            format!("choose a folder on a disk of this machine with {OPTION}"),
        )
    } else if disk.free.saturating_add(disk.used) < size {
        warn(
            CHECK,
            format!(
                "{folder} may take {}, and {} are free: the disk would fill up",
                binary(size),
                binary(disk.free)
            ),
            "make room, or lower --cache-size",
        )
    } else {
        ok(
            CHECK,
            format!(
                "{folder} may take {}; {} are free",
                binary(size),
                binary(disk.free)
            ),
        )
    })
}

/// Whether the disk of the state is.
pub(super) fn state(disk: &Disk) -> Finding {
    const CHECK: &str = "state";
    const OPTION: &str = "--state-dir";
    let folder = disk.folder.display();
    let free = binary(disk.free);
    if let Some(finding) = unusable(CHECK, disk, OPTION) {
        return finding;
    }
    if let Some((name, fear)) = kind(disk.kind) {
        let advice = format!("choose a folder on a disk of this machine with {OPTION}");
        return match fear {
            Fear::Vanishes => fail(
                CHECK,
                format!(
                    "{folder} is on {name}: what was written and not uploaded is lost when the machine stops"
                ),
                advice,
            ),
            Fear::Remote | Fear::Simple => warn(
                CHECK,
                format!(
                    "{folder} is on {name}, which may lose what a disk of this machine would keep"
                ),
                advice,
            ),
        };
    }
    if disk.free < LEAST_STATE {
        fail(
            CHECK,
            format!(
                "the disk of {folder} is full ({free} free): nothing can be written to the mount"
            ),
            "make room",
        )
    } else if disk.free < LITTLE_STATE {
        warn(
            CHECK,
            format!("{folder} has {free} free; half of it is what may wait for its upload"),
            format!("make room, or choose another disk with {OPTION}"),
        )
    } else {
        ok(
            CHECK,
            format!("{folder} has {free} free, half of it for what waits for its upload"),
        )
    }
}
