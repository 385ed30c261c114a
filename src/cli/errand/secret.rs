//! Passwords as a person gives them: typed without echo, else a line of standard input. Never an argument, which
//! everybody on the machine can read.
use crate::secret::Password;
use anyhow::{Context, bail};
use std::io::{self, BufRead, BufReader, IsTerminal, Read};

/// Bytes of a line at most.
const LONGEST: u64 = 4096;

/// A password to be set: typed twice.
pub(super) fn new(what: &str) -> anyhow::Result<Password> {
    if !io::stdin().is_terminal() {
        return line(what);
    }
    let password = prompt(&format!("New password of {what}: "))?;
    if prompt("The same again: ")? != password {
        bail!("these were two different passwords");
    }
    Ok(password)
}

/// A password that something has.
pub(super) fn known(what: &str) -> anyhow::Result<Password> {
    if !io::stdin().is_terminal() {
        return line(what);
    }
    prompt(&format!("Password of {what}: "))
}

fn prompt(text: &str) -> anyhow::Result<Password> {
    let text = super::printable(text);
    let typed = rpassword::prompt_password(text).context("cannot read the password")?;
    Ok(Password::parse(&typed)?)
}

fn line(what: &str) -> anyhow::Result<Password> {
    let mut text = String::new();
    BufReader::new(io::stdin().take(LONGEST))
        .read_line(&mut text)
        .context("cannot read the password from standard input")?;
    Password::parse(&text).with_context(|| format!("the password of {what}, from standard input"))
}
