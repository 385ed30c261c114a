//! `file/info`: everything about one file (API reference 5.6).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::types::{FileItem, UnixSeconds, Whirlpool};
use super::super::wire::{List, Scalar};
use super::super::{ApiError, Ask, FileUrl, FolderId};
use super::listing::{date, hash};
use super::{Access, file_url, plain};
use crate::secret::Password;
use serde::Deserialize;
use serde_json::json;

/// What `file/info` says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the service's own flags")]
pub struct FileInfo {
    /// Its public URL.
    pub url: FileUrl,
    /// Its name as stored.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// When it was uploaded.
    pub uploaded: Option<UnixSeconds>,
    /// The folder it is in; only told about own files.
    pub folder: Option<FolderId>,
    /// That folder's path, without a leading slash; empty for the root.
    pub path: Option<Box<str>>,
    /// Its hash.
    pub whirlpool: Option<Whirlpool>,
    /// MIME type as the service guesses it.
    pub content_type: Option<Box<str>>,
    /// The free text kept with it.
    pub description: Option<Box<str>>,
    /// Whether a password is set.
    pub password: bool,
    /// Whether its links are shown in the browser.
    pub inline: bool,
    /// Whether its links are plain http.
    pub no_ssl: bool,
    /// Whether its downloads spend the owner's CDN credits.
    pub cdn: bool,
    /// Who may download it, if that is limited.
    pub access: Option<Access>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InfoAnswer {
    url: Scalar,
    filename: Scalar,
    size: Scalar,
    date: Scalar,
    folder_id: Scalar,
    path: Scalar,
    checksum: Scalar,
    #[serde(rename = "content-type")]
    content_type: Scalar,
    #[serde(rename = "content_type")]
    content_type_too: Scalar,
    description: Scalar,
    pass: Scalar,
    inline: Scalar,
    no_ssl: Scalar,
    cdn: Scalar,
    acl: AccessWire,
}

/// An access list: an object here (API reference 5.6), a flag wherever else.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum AccessWire {
    Told {
        #[serde(default)]
        ip: List<Scalar>,
        #[serde(default)]
        country: List<Scalar>,
        #[serde(default)]
        email: List<Scalar>,
        #[serde(default)]
        premium: Scalar,
    },
    Untold(serde::de::IgnoredAny),
    #[default]
    #[serde(skip)]
    Missing,
}

impl AccessWire {
    fn read(self) -> Option<Access> {
        let Self::Told {
            ip,
            country,
            email,
            premium,
        } = self
        else {
            return None;
        };
        let texts = |list: List<Scalar>| -> Vec<Box<str>> {
            list.items.into_iter().filter_map(Scalar::filled).collect()
        };
        let access = Access {
            ip: texts(ip),
            country: texts(country),
            email: texts(email),
            premium: premium.flag().then_some(true),
        };
        (access != Access::default()).then_some(access)
    }
}

impl Client {
    /// Everything about one file. Not for a hot path: frequent use has led to locks (API
    /// reference 3).
    pub async fn file_info(&self, ask: &Ask, file: &FileUrl) -> Result<FileInfo, ApiError> {
        self.file_info_with(ask, file, None).await
    }

    /// The same of a file that has a password and may be somebody else's. Without a password those written
    /// down are used, if it wants one.
    pub async fn file_info_with(
        &self,
        ask: &Ask,
        file: &FileUrl,
        password: Option<&Password>,
    ) -> Result<FileInfo, ApiError> {
        let call = plain("file/info");
        let once = async |password: Option<Password>| {
            let mut request = json!({ "url": file });
            if let Some(password) = password {
                request["pass"] = password.expose().into();
            }
            self.query(ask, &call, &request).await
        };
        let answer: InfoAnswer = match password {
            Some(password) => once(Some(password.clone())).await?,
            None => self.passwords().with(file.id(), once).await?,
        };
        let lacks = |what: &str| malformed(call.name, &format!("an answer without {what}"));
        Ok(FileInfo {
            url: file_url(call.name, answer.url, "an answer")?,
            name: answer
                .filename
                .text()
                .ok_or_else(|| lacks("the name"))?
                .into(),
            size: answer.size.u64().ok_or_else(|| lacks("the size"))?,
            uploaded: date(answer.date),
            folder: answer.folder_id.u64().map(FolderId),
            path: answer.path.text().map(String::into_boxed_str),
            whirlpool: hash(answer.checksum),
            content_type: answer
                .content_type
                .filled()
                .or_else(|| answer.content_type_too.filled()),
            description: answer.description.filled(),
            password: answer.pass.flag(),
            inline: answer.inline.flag(),
            no_ssl: answer.no_ssl.flag(),
            cdn: answer.cdn.flag(),
            access: answer.acl.read(),
        })
    }
}

impl From<FileInfo> for FileItem {
    fn from(info: FileInfo) -> Self {
        Self {
            url: info.url,
            name: info.name,
            size: info.size,
            uploaded: info.uploaded,
            whirlpool: info.whirlpool,
            content_type: info.content_type,
            password: info.password,
            access_list: info.access.is_some(),
        }
    }
}
