//! Who is served next: the most urgent priority, and within it each requester in turn.
//!
//! Promises: a requester with 500 calls waiting delays another one's call by at most one of its
//! own. Calls that cannot start yet are passed over and keep their place.
use super::call::CallId;
use crate::api::ask::{Priority, Requester};
use std::collections::{HashMap, VecDeque};

/// All priorities, the most urgent first.
pub(super) const PRIORITIES: [Priority; 5] = [
    Priority::Token,
    Priority::Change,
    Priority::Wanted,
    Priority::Refresh,
    Priority::Crawl,
];

/// Calls waiting, by priority and requester.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    lanes: [Lane; PRIORITIES.len()],
}

/// The calls of one priority.
#[derive(Debug, Default)]
struct Lane {
    /// Requesters with calls waiting, the next one to be served first.
    turns: VecDeque<Requester>,
    /// Their calls, oldest first; never an empty list.
    calls: HashMap<Requester, VecDeque<CallId>>,
    len: usize,
}

impl FairQueue {
    /// `id` waits.
    pub(super) fn push(&mut self, priority: Priority, requester: Requester, id: CallId) {
        let lane = &mut self.lanes[priority as usize];
        let calls = lane.calls.entry(requester).or_default();
        if calls.is_empty() {
            lane.turns.push_back(requester);
        }
        calls.push_back(id);
        lane.len += 1;
    }

    /// `id` waits no more.
    pub(super) fn remove(&mut self, priority: Priority, requester: Requester, id: CallId) {
        let lane = &mut self.lanes[priority as usize];
        let Some(calls) = lane.calls.get_mut(&requester) else {
            return;
        };
        let Some(at) = calls.iter().position(|waiting| *waiting == id) else {
            return;
        };
        calls.remove(at);
        lane.len -= 1;
        if calls.is_empty() {
            lane.calls.remove(&requester);
            lane.turns.retain(|other| *other != requester);
        }
    }

    /// Takes out the call of `priority` whose turn it is among those that `may_start`; its
    /// requester goes to the end of the line.
    pub(super) fn pick(
        &mut self,
        priority: Priority,
        mut may_start: impl FnMut(CallId) -> bool,
    ) -> Option<CallId> {
        let lane = &mut self.lanes[priority as usize];
        let (turn, id) = lane
            .turns
            .iter()
            .enumerate()
            .find_map(|(turn, requester)| {
                let calls = lane.calls.get(requester)?;
                let id = calls.iter().copied().find(|id| may_start(*id))?;
                Some((turn, id))
            })?;
        let requester = lane.turns[turn];
        self.remove(priority, requester, id);
        let lane = &mut self.lanes[priority as usize];
        if lane.calls.contains_key(&requester) {
            lane.turns.retain(|other| *other != requester);
            lane.turns.push_back(requester);
        }
        Some(id)
    }

    /// How many calls of `priority` wait.
    pub(super) fn len(&self, priority: Priority) -> usize {
        self.lanes[priority as usize].len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue, priority: Priority) -> Vec<u64> {
        std::iter::from_fn(|| queue.pick(priority, |_| true).map(|id| id.0)).collect()
    }

    #[test]
    fn requesters_are_served_in_turn_and_their_calls_in_order() {
        let mut queue = FairQueue::default();
        for id in 0..4 {
            queue.push(Priority::Wanted, Requester(1), CallId(id));
        }
        queue.push(Priority::Wanted, Requester(2), CallId(10));
        queue.push(Priority::Wanted, Requester(3), CallId(20));
        assert_eq!(drain(&mut queue, Priority::Wanted), [0, 10, 20, 1, 2, 3]);
        assert_eq!(queue.len(Priority::Wanted), 0);
    }

    #[test]
    fn a_call_that_cannot_start_keeps_its_place() {
        let mut queue = FairQueue::default();
        queue.push(Priority::Crawl, Requester(1), CallId(1));
        queue.push(Priority::Crawl, Requester(1), CallId(2));
        queue.push(Priority::Crawl, Requester(2), CallId(3));
        assert_eq!(queue.pick(Priority::Crawl, |id| id.0 == 3), Some(CallId(3)));
        assert_eq!(queue.pick(Priority::Crawl, |id| id.0 == 9), None);
        assert_eq!(drain(&mut queue, Priority::Crawl), [1, 2]);
    }

    #[test]
    fn a_call_taken_back_leaves_nothing_behind() {
        let mut queue = FairQueue::default();
        queue.push(Priority::Token, Requester(1), CallId(1));
        queue.remove(Priority::Token, Requester(1), CallId(2));
        queue.remove(Priority::Token, Requester(2), CallId(1));
        assert_eq!(queue.len(Priority::Token), 1);
        queue.remove(Priority::Token, Requester(1), CallId(1));
        assert_eq!(queue.len(Priority::Token), 0);
        let lane = &queue.lanes[Priority::Token as usize];
        assert!(lane.turns.is_empty() && lane.calls.is_empty());
    }
}
