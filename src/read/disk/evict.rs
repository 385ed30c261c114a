//! What leaves the disk: the choice of victims, and the way of a unit from present over stale to
//! freed. Knows no system call: the writer frees the space and says so.
//!
//! Least recently used out first, by segment. Heads and tails of files have a queue of their own
//! and go only when everything else has shrunk to a quarter of the budget, so that one huge stream
//! flushes earlier streams and itself, not the edges of a thousand films.
use super::geometry::edges;
use super::map::Map;
use super::segment::{Key, Patch};
use crate::api::FileId;
use std::collections::BTreeMap;

/// The part of the budget (one over this) that bytes outside heads and tails keep although older
/// edges exist: a cache full of edges still serves a film someone watches twice.
const BODY_SHARE: u64 = 4;

impl Map {
    /// Picks the units to evict next from a cache of `budget` bytes, makes them stale and says how
    /// many they are. `None` when nothing is left that nobody reads.
    pub(super) fn evict_segment(&mut self, budget: u64) -> Option<(Patch, u64)> {
        let ((file, segment), edge) =
            self.queues(budget).into_iter().find_map(|(queue, edge)| {
                let idle = |key: &&Key| !self.pinned(**key);
                queue.values().find(idle).map(|key| (*key, edge))
            })?;
        let near = edges(segment, self.files.get(&file)?.size);
        let mask = if edge { near } else { !near };
        let patch = self.retire(Patch {
            file,
            segment,
            mask,
        });
        Some((patch, u64::from(patch.mask.count_ones())))
    }

    /// As above where space can only be freed by whole files.
    pub(super) fn evict_file(&mut self, budget: u64) -> Option<(Patch, u64)> {
        let (file, _) = self.queues(budget).into_iter().find_map(|(queue, _)| {
            let idle = |key: &&Key| self.files.get(&key.0).is_some_and(|entry| entry.pins == 0);
            queue.values().find(idle).copied()
        })?;
        let units = self.files.get(&file).map_or(0, |entry| entry.units);
        self.forget(file);
        Some((Patch::whole(file), units))
    }

    /// The recency queues in the order they give way, each with whether it is the one of edges.
    fn queues(&self, budget: u64) -> [(&BTreeMap<u64, Key>, bool); 2] {
        if self.totals.body > budget / BODY_SHARE {
            [(&self.body, false), (&self.edge, true)]
        } else {
            [(&self.edge, true), (&self.body, false)]
        }
    }

    /// Makes the present units of `patch` stale and says which these are; whoever calls frees their
    /// space, or leaves it to [`discard`](Self::discard).
    pub(super) fn retire(&mut self, patch: Patch) -> Patch {
        let key = (patch.file, patch.segment);
        let mask = self.change(key, |segment| segment.retire(patch.mask));
        Patch {
            mask: mask.unwrap_or(0),
            ..patch
        }
    }

    /// Makes units stale and lists them as garbage; returns how many were present.
    pub(super) fn discard(&mut self, patch: Patch) -> u32 {
        let gone = self.retire(patch).mask.count_ones();
        if gone > 0 {
            self.garbage.insert((patch.file, patch.segment));
        }
        gone
    }

    /// Makes all of a file stale and lists it as garbage.
    pub(super) fn forget(&mut self, file: FileId) {
        if self.writing.is_some_and(|(writing, _)| writing == file) {
            self.writing = None;
        }
        let segments: Vec<u32> = self
            .files
            .get(&file)
            .map(|entry| entry.segments.iter().map(|s| s.index).collect())
            .unwrap_or_default();
        for segment in segments {
            let mask = u64::MAX;
            self.retire(Patch {
                file,
                segment,
                mask,
            });
            self.garbage.insert((file, segment));
        }
    }

    /// Lists the stale units of a segment for removal: they could not be freed at once.
    pub(super) fn list_garbage(&mut self, key: Key) {
        self.garbage.insert(key);
    }

    /// Where only whole files can be freed: lists a segment of a file that is all stale and still
    /// being read, which nothing else would bring back.
    pub(super) fn list_unless_kept(&mut self, patch: Patch) {
        if self.files.get(&patch.file).is_some_and(|e| e.units == 0) {
            self.garbage.insert((patch.file, patch.segment));
        }
    }

    /// The segments with stale units to be freed.
    pub(super) fn garbage(&self) -> Vec<Key> {
        self.garbage.iter().copied().collect()
    }

    /// The stale units of a segment listed as garbage, to be freed now. `None` when there are none,
    /// or someone is still reading; then it stays listed.
    pub(super) fn take_garbage(&mut self, key: Key) -> Option<Patch> {
        if self.pinned(key) || !self.garbage.remove(&key) {
            return None;
        }
        let (file, segment) = key;
        let mask = self.segment_mut(key)?.stale;
        (mask != 0).then_some(Patch {
            file,
            segment,
            mask,
        })
    }

    /// Whether stale units wait for their readers to end.
    pub(super) fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// Whether nothing of a file is present or being read: its data file can go as a whole.
    pub(super) fn unlinkable(&self, file: FileId) -> bool {
        self.files
            .get(&file)
            .is_none_or(|entry| entry.units == 0 && entry.pins == 0)
    }

    /// The space of stale units has been freed.
    pub(super) fn freed(&mut self, patch: Patch) {
        self.change((patch.file, patch.segment), |segment| {
            segment.stale &= !patch.mask;
        });
    }

    /// Drops a file whose space has been freed as a whole.
    pub(super) fn remove(&mut self, file: FileId) {
        let segments: Vec<u32> = self
            .files
            .get(&file)
            .map(|entry| entry.segments.iter().map(|s| s.index).collect())
            .unwrap_or_default();
        for segment in segments {
            self.change((file, segment), |segment| {
                segment.retire(u64::MAX);
                segment.stale = 0;
            });
        }
    }

    /// Whether a segment is being read.
    pub(super) fn pinned(&self, (file, index): Key) -> bool {
        self.files
            .get(&file)
            .and_then(|entry| entry.segment(index))
            .is_some_and(|segment| segment.pins > 0)
    }
}
