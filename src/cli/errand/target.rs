//! How a person names a file or folder of an account.
//!
//! | typed | means |
//! |---|---|
//! | `https://…` | a file, by its link |
//! | `NAME:/PATH` | a path from the root of the account NAME |
//! | anything, with `--account NAME` | a path from the root of the account NAME |
//! | anything else | a path on this machine, in a mount (`./x:/y` when it looks like the second) |
use crate::api::FileUrl;
use crate::config::{AccountName, AccountPath};
use anyhow::{anyhow, bail};
use std::ffi::OsStr;
use std::path::PathBuf;

/// What was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// A file, by its link.
    Link(String),
    /// A path from an account's root; the account is the one the options name when absent.
    InAccount(Option<AccountName>, String),
    /// A path on this machine.
    Local(PathBuf),
}

impl Named {
    /// Reads what was typed; `account` is that of `--account`.
    pub(super) fn parse(typed: &OsStr, account: Option<&AccountName>) -> anyhow::Result<Self> {
        let Some(text) = typed.to_str() else {
            return match account {
                None => Ok(Self::Local(typed.into())),
                Some(_) => Err(anyhow!(
                    "{}: paths in an account are UTF-8",
                    typed.to_string_lossy()
                )),
            };
        };
        if text.is_empty() {
            bail!("an empty text names nothing");
        }
        if is_address(text) {
            return match FileUrl::parse(text) {
                Some(_) => Ok(Self::Link(text.to_owned())),
                None => Err(anyhow!(
                    "{text}: this is no file's link; one looks like \
                     https://1fichier.com/?abcdefghij0123456789"
                )),
            };
        }
        if let Some((name, path)) = account_and_path(text) {
            if account.is_some_and(|account| *account != name) {
                bail!("{text}: is of another account than --account says");
            }
            return Ok(Self::InAccount(Some(name), checked(&path)?));
        }
        if account.is_some() {
            return Ok(Self::InAccount(None, checked(text)?));
        }
        Ok(Self::Local(text.into()))
    }

    /// The root of the account the options name.
    pub(super) fn root() -> Self {
        Self::InAccount(None, "/".to_owned())
    }
}

/// Whether a text is an address of the web, right or wrong.
pub(super) fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Splits what a command takes as `ADDRESS... [FOLDER]`: the addresses, and what is last if it is none.
pub(super) fn addresses_and_folder(
    typed: &[std::ffi::OsString],
) -> anyhow::Result<(Vec<String>, Option<&OsStr>)> {
    let is_one = |typed: &OsStr| typed.to_str().is_some_and(is_address);
    let (addresses, folder) = match typed.split_last() {
        Some((last, others)) if !is_one(last) => (others, Some(last.as_os_str())),
        _ => (typed, None),
    };
    if let Some(wrong) = addresses.iter().find(|typed| !is_one(typed)) {
        bail!(
            "{}: this is no address, and only what is last can be the folder",
            wrong.to_string_lossy()
        );
    }
    if addresses.is_empty() {
        bail!("no address was given");
    }
    let addresses = addresses
        .iter()
        .map(|typed| typed.to_string_lossy().into_owned())
        .collect();
    Ok((addresses, folder))
}

fn account_and_path(text: &str) -> Option<(AccountName, String)> {
    let (name, path) = text.split_once(":/")?;
    Some((name.parse().ok()?, format!("/{path}")))
}

fn checked(path: &str) -> anyhow::Result<String> {
    let parsed: AccountPath = path.parse().map_err(|why| anyhow!("{path}: {why}"))?;
    Ok(parsed.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &str, account: Option<&str>) -> Result<Named, String> {
        let account: Option<AccountName> = account.map(|name| name.parse().unwrap());
        Named::parse(typed.as_ref(), account.as_ref()).map_err(|err| err.to_string())
    }

    fn of(name: Option<&str>, path: &str) -> Named {
        Named::InAccount(name.map(|name| name.parse().unwrap()), path.to_owned())
    }

    #[test]
    fn what_was_typed_is_one_of_three_things() {
        let link = "https://1fichier.com/?abcdefghij";
        assert_eq!(parse(link, None), Ok(Named::Link(link.into())));
        assert_eq!(parse(link, Some("work")), Ok(Named::Link(link.into())));
        assert_eq!(parse("work:/a//b/", None), Ok(of(Some("work"), "/a/b")));
        assert_eq!(parse("work:/a", Some("work")), Ok(of(Some("work"), "/a")));
        assert_eq!(parse("a/b", Some("work")), Ok(of(None, "/a/b")));
        for local in ["/mnt/a", "a:b", "./work:/a", "Work:/a", "a b:/c", "-"] {
            assert_eq!(
                parse(local, None),
                Ok(Named::Local(local.into())),
                "{local}"
            );
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (typed, account, says) in [
            ("", None, "empty"),
            ("https://example.org/x", None, "no file's link"),
            ("ftp://1fichier.com/?abcdefghij", None, "no file's link"),
            ("work:/a/../b", None, "without `..`"),
            ("../b", Some("work"), "without `..`"),
            ("home:/a", Some("work"), "another account"),
        ] {
            let said = parse(typed, account).unwrap_err();
            assert!(said.contains(says), "{typed}: {said}");
        }
    }

    #[test]
    fn addresses_come_first_and_one_folder_last() {
        let split = |typed: &[&str]| {
            let typed: Vec<std::ffi::OsString> = typed.iter().map(Into::into).collect();
            addresses_and_folder(&typed)
                .map(|(addresses, folder)| (addresses.len(), folder.map(OsStr::to_os_string)))
                .map_err(|err| err.to_string())
        };
        assert_eq!(split(&["http://a/", "ftp://b/"]), Ok((2, None)));
        assert_eq!(
            split(&["http://a/", "work:/x"]),
            Ok((1, Some("work:/x".into())))
        );
        assert!(
            split(&["x", "http://a/"])
                .unwrap_err()
                .contains("x: this is no")
        );
        assert!(
            split(&["http://a/", "x", "y"])
                .unwrap_err()
                .contains("x: this is no")
        );
        assert!(split(&["x"]).unwrap_err().contains("no address"));
        assert!(split(&[]).is_err());
    }
}
