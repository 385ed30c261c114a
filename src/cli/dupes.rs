//! `fichierfs dupes`: files that hold the same, found by the service's hashes, without a download and without a call;
//! and removing all but one of each.
use super::desk::{self, Desk};
use super::exit::Failure;
use super::files;
use super::output::{agreed, binary, counted, printable, say};
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::control::index::{Compared, MOST_REMOVED, Twin, TwinId};
use crate::control::{self, Answer, Keep, Removed, Request, Spare, Twins};
use crate::util::clock::Clock;
use anyhow::{anyhow, bail};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `dupes`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Two files are the same when the service tells the same Whirlpool hash and the same size of them; \
    empty files, and files that the account does not have yet, are none. What is known of the tree is \
    looked at: no download, no call, with a running mount or without one.\n\n\
    --delete keeps one file of each content and removes the others, after asking. The folder of \
    the one that is kept is listed again first, and nothing is removed that was changed meanwhile, nor \
    anything of a content whose kept file is not there any more; that may take 30 s per folder. With a running mount the account is \
    told in the background (see: fichierfs sync), else before the command ends.\n\n\
    With --json each line is an object: \"same\" per content, \"removed\" per content with --delete, \
    \"done\" at the end. The exit code is 3 when a part of the tree is not known yet, so that there \
    may be more."
)]
pub struct Args {
    /// A folder in a mount, or its path in the account: only what is below [default: everything]
    pub path: Option<PathBuf>,

    /// Remove all of each but one; asks first
    #[arg(long)]
    pub delete: bool,

    /// Which one is kept: the one uploaded first, the one uploaded last, or the one with the shortest
    /// path; if that is the same for several, the shortest path, then the first in the alphabet
    #[arg(long, value_enum, value_name = "WHICH", default_value = "oldest")]
    pub keep: KeepWhich,

    /// With --delete: do not ask
    #[arg(short, long, requires = "delete")]
    pub yes: bool,

    /// As lines of JSON, for programs: docs/schema/dupes.json
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Which of several files that hold the same is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum KeepWhich {
    /// The one that was uploaded first
    Oldest,
    /// The one that was uploaded last
    Newest,
    /// The one with the shortest path
    ShortestPath,
}

impl From<KeepWhich> for Keep {
    fn from(which: KeepWhich) -> Self {
        match which {
            KeepWhich::Oldest => Self::Oldest,
            KeepWhich::Newest => Self::Newest,
            KeepWhich::ShortestPath => Self::ShortestPath,
        }
    }
}

#[derive(serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Same {
        whirlpool: &'a str,
        size: u64,
        keep: &'a File<'a>,
        others: &'a [File<'a>],
    },
    Removed {
        whirlpool: &'a str,
        size: u64,
        files: u64,
        left: Vec<Left<'a>>,
    },
    Done {
        #[serde(flatten)]
        compared: Compared,
        removed_files: u64,
        removed_bytes: u64,
    },
}

#[derive(serde::Serialize)]
struct File<'a> {
    path: &'a str,
    id: &'a str,
    url: &'a str,
    uploaded: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Left<'a> {
    id: &'a str,
    reason: &'a str,
}

impl<'a> From<&'a Twin> for File<'a> {
    fn from(twin: &'a Twin) -> Self {
        Self {
            path: &twin.path,
            id: &twin.file.id,
            url: &twin.url,
            uploaded: twin.uploaded.as_deref(),
        }
    }
}

/// Files of one content of which all but one are to go.
struct Plan {
    whirlpool: String,
    size: u64,
    keep: TwinId,
    remove: Vec<TwinId>,
}

/// Finds them.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let target = desk::open(args.path.as_deref(), args.given, args.delete)?;
    let mut desk = target.desk;
    let request = Request::Duplicates {
        within: target.within,
        keep: args.keep.into(),
    };
    let mut groups = Groups::new(args.json, args.delete);
    let answer = desk.ask(request, |told| {
        if let Answer::Duplicates(twins) = told {
            groups.add(twins);
        }
    })?;
    let Answer::Compared(compared) = answer else {
        return Err(AskError::Malformed.into());
    };
    let plans = groups.end()?;
    let (mut files, mut bytes) = (0, 0);
    if args.delete && !plans.is_empty() {
        if !args.yes && !confirmed(&compared)? {
            desk.finish()?;
            return Err(anyhow!("nothing was removed").into());
        }
        (files, bytes) = remove(&mut desk, plans, args.json)?;
    }
    let is_offline = desk.is_offline();
    desk.finish()?;
    if args.json {
        say(&control::json_line(&Event::Done {
            compared,
            removed_files: files,
            removed_bytes: bytes,
        }))?;
    } else {
        say(&sum(&compared, args.delete, files, bytes, is_offline))?;
    }
    desk::ended(&compared.seen)
}

/// Puts together what comes in pieces, and shows it.
struct Groups {
    json: bool,
    deletes: bool,
    current: Option<Twins>,
    plans: Vec<Plan>,
    outcome: Result<(), Failure>,
}

impl Groups {
    fn new(json: bool, deletes: bool) -> Self {
        Self {
            json,
            deletes,
            current: None,
            plans: Vec::new(),
            outcome: Ok(()),
        }
    }

    fn add(&mut self, twins: Twins) {
        match &mut self.current {
            Some(current) if !twins.is_start => current.files.extend(twins.files),
            _ => {
                self.show();
                self.current = Some(twins);
            }
        }
    }

    fn show(&mut self) {
        let Some(twins) = self.current.take() else {
            return;
        };
        if self.outcome.is_err() {
            return;
        }
        let text = if self.json {
            json(&twins)
        } else {
            page(&twins, self.deletes)
        };
        self.outcome = say(&text).map(|_| ());
        if self.deletes {
            let mut files = twins.files.into_iter().map(|twin| twin.file);
            self.plans.extend(files.next().map(|keep| Plan {
                whirlpool: twins.whirlpool,
                size: twins.size,
                keep,
                remove: files.collect(),
            }));
        }
    }

    fn end(mut self) -> Result<Vec<Plan>, Failure> {
        self.show();
        self.outcome?;
        Ok(self.plans)
    }
}

fn json(twins: &Twins) -> String {
    let files: Vec<File<'_>> = twins.files.iter().map(File::from).collect();
    let Some((keep, others)) = files.split_first() else {
        return String::new();
    };
    control::json_line(&Event::Same {
        whirlpool: &twins.whirlpool,
        size: twins.size,
        keep,
        others,
    })
}

fn page(twins: &Twins, deletes: bool) -> String {
    let mut text = format!(
        "{} of {} each\n",
        files::count(twins.files.len() as u64),
        binary(twins.size)
    );
    for (at, twin) in twins.files.iter().enumerate() {
        let what = match (deletes, at) {
            (false, _) => "",
            (true, 0) => "keep    ",
            (true, _) => "remove  ",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what}{}", printable(&twin.path));
    }
    text
}

fn sum(compared: &Compared, deletes: bool, files: u64, bytes: u64, is_offline: bool) -> String {
    let mut text = if compared.groups == 0 {
        format!(
            "no two of {} hold the same\n",
            files::count(compared.seen.files)
        )
    } else if deletes {
        let later = if is_offline || files == 0 {
            ""
        } else {
            "; the account is told in the background (`fichierfs sync` waits for it)"
        };
        format!(
            "{}, {}, removed{later}\n",
            files::count(files),
            binary(bytes)
        )
    } else {
        format!(
            "{} hold {}; {} would be free with one of each\n",
            files::count(compared.files),
            counted(compared.groups, "content", "contents"),
            binary(compared.spare_bytes)
        )
    };
    if compared.unhashed > 0 {
        let _ = writeln!(
            text,
            "{} could not be compared: the service has told no hash yet",
            files::count(compared.unhashed)
        );
    }
    text
}

/// Removes all of these; those whose kept files are in one folder after each other, since that is listed again.
fn remove(desk: &mut Desk, mut plans: Vec<Plan>, json: bool) -> Result<(u64, u64), Failure> {
    plans.sort_by_key(|plan| plan.keep.folder);
    let clock = Clock::from_env();
    let began = clock.now();
    let (mut files, mut bytes) = (0, 0);
    for plan in &plans {
        for part in plan.remove.chunks(MOST_REMOVED) {
            let spare = Spare {
                whirlpool: plan.whirlpool.clone(),
                size: plan.size,
                keep: plan.keep.clone(),
                believed_ms: u64::try_from(clock.now().since(began).as_millis())
                    .unwrap_or(u64::MAX),
                remove: part.to_vec(),
            };
            let removed = match desk.ask(Request::RemoveSpare { spare }, |_| {}) {
                Ok(Answer::Removed(removed)) => removed,
                Ok(_) => return Err(AskError::Malformed.into()),
                Err(AskError::Refused(why) | AskError::NotPossible(why)) => refused(part, &why),
                Err(other) => return Err(other.into()),
            };
            files += removed.files;
            bytes += removed.files * plan.size;
            tell(plan, &removed, json)?;
        }
    }
    Ok((files, bytes))
}

fn refused(part: &[TwinId], why: &str) -> Removed {
    Removed {
        files: 0,
        left: part
            .iter()
            .map(|file| (file.id.clone(), why.to_owned()))
            .collect(),
    }
}

fn tell(plan: &Plan, removed: &Removed, json: bool) -> Result<(), Failure> {
    if json {
        let left = removed.left.iter().map(|(id, reason)| Left { id, reason });
        say(&control::json_line(&Event::Removed {
            whirlpool: &plan.whirlpool,
            size: plan.size,
            files: removed.files,
            left: left.collect(),
        }))?;
        return Ok(());
    }
    for (id, reason) in &removed.left {
        log::warn!("{id} stays: {reason}");
    }
    Ok(())
}

/// Asks a person whether that may go.
fn confirmed(compared: &Compared) -> anyhow::Result<bool> {
    let count = compared.files - compared.groups;
    let what = format!(
        "{} with {}",
        files::count(count),
        binary(compared.spare_bytes)
    );
    if !io::stdin().is_terminal() {
        bail!("{what} would be removed; say --yes if that is meant");
    }
    agreed(&format!("Remove {what} from the account?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twins(is_start: bool, paths: &[&str]) -> Twins {
        let files = paths.iter().map(|path| Twin {
            path: (*path).to_owned(),
            ..Twin::default()
        });
        Twins {
            whirlpool: "ab".into(),
            size: 1 << 20,
            count: 3,
            is_start,
            files: files.collect(),
        }
    }

    #[test]
    fn the_first_is_kept_and_names_do_not_command_the_terminal() {
        let text = page(&twins(true, &["/a\u{1b}", "/b"]), true);
        assert_eq!(
            text,
            "2 files of 1.0 MiB each\n  keep    /a?\n  remove  /b\n"
        );
        assert!(!page(&twins(true, &["/a", "/b"]), false).contains("keep"));
    }

    #[test]
    fn pieces_of_a_content_are_one_plan() {
        let mut groups = Groups::new(false, true);
        groups.add(twins(true, &["/a", "/b"]));
        groups.add(twins(false, &["/c"]));
        groups.add(twins(true, &["/x", "/y"]));
        let plans = groups.end().unwrap();
        let counts: Vec<usize> = plans.iter().map(|plan| plan.remove.len()).collect();
        assert_eq!(counts, [2, 1]);
    }
}
