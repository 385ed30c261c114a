//! The options: their names, values, help and defaults, declared once.
//!
//! The same declaration reads all four sources - the config file, the environment, `-o` and the
//! command line (see [`super::layers`]) - and the reference in `docs/configuration.md` is printed
//! from it, so that no source can know an option the others do not.
use super::on_change::OnChange;
use super::values::{
    self, AccountName, AccountPath, Bandwidth, Mails, PageAddress, ProxyUrl, Umask, Upload,
};
use crate::api::ApiUrl;
use std::path::PathBuf;
use std::time::Duration;

/// Call starts per second: what another client has proved for years under the limit of 3 (API
/// reference 3).
pub const DEFAULT_RATE: f64 = 2.5;

/// Bytes of file contents kept on disk: a film's worth of heads, tails and recent reads, small
/// beside the disks of today.
pub const DEFAULT_CACHE_SIZE: u64 = 10 << 30;

/// Bytes of file contents kept in memory: a few streams with their read-ahead, on machines that
/// have more to do than this.
pub const DEFAULT_MEMORY: u64 = 128 << 20;

/// Least bytes of memory: one stream's window and a little.
pub const LEAST_MEMORY: u64 = 16 << 20;

/// How old a listing may be before it is asked for again. The service allows one listing per
/// folder in 30 s; changes made elsewhere are rare.
pub const DEFAULT_DIR_CACHE_TIME: Duration = Duration::from_secs(5 * 60);

/// How long a read may take: two silences after a flood, or a handful of broken connections.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections one file is read over at most: four times what one gives, and others still get theirs.
pub const DEFAULT_STREAMS_PER_FILE: usize = 4;

/// How long a file is left alone after it was closed before it is uploaded: a program that saves twice
/// costs one upload.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);

/// How long one that a program holds open is left alone after it was flushed: a log or a database is
/// flushed again and again, and each time would be an upload of all of it.
pub const DEFAULT_SETTLE_OPEN: Duration = Duration::from_secs(5 * 60);

/// Least bytes of staging: one piece of a write.
pub const LEAST_STAGING: u64 = 1 << 20;

/// Least time for a read: a link, a connection and some bytes on an ordinary day.
pub const LEAST_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Least age: the service's own limit per folder (API reference 3).
pub const LEAST_DIR_CACHE_TIME: Duration = Duration::from_secs(30);

/// What every command needs that speaks with the account.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AccountOptions {
    /// Name of the account: the stored login, the [account.NAME] table of the config file and
    /// the mount's own state all go by it [default: default]
    #[arg(long, value_name = "NAME", help_heading = "Account")]
    pub account: Option<AccountName>,

    /// File that holds the API key; must not be readable by others. Without it the key is taken
    /// from FICHIERFS_API_KEY, the systemd credential `fichierfs-api-key`, the config file or
    /// the stored login, in this order
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub api_key_file: Option<PathBuf>,

    /// Address of the service's API; plain http only on this machine (for tests)
    /// [default: the service's own]
    #[arg(long, value_name = "URL", value_parser = ApiUrl::parse, help_heading = "Account")]
    pub api_url: Option<ApiUrl>,

    /// File with PEM certificates to trust besides the system's own
    #[arg(long, value_name = "FILE", help_heading = "Account")]
    pub ca_cert: Option<PathBuf>,

    /// HTTP proxy for all connections, http://HOST:PORT; else HTTPS_PROXY is followed
    #[arg(long, value_name = "URL", help_heading = "Account")]
    pub proxy: Option<ProxyUrl>,

    /// Calls per second at most; the service locks accounts that exceed 3 [default: 2.5]
    #[arg(long, value_name = "CALLS", value_parser = values::rate, help_heading = "Account")]
    pub rate: Option<f64>,

    /// Folder for what must survive a restart: the tree, pending changes, the log
    /// [default: $XDG_STATE_HOME/fichierfs; as root /var/lib/fichierfs]
    #[arg(long, value_name = "DIR", help_heading = "Account")]
    pub state_dir: Option<PathBuf>,
}

/// What a mount needs besides.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MountOptions {
    /// The account's options.
    #[command(flatten)]
    pub account: AccountOptions,

    /// Folder of the account to show at the mountpoint [default: /]
    #[arg(long, value_name = "PATH", help_heading = "Mount")]
    pub root: Option<AccountPath>,

    /// Allow no changes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Mount")]
    pub read_only: Option<bool>,

    /// Show what these accounts share with this one, read-only, in the folder `Shared with me` at the
    /// account's root: mail addresses, separated by commas [default: none]
    #[arg(long, value_name = "MAIL,...", help_heading = "Mount")]
    pub shared: Option<Mails>,

    /// Let other users in too, as permissions allow. Unless root mounts, this wants the line
    /// `user_allow_other` in /etc/fuse.conf
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Mount")]
    pub allow_other: Option<bool>,

    /// Owner of all files, a name or a number [default: who mounts]
    #[arg(long, value_name = "USER", value_parser = values::user, help_heading = "Mount")]
    pub uid: Option<u32>,

    /// Group of all files, a name or a number [default: the group of who mounts]
    #[arg(long, value_name = "GROUP", value_parser = values::group, help_heading = "Mount")]
    pub gid: Option<u32>,

    /// Permission bits to take away, octal [default: 022]
    #[arg(long, value_name = "OCTAL", help_heading = "Mount")]
    pub umask: Option<Umask>,

    /// Folder for contents that may be thrown away at any time
    /// [default: $XDG_CACHE_HOME/fichierfs; as root /var/cache/fichierfs]
    #[arg(long, value_name = "DIR", help_heading = "Caches")]
    pub cache_dir: Option<PathBuf>,

    /// Contents kept on disk at most; 0 keeps none [default: 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Caches")]
    pub cache_size: Option<u64>,

    /// Contents kept in memory at most, at least 16MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Caches")]
    pub memory: Option<u64>,

    /// How long changes made elsewhere may go unseen, at least 30s [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = values::span, help_heading = "Caches")]
    pub dir_cache_time: Option<Duration>,

    /// List folders only when somebody asks for them, instead of completing the tree in the background
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Caches")]
    pub no_crawl: Option<bool>,

    /// How long a read may wait for the service before the program that reads gets an error, at
    /// least 5s [default: 60s]
    #[arg(long, value_name = "SPAN", value_parser = values::span, help_heading = "Service")]
    pub read_timeout: Option<Duration>,

    /// Bytes per second that all transfers together may take, e.g. 10MB, or UP:DOWN, e.g.
    /// 1MB:10MB; off or 0 limits nothing [default: off]
    #[arg(long, value_name = "RATE", help_heading = "Service")]
    pub bwlimit: Option<Bandwidth>,

    /// Connections one file is read over at most, from 1 to 8; more than one only where that is
    /// faster [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = values::streams, help_heading = "Service")]
    pub streams_per_file: Option<usize>,

    /// Bytes that wait for their upload at most, on the disk of the state folder; beyond, programs that write
    /// hear that it is full [default: half of the disk's free space]
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Writing")]
    pub staging_size: Option<u64>,

    /// How long a file is left alone after it was closed before it is uploaded [default: 5s]
    #[arg(long, value_name = "SPAN", value_parser = values::span, help_heading = "Writing")]
    pub settle: Option<Duration>,

    /// The same for a file that a program holds open and has flushed [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = values::span, help_heading = "Writing")]
    pub settle_open: Option<Duration>,

    /// When closing a written file returns: `background`, as soon as it survives a crash, or `wait`, when
    /// the account has it [default: background]
    #[arg(long, value_name = "WHEN", help_heading = "Writing")]
    pub upload: Option<Upload>,

    /// How long the end of the mount may wait for what the account does not have yet; what is left is
    /// uploaded by the next mount. 0s waits for nothing [default: until all is there]
    #[arg(long, value_name = "SPAN", value_parser = values::span, help_heading = "Writing")]
    pub drain: Option<Duration>,

    /// Keep permissions, owners, times and empty files, which are this machine's own, in the account too: a
    /// file that no mount shows, made anew once a day if something has changed. A mount on a machine
    /// that has nothing yet takes them in
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Writing")]
    pub keep_state_in_account: Option<bool>,

    /// Let downloads spend the account's CDN credits, e.g. where the service lets data centres
    /// download by no other way
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Service")]
    pub cdn: Option<bool>,

    /// Serve a status page and metrics for Prometheus over HTTP at this address, `127.0.0.1:PORT`
    /// or `[::1]:PORT`; port 0 takes any free one. Everybody on this machine can read them [default: off]
    #[arg(long, value_name = "ADDRESS", help_heading = "Watching")]
    pub metrics: Option<PageAddress>,

    /// Let --metrics name an address that other machines reach: everybody who does can read the page,
    /// names of files on their way included
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Watching")]
    pub metrics_public: Option<bool>,

    /// Tell others which folders changed, a few seconds later: a command by its absolute path, which gets
    /// the folders as arguments (no shell: blanks separate words, \ takes the next character as it is), or an http or
    /// https address, to which they are posted as JSON. Folders nobody looks at are then looked at again too
    #[arg(long, value_name = "CMD|URL", help_heading = "Mount")]
    pub on_change: Option<OnChange>,

    /// Forbid running programs from the mount (also `-o noexec`)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Mount", hide = true)]
    pub noexec: Option<bool>,

    /// Never ask for access times to be kept (also `-o noatime`); they never are
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::switch,
          help_heading = "Mount", hide = true)]
    pub noatime: Option<bool>,
}
