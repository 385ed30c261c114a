//! A content that was sealed again and again consists of ever more staging files, each an open file: the smaller
//! ones are put into one.
use super::bytes::Sealed;
use super::content::{Content, Source};
use super::error::StageError;
use super::staging::{Stage, Staging};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Staging files a content may consist of before that.
const MOST: usize = 16;

/// How many are put into one at least: so a byte is copied a few times at most, however often a database or a
/// log is synced.
const FEWEST: usize = 8;

/// Bytes copied at a time.
const PIECE: u64 = 1 << 20;

impl Sealed {
    /// Puts the smaller staging files into one, numbered by `fresh`, if there are many; whether it did. Whoever has
    /// a clone keeps the old ones. Waits for the disk; a failure leaves everything as it was.
    pub(super) fn merge(
        &mut self,
        staging: &Staging,
        fresh: impl FnOnce() -> u64,
    ) -> Result<bool, StageError> {
        if self.stages.len() <= MOST {
            return Ok(false);
        }
        let small = smaller(&self.content);
        let stage = staging.create(fresh())?;
        let mut content = self.content.clone();
        for piece in self.content.pieces(0..u64::MAX) {
            let Some((Source::Staged(number), at)) = piece.from else {
                continue;
            };
            if let Some(from) = self.stages.get(&number).filter(|_| small.contains(&number)) {
                copy(from, at, &stage, &piece.range)?;
                content.written(piece.range, stage.number());
            }
        }
        self.stages.retain(|number, _| !small.contains(number));
        self.stages.insert(stage.number(), stage);
        self.content = content;
        Ok(true)
    }
}

/// The staging files that are worth to be put into one: the smallest, and those that are not much larger than
/// what comes together before them.
fn smaller(content: &Content) -> Vec<u64> {
    let mut sizes: HashMap<u64, u64> = HashMap::new();
    for piece in content.pieces(0..u64::MAX) {
        if let Some((Source::Staged(number), _)) = piece.from {
            *sizes.entry(number).or_default() += piece.range.end - piece.range.start;
        }
    }
    let mut sizes: Vec<(u64, u64)> = sizes
        .into_iter()
        .map(|(number, size)| (size, number))
        .collect();
    sizes.sort_unstable();
    let mut sum = 0;
    let mut small = Vec::new();
    for (size, number) in sizes {
        if small.len() >= FEWEST && size > 2 * sum {
            break;
        }
        sum += size;
        small.push(number);
    }
    small
}

fn copy(from: &Stage, at: u64, to: &Arc<Stage>, range: &Range<u64>) -> Result<(), StageError> {
    let mut done = 0;
    let length = range.end - range.start;
    while done < length {
        let bytes = (length - done).min(PIECE);
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or_default()];
        from.read(&mut buffer, at + done)?;
        to.write(&buffer, range.start + done)?;
        done += bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_of_many_small_pieces_is_put_together_and_stays_the_same() {
        let dir = tempfile::Builder::new()
            .prefix("fichierfs-test")
            .tempdir()
            .unwrap();
        let staging = Staging::open(&dir.path().join("staging"), 1 << 30).unwrap();
        let mut sealed = Sealed {
            content: Content::empty(),
            stages: HashMap::new(),
        };
        let mut model: Vec<u8> = Vec::new();
        let mut next = 0_u64;
        let mut merges = 0;
        let mut copied = 0;
        for step in 0..2_000_u64 {
            // A log: a line, and now and then its head rewritten.
            let bytes = vec![step.to_le_bytes()[0]; 40];
            let at = if step % 50 == 0 { 0 } else { model.len() };
            let stage = staging.create(next).unwrap();
            next += 1;
            stage.write(&bytes, at as u64).unwrap();
            sealed
                .content
                .written(at as u64..at as u64 + 40, stage.number());
            sealed.stages.insert(stage.number(), stage);
            let needed = sealed.content.stages();
            sealed.stages.retain(|number, _| needed.contains(number));
            model.resize(model.len().max(at + 40), 0);
            model[at..at + 40].copy_from_slice(&bytes);
            let before = next;
            sealed
                .merge(&staging, || {
                    next += 1;
                    next - 1
                })
                .unwrap();
            if next > before {
                merges += 1;
                copied += sealed.stages[&before].bytes();
            }
            assert!(sealed.stages.len() <= MOST);
        }
        let mut all = vec![0; model.len()];
        for piece in sealed.content.pieces(0..u64::MAX) {
            let Some((Source::Staged(number), at)) = piece.from else {
                unreachable!("a log has no holes")
            };
            let range = usize::try_from(piece.range.start).unwrap()
                ..usize::try_from(piece.range.end).unwrap();
            sealed.stages[&number].read(&mut all[range], at).unwrap();
        }
        assert!(all == model);
        assert!(merges > 100, "{merges} merges");
        let times = copied / model.len() as u64;
        assert!(times <= 12, "each byte was copied {times} times");
    }
}
