//! Files that may hold a key: read bounded, refused when others may read them, written so that
//! nobody else can, not even for a moment.
use super::error::ConfigError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Permission bits that let anyone but the owner in.
const OTHERS: u32 = 0o077;

/// A file's text and permissions, both of the same opened file.
pub(super) struct Bounded {
    /// Its contents.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
}

/// Reads a file of at most `longest` bytes.
pub(super) fn read(path: &Path, what: &'static str, longest: u64) -> Result<Bounded, ConfigError> {
    let failed = |source| ConfigError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut text = String::new();
    file.take(longest + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > longest {
        return Err(failed(io::Error::other("it is far too long to be one")));
    }
    Ok(Bounded {
        text,
        mode: metadata.mode() & 0o7777,
    })
}

/// The same, with `None` when there is no such file.
pub(super) fn read_if_there(
    path: &Path,
    what: &'static str,
    longest: u64,
) -> Result<Option<Bounded>, ConfigError> {
    match read(path, what, longest) {
        Err(ConfigError::Unreadable { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Refuses a file that anyone but its owner may use.
pub(super) fn must_be_private(
    path: &Path,
    what: &'static str,
    mode: u32,
) -> Result<(), ConfigError> {
    if mode & OTHERS != 0 {
        return Err(ConfigError::Exposed {
            what,
            path: path.to_owned(),
            mode: mode & 0o777,
        });
    }
    Ok(())
}

/// Makes a folder, and those above it, that only its owner may enter. One that exists keeps its
/// permissions.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether new files can be made in `folder`: by making one, since permission bits do not tell of
/// read-only file systems, quotas or capabilities.
pub fn probe_folder(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&probe);
    made.and_then(|_| fs::remove_file(&probe))
}

/// Replaces `path` by a file of mode 0600 with `contents`, whole or not at all, durably.
pub(super) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("no folder to write into"))?;
    make_folder(folder)?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(contents)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Nothing half written is left behind; the first error is the one that counts.
        let _ = fs::remove_file(&new);
    }
    written
}
