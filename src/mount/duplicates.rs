//! What a mount answers of files that hold the same, and removing all but one of each.
//!
//! Promises: they are found without a call; a file is removed only while another one that holds the same is seen in
//! the account, and never the last. Memory: eight bytes per file, and the nodes of those that have a twin.
use super::answers::{Control, number};
use super::index::{Line, Over, blocking, rfc3339, seen};
use crate::api::{FileId, Requester, Whirlpool};
use crate::control::index::{MOST_REMOVED, Removed, Spare, Twin, TwinId};
use crate::control::{Answer, Compared, Keep, Teller, Twins, Within};
use crate::tree::{Caller, File, Ino, Listing, Node, Timestamp, Tree, Visit};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::write::volume::Stays;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long looking at a folder again may take: the 30 s the service may want us to wait (API reference 3), a turn
/// behind others, or a silence after a flood (30 s).
const LOOK_LIMIT: Duration = Duration::from_secs(90);

/// Tells which files hold the same.
pub(super) async fn find(control: &Control, within: Within, keep: Keep, teller: Teller) -> Answer {
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
pub(super) async fn remove(control: &Control, spare: &Spare) -> Answer {
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
