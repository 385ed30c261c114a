//! What of the map is persisted: contents and recency, and how they come back.
use super::geometry::{MAX_SIZE, bit_of, existing, units_in};
use super::map::Map;
use super::proof;
use super::segment::{Key, Patch};
use crate::api::FileId;

/// A segment as the persisted map keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) patch: Patch,
    pub(super) size: u64,
    /// Checksums of the units in the patch, ascending.
    pub(super) sums: Vec<u64>,
}

/// What a file takes on disk.
pub(super) struct Extent {
    /// The file's size.
    pub(super) size: u64,
    /// Its units on disk, by segment, as bits.
    pub(super) held: Vec<(u32, u64)>,
}

impl Map {
    /// Takes over what the persisted map says, as the most recently used.
    pub(super) fn load(&mut self, snapshot: &Snapshot) {
        let Patch {
            file,
            segment,
            mask,
        } = snapshot.patch;
        let size = snapshot.size;
        let sound = size <= MAX_SIZE
            && mask != 0
            && mask & !existing(segment, size) == 0
            && snapshot.sums.len() == mask.count_ones() as usize;
        if !sound {
            return;
        }
        if self.files.get(&file).is_some_and(|e| e.size != size) {
            self.remove(file);
        }
        self.entry(file, size);
        self.load_proof(file, proof::NONE);
        let counter = self.next();
        self.change((file, segment), |kept| {
            for (unit, sum) in units_in(segment, mask).zip(&snapshot.sums) {
                kept.insert(bit_of(unit), *sum);
            }
            kept.used = counter;
        });
    }

    /// Takes over what the persisted map says of a file's proof. It holds once it was compared with the file, see
    /// [`prove`](Self::prove).
    pub(super) fn load_proof(&mut self, file: FileId, print: u64) {
        if let Some(entry) = self.files.get_mut(&file) {
            entry.proof = (print != proof::NONE).then_some(print);
        }
    }

    /// The files with a proof.
    pub(super) fn with_proof(&self) -> Vec<(FileId, u64)> {
        let files = self.files.iter();
        files
            .filter_map(|(file, entry)| Some((*file, entry.proof?)))
            .collect()
    }

    /// The file bears this print now: what an earlier process proved of it holds, if that was it.
    pub(super) fn prove(&mut self, file: FileId, print: Option<u64>) {
        let Some(entry) = self.files.get_mut(&file) else {
            return;
        };
        if entry.proof.is_none() || entry.proof != print {
            entry.proof = None;
            return;
        }
        for segment in &mut entry.segments {
            segment.checked = segment.present;
        }
        entry.durable = true;
    }

    /// The proofs to be persisted, each once.
    pub(super) fn take_proved(&mut self) -> Vec<(FileId, u64)> {
        let files = std::mem::take(&mut self.proved);
        let proof = |file| Some((file, self.files.get(&file)?.proof?));
        files.into_iter().filter_map(proof).collect()
    }

    /// What of a segment is present, with its checksums.
    pub(super) fn snapshot(&self, (file, index): Key) -> Option<Snapshot> {
        let entry = self.files.get(&file)?;
        let segment = entry.segment(index)?;
        (segment.present != 0).then(|| Snapshot {
            patch: Patch {
                file,
                segment: index,
                mask: segment.present,
            },
            size: entry.size,
            sums: segment.sums.clone(),
        })
    }

    /// What a file takes on disk.
    pub(super) fn extent(&self, file: FileId) -> Option<Extent> {
        let entry = self.files.get(&file)?;
        let held = entry.segments.iter();
        Some(Extent {
            size: entry.size,
            held: held.map(|s| (s.index, s.present | s.stale)).collect(),
        })
    }

    /// All files.
    pub(super) fn all_files(&self) -> Vec<FileId> {
        self.files.keys().copied().collect()
    }

    /// All segments with present units, least recently used first.
    pub(super) fn by_recency(&self) -> Vec<Key> {
        let mut all: Vec<(u64, Key)> = self
            .body
            .iter()
            .chain(&self.edge)
            .map(|(used, key)| (*used, *key))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|(_, key)| key).collect()
    }

    /// Segments used since the last call, least recently used first.
    pub(super) fn take_touched(&mut self) -> Vec<Key> {
        let mut keys: Vec<(u64, Key)> = Vec::with_capacity(self.touched.len());
        for key in std::mem::take(&mut self.touched) {
            if let Some(segment) = self.segment_mut(key) {
                segment.touched = false;
                keys.push((segment.used, key));
            }
        }
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}
