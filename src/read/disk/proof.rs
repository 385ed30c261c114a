//! What shows, after a restart, that a data file is still the very one that was read, found sound and written
//! through to the disk before: so that it can be lent without reading it again.
//!
//! A *print* is made of the boot, the file's number, its size and its times. Within one boot the kernel's view of a
//! file is one, whatever process ends how: nothing can be lost or half written but by a write, and that moves the
//! times. After another start of the machine a power cut may have come between, so no print matches.
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64;

/// Different each time the machine starts; absent where the kernel does not tell, and then there are no prints.
static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned()).filter(|boot| !boot.is_empty())
});

/// The print of a file as it is now, never [`NONE`]. When it was accessed last is not part of it, nor where its
/// bytes lie.
pub(super) fn print(file: &Metadata) -> Option<u64> {
    let boot = BOOT.as_deref()?;
    let told = [
        file.dev().cast_signed(),
        file.ino().cast_signed(),
        file.size().cast_signed(),
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    ];
    let mut bytes = boot.as_bytes().to_vec();
    bytes.extend(told.iter().flat_map(|number| number.to_le_bytes()));
    Some(xxh3_64(&bytes).max(NONE + 1))
}

/// No print: what was proved of a file does not hold any more.
pub(super) const NONE: u64 = 0;
