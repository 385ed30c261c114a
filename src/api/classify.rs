//! From what came over the wire to what it means: the error catalogue of the API reference (2.2)
//! and the download symptoms (7.3), in one place.
//!
//! Promises: KO is found under any HTTP status, in JSON, HTML or plain text; texts decide, numbers
//! never; what is unknown is an error, never a success. No input makes it panic.
use super::error::{ApiError, ErrorKind, Reached};
use super::text::{one_line, visible};
use super::wire::{self, Envelope};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a page about maintenance asks for (API reference 2.2: 20 minutes).
const MAINTENANCE: Duration = Duration::from_secs(20 * 60);
/// How long to leave a backend without database alone (API reference 7.3: 5 to 10 minutes), and
/// what too many addresses or connections cost (2.2, 7.3: 5 minutes).
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
/// How long a hard ban of the address lasts at most (API reference 2.2).
const BAN: Duration = Duration::from_secs(60 * 60);
/// A `Retry-After` beyond this is a mistake, and would silence the mount for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The head of an answer, as far as its meaning depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, when given in seconds.
    pub retry_after: Option<Duration>,
}

impl Head {
    fn is_success(self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Reads `Retry-After`: seconds; a date or junk counts as not given (never seen from the service).
pub fn retry_after(header: &str) -> Option<Duration> {
    let seconds = header.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The answer of a JSON call: a success with 2xx and no KO, typed, or what went wrong.
pub fn json<T: DeserializeOwned>(
    call: &'static str,
    head: Head,
    body: &[u8],
) -> Result<T, ApiError> {
    if !looks_like_object(body) {
        return Err(no_json(call, head, &spoken(body)));
    }
    let Ok(envelope) = wire::from_json::<Envelope>(body) else {
        // Broken JSON may hold any name: its words mean nothing, and what the account holds is never
        // concluded from half an answer.
        let error = no_json(call, head, "broken JSON");
        return Err(match error.kind {
            ErrorKind::NotFound => malformed(call, &error.detail),
            _ => error,
        });
    };
    let status = envelope.status.text().unwrap_or_default();
    let refused = status.eq_ignore_ascii_case("ko");
    if head.is_success() && !refused {
        return wire::from_json(body).map_err(|error| malformed(call, &error.to_string()));
    }
    let message = envelope.message.text().unwrap_or_default();
    Err(refusal(call, head, &message))
}

/// An answer without a field the call cannot do without, or with a field that contradicts it.
pub fn malformed(call: &'static str, what: &str) -> ApiError {
    answered(call, ErrorKind::Malformed, &one_line(what))
}

/// What a download host's answer means that is not the file (API reference 7.3). `location` is
/// the target of a redirect, empty when there is none.
pub fn download_page(call: &'static str, head: Head, location: &str, body: &[u8]) -> ApiError {
    let said = if location.to_ascii_lowercase().contains("c=db") {
        "Can't connect DB".to_owned()
    } else {
        spoken(body)
    };
    let kind = meaning(&said).unwrap_or(match head.status {
        429 => ErrorKind::Flood,
        416 => ErrorKind::WrongBytes,
        407 => ErrorKind::Network,
        500.. => ErrorKind::Server,
        // A page instead of the file, a redirect to the link's page, 401, 403, 404, 410: expired,
        // used up or withdrawn. One new token tells which.
        _ => ErrorKind::LinkExpired,
    });
    // A link's page may say that the file is gone; only the API's own word counts for that.
    let kind = if kind == ErrorKind::NotFound {
        ErrorKind::LinkExpired
    } else {
        kind
    };
    let mut error = finish(call, kind, head, &said);
    if is_backend_outage(&said.to_lowercase()) {
        error.retry_after = error.retry_after.max(Some(FIVE_MINUTES));
    }
    error
}

/// What an upload node's answer means that is neither a redirect to the report nor a plain success
/// (API reference 6, step 2). `None` when nothing speaks against success.
pub fn upload_page(call: &'static str, head: Head, body: &[u8]) -> Option<ApiError> {
    if let Ok(envelope) = wire::from_json::<Envelope>(body) {
        let refused = envelope
            .status
            .text()
            .is_some_and(|status| status.eq_ignore_ascii_case("ko"));
        if refused || !head.is_success() {
            let message = envelope.message.text().unwrap_or_default();
            return Some(refusal(call, head, &message));
        }
        return None;
    }
    let said = spoken(body);
    let lower = said.to_lowercase();
    let kind = if lower.contains("pas de fichier trouv") || lower.contains("no file found") {
        Some(ErrorKind::UploadMalformed)
    } else if lower.contains("ouvrir le fichier destination") {
        Some(ErrorKind::NodeTrouble)
    } else {
        meaning(&said)
    };
    let kind = match (kind, head.status) {
        (Some(kind), _) => kind,
        (None, 200..300) => return None,
        (None, 429) => ErrorKind::Flood,
        (None, 500..) => ErrorKind::NodeTrouble,
        (None, 401) => ErrorKind::KeyRefused,
        (None, _) => ErrorKind::Refused,
    };
    Some(finish(call, kind, head, &said))
}

/// An answer that is no JSON object.
fn no_json(call: &'static str, head: Head, said: &str) -> ApiError {
    let kind = meaning(said).unwrap_or(match head.status {
        // The API itself refuses in JSON; a bare 403 is a gate before it, and silence is the one
        // answer that cannot make that worse.
        429 | 403 => ErrorKind::Flood,
        401 => ErrorKind::KeyRefused,
        404 | 410 => ErrorKind::NotFound,
        407 => ErrorKind::Network,
        500.. => ErrorKind::Server,
        _ => ErrorKind::Malformed,
    });
    finish(call, kind, head, said)
}

/// A KO, or a JSON answer with an HTTP error.
fn refusal(call: &'static str, head: Head, message: &str) -> ApiError {
    let kind = meaning(message).unwrap_or(match head.status {
        429 => ErrorKind::Flood,
        401 => ErrorKind::KeyRefused,
        404 | 410 => ErrorKind::NotFound,
        500.. => ErrorKind::Server,
        _ => ErrorKind::Refused,
    });
    finish(call, kind, head, message)
}

fn finish(call: &'static str, kind: ErrorKind, head: Head, said: &str) -> ApiError {
    let said = one_line(said);
    let detail = match (head.is_success(), said.is_empty()) {
        (true, _) => said,
        (false, true) => format!("HTTP {}", head.status),
        (false, false) => format!("HTTP {}: {said}", head.status),
    };
    let mut error = answered(call, kind, &detail);
    error.retry_after = match kind {
        ErrorKind::Maintenance => Some(MAINTENANCE),
        ErrorKind::IpBanned => Some(BAN),
        ErrorKind::OwnerLocked | ErrorKind::TooManyLocations | ErrorKind::TooManyConnections => {
            Some(FIVE_MINUTES)
        }
        _ => None,
    };
    error.retry_after = error.retry_after.max(head.retry_after);
    error
}

fn answered(call: &'static str, kind: ErrorKind, detail: &str) -> ApiError {
    let reached = match kind {
        // A server that failed, or says something else than yes or no, may have done it.
        ErrorKind::Server | ErrorKind::Malformed => Reached::Unknown,
        _ => Reached::Answered,
    };
    ApiError::new(kind, call, reached, detail)
}

/// Texts of the catalogue in the order in which they must be tried: the special before the general.
const CATALOGUE: &[(&str, ErrorKind)] = &[
    ("flood detected", ErrorKind::Flood),
    ("requests are too fast", ErrorKind::Flood),
    ("ip locked", ErrorKind::IpBanned),
    ("not authenticated", ErrorKind::KeyRefused),
    ("no such user", ErrorKind::KeyRefused),
    ("bad token", ErrorKind::KeyRefused),
    ("must be a customer", ErrorKind::NotCustomer),
    ("owner locked", ErrorKind::OwnerLocked),
    ("resource not found", ErrorKind::NotFound),
    ("password not provided", ErrorKind::Password),
    ("invalid password", ErrorKind::Password),
    ("resource not allowed", ErrorKind::NotAllowed),
    ("location(s) allowed", ErrorKind::TooManyLocations),
    ("locations allowed", ErrorKind::TooManyLocations),
    ("use your account only for", ErrorKind::TooManyLocations),
    ("not simultaneously your ipv4", ErrorKind::TooManyLocations),
    ("professional equipment", ErrorKind::NetworkRefused),
    ("must have cdn", ErrorKind::NetworkRefused),
    (
        "residential private and dedicated",
        ErrorKind::NetworkRefused,
    ),
    ("no file has been renamed", ErrorKind::NothingRenamed),
    ("no changes requested", ErrorKind::NothingChanged),
    ("content-type not json", ErrorKind::BadRequest),
    ("too many connections", ErrorKind::TooManyConnections),
    ("maintenance", ErrorKind::Maintenance),
    ("connect db", ErrorKind::Server),
    ("software error", ErrorKind::Server),
    // No one has recorded what a full account is told: likely words.
    ("quota", ErrorKind::OverQuota),
    ("stockage insuffisant", ErrorKind::OverQuota),
    ("not enough storage", ErrorKind::OverQuota),
    ("upload forbidden", ErrorKind::OverQuota),
    ("no cdn credit", ErrorKind::NetworkRefused),
];

/// What a message means; `None` when the catalogue does not know it.
fn meaning(said: &str) -> Option<ErrorKind> {
    let said = said.to_lowercase();
    CATALOGUE
        .iter()
        .find(|(text, _)| said.contains(text))
        .map(|(_, kind)| *kind)
}

fn is_backend_outage(said: &str) -> bool {
    said.contains("connect db") || said.contains("software error")
}

/// The words of a page or a plain text.
fn spoken(body: &[u8]) -> String {
    visible(&String::from_utf8_lossy(body))
}

fn looks_like_object(body: &[u8]) -> bool {
    body.iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'{')
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
