//! `fichierfs doctor`: whether this machine, the configuration and the account are fit for a mount.
//!
//! `facts` gathers what is so, and `checks` says what that means and what to do: pure, so that every sentence
//! can be tested without a machine to match. Promises: changes nothing but what keeps the service's limits;
//! asks a running mount before the service, and makes one call to it at most.
mod checks;
mod facts;
#[cfg(test)]
mod tests;

use super::exit::Failure;
use super::output::{printable, say};
use crate::config::{AccountOptions, Surroundings};
use facts::Facts;
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is ok, warn (a mount works, but) or fail (a mount does not work, or loses \
    something), and says what to do. The exit code is 0 when nothing failed, 1 when something did. The service \
    is asked once at most, and not at all when it answered in the last six minutes or the account is mounted."
)]
pub struct Args {
    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,

    /// Look at this machine only: no connection, no call
    #[arg(long)]
    pub offline: bool,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// A mount works, but less well than it could.
    Warn,
    /// A mount does not work, or something may be lost.
    Fail,
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The thing; the names are promised in docs/schema/doctor.json.
    check: &'static str,
    state: State,
    /// What is so, and what that means.
    says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Document<'a> {
    account: &'a str,
    /// The worst of all.
    state: State,
    checks: &'a [Finding],
}

/// Looks at everything and tells.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let around = Surroundings::of_process()?;
    let facts = Facts::gather(args.given, &around, args.offline);
    let findings = checks::all(&facts);
    let state = findings
        .iter()
        .map(|it| it.state)
        .max()
        .unwrap_or(State::Ok);
    let text = if args.json {
        crate::control::json_line(&Document {
            account: &facts.account,
            state,
            checks: &findings,
        })
    } else {
        page(&findings)
    };
    say(&text)?;
    match state {
        State::Fail => Err(Failure::explained(super::exit::FAILURE)),
        State::Ok | State::Warn => Ok(ExitCode::SUCCESS),
    }
}

/// For people: a line each, and what to do below it.
fn page(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        check,
        state,
        says,
        advice,
    } in findings
    {
        let state = match state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{state:<5} {check:<12} {}", printable(says));
        if let Some(advice) = advice {
            let _ = writeln!(text, "{:<18} -> {}", "", printable(advice));
        }
    }
    text
}
