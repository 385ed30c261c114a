//! Random days of one file: whatever is read, brought, broken and closed in whichever order, nobody
//! is forgotten, nobody gets a wrong byte, and no byte is on its way twice.
use super::*;
use crate::api::scheduler::{Rates, Scheduler};
use crate::api::{ApiError, ApiUrl, Client, ErrorKind, Reached, Settings};
use crate::read::blocks::Blocks;
use crate::read::window::{self, Bounds, Window};
use crate::secret::ApiKey;
use crate::util::clock::Clock;
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;
use tokio::sync::oneshot::error::TryRecvError;

const SIZE: u64 = 24 << 20;

fn byte(at: u64) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

fn bytes(range: Range<u64>) -> Bytes {
    range.map(byte).collect::<Vec<_>>().into()
}

/// A reader that waits.
struct Waiting {
    range: Range<u64>,
    edge: u64,
    who: Reading,
    told: oneshot::Receiver<Result<(), ReadError>>,
}

/// The file, its readers, and streams that move when the test says so.
struct Day {
    file: File,
    windows: Vec<Window>,
    waiting: Vec<Waiting>,
    /// Numbers of the streams under way and the end of what each asked the service for.
    streams: Vec<(u64, u64)>,
    delivered: u64,
}

impl Day {
    fn new(memory: u64, handles: usize) -> Self {
        crate::util::crypto::install();
        let clock = Clock::system();
        let url = FileUrl::of(FileId::parse(&"a".repeat(20)).unwrap());
        let settings = Settings {
            api_url: ApiUrl::parse("http://127.0.0.1:9/v1").unwrap(),
            clock,
            ..Settings::new(ApiKey::parse("FakeKey-0123456789_abcdefghijkl=").unwrap())
        };
        let scheduler = Scheduler::new(clock, Rates::default(), None);
        let client = Client::new(settings, scheduler).unwrap();
        let token = Arc::new(Token::new(client, clock, url.clone()));
        let store = Arc::new(Store::new(Blocks::new(memory), None));
        let fetched = Flow::default();
        let file = File::new(&url, SIZE, token, store, Arc::default(), fetched, 2);
        (0..handles).for_each(|_| file.opened());
        Self {
            file,
            windows: (0..handles).map(|_| Window::default()).collect(),
            waiting: Vec::new(),
            streams: Vec::new(),
            delivered: 0,
        }
    }

    fn read(&mut self, handle: usize, at: u64, len: u64) {
        let range = at..at.saturating_add(len).min(SIZE);
        let who = Reading {
            handle: handle as u64,
            requester: Requester(1),
            now: Moment::from_origin(Duration::ZERO),
        };
        let bounds = Bounds {
            largest: window::largest(self.file.lanes()).min(4 << 20),
            near: self.file.line.near(),
        };
        let access = self.windows[handle].on_read(&range, SIZE, bounds);
        self.file.on_read(&who, &access);
        self.plan(range.clone(), access.edge, who);
        let (fetch, until) = self.file.ahead(&access, &who);
        self.windows[handle].arranged(&access, until);
        self.streams
            .extend(fetch.map(|it| (it.number, it.range.end)));
    }

    /// What a reader does at first and each time it is woken.
    fn plan(&mut self, range: Range<u64>, edge: u64, who: Reading) {
        match self.file.need(&range, edge, &who, Sources::All) {
            Need::Present => {
                let got = self.file.store.memory.get(self.file.id, range.clone());
                assert_eq!(got.unwrap(), bytes(range));
            }
            Need::OnDisk(_) => unreachable!("there is no disk"),
            Need::Wait(told, fetch) => {
                self.streams
                    .extend(fetch.map(|it| (it.number, it.range.end)));
                self.waiting.push(Waiting {
                    range,
                    edge,
                    who,
                    told,
                });
            }
        }
    }

    /// One stream gets its next `len` bytes.
    fn bring(&mut self, index: usize, len: u64) {
        let (number, asked) = self.streams[index];
        let Some((fetch, _)) = self.file.outlook(number) else {
            return self.end(index, None);
        };
        let until = (fetch.range.start + len).min(asked);
        let chunk = bytes(fetch.range.start..until);
        self.delivered += chunk.len() as u64;
        if self.file.arrived(number, &chunk).is_none() {
            self.end(index, None);
        }
    }

    fn end(&mut self, index: usize, failure: Option<&ReadError>) {
        let (number, _) = self.streams.swap_remove(index);
        self.file.ended(number, failure);
    }

    /// Readers that were told go on; returns how many were told of a failure.
    fn hear(&mut self) -> usize {
        let mut failed = 0;
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.told.try_recv() {
                Err(TryRecvError::Empty) => self.waiting.push(waiting),
                Err(TryRecvError::Closed) => panic!("a reader was dropped without a word"),
                Ok(Err(_)) => failed += 1,
                Ok(Ok(())) => self.plan(waiting.range, waiting.edge, waiting.who),
            }
        }
        failed
    }

    /// Every waiter has a stream that is to bring the first byte it lacks, or a later one of it.
    fn check(&self) {
        let state = lock(&self.file.state);
        for waiter in state.waiters.iter().filter(|it| !it.tell.is_closed()) {
            assert!(
                state.streams.iter().any(|it| it.serves(waiter)),
                "nobody brings {:?}: {:?}",
                waiter.hole,
                state.streams
            );
        }
        for (index, one) in state.streams.iter().enumerate() {
            for other in &state.streams[..index] {
                let both = one.pos.max(other.pos)..one.end.min(other.end);
                assert!(both.is_empty(), "{both:?} comes twice: {:?}", state.streams);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Read(usize, u64, u64),
    Bring(usize, u64),
    Break(usize),
    Finish(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    // Offsets gather at a few places, as readers do.
    let at = prop_oneof![0..SIZE, 0..2u64 << 20, (4u64 << 20)..(7 << 20)];
    prop_oneof![
        4 => (0..3usize, at, 1..600_000u64).prop_map(|(who, at, len)| Step::Read(who, at, len)),
        6 => (0..8usize, 1..700_000u64).prop_map(|(which, len)| Step::Bring(which, len)),
        1 => (0..8usize).prop_map(Step::Break),
        1 => (0..8usize).prop_map(Step::Finish),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nobody_is_forgotten_and_nothing_comes_twice(
        steps in prop::collection::vec(step(), 1..60),
        memory in prop_oneof![Just(2u64 << 20), Just(64 << 20)],
    ) {
        let failure = ReadError::Api(ApiError::new(ErrorKind::NotFound, "test", Reached::Answered, ""));
        let mut day = Day::new(memory, 3);
        for step in steps {
            let pick = |which: usize| (!day.streams.is_empty()).then(|| which % day.streams.len().max(1));
            match step {
                Step::Read(who, at, len) => day.read(who, at, len),
                Step::Bring(which, len) => if let Some(index) = pick(which) { day.bring(index, len) },
                Step::Break(which) => if let Some(index) = pick(which) { day.end(index, Some(&failure)) },
                Step::Finish(which) => if let Some(index) = pick(which) { day.end(index, None) },
                Step::Close => day.file.closed(0),
            }
            day.check();
            day.hear();
            day.check();
        }
        // The evening: streams run to their ends, so everybody is served.
        for _ in 0..10_000 {
            if day.streams.is_empty() { break }
            day.bring(0, 1 << 20);
            day.hear();
            day.check();
        }
        prop_assert!(day.streams.is_empty(), "streams without end");
        prop_assert!(day.waiting.is_empty(), "{} readers wait for nothing", day.waiting.len());
    }
}

#[test]
fn what_two_handles_count_on_is_not_cut_by_a_seek_of_one() {
    let mut day = Day::new(64 << 20, 2);
    day.read(0, 0, 100_000);
    let (number, end) = day.streams[0];
    // The second handle reads in the middle of what comes for the first, and counts on the rest.
    day.bring(0, 300_000);
    day.read(1, 200_000, 50_000);
    day.read(0, 20 << 20, 1000);
    let fetch = day.file.outlook(number).unwrap().0;
    assert_eq!(fetch.range.end, end);
}
