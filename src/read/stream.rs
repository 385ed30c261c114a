//! One span of a file on its way into memory: get a link, open the range, take chunk after chunk,
//! and when anything goes wrong go on at the same offset, invisibly to the reader.
//!
//! Promises: every byte handed over came from an answer that was checked; the stream ends when its
//! span is there, when nobody wants it any more, or when trying again is useless, which those who
//! wait are told. Knows nothing of handles or windows.
use super::error::ReadError;
use super::file::{Fetch, File};
use super::token::Link;
use super::{Shared, counters::Counters};
use crate::api::{ApiError, ErrorKind, Requester};
use crate::util::deadline::Deadline;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// An answer's header must be there within this span, connection set-up included.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// A connection that brings no byte for this long is given up and replaced.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// The first pause after a failure; doubled for each further one without a byte in between.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after the service complained about too many connections or requests for downloads.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// Links that may prove bad one after the other before the reader hears of it. One is common (it
/// expired), two happen when the node it names is in trouble.
const BAD_LINKS: u32 = 3;

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
    permit: Option<OwnedSemaphorePermit>,
) {
    let number = fetch.number;
    // Tells those who wait also when this task is dropped in mid-flight.
    let mut guard = Ending {
        file: &file,
        number,
        failure: Some(ReadError::Shutdown),
    };
    guard.failure = pump(&shared, &file, number, requester, permit).await.err();
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
    mut permit: Option<OwnedSemaphorePermit>,
) -> Result<(), ReadError> {
    let mut tries = Tries::default();
    loop {
        let Some((fetch, wanted)) = file.outlook(number) else {
            return Ok(());
        };
        if !wanted && (tries.failures > 0 || shared.is_idle(file)) {
            return Ok(());
        }
        let connection = match permit.take() {
            Some(permit) => permit,
            None => match Arc::clone(&shared.connections).acquire_owned().await {
                Ok(permit) => permit,
                Err(_) => return Err(ReadError::Shutdown),
            },
        };
        let link = file.token.link(requester).await?;
        let before = fetch.range.start;
        let failure = match attempt(shared, file, fetch, &link).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        drop(connection);
        if file
            .outlook(number)
            .is_some_and(|(fetch, _)| fetch.range.start > before)
        {
            tries = Tries::default();
        }
        log::debug!("file {}: {failure}, going on at {before} or later", file.id);
        let pause = tries.after(&failure, || file.token.failed(&link))?;
        shared.clock.sleep(pause).await;
    }
}

/// One answer, from its opening to its end or to what went wrong.
async fn attempt(shared: &Shared, file: &File, fetch: Fetch, link: &Link) -> Result<(), ApiError> {
    let Fetch { number, range } = fetch;
    Counters::add(&shared.counters.ranges, 1);
    let deadline = Deadline::within(shared.clock, OPEN_LIMIT);
    let mut body = shared
        .client
        .download(&link.link, range, file.size, deadline)
        .await?;
    file.token.worked(link);
    while let Some(chunk) = body
        .next(Deadline::within(shared.clock, STALL_LIMIT))
        .await?
    {
        Counters::add(&shared.counters.fetched, chunk.len() as u64);
        if file.arrived(number, &chunk).is_none() {
            break;
        }
        if shared.is_idle(file) && file.outlook(number).is_some_and(|(_, wanted)| !wanted) {
            break;
        }
    }
    Ok(())
}

/// What was tried since the last byte came.
#[derive(Debug, Default)]
struct Tries {
    failures: u32,
    bad_links: u32,
    bad_answers: u32,
}

impl Tries {
    /// How long to wait before the next try, or that there is none. Those who wait have deadlines of
    /// their own, so a failure that may pass is tried for as long as anyone waits.
    fn after(
        &mut self,
        failure: &ApiError,
        withdraw: impl FnOnce(),
    ) -> Result<Duration, ReadError> {
        use ErrorKind as K;
        self.failures += 1;
        let doubling = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)) / 2;
        let pause = doubling.min(LONGEST_PAUSE);
        match failure.kind {
            K::LinkExpired | K::NotFound | K::NotAllowed => {
                self.bad_links += 1;
                withdraw();
                if self.bad_links >= BAD_LINKS {
                    Err(failure.clone().into())
                } else {
                    Ok(pause)
                }
            }
            K::WrongBytes | K::Malformed => {
                self.bad_answers += 1;
                // Another link mostly names another node.
                if self.bad_answers.is_multiple_of(3) {
                    withdraw();
                }
                if self.bad_answers >= BAD_ANSWERS {
                    Err(failure.clone().into())
                } else {
                    Ok(pause)
                }
            }
            K::TooManyConnections | K::Flood | K::Maintenance | K::IpBanned => {
                Ok(failure.retry_after.unwrap_or(BUSY_PAUSE))
            }
            _ if failure.is_temporary() => Ok(pause),
            _ => Err(failure.clone().into()),
        }
    }
}

impl Shared {
    fn is_idle(&self, file: &File) -> bool {
        file.last_read()
            .is_none_or(|at| self.clock.now().since(at) > IDLE_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reached;

    fn error(kind: ErrorKind) -> ApiError {
        ApiError::new(kind, "download", Reached::Answered, "")
    }

    #[test]
    fn a_bad_link_is_replaced_and_three_of_them_are_an_answer() {
        let mut tries = Tries::default();
        let mut withdrawn = 0;
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(
                tries
                    .after(&error(ErrorKind::LinkExpired), || withdrawn += 1)
                    .is_ok(),
            );
        }
        assert_eq!((outcomes, withdrawn), (vec![true, true, false], 3));
    }

    #[test]
    fn what_may_pass_is_tried_on_with_growing_pauses_and_what_never_passes_is_not() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = (0..10)
            .map(|_| tries.after(&error(ErrorKind::Network), || ()).unwrap())
            .collect();
        assert!(pauses.is_sorted() && pauses[0] == FIRST_PAUSE && pauses[9] == LONGEST_PAUSE);
        assert!(
            Tries::default()
                .after(&error(ErrorKind::NetworkRefused), || ())
                .is_err()
        );
    }
}
