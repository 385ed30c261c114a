//! Random days against the pure state machine: calls come, are answered late, never, or with a
//! flood, callers go away. What must hold is checked on the history alone, with rules written
//! down here a second time.
use super::call::{Call, CallClass, CallId, Verdict};
use super::rates::Rates;
use super::state::{Decision, State};
use crate::api::ask::{Priority, Requester};
use crate::api::ids::FolderId;
use crate::util::clock::Moment;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Events of a day; a few per call and per probe are usual.
const TURNS_MOST: usize = 20_000;

/// Milliseconds of simulated time.
type Ms = u64;

/// One call of a day.
#[derive(Debug, Clone)]
struct Planned {
    comes: Ms,
    class: CallClass,
    priority: Priority,
    requester: u32,
    patience: Ms,
    /// From start to verdict.
    takes: Ms,
    verdict: Verdict,
    /// Goes away this long after it came, if it still waits.
    leaves: Option<Ms>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Started { at: Ms, verdict_at: Ms },
    Refused { at: Ms },
    Left { at: Ms },
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Comes(usize),
    Leaves(usize),
    Verdict(usize),
    Wake,
}

struct Day {
    plan: Vec<Planned>,
    fate: Vec<Fate>,
    /// Calls in the order of their starts.
    starts: Vec<usize>,
}

fn moment(ms: Ms) -> Moment {
    Moment::from_origin(Duration::from_millis(ms))
}

fn ms(moment: Moment) -> Ms {
    let since = moment.since(Moment::from_origin(Duration::ZERO));
    Ms::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap()
}

/// Lets a day pass and checks that every call came to an end.
fn live(plan: Vec<Planned>) -> Day {
    let mut state = State::new(Rates::default(), moment(0));
    let mut events: BTreeMap<(Ms, usize), Event> = BTreeMap::new();
    let mut order = 0;
    let mut add = |events: &mut BTreeMap<_, _>, at: Ms, event| {
        order += 1;
        events.insert((at, order), event);
    };
    for (call, planned) in plan.iter().enumerate() {
        add(&mut events, planned.comes, Event::Comes(call));
    }
    let mut fate: Vec<Option<Fate>> = vec![None; plan.len()];
    let mut ids: HashMap<CallId, usize> = HashMap::new();
    let mut id_of: HashMap<usize, CallId> = HashMap::new();
    let mut starts = Vec::new();
    let mut turns = 0;
    while let Some(((at, _), event)) = events.pop_first() {
        turns += 1;
        assert!(turns < TURNS_MOST, "the scheduler goes in circles");
        let now = moment(at);
        match event {
            Event::Comes(call) => {
                let planned = &plan[call];
                let deadline = now.after(Duration::from_millis(planned.patience));
                match state.enqueue(
                    Call::new("call", planned.class),
                    planned.priority,
                    Requester(planned.requester),
                    deadline,
                    now,
                ) {
                    Ok(id) => {
                        ids.insert(id, call);
                        id_of.insert(call, id);
                        let leaves = planned.leaves.unwrap_or(Ms::MAX).min(planned.patience);
                        add(&mut events, at + leaves, Event::Leaves(call));
                    }
                    Err(_) => fate[call] = Some(Fate::Refused { at }),
                }
            }
            Event::Leaves(call) => {
                if fate[call].is_none() {
                    state.cancel(id_of[&call]);
                    fate[call] = Some(Fate::Left { at });
                }
            }
            Event::Verdict(call) => {
                state.finished(id_of[&call], plan[call].verdict, now);
            }
            Event::Wake => {}
        }
        loop {
            match state.next(now) {
                Decision::Start(id) => {
                    let call = ids[&id];
                    assert_eq!(fate[call], None, "started twice, or after its end");
                    let verdict_at = at + plan[call].takes;
                    fate[call] = Some(Fate::Started { at, verdict_at });
                    starts.push(call);
                    add(&mut events, verdict_at, Event::Verdict(call));
                }
                Decision::Refuse(id, _) => {
                    let call = ids[&id];
                    assert_eq!(fate[call], None, "refused after its end");
                    fate[call] = Some(Fate::Refused { at });
                }
                Decision::WaitUntil(wake) => {
                    assert!(wake > now, "told to wait until {wake:?} at {now:?}");
                    if events.keys().all(|(next, _)| *next > ms(wake)) {
                        add(&mut events, ms(wake), Event::Wake);
                    }
                    break;
                }
                Decision::Idle => break,
            }
        }
    }
    assert_eq!(state.running(), 0);
    for priority in super::queue::PRIORITIES {
        assert_eq!(state.waiting(priority), 0);
    }
    Day {
        fate: fate.into_iter().map(|fate| fate.expect("an end")).collect(),
        plan,
        starts,
    }
}

impl Day {
    /// Start and verdict of a started call.
    fn times(&self, call: usize) -> (Ms, Ms) {
        match self.fate[call] {
            Fate::Started { at, verdict_at } => (at, verdict_at),
            other => panic!("not started: {other:?}"),
        }
    }

    fn end(&self, call: usize) -> Ms {
        match self.fate[call] {
            Fate::Started { at, .. } | Fate::Refused { at } | Fate::Left { at } => at,
        }
    }

    /// When the service has seen a call at the latest, as far as the general rate goes.
    fn arrived(&self, call: usize) -> Ms {
        let (start, verdict_at) = self.times(call);
        match self.plan[call].verdict {
            Verdict::Lost | Verdict::NotSent => start + 2000,
            _ => verdict_at.min(start + 2000),
        }
    }

    /// Verdicts that shut the gate, by time. Failures and pages about maintenance do when they are
    /// one too many since a good answer, counted since the last closing; of failures, several
    /// callers must have met them.
    fn closings(&self) -> Vec<(Ms, Verdict)> {
        let mut ends = self.starts.clone();
        ends.sort_by_key(|call| self.times(*call).1);
        let mut closings: Vec<(Ms, Verdict)> = Vec::new();
        let mut row: Vec<usize> = Vec::new();
        for call in ends {
            let (start, end) = self.times(call);
            let verdict = self.plan[call].verdict;
            let is_news = closings.last().is_none_or(|(closed, _)| start > *closed);
            match verdict {
                Verdict::Answered if is_news => row.clear(),
                Verdict::Failed | Verdict::Maintenance if is_news => {
                    row.push(call);
                    let pages = row.iter().filter(|it| self.is_page(**it)).count();
                    let who = |it: &usize| (self.plan[*it].class, self.plan[*it].requester);
                    let several = row.iter().any(|it| who(it) != who(&row[0]));
                    if self.is_page(call) && pages >= 3 {
                        closings.push((end, Verdict::Maintenance));
                    } else if several && row.len() >= 4 {
                        closings.push((end, Verdict::Failed));
                    }
                }
                Verdict::Flooded { .. } | Verdict::Banned | Verdict::OwnerLocked => {
                    closings.push((end, verdict));
                }
                _ => {}
            }
        }
        closings
    }

    fn is_page(&self, call: usize) -> bool {
        self.plan[call].verdict == Verdict::Maintenance
    }

    /// However late each request arrives, no second sees four, and no 1.2 s four starts.
    fn check_rate(&self) {
        for last in &self.starts {
            let window = self.arrived(*last);
            let possible = self
                .starts
                .iter()
                .filter(|call| {
                    self.plan[**call].verdict != Verdict::NotSent
                        && self.times(**call).0 <= window + 1000
                        && self.arrived(**call) >= window
                })
                .count();
            assert!(possible <= 3, "{possible} calls may arrive within a second");
        }
        for four in self.starts.windows(4) {
            let span = self.times(four[3]).0 - self.times(four[0]).0;
            assert!(span >= 1200, "four starts within {span} ms");
        }
    }

    /// Half a minute between two listings of a folder; after a failure a second, once.
    fn check_folders_and_user_info(&self) {
        let mut early: Vec<(usize, usize)> = Vec::new();
        for (turn, later) in self.starts.iter().enumerate() {
            for earlier in &self.starts[..turn] {
                let gap = match (self.plan[*earlier].class, self.plan[*later].class) {
                    (
                        CallClass::Listing(one) | CallClass::Files(one),
                        CallClass::Listing(two) | CallClass::Files(two),
                    ) if one == two => 30_000,
                    (CallClass::UserInfo, CallClass::UserInfo) => 360_000,
                    _ => continue,
                };
                if self.plan[*earlier].verdict == Verdict::NotSent {
                    continue; // the service never saw it
                }
                let (_, verdict_at) = self.times(*earlier);
                let seen = verdict_at.max(self.arrived(*earlier));
                let since = self.times(*later).0.checked_sub(seen);
                let failed = matches!(
                    self.plan[*earlier].verdict,
                    Verdict::Failed | Verdict::Maintenance
                );
                if failed && gap == 30_000 && since.is_some_and(|since| since < gap) {
                    assert!(since.unwrap() >= 1000, "repeated at once");
                    early.push((*earlier, *later));
                } else {
                    assert!(since.is_some_and(|since| since >= gap));
                }
            }
        }
        for (failed, repeated) in &early {
            let again = early.iter().any(|(other, _)| other == repeated);
            assert!(!again, "a folder was listed early twice in a row");
            let sent = self.times(*repeated).0;
            let refused = early.iter().any(|(_, other)| {
                let flooded = matches!(
                    self.plan[*other].verdict,
                    Verdict::Flooded { .. } | Verdict::Banned
                );
                flooded && self.times(*other).1 < self.times(*failed).1
            });
            assert!(!refused, "listed early at {sent} although that was refused");
        }
    }

    /// After a flood answer half a minute of silence, after a row of failures less; then one call
    /// at a time until one that started since is answered well.
    fn check_gate(&self) {
        for (closed, verdict) in self.closings() {
            let silence = match verdict {
                Verdict::Flooded { retry_after } => {
                    let asked =
                        retry_after.map_or(0, |span| Ms::try_from(span.as_millis()).unwrap());
                    asked.clamp(30_000, 3_600_000)
                }
                Verdict::Banned => 3_600_000,
                Verdict::OwnerLocked => 300_000,
                Verdict::Maintenance => 60_000,
                Verdict::Failed => 5_000,
                Verdict::Answered | Verdict::Lost | Verdict::NotSent => {
                    unreachable!("not a closing")
                }
            };
            let after: Vec<usize> = self
                .starts
                .iter()
                .copied()
                .filter(|call| self.times(*call).0 > closed)
                .collect();
            for call in &after {
                let at = self.times(*call).0;
                assert!(at >= closed + silence, "a call {} ms after", at - closed);
            }
            for pair in after.windows(2) {
                let reopened = after.iter().any(|call| {
                    self.plan[*call].verdict == Verdict::Answered
                        && self.times(*call).1 <= self.times(pair[1]).0
                });
                if reopened {
                    break;
                }
                let (probe, answered) = self.times(pair[0]);
                let next = self.times(pair[1]).0;
                assert!(next >= answered.min(probe + 30_000), "two probes at a time");
            }
        }
    }

    fn check_deadlines(&self) {
        for (call, planned) in self.plan.iter().enumerate() {
            let end = self.end(call);
            assert!(end <= planned.comes + planned.patience);
            if let Fate::Started { at, .. } = self.fate[call] {
                assert!(at < planned.comes + planned.patience);
            }
        }
    }

    /// Calls that could start at any time: no turn of their own to wait for.
    fn waits_freely(&self, call: usize, at: Ms) -> bool {
        let planned = &self.plan[call];
        matches!(planned.class, CallClass::Plain | CallClass::Token)
            && planned.comes < at
            && self.end(call) > at
    }

    fn check_priorities(&self) {
        for started in &self.starts {
            let (at, _) = self.times(*started);
            let (priority, background) = (self.plan[*started].priority, Priority::Refresh);
            for other in 0..self.plan.len() {
                let urgent = self.plan[other].priority;
                let sooner = urgent < priority && (urgent < background || priority > background);
                assert!(!(sooner && self.waits_freely(other, at)), "overtaken");
            }
        }
    }

    /// Between two starts of one requester every other one that waits had its turn.
    fn check_fairness(&self) {
        for (turn, second) in self.starts.iter().enumerate() {
            let (requester, priority) = (self.plan[*second].requester, self.plan[*second].priority);
            let same = |call: &usize| {
                self.plan[*call].requester == requester && self.plan[*call].priority == priority
            };
            let Some(first) = self.starts[..turn].iter().rposition(same) else {
                continue;
            };
            let since = self.times(self.starts[first]).0;
            let now = self.times(*second).0;
            for other in 0..self.plan.len() {
                let planned = &self.plan[other];
                let waits = planned.requester != requester
                    && planned.priority == priority
                    && planned.comes < since
                    && self.waits_freely(other, now);
                let served = self.starts[first..turn].iter().any(|call| {
                    self.plan[*call].requester == planned.requester
                        && self.plan[*call].priority == priority
                });
                assert!(!waits || served, "a requester was served twice meanwhile");
            }
        }
    }

    fn check_background(&self) {
        let background: Vec<Ms> = self
            .starts
            .iter()
            .filter(|call| self.plan[**call].priority >= Priority::Refresh)
            .map(|call| self.times(*call).0)
            .collect();
        for pair in background.windows(2) {
            let flooded = self.closings().iter().any(|(at, verdict)| {
                let is_ours = !matches!(verdict, Verdict::Maintenance | Verdict::Failed);
                is_ours && *at < pair[0] && pair[0] < at + 600_000
            });
            let gap = if flooded { 3000 } else { 1000 };
            assert!(pair[1] - pair[0] >= gap, "background calls too dense");
        }
        for start in background {
            for (at, verdict) in self.closings() {
                let span = match verdict {
                    Verdict::Maintenance => 1_200_000,
                    Verdict::Failed => 60_000,
                    _ => continue,
                };
                let meanwhile = at < start && start < at + span;
                let reopened = self.starts.iter().any(|call| {
                    let (started, verdict_at) = self.times(*call);
                    self.plan[*call].verdict == Verdict::Answered
                        && started > at
                        && verdict_at <= start
                });
                assert!(
                    !meanwhile || reopened,
                    "background call while the service is down"
                );
            }
        }
    }
}

fn classes() -> impl Strategy<Value = CallClass> {
    prop_oneof![
        4 => Just(CallClass::Plain),
        3 => Just(CallClass::Token),
        3 => (0..4_u64).prop_map(|id| CallClass::Listing(FolderId(id))),
        1 => (0..4_u64).prop_map(|id| CallClass::Files(FolderId(id))),
        1 => Just(CallClass::UserInfo),
        2 => Just(CallClass::Node),
    ]
}

fn priorities() -> impl Strategy<Value = Priority> {
    (0..5_usize).prop_map(|index| super::queue::PRIORITIES[index])
}

fn verdicts(trouble: u32) -> impl Strategy<Value = Verdict> {
    prop_oneof![
        100 => Just(Verdict::Answered),
        8 => Just(Verdict::Lost),
        2 * trouble => Just(Verdict::Failed),
        4 => Just(Verdict::NotSent),
        trouble => Just(Verdict::Flooded { retry_after: None }),
        trouble.div_ceil(3) => (0..5000_u64).prop_map(|s| Verdict::Flooded {
            retry_after: Some(Duration::from_secs(s)),
        }),
        trouble.div_ceil(4) => Just(Verdict::Banned),
        trouble.div_ceil(4) => Just(Verdict::OwnerLocked),
        trouble => Just(Verdict::Maintenance),
    ]
}

fn calls(spread: Ms, trouble: u32) -> impl Strategy<Value = Vec<Planned>> {
    let call = (
        0..spread,
        classes(),
        priorities(),
        0..4_u32,
        prop_oneof![500..5000_u64, 5000..60_000_u64, 60_000..4_000_000_u64],
        prop_oneof![5 => 1..300_u64, 3 => 300..3000_u64, 1 => 3000..90_000_u64],
        verdicts(trouble),
        proptest::option::weighted(0.1, 0..20_000_u64),
    )
        .prop_map(
            |(comes, class, priority, requester, patience, takes, verdict, leaves)| Planned {
                comes,
                class,
                priority,
                requester,
                patience,
                takes,
                verdict,
                leaves,
            },
        );
    proptest::collection::vec(call, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_promise_holds_on_a_bad_day(plan in calls(120_000, 4)) {
        let day = live(plan);
        day.check_rate();
        day.check_folders_and_user_info();
        day.check_gate();
        day.check_deadlines();
        day.check_background();
    }

    #[test]
    fn every_promise_holds_in_a_rush(plan in calls(4_000, 0)) {
        let plan: Vec<Planned> = plan
            .into_iter()
            .map(|call| Planned { verdict: Verdict::Answered, ..call })
            .collect();
        let day = live(plan);
        day.check_rate();
        day.check_folders_and_user_info();
        day.check_deadlines();
        day.check_priorities();
        day.check_fairness();
        day.check_background();
    }

    /// A quarter of a minute of good answers, one of failures, and so on.
    #[test]
    fn every_promise_holds_while_the_service_comes_and_goes(
        plan in calls(120_000, 0),
        trouble in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let plan: Vec<Planned> = plan
            .into_iter()
            .zip(trouble)
            .map(|(call, page)| match call.comes / 15_000 % 2 {
                0 => call,
                _ if page => Planned { verdict: Verdict::Maintenance, ..call },
                _ => Planned { verdict: Verdict::Failed, ..call },
            })
            .collect();
        let day = live(plan);
        day.check_rate();
        day.check_folders_and_user_info();
        day.check_gate();
        day.check_deadlines();
        day.check_background();
    }

    #[test]
    fn with_patience_every_call_gets_its_turn(plan in calls(10_000, 0)) {
        let plan: Vec<Planned> = plan
            .into_iter()
            .map(|call| Planned {
                patience: 100_000_000,
                leaves: None,
                verdict: match call.verdict {
                    silent @ (Verdict::Lost | Verdict::NotSent) => silent,
                    _ => Verdict::Answered,
                },
                ..call
            })
            .collect();
        let day = live(plan);
        prop_assert_eq!(day.starts.len(), day.plan.len());
        day.check_rate();
    }
}
