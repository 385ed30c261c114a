//! A command's end of the socket. Blocking: a command has nothing else to do meanwhile.
use super::place::ShortPath;
use super::{Answer, LONGEST_ANSWER, Pong, Request};
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a mount may take to say who it is; it need not ask anybody.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// How long a mount may be silent while it does long work; it tells of it every few seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a process that has nothing left to do may take to go, in milliseconds: its last tasks are
/// given a second.
const LAST_MOMENT: u16 = 1_500;

/// How long a process may take to notice that its mount is gone, and how often it is asked meanwhile.
const NOTICE: Duration = Duration::from_secs(3);
const NOTICE_STEP: Duration = Duration::from_millis(50);

/// A connection to a running mount.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    pid: i32,
    /// The process itself, where this kernel and container show it.
    process: Option<OwnedFd>,
}

/// Why a mount could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The connection failed.
    #[error("the running mount does not answer: {0}")]
    Connection(#[from] io::Error),
    /// It answered something else than was asked for.
    #[error("the running mount's answer makes no sense; it may be of another version")]
    Malformed,
    /// It answered that it cannot.
    #[error("the running mount says: {0}")]
    Refused(String),
    /// Nothing is mounted, and this process cannot.
    #[error("{0}")]
    NotPossible(String),
}

impl Client {
    /// Connects to whoever listens at `place`, if it is one of these users.
    pub fn connect_to(place: &Path, users: &[u32]) -> Option<Self> {
        let short = ShortPath::of(place).ok()?;
        let stream = UnixStream::connect(short.path()).ok()?;
        let peer = getsockopt(&stream, PeerCredentials).ok()?;
        users.contains(&peer.uid()).then(|| Self {
            stream: BufReader::new(stream),
            pid: peer.pid(),
            process: Pid::from_raw(peer.pid())
                .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
        })
    }

    /// The process at the other end, as this process sees it; 0 when it does not.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks who serves the mount.
    pub fn ping(&mut self) -> Result<Pong, AskError> {
        match self.ask(&Request::Ping, PING_LIMIT)? {
            Answer::Pong(pong) => Ok(pong),
            _ => Err(AskError::Malformed),
        }
    }

    /// Asks and waits at most `limit` for the answer. An [`Answer::Error`] comes as
    /// [`AskError::Refused`].
    pub fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, AskError> {
        self.send(request)?;
        self.answer(limit)
    }

    fn answer(&mut self, limit: Duration) -> Result<Answer, AskError> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(limit))?;
        let mut line = Vec::new();
        (&mut self.stream)
            .take(LONGEST_ANSWER as u64)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Error { message }) => Err(AskError::Refused(message)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(AskError::Malformed),
        }
    }

    /// Asks for long work and waits for as long as the mount says that it goes on. `told` hears what
    /// comes before the answer. Dropping the client ends the work.
    pub fn ask_long(
        &mut self,
        request: &Request,
        mut told: impl FnMut(Answer),
    ) -> Result<Answer, AskError> {
        let answer = self.ask_while(request, |interim| {
            told(interim);
            true
        })?;
        answer.ok_or(AskError::Malformed)
    }

    /// The same for as long as `told` wants to hear more; `None` when it did not. The client is of no
    /// use then.
    pub fn ask_while(
        &mut self,
        request: &Request,
        mut told: impl FnMut(Answer) -> bool,
    ) -> Result<Option<Answer>, AskError> {
        let mut answer = self.ask(request, SILENCE)?;
        while answer.is_interim() {
            if !told(answer) {
                return Ok(None);
            }
            answer = self.answer(SILENCE)?;
        }
        Ok(Some(answer))
    }

    /// Asks a process whose mount is gone to leave what the account does not have to the next mount, and to
    /// end. It may need a moment to notice that its mount is gone.
    pub fn give_way(&mut self) -> Result<(), AskError> {
        let start = Instant::now();
        loop {
            match self.ask(&Request::GiveWay, PING_LIMIT) {
                Ok(Answer::GivesWay) => return Ok(()),
                Ok(_) => return Err(AskError::Malformed),
                // It has ended already.
                Err(AskError::Connection(error)) if is_end(&error) => return Ok(()),
                Err(AskError::Refused(_)) if start.elapsed() < NOTICE => {
                    std::thread::sleep(NOTICE_STEP);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks to be told when the mount's process has ended; the rest is [`End::wait`].
    pub fn watch_end(mut self) -> Result<End, AskError> {
        match self.send(&Request::Wait) {
            // It closed its socket a moment ago, and is about to go.
            Err(AskError::Connection(error)) if is_end(&error) && self.process.is_some() => {}
            sent => sent?,
        }
        Ok(End {
            stream: self.stream,
            process: self.process,
        })
    }

    fn send(&mut self, request: &Request) -> Result<(), AskError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(PING_LIMIT))?;
        stream.write_all(&line)?;
        Ok(())
    }
}

/// A connection that ends with the mount's process.
#[derive(Debug)]
pub struct End {
    stream: BufReader<UnixStream>,
    process: Option<OwnedFd>,
}

impl End {
    /// Waits at most `limit`; whether the process has ended, and given free what only one may have.
    pub fn wait(mut self, limit: Duration) -> Result<bool, AskError> {
        let has_ended = self.closes(limit)?;
        if let Some(process) = self.process.filter(|_| has_ended) {
            let mut polled = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            // It said that it is done: whether this takes long or fails, nothing is lost.
            let _ = nix::poll::poll(&mut polled, LAST_MOMENT);
        }
        Ok(has_ended)
    }

    fn closes(&mut self, limit: Duration) -> Result<bool, AskError> {
        let start = Instant::now();
        let mut said = Vec::new();
        loop {
            let Some(left) = limit.checked_sub(start.elapsed()).filter(|l| !l.is_zero()) else {
                return Ok(false);
            };
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.fill_buf() {
                Ok([]) if said.is_empty() => return Ok(true),
                Ok([]) => return Err(refusal(&said)),
                Ok(bytes) => {
                    // An answer means that we were not taken among those who wait.
                    said.extend_from_slice(bytes);
                    let length = bytes.len();
                    self.stream.consume(length);
                    if said.ends_with(b"\n") || said.len() > LONGEST_ANSWER {
                        return Err(refusal(&said));
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // A process that was killed resets its connections.
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

/// Whether a connection failed because the process at its other end has ended.
pub fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn refusal(said: &[u8]) -> AskError {
    match serde_json::from_slice(said) {
        Ok(Answer::Error { message }) => AskError::Refused(message),
        _ => AskError::Malformed,
    }
}
