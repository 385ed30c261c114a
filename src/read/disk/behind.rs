//! When a file's bytes are to leave the system's memory: what the cache writes has just been served from
//! ours, and the kernel keeps what it was given of the mount, so a third copy only makes the machine find
//! fresh pages for every byte of a film. Pure.
use super::geometry::EDGE;
use crate::api::FileId;
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a file after which it is let go of: a disk has written half of them by the time the other half has
/// come, and 200 streams leave 6 GiB of dirty pages at most, which the kernel would have written before.
const STRIDE: u64 = 32 << 20;

/// Files watched at a time; of more, some are let go of later.
const FILES: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Behind {
    written: HashMap<FileId, u64>,
}

impl Behind {
    /// Notes that `bytes` of a file of `size` bytes were written. Says what of it is to be let go of now: all but
    /// its edges, which scanners come back to.
    pub(super) fn wrote(&mut self, file: FileId, size: u64, bytes: u64) -> Option<Range<u64>> {
        if self.written.len() >= FILES && !self.written.contains_key(&file) {
            self.written.clear();
        }
        let written = self.written.entry(file).or_default();
        *written += bytes;
        if *written < STRIDE {
            return None;
        }
        *written = 0;
        let body = EDGE..size.saturating_sub(EDGE);
        (!body.is_empty()).then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::disk::geometry::UNIT;

    #[test]
    fn each_film_is_let_go_of_as_it_comes_and_what_is_small_stays() {
        let file = |number: u64| FileId::parse(&format!("{number:020}")).unwrap();
        let mut behind = Behind::default();
        let size = 10 * STRIDE + 5;
        // Two come at the same time, and a thousand heads are looked at meanwhile.
        let mut told = [0; 2];
        for step in 0..size / UNIT {
            for (film, told) in told.iter_mut().enumerate() {
                if let Some(range) = behind.wrote(file(film as u64), size, UNIT) {
                    assert_eq!(range, EDGE..size - EDGE);
                    *told += 1;
                }
            }
            assert_eq!(behind.wrote(file(10 + step % 200), size, 1), None);
        }
        assert_eq!(told, [10, 10]);
        assert!((0..1000).all(|_| behind.wrote(file(9999), 2 * EDGE, UNIT).is_none()));
        for number in 0..5_000 {
            behind.wrote(file(10_000 + number), size, UNIT);
        }
        assert!(behind.written.len() <= FILES);
    }
}
