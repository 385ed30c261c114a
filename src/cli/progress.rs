//! How far long work is: a bar on a terminal, lines of JSON for programs, nothing elsewhere.
use super::output::{binary, is_quiet, printable};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often what is shown changes at most.
const REDRAW: Duration = Duration::from_millis(200);

/// Characters of the bar itself.
const BAR: usize = 24;

/// Characters of a name at most: with bar and figures a line of 80 is full.
const NAME: usize = 28;

/// See the module. A bar is wiped away when this goes.
pub(super) struct Progress {
    shown: bool,
    /// Whether somebody looks who wants to see it.
    is_terminal: bool,
    json: bool,
    last: Option<Instant>,
}

/// A step as JSON.
#[derive(serde::Serialize)]
struct Step<'a> {
    event: &'static str,
    path: &'a str,
    done_bytes: u64,
    total_bytes: u64,
}

impl Progress {
    /// Shows nothing yet.
    pub(super) fn new(json: bool) -> Self {
        Self {
            shown: false,
            is_terminal: io::stderr().is_terminal() && !is_quiet(),
            json,
            last: None,
        }
    }

    /// Shows that `done` of `total` bytes of `what` are done, unless that was told a moment ago.
    pub(super) fn show(&mut self, what: &str, done: u64, total: u64) {
        if self.last.is_some_and(|last| last.elapsed() < REDRAW) || total == 0 {
            return;
        }
        self.last = Some(Instant::now());
        if self.json {
            self.event(&Step {
                event: "progress",
                path: what,
                done_bytes: done,
                total_bytes: total,
            });
        } else if self.is_terminal {
            self.shown = true;
            // Where there is no standard error, nobody looks.
            let _ = write!(io::stderr(), "\r{}\x1b[K", bar(what, done, total));
        }
    }

    /// Shows how many files or folders of `what` are left, unless something was told a moment ago.
    pub(super) fn count(&mut self, what: &str, left: u64) {
        if self.last.is_some_and(|last| last.elapsed() < REDRAW) || self.json || !self.is_terminal {
            return;
        }
        self.last = Some(Instant::now());
        self.shown = true;
        let _ = write!(io::stderr(), "\r{}: {left} left\x1b[K", printable(what));
    }

    /// Tells an event to a program.
    pub(super) fn event(&self, event: &impl serde::Serialize) {
        if self.json {
            // A reader that has seen enough (`| head`) is no failure.
            let _ = io::stdout().write_all(crate::control::json_line(event).as_bytes());
        }
    }

    /// Takes the bar away, so that something else can be said.
    pub(super) fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn bar(what: &str, done: u64, total: u64) -> String {
    let part = |of: usize| {
        let filled = u128::from(done.min(total)) * of as u128 / u128::from(total.max(1));
        usize::try_from(filled).unwrap_or(of)
    };
    let filled = part(BAR);
    let what = printable(what);
    let skip = what.chars().count().saturating_sub(NAME);
    let name: String = what.chars().skip(skip).collect();
    format!(
        "{name:<NAME$} [{}{}] {:>3} % of {}",
        "=".repeat(filled),
        " ".repeat(BAR - filled),
        part(100),
        binary(total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_one_length_and_obeys_no_name() {
        let start = bar("a\u{1b}[2Jb", 0, 10 << 20);
        let end = bar(&"long/".repeat(20), 99 << 20, 10 << 20);
        assert!(start.contains("] ") && start.contains("  0 % of 10.0 MiB"));
        assert!(end.contains("100 %") && !start.contains('\u{1b}'));
        assert_eq!(start.chars().count(), end.chars().count());
        assert!(bar("x", 1, 0).contains("  0 %"));
    }
}
