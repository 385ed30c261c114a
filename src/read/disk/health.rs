//! Whether the disk works. A disk that is full, read-only or failing is left alone for a while and
//! then tried again; meanwhile the cache takes nothing, or gives nothing, and says why.
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

/// How long a failing disk is left alone: long enough that the attempts cost nothing, short enough
/// that nobody who freed some space wonders.
pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Health {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writes: Option<Failure>,
    reads: Option<Failure>,
}

struct Failure {
    reason: String,
    until: Moment,
}

impl Health {
    /// A disk that works as far as is known.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Writing failed while doing `what`.
    pub(super) fn writing_failed(&self, what: &str, error: &io::Error) {
        let failure = self.failure(what, error);
        let mut state = lock(&self.state);
        if state.writes.is_none() {
            log::warn!("{}", failure.reason);
        }
        state.writes = Some(failure);
    }

    /// Reading failed while doing `what`.
    pub(super) fn reading_failed(&self, what: &str, error: &io::Error) {
        let failure = self.failure(what, error);
        let mut state = lock(&self.state);
        if state.reads.is_none() {
            log::warn!("{}", failure.reason);
        }
        state.reads = Some(failure);
    }

    /// Writing works.
    pub(super) fn wrote(&self) {
        if lock(&self.state).writes.take().is_some() {
            log::info!("disk cache: writing works again");
        }
    }

    /// Reading works.
    pub(super) fn read(&self) {
        lock(&self.state).reads = None;
    }

    /// Whether writing may be tried.
    pub(super) fn may_write(&self) -> bool {
        self.passed(lock(&self.state).writes.as_ref())
    }

    /// Whether reading may be tried.
    pub(super) fn may_read(&self) -> bool {
        self.passed(lock(&self.state).reads.as_ref())
    }

    /// What is wrong, until it has been seen to work again.
    pub(super) fn reason(&self) -> Option<String> {
        let state = lock(&self.state);
        let failure = state.reads.as_ref().or(state.writes.as_ref());
        failure.map(|failure| failure.reason.clone())
    }

    fn passed(&self, failure: Option<&Failure>) -> bool {
        failure.is_none_or(|failure| self.clock.now() >= failure.until)
    }

    fn failure(&self, what: &str, error: &io::Error) -> Failure {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some space there or lower the cache's size"
            }
            io::ErrorKind::ReadOnlyFilesystem => "make its file system writable",
            io::ErrorKind::PermissionDenied => "give its folder to the user of the mount",
            io::ErrorKind::Unsupported => "put the cache's folder on another file system",
            _ => "check the disk",
        };
        Failure {
            reason: format!(
                "disk cache: {what}: {error}; {advice}. Files are streamed meanwhile, \
                 and the disk is tried again every minute"
            ),
            until: self.clock.now().after(PAUSE),
        }
    }
}
