//! Changes to files: `file/rename`, `mv`, `cp`, `rm`, `chattr`, `scan` (API reference 5.7 to 5.12).
//!
//! Promises: what the service says it did is handed back file by file; a success that did nothing
//! is an error.
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::wire::{List, Scalar};
use super::super::{ApiError, Ask, FileUrl, FolderId};
use super::{file_url, plain, urls};
use crate::secret::Password;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A file just renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The file.
    pub url: FileUrl,
    /// Its name as stored; the truth, also when another one was asked for.
    pub name: Box<str>,
}

/// Files just moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Their URLs from now on, in the order asked for as far as known; they may be new ones.
    pub urls: Vec<FileUrl>,
    /// How many the service says it moved.
    pub count: u64,
    /// The name as stored, when one was asked for.
    pub name: Option<Box<str>>,
}

/// Files just copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Original and copy.
    pub copies: Vec<(FileUrl, FileUrl)>,
    /// The name as stored, when one was asked for.
    pub name: Option<Box<str>>,
}

/// What `file/chattr` may set; what is `None` stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Attributes {
    /// Free text, visible to anyone with the link; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Box<str>>,
    /// The password.
    #[serde(
        rename = "pass",
        skip_serializing_if = "PasswordChange::is_none",
        serialize_with = "told"
    )]
    pub password: PasswordChange,
    /// Links are plain http.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "flag")]
    pub no_ssl: Option<bool>,
    /// Links are shown in the browser.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "flag")]
    pub inline: Option<bool>,
    /// Downloads spend the owner's CDN credits.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "flag")]
    pub cdn: Option<bool>,
    /// Who may download.
    #[serde(rename = "acl", skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// What becomes of a password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordChange {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none from now on.
    Remove,
    /// It is this one from now on.
    Set(Password),
}

impl PasswordChange {
    /// Whether nothing is to be changed.
    pub fn is_none(&self) -> bool {
        *self == Self::Keep
    }

    /// What the service is told: an empty text removes a password (API reference 5.11).
    fn told(&self) -> &str {
        match self {
            Self::Keep | Self::Remove => "",
            Self::Set(password) => password.expose(),
        }
    }
}

/// An access list; an empty one admits everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Addresses, CIDR.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<Box<str>>,
    /// Countries, ISO 3166 two letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<Box<str>>,
    /// Accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email: Vec<Box<str>>,
    /// Paying customers only.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "flag")]
    pub premium: Option<bool>,
}

fn told<S: serde::Serializer>(change: &PasswordChange, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(change.told())
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's signature"
)]
fn flag<S: serde::Serializer>(set: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*set == Some(true)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RenameAnswer {
    urls: List<RenamedWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RenamedWire {
    url: Scalar,
    new_filename: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MoveAnswer {
    moved: Scalar,
    urls: List<Scalar>,
    filename: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CopyAnswer {
    urls: List<CopyWire>,
    filename: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CopyWire {
    from_url: Scalar,
    to_url: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RemoveAnswer {
    removed: Scalar,
    urls: List<Scalar>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChattrAnswer {
    updated: Scalar,
}

impl Client {
    /// Renames own files in their folders, several in one call (API reference 5.7). A name that is
    /// the same already is [`NothingRenamed`](super::super::ErrorKind::NothingRenamed). The result
    /// lists those renamed, which may be fewer than asked.
    pub async fn file_rename(
        &self,
        ask: &Ask,
        names: &[(FileUrl, Box<str>)],
    ) -> Result<Vec<Renamed>, ApiError> {
        let call = plain("file/rename");
        let wanted: Vec<Value> = names
            .iter()
            .map(|(url, name)| json!({ "url": url, "filename": name }))
            .collect();
        let request = json!({ "urls": wanted });
        let answer: RenameAnswer = self.change(ask, &call, &request).await?;
        if answer.urls.items.is_empty() {
            return Err(malformed(call.name, "no renamed file"));
        }
        let read = |wire: RenamedWire| {
            let name = wire.new_filename.filled();
            Ok(Renamed {
                url: file_url(call.name, wire.url, "a renamed file")?,
                name: name.ok_or_else(|| malformed(call.name, "a renamed file without a name"))?,
            })
        };
        answer.urls.items.into_iter().map(read).collect()
    }

    /// Moves files to another folder (API reference 5.8). `rename` (one file only) is for a change
    /// of folder and name at once: within its folder the service ignores it.
    pub async fn file_move(
        &self,
        ask: &Ask,
        files: &[FileUrl],
        destination: FolderId,
        rename: Option<&str>,
    ) -> Result<Moved, ApiError> {
        let call = plain("file/mv");
        let mut request = json!({ "urls": urls(files), "destination_folder_id": destination });
        if let Some(name) = rename {
            request["rename"] = name.into();
        }
        let answer: MoveAnswer = self.change(ask, &call, &request).await?;
        let count = answer.moved.u64().unwrap_or(answer.urls.items.len() as u64);
        if count == 0 {
            return Err(malformed(call.name, "no moved file"));
        }
        Ok(Moved {
            urls: all_urls(call.name, answer.urls.items)?,
            count,
            name: answer.filename.filled(),
        })
    }

    /// Copies files on the service's side, without traffic (API reference 5.9). `rename` for one
    /// file only.
    pub async fn file_copy(
        &self,
        ask: &Ask,
        files: &[FileUrl],
        destination: FolderId,
        rename: Option<&str>,
    ) -> Result<Copied, ApiError> {
        self.file_import(ask, files, destination, rename, None)
            .await
    }

    /// The same of files that may be somebody else's and have a password. Without a password those written
    /// down are used for a single file that wants one.
    pub async fn file_import(
        &self,
        ask: &Ask,
        files: &[FileUrl],
        destination: FolderId,
        rename: Option<&str>,
        password: Option<&Password>,
    ) -> Result<Copied, ApiError> {
        let call = plain("file/cp");
        let once = async |password: Option<Password>| {
            // The destination is `folder_id` here, unlike in `file/mv`.
            let mut request = json!({ "urls": urls(files), "folder_id": destination });
            if let Some(name) = rename {
                request["rename"] = name.into();
            }
            if let Some(password) = password {
                request["pass"] = password.expose().into();
            }
            self.change(ask, &call, &request).await
        };
        let answer: CopyAnswer = match (files, password) {
            // A refusal for want of a password has copied nothing.
            ([file], None) => self.passwords().with(file.id(), once).await?,
            (_, password) => once(password.cloned()).await?,
        };
        if answer.urls.items.is_empty() {
            return Err(malformed(call.name, "no copied file"));
        }
        let read = |wire: CopyWire| {
            Ok((
                file_url(call.name, wire.from_url, "an original")?,
                file_url(call.name, wire.to_url, "a copy")?,
            ))
        };
        let copies: Result<_, ApiError> = answer.urls.items.into_iter().map(read).collect();
        Ok(Copied {
            copies: copies?,
            name: answer.filename.filled(),
        })
    }

    /// Removes files for good: there is no recycle bin (API reference 5.10). At most 100 per call
    /// are known to work. The result lists those removed.
    pub async fn file_remove(
        &self,
        ask: &Ask,
        files: &[FileUrl],
    ) -> Result<Vec<FileUrl>, ApiError> {
        let call = plain("file/rm");
        let doomed: Vec<Value> = files.iter().map(|url| json!({ "url": url })).collect();
        let request = json!({ "files": doomed });
        let answer: RemoveAnswer = self.change(ask, &call, &request).await?;
        let removed = all_urls(call.name, answer.urls.items)?;
        if !removed.is_empty() {
            return Ok(removed);
        }
        // Without a list, the count tells; without both, nothing is known to be gone.
        match answer.removed.u64() {
            Some(count) if count == files.len() as u64 => Ok(files.to_vec()),
            _ => Err(malformed(call.name, "no removed file")),
        }
    }

    /// Sets attributes of files (API reference 5.11); the result is how many changed. Setting what
    /// is set already is [`NothingChanged`](super::super::ErrorKind::NothingChanged).
    pub async fn file_chattr(
        &self,
        ask: &Ask,
        files: &[FileUrl],
        attributes: &Attributes,
    ) -> Result<u64, ApiError> {
        let call = plain("file/chattr");
        let mut request = json!(attributes);
        request["urls"] = json!(urls(files));
        let answer: ChattrAnswer = self.change(ask, &call, &request).await?;
        let updated = answer.updated.u64();
        updated.ok_or_else(|| malformed(call.name, "no count of changed files"))
    }
}

fn all_urls(call: &'static str, values: Vec<Scalar>) -> Result<Vec<FileUrl>, ApiError> {
    values
        .into_iter()
        .map(|value| file_url(call, value, "an entry"))
        .collect()
}
