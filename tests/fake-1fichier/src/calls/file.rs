//! `file/*` (API reference 5.5 to 5.12).

use serde_json::{Map, Value, json};

use crate::account::{file_id, mime_of};
use crate::calls::folder::writable;
use crate::calls::{flag, folder_id, int, put_array, text, texts};
use crate::config::{CapForm, Config, MimeKey, SameFolderMv};
use crate::reply::{Ko, Outcome};
use crate::rules::seconds;
use crate::state::{Acl, ROOT, StoredFile};
use crate::world::World;
use crate::{lock, names, paris};

/// Largest file a scan takes: 5 GB (reference 5.12).
const SCAN_MAX: u64 = 5_000_000_000;

/// Files as items of a listing, in no order, at most `cap`.
pub(crate) fn items(world: &World, mut files: Vec<StoredFile>, cap: usize) -> Vec<Value> {
    let limit = world.config().true_hash_limit;
    lock(&world.rng).shuffle(&mut files);
    files.truncate(cap);
    let hidden: Vec<bool> = {
        let state = world.account.state();
        let hides = |file: &StoredFile| state.folder(file.folder)?.owner.as_ref().map(|it| it.1);
        files.iter().map(|f| hides(f) == Some(true)).collect()
    };
    let items = files.iter().zip(hidden).map(|(file, hidden)| {
        let mut item = item(file, limit);
        if hidden && let Some(item) = item.as_object_mut() {
            item.remove("url");
        }
        item
    });
    items.collect()
}

fn item(file: &StoredFile, limit: u64) -> Value {
    json!({
        "url": file.url(),
        "filename": file.name,
        "size": file.content.size(),
        "date": paris::format(file.date),
        "checksum": file.content.checksum(limit),
        "content-type": mime_of(file),
        "pass": u8::from(!file.pass.is_empty()),
        "acl": u8::from(file.acl != Acl::default()),
        "cdn": file.cdn,
    })
}

pub(crate) fn ls(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let now = world.clock.now();
    let before = date(params, "sent_before")?;
    let after = date(params, "sent_after")?;
    let folder = int(params, "folder_id")?.unwrap_or(0);
    let mut files: Vec<StoredFile> = {
        let mut state = world.account.state();
        if config.vanish_delay_seconds > 0.0 {
            state.forget_ghosts(now);
        }
        if folder == -1 {
            state.all_listed(now).into_iter().cloned().collect()
        } else {
            let id = u64::try_from(folder).map_err(|_| Ko::not_found())?;
            state.folder(id).ok_or_else(Ko::not_found)?;
            state.listed(id, now).into_iter().cloned().collect()
        }
    };
    let slack = i64::from(config.sent_bounds_inclusive);
    files.retain(|f| {
        before.is_none_or(|t| f.date < t + slack) && after.is_none_or(|t| f.date > t - slack)
    });
    if files.len() > config.listing_cap && config.listing_cap_form == CapForm::Refuse {
        return Err(Ko::new(200, "Too many results #40"));
    }
    let items = items(world, files, config.listing_cap);
    let mut out = Map::new();
    out.insert("status".to_owned(), json!("OK"));
    out.insert("count".to_owned(), json!(items.len()));
    put_array(&mut out, "items", items, &config, world.next_turn());
    Ok(Value::Object(out))
}

pub(crate) fn info(world: &World, params: &Map<String, Value>) -> Outcome {
    let file = wanted(world, params)?;
    let config = world.config();
    let mime_key = match config.mime_key {
        MimeKey::Hyphen => "content-type",
        MimeKey::Underscore => "content_type",
    };
    let mut out = json!({
        "status": "OK",
        "url": file.url(),
        "filename": file.name,
        "size": file.content.size(),
        "date": paris::format(file.date),
        "checksum": file.content.checksum(config.true_hash_limit),
        mime_key: mime_of(&file),
        "description": file.description,
        "pass": u8::from(!file.pass.is_empty()),
        "no_ssl": file.no_ssl,
        "inline": file.inline,
        "cdn": file.cdn,
    });
    if !file.is_foreign() {
        out["folder_id"] = json!(file.folder);
        out["path"] = json!(world.account.state().path(file.folder));
    }
    if file.acl != Acl::default() {
        let acl = &file.acl;
        out["acl"] = json!({ "ip": acl.ip, "country": acl.country, "email": acl.email, "premium": acl.premium });
    }
    Ok(out)
}

pub(crate) fn rename(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let wishes = params
        .get("urls")
        .and_then(Value::as_array)
        .filter(|v| !v.is_empty());
    let wishes = wishes.ok_or_else(|| Ko::bad_parameter("urls"))?;
    let mut plan = Vec::new();
    for wish in wishes {
        let wish = wish.as_object().ok_or_else(|| Ko::bad_parameter("urls"))?;
        let url = text(wish, "url")?.ok_or_else(|| Ko::bad_parameter("url"))?;
        let name = text(wish, "filename")?.ok_or_else(|| Ko::bad_parameter("filename"))?;
        plan.push((
            url,
            names::file_from_json(name, &config).map_err(|e| Ko::new(200, e.0))?,
        ));
    }
    let mut done = Vec::new();
    let mut state = world.account.state();
    for (url, name) in plan {
        let Some(file) = file_id(url).and_then(|id| state.file_mut(id)) else {
            continue;
        };
        if file.name == name {
            continue;
        }
        let old = std::mem::replace(&mut file.name, name.clone());
        if config.move_changes_date {
            file.date = world.clock.unix();
        }
        let mut url = file.url();
        if config.rename_changes_url {
            let id = file.id.clone();
            url = state
                .change_id(&id)
                .and_then(|id| state.file(&id))
                .map_or(url, StoredFile::url);
        }
        done.push(json!({ "url": url, "old_filename": old, "new_filename": name }));
    }
    if done.is_empty() {
        return Err(Ko::new(200, "No file has been renamed #312"));
    }
    Ok(json!({ "status": "OK", "renamed": done.len(), "urls": done }))
}

pub(crate) fn mv(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let urls = texts(params, "urls")?;
    let folder = folder_id(params, "destination_folder_id")?;
    let folder = folder.ok_or_else(|| Ko::bad_parameter("destination_folder_id"))?;
    if text(params, "destination_user")?.is_some_and(|user| !user.is_empty()) {
        return Err(Ko::not_allowed());
    }
    let rename = new_name(world, params, urls.len())?;
    let mut state = world.account.state();
    writable(&state, folder)?;
    let mut moved = Vec::new();
    let mut known = 0;
    for url in urls {
        let Some(file) = file_id(url).and_then(|id| state.file_mut(id)) else {
            continue;
        };
        known += 1;
        let same_name = rename.as_ref() == Some(&file.name);
        if same_name && config.refuse_same_name_mv {
            continue;
        }
        let mut taken = rename.clone();
        if file.folder == folder {
            match (config.same_folder_mv, &rename) {
                (SameFolderMv::Ignore, Some(_)) => taken = None,
                (SameFolderMv::Honour, Some(_)) => {}
                (SameFolderMv::Refuse, _) | (_, None) => continue,
            }
        }
        if let Some(name) = taken {
            file.name = name;
        }
        if config.move_changes_date {
            file.date = world.clock.unix();
        }
        let mut id = file.id.clone();
        state.move_file(&id, folder);
        if config.move_changes_url {
            id = state.change_id(&id).unwrap_or(id);
        }
        moved.extend(state.file(&id).map(StoredFile::url));
    }
    match (moved.len(), known) {
        (0, 0) => Err(Ko::not_found()),
        (0, _) => Err(Ko::new(200, "No file has been moved #313")),
        (n, _) => {
            let mut out = json!({ "status": "OK", "moved": n, "urls": moved });
            if let Some(name) = rename {
                out["filename"] = json!(name);
            }
            Ok(out)
        }
    }
}

pub(crate) fn cp(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let urls = texts(params, "urls")?;
    // The field is `folder_id`; whoever sends another name lands in the root.
    let folder = folder_id(params, "folder_id")?.unwrap_or(ROOT);
    let rename = new_name(world, params, urls.len())?;
    let (now, unix) = (world.clock.now(), world.clock.unix());
    let visible = now + seconds(config.appear_delay_seconds);
    let mut state = world.account.state();
    writable(&state, folder)?;
    let room = config.quota_bytes.saturating_sub(state.used());
    let mut copied = Vec::new();
    let mut size = 0;
    for url in urls {
        let Some(file) = file_id(url).and_then(|id| state.file(id)).cloned() else {
            continue;
        };
        may_read(&file, params, &config)?;
        size += file.content.size();
        if size > room {
            return Err(Ko::new(403, "Not enough storage #350"));
        }
        let name = rename.as_ref().unwrap_or(&file.name);
        let date = if config.copy_keeps_date {
            file.date
        } else {
            unix
        };
        let copy = state.add_file(folder, name, file.content.clone(), date, visible);
        copied.extend(copy.map(|c| json!({ "from_url": url, "to_url": c.url() })));
    }
    if copied.is_empty() {
        return Err(Ko::not_found());
    }
    let mut out = json!({ "status": "OK", "copied": copied.len(), "urls": copied });
    if let Some(name) = rename {
        out["filename"] = json!(name);
    }
    Ok(out)
}

pub(crate) fn rm(world: &World, params: &Map<String, Value>) -> Outcome {
    let files = params
        .get("files")
        .and_then(Value::as_array)
        .filter(|v| !v.is_empty());
    let files = files.ok_or_else(|| Ko::bad_parameter("files"))?;
    let urls: Option<Vec<&str>> = files
        .iter()
        .map(|f| f.get("url").and_then(Value::as_str))
        .collect();
    let urls = urls.ok_or_else(|| Ko::bad_parameter("files"))?;
    let now = world.clock.now();
    let ghost = now + seconds(world.config().vanish_delay_seconds);
    let mut state = world.account.state();
    let removed: Vec<&str> = urls
        .into_iter()
        .filter(|url| file_id(url).is_some_and(|id| state.remove_file(id, now, ghost)))
        .collect();
    if removed.is_empty() {
        return Err(Ko::not_found());
    }
    Ok(json!({ "status": "OK", "removed": removed.len(), "urls": removed }))
}

pub(crate) fn chattr(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let urls = texts(params, "urls")?;
    let name = match text(params, "filename")? {
        Some(_) if urls.len() > 1 => return Err(Ko::bad_parameter("filename")),
        Some(raw) => Some(names::file_from_json(raw, &config).map_err(|e| Ko::new(200, e.0))?),
        None => None,
    };
    let description = text(params, "description")?;
    let pass = text(params, "pass")?;
    if pass.is_some_and(|p| !p.is_empty() && p.chars().count() < 6) {
        return Err(Ko::bad_parameter("pass"));
    }
    let (no_ssl, inline, cdn) = (
        flag(params, "no_ssl")?,
        flag(params, "inline")?,
        flag(params, "cdn")?,
    );
    let acl = params.get("acl").map(acl).transpose()?;
    let mut state = world.account.state();
    let (mut known, mut updated) = (0, Vec::new());
    for url in urls {
        let Some(id) = file_id(url) else { continue };
        if state.file(id).is_some_and(StoredFile::is_foreign) {
            return Err(Ko::not_allowed());
        }
        let Some(file) = state.file_mut(id) else {
            continue;
        };
        known += 1;
        let mut changed = false;
        if let Some(name) = &name {
            changed |= set(&mut file.name, name.clone());
        }
        if let Some(text) = description {
            changed |= set(&mut file.description, text.to_owned());
        }
        if let Some(pass) = pass {
            changed |= set(&mut file.pass, pass.to_owned());
        }
        for (field, value) in [
            (&mut file.no_ssl, no_ssl),
            (&mut file.inline, inline),
            (&mut file.cdn, cdn),
        ] {
            changed |= value.is_some_and(|v| set(field, v));
        }
        if let Some(acl) = &acl {
            changed |= set(&mut file.acl, acl.clone());
        }
        if changed {
            updated.push(file.url());
        }
    }
    match (updated.len(), known) {
        (0, 0) => Err(Ko::not_found()),
        (0, _) => Err(Ko::new(200, "No changes requested #322")),
        (n, _) => Ok(json!({ "status": "OK", "updated": n, "urls": updated })),
    }
}

pub(crate) fn scan(world: &World, params: &Map<String, Value>) -> Outcome {
    let file = wanted(world, params)?;
    if file.content.size() >= SCAN_MAX {
        return Err(Ko::new(200, "File too big to be scanned #360"));
    }
    if file.infected {
        let now = world.clock.now();
        world.account.state().remove_file(&file.id, now, now);
        return Ok(json!({ "status": "OK", "message": "Infected, file deleted" }));
    }
    Ok(json!({ "status": "OK", "message": "Clean", "date": paris::format(world.clock.unix()) }))
}

/// The file a call asks for by URL. `folder_id` and `filename` are for shares of other accounts, of which there are
/// none.
pub(crate) fn wanted(world: &World, params: &Map<String, Value>) -> Result<StoredFile, Ko> {
    let url = text(params, "url")?.ok_or_else(|| Ko::bad_parameter("url"))?;
    let id = file_id(url).ok_or_else(Ko::not_found)?;
    let file = world.account.state().file(id).cloned();
    let file = file.ok_or_else(Ko::not_found)?;
    may_read(&file, params, &world.config())?;
    Ok(file)
}

/// Whether the password of a file, if it has one, came along. One's own files need none, unless the switch says
/// so.
fn may_read(file: &StoredFile, params: &Map<String, Value>, config: &Config) -> Result<(), Ko> {
    let pass = text(params, "pass")?;
    let is_free = !file.is_foreign() && !config.own_files_need_password;
    if file.pass.is_empty() || is_free {
        return Ok(());
    }
    match pass {
        Some(pass) if pass == file.pass => Ok(()),
        None | Some("") => Err(Ko::new(
            403,
            "Password not provided. Resource not allowed #632",
        )),
        Some(_) => Err(Ko::new(403, "Invalid password. Resource not allowed #633")),
    }
}

fn new_name(world: &World, params: &Map<String, Value>, urls: usize) -> Result<Option<String>, Ko> {
    match text(params, "rename")?.filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(_) if urls > 1 => Err(Ko::bad_parameter("rename")),
        Some(raw) => names::file_from_json(raw, &world.config())
            .map(Some)
            .map_err(|e| Ko::new(200, e.0)),
    }
}

fn date(params: &Map<String, Value>, name: &str) -> Result<Option<i64>, Ko> {
    match text(params, name)? {
        None => Ok(None),
        Some(text) => paris::parse(text)
            .map(Some)
            .ok_or_else(|| Ko::bad_parameter(name)),
    }
}

fn acl(value: &Value) -> Result<Acl, Ko> {
    let object = value.as_object().ok_or_else(|| Ko::bad_parameter("acl"))?;
    let list = |name: &str| -> Result<Vec<String>, Ko> {
        match object.get(name) {
            None => Ok(Vec::new()),
            Some(_) => Ok(texts(object, name)?
                .into_iter()
                .map(str::to_owned)
                .collect()),
        }
    };
    Ok(Acl {
        ip: list("ip")?,
        country: list("country")?,
        email: list("email")?,
        premium: flag(object, "premium")?.unwrap_or(0),
    })
}

/// Sets a field; true if it was different.
fn set<T: PartialEq>(field: &mut T, value: T) -> bool {
    let differs = *field != value;
    *field = value;
    differs
}
