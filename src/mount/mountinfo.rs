//! The kernel's table of mounts, `/proc/self/mountinfo`.
//!
//! Reading it touches no file system, so it answers where looking at a path would hang or fail.
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The file system type our mounts show.
pub const FS_TYPE: &str = "fuse.fichierfs";

/// What our mounts' source starts with; the account's name follows.
pub const SOURCE_PREFIX: &str = "fichierfs:";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The mount's number; unique among the mounts there are.
    pub id: u64,
    /// Device number as `major:minor`; new with every FUSE mount.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// `fuse.fichierfs`, `ext4`, …
    pub fs_type: String,
    /// What is mounted: a device, or what the file system calls itself.
    pub source: OsString,
    /// The user who mounted it, if it is a FUSE file system.
    pub owner: Option<u32>,
}

impl Entry {
    /// Whether it is a FUSE file system of any kind.
    pub fn is_fuse(&self) -> bool {
        self.fs_type == "fuse" || self.fs_type.starts_with("fuse.")
    }

    /// Whether it is one of ours.
    pub fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// The account a mount of ours shows.
    pub fn account(&self) -> Option<&str> {
        if !self.is_ours() {
            return None;
        }
        self.source.to_str()?.strip_prefix(SOURCE_PREFIX)
    }
}

/// The whole table.
pub fn table() -> io::Result<Vec<Entry>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// Whether a mount of `account` with this device is there. The account tells it from another mount that the
/// kernel gave the number of one that is gone.
pub fn is_there(account: &str, device: &str) -> io::Result<bool> {
    let is_meant = |entry: &Entry| entry.device == device && entry.account() == Some(account);
    Ok(table()?.iter().any(is_meant))
}

/// What is mounted at exactly `mountpoint`, the uppermost if there are several. The path must be
/// canonical, as the table's are.
pub fn top_at(mountpoint: &Path) -> io::Result<Option<Entry>> {
    let mut table = table()?;
    // The kernel lists mounts in the order they were made.
    let top = table
        .iter()
        .rposition(|entry| entry.mountpoint == mountpoint);
    Ok(top.map(|at| table.swap_remove(at)))
}

/// The canonical form of a path that may be a dead mountpoint, which cannot be looked at itself:
/// its folder is resolved instead.
pub fn canonical(path: &Path) -> io::Result<PathBuf> {
    if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let candidate = folder.canonicalize()?.join(name);
        if top_at(&candidate)?.is_some() {
            return Ok(candidate);
        }
    }
    path.canonicalize()
}

/// Parses a line (proc_pid_mountinfo(5)); `None` when it is not one.
fn parse(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|b| *b == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let _parent = fields.next()?;
    let device = text(fields.next()?)?.to_owned();
    let _root = fields.next()?;
    let mountpoint = PathBuf::from(unescape(fields.next()?));
    // Mount options and a varying number of tags stand before the dash.
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = text(fields.next()?)?.to_owned();
    let source = unescape(fields.next()?);
    let options = fields.next().and_then(text).unwrap_or_default();
    let owner = options
        .split(',')
        .find_map(|option| option.strip_prefix("user_id=")?.parse().ok());
    Some(Entry {
        id,
        device,
        mountpoint,
        fs_type,
        source,
        owner,
    })
}

fn text(field: &[u8]) -> Option<&str> {
    std::str::from_utf8(field).ok()
}

/// The table writes blanks, tabs, line breaks and backslashes as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(text(digits)?, 8).ok());
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(plain)
}

/// A mount's source as people may see it: without control characters.
pub fn printable(source: &OsStr) -> String {
    String::from_utf8_lossy(source.as_bytes())
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_read_with_its_escapes_and_tags() {
        let line = br"36 35 0:45 / /mnt/my\040films rw,nosuid,nodev shared:7 master:2 - fuse.fichierfs fichierfs:work rw,user_id=0";
        let entry = parse(line).unwrap();
        assert_eq!(entry.id, 36);
        assert_eq!(entry.device, "0:45");
        assert_eq!(entry.mountpoint, Path::new("/mnt/my films"));
        assert_eq!(entry.account(), Some("work"));
        assert_eq!(entry.owner, Some(0));
        assert!(entry.is_fuse() && entry.is_ours());
        let other = parse(b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw").unwrap();
        assert_eq!(other.account(), None);
        assert!(!other.is_fuse() && other.owner.is_none());
    }

    #[test]
    fn the_real_table_holds_the_root() {
        assert!(top_at(Path::new("/")).unwrap().is_some());
        assert!(top_at(Path::new("/no such mountpoint")).unwrap().is_none());
    }

    #[test]
    fn paths_are_canonical_with_and_without_a_mount() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(
            canonical(&real.join("link/./..")).unwrap(),
            real.parent().unwrap()
        );
        assert_eq!(canonical(&real.join("link")).unwrap(), real);
        assert_eq!(canonical(Path::new("/proc/")).unwrap(), Path::new("/proc"));
        assert!(canonical(&real.join("none")).is_err());
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
            let _ = unescape(&line);
        }
    }
}
