//! `fichierfs cache`: what the disk cache holds, throwing it away, and checking it.
//!
//! A running mount of the account is asked; without one the cache's folder is opened, which no mount
//! can use meanwhile.
use super::exit::{self, Failure};
use super::files::{self, Stop};
use super::output::{self, binary, say};
use super::progress::Progress;
use crate::config::{AccountName, AccountOptions, CacheFolder, MountOptions, Surroundings};
use crate::control::client::AskError;
use crate::control::status::DiskFigures;
use crate::control::{self, Answer, CheckedFile, ClearedCache, Client, Comparison, Request, find};
use crate::mount::cache::Offline;
use anyhow::anyhow;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take for what it need not ask anybody.
const LIMIT: Duration = Duration::from_secs(20);

/// Arguments of `cache`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with the cache.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the disk cache holds
    Status(StatusArgs),
    /// Throw away what the disk cache holds, of all files or of some
    Clear(ClearArgs),
    /// Compare what the disk cache holds with its checksums and with the service's hashes
    Verify(VerifyArgs),
}

/// Which cache.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The cache of this account [default: default]
    #[arg(long, value_name = "NAME")]
    pub account: Option<AccountName>,

    /// The base folder of the caches, where no mount uses it
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// Arguments of `cache status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Which cache.
    #[command(flatten)]
    pub which: Which,

    /// As JSON, for programs: the fields of `disk` in docs/status.md
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cache clear`.
#[derive(Debug, clap::Args)]
pub struct ClearArgs {
    /// Only of these files in a mount, or of all files below these folders
    #[arg(conflicts_with_all = ["account", "cache_dir"])]
    pub paths: Vec<PathBuf>,

    /// Which cache.
    #[command(flatten)]
    pub which: Which,
}

/// Arguments of `cache verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Whole files are compared with the service's Whirlpool hash when paths are given, \
    else with --whirlpool only: that takes a second per 100 MB, and a call for a file whose hash is \
    not known yet. What is damaged is thrown away and fetched anew when somebody reads it. With \
    --json each line is an object: \"progress\", \"file\" and, at the end, \"done\". The exit code is 1 \
    when something was damaged or differs."
)]
pub struct VerifyArgs {
    /// Only these files in a mount, or all files below these folders
    #[arg(conflicts_with_all = ["account", "cache_dir"])]
    pub paths: Vec<PathBuf>,

    /// Compare all whole files with the service's hash, too; needs a running mount
    #[arg(long)]
    pub whirlpool: bool,

    /// Which cache.
    #[command(flatten)]
    pub which: Which,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Runs what was asked for.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Status(args) => status(args),
        Command::Clear(args) => clear(args),
        Command::Verify(args) => verify(args),
    }
}

/// Where a cache can be asked about.
enum Place {
    Mount(Box<Client>),
    Folder(Box<CacheFolder>, Option<Offline>),
}

fn place(which: Which) -> anyhow::Result<Place> {
    let in_folder = which.cache_dir.is_some();
    let given = MountOptions {
        account: AccountOptions {
            account: which.account,
            ..AccountOptions::default()
        },
        cache_dir: which.cache_dir,
        ..MountOptions::default()
    };
    let folder = CacheFolder::resolve(given, &Surroundings::of_process()?)?;
    // Who names a folder means that one, whoever is mounted.
    if !in_folder && let Some(client) = find::of_account(&folder.account) {
        return Ok(Place::Mount(Box::new(client)));
    }
    let offline = Offline::open(&folder.dir)?;
    Ok(Place::Folder(Box::new(folder), offline))
}

fn status(args: StatusArgs) -> Result<ExitCode, Failure> {
    let figures = match place(args.which)? {
        Place::Mount(mut client) => match client.ask(&Request::Status, LIMIT)? {
            Answer::Status(status) => status
                .reading
                .disk
                .ok_or_else(|| anyhow!("the mount has no disk cache; see --cache-size"))?,
            _ => return Err(AskError::Malformed.into()),
        },
        Place::Folder(folder, Some(offline)) => offline.figures(folder.size),
        Place::Folder(folder, None) => DiskFigures {
            budget_bytes: folder.size,
            ..DiskFigures::default()
        },
    };
    if args.json {
        return say(&control::json_line(&figures));
    }
    say(&page(&figures))
}

fn page(disk: &DiskFigures) -> String {
    let mut lines = vec![
        (
            "Holds",
            format!("{} of {}", binary(disk.bytes), files::count(disk.files)),
        ),
        ("Limit", binary(disk.budget_bytes)),
    ];
    if disk.waiting_bytes > 0 {
        lines.push((
            "Waiting",
            format!("{} to be written", binary(disk.waiting_bytes)),
        ));
    }
    lines.push((
        "So far",
        format!(
            "{} blocks written, {} evicted, {} damaged, {} times something was not kept",
            disk.written_blocks, disk.evicted_blocks, disk.damaged_blocks, disk.not_kept
        ),
    ));
    if let Some(problem) = &disk.problem {
        lines.push(("Problem", problem.clone()));
    }
    output::table(&lines, 0, 9)
}

fn clear(args: ClearArgs) -> Result<ExitCode, Failure> {
    let mut cleared = ClearedCache::default();
    let mut add = |some: ClearedCache| {
        cleared.files += some.files;
        cleared.bytes += some.bytes;
    };
    let mut failed = 0;
    if args.paths.is_empty() {
        match place(args.which)? {
            Place::Mount(mut client) => add(clear_in(&mut client, None)?),
            Place::Folder(_, Some(offline)) => add(offline.clear()),
            Place::Folder(_, None) => {}
        }
    } else {
        let outcome = files::each(&args.paths, |client, file| {
            let some = clear_in(client, Some(file.inode)).map_err(stop)?;
            add(some);
            Ok(())
        })?;
        failed = outcome.failed;
    }
    let freed = binary(cleared.bytes);
    let what = files::count(cleared.files);
    say(&format!("{freed} of {what} thrown away\n"))?;
    if failed > 0 {
        return Err(anyhow!("{failed} failed, see above").into());
    }
    Ok(ExitCode::SUCCESS)
}

fn clear_in(client: &mut Client, inode: Option<u64>) -> Result<ClearedCache, AskError> {
    match client.ask(&Request::CacheClear { inode }, LIMIT)? {
        Answer::Cleared(cleared) => Ok(cleared),
        _ => Err(AskError::Malformed),
    }
}

/// A refusal concerns one file, anything else the mount.
fn stop(error: AskError) -> Stop {
    match error {
        AskError::Refused(message) => Stop::File(anyhow!(message)),
        other => Stop::All(other.into()),
    }
}

/// What the check of all files found.
#[derive(Debug, Default, serde::Serialize)]
struct Sum {
    event: &'static str,
    files: u64,
    sound_bytes: u64,
    damaged_bytes: u64,
    damaged_files: u64,
    compared: u64,
    differ: u64,
    not_compared: u64,
    failed: u64,
}

#[derive(serde::Serialize)]
struct FileEvent<'a> {
    event: &'static str,
    path: Option<&'a str>,
    #[serde(flatten)]
    checked: &'a CheckedFile,
}

fn verify(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let mut progress = Progress::new(args.json);
    let mut sum = Sum {
        event: "done",
        ..Sum::default()
    };
    if args.paths.is_empty() {
        let mut hear = |told: Answer| sum.hear(told, None, &mut progress);
        match place(args.which)? {
            Place::Mount(mut client) => {
                let request = Request::CacheVerify {
                    inode: None,
                    whirlpool: args.whirlpool,
                };
                client.ask_long(&request, hear)?;
            }
            Place::Folder(..) if args.whirlpool => {
                return Err(anyhow!(
                    "--whirlpool needs a running mount, which asks the service for the hashes"
                )
                .into());
            }
            Place::Folder(_, Some(offline)) => offline.verify(&mut hear),
            Place::Folder(_, None) => {}
        }
    } else {
        let outcome = files::each(&args.paths, |client, file| {
            let path = file.path.to_string_lossy();
            let request = Request::CacheVerify {
                inode: Some(file.inode),
                whirlpool: true,
            };
            let hear = |told: Answer| sum.hear(told, Some(&path), &mut progress);
            client.ask_long(&request, hear).map(|_| ()).map_err(stop)
        })?;
        sum.failed = outcome.failed;
    }
    progress.wipe();
    progress.event(&sum);
    if !args.json {
        say(&sum.words())?;
    }
    if sum.damaged_files + sum.differ + sum.failed > 0 {
        return Err(Failure::explained(exit::FAILURE));
    }
    Ok(ExitCode::SUCCESS)
}

impl Sum {
    fn hear(&mut self, told: Answer, path: Option<&str>, progress: &mut Progress) {
        let checked = match told {
            Answer::Progress { done, total } => {
                return progress.show(path.unwrap_or("all files"), done, total);
            }
            Answer::Checked(checked) => checked,
            _ => return,
        };
        self.files += 1;
        self.sound_bytes += checked.sound_bytes;
        self.damaged_bytes += checked.damaged_bytes;
        self.damaged_files += u64::from(checked.damaged_bytes > 0);
        match checked.whirlpool {
            Comparison::Same => self.compared += 1,
            Comparison::Differs => self.differ += 1,
            Comparison::NotKnown | Comparison::NotMade => self.not_compared += 1,
        }
        progress.event(&FileEvent {
            event: "file",
            path,
            checked: &checked,
        });
        let name = path.unwrap_or(&checked.id);
        if !checked.is_sound() {
            progress.wipe();
            log::warn!("{name}: {}", trouble(&checked));
        }
        if let Some(problem) = &checked.problem {
            progress.wipe();
            log::warn!("{name}: the service did not say its hash: {problem}");
        }
    }

    fn words(&self) -> String {
        let mut parts = vec![format!(
            "{} of {} sound",
            binary(self.sound_bytes),
            files::count(self.files)
        )];
        if self.compared > 0 {
            let what = files::count(self.compared);
            parts.push(format!("{what} whole and as the service has it"));
        }
        if self.damaged_files > 0 {
            parts.push(format!(
                "{} of {} damaged and thrown away",
                binary(self.damaged_bytes),
                files::count(self.damaged_files)
            ));
        }
        if self.differ > 0 {
            let what = files::count(self.differ);
            parts.push(format!("{what} not as the service has it"));
        }
        parts.join("; ") + "\n"
    }
}

/// What is wrong with a file, in words.
fn trouble(checked: &CheckedFile) -> String {
    if checked.whirlpool == Comparison::Differs {
        return "it differs from what the service says of it, and was thrown away; programs that \
                have it open may have read wrong bytes"
            .to_owned();
    }
    format!("{} damaged and thrown away", binary(checked.damaged_bytes))
}
