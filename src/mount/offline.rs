//! The parts of a mount without a mount: what commands ask while nothing is mounted.
//!
//! Promises: while this lives the account is locked as by a mount; nothing is asked of the service but what an answer
//! needs, so what is known is told without a call; what was changed is told to the account before [`Offline::finish`]
//! returns, or left to the next mount.
use super::account::AccountHealth;
use super::answers::Control;
use super::ending::Ending;
use super::errands::InTree;
use crate::api::Client;
use crate::api::scheduler::{BudgetFile, Fingerprint, Scheduler};
use crate::config::{Account, AccountPath};
use crate::control::{Answer, Answers, Pong, Request, Teller};
use crate::read::{ReadSettings, Reader};
use crate::secret::ApiKey;
use crate::tree::{RootFolder, Store, Tree, TreeSettings};
use crate::util::clock::Clock;
use crate::util::crypto;
use crate::util::deadline::Deadline;
use crate::write::volume::{Volume, VolumeSettings};
use anyhow::{Context, bail};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Memory for contents: hardly any is read.
const MEMORY: u64 = 16 << 20;

/// Bytes that may be staged: empty files, and what is kept of attributes, some 400 bytes each.
const STAGING: u64 = 4 << 30;

/// How long what was changed may take to be told: batches of 100 removals, one in a second.
const TELL_LIMIT: Duration = Duration::from_secs(600);

/// How long what is known may take to be written.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long tasks may take to notice the end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// The account while nothing is mounted.
pub struct Offline {
    runtime: Runtime,
    control: Arc<Control>,
    client: Client,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").finish_non_exhaustive()
    }
}

impl Offline {
    /// Takes the account's lock and opens what is kept of it. With `changes` the account is told of changes. Blocks.
    pub fn open(account: &Account, key: &ApiKey, changes: bool) -> anyhow::Result<Self> {
        crypto::install();
        account.make_folders()?;
        let clock = Clock::from_env();
        let fingerprint = Fingerprint::of(key);
        let service = account.api_url.to_string();
        let budget = BudgetFile::open(&account.budget_dir(), &fingerprint, &service)?;
        let store = Store::open(&account.own_state_dir(), fingerprint, clock)?;
        let (path, root) = root_of(&store).with_context(|| {
            format!(
                "nothing is known of the account {} here; mount it once, so that its folders are listed",
                account.name
            )
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let inside = runtime.enter();
        let scheduler = Scheduler::new(clock, account.rates(), Some(budget));
        let client = Client::new(account.client_settings(key.clone(), clock), scheduler)?;
        let settings = TreeSettings {
            root,
            crawl: false,
            ..TreeSettings::default()
        };
        let handle = runtime.handle();
        let tree = Tree::with_store(
            client.clone(),
            clock,
            settings,
            handle.clone(),
            store.clone(),
        )?;
        let reading = ReadSettings::new(MEMORY);
        let reader = Reader::new(client.clone(), clock, reading, handle.clone());
        let settings = VolumeSettings {
            staging_dir: account.own_state_dir().join("staging"),
            staging_size: STAGING,
            settle: Duration::ZERO,
            settle_open: Duration::ZERO,
            upload_limit: None,
            waits_for_upload: false,
            is_read_only: !changes,
        };
        let volume = Volume::open(
            tree.clone(),
            reader.clone(),
            client.clone(),
            clock,
            &store,
            settings,
            handle.clone(),
        )
        .context("cannot take up what an earlier mount left")?;
        volume.start();
        drop(inside);
        let shown: AccountPath = path.parse().map_err(anyhow::Error::msg)?;
        let control = Control {
            client: client.clone(),
            tree: tree.clone(),
            reader,
            volume: volume.clone(),
            clock,
            health: Arc::new(AccountHealth::default()),
            ending: Arc::new(Ending::new()),
            errands: InTree::of_mount(client.clone(), clock, tree, volume, shown),
            read_only: !changes,
            root: path,
            keeping: Arc::default(),
            own_state_dir: account.own_state_dir(),
            pong: Pong {
                account: account.name.to_string(),
                ..Pong::default()
            },
        };
        Ok(Self {
            runtime,
            control: Arc::new(control),
            client,
        })
    }

    /// The answer to a request; `told` hears what comes before it.
    pub fn ask(&self, request: Request, mut told: impl FnMut(Answer)) -> Answer {
        let (teller, mut lines) = Teller::new();
        let control = Arc::clone(&self.control);
        self.runtime.block_on(async {
            let answer = tokio::spawn(async move { control.answer(request, teller).await });
            // Ends when whoever tells has nothing more to tell.
            while let Some(line) = lines.recv().await {
                told(line);
            }
            let answer = answer.await;
            answer.unwrap_or_else(|_| Answer::error("the answer could not be found"))
        })
    }

    /// Tells the account what was changed, and writes everything down. What could not be told is left to the next
    /// mount, and counted.
    pub fn finish(self) -> anyhow::Result<u64> {
        let Self {
            runtime,
            control,
            client,
        } = self;
        let left = runtime.block_on(async {
            let outbox = control.volume.outbox().clone();
            if !control.read_only {
                outbox.hurry();
                let deadline = Deadline::within(control.clock, TELL_LIMIT);
                outbox.drained(deadline).await;
                outbox.written().await?;
            }
            let stopping = outbox.clone();
            // It fails only if it panics, which says so itself.
            let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
            let flushed = tokio::time::timeout(LAST_WRITES, control.tree.flush()).await;
            if flushed.is_err() {
                log::warn!("what was listed could not be written in time; it is asked for again");
            }
            if let Err(error) = client.scheduler().flush().await {
                log::warn!("the call budget could not be saved: {error}");
            }
            let left = outbox.snapshot();
            anyhow::Ok(super::answers::number(left.waiting + left.failed.len()))
        });
        drop(control);
        runtime.shutdown_timeout(LAST_TASKS);
        left
    }
}

/// The folder that was mounted last, and its path: the account's root if that was ever listed.
fn root_of(store: &Store) -> anyhow::Result<(String, RootFolder)> {
    if !store.is_known() {
        bail!("it was never mounted with this key");
    }
    let account = RootFolder::account();
    if store.has_listing(account.id) {
        return Ok(("/".to_owned(), account));
    }
    let mut roots = store.roots();
    roots.retain(|(_, root)| store.has_listing(root.id));
    match roots.pop() {
        Some(root) if roots.is_empty() => Ok(root),
        Some(_) => bail!(
            "several of its folders were mounted (--root), and its root never was; mount one of them \
             and ask there"
        ),
        None => bail!("it was not listed yet"),
    }
}
