//! `fichierfs protect`: the password and the description the service keeps with a file.
use super::session::Session;
use super::target::Named;
use super::{NAMING, confirm, secret, tell};
use crate::api::PasswordChange;
use crate::cli::exit::Failure;
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{Done, Errand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments of `protect`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Others need the password to load the file by its link; you, in this account, do not. It has at least 6 \
     characters, is typed twice, or is a line of standard input. The description is seen by everybody who \
     has the link. {NAMING}"
))]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
pub struct Args {
    /// A file
    pub path: OsString,

    /// Set a password, read from the terminal or standard input
    #[arg(long, group = "what", conflicts_with = "no_password")]
    pub password: bool,

    /// Take the password away
    #[arg(long, group = "what")]
    pub no_password: bool,

    /// Set the description; empty for none
    #[arg(long, value_name = "TEXT", group = "what")]
    pub description: Option<String>,

    /// Do not ask before a password is taken away
    #[arg(short, long)]
    pub yes: bool,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Sets them.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let shown = args.path.to_string_lossy();
    let named = Named::parse(&args.path, args.given.account.as_ref())?;
    let password = if args.password {
        PasswordChange::Set(secret::new(&shown)?)
    } else if args.no_password {
        let what = format!("everybody who has the link of {shown} will be able to load it");
        confirm(&what, args.yes)?;
        PasswordChange::Remove
    } else {
        PasswordChange::Keep
    };
    let (mut session, of) = Session::of(&named, &args.given, None)?;
    let done = session.run(Errand::Protect {
        of,
        password,
        description: args.description.clone(),
    })?;
    let Done::Protected(protected) = done else {
        return Err(AskError::Malformed.into());
    };
    let words = if protected.changed {
        "set"
    } else {
        "was so already"
    };
    tell(args.json, &protected, &format!("{shown}: {words}"))?;
    Ok(ExitCode::SUCCESS)
}
