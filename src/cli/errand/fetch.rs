//! `fichierfs fetch`: has the service itself fetch addresses into the account, and tells what became of it.
use super::info::date_words;
use super::session::Session;
use super::target::{Named, addresses_and_folder};
use super::{NAMING, tell};
use crate::cli::exit::{self, Failure};
use crate::config::AccountOptions;
use crate::control::client::AskError;
use crate::errand::{
    Done, Errand, FetchResult, Fetching, Headers, Job, URLS_AT_ONCE, is_fetchable,
};
use crate::util::clock::Clock;
use crate::util::human::counted;
use anyhow::{Context, anyhow};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Until a request is asked after for the first time, and between two questions (45 s were fine, API
/// reference 8).
const FIRST_QUESTION: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_secs(45);

/// Questions in a row that may fail before the watch ends: some minutes without a network.
const MOST_FAILURES: u32 = 5;

/// Bytes of a file of headers at most.
const LONGEST_HEADERS: u64 = 16 * 1024;

/// Arguments of `fetch`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!(
    "The service downloads the addresses itself, when it comes to it; this machine need not stay on. Up to \
     {URLS_AT_ONCE} addresses make one request. Without a folder the files go into the account's root. A \
     mount that was asked looks for them and shows them when they are there. The service has no call that \
     takes a request back. {NAMING} The exit code is 1 when a watched address became no file. With --json \
     each line is a request or what became of one."
))]
pub struct Args {
    /// Addresses (http, https), and at last the folder they go into
    #[arg(
        value_name = "URL... [FOLDER]",
        required_unless_present_any = ["list", "show"],
        conflicts_with_all = ["list", "show"]
    )]
    pub what: Vec<OsString>,

    /// List the requests the service knows of
    #[arg(long, conflicts_with = "show")]
    pub list: bool,

    /// Tell what became of the request with this number
    #[arg(long, value_name = "NUMBER")]
    pub show: Option<u64>,

    /// Wait until it is done; with --list, all that wait
    #[arg(short, long)]
    pub watch: bool,

    /// File with request headers, lines of `Name: value`; - for standard input
    #[arg(long, value_name = "FILE", requires = "what")]
    pub headers: Option<PathBuf>,

    /// As lines of JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// The account's options.
    #[command(flatten)]
    pub given: AccountOptions,
}

/// Asks the service to fetch, or after what it was asked.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut watched = Watched::new(args);
    if args.list {
        let mut session = watched.session()?;
        let Done::Fetches { jobs } = session.run(Errand::Fetches)? else {
            return Err(AskError::Malformed.into());
        };
        drop(session);
        if !args.watch {
            for job in &jobs {
                tell(args.json, job, &job_words(job))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        watched.ids = (jobs.iter().filter(|job| job.executed.is_none()))
            .map(|job| job.id)
            .collect();
    } else if let Some(id) = args.show {
        watched.ids = vec![id];
        if !args.watch {
            let result = watched.ask(id)?;
            tell(args.json, &result, &result_words(&result))?;
            return Ok(ExitCode::SUCCESS);
        }
    } else {
        request(args, &mut watched)?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
    }
    watched.wait()
}

/// Makes the requests.
fn request(args: &Args, watched: &mut Watched<'_>) -> Result<(), Failure> {
    let (urls, folder) = addresses_and_folder(&args.what)?;
    if let Some(wrong) = urls.iter().find(|url| !is_fetchable(url)) {
        let why = "the service fetches http:// and https:// addresses only";
        return Err(anyhow!("{wrong}: {why}").into());
    }
    let headers = args.headers.as_deref().map(headers).transpose()?;
    let named = match folder {
        Some(typed) => Named::parse(typed, args.given.account.as_ref())?,
        None => Named::root(),
    };
    let (mut session, into) = Session::of(&named, &args.given, None)?;
    for urls in urls.chunks(URLS_AT_ONCE) {
        let done = session.run(Errand::Fetch {
            urls: urls.to_vec(),
            into: into.clone(),
            headers: headers.clone().unwrap_or_default(),
        })?;
        let Done::Fetching(fetching) = done else {
            return Err(AskError::Malformed.into());
        };
        tell(args.json, &fetching, &request_words(&fetching))?;
        watched.ids.push(fetching.id);
    }
    watched.named = named;
    Ok(())
}

/// Requests that are waited for.
struct Watched<'a> {
    args: &'a Args,
    ids: Vec<u64>,
    /// Who can be asked after them.
    named: Named,
}

impl<'a> Watched<'a> {
    fn new(args: &'a Args) -> Self {
        Self {
            args,
            ids: Vec::new(),
            named: Named::root(),
        }
    }

    /// Made anew for each question, so that the account can be mounted in between.
    fn session(&self) -> anyhow::Result<Session> {
        Ok(Session::of(&self.named, &self.args.given, None)?.0)
    }

    fn ask(&self, id: u64) -> anyhow::Result<FetchResult> {
        match self.session()?.run(Errand::Fetched { id })? {
            Done::Fetched(result) => Ok(result),
            _ => Err(AskError::Malformed.into()),
        }
    }

    /// Waits until all are done, and tells what became of each.
    fn wait(mut self) -> Result<ExitCode, Failure> {
        let clock = Clock::from_env();
        let mut pause = FIRST_QUESTION;
        let (mut failures, mut missed) = (0, 0);
        while !self.ids.is_empty() {
            if io::stderr().is_terminal() {
                // Where there is no standard error, nobody waits to be told.
                let _ = write!(
                    io::stderr(),
                    "\rrequests that wait: {}\x1b[K",
                    self.ids.len()
                );
            }
            std::thread::sleep(clock.real(pause));
            pause = PAUSE;
            let mut waiting = Vec::new();
            for id in &self.ids {
                match self.ask(*id) {
                    Ok(result) if result.is_over() => {
                        failures = 0;
                        missed += missing(&result);
                        wipe();
                        tell(self.args.json, &result, &result_words(&result))?;
                        continue;
                    }
                    Ok(_) => failures = 0,
                    Err(why) => {
                        failures += 1;
                        if failures >= MOST_FAILURES {
                            return Err(why.into());
                        }
                        log::warn!("request {id}: {}", exit::sentence(&why));
                    }
                }
                waiting.push(*id);
            }
            self.ids = waiting;
        }
        wipe();
        if missed > 0 {
            return Err(Failure::explained(exit::FAILURE));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn wipe() {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn headers(path: &Path) -> anyhow::Result<Headers> {
    let what = || format!("cannot read the headers from {}", path.display());
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().take(LONGEST_HEADERS).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LONGEST_HEADERS).read_to_string(&mut text))
    };
    read.with_context(what)?;
    Headers::parse(&text).map_err(|why| anyhow!("{}: {why}", path.display()))
}

/// Addresses of a request that is over that became no file.
fn missing(result: &FetchResult) -> usize {
    let became = result.results.iter().filter(|it| it.file.is_some()).count();
    result.urls.len().max(result.results.len()) - became
}

fn request_words(fetching: &Fetching) -> String {
    let count = counted(fetching.urls.len() as u64, "address", "addresses");
    format!(
        "request {}: {count} into {}; see: fichierfs fetch --show {0}",
        fetching.id, fetching.into
    )
}

fn job_words(job: &Job) -> String {
    let at = |date: Option<i64>| date.and_then(date_words).unwrap_or_else(|| "?".to_owned());
    let state = match job.executed {
        Some(_) => format!("done {}", at(job.executed)),
        None => "waits".to_owned(),
    };
    format!("{}  of {}  {state}", job.id, at(job.requested))
}

fn result_words(result: &FetchResult) -> String {
    let mut text = String::new();
    for it in &result.results {
        let became = it.file.clone().unwrap_or_else(|| {
            let why = format!("{} {}", it.status, it.message);
            format!("failed ({})", why.trim())
        });
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} -> {became}", it.url);
    }
    for url in &result.urls {
        if !result.results.iter().any(|it| it.url == *url) {
            let state = if result.is_over() {
                "failed, the service does not say why"
            } else {
                "waits"
            };
            let _ = writeln!(text, "{url} -> {state}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errand::FetchedUrl;

    #[test]
    fn what_became_of_each_address_is_told() {
        let mut result = FetchResult {
            job: Job {
                id: 7,
                requested: Some(1),
                executed: None,
            },
            urls: vec!["http://a/".into(), "http://b/".into(), "http://c/".into()],
            results: Vec::new(),
        };
        assert_eq!(result_words(&result).matches("waits").count(), 3);
        let of = |url: &str, file: Option<&str>| FetchedUrl {
            url: url.into(),
            file: file.map(str::to_owned),
            status: "KO".into(),
            message: "no answer".into(),
        };
        result.results = vec![of("http://a/", Some("link")), of("http://b/", None)];
        result.job.executed = Some(2);
        let text = result_words(&result);
        for says in [
            "http://a/ -> link\n",
            "b/ -> failed (KO no answer)",
            "c/ -> failed, the",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
        assert_eq!(missing(&result), 2);
        assert!(job_words(&result.job).contains("done 1970-01-"));
    }
}
