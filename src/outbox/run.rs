//! When a batch is told, and what follows from its end.
//!
//! Promises: what a batch begins is written down before its first call; a bounded number of batches is
//! under way; of one file or folder at most one. Ends when the outbox is stopped or dropped.
use super::intent::{Done, Entry, Place};
use super::plan::Batch;
use super::state::State;
use super::{Shared, Telling, change, look, upload};
use crate::api::{ApiError, ErrorKind};
use crate::tree::Ino;
use crate::util::clock::Moment;
use crate::util::sync::lock;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{Id, JoinError, JoinSet};

/// Uploads under way at once: enough to hide the wait for reports behind the next transfer; more would
/// only share the line (14 have mostly worked for others, API reference 3).
const UPLOADS: usize = 3;

/// Other batches under way at once: one that waits for a folder's turn to be listed must not hold up
/// the others.
const CHANGES: usize = 4;

/// How long what may have been done is left alone before it is looked for: listings show an upload late
/// (API reference 10).
pub(super) const APPEARS: Duration = Duration::from_secs(30);

/// Planning takes one part in so many of the time, and one more.
const PLANNING_SHARE: u32 = 9;

/// A pause before trying again when nothing is known that would end the wait.
const IDLE: Duration = Duration::from_secs(3600);

/// What a batch has come to.
#[derive(Debug, Default)]
pub(super) struct Landed {
    /// What the account has done.
    pub(super) done: Vec<Done>,
    /// What is tried again later, not before a span.
    pub(super) later: Vec<(Ino, Duration)>,
    /// What is told alone from now on.
    pub(super) alone: Vec<Ino>,
    /// What a person has to decide.
    pub(super) failed: Vec<(Ino, String)>,
    /// What was to be sent and could not be read.
    pub(super) unread: Vec<(Ino, String)>,
    /// Those of them for which the account has no room.
    pub(super) full: Vec<Ino>,
    /// What was refused because something is not in the account any more.
    pub(super) missed: Vec<Ino>,
    /// What is taken back: the account's state is the wanted one.
    pub(super) given_up: Vec<Ino>,
}

impl Landed {
    /// The service did not do it, and says so or was not asked.
    pub(super) fn refused(&mut self, inos: &[Ino], error: &ApiError) {
        self.done.extend(inos.iter().map(|ino| Done::Nothing(*ino)));
        if is_final(error) {
            if concerns_all(error) || inos.len() == 1 {
                match error.kind {
                    ErrorKind::OverQuota => self.full.extend(inos),
                    ErrorKind::NotFound => self.missed.extend(inos),
                    _ => {}
                }
                let reason = error.to_string();
                let told = match error.kind {
                    ErrorKind::SourceFailed => &mut self.unread,
                    _ => &mut self.failed,
                };
                told.extend(inos.iter().map(|ino| (*ino, reason.clone())));
            } else {
                // One of them is the reason; alone it will show.
                self.alone.extend(inos);
                self.again(inos, Duration::ZERO);
            }
        } else {
            self.again(inos, error.retry_after.unwrap_or_default());
        }
    }

    /// What became of them could not be asked.
    pub(super) fn not_heard(&mut self, inos: &[Ino], error: &ApiError) {
        if concerns_all(error) {
            let reason = error.to_string();
            let failed = inos.iter().map(|ino| (*ino, reason.clone()));
            self.failed.extend(failed);
        } else {
            self.again(inos, error.retry_after.unwrap_or_default());
        }
    }

    /// This and what another part of it came to.
    pub(super) fn join(&mut self, other: Self) {
        self.done.extend(other.done);
        self.later.extend(other.later);
        self.alone.extend(other.alone);
        self.failed.extend(other.failed);
        self.unread.extend(other.unread);
        self.full.extend(other.full);
        self.missed.extend(other.missed);
        self.given_up.extend(other.given_up);
    }

    /// Why a content could not be stored that nobody wants any more says nothing of the one that is wanted by now.
    fn forgive(&mut self, is_outdated: impl Fn(Ino) -> bool) {
        let failed = self.failed.extract_if(.., |(ino, _)| is_outdated(*ino));
        let unread = self.unread.extract_if(.., |(ino, _)| is_outdated(*ino));
        let outdated = failed.chain(unread);
        self.later
            .extend(outdated.map(|(ino, _)| (ino, Duration::ZERO)));
        self.full.retain(|ino| !is_outdated(*ino));
    }

    /// They are tried, or looked for, again.
    pub(super) fn again(&mut self, inos: &[Ino], at_least: Duration) {
        self.later.extend(inos.iter().map(|ino| (*ino, at_least)));
    }
}

/// Whether every call would be refused for that.
fn concerns_all(error: &ApiError) -> bool {
    matches!(
        error.kind,
        ErrorKind::KeyRefused | ErrorKind::NotCustomer | ErrorKind::HostRefused
    )
}

/// Whether trying again is of no use before a person has done something.
fn is_final(error: &ApiError) -> bool {
    match error.kind {
        ErrorKind::KeyRefused
        | ErrorKind::NotCustomer
        | ErrorKind::NotAllowed
        | ErrorKind::NotFound
        | ErrorKind::Password
        | ErrorKind::OverQuota
        | ErrorKind::UploadMalformed
        | ErrorKind::Refused
        | ErrorKind::NothingRenamed
        | ErrorKind::NothingChanged
        | ErrorKind::HostRefused
        | ErrorKind::SourceFailed
        | ErrorKind::BadRequest => true,
        ErrorKind::Flood
        | ErrorKind::IpBanned
        | ErrorKind::OwnerLocked
        | ErrorKind::TooManyLocations
        | ErrorKind::NetworkRefused
        | ErrorKind::TooManyConnections
        | ErrorKind::Maintenance
        | ErrorKind::Server
        | ErrorKind::LinkExpired
        | ErrorKind::NodeTrouble
        | ErrorKind::ReportPending
        | ErrorKind::ReportEmpty
        | ErrorKind::Malformed
        | ErrorKind::WrongBytes
        | ErrorKind::Network
        | ErrorKind::Tls
        | ErrorKind::Timeout => false,
    }
}

/// Tells the account what is planned until the outbox stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    wait_for_unheard(&shared);
    let mut under_way = UnderWay::default();
    loop {
        if *stopping.borrow() {
            return;
        }
        let began = Instant::now();
        // One moment for planning and for the next time: what becomes ready in between is not slept through.
        let now = shared.clock.now();
        start_batches(&shared, &mut under_way, now);
        // While ten thousand files are written, each stirs; planning looks at all of them, and others wait for
        // the lock meanwhile.
        tokio::time::sleep(began.elapsed() * PLANNING_SHARE).await;
        let next = lock(&shared.state).next_moment(now);
        let wake = next.unwrap_or(now.after(IDLE));
        tokio::select! {
            _ = stopping.changed() => {}
            () = shared.stirred.notified() => {}
            () = shared.clock.sleep_until(wake) => {}
            Some(ended) = under_way.tasks.join_next_with_id() => under_way.land(&shared, ended),
        }
    }
}

/// What an earlier process began may just have been done: it is not looked for at once.
fn wait_for_unheard(shared: &Shared) {
    let mut state = lock(&shared.state);
    let at = shared.clock.now().after(APPEARS);
    let entries = state.intents.entries().iter();
    let unheard =
        entries.filter(|(_, entry)| entry.attempt.as_ref().is_some_and(|it| it.ticket.is_none()));
    let unheard: Vec<Ino> = unheard.map(|(ino, _)| *ino).collect();
    for ino in unheard {
        state.look_after(ino, at);
    }
}

#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<Landed>,
    batches: HashMap<Id, Batch>,
    uploads: usize,
    changes: usize,
}

impl UnderWay {
    fn slot(&mut self, batch: &Batch) -> (&mut usize, usize) {
        match batch {
            Batch::Upload { .. } => (&mut self.uploads, UPLOADS),
            _ => (&mut self.changes, CHANGES),
        }
    }

    fn land(&mut self, shared: &Shared, ended: Result<(Id, Landed), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(batch) = self.batches.remove(&id) else {
            return;
        };
        *self.slot(&batch).0 -= 1;
        let mut landed = match ended {
            Ok((_, landed)) => landed,
            Err(error) => {
                log::error!("telling {batch:?} ended with a bug, please report it: {error}");
                let mut landed = Landed::default();
                landed.again(&batch.inos(), APPEARS);
                landed
            }
        };
        let now = shared.clock.now();
        let refused = {
            let mut state = lock(&shared.state);
            landed.forgive(|ino| state.entry(ino).is_some_and(Entry::is_superseded));
            let mut claimed = Vec::new();
            for done in landed.done {
                if is_anothers(&done, shared) {
                    claimed.push(done.ino());
                    continue;
                }
                for done in state.intents.judged(done) {
                    take_in(&mut state, shared, done, now);
                }
            }
            state.end(&batch.inos());
            for ino in claimed {
                log::info!("what inode {ino} was stored as is another's already; looking again");
                state.later(ino, APPEARS, now);
            }
            for (ino, wait) in landed.later {
                state.later(ino, wait, now);
            }
            for ino in landed.alone {
                state.single_out(ino);
            }
            for (ino, reason) in landed.failed {
                state.fail(ino, &reason);
            }
            for (ino, reason) in landed.unread {
                state.unread(ino, &reason, &*shared.around, now);
            }
            state.full.extend(landed.full);
            let wanted = landed.missed.iter();
            let wanted = wanted.filter_map(|ino| state.entry(*ino)?.wanted.as_ref());
            for folder in wanted.map(|place| place.folder).collect::<HashSet<_>>() {
                shared.around.missed(folder);
            }
            for ino in landed.given_up {
                Telling::new(&mut state, &*shared.around, now).give_up(ino);
            }
            refused(&state, &batch.inos())
        };
        for (place, reason) in refused {
            let path = place.map(|place| shared.around.shown_at(&place));
            let path = path.unwrap_or_else(|| "a file".into());
            log::warn!(
                "{} was not taken by the account ({reason}) and is left alone until `fichierfs retry` or \
                 `fichierfs discard`",
                path.display()
            );
        }
        shared.journal.changed();
        shared.stir();
    }
}

/// The account has done something: written down, and shown.
fn take_in(state: &mut State, shared: &Shared, done: Done, now: Moment) {
    let ino = done.ino();
    let told = done.clone();
    let before = state.entry(ino).cloned();
    state.done(done, now);
    let left = state.entry(ino);
    let record = shared.around.told(&told, before.as_ref(), left);
    if record.is_some() || state.entry(ino).is_none() {
        state.remember(ino, record);
    }
}

/// Whether what an entry is said to have is another's. Two files with the same bytes that went into one folder under
/// one name are told apart by nothing, so that a look may have taken the one for the other; both having it, the
/// one's removal would be the other's.
pub(super) fn is_anothers(done: &Done, shared: &Shared) -> bool {
    let bearer = done.gives().and_then(|thing| shared.around.bearer(&thing));
    bearer.is_some_and(|bearer| bearer != done.ino())
}

/// Those of them that are left to a person: where they are or were, and why.
fn refused(state: &State, inos: &[Ino]) -> Vec<(Option<Place>, Box<str>)> {
    let entries = inos.iter().filter_map(|ino| state.entry(*ino));
    entries
        .filter_map(|entry| {
            let remote = || entry.remote.as_ref().map(|remote| remote.place.clone());
            let place = entry.wanted.clone().or_else(remote);
            Some((place, entry.failed.as_ref()?.reason.clone()))
        })
        .collect()
}

fn start_batches(shared: &Arc<Shared>, under_way: &mut UnderWay, now: Moment) {
    let mut state = lock(&shared.state);
    for batch in state.plan(now, &*shared.around) {
        let (used, most) = under_way.slot(&batch);
        if *used >= most {
            continue;
        }
        *used += 1;
        state.start(&batch, shared.clock.unix(), &*shared.around);
        let shared = Arc::clone(shared);
        let runtime = shared.runtime.clone();
        let told = batch.clone();
        let task = async move { Box::pin(tell(&shared, &told)).await };
        let handle = under_way.tasks.spawn_on(task, &runtime);
        under_way.batches.insert(handle.id(), batch);
    }
}

/// Tells one batch.
async fn tell(shared: &Shared, batch: &Batch) -> Landed {
    // What is about to be done must be known after a crash.
    if let Err(error) = shared.journal.written().await {
        let mut landed = Landed::default();
        let inos = batch.inos();
        if !matches!(batch, Batch::Resolve { .. }) {
            landed
                .done
                .extend(inos.iter().map(|ino| Done::Nothing(*ino)));
        }
        log::warn!(
            "nothing can be written down ({}), so nothing is changed in the account",
            error.said
        );
        landed.again(&inos, Duration::ZERO);
        return landed;
    }
    match batch {
        Batch::Upload { folder, files } => upload::send(shared, *folder, files).await,
        Batch::Resolve { folder, inos } => look::resolve(shared, *folder, inos).await,
        batch => change::tell(shared, batch).await,
    }
}
