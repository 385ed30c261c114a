//! `fichierfs bwlimit`: shows or changes how fast all downloads of a running mount may be, together.
//!
//! It holds until the next change or the mount's end; the next mount begins with its own `--bwlimit`.
use super::exit::Failure;
use super::mounts;
use super::output::say;
use crate::config::Bandwidth;
use crate::control::client::AskError;
use crate::control::{Answer, Client, DownloadLimit, Request};
use crate::mount::mountinfo::Entry;
use anyhow::{Context, anyhow, bail};
use bytesize::ByteSize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// How long a mount may take to answer; it need not ask anybody.
const LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `bwlimit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It holds until the mount ends; the next one begins with its own --bwlimit. Who reads at the moment \
    feels it at once. A mountpoint called like a rate is given as ./NAME."
)]
pub struct Args {
    /// Bytes per second that all downloads together may take, e.g. 10MB; off or 0 limits nothing; shown when
    /// left out
    #[arg(value_name = "RATE")]
    pub rate: Option<RateOrPlace>,

    /// Where the account is mounted; may be left out while there is one mount only
    pub mountpoint: Option<PathBuf>,
}

/// The first argument: the rate, or the mountpoint when no rate is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateOrPlace {
    /// Bytes per second; `None` for no limit.
    Rate(Option<u64>),
    /// A path.
    Place(PathBuf),
}

impl FromStr for RateOrPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') || text.starts_with('.') {
            return Ok(Self::Place(text.into()));
        }
        if text.contains(':') {
            return Err("this is for downloads alone: one rate, e.g. 10MB, or off".into());
        }
        match text.parse::<Bandwidth>() {
            Ok(bandwidth) => Ok(Self::Rate(bandwidth.down)),
            Err(_) if Path::new(text).is_dir() => Ok(Self::Place(text.into())),
            Err(_) => Err(
                "a rate is a size per second of 64KiB or more, e.g. 10MB; off or 0 limits nothing"
                    .into(),
            ),
        }
    }
}

/// Shows or changes the limit.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (set, place) = match (&args.rate, &args.mountpoint) {
        (Some(RateOrPlace::Place(place)), None) => (None, Some(place)),
        (Some(RateOrPlace::Place(place)), Some(_)) => {
            return Err(anyhow!("{} is no rate, e.g. 10MB or off", place.display()).into());
        }
        (Some(RateOrPlace::Rate(rate)), place) => {
            (Some(DownloadLimit { rate: *rate }), place.as_ref())
        }
        (None, place) => (None, place.as_ref()),
    };
    let mut client = server(place.map(PathBuf::as_path))?;
    let Answer::Bwlimit(limit) = client.ask(&Request::Bwlimit { set }, LIMIT)? else {
        return Err(AskError::Malformed.into());
    };
    say(&format!("{}\n", words(limit)))
}

/// The process that serves the mount `place` lies in, or the only mount there is.
fn server(place: Option<&Path>) -> anyhow::Result<Client> {
    let entry = match place {
        Some(place) => holding(place)?,
        None => only()?,
    };
    let served = mounts::server_of(&entry).map(|(client, _)| client);
    served.ok_or_else(|| {
        anyhow!(
            "the mount at {} does not answer; see: fichierfs status",
            entry.mountpoint.display()
        )
    })
}

fn holding(place: &Path) -> anyhow::Result<Entry> {
    let path = place
        .canonicalize()
        .with_context(|| format!("cannot look at {}", place.display()))?;
    mounts::holding(&path)
        .context("cannot read the table of mounts")?
        .ok_or_else(|| anyhow!("{} lies in no mount of fichierfs", path.display()))
}

fn only() -> anyhow::Result<Entry> {
    let mut all = mounts::all().context("cannot read the table of mounts")?;
    match (all.pop(), all.len()) {
        (Some(entry), 0) => Ok(entry),
        (None, _) => bail!("there is no mount of fichierfs"),
        (Some(_), others) => bail!(
            "there are {} mounts of fichierfs; say which: fichierfs bwlimit RATE MOUNTPOINT",
            others + 1
        ),
    }
}

/// The limit in words.
fn words(limit: DownloadLimit) -> String {
    match limit.rate {
        None => "downloads are not limited".to_owned(),
        Some(rate) => format!(
            "downloads may take {} a second together",
            ByteSize(rate).display().iec()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_from_a_place() {
        let parse = |text: &str| text.parse::<RateOrPlace>();
        assert_eq!(parse("off"), Ok(RateOrPlace::Rate(None)));
        assert_eq!(parse("0"), Ok(RateOrPlace::Rate(None)));
        assert_eq!(parse("10MB"), Ok(RateOrPlace::Rate(Some(10_000_000))));
        for place in ["/mnt/a", "./10MB", ".", "src"] {
            assert_eq!(parse(place), Ok(RateOrPlace::Place(place.into())));
        }
        for wrong in ["10", "1MB:2MB", "no such folder", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_limit_is_told_in_words() {
        let words = |rate| words(DownloadLimit { rate });
        assert_eq!(words(None), "downloads are not limited");
        assert_eq!(
            words(Some(1 << 20)),
            "downloads may take 1.0 MiB a second together"
        );
    }
}
