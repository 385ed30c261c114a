//! The page for people. Plain HTML, whole at once, without a script: it loads itself again.
//!
//! Promises: every text of others is escaped, and no character of it moves what stands around it; headings,
//! table headers and progress elements say to a reader of the screen what they say to the eye.
use crate::control::Status;
use crate::control::status::{DownloadFigures, GateFigures, LargeFigures, because};
use crate::control::unsent::UploadFigures;
use crate::util::human::{binary, counted, decimal, is_unruly, percent, seconds_left, span};
use jiff::{Timestamp, Zoned};
use std::fmt::{self, Display, Write as _};

/// Seconds until the page loads itself again.
const REFRESH: u32 = 2;

/// Rows of one kind at most: the rest is counted.
const ROWS: usize = 20;

/// Seconds beyond which it is not told how long something takes: it is a guess.
const LONGEST_LEFT: u64 = 365 * 24 * 3600;

/// A text of others, as text.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_unruly(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page as of `now`; `still` does not load itself again.
pub(super) fn page(status: &Status, still: bool, now: &Zoned) -> String {
    let mut html = Html::default();
    head(&mut html, status, still);
    header(&mut html, status, now);
    html.add(format_args!("<main>\n"));
    tiles(&mut html, status);
    transfers(&mut html, status);
    refused(&mut html, status);
    html.add(format_args!("<div class=\"columns\">\n"));
    room(&mut html, status);
    calls(&mut html, status, now);
    names(&mut html, status);
    html.add(format_args!("</div>\n</main>\n"));
    footer(&mut html, still, now);
    html.0
}

/// What was written so far.
#[derive(Debug, Default)]
struct Html(String);

impl Html {
    fn add(&mut self, what: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(what);
    }

    /// A section with its heading.
    fn section(&mut self, id: &str, heading: &str, inside: impl FnOnce(&mut Self)) {
        self.add(format_args!(
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n"
        ));
        inside(self);
        self.add(format_args!("</section>\n"));
    }

    /// What something is, and its value.
    fn fact(&mut self, what: &str, value: impl AsRef<str>) {
        let value = Text(value.as_ref());
        self.add(format_args!("<div><dt>{what}</dt><dd>{value}</dd></div>\n"));
    }
}

fn head(html: &mut Html, status: &Status, still: bool) {
    let refresh = if still {
        String::new()
    } else {
        format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n")
    };
    let title = match (&state(status), overall(status)) {
        (State::Bad(_), _) => "! ".to_owned(),
        (_, Some(percent)) => format!("{percent} % "),
        _ => String::new(),
    };
    html.add(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n{refresh}\
         <title>{title}{} - fichierfs</title>\n\
         <link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n",
        Text(&status.mount.mountpoint)
    ));
}

/// How much of what is to be uploaded was sent, if there is anything.
fn overall(status: &Status) -> Option<u64> {
    let writing = &status.writing;
    (writing.waiting_bytes > 0).then(|| percent(writing.sent_bytes, writing.waiting_bytes))
}

/// How it is, in a sentence.
enum State {
    Good(String),
    Busy(String),
    Bad(String),
}

fn state(status: &Status) -> State {
    let writing = &status.writing;
    let going = writing.waiting.saturating_sub(writing.failed);
    if let Some(trouble) = &status.trouble {
        return State::Bad(trouble.clone());
    }
    if writing.failed > 0 {
        let what = counted(writing.failed, "file or folder", "files and folders");
        return State::Bad(format!("The account did not take {what}"));
    }
    if let Some(problem) = status
        .reading
        .disk
        .as_ref()
        .and_then(|it| it.problem.as_ref())
    {
        return State::Bad(format!("The disk cache is not used: {problem}"));
    }
    match going {
        0 if writing.draining => {
            State::Busy("The mount is gone; its process is about to end".into())
        }
        0 if writing.read_only => State::Good("Mounted to be read".into()),
        0 => State::Good("The account has everything".into()),
        going if writing.read_only => State::Busy(format!(
            "{} of an earlier mount wait for one that may write",
            counted(going, "change", "changes")
        )),
        going => {
            let what = counted(going, "file or folder", "files and folders");
            let gone = if writing.draining {
                "; the mount itself is gone"
            } else {
                ""
            };
            State::Busy(format!("{what} on the way to the account{gone}"))
        }
    }
}

fn header(html: &mut Html, status: &Status, now: &Zoned) {
    let mount = &status.mount;
    let (class, said) = match state(status) {
        State::Good(said) => ("good", said),
        State::Busy(said) => ("busy", said),
        State::Bad(said) => ("bad", said),
    };
    let account = status.account.as_ref();
    let offer = account.map_or_else(String::new, |it| format!(", {}", it.info.offer));
    let up = unix(now).saturating_sub(mount.since);
    html.add(format_args!(
        "<header>\n<h1>{}</h1>\n<p class=\"state {class}\">{}</p>\n\
         <p class=\"about\">Account <b>{}</b>{} · mounted since {} ({}) · process {} · fichierfs {}</p>\n</header>\n",
        Text(&mount.mountpoint),
        Text(&said),
        Text(&mount.account),
        Text(&offer),
        clock(mount.since, now),
        span(up),
        mount.pid,
        Text(&mount.version),
    ));
}

fn tiles(html: &mut Html, status: &Status) {
    let (reading, writing, calls) = (&status.reading, &status.writing, &status.calls);
    let queue = match writing.waiting_bytes {
        0 => "nothing to upload".to_owned(),
        bytes => format!("{} of {} sent", binary(writing.sent_bytes), binary(bytes)),
    };
    let down = match reading.bwlimit_bytes {
        Some(limit) => format!("at most {}/s", binary(limit)),
        None => format!("{} since mounted", binary(reading.fetched_bytes)),
    };
    html.add(format_args!("<ul class=\"tiles\">\n"));
    for (what, value, more) in [
        (
            "Down",
            format!("{}/s", binary(reading.bytes_per_second)),
            down,
        ),
        (
            "Up",
            format!("{}/s", binary(writing.bytes_per_second)),
            format!("{} since mounted", binary(writing.uploaded_bytes)),
        ),
        ("Queue", writing.waiting.to_string(), queue),
        (
            "Calls",
            calls.last_hour.to_string(),
            format!("in the last hour, of {}", calls.hour_most),
        ),
    ] {
        html.add(format_args!(
            "<li><span>{what}</span> <b>{value}</b> <small>{more}</small></li>\n"
        ));
    }
    html.add(format_args!("</ul>\n"));
}

/// A row of the table of transfers.
struct Row<'a> {
    kind: &'static str,
    sign: char,
    path: &'a str,
    done: u64,
    bytes: u64,
    speed: u64,
    note: String,
}

impl<'a> Row<'a> {
    fn up(it: &'a UploadFigures) -> Self {
        let left = seconds_left(it.sent_bytes, it.bytes, it.bytes_per_second);
        let left = left.filter(|left| *left < LONGEST_LEFT);
        let note = match left {
            _ if it.sent_bytes >= it.bytes => "to be confirmed".to_owned(),
            Some(left) => format!("{} left", span(left)),
            None => "waiting".to_owned(),
        };
        Self {
            kind: "upload",
            sign: '\u{2191}',
            path: &it.path,
            done: it.sent_bytes,
            bytes: it.bytes,
            speed: it.bytes_per_second,
            note,
        }
    }

    fn down(it: &'a DownloadFigures) -> Self {
        Self {
            kind: "download",
            sign: '\u{2193}',
            path: &it.path,
            done: it.position_bytes,
            bytes: it.bytes,
            speed: it.bytes_per_second,
            note: counted(it.ranges, "connection", "connections"),
        }
    }

    fn write(&self, html: &mut Html) {
        let percent = percent(self.done, self.bytes);
        html.add(format_args!(
            "<tr class=\"{kind}\"><th scope=\"row\"><span class=\"sign\" role=\"img\" aria-label=\"{kind}\">\
             {sign}</span> {path}</th>\
             <td class=\"bar\"><progress max=\"100\" value=\"{percent}\" aria-label=\"{path}\">{percent} %</progress></td>\
             <td class=\"part\">{percent} %</td><td class=\"size\">of {size}</td>\
             <td class=\"speed\">{speed}</td><td class=\"note\">{note}</td></tr>\n",
            kind = self.kind,
            sign = self.sign,
            path = Text(self.path),
            size = binary(self.bytes),
            speed = match self.speed {
                0 => "\u{2013}".to_owned(),
                speed => format!("{}/s", binary(speed)),
            },
            note = self.note,
        ));
    }
}

fn transfers(html: &mut Html, status: &Status) {
    let (reading, writing) = (&status.reading, &status.writing);
    html.section("transfers", "On the way", |html| {
        let downs = reading.downloads.iter().take(ROWS).map(Row::down);
        let ups = writing.uploads.iter().take(ROWS).map(Row::up);
        let rows: Vec<Row<'_>> = downs.chain(ups).collect();
        if rows.is_empty() {
            html.add(format_args!("<p class=\"none\">No file is being transferred.</p>\n"));
            return;
        }
        html.add(format_args!(
            "<table class=\"transfers\">\n<thead><tr><th scope=\"col\">File</th><th scope=\"col\">Progress</th>\
             <th scope=\"col\">Done</th><th scope=\"col\">Size</th><th scope=\"col\">Speed</th>\
             <th scope=\"col\">Remark</th></tr></thead>\n<tbody>\n"
        ));
        for row in &rows {
            row.write(html);
        }
        html.add(format_args!("</tbody>\n</table>\n"));
        let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let more = (reading.downloading + writing.uploading).saturating_sub(shown);
        if more > 0 {
            html.add(format_args!("<p class=\"none\">{more} more</p>\n"));
        }
    });
}

fn refused(html: &mut Html, status: &Status) {
    let writing = &status.writing;
    if writing.failed == 0 {
        return;
    }
    html.section("refused", "Not taken by the account", |html| {
        html.add(format_args!(
            "<table>\n<thead><tr><th scope=\"col\">File or folder</th><th scope=\"col\">Why</th></tr></thead>\n<tbody>\n"
        ));
        for failure in writing.failures.iter().take(ROWS) {
            html.add(format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n",
                Text(&failure.path),
                Text(&failure.reason)
            ));
        }
        let more = writing.failed.saturating_sub(ROWS as u64);
        let more = if more > 0 { format!("{more} more. ") } else { String::new() };
        html.add(format_args!(
            "</tbody>\n</table>\n<p class=\"none\">{more}Tell it again with <code>fichierfs retry</code>, or \
             give it up with <code>fichierfs discard</code>.</p>\n"
        ));
    });
}

/// Whether it is trouble when all of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    /// A cache is made to be full.
    Fine,
    /// There should be some left.
    Trouble,
}

/// What is used of what there is.
fn meter(
    html: &mut Html,
    what: &str,
    (used, of): (u64, u64),
    full: WhenFull,
    words: fn(u64) -> String,
) {
    let percent = percent(used, of);
    let high = match full {
        WhenFull::Fine => "",
        WhenFull::Trouble => " high=\"90\"",
    };
    html.add(format_args!(
        "<div><dt>{what}</dt><dd><meter max=\"100\"{high} value=\"{percent}\" aria-label=\"{what}\">{percent} %</meter> \
         {} of {}</dd></div>\n",
        words(used),
        words(of)
    ));
}

fn room(html: &mut Html, status: &Status) {
    let (reading, writing) = (&status.reading, &status.writing);
    html.section("room", "Room", |html| {
        html.add(format_args!("<dl>\n"));
        if let Some(account) = &status.account {
            let used = account
                .info
                .cold_storage
                .saturating_add(account.info.hot_storage);
            match account.info.available_cold_storage.map(u64::try_from) {
                Some(Ok(free)) => meter(
                    html,
                    "Account",
                    (used, used.saturating_add(free)),
                    WhenFull::Trouble,
                    decimal,
                ),
                Some(Err(_)) => html.fact("Account", format!("{}, nothing free", decimal(used))),
                None => html.fact("Account", format!("{} used", decimal(used))),
            }
        }
        if let Some(disk) = &reading.disk {
            meter(
                html,
                "Disk cache",
                (disk.bytes, disk.budget_bytes),
                WhenFull::Fine,
                binary,
            );
            if let Some(problem) = &disk.problem {
                html.fact("Disk cache is not used", problem);
            }
        }
        meter(
            html,
            "Memory",
            (reading.memory_bytes, reading.memory_budget_bytes),
            WhenFull::Fine,
            binary,
        );
        if !writing.read_only {
            meter(
                html,
                "Staging",
                (writing.staging_bytes, writing.staging_budget_bytes),
                WhenFull::Trouble,
                binary,
            );
        }
        if writing.staging_lost > 0 {
            html.fact("Set aside after damage", writing.staging_lost.to_string());
        }
        html.fact("Read by programs", binary(reading.asked_bytes));
        html.fact("From the disk cache", binary(reading.from_disk_bytes));
        html.add(format_args!("</dl>\n"));
    });
}

fn calls(html: &mut Html, status: &Status, now: &Zoned) {
    let calls = &status.calls;
    html.section("calls", "Calls to the service", |html| {
        html.add(format_args!("<dl>\n"));
        let gate = match &calls.gate {
            GateFigures::Open => "open".to_owned(),
            GateFigures::Shut { cause, until } => {
                format!("shut until {}: {}", clock(*until, now), because(cause))
            }
            GateFigures::Probing { cause } => format!("trying a single call: {}", because(cause)),
        };
        html.fact("Gate", gate);
        html.fact(
            "Rate",
            format!("at most {:.1} a second", calls.rate),
        );
        meter(html, "Last hour", (calls.last_hour, calls.hour_most), WhenFull::Trouble, |it| it.to_string());
        html.fact("Free now", calls.free.to_string());
        html.fact("Last day", calls.last_day.to_string());
        let waiting: Vec<String> = calls
            .waiting
            .each()
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(urgency, count)| format!("{count} {urgency}"))
            .collect();
        let waiting = if waiting.is_empty() { "none".to_owned() } else { waiting.join(", ") };
        html.fact("Waiting", format!("{waiting}; {} under way", calls.running));
        for (what, count) in [
            ("Answered \u{201c}too many\u{201d}", calls.floods),
            ("Without an answer", calls.lost),
            ("Not made in time", calls.refused),
        ] {
            if count > 0 {
                html.fact(what, count.to_string());
            }
        }
        html.add(format_args!("</dl>\n"));
        if calls.made.is_empty() {
            return;
        }
        html.add(format_args!(
            "<table class=\"made\">\n<thead><tr><th scope=\"col\">Call</th><th scope=\"col\">Made</th></tr></thead>\n<tbody>\n"
        ));
        for (call, count) in &calls.made {
            html.add(format_args!(
                "<tr><th scope=\"row\">{}</th><td>{count}</td></tr>\n",
                Text(call)
            ));
        }
        html.add(format_args!("</tbody>\n</table>\n"));
    });
}

fn names(html: &mut Html, status: &Status) {
    let tree = &status.tree;
    html.section("names", "Names", |html| {
        html.add(format_args!("<dl>\n"));
        if tree.folders > 0 {
            meter(
                html,
                "Folders",
                (tree.folders_listed, tree.folders),
                WhenFull::Fine,
                |it| it.to_string(),
            );
        }
        html.fact("Entries", tree.entries.to_string());
        html.fact(
            "In memory",
            format!(
                "{}, {}",
                counted(tree.listings, "folder", "folders"),
                binary(tree.listing_bytes)
            ),
        );
        html.fact("Kept on disk", binary(tree.stored_bytes));
        let crawl = &tree.crawl;
        let stage = match crawl.stage.as_str() {
            "running" if crawl.waiting > 0 => {
                format!(
                    "{} folders to list, {} or more",
                    crawl.waiting,
                    span(crawl.seconds_left)
                )
            }
            "running" | "done" => "all folders are known".to_owned(),
            "paused" => "waiting after trouble".to_owned(),
            "full" => "the memory holds no more".to_owned(),
            _ => "folders are listed when somebody asks".to_owned(),
        };
        html.fact("Completing", stage);
        for folder in tree.large.iter().take(ROWS) {
            html.fact("Large folder", large(folder));
        }
        if tree.store_failing {
            html.fact(
                "Trouble",
                "the last listings could not be written: see the log",
            );
        }
        if tree.store_damaged > 0 {
            html.fact("Damaged records", tree.store_damaged.to_string());
        }
        html.add(format_args!("</dl>\n"));
    });
}

fn large(it: &LargeFigures) -> String {
    let of = it
        .expected
        .map_or_else(String::new, |all| format!(" of {all}"));
    if it.slices == 0 && it.slices_left == 0 {
        format!("{} is known in part only", it.folder)
    } else {
        format!("{}: {}{of} files found", it.folder, it.found)
    }
}

fn footer(html: &mut Html, still: bool, now: &Zoned) {
    let (link, words) = if still {
        ("/", "keep it up to date")
    } else {
        ("/?still", "stop reloading")
    };
    html.add(format_args!(
        "<footer>\n<p>As of <time datetime=\"{}\">{}</time> · <a href=\"{link}\">{words}</a> · \
         <a href=\"/metrics\">metrics</a></p>\n</footer>\n</body>\n</html>\n",
        now.timestamp(),
        now.strftime("%Y-%m-%d %H:%M:%S %Z"),
    ));
}

fn unix(now: &Zoned) -> u64 {
    u64::try_from(now.timestamp().as_second()).unwrap_or(0)
}

/// A time as the clock on the wall shows it, with the day when it is another one.
fn clock(seconds: u64, now: &Zoned) -> String {
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let Some(time) = time.map(|time| time.to_zoned(now.time_zone().clone())) else {
        return "a time no clock shows".to_owned();
    };
    let form = if time.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.strftime(form).to_string()
}

#[cfg(test)]
mod tests;
