//! How long each kind of operation may take. The kernel waits for an answer without a limit of its
//! own and fuser passes no interrupts on, so whatever is not answered here hangs a process.
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use std::time::Duration;

/// The kinds of operations that may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Names and attributes of a folder that is not known yet.
    Names,
    /// Bytes of a file.
    Bytes,
    /// What must be on disk here.
    Disk,
    /// What must be in the account.
    Upload,
}

/// Names: one silence after a flood (30 s) and the calls before ours, but not two silences: a file
/// manager that waits longer looks dead.
const NAMES: Duration = Duration::from_secs(45);

/// Changes on disk: a disk that takes longer is broken or hopelessly busy, and what is not written down by
/// then is tried again all the same.
const DISK: Duration = Duration::from_secs(60);

/// An upload: the service ends a transfer after four hours (API reference 6).
const UPLOAD: Duration = Duration::from_secs(4 * 60 * 60);

/// The limits in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) clock: Clock,
    /// From `--read-timeout`.
    pub(super) read: Duration,
}

impl Limits {
    /// The deadline of an operation that starts now.
    pub(super) fn of(&self, class: Class) -> Deadline {
        let span = match class {
            Class::Names => NAMES,
            Class::Bytes => self.read,
            // A disk goes by real time, whatever the clock.
            Class::Disk => self.clock.meanwhile(DISK),
            Class::Upload => UPLOAD,
        };
        Deadline::within(self.clock, span)
    }
}
