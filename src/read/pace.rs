//! `--bwlimit`: how fast all downloads of the mount may be, together.
//!
//! Promises: over any span the streams bring no more than the rate allows, but for what is on its way
//! when they are told to wait; every file whose streams want to go on gets its part in turn, byte by
//! byte and however many connections it has; streams somebody waits for go before those that run ahead, which
//! still get a small share, so that nothing stands for ever. Without a limit it costs nothing.
//!
//! The rate may change at any time, and who waits feels it at once.
//!
//! A stream pays after it has received and waits before it receives more: what has come is never held
//! back from its reader, and the service is slowed down by TCP itself.
use crate::api::FileId;
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// What may come at once after a pause: a tenth of a second is far below what a line's buffers hold.
const BURST: Duration = Duration::from_millis(100);

/// A stream pays in pieces of this span of the whole rate, so that turns are short.
const PIECE: Duration = Duration::from_millis(10);

/// Bytes of a piece at least: below, timers would cost more than they order.
const LEAST_PIECE: u64 = 16 * 1024;

/// Bytes of a piece at most: what a stream has paid too much when it ends.
const LARGEST_PIECE: u64 = 64 * 1024;

/// One turn in so many is for streams that run ahead while others are waited for.
const AHEAD_SHARE: u32 = 8;

/// How often a reader whose time was up is told in the log that the limit is why.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Whether a reader waits for a stream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Somebody waits.
    Waited,
    /// It runs ahead of a reader, or fills the cache.
    Ahead,
}

/// The limit of a mount; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    limit: Arc<Limit>,
}

#[derive(Debug)]
struct Limit {
    clock: Clock,
    /// The bucket's rate, 0 when there is none: what streams look at before they take the lock.
    rate: AtomicU64,
    /// Wakes whoever gives turns, since the rate is another one.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Absent while nothing is limited.
    bucket: Option<Bucket>,
    waited: Turns,
    ahead: Turns,
    /// Turns given while both wait.
    given: u32,
    /// Whether a task gives turns.
    driven: bool,
    said: Option<Moment>,
}

/// Those who wait, file by file in turn.
#[derive(Debug, Default)]
struct Turns {
    order: VecDeque<FileId>,
    files: HashMap<FileId, VecDeque<Turn>>,
}

#[derive(Debug)]
struct Turn {
    bytes: u64,
    tell: oneshot::Sender<()>,
}

impl Pace {
    /// At most `rate` bytes per second; `None` limits nothing.
    pub(super) fn new(rate: Option<u64>, clock: Clock) -> Self {
        let pace = Self {
            limit: Arc::new(Limit {
                clock,
                rate: AtomicU64::new(0),
                changed: Notify::new(),
                state: Mutex::new(State {
                    bucket: None,
                    waited: Turns::default(),
                    ahead: Turns::default(),
                    given: 0,
                    driven: false,
                    said: None,
                }),
            }),
        };
        pace.set(rate);
        pace
    }

    /// Another rate from now on, also for those who wait.
    pub(super) fn set(&self, rate: Option<u64>) {
        let limit = &self.limit;
        let rate = rate.map(|rate| rate.max(1));
        let now = limit.clock.now();
        let mut state = lock(&limit.state);
        state.bucket = rate.map(|rate| match &state.bucket {
            Some(bucket) => bucket.turned_to(rate, now),
            None => Bucket::new(rate, now),
        });
        limit.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        drop(state);
        limit.changed.notify_one();
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.rate().is_some()
    }

    /// The limit in bytes per second.
    pub(super) fn rate(&self) -> Option<u64> {
        self.limit.rate()
    }

    /// What one stream of a file pays from.
    pub(super) fn purse(&self, file: FileId) -> Purse {
        Purse {
            file,
            limit: Arc::clone(&self.limit),
            credit: 0,
        }
    }

    /// Whether streams wait for the limit now. Says so in the log once a minute, for a reader of
    /// `what` whose time was up.
    pub(super) fn blame(&self, what: &dyn std::fmt::Display) -> bool {
        let limit = &self.limit;
        let Some(rate) = limit.rate() else {
            return false;
        };
        let now = limit.clock.now();
        let mut state = lock(&limit.state);
        if state.wait(now).is_zero() && state.waited.is_empty() {
            return false;
        }
        let is_new = state.said.is_none_or(|at| now.since(at) >= SAY_AGAIN);
        if is_new {
            state.said = Some(now);
            log::warn!(
                "{what}: a read was not done in time because --bwlimit allows {rate} bytes a second \
                 for all readers together"
            );
        }
        true
    }
}

/// What one stream pays from. It is filled by whole pieces, so that streams are equal whatever they
/// receive at once.
#[derive(Debug)]
pub(super) struct Purse {
    file: FileId,
    limit: Arc<Limit>,
    credit: u64,
}

impl Purse {
    /// Pays for `bytes` that came, and waits until more may come.
    pub(super) async fn pay(&mut self, bytes: u64, urgency: Urgency) {
        while self.credit < bytes {
            let Some(rate) = self.limit.rate() else {
                return;
            };
            let piece = piece(rate);
            if let Some(told) = self.limit.ask(self.file, piece, urgency) {
                // An error: the runtime ends, and this stream with it.
                let _ = told.await;
            }
            self.credit += piece;
        }
        self.credit -= bytes;
    }
}

/// Bytes paid at once at this rate.
fn piece(rate: u64) -> u64 {
    let piece = u64::try_from(u128::from(rate) * PIECE.as_millis() / 1000);
    piece.unwrap_or(u64::MAX).clamp(LEAST_PIECE, LARGEST_PIECE)
}

impl Limit {
    fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Takes a turn at once if one is free, else queues for it.
    fn ask(
        self: &Arc<Self>,
        file: FileId,
        bytes: u64,
        urgency: Urgency,
    ) -> Option<oneshot::Receiver<()>> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        if state.is_idle() && state.wait(now).is_zero() {
            state.take(bytes, now);
            return None;
        }
        let (tell, told) = oneshot::channel();
        let turn = Turn { bytes, tell };
        match urgency {
            Urgency::Waited => state.waited.push(file, turn),
            Urgency::Ahead => state.ahead.push(file, turn),
        }
        if !std::mem::replace(&mut state.driven, true) {
            tokio::spawn(Arc::clone(self).drive());
        }
        Some(told)
    }

    /// Gives turns until nobody waits.
    async fn drive(self: Arc<Self>) {
        loop {
            let wait = lock(&self.state).advance(self.clock.now());
            match wait {
                Some(wait) => tokio::select! {
                    () = self.clock.sleep(wait) => {}
                    () = self.changed.notified() => {}
                },
                None => return,
            }
        }
    }
}

impl State {
    /// How long until something may be taken.
    fn wait(&self, now: Moment) -> Duration {
        let bucket = self.bucket.as_ref();
        bucket.map_or(Duration::ZERO, |bucket| bucket.wait(now))
    }

    fn take(&mut self, bytes: u64, now: Moment) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(bytes, now);
        }
    }

    fn is_idle(&self) -> bool {
        self.waited.is_empty() && self.ahead.is_empty()
    }

    /// Gives the turns that are due; how long until the next one, `None` when nobody waits.
    fn advance(&mut self, now: Moment) -> Option<Duration> {
        loop {
            let wait = self.wait(now);
            if !wait.is_zero() && !self.is_idle() {
                return Some(wait);
            }
            let Some(turn) = self.next() else {
                self.driven = false;
                return None;
            };
            // Who has gone takes no turn.
            let bytes = turn.bytes;
            if turn.tell.send(()).is_ok() {
                self.take(bytes, now);
            }
        }
    }

    fn next(&mut self) -> Option<Turn> {
        if self.waited.is_empty() || self.ahead.is_empty() {
            self.given = 0;
            return self.waited.pop().or_else(|| self.ahead.pop());
        }
        self.given = (self.given + 1) % AHEAD_SHARE;
        if self.given == 0 {
            self.ahead.pop()
        } else {
            self.waited.pop()
        }
    }
}

impl Turns {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn push(&mut self, file: FileId, turn: Turn) {
        let turns = self.files.entry(file).or_default();
        if turns.is_empty() {
            self.order.push_back(file);
        }
        turns.push_back(turn);
    }

    fn pop(&mut self) -> Option<Turn> {
        let file = self.order.pop_front()?;
        let turns = self.files.get_mut(&file)?;
        let turn = turns.pop_front();
        if turns.is_empty() {
            self.files.remove(&file);
        } else {
            self.order.push_back(file);
        }
        turn
    }
}

/// A token bucket that may go into debt by one payment.
#[derive(Debug)]
struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// When all that was taken is paid off.
    paid: Moment,
}

impl Bucket {
    fn new(rate: u64, now: Moment) -> Self {
        Self { rate, paid: now }
    }

    /// The same at another rate: what is owed is owed in bytes.
    fn turned_to(&self, rate: u64, now: Moment) -> Self {
        let owed = self.wait(now).as_nanos() * u128::from(self.rate) / u128::from(rate);
        let owed = Duration::from_nanos(u64::try_from(owed).unwrap_or(u64::MAX));
        let paid = if owed.is_zero() {
            self.paid
        } else {
            now.after(owed)
        };
        Self { rate, paid }
    }

    /// How long until something may be taken.
    fn wait(&self, now: Moment) -> Duration {
        self.paid.since(now)
    }

    fn take(&mut self, bytes: u64, now: Moment) {
        let idle = now.since(self.paid).saturating_sub(BURST);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid = self.paid.after(idle).after(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn file(number: u64) -> FileId {
        FileId::parse(&format!("{number:020}")).unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    proptest! {
        /// Whoever asks when: in no span more than the rate, one burst and one payment.
        #[test]
        fn never_more_than_the_rate(asks in prop::collection::vec((0u64..300, 1u64..50_000), 1..100)) {
            let rate = 100_000;
            let mut bucket = Bucket::new(rate, at(0));
            let mut now = 0;
            let mut taken = Vec::new();
            for (pause, bytes) in asks {
                now += pause;
                let wait = bucket.wait(at(now));
                // Rounded up, as whoever sleeps does.
                now += u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap();
                bucket.take(bytes, at(now));
                taken.push((now, bytes));
            }
            for (first, (start, _)) in taken.iter().enumerate() {
                for (end, last) in &taken[first..] {
                    let sum: u64 = taken[first..].iter().filter(|it| it.0 <= *end).map(|it| it.1).sum();
                    // What was taken last may be a debt, with others at the same moment before it.
                    let allowed = (end - start + 100) * rate / 1000 + last.max(&50_000);
                    prop_assert!(sum <= allowed, "{sum} in {} ms", end - start);
                }
            }
        }
    }

    #[test]
    fn who_is_waited_for_goes_first_and_nobody_is_forgotten() {
        let mut state = State {
            bucket: Some(Bucket::new(1, at(0))),
            waited: Turns::default(),
            ahead: Turns::default(),
            given: 0,
            driven: true,
            said: None,
        };
        for number in 0..32 {
            for queue in [&mut state.waited, &mut state.ahead] {
                let (tell, _) = oneshot::channel();
                let turn = Turn {
                    bytes: number,
                    tell,
                };
                queue.push(file(1), turn);
            }
        }
        let order: Vec<bool> = (0..32)
            .map(|_| {
                let left = |state: &State| state.ahead.files[&file(1)].len();
                let before = left(&state);
                state.next().unwrap();
                before > left(&state)
            })
            .collect();
        let ahead = order.iter().filter(|is_ahead| **is_ahead).count();
        assert_eq!((ahead, order[0]), (4, false));
    }

    #[tokio::test]
    async fn files_share_the_rate_evenly_however_many_streams_they_have() {
        let clock = Clock::system();
        let pace = Pace::new(Some(4_000_000), clock);
        let counts: Arc<[AtomicU64; 3]> = Arc::default();
        let started = clock.now();
        // What they take at once, and how many they are.
        let streams = [
            (0, 16_000),
            (1, 100_000),
            (2, 400_000),
            (2, 50_000),
            (2, 50_000),
        ];
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|(index, chunk)| {
                let (pace, counts) = (pace.clone(), Arc::clone(&counts));
                tokio::spawn(async move {
                    let mut purse = pace.purse(file(index as u64));
                    loop {
                        purse.pay(chunk, Urgency::Waited).await;
                        counts[index].fetch_add(chunk, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        clock.sleep(Duration::from_millis(900)).await;
        let spent = clock.now().since(started);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let counts: Vec<u64> = counts.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let sum: u64 = counts.iter().sum();
        let most = u64::try_from((spent + BURST).as_millis()).unwrap() * 4_000 + 6 * 40_000;
        assert!(sum <= most, "{counts:?} in {spent:?}");
        // Each had a third, give or take the largest payments.
        let least = counts.iter().min().unwrap();
        assert!(counts.iter().all(|it| it - least <= 600_000), "{counts:?}");
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        let pace = Pace::new(None, Clock::system());
        pace.purse(file(1)).pay(u64::MAX, Urgency::Ahead).await;
        assert!(!pace.is_limited() && !pace.blame(&"x"));
    }

    #[test]
    fn another_rate_leaves_the_bytes_that_are_owed() {
        let mut bucket = Bucket::new(1_000, at(0));
        bucket.take(10_000, at(0));
        assert_eq!(bucket.wait(at(4_000)), Duration::from_secs(6));
        let faster = bucket.turned_to(6_000, at(4_000));
        assert_eq!(faster.wait(at(4_000)), Duration::from_secs(1));
        let slower = faster.turned_to(600, at(4_500));
        assert_eq!(slower.wait(at(4_500)), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn who_waits_feels_a_new_rate_at_once() {
        let clock = Clock::system();
        for rate in [Some(1_000_000_000), None] {
            // A byte a second: the second payment would take most of a day.
            let pace = Pace::new(Some(1), clock);
            let mut purse = pace.purse(file(1));
            purse.pay(LEAST_PIECE, Urgency::Waited).await;
            let task = tokio::spawn(async move { purse.pay(1 << 20, Urgency::Ahead).await });
            clock.sleep(Duration::from_millis(20)).await;
            assert!(!task.is_finished());
            pace.set(rate);
            let done = clock.timeout(Duration::from_secs(10), task).await;
            assert!(
                done.is_some_and(|done| done.is_ok()),
                "still waits at {rate:?}"
            );
            assert_eq!(pace.rate(), rate);
        }
    }

    #[tokio::test]
    async fn who_goes_away_takes_nothing_along() {
        let clock = Clock::system();
        let pace = Pace::new(Some(1_000_000), clock);
        pace.purse(file(1)).pay(150_000, Urgency::Waited).await;
        for _ in 0..50 {
            let mut purse = pace.purse(file(2));
            let pays = purse.pay(1 << 40, Urgency::Waited);
            clock.timeout(Duration::from_millis(1), pays).await;
        }
        let mut purse = pace.purse(file(1));
        let waits = clock.timeout(Duration::from_secs(5), purse.pay(16_000, Urgency::Waited));
        assert!(
            waits.await.is_some(),
            "those who went still hold their turns"
        );
    }
}
