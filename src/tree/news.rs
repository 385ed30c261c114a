//! Folders in which something changed, for programs beside the mount that keep a picture of it: see
//! `--on-change`.
//!
//! Promises: a folder waits once, however often it changes; those that wait are bounded, and more of them
//! become [`News::everything`]; nothing is collected unless somebody wants it. A folder that came is named
//! itself, not the one above it, so that a scan of what is new is small.
use super::folders::Folders;
use super::inode::Ino;
use super::listing::EntryChange;
use super::walk::is_snapshot_name;
use super::{Tree, keep};
use crate::api::FolderId;
use crate::util::sync::lock;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Folders that wait at most. As arguments of a program they take a megabyte in the worst case, half of what
/// the kernel takes; and who is told of more looks at everything faster than at each.
const MOST: usize = 256;

/// What changed since it was asked last.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct News {
    /// The folders, from the mount's root on.
    pub folders: Vec<PathBuf>,
    /// More than can be named: anything may have changed.
    pub everything: bool,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Newsroom {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    folders: BTreeSet<Ino>,
    everything: bool,
}

impl Newsroom {
    fn add(&self, folders: impl IntoIterator<Item = Ino>) {
        let mut waiting = lock(&self.waiting);
        let mut any = false;
        for folder in folders {
            any = true;
            waiting.add(folder);
        }
        drop(waiting);
        if any {
            self.came.notify_one();
        }
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *lock(&self.waiting))
    }
}

impl Waiting {
    fn add(&mut self, folder: Ino) {
        if self.everything {
            return;
        }
        self.folders.insert(folder);
        if self.folders.len() > MOST {
            self.folders.clear();
            self.everything = true;
        }
    }
}

impl Tree {
    /// Something changed in a folder, or it came: to be told to who takes the news.
    pub fn changed(&self, folder: Ino) {
        self.all_changed([folder]);
    }

    /// The same of several.
    pub(super) fn all_changed(&self, folders: impl IntoIterator<Item = Ino>) {
        if self.inner.settings.watch {
            self.inner.news.add(folders);
        }
    }

    /// Waits until there are news; for one taker.
    pub async fn news_came(&self) {
        self.inner.news.came.notified().await;
    }

    /// What changed since this was asked last, by the names that folders have now. Those that are gone
    /// meanwhile are left out: that is a change of the folder they were in.
    pub async fn take_news(&self) -> News {
        let waiting = self.inner.news.take();
        let mut folders = BTreeSet::new();
        for ino in waiting.folders {
            folders.extend(self.whereabouts(ino).await);
        }
        News {
            folders: folders.into_iter().collect(),
            everything: waiting.everything,
        }
    }

    /// Where a folder is shown, from the mount's root on, also if the names on the way have to be read from
    /// disk; `None` when it is gone.
    async fn whereabouts(&self, folder: Ino) -> Option<PathBuf> {
        if self.is_gone(folder) {
            return None;
        }
        // Each turn reads one folder on the way; no sensible tree is as deep.
        for _ in 0..keep::DEEPEST_RECALL {
            if let Some(path) = self.path_of(folder) {
                return Some(path);
            }
            let missing = self.first_unknown(folder)?;
            self.recall(missing).await?;
        }
        None
    }

    /// On the way from the root to `folder`, the lowest whose listing is not in memory.
    fn first_unknown(&self, folder: Ino) -> Option<FolderId> {
        let mut at = self.id_of(folder)?;
        loop {
            let above = {
                let folders = lock(&self.inner.folders);
                parent_of(&folders, at)?
            };
            if self.inner.cache.get(above).is_none() {
                return Some(above);
            }
            if above == self.inner.settings.root.id {
                return None;
            }
            at = above;
        }
    }

    /// The folders to be told when others did this in `folder`.
    pub(super) fn news_of(&self, folder: Ino, theirs: &[&EntryChange]) -> Vec<Ino> {
        if !self.inner.settings.watch {
            return Vec::new();
        }
        // The snapshot that another machine keeps in the account is no news to anybody.
        let is_snapshot = |change: &EntryChange| match change {
            EntryChange::Added(node) | EntryChange::Removed(node) | EntryChange::Altered(node) => {
                is_snapshot_name(node.parent, &node.name)
            }
            EntryChange::Renamed { .. } => false,
        };
        let mut told: Vec<Ino> = theirs
            .iter()
            .filter(|change| !is_snapshot(change))
            .map(|change| match change {
                EntryChange::Added(node) if node.is_folder() => node.ino,
                _ => folder,
            })
            .collect();
        told.sort_unstable();
        told.dedup();
        told
    }
}

fn parent_of(folders: &Folders, folder: FolderId) -> Option<FolderId> {
    folders.get(folder)?.parent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ino(number: usize) -> Ino {
        Ino::new(number as u64 + 2).unwrap()
    }

    #[test]
    fn a_folder_waits_once_and_too_many_are_everything() {
        let room = Newsroom::default();
        room.add([ino(1), ino(2), ino(1)]);
        assert_eq!(room.take().folders.len(), 2);
        assert!(room.take().folders.is_empty());
        room.add((0..=MOST).map(ino));
        room.add([ino(1)]);
        let waiting = room.take();
        assert!(waiting.everything && waiting.folders.is_empty());
        assert!(!room.take().everything, "taken is taken");
    }
}
