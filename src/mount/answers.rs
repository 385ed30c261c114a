//! What a running mount answers to commands.
//!
//! Promises: a status makes no call and waits for nobody; everything else ends within the socket's limit.
use super::account::AccountHealth;
use super::ending::Ending;
use super::errands::InTree;
use super::snapshot::{self, Keeper};
use super::{cache, duplicates, explain, index, outgoing, state};
use crate::api::scheduler::{GateCause, GateSnapshot, SchedulerSnapshot};
use crate::api::{Ask, Client, Priority, Requester};
use crate::control::status::{
    CallFigures, CrawlFigures, DiskFigures, DownloadFigures, GateFigures, LargeFigures,
    ReadFigures, TreeFigures, WaitingFigures,
};
use crate::control::{
    AccountAnswer, Answer, Answers, Changed, DownloadLimit, Pong, Refreshed, Request, Status,
    Teller,
};
use crate::errand::Errand;
use crate::read::{ReadSnapshot, Reader, Usage};
use crate::tree::{
    Caller, CrawlSnapshot, CrawlStage, EntryChange, Ino, LargeSnapshot, Renewed, Tree, TreeError,
    TreeSnapshot,
};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::write::volume::Volume;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long the account may take to answer: one silence after a flood (30 s) and the calls behind it.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(45);

/// How long looking at a folder again may take: the 30 s the service may want us to wait (API reference
/// 3) and a call, within the minute the socket gives an answer.
const REFRESH_LIMIT: Duration = Duration::from_secs(55);

/// Downloads that are listed at most; the fastest go first.
const MOST_DOWNLOADS: usize = 20;

/// The parts of a mount that commands ask about; cheap to clone.
#[derive(Clone)]
pub(super) struct Control {
    pub(super) client: Client,
    pub(super) tree: Tree,
    pub(super) reader: Reader,
    pub(super) volume: Volume,
    pub(super) clock: Clock,
    pub(super) health: Arc<AccountHealth>,
    pub(super) ending: Arc<Ending>,
    pub(super) errands: InTree,
    pub(super) read_only: bool,
    /// The folder of the account that is shown as the root.
    pub(super) root: String,
    /// Whether somebody keeps this machine's own in the account, or takes it in.
    pub(super) keeping: Arc<AtomicBool>,
    /// Folder of the account's state.
    pub(super) own_state_dir: PathBuf,
    pub(super) pong: Pong,
}

impl Answers for Control {
    async fn answer(&self, request: Request, teller: Teller) -> Answer {
        match request {
            Request::Ping => Answer::Pong(self.pong()),
            Request::Account => self.account().await,
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Refresh { inode, wait } => self.refresh(inode, wait).await,
            Request::Explain { inode } => explain::answer(self, inode),
            Request::Warm { inode, edges } => cache::warm(self, inode, edges, &teller).await,
            Request::CacheVerify { inode, whirlpool } => {
                cache::verify(self, inode, whirlpool, &teller).await
            }
            Request::CacheClear { inode } => cache::clear(self, inode),
            Request::Sync { inode } => outgoing::sync(self, inode, &teller).await,
            Request::Unsent { inode } => outgoing::unsent(self, inode),
            Request::Retry { inode } => outgoing::retry(self, inode),
            Request::Discard { inode } => outgoing::discard(self, inode).await,
            Request::Index { within } => index::index(self, within, teller).await,
            Request::Duplicates { within, keep } => {
                duplicates::find(self, within, keep, teller).await
            }
            Request::RemoveSpare { spare } => duplicates::remove(self, &spare).await,
            Request::StateExport => state::export(self, teller).await,
            Request::StateImport {
                head,
                force,
                records,
            } => match state::import(self, &head, force, records).await {
                Ok(taken) => Answer::StateTaken(taken),
                Err(why) => Answer::error(why),
            },
            Request::StateSave if self.read_only => {
                Answer::error("a read-only mount keeps nothing in the account")
            }
            Request::StateSave => snapshot::saved(self.keeper().save().await),
            Request::StateRestore { force } => {
                snapshot::restored(self.keeper().restore(force).await)
            }
            Request::GiveWay => {
                if self.ending.give_way() {
                    Answer::GivesWay
                } else {
                    Answer::error("the account is mounted")
                }
            }
            Request::Bwlimit { set } => self.bwlimit(set),
            Request::Errand { errand } => self.errand(errand).await,
            Request::Wait => Answer::error("answered by the socket itself"),
        }
    }
}

impl Control {
    /// Who keeps this machine's own in the account.
    pub(super) fn keeper(&self) -> Keeper {
        Keeper {
            control: Arc::new(self.clone()),
            dir: self.own_state_dir.clone(),
        }
    }

    async fn account(&self) -> Answer {
        let deadline = Deadline::within(self.clock, ACCOUNT_LIMIT);
        let ask = Ask::new(Priority::Wanted, deadline, Requester::SELF);
        match self.client.user_info(&ask).await {
            Ok(info) => Answer::Account(AccountAnswer {
                age_seconds: self.clock.unix().saturating_sub(info.at).as_secs(),
                info: info.value,
            }),
            Err(error) => Answer::error(error.to_string()),
        }
    }

    async fn errand(&self, errand: Errand) -> Answer {
        let errands = self.errands.clone();
        // In a task of its own: a change that was begun is seen to its end, also when nobody waits any more.
        let task = tokio::spawn(async move { errands.run(errand).await });
        match task.await {
            Ok(Ok(done)) => Answer::Done(done),
            Ok(Err(refusal)) => Answer::error(refusal.to_string()),
            Err(_) => Answer::error("the mount is ending"),
        }
    }

    /// Who this is. The number of a device is another mount's once this one is gone.
    fn pong(&self) -> Pong {
        let mut pong = self.pong.clone();
        if self.ending.is_draining() {
            pong.device.clear();
        }
        pong
    }

    fn status(&self) -> Status {
        let scheduler = self.client.scheduler();
        Status {
            mount: self.pong(),
            tree: tree_figures(&self.tree.snapshot()),
            calls: call_figures(scheduler.snapshot()),
            reading: self.reading(),
            writing: outgoing::figures(self),
            trouble: self.health.trouble(),
            account: scheduler.user_info().map(|(info, at)| AccountAnswer {
                info,
                age_seconds: self.clock.unix().saturating_sub(at).as_secs(),
            }),
        }
    }

    fn reading(&self) -> ReadFigures {
        let downloads = self.reader.downloads();
        let first = downloads.iter().take(MOST_DOWNLOADS);
        let first = first.map(|it| {
            let path = self.tree.path_of_file(it.file);
            DownloadFigures {
                path: path
                    .map_or_else(|| it.file.to_string(), |path| path.to_string_lossy().into()),
                bytes: it.size,
                position_bytes: it.position,
                fetched_bytes: it.fetched,
                bytes_per_second: it.speed,
                ranges: number(it.streams),
                readers: it.readers,
            }
        });
        ReadFigures {
            downloading: number(downloads.len()),
            downloads: first.collect(),
            ..read_figures(&self.reader.snapshot())
        }
    }

    fn bwlimit(&self, set: Option<DownloadLimit>) -> Answer {
        if let Some(DownloadLimit { rate }) = set {
            self.reader.set_limit(rate);
        }
        Answer::Bwlimit(DownloadLimit {
            rate: self.reader.snapshot().limit,
        })
    }

    async fn refresh(&self, inode: u64, wait: bool) -> Answer {
        let Some(folder) = Ino::new(inode) else {
            return Answer::error("no folder has that number");
        };
        let caller = Caller {
            requester: Requester::SELF,
            deadline: Deadline::within(self.clock, REFRESH_LIMIT),
        };
        let renewed = match self.tree.pause_before(folder) {
            Ok(pause) if !wait && !pause.is_zero() => {
                return Answer::TooSoon {
                    // Rounded up: asked again after that time, it is not too soon.
                    seconds: pause.as_secs() + 1,
                };
            }
            Ok(_) => self.tree.renew(folder, caller).await,
            Err(error) => Err(error),
        };
        match renewed {
            Ok(renewed) => Answer::Refreshed(counted(&renewed)),
            Err(TreeError::Stale(_)) => Answer::error(
                "the folder is gone from the account, or not known here any more; refresh the one \
                 above it",
            ),
            Err(error) => Answer::error(error.to_string()),
        }
    }
}

fn counted(renewed: &Renewed) -> Refreshed {
    let changed = renewed.changes.as_ref().map(|changes| {
        let mut count = Changed::default();
        for change in changes {
            match change {
                EntryChange::Added(_) => count.added += 1,
                EntryChange::Removed(_) => count.removed += 1,
                EntryChange::Renamed { .. } | EntryChange::Altered(_) => count.altered += 1,
            }
        }
        count
    });
    Refreshed {
        entries: number(renewed.listing.entries().len()),
        changed,
    }
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn tree_figures(tree: &TreeSnapshot) -> TreeFigures {
    TreeFigures {
        folders: number(tree.folders),
        folders_listed: number(tree.folders_listed),
        entries: tree.entries,
        crawl: crawl_figures(tree.crawl),
        large: tree.large.iter().map(large_figures).collect(),
        listings: tree.listings,
        listing_bytes: tree.listing_bytes,
        inodes: number(tree.inodes),
        refreshing: number(tree.refreshing),
        stored_bytes: tree.store.map_or(0, |store| store.cache_bytes),
        store_failing: tree.store.is_some_and(|store| store.is_failing),
        store_rebuilt: tree.store.map_or(0, |store| store.rebuilt.into()),
        store_damaged: tree.store.map_or(0, |store| store.damaged),
    }
}

fn crawl_figures(crawl: CrawlSnapshot) -> CrawlFigures {
    let stage = match crawl.stage {
        CrawlStage::Off => "off",
        CrawlStage::Running => "running",
        CrawlStage::Paused => "paused",
        CrawlStage::Full => "full",
        CrawlStage::Done => "done",
    };
    CrawlFigures {
        stage: stage.to_owned(),
        waiting: number(crawl.waiting),
        failed: number(crawl.failed),
        seconds_left: crawl.seconds_left,
    }
}

fn large_figures(large: &LargeSnapshot) -> LargeFigures {
    LargeFigures {
        folder: large.folder,
        found: number(large.found),
        expected: large.expected,
        slices: number(large.slices),
        slices_left: number(large.slices_left),
        is_part: large.is_part,
    }
}

fn call_figures(calls: SchedulerSnapshot) -> CallFigures {
    let waiting = calls.waiting;
    CallFigures {
        waiting: WaitingFigures {
            token: number(waiting.token),
            change: number(waiting.change),
            wanted: number(waiting.wanted),
            refresh: number(waiting.refresh),
            crawl: number(waiting.crawl),
        },
        running: number(calls.running),
        made: calls
            .started
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        answered: calls.answered,
        lost: calls.lost,
        floods: calls.floods,
        refused: calls.refused,
        gate: match calls.gate {
            GateSnapshot::Open => GateFigures::Open,
            GateSnapshot::Shut { cause, until_ms } => GateFigures::Shut {
                cause: cause_name(cause).to_owned(),
                until: until_ms.div_ceil(1000),
            },
            GateSnapshot::Probing { cause } => GateFigures::Probing {
                cause: cause_name(cause).to_owned(),
            },
        },
        rate: calls.rate,
        background_rate: calls.background_rate,
        free: number(calls.free),
        last_hour: calls.last_hour,
        hour_most: per_hour(calls.rate),
        last_day: calls.last_day,
        folders_held: number(calls.folders_held),
    }
}

/// Calls of an hour at `rate` a second, which is 3 at most.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates lie between 0 and 3"
)]
fn per_hour(rate: f64) -> u64 {
    (rate * 3600.0) as u64
}

fn cause_name(cause: GateCause) -> &'static str {
    match cause {
        GateCause::Flood => "flood",
        GateCause::Banned => "banned",
        GateCause::OwnerLocked => "owner_locked",
        GateCause::Maintenance => "maintenance",
        GateCause::Down => "down",
        GateCause::Unknown => "unknown",
    }
}

fn read_figures(reading: &ReadSnapshot) -> ReadFigures {
    ReadFigures {
        asked_bytes: reading.asked_bytes,
        fetched_bytes: reading.fetched_bytes,
        bytes_per_second: reading.speed,
        downloading: 0,
        downloads: Vec::new(),
        from_disk_bytes: reading.from_disk_bytes,
        hits: reading.hits,
        waits: reading.waits,
        ranges: reading.ranges,
        connections: number(reading.connections),
        memory_bytes: reading.memory_bytes,
        memory_budget_bytes: reading.memory_budget,
        bwlimit_bytes: reading.limit,
        disk: reading.disk.as_ref().map(disk_figures),
    }
}

pub(super) fn disk_figures(disk: &Usage) -> DiskFigures {
    DiskFigures {
        bytes: disk.bytes.saturating_add(disk.overhead),
        budget_bytes: disk.budget,
        files: disk.files,
        waiting_bytes: disk.waiting,
        not_kept: disk.dropped,
        written_blocks: disk.written,
        evicted_blocks: disk.evicted,
        damaged_blocks: disk.damaged,
        problem: disk.degraded.clone(),
    }
}
