//! One file being read: which parts are on their way, who waits for what, and what to fetch next.
//!
//! Promises: no byte is fetched twice at the same time; whoever waits is told as soon as the last
//! byte he lacks is there, or why it will not come. Decides, but does not fetch: [`super::stream`]
//! carries out. Lock order: a file's state, then the store's.
use super::error::ReadError;
use super::fill::Fill;
use super::lanes::Lanes;
use super::line::Line;
use super::store::{Store, UNIT};
use super::tally::Opens;
use super::token::Token;
use super::window::{Access, RANGE};
use crate::api::{FileId, FileUrl, Requester};
use crate::util::clock::Moment;
use crate::util::flow::Flow;
use crate::util::sync::lock;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// A file with at least one handle, or one that was closed a moment ago.
#[derive(Debug)]
pub(super) struct File {
    pub(super) id: FileId,
    pub(super) size: u64,
    pub(super) token: Arc<Token>,
    /// What its handles did.
    pub(super) opens: Opens,
    /// What came of it from the service.
    pub(super) fetched: Flow,
    /// The end of what was read last, or warmed.
    position: AtomicU64,
    store: Arc<Store>,
    line: Arc<Line>,
    /// Connections it is read over at most, for a steady reader that one does not satisfy.
    most_lanes: usize,
    lanes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lanes: Lanes,
    streams: Vec<Stream>,
    waiters: Vec<Waiter>,
    issued: u64,
    handles: u64,
    last_read: Option<Moment>,
}

/// A span on its way: `[pos, end)` is still to come, `[shown, pos)` came and is not in the store yet.
#[derive(Debug)]
struct Stream {
    number: u64,
    start: u64,
    shown: u64,
    pos: u64,
    end: u64,
    /// The block it is filling, which ends at `pos`; gone while bytes are copied into it.
    fill: Option<Fill>,
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
    pub(super) fn new(
        url: &FileUrl,
        size: u64,
        token: Arc<Token>,
        store: Arc<Store>,
        line: Arc<Line>,
        fetched: Flow,
        most_lanes: usize,
    ) -> Self {
        let state = State {
            lanes: Lanes::new(most_lanes),
            streams: Vec::new(),
            waiters: Vec::new(),
            issued: 0,
            handles: 0,
            last_read: None,
        };
        Self {
            id: url.id(),
            size,
            token,
            opens: Opens::default(),
            fetched,
            position: AtomicU64::new(0),
            store,
            line,
            most_lanes,
            lanes: AtomicUsize::new(1),
            state: Mutex::new(state),
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
        state.curb(self.line.finish(), |owner| is_last || owner == Some(handle));
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

    /// It was read up to here.
    pub(super) fn reached(&self, position: u64) {
        // Relaxed: a figure for people.
        self.position.store(position, Ordering::Relaxed);
    }

    /// The end of what was read last.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed).min(self.size)
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

    /// Connections a steady reader may use.
    pub(super) fn lanes(&self) -> usize {
        // Relaxed: a number on its own.
        self.lanes.load(Ordering::Relaxed)
    }

    /// Notes a read; after a seek what was on its way for the handle elsewhere is curbed.
    pub(super) fn on_read(&self, who: &Reading, access: &Access) {
        let mut state = lock(&self.state);
        state.last_read = Some(who.now);
        if access.seek {
            state.curb(self.line.finish(), |owner| owner == Some(who.handle));
        }
        // Of a reader that may stop any moment nothing is learnt.
        if access.eager {
            let lanes = state.lanes.at(who.now);
            self.lanes.store(lanes, Ordering::Relaxed);
        }
    }

    /// A reader had to wait for bytes.
    pub(super) fn waited(&self, time: Duration) {
        lock(&self.state).lanes.waited(time);
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
        let missing = || self.store.memory.first_missing(self.id, range.clone());
        let mut hole = missing();
        // From the start again: where memory is scarce, what is shown pushes out something else.
        while hole < range.end && self.show(&mut state, hole) {
            hole = missing();
        }
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
        if state.join(hole, self.line.reach(), who.handle) {
            return Need::Wait(told, None);
        }
        let begin = self.store.begin(self.id, hole);
        let most = edge.min(begin.saturating_add(RANGE)).max(range.end);
        let end = self.gap_end(&state, hole, most);
        // A stream that would get there too late ends where the new one begins.
        for stream in &mut state.streams {
            if stream.pos < begin && stream.end > begin {
                stream.end = begin;
            }
        }
        let fetch = state.start(begin..end, who.handle);
        Need::Wait(told, Some(fetch))
    }

    /// Plans a stream ahead of the reader if something of what `access` looks at is uncovered and
    /// there are lanes left. The second value says up to where all is arranged.
    pub(super) fn ahead(&self, access: &Access, who: &Reading) -> (Option<Fetch>, u64) {
        let mut state = lock(&self.state);
        // One that is about to end has its successor opened, which hides the set-up of the request.
        let reach = self.line.reach();
        let own = |it: &&Stream| it.owner.is_none_or(|owner| owner == who.handle);
        // One that was cut short may be past its end already.
        let busy = |it: &&Stream| own(it) && it.end.saturating_sub(it.pos) > reach;
        let streams = &state.streams;
        if streams.len() > self.most_lanes || streams.iter().filter(busy).count() >= self.lanes() {
            return (None, access.from);
        }
        let at = self.first_uncovered(&mut state, access.from..access.look, who.handle);
        if at >= access.look {
            return (None, at);
        }
        let end = self.gap_end(&state, at, access.edge.min(at.saturating_add(RANGE)));
        let worth = end - at >= access.least || access.look < access.edge || end == self.size;
        if !worth && end == access.edge {
            return (None, at);
        }
        (Some(state.start(at..end, who.handle)), end)
    }

    /// The first byte of `range` that is neither here nor on its way. `handle` counts on what is.
    fn first_uncovered(&self, state: &mut State, range: Range<u64>, handle: u64) -> u64 {
        let mut at = range.start;
        while at < range.end {
            let here = self.store.here_until(self.id, &(at..range.end));
            let covered = state
                .streams
                .iter_mut()
                .find(|it| it.shown <= here && here < it.end);
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

    /// Where a stream from `at` should end: at `most`, or where bytes are here or on their way. What
    /// the disk could not keep is not cut off.
    fn gap_end(&self, state: &State, at: u64, most: u64) -> u64 {
        let most = most.next_multiple_of(UNIT).min(self.size);
        let here = self.store.here_from(self.id, at..most);
        let coming = state
            .streams
            .iter()
            .map(|it| it.shown)
            .filter(|shown| *shown > at)
            .min();
        here.min(coming.unwrap_or(most)).min(most)
    }

    /// Puts what a stream brought of `hole` and following bytes into the store, if one did.
    fn show(&self, state: &mut State, hole: u64) -> bool {
        let mut streams = state.streams.iter_mut();
        let Some(stream) = streams.find(|it| it.shown <= hole && hole < it.pos) else {
            return false;
        };
        stream.show(|from, fill| self.store.shown(self.id, from, fill))
    }

    /// Takes a chunk a stream received; says what is still to come, `None` when the stream is done.
    pub(super) fn arrived(&self, number: u64, chunk: &[u8]) -> Option<Fetch> {
        let mut fill = {
            let mut state = lock(&self.state);
            let stream = state.stream(number)?;
            stream.fill.take().unwrap_or_else(|| Fill::new(stream.pos))
        };
        let (mut rest, mut stored) = (chunk, None);
        while !rest.is_empty() {
            let taken = fill.put(rest, &self.store.pool);
            rest = &rest[taken..];
            if fill.is_full() {
                let next = Fill::new(fill.end());
                stored = Some(fill.end());
                let full = std::mem::replace(&mut fill, next);
                self.store.filled(self.id, self.size, full);
            }
        }
        let mut state = lock(&self.state);
        let until = fill.end();
        state.lanes.brought(chunk.len() as u64);
        let stream = state.stream(number)?;
        stream.shown = stored.unwrap_or(stream.shown);
        stream.pos = until;
        stream.fill = Some(fill);
        let (start, shown, end) = (stream.start, stream.shown, stream.end);
        let mut holes = state.waiters.iter().map(|waiter| &waiter.hole);
        if holes.any(|it| start <= it.start && shown < it.end && it.end <= until) {
            let stream = state.stream(number)?;
            stream.show(|from, fill| self.store.shown(self.id, from, fill));
        }
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
        let fill = lock(&self.state)
            .stream(number)
            .and_then(|stream| stream.fill.take());
        if let Some(fill) = fill {
            self.store.filled(self.id, self.size, fill);
        }
        let mut state = lock(&self.state);
        let Some(index) = state.streams.iter().position(|it| it.number == number) else {
            return;
        };
        let stream = state.streams.swap_remove(index);
        self.store.memory.settle(self.id, stream.pos);
        // These have all they wait for, whatever became of the rest.
        state.wake(|hole| stream.start <= hole.start && hole.end <= stream.pos);
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

    /// Has `put` put what came and was not shown yet into the store; whether that could be done.
    fn show(&mut self, put: impl FnOnce(u64, &Fill)) -> bool {
        let Some(fill) = &self.fill else {
            return false;
        };
        put(self.shown, fill);
        self.shown = self.pos;
        true
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
            shown: range.start,
            pos: range.start,
            end: range.end,
            fill: None,
            owner: Some(owner),
        });
        Fetch { number, range }
    }

    fn stream(&mut self, number: u64) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|it| it.number == number)
    }

    /// Whether a stream gets to `hole` within `reach` bytes; `handle` then counts on it.
    fn join(&mut self, hole: u64, reach: u64, handle: u64) -> bool {
        let reaches = |it: &&mut Stream| {
            it.shown <= hole && hole < it.end && hole.saturating_sub(it.pos) <= reach
        };
        let Some(stream) = self.streams.iter_mut().find(reaches) else {
            return false;
        };
        stream.share_with(handle);
        true
    }

    /// Shortens what is on its way for certain owners alone to `finish` bytes in all, as far as
    /// nobody waits for more.
    fn curb(&mut self, finish: u64, whose: impl Fn(Option<u64>) -> bool) {
        let count = self.streams.iter().filter(|it| whose(it.owner)).count();
        let finish = finish / count.max(1) as u64;
        for stream in self.streams.iter_mut().filter(|it| whose(it.owner)) {
            let waited = self.waiters.iter().filter(|it| stream.serves(it));
            let waited = waited.map(|it| it.hole.end).max().unwrap_or(0);
            let enough = stream.pos.saturating_add(finish);
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
