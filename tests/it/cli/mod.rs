//! The command line through the real binary: help, refusals, exit codes, `login`, `account`, and
//! the helper of mount(8).
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall say where"
)]

mod account;
mod background;
mod doctor;
mod expected;
mod helper;
mod refusals;
mod umount;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A key of the usual shape that no service knows.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A home of its own for one test: nothing of the machine's configuration shows in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for name in ["config/fichierfs", "state", "cache", "run", "mnt"] {
            fs::create_dir_all(home.at(name)).unwrap();
        }
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The binary, in this home and in no other environment.
    fn command(&self) -> Command {
        self.dress(Command::new(env!("CARGO_BIN_EXE_fichierfs")))
    }

    fn dress(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.at(""))
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_STATE_HOME", self.at("state"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            .env("XDG_RUNTIME_DIR", self.at("run"))
            // Said in so many words, or a real mount of this machine would be asked as well.
            .env("FICHIERFS_STATE_DIR", self.at("state/fichierfs"))
            .stdin(Stdio::null());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        Ended::of(self.command().args(arguments).output().unwrap())
    }

    /// Runs with a key in the environment.
    fn run_with_key<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        let mut command = self.command();
        command.env("FICHIERFS_API_KEY", KEY).args(arguments);
        Ended::of(command.output().unwrap())
    }
}

/// What a run came to.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts that it failed with this code and told one line that holds all these words.
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.err.contains("fichierfs: "), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing: {self:?}");
        }
        assert!(!self.err.contains(KEY), "the key was printed");
    }

    fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

/// Runs `command` with `text` on its standard input.
fn feed(mut command: Command, text: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    Ended::of(child.wait_with_output().unwrap())
}

/// Whether real mounts can be made; says so when not.
fn can_mount(test: &str) -> bool {
    let can = nix::unistd::geteuid().is_root() && Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("SKIPPED {test}: needs root and /dev/fuse");
    }
    can
}
