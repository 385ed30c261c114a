//! One span of a file on its way into memory: get a link, open the range, take chunk after chunk,
//! and when anything goes wrong go on at the same offset, invisibly to the reader.
//!
//! Promises: every byte handed over came from an answer that was checked; the stream ends when its
//! span is there, when nobody wants it any more, or when trying again is useless, which those who
//! wait are told. Knows nothing of handles or windows.
use super::connections::Connection;
use super::error::ReadError;
use super::file::{Fetch, File};
use super::pace::Urgency;
use super::tally::{Phase, Stopwatch};
use super::token::{CALL_LIMIT, Link};
use super::{Shared, counters::Counters};
use crate::api::{ApiError, Body, ErrorKind, Priority, Reached, Requester};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// An answer's header must be there within this span, connection set-up included.
pub(super) const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// A connection that brings no byte for this long is given up and replaced.
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(10);

/// Bytes that a connection must bring in that span, its pauses for others not counted: less is of no use to
/// anybody, and another connection may bring more. Twenty at a time bring as much over a telephone's modem.
pub(super) const LEAST: u64 = 1024;

/// The first pause after a failure; doubled for each further one without a byte in between.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after the service complained about too many connections or requests for downloads.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause after the service asked for silence. Calls keep silent for as long as it asked
/// (the scheduler sees to it); a stream that slept as long would keep every reader from its place.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Failures one after the other on one node before another link is asked for.
const SAME_NODE: u32 = 3;

/// Links that may prove bad one after the other before the reader hears of it. One is common (it
/// expired), two happen when the node it names is in trouble, and three are bad luck once in some ten
/// thousand reads from a service at its worst.
const BAD_LINKS: u32 = 4;

/// Answers that are not what was asked for, one after the other, before the reader hears of it.
const BAD_ANSWERS: u32 = 8;

/// A span nobody waits for stops when its file was not read for this long.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Carries out `fetch`; `permit` is the connection it may use, if it has one already.
pub(super) async fn run(
    shared: Arc<Shared>,
    file: Arc<File>,
    fetch: Fetch,
    requester: Requester,
    permit: Option<Connection>,
    watch: Stopwatch,
) {
    let number = fetch.number;
    // Tells those who wait also when this task is dropped in mid-flight.
    let mut guard = Ending {
        file: &file,
        number,
        failure: Some(ReadError::Shutdown),
    };
    guard.failure = pump(&shared, &file, number, requester, permit, watch)
        .await
        .err();
}

struct Ending<'a> {
    file: &'a File,
    number: u64,
    failure: Option<ReadError>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.file.ended(self.number, self.failure.as_ref());
    }
}

async fn pump(
    shared: &Shared,
    file: &Arc<File>,
    number: u64,
    requester: Requester,
    mut permit: Option<Connection>,
    mut watch: Stopwatch,
) -> Result<(), ReadError> {
    let mut tries = Tries::default();
    // What was started for a reader ends with its readers; what runs ahead of one may go on.
    let is_ahead = permit.is_some();
    loop {
        let unwanted_too = is_ahead && tries.failures == 0;
        let Some((_, wanted)) = outlook(shared, file, number, unwanted_too) else {
            return Ok(());
        };
        // Others may use the connection while this one waits for a link.
        permit = permit.filter(|_| file.token.is_live());
        watch.enter(Phase::Link);
        let link = file.token.link(requester, Priority::Token).await;
        watch.linked(file.token.call_time(), Phase::Connection);
        let link = match link {
            Ok(link) => link,
            Err(failure) => {
                watch.tally().failed(&failure);
                let pause = tries.after_no_link(&failure).ok_or(failure)?;
                watch.enter(Phase::Pause);
                shared.clock.sleep(pause).await;
                continue;
            }
        };
        let connection = match permit.take() {
            Some(permit) => permit,
            None => match shared.connection(requester, wanted).await {
                Some(permit) => permit,
                None => return Ok(()),
            },
        };
        // Both may have taken their time.
        let Some((fetch, _)) = outlook(shared, file, number, unwanted_too) else {
            return Ok(());
        };
        if !file.token.is_current(&link) {
            permit = Some(connection);
            continue;
        }
        let before = fetch.range.start;
        let failure = match attempt(shared, file, fetch, &link, &mut watch).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        watch.tally().failed(&failure);
        drop(connection);
        if file
            .outlook(number)
            .is_some_and(|(fetch, _)| fetch.range.start >= before + LEAST)
        {
            tries = Tries::default();
        }
        log::debug!("file {}: {failure}, going on at {before} or later", file.id);
        let Some(pause) = tries.after(&failure, || file.token.failed(&link)) else {
            file.token.refuse(&failure);
            return Err(failure.into());
        };
        watch.enter(Phase::Pause);
        shared.clock.sleep(pause).await;
    }
}

/// What the stream still has to bring and whether anyone waits for it; `None` when it is done, or
/// when nobody waits and it shall not go on `unwanted_too`.
fn outlook(shared: &Shared, file: &File, number: u64, unwanted_too: bool) -> Option<(Fetch, bool)> {
    file.outlook(number)
        .filter(|(_, wanted)| *wanted || unwanted_too && !shared.is_idle(file))
}

/// One answer, from its opening to its end or to what went wrong.
async fn attempt(
    shared: &Shared,
    file: &File,
    fetch: Fetch,
    link: &Link,
    watch: &mut Stopwatch,
) -> Result<(), ApiError> {
    let Fetch { number, range } = fetch;
    Counters::add(&shared.counters.ranges, 1);
    watch.tally().range();
    watch.enter(Phase::FirstByte);
    let deadline = Deadline::within(shared.clock, OPEN_LIMIT);
    let asked = shared.clock.now();
    // The next seek leaves this one's connection behind.
    shared.client.prepare_download(&link.link);
    let mut body = shared
        .client
        .download(&link.link, range, file.size, deadline)
        .await?;
    file.token.worked(link);
    let mut purse = shared.pace.purse(file.id);
    let began = shared.clock.now();
    shared.line.began(began.since(asked));
    let announced = body.left();
    let mut flow = Current::new(shared.clock);
    while let Some(chunk) = flow.next(&mut body).await? {
        watch.enter(Phase::Transfer);
        let received = chunk.len() as u64;
        file.fetched.add(received);
        watch.tally().fetched(received);
        let rest = file.arrived(number, &chunk);
        if shared.pace.is_limited() {
            watch.enter(Phase::Limit);
            let urgency = match file.outlook(number) {
                Some((_, false)) => Urgency::Ahead,
                _ => Urgency::Waited,
            };
            purse.pay(received, urgency).await;
            watch.enter(Phase::Transfer);
        }
        if rest.is_none() {
            break;
        }
        if shared.is_idle(file) && file.outlook(number).is_some_and(|(_, wanted)| !wanted) {
            break;
        }
    }
    let came = announced - body.left();
    let took = shared.clock.now().since(began);
    shared.line.brought(came, took);
    log::debug!(
        "file {}: {came} bytes in {} ms, the first after {} ms",
        file.id,
        took.as_millis(),
        began.since(asked).as_millis()
    );
    Ok(())
}

/// How much an answer brings while it is waited for.
pub(super) struct Current {
    clock: Clock,
    /// Since when this much came: time that was waited.
    waited: Duration,
    brought: u64,
}

impl Current {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            waited: Duration::ZERO,
            brought: 0,
        }
    }

    /// The next bytes of `body`, `None` after the last; an error when none come, or hardly any.
    pub(super) async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, ApiError> {
        let asked = self.clock.now();
        let chunk = body.next(Deadline::within(self.clock, STALL_LIMIT)).await?;
        self.waited += self.clock.now().since(asked);
        self.brought += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited >= STALL_LIMIT && body.left() > 0 {
            if self.brought < LEAST {
                let (brought, limit) = (self.brought, STALL_LIMIT.as_secs());
                let detail = format!("only {brought} bytes in {limit} s");
                let (kind, reached) = (ErrorKind::Network, Reached::Answered);
                return Err(ApiError::new(kind, "download", reached, detail));
            }
            *self = Self::new(self.clock);
        }
        Ok(chunk)
    }
}

/// What was tried since the last byte came.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failures: u32,
    bad_links: u32,
    bad_answers: u32,
}

impl Tries {
    /// Failures since the last byte came.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait before the next try; `None` when trying again is useless. Those who wait have
    /// deadlines of their own, so a failure that may pass is tried for as long as anyone waits.
    pub(super) fn after(
        &mut self,
        failure: &ApiError,
        withdraw: impl FnOnce(),
    ) -> Option<Duration> {
        use ErrorKind as K;
        let pause = self.pause();
        let is_bad_link = matches!(failure.kind, K::LinkExpired | K::NotFound | K::NotAllowed);
        // Another link mostly names another node.
        if is_bad_link || self.failures.is_multiple_of(SAME_NODE) {
            withdraw();
        }
        match failure.kind {
            _ if is_bad_link => {
                self.bad_links += 1;
                (self.bad_links < BAD_LINKS).then_some(pause)
            }
            K::WrongBytes | K::Malformed => {
                self.bad_answers += 1;
                (self.bad_answers < BAD_ANSWERS).then_some(pause)
            }
            K::Flood | K::IpBanned => {
                let asked = failure.retry_after.unwrap_or(BUSY_PAUSE);
                Some(asked.clamp(BUSY_PAUSE, LONGEST_SILENCE))
            }
            // What the account's calls must wait for, other nodes need not.
            K::Maintenance if self.failures > 1 => Some(BUSY_PAUSE),
            K::TooManyConnections => Some(BUSY_PAUSE),
            _ => failure.is_temporary().then_some(pause),
        }
    }

    /// How long to wait before a link is asked for again; `None` when that is useless. The call was
    /// shared, so its deadline was that of whoever came first: those who came later have time left.
    fn after_no_link(&mut self, failure: &ApiError) -> Option<Duration> {
        use ErrorKind as K;
        let pause = self.pause();
        let was_sent = failure.reached != Reached::NotSent;
        let may_pass = match failure.kind {
            K::Timeout | K::Network | K::Malformed => true,
            K::Server | K::Maintenance if was_sent => true,
            // No call is made for a while; for longer than a link may take, nobody has to wait.
            K::Flood | K::Server | K::Maintenance => {
                !was_sent && failure.retry_after.is_some_and(|span| span < CALL_LIMIT)
            }
            _ => false,
        };
        may_pass.then_some(pause)
    }

    /// Counts a failure; the pause after it.
    fn pause(&mut self) -> Duration {
        self.failures += 1;
        let doubling = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)) / 2;
        doubling.min(LONGEST_PAUSE)
    }
}

impl Shared {
    /// A connection: in turn for those who are waited for, else one to spare.
    async fn connection(&self, requester: Requester, is_waited_for: bool) -> Option<Connection> {
        if is_waited_for {
            self.connections.acquire(requester).await
        } else {
            self.connections.spare(requester)
        }
    }

    fn is_idle(&self, file: &File) -> bool {
        file.last_read()
            .is_none_or(|at| self.clock.now().since(at) > IDLE_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> ApiError {
        ApiError::new(kind, "download", Reached::Answered, "")
    }

    #[test]
    fn a_bad_link_is_replaced_and_four_of_them_are_an_answer() {
        let mut tries = Tries::default();
        let mut withdrawn = 0;
        let outcomes: Vec<_> = (0..BAD_LINKS)
            .map(|_| {
                tries
                    .after(&error(ErrorKind::LinkExpired), || withdrawn += 1)
                    .is_some()
            })
            .collect();
        assert_eq!((outcomes, withdrawn), (vec![true, true, true, false], 4));
    }

    #[test]
    fn what_may_pass_is_tried_on_with_growing_pauses_and_what_never_passes_is_not() {
        let mut tries = Tries::default();
        let mut withdrawn = 0;
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                tries
                    .after(&error(ErrorKind::Network), || withdrawn += 1)
                    .unwrap()
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] == FIRST_PAUSE && pauses[9] == LONGEST_PAUSE);
        assert_eq!(withdrawn, 3);
        assert_eq!(
            Tries::default().after(&error(ErrorKind::NetworkRefused), || ()),
            None
        );
    }

    #[test]
    fn a_link_that_did_not_come_is_asked_for_again_unless_no_call_can_be_made() {
        let outcome = |kind, reached, silence| {
            let mut failure = ApiError::new(kind, "download/get_token", reached, "");
            failure.retry_after = Some(silence);
            Tries::default().after_no_link(&failure).is_some()
        };
        for kind in [ErrorKind::Timeout, ErrorKind::Network, ErrorKind::Server] {
            assert!(outcome(kind, Reached::Unknown, 2 * CALL_LIMIT), "{kind:?}");
        }
        // The queue was long: whoever waits longer gets his turn.
        assert!(outcome(ErrorKind::Timeout, Reached::NotSent, CALL_LIMIT));
        for kind in [ErrorKind::Flood, ErrorKind::Server, ErrorKind::Maintenance] {
            assert!(outcome(kind, Reached::NotSent, CALL_LIMIT / 2), "{kind:?}");
            assert!(!outcome(kind, Reached::NotSent, CALL_LIMIT), "{kind:?}");
        }
        for kind in [ErrorKind::NotFound, ErrorKind::TooManyLocations] {
            assert!(
                !outcome(kind, Reached::Answered, CALL_LIMIT / 2),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn no_pause_outlasts_a_reader_whatever_the_service_asks_for() {
        for kind in [
            ErrorKind::Flood,
            ErrorKind::IpBanned,
            ErrorKind::Maintenance,
            ErrorKind::TooManyConnections,
            ErrorKind::Server,
        ] {
            let mut failure = error(kind);
            failure.retry_after = Some(Duration::from_secs(3600));
            let pause = Tries::default().after(&failure, || ()).unwrap();
            assert!(pause <= LONGEST_SILENCE, "{kind:?}: {pause:?}");
        }
    }
}
