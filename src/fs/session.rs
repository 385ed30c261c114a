//! The event loops of a mounted file system, on a descriptor that somebody else mounted.
use super::Fs;
use super::notify::Notifiers;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use tokio::sync::oneshot;

/// Event loops at most. They never wait, so a few serve everything; more than four only add
/// requests that arrive out of order (measured).
const MOST_LOOPS: usize = 4;

/// Event loops at least: one may be copying a large answer while the other takes requests.
const FEWEST_LOOPS: usize = 2;

/// A running session. It ends when the mountpoint is unmounted, by whomever.
#[derive(Debug)]
pub struct Session {
    ended: oneshot::Receiver<io::Result<()>>,
    notifiers: Notifiers,
}

impl Session {
    /// Takes over `device`, a freshly mounted `/dev/fuse` descriptor: shakes hands with the kernel
    /// and starts the event loops. When it returns the mountpoint answers.
    pub fn start(fs: Fs, device: OwnedFd, allow_other: bool) -> io::Result<Self> {
        let mut config = fuser::Config::default();
        config.n_threads = Some(
            thread::available_parallelism()
                .map_or(FEWEST_LOOPS, usize::from)
                .clamp(FEWEST_LOOPS, MOST_LOOPS),
        );
        config.clone_fd = true;
        let acl = if allow_other {
            fuser::SessionACL::All
        } else {
            fuser::SessionACL::Owner
        };
        let changes = fs
            .tree
            .take_changes()
            .ok_or_else(|| io::Error::other("this tree is mounted already"))?;
        let runtime = fs.runtime.clone();
        let session = fuser::Session::from_fd(fs, device, acl, config)?;
        let notifiers = Notifiers::start(&session.notifier(), changes, &runtime)?;
        let (tell, ended) = oneshot::channel();
        thread::Builder::new()
            .name("session".to_owned())
            .spawn(move || {
                // Nobody listens any more when the process is on its way out.
                let _ = tell.send(session.run());
            })?;
        Ok(Self { ended, notifiers })
    }

    /// Waits for the end of the session: the mountpoint was unmounted.
    pub async fn ended(&mut self) -> io::Result<()> {
        let ended = (&mut self.ended).await;
        self.notifiers.stop();
        ended.unwrap_or_else(|_| Err(io::Error::other("the event loops ended in a panic")))
    }
}
