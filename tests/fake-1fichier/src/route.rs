//! One request from its first line to its answer: which endpoint, which rules, which fault, which delay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};
use serde_json::Value;

use crate::account::file_id;
use crate::body::Body;
use crate::calls::{self, download, public, upload};
use crate::config::{KoStatus, ListingBreach};
use crate::faults::FaultKind;
use crate::reply::{self, Ko, Outcome, json_text, page};
use crate::rules::{Judgement, Kind, Locked};
use crate::world::{Call, Conn, Via, World};
use crate::{admin, lock};

/// Largest body of a JSON call: 5,000 URLs and names fit well.
const MAX_JSON: usize = 4 << 20;

/// A finished answer; an error ends the connection.
pub(crate) type Answer = io::Result<Response<Body>>;

/// What a path means.
enum Place {
    Admin,
    Api(String),
    Upload,
    Report,
    Download,
    PublicFolder,
    Link,
    Nowhere,
}

/// Serves one request.
pub(crate) async fn handle(
    world: Arc<World>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Answer {
    let header = request
        .headers()
        .get(HOST)
        .and_then(|h| h.to_str().ok())
        .unwrap_or("127.0.0.1");
    let host = match &conn.via {
        Via::Tunnel(host) => host.clone(),
        _ => header.to_owned(),
    };
    let place = place(&conn.via, &host, request.uri().path());
    let endpoint = match &place {
        Place::Admin => return admin::handle(&world, request).await,
        _ if world.config().offline => {
            conn.reset.store(true, Ordering::Release);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Place::Api(name) => name.clone(),
        Place::Upload => "upload.cgi".to_owned(),
        Place::Report => "end.pl".to_owned(),
        Place::Download => "download".to_owned(),
        Place::PublicFolder => "dir".to_owned(),
        Place::Link => "page".to_owned(),
        Place::Nowhere => "unknown".to_owned(),
    };
    let call = Arc::new(Call::begin(
        world,
        conn,
        endpoint,
        request.method().as_str(),
        host,
    ));
    let answer = match place {
        Place::Api(_) => api(&call, request).await,
        Place::Upload => upload::receive(&call, request).await,
        Place::Report => upload::report(&call, &request).await,
        Place::Download => download::serve(&call, &request).await,
        Place::PublicFolder => public::folder(&call, &request).await,
        Place::Link => Ok(html(&call, 200, "Le t&eacute;l&eacute;chargement")),
        Place::Admin | Place::Nowhere => Ok(html(&call, 404, "404 Not Found")),
    };
    answer.inspect(|response| count_refusal(&call, response.status().as_u16()))
}

fn place(via: &Via, host: &str, path: &str) -> Place {
    let (api, node, link, site) = match via {
        Via::Tunnel(_) => (
            host == "api.1fichier.com",
            host.starts_with("up"),
            host.starts_with("a-"),
            host == "1fichier.com",
        ),
        _ => (true, true, true, true),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if path == "/_admin" || path.starts_with("/_admin/") {
        Place::Admin
    } else if let Some(call) = path
        .strip_prefix("/v1/")
        .and_then(|p| p.strip_suffix(".cgi"))
        .filter(|_| api)
    {
        Place::Api(call.to_owned())
    } else if node && path == "/upload.cgi" {
        Place::Upload
    } else if node && path == "/end.pl" {
        Place::Report
    } else if link && path.strip_prefix("/p").is_some_and(digits) {
        Place::Download
    } else if site && path.starts_with("/dir/") {
        Place::PublicFolder
    } else if site && path == "/" {
        Place::Link
    } else {
        Place::Nowhere
    }
}

/// A JSON call: rules first, then headers, key, faults, and at last the call itself.
async fn api(call: &Arc<Call>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_JSON).collect().await else {
        return Ok(html(call, 413, "413 Request Entity Too Large"));
    };
    let body = body.to_bytes();
    let config = call.world.config();
    let parsed = if body.is_empty() {
        Ok(Value::Object(serde_json::Map::new()))
    } else {
        serde_json::from_slice(&body)
    };
    let params: Value = parsed.as_ref().cloned().unwrap_or(Value::Null);
    call.log(|e| {
        e.bytes_received = body.len() as u64;
        e.params = params.clone();
    });

    let kind = rule_kind(&call.endpoint, &params);
    let judgement = call.judge(kind);
    if let Some(answer) = locked(call, &judgement) {
        call.latency(1.0).await;
        return answer;
    }
    if config.enforce_rules && !judgement.breaches.is_empty() {
        call.latency(1.0).await;
        if judgement.only_listing && config.listing_breach == ListingBreach::Cached {
            let known = lock(&call.world.listings)
                .get(&listing_key(&call.endpoint, &params))
                .cloned();
            if let Some(known) = known {
                return Ok(json(call, 200, &known, &params));
            }
        }
        lock(&call.world.rules).lock(call.world.clock.now(), &config);
        return Ok(flood(call));
    }

    let fault = call
        .world
        .faults
        .pick(&call.endpoint, &subjects(call, &params));
    call.log(|e| e.fault = fault.as_ref().map(|f| format!("{f:?}")));
    if fault.as_ref().is_some_and(FaultKind::is_server_error)
        && judgement.breaches.is_empty()
        && !config.failed_listing_counts
    {
        lock(&call.world.rules).uncount(kind, &config);
    }
    call.latency(0.5).await;
    if let Some(fault) = &fault
        && let Some(answer) = early_fault(call, fault).await
    {
        call.latency(0.5).await;
        return answer;
    }
    let refused = check_head(call, &head.method, &head.headers)
        .or_else(|| parsed.err().map(|_| Ko::new(200, "Invalid JSON #26")))
        .or_else(|| (!params.is_object()).then(|| Ko::new(200, "Invalid JSON #26")))
        .or_else(|| {
            let escaped = config.refuse_unicode_escapes && body.windows(2).any(|w| w == b"\\u");
            escaped.then(|| Ko::new(200, "Invalid character #27"))
        });
    let outcome = match refused {
        Some(ko) => Err(ko),
        None => calls::dispatch(call, &params),
    };
    call.latency(0.5).await;
    if matches!(fault, Some(FaultKind::LostReply)) {
        return reset(call);
    }
    if let Ok(value) = &outcome
        && config.listing_breach == ListingBreach::Cached
        && call.endpoint.ends_with("/ls")
    {
        lock(&call.world.listings).insert(listing_key(&call.endpoint, &params), value.clone());
    }
    let mut response = outcome_response(call, outcome, &params);
    if matches!(fault, Some(FaultKind::MalformedJson)) {
        let whole = response.body_mut().collect().await?.to_bytes();
        let half = whole.slice(..whole.len() / 2);
        response = with_body(
            call,
            response.status().as_u16(),
            "application/json; charset=utf-8",
            "ko",
            half,
        );
    }
    Ok(response)
}

/// The answer of a lock in force.
pub(crate) fn locked(call: &Arc<Call>, judgement: &Judgement) -> Option<Answer> {
    match judgement.locked? {
        Locked::Flood => Some(Ok(flood(call))),
        Locked::Hard => Some(Ok(plain(call, 403, "IP Locked"))),
    }
}

/// Faults that take the place of the call.
pub(crate) async fn early_fault(call: &Arc<Call>, fault: &FaultKind) -> Option<Answer> {
    let now = call.world.clock.now();
    let config = call.world.config();
    Some(match fault {
        FaultKind::Status { code } => Ok(html(call, *code, "Erreur interne / Internal error")),
        FaultKind::Maintenance => Ok(html(call, 503, reply::MAINTENANCE)),
        FaultKind::Flood { lock: sticky } => {
            if *sticky {
                lock(&call.world.rules).lock(now, &config);
            }
            Ok(flood(call))
        }
        FaultKind::IpLocked { lock: sticky } => {
            if *sticky {
                lock(&call.world.rules).ban(now, &config);
            }
            Ok(plain(call, 403, "IP Locked"))
        }
        FaultKind::Ko { code, message } => {
            let ko = Ko {
                status: *code,
                message: message.clone(),
                fixed: true,
            };
            Ok(outcome_response(call, Err(ko), &Value::Null))
        }
        FaultKind::KeyRefused => Ok(outcome_response(
            call,
            Err(Ko::no_such_user()),
            &Value::Null,
        )),
        FaultKind::Reset => reset(call),
        FaultKind::Close => Err(io::ErrorKind::ConnectionAborted.into()),
        FaultKind::Stall => std::future::pending().await,
        FaultKind::HtmlOk => Ok(html(call, 200, "Software error")),
        FaultKind::Slow { seconds } => {
            call.delay(crate::rules::seconds(*seconds)).await;
            return None;
        }
        _ => return None,
    })
}

/// Ends the connection with RST.
pub(crate) fn reset(call: &Call) -> Answer {
    call.conn.reset.store(true, Ordering::Release);
    Err(io::ErrorKind::ConnectionReset.into())
}

/// Is the key of the account in the headers?
pub(crate) fn authenticate(call: &Call, headers: &HeaderMap) -> Result<(), Ko> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Err(Ko::not_authenticated());
    };
    let key = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
    match key {
        Some(key) if key == call.world.account.key() => Ok(()),
        Some(_) => Err(Ko::no_such_user()),
        None => Err(Ko::not_authenticated()),
    }
}

fn check_head(call: &Call, method: &Method, headers: &HeaderMap) -> Option<Ko> {
    let node = call.endpoint == "upload/get_upload_server";
    if *method != Method::POST && !(node && *method == Method::GET) {
        return Some(Ko::new(405, "Method not allowed #23"));
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Some(Ko::new(200, "Content-Type not JSON #24"));
    }
    if node {
        None
    } else {
        authenticate(call, headers).err()
    }
}

fn rule_kind(endpoint: &str, params: &Value) -> Kind {
    let folder = params.get("folder_id").and_then(Value::as_i64).unwrap_or(0);
    match (endpoint, u64::try_from(folder)) {
        ("folder/ls", Ok(folder)) => Kind::FolderListing(folder),
        ("file/ls", Ok(folder)) => Kind::FileListing(folder),
        ("file/ls", Err(_)) => Kind::AccountListing,
        ("user/info", _) => Kind::UserInfo,
        _ => Kind::Plain,
    }
}

fn listing_key(endpoint: &str, params: &Value) -> String {
    format!("{endpoint} {params}")
}

/// Names and URLs a call is about, for faults by name.
fn subjects(call: &Call, params: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    collect_texts(params, &mut texts);
    let state = call.world.account.state();
    let names: Vec<String> = texts
        .iter()
        .filter_map(|t| state.file(file_id(t)?))
        .map(|f| f.name.clone())
        .collect();
    let folder = params
        .get("folder_id")
        .and_then(Value::as_u64)
        .and_then(|id| state.folder(id));
    texts.extend(folder.map(|f| f.name.clone()));
    drop(state);
    texts.extend(names);
    texts
}

fn collect_texts(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|v| collect_texts(v, out)),
        Value::Object(map) => map.values().for_each(|v| collect_texts(v, out)),
        _ => {}
    }
}

/// Genuine refusals count as abuse when there are many (reference 2.2).
fn count_refusal(call: &Call, status: u16) {
    if !matches!(status, 401 | 403 | 404 | 410) {
        return;
    }
    let mut genuine = true;
    call.log(|e| genuine = e.fault.is_none() && e.violation.is_none());
    if !genuine {
        return;
    }
    let config = call.world.config();
    let now = call.world.clock.now();
    let breach = lock(&call.world.rules).refusal(now, &config);
    if let Some(breach) = breach {
        call.violate(&breach);
        if config.enforce_rules {
            lock(&call.world.rules).lock(now, &config);
        }
    }
}

/// A flood answer.
pub(crate) fn flood(call: &Arc<Call>) -> Response<Body> {
    let config = call.world.config();
    let ko = Ko::flood(&config);
    let mut response = json(call, ko.status, &ko.body(), &Value::Null);
    if let Some(seconds) = config.flood_retry_after {
        response
            .headers_mut()
            .insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

/// The answer of a JSON call.
pub(crate) fn outcome_response(
    call: &Arc<Call>,
    outcome: Outcome,
    params: &Value,
) -> Response<Body> {
    match outcome {
        Ok(value) => json(call, 200, &value, params),
        Err(ko) => {
            let status = match call.world.config().ko_status {
                KoStatus::Observed => ko.status,
                _ if ko.fixed => ko.status,
                KoStatus::Ok => 200,
                KoStatus::Alternate if call.world.next_turn().is_multiple_of(2) => 200,
                KoStatus::Forbidden | KoStatus::Alternate => 403,
            };
            json(call, status, &ko.body(), params)
        }
    }
}

/// A JSON answer.
pub(crate) fn json(call: &Arc<Call>, status: u16, value: &Value, params: &Value) -> Response<Body> {
    let config = call.world.config();
    let pretty = params.get("pretty").and_then(Value::as_i64) == Some(1);
    let text = if pretty {
        serde_json::to_string_pretty(value).unwrap_or_default()
    } else {
        json_text(value, &config, &mut lock(&call.world.rng))
    };
    let kind = if value.get("status").and_then(Value::as_str) == Some("KO") {
        "ko"
    } else {
        "ok"
    };
    with_body(call, status, "application/json; charset=utf-8", kind, text)
}

/// An HTML answer.
pub(crate) fn html(call: &Arc<Call>, status: u16, text: &str) -> Response<Body> {
    with_body(call, status, "text/html; charset=utf-8", "html", page(text))
}

/// A plain text answer.
pub(crate) fn plain(call: &Arc<Call>, status: u16, text: &'static str) -> Response<Body> {
    with_body(call, status, "text/plain; charset=utf-8", "text", text)
}

/// An answer in one piece; notes status and kind in the log.
pub(crate) fn with_body(
    call: &Arc<Call>,
    status: u16,
    mime: &'static str,
    kind: &str,
    bytes: impl Into<bytes::Bytes>,
) -> Response<Body> {
    call.log(|e| {
        e.status = status;
        kind.clone_into(&mut e.answer);
    });
    let mut response = Response::new(Body::whole(bytes, Some(Arc::clone(call))));
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert("server", HeaderValue::from_static("nginx"));
    headers.insert("vary", HeaderValue::from_static("Accept-Encoding"));
    response
}
