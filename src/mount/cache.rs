//! The disk cache as commands see it: beside a running mount, or its folder when nothing is mounted.
//!
//! Promises: readers go first; a check changes nobody's turn to be evicted; what proves wrong is not
//! kept.
use super::answers::{Control, disk_figures};
use crate::api::{Ask, FileId, FileUrl, Priority, Requester, Whirlpool};
use crate::control::status::DiskFigures;
use crate::control::{Answer, CheckedFile, ClearedCache, Comparison, Teller, WarmedFile};
use crate::read::{Checked, DiskCache, Part};
use crate::tree::{File, Ino, Kind};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long the service may take to say a file's hash: it is asked behind everything else.
const HASH_LIMIT: Duration = Duration::from_secs(600);

/// How long clearing waits for the space to be given back.
const CLEAR_LIMIT: Duration = Duration::from_secs(20);

/// Bytes a cache that nobody mounts may take while it is looked at: all it has.
const WHATEVER_IT_HAS: u64 = u64::MAX / 4;

const NO_CACHE: &str = "this mount has no disk cache; give it one with --cache-size";

/// Brings a file into the cache.
pub(super) async fn warm(control: &Control, inode: u64, edges: bool, teller: &Teller) -> Answer {
    let file = match file(control, inode) {
        Ok(file) => file,
        Err(refusal) => return Answer::error(refusal),
    };
    let part = if edges { Part::Edges } else { Part::Whole };
    let tell = |done, total| {
        teller.progress(done, total);
    };
    match control.reader.warm(&file.url, file.size, part, tell).await {
        Ok(warmed) => Answer::Warmed(WarmedFile {
            bytes: warmed.bytes,
            fetched_bytes: warmed.fetched,
            budget_bytes: control.reader.disk().map_or(0, |it| it.usage().budget),
        }),
        Err(error) => Answer::error(error.to_string()),
    }
}

/// Compares what the cache holds with its checksums, and whole files with the service's hash.
pub(super) async fn verify(
    control: &Control,
    inode: Option<u64>,
    whirlpool: bool,
    teller: &Teller,
) -> Answer {
    let Some(disk) = control.reader.disk() else {
        return Answer::error(NO_CACHE);
    };
    let (files, known) = match inode {
        None => (disk.files(), None),
        Some(inode) => {
            let file = match file(control, inode) {
                Ok(file) => file,
                Err(refusal) => return Answer::error(refusal),
            };
            (disk.kept(file.url.id()).into_iter().collect(), Some(file))
        }
    };
    let total = files.iter().map(|kept| kept.bytes).sum();
    let mut done = 0;
    for kept in files {
        let (disk, teller_there) = (disk.clone(), teller.clone());
        let base = done;
        let checked = tokio::task::spawn_blocking(move || {
            let mut tell = |seen| teller_there.progress(base + seen, total);
            disk.verify(kept.file, whirlpool, &mut tell)
        });
        done += kept.bytes;
        // Nothing is left of it, or nobody listens any more.
        let Ok(Some(checked)) = checked.await else {
            continue;
        };
        let mut told = told(&checked);
        if let Some(ours) = checked.whirlpool {
            compare(control, known.as_ref(), &checked, ours, &mut told).await;
        }
        teller.say(Answer::Checked(told)).await;
    }
    teller.progress(total, total);
    Answer::Verified
}

/// Compares a whole file with what the service says of it: from a listing if it is known from one, else
/// in one call.
async fn compare(
    control: &Control,
    known: Option<&File>,
    checked: &Checked,
    ours: Whirlpool,
    told: &mut CheckedFile,
) {
    let listed = known.and_then(|file| file.whirlpool);
    let theirs = if listed.is_some() {
        listed
    } else {
        let url = known.map_or_else(|| FileUrl::of(checked.file), |file| file.url.clone());
        let deadline = Deadline::within(control.clock, HASH_LIMIT);
        let ask = Ask::new(Priority::Crawl, deadline, Requester::SELF);
        match control.client.file_info(&ask, &url).await {
            Ok(info) => info.whirlpool,
            Err(error) => {
                told.problem = Some(error.to_string());
                None
            }
        }
    };
    told.whirlpool = match theirs {
        Some(theirs) if theirs == ours => Comparison::Same,
        Some(theirs) => {
            log::error!(
                "{}: the whole file has the hash {ours}, the service says {theirs}; it is not kept",
                checked.file
            );
            control.reader.forget(checked.file);
            Comparison::Differs
        }
        None => Comparison::NotKnown,
    };
}

/// Throws away what the cache holds.
pub(super) fn clear(control: &Control, inode: Option<u64>) -> Answer {
    let Some(disk) = control.reader.disk() else {
        return Answer::error(NO_CACHE);
    };
    let wanted = match inode.map(|inode| file(control, inode)).transpose() {
        Ok(file) => file.map(|file| file.url.id()),
        Err(refusal) => return Answer::error(refusal),
    };
    let cleared = count(disk, wanted);
    match wanted {
        Some(file) => control.reader.forget(file),
        None => disk.clear(),
    }
    Answer::Cleared(cleared)
}

/// The file behind an inode.
fn file(control: &Control, inode: u64) -> Result<File, &'static str> {
    let node = Ino::new(inode).and_then(|ino| control.tree.node(ino).ok());
    let path = || control.tree.path_of(node.as_ref()?.ino);
    match node.as_deref().map(|node| &node.kind) {
        Some(Kind::File(file)) => {
            control.reader.place(&file.url, path);
            Ok(file.clone())
        }
        Some(Kind::Folder(_)) => Err("it is a folder"),
        Some(Kind::Own(_)) => {
            Err("the account does not have it yet, so there is nothing of it to keep")
        }
        None => Err("the mount does not know that file any more"),
    }
}

fn count(disk: &DiskCache, file: Option<FileId>) -> ClearedCache {
    let files = match file {
        Some(file) => disk.kept(file).into_iter().collect(),
        None => disk.files(),
    };
    ClearedCache {
        files: files.len() as u64,
        bytes: files.iter().map(|kept| kept.bytes).sum(),
    }
}

fn told(checked: &Checked) -> CheckedFile {
    CheckedFile {
        id: checked.file.to_string(),
        size: checked.size,
        sound_bytes: checked.sound,
        damaged_bytes: checked.damaged,
        ..CheckedFile::default()
    }
}

/// The cache's folder while nothing is mounted. It is locked for as long as this lives.
#[derive(Debug)]
pub struct Offline {
    disk: DiskCache,
    clock: Clock,
}

impl Offline {
    /// Opens the cache in `folder`; `None` when there is none.
    ///
    /// # Errors
    /// As [`DiskCache::open`]: a process that uses it is named.
    pub fn open(folder: &Path) -> io::Result<Option<Self>> {
        if !folder.join("map").exists() {
            return Ok(None);
        }
        let clock = Clock::from_env();
        let disk = DiskCache::open(folder, WHATEVER_IT_HAS, clock)?;
        Ok(Some(Self { disk, clock }))
    }

    /// What it holds; `budget` is what a mount would let it take.
    pub fn figures(&self, budget: u64) -> DiskFigures {
        DiskFigures {
            budget_bytes: budget,
            ..disk_figures(&self.disk.usage())
        }
    }

    /// Throws all away, and waits until the space is free.
    pub fn clear(&self) -> ClearedCache {
        let cleared = count(&self.disk, None);
        self.disk.clear();
        if !self.disk.flush(Deadline::within(self.clock, CLEAR_LIMIT)) {
            log::warn!("the disk is slow; the rest of the space comes free later");
        }
        cleared
    }

    /// Compares all with its checksums. `tell` hears how far it is and what was found.
    pub fn verify(&self, mut tell: impl FnMut(Answer)) {
        let files = self.disk.files();
        let total = files.iter().map(|kept| kept.bytes).sum();
        let mut done = 0;
        for kept in files {
            let mut progress = |seen| {
                tell(Answer::Progress {
                    done: done + seen,
                    total,
                });
                true
            };
            let checked = self.disk.verify(kept.file, false, &mut progress);
            done += kept.bytes;
            if let Some(checked) = checked {
                tell(Answer::Checked(told(&checked)));
            }
        }
    }
}
