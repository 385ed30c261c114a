//! Single promises of the state machine, each with the numbers it is about.
use super::call::{Call, CallClass, CallId, Verdict};
use super::gate::GateCause;
use super::rates::Rates;
use super::state::{Decision, Refusal, State, Why};
use crate::api::ask::{Priority, Requester};
use crate::api::ids::FolderId;
use crate::util::clock::Moment;
use std::time::Duration;

const FLOODED: Verdict = Verdict::Flooded { retry_after: None };
const HOUR: f64 = 3600.0;

fn at(seconds: f64) -> Moment {
    Moment::from_origin(Duration::from_secs_f64(seconds))
}

/// A state machine with shorter words.
struct Bench(State);

impl Bench {
    fn new() -> Self {
        Self(State::new(Rates::default(), at(0.0)))
    }

    fn ask(&mut self, class: CallClass, priority: Priority, now: f64) -> CallId {
        self.ask_for(1, class, priority, now)
    }

    fn ask_for(&mut self, who: u32, class: CallClass, priority: Priority, now: f64) -> CallId {
        let deadline = at(now + 10.0 * HOUR);
        let call = Call::new("call", class);
        self.0
            .enqueue(call, priority, Requester(who), deadline, at(now))
            .expect("room and time")
    }

    fn ask_until(&mut self, class: CallClass, deadline: f64, now: f64) -> Result<CallId, Refusal> {
        let call = Call::new("call", class);
        let (priority, who) = (Priority::Wanted, Requester(1));
        self.0.enqueue(call, priority, who, at(deadline), at(now))
    }

    fn next(&mut self, now: f64) -> Decision {
        self.0.next(at(now))
    }

    fn starts(&mut self, id: CallId, now: f64) {
        assert_eq!(self.next(now), Decision::Start(id), "at {now}");
    }

    fn waits_until(&mut self, until: f64, now: f64) {
        assert_eq!(self.next(now), Decision::WaitUntil(at(until)), "at {now}");
    }

    /// A call that starts at once and ends with `verdict`.
    fn call(&mut self, verdict: Verdict, now: f64) {
        let id = self.ask(CallClass::Plain, Priority::Wanted, now);
        self.starts(id, now);
        self.0.finished(id, verdict, at(now));
    }
}

#[test]
fn a_slot_is_free_after_the_span_and_a_second_after_the_answer() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..4)
        .map(|_| bench.ask(CallClass::Plain, Priority::Wanted, 0.0))
        .collect();
    for id in &ids[..3] {
        bench.starts(*id, 0.0);
    }
    bench.waits_until(3.05, 0.0);
    bench.0.finished(ids[0], Verdict::Answered, at(0.1));
    bench.waits_until(1.2, 0.1);
    bench.starts(ids[3], 1.2);
    let last = bench.ask(CallClass::Plain, Priority::Wanted, 1.2);
    bench.0.finished(ids[1], Verdict::Answered, at(1.5));
    bench.waits_until(2.55, 1.5);
    bench.starts(last, 2.55);
}

#[test]
fn at_a_slow_rate_calls_without_an_answer_keep_the_span_too() {
    let rates = Rates {
        starts_per_second: 0.5,
        ..Rates::default()
    };
    let mut bench = Bench(State::new(rates, at(0.0)));
    for _ in 0..3 {
        bench.call(Verdict::Lost, 0.0);
    }
    bench.ask(CallClass::Plain, Priority::Wanted, 0.0);
    bench.waits_until(6.0, 0.0);
}

#[test]
fn background_calls_leave_the_last_slot_to_others() {
    let mut bench = Bench::new();
    bench.call(Verdict::Answered, 0.0);
    let first = bench.ask(CallClass::Plain, Priority::Refresh, 0.0);
    let second = bench.ask(CallClass::Plain, Priority::Crawl, 0.0);
    bench.starts(first, 0.0);
    bench.0.finished(first, Verdict::Lost, at(0.0));
    // The pace of background calls would allow it at 1.0, but then nobody else could start.
    bench.waits_until(1.2, 1.1);
    let wanted = bench.ask(CallClass::Plain, Priority::Wanted, 1.1);
    bench.starts(wanted, 1.1);
    bench.0.finished(wanted, Verdict::Answered, at(1.1));
    bench.waits_until(2.3, 1.2);
    bench.starts(second, 2.3);
}

#[test]
fn five_hundred_calls_delay_another_requester_by_one() {
    let mut bench = Bench::new();
    for _ in 0..500 {
        bench.ask_for(1, CallClass::Token, Priority::Token, 0.0);
    }
    let other = bench.ask_for(2, CallClass::Token, Priority::Token, 0.0);
    assert!(matches!(bench.next(0.0), Decision::Start(_)));
    bench.starts(other, 0.0);
}

#[test]
fn a_listing_waits_for_its_folder_alone() {
    let mut bench = Bench::new();
    let folder = FolderId(7);
    let first = bench.ask(CallClass::Listing(folder), Priority::Wanted, 0.0);
    bench.starts(first, 0.0);
    let again = bench.ask(CallClass::Files(folder), Priority::Token, 0.0);
    let elsewhere = bench.ask(CallClass::Listing(FolderId(8)), Priority::Crawl, 0.0);
    bench.starts(elsewhere, 0.0);
    bench.0.finished(first, Verdict::Answered, at(0.5));
    bench.0.finished(elsewhere, Verdict::Answered, at(0.5));
    bench.waits_until(30.75, 2.0);
    let sooner = bench.ask_until(CallClass::Listing(folder), 30.0, 2.0);
    assert_eq!(sooner.map_err(|refusal| refusal.why), Err(Why::Late));
    bench.starts(again, 30.75);
}

#[test]
fn folders_are_forgotten_when_they_may_be_listed_again() {
    let mut bench = Bench::new();
    for turn in 0_u32..200 {
        let now = 2.0 * f64::from(turn);
        let class = CallClass::Listing(FolderId(u64::from(turn)));
        let id = bench.ask(class, Priority::Wanted, now);
        bench.starts(id, now);
        bench.0.finished(id, Verdict::Answered, at(now));
        assert!(bench.0.spacing.remembered() <= 17, "{turn}");
    }
}

#[test]
fn silence_doubles_to_five_minutes_and_starts_again_after_a_good_answer() {
    let mut bench = Bench::new();
    let mut now = 0.0;
    for silence in [30.0, 60.0, 120.0, 240.0, 300.0, 300.0] {
        bench.call(FLOODED, now);
        let probe = bench.ask(CallClass::Plain, Priority::Wanted, now);
        bench.waits_until(now + silence, now + 0.1);
        bench.0.cancel(probe);
        now += silence;
    }
    bench.call(Verdict::Answered, now);
    assert!(bench.0.gate.shut().is_none());
    bench.call(FLOODED, now + 60.0);
    bench.ask(CallClass::Plain, Priority::Wanted, now + 60.0);
    bench.waits_until(now + 90.0, now + 60.0);
}

#[test]
fn calls_in_flight_when_the_gate_closes_prolong_the_silence_and_do_not_double_it() {
    let mut bench = Bench::new();
    let ids: Vec<_> = (0..4)
        .map(|_| bench.ask(CallClass::Plain, Priority::Wanted, 0.0))
        .collect();
    for id in &ids[..3] {
        bench.starts(*id, 0.0);
    }
    bench.0.finished(ids[0], FLOODED, at(1.0));
    bench.0.finished(ids[1], FLOODED, at(2.0));
    bench.waits_until(32.0, 2.0);
    bench.0.finished(ids[2], Verdict::Answered, at(3.0));
    bench.waits_until(32.0, 3.0);
    bench.starts(ids[3], 32.0);
    bench.0.finished(ids[3], FLOODED, at(32.5));
    bench.ask(CallClass::Plain, Priority::Wanted, 33.0);
    bench.waits_until(92.5, 33.0);
}

#[test]
fn after_a_flood_the_rate_is_halved_and_recovers() {
    let mut bench = Bench::new();
    bench.call(FLOODED, 0.0);
    bench.call(Verdict::Answered, 30.0);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(bench.0.rate(at(30.0)), 1.25));
    assert!(near(bench.0.rate(at(60.0)), 1.5));
    assert!(near(bench.0.rate(at(180.0)), 2.5));
    assert!(near(bench.0.rate(at(1000.0)), 2.5));
    for _ in 0..3 {
        bench.call(Verdict::Answered, 32.0);
    }
    bench.ask(CallClass::Plain, Priority::Wanted, 32.0);
    let Decision::WaitUntil(until) = bench.next(32.0) else {
        panic!("three calls take three slots");
    };
    let span = until.since(at(32.0)).as_secs_f64();
    assert!(span > 2.3 && span < 2.4, "{span}");
}

#[test]
fn what_cannot_start_in_time_is_refused_at_once_and_says_why() {
    let mut bench = Bench::new();
    let waiting = bench.ask(CallClass::Listing(FolderId(1)), Priority::Wanted, 0.0);
    bench.starts(waiting, 0.0);
    let soon = bench.ask_until(CallClass::Listing(FolderId(1)), 40.0, 0.0);
    bench.0.finished(waiting, Verdict::Banned, at(1.0));
    let refusal = Refusal {
        why: Why::Gate(GateCause::Banned),
        retry_after: Duration::from_secs(3600),
    };
    let soon = soon.expect("its turn comes at 30 s");
    assert_eq!(bench.next(1.0), Decision::Refuse(soon, refusal));
    assert_eq!(bench.next(1.0), Decision::Idle);
    assert_eq!(bench.ask_until(CallClass::Plain, 60.0, 1.0), Err(refusal));
    let past = bench.ask_until(CallClass::Plain, 1.0, 1.0);
    assert_eq!(
        past.map_err(|refusal| refusal.why),
        Err(Why::Gate(GateCause::Banned))
    );
    let mut open = Bench::new();
    let past = open.ask_until(CallClass::Plain, 1.0, 1.0);
    assert_eq!(past.map_err(|refusal| refusal.why), Err(Why::Late));
}

#[test]
fn a_probe_goes_to_the_service_itself_rather_than_to_a_node() {
    let mut bench = Bench::new();
    bench.call(FLOODED, 0.0);
    let node = bench.ask(CallClass::Node, Priority::Token, 1.0);
    let crawl = bench.ask(CallClass::Plain, Priority::Crawl, 1.0);
    let plain = bench.ask(CallClass::Plain, Priority::Wanted, 1.0);
    bench.starts(plain, 30.0);
    bench.waits_until(60.0, 30.0);
    bench.0.finished(plain, Verdict::Answered, at(31.0));
    bench.starts(node, 31.0);
    bench.starts(crawl, 32.25);
}

#[test]
fn an_upload_as_probe_holds_up_others_for_half_a_minute_only() {
    let mut bench = Bench::new();
    bench.call(FLOODED, 0.0);
    let upload = bench.ask(CallClass::Node, Priority::Change, 1.0);
    bench.starts(upload, 30.0);
    let plain = bench.ask(CallClass::Plain, Priority::Wanted, 31.0);
    bench.waits_until(60.0, 31.0);
    bench.starts(plain, 60.0);
}

#[test]
fn a_probe_without_an_answer_is_followed_by_another() {
    let mut bench = Bench::new();
    bench.call(FLOODED, 0.0);
    bench.call(Verdict::Lost, 30.0);
    let next = bench.ask(CallClass::Plain, Priority::Wanted, 31.0);
    bench.waits_until(35.0, 31.0);
    bench.starts(next, 35.0);
    bench.0.finished(next, Verdict::Answered, at(35.1));
    assert!(bench.0.gate.shut().is_none());
}

#[test]
fn in_maintenance_callers_probe_each_minute_and_the_crawl_is_silent() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.call(Verdict::Maintenance, 0.0);
    }
    let crawl = bench.ask(CallClass::Plain, Priority::Crawl, 0.0);
    let wanted = bench.ask(CallClass::Plain, Priority::Wanted, 0.0);
    bench.waits_until(60.0, 0.0);
    bench.starts(wanted, 60.0);
    bench.0.finished(wanted, Verdict::Maintenance, at(60.0));
    bench.waits_until(120.0, 61.0);
    bench.waits_until(1260.0, 120.0);
    bench.starts(crawl, 1260.0);
    bench.0.finished(crawl, Verdict::Answered, at(1260.0));
    let full = bench.0.rate(at(1260.0));
    assert!((full - 2.5).abs() < 1e-9, "maintenance is not our doing");
}

#[test]
fn a_failed_answer_or_two_stop_nobody() {
    let mut bench = Bench::new();
    let mut now = 0.0;
    for verdict in [Verdict::Failed, Verdict::Maintenance].repeat(20) {
        for _ in 0..2 {
            bench.call(verdict, now);
            assert!(bench.0.gate.shut().is_none());
            now += 2.0;
        }
        bench.call(Verdict::Answered, now);
        now += 2.0;
    }
}

#[test]
fn several_callers_failures_in_a_row_shut_the_gate_for_a_moment_and_then_longer() {
    let mut bench = Bench::new();
    let fail = |bench: &mut Bench, who: u32, now: f64| {
        let id = bench.ask_for(who, CallClass::Token, Priority::Token, now);
        bench.starts(id, now);
        bench.0.finished(id, Verdict::Failed, at(now));
    };
    // One file that the service chokes on says nothing of the others.
    for turn in 0..10 {
        fail(&mut bench, 1, 2.0 * f64::from(turn));
        assert!(bench.0.gate.shut().is_none());
    }
    let mut now = 20.0;
    fail(&mut bench, 2, now);
    for silence in [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] {
        let id = bench.ask_for(3, CallClass::Token, Priority::Token, now);
        bench.waits_until(now + silence, now + 0.1);
        now += silence;
        bench.starts(id, now);
        bench.0.finished(id, Verdict::Failed, at(now));
    }
    let crawl = bench.ask(CallClass::Plain, Priority::Crawl, now);
    bench.waits_until(now + 60.0, now + 1.0);
    bench.0.cancel(crawl);
    bench.call(Verdict::Answered, now + 60.0);
    assert!(bench.0.gate.shut().is_none());
    let full = bench.0.rate(at(now + 60.0));
    assert!((full - 2.5).abs() < 1e-9, "it was not our doing");
    fail(&mut bench, 1, now + 62.0);
    assert!(bench.0.gate.shut().is_none(), "a good answer ends the row");
}

#[test]
fn a_probe_that_fails_after_a_flood_is_followed_by_another_soon() {
    let mut bench = Bench::new();
    bench.call(FLOODED, 0.0);
    bench.call(Verdict::Failed, 30.0);
    let next = bench.ask(CallClass::Plain, Priority::Wanted, 30.0);
    bench.waits_until(31.0, 30.0);
    bench.starts(next, 31.0);
    bench.0.finished(next, Verdict::Answered, at(31.1));
    assert!(bench.0.gate.shut().is_none());
}

#[test]
fn a_listing_that_failed_is_repeated_soon_once_and_not_after_a_flood() {
    let mut bench = Bench::new();
    let list = |bench: &mut Bench, folder: u64, verdict: Verdict, from: f64, now: f64| {
        let class = CallClass::Listing(FolderId(folder));
        let id = bench.ask(class, Priority::Wanted, from);
        if now > from {
            bench.waits_until(now, from);
        }
        bench.starts(id, now);
        bench.0.finished(id, verdict, at(now));
    };
    list(&mut bench, 1, Verdict::Failed, 0.0, 0.0);
    list(&mut bench, 1, Verdict::Failed, 0.0, 1.0);
    list(&mut bench, 1, Verdict::Failed, 2.0, 31.25);
    list(&mut bench, 1, FLOODED, 31.25, 32.25);
    bench.call(Verdict::Answered, 62.25);
    list(&mut bench, 2, Verdict::Failed, 70.0, 70.0);
    list(&mut bench, 2, Verdict::Answered, 70.0, 100.25);
}

#[test]
fn a_longer_retry_after_is_honoured_up_to_an_hour() {
    for (asked, silence) in [(5, 30.0), (100, 100.0), (1_000_000, 3600.0)] {
        let mut bench = Bench::new();
        let retry_after = Some(Duration::from_secs(asked));
        bench.call(Verdict::Flooded { retry_after }, 0.0);
        bench.ask(CallClass::Plain, Priority::Wanted, 0.0);
        bench.waits_until(silence, 0.0);
    }
}

#[test]
fn a_call_taken_back_before_it_was_sent_leaves_no_trace() {
    let mut bench = Bench::new();
    let class = CallClass::Listing(FolderId(3));
    let first = bench.ask(class, Priority::Crawl, 0.0);
    bench.starts(first, 0.0);
    bench.0.revoke(first);
    for _ in 0..3 {
        let id = bench.ask(class, Priority::Wanted, 0.0);
        bench.starts(id, 0.0);
        bench.0.revoke(id);
    }
    let crawl = bench.ask(class, Priority::Crawl, 0.0);
    bench.starts(crawl, 0.0);
    assert_eq!(bench.0.tally.started["call"], 1);
    bench.0.revoke(crawl);
    bench.call(FLOODED, 0.0);
    let probe = bench.ask(CallClass::Plain, Priority::Wanted, 30.0);
    bench.starts(probe, 30.0);
    bench.0.revoke(probe);
    let next = bench.ask(CallClass::Plain, Priority::Wanted, 30.0);
    bench.starts(next, 30.0);
}

#[test]
fn the_queue_is_bounded_and_background_fills_half_of_it() {
    let rates = Rates {
        waiting_most: 10,
        ..Rates::default()
    };
    let mut bench = Bench(State::new(rates, at(0.0)));
    let mut ask = |priority| {
        let call = Call::new("call", CallClass::Plain);
        let asked = bench
            .0
            .enqueue(call, priority, Requester(1), at(HOUR), at(0.0));
        asked.map_err(|refusal| refusal.why).map(|_| ())
    };
    for _ in 0..5 {
        assert_eq!(ask(Priority::Crawl), Ok(()));
    }
    assert_eq!(ask(Priority::Refresh), Err(Why::Full));
    for _ in 0..5 {
        assert_eq!(ask(Priority::Wanted), Ok(()));
    }
    assert_eq!(ask(Priority::Token), Err(Why::Full));
}
