//! Uploads: node, transfer, report (API reference 6).
//!
//! Promises: a transfer is sent once; once the node has taken it the file is stored, and nothing
//! here sends it again. The report is asked for until it is there or the deadline has come. The key
//! goes to hosts of the service only.
use super::super::classify::{self, malformed};
use super::super::client::{AnswerHead, Client, verdict};
use super::super::multipart::{Form, SourceError, UploadFile, UploadProgress};
use super::super::scheduler::{Call, CallClass};
use super::super::text::{one_line, visible};
use super::super::transport::{self, ANSWER_BYTES, PAGE_BYTES};
use super::super::types::Whirlpool;
use super::super::wire::{self, List, Scalar};
use super::super::{ApiError, Ask, ErrorKind, FileUrl, FolderId, Reached};
use super::listing::hash;
use super::plain;
use crate::util::deadline::Deadline;
use reqwest::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Longest id of a node's upload slot (API reference 6, step 1).
const MAX_ID_CHARS: usize = 10;
/// A transfer that hands over no byte for so long is given up: the line or the source is dead.
const STALL: Duration = Duration::from_secs(120);
/// Until the node answers after the last byte was handed over: what the kernel buffers must still
/// cross a slow line.
const AFTER_LAST_BYTE: Duration = Duration::from_secs(300);
/// How often the transfer's progress is looked at.
const WATCH: Duration = Duration::from_secs(5);
/// Waits between looks at the report: scripts wait 1.5 to 2 s at first (API reference 6, step 3);
/// every look counts as a call.
const POLLS: [Duration; 4] = [
    Duration::from_millis(1_500),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// Until one look at the report is answered.
const POLL_ANSWER: Duration = Duration::from_secs(20);

/// Where one upload goes; good for one upload only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadNode {
    host: Box<str>,
    id: Box<str>,
}

/// Where the report of a finished transfer is found; it lives about two hours. Worth writing down
/// before the report is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadTicket {
    /// The node's host.
    pub host: Box<str>,
    /// The report's id.
    pub xid: Box<str>,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadReport {
    /// Whether the files went to the account's "incoming" folder instead of the one asked for.
    pub incoming: bool,
    /// The files stored; at least one.
    pub files: Vec<UploadedFile>,
}

/// A file just uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// Its public URL.
    pub url: FileUrl,
    /// Its name as stored.
    pub name: Box<str>,
    /// Bytes stored.
    pub size: Option<u64>,
    /// Hash of what was stored.
    pub whirlpool: Option<Whirlpool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAnswer {
    url: Scalar,
    id: Scalar,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReportAnswer {
    incoming: Scalar,
    links: List<LinkWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkWire {
    download: Scalar,
    filename: Scalar,
    size: Scalar,
    whirlpool: Scalar,
}

impl Client {
    /// A node for one upload. Ask anew for every upload and every repetition (API reference 6,
    /// step 1).
    pub async fn upload_node(&self, ask: &Ask) -> Result<UploadNode, ApiError> {
        let call = plain("upload/get_upload_server");
        let answer: NodeAnswer = self.query(ask, &call, &json!({})).await?;
        let host = answer.url.filled();
        let host = host.ok_or_else(|| malformed(call.name, "no upload host"))?;
        self.api_url().node(call.name, &host)?;
        let id = answer.id.filled();
        let id = id
            .filter(|id| is_id(id, MAX_ID_CHARS))
            .ok_or_else(|| malformed(call.name, "no sound upload id"))?;
        Ok(UploadNode { host, id })
    }

    /// Sends `files` into `folder` in one transfer (API reference 6, step 2); until `ask`'s
    /// deadline, or until nothing moves for two minutes. Sent once: after an error,
    /// [`ApiError::reached`] says whether anything may have been stored
    /// ([`Reached::Unknown`]: look before sending again).
    pub async fn upload(
        &self,
        ask: &Ask,
        node: UploadNode,
        folder: FolderId,
        files: Vec<UploadFile>,
        progress: &UploadProgress,
    ) -> Result<UploadTicket, ApiError> {
        let call = node_call("upload.cgi");
        let form = Form::new(folder, &files).map_err(|what| {
            ApiError::new(ErrorKind::BadRequest, call.name, Reached::NotSent, what)
        })?;
        let total = files.iter().map(|file| file.size).sum();
        let mut url = self.node_url(call.name, &node.host, "upload.cgi")?;
        url.query_pairs_mut().append_pair("id", &node.id);
        let permit = self.scheduler().permit(ask, &call).await?;
        let request = self
            .with_key(self.transport().api.post(url))
            .header(CONTENT_TYPE, form.content_type())
            .header(CONTENT_LENGTH, form.length())
            .header(CONNECTION, "close")
            .body(Body::wrap_stream(form.body(files, progress.clone())));
        let transfer = Transfer {
            call: call.name,
            deadline: ask.deadline,
            total,
            progress: progress.clone(),
        };
        let sent = self.clock().now();
        let outcome = async {
            let response = transfer.run(request).await?;
            accepted(call.name, response, &node, ask.deadline).await
        };
        let outcome = outcome.await.map_err(|error| self.redacted(error));
        permit.finish(verdict(&outcome));
        self.note(call.name, sent, outcome.as_ref().err());
        outcome
    }

    /// The report of a transfer (API reference 6, step 3), asked for until it is ready. Never skip
    /// it: asking may be what makes the node store the files.
    ///
    /// Errors: [`ErrorKind::ReportPending`] when it was not ready by the deadline,
    /// [`ErrorKind::ReportEmpty`] when it names no file; the files may be stored in both cases.
    pub async fn upload_report(
        &self,
        ask: &Ask,
        ticket: &UploadTicket,
    ) -> Result<UploadReport, ApiError> {
        let call = node_call("end.pl");
        if !is_id(&ticket.xid, MAX_XID_CHARS) {
            return Err(ApiError::new(
                ErrorKind::BadRequest,
                call.name,
                Reached::NotSent,
                "no sound report id",
            ));
        }
        let mut url = self.node_url(call.name, &ticket.host, "end.pl")?;
        url.query_pairs_mut().append_pair("xid", &ticket.xid);
        let mut waits = POLLS.into_iter();
        let mut longest = Duration::ZERO;
        loop {
            let asked = self
                .repeated(ask, || self.poll_report(ask, &call, url.clone()))
                .await;
            let pending = match asked {
                Err(error) if error.kind == ErrorKind::ReportPending => error,
                outcome => return outcome,
            };
            longest = waits.next().unwrap_or(longest);
            if ask.deadline.remaining() <= longest {
                return Err(pending);
            }
            self.clock().sleep(longest).await;
        }
    }

    async fn poll_report(
        &self,
        ask: &Ask,
        call: &Call,
        url: Url,
    ) -> Result<UploadReport, ApiError> {
        let permit = self.scheduler().permit(ask, call).await?;
        let request = self
            .with_key(self.transport().api.get(url))
            .header("JSON", "1");
        let work = async {
            let mut response = self.send(call.name, request).await?;
            let head = AnswerHead::of(&response);
            let body = transport::read_body(call.name, &mut response, ANSWER_BYTES).await?;
            report(call.name, &head, &body.into_bytes())
        };
        let outcome = ask.deadline.capped(POLL_ANSWER).run(work).await;
        let outcome = outcome
            .unwrap_or_else(|| {
                let detail = "no complete answer in time";
                Err(ApiError::new(
                    ErrorKind::Timeout,
                    call.name,
                    Reached::Unknown,
                    detail,
                ))
            })
            .map_err(|error| self.redacted(error));
        permit.finish(verdict(&outcome));
        outcome
    }

    fn node_url(&self, call: &'static str, host: &str, path: &str) -> Result<Url, ApiError> {
        let mut url = self.api_url().node(call, host)?;
        url.set_path(path);
        Ok(url)
    }
}

/// Longest id of a report, generously: it may differ from the upload's (API reference 6, step 2).
const MAX_XID_CHARS: usize = 64;

fn node_call(name: &'static str) -> Call {
    Call {
        name,
        class: CallClass::Node,
    }
}

fn is_id(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A transfer under way, watched so that it cannot stand still for ever.
struct Transfer {
    call: &'static str,
    deadline: Deadline,
    total: u64,
    progress: UploadProgress,
}

impl Transfer {
    /// Sends `request` and waits for the head of the answer.
    async fn run(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let sent = async {
            tokio::select! {
                answer = request.send() => answer.map_err(|error| self.failed(error)),
                detail = self.watch() => Err(self.lost(detail)),
            }
        };
        let outcome = self.deadline.run(sent).await;
        outcome.unwrap_or_else(|| Err(self.lost("time was up during the transfer")))
    }

    /// Returns when nothing has moved for too long.
    async fn watch(&self) -> &'static str {
        let clock = self.deadline.clock();
        let start = self.progress.bytes();
        let (mut seen, mut since) = (start, clock.now());
        loop {
            clock.sleep(WATCH).await;
            let now = self.progress.bytes();
            if now != seen {
                (seen, since) = (now, clock.now());
                continue;
            }
            let still = clock.now().since(since);
            let all_handed_over = seen - start >= self.total;
            if all_handed_over && still >= AFTER_LAST_BYTE {
                return "no answer after the last byte";
            }
            if !all_handed_over && still >= STALL {
                return "the transfer stands still";
            }
        }
    }

    fn lost(&self, detail: &str) -> ApiError {
        ApiError::new(ErrorKind::Timeout, self.call, Reached::Unknown, detail)
    }

    fn failed(&self, error: reqwest::Error) -> ApiError {
        let source = find_source_error(&error).map(ToString::to_string);
        match source {
            Some(said) => ApiError::new(
                ErrorKind::SourceFailed,
                self.call,
                Reached::Unknown,
                one_line(&said),
            ),
            None => transport::wire_error(self.call, error),
        }
    }
}

fn find_source_error(error: &reqwest::Error) -> Option<&SourceError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// What the node's answer to a transfer means.
async fn accepted(
    call: &'static str,
    mut response: Response,
    node: &UploadNode,
    deadline: Deadline,
) -> Result<UploadTicket, ApiError> {
    let head = AnswerHead::of(&response);
    let ticket = |xid: Option<Box<str>>| UploadTicket {
        host: node.host.clone(),
        xid: xid.unwrap_or_else(|| node.id.clone()),
    };
    if (300..400).contains(&head.status) {
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        if let Some(location) = location.filter(|target| target.contains("end.pl")) {
            return Ok(ticket(xid_of(location)));
        }
        let what = "a redirect that does not lead to the report";
        return Err(malformed(call, what));
    }
    let page = deadline
        .capped(POLL_ANSWER)
        .run(transport::read_body(call, &mut response, PAGE_BYTES))
        .await
        .and_then(Result::ok)
        .map(transport::Read::into_bytes)
        .unwrap_or_default();
    if let Some(error) = classify::upload_page(call, head.as_head(), &page) {
        return Err(error);
    }
    // A few nodes answer 200 directly (API reference 6, step 2). A refusal in words unknown to us
    // looks the same; the report tells, and the words are kept for whoever wonders.
    let said = visible(&String::from_utf8_lossy(&page));
    log::debug!("{call} without a redirect: {}", one_line(&said));
    Ok(ticket(None))
}

/// The `xid` of a redirect's target.
fn xid_of(location: &str) -> Option<Box<str>> {
    let (_, query) = location.split_once('?')?;
    query
        .split(['&', '#'])
        .find_map(|pair| pair.strip_prefix("xid="))
        .filter(|xid| is_id(xid, MAX_XID_CHARS))
        .map(Into::into)
}

/// What one look at the report says.
fn report(call: &'static str, head: &AnswerHead, body: &[u8]) -> Result<UploadReport, ApiError> {
    let answered = |kind, detail: &str| ApiError::new(kind, call, Reached::Answered, detail);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        let mut error = match classify::json::<super::Done>(call, head.as_head(), body) {
            Err(error) => error,
            Ok(_) => malformed(call, "a page"),
        };
        error.kind = match error.kind {
            // Any page of a node that is well is taken for the one that asks to wait.
            ErrorKind::Malformed if head.status < 400 => ErrorKind::ReportPending,
            // The report is gone or was never made; the files may be there all the same.
            ErrorKind::NotFound => ErrorKind::ReportEmpty,
            kind => kind,
        };
        return Err(error);
    }
    let checked: Result<super::Done, ApiError> = classify::json(call, head.as_head(), body);
    checked.map(|super::Done {}| ())?;
    let answer: ReportAnswer =
        wire::from_json(body).map_err(|error| malformed(call, &error.to_string()))?;
    if answer.links.items.is_empty() {
        return Err(answered(ErrorKind::ReportEmpty, "no link in it"));
    }
    let read = |link: LinkWire| {
        let url = FileUrl::parse(&link.download.text().unwrap_or_default());
        let url = url.ok_or_else(|| answered(ErrorKind::ReportEmpty, "a link is no file's URL"))?;
        Ok(UploadedFile {
            url,
            name: link.filename.text().unwrap_or_default().into(),
            size: link.size.u64(),
            whirlpool: hash(link.whirlpool),
        })
    };
    let files: Result<Vec<_>, ApiError> = answer.links.items.into_iter().map(read).collect();
    Ok(UploadReport {
        incoming: answer.incoming.flag(),
        files: files?,
    })
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
