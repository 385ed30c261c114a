//! Changes to folders: `folder/mkdir`, `mv`, `rm`, `share` (API reference 5.2 to 5.4).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::wire::Scalar;
use super::super::{ApiError, Ask, FolderId};
use super::{Done, plain};
use crate::secret::Password;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A folder just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFolder {
    /// Its number.
    pub id: FolderId,
    /// Its name as the service stored it; the truth, also when another one was asked for.
    pub name: Box<str>,
}

/// How a folder is shared.
#[derive(Debug, Clone, Default)]
pub struct Share {
    /// Whether it has a public address.
    pub public: bool,
    /// The public address's password, at least 6 characters.
    pub password: Option<Password>,
    /// The accounts it is shared with; `None` leaves them as they are, an empty list removes all.
    pub accounts: Option<Vec<ShareWith>>,
}

/// An account a folder is shared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShareWith {
    /// The account's mail address.
    pub email: Box<str>,
    /// Whether it may change the folder.
    #[serde(rename = "rw", serialize_with = "flag")]
    pub writable: bool,
    /// Whether files' URLs are hidden from it; implies read-only.
    #[serde(serialize_with = "flag")]
    pub hide_links: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn flag<S: serde::Serializer>(set: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*set))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MadeAnswer {
    folder_id: Scalar,
    name: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MovedAnswer {
    new_name: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShareAnswer {
    url: Scalar,
}

impl Client {
    /// Makes a folder (API reference 5.2). What the service does when the name exists is not
    /// known: list before, and again after a KO.
    pub async fn mkdir(
        &self,
        ask: &Ask,
        parent: FolderId,
        name: &str,
    ) -> Result<NewFolder, ApiError> {
        let call = plain("folder/mkdir");
        let request = json!({ "name": name, "folder_id": parent });
        let answer: MadeAnswer = self.change(ask, &call, &request).await?;
        // An answer without an id must not pass for folder 0, the root.
        let id = answer.folder_id.u64().filter(|id| *id != 0);
        Ok(NewFolder {
            id: FolderId(id.ok_or_else(|| malformed(call.name, "no id of the new folder"))?),
            name: answer
                .name
                .filled()
                .unwrap_or_else(|| name.to_owned().into()),
        })
    }

    /// Renames a folder in its place; the result is its name as stored. Never together with a
    /// move: which of the two a call with both does is in doubt (API reference 5.3).
    pub async fn folder_rename(
        &self,
        ask: &Ask,
        folder: FolderId,
        name: &str,
    ) -> Result<Box<str>, ApiError> {
        let request = json!({ "folder_id": folder, "rename": name });
        let answer: MovedAnswer = self.change(ask, &plain("folder/mv"), &request).await?;
        let stored = answer.new_name.filled();
        Ok(stored.unwrap_or_else(|| name.to_owned().into()))
    }

    /// Moves a folder under its present name (API reference 5.3). Into its own subtree: not
    /// known what happens, the caller must not ask for it.
    pub async fn folder_move(
        &self,
        ask: &Ask,
        folder: FolderId,
        destination: FolderId,
    ) -> Result<(), ApiError> {
        let request = json!({ "folder_id": folder, "destination_folder_id": destination });
        let Done {} = self.change(ask, &plain("folder/mv"), &request).await?;
        Ok(())
    }

    /// Removes a folder. Whether one with content is refused, or goes with all it holds, is not
    /// known: list right before (API reference 5.4).
    pub async fn folder_remove(&self, ask: &Ask, folder: FolderId) -> Result<(), ApiError> {
        let request = json!({ "folder_id": folder });
        let Done {} = self.change(ask, &plain("folder/rm"), &request).await?;
        Ok(())
    }

    /// Sets how a folder is shared; the result is its public address, if it has one (API
    /// reference 5.4).
    pub async fn folder_share(
        &self,
        ask: &Ask,
        folder: FolderId,
        share: &Share,
    ) -> Result<Option<Box<str>>, ApiError> {
        let mut request = json!({ "folder_id": folder, "share": u8::from(share.public) });
        if let Some(password) = &share.password {
            request["pass"] = Value::from(password.expose());
        }
        if let Some(accounts) = &share.accounts {
            request["shares"] = json!(accounts);
        }
        let answer: ShareAnswer = self.change(ask, &plain("folder/share"), &request).await?;
        Ok(answer.url.filled())
    }
}
