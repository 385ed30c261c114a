//! What a mount answers of changes the account does not know yet, and what it does about them.
use super::answers::{Control, number};
use crate::control::unsent::{
    Change, FailedFigures, MOST_LISTED, UnsentFigures, UploadFigures, WriteFigures,
};
use crate::control::{Answer, Left, Synced, Teller, Unsent};
use crate::outbox::intent::{Entry, Place};
use crate::tree::Ino;
use std::cmp::Reverse;
use std::path::Path;
use std::time::Duration;

/// How often those who wait are told how far it is, at most.
const STEP: Duration = Duration::from_millis(200);

/// How often what is under way is looked at though nothing has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Uploads under way that are listed at most: several small files share one.
const MOST_UPLOADS: usize = 20;

/// A file or folder with what is to be told of it.
type Told = (Ino, Entry);

/// The figures.
pub(super) fn figures(control: &Control) -> WriteFigures {
    let outbox = control.volume.outbox();
    let now = outbox.snapshot();
    let staging = control.volume.staging();
    let uploads = now.transfers.iter().take(MOST_UPLOADS);
    let uploads = uploads.map(|transfer| UploadFigures {
        path: path_of(control, transfer.ino),
        bytes: transfer.bytes,
        sent_bytes: transfer.sent,
        bytes_per_second: transfer.speed,
    });
    WriteFigures {
        read_only: control.read_only,
        draining: control.ending.is_draining(),
        waiting: number(now.waiting),
        waiting_bytes: now.bytes,
        sent_bytes: now.sent,
        uploaded_bytes: now.uploaded,
        bytes_per_second: now.speed,
        uploading: number(now.transfers.len()),
        uploads: uploads.collect(),
        failed: number(now.failed.len()),
        failures: failures(control, &now.failed),
        staging_bytes: staging.used,
        staging_budget_bytes: staging.limit,
        staging_lost: staging.lost,
    }
}

/// Waits until the account has everything that can be told.
pub(super) async fn sync(control: &Control, inode: Option<u64>, teller: &Teller) -> Answer {
    let above = match wanted(inode) {
        Ok(above) => above,
        Err(refusal) => return Answer::error(refusal),
    };
    let _waiting = control.ending.waiting();
    let outbox = control.volume.outbox();
    let mut steps = outbox.steps();
    let mut of_bytes = 0;
    outbox.hurry();
    loop {
        steps.mark_unchanged();
        let left: Vec<Told> = outbox.tellable();
        let left: Vec<Told> = concerned(control, left, above);
        if left.is_empty() {
            break;
        }
        if control.read_only {
            return Answer::error(format!(
                "{} files and folders are not in the account, and a read-only mount tells it nothing; \
                 mount without --read-only",
                left.len()
            ));
        }
        let transfers = outbox.snapshot().transfers;
        let sent = |ino| transfers.iter().find(|it| it.ino == ino).map(|it| it.sent);
        let bytes = left
            .iter()
            .map(|(ino, entry)| size(entry).saturating_sub(sent(*ino).unwrap_or(0)))
            .sum();
        of_bytes = of_bytes.max(bytes);
        let waiting = number(left.len());
        if !teller.offer(Answer::Left(Left {
            waiting,
            bytes,
            of_bytes,
        })) {
            return Answer::error("nobody waits any more");
        }
        tokio::time::sleep(STEP).await;
        // What was closed meanwhile is waited for, too.
        let _ = tokio::time::timeout(LOOK, steps.changed()).await;
        outbox.hurry();
    }
    // What the account has is known after a crash, too.
    if let Err(error) = outbox.written().await {
        return Answer::error(error.to_string());
    }
    let rest = concerned(control, outbox.entries(), above);
    let failed: Vec<(Ino, Box<str>)> = rest
        .iter()
        .filter_map(|(ino, entry)| Some((*ino, entry.failed.as_ref()?.reason.clone())))
        .collect();
    let pending = rest.iter().filter(|(_, entry)| entry.is_pending()).count();
    Answer::Synced(Synced {
        failed: number(failed.len()),
        failures: failures(control, &failed),
        held_up: number(pending.saturating_sub(failed.len())),
    })
}

/// What the account was not told of.
pub(super) fn unsent(control: &Control, inode: Option<u64>) -> Answer {
    let entries = match chosen(control, inode, inode.is_none()) {
        Ok(entries) => entries,
        Err(refusal) => return Answer::error(refusal),
    };
    let first = entries.iter().take(MOST_LISTED);
    let first = first.map(|(_, entry)| UnsentFigures {
        path: shown_at(control, entry),
        change: change(entry),
        bytes: size(entry),
        reason: entry.failed.as_ref().map(|it| it.reason.to_string()),
    });
    Answer::Unsent(Unsent {
        count: number(entries.len()),
        bytes: entries.iter().map(|(_, entry)| size(entry)).sum(),
        first: first.collect(),
    })
}

/// Tries again what was given up.
pub(super) fn retry(control: &Control, inode: Option<u64>) -> Answer {
    let entries = match chosen(control, inode, true) {
        Ok(entries) => entries,
        Err(refusal) => return Answer::error(refusal),
    };
    for (ino, _) in &entries {
        if let Err(error) = control.volume.retry(*ino) {
            return Answer::error(error.to_string());
        }
    }
    Answer::Decided {
        count: number(entries.len()),
    }
}

/// Forgets changes.
pub(super) async fn discard(control: &Control, inode: Option<u64>) -> Answer {
    let mut entries = match chosen(control, inode, inode.is_none()) {
        Ok(entries) => entries,
        Err(refusal) => return Answer::error(refusal),
    };
    // What is in a folder before the folder.
    let depth = |place: Option<&Place>| {
        let folder = place.and_then(|place| control.tree.path_of(place.folder));
        folder.map_or(0, |path| path.components().count())
    };
    entries.sort_by_cached_key(|(_, entry)| Reverse(depth(place(entry))));
    for (ino, _) in &entries {
        if let Err(error) = control.volume.discard(*ino) {
            return Answer::error(error.to_string());
        }
    }
    if let Err(error) = control.volume.outbox().written().await {
        return Answer::error(error.to_string());
    }
    Answer::Decided {
        count: number(entries.len()),
    }
}

/// The changes meant: those of a file, or below a folder; with `failed_only` those that were given up.
fn chosen(
    control: &Control,
    inode: Option<u64>,
    failed_only: bool,
) -> Result<Vec<Told>, &'static str> {
    let above = wanted(inode)?;
    let mut entries = concerned(control, control.volume.outbox().entries(), above);
    entries.retain(|(_, entry)| !failed_only || entry.failed.is_some());
    Ok(entries)
}

fn wanted(inode: Option<u64>) -> Result<Option<Ino>, &'static str> {
    let Some(number) = inode else {
        return Ok(None);
    };
    let ino = Ino::new(number).ok_or("no file has that number")?;
    // Everything is below the root.
    Ok(Some(ino).filter(|ino| *ino != Ino::ROOT))
}

/// Those of a file, or below a folder.
fn concerned(control: &Control, mut entries: Vec<Told>, above: Option<Ino>) -> Vec<Told> {
    let Some(above) = above else {
        return entries;
    };
    entries.retain(|(ino, entry)| {
        let remote = entry.remote.as_ref().map(|remote| &remote.place);
        let mut places = entry.wanted.iter().chain(remote);
        *ino == above || places.any(|place| control.tree.is_within(place.folder, above))
    });
    entries
}

/// Where it is shown, or was.
fn place(entry: &Entry) -> Option<&Place> {
    let remote = || entry.remote.as_ref().map(|remote| &remote.place);
    entry.wanted.as_ref().or_else(remote)
}

fn shown_at(control: &Control, entry: &Entry) -> String {
    let Some(place) = place(entry) else {
        return "?".to_owned();
    };
    let folder = control.tree.path_of(place.folder);
    let folder = folder.unwrap_or_else(|| Path::new("…").to_owned());
    folder.join(&*place.name).to_string_lossy().into_owned()
}

fn path_of(control: &Control, ino: Ino) -> String {
    let entry = control.volume.outbox().entry(ino);
    entry.map_or_else(|| "?".to_owned(), |entry| shown_at(control, &entry))
}

fn failures(control: &Control, failed: &[(Ino, Box<str>)]) -> Vec<FailedFigures> {
    let first = failed.iter().take(MOST_LISTED);
    first
        .map(|(ino, reason)| FailedFigures {
            path: path_of(control, *ino),
            reason: reason.to_string(),
        })
        .collect()
}

fn size(entry: &Entry) -> u64 {
    entry.content.map_or(0, |version| version.size)
}

fn change(entry: &Entry) -> Change {
    match (&entry.wanted, &entry.remote) {
        (None, _) => Change::Remove,
        (Some(_), _) if entry.content.is_some() => Change::Upload,
        (Some(_), None) if entry.is_folder => Change::Make,
        (Some(_), None) => Change::Upload,
        (Some(_), Some(_)) => Change::Move,
    }
}
