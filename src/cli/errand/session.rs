//! Who runs an errand: the mount that a path lies in, a running mount of the account, or this process, which
//! then has the account to itself.
use super::super::files;
use super::super::service::{self, Held};
use super::target::Named;
use crate::config::{Account, AccountName, AccountOptions, Surroundings};
use crate::control::client::AskError;
use crate::control::{Answer, Client, Request, find};
use crate::errand::{Done, Errand, Target};
use crate::mount::errands::Alone;
use crate::secret::ApiKey;
use anyhow::{Context, anyhow};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// After how long a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a person is told then.
const WAITING: &str = "waiting for the service, which lists a folder once in 30 s…";

/// Someone who runs errands.
pub(super) struct Session {
    runner: Runner,
    serves: Serves,
    /// What was named by path keeps its inode number as long as this lives.
    _held: Option<File>,
}

/// What can be asked there.
#[derive(PartialEq)]
enum Serves {
    /// What lies in one mount.
    Mount,
    /// What is named by its account; the one the options name when absent.
    Account(Option<AccountName>),
}

enum Runner {
    Mount(Client),
    Alone(Box<Own>),
}

/// This process with the account's lock.
struct Own {
    // The tree goes before the runtime it lives on.
    alone: Option<Alone>,
    held: Held,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(alone) = self.alone.take() {
            self.held.run(async |_, _| alone.end().await);
        }
    }
}

impl Session {
    /// Who can say something of what was named, and how it is to be named there. `given` are the
    /// options of the account; `before` is gone on with where it can.
    pub(super) fn of(
        named: &Named,
        given: &AccountOptions,
        before: Option<Self>,
    ) -> anyhow::Result<(Self, Target)> {
        match named {
            Named::Local(path) => {
                let (path, client) = files::server(path)?;
                let held = files::hold(&path)
                    .with_context(|| format!("cannot look at {}", path.display()))?;
                let target = Target::Inode {
                    inode: held.metadata()?.ino(),
                    path: path.to_string_lossy().into_owned(),
                };
                let session = Self {
                    runner: Runner::Mount(client),
                    serves: Serves::Mount,
                    _held: Some(held),
                };
                Ok((session, target))
            }
            Named::InAccount(name, path) => {
                let session = Self::continued(name.as_ref(), given, before)?;
                Ok((session, Target::Path(path.clone())))
            }
            Named::Link(link) => {
                let session = Self::continued(None, given, before)?;
                Ok((session, Target::Link(link.clone())))
            }
        }
    }

    fn continued(
        name: Option<&AccountName>,
        given: &AccountOptions,
        before: Option<Self>,
    ) -> anyhow::Result<Self> {
        let name = name.or(given.account.as_ref()).cloned();
        let serves = Serves::Account(name.clone());
        match before {
            Some(before) if before.serves == serves => Ok(before),
            other => {
                // Its lock may be the one needed next.
                drop(other);
                Self::of_account(name, given)
            }
        }
    }

    /// Who runs errands in an account: a running mount of it, else this process.
    fn of_account(name: Option<AccountName>, given: &AccountOptions) -> anyhow::Result<Self> {
        let options = AccountOptions {
            account: name.clone(),
            ..given.clone()
        };
        let mut account = Account::resolve(options, &Surroundings::of_process()?)?;
        let runner = if let Some(client) = find::of_account(&account) {
            Runner::Mount(client)
        } else {
            let key = account.find_key()?.key;
            Runner::Alone(Box::new(own(&account, &key)?))
        };
        Ok(Self {
            runner,
            serves: Serves::Account(name),
            _held: None,
        })
    }

    /// Runs an errand.
    pub(super) fn run(&mut self, errand: Errand) -> anyhow::Result<Done> {
        match &mut self.runner {
            Runner::Mount(client) => {
                let mut has_told = false;
                let request = Request::Errand { errand };
                let answer = client.ask_long(&request, |_| {
                    if !std::mem::replace(&mut has_told, true) {
                        tell_waiting();
                    }
                });
                match answer {
                    Ok(Answer::Done(done)) => Ok(done),
                    // The sentence is about what was asked, not about the mount.
                    Err(AskError::Refused(message)) => Err(anyhow!(message)),
                    Err(error) => Err(error.into()),
                    Ok(_) => Err(AskError::Malformed.into()),
                }
            }
            Runner::Alone(own) => {
                let Own { alone, held } = &mut **own;
                let alone = alone.as_ref().context("the account was given back")?;
                let done = held.run(async |_, _| {
                    let work = alone.run(errand);
                    tokio::pin!(work);
                    tokio::select! {
                        done = &mut work => return done,
                        () = tokio::time::sleep(PATIENCE) => tell_waiting(),
                    }
                    work.await
                });
                Ok(done?)
            }
        }
    }
}

fn own(account: &Account, key: &ApiKey) -> anyhow::Result<Own> {
    let held = Held::open(account, key).map_err(|error| {
        if service::is_held(&error) {
            error.context(
                "another process uses the account and does not answer here; wait for it, or see \
                 `fichierfs status`",
            )
        } else {
            error
        }
    })?;
    let state_dir = account.own_state_dir();
    let alone = held.run(async |client, clock| Alone::new(client, clock, &state_dir, key));
    Ok(Own {
        alone: Some(alone),
        held,
    })
}

fn tell_waiting() {
    if io::stderr().is_terminal() {
        // Where there is no standard error, nobody waits to be told.
        let _ = writeln!(io::stderr(), "{WAITING}");
    }
}
