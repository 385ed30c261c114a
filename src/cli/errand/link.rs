//! `fichierfs link`: the public link of a file or of a folder's page; a direct link to a file's bytes.
use super::session::Session;
use super::target::Named;
use super::{NAMING, secret, tell, tell_failed};
use crate::cli::exit::Failure;
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{Done, Errand};
use anyhow::anyhow;
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
    let mut session = None;
    let mut failed = 0_u32;
    for typed in &args.paths {
        let named = Named::parse(typed, args.given.account.as_ref())?;
        let done = Session::of(&named, &args.given, session.take()).and_then(|(asked, of)| {
            session.insert(asked).run(Errand::Link {
                of,
                direct: args.direct,
                password: password.clone(),
            })
        });
        match done {
            Ok(Done::Link(link)) => {
                let shown = link.direct.as_ref().unwrap_or(&link.url);
                tell(args.json, &link, shown)?;
            }
            Ok(_) => return Err(AskError::Malformed.into()),
            Err(why) if args.paths.len() > 1 => {
                tell_failed(args.json, &typed.to_string_lossy(), &why)?;
                failed += 1;
            }
            Err(why) => return Err(why.into()),
        }
    }
    if failed > 0 {
        return Err(anyhow!("{failed} failed, see above").into());
    }
    Ok(ExitCode::SUCCESS)
}
