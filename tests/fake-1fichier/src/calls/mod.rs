//! The calls, one file per group, and the strict reading of their parameters.

pub(crate) mod download;
pub(crate) mod file;
pub(crate) mod folder;
pub(crate) mod public;
pub(crate) mod remote;
pub(crate) mod upload;
pub(crate) mod user;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::{Config, EmptyArrays};
use crate::reply::{Ko, Outcome};
use crate::world::Call;

/// Fields each call knows; others are ignored as on the service, but noted in the log.
const FIELDS: &[(&str, &[&str])] = &[
    ("folder/ls", &["folder_id", "sharing_user", "files"]),
    ("folder/mkdir", &["name", "folder_id", "sharing_user"]),
    (
        "folder/mv",
        &[
            "folder_id",
            "destination_folder_id",
            "destination_user",
            "rename",
        ],
    ),
    ("folder/rm", &["folder_id"]),
    ("folder/share", &["folder_id", "share", "pass", "shares"]),
    (
        "file/ls",
        &["folder_id", "sharing_user", "sent_before", "sent_after"],
    ),
    (
        "file/info",
        &["url", "folder_id", "filename", "pass", "sharing_user"],
    ),
    ("file/rename", &["urls"]),
    (
        "file/mv",
        &[
            "urls",
            "destination_folder_id",
            "destination_user",
            "rename",
        ],
    ),
    (
        "file/cp",
        &["urls", "folder_id", "pass", "sharing_user", "rename"],
    ),
    ("file/rm", &["files"]),
    (
        "file/chattr",
        &[
            "urls",
            "filename",
            "description",
            "pass",
            "no_ssl",
            "inline",
            "cdn",
            "acl",
        ],
    ),
    ("file/scan", &["url"]),
    ("user/info", user::SETTABLE),
    ("upload/get_upload_server", &[]),
    (
        "download/get_token",
        &[
            "url",
            "inline",
            "cdn",
            "restrict_ip",
            "single",
            "pass",
            "no_ssl",
            "folder_id",
            "filename",
            "sharing_user",
        ],
    ),
    ("remote/request", &["urls", "folder_id", "headers"]),
    ("remote/ls", &[]),
    ("remote/info", &["id"]),
];

/// Carries out a JSON call whose head and key are in order.
pub(crate) fn dispatch(call: &Arc<Call>, params: &Value) -> Outcome {
    let empty = Map::new();
    let params = params.as_object().unwrap_or(&empty);
    let Some((_, known)) = FIELDS.iter().find(|(name, _)| *name == call.endpoint) else {
        return Err(Ko::new(404, "Unknown call #20"));
    };
    for field in params
        .keys()
        .filter(|f| *f != "pretty" && !known.contains(&f.as_str()))
    {
        call.note(&format!("unknown_field: {field}"));
    }
    let user = text(params, "sharing_user")?.filter(|user| !user.is_empty());
    let lists = matches!(call.endpoint.as_str(), "folder/ls" | "file/ls");
    if user.is_some() && !lists {
        // Others share for reading only.
        return Err(Ko::not_allowed());
    }
    let world = &*call.world;
    match call.endpoint.as_str() {
        "folder/ls" => folder::ls(world, params),
        "folder/mkdir" => folder::mkdir(world, params),
        "folder/mv" => folder::mv(world, params),
        "folder/rm" => folder::rm(world, params),
        "folder/share" => folder::share(world, params),
        "file/ls" => file::ls(world, params),
        "file/info" => file::info(world, params),
        "file/rename" => file::rename(world, params),
        "file/mv" => file::mv(world, params),
        "file/cp" => file::cp(world, params),
        "file/rm" => file::rm(world, params),
        "file/chattr" => file::chattr(world, params),
        "file/scan" => file::scan(world, params),
        "user/info" => user::info(call, params),
        "upload/get_upload_server" => Ok(upload::node(call)),
        "download/get_token" => download::token(call, params),
        "remote/request" => remote::request(world, params),
        "remote/ls" => Ok(remote::ls(world)),
        "remote/info" => remote::info(world, params),
        _ => Err(Ko::new(404, "Unknown call #20")),
    }
}

/// A text, if the field is there.
pub(crate) fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Ko> {
    match params.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Ko::bad_parameter(name)),
    }
}

/// A whole number, if the field is there. The documented type is meant: a numeric string is refused.
pub(crate) fn int(params: &Map<String, Value>, name: &str) -> Result<Option<i64>, Ko> {
    match params.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| Ko::bad_parameter(name)),
    }
}

/// 0 or 1, if the field is there.
pub(crate) fn flag(params: &Map<String, Value>, name: &str) -> Result<Option<u64>, Ko> {
    match int(params, name)? {
        None => Ok(None),
        Some(0) => Ok(Some(0)),
        Some(1) => Ok(Some(1)),
        Some(_) => Err(Ko::bad_parameter(name)),
    }
}

/// A folder id; `None` when the field is missing.
pub(crate) fn folder_id(params: &Map<String, Value>, name: &str) -> Result<Option<u64>, Ko> {
    match int(params, name)? {
        None => Ok(None),
        Some(id) => u64::try_from(id).map(Some).map_err(|_| Ko::not_found()),
    }
}

/// A list of texts that must be there and not be empty.
pub(crate) fn texts<'a>(params: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, Ko> {
    let items = params
        .get(name)
        .and_then(Value::as_array)
        .ok_or_else(|| Ko::bad_parameter(name))?;
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    texts
        .filter(|t| !t.is_empty())
        .ok_or_else(|| Ko::bad_parameter(name))
}

/// Puts an array into an answer; an empty one in the form of the switch.
pub(crate) fn put_array(
    out: &mut Map<String, Value>,
    name: &str,
    items: Vec<Value>,
    config: &Config,
    turn: usize,
) {
    if !items.is_empty() {
        out.insert(name.to_owned(), Value::Array(items));
        return;
    }
    let form = match config.empty_arrays {
        EmptyArrays::Rotate => {
            [EmptyArrays::Absent, EmptyArrays::Null, EmptyArrays::Empty][turn % 3]
        }
        form => form,
    };
    match form {
        EmptyArrays::Null => _ = out.insert(name.to_owned(), Value::Null),
        EmptyArrays::Empty => _ = out.insert(name.to_owned(), json!([])),
        EmptyArrays::Absent | EmptyArrays::Rotate => {}
    }
}
