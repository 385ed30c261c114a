//! Compares what is on the disk with the map, once after a start: a crash leaves bytes nobody
//! knows of, which would count against the budget unseen, and entries whose bytes are gone.
use super::geometry::runs;
use super::writer::Writer;
use crate::util::sync::lock;
use std::collections::HashSet;
use std::io;
use std::ops::Range;

/// Frees what the map does not know, forgets what is not there, and believes the proofs that hold. A few system
/// calls per file.
pub(super) fn run(writer: &mut Writer) -> io::Result<()> {
    let shared = writer.shared.clone();
    if !shared.data.sparse()? {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system has no sparse files",
        ));
    }
    let mut seen = HashSet::new();
    let mut unknown = Vec::new();
    shared.data.walk(|found| {
        if lock(&shared.map).extent(found).is_some() {
            seen.insert(found);
        } else {
            unknown.push(found);
        }
    })?;
    for file in unknown {
        shared.data.remove(file)?;
    }
    // How much a file takes says nothing: what was written and not recorded may make up for what was
    // freed and not recorded. So each place that should be empty is looked at.
    for file in &seen {
        let file = *file;
        let Some(extent) = lock(&shared.map).extent(file) else {
            continue;
        };
        for gap in gaps(extent.size, &extent.held) {
            if !shared.data.has_data(file, &gap)? {
                continue;
            }
            match shared.data.punch(file, &gap) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    lock(&shared.map).forget(file);
                    break;
                }
                punched => punched?,
            }
        }
    }
    let known = lock(&shared.map).all_files();
    for file in known.iter().filter(|file| !seen.contains(file)) {
        lock(&shared.map).forget(*file);
    }
    let proofs = lock(&shared.map).with_proof();
    for (file, _) in proofs {
        let print = shared.data.print(file).unwrap_or(None);
        lock(&shared.map).prove(file, print);
    }
    Ok(())
}

/// The ranges of a file of `size` bytes that no held unit covers.
fn gaps(size: u64, held: &[(u32, u64)]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut end = 0;
    let held = held
        .iter()
        .flat_map(|(segment, mask)| runs(*segment, *mask));
    for run in held {
        if end < run.start {
            gaps.push(end..run.start);
        }
        end = run.end;
    }
    if end < size {
        gaps.push(end..size);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::super::geometry::UNIT;
    use super::*;

    #[test]
    fn gaps_and_held_units_make_up_the_file() {
        let size = 100 * UNIT + 5;
        assert_eq!(gaps(size, &[(0, 1)]), vec![UNIT..size]);
        assert_eq!(
            gaps(size, &[(0, 0b101), (1, 1 << 36)]),
            [UNIT..2 * UNIT, 3 * UNIT..100 * UNIT]
        );
    }
}
