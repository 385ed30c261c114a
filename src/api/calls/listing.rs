//! Listings: `folder/ls` and `file/ls` (API reference 5.1 and 5.5).
//!
//! Promises: a listing is whole as sent, or an error; an entry that cannot be read is never dropped.
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::paris;
use super::super::scheduler::{Call, CallClass};
use super::super::types::{
    FileItem, FileListing, FolderListing, SubFolder, UnixSeconds, Whirlpool,
};
use super::super::wire::{List, Scalar};
use super::super::{ApiError, Ask, ErrorKind, FolderId, Reached};
use super::file_url;
use super::shared::Asked;
use serde::Deserialize;

/// A span of upload dates that narrows `file/ls`; an open end has no bound. Whether a bound itself
/// is included is not documented: let spans overlap by a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SentSpan {
    /// Uploaded after.
    pub after: Option<UnixSeconds>,
    /// Uploaded before.
    pub before: Option<UnixSeconds>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FolderAnswer {
    folder_id: Scalar,
    name: Scalar,
    create_date: Scalar,
    files: Scalar,
    hide_links: Scalar,
    sub_folders: List<SubFolderWire>,
    items: List<ItemWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubFolderWire {
    id: Scalar,
    folder_id: Scalar,
    name: Scalar,
    create_date: Scalar,
    pass: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FileAnswer {
    count: Scalar,
    items: List<ItemWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemWire {
    url: Scalar,
    filename: Scalar,
    size: Scalar,
    date: Scalar,
    checksum: Scalar,
    #[serde(rename = "content-type")]
    content_type: Scalar,
    #[serde(rename = "content_type")]
    content_type_too: Scalar,
    pass: Scalar,
    acl: Scalar,
}

impl Client {
    /// Sub-folders and files of `folder` in one call, `folder/ls` with `files:1` (API reference
    /// 5.1). At most once per folder and 30 s; the scheduler sees to it. At most
    /// [`LISTING_CAP`](super::super::LISTING_CAP) entries: see [`FolderListing::is_cut`].
    pub async fn list_folder(
        &self,
        ask: &Ask,
        folder: FolderId,
    ) -> Result<FolderListing, ApiError> {
        self.listed(ask, folder, true).await
    }

    /// Sub-folders of `folder` and how many files it holds, `folder/ls` without the files (API
    /// reference 5.1): for folders beyond the cap of one listing. Counts as a listing of the folder.
    pub async fn list_sub_folders(
        &self,
        ask: &Ask,
        folder: FolderId,
    ) -> Result<FolderListing, ApiError> {
        self.listed(ask, folder, false).await
    }

    async fn listed(
        &self,
        ask: &Ask,
        folder: FolderId,
        with_files: bool,
    ) -> Result<FolderListing, ApiError> {
        if folder == FolderId::SHARED
            && let Some(listing) = self.shared_listing()
        {
            return Ok(listing);
        }
        let asked = self.asked("folder/ls", folder)?;
        let call = asked.listing();
        let mut request = asked.request();
        if with_files {
            request["files"] = 1.into();
        }
        let answer: FolderAnswer = self.query(ask, &call, &request).await?;
        let listing = folder_listing(call.name, asked, folder, answer)?;
        Ok(self.with_shared(listing))
    }

    /// The files of `folder` uploaded within `span`, `file/ls` (API reference 5.5): for folders
    /// beyond the cap of one listing. Counts as a listing of the folder.
    pub async fn list_files(
        &self,
        ask: &Ask,
        folder: FolderId,
        span: SentSpan,
    ) -> Result<FileListing, ApiError> {
        let asked = self.asked("file/ls", folder)?;
        let call = Call {
            name: "file/ls",
            class: CallClass::Files(asked.folder),
        };
        let mut request = asked.request();
        for (field, bound) in [("sent_after", span.after), ("sent_before", span.before)] {
            let Some(at) = bound else { continue };
            let date = paris::format(at).ok_or_else(|| {
                let detail = format!("{at} is no date");
                ApiError::new(ErrorKind::BadRequest, call.name, Reached::NotSent, detail)
            })?;
            request[field] = date.into();
        }
        let answer: FileAnswer = self.query(ask, &call, &request).await?;
        file_listing(call.name, answer)
    }
}

fn folder_listing(
    call: &'static str,
    asked: Asked<'_>,
    folder: FolderId,
    answer: FolderAnswer,
) -> Result<FolderListing, ApiError> {
    // A success without anything of a folder in it must not pass for an empty folder.
    let about_a_folder = answer.folder_id.u64().is_some()
        || answer.files.u64().is_some()
        || answer.sub_folders.given
        || answer.items.given;
    if !about_a_folder {
        return Err(malformed(call, "a listing without any of its fields"));
    }
    // By which number the root of what is shared is told is not known.
    let other = answer.folder_id.u64().filter(|id| *id != folder.0);
    if let Some(other) = other.filter(|_| asked.user.is_none()) {
        let what = format!("folder {other} instead of {folder}");
        return Err(malformed(call, &what));
    }
    let folders = numbered(answer.sub_folders.items, |wire, at| {
        sub_folder(call, wire, at)
    })?;
    // To be read by their names alone, which no reader here does.
    let hides = answer.hide_links.flag();
    if hides
        && answer
            .items
            .items
            .iter()
            .any(|item| item.url.clone().filled().is_none())
    {
        let detail = "its owner hides the links of its files, without which they cannot be read";
        let kind = ErrorKind::NotAllowed;
        return Err(ApiError::new(kind, call, Reached::Answered, detail));
    }
    let files = numbered(answer.items.items, |wire, at| item(call, wire, at))?;
    Ok(FolderListing {
        folder,
        name: answer.name.text().unwrap_or_default().into(),
        created: date(answer.create_date),
        file_count: answer.files.u64(),
        folders,
        files,
    })
}

fn file_listing(call: &'static str, answer: FileAnswer) -> Result<FileListing, ApiError> {
    if !answer.items.given && answer.count.u64().is_none() {
        return Err(malformed(call, "a listing without any of its fields"));
    }
    Ok(FileListing {
        count: answer.count.u64(),
        files: numbered(answer.items.items, |wire, at| item(call, wire, at))?,
    })
}

fn numbered<W, T>(
    wires: Vec<W>,
    mut read: impl FnMut(W, usize) -> Result<T, ApiError>,
) -> Result<Vec<T>, ApiError> {
    wires
        .into_iter()
        .enumerate()
        .map(|(at, wire)| read(wire, at))
        .collect()
}

fn sub_folder(call: &'static str, wire: SubFolderWire, at: usize) -> Result<SubFolder, ApiError> {
    let lacks = |what: &str| malformed(call, &format!("sub-folder {at} without {what}"));
    // The key is `id`; one transcription of the documentation says `folder_id` (API reference 14).
    let id = wire.id.u64().or_else(|| wire.folder_id.u64());
    Ok(SubFolder {
        id: FolderId(id.ok_or_else(|| lacks("its id"))?),
        name: wire.name.text().ok_or_else(|| lacks("its name"))?.into(),
        created: date(wire.create_date),
        password: wire.pass.flag(),
    })
}

fn item(call: &'static str, wire: ItemWire, at: usize) -> Result<FileItem, ApiError> {
    let lacks = |what: &str| malformed(call, &format!("file {at} without {what}"));
    Ok(FileItem {
        url: file_url(call, wire.url, &format!("file {at}"))?,
        name: wire
            .filename
            .text()
            .ok_or_else(|| lacks("its name"))?
            .into(),
        size: wire.size.u64().ok_or_else(|| lacks("its size"))?,
        uploaded: date(wire.date),
        whirlpool: hash(wire.checksum),
        content_type: wire
            .content_type
            .filled()
            .or_else(|| wire.content_type_too.filled()),
        password: wire.pass.flag(),
        access_list: wire.acl.flag(),
    })
}

/// A date, `None` when it is none.
pub(super) fn date(value: Scalar) -> Option<UnixSeconds> {
    paris::parse(&value.text()?)
}

/// A hash, `None` when it is none.
pub(super) fn hash(value: Scalar) -> Option<Whirlpool> {
    Whirlpool::parse(&value.text()?)
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
