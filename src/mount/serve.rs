//! One mount from its configuration to its end: makes the parts, hands them to each other, runs
//! the session, takes everything down in order.
//!
//! Promises: an account that was never seen before must answer before anything is mounted; one whose
//! tree is known is mounted at once, network or not, and asked afterwards. When this returns nothing is
//! mounted any more, and what was learnt and the account's call budget are on disk.
use super::account::{AccountHealth, Watch};
use super::answers::Control;
use super::background::Ready;
use super::kernel::{self, Attached};
use super::signals::{Signal, Signals};
use crate::api::scheduler::{BudgetError, BudgetFile, Fingerprint, Scheduler};
use crate::api::{self, ApiError, Ask, Client, ErrorKind, Priority, Reached, Requester};
use crate::config;
use crate::control::{self, Pong};
use crate::fs::{Fs, FsSettings, Ownership, Session};
use crate::read::{DiskCache, ReadSettings, Reader};
use crate::tree::{Caller, Ino, RootFolder, Store, Tree, TreeSettings, resolve_root};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use anyhow::{Context, anyhow, bail};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{self, Runtime};

/// How long the account may take to answer at the start: some repetitions of a call that fails, so
/// that a network that is not there is told soon.
const FIRST_ANSWERS: Duration = Duration::from_secs(10);

/// How long it may take when the service asks for silence: one silence after a flood (30 s) and the
/// calls behind it, and still within what the parent of a background mount waits.
const AFTER_SILENCE: Duration = Duration::from_secs(45);

/// How long programs that still use the mount are served after it was told to end. Reading only:
/// nothing of theirs can be lost.
const LAST_SERVICE: Duration = Duration::from_secs(3);

/// How long tasks may take to notice the end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// How long the last listings may take to be written: the disk may be busy, and they are worth a wait
/// but not a hanging end.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Threads for network and timers at least: one may be busy decrypting.
const FEWEST_THREADS: usize = 2;

/// Threads for what blocks on a disk at most; the pool's own default of 512 would be 512 stacks and
/// as many buffers.
const MOST_BLOCKING: usize = 16;

/// Mounts and serves until the end; `ready` is told when the mountpoint answers.
pub fn run(config: config::Mount, mut ready: Ready) -> anyhow::Result<ExitCode> {
    api::install_crypto();
    let runtime = threads()?;
    let result = runtime.block_on(serve(config, &mut ready, runtime.handle().clone()));
    runtime.shutdown_timeout(LAST_TASKS);
    result
}

fn threads() -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(FEWEST_THREADS, usize::from);
    runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(FEWEST_THREADS))
        .max_blocking_threads(MOST_BLOCKING)
        .thread_name("worker")
        .enable_all()
        .build()
        .context("cannot start threads")
}

async fn serve(
    config: config::Mount,
    ready: &mut Ready,
    runtime: runtime::Handle,
) -> anyhow::Result<ExitCode> {
    let clock = Clock::from_env();
    let mut signals = Signals::new().context("cannot take signals")?;
    let client = connect(&config, clock)?;
    let fingerprint = Fingerprint::of(&config.key.key);
    let store = Store::open(&config.account.own_state_dir(), fingerprint, clock)?;
    let known = known_root(&config, &store);
    let is_known = known.is_some();
    let Parts { tree, reader } = if let Some(root) = known {
        parts(&config, &client, clock, &runtime, root, store.clone())?
    } else {
        tokio::select! {
            parts = first_answers(&config, &client, clock, &runtime, store.clone()) => parts?,
            _ = signals.next() => bail!("ended before the account had answered"),
        }
    };
    let health = Arc::new(AccountHealth::default());
    let attached = attach(&config)?;
    // From here on every way out takes the mount along.
    let mounted = Mounted {
        attached: &attached,
    };
    let settings = fs_settings(&config);
    let fs = Fs::new(
        tree.clone(),
        reader.clone(),
        clock,
        runtime.clone(),
        settings,
    );
    let device = attached
        .session_fd()
        .context("cannot hand on the FUSE device")?;
    let mut session = Session::start(fs, device, config.allow_other)
        .context("the kernel did not accept the session")?;
    let shown = Parts {
        tree: tree.clone(),
        reader: reader.clone(),
    };
    listen(&config, &attached, &client, shown, &health, clock);
    tree.start();
    ready.now()?;
    let watch = Watch {
        client: client.clone(),
        tree: tree.clone(),
        store,
        clock,
        root: config.root.clone(),
        is_root_new: !is_known,
        health: Arc::clone(&health),
    };
    runtime.spawn(watch.run());
    log::info!(
        "mounted account {} at {}",
        config.account.name,
        config.mountpoint.display()
    );

    let outcome = loop {
        tokio::select! {
            ended = session.ended() => break ended.context("the session broke"),
            signal = signals.next() => match signal {
                Signal::Stop => {
                    ready.stopping();
                    tree.stop();
                    break end(&attached, &mut session, &mut signals, clock).await;
                }
                Signal::StopNow => break Ok(()),
                Signal::Refresh => look_again(&tree, clock),
                Signal::Report => report(&client, &tree, &reader, &health),
            },
        }
    };
    drop(mounted);
    tree.stop();
    if tokio::time::timeout(LAST_WRITES, tree.flush())
        .await
        .is_err()
    {
        log::warn!(
            "the last listings could not be written in time; they come again from the account"
        );
    }
    if let Err(error) = client.scheduler().flush().await {
        log::warn!("the call budget could not be saved: {error}");
    }
    outcome.map(|()| {
        log::info!("unmounted {}", config.mountpoint.display());
        ExitCode::SUCCESS
    })
}

/// What serves the kernel.
struct Parts {
    tree: Tree,
    reader: Reader,
}

/// Takes the account's lock and prepares the client; no call is made.
fn connect(config: &config::Mount, clock: Clock) -> anyhow::Result<Client> {
    let account = &config.account;
    let fingerprint = Fingerprint::of(&config.key.key);
    let budget = BudgetFile::open(
        &account.budget_dir(),
        &fingerprint,
        &account.api_url.to_string(),
    )
    .map_err(|error| match error {
        held @ BudgetError::Held(_) => anyhow!(held),
        other @ BudgetError::Io { .. } => {
            anyhow!(other).context("cannot keep the account's call budget")
        }
    })?;
    let scheduler = Scheduler::new(clock, account.rates(), Some(budget));
    let settings = api::Settings {
        cdn: config.cdn,
        ..account.client_settings(config.key.key.clone(), clock)
    };
    Ok(Client::new(settings, scheduler)?)
}

/// The folder to show, if the account and that folder were mounted before: then nobody need be asked.
fn known_root(config: &config::Mount, store: &Store) -> Option<RootFolder> {
    if !store.is_known() {
        return None;
    }
    let path = config.root.as_str();
    let root = if Path::new(path) == Path::new("/") {
        RootFolder::account()
    } else {
        store.root(path)?
    };
    store.has_listing(root.id).then_some(root)
}

/// Asks who the account is: a wrong key, a free account or a missing network is told here, before
/// anything is mounted. An answer not older than six minutes will do, also of another process.
async fn first_answers(
    config: &config::Mount,
    client: &Client,
    clock: Clock,
    runtime: &runtime::Handle,
    store: Store,
) -> anyhow::Result<Parts> {
    let ask = |span| {
        Ask::new(
            Priority::Wanted,
            Deadline::within(clock, span),
            Requester::SELF,
        )
    };
    let mut answer = client.user_info(&ask(FIRST_ANSWERS)).await;
    if let Err(error) = &answer
        && error.kind == ErrorKind::Flood
    {
        log::warn!("{error}; waiting for it");
        answer = client.user_info(&ask(AFTER_SILENCE)).await;
    }
    let (info, unanswered) = match answer {
        Err(error) if says_nothing(&error) => {
            log::info!("{error}; going on without");
            (None, Some(error))
        }
        other => (Some(other?.value), None),
    };
    // What may be no hiccup is told soon.
    let hiccup = unanswered.filter(|error| error.kind != ErrorKind::Timeout);
    let patience = if hiccup.is_some() {
        FIRST_ANSWERS
    } else {
        AFTER_SILENCE
    };
    if let Some(info) = info.as_ref().filter(|info| !info.offer.is_paid()) {
        bail!(
            "the account {} is a free one; the service's API needs a paid one (Access, Premium or GOLD)",
            info.email
        );
    }
    if info.is_none() && store.is_of_another_key() {
        bail!(
            "the key was changed, and the service says only once in six minutes whose it is; mount again \
             in six minutes"
        );
    }
    store.claim(info.as_ref().map_or("", |info| &*info.email))?;
    let deadline = Deadline::within(clock, patience);
    // The service says who an account is once in six minutes. Were the answer lost with a process that
    // is killed in its first moments, the account could not be mounted again for as long.
    if let Err(error) = client.scheduler().flush().await {
        log::warn!("the call budget could not be saved: {error}");
    }
    let path = config.root.as_str();
    let root = resolve_root(client, Path::new(path), deadline).await?;
    store.keep_root(path, &root);
    let parts = parts(config, client, clock, runtime, root, store)?;
    if info.is_none() {
        // Nothing else says whether the key is good.
        let caller = Caller {
            requester: Requester::SELF,
            deadline,
        };
        let listed = parts.tree.children(Ino::ROOT, caller).ready().await;
        drop(listed.map_err(|error| match hiccup {
            // It was no hiccup.
            Some(first) if error.is_temporary() => anyhow::Error::from(first),
            _ => error.into(),
        })?);
    }
    Ok(parts)
}

/// Whether an error says nothing of the account: the service failed for reasons of its own, or another
/// process asked a moment ago and died before it could keep the answer. It is not to be asked again for six
/// minutes, and the listing of the root tells as much as must be known.
fn says_nothing(error: &ApiError) -> bool {
    use ErrorKind as K;
    match error.kind {
        K::Timeout => error.reached == Reached::NotSent,
        K::Server | K::Maintenance | K::Malformed | K::Network => error.reached != Reached::NotSent,
        _ => false,
    }
}

/// Makes the parts; no call is waited for.
fn parts(
    config: &config::Mount,
    client: &Client,
    clock: Clock,
    runtime: &runtime::Handle,
    root: RootFolder,
    store: Store,
) -> anyhow::Result<Parts> {
    let settings = TreeSettings {
        root,
        dir_cache_time: config.dir_cache_time,
        crawl: config.crawl,
        ..TreeSettings::default()
    };
    let tree = Tree::with_store(client.clone(), clock, settings, runtime.clone(), store)?;
    if let Some((info, at)) = client.scheduler().user_info() {
        tree.know_space(&info, at);
    }
    // Asked for already: whoever looks first need not wait for it, and nobody waits here, since a
    // mount that comes back within 30 s may have to let that time pass first.
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, AFTER_SILENCE),
    };
    drop(tree.children(Ino::ROOT, caller));
    let reading = ReadSettings {
        disk: disk_cache(config, clock),
        limit: config.bwlimit.down,
        streams_per_file: config.streams_per_file,
        ..ReadSettings::new(config.memory)
    };
    let reader = Reader::new(client.clone(), clock, reading, runtime.clone());
    Ok(Parts { tree, reader })
}

/// The disk cache, if one is wanted and can be had; a mount does well without.
fn disk_cache(config: &config::Mount, clock: Clock) -> Option<DiskCache> {
    if config.cache_size == 0 {
        return None;
    }
    DiskCache::open(&config.own_cache_dir(), config.cache_size, clock)
        .inspect_err(|error| log::warn!("no disk cache: {error}"))
        .ok()
}

fn attach(config: &config::Mount) -> anyhow::Result<Attached> {
    let options = kernel::Options {
        account: config.account.name.clone(),
        // This version changes nothing, whatever was asked for.
        read_only: true,
        allow_other: config.allow_other,
        noexec: config.noexec,
        noatime: config.noatime,
    };
    Ok(kernel::attach(&config.mountpoint, &options)?)
}

fn fs_settings(config: &config::Mount) -> FsSettings {
    FsSettings {
        ownership: Ownership {
            uid: config.uid,
            gid: config.gid,
            umask: config.umask.0,
            read_only: true,
        },
        mounted_by: nix::unistd::geteuid().as_raw(),
        read_timeout: config.read_timeout,
        passthrough: config.read_only && nix::unistd::geteuid().is_root(),
    }
}

/// Detaches what was attached, on every way out.
struct Mounted<'a> {
    attached: &'a Attached,
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.attached.detach() {
            log::error!("{error}");
        }
    }
}

/// Takes the mount out of the tree and serves those who still use it for a moment.
async fn end(
    attached: &Attached,
    session: &mut Session,
    signals: &mut Signals,
    clock: Clock,
) -> anyhow::Result<()> {
    attached.detach()?;
    tokio::select! {
        ended = clock.timeout(LAST_SERVICE, session.ended()) => {
            if let Some(ended) = ended {
                return ended.context("the session broke");
            }
            log::info!("programs still use the mount; they are left without it");
        }
        _ = signals.next() => {}
    }
    Ok(())
}

/// Looks at the root again as soon as the service allows; other folders follow when they are used.
fn look_again(tree: &Tree, clock: Clock) {
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, AFTER_SILENCE),
    };
    let tree = tree.clone();
    tokio::spawn(async move {
        match tree.renew(Ino::ROOT, caller).await {
            Ok(_) => log::info!("the root was looked at again"),
            Err(error) => log::warn!("looking at the root again: {error}"),
        }
    });
}

fn report(client: &Client, tree: &Tree, reader: &Reader, health: &AccountHealth) {
    if let Some(trouble) = health.trouble() {
        log::info!("account: {trouble}");
    }
    log::info!("calls: {:?}", client.scheduler().snapshot());
    log::info!("tree: {:?}", tree.snapshot());
    log::info!("reading: {:?}", reader.snapshot());
}

/// Opens the socket commands ask at, until the runtime ends: whoever waits for the end of the mount
/// hears it by the socket closing, so nothing may be left to do by then. A mount without it works;
/// commands then say that they cannot reach it.
fn listen(
    config: &config::Mount,
    attached: &Attached,
    client: &Client,
    parts: Parts,
    health: &Arc<AccountHealth>,
    clock: Clock,
) {
    let Parts { tree, reader } = parts;
    let places = control::place::of(&config.account);
    let server = match control::Server::bind(&places) {
        Ok(server) => server,
        Err(error) => {
            log::warn!("no control socket: {error}");
            return;
        }
    };
    let pong = Pong {
        pid: std::process::id(),
        account: config.account.name.to_string(),
        mountpoint: config.mountpoint.to_string_lossy().into_owned(),
        device: attached.device().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_dir: config.account.state_dir.to_string_lossy().into_owned(),
        since: clock.unix().as_secs(),
    };
    let answers = Arc::new(Control {
        client: client.clone(),
        tree,
        reader,
        clock,
        health: Arc::clone(health),
        pong,
    });
    tokio::spawn(async move {
        if let Err(error) = server.serve(answers).await {
            log::warn!("control socket: {error}");
        }
    });
}
