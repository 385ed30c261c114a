//! The names of the metrics, and where each figure comes from.
use super::super::exposition::Kind::{Counter, Gauge, Info};
use super::super::exposition::{Sample, Value};
use super::{Metric, metric};
use crate::control::Status;
use crate::control::status::{DiskFigures, GateFigures};

/// All of them, in the order they are written in.
pub(super) const METRICS: &[Metric] = &[
    metric(
        Info,
        "fichierfs_mount",
        "",
        "Which mount this is.",
        &["account", "mountpoint", "version"],
        |s| {
            let labels = vec![
                ("account", s.mount.account.clone()),
                ("mountpoint", s.mount.mountpoint.clone()),
                ("version", s.mount.version.clone()),
            ];
            vec![Sample {
                labels,
                value: Value::Whole(1),
            }]
        },
    ),
    metric(
        Gauge,
        "fichierfs_mount_timestamp_seconds",
        "seconds",
        "When it was mounted, since 1970.",
        &[],
        |s| whole(s.mount.since),
    ),
    metric(
        Gauge,
        "fichierfs_draining",
        "",
        "1 when the mount is gone and its process only uploads the rest.",
        &[],
        |s| flag(s.writing.draining),
    ),
    metric(
        Gauge,
        "fichierfs_read_only",
        "",
        "1 when nothing can be changed.",
        &[],
        |s| flag(s.writing.read_only),
    ),
    // The account.
    metric(
        Gauge,
        "fichierfs_account_trouble",
        "",
        "1 when something is wrong with the account: see the status.",
        &[],
        |s| flag(s.trouble.is_some()),
    ),
    metric(
        Gauge,
        "fichierfs_account_stored_bytes",
        "bytes",
        "What the account stores.",
        &["storage"],
        |s| {
            s.account
                .iter()
                .flat_map(|it| [("cold", it.info.cold_storage), ("hot", it.info.hot_storage)])
                .map(|(storage, bytes)| labelled("storage", storage, bytes))
                .collect()
        },
    ),
    metric(
        Gauge,
        "fichierfs_account_available_bytes",
        "bytes",
        "What it has room for; negative when it stores too much.",
        &[],
        |s| {
            let available = s
                .account
                .as_ref()
                .and_then(|it| it.info.available_cold_storage);
            available
                .into_iter()
                .map(|bytes| plain(Value::Signed(bytes)))
                .collect()
        },
    ),
    metric(
        Gauge,
        "fichierfs_account_age_seconds",
        "seconds",
        "How long ago the service said so.",
        &[],
        |s| {
            s.account
                .iter()
                .map(|it| plain(Value::Whole(it.age_seconds)))
                .collect()
        },
    ),
    // Names.
    metric(
        Gauge,
        "fichierfs_tree_folders",
        "",
        "Folders known by name.",
        &[],
        |s| whole(s.tree.folders),
    ),
    metric(
        Gauge,
        "fichierfs_tree_folders_listed",
        "",
        "Folders whose entries are known, or were.",
        &[],
        |s| whole(s.tree.folders_listed),
    ),
    metric(
        Gauge,
        "fichierfs_tree_entries",
        "",
        "Entries of those.",
        &[],
        |s| whole(s.tree.entries),
    ),
    metric(
        Gauge,
        "fichierfs_tree_listings",
        "",
        "Folders whose entries are in memory.",
        &[],
        |s| whole(s.tree.listings),
    ),
    metric(
        Gauge,
        "fichierfs_tree_memory_bytes",
        "bytes",
        "Memory they take, about.",
        &[],
        |s| whole(s.tree.listing_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_tree_inodes",
        "",
        "Files and folders the kernel holds.",
        &[],
        |s| whole(s.tree.inodes),
    ),
    metric(
        Gauge,
        "fichierfs_tree_stored_bytes",
        "bytes",
        "Disk taken by what is kept for the next mount.",
        &[],
        |s| whole(s.tree.stored_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_tree_store_failing",
        "",
        "1 when the last attempt to keep something failed.",
        &[],
        |s| flag(s.tree.store_failing),
    ),
    metric(
        Gauge,
        "fichierfs_tree_store_damaged_records",
        "",
        "Damaged records that were set aside.",
        &[],
        |s| whole(s.tree.store_damaged),
    ),
    metric(
        Gauge,
        "fichierfs_crawl_stage",
        "",
        "1 for the stage the completing of the tree is in, 0 for the others.",
        &["stage"],
        |s| {
            states(
                "stage",
                &["off", "running", "paused", "full", "done"],
                &s.tree.crawl.stage,
            )
        },
    ),
    metric(
        Gauge,
        "fichierfs_crawl_waiting_folders",
        "",
        "Folders found and not listed yet.",
        &[],
        |s| whole(s.tree.crawl.waiting),
    ),
    metric(
        Gauge,
        "fichierfs_crawl_failed_folders",
        "",
        "Folders among them that failed and are tried again later.",
        &[],
        |s| whole(s.tree.crawl.failed),
    ),
    // Calls.
    metric(
        Counter,
        "fichierfs_api_calls",
        "",
        "Calls made to the service.",
        &["call"],
        |s| {
            s.calls
                .made
                .iter()
                .map(|(call, count)| labelled("call", call, *count))
                .collect()
        },
    ),
    metric(
        Counter,
        "fichierfs_api_answers",
        "",
        "Calls that were answered.",
        &[],
        |s| whole(s.calls.answered),
    ),
    metric(
        Counter,
        "fichierfs_api_lost",
        "",
        "Calls that ended without an answer.",
        &[],
        |s| whole(s.calls.lost),
    ),
    metric(
        Counter,
        "fichierfs_api_floods",
        "",
        "Answers that said: too many calls.",
        &[],
        |s| whole(s.calls.floods),
    ),
    metric(
        Counter,
        "fichierfs_api_refused",
        "",
        "Calls never made, because their turn would have come too late.",
        &[],
        |s| whole(s.calls.refused),
    ),
    metric(
        Gauge,
        "fichierfs_api_running",
        "",
        "Calls made and not answered yet.",
        &[],
        |s| whole(s.calls.running),
    ),
    metric(
        Gauge,
        "fichierfs_api_waiting",
        "",
        "Calls waiting for their turn.",
        &["urgency"],
        |s| {
            s.calls
                .waiting
                .each()
                .map(|(urgency, count)| labelled("urgency", urgency, count))
                .into()
        },
    ),
    metric(
        Gauge,
        "fichierfs_api_recent_calls",
        "",
        "Calls made lately, by earlier processes of the account too.",
        &["span"],
        |s| {
            vec![
                labelled("span", "hour", s.calls.last_hour),
                labelled("span", "day", s.calls.last_day),
            ]
        },
    ),
    metric(
        Gauge,
        "fichierfs_api_hourly_budget_calls",
        "",
        "Calls that an hour has room for at the present rate.",
        &[],
        |s| whole(s.calls.hour_most),
    ),
    metric(
        Gauge,
        "fichierfs_api_rate",
        "",
        "Calls a second at present, at most.",
        &[],
        |s| vec![plain(Value::Real(s.calls.rate))],
    ),
    metric(
        Gauge,
        "fichierfs_api_gate",
        "",
        "1 for the state of the gate: open (calls are made), shut (none), probing (a single one).",
        &["state"],
        |s| {
            let state = match s.calls.gate {
                GateFigures::Open => "open",
                GateFigures::Shut { .. } => "shut",
                GateFigures::Probing { .. } => "probing",
            };
            states("state", &["open", "shut", "probing"], state)
        },
    ),
    // Reading.
    metric(
        Counter,
        "fichierfs_read_bytes",
        "bytes",
        "Bytes that programs read.",
        &[],
        |s| whole(s.reading.asked_bytes),
    ),
    metric(
        Counter,
        "fichierfs_reads",
        "",
        "Reads, by whether they were answered from memory at once or had to wait.",
        &["answered"],
        |s| {
            vec![
                labelled("answered", "at_once", s.reading.hits),
                labelled("answered", "later", s.reading.waits),
            ]
        },
    ),
    metric(
        Counter,
        "fichierfs_downloaded_bytes",
        "bytes",
        "Bytes received from the service.",
        &[],
        |s| whole(s.reading.fetched_bytes),
    ),
    metric(
        Counter,
        "fichierfs_download_ranges",
        "",
        "Ranges of files requested from the service.",
        &[],
        |s| whole(s.reading.ranges),
    ),
    metric(
        Counter,
        "fichierfs_cache_read_bytes",
        "bytes",
        "Bytes brought from the disk cache to memory.",
        &[],
        |s| whole(s.reading.from_disk_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_downloads",
        "",
        "Files being downloaded.",
        &[],
        |s| whole(s.reading.downloading),
    ),
    metric(
        Gauge,
        "fichierfs_download_connections",
        "",
        "Download connections in use.",
        &[],
        |s| whole(s.reading.connections),
    ),
    metric(
        Gauge,
        "fichierfs_download_limit_bytes",
        "bytes",
        "Bytes a second that downloads may take together; absent when nothing limits them.",
        &[],
        |s| {
            s.reading
                .bwlimit_bytes
                .into_iter()
                .map(|bytes| plain(Value::Whole(bytes)))
                .collect()
        },
    ),
    metric(
        Gauge,
        "fichierfs_memory_bytes",
        "bytes",
        "Contents in memory.",
        &[],
        |s| whole(s.reading.memory_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_memory_budget_bytes",
        "bytes",
        "Contents in memory at most.",
        &[],
        |s| whole(s.reading.memory_budget_bytes),
    ),
    // The disk cache.
    metric(
        Gauge,
        "fichierfs_cache_bytes",
        "bytes",
        "What the disk cache takes.",
        &[],
        |s| disk(s, |it| it.bytes),
    ),
    metric(
        Gauge,
        "fichierfs_cache_budget_bytes",
        "bytes",
        "What it may take.",
        &[],
        |s| disk(s, |it| it.budget_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_cache_files",
        "",
        "Files of which it keeps something.",
        &[],
        |s| disk(s, |it| it.files),
    ),
    metric(
        Gauge,
        "fichierfs_cache_waiting_bytes",
        "bytes",
        "Bytes that wait to be written to it.",
        &[],
        |s| disk(s, |it| it.waiting_bytes),
    ),
    metric(
        Counter,
        "fichierfs_cache_not_kept",
        "",
        "Times something was not kept: too much waiting, no room, or the disk failing.",
        &[],
        |s| disk(s, |it| it.not_kept),
    ),
    metric(
        Counter,
        "fichierfs_cache_written_blocks",
        "",
        "Blocks of 64 KiB written.",
        &[],
        |s| disk(s, |it| it.written_blocks),
    ),
    metric(
        Counter,
        "fichierfs_cache_evicted_blocks",
        "",
        "Blocks that had to go for others.",
        &[],
        |s| disk(s, |it| it.evicted_blocks),
    ),
    metric(
        Counter,
        "fichierfs_cache_damaged_blocks",
        "",
        "Blocks found damaged.",
        &[],
        |s| disk(s, |it| it.damaged_blocks),
    ),
    metric(
        Gauge,
        "fichierfs_cache_trouble",
        "",
        "1 when the disk is not used because something is wrong with it.",
        &[],
        |s| disk(s, |it| it.problem.is_some().into()),
    ),
    // Writing.
    metric(
        Counter,
        "fichierfs_uploaded_bytes",
        "bytes",
        "Bytes handed over to the service.",
        &[],
        |s| whole(s.writing.uploaded_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_uploads",
        "",
        "Files being uploaded.",
        &[],
        |s| whole(s.writing.uploading),
    ),
    metric(
        Gauge,
        "fichierfs_outbox_waiting",
        "",
        "Files and folders the account has to be told of, refused ones included.",
        &[],
        |s| whole(s.writing.waiting),
    ),
    metric(
        Gauge,
        "fichierfs_outbox_waiting_bytes",
        "bytes",
        "Bytes among them that are to be uploaded.",
        &[],
        |s| whole(s.writing.waiting_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_outbox_refused",
        "",
        "Files and folders the account did not take, which wait for somebody to decide.",
        &[],
        |s| whole(s.writing.failed),
    ),
    metric(
        Gauge,
        "fichierfs_staging_bytes",
        "bytes",
        "Bytes staged on disk.",
        &[],
        |s| whole(s.writing.staging_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_staging_budget_bytes",
        "bytes",
        "Bytes staged at most.",
        &[],
        |s| whole(s.writing.staging_budget_bytes),
    ),
    metric(
        Gauge,
        "fichierfs_staging_lost_files",
        "",
        "Staging files set aside after damage.",
        &[],
        |s| whole(s.writing.staging_lost),
    ),
];

fn plain(value: Value) -> Sample {
    Sample {
        labels: Vec::new(),
        value,
    }
}

fn whole(value: u64) -> Vec<Sample> {
    vec![plain(Value::Whole(value))]
}

fn flag(is_set: bool) -> Vec<Sample> {
    whole(is_set.into())
}

fn labelled(label: &'static str, value: &str, count: u64) -> Sample {
    Sample {
        labels: vec![(label, value.to_owned())],
        value: Value::Whole(count),
    }
}

/// 1 for the state something is in, 0 for the others.
fn states(label: &'static str, all: &[&str], now: &str) -> Vec<Sample> {
    let states = all.iter();
    states
        .map(|state| labelled(label, state, (*state == now).into()))
        .collect()
}

fn disk(status: &Status, read: impl Fn(&DiskFigures) -> u64) -> Vec<Sample> {
    let disk = status.reading.disk.iter();
    disk.map(|disk| plain(Value::Whole(read(disk)))).collect()
}
