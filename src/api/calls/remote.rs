//! Remote uploads: the service fetches addresses into the account (API reference 8).
use super::super::classify::malformed;
use super::super::client::Client;
use super::super::paris;
use super::super::types::UnixSeconds;
use super::super::wire::{List, Scalar};
use super::super::{ApiError, Ask, FileUrl, FolderId};
use super::plain;
use serde::Deserialize;
use serde_json::json;

/// A remote upload in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteJob {
    /// Its number.
    pub id: u64,
    /// When it was asked for.
    pub requested: Option<UnixSeconds>,
    /// When it was done; `None` while it waits.
    pub executed: Option<UnixSeconds>,
}

/// A remote upload in detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDetail {
    /// As in the list.
    pub job: RemoteJob,
    /// The addresses asked for.
    pub links: Vec<Box<str>>,
    /// What became of each.
    pub results: Vec<RemoteResult>,
}

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteResult {
    /// The service's word for it.
    pub status: Box<str>,
    /// The address.
    pub source: Box<str>,
    /// The file it became.
    pub file: Option<FileUrl>,
    /// Why it became none.
    pub message: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobWire {
    id: Scalar,
    request_date: Scalar,
    execution_date: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobsAnswer {
    data: List<JobWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DetailAnswer {
    #[serde(flatten)]
    job: JobWire,
    links: List<Scalar>,
    result: List<ResultWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResultWire {
    status: Scalar,
    url: Scalar,
    download_link: Scalar,
    message: Scalar,
}

impl Client {
    /// Asks the service to fetch `urls` into `folder`, with extra request `headers`; the result is
    /// the request's number.
    pub async fn remote_request(
        &self,
        ask: &Ask,
        urls: &[&str],
        folder: FolderId,
        headers: &[(&str, &str)],
    ) -> Result<u64, ApiError> {
        let call = plain("remote/request");
        let mut request = json!({ "urls": urls, "folder_id": folder });
        if !headers.is_empty() {
            request["headers"] = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        let answer: JobWire = self.change(ask, &call, &request).await?;
        let id = answer.id.u64();
        id.ok_or_else(|| malformed(call.name, "no number of the request"))
    }

    /// The account's remote uploads.
    pub async fn remote_ls(&self, ask: &Ask) -> Result<Vec<RemoteJob>, ApiError> {
        let call = plain("remote/ls");
        let answer: JobsAnswer = self.query(ask, &call, &json!({})).await?;
        let read = |wire| job(call.name, wire);
        answer.data.items.into_iter().map(read).collect()
    }

    /// What became of one remote upload.
    pub async fn remote_info(&self, ask: &Ask, id: u64) -> Result<RemoteDetail, ApiError> {
        let call = plain("remote/info");
        let answer: DetailAnswer = self.query(ask, &call, &json!({ "id": id })).await?;
        let text = |value: Scalar| value.text().unwrap_or_default().into_boxed_str();
        let result = |wire: ResultWire| RemoteResult {
            status: text(wire.status),
            source: text(wire.url),
            file: FileUrl::parse(&wire.download_link.text().unwrap_or_default()),
            message: text(wire.message),
        };
        Ok(RemoteDetail {
            job: job(call.name, answer.job)?,
            links: answer.links.items.into_iter().map(text).collect(),
            results: answer.result.items.into_iter().map(result).collect(),
        })
    }
}

fn job(call: &'static str, wire: JobWire) -> Result<RemoteJob, ApiError> {
    let date = |value: Scalar| paris::parse(&value.text()?);
    Ok(RemoteJob {
        id: wire
            .id
            .u64()
            .ok_or_else(|| malformed(call, "a request without its number"))?,
        requested: date(wire.request_date),
        // What waits bears no date, or one of 1970 (API reference 8).
        executed: date(wire.execution_date).filter(|at| *at > ONE_DAY),
    })
}

/// Seconds of a day: a date before the second of January 1970 stands for none.
const ONE_DAY: UnixSeconds = 86_400;
