//! `fichierfs import`: takes files of others into the account by their links, on the service's side.
use super::session::Session;
use super::target::{Named, addresses_and_folder};
use super::{NAMING, secret, tell};
use crate::api::FileUrl;
use crate::cli::exit::{self, Failure};
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{Done, Errand, Imported, LINKS_AT_ONCE};
use crate::tree;
use anyhow::{anyhow, bail};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Nothing is downloaded: the service copies. Without a folder the files go into the account's root. A \
     mount shows them within half a minute. {NAMING} The exit code is 1 when a link became no file. With \
     --json each line is what became of up to {LINKS_AT_ONCE} links."
))]
pub struct Args {
    /// Links of files, as `fichierfs link` prints them, and at last the folder they go into
    #[arg(required = true, value_name = "LINK... [FOLDER]")]
    pub what: Vec<OsString>,

    /// Read the links' password from the terminal or standard input
    #[arg(long)]
    pub password: bool,

    /// Another name for a single file
    #[arg(long, value_name = "NAME")]
    pub name: Option<OsString>,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Takes files over.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (links, folder) = addresses_and_folder(&args.what)?;
    for link in &links {
        if FileUrl::parse(link).is_none() {
            let hint = if link.contains("/dir/") {
                "it is a folder's public page; give the links of its files"
            } else {
                "one looks like https://1fichier.com/?abcdefghij0123456789"
            };
            return Err(anyhow!("{link}: this is no file's link; {hint}").into());
        }
    }
    let name = args.name.as_ref().map(stored).transpose()?;
    if name.is_some() && links.len() > 1 {
        return Err(anyhow!("--name is for one link").into());
    }
    let into = match folder {
        Some(typed) => Named::parse(typed, args.given.account.as_ref())?,
        None => Named::root(),
    };
    let password = args
        .password
        .then(|| secret::known("the files"))
        .transpose()?;
    let (mut session, into) = Session::of(&into, &args.given, None)?;
    let mut missed = 0;
    for links in links.chunks(LINKS_AT_ONCE) {
        let done = session.run(Errand::Import {
            links: links.to_vec(),
            into: into.clone(),
            name: name.clone(),
            password: password.clone(),
        })?;
        let Done::Imported(imported) = done else {
            return Err(AskError::Malformed.into());
        };
        missed += imported.missed.len();
        tell(args.json, &imported, &words(&imported))?;
    }
    if missed > 0 {
        return Err(Failure::explained(exit::FAILURE));
    }
    Ok(ExitCode::SUCCESS)
}

/// A name as the service stores it.
fn stored(name: &OsString) -> anyhow::Result<String> {
    let bytes = name.as_encoded_bytes();
    let is_one = !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/');
    if !is_one || bytes.len() > tree::NAME_MAX {
        bail!("{}: this cannot be a file's name", name.to_string_lossy());
    }
    Ok(tree::encode(name))
}

fn words(imported: &Imported) -> String {
    let mut text = String::new();
    for file in &imported.files {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} -> {}", file.from, file.url);
    }
    for missed in &imported.missed {
        let _ = writeln!(text, "{}: {}", missed.from, missed.reason);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_stored_as_the_mount_would() {
        assert_eq!(stored(&"Tom's.mkv".into()).unwrap(), "Tom＇s.mkv");
        for wrong in ["", ".", "..", "a/b", &"x".repeat(300)] {
            assert!(stored(&wrong.into()).is_err(), "{wrong}");
        }
    }
}
