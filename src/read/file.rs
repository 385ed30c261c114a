//! One file being read: which parts are on their way, who waits for what, and what to fetch next.
//!
//! Promises: no byte is fetched twice at the same time; whoever waits is told as soon as the last
//! byte he lacks is there, or why it will not come. Decides, but does not fetch: [`super::stream`]
//! carries out. Lock order: a file's state, then the store's.
use super::blocks::BLOCK;
use super::error::ReadError;
use super::store::Store;
use super::tally::Opens;
use super::token::Token;
use super::window::{Access, SKIP};
use crate::api::{FileId, FileUrl, Requester};
use crate::util::clock::Moment;
use crate::util::sync::lock;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Bytes a stream that nobody wants any more still reads to its end: finishing leaves the
/// connection usable for the next range, abandoning it costs a new connection and handshake.
const FINISH: u64 = 1024 * 1024;

/// A file with at least one handle, or one that was closed a moment ago.
#[derive(Debug)]
pub(super) struct File {
    pub(super) id: FileId,
    pub(super) size: u64,
    pub(super) token: Arc<Token>,
    /// What its handles did.
    pub(super) opens: Opens,
    store: Arc<Store>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: Vec<Stream>,
    waiters: Vec<Waiter>,
    issued: u64,
    handles: u64,
    last_read: Option<Moment>,
}

/// A span on its way: `[pos, end)` is still to come.
#[derive(Debug)]
struct Stream {
    number: u64,
    start: u64,
    pos: u64,
    end: u64,
    /// The handle it was started for; `None` once others wait for it too.
    owner: Option<u64>,
}

#[derive(Debug)]
struct Waiter {
    /// From the first byte lacking to the last one asked for.
    hole: Range<u64>,
    tell: oneshot::Sender<Result<(), ReadError>>,
}

/// What a stream is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetch {
    /// Names the stream within its file.
    pub(super) number: u64,
    /// Still to come.
    pub(super) range: Range<u64>,
}

/// What became of a read's need.
#[derive(Debug)]
pub(super) enum Need {
    /// All is there by now.
    Present,
    /// This part is on disk and must be brought to memory.
    OnDisk(Range<u64>),
    /// Something is missing: wait for the answer, having started the stream, if one is given.
    Wait(oneshot::Receiver<Result<(), ReadError>>, Option<Fetch>),
}

/// Where missing bytes may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// From disk if they are there, else from the service.
    All,
    /// From the service: the disk failed just now.
    ServiceOnly,
}

/// Who reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) handle: u64,
    pub(super) requester: Requester,
    pub(super) now: Moment,
}

impl File {
    pub(super) fn new(url: &FileUrl, size: u64, token: Arc<Token>, store: Arc<Store>) -> Self {
        Self {
            id: url.id(),
            size,
            token,
            opens: Opens::default(),
            store,
            state: Mutex::default(),
        }
    }

    /// A handle was opened.
    pub(super) fn opened(&self) {
        lock(&self.state).handles += 1;
    }

    /// A handle was closed: what it alone wanted is not wanted any more, and nothing is when it was
    /// the last.
    pub(super) fn closed(&self, handle: u64) {
        self.opens.remove(handle);
        let mut state = lock(&self.state);
        state.handles = state.handles.saturating_sub(1);
        let is_last = state.handles == 0;
        state.curb(|owner| is_last || owner == Some(handle));
    }

    /// Handles open now.
    pub(super) fn handles(&self) -> u64 {
        lock(&self.state).handles
    }

    /// Whether nobody has it open and nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.handles == 0 && state.streams.is_empty()
    }

    /// The spans on their way.
    pub(super) fn coming(&self) -> Vec<Range<u64>> {
        let state = lock(&self.state);
        state.streams.iter().map(|it| it.pos..it.end).collect()
    }

    /// When it was last read.
    pub(super) fn last_read(&self) -> Option<Moment> {
        lock(&self.state).last_read
    }

    /// Notes a read; after a seek what was on its way for the handle elsewhere is curbed.
    pub(super) fn note(&self, who: &Reading, access: &Access) {
        let mut state = lock(&self.state);
        state.last_read = Some(who.now);
        if access.seek {
            state.curb(|owner| owner == Some(who.handle));
        }
    }

    /// Arranges for `range`: names what is on disk, or joins a stream that reaches the first missing
    /// byte soon, or plans one from there to the window's edge.
    pub(super) fn need(
        &self,
        range: &Range<u64>,
        edge: u64,
        who: &Reading,
        sources: Sources,
    ) -> Need {
        let mut state = lock(&self.state);
        let hole = self.store.memory.first_missing(self.id, range.clone());
        if hole >= range.end {
            return Need::Present;
        }
        if sources == Sources::All {
            let wanted = hole..edge.max(range.end).min(self.size);
            let part = self.store.loadable(self.id, wanted);
            if !part.is_empty() {
                return Need::OnDisk(part);
            }
        }
        let (tell, told) = oneshot::channel();
        state.waiters.push(Waiter {
            hole: hole..range.end,
            tell,
        });
        if state.join(hole, who.handle) {
            return Need::Wait(told, None);
        }
        let end = self.gap_end(&state, hole, edge.max(range.end));
        let begin = self.store.begin(self.id, hole);
        // A stream that would get there too late ends where the new one begins.
        for stream in &mut state.streams {
            if stream.pos < begin && stream.end > begin {
                stream.end = begin;
            }
        }
        let fetch = state.start(begin..end, who.handle);
        Need::Wait(told, Some(fetch))
    }

    /// Plans a stream ahead of the reader if enough of the window is uncovered and fewer than
    /// `most` are on their way. The second value says whether all of it is arranged for now.
    pub(super) fn ahead(
        &self,
        from: u64,
        access: &Access,
        most: usize,
        who: &Reading,
    ) -> (Option<Fetch>, bool) {
        let edge = access.edge.min(self.size);
        let mut state = lock(&self.state);
        let at = self.first_uncovered(&mut state, from..edge, who.handle);
        if at >= edge {
            return (None, true);
        }
        let end = self.gap_end(&state, at, edge);
        let worth = end - at >= access.least || edge == self.size || end < edge;
        if !worth || state.streams.len() >= most {
            return (None, false);
        }
        (Some(state.start(at..end, who.handle)), true)
    }

    /// The first byte of `range` that is neither here nor on its way. `handle` counts on what is.
    fn first_uncovered(&self, state: &mut State, range: Range<u64>, handle: u64) -> u64 {
        let mut at = range.start;
        while at < range.end {
            let here = self.store.here_until(self.id, &(at..range.end));
            let covered = state
                .streams
                .iter_mut()
                .find(|it| it.pos <= here && here < it.end);
            match covered {
                Some(stream) => {
                    stream.share_with(handle);
                    at = stream.end;
                }
                None => return here,
            }
        }
        range.end
    }

    /// Where a stream from `at` should end: at `most`, or where bytes are here or on their way.
    fn gap_end(&self, state: &State, at: u64, most: u64) -> u64 {
        let most = most.min(self.size);
        let here = self.store.here_from(self.id, at..most);
        let coming = state
            .streams
            .iter()
            .map(|it| it.pos)
            .filter(|pos| *pos > at)
            .min();
        here.min(coming.unwrap_or(most)).min(most)
    }

    /// Takes a chunk a stream received; says what is still to come, `None` when the stream is done.
    pub(super) fn arrived(&self, number: u64, chunk: &bytes::Bytes) -> Option<Fetch> {
        let pos = {
            let state = lock(&self.state);
            state.streams.iter().find(|it| it.number == number)?.pos
        };
        let until = pos + chunk.len() as u64;
        self.store.arrived(self.id, self.size, pos, chunk);
        for left in (pos / BLOCK)..(until / BLOCK) {
            self.store.memory.settle(self.id, left * BLOCK);
        }
        let mut state = lock(&self.state);
        let stream = state.streams.iter_mut().find(|it| it.number == number)?;
        stream.pos = until;
        let (start, end) = (stream.start, stream.end);
        state.wake(|hole| start <= hole.start && hole.end <= until);
        (until < end).then_some(Fetch {
            number,
            range: until..end,
        })
    }

    /// What a stream still has to bring, and whether anyone waits for a byte of it.
    pub(super) fn outlook(&self, number: u64) -> Option<(Fetch, bool)> {
        let mut state = lock(&self.state);
        state.waiters.retain(|waiter| !waiter.tell.is_closed());
        let stream = state.streams.iter().find(|it| it.number == number)?;
        let range = stream.pos..stream.end;
        if range.is_empty() {
            return None;
        }
        let wanted = state.waiters.iter().any(|waiter| stream.serves(waiter));
        Some((Fetch { number, range }, wanted))
    }

    /// A stream ends: whoever waited for its bytes plans anew, or hears why they do not come.
    pub(super) fn ended(&self, number: u64, failure: Option<&ReadError>) {
        let mut state = lock(&self.state);
        let Some(index) = state.streams.iter().position(|it| it.number == number) else {
            return;
        };
        let stream = state.streams.swap_remove(index);
        self.store.memory.settle(self.id, stream.pos);
        match failure {
            Some(error) => state.fail(&stream, error),
            None => state.wake(|hole| stream.start <= hole.start && hole.start <= stream.end),
        }
    }
}

impl Stream {
    /// Whether the stream is to bring bytes that `waiter` lacks, of which it may have brought some.
    fn serves(&self, waiter: &Waiter) -> bool {
        let hole = &waiter.hole;
        self.start <= hole.start && hole.start < self.end && self.pos < hole.end
    }

    /// Notes that `handle` counts on it: it is then no longer its owner's alone.
    fn share_with(&mut self, handle: u64) {
        if self.owner != Some(handle) {
            self.owner = None;
        }
    }
}

impl State {
    fn start(&mut self, range: Range<u64>, owner: u64) -> Fetch {
        self.issued += 1;
        let number = self.issued;
        self.streams.push(Stream {
            number,
            start: range.start,
            pos: range.start,
            end: range.end,
            owner: Some(owner),
        });
        Fetch { number, range }
    }

    /// Whether a stream reaches `hole` soon; `handle` then counts on it.
    fn join(&mut self, hole: u64, handle: u64) -> bool {
        let reaches = |it: &&mut Stream| it.pos <= hole && hole < it.end && hole - it.pos <= SKIP;
        let Some(stream) = self.streams.iter_mut().find(reaches) else {
            return false;
        };
        stream.share_with(handle);
        true
    }

    /// Shortens what is on its way for certain owners alone, as far as nobody waits for it.
    fn curb(&mut self, whose: impl Fn(Option<u64>) -> bool) {
        for stream in self.streams.iter_mut().filter(|it| whose(it.owner)) {
            let waited = self.waiters.iter().filter(|it| stream.serves(it));
            let waited = waited.map(|it| it.hole.end).max().unwrap_or(0);
            let enough = stream.pos.saturating_add(FINISH);
            stream.end = stream.end.min(enough.max(waited));
        }
    }

    fn wake(&mut self, met: impl Fn(&Range<u64>) -> bool) {
        for waiter in self.waiters.extract_if(.., |waiter| met(&waiter.hole)) {
            // A reader that gave up has dropped its end; nobody is left to tell.
            let _ = waiter.tell.send(Ok(()));
        }
    }

    /// Tells those who waited for `ended`, also who has a part already, unless another stream brings
    /// what they lack.
    fn fail(&mut self, ended: &Stream, error: &ReadError) {
        let streams = &self.streams;
        let left_alone = |waiter: &mut Waiter| {
            ended.serves(waiter) && !streams.iter().any(|other| other.serves(waiter))
        };
        for waiter in self.waiters.extract_if(.., left_alone) {
            // As above.
            let _ = waiter.tell.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
