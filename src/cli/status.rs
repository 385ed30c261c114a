//! `fichierfs status`: how mounts are doing, from what their processes say.
//!
//! Promises: no call to the service is made and no mount is touched, so that it answers also while
//! everything else waits.
mod transfers;
mod watch;
mod writing;

use super::exit::Failure;
use super::mounts;
use super::output::{self, binary, counted, decimal, printable, say};
use crate::config::AccountName;
use crate::control::client::AskError;
use crate::control::status::{
    CallFigures, DiskFigures, Document, Found, GateFigures, LargeFigures, ReadFigures, TreeFigures,
    because,
};
use crate::control::{AccountAnswer, Answer, Client, Pong, Request, Status};
use crate::mount::mountinfo::{self, Entry};
use crate::mount::stale::{self, Life};
use crate::util::clock::Clock;
use crate::util::human::span;
use anyhow::{Context, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take: it need not ask anybody.
const LIMIT: Duration = Duration::from_secs(5);

/// Between two slices of a large folder: the service lists a folder once in that time.
const SLICE_SECONDS: u64 = 30;

/// Lines of one kind at most: the rest is counted.
const LINES: usize = 8;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without arguments all mounts are shown: for root those of this machine, else \
    your own. The exit code is 1 when one of them does not answer. The fields of --json are \
    explained in docs/status.md.\n\n\
    --watch draws in place on a terminal; elsewhere it writes the whole again each time, with --json \
    one document a line."
)]
pub struct Args {
    /// Where the account is mounted
    #[arg(conflicts_with = "account")]
    pub mountpoint: Option<PathBuf>,

    /// The mounts of this account
    #[arg(long, value_name = "NAME")]
    pub account: Option<AccountName>,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// Show it again and again, every second or as often as said, until Ctrl-C or until what is shown
    /// has gone
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true,
          default_missing_value = "1s", value_parser = watch::interval)]
    pub watch: Option<Duration>,
}

/// Shows the status.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(interval) = args.watch {
        return watch::run(args, interval);
    }
    let mounts = found(args)?;
    let all_answer = mounts.iter().all(|mount| mount.answers);
    let text = if args.json {
        Document { mounts }.to_json()
    } else {
        pages(&mounts)
    };
    say(&text)?;
    if all_answer {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::explained(super::exit::FAILURE))
    }
}

/// All mounts for people.
fn pages(mounts: &[Found]) -> String {
    if mounts.is_empty() {
        return "nothing is mounted\n".to_owned();
    }
    let zone = TimeZone::system();
    let now = Timestamp::now();
    let shown: Vec<String> = mounts.iter().map(|found| page(found, &zone, now)).collect();
    shown.join("\n")
}

/// What is to be shown: the mounts asked for, and processes that still upload for one that is gone.
fn found(args: &Args) -> anyhow::Result<Vec<Found>> {
    let draining = match args.mountpoint {
        Some(_) => Vec::new(),
        None => mounts::draining(args.account.as_ref()),
    };
    let mut found: Vec<Found> = match chosen(args) {
        Ok(entries) => entries.iter().map(look).collect(),
        // Its mount is gone; the account is not.
        Err(_) if !draining.is_empty() => Vec::new(),
        Err(error) => return Err(error),
    };
    found.extend(draining.into_iter().map(|(mut client, pong)| Found {
        mountpoint: pong.mountpoint,
        account: pong.account,
        ..answered(ask(&mut client))
    }));
    Ok(found)
}

/// The mounts asked for.
fn chosen(args: &Args) -> anyhow::Result<Vec<Entry>> {
    let mut all = mounts::all().context("cannot read the table of mounts")?;
    if let Some(given) = &args.mountpoint {
        let mountpoint = mountinfo::canonical(given)
            .with_context(|| format!("cannot look at {}", given.display()))?;
        let top = mountinfo::top_at(&mountpoint)?.filter(Entry::is_ours);
        let top = top
            .ok_or_else(|| anyhow!("no account is mounted at {} by fichierfs", given.display()))?;
        return Ok(vec![top]);
    }
    if let Some(account) = &args.account {
        all.retain(|entry| entry.account() == Some(account.as_str()));
        if all.is_empty() {
            return Err(anyhow!("the account `{account}` is not mounted"));
        }
        return Ok(all);
    }
    let user = nix::unistd::geteuid();
    all.retain(|entry| user.is_root() || entry.owner == Some(user.as_raw()));
    Ok(all)
}

/// Asks one mount.
fn look(entry: &Entry) -> Found {
    let asked = match mounts::server_of(entry) {
        Some((mut client, _)) => ask(&mut client),
        None => Err(silence(entry)),
    };
    Found {
        mountpoint: entry.mountpoint.to_string_lossy().into_owned(),
        account: entry.account().unwrap_or_default().to_owned(),
        ..answered(asked)
    }
}

fn ask(client: &mut Client) -> Result<Status, String> {
    match client.ask(&Request::Status, LIMIT) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(_) => Err(AskError::Malformed.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What somebody answered, or why nobody did, of a mount yet to be named.
fn answered(asked: Result<Status, String>) -> Found {
    let (status, problem) = match asked {
        Ok(status) => (Some(status), None),
        Err(problem) => (None, Some(problem)),
    };
    Found {
        mountpoint: String::new(),
        account: String::new(),
        answers: status.is_some(),
        problem,
        status,
    }
}

/// Why nobody answers for a mount, and what to do.
fn silence(entry: &Entry) -> String {
    let user = nix::unistd::geteuid();
    let place = entry.mountpoint.display();
    if !user.is_root() && entry.owner != Some(user.as_raw()) {
        return "it belongs to another user; ask as that user or as root".into();
    }
    match stale::probe(&entry.mountpoint, Clock::system()) {
        Life::Dead => format!("its process is gone; run: fichierfs umount {place}"),
        Life::Silent => {
            format!("its process does not answer; run: fichierfs umount --lazy {place}")
        }
        Life::Alive => "it serves files, but its process cannot be asked; see its log".into(),
    }
}

/// One mount for people.
fn page(found: &Found, zone: &TimeZone, now: Timestamp) -> String {
    let mut text = format!("{}\n", printable(&found.mountpoint));
    let lines = lines(found, zone, now);
    text.push_str(&output::table(&lines, 2, 11));
    text
}

/// What is known of a mount, line by line.
fn lines(found: &Found, zone: &TimeZone, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Account", account_line(found))];
    if let Some(problem) = &found.problem {
        lines.push(("Problem", problem.clone()));
    }
    if let Some(status) = &found.status {
        let calls = &status.calls;
        lines.push(("Process", process(&status.mount, zone, now)));
        if let Some(trouble) = &status.trouble {
            lines.push(("Problem", trouble.clone()));
        }
        lines.push(("Names", names(&status.tree)));
        lines.push(("Kept", kept(&status.tree)));
        lines.extend(crawl(&status.tree).map(|line| ("Tree", line)));
        for folder in &status.tree.large {
            lines.push(("Large", large(folder)));
        }
        lines.push(("Calls", made(calls)));
        lines.push(("Waiting", waiting(calls)));
        lines.push(("Gate", gate(&calls.gate, zone, now)));
        lines.push(("Contents", contents(&status.reading)));
        if let Some(disk) = &status.reading.disk {
            lines.push(("Disk cache", disk_line(disk)));
        }
        lines.extend(transfers::downloads(&status.reading));
        lines.extend(writing::lines(&status.writing));
        if let Some(page) = &status.mount.page {
            lines.push(("Page", page.clone()));
        }
    }
    lines
}

/// How many of `what` are not shown, if any.
fn more(all: u64, what: &str) -> Option<(&'static str, String)> {
    let more = all.saturating_sub(LINES as u64);
    (more > 0).then(|| ("", format!("{more} more {what}")))
}

fn account_line(found: &Found) -> String {
    let said = found.status.as_ref().and_then(|it| it.account.as_ref());
    let Some(AccountAnswer { info, age_seconds }) = said else {
        return found.account.clone();
    };
    let free = match info.available_cold_storage.map(u64::try_from) {
        None => String::new(),
        Some(Ok(free)) => format!(", {} free", decimal(free)),
        Some(Err(_)) => ", nothing free".to_owned(),
    };
    format!(
        "{}, {}, {} used{free} (as of {} ago)",
        found.account,
        info.offer,
        decimal(info.cold_storage.saturating_add(info.hot_storage)),
        span(*age_seconds),
    )
}

fn process(mount: &Pong, zone: &TimeZone, now: Timestamp) -> String {
    let up = seconds_since_1970(now).saturating_sub(mount.since);
    format!(
        "{}, fichierfs {}, since {} ({})",
        mount.pid,
        mount.version,
        clock(mount.since, zone, now),
        span(up)
    )
}

fn names(tree: &TreeFigures) -> String {
    let refreshing = match tree.refreshing {
        0 => String::new(),
        count => format!(", {count} being looked at again"),
    };
    let folders = counted(tree.folders, "folder", "folders");
    format!(
        "{folders} known, the entries of {} in memory ({}){refreshing}",
        tree.listings,
        binary(tree.listing_bytes)
    )
}

fn kept(tree: &TreeFigures) -> String {
    let mut text = format!("{} on disk", binary(tree.stored_bytes));
    if tree.store_failing {
        text.push_str(", the last listings could not be written: see the log");
    }
    if tree.store_rebuilt > 0 {
        text.push_str(", was damaged or of another version and comes again from the account");
    }
    if tree.store_damaged > 0 {
        let records = counted(tree.store_damaged, "record", "records");
        let _ = write!(text, ", {records} set aside after damage");
    }
    text
}

/// How far the tree is known, unless there is nothing to tell.
fn crawl(tree: &TreeFigures) -> Option<String> {
    let crawl = &tree.crawl;
    let folders = counted(tree.folders, "folder", "folders");
    let known = format!("{} of {folders} listed", tree.folders_listed);
    let failed = match crawl.failed {
        0 => String::new(),
        count => format!(", {count} to be tried again"),
    };
    let left = span(crawl.seconds_left);
    match crawl.stage.as_str() {
        "running" if crawl.waiting == 0 => None,
        "running" => Some(format!("{known}{failed}, the rest in {left} or more")),
        "paused" => Some(format!("{known}{failed}, waiting after trouble")),
        "full" => Some(format!("{known}, the memory holds no more")),
        _ => None,
    }
}

fn large(folder: &LargeFigures) -> String {
    let number = folder.folder;
    if folder.slices == 0 && folder.slices_left == 0 {
        return format!("folder {number} is known in part only, the service shows no more of it");
    }
    let expected = folder.expected;
    let of = expected.map_or_else(String::new, |all| format!(" of {all}"));
    format!(
        "folder {number} is being listed: {}{of} files, {} or more to go",
        folder.found,
        span(folder.slices_left.saturating_mul(SLICE_SECONDS))
    )
}

fn made(calls: &CallFigures) -> String {
    let total: u64 = calls.made.values().sum();
    let mut text = format!("{total} made, at most {:.1} a second now", calls.rate);
    if calls.hour_most > 0 {
        let CallFigures {
            last_hour,
            hour_most,
            last_day,
            ..
        } = calls;
        let _ = write!(
            text,
            "; {last_hour} in the last hour, which has room for {hour_most}, {last_day} in the last day"
        );
    }
    for (count, what) in [
        (calls.floods, "answered with \"too many\""),
        (calls.lost, "without an answer"),
        (calls.refused, "not made in time"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn waiting(calls: &CallFigures) -> String {
    let each: Vec<String> = calls
        .waiting
        .each()
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let waiting = if each.is_empty() {
        "none".to_owned()
    } else {
        each.join(", ")
    };
    format!("{waiting}; {} under way", calls.running)
}

fn gate(gate: &GateFigures, zone: &TimeZone, now: Timestamp) -> String {
    match gate {
        GateFigures::Open => "open".to_owned(),
        GateFigures::Shut { cause, until } => format!(
            "shut until {} (for {}): {}",
            clock(*until, zone, now),
            span(until.saturating_sub(seconds_since_1970(now))),
            because(cause)
        ),
        GateFigures::Probing { cause } => {
            format!("trying a single call: {}", because(cause))
        }
    }
}

fn contents(reading: &ReadFigures) -> String {
    let limit = reading.bwlimit_bytes.map_or_else(String::new, |rate| {
        format!(", at most {} a second", binary(rate))
    });
    let speed = match reading.bytes_per_second {
        0 => String::new(),
        speed => format!(", {}/s now", binary(speed)),
    };
    format!(
        "{} read, {} of it downloaded{speed}{limit}; {} of {} memory, {}",
        binary(reading.asked_bytes),
        binary(reading.fetched_bytes),
        binary(reading.memory_bytes),
        binary(reading.memory_budget_bytes),
        counted(reading.connections, "connection", "connections"),
    )
}

fn disk_line(disk: &DiskFigures) -> String {
    let problem = match &disk.problem {
        None => String::new(),
        Some(problem) => format!("; not used: {problem}"),
    };
    format!(
        "{} of {}, {}{problem}",
        binary(disk.bytes),
        binary(disk.budget_bytes),
        counted(disk.files, "file", "files")
    )
}

/// A time as the clock on the wall shows it, with the day when it is another one.
fn clock(seconds: u64, zone: &TimeZone, now: Timestamp) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    let Some(time) = time else {
        return "a time no clock shows".to_owned();
    };
    let (time, now) = (time.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = if time.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.strftime(form).to_string()
}

fn seconds_since_1970(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
