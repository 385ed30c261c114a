//! systemd's watchdog (`WatchdogSec=`): it is told that all is well only as long as that is so.
//!
//! A thread of its own asks what a person would ask, the mountpoint for its free space, which an event
//! loop has to answer and no cache of the kernel can; and it has a task run on the threads for the
//! network. While both answer it tells systemd, three times in the span; when one does not, it is
//! silent, and systemd kills and restarts the service. What was written is on disk by then.
//!
//! Once the mount is to end its mountpoint is asked no more: it may be somebody else's, and the look
//! alone would have an automount mount it again.
use super::background;
use nix::errno::Errno;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, Thread};
use std::time::Duration;
use tokio::runtime::Handle;

/// Beats in the span systemd allows: one may be late, and a second one too.
const BEATS: u32 = 3;

/// The watchdog; it ends when this goes.
#[derive(Debug)]
pub(super) struct Watchdog {
    state: Arc<State>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the mountpoint is asked no more.
    is_gone: AtomicBool,
    is_over: AtomicBool,
}

impl Watchdog {
    /// Starts one if systemd wants it, for the mount at `mountpoint`.
    pub(super) fn start(mountpoint: &Path, runtime: &Handle) -> Option<Self> {
        let span = sd_notify::watchdog_enabled()?;
        let mountpoint = mountpoint.to_owned();
        Self::with(
            span,
            runtime,
            move || answers(&mountpoint),
            background::notify_alive,
        )
    }

    /// Calls `beat` while `probe` says that the mount answers, and `runtime` runs tasks.
    fn with(
        span: Duration,
        runtime: &Handle,
        probe: impl Fn() -> bool + Send + 'static,
        beat: impl Fn() + Send + 'static,
    ) -> Option<Self> {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let runtime = runtime.clone();
        let started = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                while !seen.is_over.load(Ordering::Acquire) {
                    let is_gone = || seen.is_gone.load(Ordering::Acquire);
                    // What fails while the end begins is no failure.
                    if (is_gone() || probe() || is_gone()) && runs(&runtime, span) {
                        beat();
                    }
                    thread::park_timeout(span / BEATS);
                }
            });
        match started {
            Ok(thread) => Some(Self {
                state,
                thread: thread.thread().clone(),
            }),
            Err(error) => {
                log::error!("no thread for systemd's watchdog: {error}");
                None
            }
        }
    }

    /// The mount is about to go: from now on only the threads for the network have to answer.
    pub(super) fn mount_goes(&self) {
        self.state.is_gone.store(true, Ordering::Release);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Whether an event loop answers. Errors are answers, too, but for those of a session that is dead.
fn answers(mountpoint: &Path) -> bool {
    match nix::sys::statvfs::statvfs(mountpoint) {
        Err(Errno::ENOTCONN | Errno::ECONNABORTED | Errno::EIO) => false,
        Ok(_) | Err(_) => true,
    }
}

/// Whether the runtime runs a task within `span`.
fn runs(runtime: &Handle, span: Duration) -> bool {
    let (done, heard) = mpsc::channel();
    runtime.spawn(async move {
        // Nobody listens any more when it took too long.
        let _ = done.send(());
    });
    heard.recv_timeout(span).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;
    use tokio::runtime::{Builder, Runtime};

    const SPAN: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(20);

    fn runtime() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    }

    #[derive(Clone, Default)]
    struct Beats(Arc<AtomicUsize>);

    impl Beats {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }

        fn beat(&self) -> impl Fn() + Send + 'static {
            let beats = self.clone();
            move || {
                beats.0.fetch_add(1, Ordering::SeqCst);
            }
        }

        fn wait_for_more(&self) {
            let (before, start) = (self.count(), Instant::now());
            while self.count() < before + 2 {
                assert!(start.elapsed() < LONG, "no beat");
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn must_be_silent(&self) {
            // One that was on its way may still come.
            thread::sleep(SPAN);
            let before = self.count();
            thread::sleep(4 * SPAN);
            assert_eq!(self.count(), before);
        }
    }

    #[test]
    fn it_beats_only_while_the_mount_answers() {
        let runtime = runtime();
        let beats = Beats::default();
        let hung = Arc::new(Mutex::new(()));
        let probe = {
            let hung = Arc::clone(&hung);
            move || {
                drop(hung.lock().unwrap());
                true
            }
        };
        let dog = Watchdog::with(SPAN, runtime.handle(), probe, beats.beat()).unwrap();
        beats.wait_for_more();
        let hold = hung.lock().unwrap();
        beats.must_be_silent();
        drop(hold);
        beats.wait_for_more();
        drop(dog);
        beats.must_be_silent();
    }

    #[test]
    fn a_dead_session_is_silence_until_the_mount_is_to_go() {
        let runtime = runtime();
        let beats = Beats::default();
        let dog = Watchdog::with(SPAN, runtime.handle(), || false, beats.beat()).unwrap();
        beats.must_be_silent();
        assert_eq!(beats.count(), 0);
        dog.mount_goes();
        beats.wait_for_more();
    }

    #[test]
    fn it_is_silent_while_no_task_runs() {
        let runtime = runtime();
        let beats = Beats::default();
        let (go, held) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        runtime.spawn(async move {
            // On purpose: the only thread is blocked.
            begun.send(()).unwrap();
            let _ = held.recv();
        });
        has_begun.recv().unwrap();
        let _dog = Watchdog::with(SPAN, runtime.handle(), || true, beats.beat()).unwrap();
        beats.must_be_silent();
        assert_eq!(beats.count(), 0);
        drop(go);
        beats.wait_for_more();
    }

    #[test]
    fn a_folder_answers_and_so_does_what_is_not_there() {
        assert!(answers(Path::new("/")));
        assert!(answers(Path::new("/no/such/folder")));
    }
}
