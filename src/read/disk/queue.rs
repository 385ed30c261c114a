//! What waits to be written: bounded in bytes, never waited for by whoever offers.
use crate::api::FileId;
use crate::util::sync::lock;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait: a tenth of a second of the fastest line, so that a disk that stalls for a
/// moment costs nothing, and one that is too slow costs cache, not memory.
pub(super) const WAITING: usize = 16 << 20;

/// Bytes of a file on their way to the disk.
pub(super) struct Offer {
    pub(super) file: FileId,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// What the writer does next.
pub(super) enum Next {
    /// Write this.
    Offer(Offer),
    /// All before is written: tidy up, then answer the flushes up to this number.
    Flush(u64),
    /// Nothing for a while, or something was forgotten: tidy up.
    Idle,
    /// End; what waits is dropped.
    Stop,
}

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something for the writer.
    work: Condvar,
    /// Something for those who wait for the writer.
    done: Condvar,
}

#[derive(Default)]
struct State {
    offers: VecDeque<Offer>,
    bytes: usize,
    nudged: bool,
    flush_asked: u64,
    flush_done: u64,
    stop: bool,
    ended: bool,
}

impl Queue {
    /// Takes an offer unless there is too much waiting; `false` when it was dropped.
    pub(super) fn offer(&self, offer: Offer) -> bool {
        let mut state = lock(&self.state);
        if state.ended || state.stop || state.bytes + offer.bytes.len() > WAITING {
            return false;
        }
        state.bytes += offer.bytes.len();
        state.offers.push_back(offer);
        self.work.notify_one();
        true
    }

    /// Drops what waits for one file, or for all.
    pub(super) fn forget(&self, file: Option<FileId>) {
        let mut state = lock(&self.state);
        state
            .offers
            .retain(|offer| file.is_some_and(|file| file != offer.file));
        state.bytes = state.offers.iter().map(|offer| offer.bytes.len()).sum();
    }

    /// Bytes waiting.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Whether the writer has ended and takes nothing any more.
    pub(super) fn ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// Makes the writer tidy up soon.
    pub(super) fn nudge(&self) {
        lock(&self.state).nudged = true;
        self.work.notify_one();
    }

    /// Waits (real time) until the writer has done all that was offered before; `false` when time
    /// was up first or the writer has ended.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut state = lock(&self.state);
        state.flush_asked += 1;
        let ticket = state.flush_asked;
        self.work.notify_one();
        let state = wait(&self.done, state, within, |s| {
            s.flush_done < ticket && !s.ended
        });
        state.flush_done >= ticket
    }

    /// Tells the writer to end and waits for it (real time).
    pub(super) fn stop(&self, within: Duration) {
        let mut state = lock(&self.state);
        state.stop = true;
        self.work.notify_one();
        drop(wait(&self.done, state, within, |s| !s.ended));
    }

    /// The writer's next step; waits for it at most `within` (real time).
    pub(super) fn next(&self, within: Duration) -> Next {
        let state = lock(&self.state);
        let mut state = wait(&self.work, state, within, |s| {
            s.offers.is_empty() && !s.nudged && !s.stop && s.flush_done == s.flush_asked
        });
        if state.stop {
            return Next::Stop;
        }
        if let Some(offer) = state.offers.pop_front() {
            state.bytes -= offer.bytes.len();
            return Next::Offer(offer);
        }
        state.nudged = false;
        if state.flush_done < state.flush_asked {
            return Next::Flush(state.flush_asked);
        }
        Next::Idle
    }

    /// Answers the flushes up to `ticket`.
    pub(super) fn flushed(&self, ticket: u64) {
        lock(&self.state).flush_done = ticket;
        self.done.notify_all();
    }

    /// The writer has ended.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.offers.clear();
        state.bytes = 0;
        self.done.notify_all();
    }
}

fn wait<'a>(
    on: &Condvar,
    state: MutexGuard<'a, State>,
    within: Duration,
    mut while_true: impl FnMut(&State) -> bool,
) -> MutexGuard<'a, State> {
    // Beyond what an Instant can hold is as good as for ever.
    let end = Instant::now().checked_add(within);
    let mut state = state;
    while while_true(&state) {
        let left = end.map_or(within, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            break;
        }
        state = on
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_LONG: Duration = Duration::from_millis(5);

    fn offer(file: &str, len: usize) -> Offer {
        Offer {
            file: FileId::parse(file).unwrap(),
            size: 1 << 40,
            offset: 0,
            bytes: Bytes::from(vec![0; len]),
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let queue = Queue::default();
        assert!(queue.offer(offer("aaaaa", WAITING - 10)));
        assert!(!queue.offer(offer("bbbbb", 11)));
        assert!(queue.offer(offer("bbbbb", 10)));
        assert_eq!(queue.waiting(), WAITING);
        queue.forget(FileId::parse("aaaaa"));
        assert_eq!(queue.waiting(), 10);
        assert!(matches!(queue.next(NOT_LONG), Next::Offer(next) if next.bytes.len() == 10));
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_flush_comes_after_what_was_offered_and_never_waits_for_ever() {
        let queue = Queue::default();
        assert!(queue.offer(offer("aaaaa", 5)));
        assert!(!queue.flush(NOT_LONG), "nobody writes");
        assert!(matches!(queue.next(NOT_LONG), Next::Offer(_)));
        assert!(matches!(queue.next(NOT_LONG), Next::Flush(1)));
        queue.flushed(1);
        assert!(matches!(queue.next(NOT_LONG), Next::Idle));
        queue.nudge();
        assert!(matches!(queue.next(Duration::MAX), Next::Idle));
    }

    #[test]
    fn an_ended_writer_holds_nobody_up() {
        let queue = Queue::default();
        queue.stop(NOT_LONG);
        assert!(!queue.ended());
        assert!(matches!(queue.next(NOT_LONG), Next::Stop));
        queue.end();
        queue.stop(Duration::MAX);
        assert!(!queue.offer(offer("aaaaa", 5)));
        assert!(!queue.flush(Duration::MAX));
    }
}
