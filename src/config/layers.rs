//! Where options come from, in rising order: the config file's top level, its `[account.NAME]`
//! table, the environment (`FICHIERFS_…`), `-o`, the command line.
//!
//! Promises: a later source wins option by option; whatever the source, an option has the same
//! name, takes the same values and is checked by the same parser; an error names the source.
use super::error::ConfigError;
use super::options::{AccountOptions, MountOptions};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;

/// What an option's name starts with in the environment.
pub const ENV_PREFIX: &str = "FICHIERFS_";

/// Variables with our prefix that are no options.
pub const OTHER_VARIABLES: &[&str] = &["FICHIERFS_API_KEY", "FICHIERFS_CLOCK", "FICHIERFS_LOG"];

/// One option as some source gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands, for errors.
    pub origin: String,
    /// The option's long name, without dashes before it.
    pub long: String,
    /// Its value; a switch may go without.
    pub value: Option<String>,
}

impl Setting {
    /// A setting of the option `long`.
    pub fn new(origin: impl Into<String>, long: &str, value: Option<&str>) -> Self {
        Self {
            origin: origin.into(),
            long: long.to_owned(),
            value: value.map(str::to_owned),
        }
    }
}

/// The options as a command line of their own, so that every source goes through clap.
#[derive(Parser)]
#[command(
    no_binary_name = true,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Alone {
    #[command(flatten)]
    options: MountOptions,
}

/// Whether an option of this long name exists.
pub fn is_option(long: &str) -> bool {
    long_names().iter().any(|known| known == long)
}

/// The long names of all options, in the order of their declaration.
pub fn long_names() -> Vec<String> {
    Alone::command()
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect()
}

/// The environment variable that sets the option `long`.
pub fn variable(long: &str) -> String {
    format!("{ENV_PREFIX}{}", long.to_uppercase().replace('-', "_"))
}

/// Reads settings of one source; a later one wins over an earlier one.
pub fn parse(settings: &[Setting]) -> Result<MountOptions, ConfigError> {
    settings
        .iter()
        .try_fold(MountOptions::default(), |lower, setting| {
            Ok(parse_one(setting)?.over(lower))
        })
}

fn parse_one(setting: &Setting) -> Result<MountOptions, ConfigError> {
    let argument = match &setting.value {
        Some(value) => format!("--{}={value}", setting.long),
        None => format!("--{}", setting.long),
    };
    match Alone::try_parse_from([argument]) {
        Ok(alone) => Ok(alone.options),
        Err(err) => Err(ConfigError::option(&setting.origin, reason(&err))),
    }
}

/// Why clap refused a single option, without the usage it prints around.
fn reason(err: &clap::Error) -> String {
    use clap::error::ErrorKind;
    match err.kind() {
        ErrorKind::UnknownArgument => "no such option (see: fichierfs mount --help)".into(),
        ErrorKind::InvalidValue => "a value is missing".into(),
        _ => std::error::Error::source(err)
            .map_or_else(|| "not a possible value".into(), ToString::to_string),
    }
}

/// The settings the environment holds. Variables with our prefix that set nothing are returned
/// beside them: probably a typing error, worth a warning but not a refusal.
pub fn from_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Vec<Setting>, Vec<String>), ConfigError> {
    let longs = long_names();
    let mut settings = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else {
            continue;
        };
        if OTHER_VARIABLES.contains(&name) {
            continue;
        }
        let Some(long) = longs.iter().find(|long| variable(long) == name) else {
            unknown.push(name.to_owned());
            continue;
        };
        let Some(value) = value.to_str() else {
            return Err(ConfigError::option(name, "the value is not UTF-8"));
        };
        // An empty variable counts as unset, as it does for most programs.
        if !value.is_empty() {
            settings.push(Setting::new(name, long, Some(value)));
        }
    }
    Ok((settings, unknown))
}

impl MountOptions {
    /// These options where given, those of `lower` elsewhere.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        // Taken apart field by field, so that a new option cannot be forgotten here.
        let Self {
            account,
            root,
            shared,
            read_only,
            allow_other,
            uid,
            gid,
            umask,
            cache_dir,
            cache_size,
            memory,
            dir_cache_time,
            no_crawl,
            read_timeout,
            bwlimit,
            streams_per_file,
            staging_size,
            settle,
            settle_open,
            upload,
            drain,
            cdn,
            keep_state_in_account,
            metrics,
            metrics_public,
            on_change,
            noexec,
            noatime,
        } = self;
        Self {
            account: account.over(lower.account),
            root: root.or(lower.root),
            shared: shared.or(lower.shared),
            read_only: read_only.or(lower.read_only),
            allow_other: allow_other.or(lower.allow_other),
            uid: uid.or(lower.uid),
            gid: gid.or(lower.gid),
            umask: umask.or(lower.umask),
            cache_dir: cache_dir.or(lower.cache_dir),
            cache_size: cache_size.or(lower.cache_size),
            memory: memory.or(lower.memory),
            dir_cache_time: dir_cache_time.or(lower.dir_cache_time),
            no_crawl: no_crawl.or(lower.no_crawl),
            read_timeout: read_timeout.or(lower.read_timeout),
            bwlimit: bwlimit.or(lower.bwlimit),
            streams_per_file: streams_per_file.or(lower.streams_per_file),
            staging_size: staging_size.or(lower.staging_size),
            settle: settle.or(lower.settle),
            settle_open: settle_open.or(lower.settle_open),
            upload: upload.or(lower.upload),
            drain: drain.or(lower.drain),
            cdn: cdn.or(lower.cdn),
            keep_state_in_account: keep_state_in_account.or(lower.keep_state_in_account),
            metrics: metrics.or(lower.metrics),
            metrics_public: metrics_public.or(lower.metrics_public),
            on_change: on_change.or(lower.on_change),
            noexec: noexec.or(lower.noexec),
            noatime: noatime.or(lower.noatime),
        }
    }
}

impl AccountOptions {
    /// These options where given, those of `lower` elsewhere.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        let Self {
            account,
            api_key_file,
            api_url,
            ca_cert,
            proxy,
            rate,
            state_dir,
        } = self;
        Self {
            account: account.or(lower.account),
            api_key_file: api_key_file.or(lower.api_key_file),
            api_url: api_url.or(lower.api_url),
            ca_cert: ca_cert.or(lower.ca_cert),
            proxy: proxy.or(lower.proxy),
            rate: rate.or(lower.rate),
            state_dir: state_dir.or(lower.state_dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn one(long: &str, value: Option<&str>) -> Result<MountOptions, String> {
        parse(&[Setting::new("here", long, value)]).map_err(|err| err.to_string())
    }

    #[test]
    fn every_source_reads_the_same_values() {
        assert_eq!(one("read-only", None).unwrap().read_only, Some(true));
        assert_eq!(one("read-only", Some("no")).unwrap().read_only, Some(false));
        assert_eq!(
            one("dir-cache-time", Some("90s")).unwrap().dir_cache_time,
            Some(Duration::from_secs(90))
        );
        assert_eq!(one("uid", Some("root")).unwrap().uid, Some(0));
    }

    #[test]
    fn errors_name_the_source_and_say_what_would_be_right() {
        for (long, value, says) in [
            ("cache-size", Some("lots"), "20GB"),
            ("cache-size", None, "value"),
            ("cache-size", Some(""), "number"),
            ("read-only", Some("perhaps"), "true or false"),
            ("nonsense", Some("1"), "no such option"),
            ("account", Some("../x"), "a-z"),
            ("uid", Some("-1"), "number"),
        ] {
            let err = one(long, value).unwrap_err();
            assert!(err.starts_with("here: "), "{err}");
            assert!(err.contains(says), "{long}={value:?}: {err}");
            assert!(!err.contains('\n'), "{err}");
        }
    }

    #[test]
    fn later_settings_win_one_by_one() {
        let low = parse(&[
            Setting::new("f", "uid", Some("1")),
            Setting::new("f", "gid", Some("2")),
            Setting::new("f", "uid", Some("3")),
        ])
        .unwrap();
        let high = parse(&[Setting::new("e", "gid", Some("9"))]).unwrap();
        let both = high.over(low);
        assert_eq!((both.uid, both.gid, both.memory), (Some(3), Some(9), None));
    }

    #[test]
    fn the_environment_sets_options_and_unknown_names_are_told() {
        let env = [
            ("FICHIERFS_CACHE_SIZE", "1GB"),
            ("FICHIERFS_API_KEY", "secret"),
            ("FICHIERFS_UMASK", ""),
            ("FICHIERFS_CASH_SIZE", "1GB"),
            ("PATH", "/bin"),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let (settings, unknown) = from_environment(env.into_iter()).unwrap();
        assert_eq!(
            settings,
            [Setting::new(
                "FICHIERFS_CACHE_SIZE",
                "cache-size",
                Some("1GB")
            )]
        );
        assert_eq!(unknown, ["FICHIERFS_CASH_SIZE"]);
    }
}
