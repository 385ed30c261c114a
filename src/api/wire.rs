//! JSON as the service writes it, read leniently: numbers as numbers or strings, flags in five
//! spellings, lists that are missing or null (API reference 1, 2.1 and 5).
//!
//! Promises: no byte string makes it panic; a scalar of the wrong shape is "not given" and the call
//! decides whether it can do without; a list of the wrong shape is an error, never an empty list.
//! Never knows HTTP, nor what a call means.
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Reads `body` as a `T`. When strict JSON fails, once more with what names do to it repaired: a file
/// name with a backslash has made the service send such text (API reference 2.1), and a single name
/// must not hide all others of its folder.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body).or_else(|strict| match repaired(body) {
        Cow::Owned(repaired) => serde_json::from_slice(&repaired).map_err(|_| strict),
        Cow::Borrowed(_) => Err(strict),
    })
}

/// What stands for something that is no character.
const NO_CHARACTER: &[u8] = b"\\ufffd";

/// Escapes control characters in strings, doubles each backslash there that starts no valid escape, and
/// replaces what is no UTF-8 and half of a pair of surrogates. `\"` before a `,`, `}` or `]` is taken as a
/// backslash that ends its string: no name may hold a quotation mark.
fn repaired(body: &[u8]) -> Cow<'_, [u8]> {
    if let Cow::Owned(text) = String::from_utf8_lossy(body) {
        return Cow::Owned(repaired(text.as_bytes()).into_owned());
    }
    if !body.iter().any(|byte| matches!(byte, b'\\' | 0..0x20)) {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            0..0x20 if in_string => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            b'\\' if in_string => at += escape(&body[at..], &mut out),
            _ => out.push(byte),
        }
        in_string ^= byte == b'"';
    }
    Cow::Owned(out)
}

/// Writes what a backslash before `rest` begins; how much of `rest` that took.
fn escape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let valid = match rest.first() {
        Some(b'"') if ends_a_value(&rest[1..]) => 0,
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
        Some(b'u') => match (unit(rest), rest.get(5..).and_then(after_backslash)) {
            (None, _) => 0,
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 11,
            (Some(0xD800..0xE000), _) => {
                out.extend_from_slice(NO_CHARACTER);
                return 5;
            }
            (Some(_), _) => 5,
        },
        _ => 0,
    };
    out.push(b'\\');
    match valid {
        0 => out.push(b'\\'),
        _ => out.extend_from_slice(&rest[..valid]),
    }
    valid
}

/// The number in `uXXXX`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"u")?.get(..4)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn after_backslash(text: &[u8]) -> Option<u16> {
    unit(text.strip_prefix(b"\\")?)
}

/// Whether a string that ended right before `rest` would be a whole value.
fn ends_a_value(rest: &[u8]) -> bool {
    rest.iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| matches!(byte, b',' | b'}' | b']'))
}

/// One value that should be a number, a flag or a text. Anything may be in its place.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Scalar {
    /// Missing, null, or neither number, flag nor text.
    #[default]
    None,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; what does not fit is `None`.
    Int(i128),
    /// A text.
    Text(String),
}

impl Scalar {
    /// A number, written as one or as a text.
    pub fn u64(&self) -> Option<u64> {
        u64::try_from(self.int()?).ok()
    }

    /// A number that may be negative, written as one or as a text.
    pub fn i64(&self) -> Option<i64> {
        i64::try_from(self.int()?).ok()
    }

    /// A flag: 1, "1" or true; everything else, also a missing one, is false.
    pub fn flag(&self) -> bool {
        match self {
            Self::Bool(set) => *set,
            _ => self.int().is_some_and(|number| number != 0),
        }
    }

    /// A text; a number is given in digits.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(number) => Some(number.to_string()),
            Self::None | Self::Bool(_) => None,
        }
    }

    /// A text with something in it.
    pub fn filled(self) -> Option<Box<str>> {
        self.text()
            .filter(|text| !text.is_empty())
            .map(String::into_boxed_str)
    }

    /// A decimal number of `unit`s, as `user/info` gives credits: `"12.5"` of 10^9 = 12.5·10^9.
    pub fn scaled(&self, unit: u64) -> Option<u64> {
        match self {
            Self::Int(number) => u64::try_from(*number).ok()?.checked_mul(unit),
            Self::Text(text) => scale(text.trim(), unit),
            Self::None | Self::Bool(_) => None,
        }
    }

    fn int(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            Self::None | Self::Bool(_) => None,
        }
    }
}

/// `digits[.digits]` times `unit`, without going through floating point.
fn scale(text: &str, unit: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let mut total = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit);
    let mut place = u128::from(unit);
    for digit in part.chars() {
        place /= 10;
        total += u128::from(digit.to_digit(10)?) * place;
    }
    u64::try_from(total).ok()
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Int(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Int(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
        // Kept in its own digits: whoever wants a fraction scales it, a whole one reads as a number.
        let text = format!("{value}");
        Ok(text
            .parse()
            .map_or_else(|_| Scalar::Text(text), Scalar::Int))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::None)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A list that may be missing or null; both are empty, and told apart from a list by `given`.
#[derive(Debug, Clone)]
pub struct List<T> {
    /// Whether the field was there at all, be it null.
    pub given: bool,
    /// What it holds.
    pub items: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            given: false,
            items: Vec::new(),
        }
    }
}

/// Entries of a list at most, fifty times what a listing shows of files (API reference 3): a text of entries
/// with nothing in them takes a hundred times its length in memory.
const MOST_ITEMS: usize = 250_000;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Option::<Items<T>>::deserialize(deserializer)?;
        Ok(Self {
            given: true,
            items: items.map(|items| items.0).unwrap_or_default(),
        })
    }
}

/// At most [`MOST_ITEMS`] of them.
struct Items<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor(PhantomData))
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST_ITEMS} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MOST_ITEMS {
                return Err(A::Error::invalid_length(items.len() + 1, &self));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}

/// What every answer may carry (API reference 2.1). Other fields are skipped.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Envelope {
    /// `OK` or `KO`; some successes carry none.
    pub status: Scalar,
    /// Why it failed; empty or absent on success.
    pub message: Scalar,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct Probe {
        n: Scalar,
        list: List<Scalar>,
    }

    fn probe(text: &str) -> Probe {
        from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_flags_and_texts_in_every_spelling() {
        assert_eq!(probe(r#"{"n":12}"#).n.u64(), Some(12));
        assert_eq!(
            probe(r#"{"n":"300000000000"}"#).n.u64(),
            Some(300_000_000_000)
        );
        assert_eq!(probe(r#"{"n":1.0}"#).n.u64(), Some(1));
        assert_eq!(probe(r#"{"n":-5}"#).n.i64(), Some(-5));
        assert_eq!(probe(r#"{"n":-5}"#).n.u64(), None);
        assert_eq!(probe(r#"{"n":1e300}"#).n.u64(), None);
        for unset in ["null", "0", "\"0\"", "\"\"", "false", "[1]", "{\"a\":1}"] {
            assert!(!probe(&format!("{{\"n\":{unset}}}")).n.flag(), "{unset}");
        }
        for set in ["1", "\"1\"", "true"] {
            assert!(probe(&format!("{{\"n\":{set}}}")).n.flag(), "{set}");
        }
        assert_eq!(probe(r#"{"n":7}"#).n.text().as_deref(), Some("7"));
        assert_eq!(
            probe(r#"{"n":"12.5"}"#).n.scaled(1_000_000_000),
            Some(12_500_000_000)
        );
        assert_eq!(
            probe(r#"{"n":12.5}"#).n.scaled(1_000_000_000),
            Some(12_500_000_000)
        );
        assert_eq!(probe(r#"{"n":3}"#).n.scaled(10), Some(30));
        assert_eq!(probe(r#"{"n":"-1.5"}"#).n.scaled(10), None);
    }

    #[test]
    fn lists_may_be_missing_or_null_but_not_something_else() {
        assert!(!probe("{}").list.given);
        assert!(probe(r#"{"list":null}"#).list.given);
        assert_eq!(probe(r#"{"list":[1,"2"]}"#).list.items.len(), 2);
        assert!(from_json::<Probe>(br#"{"list":{"0":1}}"#).is_err());
        assert!(from_json::<Probe>(br#"{"list":"x"}"#).is_err());
    }

    #[test]
    fn a_list_is_as_long_as_it_may_be_and_no_longer() {
        let list = |items: usize| format!("{{\"list\":[{}]}}", vec!["1"; items].join(","));
        assert_eq!(probe(&list(MOST_ITEMS)).list.items.len(), MOST_ITEMS);
        let error = from_json::<Probe>(list(MOST_ITEMS + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("at most"), "{error}");
    }

    #[test]
    fn lone_backslashes_are_repaired_and_sound_ones_kept() {
        for (sent, name) in [
            (r#"{"n":"a\b\x.txt"}"#, "a\u{8}\\x.txt"),
            (r#"{"n":"a\","list":[]}"#, "a\\"),
            (r#"{"n":"\u00e9\q"}"#, "é\\q"),
            (r#"{"n":"\\ \" \/ \q"}"#, "\\ \" / \\q"),
            (r#"{"n":"\u12"}"#, "\\u12"),
        ] {
            assert_eq!(probe(sent).n.text().as_deref(), Some(name), "{sent}");
        }
    }

    #[test]
    fn a_name_of_what_is_no_text_hides_no_other() {
        let sent: [(&[u8], &str); 8] = [
            (b"{\"n\":\"a\nb\x1b[2J\0\"}", "a\nb\u{1b}[2J\0"),
            (b"{\n\t\"n\":\"a\tb\"\r\n}", "a\tb"),
            (b"{\"n\":\"caf\xE9\"}", "caf\u{FFFD}"),
            (b"{\"n\":\"\xF0\x9F\\x\x01\"}", "\u{FFFD}\\x\u{1}"),
            (br#"{"n":"a\ud83d.txt"}"#, "a\u{FFFD}.txt"),
            (br#"{"n":"\ude00\ud83d\ude00"}"#, "\u{FFFD}\u{1F600}"),
            (br#"{"n":"\ud83d\ud83d\ude00\q"}"#, "\u{FFFD}\u{1F600}\\q"),
            (b"{\"n\":\"a\\\nb\"}", "a\\\nb"),
        ];
        for (sent, name) in sent {
            let probe: Probe = from_json(sent).unwrap();
            assert_eq!(probe.n.text().as_deref(), Some(name), "{sent:?}");
        }
        assert!(from_json::<Probe>(br#"{"n":"a"#).is_err());
        assert!(from_json::<Probe>(b"<html>\\</html>").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_json::<Probe>(&bytes);
            let _ = from_json::<Envelope>(&bytes);
        }

        #[test]
        fn no_nearly_json_panics(text in r#"[\[\]{}"\\:,a-u0-9.eE+ -]{0,60}"#) {
            let _ = from_json::<Probe>(text.as_bytes());
            let _ = repaired(text.as_bytes());
        }

        #[test]
        fn repair_leaves_valid_json_as_it_is(name in "\\PC{0,20}") {
            // A name's quotation mark is the one thing the repair reads differently.
            let name = name.replace('"', "");
            let sent = serde_json::to_vec(&serde_json::json!({ "n": name, "list": [name] })).unwrap();
            prop_assert_eq!(&*repaired(&sent), &sent[..]);
        }
    }
}
