//! Exit codes, and the one line that explains them. What they mean is said here alone: the manual
//! pages are made from [`CODES`] and [`MOUNT8_CODES`], and a test compares docs/configuration.md.
use crate::config::ConfigError;
use crate::logging;
use crate::util::paint::Paint;
use std::io::{self, Write};
use std::process::ExitCode;

/// Something failed.
pub const FAILURE: u8 = 1;
/// What was typed makes no sense.
pub const USAGE: u8 = 2;

/// Done as far as the tree is known, which is not all of it.
pub const PARTIAL: u8 = 3;

/// What the codes of `fichierfs` mean.
pub const CODES: &[(u8, &str)] = &[
    (0, "done"),
    (FAILURE, "failed"),
    (USAGE, "the options or arguments are wrong"),
    (PARTIAL, "done, but a part of the tree is not known yet"),
];

/// What the codes of `mount.fichierfs` and `umount.fuse.fichierfs` mean: mount(8) has its own.
pub const MOUNT8_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (mount8::USAGE, "the options or arguments are wrong"),
    (mount8::SYSTEM, "the system failed"),
    (mount8::MOUNT, "the mount or its end failed"),
];

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
        let name = Paint::of(&io::stderr()).bad(&format!("{name}:"));
        let _ = writeln!(io::stderr(), "{priority}{name} {}", sentence(why));
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
    fn the_documentation_has_every_code() {
        let page = super::super::reference::markdown();
        let meaning = |codes: &[(u8, &'static str)], code| {
            let known = codes.iter().find(|(known, _)| *known == code);
            known.map_or(String::new(), |(_, meaning)| format!("{meaning} "))
        };
        for code in [0, 1, 2, 32] {
            let row = format!(
                "| {code} | {}| {}|\n",
                meaning(CODES, code),
                meaning(MOUNT8_CODES, code)
            );
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let plain = anyhow!("no\n  room").context("cannot write");
        assert_eq!(sentence(&plain), "cannot write: no room");
        let named = anyhow!("no room").context("cannot write: no room; make some");
        assert_eq!(sentence(&named), "cannot write: no room; make some");
    }
}
