//! What a mount tells of itself: the figures behind `fichierfs status` and its `--json`.
//!
//! Promises: names and meanings here stay as they are, whatever happens inside the parts; new figures
//! are added, and one that a mount of another version does not tell is zero or absent. Units are in the
//! names; times are seconds since 1970; counters begin with the mount's process.
use super::unsent::WriteFigures;
use super::{AccountAnswer, Pong};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A mount's figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Who serves it.
    pub mount: Pong,
    /// Names and attributes.
    pub tree: TreeFigures,
    /// Calls to the service.
    pub calls: CallFigures,
    /// File contents.
    pub reading: ReadFigures,
    /// What the account does not have yet.
    pub writing: WriteFigures,
    /// What the service last said of the account; absent before it said anything.
    pub account: Option<AccountAnswer>,
    /// What is wrong with the account (a refused key, a subscription that ended), in a line for people;
    /// absent while nothing is known to be.
    pub trouble: Option<String>,
}

/// Names and attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TreeFigures {
    /// Folders known by name.
    pub folders: u64,
    /// Those of them whose entries are known, or were.
    pub folders_listed: u64,
    /// Entries of those.
    pub entries: u64,
    /// How the tree is being completed.
    pub crawl: CrawlFigures,
    /// Folders beyond one listing of the service that are being listed in slices, or of which it
    /// cannot show all.
    pub large: Vec<LargeFigures>,
    /// Folders whose entries are in memory.
    pub listings: u64,
    /// Bytes of memory they take, about.
    pub listing_bytes: u64,
    /// Files and folders the kernel holds.
    pub inodes: u64,
    /// Folders being looked at again in the background.
    pub refreshing: u64,
    /// Bytes on disk of what is kept for the next mount.
    pub stored_bytes: u64,
    /// Whether the last attempt to keep something failed.
    pub store_failing: bool,
    /// How often what was kept had to be thrown away.
    pub store_rebuilt: u64,
    /// Damaged records that exist nowhere else and were set aside, now or by earlier mounts.
    pub store_damaged: u64,
}

/// How the tree is being completed in the background.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrawlFigures {
    /// `off`, `running`, `paused`, `full` or `done`.
    pub stage: String,
    /// Folders found and not listed yet.
    pub waiting: u64,
    /// Those of them that failed and are tried again later.
    pub failed: u64,
    /// Seconds until those that wait are listed, if nothing else is asked of the service.
    pub seconds_left: u64,
}

/// A folder beyond one listing of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LargeFigures {
    /// Its number in the account.
    pub folder: u64,
    /// Files found so far by the listing under way.
    pub found: u64,
    /// Files it holds, as the service says.
    pub expected: Option<u64>,
    /// Slices known.
    pub slices: u64,
    /// Slices to come, as far as is known; each takes 30 seconds.
    pub slices_left: u64,
    /// Whether the last listing could not show all of it.
    pub is_part: bool,
}

/// Calls to the service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFigures {
    /// Calls waiting for their turn.
    pub waiting: WaitingFigures,
    /// Calls made and not answered yet.
    pub running: u64,
    /// Calls made, by name.
    pub made: BTreeMap<String, u64>,
    /// Calls answered.
    pub answered: u64,
    /// Calls that ended without an answer.
    pub lost: u64,
    /// Answers that said "too many calls".
    pub floods: u64,
    /// Calls never made, because their turn would have come too late.
    pub refused: u64,
    /// Whether calls may be made.
    pub gate: GateFigures,
    /// Calls per second at present, at most.
    pub rate: f64,
    /// Of them in the background.
    pub background_rate: f64,
    /// Calls that may start at once, unless the gate is shut; 3 at most.
    pub free: u64,
    /// Calls made in the last hour, by earlier processes too.
    pub last_hour: u64,
    /// Calls that an hour has room for at the present rate.
    pub hour_most: u64,
    /// Calls made in the last day, by earlier processes too.
    pub last_day: u64,
    /// Folders that were listed less than 30 seconds ago.
    pub folders_held: u64,
}

/// Calls waiting, by urgency, the most urgent first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingFigures {
    /// For a download link.
    pub token: u64,
    /// For a change.
    pub change: u64,
    /// For names or figures someone waits for.
    pub wanted: u64,
    /// To look again.
    pub refresh: u64,
    /// To complete the tree.
    pub crawl: u64,
}

impl WaitingFigures {
    /// The names and figures in their order.
    pub fn each(&self) -> [(&'static str, u64); 5] {
        [
            ("token", self.token),
            ("change", self.change),
            ("wanted", self.wanted),
            ("refresh", self.refresh),
            ("crawl", self.crawl),
        ]
    }
}

/// Whether calls may be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GateFigures {
    /// They may.
    #[default]
    Open,
    /// None before the time given.
    Shut {
        /// Why: `flood`, `banned`, `owner_locked`, `maintenance` or `unknown`.
        cause: String,
        /// Until when, in seconds since 1970.
        until: u64,
    },
    /// One alone, whose answer decides.
    Probing {
        /// Why it was shut.
        cause: String,
    },
}

/// The causes of `docs/status.md` in words.
pub fn because(cause: &str) -> &str {
    match cause {
        "flood" => "the service said \"too many calls\"",
        "banned" => "the service has locked this address",
        "owner_locked" => "the service said \"owner locked\"",
        "maintenance" => "the service is in maintenance",
        "down" => "the service only answers with failures",
        "unknown" => "nothing is known of earlier calls",
        other => other,
    }
}

/// File contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadFigures {
    /// Bytes asked for by programs.
    pub asked_bytes: u64,
    /// Bytes received from the service.
    pub fetched_bytes: u64,
    /// Bytes per second received lately.
    pub bytes_per_second: u64,
    /// Files being downloaded.
    pub downloading: u64,
    /// Those, or the fastest of them.
    pub downloads: Vec<DownloadFigures>,
    /// Bytes brought from disk to memory.
    pub from_disk_bytes: u64,
    /// Reads answered from memory at once.
    pub hits: u64,
    /// Reads that had to wait.
    pub waits: u64,
    /// Ranges requested from the service.
    pub ranges: u64,
    /// Download connections in use.
    pub connections: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes in memory at most.
    pub memory_budget_bytes: u64,
    /// Bytes per second that downloads may take together; absent when nothing limits them.
    pub bwlimit_bytes: Option<u64>,
    /// The disk cache; absent when there is none.
    pub disk: Option<DiskFigures>,
}

/// A file that is being downloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DownloadFigures {
    /// Where it is shown, from the mountpoint on; its id when that is not known.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Up to where it was read last.
    pub position_bytes: u64,
    /// Bytes of it that were received since it was opened.
    pub fetched_bytes: u64,
    /// Bytes per second received lately.
    pub bytes_per_second: u64,
    /// Ranges under way.
    pub ranges: u64,
    /// How often it is open.
    pub readers: u64,
}

/// The disk cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskFigures {
    /// Bytes it takes.
    pub bytes: u64,
    /// Bytes it may take.
    pub budget_bytes: u64,
    /// Files of which something is kept.
    pub files: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Times something was not kept: too much waiting, no room, or the disk failing.
    pub not_kept: u64,
    /// Blocks written.
    pub written_blocks: u64,
    /// Blocks that had to go for others.
    pub evicted_blocks: u64,
    /// Blocks found damaged, which are fetched anew when somebody reads them.
    pub damaged_blocks: u64,
    /// Why the disk is not used, and what to do; absent when it is.
    pub problem: Option<String>,
}

/// One mount as `status` found it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Where it is mounted.
    pub mountpoint: String,
    /// The account's name.
    pub account: String,
    /// Whether its process answered.
    pub answers: bool,
    /// Why it did not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// The document `status --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// All mounts asked for.
    pub mounts: Vec<Found>,
}

impl Document {
    /// As indented JSON with a line break at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("names and figures always have a form in JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_does_not_tell_is_zero_and_what_it_tells_more_is_passed_over() {
        let old = r#"{"mount":{"pid":7,"mood":"fine"},"calls":{"gate":{"state":"shut","cause":"flood","until":9}}}"#;
        let status: Status = serde_json::from_str(old).unwrap();
        assert_eq!(status.mount.pid, 7);
        let cause = "flood".to_owned();
        assert_eq!(status.calls.gate, GateFigures::Shut { cause, until: 9 });
        assert_eq!(status.tree, TreeFigures::default());
    }

    #[test]
    fn the_document_comes_back_whole() {
        let status = Status {
            reading: ReadFigures {
                disk: Some(DiskFigures::default()),
                ..ReadFigures::default()
            },
            ..Status::default()
        };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }
}
