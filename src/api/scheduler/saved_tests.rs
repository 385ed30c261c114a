//! What a restart remembers: after a clean end, a crash, a clock that jumped, a damaged record.
use super::call::{Call, CallClass, CallId, Verdict};
use super::gate::GateCause;
use super::rates::Rates;
use super::saved::{Instants, Loaded, Saved};
use super::state::{Decision, State, Why};
use crate::api::ask::{Priority, Requester};
use crate::api::ids::FolderId;
use crate::util::clock::Moment;
use std::time::Duration;

/// Some time of the wall clock.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);
const FOLDER: CallClass = CallClass::Listing(FolderId(5));

/// Both clocks `seconds` into the first process's life.
fn first(seconds: f64) -> Instants {
    let since = Duration::from_secs_f64(seconds);
    Instants {
        now: Moment::from_origin(since),
        unix: EPOCH + since,
    }
}

/// Both clocks in a later process, which began `gap` seconds after the first one and has its own
/// origin of monotonic time.
fn later(gap: f64) -> Instants {
    Instants {
        now: Moment::from_origin(Duration::from_secs(9)),
        unix: EPOCH + Duration::from_secs_f64(gap),
    }
}

fn ask(state: &mut State, class: CallClass, patience: f64, now: Moment) -> Result<CallId, Why> {
    let call = Call::new("call", class);
    let deadline = now.after(Duration::from_secs_f64(patience));
    state
        .enqueue(call, Priority::Wanted, Requester(1), deadline, now)
        .map_err(|refusal| refusal.why)
}

fn call(state: &mut State, class: CallClass, verdict: Verdict, now: Moment) {
    let id = ask(state, class, 1e6, now).expect("room and time");
    assert_eq!(state.next(now), Decision::Start(id));
    state.finished(id, verdict, now);
}

/// Through JSON and back, as on disk.
fn stored(saved: &Saved) -> Loaded {
    let text = serde_json::to_vec(saved).unwrap();
    Loaded::Sound(Box::new(serde_json::from_slice(&text).unwrap()))
}

fn restart(state: &State, ended: Instants, clean: bool, at: Instants) -> State {
    let saved = state.save(ended, None, clean);
    State::restore(Rates::default(), &stored(&saved), at)
}

/// When a call asked for at `at` starts, in seconds from then.
fn starts_after(state: &mut State, class: CallClass, at: Instants) -> f64 {
    let id = ask(state, class, 1e6, at.now).expect("room and time");
    let mut now = at.now;
    loop {
        match state.next(now) {
            Decision::Start(started) => {
                assert_eq!(started, id);
                return now.since(at.now).as_secs_f64();
            }
            Decision::WaitUntil(until) => now = until,
            other => panic!("{other:?}"),
        }
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.01
}

#[test]
fn a_folder_listed_before_the_restart_waits_after_it() {
    let mut state = State::new(Rates::default(), first(0.0).now);
    call(&mut state, FOLDER, Verdict::Answered, first(10.0).now);
    let mut next = restart(&state, first(12.0), true, later(15.0));
    let other = CallClass::Listing(FolderId(6));
    assert!(near(starts_after(&mut next, other, later(15.0)), 0.0));
    assert!(near(starts_after(&mut next, FOLDER, later(15.0)), 25.25));
    let mut much_later = restart(&state, first(12.0), true, later(41.0));
    assert!(near(
        starts_after(&mut much_later, FOLDER, later(41.0)),
        0.0
    ));
}

#[test]
fn the_slots_of_the_last_calls_are_still_taken() {
    let mut state = State::new(Rates::default(), first(0.0).now);
    for _ in 0..3 {
        call(
            &mut state,
            CallClass::Plain,
            Verdict::Answered,
            first(0.0).now,
        );
    }
    let mut next = restart(&state, first(0.0), true, later(0.2));
    assert!(near(
        starts_after(&mut next, CallClass::Plain, later(0.2)),
        1.0
    ));
}

#[test]
fn after_a_crash_unseen_calls_are_allowed_for() {
    let state = State::new(Rates::default(), first(0.0).now);
    // Saved at 10, so that calls up to 13 may be missing; seen by the service up to 15.
    let mut next = restart(&state, first(10.0), false, later(14.0));
    assert!(near(starts_after(&mut next, FOLDER, later(14.0)), 31.25));
    let mut next = restart(&state, first(10.0), false, later(14.0));
    assert!(near(
        starts_after(&mut next, CallClass::Plain, later(14.0)),
        2.05
    ));
    let mut next = restart(&state, first(10.0), false, later(100.0));
    assert!(near(starts_after(&mut next, FOLDER, later(100.0)), 0.0));
    // What was allowed for is kept by a process that ends cleanly at once.
    let crashed = restart(&state, first(10.0), false, later(14.0));
    let mut third = restart(&crashed, later(14.0), true, later(15.0));
    assert!(near(starts_after(&mut third, FOLDER, later(15.0)), 30.25));
}

#[test]
fn a_record_with_a_call_under_way_is_never_clean() {
    let mut state = State::new(Rates::default(), first(0.0).now);
    let id = ask(&mut state, FOLDER, 60.0, first(0.0).now).unwrap();
    assert_eq!(state.next(first(0.0).now), Decision::Start(id));
    assert!(!state.save(first(1.0), None, true).clean);
    state.finished(id, Verdict::Answered, first(1.0).now);
    assert!(state.save(first(1.0), None, true).clean);
}

#[test]
fn the_gate_stays_shut_over_a_restart_and_needs_a_probe() {
    let flooded = Verdict::Flooded { retry_after: None };
    let mut state = State::new(Rates::default(), first(0.0).now);
    call(&mut state, CallClass::Plain, flooded, first(0.0).now);
    call(&mut state, CallClass::Plain, flooded, first(30.0).now);
    let mut next = restart(&state, first(31.0), true, later(50.0));
    let soon = ask(&mut next, CallClass::Plain, 20.0, later(50.0).now);
    assert_eq!(soon, Err(Why::Gate(GateCause::Flood)));
    assert!(near(
        starts_after(&mut next, CallClass::Plain, later(50.0)),
        40.0
    ));

    let at = later(1000.0);
    let mut next = restart(&state, first(31.0), true, at);
    let probe = ask(&mut next, CallClass::Plain, 60.0, at.now).unwrap();
    let second = ask(&mut next, CallClass::Plain, 60.0, at.now).unwrap();
    assert_eq!(next.next(at.now), Decision::Start(probe));
    assert!(matches!(next.next(at.now), Decision::WaitUntil(_)));
    next.finished(probe, Verdict::Answered, at.now);
    assert_eq!(next.next(at.now), Decision::Start(second));
}

#[test]
fn user_info_is_not_asked_twice_by_two_processes() {
    let mut state = State::new(Rates::default(), first(0.0).now);
    call(
        &mut state,
        CallClass::UserInfo,
        Verdict::Answered,
        first(0.0).now,
    );
    let mut next = restart(&state, first(1.0), true, later(60.0));
    let soon = ask(&mut next, CallClass::UserInfo, 290.0, later(60.0).now);
    assert_eq!(soon, Err(Why::Late));
    assert!(near(
        starts_after(&mut next, CallClass::UserInfo, later(60.0)),
        300.0
    ));
}

#[test]
fn a_clock_set_back_by_years_delays_nothing_for_years() {
    let mut state = State::new(Rates::default(), first(0.0).now);
    call(&mut state, FOLDER, Verdict::Answered, first(0.0).now);
    call(
        &mut state,
        CallClass::UserInfo,
        Verdict::Answered,
        first(0.0).now,
    );
    call(
        &mut state,
        CallClass::Plain,
        Verdict::Banned,
        first(0.0).now,
    );
    let saved = state.save(first(0.0), None, true);
    let past = Instants {
        now: later(0.0).now,
        unix: EPOCH.saturating_sub(Duration::from_secs(100_000_000)),
    };
    let restore = || State::restore(Rates::default(), &stored(&saved), past);
    assert!(near(
        starts_after(&mut restore(), CallClass::Plain, past),
        3600.0
    ));
    assert!(starts_after(&mut restore(), FOLDER, past) <= 3600.0);
    assert!(starts_after(&mut restore(), CallClass::UserInfo, past) <= 3600.0);
}

#[test]
fn a_damaged_record_means_care() {
    let at = later(0.0);
    let damaged = |ago| {
        let loaded = Loaded::Damaged(Duration::from_secs(ago));
        State::restore(Rates::default(), &loaded, at)
    };
    assert!(starts_after(&mut damaged(0), FOLDER, at) > 30.0);
    assert!(starts_after(&mut damaged(0), CallClass::UserInfo, at) > 360.0);
    let mut old = damaged(86_400);
    let probe = ask(&mut old, FOLDER, 60.0, at.now).unwrap();
    ask(&mut old, CallClass::UserInfo, 60.0, at.now).unwrap();
    assert_eq!(old.next(at.now), Decision::Start(probe));
    assert!(matches!(old.next(at.now), Decision::WaitUntil(_)));
}
