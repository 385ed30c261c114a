//! What exists on this machine only: told, and taken in from another.
//!
//! Promises: what is told is no secret and names things by path, id and content, so that it means the same on a
//! machine where inode numbers differ; what is taken in never overwrites what was changed here later, and what is not
//! applicable is told with its reason.
use super::answers::Control;
use super::index::{Line, Over, blocking, seen};
use crate::api::{FileId, FolderId, Requester, Whirlpool};
use crate::control::local_state::{Attributes, FORMAT, Given, Owner, VERSION};
use crate::control::{Answer, Exported, Head, Imported, Record, Teller, Within};
use crate::tree::{
    Caller, File, Ino, Kind, Local, MODE_BITS, Node, NodeKey, Times, Timestamp, Unknown, Visit,
};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::write::volume::VolumeError;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a folder may take to be listed in which an empty file is put.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// Whose it is, and when it was made.
pub(super) fn head(over: &Over) -> Head {
    let owner = over.tree.owner();
    let account = owner.map_or_else(Owner::default, |owner| Owner {
        email: owner.email.into(),
        key: owner.key.into(),
    });
    Head {
        format: FORMAT.to_owned(),
        version: VERSION,
        account,
        made: over.tree.now(),
    }
}

/// Tells all.
pub(super) async fn export(control: &Control, teller: Teller) -> Answer {
    let over = Over::of(control);
    blocking(move || {
        if !teller.say_blocking(Answer::StateHead(head(&over))) {
            return Answer::StateEnd(Exported::default());
        }
        let mut line = Line::default();
        let told = each(&over, &mut |record| {
            let full = line.add(record.path().len() + size_of_val(&record), record);
            full.is_none_or(|records| teller.say_blocking(Answer::State { records }))
        });
        match told {
            Ok(told) => {
                teller.say_blocking(Answer::State {
                    records: line.entries,
                });
                Answer::StateEnd(told)
            }
            Err(refusal) => Answer::error(refusal),
        }
    })
    .await
}

/// Goes through all there is to tell: empty files first, since a folder's attributes are to be set after what is
/// in it. Ends when `tell` says that nobody listens.
pub(super) fn each(over: &Over, tell: &mut dyn FnMut(Record) -> bool) -> Result<Exported, String> {
    let mut told = Exported::default();
    for visit in over.walk(&Within::All)? {
        if let Some(record) = empty(over, &visit) {
            told.records += 1;
            if !tell(record) {
                return Ok(told);
            }
        }
    }
    let mut walk = over.walk(&Within::All)?;
    for visit in walk.by_ref() {
        let (records, is_waiting) = kept_of(over, &visit);
        told.waiting += u64::from(is_waiting);
        for record in records {
            told.records += 1;
            if !tell(record) {
                return Ok(told);
            }
        }
    }
    told.seen = seen(walk.walked());
    Ok(told)
}

/// An empty file, which the service does not take.
fn empty(over: &Over, visit: &Visit) -> Option<Record> {
    let node = &visit.node;
    let is_empty = matches!(node.kind, Kind::Own(_)) && node.size() == 0;
    if !is_empty || over.volume.fresh(node.ino).is_some() {
        return None;
    }
    let made = Local::new(Timestamp::new(node.modified().unwrap_or_default(), 0));
    let local = over.tree.local(node.ino).unwrap_or(made);
    Some(Record::Empty {
        path: over.path(visit),
        attributes: attributes(&local),
    })
}

/// What is kept of a file or folder, and whether something is that nobody can be told of before the account has it.
fn kept_of(over: &Over, visit: &Visit) -> (Vec<Record>, bool) {
    let node = &visit.node;
    let local = over.tree.local(node.ino);
    match &node.kind {
        Kind::Own(_) => (Vec::new(), node.size() > 0),
        Kind::File(_) if over.volume.fresh(node.ino).is_some() => (Vec::new(), true),
        Kind::File(file) => {
            let record = local.map(|local| Record::File {
                path: over.path(visit),
                id: file.url.id().to_string(),
                size: file.size,
                whirlpool: file.whirlpool.map(|hash| hash.to_string()),
                attributes: attributes(&local),
            });
            (record.into_iter().collect(), false)
        }
        Kind::Folder(_) => {
            let Some(id) = over.tree.folder_id(node.ino) else {
                return (Vec::new(), true);
            };
            let path = over.path(visit);
            let given = over.tree.numbers_in(node.ino);
            let numbers = (!given.is_empty()).then(|| Record::Numbers {
                path: path.clone(),
                id: id.0,
                given: given.into_iter().map(given_to).collect(),
            });
            let folder = local.map(|local| Record::Folder {
                path,
                id: id.0,
                newest: newest(over, node.ino),
                attributes: as_shown(node, &local),
            });
            (numbers.into_iter().chain(folder).collect(), false)
        }
    }
}

fn newest(over: &Over, folder: Ino) -> Option<i64> {
    over.tree.known_listing(folder)?.newest()
}

fn given_to((key, name, number): (NodeKey, OsString, u32)) -> Given {
    let (file, folder) = match key {
        NodeKey::File(id) => (Some(id.to_string()), None),
        NodeKey::Folder(id) => (None, Some(id.0)),
        NodeKey::Own(_) => (None, None),
    };
    Given {
        file,
        folder,
        name: name.to_string_lossy().into_owned(),
        number,
    }
}

/// A folder's attributes: what others put in it since they were set here counts.
fn as_shown(node: &Node, local: &Local) -> Attributes {
    let times = Times::of(node, Some(local), None);
    Attributes {
        modified: Some(time(times.modified)),
        changed: time(times.changed.max(local.changed)),
        ..attributes(local)
    }
}

fn attributes(local: &Local) -> Attributes {
    Attributes {
        mode: local.mode,
        uid: local.uid,
        gid: local.gid,
        modified: local.modified.map(time),
        accessed: local.accessed.map(time),
        changed: time(local.changed),
    }
}

fn time(at: Timestamp) -> (i64, u32) {
    (at.seconds(), at.nanoseconds())
}

fn local(attributes: &Attributes) -> Local {
    let at = |(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds);
    Local {
        mode: attributes.mode.map(|mode| mode & MODE_BITS),
        uid: attributes.uid,
        gid: attributes.gid,
        modified: attributes.modified.map(at),
        accessed: attributes.accessed.map(at),
        changed: at(attributes.changed),
    }
}

/// Whether a file is of this account, or why it is not taken in.
fn check(over: &Over, head: &Head, force: bool) -> Result<(), String> {
    if head.format != FORMAT || head.version > VERSION {
        return Err("the mount does not know this version of the format; restart it".to_owned());
    }
    let here = self::head(over).account;
    let theirs = &head.account;
    let is_same = (!here.key.is_empty() && here.key == theirs.key)
        || (!here.email.is_empty() && here.email == theirs.email);
    if is_same || force {
        return Ok(());
    }
    let name = |owner: &Owner| match &*owner.email {
        "" => "an account whose address is not known".to_owned(),
        email => email.to_owned(),
    };
    Err(format!(
        "it is the state of {}, and this is {}; say --force if it is meant all the same",
        name(theirs),
        name(&here)
    ))
}

/// Takes some in.
pub(super) async fn import(
    control: &Control,
    head: &Head,
    force: bool,
    records: Vec<Record>,
) -> Result<Imported, String> {
    if control.read_only {
        return Err("a read-only mount takes nothing in".to_owned());
    }
    let over = Over::of(control);
    check(&over, head, force)?;
    let mut taken = Imported::default();
    let mut rest = Vec::with_capacity(records.len());
    for record in records {
        match record {
            Record::Empty { path, attributes } => {
                let outcome = restore_empty(&over, control.clock, &path, local(&attributes)).await;
                note(&mut taken, path, outcome);
            }
            other => rest.push(other),
        }
    }
    let made = head.made;
    let (over_there, moved) = (over.clone(), rest);
    let restored = tokio::task::spawn_blocking(move || restore(&over_there, made, moved)).await;
    taken.add(restored.map_err(|_| "the mount is ending".to_owned())?);
    let written = over.volume.outbox().written().await;
    written.map_err(|error| error.to_string())?;
    Ok(taken)
}

/// What became of a record.
enum Fate {
    Applied,
    Known,
    Ahead,
}

fn note(taken: &mut Imported, path: String, outcome: Result<Fate, String>) {
    match outcome {
        Ok(Fate::Applied) => taken.applied += 1,
        Ok(Fate::Known) => taken.known += 1,
        Ok(Fate::Ahead) => taken.ahead += 1,
        Err(why) => taken.left.push((path, why)),
    }
}

async fn restore_empty(
    over: &Over,
    clock: Clock,
    path: &str,
    saved: Local,
) -> Result<Fate, String> {
    let inside = inside(over, path).ok_or("it is outside of what is mounted")?;
    let name = inside.file_name().ok_or("it has no name")?.to_owned();
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, LIST_LIMIT),
    };
    let mut folder = Ino::ROOT;
    let above = inside.parent().unwrap_or(Path::new(""));
    for part in above {
        folder = match look_up(over, folder, part, caller).await? {
            Some(node) if node.is_folder() => node.ino,
            _ => return Err("its folder is not there".to_owned()),
        };
    }
    match look_up(over, folder, &name, caller).await? {
        None => {
            let made = over.volume.restore_empty(folder, &name, saved);
            made.map_err(|error| error.to_string())?;
            Ok(Fate::Applied)
        }
        Some(node) if !node.is_folder() && node.size() == 0 => Ok(applied(
            over.volume.restore_attributes(&[(node.ino, saved)]),
        )),
        Some(_) => Err("there is something else of that name".to_owned()),
    }
}

async fn look_up(
    over: &Over,
    folder: Ino,
    name: &OsStr,
    caller: Caller,
) -> Result<Option<Arc<Node>>, String> {
    let found = over.tree.lookup(folder, name, caller).ready().await;
    found.map_err(|error| VolumeError::from(error).to_string())
}

fn applied(count: u64) -> Fate {
    if count > 0 {
        Fate::Applied
    } else {
        Fate::Known
    }
}

/// A path of the account, from the root of the mount on.
fn inside(over: &Over, path: &str) -> Option<PathBuf> {
    let inside = Path::new(path).strip_prefix(&over.root).ok()?;
    Some(inside.to_owned())
}

/// Takes attributes and numbers in. Blocks for the disk.
fn restore(over: &Over, made: i64, records: Vec<Record>) -> Imported {
    let mut taken = Imported::default();
    for record in records {
        let path = record.path().to_owned();
        let outcome = match record {
            Record::Empty { .. } => continue,
            Record::Folder {
                path,
                id,
                newest,
                attributes,
            } => restore_folder(
                over,
                &path,
                id,
                newest.unwrap_or(made).max(made),
                &attributes,
            ),
            Record::File {
                path,
                id,
                size,
                whirlpool,
                attributes,
            } => restore_file(over, &path, &id, (size, whirlpool), &attributes),
            Record::Numbers { id, given, .. } => restore_numbers(over, id, &given),
        };
        note(&mut taken, path, outcome);
    }
    taken
}

/// `known` is a time up to which others' changes are contained in what was kept.
fn restore_folder(
    over: &Over,
    path: &str,
    id: u64,
    known: i64,
    attributes: &Attributes,
) -> Result<Fate, String> {
    let key = NodeKey::Folder(FolderId(id));
    let mut saved = local(attributes);
    saved.changed = saved.changed.max(Timestamp::new(known, 0));
    let visit = inside(over, path).map(|inside| over.tree.known_at(&inside));
    let ino = match visit {
        Some(Ok(visit)) if visit.node.is_folder() => Ok((visit.node.ino, true)),
        Some(Ok(_)) => Err("there is a file of that name"),
        Some(Err(Unknown::Missing { .. })) if !over.tree.is_somewhere(key) => {
            Err("it is not there any more")
        }
        Some(Err(_)) | None => {
            let ino = over.tree.number_of(key).ok_or("it has no number")?;
            Ok((ino, over.tree.is_somewhere(key)))
        }
    };
    let (ino, is_seen) = ino.map_err(str::to_owned)?;
    Ok(put(over, ino, saved, is_seen))
}

fn restore_file(
    over: &Over,
    path: &str,
    id: &str,
    (size, whirlpool): (u64, Option<String>),
    attributes: &Attributes,
) -> Result<Fate, String> {
    let id = FileId::parse(id).ok_or("its id makes no sense")?;
    let key = NodeKey::File(id);
    let hash = whirlpool.as_deref().and_then(Whirlpool::parse);
    let is_same = |node: &Node| {
        let holds_same =
            |file: &File| hash.is_some() && file.whirlpool == hash && file.size == size;
        node.key() == key || node.file().is_some_and(holds_same)
    };
    let visit = inside(over, path).map(|inside| over.tree.known_at(&inside));
    let (ino, is_seen) = match visit {
        Some(Ok(visit)) if is_same(&visit.node) => (visit.node.ino, true),
        Some(Ok(_) | Err(Unknown::Missing { .. })) if !over.tree.is_somewhere(key) => {
            return Err("it is not there any more, or holds something else".to_owned());
        }
        // Elsewhere by now, or to be seen later: its id says which it is.
        Some(Err(Unknown::Unlisted { .. })) | None => {
            let ino = over.tree.number_of(key).ok_or("it has no number")?;
            (ino, over.tree.is_somewhere(key))
        }
        Some(_) => (over.tree.number_of(key).ok_or("it has no number")?, true),
    };
    Ok(put(over, ino, local(attributes), is_seen))
}

fn put(over: &Over, ino: Ino, saved: Local, is_seen: bool) -> Fate {
    match over.volume.restore_attributes(&[(ino, saved)]) {
        0 => Fate::Known,
        _ if is_seen => Fate::Applied,
        _ => Fate::Ahead,
    }
}

fn restore_numbers(over: &Over, id: u64, given: &[Given]) -> Result<Fate, String> {
    let keys = given.iter().map(|it| {
        let file = it.file.as_deref().and_then(FileId::parse);
        let folder = it.folder.map(|id| NodeKey::Folder(FolderId(id)));
        let key = file.map(NodeKey::File).or(folder)?;
        Some((key, OsStr::new(&it.name), it.number))
    });
    let keys: Option<Vec<_>> = keys.collect();
    let keys = keys.ok_or("an id in it makes no sense")?;
    if over.tree.restore_numbers(FolderId(id), keys) {
        Ok(Fate::Applied)
    } else {
        Err("files of one name bear other numbers here already".to_owned())
    }
}
