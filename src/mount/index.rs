//! What a mount answers of all its files, one after the other.
//!
//! Promises: it is made of what is known, without a call; in memory there is one listing per level of the tree, and
//! the line that is told.
use super::answers::Control;
use crate::control::index::{Kept, MOST_IN_LINE, PATH_BYTES_IN_LINE};
use crate::control::{Answer, IndexedFile, Seen, Teller, Within};
use crate::tree::{Ino, Kind, Times, Timestamp, Tree, Unknown, Visit, Walk, Walked};
use crate::write::volume::Volume;
use std::path::{Path, PathBuf};

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
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
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
