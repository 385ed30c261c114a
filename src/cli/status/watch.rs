//! `fichierfs status --watch`: the status again and again.
//!
//! Promises: on a terminal it is drawn in place, never wider than the terminal nor as high, so that nothing
//! scrolls and what stood above stays; nothing is left to be put right when it is interrupted. Colour only
//! where the terminal has it and `NO_COLOR` is not set. Elsewhere the whole is written each time.
use super::transfers::{Row, Transfer, columns, cut};
use super::{Args, found, lines, pages};
use crate::cli::exit::Failure;
use crate::cli::output::{binary, printable};
use crate::control::json_line;
use crate::control::status::{Document, Found, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// The shortest interval: each look asks a process.
const SHORTEST: Duration = Duration::from_millis(200);

/// The longest one: longer ones are typing errors.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Columns and lines of a terminal that does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// Columns of a label.
const LABEL: usize = 11;

/// Parses how often.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|span| (SHORTEST..=LONGEST).contains(span))
        .ok_or_else(|| "an interval is a span from 200ms to 1day, e.g. 2s".into())
}

/// Shows the status every `interval` until nothing is left to be shown, or until whoever reads has gone.
pub(super) fn run(args: &Args, interval: Duration) -> Result<ExitCode, Failure> {
    let mut screen = (!args.json).then(Screen::of_terminal).flatten();
    let mut has_shown = false;
    loop {
        let mounts = match found(args) {
            Ok(mounts) => mounts,
            // What was watched has gone.
            Err(_) if has_shown => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        if mounts.is_empty() {
            if !args.json {
                emit(if has_shown {
                    "unmounted\n"
                } else {
                    "nothing is mounted\n"
                })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let text = match &mut screen {
            Some(screen) => screen.frame(&mounts),
            None if args.json => json_line(&Document { mounts }),
            None if has_shown => format!("\n{}", pages(&mounts)),
            None => pages(&mounts),
        };
        if !emit(&text)? {
            return Ok(ExitCode::SUCCESS);
        }
        has_shown = true;
        // What there is to warn of was said once; said again, it would stand in the middle of what is drawn.
        log::set_max_level(log::LevelFilter::Off);
        std::thread::sleep(interval);
    }
}

/// Writes `text` at once; whether anybody reads on.
fn emit(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write")),
    }
}

/// A terminal that is drawn on again and again.
#[derive(Debug)]
struct Screen {
    has_colour: bool,
    /// Its size when it was drawn on last, and the lines that were drawn.
    drawn: Option<((usize, usize), usize)>,
}

impl Screen {
    /// Standard output, if it is a terminal that can be drawn on.
    fn of_terminal() -> Option<Self> {
        let kind = std::env::var_os("TERM").unwrap_or_default();
        if !io::stdout().is_terminal() || kind.is_empty() || kind == "dumb" {
            return None;
        }
        // https://no-color.org: set and not empty.
        let has_colour = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Some(Self {
            has_colour,
            drawn: None,
        })
    }

    /// What to write so that the terminal shows `mounts`.
    fn frame(&mut self, mounts: &[Found]) -> String {
        let size = size();
        let now = Timestamp::now();
        let lines = drawn(mounts, size.0, self.has_colour, &TimeZone::system(), now);
        self.over(size, lines)
    }

    /// Draws `lines` over what was drawn before.
    fn over(&mut self, size: (usize, usize), mut lines: Vec<String>) -> String {
        let most = size.1.saturating_sub(1).max(1);
        if lines.len() > most {
            let hidden = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(format!("  … {hidden} more lines"));
        }
        let mut text = match self.drawn {
            None => String::new(),
            // Lines of another width may have been broken in two: where they are is not known.
            Some((before, _)) if before != size => "\x1b[H\x1b[2J".to_owned(),
            Some((_, 0)) => "\r".to_owned(),
            Some((_, height)) => format!("\r\x1b[{height}A"),
        };
        for line in &lines {
            let _ = writeln!(text, "{line}\x1b[K");
        }
        text.push_str("\x1b[J");
        self.drawn = Some((size, lines.len()));
        text
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

/// How a part of a line is to look.
#[derive(Debug, Clone, Copy)]
enum Look {
    Bold,
    Faint,
    Green,
    Blue,
    Red,
}

/// `text` in that look, where there is colour.
fn painted(text: &str, look: Look, has_colour: bool) -> String {
    let code = match look {
        Look::Bold => 1,
        Look::Faint => 2,
        Look::Green => 32,
        Look::Blue => 34,
        Look::Red => 31,
    };
    if has_colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The lines, none wider than `width`, which is at least 20.
fn drawn(
    mounts: &[Found],
    width: usize,
    has_colour: bool,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<String> {
    let width = width.max(20);
    let mut drawn = Vec::new();
    for found in mounts {
        if !drawn.is_empty() {
            drawn.push(String::new());
        }
        let name = printable(&found.mountpoint);
        drawn.push(painted(cut(&name, width), Look::Bold, has_colour));
        if let Some(status) = &found.status {
            drawn.push(cut(&flow(status), width).to_owned());
            let transfers = Transfer::all(status);
            let rows = transfers.iter().map(|it| it.row(width));
            drawn.extend(rows.map(|row| bar(&row, has_colour)));
        }
        for (label, value) in lines(found, zone, now) {
            // They have rows of their own.
            if matches!(label, "Download" | "Upload") {
                continue;
            }
            let look = match label {
                "Problem" | "Refused" => Some(Look::Red),
                _ => None,
            };
            let mut label = format!("  {label:<LABEL$}");
            for part in wrapped(&printable(&value), width.saturating_sub(columns(&label))) {
                let part =
                    look.map_or_else(|| part.to_owned(), |look| painted(part, look, has_colour));
                drawn.push(painted(&label, Look::Faint, has_colour) + &part);
                label = " ".repeat(columns(&label));
            }
        }
    }
    drawn
}

/// A text in lines of at most `room` columns, parted at blanks where there are some.
fn wrapped(text: &str, room: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    loop {
        let line = cut(rest, room);
        if line.len() == rest.len() || line.is_empty() {
            lines.push(line);
            return lines;
        }
        let is_whole = rest[line.len()..].starts_with(' ');
        let end = match line.rfind(' ').filter(|at| !is_whole && *at > 0) {
            Some(blank) => blank,
            None => line.len(),
        };
        lines.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
}

/// What comes and goes in all.
fn flow(status: &Status) -> String {
    let (reading, writing) = (&status.reading, &status.writing);
    let waiting = match writing.waiting.saturating_sub(writing.failed) {
        0 => String::new(),
        count => format!("   {count} waiting"),
    };
    let failed = match writing.failed {
        0 => String::new(),
        count => format!("   {count} refused"),
    };
    format!(
        "  down {}/s   up {}/s{waiting}{failed}",
        binary(reading.bytes_per_second),
        binary(writing.bytes_per_second)
    )
}

fn bar(row: &Row, has_colour: bool) -> String {
    let look = if row.kind == "up  " {
        Look::Green
    } else {
        Look::Blue
    };
    let kind = painted(row.kind, look, has_colour);
    let bar = match row.filled + row.empty {
        0 => String::new(),
        _ => format!(
            "[{}{}] ",
            painted(&"=".repeat(row.filled), look, has_colour),
            " ".repeat(row.empty)
        ),
    };
    format!("  {kind}  {} {bar}{}", row.name, row.figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{CallFigures, DownloadFigures, ReadFigures};
    use crate::control::unsent::{UploadFigures, WriteFigures};

    fn mounts(path: &str) -> Vec<Found> {
        let status = Status {
            reading: ReadFigures {
                bytes_per_second: 2 << 20,
                downloading: 1,
                downloads: vec![DownloadFigures {
                    path: path.to_owned(),
                    bytes: 10 << 30,
                    position_bytes: 1 << 30,
                    bytes_per_second: 2 << 20,
                    ranges: 2,
                    ..DownloadFigures::default()
                }],
                ..ReadFigures::default()
            },
            calls: CallFigures {
                hour_most: 9_000,
                ..CallFigures::default()
            },
            writing: WriteFigures {
                waiting: 3,
                failed: 1,
                uploads: vec![UploadFigures {
                    path: path.to_owned(),
                    bytes: 4 << 20,
                    sent_bytes: 1 << 20,
                    bytes_per_second: 1 << 20,
                }],
                ..WriteFigures::default()
            },
            ..Status::default()
        };
        vec![Found {
            mountpoint: format!("/mnt/{path}"),
            account: "work".into(),
            answers: true,
            problem: None,
            status: Some(status),
        }]
    }

    fn shown(path: &str, width: usize, has_colour: bool) -> Vec<String> {
        let now = Timestamp::UNIX_EPOCH;
        drawn(&mounts(path), width, has_colour, &TimeZone::UTC, now)
    }

    /// Without what paints.
    fn plain(line: &str) -> String {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let (code, rest) = part.split_once('m').unwrap();
            assert!(code.starts_with('['), "{line:?}");
            text + rest
        })
    }

    #[test]
    fn rows_have_bars_and_figures() {
        let lines = shown("a.mkv", 100, false);
        assert_eq!(lines[0], "/mnt/a.mkv");
        assert_eq!(
            lines[1],
            "  down 2.0 MiB/s   up 0 B/s   2 waiting   1 refused"
        );
        assert!(lines[2].starts_with("  down  a.mkv ") && lines[2].contains(" [="));
        assert!(
            lines[2].ends_with(" 10 % of  10.0 GiB     2.0 MiB/s  2 connections"),
            "{lines:#?}"
        );
        assert!(lines[3].starts_with("  up    a.mkv ") && lines[3].ends_with("3s left"));
        assert!(!lines.concat().contains('\x1b'));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_name_is_obeyed() {
        let evil = "\x1b[2J\x1b]0;title\x07\r\n\u{202e}".to_owned() + &"漢字 long ".repeat(30);
        for width in [1, 20, 40, 60, 80, 120, 300] {
            for line in shown(&evil, width, true) {
                let line = plain(&line);
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(columns(&line) <= width.max(20), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn it_is_drawn_over_what_was_drawn_and_never_scrolls() {
        let mut screen = Screen {
            has_colour: false,
            drawn: None,
        };
        let lines = |count: usize| (0..count).map(|line| line.to_string()).collect();
        let first = screen.over((80, 5), lines(3));
        assert_eq!(first, "0\x1b[K\n1\x1b[K\n2\x1b[K\n\x1b[J");
        let second = screen.over((80, 5), lines(9));
        assert!(second.starts_with("\r\x1b[3A0\x1b[K\n"), "{second:?}");
        assert!(second.contains("… 6 more lines"), "{second:?}");
        assert_eq!(second.matches('\n').count(), 4);
        let resized = screen.over((70, 5), lines(1));
        assert!(resized.starts_with("\x1b[H\x1b[2J0"), "{resized:?}");
        assert!(screen.over((70, 5), lines(1)).starts_with("\r\x1b[1A"));
    }

    #[test]
    fn a_long_text_goes_on_below() {
        assert_eq!(wrapped("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrapped("ab cde f", 5), ["ab", "cde f"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("漢字", 1), [""]);
        assert_eq!(wrapped("", 5), [""]);
        let lines = shown("x", 40, false);
        let calls = lines.iter().position(|line| line.starts_with("  Calls "));
        assert!(
            lines[calls.unwrap() + 1].starts_with("             "),
            "{lines:#?}"
        );
    }

    #[test]
    fn an_interval_is_neither_a_flood_nor_an_age() {
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "100ms", "soon", "-1", "2days"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
