//! What became of a call nobody heard the end of: the account is looked at before anything is repeated.
//!
//! Promises: something counts as done only when it is seen, and as not done only when a whole listing
//! lacks it. Listings show an upload late, so who calls has waited before.
use super::Shared;
use super::intent::{Attempt, Done, Entry, Goal, Place, Thing};
use super::report::Sent;
use super::run::Landed;
use super::upload::{self, SentFile};
use crate::api::{
    ApiError, ErrorKind, FileItem, FolderId, FolderListing, SentSpan, UnixSeconds, UploadTicket,
};
use crate::tree::{Ino, decode, encode};
use crate::util::sync::lock;
use std::collections::BTreeMap;
use std::time::Duration;

/// Until a folder is listed: it may have been a moment ago, and must not be again within 30 s.
const LISTING: Duration = Duration::from_secs(180);

/// How far the service's clock may be behind ours.
const CLOCKS_APART: UnixSeconds = 3600;

/// Something to find out about.
struct Case {
    ino: Ino,
    entry: Entry,
    attempt: Attempt,
}

/// Finds out what became of calls concerning one folder.
pub(super) async fn resolve(shared: &Shared, folder: FolderId, inos: &[Ino]) -> Landed {
    let cases: Vec<Case> = {
        let state = lock(&shared.state);
        let case = |ino: &Ino| {
            let entry = state.entry(*ino)?.clone();
            let attempt = entry.attempt.clone()?;
            Some(Case {
                ino: *ino,
                entry,
                attempt,
            })
        };
        inos.iter().filter_map(case).collect()
    };
    let mut landed = Landed::default();
    let mut reports: BTreeMap<(Box<str>, Box<str>), Vec<SentFile>> = BTreeMap::new();
    let mut stored = Vec::new();
    let mut others = Vec::new();
    for case in cases {
        let Goal::Store(version) = case.attempt.goal else {
            others.push(case);
            continue;
        };
        let hash = match case.attempt.whirlpool {
            Some(hash) => Some(hash),
            None => upload::hash_of(shared, version).await,
        };
        let Some(whirlpool) = hash else {
            let reason = "what was being uploaded cannot be read any more".to_owned();
            landed.failed.push((case.ino, reason));
            continue;
        };
        let file = SentFile {
            ino: case.ino,
            sent: Sent {
                name: encode(&case.attempt.place.name).into(),
                size: version.size,
                whirlpool,
            },
            folder: case.attempt.place.folder,
        };
        match case.attempt.ticket {
            Some(UploadTicket { host, xid }) => {
                reports.entry((host, xid)).or_default().push(file);
            }
            None => stored.push(file),
        }
    }
    for ((host, xid), files) in reports {
        let ticket = UploadTicket { host, xid };
        let read = Box::pin(upload::read_report(shared, folder, &ticket, files)).await;
        landed.join(read);
    }
    if !stored.is_empty() {
        landed.join(find_stored(shared, folder, &stored).await);
    }
    if !others.is_empty() {
        landed.join(find_others(shared, folder, &others).await);
    }
    landed
}

/// Looks for files that were sent into a folder.
pub(super) async fn find_stored(shared: &Shared, folder: FolderId, files: &[SentFile]) -> Landed {
    let mut landed = Landed::default();
    let inos: Vec<Ino> = files.iter().map(|file| file.ino).collect();
    let listing = match files_in(shared, folder, &inos).await {
        Ok(listing) => listing,
        Err(error) => {
            unlisted(&mut landed, &inos, &error);
            return landed;
        }
    };
    let mut candidates: Vec<FileItem> = {
        let state = lock(&shared.state);
        let is_new = |item: &FileItem| !state.is_ours(&item.url);
        listing.into_iter().filter(is_new).collect()
    };
    for file in files {
        let is_other = |item: &FileItem| {
            let thing = Thing::File(item.url.clone());
            shared.around.is_other(file.ino, folder, &thing)
        };
        let found = candidates.iter().position(|item| {
            item.name == file.sent.name
                && item.size == file.sent.size
                && item.whirlpool == Some(file.sent.whirlpool)
                && !is_other(item)
        });
        landed.done.push(match found {
            Some(at) => {
                let item = candidates.swap_remove(at);
                Done::Stored {
                    ino: file.ino,
                    name: decode(&item.name).into_boxed_os_str(),
                    url: item.url,
                }
            }
            None => Done::Nothing(file.ino),
        });
    }
    landed
}

/// All files of a folder that are recent enough to be what was sent.
async fn files_in(
    shared: &Shared,
    folder: FolderId,
    inos: &[Ino],
) -> Result<Vec<FileItem>, ApiError> {
    let listing = list(shared, folder).await?;
    if !listing.is_cut() {
        return Ok(listing.files);
    }
    let since = {
        let state = lock(&shared.state);
        let attempts = inos
            .iter()
            .filter_map(|ino| state.entry(*ino)?.attempt.as_ref());
        attempts
            .map(|attempt| attempt.since)
            .min()
            .unwrap_or_default()
    };
    let since = UnixSeconds::try_from(since).unwrap_or_default();
    let span = SentSpan {
        after: Some(since.saturating_sub(CLOCKS_APART)),
        before: None,
    };
    let recent = shared
        .client
        .list_files(&shared.ask(LISTING), folder, span)
        .await?;
    if recent.is_cut(crate::api::LISTING_CAP) {
        let detail = format!("folder {folder} holds more recent files than a listing shows");
        let reached = crate::api::Reached::Answered;
        return Err(ApiError::new(
            ErrorKind::Malformed,
            "file/ls",
            reached,
            detail,
        ));
    }
    Ok(recent.files)
}

/// Looks for folders that may have been made, and for what may have been put elsewhere.
async fn find_others(shared: &Shared, folder: FolderId, cases: &[Case]) -> Landed {
    let mut landed = Landed::default();
    let inos: Vec<Ino> = cases.iter().map(|case| case.ino).collect();
    let listing = match list(shared, folder).await {
        Ok(listing) => listing,
        Err(error) => {
            unlisted(&mut landed, &inos, &error);
            return landed;
        }
    };
    for case in cases {
        let found = found(shared, &listing, case);
        if found.is_none() && listing.is_cut() {
            landed.again(&[case.ino], Duration::ZERO);
            continue;
        }
        landed.done.push(found.unwrap_or(Done::Nothing(case.ino)));
    }
    landed
}

fn found(shared: &Shared, listing: &FolderListing, case: &Case) -> Option<Done> {
    let ino = case.ino;
    let folder = case.attempt.folder;
    let is_other = |thing| shared.around.is_other(ino, folder, &thing);
    let wanted = encode(&case.attempt.place.name);
    let placed = |name: &str| {
        let name = decode(name).into_boxed_os_str();
        // Where it was before: the call was not carried out, and nobody gave it another name.
        let before = case.entry.remote.as_ref().map(|it| &it.place.name);
        let is_as_asked = name == case.attempt.place.name || Some(&name) == before;
        let folder = case.attempt.place.folder;
        Done::Placed {
            ino,
            place: Place { folder, name },
            url: None,
            is_as_asked,
        }
    };
    match (
        case.attempt.goal,
        case.entry.remote.as_ref().map(|it| &it.thing),
    ) {
        (Goal::Make, _) => {
            let state = lock(&shared.state);
            let mut all = listing.folders.iter();
            let made = all.find(|it| {
                *it.name == *wanted && !state.has_folder(it.id) && !is_other(Thing::Folder(it.id))
            })?;
            Some(Done::Made {
                ino,
                id: made.id,
                name: decode(&made.name).into_boxed_os_str(),
                is_new: false,
            })
        }
        (Goal::Place, Some(Thing::Folder(id))) => {
            let there = listing.folders.iter().find(|it| it.id == *id)?;
            Some(placed(&there.name))
        }
        (Goal::Place, Some(Thing::File(url))) => {
            let there = listing.files.iter().find(|it| it.url.id() == url.id())?;
            Some(placed(&there.name))
        }
        (Goal::Copy(version), _) => {
            let state = lock(&shared.state);
            let mut all = listing.files.iter();
            // Nobody here knows its hash, but nobody else makes such a file within the minute.
            let copy = all.find(|it| {
                *it.name == *wanted
                    && it.size == version.size
                    && !state.is_ours(&it.url)
                    && !is_other(Thing::File(it.url.clone()))
            })?;
            Some(Done::Stored {
                ino,
                url: copy.url.clone(),
                name: decode(&copy.name).into_boxed_os_str(),
            })
        }
        (Goal::Place, None) | (Goal::Store(_), _) => None,
    }
}

/// A folder as it is now.
pub(super) async fn list(shared: &Shared, folder: FolderId) -> Result<FolderListing, ApiError> {
    shared
        .client
        .list_folder(&shared.ask(LISTING), folder)
        .await
}

/// The folder cannot be listed: nothing is known, or it is gone with what was in it.
fn unlisted(landed: &mut Landed, inos: &[Ino], error: &ApiError) {
    if error.kind == ErrorKind::NotFound {
        landed
            .done
            .extend(inos.iter().map(|ino| Done::Nothing(*ino)));
        landed.missed.extend(inos);
        let reason = "the folder it was put into is gone from the account";
        landed
            .failed
            .extend(inos.iter().map(|ino| (*ino, reason.to_owned())));
    } else {
        landed.not_heard(inos, error);
    }
}
