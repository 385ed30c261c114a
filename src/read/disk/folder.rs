//! The cache's folder: made for its owner only, and used by one process at a time.
use super::data::make_dir;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes the folder and locks it for this process, as long as the returned file is open. Errors
/// name the folder; `ResourceBusy` when another process has it.
pub(super) fn lock(dir: &Path) -> io::Result<File> {
    let context = |what: &str, error: &io::Error| {
        let message = format!("disk cache {}: {what}: {error}", dir.display());
        io::Error::new(error.kind(), message)
    };
    make_dir(dir).map_err(|error| context("cannot make the folder", &error))?;
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let opened = match options.open(&path) {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => File::open(&path),
        opened => opened,
    };
    let mut file = opened.map_err(|error| context("cannot open its lock", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(context("cannot lock it", &error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message.
            (&file).take(20).read_to_string(&mut holder).ok();
            let message = format!(
                "disk cache {}: in use by another process ({}); one mount per folder: give this \
                 mount another cache folder, or end the other",
                dir.display(),
                holder.trim()
            );
            return Err(io::Error::new(ErrorKind::ResourceBusy, message));
        }
    }
    // For the message above only: on a full disk the lock works as well.
    file.set_len(0)
        .and_then(|()| file.write_all(format!("pid {}\n", std::process::id()).as_bytes()))
        .ok();
    Ok(file)
}
