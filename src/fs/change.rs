//! What the kernel wants changed of a file's attributes, in the words of the parts below.
//!
//! Who may change what is the kernel's business (`default_permissions`): what arrives here is allowed, and
//! the setuid and setgid bits that a write or a change of owner takes away are taken away in it already.
//! All twelve permission bits are kept, setuid, setgid and sticky too, so that `cp -a`, `rsync -a` and `tar`
//! find what they set; mounts are `nosuid`, so that nobody gains anything by them.
use crate::tree::{AttributeChange, MODE_BITS, Timestamp};
use fuser::{FileAttr, FileType, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Set-group-ID: what is made in such a folder belongs to its group, and folders hand the bit on.
const SET_GROUP: u16 = 0o2000;

/// What a `setattr` is to change, beside the size.
pub(super) fn of_request(
    mode: Option<u32>,
    (uid, gid): (Option<u32>, Option<u32>),
    accessed: Option<TimeOrNow>,
    modified: Option<TimeOrNow>,
    now: Timestamp,
) -> AttributeChange {
    let time = |time| match time {
        TimeOrNow::Now => now,
        TimeOrNow::SpecificTime(time) => from_kernel(time),
    };
    AttributeChange {
        mode: mode.map(bits),
        uid,
        gid,
        accessed: accessed.map(time),
        modified: modified.map(time),
    }
}

/// Who makes something, and as what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker {
    /// Without the bits of the program's umask, as the kernel hands it over.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// How what was made differs from what everything on the mount is like: nothing, as a rule. `folder` and `made`
/// are what would be shown.
pub(super) fn of_made(maker: Maker, folder: &FileAttr, made: &FileAttr) -> AttributeChange {
    let Maker { mode, uid, gid } = maker;
    let hands_on = folder.perm & SET_GROUP != 0;
    let gid = if hands_on { folder.gid } else { gid };
    let mut mode = bits(mode);
    if hands_on && made.kind == FileType::Directory {
        mode |= SET_GROUP;
    }
    AttributeChange {
        mode: Some(mode).filter(|mode| *mode != made.perm),
        uid: Some(uid).filter(|uid| *uid != made.uid),
        gid: Some(gid).filter(|gid| *gid != made.gid),
        ..AttributeChange::default()
    }
}

/// The permission bits of a mode, which has the kind of file in it too.
fn bits(mode: u32) -> u16 {
    u16::try_from(mode & u32::from(MODE_BITS)).unwrap_or(MODE_BITS)
}

/// A time the kernel handed over. fuser takes seconds before 1970 and the nanoseconds that follow them for
/// a span before 1970 (version 0.18, `system_time_from_time`), and this takes that back.
fn from_kernel(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.into(),
        Err(before) => {
            let span = before.duration();
            let seconds = i64::try_from(span.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            Timestamp::new(seconds, span.subsec_nanos())
        }
    }
}

/// A time for the kernel: fuser says these rightly.
pub(super) fn to_kernel(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.seconds().unsigned_abs());
    let second = if time.seconds() < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    let fraction = Duration::from_nanos(time.nanoseconds().into());
    second
        .and_then(|second| second.checked_add(fraction))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuser::INodeNo;

    fn shown(kind: FileType, perm: u16, gid: u32) -> FileAttr {
        FileAttr {
            ino: INodeNo(2),
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 1000,
            gid,
            rdev: 0,
            blksize: 0,
            flags: 0,
        }
    }

    #[test]
    fn times_are_what_the_kernel_meant_before_1970_too() {
        let now = Timestamp::new(1, 2);
        // What fuser makes of (seconds, nanoseconds), and what is to come back from it.
        for (seconds, nanoseconds) in [(0, 0), (5, 7), (-1, 0), (-1, 999_999_999), (-7, 250)] {
            let span = Duration::new(u64::try_from(i64::abs(seconds)).unwrap(), nanoseconds);
            let handed = if seconds < 0 {
                UNIX_EPOCH - span
            } else {
                UNIX_EPOCH + span
            };
            let set = Some(TimeOrNow::SpecificTime(handed));
            let change = of_request(None, (None, None), None, set, now);
            let at = Timestamp::new(seconds, nanoseconds);
            assert_eq!(change.modified, Some(at));
            let told = to_kernel(at);
            let exact = match told.duration_since(UNIX_EPOCH) {
                Ok(since) => i128::try_from(since.as_nanos()).unwrap(),
                Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap(),
            };
            let meant = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
            assert_eq!(exact, meant);
        }
        let change = of_request(
            Some(0o104_755),
            (None, Some(7)),
            Some(TimeOrNow::Now),
            None,
            now,
        );
        assert_eq!(
            (change.mode, change.uid, change.gid),
            (Some(0o4755), None, Some(7))
        );
        assert_eq!((change.accessed, change.modified), (Some(now), None));
        assert_eq!(to_kernel(Timestamp::new(i64::MAX, 999_999_999)), {
            UNIX_EPOCH + Duration::new(i64::MAX.unsigned_abs(), 999_999_999)
        });
    }

    fn maker(mode: u32, uid: u32) -> Maker {
        Maker {
            mode,
            uid,
            gid: uid,
        }
    }

    #[test]
    fn only_what_differs_from_the_usual_is_kept_of_what_is_made() {
        let folder = shown(FileType::Directory, 0o755, 1000);
        let file = shown(FileType::RegularFile, 0o644, 1000);
        let usual = of_made(maker(0o100_644, 1000), &folder, &file);
        assert!(usual.is_empty());
        let other = of_made(maker(0o100_600, 0), &folder, &file);
        assert_eq!(
            (other.mode, other.uid, other.gid),
            (Some(0o600), Some(0), Some(0))
        );

        let shared = shown(FileType::Directory, 0o2775, 50);
        let made = of_made(maker(0o100_644, 1000), &shared, &file);
        assert_eq!((made.mode, made.gid), (None, Some(50)));
        let made = of_made(maker(0o040_755, 1000), &shared, &folder);
        assert_eq!((made.mode, made.gid), (Some(0o2755), Some(50)));
    }
}
