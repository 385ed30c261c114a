//! Which hosts may be talked to, and how: https everywhere, plain http on loopback only, upload and
//! download hosts within the service's own domains.
//!
//! Promises: a host the service names is used only when it lies in the domain table, or on loopback
//! when the API base itself does; so a forged answer cannot send the key or a reader elsewhere.
use super::error::{ApiError, ErrorKind, Reached};
use reqwest::Url;
use std::fmt;
use std::str::FromStr;

/// The service's domains (API reference 1, domain table).
const SERVICE_DOMAINS: [&str; 11] = [
    "1fichier.com",
    "alterupload.com",
    "cjoint.net",
    "desfichiers.com",
    "dfichiers.com",
    "megadl.fr",
    "mesfichiers.org",
    "piecejointe.net",
    "pjointe.com",
    "tenvoi.com",
    "dl4free.com",
];

/// The base of every call, e.g. `https://api.1fichier.com/v1`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiUrl {
    base: Url,
    loopback: bool,
}

/// Why a text cannot be the API's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadApiUrl {
    /// Not a URL with a host.
    #[error("the API address is not a URL such as https://api.1fichier.com/v1")]
    Shape,
    /// Plain http to another machine would send the key in clear.
    #[error("the API address must be https; plain http is accepted for this machine only")]
    Plain,
    /// A user name, a query or a fragment.
    #[error("the API address must not carry a user name, a password, a query or a fragment")]
    Extras,
}

impl ApiUrl {
    /// Where the service's API lives (API reference 1).
    pub const SERVICE: &str = "https://api.1fichier.com/v1";

    /// The service's own API.
    pub fn service() -> Self {
        Self::parse(Self::SERVICE).expect("the constant is a sound address")
    }

    /// Takes an `https` URL, or an `http` one of this machine (127/8, `::1`, `localhost`).
    pub fn parse(text: &str) -> Result<Self, BadApiUrl> {
        let mut base = Url::parse(text.trim()).map_err(|_| BadApiUrl::Shape)?;
        let loopback = is_loopback(&base);
        match base.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(BadApiUrl::Plain),
            _ => return Err(BadApiUrl::Shape),
        }
        if base.host_str().is_none_or(str::is_empty) {
            return Err(BadApiUrl::Shape);
        }
        let extras = !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some();
        if extras {
            return Err(BadApiUrl::Extras);
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        Ok(Self { base, loopback })
    }

    /// Whether the API is on this machine, and so may be plain http.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether calls travel unencrypted (on this machine).
    pub fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// The address of one call, e.g. `folder/ls`.
    pub(super) fn call(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{name}.cgi", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// The address of an upload node the service named as a bare host (API reference 6, step 1); a
    /// port is accepted on loopback only.
    pub(super) fn node(&self, call: &'static str, host: &str) -> Result<Url, ApiError> {
        let shape = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
        let scheme = if self.is_plain() { "http" } else { "https" };
        let url = Url::parse(&format!("{scheme}://{host}/"))
            .ok()
            .filter(|_| shape && !host.is_empty())
            .ok_or_else(|| refused(call, host))?;
        self.admit(call, url)
    }

    /// A download address the service gave (API reference 7.1).
    pub(super) fn download(&self, call: &'static str, text: &str) -> Result<Url, ApiError> {
        let mut url = Url::parse(text).map_err(|_| {
            let detail = "the download address is no URL";
            ApiError::new(ErrorKind::Malformed, call, Reached::Answered, detail)
        })?;
        // An account may be set to plain links; the same hosts speak TLS, and nothing of ours
        // travels in clear.
        if url.scheme() == "http" && !self.loopback {
            // A URL that cannot be changed is refused below.
            let _ = url.set_scheme("https");
        }
        self.admit(call, url)
    }

    fn admit(&self, call: &'static str, url: Url) -> Result<Url, ApiError> {
        let host = url.host_str().unwrap_or_default();
        let admitted = url.username().is_empty()
            && url.password().is_none()
            && if self.loopback {
                is_loopback(&url) && matches!(url.scheme(), "http" | "https")
            } else {
                url.scheme() == "https"
                    && url.port().is_none()
                    && (in_service(host) || Some(host) == self.base.host_str())
            };
        if admitted {
            Ok(url)
        } else {
            Err(refused(call, host))
        }
    }
}

/// Shows the host alone: the rest of a download address is a secret.
fn refused(call: &'static str, host: &str) -> ApiError {
    ApiError::new(
        ErrorKind::HostRefused,
        call,
        Reached::Answered,
        super::text::one_line(host),
    )
}

fn in_service(host: &str) -> bool {
    SERVICE_DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || literal
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl FromStr for ApiUrl {
    type Err = BadApiUrl;

    fn from_str(text: &str) -> Result<Self, BadApiUrl> {
        Self::parse(text)
    }
}

impl fmt::Display for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str())
    }
}

impl fmt::Debug for ApiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_anywhere_and_http_on_this_machine_only() {
        for good in [
            "https://api.1fichier.com/v1",
            "https://api.1fichier.com/v1/",
            "http://127.0.0.1:8080/v1",
            "http://127.8.9.1/v1",
            "http://[::1]:80/v1",
            "http://localhost:3000",
            "https://localhost:3000/v1",
        ] {
            assert!(ApiUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://api.1fichier.com/v1", BadApiUrl::Plain),
            ("http://10.0.0.1/v1", BadApiUrl::Plain),
            ("http://localhost.evil.example/v1", BadApiUrl::Plain),
            ("http://127.0.0.1.evil.example/v1", BadApiUrl::Plain),
            ("ftp://127.0.0.1/", BadApiUrl::Shape),
            ("api.1fichier.com", BadApiUrl::Shape),
            ("https://", BadApiUrl::Shape),
            ("https://me:secret@api.1fichier.com/v1", BadApiUrl::Extras),
            ("https://api.1fichier.com/v1?x=1", BadApiUrl::Extras),
        ] {
            assert_eq!(ApiUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn calls_hang_below_the_base() {
        let url = |base: &str| ApiUrl::parse(base).unwrap().call("folder/ls").to_string();
        let service = "https://api.1fichier.com/v1/folder/ls.cgi";
        assert_eq!(url("https://api.1fichier.com/v1"), service);
        assert_eq!(url("https://api.1fichier.com/v1//"), service);
        assert_eq!(url("http://[::1]:81"), "http://[::1]:81/folder/ls.cgi");
    }

    #[test]
    fn nodes_and_links_stay_within_the_service() {
        let service = ApiUrl::service();
        for good in ["up3.1fichier.com", "1fichier.com", "a.b.tenvoi.com"] {
            assert!(service.node("t", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil1fichier.com",
            "1fichier.com.evil.example",
            "up3.1fichier.com:8443",
            "up3.1fichier.com/x",
            "me@up3.1fichier.com",
            "127.0.0.1",
            "localhost",
            "up3.1fichier.com#",
            "up3.1fichier.com?",
            "up3.1fichier.com\\@evil.example",
        ] {
            let error = service.node("t", bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::HostRefused, "{bad}");
        }
        let link = |text: &str| service.download("t", text).map(|url| url.to_string());
        assert_eq!(
            link("http://a-7.1fichier.com/p12").unwrap(),
            "https://a-7.1fichier.com/p12"
        );
        for bad in [
            "https://a-7.1fichier.com:444/p1",
            "https://me@a-7.1fichier.com/p1",
            "http://127.0.0.1/p1",
            "https://evil.example/p1",
            "file:///etc/passwd",
        ] {
            assert_eq!(link(bad).unwrap_err().kind, ErrorKind::HostRefused, "{bad}");
        }
        assert_eq!(link("nonsense").unwrap_err().kind, ErrorKind::Malformed);
    }

    #[test]
    fn a_loopback_api_keeps_everything_on_loopback() {
        let local = ApiUrl::parse("http://127.0.0.1:4000/v1").unwrap();
        let node = local.node("t", "127.0.0.1:4000").unwrap();
        assert_eq!(node.as_str(), "http://127.0.0.1:4000/");
        assert!(local.download("t", "http://127.0.0.1:4000/p1").is_ok());
        for bad in ["up3.1fichier.com", "evil.example:80", "10.0.0.1"] {
            assert!(local.node("t", bad).is_err(), "{bad}");
        }
        assert!(local.download("t", "https://a-7.1fichier.com/p1").is_err());
        let secure = ApiUrl::parse("https://localhost:4000/v1").unwrap();
        assert_eq!(
            secure.node("t", "localhost:4000").unwrap().as_str(),
            "https://localhost:4000/"
        );
    }
}
