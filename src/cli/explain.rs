//! `fichierfs explain`: what a mount knows of a file or folder, and why reads of it waited.
//!
//! Costs no call to the service, and reads nothing.
use super::exit::Failure;
use super::files;
use super::output::{self, binary, counted, printable, say};
use crate::control::client::AskError;
use crate::control::explain::{Explained, FileReading, Held, Listed, OpenHandle, SlowRead, Times};
use crate::control::{self, Answer, Request};
use anyhow::Context;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take: it need not ask anybody.
const LIMIT: Duration = Duration::from_secs(5);

/// Ranges shown of each place.
const RANGES: usize = 6;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The fields of --json are explained in docs/explain.md.")]
pub struct Args {
    /// A file or folder in a mount
    pub path: PathBuf,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Explains.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (path, mut client) = files::server(&args.path)?;
    let what = || format!("cannot look at {}", path.display());
    let held = files::hold(&path).with_context(what)?;
    let inode = held.metadata().with_context(what)?.ino();
    let Answer::Explained(mut explained) = client.ask(&Request::Explain { inode }, LIMIT)? else {
        return Err(AskError::Malformed.into());
    };
    explained.path = path.to_string_lossy().into_owned();
    let text = if args.json {
        control::json_line(&explained)
    } else {
        page(&explained)
    };
    say(&text)
}

fn page(it: &Explained) -> String {
    let mut lines = vec![(
        "Id",
        match &it.url {
            Some(url) => format!("{} ({url}), inode {}", it.id, it.inode),
            None => format!("folder {}, inode {}", it.id, it.inode),
        },
    )];
    if it.gone {
        lines.push(("Gone", "from the account, since a program opened it".into()));
    }
    if it.kind == "file" {
        let hash = if it.whirlpool.is_some() {
            "its hash is known"
        } else {
            "the service did not say its hash"
        };
        lines.push(("Size", format!("{} bytes; {hash}", it.size)));
    }
    lines.push(("Listing", listing(&it.listing)));
    if let Some(reading) = &it.reading {
        lines.push(("Memory", held(&reading.memory, it.size)));
        match &reading.disk {
            Some(disk) => lines.push(("Disk", held(disk, it.size))),
            None => lines.push(("Disk", "no disk cache".into())),
        }
        lines.push(("Link", link(reading)));
        if !reading.coming.is_empty() {
            lines.push(("Coming", ranges(&reading.coming, reading.coming.len())));
        }
        if reading.handles.is_empty() {
            lines.push(("Open", "by nobody".into()));
        }
        for handle in &reading.handles {
            lines.extend(open(handle));
        }
    }
    format!("{}\n{}", printable(&it.path), output::table(&lines, 2, 9))
}

fn listing(listed: &Listed) -> String {
    let again = match listed.pause {
        0 => "may be listed again now".to_owned(),
        pause => format!("may be listed again in {pause} s"),
    };
    match (listed.age, listed.entries) {
        (Some(age), Some(entries)) => {
            let old = if age > listed.fresh_for {
                ", which is old: it is looked at again when somebody looks"
            } else {
                ""
            };
            let part = if listed.complete == Some(false) {
                ", a part of all"
            } else {
                ""
            };
            let entries = counted(entries, "entry", "entries");
            format!("{entries}{part}, {age} s old{old}; {again}")
        }
        _ if listed.kept == "disk" => format!("kept on disk, not in memory; {again}"),
        _ => format!("not known; {again}"),
    }
}

fn held(held: &Held, size: u64) -> String {
    if held.bytes == 0 {
        return "nothing".to_owned();
    }
    if held.bytes == size {
        return "all of it".to_owned();
    }
    format!(
        "{} ({} %): {}",
        binary(held.bytes),
        u128::from(held.bytes) * 100 / u128::from(size.max(1)),
        ranges(
            &held.first,
            usize::try_from(held.ranges).unwrap_or(usize::MAX)
        )
    )
}

fn ranges(first: &[(u64, u64)], all: usize) -> String {
    let mut shown: Vec<String> = first
        .iter()
        .take(RANGES)
        .map(|(start, end)| format!("{start}-{end}"))
        .collect();
    let more = all.saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn link(reading: &FileReading) -> String {
    let Some(link) = &reading.link else {
        return "none, nobody has read it lately".to_owned();
    };
    let mut text = match (link.age, link.left) {
        (Some(age), Some(left)) => format!("{age:.0} s old, good for {left:.0} s more"),
        _ if link.asking => "being asked for".to_owned(),
        _ => "none".to_owned(),
    };
    let _ = write!(text, "; {} asked for so far", link.issued);
    if let Some(refused) = &link.refused {
        let _ = write!(text, "; refused: {refused}");
    }
    text
}

fn open(handle: &OpenHandle) -> Vec<(&'static str, String)> {
    let state = if handle.closed { "Closed" } else { "Open" };
    let who = match handle.pid {
        _ if handle.lent => "the kernel reads the disk cache itself".to_owned(),
        0 => "nobody has read it yet".to_owned(),
        pid => format!("last read by {}", reader(pid)),
    };
    let mut lines = vec![(
        state,
        format!(
            "for {:.0} s, {who}: {} in {} reads, {} at once; {} from the service in {} ranges, {} \
             from disk",
            handle.age,
            binary(handle.asked_bytes),
            handle.reads,
            handle.hits,
            binary(handle.fetched_bytes),
            handle.ranges,
            binary(handle.from_disk_bytes)
        ),
    )];
    if handle.waited > 0.0 {
        lines.push((
            "",
            format!(
                "waited {:.2} s in all: {}",
                handle.waited,
                times(&handle.times)
            ),
        ));
    }
    lines.extend(
        handle
            .doing
            .iter()
            .map(|doing| ("", format!("now {doing}"))),
    );
    if let Some(last) = &handle.last_wait {
        lines.push(("", format!("last wait {}", wait(last))));
    }
    if let Some(longest) = handle.longest_wait.as_ref().filter(|it| {
        handle
            .last_wait
            .as_ref()
            .is_none_or(|last| last.offset != it.offset || last.seconds < it.seconds)
    }) {
        lines.push(("", format!("longest {}", wait(longest))));
    }
    if let Some(failure) = &handle.last_failure {
        lines.push((
            "",
            format!("{} ranges failed, the last: {failure}", handle.failures),
        ));
    }
    lines
}

/// A process with its name, if it still runs.
fn reader(pid: u32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (process {pid})", name.trim()),
        Err(_) => format!("process {pid}, which has ended"),
    }
}

fn wait(read: &SlowRead) -> String {
    let error = match &read.error {
        Some(error) => format!("; it failed: {error}"),
        None => String::new(),
    };
    format!(
        "{:.3} s, {:.0} s ago, {} bytes at {}: {}{error}",
        read.seconds,
        read.ago,
        read.length,
        read.offset,
        times(&read.times)
    )
}

/// What took time, the most first.
fn times(times: &Times) -> String {
    /// Seconds below which nothing is worth a word.
    const LEAST: f64 = 0.000_5;
    let mut each: Vec<_> = times
        .each()
        .into_iter()
        .filter(|(_, seconds)| *seconds >= LEAST)
        .collect();
    each.sort_by(|a, b| b.1.total_cmp(&a.1));
    if each.is_empty() {
        return "for what others had asked for".to_owned();
    }
    let each: Vec<String> = each
        .iter()
        .map(|(what, seconds)| format!("{seconds:.3} s {what}"))
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_why_a_read_waited() {
        let times = Times {
            queue: 1.5,
            first_byte: 0.25,
            ..Times::default()
        };
        let slow = SlowRead {
            offset: 4096,
            length: 131_072,
            seconds: 1.75,
            ago: 3.0,
            times,
            error: None,
        };
        let handle = OpenHandle {
            pid: std::process::id(),
            reads: 3,
            waited: 1.75,
            times,
            last_wait: Some(slow.clone()),
            longest_wait: Some(slow),
            doing: vec!["receives for 0.1 s".to_owned()],
            ..OpenHandle::default()
        };
        let text = page(&Explained {
            path: "/mnt/a\u{1b}[2J".to_owned(),
            kind: "file".to_owned(),
            url: Some("https://1fichier.com/?x".to_owned()),
            size: 1 << 20,
            reading: Some(FileReading {
                memory: Held {
                    bytes: 1 << 19,
                    ranges: 9,
                    first: vec![(0, 1 << 19); 9],
                },
                handles: vec![handle],
                ..FileReading::default()
            }),
            ..Explained::default()
        });
        for says in [
            &format!("(process {})", std::process::id()),
            "1.500 s waiting for its turn to ask for a link, 0.250 s until the first byte",
            "now receives",
            "(50 %)",
            "3 more",
            "nobody has read it lately",
            "no disk cache",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
        assert!(
            !text.contains('\u{1b}') && text.matches("longest").count() == 0,
            "{text}"
        );
    }
}
