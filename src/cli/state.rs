//! `fichierfs state`: what exists on this machine only, written to a file and taken in again.
use super::desk::{self, Desk};
use super::exit::Failure;
use super::files;
use super::output::{counted, printable, say};
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::control::local_state::{self, StateWriter};
use crate::control::{self, Answer, Exported, Imported, Request};
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is not applicable and listed at most: the rest is counted.
const MOST_LISTED: usize = 100;

/// Who may read the file: names of files are nobody else's business.
const FILE_MODE: u32 = 0o600;

/// Arguments of `state`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write permissions, owners, times, empty files and numbers of files of one name to a file
    Export(ExportArgs),
    /// Take in what was written on another machine, or on this one before its state was lost
    Import(ImportArgs),
}

/// Arguments of `state export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The account holds names, contents and dates of uploads. All else a program can set is kept on this \
    machine, and no other sees it; see docs/state.md. The file is text, a line of JSON for each thing, and \
    holds no secret. Bytes that wait for their upload are not in it: run fichierfs sync first. With a \
    running mount or without one; the exit code is 3 when a part of the tree is not known yet."
)]
pub struct ExportArgs {
    /// The file to write, `-` for standard output; an old one is replaced when the new one is whole
    #[arg(required_unless_present = "to_account", conflicts_with = "to_account")]
    pub file: Option<PathBuf>,

    /// Keep it in the account instead, now, where --keep-state-in-account does once a day
    #[arg(long)]
    pub to_account: bool,

    /// The result as JSON, for programs: docs/schema/state.json
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Arguments of `state import`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Things are found by their path and content, else by their id in the account. What was changed here \
    later than it was there stays. What is not applicable is told, and the exit code is 1 then. With a running \
    mount or without one."
)]
pub struct ImportArgs {
    /// The file that was written
    #[arg(
        required_unless_present = "from_account",
        conflicts_with = "from_account"
    )]
    pub file: Option<PathBuf>,

    /// Take in what is kept in the account instead
    #[arg(long)]
    pub from_account: bool,

    /// Also if it is another account's
    #[arg(long)]
    pub force: bool,

    /// The result as JSON, for programs: docs/schema/state.json
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Does it.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Export(args) => export(args),
        Command::Import(args) => import(args),
    }
}

fn export(args: ExportArgs) -> Result<ExitCode, Failure> {
    let mut desk = desk::of_account(args.given, args.to_account)?;
    let (told, to_output) = match &args.file {
        None => (saved(&desk.ask(Request::StateSave, |_| {})?)?, false),
        Some(path) if path == Path::new("-") => {
            (write(&mut desk, BufWriter::new(io::stdout().lock()))?, true)
        }
        Some(path) => (write_file(&mut desk, path)?, false),
    };
    desk.finish()?;
    if args.json && !to_output {
        say(&control::json_line(&told))?;
    } else if !to_output {
        say(&exported(&told, args.to_account))?;
    }
    if told.waiting > 0 {
        log::warn!(
            "{} not in the account yet, and nothing of them is in this; run: fichierfs sync",
            counted(told.waiting, "file or folder is", "files and folders are")
        );
    }
    desk::ended(&told.seen)
}

fn saved(answer: &Answer) -> Result<Exported, AskError> {
    match answer {
        Answer::StateEnd(told) => Ok(*told),
        _ => Err(AskError::Malformed),
    }
}

fn exported(told: &Exported, to_account: bool) -> String {
    match (told.records, to_account) {
        (0, true) => "nothing has changed since it was kept last\n".to_owned(),
        (records, true) => format!("{records} things are kept in the account once it has them\n"),
        (records, false) => format!("{records} things written\n"),
    }
}

/// Writes beside the file and puts it in its place when it is whole.
fn write_file(desk: &mut Desk, path: &Path) -> anyhow::Result<Exported> {
    let what = || format!("cannot write {}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&beside)
        .with_context(what)?;
    let told = write(desk, BufWriter::new(&file)).and_then(|told| {
        file.sync_all().with_context(what)?;
        fs::rename(&beside, path).with_context(what)?;
        Ok(told)
    });
    if told.is_err() {
        // What is left of it is of no use; that it stays is no more than untidy.
        let _ = fs::remove_file(&beside);
    }
    told
}

fn write(desk: &mut Desk, out: impl Write) -> anyhow::Result<Exported> {
    let mut out = Some(out);
    let mut writer = None;
    let mut outcome = Ok(());
    let answer = desk.ask(Request::StateExport, |told| {
        let written = match (told, &mut writer) {
            (Answer::StateHead(head), None) => out.take().map_or(Ok(()), |out| {
                writer = Some(StateWriter::new(out, &head)?);
                Ok(())
            }),
            (Answer::State { records }, Some(writer)) => {
                records.iter().try_for_each(|record| writer.record(record))
            }
            _ => Ok(()),
        };
        if outcome.is_ok() {
            outcome = written;
        }
    })?;
    let told = saved(&answer)?;
    outcome.context("cannot write")?;
    let writer = writer.ok_or(AskError::Malformed)?;
    let (records, _) = writer.end().context("cannot write")?;
    if records != told.records {
        bail!("{records} of {} things came; try again", told.records);
    }
    Ok(told)
}

fn import(args: ImportArgs) -> Result<ExitCode, Failure> {
    let file = args.file.as_deref().map(opened).transpose()?;
    let mut desk = desk::of_account(args.given, true)?;
    let taken = match file {
        None => {
            let force = args.force;
            taken(desk.ask(Request::StateRestore { force }, |_| {})?)?
        }
        Some((file, head)) => {
            let mut all = Imported::default();
            for records in local_state::batches(BufReader::new(&file)) {
                let request = Request::StateImport {
                    head: head.clone(),
                    force: args.force,
                    records,
                };
                all.add(taken(desk.ask(request, |_| {})?)?);
            }
            all
        }
    };
    desk.finish()?;
    if args.json {
        say(&json(&taken))?;
    } else {
        say(&imported(&taken))?;
    }
    if taken.left.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for (path, why) in taken.left.iter().take(MOST_LISTED) {
        log::warn!("{}: {why}", printable(path));
    }
    Err(anyhow!("{} not applicable", files::count(taken.left.len() as u64)).into())
}

/// A file that is whole, at its beginning, and its head.
fn opened(path: &Path) -> anyhow::Result<(File, control::Head)> {
    let what = || format!("cannot take in {}", path.display());
    let mut file = File::open(path).with_context(what)?;
    let head = local_state::check(BufReader::new(&file)).with_context(what)?;
    file.rewind().with_context(what)?;
    Ok((file, head))
}

fn taken(answer: Answer) -> Result<Imported, AskError> {
    match answer {
        Answer::StateTaken(taken) => Ok(taken),
        _ => Err(AskError::Malformed),
    }
}

#[derive(serde::Serialize)]
struct Taken<'a> {
    applied: u64,
    known: u64,
    ahead: u64,
    not_applicable: usize,
    first: Vec<Left<'a>>,
}

#[derive(serde::Serialize)]
struct Left<'a> {
    path: &'a str,
    reason: &'a str,
}

fn json(taken: &Imported) -> String {
    let first = taken.left.iter().take(MOST_LISTED);
    control::json_line(&Taken {
        applied: taken.applied,
        known: taken.known,
        ahead: taken.ahead,
        not_applicable: taken.left.len(),
        first: first.map(|(path, reason)| Left { path, reason }).collect(),
    })
}

fn imported(taken: &Imported) -> String {
    format!(
        "{} applied, {} of them for files and folders that are not listed yet; {} known already\n",
        taken.applied + taken.ahead,
        taken.ahead,
        taken.known
    )
}
