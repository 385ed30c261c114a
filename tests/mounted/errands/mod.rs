//! `link`, `share`, `protect`, `fetch`, `import` and `info`: through a mount's socket, and by the command alone.

mod links;
mod passwords;
mod places;
mod refusing;
mod sharing;
mod taking;

use crate::harness::{Mount, assert_well_behaved, can_mount};
use crate::schema;
use fake_1fichier::{Account, Fake};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that all processes of a test share, 20 virtual seconds per real one: the 30 s between two listings
/// of a folder become one and a half. With another number of `seconds` it is 19 times as many later.
fn clock(seconds: u64) -> String {
    static START: OnceLock<u64> = OnceLock::new();
    let start = START.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    format!("20@{}", start - seconds)
}

/// Who runs the errands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A running mount.
    Mount,
    /// The command itself.
    Alone,
}

/// An account, and commands on it.
struct World {
    fake: Fake,
    mount: Mount,
    way: Way,
    clock: String,
}

/// What a command came to.
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

    /// The lines of JSON it printed, as the schema of `command` has them; it must have succeeded.
    fn json(&self, command: &str) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.lines(command)
    }

    fn lines(&self, command: &str) -> Vec<Value> {
        let lines = self.out.lines();
        let lines: Vec<Value> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
        for line in &lines {
            schema::check(command, line);
        }
        lines
    }

    /// The only line.
    fn one(&self, command: &str) -> Value {
        let mut lines = self.json(command);
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }

    /// Asserts that it failed with this code, said these words and printed nothing.
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing: {self:?}");
        }
    }
}

impl World {
    /// An account that `fill` puts something into; `None` where nothing can be mounted.
    fn new(way: Way, fill: impl FnOnce(&Account)) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let fake = Fake::builder()
            .clock(&clock(0))
            .config(|config| config.enforce_rules = true)
            .start()
            .unwrap();
        fill(fake.account());
        let mut mount = Mount::prepared(&fake, Some(&clock(0)), &[]);
        if way == Way::Mount {
            mount.start();
        }
        Some(Self {
            fake,
            mount,
            way,
            clock: clock(0),
        })
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.fed("", arguments)
    }

    /// Runs a command with `text` on its standard input.
    fn fed(&self, text: &str, arguments: &[&str]) -> Ended {
        let mut command = self.mount.command();
        command
            .args(arguments)
            .env("FICHIERFS_API_KEY", self.fake.key())
            .env("FICHIERFS_API_URL", self.fake.api_url())
            .env("FICHIERFS_CLOCK", &self.clock)
            .env("FICHIERFS_STATE_DIR", self.mount.state_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that refuses before it reads is no failure here.
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        Ended::of(child.wait_with_output().unwrap())
    }

    /// A path as the way wants it: in the mount, or in the account.
    fn at(&self, path: &str) -> String {
        match self.way {
            Way::Mount => self.mount.path(path).to_str().unwrap().to_owned(),
            Way::Alone => format!("default:/{path}"),
        }
    }

    fn account(&self) -> &Account {
        self.fake.account()
    }

    /// No rule was broken, and nothing secret is in the log of the mount.
    fn ends(mut self, secrets: &[&str]) {
        if self.way == Way::Mount {
            assert!(self.mount.umount().success());
        }
        let log = self.mount.log();
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        assert_well_behaved(&self.fake);
    }
}

/// A test for each way.
macro_rules! both {
    ($($name:ident)+) => {
        mod mounted {$(
            #[test]
            fn $name() { super::$name($crate::errands::Way::Mount); }
        )+}
        mod alone {$(
            #[test]
            fn $name() { super::$name($crate::errands::Way::Alone); }
        )+}
    };
}

use both;
