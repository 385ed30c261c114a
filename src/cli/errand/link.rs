//! `fichierfs link`: the public link of a file or of a folder's page; a direct link to a file's bytes.
use super::{NAMING, each, secret, tell};
use crate::cli::exit::Failure;
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{Done, Errand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments of `link`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Everybody who has a file's link can load it, unless it has a password or an access list. A folder has a \
     link when it is shared with --public. A direct link gives the bytes to whoever has it: a download by \
     it must begin within 5 minutes, and can be continued for 30. {NAMING} The exit code is 1 when one of \
     them failed."
))]
pub struct Args {
    /// Files or folders
    #[arg(required = true)]
    pub paths: Vec<OsString>,

    /// A link to the bytes themselves, e.g. for curl; costs a call for each
    #[arg(long)]
    pub direct: bool,

    /// Read the password of files of others from the terminal or standard input
    #[arg(long, requires = "direct")]
    pub password: bool,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Prints links.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let password = args
        .password
        .then(|| secret::known("the files"))
        .transpose()?;
    each(
        &args.paths,
        &args.given,
        args.json,
        |of| Errand::Link {
            of,
            direct: args.direct,
            password: password.clone(),
        },
        |done| match done {
            Done::Link(link) => {
                let shown = link.direct.as_ref().unwrap_or(&link.url);
                tell(args.json, &link, shown)
            }
            _ => Err(AskError::Malformed.into()),
        },
    )
}
