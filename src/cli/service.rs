//! What commands ask the service when no mount can be asked.
use crate::api::scheduler::{BudgetError, BudgetFile, Fingerprint, GateSnapshot, Scheduler};
use crate::api::{
    ApiError, Ask, Client, Dated, ErrorKind, FolderId, Priority, Reached, Requester, UserInfo,
};
use crate::config::Account;
use crate::secret::ApiKey;
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long the service may take. A person waits.
const LIMIT: Duration = Duration::from_secs(60);

/// What could be learned about a key.
#[derive(Debug)]
pub(super) enum Checked {
    /// The service knows the account, and says this.
    Account(UserInfo),
    /// The service accepts the key, but may not be asked about the account yet.
    Accepted,
}

/// Asks for the account's figures; an answer younger than 6 minutes is not asked for again.
/// With it, its age.
pub(super) fn user_info(account: &Account, key: &ApiKey) -> anyhow::Result<(UserInfo, Duration)> {
    with_client(account, key, async |client, clock| {
        let Dated { at, value } = client.user_info(&ask(clock)).await?;
        Ok((value, clock.unix().saturating_sub(at)))
    })
}

/// Checks whether the service accepts a key.
pub(super) fn check(account: &Account, key: &ApiKey) -> anyhow::Result<Checked> {
    let asked = Asked::of(account);
    with_client(account, key, async |client, clock| {
        let by_listing = async || {
            client.list_folder(&ask(clock), FolderId::ROOT).await?;
            Ok(Checked::Accepted)
        };
        if asked.is_too_soon(clock) {
            return by_listing().await;
        }
        asked.note(clock);
        match client.user_info(&ask(clock)).await {
            Ok(info) => Ok(Checked::Account(info.value)),
            // It was asked within the last 6 minutes, without success. A listing tells as much.
            Err(err) if err.kind == ErrorKind::Timeout && err.reached == Reached::NotSent => {
                by_listing().await
            }
            Err(err) => Err(err),
        }
    })
}

/// When a key was checked on this machine last: what may be asked of an account is kept with its key, but the
/// service also counts by address (API reference 3), and whoever mistypes a key has another one the next time.
struct Asked(PathBuf);

impl Asked {
    /// Between two questions for `user/info` from one address, whatever the key (API reference 3).
    const GAP: Duration = Duration::from_secs(60);

    fn of(account: &Account) -> Self {
        Self(account.budget_dir().join("key-checked"))
    }

    fn is_too_soon(&self, clock: Clock) -> bool {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let at = text.trim().parse().map(Duration::from_secs);
        // A date ahead of the clock does not count for ever.
        at.is_ok_and(|at| clock.unix().abs_diff(at) <= Self::GAP)
    }

    fn note(&self, clock: Clock) {
        if let Err(error) = std::fs::write(&self.0, clock.unix().as_secs().to_string()) {
            log::warn!(
                "when this key was checked cannot be kept in {}: {error}",
                self.0.display()
            );
        }
    }
}

/// What can be learned of an account with one call at most.
#[derive(Debug)]
pub(super) struct Look {
    /// Whether calls may be made, as earlier processes left it and after the call.
    pub(super) gate: GateSnapshot,
    /// What the service says, with its age; `None` when it was not to be asked and nothing is kept.
    pub(super) account: Option<Result<(Checked, Duration), ApiError>>,
    /// Seconds this machine's clock is ahead of the service's, if a call was made and told it.
    pub(super) clock_ahead: Option<i64>,
}

/// Looks at what is kept of an account; if there is nothing younger than 6 minutes, and `asks`, makes one call.
pub(super) fn look(account: &Account, key: &ApiKey, asks: bool) -> anyhow::Result<Look> {
    with_client(account, key, async |client, clock| {
        let fresh = |at| clock.unix().saturating_sub(at);
        let account = if asks {
            Some(match client.user_info(&ask(clock)).await {
                Ok(Dated { at, value }) => Ok((Checked::Account(value), fresh(at))),
                Err(err) if err.kind == ErrorKind::Timeout && err.reached == Reached::NotSent => {
                    let listed = client.list_folder(&ask(clock), FolderId::ROOT).await;
                    listed.map(|_| (Checked::Accepted, Duration::ZERO))
                }
                Err(err) => Err(err),
            })
        } else {
            let kept = client.scheduler().user_info();
            kept.map(|(info, at)| Ok((Checked::Account(info), fresh(at))))
        };
        Ok(Look {
            gate: client.scheduler().snapshot().gate,
            account,
            clock_ahead: client.clock_ahead(),
        })
    })
}

/// Whether an error means that another process on this machine has the account in use.
pub(super) fn is_held(err: &anyhow::Error) -> bool {
    matches!(
        err.downcast_ref::<BudgetError>(),
        Some(BudgetError::Held(_))
    )
}

fn ask(clock: Clock) -> Ask {
    Ask::new(
        Priority::Wanted,
        Deadline::within(clock, LIMIT),
        Requester(std::process::id()),
    )
}

/// A client that holds the account's lock and budget, as long as this lives.
pub(super) struct Held {
    runtime: Runtime,
    client: Client,
    clock: Clock,
}

impl Held {
    /// Takes the account's lock; an error for which [`is_held`] says yes when another process has it.
    pub(super) fn open(account: &Account, key: &ApiKey) -> anyhow::Result<Self> {
        account.make_folders()?;
        let fingerprint = Fingerprint::of(key);
        let budget = BudgetFile::open(
            &account.budget_dir(),
            &fingerprint,
            &account.api_url.to_string(),
        )?;
        let clock = Clock::from_env();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let scheduler = Scheduler::new(clock, account.rates(), Some(budget));
            Client::new(account.client_settings(key.clone(), clock), scheduler)
        })?;
        Ok(Self {
            runtime,
            client,
            clock,
        })
    }

    /// Runs `work` with the client.
    pub(super) fn run<T>(&self, work: impl AsyncFnOnce(&Client, Clock) -> T) -> T {
        self.runtime.block_on(work(&self.client, self.clock))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let scheduler = self.client.scheduler();
        // What the next process must know to keep the service's limits; a failure to keep it
        // must not hide the answer.
        if let Err(err) = self.runtime.block_on(scheduler.flush()) {
            log::warn!("the account's call budget could not be kept: {err}");
        }
    }
}

/// Runs `work` with a client that holds the account's lock and budget.
fn with_client<T>(
    account: &Account,
    key: &ApiKey,
    work: impl AsyncFnOnce(&Client, Clock) -> Result<T, ApiError>,
) -> anyhow::Result<T> {
    Held::open(account, key)?.run(work).map_err(told)
}

/// A failed call with what can be done about it.
fn told(err: ApiError) -> anyhow::Error {
    match err.retry_after {
        Some(span) => {
            let wait = Duration::from_secs(span.as_secs() + 1);
            anyhow::anyhow!("{err}; try again in {}", humantime::format_duration(wait))
        }
        None => err.into(),
    }
}
