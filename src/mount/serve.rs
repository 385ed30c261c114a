//! One mount from its configuration to its end: has the parts made, runs the session, takes everything
//! down in order.
//!
//! Promises: an account that was never seen before must answer before anything is mounted; one whose
//! tree is known is mounted at once, network or not, and asked afterwards. When this returns nothing is
//! mounted any more; what was learnt, the account's call budget and what the account does not have yet are
//! on disk.
use super::account::{AccountHealth, Watch};
use super::answers::Control;
use super::background::Ready;
use super::ending::{self, Ending};
use super::errands::InTree;
use super::hooking;
use super::kernel::{self, Attached};
use super::parts::{self, AFTER_SILENCE, Parts};
use super::signals::{Signal, Signals};
use super::watchdog::Watchdog;
use crate::api::scheduler::Fingerprint;
use crate::api::{Client, Requester};
use crate::config;
use crate::control::{self, Pong};
use crate::fs::{Fs, FsSettings, Ownership, Session};
use crate::page::{Hosts, Page};
use crate::tree::{Caller, Ino, Store, Tree};
use crate::util::clock::Clock;
use crate::util::crypto;
use crate::util::deadline::Deadline;
use crate::util::human::counted;
use crate::write::volume::Volume;
use anyhow::{Context, bail};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{self, Runtime};

/// How long programs that still use the mount are served after it was told to end, before anything else is
/// seen to; they are served on as long as there is something to upload.
const LAST_SERVICE: Duration = Duration::from_secs(3);

/// How long tasks may take to notice the end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// How long the last listings may take to be written: the disk may be busy, and they are worth a wait
/// but not a hanging end.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long the page of the process before may still have the port of ours, and how often that is looked at.
const LAST_PAGE: Duration = Duration::from_secs(2);
const PAGE_STEP: Duration = Duration::from_millis(50);

/// Threads for network and timers at least: one may be busy decrypting.
const FEWEST_THREADS: usize = 2;

/// Threads for what blocks on a disk at most; the pool's own default of 512 would be 512 stacks and
/// as many buffers.
const MOST_BLOCKING: usize = 16;

/// Mounts and serves until the end; `ready` is told when the mountpoint answers.
pub fn run(config: config::Mount, mut ready: Ready) -> anyhow::Result<ExitCode> {
    crypto::install();
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
    let target = hooking::target(&config)?;
    let client = parts::connect(&config, clock)?;
    let fingerprint = Fingerprint::of(&config.key.key);
    let store = Store::open(&config.account.own_state_dir(), fingerprint, clock)?;
    let known = parts::known_root(&config, &store);
    let is_known = known.is_some();
    let parts = if let Some(root) = known {
        parts::parts(&config, &client, clock, &runtime, root, &store)?
    } else {
        tokio::select! {
            parts = parts::first_answers(&config, &client, clock, &runtime, &store) => parts?,
            _ = signals.next() => bail!("ended before the account had answered"),
        }
    };
    let Parts {
        tree,
        reader,
        volume,
    } = parts.clone();
    let outbox = volume.outbox().clone();
    let health = Arc::new(AccountHealth::default());
    let ending = Arc::new(Ending::new());
    let page = page(&config).await;
    let attached = attach(&config)?;
    // From here on every way out takes the mount along.
    let mounted = Mounted {
        attached: &attached,
    };
    let settings = fs_settings(&config);
    let fs = Fs::new(
        tree.clone(),
        reader.clone(),
        volume.clone(),
        clock,
        runtime.clone(),
        settings,
    );
    let device = attached
        .session_fd()
        .context("cannot hand on the FUSE device")?;
    let mut session = Session::start(fs, device, config.allow_other)
        .context("the kernel did not accept the session")?;
    let control = Control {
        client: client.clone(),
        tree: tree.clone(),
        reader: reader.clone(),
        volume: volume.clone(),
        clock,
        health: Arc::clone(&health),
        ending: Arc::clone(&ending),
        errands: InTree::of_mount(
            client.clone(),
            clock,
            tree.clone(),
            volume.clone(),
            config.root.clone(),
        ),
        read_only: config.read_only,
        root: config.root.as_str().to_owned(),
        keeping: Arc::default(),
        own_state_dir: config.account.own_state_dir(),
        pong: pong(&config, &attached, clock, page.as_ref()),
    };
    let keeper = control.keeper();
    listen(&config, page, control);
    let hook = hooking::start(target, &config, &tree, clock, &runtime);
    tree.start();
    begin(&volume, config.read_only);
    if config.keep_state_in_account && !config.read_only {
        let end = tree.clone();
        runtime.spawn(async move {
            tokio::select! {
                () = end.stopped() => {}
                () = keeper.run() => {}
            }
        });
    }
    ready.now()?;
    ready.status(&format!(
        "account {} at {}",
        config.account.name,
        config.mountpoint.display()
    ));
    let watchdog = Watchdog::start(&config.mountpoint, &runtime);
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

    let mut is_urgent = false;
    let outcome = loop {
        tokio::select! {
            ended = session.ended() => break ended.context("the session broke"),
            signal = signals.next() => match signal {
                Signal::Stop => {
                    ready.stopping();
                    if let Some(watchdog) = &watchdog {
                        watchdog.mount_goes();
                    }
                    tree.stop();
                    break end(&attached, &mut session, &mut signals, clock, &mut is_urgent).await;
                }
                Signal::StopNow => {
                    is_urgent = true;
                    break Ok(());
                }
                Signal::Refresh => look_again(&tree, clock),
                Signal::Report => report(&client, &parts, &health),
            },
        }
    };
    if let Some(watchdog) = &watchdog {
        watchdog.mount_goes();
    }
    drop(mounted);
    drop(hook);
    tree.stop();
    // What a program had open and did not close counts as closed.
    if let Err(error) = volume.close().await {
        log::error!("what was written last could not be kept: {error}");
    }
    if config.read_only || outcome.is_err() {
        ending::finish(&outbox).await;
    } else {
        let mut limit = config.drain;
        if is_urgent {
            limit = Some(Duration::ZERO);
        }
        ending::drain(&outbox, &ending, limit, clock, &mut signals, ready).await;
    }
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

fn attach(config: &config::Mount) -> anyhow::Result<Attached> {
    let options = kernel::Options {
        account: config.account.name.clone(),
        read_only: config.read_only,
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
            read_only: config.read_only,
        },
        mounted_by: nix::unistd::geteuid().as_raw(),
        read_timeout: config.read_timeout,
        passthrough: config.read_only && nix::unistd::geteuid().is_root(),
        read_only: config.read_only,
        waits_for_upload: config.upload == config::Upload::Wait,
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
    is_urgent: &mut bool,
) -> anyhow::Result<()> {
    attached.detach()?;
    tokio::select! {
        ended = clock.timeout(LAST_SERVICE, session.ended()) => {
            if let Some(ended) = ended {
                return ended.context("the session broke");
            }
            log::info!("programs still use the mount; they will be left without it");
        }
        signal = signals.next() => *is_urgent = signal == Signal::StopNow,
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

fn report(client: &Client, parts: &Parts, health: &AccountHealth) {
    if let Some(trouble) = health.trouble() {
        log::info!("account: {trouble}");
    }
    log::info!("calls: {:?}", client.scheduler().snapshot());
    log::info!("tree: {:?}", parts.tree.snapshot());
    log::info!("reading: {:?}", parts.reader.snapshot());
    log::info!("writing: {:?}", parts.volume.outbox().snapshot());
}

/// Begins to tell the account what waits, unless nothing may be changed; says what is not as it should be.
fn begin(volume: &Volume, read_only: bool) {
    let waiting = volume.outbox().snapshot();
    let lost = volume.staging().lost;
    if lost > 0 {
        log::warn!(
            "{lost} staging files were set aside after damage, since nobody knows what they are of; they \
             end with .lost in the folder `staging` of the account's state"
        );
    }
    if !waiting.failed.is_empty() {
        log::warn!(
            "the account did not take {}; `fichierfs status` says why",
            counted(
                waiting.failed.len() as u64,
                "file or folder",
                "files and folders"
            )
        );
    }
    if !read_only {
        volume.start();
    } else if waiting.waiting > 0 {
        log::warn!(
            "{} files or folders changed by an earlier mount are not in the account; they are shown, and \
             this mount, being read-only, tells it nothing",
            waiting.waiting
        );
    }
}

fn pong(config: &config::Mount, attached: &Attached, clock: Clock, page: Option<&Page>) -> Pong {
    Pong {
        pid: std::process::id(),
        account: config.account.name.to_string(),
        mountpoint: config.mountpoint.to_string_lossy().into_owned(),
        device: attached.device().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state_dir: config.account.state_dir.to_string_lossy().into_owned(),
        since: clock.unix().as_secs(),
        page: page.map(Page::url),
    }
}

/// The status page, if one is wanted. A mount does well without.
async fn page(config: &config::Mount) -> Option<Page> {
    let address = config.metrics?;
    let hosts = if config.metrics_public && !address.ip().is_loopback() {
        Hosts::Any
    } else {
        Hosts::Loopback
    };
    let began = Instant::now();
    loop {
        match Page::bind(address, hosts) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < LAST_PAGE =>
            {
                tokio::time::sleep(PAGE_STEP).await;
            }
            bound => {
                return bound
                    .inspect_err(|error| {
                        log::error!("no status page at {address} (--metrics): {error}");
                    })
                    .ok();
            }
        }
    }
}

/// Serves the status page, if there is one, and opens the socket commands ask at, until the runtime ends:
/// whoever waits for the end of the mount hears it by the socket closing, so nothing may be left to do by
/// then. A mount without a socket works; commands then say that they cannot reach it.
fn listen(config: &config::Mount, page: Option<Page>, answers: Control) {
    let answers = Arc::new(answers);
    if let Some(page) = page {
        log::info!("status page at {}", page.url());
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            if let Err(error) = page.serve(answers).await {
                log::warn!("status page: {error}");
            }
        });
    }
    let places = control::place::of(&config.account);
    let server = match control::Server::bind(&places) {
        Ok(server) => server,
        Err(error) => {
            log::warn!("no control socket: {error}");
            return;
        }
    };
    tokio::spawn(async move {
        if let Err(error) = server.serve(answers).await {
            log::warn!("control socket: {error}");
        }
    });
}
