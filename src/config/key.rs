//! Where the API key comes from, in this order: the file named on the command line, by `-o` or by
//! `FICHIERFS_API_KEY_FILE`; the variable `FICHIERFS_API_KEY`; the systemd credential
//! `fichierfs-api-key`; the config file (`api-key-file`, then `api-key`); the stored login.
//!
//! Promises: never from argv; a file others may read is refused; the first source that exists
//! decides, so a broken one is an error and never silently passed over.
use super::error::ConfigError;
use super::private::{self, Bounded};
use super::values::AccountName;
use crate::secret::ApiKey;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that holds the key itself.
pub const KEY_VARIABLE: &str = "FICHIERFS_API_KEY";

/// The systemd credential that holds the key (`LoadCredential=fichierfs-api-key:…`).
pub const CREDENTIAL: &str = "fichierfs-api-key";

/// Bytes of a key file at most; a key has 32.
const LONGEST: u64 = 4096;

/// What a key file is called in errors.
const WHAT: &str = "key file";

/// Every place a key may be, as far as known. Two of them are the key itself, so it is not printed.
#[derive(Default)]
pub struct KeyPlaces {
    /// Named by the user for this run.
    pub file: Option<PathBuf>,
    /// The value of [`KEY_VARIABLE`].
    pub variable: Option<OsString>,
    /// The folder systemd put credentials in.
    pub credentials: Option<PathBuf>,
    /// Named by the config file.
    pub configured_file: Option<PathBuf>,
    /// Written in the config file, with where.
    pub configured: Option<(String, String)>,
    /// Where `login` keeps it.
    pub stored: PathBuf,
}

impl fmt::Debug for KeyPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPlaces(…)")
    }
}

/// A key and where it was found.
#[derive(Debug, Clone)]
pub struct FoundKey {
    /// The key.
    pub key: ApiKey,
    /// Where it was found, for people.
    pub origin: String,
}

impl KeyPlaces {
    /// The first place but the stored login that names a key, whether or not it is good.
    pub fn before_login(&self) -> Option<String> {
        let named = |path: &PathBuf| format!("the key file {}", path.display());
        let variable = self.variable.as_ref().map(|_| KEY_VARIABLE.to_owned());
        let configured = self.configured.as_ref().map(|(_, origin)| origin.clone());
        (self.file.as_ref().map(named))
            .or(variable)
            .or_else(|| self.configured_file.as_ref().map(named))
            .or(configured)
    }

    /// The first key in the order above.
    pub fn find(self, account: &AccountName) -> Result<FoundKey, ConfigError> {
        if let Some(path) = self.file {
            return from_file(&path);
        }
        if let Some(value) = self.variable.filter(|value| !value.is_empty()) {
            return parse(&value.to_string_lossy(), KEY_VARIABLE.to_owned());
        }
        if let Some(folder) = self.credentials {
            // systemd guards its credentials itself, with access lists that look like 0440.
            let path = folder.join(CREDENTIAL);
            let found = private::read_if_there(&path, WHAT, LONGEST)?;
            // An empty one is what a unit sets where there is no key to be loaded (`SetCredential=`).
            if let Some(Bounded { text, .. }) = found.filter(|it| !it.text.trim().is_empty()) {
                return parse(&text, format!("credential {CREDENTIAL}"));
            }
        }
        if let Some(path) = self.configured_file {
            return from_file(&path);
        }
        if let Some((text, origin)) = self.configured {
            return parse(&text, origin);
        }
        match from_file(&self.stored) {
            Err(ConfigError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Err(ConfigError::NoKey {
                    account: account.to_string(),
                })
            }
            found => found,
        }
    }
}

/// Keeps `key` for the account, readable by its owner only.
pub fn store(
    config_dir: &Path,
    account: &AccountName,
    key: &ApiKey,
) -> Result<PathBuf, ConfigError> {
    let path = stored_in(config_dir, account);
    let line = format!("{}\n", key.expose());
    private::write(&path, line.as_bytes()).map_err(|source| ConfigError::Folder {
        what: "configuration",
        path: path.clone(),
        option: "XDG_CONFIG_HOME",
        source,
    })?;
    Ok(path)
}

/// Where the login of `account` is kept.
pub fn stored_in(config_dir: &Path, account: &AccountName) -> PathBuf {
    config_dir.join("keys").join(account.as_str())
}

fn from_file(path: &Path) -> Result<FoundKey, ConfigError> {
    let Bounded { text, mode } = private::read(path, WHAT, LONGEST)?;
    private::must_be_private(path, WHAT, mode)?;
    parse(&text, format!("key file {}", path.display()))
}

fn parse(text: &str, origin: String) -> Result<FoundKey, ConfigError> {
    match ApiKey::parse(text) {
        Ok(key) => {
            if !key.looks_usual() {
                log::warn!(
                    "{origin}: this does not look like an API key (32 characters); trying it anyway"
                );
            }
            Ok(FoundKey { key, origin })
        }
        Err(source) => Err(ConfigError::Key { origin, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const MODE_PRIVATE: u32 = 0o600;

    fn put(path: &Path, text: &str, mode: u32) -> PathBuf {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_owned()
    }

    fn key(letter: char) -> String {
        letter.to_string().repeat(32)
    }

    #[test]
    fn the_first_place_in_order_decides() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, letter| put(&dir.path().join(name), &key(letter), MODE_PRIVATE);
        let account = AccountName::default();
        at(CREDENTIAL, 'c');
        let stored = store(dir.path(), &account, &ApiKey::parse(&key('f')).unwrap()).unwrap();
        assert_eq!(
            fs::metadata(&stored).unwrap().permissions().mode() & 0o777,
            MODE_PRIVATE
        );
        let full = |left_out: usize| {
            let nth = |n: usize| left_out <= n;
            KeyPlaces {
                file: nth(0).then(|| at("a", 'a')),
                variable: nth(1).then(|| key('b').into()),
                credentials: nth(2).then(|| dir.path().to_owned()),
                configured_file: nth(3).then(|| at("d", 'd')),
                configured: nth(4).then(|| (key('e'), "api-key in x".to_owned())),
                stored: stored.clone(),
            }
        };
        for (left_out, letter) in "abcdef".chars().enumerate() {
            let found = full(left_out).find(&account).unwrap();
            assert_eq!(found.key.expose(), key(letter), "{}", found.origin);
        }
        fs::write(dir.path().join(CREDENTIAL), "\n").unwrap();
        assert_eq!(full(2).find(&account).unwrap().key.expose(), key('d'));
        fs::remove_file(&stored).unwrap();
        let err = full(6).find(&account).unwrap_err().to_string();
        assert!(err.contains("fichierfs login"), "{err}");
    }

    #[test]
    fn exposed_empty_broken_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let find = |path: PathBuf| {
            let places = KeyPlaces {
                file: Some(path),
                ..KeyPlaces::default()
            };
            let found = places.find(&AccountName::default());
            found.unwrap_err().to_string()
        };
        let at = |name: &str, text: &str, mode| put(&dir.path().join(name), text, mode);
        for mode in [0o644, 0o640, 0o602] {
            assert!(find(at("open", &key('a'), mode)).contains("chmod 600"));
        }
        assert!(find(at("empty", "\n", MODE_PRIVATE)).contains("empty"));
        assert!(find(at("broken", "a b", MODE_PRIVATE)).contains("character"));
        assert!(find(at("long", &"x".repeat(5000), MODE_PRIVATE)).contains("too long"));
        assert!(find(dir.path().join("none")).contains("none"));
    }
}
