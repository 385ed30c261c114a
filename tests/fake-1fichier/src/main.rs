//! The fake service as a program: `fake-1fichier serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use fake_1fichier::{Config, Fake, Fault, Profile, SWITCHES, check};

/// A stricter stand-in for the 1fichier.com service.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT.
    Serve(Box<Serve>),
    /// Lists the switches of --switch with their defaults.
    Switches,
    /// Reads a mounted --synthetic file at random places, compares every byte, and prints a report as JSON. Fails
    /// when a byte is wrong, a read is short, or more reads fail than may.
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// The file, at the mountpoint.
    file: PathBuf,
    /// Seed its bytes are computed from.
    #[arg(long)]
    seed: u64,
    /// Reads in all.
    #[arg(long, default_value_t = 1000)]
    reads: u64,
    /// Threads that read at the same time, each with a handle of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    readers: u64,
    /// Smallest read; may end in k, M or G (powers of 1000).
    #[arg(long, value_name = "SIZE", default_value = "1", value_parser = size)]
    least: u64,
    /// Largest read.
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size)]
    most: u64,
    /// Pause of each reader between two reads, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pause: u64,
    /// Seed of the places.
    #[arg(long, default_value_t = 1)]
    places: u64,
    /// Share of the reads that may fail, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    may_fail: f64,
}

#[derive(Debug, Args)]
struct Serve {
    /// Address of the plain HTTP port.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Delays, enforcement and faults: fast, home or hostile.
    #[arg(long, default_value = "fast")]
    profile: Profile,
    /// Folder to mirror into the account.
    #[arg(long, value_name = "DIR")]
    library: Vec<PathBuf>,
    /// File of computed bytes, NAME=SIZE[:SEED]; NAME may be a path, SIZE may end in k, M, G or T (powers of 1000).
    #[arg(long, value_name = "NAME=SIZE[:SEED]")]
    synthetic: Vec<String>,
    /// Many small files: FOLDERSxFILES, below the folder `tree`.
    #[arg(long, value_name = "FOLDERSxFILES")]
    tree: Option<String>,
    /// Compute the true checksum of every file first, at 100 MB/s; else large ones show an arbitrary one.
    #[arg(long)]
    hash: bool,
    /// Listen with TLS too.
    #[arg(long)]
    tls: bool,
    /// Address of the proxy port; implies --tls.
    #[arg(long, value_name = "ADDRESS")]
    proxy: Option<SocketAddr>,
    /// Write the certificate of the authority there; implies --tls.
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Virtual time: FACTOR[@UNIX_SECONDS].
    #[arg(long, env = "FICHIERFS_CLOCK")]
    clock: Option<String>,
    /// The API key to accept.
    #[arg(long, default_value = fake_1fichier::DEFAULT_KEY, hide_default_value = true)]
    key: String,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Set a switch; see `fake-1fichier switches`.
    #[arg(long, value_name = "NAME=VALUE")]
    switch: Vec<String>,
    /// Add a fault, as JSON: {"endpoint":"download","kind":"reset","times":1}.
    #[arg(long, value_name = "JSON")]
    fault: Vec<String>,
    /// Write the line with all addresses there, complete at once, besides standard output.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match Cli::parse().command {
        Command::Serve(options) => serve(&options).map(|()| ExitCode::SUCCESS),
        Command::Switches => list_switches().map(|()| ExitCode::SUCCESS),
        Command::Check(options) => compare(&options),
    }
}

fn compare(options: &Check) -> anyhow::Result<ExitCode> {
    let plan = check::Plan {
        seed: options.seed,
        reads: options.reads,
        readers: options.readers,
        least: options.least,
        most: options.most,
        pause: Duration::from_millis(options.pause),
        places: options.places,
    };
    let report = check::run(&options.file, &plan)
        .with_context(|| format!("cannot check {}", options.file.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&report)?)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 reads")]
    let failed = report.failures() as f64 > options.may_fail * report.reads as f64;
    let good = report.wrong == 0 && report.short == 0 && !failed;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn serve(options: &Serve) -> anyhow::Result<()> {
    let mut switches = Vec::new();
    for switch in &options.switch {
        switches.push(
            switch
                .split_once('=')
                .with_context(|| format!("--switch {switch}: use NAME=VALUE"))?,
        );
    }
    let mut refused = None;
    let mut builder = Fake::builder()
        .profile(options.profile)
        .config(|c| {
            refused = switches
                .iter()
                .find_map(|(name, value)| c.set(name, value).err());
        })
        .tls(options.tls || options.proxy.is_some() || options.ca_out.is_some())
        .key(&options.key)
        .seed(options.seed)
        .listen(options.listen);
    if let Some(error) = refused {
        bail!("--switch: {error}; `fake-1fichier switches` lists them");
    }
    if let Some(address) = options.proxy {
        builder = builder.proxy(address);
    }
    if let Some(clock) = &options.clock {
        builder = builder.clock(clock);
    }
    for fault in &options.fault {
        let fault: Fault =
            serde_json::from_str(fault).with_context(|| format!("--fault {fault}"))?;
        builder = builder.fault(fault);
    }
    let fake = builder.start()?;
    fill(&fake, options)?;
    if options.hash {
        fake.account().hash_all();
    }
    if let (Some(path), Some(pem)) = (&options.ca_out, fake.ca_pem()) {
        std::fs::write(path, pem).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let ready = serde_json::json!({
        "api_url": fake.api_url(),
        "base_url": fake.base_url(),
        "admin_url": format!("{}/_admin", fake.base_url()),
        "tls_api_url": fake.tls_api_url(),
        "proxy_url": fake.proxy_url(),
        "key": fake.key(),
        "clock": fake.clock().setting().to_string(),
        "pid": std::process::id(),
    });
    if let Some(path) = &options.ready_file {
        // Renamed into place, so that whoever waits for the file never reads half of it.
        let part = path.with_extension("part");
        std::fs::write(&part, format!("{ready}\n"))
            .and_then(|()| std::fs::rename(&part, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ready}")
        .and_then(|()| out.flush())
        .context("cannot write to standard output")?;
    drop(out);
    wait_for_signal()
}

/// Puts the files asked for into the account.
fn fill(fake: &Fake, options: &Serve) -> anyhow::Result<()> {
    for folder in &options.library {
        fake.account().add_dir(0, folder)?;
    }
    for (index, wish) in options.synthetic.iter().enumerate() {
        let (path, size) = wish
            .rsplit_once('=')
            .with_context(|| format!("--synthetic {wish}: use NAME=SIZE[:SEED]"))?;
        let (size, seed) = match size.split_once(':') {
            Some((size, seed)) => (
                size,
                seed.parse()
                    .with_context(|| format!("--synthetic {wish}: bad seed"))?,
            ),
            None => (size, index as u64),
        };
        let size = bytes(size)
            .filter(|n| *n > 0)
            .with_context(|| format!("--synthetic {wish}: bad size"))?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        fake.account()
            .add_synthetic(fake.account().mkdir_p(folder), name, size, seed);
    }
    if let Some(tree) = &options.tree {
        let numbers = tree
            .split_once('x')
            .and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
        let (folders, files) =
            numbers.with_context(|| format!("--tree {tree}: use FOLDERSxFILES"))?;
        let top = fake.account().mkdir_p("tree");
        for folder in 0..folders {
            let id = fake.account().mkdir(top, &format!("folder {folder:05}"));
            for file in 0..files {
                let seed = u64::from(folder) << 32 | u64::from(file);
                fake.account().add_synthetic(
                    id,
                    &format!("file {file:05}.bin"),
                    1000 + u64::from(file),
                    seed,
                );
            }
        }
    }
    Ok(())
}

/// A size on the command line.
fn size(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| format!("{text:?} is no size such as 64k"))
}

/// A size such as `40G` in bytes.
fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k') => (&text[..at], 1_000),
        (at, 'M') => (&text[..at], 1_000_000),
        (at, 'G') => (&text[..at], 1_000_000_000),
        (at, 'T') => (&text[..at], 1_000_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn list_switches() -> anyhow::Result<()> {
    let defaults = serde_json::to_value(Config::default())?;
    let mut out = std::io::stdout().lock();
    for (name, meaning) in SWITCHES {
        writeln!(out, "{name} = {}\n   {meaning}", defaults[*name])?;
    }
    Ok(())
}

fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
