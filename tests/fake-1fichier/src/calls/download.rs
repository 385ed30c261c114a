//! `download/get_token` and the URLs it makes (API reference 7).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::account::mime_of;
use crate::body::Body;
use crate::calls::{file, flag, int, user};
use crate::config::ExpiredForm;
use crate::content::Content;
use crate::faults::FaultKind;
use crate::lock;
use crate::reply::{CONNECTIONS, Ko, Outcome};
use crate::route::{self, Answer};
use crate::rules::{Breach, seconds};
use crate::shape::piece;
use crate::state::StoredFile;
use crate::world::{Call, Via, World};

/// Hosts downloads are spread over.
const HOSTS: u64 = 9;

/// Tokens kept; a client that asks for more gets the oldest taken away, as their time is over anyway.
const MAX_TOKENS: usize = 100_000;

/// Time the bytes before a broken end get to leave, real.
const FLUSH: Duration = Duration::from_millis(30);

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
struct Token {
    file: StoredFile,
    created: Duration,
    started: bool,
    single: bool,
    used: bool,
    inline: bool,
    active: usize,
}

/// Download tokens by the digits of their URL.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<String, Token>);

impl Tokens {
    fn insert(&mut self, digits: String, token: Token, life: Duration) {
        if self.0.len() >= MAX_TOKENS {
            let now = token.created;
            self.0.retain(|_, t| now.saturating_sub(t.created) < life);
        }
        if self.0.len() < MAX_TOKENS {
            self.0.insert(digits, token);
        }
    }
}

/// `download/get_token`.
pub(crate) fn token(call: &Arc<Call>, params: &Map<String, Value>) -> Outcome {
    let world = &call.world;
    user::may_download(call)?;
    let single = flag(params, "single")?.unwrap_or(0) == 1;
    let inline = flag(params, "inline")?.unwrap_or(0) == 1;
    let no_ssl = flag(params, "no_ssl")?.unwrap_or(0) == 1;
    let cdn = flag(params, "cdn")?.unwrap_or(0);
    if !matches!(int(params, "restrict_ip")?.unwrap_or(0), 0..=2) {
        return Err(Ko::bad_parameter("restrict_ip"));
    }
    let config = world.config();
    if cdn == 1 && config.cdn_credits == 0 {
        return Err(Ko::new(403, "No CDN credits #237"));
    }
    let file = file::wanted(world, params)?;
    if file.visible_from > world.clock.now() {
        return Err(Ko::not_found());
    }
    let inline = inline || file.inline == 1;
    let (digits, host) = {
        let mut rng = lock(&world.rng);
        (
            rng.u64(1_000_000_000..10_000_000_000).to_string(),
            rng.u64(1..=HOSTS),
        )
    };
    let base = match &call.conn.via {
        Via::Plain => format!("http://{}", call.host),
        Via::Tls => format!("https://{}", call.host),
        Via::Tunnel(_) if no_ssl || file.no_ssl == 1 => format!("http://a-{host}.1fichier.com"),
        Via::Tunnel(_) => format!("https://a-{host}.1fichier.com"),
    };
    let token = Token {
        file,
        created: world.clock.now(),
        started: false,
        single,
        used: false,
        inline,
        active: 0,
    };
    let url = format!("{base}/p{digits}{}", if inline { "?inline" } else { "" });
    lock(&world.tokens).insert(digits, token, seconds(config.token_life_seconds));
    let mut out = json!({ "status": "OK", "url": url });
    if world.next_turn().is_multiple_of(2) {
        out["message"] = json!("");
    }
    Ok(out)
}

/// A place among the download connections, and one among those of the token.
struct Place {
    world: Arc<World>,
    digits: String,
}

impl Place {
    fn take(world: &Arc<World>, digits: &str) -> (Self, usize) {
        let open = world.counters.downloads.fetch_add(1, Ordering::Relaxed) + 1;
        world
            .counters
            .downloads_peak
            .fetch_max(open, Ordering::Relaxed);
        (
            Self {
                world: Arc::clone(world),
                digits: digits.to_owned(),
            },
            open,
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.world
            .counters
            .downloads
            .fetch_sub(1, Ordering::Relaxed);
        if let Some(token) = lock(&self.world.tokens).0.get_mut(&self.digits) {
            token.active = token.active.saturating_sub(1);
        }
    }
}

/// GET or HEAD of a download URL.
pub(crate) async fn serve(call: &Arc<Call>, request: &Request<Incoming>) -> Answer {
    let world = &call.world;
    let config = world.config();
    let digits = request.uri().path().trim_start_matches("/p").to_owned();
    let known = lock(&world.tokens).0.get(&digits).cloned();
    let range = request
        .headers()
        .get(RANGE)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    call.log(|e| {
        e.params = json!({
            "name": known.as_ref().map(|t| t.file.name.clone()),
            "url": known.as_ref().map(|t| t.file.url()),
            "range": range,
        });
    });
    if request.headers().contains_key(AUTHORIZATION) {
        call.note("key_on_download");
        if config.key_on_download_is_violation {
            call.violate(&Breach {
                rule: "key_on_download",
                detail: "the API key was sent to a download host".into(),
            });
        }
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(route::html(call, 405, "405 Method Not Allowed"));
    }
    let (place, open) = Place::take(world, &digits);
    if open > config.download_connections {
        call.violate(&Breach {
            rule: "connections",
            detail: format!("{open} downloads at the same time"),
        });
        if config.enforce_rules {
            return Ok(route::html(call, config.connections_status, CONNECTIONS));
        }
    }
    let subjects: Vec<String> = known
        .iter()
        .flat_map(|t| [t.file.name.clone(), t.file.url()])
        .collect();
    let fault = world.faults.pick("download", &subjects);
    call.log(|e| e.fault = fault.as_ref().map(|f| format!("{f:?}")));
    call.latency(1.0).await;
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    if matches!(fault, Some(FaultKind::LostReply)) {
        return route::reset(call);
    }
    if let Some(FaultKind::ExpiredToken { form }) = fault {
        return Ok(dead(call, form, known.as_ref()));
    }
    let gone = known
        .as_ref()
        .is_none_or(|t| world.account.state().file(&t.file.id).is_none());
    let admitted = if gone { None } else { admit(world, &digits) };
    let Some(token) = admitted else {
        return Ok(dead(call, config.expired_form, known.as_ref()));
    };
    let if_range = request.headers().contains_key(IF_RANGE);
    let head = request.method() == Method::HEAD;
    let range = range.as_deref().filter(|_| !if_range);
    Ok(send(call, &token, range, head, fault.as_ref(), place))
}

/// Uses the token once more, if it may be.
fn admit(world: &World, digits: &str) -> Option<Token> {
    let config = world.config();
    let parallel = config.token_parallel;
    let now = world.clock.now();
    let mut tokens = lock(&world.tokens);
    let token = tokens.0.get_mut(digits)?;
    let age = now.saturating_sub(token.created);
    let late = !token.started && age > seconds(config.token_start_seconds);
    let over = age > seconds(config.token_life_seconds);
    let consumed = token.single && token.used;
    let crowded = parallel > 0 && token.active >= parallel;
    if late || over || consumed || crowded {
        return None;
    }
    token.started = true;
    token.used = true;
    token.active += 1;
    Some(token.clone())
}

/// The answer of a URL that is dead.
fn dead(call: &Arc<Call>, form: ExpiredForm, token: Option<&Token>) -> Response<Body> {
    const FORMS: [ExpiredForm; 5] = [
        ExpiredForm::NotFound,
        ExpiredForm::Gone,
        ExpiredForm::Forbidden,
        ExpiredForm::Page,
        ExpiredForm::Redirect,
    ];
    let form = if form == ExpiredForm::Rotate {
        FORMS[call.world.next_turn() % FORMS.len()]
    } else {
        form
    };
    let text = "Le lien de t&eacute;l&eacute;chargement a expir&eacute;";
    match form {
        ExpiredForm::NotFound | ExpiredForm::Rotate => route::html(call, 404, text),
        ExpiredForm::Gone => route::html(call, 410, text),
        ExpiredForm::Forbidden => route::html(call, 403, text),
        ExpiredForm::Page => route::html(call, 200, text),
        ExpiredForm::Redirect => {
            let id = token.map_or("aaaaa", |t| t.file.id.as_str());
            let target = match &call.conn.via {
                Via::Plain => format!("http://{}/?{id}", call.host),
                Via::Tls => format!("https://{}/?{id}", call.host),
                Via::Tunnel(_) => format!("https://1fichier.com/?{id}"),
            };
            let mut response =
                route::with_body(call, 302, "text/html; charset=utf-8", "redirect", "");
            if let Ok(target) = HeaderValue::from_str(&target) {
                response.headers_mut().insert(LOCATION, target);
            }
            response
        }
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    /// First byte and one past the last.
    Part(u64, u64),
    Impossible,
}

fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(spec) = header.and_then(|h| h.strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    if spec.contains(',') {
        // Several ranges in one request: unknown on the service, so not kinder than a refusal.
        return Asked::Impossible;
    }
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    match spec.split_once('-') {
        Some(("", last)) => match number(last) {
            Some(0) => Asked::Impossible,
            Some(n) => Asked::Part(size.saturating_sub(n), size),
            None => Asked::Whole,
        },
        Some((first, last)) => match (number(first), number(last), last.is_empty()) {
            (Some(first), _, true) if first < size => Asked::Part(first, size),
            (Some(first), Some(last), _) if first <= last && first < size => {
                Asked::Part(first, size.min(last.saturating_add(1)))
            }
            (Some(first), _, true) if first >= size => Asked::Impossible,
            (Some(first), Some(last), _) if first <= last => Asked::Impossible,
            _ => Asked::Whole,
        },
        None => Asked::Whole,
    }
}

/// Between two bytes of a body that trickles, virtual.
const TRICKLE: Duration = Duration::from_secs(1);

/// How the body ends when a fault is at work.
#[derive(Debug, Clone, Copy)]
enum End {
    Complete,
    Reset,
    Close,
    Stall,
    /// A byte a second up to here.
    Trickle(u64),
}

fn send(
    call: &Arc<Call>,
    token: &Token,
    range: Option<&str>,
    head: bool,
    fault: Option<&FaultKind>,
    place: Place,
) -> Response<Body> {
    let size = token.file.content.size();
    let ignore = matches!(fault, Some(FaultKind::IgnoreRange));
    let asked = asked(range.filter(|_| !ignore), size);
    let (start, end, status) = match asked {
        Asked::Whole => (0, size, StatusCode::OK),
        Asked::Part(start, end) => (start, end, StatusCode::PARTIAL_CONTENT),
        Asked::Impossible => {
            let mut response = route::html(call, 416, "416 Requested Range Not Satisfiable");
            put(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            return response;
        }
    };
    let mut length = end - start;
    let mut stop = end;
    let mut finish = End::Complete;
    let cut = |bytes: u64| end.min(start.saturating_add(bytes));
    match fault {
        Some(FaultKind::ShortBody { bytes }) => {
            stop = cut(*bytes);
            length = stop - start;
        }
        Some(FaultKind::ResetAfter { bytes }) => (stop, finish) = (cut(*bytes), End::Reset),
        Some(FaultKind::CloseAfter { bytes }) => (stop, finish) = (cut(*bytes), End::Close),
        Some(FaultKind::StallAfter { bytes }) => (stop, finish) = (cut(*bytes), End::Stall),
        Some(FaultKind::TrickleAfter { bytes }) => {
            (stop, finish) = (cut(*bytes), End::Trickle(end));
        }
        _ => {}
    }
    call.log(|e| {
        e.status = status.as_u16();
        "bytes".clone_into(&mut e.answer);
    });
    let body = if head {
        Body::whole(Bytes::new(), Some(Arc::clone(call)))
    } else {
        let (sender, pieces) = mpsc::channel(2);
        let corrupt = match fault {
            Some(FaultKind::Corrupt { at }) => Some(start + at),
            _ => None,
        };
        let content = token.file.content.clone();
        tokio::spawn(produce(
            Arc::clone(call),
            content,
            (start, stop),
            corrupt,
            finish,
            sender,
        ));
        Body::pieces(pieces, Arc::clone(call), Box::new(place))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    put(&mut response, CONTENT_LENGTH, &length.to_string());
    put(&mut response, ACCEPT_RANGES, "bytes");
    if status == StatusCode::PARTIAL_CONTENT {
        let wrong_start = u64::from(matches!(fault, Some(FaultKind::WrongRangeStart)));
        let wrong_total = u64::from(matches!(fault, Some(FaultKind::WrongRangeTotal)));
        let (first, last, total) = (
            start + wrong_start,
            end - 1 + wrong_start,
            size + wrong_total,
        );
        put(
            &mut response,
            CONTENT_RANGE,
            &format!("bytes {first}-{last}/{total}"),
        );
    }
    let kind = if token.inline { "inline" } else { "attachment" };
    put(
        &mut response,
        CONTENT_DISPOSITION,
        &format!("{kind}; filename=\"{}\"", token.file.name),
    );
    let mime = if token.inline {
        mime_of(&token.file)
    } else {
        "application/octet-stream"
    };
    put(&mut response, CONTENT_TYPE, mime);
    response
}

/// Reads and sends the bytes of `range` at the speed of the links, then ends as told.
async fn produce(
    call: Arc<Call>,
    content: Content,
    (mut at, stop): (u64, u64),
    corrupt: Option<u64>,
    finish: End,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    while at < stop {
        if call.world.config().offline {
            call.conn.reset.store(true, Ordering::Release);
            // The receiver may be gone already, which ends the connection as well.
            let _ = sender
                .send(Err(io::ErrorKind::ConnectionReset.into()))
                .await;
            return;
        }
        let rate = call
            .world
            .real_rate(call.world.shape().connection_bytes_per_second);
        let len = usize::try_from(stop - at)
            .unwrap_or(usize::MAX)
            .min(piece(rate));
        call.pace(len, false).await;
        let mut bytes = content.read(at, len);
        if let (Ok(whole), Some(index)) = (&bytes, corrupt.and_then(|c| c.checked_sub(at))) {
            let mut changed = whole.to_vec();
            if let Some(byte) = usize::try_from(index).ok().and_then(|i| changed.get_mut(i)) {
                *byte ^= 0x55;
            }
            bytes = Ok(changed.into());
        }
        let failed = bytes.is_err();
        if sender.send(bytes).await.is_err() || failed {
            return;
        }
        at += len as u64;
    }
    match finish {
        End::Complete => {}
        End::Stall => sender.closed().await,
        End::Trickle(end) => {
            while at < end {
                call.world.clock.sleep(TRICKLE).await;
                if sender.send(content.read(at, 1)).await.is_err() {
                    return;
                }
                at += 1;
            }
        }
        End::Reset | End::Close => {
            tokio::time::sleep(FLUSH).await;
            if matches!(finish, End::Reset) {
                call.conn.reset.store(true, Ordering::Release);
            }
            let _ = sender
                .send(Err(io::ErrorKind::ConnectionAborted.into()))
                .await;
        }
    }
}

/// Sets a header; a value that no header can hold is left out.
fn put(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            (None, Asked::Whole),
            (Some("bytes=0-9"), Asked::Part(0, 10)),
            (Some("bytes=5-"), Asked::Part(5, 100)),
            (Some("bytes=90-1000"), Asked::Part(90, 100)),
            (Some("bytes=-10"), Asked::Part(90, 100)),
            (Some("bytes=-1000"), Asked::Part(0, 100)),
            (Some("bytes=100-"), Asked::Impossible),
            (Some("bytes=100-200"), Asked::Impossible),
            (Some("bytes=-0"), Asked::Impossible),
            (Some("bytes=0-1,5-6"), Asked::Impossible),
            (Some("bytes=9-5"), Asked::Whole),
            (Some("bytes=x-5"), Asked::Whole),
            (Some("lines=1-5"), Asked::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(asked(header, 100), expected, "{header:?}");
        }
    }
}
