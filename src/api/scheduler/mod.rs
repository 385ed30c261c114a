//! When a call may start. Every request to the service passes here, so that nobody at the
//! mountpoint feels the service's limits and the account is never locked for our doing.
//!
//! Promises:
//! - never more than three calls reach the service in any second, whatever the network does
//!   (`window`);
//! - the most urgent call first, requesters in turn (`queue`); background calls only when nobody
//!   else could start, and never on the last slot (`state`);
//! - one listing per folder per 30 s, one `user/info` in six minutes (`spacing`);
//! - silence when the service asks for it, then a single probe (`gate`); a single failed answer is
//!   a hiccup, a row of them is not (`trouble`);
//! - a call that certainly cannot start before its deadline fails at once; one whose caller goes
//!   away leaves nothing behind; the number of calls waiting is bounded;
//! - a restart, a second command or a crash does not provoke what a single run would not
//!   (`saved`, `budget_file`).
//!
//! `state` decides and knows neither tasks nor files; this module wakes callers, `ticker` lets
//! time pass, `saver` writes the record. It never knows what a call says or where it goes.
//!
//! One lock guards everything and is never held across an await or a write; the budget file has
//! its own, taken before it.
mod budget_file;
mod call;
mod gate;
mod machine_lock;
mod queue;
mod rates;
mod saved;
mod saver;
mod snapshot;
mod spacing;
mod state;
mod ticker;
mod trouble;
mod usage;
mod window;

#[cfg(test)]
mod saved_tests;
#[cfg(test)]
mod shell_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod state_tests;

pub use budget_file::{BudgetError, BudgetFile, Fingerprint, Held};
pub use call::{Call, CallClass, Verdict};
pub use gate::GateCause;
pub use rates::Rates;
pub use snapshot::{GateSnapshot, SchedulerSnapshot, Waiting};

use super::ask::Ask;
use super::error::{ApiError, ErrorKind, Reached};
use super::types::UserInfo;
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use call::CallId;
use saved::{Instants, KeptUserInfo};
use saver::Saving;
use state::{Decision, Refusal, State, Why};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Decides when calls start. Cheap to clone; one per account and process.
#[derive(Debug, Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

/// Leave to make one call, now. Ends with [`Permit::finish`] as soon as the answer's header is in;
/// dropped before, the call counts as [`Verdict::Lost`].
#[derive(Debug)]
#[must_use = "the call counts as made, and as lost unless finished"]
pub struct Permit {
    inner: Arc<Inner>,
    id: CallId,
    verdict: Verdict,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    core: Mutex<Core>,
    /// Wakes the ticker: a call came, ended or went away.
    tick: Notify,
    /// Wakes the saver: there is something to save, perhaps at once.
    save: Notify,
    /// Taken before `core`.
    file: Option<Mutex<BudgetFile>>,
}

#[derive(Debug)]
struct Core {
    state: State,
    /// Where the calls in the queue are told that they start, or cannot.
    callers: HashMap<CallId, oneshot::Sender<Result<(), Refusal>>>,
    /// Whether the ticker's task lives. It does whenever calls wait.
    ticking: bool,
    saving: Saving,
    user_info: Option<KeptUserInfo>,
}

impl Scheduler {
    /// A scheduler at `rates`. With a budget file it goes on where the last process ended and
    /// keeps its record there; without one it forgets (tests, a fake service).
    pub fn new(clock: Clock, rates: Rates, persisted: Option<BudgetFile>) -> Self {
        let at = Instants {
            now: clock.now(),
            unix: clock.unix(),
        };
        let rates = rates.on(clock);
        let (state, saving, user_info) = match &persisted {
            None => (State::new(rates, at.now), Saving::new(at.now, false), None),
            Some(file) => {
                let (clean, user_info) = match file.loaded() {
                    saved::Loaded::Sound(saved) => (saved.clean, saved.user_info.clone()),
                    _ => (false, None),
                };
                let state = State::restore(rates, file.loaded(), at);
                (state, Saving::new(at.now, clean), user_info)
            }
        };
        let core = Core {
            state,
            callers: HashMap::new(),
            ticking: false,
            saving,
            user_info,
        };
        Self {
            inner: Arc::new(Inner {
                clock,
                core: Mutex::new(core),
                tick: Notify::new(),
                save: Notify::new(),
                file: persisted.map(Mutex::new),
            }),
        }
    }

    /// Waits until `call` may start.
    ///
    /// Fails at once when it certainly cannot before the deadline: with the gate's kind (`Flood`,
    /// `IpBanned`, `OwnerLocked`, `Maintenance`, `Server`) when the gate is the cause, else `Timeout`; both
    /// say after what time another try makes sense. Dropping the future takes the call back.
    pub async fn permit(&self, ask: &Ask, call: &Call) -> Result<Permit, ApiError> {
        let inner = &self.inner;
        let (mut place, started) = inner.enqueue(ask, call)?;
        match ask.deadline.run(started).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(refusal))) => return Err(refused(call, refusal)),
            Some(Err(_)) | None => return Err(refused(call, inner.out_of_time())),
        }
        if call.class == CallClass::UserInfo {
            // Known to the next process before the service knows of it: asking twice within five
            // minutes locks the key.
            let saved = ask.deadline.run(Inner::save_now(inner, false)).await;
            if saved.is_none() {
                return Err(refused(call, inner.out_of_time()));
            }
        }
        inner.changed(false);
        Ok(place.permit())
    }

    /// The figures now.
    pub fn snapshot(&self) -> SchedulerSnapshot {
        let at = self.inner.instants();
        lock(&self.inner.core).state.snapshot(at)
    }

    /// The last answer of `user/info` of any process, and when it came (since 1970).
    pub fn user_info(&self) -> Option<(UserInfo, Duration)> {
        let core = lock(&self.inner.core);
        let kept = core.user_info.as_ref()?;
        Some((kept.answer.clone(), Duration::from_millis(kept.at_ms)))
    }

    /// Keeps an answer of `user/info` that came just now, for this process and the next ones.
    pub fn keep_user_info(&self, answer: UserInfo) {
        let at_ms = saved::millis(self.inner.clock.unix());
        lock(&self.inner.core).user_info = Some(KeptUserInfo { at_ms, answer });
        self.inner.changed(true);
    }

    /// Writes the record, to be called at shutdown when no more calls are to come. The last handle
    /// to go does the same.
    pub async fn flush(&self) -> io::Result<()> {
        Inner::save_now(&self.inner, true).await
    }
}

impl Permit {
    /// The call has been answered, or has failed.
    pub fn finish(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.inner.clock.now();
        let moved = lock(&self.inner.core)
            .state
            .finished(self.id, self.verdict, now);
        self.inner.tick.notify_one();
        self.inner.changed(moved);
    }
}

/// A call's place between queue and permit; dropped, it takes the call back.
#[derive(Debug)]
struct Place {
    inner: Arc<Inner>,
    id: Option<CallId>,
}

impl Place {
    /// The call is about to be sent: from here on it counts.
    fn permit(&mut self) -> Permit {
        Permit {
            inner: Arc::clone(&self.inner),
            id: self
                .id
                .take()
                .expect("a place is turned into a permit once"),
            verdict: Verdict::Lost,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(id) = self.id else {
            return;
        };
        let mut core = lock(&self.inner.core);
        core.callers.remove(&id);
        if core.state.is_running(id) {
            core.state.revoke(id);
        } else {
            core.state.cancel(id);
        }
        drop(core);
        self.inner.tick.notify_one();
    }
}

impl Inner {
    fn instants(&self) -> Instants {
        Instants {
            now: self.clock.now(),
            unix: self.clock.unix(),
        }
    }

    /// Puts a call into the queue and starts what can start.
    fn enqueue(
        self: &Arc<Self>,
        ask: &Ask,
        call: &Call,
    ) -> Result<(Place, oneshot::Receiver<Result<(), Refusal>>), ApiError> {
        let (tell, told) = oneshot::channel();
        // The deadline may run on another clock, whose moments mean nothing here.
        let remaining = ask.deadline.remaining();
        let now = self.clock.now();
        let mut core = lock(&self.core);
        let id = core
            .state
            .enqueue(
                *call,
                ask.priority,
                ask.requester,
                now.after(remaining),
                now,
            )
            .map_err(|refusal| refused(call, refusal))?;
        core.callers.insert(id, tell);
        core.advance(now);
        if !core.callers.is_empty() {
            if core.ticking {
                self.tick.notify_one();
            } else {
                core.ticking = true;
                ticker::spawn(self);
            }
        }
        drop(core);
        let place = Place {
            inner: Arc::clone(self),
            id: Some(id),
        };
        Ok((place, told))
    }

    /// Why a call whose time is up did not start.
    fn out_of_time(&self) -> Refusal {
        let now = self.clock.now();
        let core = lock(&self.core);
        Refusal {
            why: core
                .state
                .gate
                .shut()
                .map_or(Why::Late, |shut| Why::Gate(shut.cause)),
            retry_after: core.state.gate.earliest(false, now).since(now),
        }
    }
}

impl Core {
    /// Starts and refuses what is to be started and refused now. When to look again, if time alone
    /// can change anything.
    fn advance(&mut self, now: Moment) -> Option<Moment> {
        loop {
            let (id, answer) = match self.state.next(now) {
                Decision::Start(id) => (id, Ok(())),
                Decision::Refuse(id, refusal) => (id, Err(refusal)),
                Decision::WaitUntil(at) => return Some(at),
                Decision::Idle => return None,
            };
            // A caller that has just gone takes its call back as soon as it gets the lock.
            if let Some(caller) = self.callers.remove(&id) {
                let _ = caller.send(answer);
            }
        }
    }
}

/// The error of a call that did not start.
fn refused(call: &Call, refusal: Refusal) -> ApiError {
    let kind = match refusal.why {
        Why::Gate(GateCause::Flood | GateCause::Unknown) => ErrorKind::Flood,
        Why::Gate(GateCause::Banned) => ErrorKind::IpBanned,
        Why::Gate(GateCause::OwnerLocked) => ErrorKind::OwnerLocked,
        Why::Gate(GateCause::Maintenance) => ErrorKind::Maintenance,
        Why::Gate(GateCause::Down) => ErrorKind::Server,
        Why::Late | Why::Full => ErrorKind::Timeout,
    };
    let after = refusal.retry_after.as_secs();
    let detail = match refusal.why {
        Why::Gate(_) => format!("not sent, no calls for {after} s"),
        Why::Late => format!("not sent, its turn comes in {after} s at the earliest"),
        Why::Full => "not sent, too many calls wait already".to_owned(),
    };
    let mut error = ApiError::new(kind, call.name, Reached::NotSent, detail);
    error.retry_after = Some(refusal.retry_after);
    error
}
