//! The scheduler as a pure state machine: calls, verdicts and the time go in, decisions come out.
//!
//! Promises: see the module above. Never knows tasks, timers, files or the network, so that every
//! promise can be tried against thousands of random days.
use super::call::{Call, CallClass, CallId, Verdict};
use super::gate::{Ended, Gate, GateCause, Passage};
use super::queue::{FairQueue, PRIORITIES};
use super::rates::Rates;
use super::spacing::{Ready, Spacing};
use super::usage::Usage;
use super::window::Window;
use crate::api::ask::{Priority, Requester};
use crate::util::clock::Moment;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Foreground calls always find this slot free of background ones, so that they wait for at most
/// one call.
const SLOTS_FOR_BACKGROUND: usize = 2;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// This call starts now.
    Start(CallId),
    /// This call fails: it can no longer start before its deadline.
    Refuse(CallId, Refusal),
    /// Ask again at this moment, or when a call comes, ends or goes away.
    WaitUntil(Moment),
    /// Ask again when a call comes, ends or goes away.
    Idle,
}

/// Why a call cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: Why,
    /// Asking again sooner is of no use.
    pub(super) retry_after: Duration,
}

/// See [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The gate is shut for too long.
    Gate(GateCause),
    /// Its turn comes too late.
    Late,
    /// Too many calls wait already.
    Full,
}

/// A call in the queue.
#[derive(Debug)]
struct Waiting {
    call: Call,
    priority: Priority,
    requester: Requester,
    deadline: Moment,
}

/// A call between its start and its verdict.
#[derive(Debug)]
struct Running {
    call: Call,
    requester: Requester,
    started: Moment,
    epoch: u64,
    /// From when on the next background call might start before this one started and since, if
    /// this is one.
    background: Option<(Moment, Moment)>,
}

/// What has happened since the process began.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Starts by call.
    pub(super) started: BTreeMap<&'static str, u64>,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) floods: u64,
    pub(super) refused: u64,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rates: Rates,
    pub(super) window: Window,
    pub(super) gate: Gate,
    pub(super) spacing: Spacing,
    /// From when on the next background call may start.
    pub(super) background_at: Moment,
    pub(super) tally: Tally,
    pub(super) usage: Usage,
    queue: FairQueue,
    waiting: HashMap<CallId, Waiting>,
    running: HashMap<CallId, Running>,
    refused: VecDeque<(CallId, Refusal)>,
    next_id: u64,
}

fn is_background(priority: Priority) -> bool {
    matches!(priority, Priority::Refresh | Priority::Crawl)
}

impl State {
    /// Nothing was called yet.
    pub(super) fn new(rates: Rates, now: Moment) -> Self {
        let rates = rates.sane();
        Self {
            window: Window::new(&[], now),
            gate: Gate::new(now),
            spacing: Spacing::new(&rates, now),
            background_at: now,
            tally: Tally::default(),
            usage: Usage::default(),
            queue: FairQueue::default(),
            waiting: HashMap::new(),
            running: HashMap::new(),
            refused: VecDeque::new(),
            next_id: 0,
            rates,
        }
    }

    /// A call wants to start. Refused at once when the queue is full or its deadline too near.
    pub(super) fn enqueue(
        &mut self,
        call: Call,
        priority: Priority,
        requester: Requester,
        deadline: Moment,
        now: Moment,
    ) -> Result<CallId, Refusal> {
        let waiting = Waiting {
            call,
            priority,
            requester,
            deadline,
        };
        let room = if is_background(priority) {
            self.rates.waiting_most / 2
        } else {
            self.rates.waiting_most
        };
        let refusal = if self.waiting.len() >= room {
            Some(Refusal {
                why: Why::Full,
                retry_after: self.window.earliest(now).since(now),
            })
        } else {
            self.too_late(&waiting, now)
        };
        if let Some(refusal) = refusal {
            self.tally.refused += 1;
            return Err(refusal);
        }
        let id = CallId(self.next_id);
        self.next_id += 1;
        self.queue.push(priority, requester, id);
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// The caller of a waiting call went away. A call that was refused or started is left alone.
    pub(super) fn cancel(&mut self, id: CallId) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.queue.remove(waiting.priority, waiting.requester, id);
        }
    }

    /// The caller of a started call went away before it sent anything: as if it had not started.
    pub(super) fn revoke(&mut self, id: CallId) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        self.window.give_back(id);
        self.gate.give_back(id);
        self.spacing.give_back(id, running.call.class);
        if let Some((before, since)) = running.background
            && self.background_at == since
        {
            self.background_at = before;
        }
        if let Some(count) = self.tally.started.get_mut(running.call.name) {
            *count -= 1;
        }
    }

    /// A started call ended. Whether the gate moved, which must be kept at once.
    pub(super) fn finished(&mut self, id: CallId, verdict: Verdict, now: Moment) -> bool {
        let Some(running) = self.running.remove(&id) else {
            return false;
        };
        let seen = match verdict {
            Verdict::Lost | Verdict::NotSent => {
                self.tally.lost += 1;
                now.max(running.started.after(self.rates.arrives_within))
            }
            _ => {
                self.tally.answered += 1;
                self.window.answered(id, now);
                now
            }
        };
        if matches!(verdict, Verdict::Flooded { .. }) {
            self.tally.floods += 1;
        }
        if verdict == Verdict::NotSent {
            self.window.never_arrives(id);
            self.spacing.give_back(id, running.call.class);
        } else {
            self.spacing.finished(id, running.call.class, verdict, seen);
        }
        let ended = Ended {
            id,
            epoch: running.epoch,
            origin: (running.call, running.requester),
            verdict,
        };
        let moved = self.gate.verdict(&ended, &self.rates, now);
        if moved || !matches!(running.call.class, CallClass::Plain | CallClass::Token) {
            self.refuse_late(now);
        }
        moved
    }

    /// What to do now. Asked again after every [`Decision::Start`] and [`Decision::Refuse`].
    pub(super) fn next(&mut self, now: Moment) -> Decision {
        if let Some((id, refusal)) = self.refused.pop_front() {
            return Decision::Refuse(id, refusal);
        }
        if self.waiting.is_empty() {
            return Decision::Idle;
        }
        let probe = match self.gate.passage(now) {
            Passage::Closed(until) => return Decision::WaitUntil(until),
            Passage::Probe => true,
            Passage::Open => false,
        };
        let free = self.window.free(now);
        if free == 0 {
            return Decision::WaitUntil(self.window.free_at(1));
        }
        let mut turns = Turns::default();
        let mut picked = self.pick(&PRIORITIES[..3], probe, now, &mut turns);
        if picked.is_none() && self.background_waits() {
            let from = self
                .background_at
                .max(self.gate.earliest(true, now))
                .max(self.window.free_at(SLOTS_FOR_BACKGROUND));
            if from <= now {
                picked = self.pick(&PRIORITIES[3..], probe, now, &mut turns);
            } else {
                turns.see(from);
            }
        }
        match (picked, turns.first) {
            (Some(id), _) => {
                self.start(id, now);
                Decision::Start(id)
            }
            (None, Some(at)) => Decision::WaitUntil(at),
            (None, None) => Decision::Idle,
        }
    }

    /// How many calls of a priority wait.
    pub(super) fn waiting(&self, priority: Priority) -> usize {
        self.queue.len(priority)
    }

    /// How many calls are between start and verdict.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a call is between start and verdict.
    pub(super) fn is_running(&self, id: CallId) -> bool {
        self.running.contains_key(&id)
    }

    /// Starts per second at present.
    pub(super) fn rate(&self, now: Moment) -> f64 {
        self.rates.starts_per_second * self.gate.factor(now)
    }

    fn background_waits(&self) -> bool {
        PRIORITIES[3..].iter().any(|p| self.queue.len(*p) > 0)
    }

    /// The most urgent call whose turn has come. A probe on an upload node is the last choice: its
    /// answer may take hours, and it is another host.
    fn pick(
        &mut self,
        priorities: &[Priority],
        probe: bool,
        now: Moment,
        turns: &mut Turns,
    ) -> Option<CallId> {
        let (waiting, spacing, queue) = (&self.waiting, &self.spacing, &mut self.queue);
        let mut pick = |nodes: bool| {
            priorities.iter().find_map(|priority| {
                queue.pick(*priority, |id| {
                    let Some(waiting) = waiting.get(&id) else {
                        return false;
                    };
                    match spacing.ready(waiting.call.class, now) {
                        Ready::At(at) if at <= now => {
                            nodes || waiting.call.class != CallClass::Node
                        }
                        Ready::At(at) => {
                            turns.see(at);
                            false
                        }
                        Ready::AfterVerdict => false,
                    }
                })
            })
        };
        if probe {
            pick(false).or_else(|| pick(true))
        } else {
            pick(true)
        }
    }

    fn start(&mut self, id: CallId, now: Moment) {
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        let rate = self.rate(now);
        let arrived = now.after(self.rates.arrives_within);
        self.window.take(id, now, arrived, rate);
        let epoch = self.gate.started(id, now);
        let others_wait = self.spacing.started(id, &waiting.call, now);
        let background = is_background(waiting.priority).then(|| {
            let after_flood = now < self.gate.calm_at();
            let since = now.after(self.rates.background_gap(after_flood));
            (std::mem::replace(&mut self.background_at, since), since)
        });
        *self.tally.started.entry(waiting.call.name).or_default() += 1;
        self.usage.note(now);
        let running = Running {
            call: waiting.call,
            requester: waiting.requester,
            started: now,
            epoch,
            background,
        };
        self.running.insert(id, running);
        if others_wait {
            self.refuse_late(now);
        }
    }

    /// Refuses every waiting call that cannot start any more.
    fn refuse_late(&mut self, now: Moment) {
        let late: Vec<(CallId, Refusal)> = self
            .waiting
            .iter()
            .filter_map(|(id, waiting)| Some((*id, self.too_late(waiting, now)?)))
            .collect();
        for (id, refusal) in late {
            self.cancel(id);
            self.tally.refused += 1;
            self.refused.push_back((id, refusal));
        }
    }

    /// Why a call cannot start before its deadline, if that is certain.
    fn too_late(&self, waiting: &Waiting, now: Moment) -> Option<Refusal> {
        let background = is_background(waiting.priority);
        let gate = self.gate.earliest(background, now);
        let mut turn = self
            .spacing
            .earliest(waiting.call.class, now)
            .max(self.window.earliest(now));
        if background {
            turn = turn.max(self.background_at);
        }
        let earliest = gate.max(turn);
        if earliest < waiting.deadline {
            return None;
        }
        let why = match self.gate.shut() {
            Some(shut) if gate >= waiting.deadline => Why::Gate(shut.cause),
            _ => Why::Late,
        };
        Some(Refusal {
            why,
            retry_after: earliest.since(now),
        })
    }
}

/// The first moment at which any of the calls looked at gets its turn.
#[derive(Default)]
struct Turns {
    first: Option<Moment>,
}

impl Turns {
    fn see(&mut self, at: Moment) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }
}
