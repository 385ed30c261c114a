//! Bytes of a file: a ranged GET on a download link (API reference 7.3).
//!
//! Promises: not one byte is handed out before status, `Content-Range`, total and length agree with
//! what was asked for; then exactly the range's bytes come, or an error. The key never goes here.
//! Never knows tokens' ages, caches or readers; connections are the caller's to limit.
use super::classify;
use super::client::{AnswerHead, Client};
use super::data;
use super::error::{ApiError, ErrorKind, Reached};
use super::text::{self, header_text, one_line};
use super::transport::{PAGE_BYTES, Read, chain};
use super::types::DownloadLink;
use crate::util::deadline::Deadline;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue,
    LOCATION,
};
use hyper::{Response, Uri};
use std::ops::Range;

/// How the exchange is called in errors.
const CALL: &str = "download";

/// The bytes of one range as they arrive. Dropping it closes the connection, unless all came.
pub struct Body {
    response: Incoming,
    left: u64,
}

impl Client {
    /// Asks for `range` of a file of `size` bytes and checks the answer's head. Not scheduled: the
    /// service's call rates do not apply to downloads, its connection limit does (API reference 3).
    ///
    /// Errors: [`ErrorKind::LinkExpired`] when a new link may help, [`ErrorKind::WrongBytes`] when
    /// the answer is another content than asked for, [`ErrorKind::Network`] and
    /// [`ErrorKind::Timeout`] as they say, and the pages of API reference 7.3.
    pub async fn download(
        &self,
        link: &DownloadLink,
        range: Range<u64>,
        size: u64,
        deadline: Deadline,
    ) -> Result<Body, ApiError> {
        if range.is_empty() || range.end > size {
            let detail = format!("bytes {range:?} of {size}");
            return Err(ApiError::new(
                ErrorKind::BadRequest,
                CALL,
                Reached::NotSent,
                detail,
            ));
        }
        let uri = self.download_uri(link)?;
        let asked = format!("bytes={}-{}", range.start, range.end - 1);
        let asked = HeaderValue::try_from(asked).map_err(|_| wrong("no range"))?;
        let place = uri.path().trim_matches('/').to_owned();
        let work = async {
            let response = self.transport().data.get(CALL, uri, asked).await?;
            admit(response, &range, size).await
        };
        let answer = deadline.run(work).await.unwrap_or_else(|| {
            let detail = "no answer in time";
            Err(ApiError::new(
                ErrorKind::Timeout,
                CALL,
                Reached::Unknown,
                detail,
            ))
        });
        answer.map_err(|error| without_place(error, &place))
    }

    /// Has a connection to where `link` leads stand ready, beside those in use: for a reader that
    /// may soon want other bytes. Costs no request; whether it succeeds shows when it is used.
    pub fn prepare_download(&self, link: &DownloadLink) {
        if let Ok(uri) = self.download_uri(link) {
            self.transport().data.prepare(&uri);
        }
    }

    fn download_uri(&self, link: &DownloadLink) -> Result<Uri, ApiError> {
        let url = self.api_url().download(CALL, &link.0)?;
        url.as_str().parse().map_err(|_| {
            let detail = "the download address is no address";
            ApiError::new(ErrorKind::Malformed, CALL, Reached::NotSent, detail)
        })
    }
}

impl Body {
    /// The next bytes, `None` after the last. Exactly the range's length comes in all: a connection
    /// that is cut, reset or silent until `deadline` is [`ErrorKind::Network`], never a short end.
    pub async fn next(&mut self, deadline: Deadline) -> Result<Option<Bytes>, ApiError> {
        let lost =
            |detail: String| ApiError::new(ErrorKind::Network, CALL, Reached::Answered, detail);
        while self.left > 0 {
            let left = self.left;
            let Some(chunk) = deadline.run(data::chunk(&mut self.response)).await else {
                return Err(lost(format!("silence with {left} bytes to come")));
            };
            let chunk = chunk
                .map_err(|error| lost(one_line(&chain(&error))))?
                .ok_or_else(|| lost(format!("the answer ended {left} bytes early")))?;
            let got = chunk.len() as u64;
            if got > left {
                let detail = "more bytes than were asked for";
                return Err(wrong(detail));
            }
            self.left -= got;
            if got > 0 {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes left)", self.left)
    }
}

async fn admit(
    response: Response<Incoming>,
    range: &Range<u64>,
    size: u64,
) -> Result<Body, ApiError> {
    let (parts, mut body) = response.into_parts();
    let headers = &parts.headers;
    let head = AnswerHead::new(parts.status, headers);
    let length = range.end - range.start;
    match head.status {
        206 => check_partial(headers, range, size)?,
        200 if !is_page(&head, headers) => check_whole(headers, range, size)?,
        _ => {
            let location = header_text(headers.get(LOCATION));
            let page = data::read_body(&mut body, PAGE_BYTES).await;
            let page = page.map(Read::into_bytes).unwrap_or_default();
            return Err(classify::download_page(
                CALL,
                head.as_head(),
                &location,
                &page,
            ));
        }
    }
    Ok(Body {
        response: body,
        left: length,
    })
}

/// A page of the site instead of a file: files are always sent with a disposition (API reference
/// 7.3), also those that are HTML themselves.
fn is_page(head: &AnswerHead, headers: &HeaderMap) -> bool {
    head.content_type.starts_with("text/html") && !headers.contains_key(CONTENT_DISPOSITION)
}

fn check_partial(headers: &HeaderMap, range: &Range<u64>, size: u64) -> Result<(), ApiError> {
    check_plain(headers)?;
    let given = header_text(headers.get(CONTENT_RANGE));
    let asked = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    if given != asked {
        return Err(wrong(&format!("asked for {asked}, got {given:?}")));
    }
    match content_length(headers)? {
        Some(length) if length != range.end - range.start => Err(wrong(&format!(
            "asked for {asked}, got {length} bytes of it"
        ))),
        _ => Ok(()),
    }
}

fn check_whole(headers: &HeaderMap, range: &Range<u64>, size: u64) -> Result<(), ApiError> {
    check_plain(headers)?;
    if *range != (0..size) {
        return Err(wrong("the whole file instead of a part of it"));
    }
    match content_length(headers)? {
        Some(length) if length == size => Ok(()),
        Some(length) => Err(wrong(&format!("{length} bytes instead of {size}"))),
        None => Err(wrong("a whole file without its length")),
    }
}

/// Encoded bytes are not the file's bytes; nothing was asked to be encoded.
fn check_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    match header_text(headers.get(CONTENT_ENCODING)).as_str() {
        "" | "identity" => Ok(()),
        other => Err(wrong(&format!("encoded as {other}"))),
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    match headers.get(CONTENT_LENGTH) {
        None => Ok(None),
        Some(value) => header_text(Some(value))
            .parse()
            .map(Some)
            .map_err(|_| wrong("a length that is no number")),
    }
}

/// Takes the place of a link on its host out of what a page may have repeated: who knows it can read the
/// file.
fn without_place(mut error: ApiError, place: &str) -> ApiError {
    if !place.is_empty() {
        error.detail = text::without(&error.detail, place).into();
    }
    error
}

fn wrong(detail: &str) -> ApiError {
    let detail = one_line(detail);
    ApiError::new(ErrorKind::WrongBytes, CALL, Reached::Answered, detail)
}
