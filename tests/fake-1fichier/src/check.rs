//! Reads a file of computed bytes through whatever shows it, at random places, and compares every byte with
//! [`content::fill`]. It knows only a path and a seed: the mount under test is no part of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{content, lock};

/// What to read.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed of the file's bytes.
    pub seed: u64,
    /// Reads in all.
    pub reads: u64,
    /// Threads that share them, each with a handle of its own.
    pub readers: u64,
    /// Bytes of the smallest read.
    pub least: u64,
    /// Bytes of the largest read.
    pub most: u64,
    /// Pause of each reader between two reads.
    pub pause: Duration,
    /// Seed of the places.
    pub places: u64,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Reads that were made.
    pub reads: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Reads with a byte that is not the file's.
    pub wrong: u64,
    /// Offset of the first such byte found.
    pub wrong_at: Option<u64>,
    /// Reads that met the end of the file before it.
    pub short: u64,
    /// Reads that failed, by error.
    pub failed: BTreeMap<String, u64>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Milliseconds a successful read took: median, 95 and 99 of a hundred, the longest.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p95_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
    /// See `p50_ms`.
    pub max_ms: f64,
    /// Milliseconds the longest failed read took.
    pub longest_failure_ms: f64,
}

impl Report {
    /// Reads that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Carries out `plan` on the file at `path`. A failed read is part of the report; an error means that the file
/// could not be read at all.
pub fn run(path: &Path, plan: &Plan) -> io::Result<Report> {
    let size = File::open(path)?.metadata()?.len();
    if size == 0 || plan.least == 0 || plan.least > plan.most || plan.readers == 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an empty file, no readers, or reads of no bytes",
        ));
    }
    let start = Instant::now();
    let total = Mutex::new((Report::default(), Vec::new()));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..plan.readers)
            .map(|number| {
                let total = &total;
                scope.spawn(move || {
                    let reads =
                        plan.reads / plan.readers + u64::from(number < plan.reads % plan.readers);
                    let mut reader = Reader::open(path, plan, number, size)?;
                    for _ in 0..reads {
                        reader.read();
                        std::thread::sleep(plan.pause);
                    }
                    reader.add_to(&mut lock(total));
                    io::Result::Ok(())
                })
            })
            .collect();
        readers.into_iter().try_for_each(|reader| {
            reader
                .join()
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        })
    })?;
    let (mut report, mut times) = total
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    report.seconds = start.elapsed().as_secs_f64();
    (report.p50_ms, report.p95_ms) = (ms(at(50)), ms(at(95)));
    (report.p99_ms, report.max_ms) = (ms(at(99)), ms(times.last()));
    Ok(report)
}

/// One thread's part.
struct Reader<'a> {
    file: File,
    plan: &'a Plan,
    size: u64,
    rng: fastrand::Rng,
    report: Report,
    times: Vec<Duration>,
    got: Vec<u8>,
    expected: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn open(path: &Path, plan: &'a Plan, number: u64, size: u64) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            plan,
            size,
            rng: fastrand::Rng::with_seed(plan.places.wrapping_mul(1 << 20).wrapping_add(number)),
            report: Report::default(),
            times: Vec::new(),
            got: Vec::new(),
            expected: Vec::new(),
        })
    }

    fn read(&mut self) {
        let len = self
            .rng
            .u64(self.plan.least..=self.plan.most)
            .min(self.size);
        let at = self.rng.u64(0..=self.size - len);
        self.got
            .resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        self.report.reads += 1;
        let start = Instant::now();
        let outcome = read_all(&self.file, at, &mut self.got);
        let time = start.elapsed();
        match outcome {
            Ok(got) if got == self.got.len() => self.times.push(time),
            Ok(_) => {
                self.report.short += 1;
                return;
            }
            Err(error) => {
                *self.report.failed.entry(error.to_string()).or_default() += 1;
                let longest = &mut self.report.longest_failure_ms;
                *longest = longest.max(time.as_secs_f64() * 1000.0);
                return;
            }
        }
        self.expected.resize(self.got.len(), 0);
        content::fill(self.plan.seed, at, &mut self.expected);
        self.report.bytes += len;
        if self.got != self.expected {
            let differs = self
                .got
                .iter()
                .zip(&self.expected)
                .position(|(a, b)| a != b);
            self.report.wrong += 1;
            self.report.wrong_at = self
                .report
                .wrong_at
                .or(differs.map(|index| at + index as u64));
        }
    }

    fn add_to(mut self, (total, times): &mut (Report, Vec<Duration>)) {
        total.reads += self.report.reads;
        total.bytes += self.report.bytes;
        total.wrong += self.report.wrong;
        total.wrong_at = total.wrong_at.or(self.report.wrong_at);
        total.short += self.report.short;
        for (error, count) in self.report.failed {
            *total.failed.entry(error).or_default() += count;
        }
        let longest = self.report.longest_failure_ms;
        total.longest_failure_ms = total.longest_failure_ms.max(longest);
        times.append(&mut self.times);
    }
}

/// Fills `buffer` as far as the file goes. A read that met an error half way is told as short by the system, and
/// by its error when it is asked to go on.
fn read_all(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 3_000_000;

    fn plan() -> Plan {
        Plan {
            seed: 7,
            reads: 200,
            readers: 3,
            least: 1,
            most: 70_000,
            pause: Duration::ZERO,
            places: 1,
        }
    }

    fn file_with(change: impl FnOnce(&mut Vec<u8>)) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; SIZE];
        content::fill(7, 0, &mut bytes);
        change(&mut bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn the_right_bytes_pass() {
        let file = file_with(|_| ());
        let report = run(file.path(), &plan()).unwrap();
        assert_eq!((report.reads, report.wrong, report.short), (200, 0, 0));
        assert!(report.bytes > 1_000_000 && report.failed.is_empty());
        assert!(report.p50_ms <= report.p95_ms && report.p95_ms <= report.max_ms);
    }

    #[test]
    fn one_changed_byte_in_64_kilobytes_is_found() {
        let file = file_with(|bytes| bytes.iter_mut().step_by(65_536).for_each(|b| *b ^= 1));
        let report = run(file.path(), &plan()).unwrap();
        assert!(report.wrong > 0);
        assert_eq!(report.wrong_at.unwrap() % 65_536, 0);
    }

    #[test]
    fn a_shifted_file_is_wrong_everywhere() {
        let file = file_with(|bytes| bytes.rotate_left(8));
        let big = Plan {
            least: 16,
            ..plan()
        };
        assert_eq!(run(file.path(), &big).unwrap().wrong, 200);
    }
}
