//! Listeners and connections: accept, delay, TLS, HTTP/1.1 with keep-alive. Knows nothing of calls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::route;
use crate::world::{Conn, Via, World};

/// How long a client may take for its TLS handshake, real time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A socket that can end with RST, as servers under load do.
pub(crate) struct Wire {
    stream: TcpStream,
    conn: Arc<Conn>,
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        if self.conn.reset.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.conn.reset.load(Ordering::Acquire)
            && let Err(e) = self.stream.set_zero_linger()
        {
            log::debug!("connection {} closes without reset: {e}", self.conn.id);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves the plain port, or the TLS port when `tls` is given, until the task is dropped.
pub(crate) async fn listen(world: Arc<World>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let Some(stream) = accept(&listener).await else {
            continue;
        };
        let world = Arc::clone(&world);
        let tls = tls.clone();
        tokio::spawn(async move {
            let via = if tls.is_some() { Via::Tls } else { Via::Plain };
            serve(world, stream, via, tls).await;
        });
    }
}

/// Accepts one connection; after an error, such as too many open files, waits a moment.
pub(crate) async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(e) => {
            log::warn!("cannot accept a connection: {e}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(
    world: Arc<World>,
    stream: TcpStream,
    via: Via,
    tls: Option<TlsAcceptor>,
) {
    let _ = stream.set_nodelay(true);
    let id = world.counters.accepted.fetch_add(1, Ordering::Relaxed) + 1;
    let delay = Duration::from_secs_f64((world.shape().connect_ms / 1000.0).max(0.0));
    let connect = world.clock.sleep(delay).await;
    let conn = Arc::new(Conn::new(id, via, connect));
    let _open = Open::new(Arc::clone(&world));
    let wire = Wire {
        stream,
        conn: Arc::clone(&conn),
    };
    match tls {
        None => http(world, conn, wire).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(wire)).await {
            Ok(Ok(stream)) => http(world, conn, stream).await,
            Ok(Err(e)) => log::debug!("connection {id}: TLS handshake failed: {e}"),
            Err(_) => log::debug!("connection {id}: no TLS handshake within {HANDSHAKE:?}"),
        },
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    world: Arc<World>,
    conn: Arc<Conn>,
    stream: S,
) {
    let id = conn.id;
    let service =
        service_fn(move |request| route::handle(Arc::clone(&world), Arc::clone(&conn), request));
    let served = http1::Builder::new()
        .keep_alive(true)
        .max_buf_size(1 << 20)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        log::debug!("connection {id} ended: {e}");
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<World>);

impl Open {
    fn new(world: Arc<World>) -> Self {
        world.counters.open.fetch_add(1, Ordering::Relaxed);
        Self(world)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
