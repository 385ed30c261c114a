//! The program or address that is told which folders changed, so that a media server looks at just those.
//!
//! ```text
//! Hook ─▶ program   a command that is run           web   an address that is posted to
//! ```
//!
//! Promises: what changes within a few seconds is told at once, in one run; one run at a time; what changes
//! meanwhile goes into the next; what failed is told again, a few times, with growing pauses. A run has a
//! time limit, and ends with the mount. Never keeps the mount waiting, never prints a secret of an address.
//! Knows paths; nothing of inodes, the account or the kernel.
mod program;
#[cfg(test)]
mod tests;
mod web;

use crate::util::clock::Clock;
use crate::util::retry::Backoff;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use program::Program;
pub use web::{BadUrl, Web};

/// How long nothing may change before it is told: a folder that is moved changes two, a season is twenty files.
const SETTLE: Duration = Duration::from_secs(5);

/// When it is told at the latest although it goes on changing.
const LONGEST_SETTLE: Duration = Duration::from_secs(60);

/// How long one run may take: a media server answers at once and looks afterwards.
const LIMIT: Duration = Duration::from_secs(60);

/// Between a run that failed and the next attempt. A media server that is restarted is back by the third.
const PAUSES: Backoff = Backoff::between(Duration::from_secs(30), Duration::from_secs(10 * 60));

/// Runs that may fail in a row before what they were to tell is given up: more than half an hour.
const ATTEMPTS: u32 = 6;

/// Folders of one run at most: as arguments of a program a megabyte in the worst case, half of what the kernel
/// takes. Of more than that the mount itself is told.
const MOST: usize = 256;

/// What changed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Folders, as absolute paths.
    pub folders: BTreeSet<PathBuf>,
    /// More than can be named.
    pub everything: bool,
}

/// Where changes come from.
pub trait Source: Send + Sync {
    /// Waits until something has changed.
    fn came(&self) -> impl Future<Output = ()> + Send;
    /// What changed since this was asked last, as absolute paths.
    fn take(&self) -> impl Future<Output = Changed> + Send;
}

/// Who is told.
#[derive(Debug)]
pub enum Target {
    /// A program, with the folders as arguments.
    Program(Program),
    /// An address, with the folders in the body.
    Web(Web),
}

/// What a run concerns besides the folders.
#[derive(Debug, Clone)]
pub struct Place {
    /// The account's name.
    pub account: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
}

/// Tells changes, until it is dropped: then a run under way is ended.
#[derive(Debug)]
pub struct Hook {
    target: Target,
    place: Place,
    clock: Clock,
}

impl Hook {
    /// Tells `target` of changes at `place`.
    pub fn new(target: Target, place: Place, clock: Clock) -> Self {
        Self {
            target,
            place,
            clock,
        }
    }

    /// Tells what `source` says, for ever.
    pub async fn run(self, source: impl Source) {
        let clock = self.clock;
        let mut changed = Changed::default();
        let (mut pauses, mut attempts) = (PAUSES, 0);
        loop {
            if changed.is_empty() {
                source.came().await;
            }
            self.settle(&source).await;
            changed.add(source.take().await);
            changed.bound(&self.place.mountpoint);
            if changed.is_empty() {
                continue;
            }
            let told = self.tell(&changed).await;
            let Err(why) = told else {
                log::info!("{} was told of {}", self.target, changed.words());
                changed = Changed::default();
                (pauses, attempts) = (PAUSES, 0);
                continue;
            };
            attempts += 1;
            if attempts >= ATTEMPTS {
                log::error!(
                    "{} was not told of {}: {why}; given up after {ATTEMPTS} attempts",
                    self.target,
                    changed.words()
                );
                changed = Changed::default();
                (pauses, attempts) = (PAUSES, 0);
                continue;
            }
            let pause = pauses.next_wait();
            log::warn!(
                "{} was not told of {}: {why}; again in {} s",
                self.target,
                changed.words(),
                pause.as_secs()
            );
            clock.sleep(pause).await;
        }
    }

    /// Waits until nothing has come for a moment.
    async fn settle(&self, source: &impl Source) {
        let clock = self.clock;
        let begun = clock.now();
        while clock.now().since(begun) < LONGEST_SETTLE {
            if clock.timeout(SETTLE, source.came()).await.is_none() {
                return;
            }
        }
    }

    async fn tell(&self, changed: &Changed) -> Result<(), String> {
        let limit = self.clock.real(LIMIT);
        match &self.target {
            Target::Program(program) => program.run(&changed.folders, limit).await,
            Target::Web(web) => web.post(&self.place, changed, limit).await,
        }
    }
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.folders.is_empty() && !self.everything
    }

    fn add(&mut self, more: Self) {
        self.folders.extend(more.folders);
        self.everything |= more.everything;
    }

    /// What cannot be named becomes the mount itself.
    fn bound(&mut self, mountpoint: &Path) {
        self.everything |= self.folders.len() > MOST;
        if self.everything {
            self.folders = BTreeSet::from([mountpoint.to_owned()]);
        }
    }

    fn words(&self) -> String {
        match (self.everything, self.folders.len()) {
            (true, _) => "changes everywhere".into(),
            (false, 1) => "1 changed folder".into(),
            (false, count) => format!("{count} changed folders"),
        }
    }
}

impl std::fmt::Display for Target {
    /// For people: without what may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program(program) => write!(f, "the program {}", program.name()),
            Self::Web(web) => write!(f, "{}", web.name()),
        }
    }
}
