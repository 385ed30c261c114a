//! Where the time of one open file goes: counters per handle, for `fichierfs explain`.
//!
//! Promises: noting costs some atomic operations; nothing is decided by these figures. What a stream
//! costs is noted with the handle it was started for, also when others wait for it as well.
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a stream does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a link; split into the two below when it is there.
    Link,
    /// Waits until the call for the link may be made.
    Queue,
    /// Waits for the answer to that call.
    Call,
    /// Waits for one of the connections there may be.
    Connection,
    /// Has asked for a range and waits for its first byte.
    FirstByte,
    /// Receives.
    Transfer,
    /// Waits for `--bwlimit`.
    Limit,
    /// Rests after a failure.
    Pause,
    /// Brings bytes from the disk cache.
    Disk,
}

impl Phase {
    const COUNT: usize = 9;

    fn words(self) -> &'static str {
        match self {
            Self::Link => "waits for a download link",
            Self::Queue => "waits for its turn to ask for a link",
            Self::Call => "asks for a link",
            Self::Connection => "waits for a connection",
            Self::FirstByte => "waits for the first byte",
            Self::Transfer => "receives",
            Self::Limit => "is held back by --bwlimit",
            Self::Pause => "rests after a failure",
            Self::Disk => "reads the disk cache",
        }
    }
}

/// Seconds spent in each phase. Those of several streams at a time add up, so the sum may be more
/// than what passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// In the queue of calls.
    pub queue: f64,
    /// In the call for a link.
    pub call: f64,
    /// Without a free connection.
    pub connection: f64,
    /// From asking for a range to its first byte, connection set-up included.
    pub first_byte: f64,
    /// Receiving.
    pub transfer: f64,
    /// Held back by `--bwlimit`.
    pub limit: f64,
    /// Resting after failures.
    pub pause: f64,
    /// Reading the disk cache.
    pub disk: f64,
}

/// A read that had to wait.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowRead {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Seconds since it ended.
    pub ago: f64,
    /// What the streams of this handle did meanwhile.
    pub times: Times,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What one handle did so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenFigures {
    /// The process that read last; 0 before the first read.
    pub pid: u32,
    /// Seconds since it was opened.
    pub age: f64,
    /// Whether it was closed meanwhile.
    pub closed: bool,
    /// Whether the kernel reads the disk cache itself: such reads are not counted here.
    pub lent: bool,
    /// Reads.
    pub reads: u64,
    /// Of them answered from memory at once.
    pub hits: u64,
    /// Bytes asked for.
    pub asked_bytes: u64,
    /// Bytes received from the service for it.
    pub fetched_bytes: u64,
    /// Bytes brought from the disk cache for it.
    pub from_disk_bytes: u64,
    /// Ranges requested for it.
    pub ranges: u64,
    /// Of them failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Where the time went.
    pub times: Times,
    /// Seconds in which a program waited for a read.
    pub waited: f64,
    /// What its streams do now, in words.
    pub doing: Vec<String>,
    /// The last read that had to wait.
    pub last_wait: Option<SlowRead>,
    /// The read that took longest.
    pub longest_wait: Option<SlowRead>,
}

/// The counters of one handle.
#[derive(Debug)]
pub(super) struct Tally {
    clock: Clock,
    opened: Moment,
    lent: AtomicBool,
    pid: AtomicU32,
    reads: AtomicU64,
    hits: AtomicU64,
    asked: AtomicU64,
    fetched: AtomicU64,
    from_disk: AtomicU64,
    ranges: AtomicU64,
    failures: AtomicU64,
    /// Microseconds.
    waited: AtomicU64,
    /// Microseconds by phase.
    phases: [AtomicU64; Phase::COUNT],
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    doing: HashMap<u64, (Phase, Moment)>,
    last_failure: Option<String>,
    last: Option<Waited>,
    longest: Option<Waited>,
}

#[derive(Debug, Clone)]
struct Waited {
    range: Range<u64>,
    ended: Moment,
    took: Duration,
    phases: [u64; Phase::COUNT],
    error: Option<String>,
}

impl Tally {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            opened: clock.now(),
            lent: AtomicBool::default(),
            pid: AtomicU32::default(),
            reads: AtomicU64::default(),
            hits: AtomicU64::default(),
            asked: AtomicU64::default(),
            fetched: AtomicU64::default(),
            from_disk: AtomicU64::default(),
            ranges: AtomicU64::default(),
            failures: AtomicU64::default(),
            waited: AtomicU64::default(),
            phases: Default::default(),
            notes: Mutex::default(),
        }
    }

    /// The kernel reads the disk cache itself.
    pub(super) fn lent(&self) {
        self.lent.store(true, Ordering::Relaxed);
    }

    /// A read of `len` bytes by `pid`.
    pub(super) fn asked(&self, pid: u32, len: u64) {
        self.pid.store(pid, Ordering::Relaxed);
        add(&self.reads, 1);
        add(&self.asked, len);
    }

    /// It was answered at once.
    pub(super) fn hit(&self) {
        add(&self.hits, 1);
    }

    /// Bytes came from the service.
    pub(super) fn fetched(&self, bytes: u64) {
        add(&self.fetched, bytes);
    }

    /// A range is asked for.
    pub(super) fn range(&self) {
        add(&self.ranges, 1);
    }

    /// A range failed.
    pub(super) fn failed(&self, failure: &dyn std::fmt::Display) {
        add(&self.failures, 1);
        lock(&self.notes).last_failure = Some(failure.to_string());
    }

    /// Bytes came from the disk, which took until now.
    pub(super) fn loaded(&self, bytes: u64, since: Moment) {
        add(&self.from_disk, bytes);
        self.spent(Phase::Disk, self.clock.now().since(since));
    }

    /// A read begins to wait.
    pub(super) fn waits(self: &Arc<Self>, range: Range<u64>) -> Wait {
        Wait {
            range,
            since: self.clock.now(),
            before: self.phases(),
            tally: Arc::clone(self),
        }
    }

    fn spent(&self, phase: Phase, span: Duration) {
        add(&self.phases[phase as usize], micros(span));
    }

    fn phases(&self) -> [u64; Phase::COUNT] {
        std::array::from_fn(|phase| self.phases[phase].load(Ordering::Relaxed))
    }

    /// Its figures now.
    pub(super) fn figures(&self, closed: bool) -> OpenFigures {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = self.clock.now();
        let notes = lock(&self.notes);
        let mut doing: Vec<_> = notes.doing.values().copied().collect();
        doing.sort_by_key(|(_, since)| *since);
        OpenFigures {
            pid: self.pid.load(Ordering::Relaxed),
            age: now.since(self.opened).as_secs_f64(),
            closed,
            lent: self.lent.load(Ordering::Relaxed),
            reads: get(&self.reads),
            hits: get(&self.hits),
            asked_bytes: get(&self.asked),
            fetched_bytes: get(&self.fetched),
            from_disk_bytes: get(&self.from_disk),
            ranges: get(&self.ranges),
            failures: get(&self.failures),
            last_failure: notes.last_failure.clone(),
            times: times(&self.phases()),
            waited: seconds(get(&self.waited)),
            doing: doing
                .into_iter()
                .map(|(phase, since)| {
                    let span = now.since(since).as_secs_f64();
                    format!("{} for {span:.1} s", phase.words())
                })
                .collect(),
            last_wait: notes.last.as_ref().map(|it| it.figures(now)),
            longest_wait: notes.longest.as_ref().map(|it| it.figures(now)),
        }
    }
}

impl Waited {
    fn figures(&self, now: Moment) -> SlowRead {
        SlowRead {
            offset: self.range.start,
            length: self.range.end - self.range.start,
            seconds: self.took.as_secs_f64(),
            ago: now.since(self.ended).as_secs_f64(),
            times: times(&self.phases),
            error: self.error.clone(),
        }
    }
}

/// A read that waits.
#[derive(Debug)]
pub(super) struct Wait {
    tally: Arc<Tally>,
    range: Range<u64>,
    since: Moment,
    before: [u64; Phase::COUNT],
}

impl Wait {
    /// It has ended, in a failure if one is given.
    pub(super) fn end(self, error: Option<&dyn std::fmt::Display>) {
        let tally = self.tally;
        let ended = tally.clock.now();
        let took = ended.since(self.since);
        add(&tally.waited, micros(took));
        // Those who read ahead are noted in full when they end a phase: no more than the read itself.
        let most = micros(took);
        let after = tally.phases();
        let phases = std::array::from_fn(|phase| (after[phase] - self.before[phase]).min(most));
        let waited = Waited {
            range: self.range,
            ended,
            took,
            phases,
            error: error.map(ToString::to_string),
        };
        let mut notes = lock(&tally.notes);
        if notes.longest.as_ref().is_none_or(|it| it.took < took) {
            notes.longest = Some(waited.clone());
        }
        notes.last = Some(waited);
    }
}

/// Notes what one stream does, phase after phase, until dropped.
#[derive(Debug)]
pub(super) struct Stopwatch {
    tally: Arc<Tally>,
    stream: u64,
    phase: Phase,
    since: Moment,
}

impl Stopwatch {
    /// A stream begins in `phase`.
    pub(super) fn start(tally: Arc<Tally>, stream: u64, phase: Phase) -> Self {
        let since = tally.clock.now();
        lock(&tally.notes).doing.insert(stream, (phase, since));
        Self {
            tally,
            stream,
            phase,
            since,
        }
    }

    /// The handle's counters.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The stream goes on to `phase`.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.lap();
        if phase != self.phase {
            self.phase = phase;
            let doing = (phase, self.since);
            lock(&self.tally.notes).doing.insert(self.stream, doing);
        }
    }

    /// Notes what was spent so far, so that it is seen while the phase goes on.
    pub(super) fn lap(&mut self) {
        let now = self.tally.clock.now();
        self.tally.spent(self.phase, now.since(self.since));
        self.since = now;
    }

    /// A link is there, or is not to be had, after a call that took `call`; the stream goes on to
    /// `phase`.
    pub(super) fn linked(&mut self, call: Duration, phase: Phase) {
        let now = self.tally.clock.now();
        let span = now.since(self.since);
        // One that was known already took no time at all.
        let call = call.min(span);
        self.tally.spent(Phase::Call, call);
        self.tally.spent(Phase::Queue, span.saturating_sub(call));
        self.since = now;
        self.phase = Phase::Queue;
        self.enter(phase);
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.lap();
        lock(&self.tally.notes).doing.remove(&self.stream);
    }
}

/// The counters of a file's handles: those open, and the one closed last.
#[derive(Debug, Default)]
pub(super) struct Opens {
    state: Mutex<OpensState>,
}

#[derive(Debug, Default)]
struct OpensState {
    open: HashMap<u64, Arc<Tally>>,
    closed: Option<Arc<Tally>>,
}

impl Opens {
    /// A handle was opened.
    pub(super) fn add(&self, handle: u64, clock: Clock) -> Arc<Tally> {
        let tally = Arc::new(Tally::new(clock));
        lock(&self.state).open.insert(handle, Arc::clone(&tally));
        tally
    }

    /// A handle was closed.
    pub(super) fn remove(&self, handle: u64) {
        let mut state = lock(&self.state);
        let gone = state.open.remove(&handle);
        // One that was never read tells nothing.
        if let Some(gone) = gone.filter(|it| it.reads.load(Ordering::Relaxed) > 0) {
            state.closed = Some(gone);
        }
    }

    /// The counters of a handle; of one closed already they are noted nowhere.
    pub(super) fn get(&self, handle: u64, clock: Clock) -> Arc<Tally> {
        let known = lock(&self.state).open.get(&handle).cloned();
        known.unwrap_or_else(|| Arc::new(Tally::new(clock)))
    }

    /// Figures of all, the oldest first, the closed one last; at most `most`.
    pub(super) fn figures(&self, most: usize) -> Vec<OpenFigures> {
        let state = lock(&self.state);
        let mut open: Vec<_> = state.open.iter().collect();
        open.sort_by_key(|(number, _)| **number);
        let open = open.into_iter().take(most);
        let mut figures: Vec<_> = open.map(|(_, tally)| tally.figures(false)).collect();
        figures.extend(state.closed.as_ref().map(|tally| tally.figures(true)));
        figures
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).open.len()
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    // Relaxed: figures for people, nothing is decided by them.
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn times(phases: &[u64; Phase::COUNT]) -> Times {
    let of = |phase: Phase| seconds(phases[phase as usize]);
    Times {
        queue: of(Phase::Queue) + of(Phase::Link),
        call: of(Phase::Call),
        connection: of(Phase::Connection),
        first_byte: of(Phase::FirstByte),
        transfer: of(Phase::Transfer),
        limit: of(Phase::Limit),
        pause: of(Phase::Pause),
        disk: of(Phase::Disk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_and_a_wait_knows_its_own() {
        // A thousand seconds to each real one.
        let clock = Clock::scaled(1000.0, None);
        let tally = Arc::new(Tally::new(clock));
        let rest = || std::thread::sleep(Duration::from_millis(3));
        let mut watch = Stopwatch::start(Arc::clone(&tally), 1, Phase::Transfer);
        rest();
        watch.lap();
        let wait = tally.waits(100..300);
        watch.enter(Phase::Link);
        rest();
        assert!(tally.figures(false).doing[0].starts_with("waits for a download link"));
        watch.linked(Duration::from_secs(1), Phase::FirstByte);
        rest();
        watch.enter(Phase::Transfer);
        wait.end(None);
        drop(watch);
        let figures = tally.figures(true);
        assert!(figures.doing.is_empty());
        let last = figures.last_wait.unwrap();
        assert_eq!((last.offset, last.length, &last.error), (100, 200, &None));
        assert!((last.times.call - 1.0).abs() < 1e-9, "{last:?}");
        assert!(last.times.queue >= 2.0 && last.times.first_byte >= 3.0);
        assert!(last.seconds >= last.times.call + last.times.queue + last.times.first_byte - 0.1);
        assert!(figures.times.transfer >= 3.0 && last.times.transfer < figures.times.transfer);
        assert!((figures.waited - last.seconds).abs() < 0.001);
    }

    #[test]
    fn the_last_handle_that_read_is_remembered_and_others_are_not() {
        let clock = Clock::system();
        let opens = Opens::default();
        opens.add(1, clock).asked(7, 100);
        opens.add(2, clock);
        opens.remove(1);
        opens.remove(2);
        opens.get(3, clock).asked(9, 1);
        let figures = opens.figures(10);
        assert_eq!(figures.len(), 1);
        assert_eq!((figures[0].pid, figures[0].closed), (7, true));
        assert_eq!(opens.count(), 0);
    }
}
