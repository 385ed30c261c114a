//! What other accounts share with this one, as folders that the service does not have: one that shows them all
//! at the root, and one per account in it (API reference 5.1 and 11).
//!
//! Promises: these are listed like every other folder, under numbers of their own; folders below them have
//! numbers of the service.
use super::super::client::Client;
use super::super::scheduler::{Call, CallClass};
use super::super::types::{FolderListing, SubFolder};
use super::super::{ApiError, ErrorKind, FolderId, Reached};

/// What the folder that shows them is called.
const NAME: &str = "Shared with me";

/// How the service is asked for a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// By this number.
    pub(super) folder: FolderId,
    /// Of this account, if it is what another one shares.
    pub(super) user: Option<&'a str>,
}

impl Asked<'_> {
    /// The call that lists it. Whether the service counts what others share by the number it is asked for with,
    /// which is that of one's own root, is not known: so it waits its 30 s behind that and behind each other.
    pub(super) fn listing(self) -> Call {
        Call {
            name: "folder/ls",
            class: CallClass::Listing(self.folder),
        }
    }

    /// The fields of a request.
    pub(super) fn request(self) -> serde_json::Value {
        let mut request = serde_json::json!({ "folder_id": self.folder });
        if let Some(user) = self.user {
            request["sharing_user"] = user.into();
        }
        request
    }
}

impl Client {
    /// How to ask for a folder; an error for one that stands for an account that is not among those to be shown
    /// any more.
    pub(super) fn asked(
        &self,
        call: &'static str,
        folder: FolderId,
    ) -> Result<Asked<'_>, ApiError> {
        if !folder.is_virtual() {
            return Ok(Asked { folder, user: None });
        }
        let mut users = self.shared().iter();
        let user = users.find(|user| FolderId::shared_by(user) == folder);
        let user = user.ok_or_else(|| {
            let detail = "nothing of that account is shown here (--shared)";
            ApiError::new(ErrorKind::NotFound, call, Reached::NotSent, detail)
        })?;
        Ok(Asked {
            folder: FolderId::ROOT,
            user: Some(user),
        })
    }

    /// The folder that shows them all, which no call is needed for; `None` when none are to be shown.
    pub(super) fn shared_listing(&self) -> Option<FolderListing> {
        let users = self.shared().iter();
        let folders: Vec<SubFolder> = users
            .map(|user| folder(FolderId::shared_by(user), user))
            .collect();
        (!folders.is_empty()).then(|| FolderListing {
            folder: FolderId::SHARED,
            name: NAME.into(),
            created: None,
            file_count: Some(0),
            folders,
            files: Vec::new(),
        })
    }

    /// Puts that folder into the listing of the root.
    pub(super) fn with_shared(&self, mut listing: FolderListing) -> FolderListing {
        if listing.folder == FolderId::ROOT && !self.shared().is_empty() {
            listing.folders.push(folder(FolderId::SHARED, NAME));
        }
        listing
    }
}

fn folder(id: FolderId, name: &str) -> SubFolder {
    SubFolder {
        id,
        name: name.into(),
        created: None,
        password: false,
    }
}
