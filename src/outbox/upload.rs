//! Files sent, and what the report says of them (API reference 6).
//!
//! Promises: a transfer is sent once; where its report is found is written down before it is asked for,
//! so that a crash after the last byte sends nothing again; a file is stored when the report shows its
//! size and hash; what the report does not tell is looked for.
use super::Shared;
use super::intent::{Done, Spent, Version};
use super::look;
use super::plan::Outgoing;
use super::report::{self, Outcome, Sent};
use super::run::{APPEARS, Landed, is_anothers};
use super::state::Transfer;
use crate::api::{
    ApiError, ErrorKind, FolderId, Reached, UploadFile, UploadProgress, UploadTicket, Whirlpool,
    WhirlpoolHasher,
};
use crate::tree::{Ino, decode, encode};
use crate::util::clock::Moment;
use crate::util::human::{binary, span};
use crate::util::sync::lock;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Until a node is named.
const NODE: Duration = Duration::from_secs(120);

/// Until a transfer is done: the service ends an upload after four hours (API reference 3).
const TRANSFER: Duration = Duration::from_secs(4 * 3600);

/// A transfer with less than that to go is not broken off: its last bytes may be on their way, and then
/// it would be stored.
const NEARLY_DONE: u64 = 16 << 20;

/// A transfer that was broken off after so long would be so again.
const TOO_LONG: Duration = Duration::from_secs(3 * 3600 + 1800);

/// How long a report is asked for before something else is done meanwhile; it is asked for again.
const REPORT: Duration = Duration::from_secs(600);

/// Pieces of a file that wait for the line: a few are enough to keep it busy.
const PIECES: usize = 4;

/// One transfer and its report.
pub(super) async fn send(shared: &Shared, folder: FolderId, files: &[Outgoing]) -> Landed {
    let inos: Vec<Ino> = files.iter().map(|file| file.ino).collect();
    let mut landed = Landed::default();
    let began = shared.clock.now();
    let outcome = transfer(shared, folder, files).await;
    if outcome.is_err() {
        let mut state = lock(&shared.state);
        if inos
            .first()
            .is_some_and(|first| state.is_handed_over(*first))
        {
            state.lost(&inos);
        }
    }
    let sent = match outcome {
        Ok(Some(sent)) => sent,
        Ok(None) => {
            log::debug!("a file was changed while it was sent; it is sent anew");
            landed
                .done
                .extend(inos.iter().map(|ino| Done::Nothing(*ino)));
            return landed;
        }
        Err(error) if shared.clock.now().since(began) >= TOO_LONG => {
            let reason = format!(
                "{error}: sending it took more than {} h, and the service ends an upload after 4 h",
                TOO_LONG.as_secs_f32() / 3600.0
            );
            let failed = inos.iter().map(|ino| (*ino, reason.clone()));
            landed.failed.extend(failed);
            return landed;
        }
        Err(error)
            if error.reached == Reached::Unknown && error.kind != ErrorKind::SourceFailed =>
        {
            log::info!(
                "{error}; looking for what was stored in {} s",
                APPEARS.as_secs()
            );
            landed.again(&inos, APPEARS);
            return landed;
        }
        Err(error) => {
            landed.refused(&inos, &error);
            return landed;
        }
    };
    {
        let mut state = lock(&shared.state);
        for (file, hash) in files.iter().zip(&sent.hashes) {
            state.intents.sent(file.ino, sent.ticket.clone(), *hash);
        }
    }
    // Should it not be written down, a crash before the report costs a look into the folder.
    let _ = shared.journal.written().await;
    let sent_files = files.iter().zip(&sent.hashes).map(|(file, hash)| SentFile {
        ino: file.ino,
        sent: Sent {
            name: encode(&file.place.name).into(),
            size: file.version.size,
            whirlpool: *hash,
        },
        folder: file.place.folder,
    });
    let landed = read_report(shared, folder, &sent.ticket, sent_files.collect()).await;
    tell_of(shared, files, &landed, began);
    landed
}

/// Says what is in the account now: one line for a transfer, however many files it had.
fn tell_of(shared: &Shared, files: &[Outgoing], landed: &Landed, began: Moment) {
    let is_stored = |file: &&Outgoing| {
        let mut done = landed.done.iter();
        done.any(|done| matches!(done, Done::Stored { ino, .. } if *ino == file.ino))
    };
    let stored: Vec<&Outgoing> = files.iter().filter(is_stored).collect();
    let Some(first) = stored.first() else {
        return;
    };
    let path = shared.around.shown_at(&first.place);
    let more = match stored.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let bytes = stored.iter().map(|file| file.version.size).sum();
    let took = shared.clock.now().since(began).as_secs();
    log::info!(
        "uploaded {}{more} ({} in {})",
        path.display(),
        binary(bytes),
        span(took)
    );
}

/// A file that was sent.
#[derive(Debug)]
pub(super) struct SentFile {
    /// Which.
    pub(super) ino: Ino,
    /// As what.
    pub(super) sent: Sent,
    /// The folder in the tree.
    pub(super) folder: Ino,
}

/// What the report of a finished transfer says of these files.
pub(super) async fn read_report(
    shared: &Shared,
    folder: FolderId,
    ticket: &UploadTicket,
    files: Vec<SentFile>,
) -> Landed {
    let mut landed = Landed::default();
    let inos: Vec<Ino> = files.iter().map(|file| file.ino).collect();
    let report = match shared
        .client
        .upload_report(&shared.ask(REPORT), ticket)
        .await
    {
        Ok(report) => report,
        Err(error) if error.kind == ErrorKind::ReportEmpty => {
            log::info!("{error}; looking into folder {folder}");
            shared.clock.sleep(APPEARS).await;
            return look::find_stored(shared, folder, &files).await;
        }
        Err(error) => {
            // The files are stored, or soon will be: it is asked for again, nothing is sent again.
            log::info!("{error}; asking again later");
            landed.not_heard(&inos, &error);
            return landed;
        }
    };
    let sent: Vec<Sent> = files.iter().map(|file| file.sent.clone()).collect();
    let (outcomes, surplus) = report::read(&sent, report.files);
    for link in surplus {
        // Not known as ours, so not ours to remove.
        log::warn!(
            "the report of an upload into folder {folder} names a file that was not sent: {}",
            link.name
        );
    }
    let mut unknown = Vec::new();
    for (file, outcome) in files.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Stored(link) => {
                let stored = Done::Stored {
                    ino: file.ino,
                    name: decode(&link.name).into_boxed_os_str(),
                    url: link.url,
                };
                if is_anothers(&stored, shared) {
                    // Asked again the report would say the same; which of two equal files is whose does not matter.
                    unknown.push(file);
                } else {
                    landed.done.push(stored);
                }
            }
            Outcome::Damaged(link) => {
                log::warn!("{:?} arrived damaged and is sent again", file.sent.name);
                let spent = Spent {
                    url: link.url,
                    folder: file.folder,
                };
                // In this order: an entry with nothing left to be done is forgotten.
                landed.done.push(Done::Surplus {
                    ino: file.ino,
                    spent,
                });
                landed.done.push(Done::Nothing(file.ino));
                landed.alone.push(file.ino);
                landed.again(&[file.ino], Duration::ZERO);
            }
            Outcome::Unknown => unknown.push(file),
        }
    }
    if !unknown.is_empty() {
        shared.clock.sleep(APPEARS).await;
        let looked = look::find_stored(shared, folder, &unknown).await;
        landed.join(looked);
    }
    landed
}

/// A transfer that is done.
struct Transferred {
    ticket: UploadTicket,
    hashes: Vec<Whirlpool>,
}

/// Sends files; `None` when nobody wanted the one any more before all of it was sent.
async fn transfer(
    shared: &Shared,
    folder: FolderId,
    files: &[Outgoing],
) -> Result<Option<Transferred>, ApiError> {
    let node = shared.client.upload_node(&shared.ask(NODE)).await?;
    let mut uploads = Vec::new();
    let mut feeds = Vec::new();
    for file in files {
        let (pieces, content) = mpsc::channel(PIECES);
        uploads.push(UploadFile {
            name: encode(&file.place.name).into(),
            size: file.version.size,
            content,
        });
        feeds.push((file.version, pieces));
    }
    let (tell, told) = oneshot::channel();
    let around = Arc::clone(&shared.around);
    // Hashing takes as long as a fast line does (100 MB/s), so it is no work for a thread of the network.
    shared.runtime.spawn_blocking(move || {
        let hashes = feeds.into_iter().map(|(version, pieces)| {
            let mut content = around.open(version);
            hashed(&mut content, &pieces)
        });
        // Nobody listens when the transfer failed.
        let _ = tell.send(hashes.collect::<Option<Vec<_>>>());
    });
    let transfer = Transfer {
        files: files
            .iter()
            .map(|file| (file.ino, file.version.size))
            .collect(),
        progress: UploadProgress::part_of(&shared.sent),
        ..Transfer::default()
    };
    lock(&shared.state).transfer(transfer.clone());
    let ask = shared.ask(TRANSFER);
    let progress = &transfer.progress;
    let sent = shared.client.upload(&ask, node, folder, uploads, progress);
    let ticket = tokio::select! {
        biased;
        ticket = sent => ticket?,
        () = superseded(&transfer, files) => return Ok(None),
    };
    let hashes = told.await.ok().flatten().ok_or_else(|| {
        let detail = "what was sent was not read to its end";
        ApiError::new(ErrorKind::Malformed, "upload.cgi", Reached::Unknown, detail)
    })?;
    Ok(Some(Transferred { ticket, hashes }))
}

/// Returns when a file that is alone in its transfer is not wanted any more and surely not stored yet.
async fn superseded(transfer: &Transfer, files: &[Outgoing]) {
    transfer.superseded.notified().await;
    let is_unfinished = |file: &Outgoing| {
        files.len() == 1 && transfer.progress.bytes() + NEARLY_DONE < file.version.size
    };
    if !files.first().is_some_and(is_unfinished) {
        std::future::pending::<()>().await;
    }
}

/// Hands a content on and hashes it on the way; `None` when it broke off. Blocks.
fn hashed(
    content: &mut mpsc::Receiver<io::Result<Bytes>>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> Option<Whirlpool> {
    let mut hasher = WhirlpoolHasher::new();
    while let Some(piece) = content.blocking_recv() {
        if let Ok(bytes) = &piece {
            hasher.update(bytes);
        }
        let is_bad = piece.is_err();
        if pieces.blocking_send(piece).is_err() || is_bad {
            return None;
        }
    }
    Some(hasher.finish())
}

/// The hash of a version; `None` when it cannot be read.
pub(super) async fn hash_of(shared: &Shared, version: Version) -> Option<Whirlpool> {
    let around = Arc::clone(&shared.around);
    let hash = shared.runtime.spawn_blocking(move || {
        let mut content = around.open(version);
        let mut hasher = WhirlpoolHasher::new();
        let mut size = 0;
        while let Some(piece) = content.blocking_recv() {
            let piece = piece.ok()?;
            size += piece.len() as u64;
            hasher.update(&piece);
        }
        (size == version.size).then(|| hasher.finish())
    });
    hash.await.ok().flatten()
}
