//! The end of a mount that was written to: the account is told what it does not know yet, or that is left
//! to the next mount. Nothing is lost either way: it is on disk.
//!
//! Promises: telling goes on without a mount for as long as it may (`--drain`), until a second signal or
//! until another mount of the account asks for its place; systemd is asked for more time only while it
//! goes ahead.
use super::background::Ready;
use super::signals::{Signal, Signals};
use crate::outbox::Outbox;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::human::counted;
use bytesize::ByteSize;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// As long as it takes.
const ALWAYS: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often systemd is told how far it is.
const TELL: Duration = Duration::from_secs(5);

/// How often the log is.
const LOG: Duration = Duration::from_secs(60);

/// What systemd is asked for each time: a few times what lies between two.
const EXTENSION: Duration = Duration::from_secs(30);

/// How long nothing may go ahead before systemd is not asked for more time: a report of the service may
/// take minutes, but a machine without a network should be shut down.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long what is done may take to be written down.
const LAST_WRITES: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The mount is there.
    Mounted,
    /// It is gone; the account is told the rest.
    Draining,
    /// What is left is the next mount's.
    Leaving,
}

/// How long those who wait for the uploads may take to hear that all is done: they look a few times a
/// second.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How near its end a mount is; commands ask, and may hurry it.
#[derive(Debug)]
pub(super) struct Ending {
    phase: watch::Sender<Phase>,
    /// Commands that wait for the uploads.
    waiting: watch::Sender<usize>,
}

/// A command that waits for the uploads, until this goes.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Ending);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
    }
}

impl Ending {
    /// The mount is there.
    pub(super) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Mounted),
            waiting: watch::Sender::new(0),
        }
    }

    /// Somebody waits for the uploads and shall hear that they are done.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiting.send_modify(|count| *count += 1);
        Waiting(self)
    }

    /// All is done: waits until everybody who waited for it has heard so.
    async fn heard(&self) {
        let mut waiting = self.waiting.subscribe();
        // Who does not listen learns it by the end of the process.
        let _ = tokio::time::timeout(LAST_WORDS, waiting.wait_for(|count| *count == 0)).await;
    }

    /// Whether the mount is gone.
    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Mounted
    }

    /// Somebody wants the account: what is left is left, if the mount is gone. Whether it is.
    pub(super) fn give_way(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let was = *phase;
            if was == Phase::Draining {
                *phase = Phase::Leaving;
            }
            was != *phase
        });
        self.is_draining()
    }

    async fn left(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives as long as this.
        let _ = phase.wait_for(|phase| *phase == Phase::Leaving).await;
    }
}

/// Tells the account the rest, for at most `limit`, and stops the outbox.
pub(super) async fn drain(
    outbox: &Outbox,
    ending: &Ending,
    limit: Option<Duration>,
    clock: Clock,
    signals: &mut Signals,
    ready: &Ready,
) {
    ending.phase.send_replace(Phase::Draining);
    let deadline = Deadline::within(clock, limit.unwrap_or(ALWAYS));
    if limit != Some(Duration::ZERO) {
        outbox.hurry();
        let mut progress = Progress::new(outbox);
        let mut tick = tokio::time::interval(TELL);
        let drained = outbox.drained(deadline);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                biased;
                _ = &mut drained => {
                    ending.heard().await;
                    break;
                }
                () = ending.left() => break,
                signal = signals.next() => match signal {
                    Signal::StopNow => break,
                    Signal::Stop => log::info!("{}; another signal leaves it", progress.words()),
                    Signal::Report => log::info!("{}", progress.words()),
                    Signal::Refresh => {}
                },
                _ = tick.tick() => progress.tell(ready),
            }
        }
    }
    finish(outbox).await;
}

/// Stops the outbox, with what is done on disk; says what is left.
pub(super) async fn finish(outbox: &Outbox) {
    match tokio::time::timeout(LAST_WRITES, outbox.written()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::error!("{error}"),
        Err(_) => log::error!("the disk does not take in time what was changed last"),
    }
    let stopping = outbox.clone();
    // It fails only if it panics, which says so itself.
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    let left = outbox.snapshot();
    if left.waiting > 0 {
        log::warn!(
            "{} of {} are left to the next mount of the account",
            ByteSize(left.bytes).display().iec(),
            changes(left.waiting)
        );
    }
}

/// How far it is.
struct Progress<'a> {
    outbox: &'a Outbox,
    seen: (usize, u64),
    moved: Instant,
    logged: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new(outbox: &'a Outbox) -> Self {
        Self {
            outbox,
            seen: (0, 0),
            moved: Instant::now(),
            logged: None,
        }
    }

    fn words(&self) -> String {
        let now = self.outbox.snapshot();
        format!(
            "uploading before the end: {} of {} left",
            ByteSize(now.bytes.saturating_sub(now.sent)).display().iec(),
            changes(now.waiting)
        )
    }

    fn tell(&mut self, ready: &Ready) {
        let now = self.outbox.snapshot();
        let seen = (now.waiting, now.bytes.saturating_sub(now.sent));
        if seen != self.seen {
            self.seen = seen;
            self.moved = Instant::now();
        }
        if self.moved.elapsed() < PATIENCE {
            ready.extend(EXTENSION);
        }
        if now.waiting == 0 {
            return;
        }
        let words = self.words();
        ready.status(&words);
        if self.logged.is_none_or(|at| at.elapsed() >= LOG) {
            self.logged = Some(Instant::now());
            log::info!("{words}");
        }
    }
}

fn changes(count: usize) -> String {
    counted(count as u64, "file or folder", "files and folders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_waited_for() {
        let ending = Ending::new();
        ending.heard().await;
        let first = ending.waiting();
        let second = ending.waiting();
        drop(first);
        let heard = ending.heard();
        tokio::pin!(heard);
        let moment = Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, &mut heard).await.is_err());
        drop(second);
        heard.await;
        assert_eq!(*ending.waiting.borrow(), 0);
    }

    #[tokio::test]
    async fn only_a_mount_that_is_gone_gives_way() {
        let ending = Ending::new();
        assert!(!ending.give_way() && !ending.is_draining());
        ending.phase.send_replace(Phase::Draining);
        assert!(ending.is_draining());
        assert!(ending.give_way() && ending.give_way(), "twice is once");
        ending.left().await;
    }
}
