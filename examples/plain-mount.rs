//! The least a FUSE file system can be: one file, served from memory, no service behind it. What it costs is what FUSE
//! costs, on this kernel and machine: the floor `scripts/bench` compares with.
//!
//! ```text
//! cargo run --release --example plain-mount -- MOUNTPOINT BYTES
//! ```
//!
//! The file is called `file` and ends with the mount.
use anyhow::{Context, bail};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
    Session,
};
use std::ffi::OsStr;
use std::time::{Duration, UNIX_EPOCH};

/// Bytes in memory, again and again: more than any processor's cache, as films are.
const CONTENT: usize = 64 << 20;

/// Bytes of one answer at most.
const LONGEST: usize = 1 << 20;

/// How long the kernel may believe what it was told: longer than any measurement.
const TTL: Duration = Duration::from_secs(3600);

/// The number of the only file.
const FILE: INodeNo = INodeNo(2);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mountpoint, size] = &*arguments else {
        bail!("usage: plain-mount MOUNTPOINT BYTES");
    };
    let plain = Plain {
        size: size.parse().context("BYTES is a number")?,
        // Not zeros: pages of zeros may be one page.
        content: (1..=u8::MAX).cycle().take(CONTENT + LONGEST).collect(),
    };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("plain".into())];
    config.n_threads = Some(2);
    config.clone_fd = true;
    Session::new(plain, mountpoint, &config)?.run()?;
    Ok(())
}

struct Plain {
    size: u64,
    content: Vec<u8>,
}

impl Plain {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        let kind = if is_file {
            FileType::RegularFile
        } else {
            FileType::Directory
        };
        FileAttr {
            ino,
            size: if is_file { self.size } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: if is_file { 0o444 } else { 0o555 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Plain {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "file" {
            reply.entry(&TTL, &self.attr(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.size.saturating_sub(offset);
        let length = left.min(u64::from(size)).min(LONGEST as u64);
        let at = usize::try_from(offset % CONTENT as u64).unwrap_or(0);
        let length = usize::try_from(length).unwrap_or(0);
        reply.data(&self.content[at..at + length]);
    }
}
