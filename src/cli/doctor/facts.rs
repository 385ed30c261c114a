//! What is so: looked up, not judged.
//!
//! Promises: nothing is changed and nothing fails; what cannot be looked up is a fact, too. What may wait for
//! somebody has a limit.
use super::super::service::{Checked, Look};
use super::super::{mounts, service};
use crate::api::scheduler::{BudgetError, GateCause, GateSnapshot};
use crate::api::{self, ErrorKind, UserInfo, probe};
use crate::config::{AccountOptions, Outline, Surroundings, file};
use crate::control::status::GateFigures;
use crate::control::{AccountAnswer, Answer, Client, Request, find};
use crate::mount::check::{self, FUSE_CONF};
use crate::mount::kernel::DEVICE;
use crate::mount::mountinfo::Entry;
use crate::mount::stale::{self, Life};
use crate::secret::ApiKey;
use crate::util::clock::Clock;
use crate::util::crypto;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{AccessFlags, access};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount may take to say what it knows of the account: it may have to ask the service.
const MOUNT_LIMIT: Duration = Duration::from_secs(70);

/// How long a mount may take to say how it is.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Bytes of a hole that is made in it: larger than any file system's blocks.
const HOLE: u16 = 32 << 10;

/// Bytes of a file that is made to see what a disk can do.
const TRIAL: u64 = 1 << 20;

/// Everything that is judged.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The account's name.
    pub(super) account: String,
    pub(super) is_root: bool,
    pub(super) machine: Machine,
    /// What the configuration says, or why it says nothing.
    pub(super) config: ConfigFacts,
    /// Where the key is, or why there is none.
    pub(super) key: Option<Result<String, String>>,
    pub(super) cache: Option<Disk>,
    pub(super) state: Option<Disk>,
    pub(super) clock: ClockFacts,
    /// The way to the service; `None` when it was not to be looked at.
    pub(super) way: Option<Result<probe::Reach, String>>,
    pub(super) service: ServiceFacts,
    pub(super) mounts: Vec<MountFacts>,
}

/// What the machine has.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// Whether the device of FUSE is there and can be opened.
    pub(super) device: Device,
    /// The program that mounts for others than root, and whether it is root's and set-uid.
    pub(super) fusermount: Option<(PathBuf, bool)>,
    /// Whether others may be let in.
    pub(super) user_allow_other: bool,
    /// The kernel's release, e.g. `6.1.0-18-amd64`.
    pub(super) kernel: String,
    /// Pages of a request at most, where the kernel says so.
    pub(super) max_pages: Option<u64>,
}

/// The device all FUSE sessions speak through.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Device {
    #[default]
    Missing,
    /// It cannot be opened, for this reason.
    Closed(String),
    Opens,
}

/// The configuration.
#[derive(Debug, Default)]
pub(super) struct ConfigFacts {
    /// The config file.
    pub(super) file: PathBuf,
    pub(super) is_there: bool,
    /// What is wrong with it or with the options.
    pub(super) trouble: Option<String>,
    pub(super) allow_other: bool,
    /// Bytes of contents to be kept on disk.
    pub(super) cache_size: u64,
}

/// A folder's disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// The folder that is meant.
    pub(super) folder: PathBuf,
    /// It, or the nearest above it that exists.
    pub(super) found: PathBuf,
    pub(super) is_writable: bool,
    /// The file system's number (statfs(2)).
    pub(super) kind: u64,
    /// Bytes that may be written.
    pub(super) free: u64,
    /// Bytes of what is below the folder already.
    pub(super) used: u64,
    /// Whether a file with a hole takes no room, and holes can be made; `None` when it could not be tried.
    pub(super) makes_holes: Option<bool>,
}

/// The clock.
#[derive(Debug, Default)]
pub(super) struct ClockFacts {
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Seconds it is ahead of the service's, if the service told.
    pub(super) ahead: Option<i64>,
}

/// What is known of the service's view.
#[derive(Debug, Default)]
pub(super) enum ServiceFacts {
    /// It was not asked, and nothing is kept.
    #[default]
    Unknown,
    /// What it says, or said.
    Told {
        /// Of the account, with its age in seconds.
        account: Option<Result<(AccountFacts, u64), ServiceTrouble>>,
        gate: Gate,
    },
    /// Another process has the account, and says nothing.
    Held(String),
    /// It could not be asked for a reason of this machine's.
    Failed(String),
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AccountFacts {
    /// What the service says of it.
    Known(Box<UserInfo>),
    /// The key is accepted; more was not to be asked yet.
    Accepted,
}

/// Why the service did not say it.
#[derive(Debug, Clone)]
pub(super) struct ServiceTrouble {
    /// What kind of trouble, when it is known.
    pub(super) kind: Option<ErrorKind>,
    pub(super) says: String,
}

/// Whether calls may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Not before a time, in seconds since 1970.
    Shut {
        cause: String,
        until: u64,
    },
    /// One call finds out.
    Probing {
        cause: String,
    },
}

/// One mount of ours.
#[derive(Debug)]
pub(super) struct MountFacts {
    pub(super) mountpoint: PathBuf,
    /// Whether somebody serves it; `None` when it belongs to somebody else.
    pub(super) life: Option<Life>,
    /// What its process says is wrong.
    pub(super) trouble: Option<String>,
}

impl Facts {
    /// Looks at everything; `offline`: at this machine only.
    pub(super) fn gather(given: AccountOptions, around: &Surroundings, offline: bool) -> Self {
        let mut facts = Self {
            account: given.account.clone().unwrap_or_default().to_string(),
            is_root: around.root,
            machine: machine(),
            config: config_file(around),
            clock: ClockFacts {
                now: Clock::system().unix().as_secs(),
                ahead: None,
            },
            mounts: all_mounts(),
            ..Self::default()
        };
        match Outline::resolve(given, around) {
            Ok(outline) => facts.of_account(outline, offline),
            Err(error) => facts.config.trouble = Some(error.to_string()),
        }
        facts
    }

    fn of_account(&mut self, outline: Outline, offline: bool) {
        let Outline {
            mut account,
            cache_dir,
            cache_size,
            allow_other,
        } = outline;
        self.account = account.name.to_string();
        self.config.allow_other = allow_other;
        self.config.cache_size = cache_size;
        if cache_size > 0 {
            self.cache = disk(&cache_dir.join(account.name.as_str())).ok();
        }
        self.state = disk(&account.own_state_dir()).ok();
        let mount = find::of_account(&account);
        let key = account.find_key();
        self.key = Some(match &key {
            Ok(found) => Ok(found.origin.clone()),
            Err(error) => Err(error.to_string()),
        });
        if !offline {
            // The key is not sent on the way.
            let key = key.as_ref().map(|found| found.key.clone());
            let key = key.or_else(|_| ApiKey::parse("none")).ok();
            let settings = key.map(|key| account.client_settings(key, Clock::system()));
            self.way = settings.map(|settings| reach(&settings));
        }
        if let Some(mut mount) = mount {
            self.service = ask_mount(&mut mount, offline);
            return;
        }
        let goes = matches!(&self.way, Some(Ok(reach)) if is_open(reach));
        let Ok(key) = key else { return };
        if !goes && !account.budget_dir().exists() {
            return;
        }
        match service::look(&account, &key.key, goes) {
            Ok(look) => {
                self.clock.ahead = look.clock_ahead;
                self.service = told(look);
            }
            Err(error) if service::is_held(&error) => {
                self.service = ServiceFacts::Held(super::super::exit::sentence(&error));
            }
            Err(error) => {
                let is_disk = error.downcast_ref::<BudgetError>().is_some();
                let says = super::super::exit::sentence(&error);
                let context = if is_disk {
                    ""
                } else {
                    "the service cannot be asked: "
                };
                self.service = ServiceFacts::Failed(format!("{context}{says}"));
            }
        }
    }
}

fn is_open(reach: &probe::Reach) -> bool {
    reach.names.is_ok()
        && reach.tcp.as_ref().is_some_and(Result::is_ok)
        && reach.tls.as_ref().is_none_or(Result::is_ok)
}

fn reach(settings: &api::Settings) -> Result<probe::Reach, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    crypto::install();
    let reached = runtime.block_on(probe::reach(settings));
    // A name that is looked up for long is not waited for.
    runtime.shutdown_background();
    reached.map_err(|error| error.to_string())
}

fn told(look: Look) -> ServiceFacts {
    let account = look.account.map(|account| match account {
        Ok((Checked::Account(info), age)) => {
            Ok((AccountFacts::Known(Box::new(info)), age.as_secs()))
        }
        Ok((Checked::Accepted, age)) => Ok((AccountFacts::Accepted, age.as_secs())),
        Err(error) => Err(ServiceTrouble {
            kind: Some(error.kind),
            says: error.to_string(),
        }),
    });
    let gate = match look.gate {
        GateSnapshot::Open => Gate::Open,
        GateSnapshot::Shut { cause, until_ms } => Gate::Shut {
            cause: cause_words(cause).into(),
            until: until_ms.div_ceil(1000),
        },
        GateSnapshot::Probing { cause } => Gate::Probing {
            cause: cause_words(cause).into(),
        },
    };
    ServiceFacts::Told { account, gate }
}

fn cause_words(cause: GateCause) -> &'static str {
    match cause {
        GateCause::Flood => "flood",
        GateCause::Banned => "banned",
        GateCause::OwnerLocked => "owner_locked",
        GateCause::Maintenance => "maintenance",
        GateCause::Down => "down",
        GateCause::Unknown => "unknown",
    }
}

/// What a running mount knows; it asks the service if it must, at its own pace.
fn ask_mount(mount: &mut Client, offline: bool) -> ServiceFacts {
    let status = match mount.ask(&Request::Status, STATUS_LIMIT) {
        Ok(Answer::Status(status)) => status,
        Ok(_) => return ServiceFacts::Held("the running mount's answer makes no sense".into()),
        Err(error) => return ServiceFacts::Held(error.to_string()),
    };
    let gate = match status.calls.gate {
        GateFigures::Open => Gate::Open,
        GateFigures::Shut { cause, until } => Gate::Shut { cause, until },
        GateFigures::Probing { cause } => Gate::Probing { cause },
    };
    let known = |answer: AccountAnswer| {
        let AccountAnswer { info, age_seconds } = answer;
        Ok((AccountFacts::Known(Box::new(info)), age_seconds))
    };
    let account = if offline {
        status.account.map(known)
    } else {
        Some(match mount.ask(&Request::Account, MOUNT_LIMIT) {
            Ok(Answer::Account(answer)) => known(answer),
            Ok(_) => Err(ServiceTrouble {
                kind: None,
                says: "the running mount's answer makes no sense".into(),
            }),
            Err(error) => Err(ServiceTrouble {
                kind: None,
                says: error.to_string(),
            }),
        })
    };
    ServiceFacts::Told { account, gate }
}

fn machine() -> Machine {
    let device = match OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => Device::Opens,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Device::Missing,
        Err(error) => Device::Closed(error.to_string()),
    };
    let fusermount = check::fusermount().map(|path| {
        let is_set_uid = fs::metadata(&path)
            .is_ok_and(|file| file.uid() == 0 && file.permissions().mode() & 0o4000 != 0);
        (path, is_set_uid)
    });
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Machine {
        device,
        fusermount,
        user_allow_other: check::lets_others_in(&read(FUSE_CONF)),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        max_pages: read("/proc/sys/fs/fuse/max_pages_limit")
            .trim()
            .parse()
            .ok(),
    }
}

fn config_file(around: &Surroundings) -> ConfigFacts {
    let path = file::path_in(&around.places.config);
    ConfigFacts {
        is_there: path.exists(),
        file: path,
        ..ConfigFacts::default()
    }
}

/// The disk of a folder, which need not exist yet.
fn disk(folder: &Path) -> io::Result<Disk> {
    let found = folder
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"));
    let space = nix::sys::statvfs::statvfs(found)?;
    let kind = nix::sys::statfs::statfs(found)?.filesystem_type().0;
    let is_writable = access(found, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    Ok(Disk {
        folder: folder.to_owned(),
        found: found.to_owned(),
        is_writable,
        // Of another width and sign on other machines; the numbers have 32 bits.
        kind: u64::from(u32::try_from(kind & 0xffff_ffff).unwrap_or_default()),
        free: space.blocks_available() * space.fragment_size(),
        used: used(folder, MOST_LOOKED_AT),
        makes_holes: makes_holes(found).ok(),
    })
}

/// Files and folders that are looked at to find out how much is used.
const MOST_LOOKED_AT: u32 = 10_000;

/// Bytes that files below a folder take, as far as that is looked at.
fn used(folder: &Path, mut most: u32) -> u64 {
    /// Bytes of a block in a file's attributes, whatever the file system's own are (stat(2)).
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            most = most.saturating_sub(1);
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if most == 0 {
                return bytes;
            } else if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.blocks() * BLOCK;
            }
        }
    }
    bytes
}

/// Tries it with a file that has no name, so that nothing is left behind whatever happens.
fn makes_holes(folder: &Path) -> io::Result<bool> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600)
        .open(folder)?;
    file.set_len(TRIAL)?;
    if file.metadata()?.blocks() > 0 {
        return Ok(false);
    }
    file.write_all(&vec![1; HOLE.into()])?;
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(&file, punch, 0, HOLE.into()).is_ok())
}

/// All mounts of ours on this machine.
fn all_mounts() -> Vec<MountFacts> {
    let user = nix::unistd::geteuid();
    let entries = mounts::all().unwrap_or_default();
    let is_ours = |entry: &Entry| user.is_root() || entry.owner == Some(user.as_raw());
    entries
        .iter()
        .map(|entry| MountFacts {
            mountpoint: entry.mountpoint.clone(),
            ..look_at(entry, is_ours(entry))
        })
        .collect()
}

/// A mount, by what its process says; touched only if nobody answers for it, since whoever unmounts it at that
/// moment would hear that it is in use.
fn look_at(entry: &Entry, is_ours: bool) -> MountFacts {
    let answer = is_ours.then(|| mounts::server_of(entry)).flatten();
    let (life, trouble) =
        match answer.map(|(mut mount, _)| mount.ask(&Request::Status, STATUS_LIMIT)) {
            Some(Ok(Answer::Status(status))) => (Some(Life::Alive), status.trouble),
            _ if is_ours => (Some(stale::probe(&entry.mountpoint, Clock::system())), None),
            _ => (None, None),
        };
    MountFacts {
        mountpoint: PathBuf::new(),
        life,
        trouble,
    }
}
