//! `folder/*` (API reference 5.1 to 5.4).

use serde_json::{Map, Value, json};

use crate::calls::{file, flag, folder_id, put_array, text};
use crate::config::{CapForm, DuplicateFolder, FolderMvBoth, FolderRm};
use crate::lock;
use crate::names;
use crate::paris;
use crate::reply::{Ko, Outcome};
use crate::rules::seconds;
use crate::state::{ROOT, State, StoredFile};
use crate::world::World;

pub(crate) fn ls(world: &World, params: &Map<String, Value>) -> Outcome {
    let id = folder_id(params, "folder_id")?.unwrap_or(ROOT);
    let with_files = flag(params, "files")?.unwrap_or(0) == 1;
    if let Some(user) = text(params, "sharing_user")?.filter(|user| !user.is_empty()) {
        return shared(world, user, id);
    }
    let (config, now) = (world.config(), world.clock.now());
    let turn = world.next_turn();
    let mut out = Map::new();
    let (mut sub_folders, files): (Vec<Value>, Vec<StoredFile>) = {
        let mut state = world.account.state();
        if config.vanish_delay_seconds > 0.0 || config.folder_vanish_delay_seconds > 0.0 {
            state.forget_ghosts(now);
        }
        let folder = state.folder(id).ok_or_else(Ko::not_found)?;
        out.insert("folder_id".to_owned(), json!(id));
        out.insert("name".to_owned(), json!(folder.name));
        if id != ROOT {
            out.insert(
                "create_date".to_owned(),
                json!(paris::format(folder.created)),
            );
            out.insert("pass".to_owned(), json!(0));
        }
        if let Some((link, pass)) = &folder.share {
            out.insert(
                "shared".to_owned(),
                json!(format!("https://1fichier.com/dir/{link}")),
            );
            out.insert("pass".to_owned(), json!(u8::from(!pass.is_empty())));
        }
        if !folder.guests.is_empty() {
            let guests = folder.guests.iter();
            let shares: Vec<Value> = guests
                .map(|(email, rw, hide)| json!({"email": email, "rw": rw, "hide_links": hide}))
                .collect();
            out.insert("shares".to_owned(), json!(shares));
        }
        if let Some((owner, hides)) = &folder.owner {
            out.insert("user".to_owned(), json!(owner));
            out.insert("rw".to_owned(), json!(0));
            out.insert("hide_links".to_owned(), json!(u8::from(*hides)));
        }
        let children = state.children(id);
        let shown = |id: u64, name: &str, created| json!({ "id": id, "name": name, "create_date": paris::format(created), "pass": 0 });
        let folders = children.iter().map(|f| shown(f.id, &f.name, f.created));
        let ghosts = state.ghosts_in(id, now);
        let ghosts = ghosts.map(|f| shown(f.id, &f.name, f.created));
        (
            folders.chain(ghosts).collect(),
            state.listed(id, now).into_iter().cloned().collect(),
        )
    };
    let size: u64 = files.iter().map(|f| f.content.size()).sum();
    out.insert("files".to_owned(), json!(files.len()));
    out.insert(
        "size".to_owned(),
        if files.is_empty() {
            Value::Null
        } else {
            json!(size)
        },
    );
    lock(&world.rng).shuffle(&mut sub_folders);
    let folder_count = if config.listing_cap_counts_folders {
        sub_folders.len()
    } else {
        0
    };
    put_array(&mut out, "sub_folders", sub_folders, &config, turn);
    if with_files {
        let room = config.listing_cap.saturating_sub(folder_count);
        if files.len() > room && config.listing_cap_form == CapForm::Refuse {
            return Err(Ko::new(200, "Too many results #40"));
        }
        let items = file::items(world, files, room);
        put_array(&mut out, "items", items, &config, turn + 1);
    }
    out.insert("status".to_owned(), json!("OK"));
    Ok(Value::Object(out))
}

/// Whether a folder is there and this account's own.
pub(crate) fn writable(state: &State, id: u64) -> Result<(), Ko> {
    let folder = state.folder(id).ok_or_else(Ko::not_found)?;
    if folder.owner.is_some() {
        return Err(Ko::not_allowed());
    }
    Ok(())
}

/// The folders another account shares, as those of its root (reference 5.1 and 11).
fn shared(world: &World, user: &str, id: u64) -> Outcome {
    let state = world.account.state();
    let tops = state.shared_by(user);
    if id != ROOT || tops.is_empty() {
        return Err(Ko::not_allowed());
    }
    let folders = tops.iter().map(|f| {
        json!({ "id": f.id, "name": f.name, "create_date": paris::format(f.created), "pass": 0 })
    });
    let folders: Vec<Value> = folders.collect();
    Ok(json!({
        "status": "OK", "folder_id": ROOT, "name": "Root", "user": user, "rw": 0, "hide_links": 0, "files": 0,
        "size": null, "sub_folders": folders,
    }))
}

pub(crate) fn mkdir(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let parent = folder_id(params, "folder_id")?.unwrap_or(ROOT);
    let raw = text(params, "name")?.ok_or_else(|| Ko::bad_parameter("name"))?;
    let name = names::folder_from_json(raw, &config).map_err(|e| Ko::new(200, e.0))?;
    let mut state = world.account.state();
    writable(&state, parent)?;
    let id = match (state.child(parent, &name), config.duplicate_folder) {
        (Some(_), DuplicateFolder::Refuse) => {
            return Err(Ko::new(200, "Folder already exists #340"));
        }
        (Some(id), DuplicateFolder::Existing) => id,
        _ => state
            .make_folder(parent, &name, world.clock.unix())
            .ok_or_else(Ko::not_found)?,
    };
    Ok(json!({ "status": "OK", "folder_id": id, "name": name, "message": "" }))
}

pub(crate) fn mv(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let id = folder_id(params, "folder_id")?.ok_or_else(|| Ko::bad_parameter("folder_id"))?;
    let destination = folder_id(params, "destination_folder_id")?;
    if text(params, "destination_user")?.is_some_and(|user| !user.is_empty()) {
        return Err(Ko::not_allowed());
    }
    let rename = text(params, "rename")?.filter(|name| !name.is_empty());
    let rename = match rename {
        Some(raw) => Some(names::folder_from_json(raw, &config).map_err(|e| Ko::new(200, e.0))?),
        None => None,
    };
    let mut state = world.account.state();
    let folder = state
        .folder(id)
        .filter(|f| f.id != ROOT)
        .ok_or_else(Ko::not_found)?;
    let (old_name, old_parent) = (folder.name.clone(), folder.parent);
    let parent = match destination {
        Some(parent) if rename.is_none() || config.folder_mv_both == FolderMvBoth::Both => parent,
        _ => old_parent,
    };
    let name = rename.unwrap_or_else(|| old_name.clone());
    writable(&state, parent)?;
    writable(&state, id)?;
    if state.within(parent, id) {
        return Err(Ko::new(200, "A folder cannot be moved into itself #343"));
    }
    if parent == old_parent && name == old_name {
        return Err(Ko::new(200, "No folder has been changed #342"));
    }
    let taken = state.child(parent, &name).is_some_and(|other| other != id);
    if taken && config.duplicate_folder != DuplicateFolder::Duplicate {
        return Err(Ko::new(200, "Folder already exists #340"));
    }
    if parent != old_parent {
        haunt(world, &mut state, id);
        state.move_folder(id, parent);
    }
    if let Some(folder) = state.folder_mut(id) {
        folder.name.clone_from(&name);
    }
    Ok(json!({ "status": "OK", "message": "", "old_name": old_name, "new_name": name }))
}

pub(crate) fn rm(world: &World, params: &Map<String, Value>) -> Outcome {
    let config = world.config();
    let id = folder_id(params, "folder_id")?.ok_or_else(|| Ko::bad_parameter("folder_id"))?;
    let now = world.clock.now();
    let mut state = world.account.state();
    state.forget_ghosts(now);
    writable(&state, id)?;
    let folder = state.folder(id).ok_or_else(Ko::not_found)?;
    if id == ROOT {
        return Err(Ko::not_allowed());
    }
    // A file whose deletion is not visible yet counts, and one that is not listed yet counts too.
    let full = !folder.files.is_empty() || !folder.folders.is_empty();
    if full && config.folder_rm == FolderRm::Refuse {
        return Err(Ko::new(200, "Folder is not empty #341"));
    }
    haunt(world, &mut state, id);
    state.remove_folder(id);
    Ok(json!({ "status": "OK", "message": "" }))
}

/// The folder is on its way out of where it is, and listed there for a while.
fn haunt(world: &World, state: &mut State, id: u64) {
    let delay = world.config().folder_vanish_delay_seconds;
    if delay > 0.0 {
        state.haunt(id, world.clock.now() + seconds(delay));
    }
}

pub(crate) fn share(world: &World, params: &Map<String, Value>) -> Outcome {
    let id = folder_id(params, "folder_id")?.ok_or_else(|| Ko::bad_parameter("folder_id"))?;
    let public = flag(params, "share")?;
    let pass = text(params, "pass")?.unwrap_or_default().to_owned();
    if !pass.is_empty() && pass.chars().count() < 6 {
        return Err(Ko::bad_parameter("pass"));
    }
    let guests = match params.get("shares") {
        None => None,
        Some(Value::Number(n)) if n.as_i64() == Some(0) => Some(Vec::new()),
        Some(Value::Array(items)) => Some(items.iter().map(guest).collect::<Result<_, _>>()?),
        Some(_) => return Err(Ko::bad_parameter("shares")),
    };
    let mut state = world.account.state();
    writable(&state, id)?;
    let link = state.random_id(8);
    let folder = state.folder_mut(id).ok_or_else(Ko::not_found)?;
    match public {
        Some(0) => folder.share = None,
        Some(_) => {
            let link = folder.share.take().map_or(link, |(link, _)| link);
            folder.share = Some((link, pass));
        }
        None => {}
    }
    if let Some(guests) = guests {
        folder.guests = guests;
    }
    let mut out = json!({ "status": "OK", "message": "" });
    if let Some((link, _)) = &folder.share {
        out["url"] = json!(format!("https://1fichier.com/dir/{link}"));
    }
    Ok(out)
}

fn guest(value: &Value) -> Result<(String, u64, u64), Ko> {
    let bad = || Ko::bad_parameter("shares");
    let object = value.as_object().ok_or_else(bad)?;
    let email = text(object, "email")?.ok_or_else(bad)?.to_owned();
    let hide = flag(object, "hide_links")?.unwrap_or(0);
    let rw = if hide == 1 {
        0
    } else {
        flag(object, "rw")?.unwrap_or(0)
    };
    Ok((email, rw, hide))
}
