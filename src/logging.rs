//! Where log lines go and how they look.
//!
//! - a command: warnings to standard error, as `fichierfs: warning: …`, under systemd with the journal's
//!   priority;
//! - a mount in the foreground: all lines to standard error, with time and origin; under systemd
//!   with the journal's priority instead of the time, which the journal adds itself;
//! - a mount in the background: all lines to a file, which is bounded; until the mount answers,
//!   warnings also to the terminal it was started from.
//!
//! Every event is one line, whatever a file is called: characters that would break it, or make a terminal
//! obey, are escaped.
//!
//! `FICHIERFS_LOG` takes a filter as env_logger knows it and overrides `-v` and `--quiet`.
use crate::util::human::is_unruly;
use crate::util::paint::Paint;
use crate::util::sync::lock;
use log::{Level, Record};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The variable that holds a filter.
pub const VARIABLE: &str = "FICHIERFS_LOG";

/// A log file is put aside (`.old`, replacing the one before) when it is longer, in bytes. Days of
/// ordinary use; with the old one never more than 20 MiB on disk.
const LONGEST_FILE: u64 = 10 << 20;

/// How much is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbosity {
    /// How often `-v` was given.
    pub verbose: u8,
    /// Whether only errors are wanted.
    pub quiet: bool,
}

/// Who logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A command that ends by itself.
    Command,
    /// A mount in the foreground.
    Foreground,
    /// A mount in the background; see [`to_file`] and [`stop_relay`].
    Background,
}

/// The file lines go to instead of standard error, once known.
static FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// Whether warnings are also told on standard error, beside the file.
static RELAY: AtomicBool = AtomicBool::new(false);

/// Starts logging. Called once; a second call changes nothing.
pub fn init(verbosity: Verbosity, role: Role) {
    let filter = std::env::var(VARIABLE)
        .ok()
        .filter(|filter| !filter.is_empty())
        .unwrap_or_else(|| default_filter(verbosity, role));
    RELAY.store(role == Role::Background, Ordering::Relaxed);
    let journal = role != Role::Background && is_journal();
    // A second logger cannot be set; the first one serves as well.
    let _ = env_logger::Builder::new()
        .parse_filters(&filter)
        .target(env_logger::Target::Pipe(Box::new(Sink)))
        .format(move |out, record| match role {
            _ if journal => {
                let (priority, target) = (priority(record.level()), record.target());
                match role {
                    Role::Command => writeln!(out, "<{priority}>{}", said(record)),
                    _ => writeln!(out, "<{priority}>{target}: {}", said(record)),
                }
            }
            Role::Command => writeln!(out, "{}", plain(record)),
            _ => {
                if record.level() <= Level::Warn && RELAY.load(Ordering::Relaxed) {
                    // The terminal may be gone; the file has the line all the same.
                    let _ = writeln!(io::stderr(), "{}", plain(record));
                    // Without a file the line would go to the same terminal.
                    if lock(&FILE).is_none() {
                        return Ok(());
                    }
                }
                let time = out.timestamp_seconds();
                let (level, target) = (record.level(), record.target());
                writeln!(out, "[{time} {level:<5} {target}] {}", said(record))
            }
        })
        .try_init();
}

/// Sends log lines to the file at `path` from now on. Returns a copy of its descriptor, for what
/// else is written to standard error.
pub fn to_file(path: &Path) -> io::Result<File> {
    let file = LogFile::open(path)?;
    let copy = file.file.try_clone()?;
    *lock(&FILE) = Some(file);
    Ok(copy)
}

/// Warnings go to the file only from now on.
pub fn stop_relay() {
    RELAY.store(false, Ordering::Relaxed);
}

/// Others that report as errors what we tell better or what is none: fuser every interrupted request,
/// the verifier of certificates each that is not trusted.
const SILENT: &str = "fuser::reply=off,rustls_platform_verifier=off";

/// Filter when nobody named one.
fn default_filter(verbosity: Verbosity, role: Role) -> String {
    let told = match (verbosity.quiet, verbosity.verbose, role) {
        (true, ..) => "error",
        (_, 0, Role::Command) => "warn",
        (_, 0, _) => "info",
        (_, 1, _) => "info,fichierfs=debug",
        _ => "debug,fichierfs=trace",
    };
    format!("{told},{SILENT}")
}

fn plain(record: &Record<'_>) -> String {
    let paint = Paint::of(&io::stderr());
    let level = match record.level() {
        Level::Error => paint.bad("error:") + " ",
        Level::Warn => paint.warn("warning:") + " ",
        _ => String::new(),
    };
    format!("fichierfs: {level}{}", said(record))
}

/// What a record says, in one line.
fn said(record: &Record<'_>) -> String {
    one_line(&record.args().to_string())
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unruly(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// syslog(3) priorities, which the journal reads at the start of a line.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether standard error is the journal's own stream (systemd.exec(5), `JOURNAL_STREAM`): then a line may
/// begin with its priority, `<3>` for an error.
pub fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    nix::sys::stat::fstat(io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Where env_logger writes: the file if there is one, else standard error.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match lock(&FILE).as_mut() {
            Some(file) => file.write_all(bytes)?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log file that puts itself aside when it has grown too long.
struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let open = || {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
        };
        let mut file = open()?;
        let mut length = file.metadata()?.size();
        if length > LONGEST_FILE {
            fs::rename(path, path.with_extension("old"))?;
            file = open()?;
            length = 0;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length > LONGEST_FILE {
            match Self::open(&self.path) {
                Ok(fresh) => *self = fresh,
                // It cannot be put aside: start counting anew rather than try at every line.
                Err(_) => self.length = 0,
            }
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_log_file_is_private_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let block = vec![b'x'; 1 << 20];
        for _ in 0..25 {
            log.write_all(&block).unwrap();
        }
        let old = fs::metadata(dir.path().join("log.old")).unwrap().len();
        let new = fs::metadata(&path).unwrap().len();
        assert_eq!((old, new), (11 << 20, 3 << 20));
        assert_eq!(LogFile::open(&path).unwrap().length, new);
    }

    #[test]
    fn an_event_is_one_line_whatever_a_file_is_called() {
        let name = "a\n<0>forged: line\r\u{1b}[2J\u{202e}é漢";
        let line = one_line(name);
        assert_eq!(line, "a\\n<0>forged: line\\r\\u{1b}[2J\\u{202e}é漢");
    }

    #[test]
    fn others_are_silent_whatever_is_asked_for() {
        for role in [Role::Command, Role::Foreground, Role::Background] {
            for verbose in 0..3 {
                for quiet in [false, true] {
                    let filter = default_filter(Verbosity { verbose, quiet }, role);
                    assert!(filter.ends_with(SILENT));
                }
            }
        }
    }
}
