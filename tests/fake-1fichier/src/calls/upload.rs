//! Uploads: the node, the body, the report (API reference 6).

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use whirlpool::{Digest, Whirlpool};

use crate::account::DOMAINS;
use crate::config::{Config, StoreAt, UploadAnswer};
use crate::content::{Content, hex};
use crate::faults::FaultKind;
use crate::multipart::{self, Event, Malformed, Parser};
use crate::reply::{NO_FILE, WAIT, page};
use crate::route::{self, Answer};
use crate::rules::{Kind, seconds};
use crate::state::ROOT;
use crate::world::{Call, Via, World};
use crate::{lock, names};

/// Upload nodes in turn.
const NODES: usize = 12;

/// Longest value of a plain field in bytes; `message` may have 2,000 characters.
const MAX_FIELD: usize = 16 * 1024;

/// Largest file of a guest: 5 GB.
const GUEST_MAX: u64 = 5_000_000_000;

/// The page for an `id` that is unknown, used up or too old. Its wording is invented.
const BAD_ID: &str = "Identifiant d'envoi invalide ou expir&eacute;";

/// The page when the account has no room. Its wording is invented.
const NO_ROOM: &str = "Espace de stockage insuffisant";

/// The page for a wrong key or an account that must not upload. Its wording is invented.
const NOT_ALLOWED: &str = "Envoi non autoris&eacute;";

/// Sessions and reports of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Ids handed out and not used: node and time.
    fresh: HashMap<String, (String, Duration)>,
    reports: HashMap<String, Report>,
}

#[derive(Debug)]
struct Report {
    node: String,
    at: Duration,
    polls: u32,
    /// Files to store at the first request of the report.
    pending: Vec<Received>,
    links: Vec<Value>,
    names: Vec<String>,
    empty: bool,
}

/// A file that arrived completely.
#[derive(Debug, Clone)]
struct Received {
    /// `None` for an upload without a key, which belongs to nobody.
    folder: Option<u64>,
    name: String,
    content: Content,
    domain: &'static str,
    pass: String,
    infected: bool,
}

/// `upload/get_upload_server`: a fresh pair each time.
pub(crate) fn node(call: &Arc<Call>) -> Value {
    let world = &call.world;
    let config = world.config();
    let now = world.clock.now();
    let node = match &call.conn.via {
        Via::Tunnel(_) => format!("up{}.1fichier.com", world.next_turn() % NODES + 1),
        _ => call.host.clone(),
    };
    let id = new_id(world);
    let mut uploads = lock(&world.uploads);
    let life = seconds(config.node_id_life_seconds);
    uploads
        .fresh
        .retain(|_, (_, at)| now.saturating_sub(*at) <= life);
    let life = seconds(config.report_life_seconds);
    uploads
        .reports
        .retain(|_, report| now.saturating_sub(report.at) <= life);
    uploads.fresh.insert(id.clone(), (node.clone(), now));
    json!({ "url": node, "id": id })
}

fn new_id(world: &World) -> String {
    let mut rng = lock(&world.rng);
    (0..10).map(|_| rng.alphanumeric()).collect()
}

/// How an upload ends other than well.
enum Stop {
    /// A page instead of the redirect.
    Refuse(u16, &'static str),
    /// The connection breaks.
    Break(io::Error),
    /// RST.
    Reset,
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        log::debug!("malformed upload: {}", malformed.0);
        Self::Refuse(200, NO_FILE)
    }
}

/// `POST /upload.cgi?id=…`.
pub(crate) async fn receive(call: &Arc<Call>, request: Request<Incoming>) -> Answer {
    let world = Arc::clone(&call.world);
    let config = world.config();
    let judgement = call.judge(Kind::Plain);
    let mut refusal = None;
    if let Some(answer) = route::locked(call, &judgement) {
        refusal = Some(answer);
    } else if config.enforce_rules && !judgement.breaches.is_empty() {
        lock(&world.rules).lock(world.clock.now(), &config);
        refusal = Some(Ok(route::flood(call)));
    }
    let (head, mut body) = request.into_parts();
    if let Some(answer) = refusal {
        drain(call, &mut body).await?;
        return answer;
    }
    if head.method != Method::POST {
        return Ok(route::html(call, 405, "405 Method Not Allowed"));
    }
    if head.headers.contains_key(TRANSFER_ENCODING) || !head.headers.contains_key(CONTENT_LENGTH) {
        return Ok(route::html(call, 411, "411 Length Required"));
    }
    let id = query(head.uri.query(), "id").unwrap_or_default().to_owned();
    let mut receiver = match Receiver::start(call, &head.headers, &id) {
        Ok(receiver) => receiver,
        Err(stop) => {
            drain(call, &mut body).await?;
            return end(call, stop).await;
        }
    };
    let mut stop = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        call.log(|e| e.bytes_received += data.len() as u64);
        call.pace(data.len(), true).await;
        if stop.is_some() {
            continue;
        }
        match receiver.take(call, &data) {
            Ok(()) => {}
            Err(Stop::Refuse(status, text)) => stop = Some(Stop::Refuse(status, text)),
            Err(broken) => return end(call, broken).await,
        }
        if let Some(FaultKind::StallAfter { bytes }) = &receiver.fault
            && receiver.received >= *bytes
        {
            std::future::pending::<()>().await;
        }
    }
    call.latency(1.0).await;
    if let Some(stop) = stop {
        return end(call, stop).await;
    }
    let fault = receiver.fault.clone();
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    match receiver.finish(call) {
        Err(stop) => end(call, stop).await,
        Ok(_) if matches!(fault, Some(FaultKind::LostReply)) => route::reset(call),
        Ok(xid) => Ok(done(call, &xid)),
    }
}

fn done(call: &Arc<Call>, xid: &str) -> hyper::Response<crate::body::Body> {
    if call.world.config().upload_answer == UploadAnswer::Page {
        return route::html(call, 200, "Fichier(s) re&ccedil;u(s)");
    }
    let mut response = route::with_body(
        call,
        302,
        "text/html; charset=utf-8",
        "redirect",
        page("302 Found"),
    );
    if let Ok(location) = HeaderValue::from_str(&format!("/end.pl?xid={xid}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

async fn end(call: &Arc<Call>, stop: Stop) -> Answer {
    match stop {
        Stop::Refuse(status, text) => Ok(route::html(call, status, text)),
        Stop::Break(e) => Err(e),
        Stop::Reset => route::reset(call),
    }
}

/// Reads and forgets the rest of a body, so that the client sees the answer and not a broken connection.
async fn drain(call: &Call, body: &mut Incoming) -> io::Result<()> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| io::Error::new(io::ErrorKind::UnexpectedEof, e))?;
        if let Some(data) = frame.data_ref() {
            call.log(|e| e.bytes_received += data.len() as u64);
            call.pace(data.len(), true).await;
        }
    }
    Ok(())
}

/// Where the bytes of one file go.
struct Sink {
    name: String,
    hasher: Whirlpool,
    size: u64,
    memory: BytesMut,
    spool: Option<File>,
}

impl Sink {
    fn new(name: String) -> Self {
        Self {
            name,
            hasher: Whirlpool::new(),
            size: 0,
            memory: BytesMut::new(),
            spool: None,
        }
    }

    fn write(&mut self, data: &[u8], limit: u64) -> io::Result<()> {
        self.hasher.update(data);
        self.size += data.len() as u64;
        if self.spool.is_none() && self.size > limit {
            let mut file = nameless()?;
            file.write_all(&self.memory)?;
            self.memory = BytesMut::new();
            self.spool = Some(file);
        }
        match &mut self.spool {
            Some(file) => file.write_all(data),
            None => {
                self.memory.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn content(self) -> Content {
        let checksum = hex(&self.hasher.finalize());
        match self.spool {
            Some(file) => Content::spooled(file, self.size, checksum),
            None => Content::hashed(Bytes::from(self.memory), checksum),
        }
    }
}

/// A temporary file without a name: it goes with its last descriptor, whatever ends the process.
fn nameless() -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(std::env::temp_dir())
}

/// What a part is for.
enum Part {
    File(Sink),
    Field(String, Vec<u8>),
}

/// Reads one upload.
struct Receiver {
    parser: Parser,
    config: Arc<Config>,
    node: String,
    id: String,
    own: bool,
    started: Duration,
    part: Option<Part>,
    files: Vec<(String, Content)>,
    fields: HashMap<String, String>,
    received: u64,
    fault: Option<FaultKind>,
}

impl Receiver {
    /// Checks all that is known before the body.
    fn start(call: &Call, headers: &HeaderMap, id: &str) -> Result<Self, Stop> {
        let world = &call.world;
        let config = world.config();
        let now = world.clock.now();
        let header = |name| {
            headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
                .unwrap_or_default()
        };
        let fresh = lock(&world.uploads).fresh.remove(id);
        let (node, at) = fresh.ok_or(Stop::Refuse(200, BAD_ID))?;
        let late = now.saturating_sub(at) > seconds(config.node_id_life_seconds);
        if late || (matches!(call.conn.via, Via::Tunnel(_)) && node != call.host) {
            return Err(Stop::Refuse(200, BAD_ID));
        }
        let own = headers.contains_key("authorization");
        if own && (route::authenticate(call, headers).is_err() || config.upload_forbidden) {
            return Err(Stop::Refuse(403, NOT_ALLOWED));
        }
        let length: u64 = header(CONTENT_LENGTH)
            .parse()
            .map_err(|_| Stop::Refuse(400, "400 Bad Request"))?;
        if length > config.upload_max_bytes {
            return Err(Stop::Refuse(413, "413 Request Entity Too Large"));
        }
        if config.upload_must_close && !header(CONNECTION).eq_ignore_ascii_case("close") {
            return Err(Stop::Refuse(200, NO_FILE));
        }
        Ok(Self {
            parser: Parser::new(multipart::boundary(header(CONTENT_TYPE))?),
            node,
            id: id.to_owned(),
            own,
            started: now,
            part: None,
            files: Vec::new(),
            fields: HashMap::new(),
            received: 0,
            fault: None,
            config,
        })
    }

    fn take(&mut self, call: &Call, data: &[u8]) -> Result<(), Stop> {
        self.received += data.len() as u64;
        let mut events = Vec::new();
        let parsed = self.parser.feed(data, &mut events);
        for event in events {
            match event {
                Event::Part { name, filename } => self.begin_part(call, name, filename)?,
                Event::Data(data) => self.data(&data)?,
                Event::End => self.end_part()?,
            }
        }
        parsed?;
        match &self.fault {
            Some(FaultKind::Reset) => Err(Stop::Reset),
            Some(FaultKind::ResetAfter { bytes }) if self.received >= *bytes => Err(Stop::Reset),
            Some(FaultKind::Close) => Err(Stop::Break(io::ErrorKind::ConnectionAborted.into())),
            Some(FaultKind::CloseAfter { bytes }) if self.received >= *bytes => {
                Err(Stop::Break(io::ErrorKind::ConnectionAborted.into()))
            }
            _ => Ok(()),
        }
    }

    fn begin_part(
        &mut self,
        call: &Call,
        name: String,
        filename: Option<String>,
    ) -> Result<(), Stop> {
        let Some(filename) = filename else {
            self.part = Some(Part::Field(name, Vec::new()));
            return Ok(());
        };
        if name != "file[]" {
            return Err(Malformed("the file field is not file[]").into());
        }
        if self.files.len() >= self.config.upload_max_files {
            return Err(Malformed("too many files").into());
        }
        if self.fault.is_none() {
            let subjects = std::slice::from_ref(&filename);
            self.fault = call
                .world
                .faults
                .pick_for_upload(self.files.is_empty(), subjects);
        }
        let mut names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        names.push(&filename);
        call.log(|e| {
            e.fault = self.fault.as_ref().map(|f| format!("{f:?}"));
            e.params = json!({ "id": self.id, "files": names });
        });
        let name = names::file_from_upload(&filename).map_err(|e| Malformed(e.0))?;
        self.part = Some(Part::File(Sink::new(name)));
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Stop> {
        match &mut self.part {
            Some(Part::File(sink)) => {
                let most = if self.own {
                    self.config.upload_max_file_bytes
                } else {
                    GUEST_MAX
                };
                if sink.size + data.len() as u64 > most {
                    return Err(Stop::Refuse(200, "Fichier trop volumineux"));
                }
                sink.write(data, self.config.memory_file_bytes)
                    .map_err(|e| {
                        log::warn!("cannot keep uploaded bytes: {e}");
                        Stop::Refuse(200, "Ne peut ouvrir le fichier destination")
                    })
            }
            Some(Part::Field(_, value)) if value.len() + data.len() <= MAX_FIELD => {
                value.extend_from_slice(data);
                Ok(())
            }
            _ => Err(Malformed("field too long").into()),
        }
    }

    fn end_part(&mut self) -> Result<(), Stop> {
        match self.part.take() {
            Some(Part::File(sink)) => {
                if sink.size == 0 {
                    return Err(Malformed("empty file").into());
                }
                self.files.push((sink.name.clone(), sink.content()));
            }
            Some(Part::Field(name, value)) => {
                let value =
                    String::from_utf8(value).map_err(|_| Malformed("field is not UTF-8"))?;
                self.fields.insert(name, value);
            }
            None => {}
        }
        Ok(())
    }

    /// Stores the files, or keeps them for the report; returns the id of the report.
    fn finish(self, call: &Call) -> Result<String, Stop> {
        let world = &call.world;
        let now = world.clock.now();
        if !self.parser.is_done() || self.files.is_empty() {
            return Err(Malformed("no file, or no closing boundary").into());
        }
        if now.saturating_sub(self.started) > seconds(self.config.upload_max_seconds) {
            return Err(Stop::Refuse(
                200,
                "Dur&eacute;e d'envoi d&eacute;pass&eacute;e",
            ));
        }
        let domain = self
            .fields
            .get("domain")
            .map_or(Some(0), |d| d.parse::<usize>().ok());
        let domain = domain
            .and_then(|d| DOMAINS.get(d))
            .copied()
            .ok_or(Malformed("bad domain"))?;
        let pass = self.fields.get("dpass").cloned().unwrap_or_default();
        if !pass.is_empty() && pass.chars().count() < 6 {
            return Err(Malformed("dpass too short").into());
        }
        let size: u64 = self.files.iter().map(|(_, content)| content.size()).sum();
        let folder = {
            let state = world.account.state();
            let full = self.own && state.used() + size > self.config.quota_bytes;
            if full || matches!(self.fault, Some(FaultKind::Quota)) {
                return Err(Stop::Refuse(200, NO_ROOM));
            }
            let did = self
                .fields
                .get("did")
                .and_then(|d| d.trim().parse::<u64>().ok());
            // An invalid folder is the root, without a word.
            did.filter(|id| state.folder(*id).is_some()).unwrap_or(ROOT)
        };
        let infected = matches!(self.fault, Some(FaultKind::Infected));
        let names: Vec<String> = self.files.iter().map(|(name, _)| name.clone()).collect();
        let pending: Vec<Received> = self
            .files
            .into_iter()
            .map(|(name, content)| Received {
                folder: self.own.then_some(folder),
                name,
                content,
                domain,
                pass: pass.clone(),
                infected,
            })
            .collect();
        let xid = if self.config.xid_differs {
            new_id(world)
        } else {
            self.id
        };
        let empty = self.config.empty_report || matches!(self.fault, Some(FaultKind::EmptyReport));
        let mut report = Report {
            node: self.node,
            at: now,
            polls: self.config.wait_polls,
            pending,
            links: Vec::new(),
            names,
            empty,
        };
        if self.config.store_at == StoreAt::Post {
            report.store(world);
        }
        lock(&world.uploads).reports.insert(xid.clone(), report);
        Ok(xid)
    }
}

impl Report {
    /// Puts what is pending into the account.
    fn store(&mut self, world: &World) {
        let config = world.config();
        let visible = world.clock.now() + seconds(config.appear_delay_seconds);
        let mut state = world.account.state();
        for file in self.pending.drain(..) {
            let id = match file.folder {
                None => state.random_id(20),
                Some(folder) => {
                    let folder = if state.folder(folder).is_some() {
                        folder
                    } else {
                        ROOT
                    };
                    let content = file.content.clone();
                    let stored =
                        state.add_file(folder, &file.name, content, world.clock.unix(), visible);
                    let Some(stored) = stored else { continue };
                    stored.domain = file.domain;
                    stored.pass = file.pass;
                    stored.id.clone()
                }
            };
            let code = if file.folder.is_none() {
                state.random_id(5)
            } else {
                String::new()
            };
            if file.infected {
                state.remove_file(&id, Duration::ZERO, Duration::ZERO);
            }
            let remove = if code.is_empty() {
                code
            } else {
                format!("https://{}/remove/{id}/{code}", file.domain)
            };
            self.links.push(json!({
                "download": format!("https://{}/?{id}", file.domain),
                "filename": file.name,
                "size": file.content.size().to_string(),
                "whirlpool": file.content.true_checksum(),
                "remove": remove,
            }));
        }
        if config.surplus_link
            && let Some(first) = self.links.first().cloned()
        {
            let id = state.random_id(20);
            let mut surplus = first;
            surplus["download"] = json!(format!("https://1fichier.com/?{id}"));
            surplus["filename"] = json!("surplus.bin");
            self.links.push(surplus);
        }
    }
}

/// `GET /end.pl?xid=…`.
pub(crate) async fn report(call: &Arc<Call>, request: &Request<Incoming>) -> Answer {
    let world = &call.world;
    let config = world.config();
    let xid = query(request.uri().query(), "xid").unwrap_or_default();
    call.log(|e| e.params = json!({ "xid": xid }));
    let judgement = call.judge(Kind::Plain);
    if let Some(answer) = route::locked(call, &judgement) {
        return answer;
    }
    if config.enforce_rules && !judgement.breaches.is_empty() {
        lock(&world.rules).lock(world.clock.now(), &config);
        return Ok(route::flood(call));
    }
    let subjects = lock(&world.uploads)
        .reports
        .get(xid)
        .map(|r| r.names.clone())
        .unwrap_or_default();
    let fault = world.faults.pick("end.pl", &subjects);
    call.log(|e| e.fault = fault.as_ref().map(|f| format!("{f:?}")));
    call.latency(1.0).await;
    if let Some(fault) = &fault
        && let Some(answer) = route::early_fault(call, fault).await
    {
        return answer;
    }
    let json_wanted = request
        .headers()
        .get("json")
        .is_some_and(|v| v == "1" || v == "2");
    let Some((links, waiting)) = look(call, xid, &config) else {
        return Ok(route::html(
            call,
            404,
            "Rapport inexistant ou expir&eacute;",
        ));
    };
    if matches!(fault, Some(FaultKind::LostReply)) {
        return route::reset(call);
    }
    if waiting {
        return Ok(route::html(call, 200, WAIT));
    }
    if !json_wanted {
        return Ok(route::html(call, 200, "Rapport d'envoi"));
    }
    let links = if matches!(fault, Some(FaultKind::EmptyReport)) {
        Vec::new()
    } else {
        links
    };
    let value = json!({ "incoming": 0, "links": links });
    if matches!(fault, Some(FaultKind::MalformedJson)) {
        let mut text = value.to_string();
        text.truncate(text.floor_char_boundary(text.len() / 2));
        return Ok(route::with_body(
            call,
            200,
            "application/json; charset=utf-8",
            "ko",
            text,
        ));
    }
    Ok(route::json(call, 200, &value, &Value::Null))
}

/// Links of a report, and whether the node is still at work; `None` for an unknown or expired one.
fn look(call: &Call, xid: &str, config: &Config) -> Option<(Vec<Value>, bool)> {
    let world = &call.world;
    let now = world.clock.now();
    let mut report = {
        let mut uploads = lock(&world.uploads);
        let life = seconds(config.report_life_seconds);
        uploads
            .reports
            .retain(|_, r| now.saturating_sub(r.at) <= life);
        let report = uploads.reports.get_mut(xid)?;
        if matches!(call.conn.via, Via::Tunnel(_)) && report.node != call.host {
            return None;
        }
        if report.pending.is_empty() {
            let waiting =
                report.polls > 0 || now.saturating_sub(report.at) < seconds(config.wait_seconds);
            report.polls = report.polls.saturating_sub(1);
            let links = if report.empty {
                Vec::new()
            } else {
                report.links.clone()
            };
            return Some((links, waiting));
        }
        uploads.reports.remove(xid)?
    };
    report.store(world);
    let waiting = report.polls > 0 || now.saturating_sub(report.at) < seconds(config.wait_seconds);
    report.polls = report.polls.saturating_sub(1);
    let links = if report.empty {
        Vec::new()
    } else {
        report.links.clone()
    };
    lock(&world.uploads).reports.insert(xid.to_owned(), report);
    Some((links, waiting))
}

/// A parameter of a query string.
fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
