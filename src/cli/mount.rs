//! `fichierfs mount`: checks everything that can be checked beforehand, then mounts, in the
//! background unless told otherwise.
use super::exit::{self, Failure};
use crate::config::{self, MountOptions, Surroundings, Terms, key, mount_opts};
use crate::logging::{self, Role, Verbosity};
use crate::mount::background::{self, Outcome, Ready};
use crate::mount::{self, check};
use crate::util::clock::Clock;
use anyhow::Context;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The switch that makes this process the one in the background.
const DETACHED: &str = "--detached";

/// The switch that says that the key is on standard input.
const KEY_ON_STDIN: &str = "--key-on-stdin";

/// Bytes of a key at most; it has 32, and a pipe takes far more than this without a reader.
const LONGEST_KEY: u64 = 4096;

/// The name of the log file in the account's state folder.
const LOG_FILE: &str = "log";

/// Arguments of `mount`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch")]
pub struct Args {
    /// The empty folder the account shall appear in
    pub mountpoint: PathBuf,

    /// Stay in the foreground and log to standard error; otherwise the command returns as soon as
    /// the mount answers, and the log goes to STATE/ACCOUNT/log
    #[arg(short, long)]
    pub foreground: bool,

    /// Mount options, separated by commas: ro, rw, noexec, foreground, the options below by name,
    /// and those of mount(8) that concern fstab (_netdev, nofail, x-systemd…)
    #[arg(short = 'o', value_name = "OPTIONS", action = clap::ArgAction::Append)]
    pub options: Vec<String>,

    /// All other options.
    #[command(flatten)]
    pub given: MountOptions,

    /// Pass over unknown `-o` options (`mount -s`).
    #[arg(long, hide = true)]
    pub sloppy: bool,

    /// Check everything, but do not mount (`mount -f`).
    #[arg(long, hide = true)]
    pub fake: bool,

    /// This process is the one in the background.
    #[arg(long, hide = true)]
    pub detached: bool,

    /// The key comes from standard input, having been taken out of the environment.
    #[arg(long, hide = true)]
    pub key_on_stdin: bool,
}

/// Mounts. `arguments` are the program's own, for the process in the background.
pub fn run(args: Args, verbosity: Verbosity, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let foreground = args.foreground
        || args
            .options
            .iter()
            .any(|list| mount_opts::asks_for_foreground(list));
    if foreground || args.fake || args.detached {
        if !args.detached
            && !args.key_on_stdin
            && let Some(key) = std::env::var_os(key::KEY_VARIABLE)
        {
            let Err(why) = start_over(arguments, key.as_bytes());
            return Err(why
                .context("cannot take the key out of the environment")
                .into());
        }
        return serve(args, verbosity);
    }
    match start_background(arguments)? {
        Outcome::Ready => Ok(ExitCode::SUCCESS),
        Outcome::Ended(0) => Err(anyhow::anyhow!("the mount ended at once").into()),
        Outcome::Ended(code) => Err(Failure::explained(code)),
        Outcome::Broken(why) => Err(anyhow::anyhow!(why).into()),
    }
}

/// Starts this program again, in the background.
pub(super) fn start_background(arguments: &[OsString]) -> io::Result<Outcome> {
    let key = std::env::var_os(key::KEY_VARIABLE).unwrap_or_default();
    let command = again(arguments, DETACHED)?;
    background::launch(command, key.as_bytes(), background::START_LIMIT, |line| {
        // The terminal may be gone; the mount goes on.
        let _ = writeln!(io::stderr(), "{line}");
    })
}

/// Starts this program again in its own place, with the same number, and with the key on standard input. Returns only
/// if that cannot be done.
fn start_over(arguments: &[OsString], key: &[u8]) -> anyhow::Result<Infallible> {
    if key.len() as u64 > LONGEST_KEY {
        anyhow::bail!("{} is far too long to be a key", key::KEY_VARIABLE);
    }
    let mut command = again(arguments, KEY_ON_STDIN)?;
    let (reader, mut writer) = io::pipe()?;
    // It fits into the pipe, so nobody need read yet.
    writer.write_all(key)?;
    drop(writer);
    Err(command.stdin(reader).exec().into())
}

/// Hears the key from standard input, a pipe that is at its end from then on.
fn hear_key() -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    io::stdin().take(LONGEST_KEY).read_to_end(&mut key)?;
    Ok(key)
}

/// This program with one switch more, and without the key in its environment: whoever may look at a process sees
/// the environment it was started with, until it ends.
fn again(arguments: &[OsString], switch: &str) -> io::Result<Command> {
    let mut command = Command::new(own_program()?);
    // Switches are known only after the subcommand; values before it never are `mount`.
    let at = arguments
        .iter()
        .position(|argument| argument == "mount")
        .map_or(arguments.len(), |at| at + 1);
    command
        .env_remove(key::KEY_VARIABLE)
        .args(&arguments[..at])
        .arg(switch)
        .args(&arguments[at..]);
    Ok(command)
}

/// The program to start again. Its file may have been replaced since it was started.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    if path.exists() {
        Ok(path)
    } else {
        Ok(Path::new("/proc/self/exe").to_owned())
    }
}

/// Mounts in this process and serves until the end.
fn serve(args: Args, verbosity: Verbosity) -> Result<ExitCode, Failure> {
    let (mut ready, key, role) = if args.detached {
        let (ready, key) = Ready::background()?;
        (ready, key, Role::Background)
    } else {
        let key = if args.key_on_stdin {
            hear_key()?
        } else {
            Vec::new()
        };
        (Ready::foreground(), key, Role::Foreground)
    };
    logging::init(verbosity, role);
    let mut around = Surroundings::of_process()?;
    if !key.is_empty() {
        let key = (key::KEY_VARIABLE.into(), OsString::from_vec(key));
        around.environment.push(key);
    }
    let terms = Terms {
        root: around.root,
        sloppy: args.sloppy,
    };
    let mut config =
        config::Mount::resolve(args.given, &args.options, terms, &args.mountpoint, &around)?;
    check::machine(config.allow_other)?;
    let own_state = config.account.own_state_dir();
    config.mountpoint = check::mountpoint(
        &args.mountpoint,
        &[&own_state, &config.own_cache_dir()],
        Clock::from_env(),
    )?;
    config.make_folders()?;
    if around.root && config.uid != 0 && !config.allow_other {
        log::warn!("only root can use this mount, because allow-other is not set");
    }
    if args.fake {
        return Ok(ExitCode::SUCCESS);
    }
    let log = own_state.join(LOG_FILE);
    ready
        .log_to(&log)
        .with_context(|| format!("cannot write the log file {}", log.display()))?;
    log::info!(
        "fichierfs {}: account {}, mountpoint {}, key from {}",
        env!("CARGO_PKG_VERSION"),
        config.account.name,
        config.mountpoint.display(),
        config.key.origin
    );
    let served = mount::run(config, ready);
    if let (Err(err), Role::Background) = (&served, role) {
        // The terminal may have gone; the log remembers.
        logging::stop_relay();
        log::error!("{}", exit::sentence(err));
    }
    Ok(served?)
}
