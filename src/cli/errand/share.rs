//! `fichierfs share`: who may see a folder.
//!
//! What is there now is asked first, so that what is not spoken of stays; then all of it is told.
use super::info::{guest_words, sharing};
use super::session::Session;
use super::target::Named;
use super::{NAMING, confirm, secret, tell};
use crate::cli::exit::Failure;
use crate::cli::output;
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{Done, Errand, Guest, SharedFolder, Sharing};
use anyhow::bail;
use std::ffi::OsString;
use std::process::ExitCode;

/// Characters of the labels.
const WIDTH: usize = 14;

/// Characters of a mail address at most, as the service takes them elsewhere (API reference 6).
const LONGEST_MAIL: usize = 250;

/// Arguments of `share`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "Without options it shows who may see the folder. A change asks first and costs two calls, one of them a \
     listing, which the service allows once in 30 s for a folder. The public page shows the files in the \
     folder; accounts it is shared with see all that is below it. {NAMING}"
))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
pub struct Args {
    /// A folder
    pub path: OsString,

    /// Give it a public page
    #[arg(long, conflicts_with_all = ["private", "off"])]
    pub public: bool,

    /// Take its public page away; its address never comes back
    #[arg(long, conflicts_with = "off")]
    pub private: bool,

    /// Set a password for the public page, read from the terminal or standard input
    #[arg(long, conflicts_with_all = ["no_password", "private", "off"])]
    pub password: bool,

    /// Take the public page's password away
    #[arg(long, conflicts_with_all = ["private", "off"])]
    pub no_password: bool,

    /// Share it with an account: it may look; with `:rw` change everything in it; with `:hidden` look
    /// without seeing links
    #[arg(long, value_name = "MAIL[:RIGHTS]", value_parser = guest, conflicts_with = "off")]
    pub with: Vec<Guest>,

    /// Share it with this account no longer
    #[arg(long, value_name = "MAIL", value_parser = mail, conflicts_with = "off")]
    pub without: Vec<String>,

    /// Share it with nobody
    #[arg(long)]
    pub off: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

impl Args {
    fn changes_nothing(&self) -> bool {
        let Self {
            public,
            private,
            password,
            no_password,
            off,
            ..
        } = self;
        let is_any = *public || *private || *password || *no_password || *off;
        !is_any && self.with.is_empty() && self.without.is_empty()
    }
}

/// Shows or changes who may see a folder.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let named = Named::parse(&args.path, args.given.account.as_ref())?;
    let (mut session, of) = Session::of(&named, &args.given, None)?;
    let now = shared(session.run(Errand::Shared { of: of.clone() })?)?;
    if args.changes_nothing() {
        return show(args, &now);
    }
    let mut wanted = wanted(args, &now)?;
    let changes = changes(&now, &wanted, args);
    if changes.is_empty() {
        return show(args, &now);
    }
    let what = format!("{}: {}", now.path, changes.join("; "));
    confirm(&what, args.yes)?;
    if args.password {
        wanted.password = Some(secret::new(&format!("the public page of {}", now.path))?);
    }
    let then = shared(session.run(Errand::Share { of, with: wanted })?)?;
    show(args, &then)
}

fn shared(done: Done) -> Result<SharedFolder, AskError> {
    match done {
        Done::Shared(shared) => Ok(shared),
        _ => Err(AskError::Malformed),
    }
}

fn show(args: &Args, shared: &SharedFolder) -> Result<ExitCode, Failure> {
    let mut lines = vec![("Folder", shared.path.clone())];
    lines.extend(sharing(shared));
    tell(args.json, shared, &output::table(&lines, 0, WIDTH))?;
    Ok(ExitCode::SUCCESS)
}

/// What is to be from now on, but for the password itself.
fn wanted(args: &Args, now: &SharedFolder) -> anyhow::Result<Sharing> {
    let path = &now.path;
    if let Some(owner) = &now.owner {
        bail!("{path}: {owner} shares it with you, and alone can say with whom else");
    }
    let public = args.public || (now.url.is_some() && !args.private && !args.off);
    if (args.password || args.no_password) && !public {
        bail!("{path}: only a public page has a password; say --public as well");
    }
    let keeps_password = public && now.password && !args.password && !args.no_password;
    if keeps_password {
        bail!(
            "{path}: its public page has a password, which the service must be told again with every \
             change and tells nobody; say --password and type it, or --no-password"
        );
    }
    let mut guests = if args.off {
        Vec::new()
    } else {
        now.guests.clone()
    };
    let is = |guest: &Guest, email: &str| guest.email.eq_ignore_ascii_case(email);
    for email in &args.without {
        let before = guests.len();
        guests.retain(|guest| !is(guest, email));
        if guests.len() == before {
            bail!("{path}: it is not shared with {email}");
        }
    }
    for new in &args.with {
        guests.retain(|guest| !is(guest, &new.email));
        guests.push(new.clone());
    }
    Ok(Sharing {
        public,
        password: None,
        guests,
    })
}

/// What will be another than now, in words.
fn changes(now: &SharedFolder, then: &Sharing, args: &Args) -> Vec<String> {
    let page = match (&now.url, then.public) {
        (None, true) if args.password => {
            Some("whoever has its new public page's address and password will see it".to_owned())
        }
        (None, true) => Some("whoever has its new public page's address will see it".to_owned()),
        (Some(url), false) => Some(format!("{url} will show nothing any more")),
        (Some(_), true) if args.password => Some("its public page gets this password".to_owned()),
        (Some(_), true) if now.password => {
            Some("its public page will ask for no password any more".to_owned())
        }
        (Some(_), true) | (None, false) => None,
    };
    let mut changes: Vec<String> = page.into_iter().collect();
    for guest in &now.guests {
        if !then.guests.iter().any(|it| it.email == guest.email) {
            changes.push(format!("{} will not see it any more", guest.email));
        }
    }
    for guest in then.guests.iter().filter(|it| !now.guests.contains(it)) {
        changes.push(format!("shared with {}", guest_words(guest)));
    }
    changes
}

fn mail(text: &str) -> Result<String, String> {
    let sound = text.len() <= LONGEST_MAIL
        && text
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && !text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == ':');
    if !sound {
        return Err("an account is named by its mail address, e.g. somebody@example.org".into());
    }
    Ok(text.to_owned())
}

fn guest(text: &str) -> Result<Guest, String> {
    let (email, rights) = text.split_once(':').unwrap_or((text, ""));
    let (writable, links_hidden) = match rights {
        "" | "ro" => (false, false),
        "rw" => (true, false),
        "hidden" => (false, true),
        other => {
            return Err(format!(
                "`{other}` is no right; there are rw, ro and hidden, e.g. somebody@example.org:rw"
            ));
        }
    };
    Ok(Guest {
        email: mail(email)?,
        writable,
        links_hidden,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(url: Option<&str>, password: bool, guests: &[&str]) -> SharedFolder {
        SharedFolder {
            path: "/d".into(),
            url: url.map(str::to_owned),
            password,
            guests: guests.iter().map(|it| guest(it).unwrap()).collect(),
            owner: None,
        }
    }

    fn args(typed: &[&str]) -> Args {
        use clap::{Args as _, FromArgMatches as _};
        let command = Args::augment_args(clap::Command::new("share"));
        let typed = ["share", "/d"].iter().chain(typed);
        Args::from_arg_matches(&command.get_matches_from(typed)).unwrap()
    }

    #[test]
    fn what_is_not_spoken_of_stays() {
        let both = now(Some("u"), false, &["a@x.y", "b@x.y:rw"]);
        let then = wanted(&args(&["--with", "A@x.y:hidden"]), &both).unwrap();
        assert!(then.public);
        let guests: Vec<String> = then.guests.iter().map(guest_words).collect();
        assert_eq!(
            guests,
            [
                "b@x.y, may change everything in it",
                "A@x.y, may look, sees no links"
            ]
        );
        let then = wanted(&args(&["--private", "--without", "b@x.y"]), &both).unwrap();
        assert_eq!((then.public, then.guests.len()), (false, 1));
        let then = wanted(&args(&["--off"]), &both).unwrap();
        assert_eq!(then, Sharing::default());
    }

    #[test]
    fn a_password_nobody_told_is_not_lost_in_passing() {
        let secured = now(Some("u"), true, &[]);
        let said = |typed: &[&str]| wanted(&args(typed), &secured).map_err(|err| err.to_string());
        assert!(
            said(&["--with", "a@x.y"])
                .unwrap_err()
                .contains("--no-password")
        );
        assert!(said(&["--public"]).is_err());
        assert!(said(&["--no-password"]).is_ok() && said(&["--private"]).is_ok());
        let plain = now(None, false, &[]);
        let said = wanted(&args(&["--password"]), &plain).unwrap_err();
        assert!(said.to_string().contains("--public"), "{said}");
        let said = wanted(&args(&["--without", "z@x.y"]), &plain).unwrap_err();
        assert!(said.to_string().contains("not shared with z@x.y"));
        let others = SharedFolder {
            owner: Some("o@x.y".into()),
            ..plain
        };
        assert!(wanted(&args(&["--public"]), &others).is_err());
    }

    #[test]
    fn a_person_hears_what_will_be_another() {
        let words = |typed: &[&str], now: &SharedFolder| {
            let args = args(typed);
            changes(now, &wanted(&args, now).unwrap(), &args).join("; ")
        };
        let plain = now(None, false, &["a@x.y"]);
        assert!(words(&["--public"], &plain).contains("address will see it"));
        assert!(words(&["--off"], &plain).contains("a@x.y will not see it any more"));
        assert!(words(&["--with", "b@x.y:rw"], &plain).contains("b@x.y, may change"));
        assert_eq!(words(&["--with", "a@x.y"], &plain), "");
        let public = now(Some("u"), true, &[]);
        assert!(words(&["--private"], &public).starts_with("u will show nothing"));
        assert!(words(&["--no-password"], &public).contains("no password any more"));
    }

    #[test]
    fn guests_are_mail_addresses_with_rights() {
        assert!(guest("a@b.c:rw").unwrap().writable);
        for wrong in ["", "a", "@b", "a@", "a b@c", "a@b:admin", "a@b:rw:ro"] {
            assert!(guest(wrong).is_err(), "{wrong}");
        }
    }
}
