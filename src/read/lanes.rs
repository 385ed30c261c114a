//! How many connections one file is read over at once: pure, times and bytes in, a number out.
//!
//! One connection is enough for a film at its pace, and for a line that one connection fills. It is
//! not where the service limits each connection. So: a reader that spends its time waiting gets
//! twice as many; if more does not come then, it was not the connections, and they are given back.
//! Knows no streams, no offsets and no network.
use crate::util::clock::Moment;
use std::time::Duration;

/// Over how long is measured: some requests long, short beside what it is about.
const SPAN: Duration = Duration::from_millis(100);

/// A longer pause of the reader is none of the line's doing: what was measured before it is void.
const PAUSE: Duration = Duration::from_secs(2);

/// A reader that waits this share of its time (one over it) could use more.
const WAITING: u32 = 3;

/// More lanes helped when this much more came, in percent. Doubling them brings up to 200.
const HELPED: u64 = 120;

/// Spans that pass before another try after one that did not help; doubled for each further one.
const REST: u32 = 16;

/// Times the rest is doubled at most: half a minute.
const RESTS: u32 = 4;

/// Spans without waiting after which half of the lanes is given back: two seconds.
const CALM: u32 = 20;

/// The lanes of one file.
#[derive(Debug)]
pub(super) struct Lanes {
    now: usize,
    most: usize,
    span: Option<Span>,
    state: State,
    /// Tries that did not help, one after the other.
    failed: u32,
    calm: u32,
}

/// What happened since a moment.
#[derive(Debug, Clone, Copy)]
struct Span {
    since: Moment,
    last_read: Moment,
    bytes: u64,
    waited: Duration,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Steady,
    /// More lanes were given: their requests are under way and nothing is to be seen yet.
    Opening {
        from: usize,
        rate: u64,
    },
    /// What comes now tells whether they help.
    Trying {
        from: usize,
        rate: u64,
    },
    /// They did not.
    Resting {
        spans: u32,
    },
}

impl Lanes {
    /// One lane, `most` at most.
    pub(super) fn new(most: usize) -> Self {
        Self {
            now: 1,
            most: most.max(1),
            span: None,
            state: State::Steady,
            failed: 0,
            calm: 0,
        }
    }

    /// Bytes came.
    pub(super) fn brought(&mut self, bytes: u64) {
        if let Some(span) = &mut self.span {
            span.bytes += bytes;
        }
    }

    /// A reader had to wait.
    pub(super) fn waited(&mut self, time: Duration) {
        if let Some(span) = &mut self.span {
            span.waited += time;
        }
    }

    /// Lanes there may be now; called at each read.
    pub(super) fn at(&mut self, now: Moment) -> usize {
        let fresh = Span {
            since: now,
            last_read: now,
            bytes: 0,
            waited: Duration::ZERO,
        };
        let span = self.span.get_or_insert(fresh);
        if now.since(span.last_read) > PAUSE {
            *span = fresh;
            // A try that was interrupted is none.
            if let State::Opening { from, .. } | State::Trying { from, .. } = self.state {
                self.now = from;
                self.state = State::Steady;
            }
        }
        span.last_read = now;
        let took = now.since(span.since);
        if took >= SPAN {
            let done = std::mem::replace(span, fresh);
            self.judge(&done, took);
        }
        self.now
    }

    fn judge(&mut self, span: &Span, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = span.bytes.saturating_mul(1_000_000) / micros;
        let waits = span.waited * WAITING >= took;
        self.calm = if waits { 0 } else { self.calm + 1 };
        if self.calm >= CALM {
            self.calm = 0;
            self.now = self.now.div_ceil(2);
            self.state = State::Steady;
            return;
        }
        match self.state {
            State::Opening { from, rate } => self.state = State::Trying { from, rate },
            State::Trying { from, rate: before } => {
                let helped = rate.saturating_mul(100) >= before.saturating_mul(HELPED);
                if helped {
                    self.failed = 0;
                    self.state = State::Steady;
                    self.grow(waits, rate);
                } else if waits {
                    self.now = from;
                    self.state = State::Resting {
                        spans: REST << self.failed.min(RESTS),
                    };
                    self.failed += 1;
                } else {
                    // It was the reader that took no more.
                    self.state = State::Steady;
                }
            }
            State::Resting { spans: 0 } => self.state = State::Steady,
            State::Resting { spans } => self.state = State::Resting { spans: spans - 1 },
            State::Steady => self.grow(waits, rate),
        }
    }

    fn grow(&mut self, waits: bool, rate: u64) {
        let more = (self.now * 2).min(self.most);
        if waits && more > self.now {
            let from = std::mem::replace(&mut self.now, more);
            self.state = State::Opening { from, rate };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MB: u64 = 1_000_000;

    /// A line that gives each connection `each` and all together `all` bytes per second, and a reader
    /// that takes `wanted` bytes per second; returns the lanes at the end of `seconds`, the most there
    /// were meanwhile, and how many spans had more than one.
    fn simulate(
        lanes: &mut Lanes,
        from: u64,
        seconds: u64,
        each: u64,
        all: u64,
        wanted: u64,
    ) -> (usize, usize, u64) {
        const STEP_MS: u64 = 5;
        let (mut most, mut several) = (0, 0);
        for step in 0..seconds * 1000 / STEP_MS {
            let at = Duration::from_millis(from * 1000 + step * STEP_MS);
            let now = lanes.at(Moment::from_origin(at));
            most = most.max(now);
            several += u64::from(now > 1);
            let comes = (each * now as u64).min(all).min(wanted);
            lanes.brought(comes * STEP_MS / 1000);
            // It waits for the share of the time in which nothing is there that it would take.
            let idle = 100 - 100 * comes / wanted;
            lanes.waited(Duration::from_micros(STEP_MS * 10 * idle));
        }
        (
            lanes.at(Moment::from_origin(Duration::from_secs(from + seconds))),
            most,
            several,
        )
    }

    #[test]
    fn a_reader_held_up_by_one_connection_gets_four_within_a_second() {
        let mut lanes = Lanes::new(4);
        assert_eq!(
            simulate(&mut lanes, 0, 1, 25 * MB, 100 * MB, 1000 * MB).0,
            4
        );
        assert_eq!(
            simulate(&mut lanes, 1, 30, 25 * MB, 100 * MB, 1000 * MB).0,
            4
        );
    }

    #[test]
    fn a_film_at_its_pace_has_one() {
        let mut lanes = Lanes::new(4);
        assert_eq!(simulate(&mut lanes, 0, 30, 25 * MB, 100 * MB, 3 * MB).1, 1);
    }

    #[test]
    fn where_more_connections_bring_no_more_they_are_given_back() {
        let mut lanes = Lanes::new(4);
        let (now, most, several) = simulate(&mut lanes, 0, 60, 25 * MB, 25 * MB, 1000 * MB);
        assert!(
            (now, most) == (1, 2) || (now, most) == (2, 2),
            "{now} {most}"
        );
        // Tried now and then, ever less often.
        assert!(several < 60 * 200 / 10, "{several} of {}", 60 * 200);
    }

    #[test]
    fn a_reader_that_slows_down_gives_them_back() {
        let mut lanes = Lanes::new(4);
        simulate(&mut lanes, 0, 5, 25 * MB, 100 * MB, 1000 * MB);
        assert_eq!(simulate(&mut lanes, 5, 10, 25 * MB, 100 * MB, 3 * MB).0, 1);
    }

    proptest! {
        /// Whatever happens: at least one lane, never more than allowed.
        #[test]
        fn there_is_always_one_and_never_too_many(
            most in 0usize..6,
            events in prop::collection::vec((0u64..5000, 0u64..1 << 40, 0u64..1 << 20), 0..300),
        ) {
            let mut lanes = Lanes::new(most);
            let mut at = Duration::ZERO;
            for (step, bytes, waited) in events {
                at += Duration::from_millis(step);
                let now = lanes.at(Moment::from_origin(at));
                prop_assert!((1..=most.max(1)).contains(&now));
                lanes.brought(bytes);
                lanes.waited(Duration::from_micros(waited));
            }
        }
    }
}
