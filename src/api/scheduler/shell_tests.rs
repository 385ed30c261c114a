//! The scheduler as its callers see it: tasks, dropped futures, files. Time runs twenty times
//! faster; nothing here depends on how fast the machine is.
use super::budget_file::{BudgetError, BudgetFile, Fingerprint};
use super::saved::Saved;
use super::*;
use crate::api::ask::{Priority, Requester};
use crate::api::ids::FolderId;
use crate::api::types::Offer;
use crate::secret::ApiKey;
use crate::util::deadline::Deadline;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};
use tempfile::TempDir;

const PLAIN: Call = Call::new("user/ls", CallClass::Plain);
const LISTING: Call = Call::new("folder/ls", CallClass::Listing(FolderId(1)));
const USER_INFO: Call = Call::new("user/info", CallClass::UserInfo);
const FLOODED: Verdict = Verdict::Flooded { retry_after: None };

fn clock() -> Clock {
    Clock::scaled(20.0, None)
}

/// So slow that a stall of the machine between two steps of a test changes nothing.
fn slow() -> Rates {
    Rates {
        starts_per_second: 0.2,
        flood_first: Duration::from_secs(300),
        listing_gap: Duration::from_secs(600),
        ..Rates::default()
    }
}

fn ask(clock: Clock, patience: u64) -> Ask {
    let deadline = Deadline::within(clock, Duration::from_secs(patience));
    Ask::new(Priority::Wanted, deadline, Requester(1))
}

fn account() -> Fingerprint {
    Fingerprint::of(&ApiKey::parse("0123456789abcdef").unwrap())
}

fn open(dir: &Path) -> BudgetFile {
    try_open(dir, &account()).unwrap()
}

/// Every folder is another service, so that tests do not keep each other off.
fn try_open(dir: &Path, account: &Fingerprint) -> Result<BudgetFile, BudgetError> {
    BudgetFile::open(dir, account, &dir.display().to_string())
}

fn record(dir: &Path) -> Option<Saved> {
    let path = dir.join(format!("{}.json", account()));
    Some(serde_json::from_slice(&fs::read(path).ok()?).unwrap())
}

fn answer() -> UserInfo {
    UserInfo {
        email: "someone@example.org".into(),
        offer: Offer::Premium,
        subscription_end: None,
        cold_storage: 1,
        hot_storage: 2,
        available_cold_storage: Some(3),
        cdn_credits: 0,
        use_cdn: false,
        over_quota: false,
        upload_forbidden: false,
    }
}

/// Waits until `done`, for a generous while.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen in ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_keep_the_rate_and_all_get_their_turn() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, Rates::default(), None);
    let began = clock.now();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let scheduler = scheduler.clone();
            tokio::spawn(async move {
                let permit = scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap();
                permit.finish(Verdict::Answered);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Twenty calls at three per 1.2 s: the last ones start after six spans.
    assert!(clock.now().since(began) >= Duration::from_millis(7200));
    let shown = scheduler.snapshot();
    assert_eq!(shown.started["user/ls"], 20);
    assert_eq!((shown.answered, shown.lost, shown.running), (20, 0, 0));
    assert_eq!(shown.waiting.total(), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_queue() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, slow(), None);
    let mut permits = Vec::new();
    for _ in 0..3 {
        permits.push(scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap());
    }
    let terms = ask(clock, 600);
    {
        let mut waiting = pin!(scheduler.permit(&terms, &PLAIN));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert_eq!(scheduler.snapshot().waiting.wanted, 1);
    }
    assert_eq!(scheduler.snapshot().waiting.wanted, 0);
    assert_eq!(scheduler.snapshot().started["user/ls"], 3);
    // The ticker has nobody left to serve and ends; the next call finds a new one.
    until(|| !lock(&scheduler.inner.core).ticking).await;
    drop(scheduler.permit(&terms, &PLAIN).await.unwrap());
}

#[tokio::test]
async fn a_call_granted_to_a_caller_that_is_gone_counts_as_never_made() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, slow(), None);
    for _ in 0..3 {
        let permit = scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap();
        permit.finish(Verdict::Answered);
    }
    let terms = ask(clock, 600);
    {
        let mut waiting = pin!(scheduler.permit(&terms, &LISTING));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        until(|| scheduler.snapshot().running == 1).await;
        assert_eq!(scheduler.snapshot().folders_held, 1);
    }
    let shown = scheduler.snapshot();
    assert_eq!((shown.running, shown.folders_held), (0, 0));
    assert_eq!(shown.started["folder/ls"], 0);
}

#[tokio::test]
async fn a_permit_dropped_is_a_call_lost() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, Rates::default(), None);
    drop(scheduler.permit(&ask(clock, 60), &LISTING).await.unwrap());
    let shown = scheduler.snapshot();
    assert_eq!((shown.lost, shown.running, shown.folders_held), (1, 0, 1));
}

#[tokio::test]
async fn errors_say_why_and_when_to_come_back() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, slow(), None);
    let permit = scheduler.permit(&ask(clock, 60), &LISTING).await.unwrap();
    let error = scheduler
        .permit(&ask(clock, 5), &LISTING)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::Timeout, Reached::NotSent)
    );
    permit.finish(FLOODED);
    let error = scheduler.permit(&ask(clock, 60), &PLAIN).await.unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::Flood, Reached::NotSent)
    );
    let after = error.retry_after.unwrap();
    assert!(after > Duration::from_secs(60) && after <= Duration::from_secs(300));
    assert!(matches!(
        scheduler.snapshot().gate,
        GateSnapshot::Shut {
            cause: GateCause::Flood,
            ..
        }
    ));
}

#[tokio::test]
async fn time_runs_out_on_a_caller_behind_a_probe() {
    let clock = clock();
    let scheduler = Scheduler::new(clock, Rates::default(), None);
    let permit = scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap();
    permit.finish(FLOODED);
    let probe = scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap();
    let error = scheduler.permit(&ask(clock, 3), &PLAIN).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Flood);
    assert_eq!(scheduler.snapshot().waiting.total(), 0);
    probe.finish(Verdict::Answered);
    assert_eq!(scheduler.snapshot().gate, GateSnapshot::Open);
}

#[test]
fn a_scheduler_outlives_the_runtime_it_was_used_in() {
    let clock = clock();
    let dir = TempDir::new().unwrap();
    let scheduler = Scheduler::new(clock, slow(), Some(open(dir.path())));
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let began = saved::millis(clock.unix());
        runtime.block_on(async {
            for _ in 0..3 {
                let permit = scheduler.permit(&ask(clock, 600), &PLAIN).await.unwrap();
                under_way.push(permit);
            }
            let waiting = scheduler.clone();
            let _detached = tokio::spawn(async move {
                let terms = ask(clock, 6000);
                waiting.permit(&terms, &PLAIN).await.map(drop)
            });
            until(|| scheduler.snapshot().waiting.total() == 1).await;
            until(|| record(dir.path()).is_some_and(|saved| saved.at_ms > began)).await;
        });
        // Here the caller, the ticker and the saver are cut off in the middle.
        drop(runtime);
    }
    assert_eq!(scheduler.snapshot().waiting.total(), 0);
    drop(under_way);
    drop(scheduler);
    assert!(record(dir.path()).unwrap().clean);
}

#[tokio::test]
async fn user_info_is_on_disk_before_it_is_asked() {
    let clock = clock();
    let dir = TempDir::new().unwrap();
    let scheduler = Scheduler::new(clock, Rates::default(), Some(open(dir.path())));
    let permit = scheduler.permit(&ask(clock, 60), &USER_INFO).await.unwrap();
    let text = fs::read_to_string(dir.path().join(format!("{}.json", account()))).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ahead = saved["user_info_at_ms"].as_u64().unwrap() - saved["at_ms"].as_u64().unwrap();
    assert!(ahead >= 360_000, "{ahead}");
    permit.finish(Verdict::Answered);
    scheduler.keep_user_info(answer());
    drop(scheduler);

    until(|| try_open(dir.path(), &account()).is_ok()).await;
    let next = Scheduler::new(clock, Rates::default(), Some(open(dir.path())));
    assert_eq!(next.user_info().unwrap().0, answer());
    let error = next.permit(&ask(clock, 60), &USER_INFO).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn a_shut_gate_is_on_disk_at_once_and_the_rest_soon() {
    let clock = clock();
    let dir = TempDir::new().unwrap();
    let scheduler = Scheduler::new(clock, Rates::default(), Some(open(dir.path())));
    let permit = scheduler.permit(&ask(clock, 60), &LISTING).await.unwrap();
    until(|| record(dir.path()).is_some_and(|saved| !saved.clean)).await;
    permit.finish(FLOODED);
    let gate = || {
        let text = fs::read_to_string(dir.path().join(format!("{}.json", account()))).unwrap();
        let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
        saved["gate"]["cause"] == "flood"
    };
    until(gate).await;
    scheduler.flush().await.unwrap();
    assert!(record(dir.path()).unwrap().clean);
}

#[tokio::test]
async fn a_crash_is_allowed_for_by_the_next_process() {
    let clock = clock();
    let (dir, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let scheduler = Scheduler::new(clock, slow(), Some(open(dir.path())));
    let permit = scheduler.permit(&ask(clock, 60), &LISTING).await.unwrap();
    let name = format!("{}.json", account());
    until(|| dir.path().join(&name).exists()).await;
    // What a kill -9 would leave behind at this moment.
    fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    let next = Scheduler::new(clock, slow(), Some(open(copy.path())));
    let elsewhere = Call::new("folder/ls", CallClass::Listing(FolderId(2)));
    for listing in [LISTING, elsewhere] {
        let error = next.permit(&ask(clock, 10), &listing).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }
    permit.finish(Verdict::Answered);
}

#[tokio::test]
async fn a_full_disk_stops_no_call() {
    let clock = clock();
    let dir = TempDir::new().unwrap();
    let scheduler = Scheduler::new(clock, Rates::default(), Some(open(dir.path())));
    // Where the new record is written there is a folder now.
    let blocked = dir.path().join(format!("{}.json.new", account()));
    fs::create_dir(&blocked).unwrap();
    assert!(scheduler.flush().await.is_err());
    let permit = scheduler.permit(&ask(clock, 60), &USER_INFO).await.unwrap();
    permit.finish(Verdict::Answered);
    fs::remove_dir(&blocked).unwrap();
    scheduler.flush().await.unwrap();
    assert!(record(dir.path()).is_some());
}

#[test]
fn one_process_at_a_time_has_the_budget_of_an_account() {
    let dir = TempDir::new().unwrap();
    let held = open(dir.path());
    match try_open(dir.path(), &account()) {
        Err(BudgetError::Held(holder)) => assert_eq!(holder.pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    let elsewhere = Fingerprint::of(&ApiKey::parse("another-key").unwrap());
    assert_ne!(elsewhere, account());
    try_open(dir.path(), &elsewhere).unwrap();

    // A process that was given another folder.
    let other = TempDir::new().unwrap();
    let service = dir.path().display().to_string();
    let beside = BudgetFile::open(other.path(), &account(), &service);
    assert!(matches!(beside, Err(BudgetError::Held(_))), "{beside:?}");
    drop(held);
    BudgetFile::open(other.path(), &account(), &service).unwrap();
    open(dir.path());
}

#[test]
fn files_are_private_and_do_not_tell_the_key() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("new");
    let key = ApiKey::parse("0123456789abcdef").unwrap();
    let scheduler = Scheduler::new(clock(), Rates::default(), Some(open(&folder)));
    drop(scheduler);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
        let text = fs::read_to_string(entry.path()).unwrap();
        assert!(!text.contains(key.expose()));
    }
    names.sort_unstable();
    let account = account().to_string();
    assert_eq!(account.len(), 16);
    assert_eq!(
        names,
        [format!("{account}.json"), format!("{account}.lock")]
    );
}

#[test]
fn a_damaged_record_is_set_aside() {
    for text in ["", "{", "{\"version\":99}", "[1,2,3]"] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(format!("{}.json", account()));
        fs::write(&path, text).unwrap();
        let scheduler = Scheduler::new(clock(), Rates::default(), Some(open(dir.path())));
        assert!(matches!(
            scheduler.snapshot().gate,
            GateSnapshot::Probing {
                cause: GateCause::Unknown
            }
        ));
        let aside = dir.path().join(format!("{}.json.bad", account()));
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
    }
}
