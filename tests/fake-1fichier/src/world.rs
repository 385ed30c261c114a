//! Everything the connections share, and one request's view of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use serde_json::Value;

use crate::account::Account;
use crate::calls::download::Tokens;
use crate::calls::remote::Jobs;
use crate::calls::upload::Uploads;
use crate::clock::Clock;
use crate::config::Config;
use crate::faults::Faults;
use crate::lock;
use crate::log::{Delays, Log, LogEntry, Violation};
use crate::rules::{Breach, Judgement, Kind, Rules};
use crate::shape::{Pacer, Shape};

/// Connections as the state shows them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicUsize,
    pub(crate) downloads: AtomicUsize,
    pub(crate) downloads_peak: AtomicUsize,
}

/// The fake as a whole. No lock is ever held together with another or across an await.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) config: Arc<RwLock<Arc<Config>>>,
    pub(crate) shape: RwLock<Arc<Shape>>,
    pub(crate) account: Account,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) log: Mutex<Log>,
    pub(crate) faults: Faults,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) tokens: Mutex<Tokens>,
    pub(crate) uploads: Mutex<Uploads>,
    pub(crate) jobs: Mutex<Jobs>,
    /// Last allowed answer of each listing, for the switch `listing_breach = cached`.
    pub(crate) listings: Mutex<HashMap<String, Value>>,
    pub(crate) down: Pacer,
    pub(crate) up: Pacer,
    pub(crate) counters: Counters,
    /// Turns of the switches that alternate.
    pub(crate) turn: AtomicUsize,
}

impl World {
    pub(crate) fn new(clock: Clock, config: Config, shape: Shape, key: String, seed: u64) -> Self {
        let config = Arc::new(RwLock::new(Arc::new(config)));
        Self {
            account: Account::new(key, Arc::clone(&config), clock.clone(), seed),
            clock,
            config,
            shape: RwLock::new(Arc::new(shape)),
            rules: Mutex::default(),
            log: Mutex::default(),
            faults: Faults::new(seed ^ 1),
            rng: Mutex::new(Rng::with_seed(seed ^ 2)),
            tokens: Mutex::default(),
            uploads: Mutex::default(),
            jobs: Mutex::default(),
            listings: Mutex::default(),
            down: Pacer::default(),
            up: Pacer::default(),
            counters: Counters::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The switches now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Delays and bandwidth now.
    pub(crate) fn shape(&self) -> Arc<Shape> {
        Arc::clone(&self.shape.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_shape(&self, shape: Shape) {
        *self.shape.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shape);
    }

    /// 0, 1, 2, … for switches that take turns.
    pub(crate) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Bytes per real second for a rate in virtual seconds.
    pub(crate) fn real_rate(&self, rate: f64) -> f64 {
        rate * self.clock.setting().factor
    }
}

/// Changes a copy of the switches and puts it in force.
pub(crate) fn change_config(config: &RwLock<Arc<Config>>, change: impl FnOnce(&mut Config)) {
    let mut guard = config.write().unwrap_or_else(PoisonError::into_inner);
    change(Arc::make_mut(&mut guard));
}

/// How a connection came in; links in answers follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Via {
    /// HTTP on the plain port.
    Plain,
    /// TLS on the TLS port.
    Tls,
    /// TLS inside a CONNECT tunnel to that host.
    Tunnel(String),
}

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: u64,
    pub(crate) via: Via,
    /// Close with RST instead of FIN, and stop reading and writing at once.
    pub(crate) reset: AtomicBool,
    /// Real microseconds of the connection delay, taken by the first request.
    pub(crate) connect_micros: AtomicU64,
    pub(crate) down: Pacer,
    pub(crate) up: Pacer,
}

impl Conn {
    pub(crate) fn new(id: u64, via: Via, connect: Duration) -> Self {
        let micros = u64::try_from(connect.as_micros()).unwrap_or(0);
        Self {
            id,
            via,
            reset: AtomicBool::new(false),
            connect_micros: AtomicU64::new(micros),
            down: Pacer::default(),
            up: Pacer::default(),
        }
    }
}

/// One request: its log entry, its connection, the world. The entry is closed when the last holder goes.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) world: Arc<World>,
    pub(crate) conn: Arc<Conn>,
    pub(crate) endpoint: String,
    /// `Host` header, or the tunnel's host.
    pub(crate) host: String,
    seq: u64,
    arrival: Instant,
}

impl Call {
    pub(crate) fn begin(
        world: Arc<World>,
        conn: Arc<Conn>,
        endpoint: String,
        method: &str,
        host: String,
    ) -> Self {
        let arrival = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a short delay")]
        let connect = conn.connect_micros.swap(0, Ordering::Relaxed) as f64 / 1e6;
        let entry = LogEntry {
            seq: 0,
            virtual_time: world.clock.now().as_secs_f64(),
            real_time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
            arrival,
            endpoint: endpoint.clone(),
            method: method.to_owned(),
            params: Value::Null,
            status: 0,
            answer: "none".to_owned(),
            bytes_sent: 0,
            bytes_received: 0,
            delays: Delays {
                connect,
                ..Delays::default()
            },
            connection: conn.id,
            violation: None,
            notes: Vec::new(),
            fault: None,
            duration: 0.0,
        };
        let seq = lock(&world.log).begin(entry);
        Self {
            world,
            conn,
            endpoint,
            host,
            seq,
            arrival,
        }
    }

    /// Changes the log entry.
    pub(crate) fn log(&self, change: impl FnOnce(&mut LogEntry)) {
        lock(&self.world.log).update(self.seq, change);
    }

    pub(crate) fn note(&self, note: &str) {
        self.log(|e| e.notes.push(note.to_owned()));
    }

    /// Records a broken rule.
    pub(crate) fn violate(&self, breach: &Breach) {
        let mut log = lock(&self.world.log);
        log.violate(Violation {
            rule: breach.rule.to_owned(),
            virtual_time: self.world.clock.now().as_secs_f64(),
            endpoint: self.endpoint.clone(),
            detail: breach.detail.clone(),
        });
        log.update(self.seq, |e| {
            e.violation.get_or_insert_with(|| breach.rule.to_owned());
        });
    }

    /// Counts the request with the rules and records what it broke.
    pub(crate) fn judge(&self, kind: Kind) -> Judgement {
        let config = self.world.config();
        let judgement = lock(&self.world.rules).request(self.world.clock.now(), kind, &config);
        for breach in &judgement.breaches {
            self.violate(breach);
        }
        judgement
    }

    /// Waits before the answer: `share` of the latency of the endpoint.
    pub(crate) async fn latency(&self, share: f64) {
        let shape = self.world.shape();
        let jitter = if shape.jitter > 0.0 {
            1.0 + shape.jitter * (lock(&self.world.rng).f64() * 2.0 - 1.0)
        } else {
            1.0
        };
        let ms = shape.latency_ms(&self.endpoint) * share * jitter;
        self.delay(Duration::from_secs_f64((ms / 1000.0).max(0.0)))
            .await;
    }

    /// Waits a virtual time before the answer and records the real time it took.
    pub(crate) async fn delay(&self, virtual_time: Duration) {
        if virtual_time.is_zero() {
            return;
        }
        let start = Instant::now();
        self.world.clock.sleep(virtual_time).await;
        let took = start.elapsed().as_secs_f64();
        self.log(|e| e.delays.latency += took);
    }

    /// Waits until `bytes` have passed the links of this connection in one direction.
    pub(crate) async fn pace(&self, bytes: usize, upwards: bool) {
        let shape = self.world.shape();
        let (own, all) = if upwards {
            (&self.conn.up, &self.world.up)
        } else {
            (&self.conn.down, &self.world.down)
        };
        let now = Instant::now();
        // Both links at the same time: one after the other, each late timer of the one would be the other's idle time.
        let done = [
            (own, shape.connection_bytes_per_second),
            (all, shape.total_bytes_per_second),
        ]
        .into_iter()
        .filter(|(_, rate)| *rate > 0.0)
        .map(|(pacer, rate)| pacer.book(bytes, self.world.real_rate(rate), now))
        .max();
        let mut waited = 0.0;
        if let Some(done) = done.filter(|done| *done > now) {
            tokio::time::sleep_until(done.into()).await;
            waited = now.elapsed().as_secs_f64();
        }
        if waited > 0.0 {
            self.log(|e| e.delays.bandwidth += waited);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.arrival.elapsed().as_secs_f64();
        self.log(|e| e.duration = took);
    }
}
