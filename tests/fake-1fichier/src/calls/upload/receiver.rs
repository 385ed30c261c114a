//! Reads one upload: fields, files, limits. It ends in a report, or in a refusal.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use whirlpool::{Digest, Whirlpool};

use super::new_id;
use super::report::{Received, Report};
use crate::account::DOMAINS;
use crate::config::{Config, StoreAt};
use crate::content::{Content, hex};
use crate::faults::FaultKind;
use crate::multipart::{self, Event, Malformed, Parser};
use crate::reply::NO_FILE;
use crate::route;
use crate::rules::seconds;
use crate::state::ROOT;
use crate::world::{Call, Via};
use crate::{lock, names};

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

/// How an upload ends other than well.
pub(super) enum Stop {
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
        if let Some(file) = &mut self.spool {
            return file.write_all(data);
        }
        self.memory.extend_from_slice(data);
        Ok(())
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
pub(super) struct Receiver {
    parser: Parser,
    config: Arc<Config>,
    node: String,
    id: String,
    own: bool,
    started: Duration,
    part: Option<Part>,
    files: Vec<(String, Content)>,
    fields: HashMap<String, String>,
    pub(super) received: u64,
    pub(super) fault: Option<FaultKind>,
}

impl Receiver {
    /// Checks all that is known before the body.
    pub(super) fn start(call: &Call, headers: &HeaderMap, id: &str) -> Result<Self, Stop> {
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

    pub(super) fn take(&mut self, call: &Call, data: &[u8]) -> Result<(), Stop> {
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
    pub(super) fn finish(self, call: &Call) -> Result<String, Stop> {
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
            did.filter(|id| state.own_folder(*id).is_some())
                .unwrap_or(ROOT)
        };
        let infected = matches!(self.fault, Some(FaultKind::Infected));
        let mut files = self.files;
        if let Some(FaultKind::Corrupt { at }) = self.fault
            && let Some((_, content)) = files.first_mut()
        {
            *content = corrupted(content, at);
        }
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        let pending: Vec<Received> = files
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

/// The same with the byte `at` changed.
fn corrupted(content: &Content, at: u64) -> Content {
    let size = usize::try_from(content.size()).unwrap_or(usize::MAX);
    let Ok(bytes) = content.read(0, size) else {
        return content.clone();
    };
    let mut bytes = bytes.to_vec();
    if let Some(byte) = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
        *byte = !*byte;
    }
    Content::bytes(bytes)
}
