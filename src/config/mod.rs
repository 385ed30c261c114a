//! From options to a configuration: typed, checked, with every default filled in.
//!
//! Promises: a [`Mount`] or [`Account`] that exists can be used as it stands; nothing after this
//! module looks at the environment, the config file or argv. Nothing is created or changed here
//! but by [`Mount::make_folders`] and [`key::store`].
//!
//! [`options`] declares the options, [`layers`] merges their sources, [`mount_opts`] reads `-o`,
//! [`mod@file`] the config file, [`key`] finds the API key, [`places`] the default folders.
mod error;
pub mod file;
pub mod key;
pub mod layers;
pub mod mount_opts;
pub mod on_change;
pub mod options;
mod passwords;
pub mod places;
pub mod private;
pub mod values;

pub use error::ConfigError;
pub use key::FoundKey;
pub use mount_opts::Terms;
pub use on_change::OnChange;
pub use options::{AccountOptions, MountOptions};
pub use places::Places;
pub use values::{
    AccountName, AccountPath, Bandwidth, Mails, PageAddress, ProxyUrl, Umask, Upload,
};

use crate::api::scheduler::Rates;
use crate::api::{ApiUrl, PasswordList, Settings};
use crate::secret::ApiKey;
use crate::util::clock::Clock;
use key::KeyPlaces;
use layers::Setting;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a process finds around it besides argv.
#[derive(Clone)]
pub struct Surroundings {
    /// Default folders.
    pub places: Places,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether root runs it.
    pub root: bool,
}

impl fmt::Debug for Surroundings {
    /// Without the environment, which may hold the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { places, root, .. } = self;
        f.debug_struct("Surroundings")
            .field("places", places)
            .field("root", root)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Result<Self, ConfigError> {
        let places = Places::of_process().ok_or_else(|| {
            ConfigError::option("HOME", "is not set, so there is no place for any file")
        })?;
        Ok(Self {
            places,
            environment: std::env::vars_os().collect(),
            root: nix::unistd::geteuid().is_root(),
        })
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let found = self.environment.iter().find(|(known, _)| known == name)?;
        Some(found.1.clone()).filter(|value| !value.is_empty())
    }
}

/// What every command needs that speaks with an account, but for the key (see
/// [`Account::find_key`]).
#[derive(Debug)]
pub struct Account {
    /// The name it is configured under.
    pub name: AccountName,
    /// Where the API answers; https, or http on this machine.
    pub api_url: ApiUrl,
    /// PEM certificates to trust besides the system's.
    pub ca_cert: Option<Vec<u8>>,
    /// The proxy for all connections; `None` = what HTTPS_PROXY and NO_PROXY say.
    pub proxy: Option<ProxyUrl>,
    /// Call starts per second at most.
    pub rate: f64,
    /// Base folder of everything that must survive a restart, shared by all accounts.
    pub state_dir: PathBuf,
    /// Whether the user chose that folder: then no mount with another one is meant.
    pub state_dir_chosen: bool,
    /// Folder for sockets, if the session has one.
    pub runtime_dir: Option<PathBuf>,
    /// Folder of the config file and stored logins.
    pub config_dir: PathBuf,
    /// Passwords of files.
    pub passwords: PasswordList,
    key_places: KeyPlaces,
}

impl Account {
    /// Puts together what the command line (`given`) and the surroundings say.
    pub fn resolve(given: AccountOptions, around: &Surroundings) -> Result<Self, ConfigError> {
        let given = MountOptions {
            account: given,
            ..MountOptions::default()
        };
        let (account, _) = resolve(given, &[], around)?;
        Ok(account)
    }

    /// The account's key, from the first place that has one.
    pub fn find_key(&mut self) -> Result<FoundKey, ConfigError> {
        std::mem::take(&mut self.key_places).find(&self.name)
    }

    /// Folder of this account alone within the state folder.
    pub fn own_state_dir(&self) -> PathBuf {
        self.state_dir.join(self.name.as_str())
    }

    /// Folder in which accounts are locked and their call budgets kept. Shared by all names,
    /// since two names may stand for one key.
    pub fn budget_dir(&self) -> PathBuf {
        self.state_dir.join("budget")
    }

    /// What the client of the service must know; CDN credits are spared.
    pub fn client_settings(&self, key: ApiKey, clock: Clock) -> Settings {
        Settings {
            api_url: self.api_url.clone(),
            key,
            ca_cert: self.ca_cert.clone(),
            proxy: self.proxy.as_ref().map(|url| url.expose().to_owned()),
            clock,
            cdn: false,
            passwords: self.passwords.clone().below(Path::new("/")),
            shared: Vec::new(),
        }
    }

    /// How often the service may be called.
    pub fn rates(&self) -> Rates {
        Rates {
            starts_per_second: self.rate,
            ..Rates::default()
        }
    }

    /// Where a key comes from that goes before the stored login, if there is one.
    pub fn overrides_login(&self) -> Option<String> {
        self.key_places.before_login()
    }

    /// Makes the folders this account keeps its state in.
    pub fn make_folders(&self) -> Result<(), ConfigError> {
        for folder in [self.own_state_dir(), self.budget_dir()] {
            usable("state", &folder, "--state-dir")?;
        }
        Ok(())
    }
}

/// Everything a mount is told.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch"
)]
pub struct Mount {
    /// The account and how to reach it.
    pub account: Account,
    /// Its key.
    pub key: FoundKey,
    /// Where it is mounted: an absolute path.
    pub mountpoint: PathBuf,
    /// The folder of the account that is shown there.
    pub root: AccountPath,
    /// The accounts whose shared folders are shown.
    pub shared: Mails,
    /// Whether changes are refused.
    pub read_only: bool,
    /// Whether users other than the one who mounts are let in.
    pub allow_other: bool,
    /// Owner of all files.
    pub uid: u32,
    /// Group of all files.
    pub gid: u32,
    /// Permission bits taken away.
    pub umask: Umask,
    /// Whether programs on the mount may not be run.
    pub noexec: bool,
    /// Whether the kernel is told not to keep access times.
    pub noatime: bool,
    /// Base folder of the disk cache, shared by all accounts.
    pub cache_dir: PathBuf,
    /// Bytes of contents kept on disk; 0 = no disk cache.
    pub cache_size: u64,
    /// Bytes of contents kept in memory.
    pub memory: u64,
    /// Age at which a listing is asked for again.
    pub dir_cache_time: Duration,
    /// Whether folders that nobody asked for are listed in the background.
    pub crawl: bool,
    /// How long a read may take.
    pub read_timeout: Duration,
    /// How fast contents may come and go.
    pub bwlimit: Bandwidth,
    /// Connections one file is read over at most.
    pub streams_per_file: usize,
    /// Bytes that wait for their upload at most; `None` = a share of the disk.
    pub staging_size: Option<u64>,
    /// How long a closed file is left alone before it is uploaded.
    pub settle: Duration,
    /// How long one that is held open is, after it was flushed.
    pub settle_open: Duration,
    /// When closing a written file returns.
    pub upload: Upload,
    /// How long the end may wait for uploads; `None` = until all are done.
    pub drain: Option<Duration>,
    /// Whether downloads may spend CDN credits.
    pub cdn: bool,
    /// Whether what exists on this machine only is kept in the account, too.
    pub keep_state_in_account: bool,
    /// Where the status page is served, if it is.
    pub metrics: Option<SocketAddr>,
    /// Whether it is meant for other machines, too.
    pub metrics_public: bool,
    /// Who is told which folders changed.
    pub on_change: Option<OnChange>,
}

impl Mount {
    /// Puts together what the command line (`given`, `lists` of `-o`) and the surroundings say.
    pub fn resolve(
        given: MountOptions,
        lists: &[String],
        terms: Terms,
        mountpoint: &Path,
        around: &Surroundings,
    ) -> Result<Self, ConfigError> {
        let mut listed = Vec::new();
        for list in lists {
            listed.extend(mount_opts::settings(list, terms, layers::is_option)?);
        }
        let (mut account, options) = resolve(given, &listed, around)?;
        let memory = at_least(
            "memory",
            options.memory.unwrap_or(options::DEFAULT_MEMORY),
            options::LEAST_MEMORY,
            "16MiB",
        )?;
        let dir_cache_time = at_least(
            "dir-cache-time",
            options
                .dir_cache_time
                .unwrap_or(options::DEFAULT_DIR_CACHE_TIME),
            options::LEAST_DIR_CACHE_TIME,
            "30s, because the service allows one listing per folder in that time",
        )?;
        let read_timeout = at_least(
            "read-timeout",
            options
                .read_timeout
                .unwrap_or(options::DEFAULT_READ_TIMEOUT),
            options::LEAST_READ_TIMEOUT,
            "5s",
        )?;
        let staging_size = options
            .staging_size
            .map(|size| at_least("staging-size", size, options::LEAST_STAGING, "1MiB"))
            .transpose()?;
        let metrics_public = options.metrics_public.unwrap_or(false);
        let metrics = page_address(options.metrics, metrics_public)?;
        let key = account.find_key()?;
        Ok(Self {
            key,
            mountpoint: absolute("mountpoint", mountpoint)?,
            root: options.root.unwrap_or_default(),
            shared: options.shared.unwrap_or_default(),
            read_only: options.read_only.unwrap_or(false),
            allow_other: options.allow_other.unwrap_or(false),
            uid: options
                .uid
                .unwrap_or_else(|| nix::unistd::getuid().as_raw()),
            gid: options
                .gid
                .unwrap_or_else(|| nix::unistd::getgid().as_raw()),
            umask: options.umask.unwrap_or(Umask(0o022)),
            noexec: options.noexec.unwrap_or(false),
            noatime: options.noatime.unwrap_or(false),
            cache_dir: absolute(
                "cache-dir",
                options.cache_dir.as_ref().unwrap_or(&around.places.cache),
            )?,
            cache_size: options.cache_size.unwrap_or(options::DEFAULT_CACHE_SIZE),
            memory,
            dir_cache_time,
            crawl: !options.no_crawl.unwrap_or(false),
            read_timeout,
            bwlimit: options.bwlimit.unwrap_or_default(),
            streams_per_file: options
                .streams_per_file
                .unwrap_or(options::DEFAULT_STREAMS_PER_FILE),
            staging_size,
            settle: options.settle.unwrap_or(options::DEFAULT_SETTLE),
            settle_open: options.settle_open.unwrap_or(options::DEFAULT_SETTLE_OPEN),
            upload: options.upload.unwrap_or_default(),
            drain: options.drain,
            cdn: options.cdn.unwrap_or(false),
            keep_state_in_account: options.keep_state_in_account.unwrap_or(false),
            metrics,
            metrics_public,
            on_change: options.on_change,
            account,
        })
    }

    /// Folder of what waits for its upload.
    pub fn staging_dir(&self) -> PathBuf {
        self.account.own_state_dir().join("staging")
    }

    /// Folder of this account alone within the cache folder.
    pub fn own_cache_dir(&self) -> PathBuf {
        self.cache_dir.join(self.account.name.as_str())
    }

    /// Makes the folders the mount keeps files in and proves that they can be written.
    pub fn make_folders(&self) -> Result<(), ConfigError> {
        self.account.make_folders()?;
        usable("staging", &self.staging_dir(), "--state-dir")?;
        if self.cache_size > 0 {
            usable("cache", &self.own_cache_dir(), "--cache-dir")?;
        }
        Ok(())
    }
}

/// Where an account's contents are kept on disk, without all that a mount needs besides.
#[derive(Debug)]
pub struct CacheFolder {
    /// The account.
    pub account: Account,
    /// The folder of this account alone.
    pub dir: PathBuf,
    /// Bytes a mount would keep there at most.
    pub size: u64,
}

impl CacheFolder {
    /// Puts together what the command line (`given`) and the surroundings say.
    pub fn resolve(given: MountOptions, around: &Surroundings) -> Result<Self, ConfigError> {
        let (account, options) = resolve(given, &[], around)?;
        let base = options.cache_dir.as_ref().unwrap_or(&around.places.cache);
        Ok(Self {
            dir: absolute("cache-dir", base)?.join(account.name.as_str()),
            size: options.cache_size.unwrap_or(options::DEFAULT_CACHE_SIZE),
            account,
        })
    }
}

/// What `doctor` looks at of a configuration, whether or not it would do for a mount.
#[derive(Debug)]
pub struct Outline {
    /// The account.
    pub account: Account,
    /// Base folder of the disk cache.
    pub cache_dir: PathBuf,
    /// Bytes a mount would keep there at most; 0 = no disk cache.
    pub cache_size: u64,
    /// Whether a mount would let other users in.
    pub allow_other: bool,
}

impl Outline {
    /// Puts together what the command line (`given`) and the surroundings say.
    pub fn resolve(given: AccountOptions, around: &Surroundings) -> Result<Self, ConfigError> {
        let given = MountOptions {
            account: given,
            ..MountOptions::default()
        };
        let (account, options) = resolve(given, &[], around)?;
        let cache_dir = options.cache_dir.as_ref().unwrap_or(&around.places.cache);
        Ok(Self {
            cache_dir: absolute("cache-dir", cache_dir)?,
            cache_size: options.cache_size.unwrap_or(options::DEFAULT_CACHE_SIZE),
            allow_other: options.allow_other.unwrap_or(false),
            account,
        })
    }
}

/// Merges all sources; `given` stands above everything, then `listed` (`-o`).
fn resolve(
    given: MountOptions,
    listed: &[Setting],
    around: &Surroundings,
) -> Result<(Account, MountOptions), ConfigError> {
    let (environment, unknown) = layers::from_environment(around.environment.iter().cloned())?;
    for name in unknown {
        log::warn!("the environment variable {name} sets no option of fichierfs");
    }
    let upper = given
        .over(layers::parse(listed)?)
        .over(layers::parse(&environment)?);
    let name = upper.account.account.clone().unwrap_or_default();
    let config_dir = &around.places.config;
    let file = file::read(&file::path_in(config_dir), &name)?;
    let lower = layers::parse(&file.settings)?;
    let key_places = KeyPlaces {
        file: upper.account.api_key_file.clone(),
        variable: around.variable(key::KEY_VARIABLE),
        credentials: around.variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        configured_file: lower.account.api_key_file.clone(),
        configured: file.api_key,
        stored: key::stored_in(config_dir, &name),
    };
    let mut merged = upper.over(lower);
    let options = std::mem::take(&mut merged.account);
    let account = Account {
        name,
        api_url: options.api_url.unwrap_or_else(ApiUrl::service),
        ca_cert: options.ca_cert.as_deref().map(certificates).transpose()?,
        proxy: options.proxy,
        rate: options.rate.unwrap_or(options::DEFAULT_RATE),
        state_dir: absolute(
            "state-dir",
            options.state_dir.as_ref().unwrap_or(&around.places.state),
        )?,
        state_dir_chosen: options.state_dir.is_some(),
        runtime_dir: around.places.runtime.clone(),
        config_dir: config_dir.clone(),
        passwords: file.passwords,
        key_places,
    };
    Ok((account, merged))
}

/// Bytes of a certificate file at most: the system's whole store is below.
const LONGEST_CA_FILE: u64 = 4 << 20;

fn certificates(path: &Path) -> Result<Vec<u8>, ConfigError> {
    const WHAT: &str = "certificate file";
    let pem = private::read(path, WHAT, LONGEST_CA_FILE)?.text;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(ConfigError::Malformed {
            what: WHAT,
            path: path.to_owned(),
            why: "it holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into(),
        });
    }
    Ok(pem.into_bytes())
}

fn at_least<T: PartialOrd + Copy>(
    option: &str,
    value: T,
    least: T,
    says: &str,
) -> Result<T, ConfigError> {
    if value < least {
        return Err(ConfigError::option(
            option,
            format!("must be at least {says}"),
        ));
    }
    Ok(value)
}

/// Where the status page is served: on this machine alone unless it is meant for others.
fn page_address(
    given: Option<PageAddress>,
    is_public: bool,
) -> Result<Option<SocketAddr>, ConfigError> {
    let address = given.and_then(|given| given.0);
    match address {
        Some(address) if !is_public && !address.ip().is_loopback() => Err(ConfigError::option(
            "metrics",
            "other machines reach this address; give one of this machine, such as 127.0.0.1:9815, or \
             --metrics-public as well",
        )),
        _ => Ok(address),
    }
}

fn absolute(option: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|err| ConfigError::option(option, err.to_string()))
}

fn usable(what: &'static str, folder: &Path, option: &'static str) -> Result<(), ConfigError> {
    private::make_folder(folder)
        .and_then(|()| {
            if fs::metadata(folder)?.is_dir() {
                private::probe_folder(folder)
            } else {
                Err(io::Error::from(io::ErrorKind::NotADirectory))
            }
        })
        .map_err(|source| ConfigError::Folder {
            what,
            path: folder.to_owned(),
            option,
            source,
        })
}

#[cfg(test)]
mod tests;
