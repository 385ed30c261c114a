//! Completes the tree in the background, so that whoever walks over it later finds it known.
//!
//! Promises: folders are listed in the order in which they were found, each once, at the lowest
//! priority and a few at a time; whoever opens one that waits here overtakes the others. A folder
//! that fails is tried again, after pauses that grow; one that is gone is forgotten. When the service
//! has trouble all of it pauses. It rests when nothing is left; without a store also when the memory for
//! listings is nearly full: it must not push out for good what somebody uses. Never knows what is in a folder.
use super::fetch::{LISTING_GAP, Want};
use super::folders::Flight;
use super::{Tree, TreeError};
use crate::api::FolderId;
use crate::util::clock::Moment;
use crate::util::deadline::Deadline;
use crate::util::retry::Backoff;
use crate::util::sync::lock;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Folders under way at a time: while one answer travels the next call waits for its turn.
const CRAWLERS: usize = 2;

/// How long to wait for one folder before the next one: a large one takes minutes by itself.
const PATIENCE: Duration = Duration::from_secs(150);

/// Pauses of one folder that fails: it may be forbidden for good.
const FOLDER_PAUSES: Backoff =
    Backoff::between(Duration::from_secs(60), Duration::from_secs(60 * 60));

/// Pauses of the whole crawl after failures: the service may have trouble.
const PAUSES: Backoff = Backoff::between(Duration::from_secs(5), Duration::from_secs(5 * 60));

/// Pause after a folder that is gone: many 404s in a minute count as abuse (API reference 2.2), and
/// by then it is known whether the folder above it is gone too.
const GONE_PAUSE: Duration = Duration::from_secs(5);

/// How long to rest when the memory is full.
const FULL_PAUSE: Duration = Duration::from_secs(60);

/// What the crawl is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CrawlStage {
    /// It is switched off.
    Off,
    /// Folders are being listed.
    Running,
    /// After a failure, it goes on by itself.
    Paused,
    /// The memory for listings is full; the rest is listed when somebody asks for it.
    Full,
    /// Everything is known.
    Done,
}

/// How far the crawl is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct CrawlSnapshot {
    /// What it is doing.
    pub stage: CrawlStage,
    /// Folders found and not listed yet, failed ones included.
    pub waiting: usize,
    /// Those of them that failed and are tried again later.
    pub failed: usize,
    /// Seconds until those that wait are listed, if nothing else is asked of the service.
    pub seconds_left: u64,
}

/// The folders to list.
#[derive(Debug)]
pub(super) struct Crawl {
    is_on: bool,
    folders: Mutex<Waiting>,
    /// A folder was found.
    found: Notify,
}

#[derive(Debug)]
struct Waiting {
    stage: CrawlStage,
    /// In the order in which they were found.
    found: VecDeque<FolderId>,
    /// Those that failed, by when to try again.
    failed: BTreeMap<(Moment, FolderId), Backoff>,
    /// All of these, and those under way.
    all: HashSet<FolderId>,
}

/// A folder to list now.
#[derive(Debug)]
struct Turn {
    folder: FolderId,
    /// The pauses it has had.
    pauses: Backoff,
}

/// How a turn ended.
enum End {
    /// It is listed, or being listed by others.
    Listed,
    /// There is no such folder any more.
    Gone,
    /// It was listed a moment ago, or takes long.
    NotYet,
    /// It failed.
    Failed(TreeError),
}

impl Crawl {
    pub(super) fn new(is_on: bool) -> Self {
        let stage = if is_on {
            CrawlStage::Running
        } else {
            CrawlStage::Off
        };
        Self {
            is_on,
            folders: Mutex::new(Waiting {
                stage,
                found: VecDeque::new(),
                failed: BTreeMap::new(),
                all: HashSet::new(),
            }),
            found: Notify::new(),
        }
    }

    /// Folders were found that are not listed yet.
    pub(super) fn discover(&self, folders: impl IntoIterator<Item = FolderId>) {
        if !self.is_on {
            return;
        }
        let mut waiting = lock(&self.folders);
        let mut any = false;
        for folder in folders {
            if waiting.all.insert(folder) {
                waiting.found.push_back(folder);
                any = true;
            }
        }
        drop(waiting);
        if any {
            self.found.notify_one();
        }
    }

    fn stage(&self, stage: CrawlStage) {
        lock(&self.folders).stage = stage;
    }

    /// The next folder to list, or when to look again for one that failed.
    fn next(&self, now: Moment) -> Result<Turn, Option<Moment>> {
        let mut waiting = lock(&self.folders);
        if let Some(folder) = waiting.found.pop_front() {
            let pauses = FOLDER_PAUSES;
            return Ok(Turn { folder, pauses });
        }
        let first = waiting.failed.first_entry().ok_or(None)?;
        if first.key().0 > now {
            return Err(Some(first.key().0));
        }
        let ((_, folder), pauses) = first.remove_entry();
        Ok(Turn { folder, pauses })
    }

    fn done(&self, folder: FolderId) {
        lock(&self.folders).all.remove(&folder);
    }

    fn later(&self, folder: FolderId, at: Moment, pauses: Backoff) {
        lock(&self.folders).failed.insert((at, folder), pauses);
    }
}

impl Tree {
    /// How far the crawl is.
    pub(super) fn crawl_snapshot(&self) -> CrawlSnapshot {
        let (stage, waiting, failed) = {
            let folders = lock(&self.inner.crawl.folders);
            (folders.stage, folders.all.len(), folders.failed.len())
        };
        let rate = self.inner.client.scheduler().snapshot().background_rate;
        let waiting_seconds = u32::try_from(waiting).map_or(f64::MAX, f64::from) / rate;
        CrawlSnapshot {
            stage,
            waiting,
            failed,
            seconds_left: Duration::try_from_secs_f64(waiting_seconds)
                .unwrap_or(Duration::MAX)
                .as_secs(),
        }
    }

    /// Lists what is not known, and what is found meanwhile, for ever.
    pub(super) async fn crawl(&self) {
        let (crawl, clock) = (&self.inner.crawl, self.inner.clock);
        let unlisted: Vec<FolderId> = lock(&self.inner.folders).unlisted().collect();
        crawl.discover(unlisted);
        let mut under_way = JoinSet::new();
        let mut pauses = PAUSES;
        let mut resume = clock.now();
        loop {
            let now = clock.now();
            let mut wake = Some(resume);
            let mut stage = CrawlStage::Paused;
            if resume <= now {
                stage = CrawlStage::Running;
                wake = None;
                while under_way.len() < CRAWLERS {
                    if self.inner.store.is_none() && self.inner.cache.is_full() {
                        (stage, wake) = (CrawlStage::Full, Some(now.after(FULL_PAUSE)));
                        break;
                    }
                    match crawl.next(now) {
                        Ok(turn) => {
                            let tree = self.clone();
                            under_way.spawn(async move {
                                let end = tree.crawl_one(turn.folder).await;
                                (turn, end)
                            });
                        }
                        Err(at) => {
                            wake = at;
                            if under_way.is_empty() {
                                stage = at.map_or(CrawlStage::Done, |_| CrawlStage::Paused);
                            }
                            break;
                        }
                    }
                }
            }
            crawl.stage(stage);
            let awake = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                Some(ended) = under_way.join_next() => ended,
                () = crawl.found.notified() => continue,
                () = awake => continue,
            };
            // A task that panicked has said so; its folder stays unlisted until somebody asks.
            let Ok((turn, end)) = ended else { continue };
            if let Some(pause) = self.turn_ended(turn, end, &mut pauses) {
                resume = clock.now().after(pause);
            }
        }
    }

    /// Notes how a turn ended; how long to pause for it.
    fn turn_ended(&self, mut turn: Turn, end: End, pauses: &mut Backoff) -> Option<Duration> {
        let (crawl, now) = (&self.inner.crawl, self.inner.clock.now());
        match end {
            End::Listed => {
                *pauses = PAUSES;
                crawl.done(turn.folder);
                None
            }
            End::Gone => {
                crawl.done(turn.folder);
                Some(GONE_PAUSE)
            }
            End::NotYet => {
                crawl.later(turn.folder, now.after(LISTING_GAP), turn.pauses);
                None
            }
            End::Failed(error) => {
                let pause = turn.pauses.next_wait();
                log::debug!("{error}; again in {pause:?}");
                crawl.later(turn.folder, now.after(pause), turn.pauses);
                Some(pauses.next_wait())
            }
        }
    }

    /// Lists a folder that is not known.
    async fn crawl_one(&self, folder: FolderId) -> End {
        let flight = match self.crawl_flight(folder) {
            Ok(flight) => flight,
            Err(end) => return end,
        };
        let patience = Deadline::within(self.inner.clock, PATIENCE);
        match flight.landed(folder, patience).await {
            Ok(_) => End::Listed,
            Err(TreeError::NotFound(_)) => End::Gone,
            Err(TreeError::Timeout(_)) => End::NotYet,
            Err(error) => End::Failed(error),
        }
    }

    /// The listing of an unknown folder, joined or begun.
    fn crawl_flight(&self, folder: FolderId) -> Result<Flight, End> {
        let now = self.inner.clock.now();
        let mut folders = lock(&self.inner.folders);
        // Asking for what went with a folder above it would be one more 404.
        if !folders.is_below(folder, self.inner.settings.root.id) {
            return Err(End::Listed);
        }
        let state = folders.state(folder);
        if state.listed {
            return Err(End::Listed);
        }
        if let Some(flight) = state.alive() {
            return Ok(flight.clone());
        }
        let failed: Option<&(Moment, TreeError)> = state.failed.as_deref();
        if failed.is_some_and(|failed| now < failed.0) || state.asked_within(LISTING_GAP, now) {
            return Err(End::NotYet);
        }
        state.asked = Some(now);
        let flight = self.launch(folder, Want::Crawl, None);
        state.flight = Some(flight.clone());
        Ok(flight)
    }
}
