//! Exit codes, and the one line that explains them.
//!
//! | code | `fichierfs` | `mount.fichierfs`, as mount(8) has it |
//! |---|---|---|
//! | 0 | done | done |
//! | 1 | failed | the options or arguments are wrong |
//! | 2 | the options or arguments are wrong | the system failed us |
//! | 32 | - | the mount failed |
use crate::config::ConfigError;
use crate::logging;
use std::io::{self, Write};
use std::process::ExitCode;

/// Something failed.
pub const FAILURE: u8 = 1;
/// What was typed makes no sense.
pub const USAGE: u8 = 2;

/// What mount(8) wants to hear.
pub mod mount8 {
    /// The options or arguments are wrong.
    pub const USAGE: u8 = 1;
    /// The system failed us: no process, no pipe.
    pub const SYSTEM: u8 = 2;
    /// The mount failed.
    pub const MOUNT: u8 = 32;
}

/// A command that failed: why, and what the caller's shell is told.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// Why; `None` when that was said already.
    pub why: Option<anyhow::Error>,
}

impl Failure {
    /// A failure of this code that was explained already.
    pub fn explained(code: u8) -> Self {
        Self { code, why: None }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(why: E) -> Self {
        let why = why.into();
        let usage = why
            .downcast_ref::<ConfigError>()
            .is_some_and(ConfigError::is_usage);
        Self {
            code: if usage { USAGE } else { FAILURE },
            why: Some(why),
        }
    }
}

/// Tells a failure in one line and gives the code for the shell.
pub fn report(name: &str, result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|failure| {
        tell(name, &failure);
        ExitCode::from(failure.code)
    })
}

/// Tells a failure in one line, if that was not done.
pub fn tell(name: &str, failure: &Failure) {
    if let Some(why) = &failure.why {
        // Where there is no standard error, nobody can be told.
        let priority = if logging::is_journal() { "<3>" } else { "" };
        let _ = writeln!(io::stderr(), "{priority}{name}: {}", sentence(why));
    }
}

/// An error and its causes in one line, nothing said twice: some errors name their cause themselves.
pub fn sentence(why: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in why.chain() {
        // An error text of some library may hold line breaks.
        let text = cause.to_string();
        let text: Vec<&str> = text.split_whitespace().collect();
        let text = text.join(" ");
        if said.is_empty() {
            said = text;
        } else if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let plain = anyhow!("no\n  room").context("cannot write");
        assert_eq!(sentence(&plain), "cannot write: no room");
        let named = anyhow!("no room").context("cannot write: no room; make some");
        assert_eq!(sentence(&named), "cannot write: no room; make some");
    }
}
