//! Files on their way, for people: each as a line, or as a row with a bar.
use super::super::output::{binary, printable};
use super::{LINES, more};
use crate::control::status::{DownloadFigures, ReadFigures, Status};
use crate::control::unsent::UploadFigures;
use crate::util::human::{percent, seconds_left, span};
use std::fmt::Write as _;

/// Seconds beyond which it is not told how long something takes: it is a guess.
const LONGEST_LEFT: u64 = 365 * 24 * 3600;

/// Columns of a bar at most; longer ones tell no more.
const LONGEST_BAR: usize = 30;

/// Columns of the room for name and bar below which there is no bar: the name says more.
const ROOM_FOR_BAR: usize = 28;

/// Columns from which on the speed is told, a remark, and the size.
const ROOM_FOR_PACE: usize = 40;
const ROOM_FOR_REMARK: usize = 70;
const ROOM_FOR_SIZE: usize = 100;

/// Columns of a remark.
const REMARK: usize = 13;

/// A file on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer {
    is_upload: bool,
    path: String,
    done: u64,
    bytes: u64,
    speed: u64,
    /// Connections, if that is of interest.
    ranges: u64,
}

impl Transfer {
    fn down(it: &DownloadFigures) -> Self {
        Self {
            is_upload: false,
            path: it.path.clone(),
            done: it.position_bytes,
            bytes: it.bytes,
            speed: it.bytes_per_second,
            ranges: it.ranges,
        }
    }

    pub(super) fn up(it: &UploadFigures) -> Self {
        Self {
            is_upload: true,
            path: it.path.clone(),
            done: it.sent_bytes,
            bytes: it.bytes,
            speed: it.bytes_per_second,
            ranges: 0,
        }
    }

    /// All of a mount.
    pub(super) fn all(status: &Status) -> Vec<Self> {
        let downs = status.reading.downloads.iter().map(Self::down);
        let ups = status.writing.uploads.iter().map(Self::up);
        downs.chain(ups).collect()
    }

    fn is_to_be_confirmed(&self) -> bool {
        self.is_upload && self.done >= self.bytes
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        let Self { path, bytes, .. } = self;
        if self.is_to_be_confirmed() {
            return format!("{path}: {} sent, to be confirmed", binary(*bytes));
        }
        let percent = percent(self.done, *bytes);
        let mut text = format!("{path}: {percent} % of {}", binary(*bytes));
        for part in self.pace() {
            text.push_str(", ");
            text.push_str(&part);
        }
        text
    }

    /// How fast it goes.
    fn pace(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.speed > 0 {
            parts.push(format!("{}/s", binary(self.speed)));
        }
        // A reader goes at his own pace, and not always to the end.
        let left = seconds_left(self.done, self.bytes, self.speed);
        if let Some(left) = left.filter(|left| self.is_upload && *left < LONGEST_LEFT) {
            parts.push(format!("{} left", span(left)));
        }
        if self.ranges > 1 {
            parts.push(format!("{} connections", self.ranges));
        }
        parts
    }

    /// In a row of at most `width` columns. Rows of one width have their parts below each other.
    pub(super) fn row(&self, width: usize) -> Row {
        let kind = if self.is_upload { "up  " } else { "down" };
        let percent = percent(self.done, self.bytes);
        let mut figures = format!("{percent:>3} %");
        if width >= ROOM_FOR_SIZE {
            let _ = write!(figures, " of {:>9}", binary(self.bytes));
        }
        if width >= ROOM_FOR_PACE {
            let speed = match self.speed {
                0 => String::new(),
                speed => format!("{}/s", binary(speed)),
            };
            let _ = write!(figures, "  {speed:>12}");
        }
        if width >= ROOM_FOR_REMARK {
            let remark = self.remark();
            let _ = write!(figures, "  {:<REMARK$}", cut(&remark, REMARK));
        }
        // "  up    NAME [BAR] FIGURES"
        let room = width.saturating_sub(2 + kind.len() + 2 + 1 + columns(&figures));
        let bar = if room >= ROOM_FOR_BAR {
            (room * 2 / 5).min(LONGEST_BAR)
        } else {
            0
        };
        let brackets = if bar > 0 { 3 } else { 0 };
        let filled = usize::try_from(percent).unwrap_or(0) * bar / 100;
        Row {
            kind,
            name: fitted(&printable(&self.path), room.saturating_sub(bar + brackets)),
            filled,
            empty: bar - filled,
            figures: figures.trim_end().to_owned(),
        }
    }

    /// What else there is to say of it, shortly.
    fn remark(&self) -> String {
        if self.is_to_be_confirmed() {
            return "confirming".to_owned();
        }
        let parts = self.pace();
        let after_speed = usize::from(self.speed > 0);
        parts.into_iter().nth(after_speed).unwrap_or_default()
    }
}

/// A row, in parts that are painted differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) filled: usize,
    pub(super) empty: usize,
    pub(super) figures: String,
}

/// The lines of the files that are being downloaded.
pub(super) fn downloads(it: &ReadFigures) -> Vec<(&'static str, String)> {
    let first = it.downloads.iter().take(LINES);
    let mut lines: Vec<_> = first
        .map(|it| ("Download", Transfer::down(it).line()))
        .collect();
    lines.extend(more(it.downloading, "downloads"));
    lines
}

/// Columns a text takes on a terminal, or some more: a line must not be broken by it.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Columns of a character. Marks that take none count as one, and all of the blocks in which wide ones lie as
/// two.
fn width(c: char) -> usize {
    let is_wide = matches!(
        c,
        '\u{1100}'..='\u{115f}' | '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
            | '\u{2e80}'..='\u{a4cf}' | '\u{a960}'..='\u{a97c}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}' | '\u{16fe0}'..='\u{18d08}' | '\u{1b000}'..='\u{1b2fb}'
            | '\u{1f000}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}'
    );
    if is_wide { 2 } else { 1 }
}

/// A text in exactly `room` columns: filled up, or without its beginning, since paths differ at their ends.
fn fitted(text: &str, room: usize) -> String {
    let whole = columns(text);
    if whole <= room {
        return format!("{text}{}", " ".repeat(room - whole));
    }
    if room == 0 {
        return String::new();
    }
    let (mut left, mut start) = (room - 1, text.len());
    for (at, c) in text.char_indices().rev() {
        let Some(rest) = left.checked_sub(width(c)) else {
            break;
        };
        (left, start) = (rest, at);
    }
    format!("…{}{}", &text[start..], " ".repeat(left))
}

/// The beginning of a text in at most `room` columns.
pub(super) fn cut(text: &str, room: usize) -> &str {
    let mut left = room;
    for (at, c) in text.char_indices() {
        match left.checked_sub(width(c)) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upload(path: &str, done: u64, bytes: u64, speed: u64) -> Transfer {
        Transfer {
            is_upload: true,
            path: path.to_owned(),
            done,
            bytes,
            speed,
            ranges: 0,
        }
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let up = upload("a/b", 1 << 20, 4 << 20, 1 << 19);
        assert_eq!(up.line(), "a/b: 25 % of 4.0 MiB, 512.0 KiB/s, 6s left");
        assert_eq!(upload("a", 0, 4, 0).line(), "a: 0 % of 4 B");
        assert_eq!(upload("a", 4, 4, 9).line(), "a: 4 B sent, to be confirmed");
        let down = Transfer {
            is_upload: false,
            ranges: 2,
            ..up
        };
        assert_eq!(
            down.line(),
            "a/b: 25 % of 4.0 MiB, 512.0 KiB/s, 2 connections"
        );
    }

    #[test]
    fn a_row_has_a_bar_where_there_is_room() {
        let wide = upload("films/a.mkv", 1, 2, 7 << 20).row(100);
        assert!(
            wide.filled > 5 && wide.empty.abs_diff(wide.filled) <= 1,
            "{wide:?}"
        );
        assert!(wide.name.starts_with("films/a.mkv "), "{wide:?}");
        let narrow = upload("films/a.mkv", 1, 2, 7 << 20).row(30);
        assert_eq!((narrow.filled, narrow.empty), (0, 0));
        assert!(narrow.name.trim_end().ends_with("mkv"), "{narrow:?}");
        assert_eq!(fitted("漢字の名前", 6), "…名前 ");
        assert_eq!(cut("漢字", 3), "漢");
    }

    proptest! {
        #[test]
        fn no_row_is_wider_than_asked_for(
            path in ".{0,80}", done: u64, bytes: u64, speed: u64, is_upload: bool, width in 20usize..200
        ) {
            let ranges = done % 4;
            let row = Transfer { is_upload, path, done, bytes, speed, ranges }.row(width);
            let brackets = if row.filled + row.empty > 0 { 3 } else { 0 };
            let all = 2 + row.kind.len() + 2 + columns(&row.name) + 1 + brackets + row.filled
                + row.empty + columns(&row.figures);
            prop_assert!(all <= width, "{all}: {row:?}");
            prop_assert!(!row.name.chars().any(char::is_control));
        }
    }
}
