//! What the scheduler must know of a call: which limits it counts against, and how it ended.
use crate::api::ids::FolderId;
use std::time::Duration;

/// A call about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What is called, e.g. `folder/ls`; used in errors and counts.
    pub name: &'static str,
    /// Which limits it counts against.
    pub class: CallClass,
}

impl Call {
    /// The call `name` of `class`.
    pub const fn new(name: &'static str, class: CallClass) -> Self {
        Self { name, class }
    }
}

/// Which of the service's limits a call counts against besides the general rate, which every call
/// counts against (API reference 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// None.
    Plain,
    /// None; asks for a download token.
    Token,
    /// `folder/ls` of a folder: one listing per folder per 30 s.
    Listing(FolderId),
    /// `file/ls` of a folder: the same limit, counted together with [`CallClass::Listing`].
    Files(FolderId),
    /// `user/info`: not twice in six minutes.
    UserInfo,
    /// `upload.cgi` and `end.pl` on an upload node: another host, the same rate.
    Node,
}

/// What the answer to a call says about the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The service answered, whatever it said of the call itself.
    Answered,
    /// `Flood detected`, HTTP 429: silence is asked for.
    Flooded {
        /// What `Retry-After` said, if anything.
        retry_after: Option<Duration>,
    },
    /// `IP Locked` without "Flood": locked for up to an hour.
    Banned,
    /// `Owner locked`: a side effect of too many info calls.
    OwnerLocked,
    /// HTTP 503 with the maintenance page.
    Maintenance,
    /// An answer that is the service's own trouble: any other 5xx, a page about its database.
    Failed,
    /// No answer: the network failed or the caller gave up. Whether the service saw the call is
    /// not known.
    Lost,
    /// No connection could be made, so the service did not see the call. It counts against the
    /// rate of starts, so that attempts to connect stay as few as calls, but its folder may be listed, and
    /// `user/info` asked, as soon as the network is back.
    NotSent,
}

/// Number of a call within one scheduler, from its place in the queue to its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CallId(pub(super) u64);
