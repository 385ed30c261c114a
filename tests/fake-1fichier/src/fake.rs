//! The handle tests hold: build, start, look inside, stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::account::Account;
use crate::clock::{Clock, ClockSetting};
use crate::config::Config;
use crate::faults::{Fault, Faults};
use crate::log::{LogEntry, Violation};
use crate::profile::Profile;
use crate::shape::Shape;
use crate::tls::Authority;
use crate::world::{World, change_config};
use crate::{lock, proxy, server};

/// The key the fake accepts unless another is set: 32 characters of the alphabet of reference 1.
pub const DEFAULT_KEY: &str = "FakeKey-0123456789_abcdefghijkl=";

/// How much time open requests get when the fake stops.
const STOP: Duration = Duration::from_millis(50);

/// Threads that serve; the load is loopback and hashing.
const WORKERS: usize = 4;

/// What to start. See each method; the defaults are a fast service on a free port of loopback.
#[derive(Debug)]
pub struct Builder {
    profile: Profile,
    clock: Option<String>,
    config: Config,
    shape: Option<Shape>,
    faults: Vec<Fault>,
    tls: bool,
    key: String,
    seed: u64,
    listen: SocketAddr,
    proxy: SocketAddr,
}

impl Builder {
    /// Chooses delays, enforcement and faults at once; a later [`Builder::config`] changes single switches.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        profile.configure(&mut self.config);
        self
    }

    /// Clock setting, `FACTOR[@UNIX_SECONDS]`; else the environment `FICHIERFS_CLOCK`, else real time.
    #[must_use]
    pub fn clock(mut self, setting: &str) -> Self {
        self.clock = Some(setting.to_owned());
        self
    }

    /// Changes switches.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets delays and bandwidth instead of those of the profile.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Adds a fault from the start.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Listens with TLS and as a proxy too.
    #[must_use]
    pub fn tls(mut self, on: bool) -> Self {
        self.tls = on;
        self
    }

    /// The API key to accept.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// Seed of everything random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Address of the plain port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Address of the proxy port, used with [`Builder::tls`].
    #[must_use]
    pub fn proxy(mut self, address: SocketAddr) -> Self {
        self.proxy = address;
        self
    }

    /// Starts the service on threads of its own.
    pub fn start(self) -> anyhow::Result<Fake> {
        let setting: ClockSetting =
            match self.clock.or_else(|| std::env::var("FICHIERFS_CLOCK").ok()) {
                Some(text) => text.parse().map_err(anyhow::Error::msg)?,
                None => ClockSetting::default(),
            };
        let shape = self.shape.unwrap_or_else(|| self.profile.shape());
        let world = Arc::new(World::new(
            Clock::new(setting),
            self.config,
            shape,
            self.key,
            self.seed,
        ));
        for fault in self.profile.faults().into_iter().chain(self.faults) {
            world.faults.add(fault);
        }
        let authority = if self.tls {
            Some(Authority::new().context("cannot make certificates")?)
        } else {
            None
        };
        // Bound before there is a runtime: nothing here may block inside the caller's own.
        let plain = bind(self.listen)?;
        let plain_address = plain.local_addr()?;
        let secured = match &authority {
            Some(authority) => {
                let tls = bind((self.listen.ip(), 0).into())?;
                let proxy = bind(self.proxy)?;
                Some((tls, proxy, authority.acceptor()))
            }
            None => None,
        };
        let tls_address = secured
            .as_ref()
            .map(|(tls, ..)| tls.local_addr())
            .transpose()?;
        let proxy_address = secured
            .as_ref()
            .map(|(_, proxy, _)| proxy.local_addr())
            .transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("fake-1fichier")
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let served = Arc::clone(&world);
        runtime.spawn(async move {
            let result = serve_all(served, plain, secured).await;
            if let Err(e) = result {
                log::error!("the fake cannot serve: {e}");
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        // The runtime lives on a thread of its own, so that the handle can be dropped inside another runtime.
        let thread = std::thread::Builder::new()
            .name("fake-1fichier-main".to_owned())
            .spawn(move || {
                // An error means the handle is gone, which is the signal as well.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_timeout(STOP);
            })?;
        Ok(Fake {
            world,
            plain: plain_address,
            tls: tls_address,
            proxy: proxy_address,
            ca_pem: authority.map(|a| a.ca_pem().to_owned()),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// Listens at once, so that whoever gets the handle can connect.
fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves all listeners until the runtime ends.
async fn serve_all(
    world: Arc<World>,
    plain: std::net::TcpListener,
    secured: Option<(std::net::TcpListener, std::net::TcpListener, TlsAcceptor)>,
) -> std::io::Result<()> {
    if let Some((tls, proxy, acceptor)) = secured {
        let (tls, tunnels) = (TcpListener::from_std(tls)?, TcpListener::from_std(proxy)?);
        tokio::spawn(server::listen(
            Arc::clone(&world),
            tls,
            Some(acceptor.clone()),
        ));
        tokio::spawn(proxy::listen(Arc::clone(&world), tunnels, acceptor));
    }
    server::listen(world, TcpListener::from_std(plain)?, None).await;
    Ok(())
}

/// Connections in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open.
    pub open: usize,
    /// Downloads running.
    pub downloads: usize,
    /// Most downloads that ever ran at the same time.
    pub downloads_peak: usize,
}

/// A running service; dropping it stops everything, open connections too.
#[derive(Debug)]
pub struct Fake {
    world: Arc<World>,
    plain: SocketAddr,
    tls: Option<SocketAddr>,
    proxy: Option<SocketAddr>,
    ca_pem: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// What to start.
    pub fn builder() -> Builder {
        Builder {
            profile: Profile::Fast,
            clock: None,
            config: Config::default(),
            shape: None,
            faults: Vec::new(),
            tls: false,
            key: DEFAULT_KEY.to_owned(),
            seed: 1,
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            proxy: (Ipv4Addr::LOCALHOST, 0).into(),
        }
    }

    /// Base of the API over plain HTTP, `http://127.0.0.1:PORT/v1`.
    pub fn api_url(&self) -> String {
        format!("http://{}/v1", self.plain)
    }

    /// Base of everything over plain HTTP, `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// Base of the API over TLS, `https://localhost:PORT/v1`.
    pub fn tls_api_url(&self) -> Option<String> {
        self.tls
            .map(|address| format!("https://localhost:{}/v1", address.port()))
    }

    /// Proxy that answers for every host of the service, `http://127.0.0.1:PORT`.
    pub fn proxy_url(&self) -> Option<String> {
        self.proxy.map(|address| format!("http://{address}"))
    }

    /// Certificate of the authority behind TLS and proxy.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The API key in force.
    pub fn key(&self) -> String {
        self.world.account.key()
    }

    /// The account, behind the client's back.
    pub fn account(&self) -> &Account {
        &self.world.account
    }

    /// All requests, oldest first.
    pub fn log(&self) -> Vec<LogEntry> {
        lock(&self.world.log).since(0)
    }

    /// Requests of one endpoint, such as `folder/ls`, `upload.cgi`, `end.pl`, `download`.
    pub fn count(&self, endpoint: &str) -> usize {
        lock(&self.world.log).count(endpoint)
    }

    /// Requests of download URLs.
    pub fn count_downloads(&self) -> usize {
        self.count("download")
    }

    /// Broken rules; empty means that no call could have locked the account.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.world.log).violations().to_vec()
    }

    /// Forgets requests and violations; the counters of the rules go on.
    pub fn clear_log(&self) {
        lock(&self.world.log).clear();
    }

    /// The faults at work.
    pub fn faults(&self) -> &Faults {
        &self.world.faults
    }

    /// The virtual clock.
    pub fn clock(&self) -> &Clock {
        &self.world.clock
    }

    /// The switches in force.
    pub fn config(&self) -> Config {
        Config::clone(&self.world.config())
    }

    /// Changes switches.
    pub fn set_config(&self, change: impl FnOnce(&mut Config)) {
        change_config(&self.world.config, change);
    }

    /// Delays and bandwidth in force.
    pub fn shape(&self) -> Shape {
        Shape::clone(&self.world.shape())
    }

    /// Sets delays and bandwidth; running downloads follow.
    pub fn set_shape(&self, shape: Shape) {
        self.world.set_shape(shape);
    }

    /// Ends a flood lock or ban.
    pub fn unlock(&self) {
        lock(&self.world.rules).unlock();
    }

    /// Virtual seconds a lock still runs.
    pub fn locked_for(&self) -> Option<f64> {
        lock(&self.world.rules).locked_for(self.world.clock.now())
    }

    /// Connections in numbers.
    pub fn connections(&self) -> Connections {
        let counters = &self.world.counters;
        Connections {
            accepted: counters.accepted.load(Ordering::Relaxed),
            open: counters.open.load(Ordering::Relaxed),
            downloads: counters.downloads.load(Ordering::Relaxed),
            downloads_peak: counters.downloads_peak.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of the fake panicked");
        }
    }
}
