//! Names as the kernel sees them and names as the service stores them.
//!
//! Promises: every legal file name survives the way to the service and back, byte for byte, although
//! the service refuses some characters (API reference 4.1); what comes from the service, whatever it
//! is, becomes a name that is legal here and cannot leave its directory. Both tools see the same names
//! as rclone does between a disk and its `fichier` backend with default settings:
//!
//! | here | stored |
//! |---|---|
//! | `\ < > " ' $` and the back quote | their full-width twins (U+FF3C, U+FF1C, ...) |
//! | control characters, DEL | U+2400 + code, U+2421 |
//! | a space at the very start or end | U+2420 |
//! | a byte that is no UTF-8 | U+201B and two capital hex digits |
//! | one of the above replacements, or U+201B, meant as itself | U+201B and the character |
//!
//! `/`, NUL, `.` and `..` cannot be names here. Where rclone stores them as their twins, the twin
//! stands for itself: `a／b` is `a／b` on both sides. Knows nothing of duplicates.
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Longest name in bytes; what programs and the C library expect of a file system (`NAME_MAX`).
pub const NAME_MAX: usize = 255;

/// Longest extension in bytes, its dot included, that is kept when a name is cut or numbered; longer
/// ones are no extensions.
const EXTENSION_MAX: usize = 16;

/// Announces that the next character is meant as itself, or that two hex digits are a byte.
const QUOTE: char = '\u{201B}';

/// Stands for a space at the start or end of a name.
const SPACE_TWIN: char = '\u{2420}';

/// Stands for DEL.
const DEL_TWIN: char = '\u{2421}';

/// Distance of a printable ASCII character to its full-width twin.
const FULL_WIDTH: u32 = 0xFEE0;

/// First of the control pictures, U+2400.
const CONTROL_PICTURES: u32 = 0x2400;

/// What a file or folder without a name is shown as.
const UNNAMED: &str = "unnamed";

/// The name under which the service stores `local`.
pub fn encode(local: &OsStr) -> String {
    let bytes = local.as_bytes();
    match bytes {
        b"." => return "．".into(),
        b".." => return "．．".into(),
        _ => {}
    }
    let mut stored = String::with_capacity(bytes.len() + 8);
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let edge = at == 0 || at + character.len_utf8() == bytes.len();
            at += character.len_utf8();
            match character {
                ' ' if edge => stored.push(SPACE_TWIN),
                // Never in a name the kernel hands over; still nothing the service could misread.
                '/' => stored.push('／'),
                '\0' => stored.push('␀'),
                _ if is_special(character, edge) => stored.extend([QUOTE, character]),
                _ => stored.push(twin(character).unwrap_or(character)),
            }
        }
        for byte in chunk.invalid() {
            at += 1;
            stored.push(QUOTE);
            stored.extend([high_digit(*byte), low_digit(*byte)]);
        }
    }
    stored
}

/// The name here of what the service stores as `stored`: the inverse of [`encode`], and for every
/// other text something legal: never empty, `.` or `..`, without `/` and NUL. Its length is not limited.
pub fn decode(stored: &str) -> OsString {
    match stored {
        "" => return UNNAMED.into(),
        "." => return "．".into(),
        ".." => return "．．".into(),
        _ => {}
    }
    let mut local = Vec::with_capacity(stored.len());
    let mut rest = stored.chars();
    let mut first = true;
    while let Some(character) = rest.next() {
        let edge = first || rest.as_str().is_empty();
        if character == QUOTE {
            if let Some(byte) = quoted_byte(rest.as_str()) {
                rest.nth(1);
                local.push(byte);
            } else {
                // The quoted character is at the edge when it is the first after the first quote.
                let mut after = rest.clone();
                match after.next() {
                    Some(meant) if is_special(meant, first || after.as_str().is_empty()) => {
                        push(&mut local, meant);
                        rest = after;
                    }
                    _ => push(&mut local, QUOTE),
                }
            }
        } else {
            push(
                &mut local,
                match character {
                    SPACE_TWIN if edge => ' ',
                    '/' => '／',
                    '\0' => '␀',
                    _ => untwin(character).unwrap_or(character),
                },
            );
        }
        first = false;
    }
    OsString::from_vec(local)
}

/// The name here of what the service stores as `stored`, cut to [`NAME_MAX`] bytes when it is longer:
/// `tag`, taken from the entry's id, then keeps it apart from others that begin alike.
pub(super) fn local_name(stored: &str, tag: &str, is_folder: bool) -> OsString {
    let name = decode(stored);
    if name.len() <= NAME_MAX {
        return name;
    }
    with_suffix(&name, &format!("~{tag}"), is_folder)
}

/// The name of the `number`th entry called `name`: `name (2).ext`; a folder's is never split.
pub(super) fn numbered(name: &OsStr, number: u32, is_folder: bool) -> OsString {
    with_suffix(name, &format!(" ({number})"), is_folder)
}

/// A file's name with `mark` before its extension.
pub fn name_with(name: &OsStr, mark: &str) -> OsString {
    with_suffix(name, mark, false)
}

/// Puts `suffix` before the extension and cuts what stands before it so that all fits.
fn with_suffix(name: &OsStr, suffix: &str, is_folder: bool) -> OsString {
    let bytes = name.as_bytes();
    let split = if is_folder {
        bytes.len()
    } else {
        extension_at(bytes)
    };
    let (stem, extension) = bytes.split_at(split);
    let room = NAME_MAX.saturating_sub(suffix.len() + extension.len());
    let mut out = cut(stem, room).to_vec();
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(extension);
    OsString::from_vec(out)
}

/// Where the extension with its dot begins; the end when there is none.
fn extension_at(name: &[u8]) -> usize {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot)
            if dot > 0
                && dot + 1 < name.len()
                && name.len() - dot <= EXTENSION_MAX
                && !name[dot..].contains(&b' ') =>
        {
            dot
        }
        _ => name.len(),
    }
}

/// The longest beginning of at most `room` bytes that does not end inside a character.
fn cut(bytes: &[u8], room: usize) -> &[u8] {
    if bytes.len() <= room {
        return bytes;
    }
    let mut end = room;
    // A byte 10xxxxxx continues a character; never more than three in a row in valid UTF-8.
    while end > 0 && room - end < 3 && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &bytes[..end]
}

/// The replacement of a character that the service refuses anywhere in a name.
fn twin(character: char) -> Option<char> {
    match character {
        '\\' | '<' | '>' | '"' | '\'' | '$' | '`' => {
            char::from_u32(u32::from(character) + FULL_WIDTH)
        }
        '\u{1}'..='\u{1F}' => char::from_u32(u32::from(character) + CONTROL_PICTURES),
        '\u{7F}' => Some(DEL_TWIN),
        _ => None,
    }
}

/// What a replacement stands for.
fn untwin(character: char) -> Option<char> {
    match character {
        '＼' | '＜' | '＞' | '＂' | '＇' | '＄' | '｀' => {
            char::from_u32(u32::from(character) - FULL_WIDTH)
        }
        '\u{2401}'..='\u{241F}' => char::from_u32(u32::from(character) - CONTROL_PICTURES),
        DEL_TWIN => Some('\u{7F}'),
        _ => None,
    }
}

/// Whether a character needs a quote before it to be stored as itself.
fn is_special(character: char, edge: bool) -> bool {
    character == QUOTE || untwin(character).is_some() || (edge && character == SPACE_TWIN)
}

/// The byte that two capital hex digits at the start of `text` stand for, if it is one that [`encode`]
/// writes so: ASCII never is, or a quoted `2F` could put a `/` into a name.
fn quoted_byte(text: &str) -> Option<u8> {
    let digits = text.as_bytes().get(..2)?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    if !digits.iter().all(is_digit) {
        return None;
    }
    let byte = u8::from_str_radix(text.get(..2)?, 16).ok()?;
    (!byte.is_ascii()).then_some(byte)
}

fn high_digit(byte: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)])
}

fn low_digit(byte: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(byte & 0xF)])
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Legal names made of what is difficult: quotes, twins, edges, broken UTF-8.
    fn legal_name() -> impl Strategy<Value = OsString> {
        let piece = prop_oneof![
            Just("‛".as_bytes().to_vec()),
            Just("␠".as_bytes().to_vec()),
            Just(" ".as_bytes().to_vec()),
            Just("／".as_bytes().to_vec()),
            Just("␀".as_bytes().to_vec()),
            Just("．".as_bytes().to_vec()),
            Just(".".as_bytes().to_vec()),
            Just("2F".as_bytes().to_vec()),
            Just("FF".as_bytes().to_vec()),
            prop::sample::select(
                "\\<>\"'$`＼＜＞＂＇＄｀␁␟␡\u{1}\u{1f}\u{7f}\n~é\u{FFFD}"
                    .chars()
                    .collect::<Vec<_>>()
            )
            .prop_map(|c| c.to_string().into_bytes()),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<u8>().prop_map(|b| vec![b]),
        ];
        prop::collection::vec(piece, 1..12)
            .prop_map(|pieces| {
                let mut bytes = pieces.concat();
                bytes.retain(|b| !matches!(b, 0 | b'/'));
                OsString::from_vec(bytes)
            })
            .prop_filter("legal", |name| {
                !matches!(name.as_bytes(), b"" | b"." | b"..")
            })
    }

    fn assert_legal(name: &OsStr) {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes != b"." && bytes != b"..");
        assert!(!bytes.contains(&b'/') && !bytes.contains(&0));
    }

    proptest! {
        #[test]
        fn every_legal_name_comes_back(name in legal_name()) {
            let stored = encode(&name);
            prop_assert_eq!(decode(&stored), name);
            let refused = |c: char| c.is_ascii_control() || "\\<>\"'$`/".contains(c);
            prop_assert!(!stored.chars().any(refused), "{}", stored);
            prop_assert!(!stored.starts_with(' ') && !stored.ends_with(' '), "{:?}", stored);
        }

        #[test]
        fn different_names_are_stored_differently(a in legal_name(), b in legal_name()) {
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn whatever_the_service_says_becomes_a_legal_name(
            stored in "[./\\x00‛␠␀ 2FCab＄]{0,6}|\\PC{0,300}",
            tag in "[a-z0-9]{6}",
            number in 2u32..,
            is_folder: bool,
        ) {
            assert_legal(&decode(&stored));
            let shown = local_name(&stored, &tag, is_folder);
            assert_legal(&shown);
            prop_assert!(shown.len() <= NAME_MAX);
            prop_assert!(shown.to_str().is_some() || decode(&stored).to_str().is_none());
            let other = numbered(&shown, number, is_folder);
            assert_legal(&other);
            prop_assert!(other.len() <= NAME_MAX);
            prop_assert_ne!(other, shown);
        }
    }

    #[test]
    fn names_are_stored_as_rclone_stores_them() {
        for (local, stored) in [
            ("a.txt", "a.txt"),
            ("Tom's \"best\" <1>.mkv", "Tom＇s ＂best＂ ＜1＞.mkv"),
            ("100 $ `x` \\", "100 ＄ ｀x｀ ＼"),
            ("price ＄", "price ‛＄"),
            ("‛", "‛‛"),
            (" a b ", "␠a b␠"),
            (" ", "␠"),
            ("␠a␠b␠", "‛␠a␠b‛␠"),
            ("line\nbreak\u{7f}", "line␊break␡"),
            ("␊", "‛␊"),
            ("AC／DC", "AC／DC"),
            ("．", "．"),
            ("...", "..."),
            ("é:?*|#%[];~.", "é:?*|#%[];~."),
        ] {
            assert_eq!(encode(OsStr::new(local)), stored);
            assert_eq!(decode(stored), local);
        }
        let broken = OsStr::from_bytes(b"caf\xE9 \xC3\x28");
        assert_eq!(encode(broken), "caf‛E9 ‛C3(");
        assert_eq!(decode("caf‛E9 ‛C3("), broken);
    }

    #[test]
    fn what_no_name_may_be_is_shown_escaped() {
        for (stored, local) in [
            ("", "unnamed"),
            (".", "．"),
            ("..", "．．"),
            ("../../etc/passwd", "..／..／etc／passwd"),
            ("a\0b", "a␀b"),
            ("‛2F", "‛2F"),
            ("‛00", "‛00"),
            ("a‛", "a‛"),
        ] {
            assert_eq!(decode(stored), local, "{stored:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_keep_their_extension() {
        let long = "é".repeat(200) + ".mkv";
        let shown = local_name(&long, "abc123", false);
        let text = shown.to_str().unwrap();
        assert!(text.ends_with("~abc123.mkv"), "{text}");
        assert!((NAME_MAX - 1..=NAME_MAX).contains(&shown.len()));
        assert!(
            local_name(&long, "000042", true)
                .to_str()
                .unwrap()
                .ends_with("~000042")
        );
    }

    #[test]
    fn numbers_go_before_the_extension_of_files_only() {
        let file = |name: &str| numbered(OsStr::new(name), 2, false);
        assert_eq!(file("a.txt"), "a (2).txt");
        assert_eq!(file(".bashrc"), ".bashrc (2)");
        assert_eq!(file("Vol. 1 and more"), "Vol. 1 and more (2)");
        assert_eq!(file("a."), "a. (2)");
        assert_eq!(numbered(OsStr::new("v1.2"), 3, true), "v1.2 (3)");
    }
}
