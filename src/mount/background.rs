//! A mount in the background: started by a parent that returns when the mount answers, or tells
//! why it does not.
//!
//! The parent starts this same program again with standard input being one end of a pair of sockets,
//! through which it says what must not stand in a process's environment for days: the key. The child
//! leaves the parent's session, and answers with one byte when it is ready. Until then its standard
//! error is the parent's, so the one line that says what failed is seen; from then on it is the log
//! file. A socket that closes without a byte means the child has died.
//!
//! Under systemd ([`Ready::foreground`]) the same moments are told by sd_notify(3).
use crate::logging;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sd_notify::NotifyState;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a mount may take until it answers: 30 s for itself and as long again for the service's
/// answers it has to wait for. Below systemd's own 90 s.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a child that was told to end may take to clean up.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The byte that means "ready".
const READY: u8 = b'R';

/// Bytes of a secret at most; a key has 32. What a socket takes without a reader is far more.
const LONGEST_SECRET: u64 = 4096;

/// How long a parent may take to say its secret: it does so as soon as it has started the child.
const SECRET_LIMIT: Duration = Duration::from_secs(5);

/// What became of a child in the background.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, and its mount answers.
    Ready,
    /// It ended with this code and has said why on standard error.
    Ended(u8),
    /// It ended or was ended in a way it could not explain itself; the text says how.
    Broken(String),
}

/// Starts `command` in the background, tells it `secret` ([`Ready::background`] hears it) and waits at
/// most `limit` until it is ready. What it says meanwhile on standard error goes to `tell`, line by line.
pub fn launch(
    mut command: Command,
    secret: &[u8],
    limit: Duration,
    tell: impl FnMut(&str) + Send + 'static,
) -> io::Result<Outcome> {
    if secret.len() as u64 > LONGEST_SECRET {
        return Err(io::Error::other("the key is far too long to be one"));
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(secret)?;
    ours.shutdown(Shutdown::Write)?;
    command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // The command holds the child's end; only the child may.
    drop(command);
    let said = child.stderr.take().map(|stderr| relay(stderr, tell));
    let answer = wait_ready(ours, limit);
    let outcome = match answer {
        Answer::Ready => return Ok(Outcome::Ready),
        Answer::Closed => {
            if let Some(status) = end_of(&mut child, END_LIMIT)? {
                explain(status)
            } else {
                stop(&mut child)?;
                Outcome::Broken("the mount's process closed its end without a word".into())
            }
        }
        Answer::Silent => {
            stop(&mut child)?;
            Outcome::Broken(format!(
                "the mount did not answer within {} s and was ended",
                limit.as_secs()
            ))
        }
    };
    if let Some(said) = said {
        // A grandchild may hold standard error open: what was said so far is enough then.
        let _ = said.recv_timeout(END_LIMIT);
    }
    Ok(outcome)
}

enum Answer {
    Ready,
    Closed,
    Silent,
}

/// Waits for the byte, on a thread, so that bytes that trickle in do not make the limit longer.
fn wait_ready(mut child: UnixStream, limit: Duration) -> Answer {
    let (told, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut byte = [0];
        let got = child.read_exact(&mut byte).is_ok() && byte[0] == READY;
        // Nobody waits any more when the limit has passed.
        let _ = told.send(got);
    });
    match answer.recv_timeout(limit) {
        Ok(true) => Answer::Ready,
        Ok(false) => Answer::Closed,
        Err(_) => Answer::Silent,
    }
}

/// Passes on what a child says; the receiver hears when it has said all.
fn relay(stderr: ChildStderr, mut tell: impl FnMut(&str) + Send + 'static) -> mpsc::Receiver<()> {
    let (done, all_said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            tell(&String::from_utf8_lossy(&line));
        }
        let _ = done.send(());
    });
    all_said
}

/// Waits at most `limit` for a child to end.
fn end_of(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    const STEP: Duration = Duration::from_millis(20);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}

/// Ends a child: asks it first, so that it can detach what it mounted.
fn stop(child: &mut Child) -> io::Result<()> {
    if let Ok(pid) = i32::try_from(child.id()) {
        // A child that has ended meanwhile is what we want.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if end_of(child, END_LIMIT)?.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

fn explain(status: ExitStatus) -> Outcome {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => Outcome::Ended(code),
        _ => Outcome::Broken(format!("the mount's process ended unexpectedly ({status})")),
    }
}

/// How a mount says that it is ready, and later that it stops.
#[derive(Debug)]
pub struct Ready(Kind);

#[derive(Debug)]
enum Kind {
    /// systemd listens, or nobody.
    Foreground,
    /// The parent waits at the other end.
    Background {
        parent: Option<UnixStream>,
        log: Option<File>,
    },
}

impl Ready {
    /// For a mount in the foreground.
    pub fn foreground() -> Self {
        Self(Kind::Foreground)
    }

    /// For the child of [`launch`]: takes the parent's socket over from standard input, hears the
    /// secret, leaves the terminal's session. Called first of all.
    pub fn background() -> io::Result<(Self, Vec<u8>)> {
        let parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        parent.set_read_timeout(Some(SECRET_LIMIT))?;
        let mut secret = Vec::new();
        (&parent).take(LONGEST_SECRET).read_to_end(&mut secret)?;
        let null = File::open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        // It fails only for a process that leads a group already; then there is nothing to leave.
        let _ = nix::unistd::setsid();
        let ready = Self(Kind::Background {
            parent: Some(parent),
            log: None,
        });
        Ok((ready, secret))
    }

    /// Sends log lines to a file at `path`, when in the background.
    pub fn log_to(&mut self, path: &Path) -> io::Result<()> {
        if let Kind::Background { log, .. } = &mut self.0 {
            *log = Some(logging::to_file(path)?);
        }
        Ok(())
    }

    /// The mount answers: whoever waits for it is told. Once is enough; more often does no harm.
    pub fn now(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Foreground => notify(&[NotifyState::Ready]),
            Kind::Background { parent, log } => {
                let Some(mut parent) = parent.take() else {
                    return Ok(());
                };
                logging::stop_relay();
                // From here on nobody reads what we say, and no folder may be kept busy.
                match log.take() {
                    Some(log) => redirect(&log)?,
                    None => redirect(&File::options().write(true).open("/dev/null")?)?,
                }
                std::env::set_current_dir("/")?;
                // The parent may have been ended meanwhile; the mount lives on its own.
                let _ = parent.write_all(&[READY]);
            }
        }
        Ok(())
    }

    /// Tells systemd in a few words what goes on.
    pub fn status(&self, text: &str) {
        if matches!(self.0, Kind::Foreground) {
            notify(&[NotifyState::Status(text)]);
        }
    }

    /// Asks systemd for more time, from now on, to end in.
    pub fn extend(&self, span: Duration) {
        if matches!(self.0, Kind::Foreground) {
            let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
            notify(&[NotifyState::ExtendTimeoutUsec(micros)]);
        }
    }

    /// The mount is about to end.
    pub fn stopping(&self) {
        if matches!(self.0, Kind::Foreground) {
            notify(&[NotifyState::Stopping]);
        }
    }
}

fn redirect(log: &File) -> io::Result<()> {
    nix::unistd::dup2_stdout(log)?;
    nix::unistd::dup2_stderr(log)?;
    Ok(())
}

/// Tells systemd's watchdog that all is well.
pub(super) fn notify_alive() {
    notify(&[NotifyState::Watchdog]);
}

/// Tells systemd, if it listens. That it cannot be told is no reason not to serve.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(states) {
        log::warn!("cannot notify systemd: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const LONG: Duration = Duration::from_secs(20);

    /// Launches a shell script whose standard input is the socket.
    fn script(text: &str, limit: Duration) -> (Outcome, String) {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let outcome = launch(command, b"secret\n", limit, move |line| {
            let mut heard = heard.lock().unwrap();
            heard.push_str(line);
            heard.push('\n');
        })
        .unwrap();
        let said = said.lock().unwrap().clone();
        (outcome, said)
    }

    #[test]
    fn a_child_that_is_ready_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("end");
        let text = format!("printf R >&0; sleep 0.2; touch {}", file.display());
        let (outcome, _) = script(&text, LONG);
        assert_eq!(outcome, Outcome::Ready);
        let start = Instant::now();
        while !file.exists() {
            assert!(start.elapsed() < LONG, "the child did not go on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_child_that_fails_is_heard_and_its_code_kept() {
        let (outcome, said) = script("echo 'fichierfs: no such thing' >&2; exit 3", LONG);
        assert_eq!(outcome, Outcome::Ended(3));
        assert_eq!(said, "fichierfs: no such thing\n");
    }

    #[test]
    fn a_child_hears_the_secret_and_its_end() {
        let (outcome, said) = script("cat <&0 >&2; exit 4", LONG);
        assert_eq!((outcome, said.as_str()), (Outcome::Ended(4), "secret\n"));
    }

    #[test]
    fn a_killed_child_is_told() {
        let (outcome, _) = script("kill -9 $$", LONG);
        let Outcome::Broken(why) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(why.contains("signal"), "{why}");
    }

    #[test]
    fn a_child_that_hangs_is_asked_and_ended() {
        let limit = Duration::from_millis(300);
        let text = "trap 'echo cleaned >&2; exit 0' TERM; while :; do sleep 0.05; done";
        let (outcome, said) = script(text, limit);
        assert!(matches!(outcome, Outcome::Broken(_)), "{outcome:?}");
        assert_eq!(said, "cleaned\n");
    }

    #[test]
    fn another_byte_is_not_ready() {
        let (outcome, _) = script("printf x >&0; exit 1", LONG);
        assert_eq!(outcome, Outcome::Ended(1));
    }

    /// This test binary, running one of the stand-ins below as a process of its own.
    fn stand_in(name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = format!("mount::background::tests::{name}");
        command.args(["--ignored", "--exact", "--nocapture", &test]);
        command
    }

    /// The variable that tells a stand-in where its log shall be.
    const LOG_VARIABLE: &str = "STAND_IN_LOG";

    /// Not a test: the child in the background of the test below.
    #[test]
    #[ignore = "runs only as a part of another test"]
    fn background_child() {
        let Some(path) = std::env::var_os(LOG_VARIABLE) else {
            return;
        };
        let (mut ready, secret) = Ready::background().unwrap();
        let verbosity = logging::Verbosity::default();
        logging::init(verbosity, logging::Role::Background);
        ready.log_to(Path::new(&path)).unwrap();
        assert_eq!(secret, b"for the child only");
        log::info!("told the file only");
        log::warn!("told both");
        eprintln!("said to the terminal");
        ready.now().unwrap();
        ready.now().unwrap();
        log::warn!("told the file when nobody looks");
        eprintln!("said to the file");
        let session = nix::unistd::getsid(None).unwrap();
        log::info!("leads its session: {}", session == nix::unistd::getpid());
        let folder = std::env::current_dir().unwrap();
        log::info!("is in {}", folder.display());
        let mut nothing = [0];
        let read = io::stdin().read(&mut nothing).unwrap();
        log::info!("reads {read} bytes, the end");
    }

    #[test]
    fn a_child_moves_to_its_log_when_it_is_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut command = stand_in("background_child");
        command
            .env(LOG_VARIABLE, &path)
            .env_remove(logging::VARIABLE);
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let outcome = launch(command, b"for the child only", LONG, move |line| {
            heard.lock().unwrap().push_str(line);
            heard.lock().unwrap().push('\n');
        });
        assert_eq!(outcome.unwrap(), Outcome::Ready);
        let start = Instant::now();
        let log = loop {
            let log = std::fs::read_to_string(&path).unwrap();
            if log.contains("the end") {
                break log;
            }
            assert!(start.elapsed() < LONG, "the child did not go on: {log}");
            std::thread::sleep(Duration::from_millis(10));
        };
        for line in [
            "told the file only",
            "told both",
            "told the file when nobody looks",
            "said to the file",
            "leads its session: true",
            "is in /\n",
            "reads 0 bytes",
        ] {
            assert!(log.contains(line), "{line} is not in: {log}");
        }
        // All that was said before the byte came was on its way by then.
        let start = Instant::now();
        while !said.lock().unwrap().contains("to the terminal") && start.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(10));
        }
        let expected = "fichierfs: warning: told both\nsaid to the terminal\n";
        assert_eq!(*said.lock().unwrap(), expected);
    }

    /// Not a test: what systemd would start in the test below.
    #[test]
    #[ignore = "runs only as a part of another test"]
    fn foreground_child() {
        let mut ready = Ready::foreground();
        ready.status("looking around");
        ready.now().unwrap();
        ready.stopping();
        ready.extend(Duration::from_secs(30));
    }

    #[test]
    fn systemd_is_told_in_the_foreground() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut command = stand_in("foreground_child");
        let output = command.env("NOTIFY_SOCKET", &path).output().unwrap();
        assert!(output.status.success());
        for expected in [
            "STATUS=looking around\n",
            "READY=1\n",
            "STOPPING=1\n",
            "EXTEND_TIMEOUT_USEC=30000000\n",
        ] {
            let mut message = [0; 256];
            let length = socket.recv(&mut message).unwrap();
            assert_eq!(std::str::from_utf8(&message[..length]).unwrap(), expected);
        }
    }
}
