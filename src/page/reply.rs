//! Which answer a request gets. Pure: a request and a status go in, an answer comes out.
use super::exposition::Format;
use super::{html, metrics};
use crate::control::Status;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::net::IpAddr;

/// What a browser may do with the page: show its own style and icon, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A page of another site may not show this one, nor a part of it.
const OWN_SITE_ONLY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The page's style.
const STYLE: &str = include_str!("style.css");

/// The page's icon.
const ICON: &str = include_str!("icon.svg");

const TEXT: &str = "text/plain; charset=utf-8";

/// By which names the page may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Those of this machine alone. A name of the network that leads here was made to: by it, a page of
    /// another site would pass for this one (DNS rebinding).
    Loopback,
    /// Any: the page is meant for others, and nobody knows what they call this machine.
    Any,
}

impl Hosts {
    fn allow(self, host: &str) -> bool {
        // `user@host` is none.
        let authority = host.parse::<Authority>().ok();
        let authority = authority.filter(|_| !host.contains('@'));
        let Some(authority) = authority else {
            return false;
        };
        let name = authority.host();
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        match plain.parse::<IpAddr>() {
            Ok(address) => self == Self::Any || address.is_loopback(),
            Err(_) => self == Self::Any || name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The page; `still` does not load itself again.
    Page {
        still: bool,
    },
    Metrics(Format),
    Style,
    Icon,
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It asks by a name that is none of ours.
    Host,
    /// It would change something.
    Method,
    /// There is nothing there.
    Path,
    /// The mount does not answer.
    Silence,
}

impl Refused {
    fn code(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::Silence => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Host => {
                "This address is not known here. Ask for it by an address of this machine, such as \
                 127.0.0.1, or by the name localhost.\n"
            }
            Self::Method => "Nothing can be changed here.\n",
            Self::Path => "There is a page for people at / and one for Prometheus at /metrics.\n",
            Self::Silence => "The mount does not answer.\n",
        }
    }
}

/// What `request` asks for.
pub(super) fn wanted<B>(request: &Request<B>, hosts: Hosts) -> Result<Wanted, Refused> {
    if !is_ours(request, hosts) {
        return Err(Refused::Host);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Err(Refused::Method);
    }
    let uri = request.uri();
    match uri.path() {
        "/" => Ok(Wanted::Page {
            still: uri.query() == Some("still"),
        }),
        "/metrics" => Ok(Wanted::Metrics(format(request.headers()))),
        "/style.css" => Ok(Wanted::Style),
        "/icon.svg" => Ok(Wanted::Icon),
        _ => Err(Refused::Path),
    }
}

/// Whether a request names us: in its `Host`, once, and in its target, if that has a name.
fn is_ours<B>(request: &Request<B>, hosts: Hosts) -> bool {
    let mut named = request.headers().get_all(HOST).iter();
    let host = named.next().and_then(|host| host.to_str().ok());
    let target = request.uri().authority();
    host.is_some_and(|host| hosts.allow(host))
        && named.next().is_none()
        && target.is_none_or(|target| hosts.allow(target.as_str()))
}

/// The form of metrics that is wanted: OpenMetrics where it is named and liked no less than text.
fn format(headers: &HeaderMap) -> Format {
    let (mut open, mut text) = (0.0, 0.0);
    for accepted in headers.get_all(ACCEPT) {
        for range in accepted.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut liking, mut version) = (1.0, None);
            for part in parts {
                match part
                    .split_once('=')
                    .map(|(name, value)| (name.trim(), value.trim()))
                {
                    Some(("q", value)) => liking = value.parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value),
                    _ => {}
                }
            }
            match (&*kind, version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => {
                    open = f32::max(open, liking);
                }
                ("text/plain", None | Some("0.0.4")) => text = f32::max(text, liking),
                _ => {}
            }
        }
    }
    if open > 0.0 && open >= text {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// The answer, of the status if it is needed; see [`Wanted::needs_status`].
pub(super) fn answer(wanted: Wanted, status: &Status) -> Response<String> {
    match wanted {
        Wanted::Page { still } => {
            let zone = TimeZone::system();
            let body = html::page(status, still, &Timestamp::now().to_zoned(zone));
            response(StatusCode::OK, "text/html; charset=utf-8", body)
        }
        Wanted::Metrics(format) => response(
            StatusCode::OK,
            format.content_type(),
            metrics::text(status, format),
        ),
        Wanted::Style => response(StatusCode::OK, "text/css; charset=utf-8", STYLE.to_owned()),
        Wanted::Icon => response(StatusCode::OK, "image/svg+xml", ICON.to_owned()),
    }
}

impl Wanted {
    /// Whether its answer tells of the mount.
    pub(super) fn needs_status(self) -> bool {
        matches!(self, Self::Page { .. } | Self::Metrics(_))
    }
}

/// An answer that says why there is none.
pub(super) fn refusal(why: Refused) -> Response<String> {
    let mut refusal = response(why.code(), TEXT, why.words().to_owned());
    if why == Refused::Method {
        let methods = HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(ALLOW, methods);
    }
    refusal
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (OWN_SITE_ONLY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(method: &str, target: &str, host: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(target);
        request.header(HOST, host).body(()).unwrap()
    }

    fn code(request: &Request<()>) -> u16 {
        wanted(request, Hosts::Loopback).map_or_else(|it| it.code().as_u16(), |_| 200)
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in [
            "127.0.0.1:9815",
            "127.1.2.3",
            "localhost:1",
            "LOCALHOST",
            "[::1]:9815",
            "[::1]",
        ] {
            assert!(Hosts::Loopback.allow(host), "{host}");
        }
        for host in [
            "evil.example:9815",
            "localhost.evil.example",
            "192.0.2.7:9815",
            "127.0.0.1.evil.example",
            "me@127.0.0.1",
            "0.0.0.0",
            "",
            "[::1",
            "[2001:db8::1]:1",
        ] {
            assert!(!Hosts::Loopback.allow(host), "{host}");
            assert_eq!(code(&request("GET", "/", host)), 421, "{host}");
        }
        assert!(Hosts::Any.allow("nas.lan:9815") && !Hosts::Any.allow("a b"));
        let none = Request::builder().uri("/").body(()).unwrap();
        assert_eq!(code(&none), 421);
        let mut two = request("GET", "/", "localhost");
        let second = HeaderValue::from_static("evil.example");
        two.headers_mut().append(HOST, second);
        assert_eq!(code(&two), 421);
        // A target that names another host goes before the header.
        assert_eq!(
            code(&request("GET", "http://evil.example/", "localhost")),
            421
        );
        assert_eq!(
            code(&request("GET", "http://localhost/metrics", "localhost")),
            200
        );
    }

    #[test]
    fn what_is_not_there_and_what_would_change_something_is_refused() {
        assert_eq!(code(&request("GET", "/", "localhost")), 200);
        assert_eq!(code(&request("HEAD", "/metrics?x", "localhost")), 200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "BREW"] {
            let refused = wanted(&request(method, "/", "localhost"), Hosts::Any).unwrap_err();
            let refused = refusal(refused);
            assert_eq!(refused.status(), 405, "{method}");
            assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
        }
        for path in ["/x", "/metrics/", "/../etc/passwd", "//"] {
            assert_eq!(code(&request("GET", path, "localhost")), 404, "{path}");
        }
        assert_eq!(
            wanted(&request("GET", "/?still", "localhost"), Hosts::Any).unwrap(),
            Wanted::Page { still: true }
        );
    }

    #[test]
    fn metrics_come_in_the_form_that_is_liked_best() {
        let format_of = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            format(&headers)
        };
        // What Prometheus 2 and 3 send.
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format_of(prometheus), Format::OpenMetrics);
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        assert_eq!(format_of(three), Format::OpenMetrics);
        assert_eq!(
            format_of("application/openmetrics-text"),
            Format::OpenMetrics
        );
        for text in [
            "*/*",
            "text/html,*/*;q=0.8",
            "",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.1,text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
        ] {
            assert_eq!(format_of(text), Format::Text, "{text}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn every_answer_keeps_browsers_in_bounds() {
        let status = Status::default();
        for wanted in [
            Wanted::Page { still: false },
            Wanted::Metrics(Format::Text),
            Wanted::Style,
            Wanted::Icon,
        ] {
            let answer = answer(wanted, &status);
            let headers = answer.headers();
            let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert!(!headers.contains_key("access-control-allow-origin"));
        }
        assert!(
            refusal(Refused::Path)
                .headers()
                .contains_key(X_FRAME_OPTIONS)
        );
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(host in "[ -~]{0,40}", accept in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(&accept).unwrap());
            let _ = (Hosts::Loopback.allow(&host), Hosts::Any.allow(&host), format(&headers));
        }
    }
}
