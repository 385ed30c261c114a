//! How long calls took, for whoever wants to explain it.
//!
//! A call waits for its turn, then for the service. Both are hidden inside the call; whoever wants to
//! know wraps it in [`measured`]. Nobody else pays for it.
use crate::util::clock::{Clock, Moment};
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::watch;

tokio::task_local! {
    /// The last call of this task.
    static LAST: Last;
}

struct Last {
    /// When it was sent.
    sent: Cell<Option<Moment>>,
    /// Whether it was, and is not to be repeated.
    is_sent: watch::Sender<bool>,
}

/// What a call cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until its turn came, repetitions included.
    pub queued: Duration,
    /// From its turn to its answer; of several tries the last.
    pub called: Duration,
}

/// Runs `call` and says how long it took; `is_sent` hears meanwhile whether the service has it, or it waits for
/// its turn.
pub async fn measured<F: Future>(
    clock: Clock,
    is_sent: watch::Sender<bool>,
    call: F,
) -> (F::Output, Timing) {
    let begun = clock.now();
    let last = Last {
        sent: Cell::new(None),
        is_sent,
    };
    LAST.scope(last, async {
        let output = call.await;
        let ended = clock.now();
        let sent = LAST.with(|last| last.sent.get()).unwrap_or(ended);
        let timing = Timing {
            queued: sent.since(begun),
            called: ended.since(sent),
        };
        (output, timing)
    })
    .await
}

/// A call begins to wait for its turn.
pub(super) fn waits() {
    // Most calls are not measured.
    let _ = LAST.try_with(|last| last.is_sent.send_replace(false));
}

/// A call's turn has come.
pub(super) fn sent(clock: Clock) {
    // As above.
    let _ = LAST.try_with(|last| {
        last.sent.set(Some(clock.now()));
        last.is_sent.send_replace(true);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_split_at_its_turn() {
        let clock = Clock::scaled(1000.0, None);
        let second = Duration::from_secs(3);
        let is_sent = watch::Sender::new(false);
        let (answer, timing) = measured(clock, is_sent.clone(), async {
            waits();
            clock.sleep(second).await;
            assert!(!*is_sent.borrow());
            sent(clock);
            clock.sleep(2 * second).await;
            assert!(*is_sent.borrow());
            7
        })
        .await;
        assert_eq!(answer, 7);
        assert!(timing.queued >= second && timing.called >= 2 * second);
        let ((), never) = measured(clock, is_sent, clock.sleep(second)).await;
        assert_eq!(never.called, Duration::ZERO);
        sent(clock);
    }
}
