//! How long calls took, for whoever wants to explain it.
//!
//! A call waits for its turn, then for the service. Both are hidden inside the call; whoever wants to
//! know wraps it in [`measured`]. Nobody else pays for it.
use crate::util::clock::{Clock, Moment};
use std::cell::Cell;
use std::time::Duration;

tokio::task_local! {
    /// When the last call of this task was sent.
    static SENT: Cell<Option<Moment>>;
}

/// What a call cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until its turn came, repetitions included.
    pub queued: Duration,
    /// From its turn to its answer; of several tries the last.
    pub called: Duration,
}

/// Runs `call` and says how long it took.
pub async fn measured<F: Future>(clock: Clock, call: F) -> (F::Output, Timing) {
    let begun = clock.now();
    SENT.scope(Cell::new(None), async {
        let output = call.await;
        let ended = clock.now();
        let sent = SENT.with(Cell::get).unwrap_or(ended);
        let timing = Timing {
            queued: sent.since(begun),
            called: ended.since(sent),
        };
        (output, timing)
    })
    .await
}

/// A call's turn has come.
pub(super) fn sent(clock: Clock) {
    // Most calls are not measured.
    let _ = SENT.try_with(|at| at.set(Some(clock.now())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_split_at_its_turn() {
        let clock = Clock::scaled(1000.0, None);
        let second = Duration::from_secs(3);
        let (answer, timing) = measured(clock, async {
            clock.sleep(second).await;
            sent(clock);
            clock.sleep(2 * second).await;
            7
        })
        .await;
        assert_eq!(answer, 7);
        assert!(timing.queued >= second && timing.called >= 2 * second);
        let ((), never) = measured(clock, clock.sleep(second)).await;
        assert_eq!(never.called, Duration::ZERO);
        sent(clock);
    }
}
