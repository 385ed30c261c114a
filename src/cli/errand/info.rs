//! `fichierfs info`: all the service knows of a file or folder.
use super::{NAMING, each, secret, tell};
use crate::cli::exit::Failure;
use crate::cli::output::{self, decimal};
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{AccessRules, Done, Errand, FileFacts, FolderFacts, Guest, SharedFolder};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::ffi::OsString;
use std::process::ExitCode;

/// Characters of the labels.
const WIDTH: usize = 14;

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Costs a call for each; of a folder it counts as a listing, which the service allows once in 30 s. What \
     the mount itself knows is shown by `fichierfs explain`, without a call. {NAMING} The exit code is 1 \
     when one of them failed."
))]
pub struct Args {
    /// Files or folders
    #[arg(required = true)]
    pub paths: Vec<OsString>,

    /// Read the password of files of others from the terminal or standard input
    #[arg(long)]
    pub password: bool,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Shows what the service knows.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let password = args
        .password
        .then(|| secret::known("the files"))
        .transpose()?;
    let mut gap = "";
    each(
        &args.paths,
        &args.given,
        args.json,
        |of| Errand::Info {
            of,
            password: password.clone(),
        },
        |done| {
            match done {
                Done::File(facts) => tell(args.json, &facts, &format!("{gap}{}", file(&facts)))?,
                Done::Folder(facts) => {
                    tell(args.json, &facts, &format!("{gap}{}", folder(&facts)))?;
                }
                _ => return Err(AskError::Malformed.into()),
            }
            gap = "\n";
            Ok(())
        },
    )
}

fn file(facts: &FileFacts) -> String {
    let mut lines = vec![
        ("File", facts.path.clone()),
        ("Link", facts.url.clone()),
        ("Name", facts.name.clone()),
        (
            "Size",
            format!("{} ({} bytes)", decimal(facts.size), facts.size),
        ),
    ];
    let mut add = |label, value: &Option<String>| {
        if let Some(value) = value {
            lines.push((label, value.clone()));
        }
    };
    add("Uploaded", &facts.uploaded.and_then(date_words));
    add("Folder", &facts.folder_path);
    add("Type", &facts.content_type);
    add("Whirlpool", &facts.whirlpool);
    add("Description", &facts.description);
    for (is_set, what) in [
        (facts.password, "has a password"),
        (facts.inline, "is shown by browsers, not saved"),
        (facts.no_ssl, "is loaded over plain http"),
        (facts.cdn, "its downloads spend CDN credits"),
    ] {
        if is_set {
            lines.push(("Note", what.to_owned()));
        }
    }
    if let Some(rules) = &facts.access {
        lines.push(("For", access(rules)));
    }
    output::table(&lines, 0, WIDTH)
}

fn access(rules: &AccessRules) -> String {
    let lists = [&rules.ip, &rules.country, &rules.email];
    let mut who: Vec<String> = lists.into_iter().flatten().cloned().collect();
    if rules.premium {
        who.push("paying customers".to_owned());
    }
    who.join(", ")
}

fn folder(facts: &FolderFacts) -> String {
    let mut lines = vec![
        ("Folder", facts.shared.path.clone()),
        ("Number", facts.id.to_string()),
        ("Name", facts.name.clone()),
    ];
    if let Some(created) = facts.created.and_then(date_words) {
        lines.push(("Made", created));
    }
    let files = facts.files.unwrap_or_default();
    let size = facts
        .size
        .map_or_else(String::new, |size| format!(", {}", decimal(size)));
    lines.push((
        "Holds",
        format!("{} folders, {files} files{size}", facts.folders),
    ));
    lines.extend(sharing(&facts.shared));
    output::table(&lines, 0, WIDTH)
}

/// Who may see a folder, as lines of a label and a value.
pub(super) fn sharing(shared: &SharedFolder) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.push(match &shared.url {
        Some(url) if shared.password => ("Public page", format!("{url}, with a password")),
        Some(url) => (
            "Public page",
            format!("{url}, for everybody who has the address"),
        ),
        None => ("Public page", "none".to_owned()),
    });
    for guest in &shared.guests {
        lines.push(("Shared with", guest_words(guest)));
    }
    if let Some(owner) = &shared.owner {
        lines.push(("Shared by", owner.clone()));
    }
    lines
}

/// An account and what it may do.
pub(super) fn guest_words(guest: &Guest) -> String {
    let may = match (guest.links_hidden, guest.writable) {
        (true, _) => "may look, sees no links",
        (false, true) => "may change everything in it",
        (false, false) => "may look",
    };
    format!("{}, {may}", guest.email)
}

/// A date as people here read it.
pub(super) fn date_words(seconds: i64) -> Option<String> {
    let at = Timestamp::from_second(seconds).ok()?;
    let at = at.to_zoned(TimeZone::system());
    Some(at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_may_is_said() {
        let words = |writable, links_hidden| {
            guest_words(&Guest {
                email: "a@b.c".into(),
                writable,
                links_hidden,
            })
        };
        assert!(words(false, false).ends_with("may look"));
        assert!(words(true, false).contains("change"));
        assert!(words(true, true).contains("no links"));
    }
}
