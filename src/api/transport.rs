//! Connections: TLS, timeouts, the proxy, and what a failure of them means.
//!
//! Promises: no redirect is followed and nothing is repeated behind our back; certificates are
//! checked against the system's roots and the one that was configured; every answer is read up to a
//! bound. Two pools, so that a hundred idle data connections never crowd out a call. Never knows
//! calls, JSON or the key.
use super::client::Settings;
use super::data::DataClient;
use super::error::{ApiError, ErrorKind, Reached};
use super::text::one_line;
use crate::util::crypto;
use bytes::Bytes;
use reqwest::{Certificate, Response};
use std::error::Error as StdError;
use std::time::Duration;

/// Until a connection stands, TLS included: three lost SYN packets (1 + 2 + 4 s) and the handshake.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Idle connections to the API are given up before the service does it (usual servers: 60 to 75 s),
/// so that a call is rarely sent into a closing connection.
const API_IDLE: Duration = Duration::from_secs(20);
/// Idle data connections are kept for a reader that comes back after a pause of thought.
pub(super) const DATA_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept per API or node host: calls are few.
const API_IDLE_COUNT: usize = 4;
/// Idle connections kept per download host: below the 30 the service allows in all.
pub(super) const DATA_IDLE_COUNT: usize = 16;
/// How often the kernel asks whether a silent peer is still there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);
/// Sent data the peer's kernel has not acknowledged for so long means a dead path.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// What every request calls itself.
pub(super) const USER_AGENT: &str = concat!("fichierfs/", env!("CARGO_PKG_VERSION"));
/// Longest JSON answer read: 5,000 entries of the longest names take about 8 MiB.
pub(super) const ANSWER_BYTES: usize = 32 << 20;
/// Longest page read: a page is only looked at for a sentence.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Why the client could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configured CA certificate.
    #[error("the CA certificate is not a PEM file this program can read: {0}")]
    Certificate(String),
    /// The configured proxy.
    #[error("the proxy address is not usable, expected http://HOST:PORT: {0}")]
    Proxy(String),
    /// TLS, most likely because the system has no root certificates.
    #[error("TLS cannot be set up; is the package ca-certificates installed? {0}")]
    Tls(String),
}

/// The two connection pools.
#[derive(Clone)]
pub(super) struct Transport {
    /// For the API and upload nodes.
    pub(super) api: reqwest::Client,
    /// For download hosts; never sees the key.
    pub(super) data: DataClient,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        crypto::install();
        let api = builder(settings)?
            .pool_idle_timeout(API_IDLE)
            .pool_max_idle_per_host(API_IDLE_COUNT);
        let api = api
            .build()
            .map_err(|error| SetupError::Tls(chain(&error)))?;
        let data = DataClient::new(settings)?;
        Ok(Self { api, data })
    }
}

fn builder(settings: &Settings) -> Result<reqwest::ClientBuilder, SetupError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(settings.clock.real(CONNECT))
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .tcp_user_timeout(UNACKNOWLEDGED);
    if settings.api_url.is_plain() {
        // Everything stays on this machine, so neither roots nor a proxy are of use.
        return Ok(builder.no_proxy().tls_certs_only([]));
    }
    builder = builder.https_only(true);
    if let Some(pem) = &settings.ca_cert {
        let bundle = Certificate::from_pem_bundle(pem)
            .map_err(|error| SetupError::Certificate(chain(&error)))?;
        if bundle.is_empty() {
            return Err(SetupError::Certificate("it holds no certificate".into()));
        }
        builder = builder.tls_certs_merge(bundle);
    }
    if let Some(proxy) = &settings.proxy {
        let proxy = reqwest::Proxy::all(proxy.as_str())
            .map_err(|error| SetupError::Proxy(chain(&error.without_url())))?;
        builder = builder.proxy(proxy);
    } else if settings.api_url.is_loopback() {
        builder = builder.no_proxy();
    }
    Ok(builder)
}

/// What a failed request means. The address is left out: a download address is a secret.
pub(super) fn wire_error(call: &'static str, error: reqwest::Error) -> ApiError {
    let error = error.without_url();
    let (kind, reached) = if error.is_builder() {
        (ErrorKind::BadRequest, Reached::NotSent)
    } else if error.is_connect() {
        let kind = if is_tls(&error) {
            ErrorKind::Tls
        } else {
            ErrorKind::Network
        };
        (kind, Reached::NotSent)
    } else if error.is_timeout() {
        (ErrorKind::Timeout, Reached::Unknown)
    } else {
        (ErrorKind::Network, Reached::Unknown)
    };
    ApiError::new(kind, call, reached, one_line(&chain(&error)))
}

/// Reads an answer's body, at most `limit` bytes of it.
pub(super) async fn read_body(
    call: &'static str,
    response: &mut Response,
    limit: usize,
) -> Result<Read, ApiError> {
    let announced = response.content_length().unwrap_or(0);
    let mut whole = Vec::with_capacity(usize::try_from(announced).unwrap_or(limit).min(limit));
    loop {
        let chunk: Option<Bytes> = response
            .chunk()
            .await
            .map_err(|error| wire_error(call, error))?;
        let Some(chunk) = chunk else {
            return Ok(Read::Whole(whole));
        };
        let room = limit - whole.len();
        whole.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok(Read::Cut(whole));
        }
    }
}

/// A body as read.
pub(super) enum Read {
    /// All of it.
    Whole(Vec<u8>),
    /// As much as the limit allows.
    Cut(Vec<u8>),
}

impl Read {
    /// What was read, whole or not.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) | Self::Cut(bytes) => bytes,
        }
    }
}

/// Whether a TLS error is among the causes.
pub(super) fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<rustls::Error>() {
            return true;
        }
        // An I/O error hides the error it was made from behind that one's own cause.
        let inner = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if inner.is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>) {
            return true;
        }
        cause = match inner {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    false
}

/// An error and its causes in one line, each said once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let said = current.to_string();
        if !out.contains(&said) {
            out.push_str(": ");
            out.push_str(&said);
        }
        cause = current.source();
    }
    out
}
