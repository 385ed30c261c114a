//! Requests to download hosts, over connections of their own: a hundred idle data connections never
//! crowd out a call. Knows HTTP; never ranges, links or the key.
use super::client::Settings;
use super::dial::Dialer;
use super::error::{ApiError, ErrorKind, Reached};
use super::text::one_line;
use super::transport::{DATA_IDLE, DATA_IDLE_COUNT, Read, SetupError, USER_AGENT, chain, is_tls};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes a connection hands over at once at most: large pieces are cheap to pass on.
const PIECE: usize = 256 * 1024;

/// The client of download hosts; cheap to clone.
#[derive(Clone)]
pub(super) struct DataClient {
    http: legacy::Client<Dialer, Nothing>,
    dialer: Dialer,
}

/// A request's body.
pub(super) struct Nothing;

impl DataClient {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let dialer = Dialer::new(settings)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(DATA_IDLE)
            .pool_max_idle_per_host(DATA_IDLE_COUNT)
            .http1_max_buf_size(PIECE)
            .build(dialer.clone());
        Ok(Self { http, dialer })
    }

    /// Has another connection to the host of `uri` stand ready.
    pub(super) fn prepare(&self, uri: &Uri) {
        self.dialer.prepare(uri);
    }

    /// Asks for `range` (the header's value) of `uri`; returns once the answer's head is there.
    pub(super) async fn get(
        &self,
        call: &'static str,
        uri: Uri,
        range: HeaderValue,
    ) -> Result<Response<Incoming>, ApiError> {
        let mut request = Request::new(Nothing);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::RANGE, range);
        let answer = self.http.request(request).await;
        answer.map_err(|error| request_error(call, &error))
    }
}

/// The next bytes of an answer, `None` after the last.
pub(super) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(error),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// At most `limit` bytes of an answer.
pub(super) async fn read_body(body: &mut Incoming, limit: usize) -> Result<Read, hyper::Error> {
    let mut whole = Vec::new();
    while let Some(bytes) = chunk(body).await? {
        let room = limit - whole.len();
        whole.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            return Ok(Read::Cut(whole));
        }
    }
    Ok(Read::Whole(whole))
}

/// What a failed request means.
fn request_error(call: &'static str, error: &legacy::Error) -> ApiError {
    let (kind, reached) = match (error.is_connect(), is_tls(error)) {
        (true, true) => (ErrorKind::Tls, Reached::NotSent),
        (true, false) => (ErrorKind::Network, Reached::NotSent),
        (false, _) => (ErrorKind::Network, Reached::Unknown),
    };
    ApiError::new(kind, call, reached, one_line(&chain(error)))
}

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}
