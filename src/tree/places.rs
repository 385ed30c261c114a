//! Which listing in memory shows a file: an id seen in two folders belongs to the newest listing.
//!
//! Sub-folders need no place here, their parent is remembered anyway. Bounded by what is in memory:
//! files of listings that fell out of it are swept out now and then. Pure.
use super::inode::Ino;
use crate::api::FolderId;
use std::collections::HashMap;

/// Files remembered before the first sweep, 24 bytes each.
const FIRST_SWEEP: usize = 65_536;

/// The folder each file was seen in last.
#[derive(Debug)]
pub(super) struct Places {
    of: HashMap<Ino, FolderId>,
    sweep_at: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Places {
    /// `folder` shows `file` now; the other folder that did so before, if any.
    pub(super) fn put(&mut self, file: Ino, folder: FolderId) -> Option<FolderId> {
        let before = self.of.insert(file, folder);
        before.filter(|before| *before != folder)
    }

    /// The folder that showed `file` last.
    pub(super) fn of(&self, file: Ino) -> Option<FolderId> {
        self.of.get(&file).copied()
    }

    /// Forgets files that `is_shown` denies, when enough have come since the last time. It is also told how
    /// many files are thought to be in that folder.
    pub(super) fn sweep(&mut self, mut is_shown: impl FnMut(Ino, FolderId, usize) -> bool) {
        if self.of.len() >= self.sweep_at {
            let mut counts: HashMap<FolderId, usize> = HashMap::new();
            for folder in self.of.values() {
                *counts.entry(*folder).or_default() += 1;
            }
            self.of
                .retain(|file, folder| is_shown(*file, *folder, counts[folder]));
            self.of.shrink_to(self.of.len() * 2);
            self.sweep_at = FIRST_SWEEP.max(self.of.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_folder_has_it_and_sweeps_keep_what_is_shown() {
        let mut places = Places::default();
        let ino = |number| Ino::new(number).unwrap();
        let (a, b) = (FolderId(1), FolderId(2));
        assert_eq!(places.put(ino(5), a), None);
        assert_eq!(places.put(ino(5), a), None);
        assert_eq!(places.put(ino(5), b), Some(a));
        assert_eq!(places.of(ino(5)), Some(b));
        for number in 0..FIRST_SWEEP as u64 {
            places.put(ino(10 + number), a);
        }
        places.sweep(|file, folder, count| {
            assert_eq!(count, if folder == b { 1 } else { FIRST_SWEEP });
            folder == b || file.get() < 20
        });
        assert_eq!(places.of.len(), 11);
        assert_eq!(places.of(ino(5)), Some(b));
        assert_eq!(places.of(ino(20)), None);
    }
}
