//! What a mount answers of all its files: an index of them, and those that hold the same.
//!
//! Promises: both are made of what is known, without a call; a file is removed only while another one that
//! holds the same is seen in the account, and never the last. Memory: one listing per level of the tree; for the
//! comparison eight bytes per file, and the nodes of those that have a twin.
use super::answers::{Control, number};
use crate::api::{FileId, Requester, Whirlpool};
use crate::control::index::{
    Kept, MOST_IN_LINE, MOST_REMOVED, PATH_BYTES_IN_LINE, Removed, Spare, Twin, TwinId,
};
use crate::control::{Answer, Compared, IndexedFile, Keep, Seen, Teller, Twins, Within};
use crate::tree::{
    Caller, File, Ino, Kind, Listing, Node, Times, Timestamp, Tree, Unknown, Visit, Walk, Walked,
};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::write::volume::{Stays, Volume};
use std::cmp::Reverse;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long looking at a folder again may take: the 30 s the service may want us to wait (API reference 3), a turn
/// behind others, or a silence after a flood (30 s).
const LOOK_LIMIT: Duration = Duration::from_secs(90);

/// What a walk needs of a mount.
#[derive(Debug, Clone)]
pub(super) struct Over {
    pub(super) tree: Tree,
    pub(super) volume: Volume,
    pub(super) root: String,
}

impl Over {
    pub(super) fn of(control: &Control) -> Self {
        Self {
            tree: control.tree.clone(),
            volume: control.volume.clone(),
            root: control.root.clone(),
        }
    }

    /// Begins a walk.
    pub(super) fn walk(&self, within: &Within) -> Result<Walk, String> {
        Ok(self.tree.walk(self.find(within)?))
    }

    fn find(&self, within: &Within) -> Result<Visit, String> {
        match within {
            Within::All => self
                .tree
                .known_at(Path::new(""))
                .map_err(|error| error.to_string()),
            Within::Inode(inode) => Ino::new(*inode)
                .and_then(|ino| self.tree.known_inode(ino))
                .ok_or_else(|| "the mount does not know that file or folder any more".to_owned()),
            Within::Path(path) => {
                let inside = Path::new(path).strip_prefix(&self.root).map_err(|_| {
                    format!(
                        "{path} is not below {}, which is all that is shown",
                        self.root
                    )
                })?;
                self.tree.known_at(inside).map_err(|error| self.told(error))
            }
        }
    }

    /// Why a path leads to nothing, with the path as the account has it.
    fn told(&self, error: Unknown) -> String {
        let of = |path: PathBuf| Path::new(&self.root).join(path);
        let error = match error {
            Unknown::Missing { path } => Unknown::Missing { path: of(path) },
            Unknown::Unlisted { path } => Unknown::Unlisted { path: of(path) },
        };
        format!("{error}; a path is one in a mount, or one of the account from its root on")
    }

    /// Where something is in the account.
    pub(super) fn path(&self, visit: &Visit) -> String {
        let path = Path::new(&self.root).join(visit.path());
        path.to_string_lossy().into_owned()
    }

    fn indexed(&self, visit: &Visit, above: &Path) -> IndexedFile {
        let node = &visit.node;
        let fresh = self.volume.fresh(node.ino);
        let local = self.tree.local(node.ino);
        let written = fresh.map(|fresh| fresh.modified.into());
        let times = Times::of(node, local.as_ref(), written);
        let size = fresh.map_or(node.size(), |fresh| fresh.size);
        let state = match &node.kind {
            Kind::Own(_) if size == 0 => Kept::Local,
            Kind::File(_) if fresh.is_none() => Kept::Clean,
            _ => Kept::Waiting,
        };
        let file = node.file().filter(|_| state == Kept::Clean);
        IndexedFile {
            path: self.path(visit),
            below: below(visit, above),
            size,
            whirlpool: file.and_then(|file| Some(file.whirlpool?.to_string())),
            uploaded: file.and_then(|file| rfc3339(Timestamp::new(file.uploaded?, 0))),
            modified: rfc3339(times.modified),
            url: file.map(|file| file.url.to_string()),
            id: file.map(|file| file.url.id().to_string()),
            content_type: file.and_then(|file| Some(file.content_type.as_ref()?.as_str().into())),
            password: file.is_some_and(|file| file.password),
            state,
        }
    }
}

/// Where something is, from a folder on.
fn below(visit: &Visit, above: &Path) -> String {
    let path = visit.path();
    let path = path.strip_prefix(above).unwrap_or(&path);
    path.to_string_lossy().into_owned()
}

/// A time in UTC; `None` when it lies beyond what can be written in four digits of a year.
fn rfc3339(at: Timestamp) -> Option<String> {
    let nanoseconds = i32::try_from(at.nanoseconds()).ok()?;
    let at = jiff::Timestamp::new(at.seconds(), nanoseconds).ok()?;
    Some(at.to_string())
}

pub(super) fn seen(walked: Walked) -> Seen {
    Seen {
        folders: walked.folders,
        files: walked.files,
        unlisted: walked.unlisted,
        partial: walked.partial,
    }
}

/// Runs what waits for the disk elsewhere.
pub(super) async fn blocking(work: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Answer::error("the mount is ending"))
}

/// Tells all files.
pub(super) async fn index(control: &Control, within: Within, teller: Teller) -> Answer {
    let over = Over::of(control);
    blocking(move || {
        let from = match over.find(&within) {
            Ok(from) => from,
            Err(refusal) => return Answer::error(refusal),
        };
        // Of a file the folder it is in, so that it has a name.
        let above = if from.node.is_folder() {
            from.path()
        } else {
            from.folder.to_path_buf()
        };
        let mut walk = over.tree.walk(from);
        let mut line = Line::default();
        for visit in walk.by_ref() {
            if visit.node.is_folder() {
                continue;
            }
            let file = over.indexed(&visit, &above);
            if let Some(files) = line.add(file.path.len() * 2, file)
                && !teller.say_blocking(Answer::Indexed { files })
            {
                break;
            }
        }
        if !line.entries.is_empty() {
            teller.say_blocking(Answer::Indexed {
                files: line.entries,
            });
        }
        Answer::IndexEnd(seen(walk.walked()))
    })
    .await
}

/// Entries that are told together.
pub(super) struct Line<T> {
    pub(super) entries: Vec<T>,
    bytes: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T> Line<T> {
    /// One more, with a path of so many bytes; those that are to be told now.
    pub(super) fn add(&mut self, path_bytes: usize, entry: T) -> Option<Vec<T>> {
        let is_full =
            self.entries.len() >= MOST_IN_LINE || self.bytes + path_bytes > PATH_BYTES_IN_LINE;
        let full = (is_full && !self.entries.is_empty()).then(|| {
            self.bytes = 0;
            std::mem::take(&mut self.entries)
        });
        self.bytes += path_bytes;
        self.entries.push(entry);
        full
    }
}

/// Tells which files hold the same.
pub(super) async fn duplicates(
    control: &Control,
    within: Within,
    keep: Keep,
    teller: Teller,
) -> Answer {
    let over = Over::of(control);
    blocking(move || {
        let found = match Found::new(&over, &within) {
            Ok(found) => found,
            Err(refusal) => return Answer::error(refusal),
        };
        for group in &found.groups {
            if !found.tell(&over, group.clone(), keep, &teller) {
                break;
            }
        }
        Answer::Compared(found.compared)
    })
    .await
}

/// Files that hold the same as others.
struct Found {
    /// All of them, those that hold the same beside each other.
    files: Vec<Visit>,
    /// Where in `files`; the most bytes to be gained first.
    groups: Vec<Range<usize>>,
    compared: Compared,
}

impl Found {
    fn new(over: &Over, within: &Within) -> Result<Self, String> {
        let mut compared = Compared::default();
        // A short mark of each file first: few have a twin, and only theirs are looked at again.
        let mut marks = Vec::new();
        let mut walk = over.walk(within)?;
        for visit in walk.by_ref() {
            match content(&visit.node) {
                Some((hash, _)) => marks.push(mark(&hash)),
                None => compared.unhashed += u64::from(is_unhashed(&visit.node)),
            }
        }
        compared.seen = seen(walk.walked());
        marks.sort_unstable();
        let mut twice: Vec<u64> = marks
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .collect();
        drop(marks);
        twice.dedup();
        let has_twin = |visit: &Visit| {
            let content = content(&visit.node);
            content.is_some_and(|(hash, _)| twice.binary_search(&mark(&hash)).is_ok())
        };
        let mut files: Vec<Visit> = if twice.is_empty() {
            Vec::new()
        } else {
            over.walk(within)?.filter(has_twin).collect()
        };
        files.sort_by_cached_key(|visit| content(&visit.node).map(|it| (it, visit.node.key())));
        // What was moved meanwhile may have been met twice, and is one file all the same.
        files.dedup_by_key(|visit| visit.node.key());
        let mut groups = groups(&files);
        let spare = |group: &Range<usize>| {
            let size = files[group.start].node.size();
            size.saturating_mul(number(group.len() - 1))
        };
        groups.sort_by_key(|group| Reverse(spare(group)));
        compared.groups = number(groups.len());
        compared.files = groups.iter().map(|group| number(group.len())).sum();
        compared.spare_bytes = groups.iter().map(spare).sum();
        Ok(Self {
            files,
            groups,
            compared,
        })
    }

    /// Tells files that hold the same, the one that is kept first; whether anybody listens.
    fn tell(&self, over: &Over, group: Range<usize>, keep: Keep, teller: &Teller) -> bool {
        let mut files: Vec<(&Visit, String)> = self.files[group]
            .iter()
            .map(|visit| (visit, over.path(visit)))
            .collect();
        files.sort_by(|one, other| one.1.cmp(&other.1));
        let kept = (0..files.len()).min_by_key(|at| {
            let (visit, path) = &files[*at];
            rank(keep, visit.node.file(), path)
        });
        if let Some(kept) = kept {
            let first = files.remove(kept);
            files.insert(0, first);
        }
        let Some((whirlpool, size)) = files.first().and_then(|(it, _)| content(&it.node)) else {
            return true;
        };
        let count = number(files.len());
        let mut is_start = true;
        let mut say = |files| {
            teller.say_blocking(Answer::Duplicates(Twins {
                whirlpool: whirlpool.to_string(),
                size,
                count,
                is_start: std::mem::take(&mut is_start),
                files,
            }))
        };
        let mut line = Line::default();
        for (visit, path) in files {
            if let Some(full) = line.add(path.len(), twin(visit, path))
                && !say(full)
            {
                return false;
            }
        }
        say(line.entries)
    }
}

/// Who comes first is kept: by date, else by the length of the path, else by the path. What has no date comes last.
fn rank<'a>(keep: Keep, file: Option<&File>, path: &'a str) -> (bool, i64, usize, &'a str) {
    let uploaded = file.and_then(|file| file.uploaded);
    let date = match keep {
        Keep::Oldest => uploaded,
        Keep::Newest => uploaded.map(i64::saturating_neg),
        Keep::ShortestPath => Some(0),
    };
    let length = path.chars().count();
    (date.is_none(), date.unwrap_or_default(), length, path)
}

/// Neighbours that hold the same.
fn groups(files: &[Visit]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..=files.len() {
        let is_same = |at: usize| content(&files[at].node) == content(&files[start].node);
        if end == files.len() || !is_same(end) {
            if end - start > 1 {
                groups.push(start..end);
            }
            start = end;
        }
    }
    groups
}

/// What tells contents apart: hash and size. `None` for what cannot be a duplicate: a folder, an empty file, one
/// that is new or changed here, and one whose hash is not known.
fn content(node: &Node) -> Option<(Whirlpool, u64)> {
    let file = node.file().filter(|file| file.size > 0)?;
    Some((file.whirlpool?, file.size))
}

fn is_unhashed(node: &Node) -> bool {
    let file = node.file();
    file.is_some_and(|file| file.size > 0 && file.whirlpool.is_none())
}

/// Eight bytes of a hash: enough to rule nearly all files out.
fn mark(hash: &Whirlpool) -> u64 {
    let (first, _) = hash.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_le_bytes(*first)
}

fn twin(visit: &Visit, path: String) -> Twin {
    let file = visit.node.file();
    Twin {
        file: TwinId {
            folder: visit.node.parent.get(),
            inode: visit.node.ino.get(),
            id: file.map_or_else(String::new, |file| file.url.id().to_string()),
        },
        path,
        url: file.map_or_else(String::new, |file| file.url.to_string()),
        uploaded: file.and_then(|file| rfc3339(Timestamp::new(file.uploaded?, 0))),
    }
}

/// Removes files that hold the same as one that stays, which is looked at again first.
pub(super) async fn remove_spare(control: &Control, spare: &Spare) -> Answer {
    if control.read_only {
        return Answer::error(Stays::ReadOnly.to_string());
    }
    let keep = match look_again(&control.tree, control.clock, spare).await {
        Ok(keep) => keep,
        Err(refusal) => return Answer::error(refusal),
    };
    let over = Over::of(control);
    let spare = spare.clone();
    blocking(move || {
        let mut removed = Removed::default();
        for wanted in spare.remove.iter().take(MOST_REMOVED) {
            let outcome = match still(&over.tree, wanted, &spare) {
                Some(node) => over
                    .volume
                    .remove_spare(&keep, &node)
                    .map_err(|stays| stays.to_string()),
                None => Err("it has changed, moved or gone".to_owned()),
            };
            match outcome {
                Ok(()) => removed.files += 1,
                Err(why) => removed.left.push((wanted.id.clone(), why)),
            }
        }
        Answer::Removed(removed)
    })
    .await
}

/// The file that is to stay, as the account shows it now.
async fn look_again(tree: &Tree, clock: Clock, spare: &Spare) -> Result<Arc<Node>, String> {
    const GONE: &str =
        "the file that was to be kept has changed, moved or gone; nothing was removed";
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, LOOK_LIMIT),
    };
    let folder = Ino::new(spare.keep.folder).ok_or(GONE)?;
    let believed = Duration::from_millis(spare.believed_ms);
    let is_fresh = |listing: &Listing| clock.now().since(listing.fetched()) <= believed;
    let known = tree.clone();
    let known = tokio::task::spawn_blocking(move || known.known_listing(folder)).await;
    let listing = if let Some(listing) = known.ok().flatten().filter(|it| is_fresh(it)) {
        listing
    } else {
        // After the pause the service wants, should it have been listed a moment ago.
        let renewed = tree.renew(folder, caller).await;
        renewed.map_err(|error| {
            format!("the folder of the file that is to be kept cannot be looked at again: {error}")
        })?;
        let known = tree.clone();
        let known = tokio::task::spawn_blocking(move || known.known_listing(folder)).await;
        known.ok().flatten().ok_or(GONE)?
    };
    let keep = Ino::new(spare.keep.inode).and_then(|ino| listing.at(ino).cloned());
    let keep = keep.filter(|node| is_same(node, &spare.keep, spare));
    keep.ok_or_else(|| GONE.to_owned())
}

/// A file as it is shown, if it is what it was.
fn still(tree: &Tree, wanted: &TwinId, spare: &Spare) -> Option<Arc<Node>> {
    let folder = Ino::new(wanted.folder)?;
    let node = tree.known_entry(folder, Ino::new(wanted.inode)?)?;
    is_same(&node, wanted, spare).then_some(node)
}

fn is_same(node: &Node, wanted: &TwinId, spare: &Spare) -> bool {
    let is_named = FileId::parse(&wanted.id)
        .is_some_and(|id| node.file().is_some_and(|file| file.url.id() == id));
    let hash = Whirlpool::parse(&spare.whirlpool);
    is_named && hash.is_some() && content(node) == hash.zip(Some(spare.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_lose_nothing() {
        let mut line = Line::default();
        let mut told = Vec::new();
        for at in 0..1000_usize {
            let bytes = if at % 100 == 0 {
                PATH_BYTES_IN_LINE
            } else {
                10
            };
            if let Some(full) = line.add(bytes, at) {
                assert!(full.len() <= MOST_IN_LINE);
                told.extend(full);
            }
        }
        told.extend(line.entries);
        assert_eq!(told, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        let text = |seconds, nanoseconds| rfc3339(Timestamp::new(seconds, nanoseconds));
        assert_eq!(text(0, 0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(
            text(-1, 500_000_000).unwrap(),
            "1969-12-31T23:59:59.5Z",
            "rounded down"
        );
        assert_eq!(text(i64::MAX, 0), None);
    }
}
