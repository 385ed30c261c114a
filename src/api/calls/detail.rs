//! `folder/ls` for what it says of the folder itself: its public page and who shares it (API reference
//! 5.1 and 11).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::types::UnixSeconds;
use super::super::wire::{List, Scalar};
use super::super::{ApiError, Ask, FolderId};
use super::ShareWith;
use super::listing::date;
use serde::Deserialize;

/// What the service says of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderDetail {
    /// Its number.
    pub folder: FolderId,
    /// Its name as stored; `Root` for the root.
    pub name: Box<str>,
    /// When it was made.
    pub created: Option<UnixSeconds>,
    /// Files in it, not counting those of sub-folders.
    pub files: Option<u64>,
    /// Bytes of those.
    pub size: Option<u64>,
    /// Folders in it.
    pub folders: u64,
    /// Whether its public page has a password.
    pub password: bool,
    /// The address of its public page, if it has one.
    pub public_url: Option<Box<str>>,
    /// The accounts it is shared with.
    pub accounts: Vec<ShareWith>,
    /// Whose it is, when somebody else shares it.
    pub owner: Option<Box<str>>,
    /// Whether that somebody lets it be changed.
    pub writable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DetailAnswer {
    folder_id: Scalar,
    name: Scalar,
    create_date: Scalar,
    pass: Scalar,
    shared: Scalar,
    shares: List<ShareWire>,
    user: Scalar,
    rw: Scalar,
    files: Scalar,
    size: Scalar,
    sub_folders: List<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShareWire {
    email: Scalar,
    rw: Scalar,
    hide_links: Scalar,
}

impl Client {
    /// What the service says of a folder itself. Counts as a listing of it: once in 30 s.
    pub async fn folder_detail(
        &self,
        ask: &Ask,
        folder: FolderId,
    ) -> Result<FolderDetail, ApiError> {
        let asked = self.asked("folder/ls", folder)?;
        let call = asked.listing();
        let answer: DetailAnswer = self.query(ask, &call, &asked.request()).await?;
        if answer.folder_id.u64() != Some(folder.0) && !folder.is_virtual() {
            return Err(malformed(
                call.name,
                "an answer without the folder's number",
            ));
        }
        let account = |wire: ShareWire| {
            Some(ShareWith {
                email: wire.email.filled()?,
                writable: wire.rw.flag(),
                hide_links: wire.hide_links.flag(),
            })
        };
        let accounts: Option<Vec<ShareWith>> =
            answer.shares.items.into_iter().map(account).collect();
        Ok(FolderDetail {
            folder,
            name: answer.name.text().unwrap_or_default().into(),
            created: date(answer.create_date),
            files: answer.files.u64(),
            size: answer.size.u64(),
            folders: answer.sub_folders.items.len() as u64,
            password: answer.pass.flag(),
            public_url: answer.shared.filled(),
            accounts: accounts
                .ok_or_else(|| malformed(call.name, "a share without the account's address"))?,
            owner: answer.user.filled(),
            writable: answer.rw.flag(),
        })
    }
}
