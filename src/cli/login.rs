//! `fichierfs login`: asks for a key, checks it with the service, keeps it.
use super::exit::Failure;
use super::output::say;
use super::service::{self, Checked};
use crate::api::UserInfo;
use crate::config::{Account, AccountOptions, Surroundings, key};
use crate::secret::ApiKey;
use anyhow::Context;
use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;

/// Bytes read from a pipe at most; a key has 32.
const LONGEST: u64 = 4096;

/// Arguments of `login`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key is on https://1fichier.com/console/params.pl. Without a terminal \
    it is read from standard input."
)]
pub struct Args {
    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Logs in.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let account = Account::resolve(args.given, &Surroundings::of_process()?)?;
    let key = ApiKey::parse(&read(&account)?)?;
    if !key.looks_usual() {
        log::warn!("this does not look like an API key (32 characters); trying it anyway");
    }
    let found = match service::check(&account, &key) {
        Ok(Checked::Account(info)) => describe(&info),
        Ok(Checked::Accepted) => "the service accepts the key".to_owned(),
        Err(err) if service::is_held(&err) => {
            "not checked, because a running mount uses the very key".to_owned()
        }
        Err(err) => return Err(err.context("the key was not kept").into()),
    };
    let path = key::store(&account.config_dir, &account.name, &key)?;
    say(&format!(
        "account `{}`: {found}; the key is kept in {}\n",
        account.name,
        path.display()
    ))?;
    if let Some(origin) = account.overrides_login() {
        log::warn!("{origin} goes before the stored login and may hold another key");
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(info: &UserInfo) -> String {
    let offer = info.offer;
    if info.offer.is_paid() {
        format!("{} ({offer})", info.email)
    } else {
        // The service lets its API list and download for subscribers only.
        format!("{} ({offer}: it cannot be mounted)", info.email)
    }
}

/// Reads the key: from the terminal without echo, else from standard input.
fn read(account: &Account) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        let prompt = format!("API key of the account `{}`: ", account.name);
        return rpassword::prompt_password(prompt).context("cannot read the key");
    }
    let mut text = String::new();
    io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .context("cannot read the key from standard input")?;
    Ok(text)
}
