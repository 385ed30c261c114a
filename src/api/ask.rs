//! How urgent a call is, for whom it is made, and until when its answer is of use.
use crate::util::deadline::Deadline;

/// What is served first when calls wait, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A reader waits for bytes.
    Token,
    /// A change the user made.
    Change,
    /// Someone waits for names or figures.
    Wanted,
    /// A known folder is looked at again; nobody waits.
    Refresh,
    /// The tree is completed in the background; nobody waits.
    Crawl,
}

/// Whoever caused a call: a process id, or 0 for our own housekeeping. Within a priority,
/// requesters are served in turn, so that one with 500 files open does not hold up another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requester(pub u32);

impl Requester {
    /// Our own housekeeping.
    pub const SELF: Self = Self(0);
}

/// The terms on which a call is made.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Its place in the queue.
    pub priority: Priority,
    /// By when it must have been answered; a call that cannot start before fails at once.
    pub deadline: Deadline,
    /// For whom.
    pub requester: Requester,
}

impl Ask {
    /// The terms for a call.
    pub fn new(priority: Priority, deadline: Deadline, requester: Requester) -> Self {
        Self {
            priority,
            deadline,
            requester,
        }
    }
}
