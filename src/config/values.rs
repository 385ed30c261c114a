//! The values options take, as types that can only hold what makes sense.
//!
//! Promises: a value that parsed is usable; an error says in one line what would be.
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Characters of an account's name at most: it becomes a file name and a mount's source.
const ACCOUNT_NAME_CHARS: usize = 64;

/// The name an account is configured under. It ends up in file names and in the mount table, so
/// it holds only `a-z 0-9 . _ -` and starts with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountName(Box<str>);

impl AccountName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let sound = (1..=ACCOUNT_NAME_CHARS).contains(&text.len())
            && text
                .bytes()
                .all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
            && text.bytes().next().is_some_and(plain);
        if !sound {
            return Err(format!(
                "an account's name has 1 to {ACCOUNT_NAME_CHARS} characters a-z 0-9 . _ - and \
                 starts with a letter or digit"
            ));
        }
        Ok(Self(text.into()))
    }
}

/// A proxy's URL. It may hold a password, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Box<str>);

impl ProxyUrl {
    /// The URL, for the HTTP client alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyUrl(…)")
    }
}

impl FromStr for ProxyUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .filter(|rest| !rest.trim_start_matches('/').is_empty());
        if host.is_none() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("a proxy is given as http://HOST:PORT or https://HOST:PORT".into());
        }
        Ok(Self(text.into()))
    }
}

/// A folder of the account as a path from its root: `/` or `/a/b`, never with `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPath(Box<str>);

impl AccountPath {
    /// The path, starting with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names on the way from the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }
}

impl Default for AccountPath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl FromStr for AccountPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = text
            .split('/')
            .filter(|name| !matches!(*name, "" | "."))
            .collect();
        if names.contains(&"..") || text.contains('\0') {
            return Err("a folder is given from the account's root, without `..`".into());
        }
        Ok(Self(format!("/{}", names.join("/")).into()))
    }
}

/// Mail addresses of accounts, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mails(Vec<Box<str>>);

impl Mails {
    /// Each of them, once.
    pub fn each(&self) -> &[Box<str>] {
        &self.0
    }
}

impl FromStr for Mails {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mails: Vec<Box<str>> = Vec::new();
        for mail in text.split(',').map(str::trim) {
            let sound = mail.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty() && !host.is_empty() && !host.contains('@')
            });
            if !sound || mail.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
                return Err("give mail addresses, separated by commas".into());
            }
            if !mails.iter().any(|known| known.eq_ignore_ascii_case(mail)) {
                mails.push(mail.into());
            }
        }
        Ok(Self(mails))
    }
}

/// Permission bits taken away from what the mount shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Umask(pub u16);

impl FromStr for Umask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        u16::from_str_radix(text, 8)
            .ok()
            .filter(|bits| *bits <= 0o777 && text.bytes().all(|b| b.is_ascii_digit()))
            .map(Self)
            .ok_or_else(|| "a umask is an octal number from 000 to 777, e.g. 022".into())
    }
}

/// How fast contents may come and go, in bytes per second; `None` limits nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// To the service.
    pub up: Option<u64>,
    /// From the service.
    pub down: Option<u64>,
}

/// Bytes per second at least: slower, the smallest read of a few programs at once would take longer
/// than any of them waits.
const SLOWEST_BANDWIDTH: u64 = 64 * 1024;

impl FromStr for Bandwidth {
    type Err = String;

    /// One rate for both directions, or `UP:DOWN`; `off` or 0 limits nothing.
    fn from_str(text: &str) -> Result<Self, String> {
        let one = |text: &str| match text.trim() {
            "off" => Ok(None),
            given => match size(given).map_err(|_| ())? {
                0 => Ok(None),
                rate if rate >= SLOWEST_BANDWIDTH => Ok(Some(rate)),
                _ => Err(()),
            },
        };
        let (up, down) = text.split_once(':').unwrap_or((text, text));
        match (one(up), one(down)) {
            (Ok(up), Ok(down)) => Ok(Self { up, down }),
            _ => Err(
                "a bandwidth is a size per second of 64KiB or more, e.g. 10MB, or \
                      UP:DOWN, e.g. 1MB:10MB; off or 0 limits nothing"
                    .into(),
            ),
        }
    }
}

/// Where the status page is served; `off` serves none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageAddress(pub Option<SocketAddr>);

impl FromStr for PageAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let here = text.strip_prefix("localhost:");
        let here = here.map(|port| format!("127.0.0.1:{port}"));
        let address = here.as_deref().unwrap_or(text).parse();
        address
            .map(|address| Self(Some(address)))
            .map_err(|_| "an address is 127.0.0.1:PORT or [::1]:PORT; off serves none".into())
    }
}

/// When closing a written file returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Upload {
    /// As soon as it survives a crash.
    #[default]
    Background,
    /// When the account has it.
    Wait,
}

impl FromStr for Upload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "background" => Ok(Self::Background),
            "wait" => Ok(Self::Wait),
            _ => Err("an upload is `background` or `wait`".into()),
        }
    }
}

/// Parses a switch.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("a switch takes true or false".into()),
    }
}

/// Parses an amount of bytes: `512 MiB`, `20GB`, `1073741824`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "a size is a number with a unit, e.g. 512MiB or 20GB".into())
}

/// Longest span an option takes: a year. Longer ones are typing errors, and sums of them with a
/// point of time must not overflow.
const LONGEST_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);

/// Parses a span of time: `90s`, `5m`, `1h 30m`, or a number of seconds.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let plain = text.parse::<u64>().ok().map(Duration::from_secs);
    plain
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|span| *span <= LONGEST_SPAN)
        .ok_or_else(|| "a span is a number with a unit, e.g. 90s, 5m or 1h, at most a year".into())
}

/// Starts per second at least: below, a folder would take longer than any program waits.
const SLOWEST_RATE: f64 = 0.1;

/// Starts per second at most: the service allows 3 (API reference 3).
const FASTEST_RATE: f64 = 3.0;

/// Parses a rate of calls.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| (SLOWEST_RATE..=FASTEST_RATE).contains(rate))
        .ok_or_else(|| {
            format!("a rate is a number of calls per second from {SLOWEST_RATE} to {FASTEST_RATE}")
        })
}

/// Connections for one file at most: what a mount uses in all must do for several (API reference 3).
const MOST_STREAMS: usize = 8;

/// Parses a number of connections.
pub(super) fn streams(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=MOST_STREAMS).contains(count))
        .ok_or_else(|| format!("a number of connections is one from 1 to {MOST_STREAMS}"))
}

/// Parses a user: a number or a name this machine knows.
pub(super) fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err("no such user; give a name this machine knows or a number".into()),
    }
}

/// Parses a group: a number or a name this machine knows.
pub(super) fn group(text: &str) -> Result<u32, String> {
    if let Ok(gid) = text.parse() {
        return Ok(gid);
    }
    match nix::unistd::Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err("no such group; give a name this machine knows or a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn account_names_cannot_leave_their_folder() {
        for good in ["default", "work-2", "a.b_c", "0"] {
            assert_eq!(good.parse::<AccountName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in [
            "", ".", "..", "../x", "a/b", "A", "a,b", "a\nb", "-a", "é", &long,
        ] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_spans_rates_and_masks_have_units_and_bounds() {
        assert_eq!(size("20GB"), Ok(20_000_000_000));
        assert_eq!(size("512 MiB"), Ok(512 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("-1").is_err() && size("lots").is_err());
        assert_eq!(span("300"), Ok(Duration::from_secs(300)));
        assert_eq!(span("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(span("1000000h").is_err() && span("5 fortnights").is_err());
        assert_eq!(rate("2.5"), Ok(2.5));
        for bad in ["0", "3.1", "NaN", "inf", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!("022".parse(), Ok(Umask(0o022)));
        for bad in ["", "8", "1000", "+22", "0o22"] {
            assert!(bad.parse::<Umask>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bandwidth_is_for_both_directions_or_for_each() {
        let both = |up, down| Ok(Bandwidth { up, down });
        assert_eq!("10MB".parse(), both(Some(10_000_000), Some(10_000_000)));
        assert_eq!("1MiB:off".parse(), both(Some(1 << 20), None));
        assert_eq!("0:2M".parse(), both(None, Some(2_000_000)));
        for off in ["off", "0", "0:off"] {
            assert_eq!(off.parse(), Ok(Bandwidth::default()), "{off}");
        }
        for bad in ["", "fast", "1MB:", ":1MB", "1:2:3", "1000", "-1MB"] {
            assert!(bad.parse::<Bandwidth>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_has_an_address_with_a_port() {
        let at = |text: &str| {
            text.parse::<PageAddress>()
                .map(|it| it.0.map(|it| it.to_string()))
        };
        assert_eq!(at("127.0.0.1:9815"), Ok(Some("127.0.0.1:9815".into())));
        assert_eq!(at("localhost:0"), Ok(Some("127.0.0.1:0".into())));
        assert_eq!(at("[::1]:80"), Ok(Some("[::1]:80".into())));
        assert_eq!(at("off"), Ok(None));
        for bad in [
            "",
            "9815",
            "127.0.0.1",
            ":9815",
            "host:9815",
            "127.0.0.1:99999",
            "::1:80",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_upload_is_waited_for_or_not() {
        assert_eq!("wait".parse(), Ok(Upload::Wait));
        assert_eq!("background".parse(), Ok(Upload::default()));
        let err = "later".parse::<Upload>().unwrap_err();
        assert!(err.contains("`wait`"), "{err}");
    }

    #[test]
    fn users_and_groups_are_numbers_or_known_names() {
        assert_eq!(user("0"), Ok(0));
        assert_eq!(user("root"), Ok(0));
        assert_eq!(group("root"), Ok(0));
        assert!(user("no such user").is_err() && group("no such group").is_err());
        assert!(user("-1").is_err());
    }

    #[test]
    fn proxies_are_urls_and_are_not_printed() {
        let proxy: ProxyUrl = "http://me:secret@proxy:3128".parse().unwrap();
        assert!(!format!("{proxy:?}").contains("secret"));
        for bad in ["", "proxy:3128", "socks5://x", "http://", "http://a b"] {
            assert!(bad.parse::<ProxyUrl>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_account_path_is_always_absolute_and_never_climbs(text in "[a./\u{e9} ]{0,20}") {
            if let Ok(path) = text.parse::<AccountPath>() {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.as_str().contains("//"));
                prop_assert!(path.components().all(|name| name != "." && name != ".."));
                prop_assert_eq!(path.as_str().parse::<AccountPath>(), Ok(path.clone()));
            }
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,40}") {
            let _ = (size(&text), span(&text), rate(&text), text.parse::<Umask>());
            let _ = (text.parse::<AccountName>(), text.parse::<ProxyUrl>());
            let _ = text.parse::<Bandwidth>();
        }
    }
}
