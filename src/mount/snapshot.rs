//! What exists on this machine only, kept in the account (`--keep-state-in-account`): a file that no mount shows, made
//! anew once a day if something has changed, and taken in by a machine that has nothing yet.
//!
//! Promises: it is uploaded as every file is, so the account has the one before until it has the next; what another
//! machine put there is taken in before it is replaced; nothing is kept of a tree that is known in part only.
use super::answers::Control;
use super::index::Over;
use super::state;
use crate::api::{Requester, Whirlpool, WhirlpoolHasher};
use crate::control::local_state::{self, StateWriter};
use crate::control::{Answer, Exported, Imported};
use crate::read::ReadTerms;
use crate::tree::{Caller, Node};
use crate::util::deadline::Deadline;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it is made at most.
const EVERY: Duration = Duration::from_secs(24 * 3600);

/// How long after the mount began it is looked whether one is due, and how often from then on.
const FIRST_LOOK: Duration = Duration::from_secs(5 * 60);
const LOOK: Duration = Duration::from_secs(3600);

/// How long the account may take to show it or to send a piece of it.
const LIMIT: Duration = Duration::from_secs(120);

/// The file in the account's state folder that says what was kept last: its hash, that of its records, and when.
const NOTE: &str = "kept-state";

/// What is made or taken in is written there for a moment.
const PASSING: &str = "kept-state.new";

/// Keeps it, for as long as the mount lives.
pub(super) struct Keeper {
    pub(super) control: Arc<Control>,
    /// Folder of the account's state.
    pub(super) dir: PathBuf,
}

/// What was kept last.
struct Note {
    /// Of the whole file, as the account has it.
    file: String,
    /// Of its records.
    content: String,
    /// Seconds since 1970.
    at: u64,
}

impl Note {
    fn read(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join(NOTE)).ok()?;
        let mut words = text.split_whitespace();
        Some(Self {
            file: words.next()?.to_owned(),
            content: words.next()?.to_owned(),
            at: words.next()?.parse().ok()?,
        })
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let text = format!("{} {} {}\n", self.file, self.content, self.at);
        // Not whole after a power cut: then one is made too many.
        fs::write(dir.join(NOTE), text)
    }
}

impl Keeper {
    /// Takes in what is kept in the account if nothing is known here, then keeps what is here once a day.
    pub(super) async fn run(self) {
        if self.control.tree.has_no_locals() && Note::read(&self.dir).is_none() {
            match self.restore(false).await {
                Ok(None) => {}
                Ok(Some(taken)) => log::info!(
                    "attributes and empty files were taken in from the account: {}",
                    words(&taken)
                ),
                Err(why) => log::warn!("what is kept in the account was not taken in: {why}"),
            }
        }
        let mut wait = FIRST_LOOK;
        loop {
            self.control.clock.sleep(wait).await;
            wait = LOOK;
            let now = self.control.clock.unix().as_secs();
            let is_due = Note::read(&self.dir)
                .is_none_or(|note| now.saturating_sub(note.at) >= EVERY.as_secs());
            if !is_due {
                continue;
            }
            // What the account does not have yet cannot be named.
            if self.control.volume.outbox().snapshot().waiting > 0 {
                wait = FIRST_LOOK;
                continue;
            }
            match self.save().await {
                Ok(Some(told)) => log::info!("{} things were kept in the account", told.records),
                Ok(None) => {}
                Err(why) => {
                    wait = FIRST_LOOK;
                    log::info!("nothing was kept in the account this time: {why}");
                }
            }
        }
    }

    /// Keeps what is here in the account, if it has changed.
    pub(super) async fn save(&self) -> Result<Option<Exported>, String> {
        let _busy = self.begin()?;
        self.save_now().await
    }

    async fn save_now(&self) -> Result<Option<Exported>, String> {
        let there = self.there().await?;
        let note = Note::read(&self.dir);
        if let Some(hash) = there.as_ref().and_then(|node| node.file()?.whirlpool)
            && note
                .as_ref()
                .is_none_or(|note| note.file != hash.to_string())
        {
            self.restore_now(false).await?;
        }
        let (over, dir) = (Over::of(&self.control), self.dir.clone());
        let made = tokio::task::spawn_blocking(move || make(&over, &dir)).await;
        let (told, file, content) = made.map_err(|_| "the mount is ending")??;
        if told.seen.unlisted > 0 {
            return Err(format!(
                "{} folders are not listed yet, and what was set of their files is not known",
                told.seen.unlisted
            ));
        }
        let is_kept = there.is_some() && note.is_some_and(|note| note.content == content);
        if is_kept || (told.records == 0 && there.is_none()) {
            return Ok(None);
        }
        let mut file = file;
        let whole = hash(&mut file).map_err(|error| error.to_string())?;
        let caller = self.caller();
        let written = self.control.volume.write_snapshot(&mut file, caller).await;
        written.map_err(|error| error.to_string())?;
        let note = Note {
            file: whole.to_string(),
            content,
            at: self.control.clock.unix().as_secs(),
        };
        note.write(&self.dir).map_err(|error| error.to_string())?;
        Ok(Some(told))
    }

    /// Takes in what is kept in the account; `None` when nothing is.
    pub(super) async fn restore(&self, force: bool) -> Result<Option<Imported>, String> {
        let _busy = self.begin()?;
        self.restore_now(force).await
    }

    async fn restore_now(&self, force: bool) -> Result<Option<Imported>, String> {
        let Some(node) = self.there().await? else {
            return Ok(None);
        };
        let mut copy = nameless(&self.dir).map_err(|error| error.to_string())?;
        let terms = ReadTerms {
            requester: Requester::SELF,
            deadline: self.caller().deadline,
        };
        let volume = &self.control.volume;
        let read = volume.read_snapshot(&node, &mut copy, terms).await;
        read.map_err(|error| error.to_string())?;
        let told = |error: &dyn std::fmt::Display| {
            format!("what is kept in the account makes no sense: {error}")
        };
        copy.rewind().map_err(|error| told(&error))?;
        let head = local_state::check(BufReader::new(&copy)).map_err(|error| told(&error))?;
        copy.rewind().map_err(|error| told(&error))?;
        let mut taken = Imported::default();
        for records in local_state::batches(BufReader::new(&copy)) {
            taken.add(state::import(&self.control, &head, force, records).await?);
        }
        Ok(Some(taken))
    }

    /// Only one may write to the file, or take it in.
    fn begin(&self) -> Result<Busy, String> {
        let keeping = Arc::clone(&self.control.keeping);
        if keeping.swap(true, Ordering::AcqRel) {
            return Err("it is being kept or taken in already; try again in a moment".to_owned());
        }
        Ok(Busy(keeping))
    }

    async fn there(&self) -> Result<Option<Arc<Node>>, String> {
        let found = self.control.volume.snapshot(self.caller()).await;
        found.map_err(|error| error.to_string())
    }

    fn caller(&self) -> Caller {
        Caller {
            requester: Requester::SELF,
            deadline: Deadline::within(self.control.clock, LIMIT),
        }
    }
}

/// Somebody is at it until this goes.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The answer to a wish of now.
pub(super) fn saved(outcome: Result<Option<Exported>, String>) -> Answer {
    match outcome {
        Ok(told) => Answer::StateEnd(told.unwrap_or_default()),
        Err(why) => Answer::error(why),
    }
}

/// The same.
pub(super) fn restored(outcome: Result<Option<Imported>, String>) -> Answer {
    match outcome {
        Ok(Some(taken)) => Answer::StateTaken(taken),
        Ok(None) => Answer::error("nothing is kept in the account"),
        Err(why) => Answer::error(why),
    }
}

fn words(taken: &Imported) -> String {
    format!(
        "{} applied, {} known already, {} for what is not listed yet, {} not applicable",
        taken.applied,
        taken.known,
        taken.ahead,
        taken.left.len()
    )
}

/// Writes all there is to a file that nobody else sees. With it, the hash of its records. Blocks for the disk.
fn make(over: &Over, dir: &Path) -> Result<(Exported, File, String), String> {
    let failed = |error: io::Error| error.to_string();
    let file = nameless(dir).map_err(failed)?;
    let out = BufWriter::new(file.try_clone().map_err(failed)?);
    let mut writer = StateWriter::new(out, &state::head(over)).map_err(failed)?;
    let mut outcome = Ok(());
    let told = state::each(over, &mut |record| {
        outcome = writer.record(&record);
        outcome.is_ok()
    })?;
    outcome.map_err(failed)?;
    let (_, content) = writer.end().map_err(failed)?;
    Ok((told, file, content))
}

fn hash(file: &mut File) -> io::Result<Whirlpool> {
    file.rewind()?;
    let mut hasher = WhirlpoolHasher::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        hasher.update(&piece[..length]);
    }
    file.rewind()?;
    Ok(hasher.finish())
}

/// A file that has lost its name, and goes with its last user. Only one at a time is made.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(PASSING);
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
