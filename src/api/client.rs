//! The client: one exchange with the API, when it may be repeated, and what the scheduler hears of it.
//!
//! Promises: no request without a permit; each ends by its ask's deadline; only calls that change
//! nothing are repeated, each time with a permit of its own; no error shows the key. The calls
//! themselves are in `calls/`.
use super::ask::Ask;
use super::classify::{self, Head};
use super::error::{ApiError, ErrorKind, Reached};
use super::hosts::ApiUrl;
use super::passwords::{PasswordList, Passwords};
use super::scheduler::{Call, Scheduler, Verdict};
use super::text::{self, header_text};
use super::timing;
use super::transport::{self, ANSWER_BYTES, PAGE_BYTES, Read, SetupError, Transport};
use crate::secret::ApiKey;
use crate::util::clock::{Clock, Moment};
use crate::util::deadline::Deadline;
use crate::util::retry::Backoff;
use crate::util::sync::lock;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Until one JSON answer is complete: a stalled server costs one try, not the caller's deadline.
/// The slowest listings of 5,000 files seen by others take a few seconds.
pub(super) const ANSWER: Duration = Duration::from_secs(20);
/// An answer that makes no sense is asked for once more: a proxy's hiccup heals, a server's bug not.
const MALFORMED_TRIES: u32 = 2;

/// What a client needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where the API is.
    pub api_url: ApiUrl,
    /// The account's key.
    pub key: ApiKey,
    /// Certificates trusted beside the system's, PEM.
    pub ca_cert: Option<Vec<u8>>,
    /// An HTTP proxy, e.g. `http://proxy.example:3128`; `None` = what the environment says.
    pub proxy: Option<String>,
    /// The time.
    pub clock: Clock,
    /// Whether downloads may spend CDN credits.
    pub cdn: bool,
    /// Passwords of files.
    pub passwords: PasswordList,
    /// Mail addresses of accounts whose shared folders are listed in [`FolderId::SHARED`].
    ///
    /// [`FolderId::SHARED`]: super::FolderId::SHARED
    pub shared: Vec<Box<str>>,
}

impl Settings {
    /// The service itself, in real time, without CDN credits.
    pub fn new(key: ApiKey) -> Self {
        Self {
            api_url: ApiUrl::service(),
            key,
            ca_cert: None,
            proxy: None,
            clock: Clock::system(),
            cdn: false,
            passwords: PasswordList::default(),
            shared: Vec::new(),
        }
    }
}

/// A handle on the account; clones share connections and scheduler.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client(…)")
    }
}

struct Shared {
    api_url: ApiUrl,
    key: ApiKey,
    authorization: HeaderValue,
    cdn: bool,
    passwords: Passwords,
    sharers: Vec<Box<str>>,
    clock: Clock,
    transport: Transport,
    scheduler: Scheduler,
    user_info_turn: tokio::sync::Semaphore,
    /// Seconds this machine's clock was ahead of the service's at the last answer that told its time.
    ahead: Mutex<Option<i64>>,
}

impl Client {
    /// Sets up TLS and connections; nothing is sent.
    pub fn new(settings: Settings, scheduler: Scheduler) -> Result<Self, SetupError> {
        let transport = Transport::new(&settings)?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", settings.key.expose()))
            .expect("a key consists of visible ASCII characters");
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Shared {
            api_url: settings.api_url,
            key: settings.key,
            authorization,
            cdn: settings.cdn,
            passwords: Passwords::new(settings.passwords),
            sharers: settings.shared,
            clock: settings.clock,
            transport,
            scheduler,
            user_info_turn: tokio::sync::Semaphore::new(1),
            ahead: Mutex::default(),
        })))
    }

    /// The scheduler every call passes.
    pub fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    /// Passwords of files.
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// The accounts whose shared folders are listed.
    pub(super) fn shared(&self) -> &[Box<str>] {
        &self.0.sharers
    }

    /// Seconds this machine's clock is ahead of the service's, if an answer told its time.
    pub fn clock_ahead(&self) -> Option<i64> {
        *lock(&self.0.ahead)
    }

    /// Notes the time of an answer. That of a test clock is not this machine's.
    fn note_time(&self, headers: &HeaderMap) {
        let said = header_text(headers.get(DATE));
        if let Ok(date) = jiff::fmt::rfc2822::parse(&said) {
            let now = jiff::Timestamp::now().as_second();
            *lock(&self.0.ahead) = Some(now - date.timestamp().as_second());
        }
    }

    pub(super) fn api_url(&self) -> &ApiUrl {
        &self.0.api_url
    }

    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(super) fn spends_cdn_credits(&self) -> bool {
        self.0.cdn
    }

    /// Held while `user/info` is asked, so that a second asker gets the first one's answer.
    pub(super) fn user_info_turn(&self) -> &tokio::sync::Semaphore {
        &self.0.user_info_turn
    }

    /// A request with the key; for the API and upload nodes only.
    pub(super) fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(AUTHORIZATION, self.0.authorization.clone())
    }

    /// A call that changes something: sent once. What became of it when it fails is in
    /// [`ApiError::reached`].
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        call: &Call,
        request: &Value,
    ) -> Result<T, ApiError> {
        self.once(ask, call, request).await
    }

    /// A call that changes nothing: repeated after trouble that passes, within the deadline.
    pub(super) async fn query<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        call: &Call,
        request: &Value,
    ) -> Result<T, ApiError> {
        self.repeated(ask, || self.once(ask, call, request)).await
    }

    /// Runs `once` until it succeeds, fails for good, or the deadline leaves no room.
    pub(super) async fn repeated<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        ask: &Ask,
        mut once: impl FnMut() -> F,
    ) -> Result<T, ApiError> {
        let mut backoff = Backoff::new();
        let mut malformed = 0;
        let mut before: Option<ApiError> = None;
        loop {
            let error = match once().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let never_started =
                error.kind == ErrorKind::Timeout && error.reached == Reached::NotSent;
            if never_started {
                // Why there was a repetition to wait for says more than that it came too late.
                return Err(before.unwrap_or(error));
            }
            let wait = match error.kind {
                ErrorKind::Flood | ErrorKind::Maintenance | ErrorKind::Server
                    if error.reached == Reached::NotSent =>
                {
                    return Err(error);
                }
                // The scheduler knows when; asking it again waits, or fails with the time to wait.
                ErrorKind::Flood => Duration::ZERO,
                ErrorKind::Server | ErrorKind::Network | ErrorKind::Timeout => backoff
                    .next_wait()
                    .max(error.retry_after.unwrap_or_default()),
                // Whether the page is to be believed is the scheduler's to say.
                ErrorKind::Maintenance => backoff.next_wait(),
                ErrorKind::Malformed => {
                    malformed += 1;
                    if malformed >= MALFORMED_TRIES {
                        return Err(error);
                    }
                    backoff.next_wait()
                }
                _ => return Err(error),
            };
            if ask.deadline.remaining() <= wait {
                return Err(error);
            }
            log::debug!("{error}; again in {wait:?}");
            before = Some(error);
            self.0.clock.sleep(wait).await;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        call: &Call,
        request: &Value,
    ) -> Result<T, ApiError> {
        timing::waits();
        let permit = self.0.scheduler.permit(ask, call).await?;
        timing::sent(self.0.clock);
        let request = self
            .with_key(self.0.transport.api.post(self.0.api_url.call(call.name)))
            .header(CONTENT_TYPE, "application/json")
            .body(request.to_string());
        let sent = self.0.clock.now();
        let answer = self.exchange(call.name, ask.deadline, request).await;
        permit.finish(verdict(&answer));
        self.note(call.name, sent, answer.as_ref().err());
        answer
    }

    /// Logs a call that has ended.
    pub(super) fn note(&self, call: &str, sent: Moment, failure: Option<&ApiError>) {
        let took = self.0.clock.now().since(sent);
        match failure {
            None => log::debug!("{call}: answered in {} ms", took.as_millis()),
            Some(error) => log::debug!("{call}: failed after {} ms: {error}", took.as_millis()),
        }
    }

    /// Sends one request and reads its JSON answer, within [`ANSWER`] and the deadline.
    pub(super) async fn exchange<T: DeserializeOwned>(
        &self,
        call: &'static str,
        deadline: Deadline,
        request: RequestBuilder,
    ) -> Result<T, ApiError> {
        let work = async {
            let mut response = self.send(call, request).await?;
            self.note_time(response.headers());
            let head = AnswerHead::of(&response);
            let limit = if head.status < 300 {
                ANSWER_BYTES
            } else {
                PAGE_BYTES
            };
            let body = transport::read_body(call, &mut response, limit).await?;
            match body {
                Read::Cut(_) if head.status < 300 => {
                    let what = format!("an answer of more than {ANSWER_BYTES} bytes");
                    Err(classify::malformed(call, &what))
                }
                body => classify::json(call, head.as_head(), &body.into_bytes()),
            }
        };
        let answer = deadline.capped(ANSWER).run(work).await;
        answer
            .unwrap_or_else(|| {
                let detail = "no complete answer in time";
                Err(ApiError::new(
                    ErrorKind::Timeout,
                    call,
                    Reached::Unknown,
                    detail,
                ))
            })
            .map_err(|error| self.redacted(error))
    }

    /// Sends one request and waits for the head of its answer, however long that takes.
    pub(super) async fn send(
        &self,
        call: &'static str,
        request: RequestBuilder,
    ) -> Result<Response, ApiError> {
        request
            .send()
            .await
            .map_err(|error| transport::wire_error(call, error))
    }

    /// Takes the key out of what a server may have echoed.
    pub(super) fn redacted(&self, mut error: ApiError) -> ApiError {
        error.detail = text::without(&error.detail, self.0.key.expose()).into();
        error
    }
}

/// The head of an answer, kept while its body is read.
pub(super) struct AnswerHead {
    pub(super) status: u16,
    pub(super) content_type: String,
    retry_after: Option<Duration>,
}

impl AnswerHead {
    #[cfg(test)]
    pub(super) fn bare(status: u16) -> Self {
        Self {
            status,
            content_type: String::new(),
            retry_after: None,
        }
    }

    pub(super) fn of(response: &Response) -> Self {
        Self::new(response.status(), response.headers())
    }

    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status: status.as_u16(),
            content_type: header_text(headers.get(CONTENT_TYPE)),
            retry_after: classify::retry_after(&header_text(headers.get(RETRY_AFTER))),
        }
    }

    pub(super) fn as_head(&self) -> Head {
        Head {
            status: self.status,
            retry_after: self.retry_after,
        }
    }
}

/// What the scheduler must know about how a call ended.
pub(super) fn verdict<T>(outcome: &Result<T, ApiError>) -> Verdict {
    let Err(error) = outcome else {
        return Verdict::Answered;
    };
    match error.kind {
        ErrorKind::Flood => Verdict::Flooded {
            retry_after: error.retry_after,
        },
        ErrorKind::IpBanned => Verdict::Banned,
        ErrorKind::OwnerLocked => Verdict::OwnerLocked,
        ErrorKind::Maintenance => Verdict::Maintenance,
        ErrorKind::Server => Verdict::Failed,
        // An answer all the same, if none that says what became of the call.
        ErrorKind::Malformed => Verdict::Answered,
        _ => match error.reached {
            Reached::Answered => Verdict::Answered,
            Reached::Unknown => Verdict::Lost,
            Reached::NotSent => Verdict::NotSent,
        },
    }
}
