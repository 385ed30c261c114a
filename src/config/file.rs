//! The config file: TOML with the options by their long names, and tables `[account.NAME]` whose
//! settings go before the top level's for that account.
//!
//! Promises: an unknown key is refused by name; a file that holds a key or passwords and that others may read
//! is refused whole; no error shows a piece of the contents.
use super::error::ConfigError;
use super::layers::{Setting, is_option};
use super::passwords;
use super::private::{self, Bounded};
use super::values::AccountName;
use crate::api::PasswordList;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the file is called in errors.
const WHAT: &str = "config file";

/// Bytes of a config file at most: no sensible one comes near.
const LONGEST: u64 = 1 << 20;

/// The key's own name in the file; not an option, so that it cannot stand in argv.
const API_KEY: &str = "api-key";

/// What a config file says for one account. The key and the passwords in it are not printed.
#[derive(Default)]
pub struct FileSettings {
    /// Options, the account's own last.
    pub settings: Vec<Setting>,
    /// The key, untrimmed, with where it stands.
    pub api_key: Option<(String, String)>,
    /// Passwords of files.
    pub passwords: PasswordList,
}

impl fmt::Debug for FileSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSettings")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Reads the file at `path` for `account`; a file that does not exist says nothing.
pub fn read(path: &Path, account: &AccountName) -> Result<FileSettings, ConfigError> {
    let Some(Bounded { text, mode }) = private::read_if_there(path, WHAT, LONGEST)? else {
        return Ok(FileSettings::default());
    };
    let file = File { path };
    let table = file.parse(&text)?;
    let mut found = FileSettings::default();
    let mut holds_secret = false;
    for (key, value) in &table {
        match (normal(key).as_str(), value) {
            ("account", toml::Value::Table(accounts)) => {
                holds_secret |= accounts
                    .values()
                    .filter_map(toml::Value::as_table)
                    .any(|table| table.keys().any(|key| is_secret(&normal(key))));
            }
            ("account", _) => {
                return Err(file.wrong(
                    key,
                    "is a table per account, [account.NAME]; choose one with --account or \
                     FICHIERFS_ACCOUNT",
                ));
            }
            (long, _) if is_secret(long) => holds_secret = true,
            _ => {}
        }
    }
    if holds_secret {
        private::must_be_private(path, WHAT, mode)?;
    }
    file.collect(&table, "", &mut found)?;
    for (name, value) in accounts(&table) {
        let prefix = format!("account.{name}.");
        let (Ok(parsed), Some(own)) = (name.parse::<AccountName>(), value.as_table()) else {
            let why = "is not a table of a possible account name (a-z 0-9 . _ -)";
            return Err(file.wrong(&format!("account.{name}"), why));
        };
        // Tables of other accounts are checked too: a typing error should not wait for its day.
        let mut theirs = FileSettings::default();
        file.collect(own, &prefix, &mut theirs)?;
        if parsed == *account {
            found.settings.extend(theirs.settings);
            found.api_key = theirs.api_key.or(found.api_key);
            found.passwords = passwords::over(theirs.passwords, found.passwords);
        }
    }
    Ok(found)
}

struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn parse(&self, text: &str) -> Result<toml::Table, ConfigError> {
        text.parse::<toml::Table>().map_err(|err| {
            let before = err.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            ConfigError::Malformed {
                what: WHAT,
                path: self.path.to_owned(),
                why: format!("line {line} is not TOML; a line looks like: cache-size = \"20GB\""),
            }
        })
    }

    /// Collects the settings of one table; tables of accounts are passed over.
    fn collect(
        &self,
        table: &toml::Table,
        prefix: &str,
        found: &mut FileSettings,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let long = normal(key);
            let full = format!("{prefix}{key}");
            if long == "account" && prefix.is_empty() {
                continue;
            }
            if long == passwords::TABLE {
                found.passwords = passwords::read(value).map_err(|(name, why)| {
                    let name = name.map_or_else(|| full.clone(), |name| format!("{full}.{name}"));
                    self.wrong(&name, &why)
                })?;
                continue;
            }
            let value = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                _ => return Err(self.wrong(&full, "takes a text, a number, true or false")),
            };
            if long == API_KEY {
                found.api_key = Some((value, self.origin(&full)));
            } else if is_option(&long) && long != "account" {
                let setting = Setting::new(self.origin(&full), &long, Some(&value));
                found.settings.push(setting);
            } else {
                return Err(self.wrong(&full, "no such option (see: fichierfs mount --help)"));
            }
        }
        Ok(())
    }

    fn origin(&self, key: &str) -> String {
        format!("{key} in {}", self.path.display())
    }

    fn wrong(&self, key: &str, why: &str) -> ConfigError {
        ConfigError::option(self.origin(key), why)
    }
}

/// Whether a key of the file holds something that others may not read.
fn is_secret(long: &str) -> bool {
    long == API_KEY || long == passwords::TABLE
}

/// The tables of accounts by their names.
fn accounts(table: &toml::Table) -> impl Iterator<Item = (&String, &toml::Value)> {
    table
        .iter()
        .filter(|(key, _)| normal(key) == "account")
        .filter_map(|(_, value)| value.as_table())
        .flatten()
}

/// An option's name in the file may be written with `_` as with `-`.
fn normal(key: &str) -> String {
    key.replace('_', "-")
}

/// The config file in its folder.
pub fn path_in(config_dir: &Path) -> PathBuf {
    config_dir.join("config.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Case {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    fn case(text: &str, mode: u32) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Case { _dir: dir, path }
    }

    fn for_account(case: &Case, name: &str) -> Result<FileSettings, String> {
        read(&case.path, &name.parse().unwrap()).map_err(|err| err.to_string())
    }

    #[test]
    fn an_accounts_table_goes_before_the_top_level() {
        let file = case(
            "read-only = true\ncache_size = 5\nrate = 1.5\n\
             [account.work]\nread-only = false\nuid = 7\n[account.home]\nuid = 8\n",
            0o644,
        );
        let work = for_account(&file, "work").unwrap();
        let options = super::super::layers::parse(&work.settings).unwrap();
        assert_eq!(options.read_only, Some(false));
        assert_eq!((options.uid, options.cache_size), (Some(7), Some(5)));
        assert_eq!(options.account.rate, Some(1.5));
        let other = for_account(&file, "default").unwrap();
        let options = super::super::layers::parse(&other.settings).unwrap();
        assert_eq!((options.uid, options.read_only), (None, Some(true)));
    }

    #[test]
    fn a_key_in_a_file_others_may_read_is_refused() {
        for text in ["api-key = \"k\"", "[account.work]\napi_key = \"k\""] {
            for mode in [0o644, 0o640, 0o604] {
                let err = for_account(&case(text, mode), "default").unwrap_err();
                assert!(err.contains("chmod 600"), "{err}");
            }
            for_account(&case(text, 0o600), "default").unwrap();
        }
        let own = case(
            "api-key = \"top\"\n[account.work]\napi-key = \"own\"",
            0o600,
        );
        let key = |name| for_account(&own, name).unwrap().api_key.unwrap().0;
        assert_eq!((key("work"), key("x")), ("own".into(), "top".into()));
    }

    #[test]
    fn passwords_are_the_accounts_own_and_private() {
        let text = "[passwords]\ndefault = 'for all'\nabcdefghij = 'of all 1'\n\
                    [account.work.passwords]\nabcdefghij = 'of work'\n";
        for mode in [0o644, 0o640] {
            let err = for_account(&case(text, mode), "default").unwrap_err();
            assert!(
                err.contains("chmod 600") && err.contains("passwords"),
                "{err}"
            );
        }
        let file = case(text, 0o600);
        let of = |name| for_account(&file, name).unwrap().passwords;
        let word = |name| {
            of(name)
                .by_file
                .values()
                .next()
                .unwrap()
                .expose()
                .to_owned()
        };
        assert_eq!(
            (word("work"), word("home")),
            ("of work".into(), "of all 1".into())
        );
        assert_eq!(of("work").tried.len(), 1);
        // Those of other accounts are checked too.
        let wrong = case("[account.work.passwords]\nabcdefghij = 's3cr'\n", 0o600);
        let err = for_account(&wrong, "default").unwrap_err();
        assert!(err.contains("account.work.passwords.abcdefghij"), "{err}");
        assert!(!err.contains("s3cr"), "{err}");
    }

    #[test]
    fn mistakes_are_named_by_key_and_line_without_the_contents() {
        for (text, says) in [
            ("cash-size = 1", "cash-size"),
            ("[account.work]\ncash-size = 1", "account.work.cash-size"),
            ("[account.\"Ä\"]\n", "account.Ä"),
            ("account = \"work\"", "--account"),
            ("uid = [1]", "takes a text"),
            ("uid = 1\napi-key = s3cret", "line 2"),
        ] {
            let err = for_account(&case(text, 0o600), "default").unwrap_err();
            assert!(err.contains(says), "{err}");
            assert!(!err.contains("s3cret") && !err.contains('\n'), "{err}");
        }
    }

    #[test]
    fn no_file_says_nothing() {
        let nowhere = Path::new("/nonexistent/config.toml");
        let found = read(nowhere, &AccountName::default()).unwrap();
        assert!(found.settings.is_empty() && found.api_key.is_none());
    }
}
