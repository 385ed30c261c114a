//! A row of failed answers: one is a hiccup, several are the truth.
//!
//! Promises: a single 5xx, or a single page about maintenance from one front server of many, stops
//! nobody else's calls. [`PAGES`] such pages, or [`FAILURES`] failures from several callers, with
//! no good answer between them, do. One caller's failures alone never do: a folder or file the
//! service chokes on says nothing of the others, and its own pauses grow.
use super::call::Call;
use crate::api::ask::Requester;

/// Pages about maintenance in a row that are believed. One server of many shows such a page while
/// it restarts; real maintenance shows nothing else (API reference 2.2).
const PAGES: u32 = 3;

/// Failures in a row, from several callers, after which the service is taken to be down. More
/// calls than these a second are not made anyway, so a service that is down sees few more.
const FAILURES: u32 = 4;

/// Who called what.
pub(super) type Origin = (Call, Requester);

/// Failed answers since the last good one.
#[derive(Debug, Default)]
pub(super) struct Row {
    pages: u32,
    failures: u32,
    first: Option<Origin>,
    several: bool,
}

/// What a row of failures means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing yet.
    Hiccup,
    /// The service is down.
    Down,
    /// The service is in maintenance.
    Maintenance,
}

impl Row {
    /// One more failure; `page` when it was a page about maintenance.
    pub(super) fn failed(&mut self, origin: Origin, page: bool) -> Meaning {
        self.failures = self.failures.saturating_add(1);
        self.pages = self.pages.saturating_add(u32::from(page));
        let first = *self.first.get_or_insert(origin);
        self.several |= first != origin;
        if page && self.pages >= PAGES {
            Meaning::Maintenance
        } else if self.several && self.failures >= FAILURES {
            Meaning::Down
        } else {
            Meaning::Hiccup
        }
    }

    /// A good answer: the row is at its end.
    pub(super) fn ended(&mut self) {
        *self = Self::default();
    }
}
