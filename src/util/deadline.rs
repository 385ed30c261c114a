//! When an operation must have ended. Passed down through every part; nobody extends it.
use super::clock::{Clock, Moment};
use std::time::Duration;

/// The moment by which an operation must have answered, with the clock it is measured on.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    clock: Clock,
    at: Moment,
}

impl Deadline {
    /// `span` from now.
    pub fn within(clock: Clock, span: Duration) -> Self {
        Self {
            clock,
            at: clock.now().after(span),
        }
    }

    /// The same deadline or `span` from now, whichever comes first.
    #[must_use]
    pub fn capped(self, span: Duration) -> Self {
        Self {
            clock: self.clock,
            at: self.at.min(self.clock.now().after(span)),
        }
    }

    /// The moment itself.
    pub fn at(&self) -> Moment {
        self.at
    }

    /// What is left, zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.since(self.clock.now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The clock it is measured on.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Runs `work` until the deadline; `None` when time was up first.
    pub async fn run<F: Future>(&self, work: F) -> Option<F::Output> {
        self.clock.timeout(self.remaining(), work).await
    }
}
