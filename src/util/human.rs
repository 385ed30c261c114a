//! Amounts and spans as people read them.
use bytesize::ByteSize;
use std::time::Duration;

/// Amounts of this machine, in units of 1024.
pub fn binary(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Amounts of the account, in units of 1000, as the service words them.
pub fn decimal(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

/// A span in its two largest units.
pub fn span(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.join(" ")
}

/// A number of things, called by the word for one of them or for several.
pub fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// How much of `of` is done, in whole percent; nothing of nothing is all of it.
pub fn percent(done: u64, of: u64) -> u64 {
    let percent = (u128::from(done.min(of)) * 100).checked_div(u128::from(of));
    percent.map_or(100, |percent| u64::try_from(percent).unwrap_or(100))
}

/// How many seconds the rest takes at this speed; `None` when nothing moves.
pub fn seconds_left(done: u64, of: u64, speed: u64) -> Option<u64> {
    of.saturating_sub(done).checked_div(speed)
}

/// Whether a character moves what stands around it, or cannot be seen: controls, line separators, marks of
/// direction. In a name of others it must not reach a terminal or a page.
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// A text of others, such as a file's name, with every unruly character as `?`.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_unruly(c) { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_spans_are_short() {
        assert_eq!(binary(3 << 20), "3.0 MiB");
        assert_eq!(decimal(1_500_000_000_000), "1.5 TB");
        assert_eq!((span(0), span(7_325)), ("0s".into(), "2h 2m".into()));
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(0, "file", "files"), "0 files");
        assert_eq!(
            (percent(0, 0), percent(1, 3), percent(9, 3)),
            (100, 33, 100)
        );
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
        assert_eq!(seconds_left(10, 110, 20), Some(5));
        assert_eq!(
            (seconds_left(10, 110, 0), seconds_left(9, 3, 7)),
            (None, Some(0))
        );
    }

    #[test]
    fn no_name_moves_a_cursor_or_turns_the_line_around() {
        let name = "a\u{1b}[2J\u{202e}b\u{2028}c\r\n\u{200b}é漢";
        assert_eq!(printable(name), "a?[2J?b?c???é漢");
    }
}
