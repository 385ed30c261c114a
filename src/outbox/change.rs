//! Changes other than uploads: what a batch says in the service's words, and what its answer means.
//!
//! Promises: what an answer does not say was done is looked for before it is repeated; a folder is
//! removed only when a listing made right before shows nothing in it.
use super::Shared;
use super::intent::{Done, Place, Thing};
use super::look;
use super::plan::{Batch, Outgoing};
use super::run::{APPEARS, Landed};
use crate::api::{ApiError, ErrorKind, FileUrl, FolderId, Reached};
use crate::tree::{Ino, decode, encode};
use crate::util::sync::lock;
use std::ffi::OsStr;
use std::time::Duration;

/// Until a change is made: nobody waits, and others go before only when somebody does.
const CHANGE: Duration = Duration::from_secs(120);

/// How long a folder that still shows what was removed from it is left alone (API reference 10).
const LAG: Duration = Duration::from_secs(30);

/// Makes one batch of changes.
pub(super) async fn tell(shared: &Shared, batch: &Batch) -> Landed {
    match batch {
        Batch::Copy {
            folder,
            file,
            original,
        } => copy(shared, *folder, file, original).await,
        Batch::MakeFolder { ino, parent, place } => make_folder(shared, *ino, *parent, place).await,
        Batch::MoveFiles { folder, id, files } => move_files(shared, *folder, *id, files).await,
        Batch::RenameFiles(files) => rename_files(shared, files).await,
        Batch::MoveFolder { ino, id, to, .. } => {
            let ask = shared.ask(CHANGE);
            let moved = shared.client.folder_move(&ask, *id, *to).await;
            let place = attempted(shared, *ino);
            let done = |(): ()| Some(placed(*ino, place?, None, true));
            settled(&[*ino], moved.map(done))
        }
        Batch::RenameFolder { ino, id, name } => {
            let ask = shared.ask(CHANGE);
            let renamed = shared.client.folder_rename(&ask, *id, &encode(name)).await;
            let place = attempted(shared, *ino);
            let done = |stored: Box<str>| {
                let name_now = decode(&stored).into_boxed_os_str();
                let is_as_asked = name_now == *name;
                let folder = place?.folder;
                let place = Place {
                    folder,
                    name: name_now,
                };
                Some(placed(*ino, place, None, is_as_asked))
            };
            settled(&[*ino], renamed.map(done))
        }
        Batch::RemoveFiles(files) => remove_files(shared, files).await,
        Batch::RemoveFolder { ino, id } => remove_folder(shared, *ino, *id).await,
        // These have modules of their own.
        Batch::Upload { .. } | Batch::Resolve { .. } => Landed::default(),
    }
}

/// Where the call under way puts something.
fn attempted(shared: &Shared, ino: Ino) -> Option<Place> {
    let state = lock(&shared.state);
    let attempt = state.entry(ino)?.attempt.as_ref()?;
    Some(attempt.place.clone())
}

fn placed(ino: Ino, place: Place, url: Option<FileUrl>, is_as_asked: bool) -> Done {
    Done::Placed {
        ino,
        place,
        url,
        is_as_asked,
    }
}

/// What a call that was written down before has come to. What may have been done is looked for later.
fn settled(inos: &[Ino], outcome: Result<Option<Done>, ApiError>) -> Landed {
    let mut landed = Landed::default();
    match outcome {
        Ok(done) => landed.done.extend(done),
        Err(error) => unsettled(&mut landed, inos, &error),
    }
    landed
}

/// A call that failed: not made, or of unknown outcome.
fn unsettled(landed: &mut Landed, inos: &[Ino], error: &ApiError) {
    let is_unsure = error.reached == Reached::Unknown
        || matches!(
            error.kind,
            // The service says so also when it is already as wanted.
            ErrorKind::NothingRenamed | ErrorKind::Malformed | ErrorKind::Server
        );
    if is_unsure && error.reached != Reached::NotSent {
        log::info!(
            "{error}; looking at what was done in {} s",
            APPEARS.as_secs()
        );
        landed.again(inos, APPEARS);
    } else {
        landed.refused(inos, error);
    }
}

async fn copy(shared: &Shared, folder: FolderId, file: &Outgoing, original: &FileUrl) -> Landed {
    let ask = shared.ask(CHANGE);
    let name = encode(&file.place.name);
    let originals = std::slice::from_ref(original);
    let copied = shared
        .client
        .file_copy(&ask, originals, folder, Some(&name))
        .await;
    let mut landed = Landed::default();
    match copied {
        Ok(copied) => match copied.copies.into_iter().next() {
            Some((_, url)) => {
                let stored = copied.name.unwrap_or(name.into());
                landed.done.push(Done::Stored {
                    ino: file.ino,
                    url,
                    name: decode(&stored).into_boxed_os_str(),
                });
            }
            None => landed.again(&[file.ino], APPEARS),
        },
        // What was copied is gone, or may not be: there is another way.
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::NotFound | ErrorKind::Refused | ErrorKind::NotAllowed
            ) =>
        {
            log::info!("{error}; the file is sent instead");
            landed.done.push(Done::Uncopied(file.ino));
        }
        Err(error) => unsettled(&mut landed, &[file.ino], &error),
    }
    landed
}

async fn make_folder(shared: &Shared, ino: Ino, parent: FolderId, place: &Place) -> Landed {
    let ask = shared.ask(CHANGE);
    match shared
        .client
        .mkdir(&ask, parent, &encode(&place.name))
        .await
    {
        Ok(made) => settled(
            &[ino],
            Ok(Some(Done::Made {
                ino,
                id: made.id,
                name: decode(&made.name).into_boxed_os_str(),
                is_new: true,
            })),
        ),
        // Perhaps there is one of that name: then it is taken over, as `mkdir -p` would.
        Err(error) if error.kind == ErrorKind::Refused => {
            let looked = look::resolve(shared, parent, &[ino]).await;
            if looked
                .done
                .iter()
                .any(|done| matches!(done, Done::Made { .. }))
            {
                return looked;
            }
            let mut landed = Landed::default();
            landed.refused(&[ino], &error);
            landed
        }
        Err(error) => settled(&[ino], Err(error)),
    }
}

async fn move_files(
    shared: &Shared,
    folder: Ino,
    id: FolderId,
    files: &[(Ino, FileUrl)],
) -> Landed {
    let inos: Vec<Ino> = files.iter().map(|(ino, _)| *ino).collect();
    let urls: Vec<FileUrl> = files.iter().map(|(_, url)| url.clone()).collect();
    let ask = shared.ask(CHANGE);
    let mut landed = Landed::default();
    match shared.client.file_move(&ask, &urls, id, None).await {
        Ok(moved) if moved.count == files.len() as u64 => {
            let all_named = moved.urls.len() == files.len();
            for (at, (ino, url)) in files.iter().enumerate() {
                let Some(mut place) = attempted(shared, *ino) else {
                    continue;
                };
                place.folder = folder;
                let now = moved.urls.get(at).filter(|now| all_named && *now != url);
                // Another order than asked in is no new name for any of them.
                let now = now.filter(|now| !urls.contains(now)).cloned();
                landed.done.push(placed(*ino, place, now, true));
            }
        }
        Ok(moved) => {
            log::info!(
                "{} of {} files were moved; looking which",
                moved.count,
                files.len()
            );
            landed.again(&inos, APPEARS);
        }
        Err(error) => unsettled(&mut landed, &inos, &error),
    }
    landed
}

async fn rename_files(shared: &Shared, files: &[(Ino, FileUrl, Box<OsStr>)]) -> Landed {
    let names: Vec<(FileUrl, Box<str>)> = files
        .iter()
        .map(|(_, url, name)| (url.clone(), encode(name).into()))
        .collect();
    let ask = shared.ask(CHANGE);
    let mut landed = Landed::default();
    match shared.client.file_rename(&ask, &names).await {
        Ok(renamed) => {
            for (ino, url, wanted) in files {
                let now = renamed.iter().find(|it| it.url.id() == url.id());
                let (Some(now), Some(place)) = (now, attempted(shared, *ino)) else {
                    landed.again(&[*ino], APPEARS);
                    continue;
                };
                let name = decode(&now.name).into_boxed_os_str();
                let is_as_asked = name == *wanted;
                let folder = place.folder;
                landed
                    .done
                    .push(placed(*ino, Place { folder, name }, None, is_as_asked));
            }
        }
        Err(error) => {
            let inos: Vec<Ino> = files.iter().map(|(ino, ..)| *ino).collect();
            unsettled(&mut landed, &inos, &error);
        }
    }
    landed
}

async fn remove_files(shared: &Shared, files: &[(Ino, FileUrl)]) -> Landed {
    let urls: Vec<FileUrl> = files.iter().map(|(_, url)| url.clone()).collect();
    let removed = |(ino, url): &(Ino, FileUrl), was_there| Done::Removed {
        ino: *ino,
        url: url.clone(),
        was_there,
    };
    let ask = shared.ask(CHANGE);
    let mut landed = Landed::default();
    match shared.client.file_remove(&ask, &urls).await {
        Ok(gone) => {
            for file in files {
                if gone.iter().any(|url| url.id() == file.1.id()) {
                    landed.done.push(removed(file, true));
                } else {
                    landed.alone.push(file.0);
                    landed.again(&[file.0], Duration::ZERO);
                }
            }
        }
        // Gone already, by a call whose answer was lost or by somebody else.
        Err(error) if error.kind == ErrorKind::NotFound && files.len() == 1 => {
            // If it is not known whether it was removed before, that is the likelier reason.
            let is_ours = |file: &(Ino, FileUrl)| lock(&shared.state).may_be_removed(&file.1);
            let gone = files.iter().map(|file| removed(file, is_ours(file)));
            landed.done.extend(gone);
        }
        // Removing what is gone does no harm, so there is nothing to look for.
        Err(error) => {
            let inos: Vec<Ino> = files.iter().map(|(ino, _)| *ino).collect();
            if error.reached == Reached::Unknown {
                lock(&shared.state).unsure_of(&urls);
                landed.again(&inos, Duration::ZERO);
            } else {
                landed.refused(&inos, &error);
                landed.done.clear();
            }
        }
    }
    landed
}

async fn remove_folder(shared: &Shared, ino: Ino, id: FolderId) -> Landed {
    let mut landed = Landed::default();
    // The service may remove a folder with all it holds, so what others put there must be seen before.
    let listing = match look::list(shared, id).await {
        Ok(listing) => listing,
        Err(error) if error.kind == ErrorKind::NotFound => {
            landed.done.push(Done::FolderRemoved(ino));
            return landed;
        }
        Err(error) => {
            landed.not_heard(&[ino], &error);
            return landed;
        }
    };
    let is_lag = {
        let state = lock(&shared.state);
        let went = |thing: &Thing| shared.around.was_removed(ino, thing);
        let is_gone =
            |url: &FileUrl| state.was_removed(url.id()) || went(&Thing::File(url.clone()));
        let mut folders = listing.folders.iter();
        let mut files = listing.files.iter();
        folders.all(|folder| went(&Thing::Folder(folder.id)))
            && files.all(|file| is_gone(&file.url))
    };
    if !is_lag {
        log::warn!(
            "folder {id} is not removed: somebody else has put something into it; it is shown again"
        );
        landed.given_up.push(ino);
        return landed;
    }
    if !listing.files.is_empty() || !listing.folders.is_empty() {
        landed.again(&[ino], LAG);
        return landed;
    }
    let ask = shared.ask(CHANGE);
    match shared.client.folder_remove(&ask, id).await {
        Ok(()) => landed.done.push(Done::FolderRemoved(ino)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            landed.done.push(Done::FolderRemoved(ino));
        }
        // It may still count as full right after its files were removed (API reference 5.4).
        Err(error) if error.kind == ErrorKind::Refused || error.reached == Reached::Unknown => {
            log::info!("{error}; trying folder {id} again");
            landed.again(&[ino], LAG);
        }
        Err(error) => landed.refused(&[ino], &error),
    }
    landed
}
