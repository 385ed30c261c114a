//! What commands write on standard output, and how they word it.
use super::exit::Failure;
pub(super) use crate::util::human::{binary, counted, decimal, printable};
use anyhow::Context;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nothing but errors is wanted (`--quiet`).
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on nothing is said but what a program asked for.
pub(super) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether nothing but errors is wanted.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Tells a person `text`, unless nothing but errors is wanted.
pub(super) fn say(text: &str) -> Result<ExitCode, Failure> {
    if is_quiet() {
        return Ok(ExitCode::SUCCESS);
    }
    print(text)
}

/// Tells a person beside what is printed, on standard error, unless nothing but errors is wanted.
pub(super) fn hint(text: &str) {
    if !is_quiet() {
        // Where there is no standard error, nobody can be told.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Asks a person at the terminal; all but yes is no.
pub(super) fn agreed(question: &str) -> anyhow::Result<bool> {
    // A person at a terminal sees this, or answers nothing.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot hear the answer")?;
    Ok(matches!(
        line.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

/// Writes what was asked for itself, such as JSON, also with `--quiet`. A reader that has seen enough
/// (`| head`) is no failure.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<ExitCode, Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(err).context("cannot write").into())
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Lines of a label and a value; `indent` blanks before, `width` characters for the label.
pub(super) fn table<L: AsRef<str>>(lines: &[(L, String)], indent: usize, width: usize) -> String {
    let mut text = String::new();
    for (label, value) in lines {
        let label = label.as_ref();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:indent$}{label:<width$}{}", "", printable(value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_harmless() {
        let lines = [("A", "1".to_owned()), ("Bc", "x\u{1b}[2J\ny".to_owned())];
        assert_eq!(table(&lines, 2, 4), "  A   1\n  Bc  x?[2J?y\n");
    }
}
