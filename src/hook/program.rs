//! A command that is run with the changed folders as its arguments.
//!
//! Promises: no shell; nothing of the mount's environment but what [`KEPT`] names; a group of processes of its
//! own, which is ended with the command, at the limit, or with the mount; what it says is in the log, a bounded
//! part of it.
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
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
        let (mut group, output) = self.start(folders).map_err(|err| err.to_string())?;
        let listening = tokio::spawn(log_output(output));
        let ended = tokio::time::timeout(limit, group.ended()).await;
        let outcome = match ended {
            Ok(Ok(())) => group.take_status().map_err(|err| err.to_string()),
            Ok(Err(err)) => Err(format!("cannot wait for it: {err}")),
            Err(_) => {
                group.signal(Signal::TERM);
                let _ = tokio::time::timeout(GRACE, group.ended()).await;
                Err(format!(
                    "it was ended after {} s",
                    limit.as_secs_f64().ceil()
                ))
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

/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(50);

/// A command and all it started, ended when dropped.
struct Group {
    /// Until it is known how it ended.
    child: Option<Child>,
    leader: Pid,
}

impl Group {
    fn new(child: Child) -> io::Result<Self> {
        let leader = i32::try_from(child.id()).map_err(io::Error::other)?;
        let leader = Pid::from_raw(leader).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            child: Some(child),
            leader,
        })
    }

    /// Waits for the command's end, and leaves its number in use: its group can be signalled until it is asked
    /// how it ended.
    async fn ended(&self) -> io::Result<()> {
        let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.leader), only_look)?.is_none() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        // What has ended need not be told.
        let _ = kill_process_group(self.leader, signal);
    }

    /// How the command ended, which it has. What it started and left running ends now.
    fn take_status(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        let mut child = self.child.take().ok_or(io::ErrorKind::NotFound)?;
        child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once waited for, its number may be another's.
        let Some(mut child) = self.child.take() else {
            return;
        };
        self.signal(Signal::KILL);
        // It is gone within moments, unless it waits for a disk; nobody else shall. Without a thread, it is
        // taken away when the mount ends.
        let waiting = std::thread::Builder::new().name("on-change".into());
        let _ = waiting.spawn(move || child.wait());
    }
}
