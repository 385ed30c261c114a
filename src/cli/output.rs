//! What commands write on standard output, and how they word it.
use super::exit::Failure;
pub(super) use crate::util::human::{binary, decimal, printable};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Writes `text`. A reader that has seen enough (`| head`) is no failure.
pub(super) fn say(text: &str) -> Result<ExitCode, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
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
