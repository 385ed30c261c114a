//! How often telling something of an entry has failed, and how long it waits before the next time. Pure.
//!
//! Promises: waits grow up to [`LONGEST_WAIT`]; what costs a whole transfer each time is not tried for ever.
//! Nothing of it survives the process: the next one may find another line, and another service.
use crate::tree::Ino;
use crate::util::retry::Backoff;
use std::collections::HashMap;
use std::time::Duration;

/// How long a failed call waits before it is tried again, at first and at most: trouble of the service
/// lasts seconds or minutes, and nobody waits for the answer.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What a file may be tried again for a few times only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vain {
    /// The account was sent all of it, said so, and does not have it as it was sent.
    Unkept,
    /// All of it was handed over, and what the node made of it was not heard, or was trouble of its own.
    Lost,
    /// What was to be sent could not be read.
    Unread,
}

impl Vain {
    /// How often before it is left to a person.
    pub(super) fn most(self) -> u8 {
        match self {
            // One that is damaged each time, or found infected, would be sent for ever.
            Self::Unkept => 3,
            // A node in trouble is not the file's fault, but each time costs the whole transfer.
            Self::Lost => 10,
            // A file that was stored a moment ago may be unknown for as long as listings lag (API reference 10), and
            // half a minute lies between two attempts.
            Self::Unread => 5,
        }
    }
}

/// Of one entry.
#[derive(Debug, Default)]
struct Tried {
    /// How long to wait after the next failure; `None` when nothing has failed since it was changed or told.
    backoff: Option<Backoff>,
    /// It is told alone, because it failed together with others.
    is_alone: bool,
    unkept: u8,
    lost: u8,
    unread: u8,
}

impl Tried {
    fn times(&mut self, what: Vain) -> &mut u8 {
        match what {
            Vain::Unkept => &mut self.unkept,
            Vain::Lost => &mut self.lost,
            Vain::Unread => &mut self.unread,
        }
    }
}

/// Of all entries; few have failed.
#[derive(Debug, Default)]
pub(super) struct Tries(HashMap<Ino, Tried>);

impl Tries {
    /// It has failed once more: how long it waits.
    pub(super) fn next_wait(&mut self, ino: Ino) -> Duration {
        let backoff = &mut self.0.entry(ino).or_default().backoff;
        let backoff = backoff.get_or_insert_with(|| Backoff::between(FIRST_WAIT, LONGEST_WAIT));
        backoff.next_wait()
    }

    /// Whether it waits because it failed.
    pub(super) fn has_failed(&self, ino: Ino) -> bool {
        let tried = self.0.get(&ino);
        tried.is_some_and(|tried| tried.backoff.is_some())
    }

    /// It was changed: it does not wait any more because it failed.
    pub(super) fn changed(&mut self, ino: Ino) {
        if let Some(tried) = self.0.get_mut(&ino) {
            tried.backoff = None;
        }
    }

    /// The account has done something of it.
    pub(super) fn told(&mut self, ino: Ino) {
        if let Some(tried) = self.0.get_mut(&ino) {
            *tried = Tried {
                is_alone: tried.is_alone,
                ..Tried::default()
            };
        }
    }

    /// From now on it is told alone.
    pub(super) fn single_out(&mut self, ino: Ino) {
        self.0.entry(ino).or_default().is_alone = true;
    }

    /// Whether it is.
    pub(super) fn is_alone(&self, ino: Ino) -> bool {
        self.0.get(&ino).is_some_and(|tried| tried.is_alone)
    }

    /// It was in vain once more.
    pub(super) fn count(&mut self, ino: Ino, what: Vain) {
        let times = self.0.entry(ino).or_default().times(what);
        *times = times.saturating_add(1);
    }

    /// Whether it was so too often; asking begins a new count then.
    pub(super) fn is_too_often(&mut self, ino: Ino, what: Vain) -> bool {
        let Some(tried) = self.0.get_mut(&ino) else {
            return false;
        };
        let times = tried.times(what);
        let is_over = *times >= what.most();
        if is_over {
            *times = 0;
        }
        is_over
    }

    /// Forgets all others.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Ino) -> bool) {
        self.0.retain(|ino, _| is_known(ino));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ino() -> Ino {
        Ino::new(7).unwrap()
    }

    #[test]
    fn waits_grow_to_their_longest_until_something_changes() {
        let mut tries = Tries::default();
        assert!(!tries.has_failed(ino()));
        let waits: Vec<Duration> = (0..20).map(|_| tries.next_wait(ino())).collect();
        assert!(waits[0] <= FIRST_WAIT * 2, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST_WAIT), "{waits:?}");
        assert!(waits[19] > waits[0] * 10, "{waits:?}");
        assert!(tries.has_failed(ino()));
        tries.changed(ino());
        assert!(!tries.has_failed(ino()));
        assert!(tries.next_wait(ino()) <= FIRST_WAIT * 2);
    }

    #[test]
    fn what_is_in_vain_is_tried_so_often_and_no_more() {
        for what in [Vain::Unkept, Vain::Lost, Vain::Unread] {
            let mut tries = Tries::default();
            for _ in 1..what.most() {
                tries.count(ino(), what);
                assert!(!tries.is_too_often(ino(), what), "{what:?}");
            }
            tries.count(ino(), what);
            assert!(tries.is_too_often(ino(), what), "{what:?}");
            // A person has it tried again.
            assert!(!tries.is_too_often(ino(), what), "{what:?}");
        }
    }

    #[test]
    fn what_was_told_starts_anew_and_stays_alone() {
        let mut tries = Tries::default();
        tries.single_out(ino());
        for _ in 0..20 {
            tries.count(ino(), Vain::Lost);
        }
        tries.told(ino());
        assert!(!tries.is_too_often(ino(), Vain::Lost));
        assert!(tries.is_alone(ino()));
        tries.retain(|_| false);
        assert!(!tries.is_alone(ino()));
    }
}
