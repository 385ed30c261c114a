//! The figures of `statfs`, from `user/info`.
//!
//! Promises: an answer at once, always; at most one call in [`FRESH`], made in the background and
//! only when someone asked. Until the first answer the drive looks large and empty, so that no
//! program refuses to start for lack of space.
use crate::api::{Ask, Client, Priority, Requester, UserInfo};
use crate::util::clock::{Clock, Moment};
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long figures stand: the service itself recomputes them now and then only, and locks keys that
/// ask more than once in 5 minutes (API reference 3).
const FRESH: Duration = Duration::from_secs(15 * 60);

/// When to ask again after a failure; longer than [`CALL_LIMIT`], so that calls never overlap.
const RETRY: Duration = Duration::from_secs(2 * 60);

/// How long one call may take, its wait for a turn included.
const CALL_LIMIT: Duration = Duration::from_secs(90);

/// Free bytes shown before anything is known: 1 PiB.
const UNKNOWN_FREE: u64 = 1 << 50;

/// The size of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes stored.
    pub used: u64,
    /// Bytes that can still be stored.
    pub free: u64,
}

impl Space {
    /// What is shown before anything is known.
    const UNKNOWN: Self = Self {
        used: 0,
        free: UNKNOWN_FREE,
    };

    /// Reads an account's figures (API reference 5.13): the quota is what is used and what is left.
    fn of(info: &UserInfo) -> Self {
        Self {
            used: info.cold_storage.saturating_add(info.hot_storage),
            free: match info.available_cold_storage {
                Some(left) => u64::try_from(left).unwrap_or(0),
                None => UNKNOWN_FREE,
            },
        }
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.used.saturating_add(self.free)
    }
}

/// Keeps the figures.
#[derive(Debug)]
pub(super) struct SpaceKeeper {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    space: Space,
    /// When the next call may be made.
    next: Option<Moment>,
}

impl SpaceKeeper {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                space: Space::UNKNOWN,
                next: None,
            }),
        })
    }

    /// The figures; starts a call on `runtime` when they are old.
    pub(super) fn get(self: &Arc<Self>, client: &Client, clock: Clock, runtime: &Handle) -> Space {
        let now = clock.now();
        let mut state = lock(&self.state);
        let space = state.space;
        if state.next.is_none_or(|next| next <= now) {
            state.next = Some(now.after(RETRY));
            drop(state);
            let (keeper, client) = (Arc::clone(self), client.clone());
            runtime.spawn(async move { keeper.renew(&client, clock).await });
        }
        space
    }

    /// Takes over figures that were true `at`, since 1970.
    pub(super) fn know(&self, info: &UserInfo, at: Duration, clock: Clock) {
        let mut state = lock(&self.state);
        state.space = Space::of(info);
        // Dated after now: the clock was set back, and nothing is known of their age.
        state.next = clock.happened(at).map(|at| at.after(FRESH));
    }

    async fn renew(&self, client: &Client, clock: Clock) {
        let deadline = Deadline::within(clock, CALL_LIMIT);
        let ask = Ask::new(Priority::Refresh, deadline, Requester::SELF);
        match deadline.run(client.user_info(&ask)).await {
            Some(Ok(info)) => self.know(&info.value, info.at, clock),
            Some(Err(error)) => log::info!("size of the account not known: {error}"),
            None => log::info!("size of the account not known: no answer in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Offer;

    #[test]
    fn figures_are_used_left_and_their_sum() {
        let mut info = UserInfo {
            email: "someone@example.org".into(),
            offer: Offer::Premium,
            subscription_end: None,
            cold_storage: 700,
            hot_storage: 50,
            available_cold_storage: Some(250),
            cdn_credits: 0,
            use_cdn: false,
            over_quota: false,
            upload_forbidden: false,
        };
        let space = Space::of(&info);
        assert_eq!((space.used, space.free, space.total()), (750, 250, 1000));
        info.available_cold_storage = Some(-5);
        assert_eq!((Space::of(&info).free, Space::of(&info).total()), (0, 750));
        info.available_cold_storage = None;
        assert_eq!(Space::of(&info).free, UNKNOWN_FREE);
    }
}
