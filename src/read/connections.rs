//! The download connections of the mount, and who gets the next one.
//!
//! Promises: never more than the limit at a time, which is the account's; processes that wait are
//! served in turn; none has so many that others find none, so that a program whose connections all
//! hang holds up nobody else. Knows nothing of files or bytes.
use crate::api::Requester;
use crate::util::sync::lock;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Connections that one process leaves to others, and fetching ahead to those who wait.
const RESERVED: usize = 4;

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    reserved: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// How many each process has; none is left out.
    held: HashMap<Requester, usize>,
    /// Processes that wait, the next one to be served first.
    turns: VecDeque<Requester>,
    /// Their readers, the oldest first; never an empty list.
    waiting: HashMap<Requester, VecDeque<oneshot::Sender<Connection>>>,
}

/// Leave to use one connection, until dropped.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None` once it was given back.
    of: Option<Arc<Connections>>,
    requester: Requester,
}

impl Connections {
    /// At most `most` at a time.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            reserved: RESERVED.min(most / 2),
            state: Mutex::default(),
        })
    }

    /// One for somebody who waits for bytes, when the turn of his process comes. Dropping the future
    /// gives the turn back.
    pub(super) async fn acquire(self: &Arc<Self>, requester: Requester) -> Option<Connection> {
        let (give, given) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            let readers = state.waiting.entry(requester).or_default();
            let is_new = readers.is_empty();
            // Those who gave up meanwhile.
            readers.retain(|reader| !reader.is_closed());
            readers.push_back(give);
            if is_new {
                state.turns.push_back(requester);
            }
            self.serve(&mut state);
        }
        given.await.ok()
    }

    /// One to fetch ahead with, if nobody who waits will miss it.
    pub(super) fn spare(self: &Arc<Self>, requester: Requester) -> Option<Connection> {
        let mut state = lock(&self.state);
        let is_spare = self.most - state.used > self.reserved && self.may_have(&state, requester);
        is_spare.then(|| self.give(&mut state, requester))
    }

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        lock(&self.state).used
    }

    fn may_have(&self, state: &State, requester: Requester) -> bool {
        let held = state.held.get(&requester).copied().unwrap_or(0);
        held < self.most - self.reserved
    }

    fn give(self: &Arc<Self>, state: &mut State, requester: Requester) -> Connection {
        state.used += 1;
        *state.held.entry(requester).or_default() += 1;
        Connection {
            of: Some(Arc::clone(self)),
            requester,
        }
    }

    /// Gives what is free to those whose turn it is.
    fn serve(self: &Arc<Self>, state: &mut State) {
        while state.used < self.most {
            let may_have = |requester: &Requester| self.may_have(state, *requester);
            let Some(turn) = state.turns.iter().position(may_have) else {
                return;
            };
            let Some(requester) = state.turns.remove(turn) else {
                return;
            };
            let reader = state.waiting.get_mut(&requester).and_then(|readers| {
                // Who went away is passed over.
                while readers.front().is_some_and(oneshot::Sender::is_closed) {
                    readers.pop_front();
                }
                readers.pop_front()
            });
            if state.waiting.get(&requester).is_none_or(VecDeque::is_empty) {
                state.waiting.remove(&requester);
            } else {
                state.turns.push_back(requester);
            }
            let Some(reader) = reader else {
                continue;
            };
            let connection = self.give(state, requester);
            if let Err(mut unwanted) = reader.send(connection) {
                // Not dropped with the lock held: its end takes the lock.
                unwanted.of = None;
                state.take_back(requester);
            }
        }
    }
}

impl State {
    fn take_back(&mut self, requester: Requester) {
        self.used -= 1;
        if let Some(held) = self.held.get_mut(&requester) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&requester);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(connections) = self.of.take() else {
            return;
        };
        let mut state = lock(&connections.state);
        state.take_back(self.requester);
        connections.serve(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    const GREEDY: Requester = Requester(1);

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// One that is to be had at once.
    fn now(connections: &Arc<Connections>, requester: Requester) -> Option<Connection> {
        poll(pin!(connections.acquire(requester))).flatten()
    }

    #[test]
    fn one_process_leaves_some_to_others() {
        let connections = Connections::new(20);
        let held: Vec<_> = std::iter::from_fn(|| now(&connections, GREEDY)).collect();
        assert_eq!(held.len(), 16);
        let others: Vec<_> = (2..9)
            .filter_map(|who| now(&connections, Requester(who)))
            .collect();
        assert_eq!((others.len(), connections.used()), (4, 20));
        drop((held, others));
        assert_eq!(connections.used(), 0);
        assert!(lock(&connections.state).held.is_empty());
    }

    #[test]
    fn processes_are_served_in_turn() {
        let connections = Connections::new(2);
        let (first, second) = (
            now(&connections, GREEDY).unwrap(),
            now(&connections, Requester(7)).unwrap(),
        );
        let mut greedy: Vec<_> = (0..50)
            .map(|_| Box::pin(connections.acquire(GREEDY)))
            .collect();
        for reader in &mut greedy {
            assert!(poll(reader.as_mut()).is_none());
        }
        let mut other = pin!(connections.acquire(Requester(2)));
        assert!(poll(other.as_mut()).is_none());
        drop((first, second));
        let served = poll(greedy[0].as_mut()).flatten();
        assert!(served.is_some() && poll(other.as_mut()).is_some());
        assert!(poll(greedy[1].as_mut()).is_none());
    }

    #[test]
    fn who_goes_away_takes_no_connection_along() {
        let connections = Connections::new(2);
        let (one, two) = (
            now(&connections, GREEDY).unwrap(),
            now(&connections, Requester(2)).unwrap(),
        );
        let mut waits = Box::pin(connections.acquire(Requester(3)));
        let mut given = Box::pin(connections.acquire(Requester(4)));
        assert!(poll(waits.as_mut()).is_none() && poll(given.as_mut()).is_none());
        drop(waits);
        drop(one);
        // It was given and is dropped before it was looked at.
        drop(given);
        assert_eq!(connections.used(), 1);
        drop(two);
        assert_eq!(connections.used(), 0);
        let state = lock(&connections.state);
        assert!(state.held.is_empty() && state.waiting.is_empty() && state.turns.is_empty());
    }

    #[test]
    fn fetching_ahead_leaves_some_to_those_who_wait() {
        let connections = Connections::new(20);
        let ahead: Vec<_> = (0..10)
            .flat_map(|who| [(); 10].map(|()| connections.spare(Requester(who))))
            .flatten()
            .collect();
        assert_eq!(ahead.len(), 16);
        assert!(now(&connections, GREEDY).is_some());
    }
}
