//! The parts of a mount, made from its configuration and handed to each other.
//!
//! Promises: an account that was never seen before must answer before there are any; one whose tree is
//! known has them at once. What an earlier mount did not get told is shown again.
use super::take_over;
use crate::api::scheduler::{BudgetError, BudgetFile, Fingerprint, Scheduler};
use crate::api::{self, ApiError, Ask, Client, ErrorKind, Priority, Reached, Requester};
use crate::config::{self, Upload};
use crate::read::{DiskCache, ReadSettings, Reader};
use crate::tree::{Caller, Ino, RootFolder, Store, Tree, TreeSettings, resolve_root};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::write::volume::{Volume, VolumeSettings};
use anyhow::{Context, anyhow, bail};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio::runtime;

/// How long the account may take to answer at the start: some repetitions of a call that fails, so
/// that a network that is not there is told soon.
const FIRST_ANSWERS: Duration = Duration::from_secs(10);

/// How long it may take when the service asks for silence: one silence after a flood (30 s) and the
/// calls behind it, and still within what the parent of a background mount waits.
pub(super) const AFTER_SILENCE: Duration = Duration::from_secs(45);

/// Of the disk's free space, what may be staged unless somebody says otherwise: a film of tens of gigabytes
/// must fit where there is room, and others need the rest.
const STAGING_SHARE: u64 = 2;

/// What serves the kernel.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) tree: Tree,
    pub(super) reader: Reader,
    pub(super) volume: Volume,
}

/// Takes the account's lock and prepares the client; no call is made. Blocks.
pub(super) fn connect(config: &config::Mount, clock: Clock) -> anyhow::Result<Client> {
    let account = &config.account;
    let fingerprint = Fingerprint::of(&config.key.key);
    let service = account.api_url.to_string();
    let take = || BudgetFile::open(&account.budget_dir(), &fingerprint, &service);
    let budget = take_over::take(account, take).map_err(|error| match error {
        held @ BudgetError::Held(_) => anyhow!(held),
        other @ BudgetError::Io { .. } => {
            anyhow!(other).context("cannot keep the account's call budget")
        }
    })?;
    let scheduler = Scheduler::new(clock, account.rates(), Some(budget));
    let settings = api::Settings {
        cdn: config.cdn,
        shared: config.shared.each().to_vec(),
        passwords: (account.passwords.clone()).below(Path::new(config.root.as_str())),
        ..account.client_settings(config.key.key.clone(), clock)
    };
    Ok(Client::new(settings, scheduler)?)
}

/// The folder to show, if the account and that folder were mounted before: then nobody need be asked.
pub(super) fn known_root(config: &config::Mount, store: &Store) -> Option<RootFolder> {
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
pub(super) async fn first_answers(
    config: &config::Mount,
    client: &Client,
    clock: Clock,
    runtime: &runtime::Handle,
    store: &Store,
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
pub(super) fn parts(
    config: &config::Mount,
    client: &Client,
    clock: Clock,
    runtime: &runtime::Handle,
    root: RootFolder,
    store: &Store,
) -> anyhow::Result<Parts> {
    let settings = TreeSettings {
        root,
        dir_cache_time: config.dir_cache_time,
        crawl: config.crawl,
        watch: config.on_change.is_some(),
        ..TreeSettings::default()
    };
    let tree = Tree::with_store(
        client.clone(),
        clock,
        settings,
        runtime.clone(),
        store.clone(),
    )?;
    if let Some((info, at)) = client.scheduler().user_info() {
        tree.know_space(&info, at);
    }
    let reading = ReadSettings {
        disk: disk_cache(config, clock),
        limit: config.bwlimit.down,
        streams_per_file: config.streams_per_file,
        ..ReadSettings::new(config.memory)
    };
    let reader = Reader::new(client.clone(), clock, reading, runtime.clone());
    let volume = Volume::open(
        tree.clone(),
        reader.clone(),
        client.clone(),
        clock,
        store,
        volume_settings(config)?,
        runtime.clone(),
    )
    .context("cannot take up what an earlier mount left")?;
    // Asked for already: whoever looks first need not wait for it, and nobody waits here, since a
    // mount that comes back within 30 s may have to let that time pass first. Not before the volume has said
    // which numbers belong to what was made here: a listing that is read before gives it others.
    let caller = Caller {
        requester: Requester::SELF,
        deadline: Deadline::within(clock, AFTER_SILENCE),
    };
    drop(tree.children(Ino::ROOT, caller));
    Ok(Parts {
        tree,
        reader,
        volume,
    })
}

fn volume_settings(config: &config::Mount) -> anyhow::Result<VolumeSettings> {
    let staging_dir = config.staging_dir();
    let staging_size = match config.staging_size {
        Some(size) => size,
        None => share_of_disk(&staging_dir)
            .with_context(|| format!("cannot look at the disk of {}", staging_dir.display()))?,
    };
    Ok(VolumeSettings {
        staging_dir,
        staging_size,
        settle: config.settle,
        settle_open: config.settle_open,
        upload_limit: config.bwlimit.up,
        waits_for_upload: config.upload == Upload::Wait,
        is_read_only: config.read_only,
    })
}

/// A share of what is free on the disk of `dir`, as if nothing were staged there yet.
fn share_of_disk(dir: &Path) -> io::Result<u64> {
    /// Bytes of a block in a file's attributes, whatever the file system's own are (stat(2)).
    const BLOCK: u64 = 512;
    fs::create_dir_all(dir)?;
    let disk = nix::sys::statvfs::statvfs(dir)?;
    let free = disk.blocks_available() * disk.fragment_size();
    let mut staged = 0;
    for file in fs::read_dir(dir)? {
        staged += file?.metadata()?.blocks() * BLOCK;
    }
    Ok((free + staged) / STAGING_SHARE)
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
