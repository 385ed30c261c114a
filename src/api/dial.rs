//! Connections to download hosts: TCP, the proxy's tunnel, TLS; and one in reserve per host.
//!
//! Setting up a connection costs three round trips, and a reader that seeks leaves one behind that is
//! of no use any more. So while a host is read from, another connection to it stands ready.
//! Promises: certificates are checked; whatever is set up is set up within [`CONNECT`]; what stands
//! ready is bounded in number and age. Never knows requests, ranges or the key.
use super::client::Settings;
use super::transport::{CONNECT, KEEPALIVE, SetupError, UNACKNOWLEDGED, chain};
use crate::util::clock::{Clock, Moment};
use crate::util::sync::lock;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;
use tower_service::Service;

/// Connections in reserve at most, all hosts together. With those in use they stay below the 30 the
/// service allows (API reference 3).
const MOST_SPARES: usize = 6;

/// A connection in reserve is given up after this long: servers close silent ones, a new one is soon
/// made, and who did not seek for so long mostly does not.
const SPARE_LIFE: Duration = Duration::from_secs(20);

/// Longest answer of a proxy to CONNECT that is read, bytes.
const PROXY_HEAD: usize = 8 * 1024;

/// A byte stream of whatever layers.
trait Layer: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Layer for T {}

/// A connection that is set up; reads take all that is there, not one TLS record at a time.
pub(super) struct Wire(Box<dyn Layer>);

/// Sets up connections; clones share what stands ready.
#[derive(Clone)]
pub(super) struct Dialer(Arc<Inner>);

struct Inner {
    tcp: HttpConnector,
    /// `None` where everything is plain, on this machine.
    tls: Option<TlsConnector>,
    proxies: Option<Matcher>,
    clock: Clock,
    spares: Mutex<Spares>,
}

#[derive(Default)]
struct Spares {
    ready: HashMap<Uri, (Moment, Wire)>,
    /// Hosts a connection is being set up to.
    coming: Vec<Uri>,
}

impl Spares {
    /// Gives up the connection that stood ready for longest; `false` when there is none.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.ready.iter().min_by_key(|(_, (since, _))| *since);
        let oldest = oldest.map(|(host, _)| host.clone());
        oldest.is_some_and(|host| self.ready.remove(&host).is_some())
    }
}

impl Dialer {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(settings.clock.real(CONNECT)));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let proxies = match &settings.proxy {
            _ if settings.api_url.is_plain() => None,
            Some(proxy) => Some(Matcher::builder().all(proxy.as_str()).build()),
            None if settings.api_url.is_loopback() => None,
            None => Some(Matcher::from_env()),
        };
        let tls = if settings.api_url.is_plain() {
            None
        } else {
            Some(TlsConnector::from(tls_config(settings.ca_cert.as_deref())?))
        };
        Ok(Self(Arc::new(Inner {
            tcp,
            tls,
            proxies,
            clock: settings.clock,
            spares: Mutex::default(),
        })))
    }

    /// Has a connection to the host of `uri` stand ready soon, unless one does.
    pub(super) fn prepare(&self, uri: &Uri) {
        let Some(host) = host_of(uri) else {
            return;
        };
        self.expire();
        {
            let mut spares = lock(&self.0.spares);
            if spares.ready.contains_key(&host) || spares.coming.contains(&host) {
                return;
            }
            if spares.ready.len() + spares.coming.len() >= MOST_SPARES && !spares.drop_oldest() {
                return;
            }
            spares.coming.push(host.clone());
        }
        let dialer = self.clone();
        tokio::spawn(async move {
            let coming = Coming {
                dialer: &dialer,
                host: &host,
            };
            match dialer.dial(&host).await {
                Ok(wire) => coming.arrived(wire),
                Err(error) => return log::debug!("no connection in reserve: {error}"),
            }
            drop(coming);
            dialer.0.clock.sleep(SPARE_LIFE).await;
            dialer.expire();
        });
    }

    /// Gives up what stood ready for too long.
    fn expire(&self) {
        let now = self.0.clock.now();
        let mut spares = lock(&self.0.spares);
        spares
            .ready
            .retain(|_, (since, _)| now.since(*since) < SPARE_LIFE);
    }

    /// The connection that stands ready for a host, if it still does.
    async fn spare(&self, host: &Uri) -> Option<Wire> {
        let (since, mut wire) = lock(&self.0.spares).ready.remove(host)?;
        let fresh = self.0.clock.now().since(since) < SPARE_LIFE;
        (fresh && wire.is_silent().await).then_some(wire)
    }

    /// Where a connection to `host` goes first, and whether that is a proxy.
    pub(super) fn first_hop(&self, host: &Uri) -> (Uri, bool) {
        let proxy = self.0.proxies.as_ref().and_then(|it| it.intercept(host));
        proxy.map_or_else(|| (host.clone(), false), |it| (it.uri().clone(), true))
    }

    /// Sets a connection up.
    pub(super) async fn dial(&self, host: &Uri) -> io::Result<Wire> {
        let within = self.0.clock.real(CONNECT);
        tokio::time::timeout(within, self.layers(host))
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the connection was not set up in time")))
    }

    async fn layers(&self, host: &Uri) -> io::Result<Wire> {
        let proxy = self.0.proxies.as_ref().and_then(|it| it.intercept(host));
        let first = proxy.as_ref().map_or(host, Intercept::uri);
        let mut tcp = self.0.tcp.clone();
        let stream = tcp.call(first.clone()).await.map_err(io::Error::other)?;
        let mut wire: Box<dyn Layer> = Box::new(stream.into_inner());
        if let Some(proxy) = &proxy {
            if first.scheme_str() == Some("https") {
                wire = self.secured(wire, first).await?;
            }
            tunnel(&mut wire, host, proxy.basic_auth()).await?;
        }
        if host.scheme_str() == Some("https") {
            wire = self.secured(wire, host).await?;
        }
        Ok(Wire(wire))
    }

    async fn secured(&self, wire: Box<dyn Layer>, host: &Uri) -> io::Result<Box<dyn Layer>> {
        let tls = self
            .0
            .tls
            .as_ref()
            .ok_or_else(|| io::Error::other("no TLS on this machine's own service"))?;
        let name = host.host().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, wire).await?))
    }
}

/// A connection being set up; noted as no longer coming whatever becomes of it.
struct Coming<'a> {
    dialer: &'a Dialer,
    host: &'a Uri,
}

impl Coming<'_> {
    fn arrived(&self, wire: Wire) {
        let now = self.dialer.0.clock.now();
        let mut spares = lock(&self.dialer.0.spares);
        spares.ready.insert(self.host.clone(), (now, wire));
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        lock(&self.dialer.0.spares)
            .coming
            .retain(|host| host != self.host);
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let host =
                host_of(&uri).ok_or_else(|| io::Error::other("an address without a host"))?;
            let wire = match dialer.spare(&host).await {
                Some(wire) => wire,
                None => dialer.dial(&host).await?,
            };
            Ok(TokioIo::new(wire))
        })
    }
}

impl Wire {
    /// Whether the other end neither closed it nor said anything that nobody asked for.
    async fn is_silent(&mut self) -> bool {
        poll_fn(|cx| {
            let mut byte = [0];
            let read = Pin::new(&mut self.0).poll_read(cx, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        })
        .await
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            let had = buffer.filled().len();
            match Pin::new(&mut self.0).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > had => {}
                // What came counts; the end, or what is wrong, comes up again at the next read.
                Poll::Pending | Poll::Ready(_) if had > before => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Nothing about a connection matters to whoever sends a request over it.
impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Scheme, host and port of an address alone.
fn host_of(uri: &Uri) -> Option<Uri> {
    Uri::builder()
        .scheme(uri.scheme()?.clone())
        .authority(uri.authority()?.clone())
        .path_and_query("/")
        .build()
        .ok()
}

/// Asks a proxy for a tunnel to `host`.
async fn tunnel(
    wire: &mut Box<dyn Layer>,
    host: &Uri,
    auth: Option<&HeaderValue>,
) -> io::Result<()> {
    let name = host.host().unwrap_or_default();
    let port = host.port_u16().unwrap_or(443);
    let mut request =
        format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n").into_bytes();
    if let Some(auth) = auth {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(auth.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    wire.write_all(&request).await?;
    wire.flush().await?;
    let mut head = Vec::new();
    // A page may follow a refusal.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        if wire.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("the proxy hung up"));
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match line.split(' ').nth(1) {
        Some("200") if head.ends_with(b"\r\n\r\n") => Ok(()),
        // The other end of the tunnel says nothing before it is spoken to.
        Some("200") => Err(io::Error::other(
            "the proxy opened the way and said more than that",
        )),
        _ => Err(io::Error::other(format!("the proxy answered {line:?}"))),
    }
}

/// TLS that trusts the system's roots and those of `extra`, PEM.
fn tls_config(extra: Option<&[u8]>) -> Result<Arc<ClientConfig>, SetupError> {
    let failed = |error: rustls::Error| SetupError::Tls(chain(&error));
    let roots: Vec<_> = CertificateDer::pem_slice_iter(extra.unwrap_or_default())
        .collect::<Result<_, _>>()
        .map_err(|error| SetupError::Certificate(error.to_string()))?;
    let provider = CryptoProvider::get_default()
        .ok_or_else(|| SetupError::Tls("no TLS implementation is installed".into()))?;
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(provider))
            .map_err(failed)?;
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiUrl;
    use crate::secret::ApiKey;
    use tokio::net::TcpListener;

    /// What becomes of a connection through a proxy that answers this to every request, and stays.
    async fn through_a_proxy_that_says(answer: &'static str) -> io::Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let proxy = format!("http://{proxy}");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Whoever has it closes it.
            let _ = stream.read(&mut asked).await;
        });
        let settings = Settings {
            api_url: ApiUrl::service(),
            proxy: Some(proxy),
            ..Settings::new(ApiKey::parse("Scripted-key-of-32-characters__=").unwrap())
        };
        crate::util::crypto::install();
        let dialer = Dialer::new(&settings).unwrap();
        let host = Uri::from_static("https://a-1.1fichier.com/");
        let dialled = dialer.dial(&host);
        let limit = Duration::from_secs(5);
        let dialled = tokio::time::timeout(limit, dialled).await;
        dialled.expect("an error at once").err().unwrap()
    }

    #[tokio::test]
    async fn what_a_proxy_says_is_told_also_when_a_page_follows() {
        for (answer, told) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
            (
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\n<h1>Not this</h1>",
                "403 Forbidden",
            ),
            (
                "HTTP/1.0 407 Proxy Authentication Required\r\n\r\nWho are you?\r\n",
                "407 Proxy Authentication Required",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nHello", "more than that"),
        ] {
            let error = through_a_proxy_that_says(answer).await.to_string();
            assert!(error.contains(told), "{answer:?}: {error}");
        }
    }
}
