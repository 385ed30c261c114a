//! The admin interface, `/_admin/…` on the plain port: JSON in, JSON out, never logged, never counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::config::Config;
use crate::content::Content;
use crate::faults::Fault;
use crate::lock;
use crate::route::Answer;
use crate::shape::Shape;
use crate::state::ROOT;
use crate::world::{World, change_config};

/// Largest request.
const MAX_BODY: usize = 64 << 20;

/// Something done behind the client's back.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Operation {
    /// Makes all folders of a path; answers `folder_id`.
    Mkdir { path: String },
    /// Adds a file with that text, or of `size` computed bytes; answers `url`.
    Add {
        path: String,
        text: Option<String>,
        size: Option<u64>,
        seed: Option<u64>,
        date: Option<String>,
    },
    /// Adds a file of somebody else; answers `url`.
    AddForeign {
        name: String,
        text: String,
        #[serde(default)]
        pass: String,
    },
    /// Deletes a file.
    Rm { url: String },
    /// Renames a file.
    Rename { url: String, name: String },
    /// Moves a file into a folder.
    Mv { url: String, folder_id: u64 },
    /// Removes a folder with all it holds.
    RmFolder { folder_id: u64 },
    /// Renames a folder.
    RenameFolder { folder_id: u64, name: String },
    /// Moves a folder.
    MvFolder { folder_id: u64, parent: u64 },
    /// Sets the date of a file.
    SetDate { url: String, date: String },
    /// Marks a file as infected.
    Infect { url: String },
    /// Replaces the API key.
    ChangeKey { key: String },
    /// Ends a lock.
    Unlock,
    /// Starts a flood lock.
    Lock,
}

/// Serves one admin request.
pub(crate) async fn handle(world: &Arc<World>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head
        .uri
        .path()
        .trim_start_matches("/_admin")
        .trim_matches('/')
        .to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({ "error": "the request is too large" }),
        ));
    };
    let body = body.to_bytes();
    let value: Value = if body.is_empty() {
        Value::Null
    } else {
        match serde_json::from_slice(&body) {
            Ok(value) => value,
            Err(e) => {
                return Ok(answer(
                    StatusCode::BAD_REQUEST,
                    &json!({ "error": format!("not JSON: {e}") }),
                ));
            }
        }
    };
    let known = [
        "state",
        "tree",
        "log",
        "violations",
        "config",
        "shape",
        "faults",
        "reset-log",
        "account",
        "clock",
    ];
    if !known.contains(&path.as_str()) {
        let error = format!("no such path; there are {}", known.join(", "));
        return Ok(answer(StatusCode::NOT_FOUND, &json!({ "error": error })));
    }
    let result = match head.method {
        Method::GET => read(world, &path, &query),
        Method::POST => write(world, &path, value),
        Method::DELETE if path == "faults" => {
            world.faults.clear();
            Ok(json!({}))
        }
        _ => Err("use GET or POST".to_owned()),
    };
    Ok(match result {
        Ok(value) => answer(StatusCode::OK, &value),
        Err(error) => answer(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    })
}

fn read(world: &World, path: &str, query: &str) -> Result<Value, String> {
    let plain = |value: Result<Value, serde_json::Error>| value.map_err(|e| e.to_string());
    match path {
        "state" => Ok(state(world)),
        "tree" => plain(serde_json::to_value(world.account.tree())),
        "log" => {
            let since = query
                .split('&')
                .find_map(|q| q.strip_prefix("since=")?.parse().ok())
                .unwrap_or(0);
            plain(serde_json::to_value(lock(&world.log).since(since)))
        }
        "violations" => plain(serde_json::to_value(lock(&world.log).violations())),
        "config" => plain(serde_json::to_value(&*world.config())),
        "shape" => plain(serde_json::to_value(&*world.shape())),
        "faults" => plain(serde_json::to_value(world.faults.list())),
        _ => Err("this path takes POST".to_owned()),
    }
}

fn state(world: &World) -> Value {
    let (folders, files, bytes) = {
        let state = world.account.state();
        (state.folder_count(), state.file_count(), state.used())
    };
    let (violations, dropped) = {
        let log = lock(&world.log);
        (log.violations().len(), log.dropped())
    };
    let now = world.clock.now();
    let locked = lock(&world.rules).locked_for(now);
    let counters = &world.counters;
    json!({
        "folders": folders,
        "files": files,
        "bytes": bytes,
        "violations": violations,
        "log_dropped": dropped,
        "locked_for": locked,
        "clock": { "now": now.as_secs_f64(), "setting": world.clock.setting().to_string() },
        "connections": {
            "accepted": counters.accepted.load(Ordering::Relaxed),
            "open": counters.open.load(Ordering::Relaxed),
            "downloads": counters.downloads.load(Ordering::Relaxed),
            "downloads_peak": counters.downloads_peak.load(Ordering::Relaxed),
        },
    })
}

fn write(world: &World, path: &str, value: Value) -> Result<Value, String> {
    match path {
        "config" => {
            let mut config = Config::clone(&world.config());
            config.merge(&value)?;
            change_config(&world.config, |c| *c = config);
            Ok(json!({}))
        }
        "shape" => {
            let shape: Shape =
                serde_json::from_value(value).map_err(|e| format!("bad shape: {e}"))?;
            world.set_shape(shape);
            Ok(json!({}))
        }
        "faults" => {
            let faults = if value.is_array() {
                value
            } else {
                Value::Array(vec![value])
            };
            let faults: Vec<Fault> =
                serde_json::from_value(faults).map_err(|e| format!("bad fault: {e}"))?;
            for fault in faults {
                world.faults.add(fault);
            }
            Ok(json!({}))
        }
        "reset-log" => {
            lock(&world.log).clear();
            Ok(json!({}))
        }
        "clock" => {
            let seconds = value
                .get("advance")
                .and_then(Value::as_f64)
                .ok_or("give {\"advance\": SECONDS}")?;
            let by = Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())?;
            world.clock.advance(by);
            Ok(json!({ "now": world.clock.now().as_secs_f64() }))
        }
        "account" => {
            let operation =
                serde_json::from_value(value).map_err(|e| format!("bad operation: {e}"))?;
            operate(world, operation)
        }
        _ => Err("this path takes GET".to_owned()),
    }
}

fn operate(world: &World, operation: Operation) -> Result<Value, String> {
    let account = &world.account;
    let done = |ok: bool| {
        if ok {
            Ok(json!({}))
        } else {
            Err("there is no such file or folder".to_owned())
        }
    };
    match operation {
        Operation::Mkdir { path } => Ok(json!({ "folder_id": account.mkdir_p(&path) })),
        Operation::Add {
            path,
            text,
            size,
            seed,
            date,
        } => {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let content = match (text, size) {
                (Some(text), None) => Content::bytes(text),
                (None, Some(size)) => Content::synthetic(size, seed.unwrap_or(size)),
                _ => return Err("give either text or size".to_owned()),
            };
            let folder = if folder.is_empty() {
                ROOT
            } else {
                account.mkdir_p(folder)
            };
            let url = account
                .try_add(folder, name, content)
                .map_err(|e| e.to_string())?;
            if let Some(date) = date
                && !account.set_date(&url, &date)
            {
                return Err(format!("{date:?} is no date"));
            }
            Ok(json!({ "url": url }))
        }
        Operation::AddForeign { name, text, pass } => {
            Ok(json!({ "url": account.add_foreign(&name, text, &pass) }))
        }
        Operation::Rm { url } => done(account.remove(&url)),
        Operation::Rename { url, name } => done(account.rename(&url, &name)),
        Operation::Mv { url, folder_id } => done(account.move_to(&url, folder_id)),
        Operation::RmFolder { folder_id } => done(account.remove_folder(folder_id)),
        Operation::RenameFolder { folder_id, name } => {
            done(account.rename_folder(folder_id, &name))
        }
        Operation::MvFolder { folder_id, parent } => done(account.move_folder(folder_id, parent)),
        Operation::SetDate { url, date } => done(account.set_date(&url, &date)),
        Operation::Infect { url } => done(account.infect(&url)),
        Operation::ChangeKey { key } => {
            account.change_key(&key);
            Ok(json!({}))
        }
        Operation::Unlock => {
            lock(&world.rules).unlock();
            Ok(json!({}))
        }
        Operation::Lock => {
            let config = world.config();
            lock(&world.rules).lock(world.clock.now(), &config);
            Ok(json!({}))
        }
    }
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(value.to_string(), None));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
