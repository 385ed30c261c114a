//! What may be asked.
use crate::api::PasswordChange;
use crate::secret::Password;
use serde::{Deserialize, Serialize};

/// What an errand is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A file or folder by its inode number in the mount that is asked.
    Inode {
        /// The number.
        inode: u64,
        /// How the person called it.
        path: String,
    },
    /// A file or folder by its path from the account's root, as a mount of all of it would show it.
    Path(String),
    /// A file by its public URL, one's own or somebody else's.
    Link(String),
}

/// One errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "errand", rename_all = "kebab-case")]
pub enum Errand {
    /// A file's public URL, or that of a folder's public page.
    Link {
        /// Which file or folder.
        of: Target,
        /// Also a link to the bytes themselves, which costs a call.
        direct: bool,
        /// Of a file that has one and is somebody else's.
        password: Option<Password>,
    },
    /// Who may see a folder.
    Shared {
        /// Which folder.
        of: Target,
    },
    /// From now on these may see a folder, and nobody else.
    Share {
        /// Which folder.
        of: Target,
        /// Who.
        with: Sharing,
    },
    /// Sets what the service keeps with a file.
    Protect {
        /// Which file.
        of: Target,
        /// Its password.
        password: PasswordChange,
        /// Its description, empty for none; absent to leave it.
        description: Option<String>,
    },
    /// The service is to fetch these itself.
    Fetch {
        /// What, at most [`URLS_AT_ONCE`](super::URLS_AT_ONCE) at once.
        urls: Vec<String>,
        /// Into which folder.
        into: Target,
        /// With these request headers.
        headers: Headers,
    },
    /// What the service was asked to fetch.
    Fetches,
    /// What became of a request to fetch.
    Fetched {
        /// Its number.
        id: u64,
    },
    /// Takes files of others into the account, on the service's side.
    Import {
        /// Their public URLs, at most [`LINKS_AT_ONCE`](super::LINKS_AT_ONCE) at once.
        links: Vec<String>,
        /// Into which folder.
        into: Target,
        /// Another name, for a single one.
        name: Option<String>,
        /// The password of all of them.
        password: Option<Password>,
    },
    /// All the service knows of a file or folder.
    Info {
        /// Which.
        of: Target,
        /// Of a file that has one and is somebody else's.
        password: Option<Password>,
    },
}

/// Who may see a folder: all of it, since the service is told all of it every time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// Whether it has a public page.
    pub public: bool,
    /// The page's password.
    pub password: Option<Password>,
    /// The accounts that see it.
    pub guests: Vec<Guest>,
}

/// An account that sees a folder of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its mail address.
    pub email: String,
    /// Whether it may change the folder.
    pub writable: bool,
    /// Whether it does not see the links of files; then it may change nothing.
    pub links_hidden: bool,
}

/// Request headers for a fetch; they may hold a cookie, so they are not printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(String, String)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Headers({})", self.0.len())
    }
}

impl Headers {
    /// Reads lines `Name: value`, with the characters the service takes (API reference 8); else which line is
    /// wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let header = line
                .split_once(':')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, value)| is_header_name(name) && value.chars().all(is_in_header));
            let (name, value) = header.ok_or_else(|| {
                format!(
                    "line {} is no header the service takes: `Name: value`, with letters, digits and - \
                     in the name; letters, digits, blanks and -_+=%?,'\"/ in the value",
                    at + 1
                )
            })?;
            headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self(headers))
    }

    /// Names and values.
    pub fn each(&self) -> Vec<(&str, &str)> {
        let each = self.0.iter();
        each.map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_in_header(c: char) -> bool {
    c.is_ascii_alphanumeric() || " \t-_+=%?,'\"/".contains(c)
}

/// Characters of an address at most: what browsers and servers agree on.
const LONGEST_URL: usize = 2048;

/// Whether the service can be asked to fetch this: http or https, a host, nothing that is no URL.
pub fn is_fetchable(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let has_host = rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        host.starts_with(|c: char| c.is_alphanumeric() || c == '[')
    });
    has_host
        && url.len() <= LONGEST_URL
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_what_the_service_takes_and_are_not_printed() {
        let headers = Headers::parse("X-Token: abc=/1\n\n Accept: text/html, image/png\n").unwrap();
        assert_eq!(
            headers.each(),
            [("X-Token", "abc=/1"), ("Accept", "text/html, image/png")]
        );
        assert!(!format!("{headers:?}").contains("abc"));
        for wrong in ["no colon", ": x", "A_b: x", "A: a;b", "A: é", "A: x\nB: <"] {
            let line = if wrong.contains('\n') {
                "line 2"
            } else {
                "line 1"
            };
            assert!(
                Headers::parse(wrong).unwrap_err().starts_with(line),
                "{wrong}"
            );
        }
    }

    #[test]
    fn only_http_addresses_with_a_host_are_fetched() {
        for good in [
            "https://example.org/a.iso",
            "http://10.0.0.1:8080/x?y=1#z",
            "https://user:word@example.org",
            "https://[::1]/x",
        ] {
            assert!(is_fetchable(good), "{good}");
        }
        let long = format!("https://example.org/{}", "x".repeat(LONGEST_URL));
        for bad in [
            "",
            "https://",
            "https:///x",
            "ftp://example.org/x",
            "example.org",
            "https://a b/",
            &long,
        ] {
            assert!(!is_fetchable(bad), "{bad}");
        }
    }
}
