//! What stands behind `-o`: the list of mount(8), with our own long options by name among it.
//!
//! Promises: every text is either understood, ignored because mount(8) says so, or named in an
//! error; nothing panics. Blanks around commas are no part of a name. `\,` and `\\` stand for a
//! comma and a backslash within a value.
use super::error::ConfigError;
use super::layers::Setting;

/// Options mount(8), systemd and /etc/fstab write for themselves; a helper must ignore them.
/// So are those that ask for what this mount does anyway (`nosuid`, `default_permissions`) or
/// that have no meaning for it (`sync`, `relatime`).
const IGNORED: &[&str] = &[
    "_netdev",
    "_rnetdev",
    "async",
    "atime",
    "auto",
    "comment",
    "default_permissions",
    "defaults",
    "diratime",
    "dirsync",
    // The command's own: see `asks_for_foreground`.
    "foreground",
    "group",
    "helper",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noauto",
    "nodev",
    "nodiratime",
    "nofail",
    "nogroup",
    "noiversion",
    "nolazytime",
    "nomand",
    "noowner",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nouser",
    "nousers",
    "owner",
    "relatime",
    "silent",
    "strictatime",
    "sync",
    "user",
    "users",
];

/// Under which terms the list is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Whether root mounts: only then `dev` and `suid` may be asked for. They change nothing even
    /// then, because the account holds neither devices nor set-uid files.
    pub root: bool,
    /// Whether unknown options are passed over (`mount -s`).
    pub sloppy: bool,
}

/// Translates one `-o` list into settings. `known` tells our own long options.
pub fn settings(
    list: &str,
    terms: Terms,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for item in split(list) {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value)),
            None => (item.trim(), None),
        };
        let origin = format!("-o {name}");
        let mut set = |long: &str, value: Option<&str>| {
            settings.push(Setting::new(origin.clone(), long, value));
        };
        let long = name.replace('_', "-");
        match (name, value) {
            ("", None) => {}
            ("ro", None) => set("read-only", Some("true")),
            ("rw", None) => set("read-only", Some("false")),
            ("exec", None) => set("noexec", Some("false")),
            ("dev" | "suid", None) if terms.root => {}
            ("dev" | "suid", None) => {
                return Err(ConfigError::option(
                    origin,
                    "only root may ask for this; leave it out",
                ));
            }
            ("remount", None) => {
                return Err(ConfigError::option(
                    origin,
                    "a mount cannot be changed while it is there; unmount it and mount it again",
                ));
            }
            _ if known(&long) => set(&long, value),
            _ if IGNORED.contains(&name) || name.starts_with("x-") || name.starts_with("X-") => {}
            _ if terms.sloppy => {}
            _ => {
                return Err(ConfigError::option(
                    origin,
                    "no such mount option (see: fichierfs mount --help)",
                ));
            }
        }
    }
    Ok(settings)
}

/// Whether a list asks to stay in the foreground. The command decides that before it looks at
/// options, since a process in the background is started for them.
pub fn asks_for_foreground(list: &str) -> bool {
    split(list).iter().any(|item| item.trim() == "foreground")
}

/// Splits at commas that no backslash precedes and removes the backslashes.
fn split(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = list.chars();
    while let Some(char) = chars.next() {
        let literal = match char {
            ',' => None,
            '\\' => Some(chars.next().unwrap_or('\\')),
            other => Some(other),
        };
        match (literal, items.last_mut()) {
            (Some(char), Some(item)) => item.push(char),
            _ => items.push(String::new()),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(list: &str, terms: Terms) -> Result<Vec<(String, Option<String>)>, String> {
        let known = |name: &str| matches!(name, "uid" | "allow-other" | "cache-size" | "root");
        settings(list, terms, known)
            .map(|list| list.into_iter().map(|s| (s.long, s.value)).collect())
            .map_err(|err| err.to_string())
    }

    #[test]
    fn the_usual_options_become_settings() {
        let got = read(
            "rw,_netdev,nofail,user=joe,x-systemd.automount,ro,allow_other,uid=7,cache_size=1GB",
            Terms::default(),
        )
        .unwrap();
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            got,
            [
                pair("read-only", Some("false")),
                pair("read-only", Some("true")),
                pair("allow-other", None),
                pair("uid", Some("7")),
                pair("cache-size", Some("1GB")),
            ]
        );
        assert_eq!(
            read(r"root=/a\,b\\c", Terms::default()).unwrap(),
            [pair("root", Some(r"/a,b\c"))]
        );
    }

    #[test]
    fn unknown_options_are_named_unless_sloppy() {
        let err = read("ro,frobnicate=3", Terms::default()).unwrap_err();
        assert!(err.contains("frobnicate"), "{err}");
        let err = read("remount,ro", Terms::default()).unwrap_err();
        assert!(err.contains("mount it again"), "{err}");
        let sloppy = Terms {
            sloppy: true,
            ..Terms::default()
        };
        assert_eq!(read("ro,frobnicate=3", sloppy).unwrap().len(), 1);
    }

    #[test]
    fn dev_and_suid_are_for_root() {
        assert!(read("suid", Terms::default()).is_err());
        assert!(read("dev", Terms::default()).is_err());
        let root = Terms {
            root: true,
            ..Terms::default()
        };
        assert!(read("dev,suid", root).unwrap().is_empty());
    }

    #[test]
    fn the_foreground_is_asked_for_by_its_name_alone() {
        assert!(asks_for_foreground("ro, foreground"));
        assert!(read("ro,foreground", Terms::default()).unwrap().len() == 1);
        for other in ["", "ro", "root=foreground", "foreground=1", "foregrounds"] {
            assert!(!asks_for_foreground(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_list_panics(list in ".{0,60}", root: bool, sloppy: bool) {
            let _ = read(&list, Terms { root, sloppy });
        }

        #[test]
        fn an_escaped_value_comes_back_whole(value in "[ -~]{0,30}") {
            let escaped = value.replace('\\', r"\\").replace(',', r"\,");
            let list = format!("ro,root={escaped},uid=1");
            let got = read(&list, Terms::default()).unwrap();
            prop_assert_eq!(got.len(), 3);
            prop_assert_eq!(got[1].1.as_deref(), Some(value.as_str()));
        }
    }
}
