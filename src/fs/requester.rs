//! Which process a request comes from, and whether it still wants the answer.
//!
//! The kernel names the thread that asks. Calls are shared out in turn among requesters, so a program
//! with 500 threads must count as one, or it would get 500 turns. Never waits: what is not known is
//! looked up in `/proc`, which takes some microseconds, and remembered for a while.
use crate::api::Requester;
use crate::util::clock::{Clock, Moment};
use crate::util::sync::{read, write};
use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

/// How long a thread's process is remembered: the number of a thread that ended is not soon another's,
/// and a mistake costs nothing but a turn.
const MEMORY: Duration = Duration::from_secs(60);

/// Threads remembered; when there are more, all are forgotten.
const THREADS: usize = 4096;

/// How often it is looked whether a waiting thread was killed: quick for a person, and next to
/// nothing for five hundred threads.
const LOOK: Duration = Duration::from_millis(500);

/// `SIGKILL` in the masks of `/proc`: any deadly signal is turned into it for each thread.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

/// The processes of the threads that asked.
#[derive(Debug, Default)]
pub(super) struct Requesters {
    known: RwLock<HashMap<u32, (Requester, Moment)>>,
}

impl Requesters {
    /// The process of `thread`; the thread itself when there is no telling.
    pub(super) fn of(&self, thread: u32, now: Moment) -> Requester {
        let known = read(&self.known).get(&thread).copied();
        if let Some((requester, since)) = known
            && now.since(since) < MEMORY
        {
            return requester;
        }
        let requester = Requester(process_of(thread).unwrap_or(thread));
        let mut known = write(&self.known);
        if known.len() >= THREADS {
            known.clear();
        }
        known.insert(thread, (requester, now));
        requester
    }
}

/// Ends when `thread` is to die. The kernel lets nobody go whose request is being worked on, not even
/// from `kill -9`, and what it says of interrupts fuser does not pass on; so `/proc` is asked. A
/// signal that a program handles ends no wait: few programs are ready to hear of it.
pub(super) async fn killed(thread: u32, clock: Clock) {
    loop {
        clock.sleep(LOOK).await;
        if is_killed(thread) {
            return;
        }
    }
}

/// Whether a deadly signal waits for `thread`. One that is gone is not: what it started and did not
/// wait for, the kernel's reading ahead, may be of use to others.
fn is_killed(thread: u32) -> bool {
    let Some(status) = status_of(thread) else {
        return false;
    };
    ["SigPnd:", "ShdPnd:"].iter().any(|name| {
        let pending = field(&status, name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
        pending.is_some_and(|mask| mask & KILL != 0)
    })
}

/// The thread group of a thread.
fn process_of(thread: u32) -> Option<u32> {
    field(&status_of(thread)?, "Tgid:")?.parse().ok()
}

fn status_of(thread: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{thread}/status")).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn all_threads_of_a_process_are_one_requester() {
        let requesters = Requesters::default();
        let own = Requester(std::process::id());
        assert_eq!(requesters.of(own.0, at(0)), own);
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stay, go) = std::sync::mpsc::channel::<()>();
        let alive = std::thread::spawn(move || {
            sender.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = go.recv();
        });
        let living = u32::try_from(receiver.recv().unwrap()).unwrap();
        assert_eq!(requesters.of(living, at(0)), own);
        drop(stay);
        alive.join().unwrap();
        assert_eq!(requesters.of(living, at(1)), own, "remembered");
        let nobody = u32::MAX;
        assert_eq!(requesters.of(nobody, at(0)), Requester(nobody));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let requesters = Requesters::default();
        // Numbers no thread has.
        for thread in u32::MAX - 10_000..u32::MAX {
            requesters.of(thread, at(0));
        }
        assert!(read(&requesters.known).len() <= THREADS);
    }
}
