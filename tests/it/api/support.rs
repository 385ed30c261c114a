//! What the tests share: a fake service with a client on it, and a server that says what it is told.
use fake_1fichier::{Builder, Fake};
use fichierfs::api::scheduler::{Rates, Scheduler};
use fichierfs::api::{ApiUrl, Ask, Client, Priority, Requester, Settings};
use fichierfs::secret::ApiKey;
use fichierfs::util::clock::Clock;
use fichierfs::util::deadline::Deadline;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Virtual seconds per real second: half a minute between two listings takes a second and a half.
const FACTOR: u32 = 20;

/// A fake service and a client of it, on one clock.
pub(super) struct World {
    pub(super) fake: Fake,
    pub(super) client: Client,
    pub(super) clock: Clock,
}

impl World {
    /// With everything as it is by default.
    pub(super) fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// With a fake set up by `setup`.
    pub(super) fn with(setup: impl FnOnce(Builder) -> Builder) -> Self {
        Self::with_settings(setup, |_, _| {})
    }

    /// With a fake set up by `setup` and a client by `adjust`.
    pub(super) fn with_settings(
        setup: impl FnOnce(Builder) -> Builder,
        adjust: impl FnOnce(&Fake, &mut Settings),
    ) -> Self {
        let _ = env_logger::builder().is_test(true).try_init();
        let base = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let setting = format!("{FACTOR}@{}", base.as_secs());
        let clock = Clock::parse(&setting).unwrap();
        // The fake starts a runtime of its own, which no thread of another one may do.
        let builder = setup(Fake::builder().clock(&setting));
        let fake = std::thread::spawn(|| builder.start()).join();
        let fake = fake.unwrap().unwrap();
        let mut settings = Settings::new(ApiKey::parse(&fake.key()).unwrap());
        settings.api_url = ApiUrl::parse(&fake.api_url()).unwrap();
        settings.clock = clock;
        adjust(&fake, &mut settings);
        let scheduler = Scheduler::new(clock, Rates::default(), None);
        let client = Client::new(settings, scheduler).unwrap();
        Self {
            fake,
            client,
            clock,
        }
    }

    /// Terms with `seconds` (virtual) to go.
    pub(super) fn ask(&self, seconds: u64) -> Ask {
        let deadline = self.deadline(seconds);
        Ask::new(Priority::Wanted, deadline, Requester(1))
    }

    /// `seconds` (virtual) from now.
    pub(super) fn deadline(&self, seconds: u64) -> Deadline {
        Deadline::within(self.clock, Duration::from_secs(seconds))
    }

    /// Every test ends here: nothing that was done could have locked the account.
    pub(super) fn done(self) {
        let violations = self.fake.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

/// A server that gives each request the next of a list of answers, and keeps the requests.
pub(super) struct Scripted {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Answers what `script` makes of the server's port in turn, the last one for ever.
    pub(super) async fn new(script: impl FnOnce(u16) -> Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, script(port), Arc::clone(&seen)));
        let clock = Clock::scaled(f64::from(FACTOR), None);
        let key = ApiKey::parse("Scripted-key-of-32-characters__=").unwrap();
        let mut settings = Settings::new(key);
        settings.api_url = ApiUrl::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap();
        settings.clock = clock;
        let scheduler = Scheduler::new(clock, Rates::default(), None);
        Self {
            client: Client::new(settings, scheduler).unwrap(),
            clock,
            port,
            seen,
            task,
        }
    }

    /// Answers `body` as JSON with status 200.
    pub(super) async fn json(body: &str) -> Self {
        Self::new(|_| vec![answer(200, "application/json", body)]).await
    }

    /// Terms with `seconds` (virtual) to go.
    pub(super) fn ask(&self, seconds: u64) -> Ask {
        let deadline = Deadline::within(self.clock, Duration::from_secs(seconds));
        Ask::new(Priority::Wanted, deadline, Requester(1))
    }

    /// The requests so far, head and body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A complete HTTP answer.
pub(super) fn answer(status: u16, content_type: &str, body: &str) -> String {
    with_headers(status, &format!("Content-Type: {content_type}\r\n"), body)
}

/// A complete HTTP answer with headers, each with its line end.
pub(super) fn with_headers(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

async fn serve(listener: TcpListener, answers: Vec<String>, seen: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (answers, seen) = (answers.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Some(request) = read_request(&mut stream).await {
                let answer = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    answers[(seen.len() - 1).min(answers.len() - 1)].clone()
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
