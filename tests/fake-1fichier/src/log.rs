//! What was asked and answered, and which rules were broken. Bounded; the oldest entries go first.

use std::collections::VecDeque;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

/// Entries kept: about 1 GB at most, far above what a test makes.
const CAPACITY: usize = 1_000_000;

/// Real time spent on purpose, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Delays {
    /// After the connection was accepted; on its first request only.
    pub connect: f64,
    /// Before the first byte of the answer.
    pub latency: f64,
    /// Waiting for bandwidth.
    pub bandwidth: f64,
}

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct LogEntry {
    /// Number of the request, from 1.
    pub seq: u64,
    /// Virtual UNIX seconds of the arrival.
    pub virtual_time: f64,
    /// Real UNIX seconds of the arrival.
    pub real_time: f64,
    /// Arrival on the monotonic clock.
    #[serde(skip)]
    pub arrival: Instant,
    /// `folder/ls` and the like, `upload.cgi`, `end.pl`, `download`, `dir`.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// Body of a JSON call; `{"name","offset","range"}` and the like otherwise.
    pub params: Value,
    /// HTTP status; 0 when no header was sent.
    pub status: u16,
    /// `ok`, `ko`, `html`, `text`, `redirect`, `bytes`, `none`.
    pub answer: String,
    /// Bytes of the answer's body handed to the connection.
    pub bytes_sent: u64,
    /// Bytes of the request's body.
    pub bytes_received: u64,
    /// Delays applied.
    pub delays: Delays,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// The first rule it broke.
    pub violation: Option<String>,
    /// Oddities that are no violation: `key_on_download`, `unknown_field: page`.
    pub notes: Vec<String>,
    /// The fault it met.
    pub fault: Option<String>,
    /// Seconds from arrival to the last byte; 0 while it runs.
    pub duration: f64,
}

/// A rule that was broken. On the real service any of them could have locked the account.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// `rate`, `listing`, `account_listing`, `listing_spacing`, `user_info`, `flood_lock`, `hard_lock`, `connections`,
    /// `abuse`, `key_on_download`.
    pub rule: String,
    /// Virtual UNIX seconds.
    pub virtual_time: f64,
    /// The call that broke it.
    pub endpoint: String,
    /// What exactly.
    pub detail: String,
}

/// The log of requests and violations.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<LogEntry>,
    violations: Vec<Violation>,
    last_seq: u64,
    dropped: u64,
}

impl Log {
    /// Adds an entry and gives it its number.
    pub(crate) fn begin(&mut self, mut entry: LogEntry) -> u64 {
        self.last_seq += 1;
        entry.seq = self.last_seq;
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
        self.last_seq
    }

    /// Changes the entry `seq` unless it was dropped.
    pub(crate) fn update(&mut self, seq: u64, change: impl FnOnce(&mut LogEntry)) {
        let Some(first) = self.entries.front().map(|e| e.seq) else {
            return;
        };
        let index = seq.checked_sub(first).and_then(|i| usize::try_from(i).ok());
        if let Some(entry) = index.and_then(|i| self.entries.get_mut(i)) {
            change(entry);
        }
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        if self.violations.len() < CAPACITY {
            self.violations.push(violation);
        }
    }

    /// Entries with a number above `since`.
    pub(crate) fn since(&self, since: u64) -> Vec<LogEntry> {
        self.entries
            .iter()
            .filter(|e| e.seq > since)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self, endpoint: &str) -> usize {
        self.entries
            .iter()
            .filter(|e| e.endpoint == endpoint)
            .count()
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets everything; numbers go on.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.violations.clear();
        self.dropped = 0;
    }
}
