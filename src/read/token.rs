//! One download link per file, shared by every handle, stream and seek.
//!
//! A link costs an API call, the scarcest thing there is. It must be used within five minutes and
//! can then be used for thirty, counted from the call (API reference 7.2). Promises: at most one call under way per
//! file; a link that proved bad is never given out again. Knows nothing of offsets or bytes.
use crate::api::{
    ApiError, Ask, Client, DownloadLink, ErrorKind, FileUrl, Priority, Reached, Requester, measured,
};
use crate::util::clock::{Clock, Moment};
use crate::util::deadline::Deadline;
use crate::util::sync::lock;
use serde::Serialize;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A link that was never used is given out for this long: 5 minutes less a margin for the way.
const UNUSED_LIFE: Duration = Duration::from_secs(270);

/// A link in use is given out for this long: 30 minutes less what a range may still take.
const USED_LIFE: Duration = Duration::from_secs(25 * 60);

/// How long the call may take, waiting for its turn included. Longer than one silence after a
/// flood, so that a read that is allowed to wait for it succeeds.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);

/// How long a file whose link was refused, or never worked, is not asked about again: repeated
/// refusals count as abuse (API reference 2.2), and programs that meet an error like to try again.
const REFUSAL_MEMORY: Duration = Duration::from_secs(30);

/// A link and which of the file's links it is.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Where to read.
    pub(super) link: DownloadLink,
    /// Counts the file's links, so that a bad one is withdrawn once.
    pub(super) number: u64,
}

/// What is known of a file's link, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkFigures {
    /// Links asked for so far.
    pub issued: u64,
    /// Seconds since the present one was asked for; absent when there is none that lives.
    pub age: Option<f64>,
    /// Seconds for which it is still used.
    pub left: Option<f64>,
    /// Seconds the last call took, without its wait for a turn.
    pub call: f64,
    /// Whether one is being asked for.
    pub asking: bool,
    /// Why there is none.
    pub refused: Option<String>,
}

/// The link of one file.
#[derive(Debug)]
pub(super) struct Token {
    client: Client,
    clock: Clock,
    url: FileUrl,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    flight: Option<Flight>,
    issued: u64,
    /// Why there is no link, and until when not to ask again.
    refused: Option<(Moment, ApiError)>,
    /// What the last call took, without its wait for a turn.
    call: Duration,
}

/// A call under way.
#[derive(Debug)]
struct Flight {
    told: Told,
    /// Gone with the task that holds it, should that end without an answer.
    tell: Weak<Tell>,
    /// Whether the service has it, or it waits for its turn.
    is_sent: watch::Receiver<bool>,
    priority: Priority,
    task: AbortHandle,
}

type Told = watch::Receiver<Option<Result<Link, ApiError>>>;
type Tell = watch::Sender<Option<Result<Link, ApiError>>>;

#[derive(Debug)]
struct Current {
    link: Link,
    asked: Moment,
    used: bool,
}

impl Token {
    /// The link slot of `url`; asks for nothing yet.
    pub(super) fn new(client: Client, clock: Clock, url: FileUrl) -> Self {
        Self {
            client,
            clock,
            url,
            state: Mutex::default(),
        }
    }

    /// A link to read from: the known one while it lives, else one call shared by all who wait.
    /// The call goes on when the caller stops waiting: the next one needs the link as well. Who is
    /// in more of a hurry than those before takes the call over, unless the service has it already.
    pub(super) async fn link(
        self: &Arc<Self>,
        requester: Requester,
        priority: Priority,
    ) -> Result<Link, ApiError> {
        loop {
            let (mut told, mut sent) = {
                let mut state = lock(&self.state);
                let now = self.clock.now();
                if let Some((_, error)) = state.refused.as_ref().filter(|it| now < it.0) {
                    return Err(error.clone());
                }
                if let Some(link) = state.live(now) {
                    return Ok(link);
                }
                let under_way = state.flight.take();
                let under_way = under_way.filter(|it| !it.task.is_finished());
                let mut sent = None;
                let flight = match under_way {
                    Some(flight) if flight.priority <= priority => flight,
                    Some(flight) if *flight.is_sent.borrow() => {
                        sent = Some(flight.is_sent.clone());
                        flight
                    }
                    slower => self.launch(requester, priority, slower),
                };
                let told = flight.told.clone();
                state.flight = Some(flight);
                (told, sent)
            };
            let back_in_queue = async {
                if let Some(sent) = &mut sent
                    && sent.wait_for(|is_sent| !is_sent).await.is_ok()
                {
                    return;
                }
                // Who waits for an answer hears also of an end without one.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                answer = told.wait_for(Option::is_some) => return match answer {
                    Ok(answer) => answer.clone().unwrap_or_else(|| Err(lost())),
                    Err(_) => Err(lost()),
                },
                // It failed, and would be repeated as late as it was asked for.
                () = back_in_queue => {}
            }
        }
    }

    /// Makes the call. Those who wait for a slower one hear the answer as well.
    fn launch(
        self: &Arc<Self>,
        requester: Requester,
        priority: Priority,
        slower: Option<Flight>,
    ) -> Flight {
        let tell = slower.and_then(|slower| {
            slower.task.abort();
            slower.tell.upgrade()
        });
        let tell = tell.unwrap_or_else(|| Arc::new(watch::Sender::new(None)));
        let (told, weak) = (tell.subscribe(), Arc::downgrade(&tell));
        let (note_sent, is_sent) = watch::channel(false);
        let ask = Arc::clone(self).ask(requester, priority, tell, note_sent);
        Flight {
            told,
            tell: weak,
            is_sent,
            priority,
            task: tokio::spawn(ask).abort_handle(),
        }
    }

    /// Notes that `link` delivered: it lives on for as long as ranges may be read.
    pub(super) fn worked(&self, link: &Link) {
        let mut state = lock(&self.state);
        if let Some(current) = state
            .current
            .as_mut()
            .filter(|it| it.link.number == link.number)
        {
            current.used = true;
        }
    }

    /// Withdraws `link`: the next caller gets another.
    pub(super) fn failed(&self, link: &Link) {
        let mut state = lock(&self.state);
        if state
            .current
            .as_ref()
            .is_some_and(|it| it.link.number == link.number)
        {
            state.current = None;
        }
    }

    /// Notes that links of this file do not work: nobody asks for another one for a while.
    pub(super) fn refuse(&self, error: &ApiError) {
        let until = self.clock.now().after(REFUSAL_MEMORY);
        lock(&self.state).refused = Some((until, error.clone()));
    }

    /// Whether `link` is the one to use: it still lives and was not withdrawn.
    pub(super) fn is_current(&self, link: &Link) -> bool {
        let current = lock(&self.state).live(self.clock.now());
        current.is_some_and(|it| it.number == link.number)
    }

    /// What the last call took, without its wait for a turn.
    pub(super) fn call_time(&self) -> Duration {
        lock(&self.state).call
    }

    /// What is known of the link.
    pub(super) fn figures(&self) -> LinkFigures {
        let state = lock(&self.state);
        let now = self.clock.now();
        let current = state.current.as_ref();
        let life = current.map(|it| (now.since(it.asked), it.life()));
        let live = life.filter(|(age, life)| age < life);
        LinkFigures {
            issued: state.issued,
            age: live.map(|(age, _)| age.as_secs_f64()),
            left: live.map(|(age, life)| life.saturating_sub(age).as_secs_f64()),
            call: state.call.as_secs_f64(),
            asking: state.flight.is_some(),
            refused: state
                .refused
                .as_ref()
                .filter(|(until, _)| now < *until)
                .map(|(_, error)| error.to_string()),
        }
    }

    /// Whether a link is at hand that still lives.
    pub(super) fn is_live(&self) -> bool {
        lock(&self.state).live(self.clock.now()).is_some()
    }

    async fn ask(
        self: Arc<Self>,
        requester: Requester,
        priority: Priority,
        tell: Arc<Tell>,
        is_sent: watch::Sender<bool>,
    ) {
        let asked = self.clock.now();
        let deadline = Deadline::within(self.clock, CALL_LIMIT);
        let ask = Ask::new(priority, deadline, requester);
        let call = self.client.download_link(&ask, &self.url);
        let (answer, timing) = measured(self.clock, is_sent, call).await;
        if let Err(error) = &answer
            && !error.is_temporary()
        {
            self.refuse(error);
        }
        let answer = {
            let mut state = lock(&self.state);
            state.flight = None;
            state.call = timing.called;
            answer.map(|link| {
                state.issued += 1;
                let link = Link {
                    link,
                    number: state.issued,
                };
                state.current = Some(Current {
                    link: link.clone(),
                    asked,
                    used: false,
                });
                link
            })
        };
        tell.send_replace(Some(answer));
    }
}

impl State {
    fn live(&self, now: Moment) -> Option<Link> {
        let current = self.current.as_ref()?;
        (now.since(current.asked) < current.life()).then(|| current.link.clone())
    }
}

impl Current {
    fn life(&self) -> Duration {
        if self.used { USED_LIFE } else { UNUSED_LIFE }
    }
}

/// The task that asks was torn down with the runtime.
fn lost() -> ApiError {
    ApiError::new(
        ErrorKind::Timeout,
        "download/get_token",
        Reached::Unknown,
        "shutting down",
    )
}
