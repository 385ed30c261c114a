//! Fetching files into the disk cache before anybody reads them: `fichierfs warm`.
//!
//! Promises: readers go first (connections, calls, `--bwlimit`, and a pause whenever one waits); one
//! file at a time; what is here already is not fetched; a file counts as warm only when the disk has
//! it. Goes past the memory, which belongs to readers.
use super::disk::{DiskCache, EDGE, UNIT};
use super::error::ReadError;
use super::pace::Urgency;
use super::stream::{Current, LEAST, OPEN_LIMIT, Tries};
use super::{Counters, Handle, Reader, Shared};
use crate::api::{FileUrl, Priority, Requester};
use crate::util::deadline::Deadline;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of a range: less than what may wait for the disk, and at 25 MB/s long enough that the pause
/// between two ranges costs little.
const RANGE: u64 = 8 << 20;

/// How long to wait for a connection that no reader needs before looking again.
const NO_CONNECTION: Duration = Duration::from_millis(200);

/// The longest rest after a chunk while a reader waits. After it one chunk comes, or the service
/// would take the connection for dead.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How often it is looked whether a reader still waits.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long to wait before looking again for bytes that a reader's stream is about to bring.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Failures one after the other, without a byte in between, after which a file is given up.
const MOST_FAILURES: u32 = 8;

/// How long the disk may take for one range.
const DISK_LIMIT: Duration = Duration::from_secs(60);

/// A file larger than so much of the cache (in percent) would push out itself and all others.
const LARGEST_SHARE: u64 = 90;

/// What of a file is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its head and its tail: what a scanner looks at, and what a player needs to start.
    Edges,
}

/// What warming a file brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Bytes of the part asked for.
    pub bytes: u64,
    /// Of them fetched now; the rest was here.
    pub fetched: u64,
}

/// Why a file could not be warmed.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// There is nowhere to keep it.
    #[error("this mount has no disk cache; give it one with --cache-size")]
    NoCache,
    /// It does not fit.
    #[error(
        "{needed} bytes do not fit into a cache of {budget}; enlarge --cache-size, or use --edges"
    )]
    TooLarge {
        /// Bytes wanted.
        needed: u64,
        /// The cache's size.
        budget: u64,
    },
    /// The disk did not take it.
    #[error("the disk cache did not keep it: {0}")]
    NotKept(String),
    /// The service did not give it.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Part {
    /// The ranges of a file of `size` bytes, in whole units.
    fn ranges(self, size: u64) -> Vec<Range<u64>> {
        let tail = size.saturating_sub(EDGE);
        let tail = tail - tail % UNIT;
        if self == Self::Whole || tail <= EDGE {
            std::iter::once(0..size).collect()
        } else {
            vec![0..EDGE, tail..size]
        }
    }
}

impl Reader {
    /// Brings `part` of a file into the disk cache, behind everybody who reads. `tell` hears how much
    /// of how much is there. Ends when it is all there, when trying on is useless, or when dropped.
    pub async fn warm(
        &self,
        url: &FileUrl,
        size: u64,
        part: Part,
        tell: impl Fn(u64, u64),
    ) -> Result<Warmed, WarmError> {
        let disk = self.disk().ok_or(WarmError::NoCache)?.clone();
        let ranges = part.ranges(size);
        let needed = ranges.iter().map(|it| it.end - it.start).sum();
        let budget = disk.usage().budget;
        if needed > budget / 100 * LARGEST_SHARE {
            return Err(WarmError::TooLarge { needed, budget });
        }
        // The semaphore is never closed; without a turn it is merely one more at a time.
        let _turn = self.shared.warming.acquire().await.ok();
        let handle = self.open(url, size);
        let job = Job {
            shared: &self.shared,
            handle: &handle,
            disk,
        };
        let mut warmed = Warmed::default();
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let here = job.disk.present(url.id(), at..range.end);
                warmed.bytes += here - at;
                tell(warmed.bytes, needed);
                if here == range.end {
                    break;
                }
                if job.is_coming(here) {
                    self.shared.clock.sleep(ON_ITS_WAY).await;
                    at = here;
                    continue;
                }
                let end = job.gap_end(here, range.end);
                warmed.fetched += job.bring(here..end).await?;
                warmed.bytes += end - here;
                tell(warmed.bytes, needed);
                at = end;
            }
        }
        Ok(warmed)
    }
}

struct Job<'a> {
    shared: &'a Arc<Shared>,
    handle: &'a Handle,
    disk: DiskCache,
}

impl Job<'_> {
    /// Whether a reader's stream is about to bring the byte at `at`, to the disk as well.
    fn is_coming(&self, at: u64) -> bool {
        let coming = self.handle.file.coming();
        coming.iter().any(|range| range.contains(&at))
    }

    /// Where what is missing from `at` on ends: at bytes that are here, or after a range.
    fn gap_end(&self, at: u64, most: u64) -> u64 {
        let most = most.min(at.saturating_add(RANGE));
        let mut end = at - at % UNIT + UNIT;
        while end < most && self.disk.present(self.handle.id(), end..end + 1) == end {
            end += UNIT;
        }
        end.min(most)
    }

    /// Brings one range to the disk; how many bytes of it were fetched.
    async fn bring(&self, range: Range<u64>) -> Result<u64, WarmError> {
        let (id, size) = (self.handle.id(), self.handle.size());
        let mut tries = Tries::default();
        let mut at = range.start;
        let mut fetched = 0;
        while at < range.end {
            let taken = self.take_from_memory(at..range.end);
            if taken > at {
                at = taken;
                continue;
            }
            let before = at;
            let result = self.fetch(&mut at, range.end).await;
            fetched += at - before;
            if at >= before + LEAST {
                tries = Tries::default();
            }
            let Err((failure, withdraw)) = result else {
                continue;
            };
            let pause = match &failure {
                ReadError::Api(error) => tries.after(error, || {
                    if let Some(link) = &withdraw {
                        self.handle.file.token.failed(link);
                    }
                }),
                _ => None,
            };
            match pause.filter(|_| tries.failures() < MOST_FAILURES) {
                Some(pause) => self.shared.clock.sleep(pause).await,
                None => return Err(failure.into()),
            }
        }
        let disk = self.disk.clone();
        let deadline = Deadline::within(self.shared.clock, DISK_LIMIT);
        // It fails only when the process ends.
        let _ = tokio::task::spawn_blocking(move || disk.flush(deadline)).await;
        if self.disk.present(id, range.clone()) < range.end.min(size) {
            let reason = self.disk.usage().degraded;
            let reason = reason.unwrap_or_else(|| "there is no room, or too much waits".into());
            return Err(WarmError::NotKept(reason));
        }
        Ok(fetched)
    }

    /// Offers the disk what readers have left in memory from `range.start` on; how far that was.
    fn take_from_memory(&self, range: Range<u64>) -> u64 {
        let (id, size) = (self.handle.id(), self.handle.size());
        let memory = &self.shared.store.memory;
        let here = memory.first_missing(id, range.start..range.end);
        // Less than a unit would not be kept.
        let end = if here == range.end {
            here
        } else {
            here - here % UNIT
        };
        if end <= range.start {
            return range.start;
        }
        match memory.get(id, range.start..end) {
            Some(bytes) => {
                self.disk.offer(id, size, range.start, bytes);
                end
            }
            None => range.start,
        }
    }

    /// Fetches from `at`, which moves on with what comes, to `end`. An error comes with the link it
    /// happened on.
    async fn fetch(
        &self,
        at: &mut u64,
        end: u64,
    ) -> Result<(), (ReadError, Option<super::token::Link>)> {
        let Shared {
            client,
            clock,
            counters,
            pace,
            ..
        } = &**self.shared;
        let file = &self.handle.file;
        let link = file.token.link(Requester::SELF, Priority::Refresh).await;
        let link = link.map_err(|error| (error.into(), None))?;
        let lost = |error: crate::api::ApiError| (error.into(), Some(link.clone()));
        let _connection = loop {
            if let Some(permit) = self.shared.connections.spare(Requester::SELF) {
                break permit;
            }
            clock.sleep(NO_CONNECTION).await;
        };
        if !file.token.is_current(&link) {
            // It may have taken long to get the connection.
            return Ok(());
        }
        Counters::add(&counters.ranges, 1);
        let deadline = Deadline::within(*clock, OPEN_LIMIT);
        let body = client.download(&link.link, *at..end, file.size, deadline);
        let mut body = body.await.map_err(lost)?;
        file.token.worked(&link);
        let mut purse = pace.purse(file.id);
        let mut flow = Current::new(*clock);
        loop {
            let Some(chunk) = flow.next(&mut body).await.map_err(lost)? else {
                return Ok(());
            };
            let received = chunk.len() as u64;
            file.fetched.add(received);
            // It holds the connection's whole buffer, and the disk may be slow.
            let chunk = bytes::Bytes::copy_from_slice(&chunk);
            self.disk.offer(file.id, file.size, *at, chunk);
            *at += received;
            file.reached(*at);
            purse.pay(received, Urgency::Ahead).await;
            self.let_readers_go_first().await;
        }
    }

    async fn let_readers_go_first(&self) {
        let clock = self.shared.clock;
        let since = clock.now();
        while self.shared.waiting.load(Ordering::Relaxed) > 0
            && clock.now().since(since) < LONGEST_REST
        {
            clock.sleep(LOOK_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_whole_units_at_both_ends_and_never_overlap() {
        for size in [
            0,
            1,
            EDGE,
            2 * EDGE,
            2 * EDGE + UNIT,
            3 * EDGE + 5,
            40_000_000_000,
        ] {
            let ranges = Part::Edges.ranges(size);
            assert_eq!(ranges.last().unwrap().end, size);
            assert_eq!(ranges[0].start, 0);
            assert!(ranges.iter().all(|it| it.start % UNIT == 0));
            if let [head, tail] = &ranges[..] {
                assert!(head.end < tail.start && size - tail.start >= EDGE);
            } else {
                assert!(size <= 2 * EDGE + UNIT);
            }
            let whole: Vec<_> = Part::Whole.ranges(size);
            assert_eq!(whole.first().map(|it| it.end), Some(size));
        }
    }
}
