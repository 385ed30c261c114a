//! A command that is run with the changed folders as its arguments.
//!
//! Promises: no shell; nothing of the mount's environment but what [`KEPT`] names; a group of processes of its
//! own, which is ended with the command, at the limit, or with the mount; what it says is in the log, a bounded
//! part of it.
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The variables a command finds, besides those that begin with `LC_`: what every program may expect, and no
/// place where a key or a password is kept.
const KEPT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ"];

/// How long a command that has used its time up may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes of its output that are kept for the log, per run: some screens full.
const MOST_OUTPUT: usize = 16 << 10;

/// A command and its first arguments.
#[derive(Debug, Clone)]
pub struct Program {
    words: Vec<String>,
}

impl Program {
    /// A program, by its absolute path, and what stands between it and the folders.
    pub fn new(program: String, arguments: Vec<String>) -> Self {
        let mut words = vec![program];
        words.extend(arguments);
        Self { words }
    }

    /// Its path, for people.
    pub(super) fn name(&self) -> &str {
        &self.words[0]
    }

    /// Why it cannot be run at all, if that is known beforehand.
    pub fn trouble(&self) -> Option<String> {
        let path = PathBuf::from(self.name());
        match nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK) {
            Err(errno) => Some(format!("cannot run {}: {}", path.display(), errno.desc())),
            Ok(()) if path.is_dir() => Some(format!("cannot run {}: a folder", path.display())),
            Ok(()) => None,
        }
    }

    /// Runs it for at most `limit`; an error says what became of it.
    pub(super) async fn run(
        &self,
        folders: &BTreeSet<PathBuf>,
        limit: Duration,
    ) -> Result<(), String> {
        let (group, output) = self.start(folders).map_err(|err| err.to_string())?;
        let listening = tokio::spawn(log_output(output));
        let ended = tokio::time::timeout(limit, group.ended()).await;
        let outcome = match ended {
            Ok(Ok(())) => group.take_status().map_err(|err| err.to_string()),
            Ok(Err(err)) => Err(format!("cannot wait for it: {err}")),
            Err(_) => {
                group.signal(Signal::SIGTERM);
                let _ = tokio::time::timeout(GRACE, group.ended()).await;
                Err(format!("it was ended after {} s", limit.as_secs_f64().ceil()))
            }
        };
        // Whatever it left behind holds its output open; with it gone, the rest of that comes at once.
        drop(group);
        let _ = tokio::time::timeout(GRACE, listening).await;
        match outcome? {
            status if status.success() => Ok(()),
            status => Err(format!("it ended with {status}")),
        }
    }

    fn start(&self, folders: &BTreeSet<PathBuf>) -> io::Result<(Group, pipe::Receiver)> {
        let (output, theirs) = io::pipe()?;
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .args(folders)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_kept(name)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            .process_group(0);
        let child = command.spawn()?;
        // It holds our copies of the other end.
        drop(command);
        let group = Group::new(child)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        Ok((group, output))
    }
}

pub(super) fn is_kept(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"LC_") || KEPT.iter().any(|kept| kept.as_bytes() == name)
}

/// Puts what a command says into the log, line by line, up to [`MOST_OUTPUT`]; the rest is read all the same, or
/// the command would wait for a reader.
async fn log_output(mut output: pipe::Receiver) {
    let mut left = MOST_OUTPUT;
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut piece).await {
        let heard = count.min(left);
        left -= heard;
        for byte in &piece[..heard] {
            if *byte == b'\n' {
                log_line(&line);
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    log_line(&line);
}

fn log_line(line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if !line.trim().is_empty() {
        log::info!("on-change: {line}");
    }
}

/// A command and all it started, ended when dropped.
struct Group {
    child: std::sync::Mutex<Child>,
    leader: Pid,
    process: AsyncFd<OwnedFd>,
}

impl Group {
    fn new(mut child: Child) -> io::Result<Self> {
        let leader = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        let process = rustix::process::Pid::from_raw(leader.as_raw())
            .ok_or(io::Error::from(io::ErrorKind::InvalidInput))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .and_then(|fd| Ok(AsyncFd::register_with_interest(fd, Interest::READABLE)?));
        match process {
            Ok(process) => Ok(Self {
                child: child.into(),
                leader,
                process,
            }),
            Err(err) => {
                // Nobody could wait for it.
                let _ = killpg(leader, Signal::SIGKILL);
                let _ = child.wait();
                Err(err)
            }
        }
    }

    /// Waits for the command's end; its number is not given away before it is asked how it ended.
    async fn ended(&self) -> io::Result<()> {
        self.process.readable().await.map(|_| ())
    }

    fn signal(&self, signal: Signal) {
        // What has ended need not be told.
        let _ = killpg(self.leader, signal);
    }

    /// How the command ended. What it started and left running ends now.
    fn take_status(&self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        crate::util::sync::lock(&self.child).wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut child = crate::util::sync::lock(&self.child);
        // Once waited for, its number may be another's.
        if let Ok(None) = child.try_wait() {
            let _ = killpg(self.leader, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}
