//! What can go wrong with a call: the error catalogue of the API reference (2.2), the network, and
//! answers that are no answers, as one type.
//!
//! Messages are matched on their text, never on the trailing `#number`, which drifts over the
//! years (API reference 2.1). No errno here: `fs` alone maps kinds to what the kernel hears.
use std::fmt;
use std::time::Duration;

/// What a failed call means for the caller. One kind per reaction, not per wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// `Flood detected: … Locked`, HTTP 429: every call must stop for a while.
    Flood,
    /// `IP Locked` without "Flood": banned for up to an hour.
    IpBanned,
    /// The key is missing, unknown or was replaced (`Not authenticated`, `No such user`, `Bad token`).
    KeyRefused,
    /// `Must be a customer`: the call needs a paid account.
    NotCustomer,
    /// `Owner locked`: the owner's account is locked, or too many info calls were made.
    OwnerLocked,
    /// `Resource not found`, 404, 410: no such file or folder.
    NotFound,
    /// `Resource not allowed`: access list, country, private.
    NotAllowed,
    /// The file wants a password, or another one than was sent.
    Password,
    /// `Only N location(s) allowed at a time`: the account is in use from too many addresses.
    TooManyLocations,
    /// The source address counts as professional equipment or a VPN and has no CDN credits.
    NetworkRefused,
    /// `No file has been renamed`: the name is the same already, or the file is not ours.
    NothingRenamed,
    /// `No changes requested`: the value is set already.
    NothingChanged,
    /// The account may not store more.
    OverQuota,
    /// More download connections than the service allows.
    TooManyConnections,
    /// Maintenance: a page instead of an answer; come back in 20 minutes.
    Maintenance,
    /// HTTP 5xx, a backend's trouble.
    Server,
    /// A download link that was used up, has expired or was withdrawn: ask for a new token.
    LinkExpired,
    /// An upload form the node could not read (`Pas de fichier trouvé`): our fault, never repeated.
    UploadMalformed,
    /// The node cannot store (`Ne peut ouvrir le fichier destination`): another node may.
    NodeTrouble,
    /// The upload's report is not ready yet: poll again.
    ReportPending,
    /// The report came without the file's link: the outcome is not known; look before repeating.
    ReportEmpty,
    /// A KO none of the above matches.
    Refused,
    /// An answer that is not what the call promises: HTML, broken JSON, a missing field.
    Malformed,
    /// A download answer whose status, range, total or length is not what was asked for: not one
    /// byte of it may be used.
    WrongBytes,
    /// No connection: name resolution, refused, unreachable, reset.
    Network,
    /// The TLS handshake failed: certificate not trusted, wrong host.
    Tls,
    /// The service named a host outside its own domains: the answer is not trusted.
    HostRefused,
    /// Time was up, in the queue or on the wire.
    Timeout,
    /// The request could not be built from what we were given.
    BadRequest,
    /// What was to be uploaded could not be read, or was not as long as announced.
    SourceFailed,
}

/// How far a failed call got: may it have changed the account?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Nothing was sent.
    NotSent,
    /// Sent, without an answer that tells whether it was carried out: it may have been.
    Unknown,
    /// The service answered, and did not carry it out.
    Answered,
}

/// A failed call.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What it means.
    pub kind: ErrorKind,
    /// What was called, e.g. `folder/ls`.
    pub call: &'static str,
    /// How far it got.
    pub reached: Reached,
    /// Not worth trying again before this span has passed.
    pub retry_after: Option<Duration>,
    /// What the service or the library said, cut to a line; never holds a secret.
    pub detail: Box<str>,
}

impl ApiError {
    /// A new error of `kind` for `call`.
    pub fn new(
        kind: ErrorKind,
        call: &'static str,
        reached: Reached,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            call,
            reached,
            retry_after: None,
            detail: detail.into().into_boxed_str(),
        }
    }

    /// Whether the same call may succeed later without anyone doing anything.
    pub fn is_temporary(&self) -> bool {
        use ErrorKind as K;
        match self.kind {
            K::Flood
            | K::IpBanned
            | K::OwnerLocked
            | K::TooManyLocations
            | K::TooManyConnections
            | K::Maintenance
            | K::Server
            | K::LinkExpired
            | K::NodeTrouble
            | K::ReportPending
            | K::ReportEmpty
            | K::Malformed
            | K::WrongBytes
            | K::Network
            | K::Timeout => true,
            K::KeyRefused
            | K::NotCustomer
            | K::NotFound
            | K::NotAllowed
            | K::Password
            | K::NetworkRefused
            | K::NothingRenamed
            | K::NothingChanged
            | K::OverQuota
            | K::UploadMalformed
            | K::Refused
            | K::Tls
            | K::HostRefused
            | K::BadRequest
            | K::SourceFailed => false,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.kind.says())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

impl ErrorKind {
    /// A sentence for a person.
    pub fn says(self) -> &'static str {
        match self {
            Self::Flood => "the service asks for silence after too many calls",
            Self::IpBanned => "the service has locked this address for up to an hour",
            Self::KeyRefused => "the API key is not accepted; run `fichierfs login` with a new one",
            Self::NotCustomer => "this needs a paid account (Access, Premium or GOLD)",
            Self::OwnerLocked => "the owner's account is locked, or the service wants fewer calls",
            Self::NotFound => "no such file or folder in the account",
            Self::NotAllowed => "the service does not allow access",
            Self::Password => "a password is needed, or the one sent is wrong",
            Self::TooManyLocations => "the account is in use from too many addresses",
            Self::NetworkRefused => {
                "this network counts as a VPN or data centre and needs CDN credits; --cdn spends them"
            }
            Self::NothingRenamed => "the name is in use already or the file is not ours",
            Self::NothingChanged => "nothing to change",
            Self::OverQuota => "the account is full or may not upload",
            Self::TooManyConnections => "too many download connections",
            Self::Maintenance => "the service is in maintenance",
            Self::Server => "the service has trouble",
            Self::LinkExpired => "the download link has expired",
            Self::UploadMalformed => "the upload was not understood",
            Self::NodeTrouble => "the upload server cannot store",
            Self::ReportPending => "the upload is still being processed",
            Self::ReportEmpty => "the upload's outcome is unknown",
            Self::Refused => "refused",
            Self::Malformed => "the answer makes no sense",
            Self::WrongBytes => "the download is not what was asked for",
            Self::Network => "cannot reach the service; is there a network, and its proxy?",
            Self::Tls => {
                "the server's certificate is not trusted; if your own network signs it, name its \
                 authority with --ca-cert"
            }
            Self::HostRefused => "the service named a host that is not its own",
            Self::Timeout => "no answer in time",
            Self::BadRequest => "the request cannot be made",
            Self::SourceFailed => "what was to be uploaded could not be read",
        }
    }
}
