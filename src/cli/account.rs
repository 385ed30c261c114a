//! `fichierfs account`: what the service says of an account, and how old that is.
//!
//! A running mount is asked first; else the service, at most once in 6 minutes, whichever process
//! asks.
use super::exit::Failure;
use super::output::{self, decimal, say};
use super::service;
use crate::api::UserInfo;
use crate::config::{Account, AccountOptions, Surroundings};
use crate::control::client::AskError;
use crate::control::{AccountAnswer, Answer, Client, Request, find};
use std::process::ExitCode;
use std::time::Duration;

/// How long a mount may take: it may have to ask the service, at the service's pace.
const MOUNT_LIMIT: Duration = Duration::from_secs(70);

/// Arguments of `account`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Shows the account.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut account = Account::resolve(args.given, &Surroundings::of_process()?)?;
    let (info, age) = if let Some(mount) = find::of_account(&account) {
        from_mount(mount)?
    } else {
        let found = account.find_key()?;
        service::user_info(&account, &found.key)?
    };
    let text = table(account.name.as_str(), &info, age);
    say(&text)
}

fn from_mount(mut client: Client) -> Result<(UserInfo, Duration), AskError> {
    match client.ask(&Request::Account, MOUNT_LIMIT)? {
        Answer::Account(AccountAnswer { info, age_seconds }) => {
            Ok((info, Duration::from_secs(age_seconds)))
        }
        _ => Err(AskError::Malformed),
    }
}

/// The account as lines of a name and a value.
fn table(name: &str, info: &UserInfo, age: Duration) -> String {
    let mut lines = vec![
        ("Account", format!("{name}, {}", info.email)),
        ("Offer", info.offer.to_string()),
    ];
    if let Some(end) = &info.subscription_end {
        lines.push(("Until", format!("{end} (Paris time)")));
    }
    let hot = match info.hot_storage {
        0 => String::new(),
        hot => format!(" and {} hot", decimal(hot)),
    };
    lines.push(("Used", format!("{} cold{hot}", decimal(info.cold_storage))));
    if let Some(free) = info.available_cold_storage {
        let free = u64::try_from(free).map_or_else(
            |_| format!("none: {} too much is stored", decimal(free.unsigned_abs())),
            |free| format!("{} cold", decimal(free)),
        );
        lines.push(("Free", free));
    }
    if info.cdn_credits > 0 {
        let used = if info.use_cdn { "" } else { ", not used" };
        lines.push((
            "CDN credits",
            format!("{}{used}", decimal(info.cdn_credits)),
        ));
    }
    if info.over_quota {
        lines.push(("Note", "the account stores more than it may".into()));
    }
    if info.upload_forbidden {
        lines.push(("Note", "uploads are refused".into()));
    }
    let seconds = Duration::from_secs(age.as_secs());
    let age = if seconds.is_zero() {
        "now".to_owned()
    } else {
        format!("{} ago", humantime::format_duration(seconds))
    };
    lines.push(("As of", age));
    output::table(&lines, 0, 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Offer;

    fn info() -> UserInfo {
        UserInfo {
            email: "me@example.org".into(),
            offer: Offer::Premium,
            subscription_end: Some("2027-01-01 00:00:00".into()),
            cold_storage: 1_500_000_000_000,
            hot_storage: 0,
            available_cold_storage: Some(500_000_000_000),
            cdn_credits: 0,
            use_cdn: false,
            over_quota: false,
            upload_forbidden: false,
        }
    }

    #[test]
    fn the_table_shows_what_there_is() {
        assert_eq!(
            table("work", &info(), Duration::from_millis(125_500)),
            "Account     work, me@example.org\n\
             Offer       Premium\n\
             Until       2027-01-01 00:00:00 (Paris time)\n\
             Used        1.5 TB cold\n\
             Free        500.0 GB cold\n\
             As of       2m 5s ago\n"
        );
    }

    #[test]
    fn trouble_is_told_and_control_characters_are_not() {
        let info = UserInfo {
            email: "a\u{1b}[2Jb".into(),
            available_cold_storage: Some(-2_000_000_000),
            over_quota: true,
            upload_forbidden: true,
            ..info()
        };
        let text = table("x", &info, Duration::ZERO);
        assert!(text.contains("2.0 GB too much") && text.contains("uploads are refused"));
        assert!(text.contains("As of       now") && !text.contains('\u{1b}'));
    }
}
