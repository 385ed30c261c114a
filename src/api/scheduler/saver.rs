//! When the record is written: at once when the gate moves or nothing was written for a while,
//! else every [`SAVE_EVERY`], always off the callers' threads; and once more at the end.
//!
//! The task lives only while there is something to save or a call under way.
use super::Inner;
use super::saved::SAVE_EVERY;
use crate::util::clock::Moment;
use crate::util::sync::lock;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// After a failed write, e.g. on a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How much the record is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    /// Calls were made or ended.
    Soon,
    /// What has changed must not be lost in a crash.
    Now,
}

/// What is to be saved, and since when.
#[derive(Debug)]
pub(super) struct Saving {
    /// Whether the saver's task lives.
    alive: bool,
    need: Need,
    /// The record on disk says that no call followed it.
    clean_on_disk: bool,
    /// The next write that is not urgent.
    not_before: Moment,
    /// The last write failed; said once.
    failing: bool,
}

impl Saving {
    /// Nothing to save yet; `clean` tells what the record on disk says.
    pub(super) fn new(now: Moment, clean: bool) -> Self {
        Self {
            alive: false,
            need: Need::Nothing,
            clean_on_disk: clean,
            not_before: now,
            failing: false,
        }
    }

    /// When to write next.
    fn due(&self, now: Moment) -> Option<Moment> {
        match self.need {
            Need::Nothing => None,
            _ if self.failing => Some(self.not_before),
            Need::Soon if !self.clean_on_disk => Some(self.not_before),
            Need::Soon | Need::Now => Some(now),
        }
    }
}

impl Inner {
    /// The record is out of date; `urgent` when the next process must know.
    pub(super) fn changed(self: &Arc<Self>, urgent: bool) {
        if self.file.is_none() {
            return;
        }
        let mut core = lock(&self.core);
        let need = if urgent { Need::Now } else { Need::Soon };
        core.saving.need = core.saving.need.max(need);
        if core.saving.alive {
            self.save.notify_one();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            core.saving.alive = true;
            runtime.spawn(run(Alive {
                inner: Arc::clone(self),
                ended: false,
            }));
        } // else: outside the runtime only the end is left, which saves
    }

    /// Writes the record on the blocking pool and waits for it.
    pub(super) async fn save_now(inner: &Arc<Self>, clean: bool) -> io::Result<()> {
        let inner = Arc::clone(inner);
        tokio::task::spawn_blocking(move || inner.save(clean, true))
            .await
            .map_err(io::Error::other)?
    }

    /// Writes the record. Blocks for the disk; writes never overtake each other.
    fn save(&self, clean: bool, durable: bool) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let file = lock(file);
        let at = self.instants();
        let (saved, need) = {
            let mut core = lock(&self.core);
            let user_info = core.user_info.clone();
            let need = std::mem::replace(&mut core.saving.need, Need::Nothing);
            (core.state.save(at, user_info, clean), need)
        };
        let durable = durable || need == Need::Now;
        let written = file.write(&saved, durable);
        let mut core = lock(&self.core);
        let saving = &mut core.saving;
        match &written {
            Ok(()) => {
                saving.clean_on_disk = saved.clean;
                saving.not_before = at.now.after(SAVE_EVERY);
                saving.failing = false;
            }
            Err(error) => {
                saving.need = saving.need.max(need).max(Need::Soon);
                saving.not_before = at.now.after(RETRY_AFTER);
                if !std::mem::replace(&mut saving.failing, true) {
                    log::warn!(
                        "cannot keep the record of calls ({error}); \
                         after a crash the service's limits may be hit; check the state folder"
                    );
                }
            }
        }
        written
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Failure is logged in `save`; nobody is left to tell.
        let _ = self.save(true, true);
    }
}

/// Marks the saver as gone when its task ends with its runtime.
struct Alive {
    inner: Arc<Inner>,
    ended: bool,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.ended {
            lock(&self.inner.core).saving.alive = false;
        }
    }
}

async fn run(mut alive: Alive) {
    let inner = Arc::clone(&alive.inner);
    loop {
        let now = inner.clock.now();
        let due = {
            let mut core = lock(&inner.core);
            let due = core.saving.due(now);
            if due.is_none() && core.state.running() == 0 {
                core.saving.alive = false;
                alive.ended = true;
                return;
            }
            due
        };
        match due {
            Some(at) if at <= now => {
                let saving = Arc::clone(&inner);
                let ended = tokio::task::spawn_blocking(move || saving.save(false, false)).await;
                if ended.is_err() {
                    return; // the runtime ends; a failed write is tried again by itself
                }
            }
            Some(at) => tokio::select! {
                () = inner.clock.sleep_until(at) => {}
                () = inner.save.notified() => {}
            },
            None => inner.save.notified().await,
        }
    }
}
