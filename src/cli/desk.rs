//! Where a command is answered that is about the whole tree: by a running mount, else by the parts of one, with the
//! account's lock.
use super::exit::Failure;
use super::files;
use super::output::counted;
use crate::config::{Account, AccountOptions, Surroundings};
use crate::control::client::AskError;
use crate::control::{Answer, Client, Request, Seen, Within, find};
use crate::mount::offline::Offline;
use anyhow::{Context, anyhow, bail};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// Who answers.
pub(super) enum Desk {
    /// The mount that is there.
    Mount(Box<Client>),
    /// This process.
    Offline(Box<Offline>),
}

/// Who answers, and where in the account the question is about.
pub(super) struct Target {
    pub(super) desk: Desk,
    pub(super) within: Within,
    /// Held open, it keeps its number.
    _held: Option<File>,
}

/// A path inside a mount is answered by that mount; a path of the account, or none, by the account's mount, or by this
/// process. `changes` if the account is to be told of some.
pub(super) fn open(
    path: Option<&Path>,
    given: AccountOptions,
    changes: bool,
) -> anyhow::Result<Target> {
    if let Some(path) = path {
        match files::server(path) {
            Ok((path, client)) => return inside(&path, client),
            // It may be a path of the account.
            Err(error) if !path.is_absolute() => {
                return Err(error.context(format!(
                    "{} is no path in the account (such as --account NAME /films) and none in a mount",
                    path.display()
                )));
            }
            Err(error) => log::debug!("{error:#}; taken for a path of the account"),
        }
    }
    let within = path.map_or(Within::All, |path| {
        Within::Path(path.to_string_lossy().into_owned())
    });
    let desk = of_account(given, changes)?;
    Ok(Target {
        desk,
        within,
        _held: None,
    })
}

/// The account's mount, or this process.
pub(super) fn of_account(given: AccountOptions, changes: bool) -> anyhow::Result<Desk> {
    let mut account = Account::resolve(given, &Surroundings::of_process()?)?;
    if let Some(client) = find::of_account(&account) {
        return Ok(Desk::Mount(Box::new(client)));
    }
    let found = account.find_key()?;
    let offline = Offline::open(&account, &found.key, changes)?;
    Ok(Desk::Offline(Box::new(offline)))
}

fn inside(path: &Path, client: Client) -> anyhow::Result<Target> {
    let what = || format!("cannot look at {}", path.display());
    let held = files::hold(path).with_context(what)?;
    let inode = held.metadata().with_context(what)?.ino();
    Ok(Target {
        desk: Desk::Mount(Box::new(client)),
        within: Within::Inode(inode),
        _held: Some(held),
    })
}

impl Desk {
    /// Asks; `told` hears what comes before the answer.
    pub(super) fn ask(
        &mut self,
        request: Request,
        told: impl FnMut(Answer),
    ) -> Result<Answer, AskError> {
        match self {
            Self::Mount(client) => client.ask_long(&request, told),
            Self::Offline(offline) => match offline.ask(request, told) {
                Answer::Error { message } => Err(AskError::NotPossible(message)),
                answer => Ok(answer),
            },
        }
    }

    /// Whether nothing is mounted.
    pub(super) fn is_offline(&self) -> bool {
        matches!(self, Self::Offline(_))
    }

    /// Tells the account what was changed, if this process has to.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Self::Offline(offline) = self else {
            return Ok(());
        };
        let left = offline.finish()?;
        if left > 0 {
            bail!(
                "the account could not be told of {left} changes; the next mount tells it, and \
                 `fichierfs status` says why"
            );
        }
        Ok(())
    }
}

/// The end of a command about the whole tree: says what was not seen of it.
pub(super) fn ended(seen: &Seen) -> Result<ExitCode, Failure> {
    let Some(lack) = lack(seen) else {
        return Ok(ExitCode::SUCCESS);
    };
    Err(Failure {
        code: super::exit::PARTIAL,
        why: Some(anyhow!(lack)),
    })
}

fn lack(seen: &Seen) -> Option<String> {
    let folders = |count| counted(count, "folder is", "folders are");
    match (seen.unlisted, seen.partial) {
        (0, 0) => None,
        (0, partial) => Some(format!(
            "{} known in part only, because the service cannot show all of it; what is there is not \
             all in this",
            folders(partial)
        )),
        (unlisted, _) => Some(format!(
            "{} not listed yet, so what is in there is missing here; mount the account, wait until \
             `fichierfs status` says that the tree is complete, and ask again",
            folders(unlisted)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said() {
        let seen = |unlisted, partial| Seen {
            unlisted,
            partial,
            ..Seen::default()
        };
        assert_eq!(lack(&seen(0, 0)), None);
        assert!(
            lack(&seen(1, 0))
                .unwrap()
                .starts_with("1 folder is not listed")
        );
        assert!(
            lack(&seen(12, 3))
                .unwrap()
                .starts_with("12 folders are not")
        );
        assert!(
            lack(&seen(0, 2))
                .unwrap()
                .contains("2 folders are known in part")
        );
    }
}
