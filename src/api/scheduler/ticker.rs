//! The task that starts waiting calls when time makes it possible. It lives only while calls wait.
use super::Inner;
use crate::util::sync::lock;
use std::sync::Arc;

/// Marks the ticker as gone when its task ends by other means than its own, e.g. with its runtime:
/// the next call then starts a new one.
struct Ticking {
    inner: Arc<Inner>,
    ended: bool,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.inner.core).ticking = false;
        }
    }
}

/// Starts the task; `ticking` is set by the caller, under the lock.
pub(super) fn spawn(inner: &Arc<Inner>) {
    tokio::spawn(run(Ticking {
        inner: Arc::clone(inner),
        ended: false,
    }));
}

async fn run(mut ticking: Ticking) {
    let inner = Arc::clone(&ticking.inner);
    loop {
        let wake = {
            let mut core = lock(&inner.core);
            let wake = core.advance(inner.clock.now());
            if core.callers.is_empty() {
                core.ticking = false;
                ticking.ended = true;
                return;
            }
            wake
        };
        match wake {
            Some(at) => tokio::select! {
                () = inner.clock.sleep_until(at) => {}
                () = inner.tick.notified() => {}
            },
            None => inner.tick.notified().await,
        }
    }
}
