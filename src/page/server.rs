//! The page's end of the network.
//!
//! Promises: connections, what they send and their time are bounded, so that no client can hold up the mount;
//! one request a connection, since nobody asks often.
use super::reply::{self, Hosts, Refused};
use crate::control::{Answer, Answers, Request as Asked, Status, Teller};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at once, at most; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 16;

/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may last, its answer included: a status is at hand.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);

/// Bytes of a request's head at most; the least hyper allows.
const LONGEST_HEAD: usize = 8192;

/// Headers of a request at most.
const MOST_HEADERS: usize = 64;

/// How long to rest when no connection can be taken, e.g. because descriptors have run out.
const REST: Duration = Duration::from_millis(100);

/// A page that listens.
#[derive(Debug)]
pub struct Page {
    listener: std::net::TcpListener,
    address: SocketAddr,
    hosts: Hosts,
}

impl Page {
    /// Listens at `address`; port 0 takes any free one.
    pub fn bind(address: SocketAddr, hosts: Hosts) -> io::Result<Self> {
        // The way of a mount that comes back: the port of the one before may still be settling.
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            hosts,
        })
    }

    /// Its address for a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until dropped; needs a runtime.
    pub async fn serve(self, answers: Arc<impl Answers>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let mut connections = JoinSet::new();
        loop {
            let is_full = connections.len() >= MOST_CONNECTIONS;
            let stream = tokio::select! {
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept(), if !is_full => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        log::warn!("status page: {error}");
                        tokio::time::sleep(REST).await;
                        continue;
                    }
                },
            };
            connections.spawn(connection(stream, Arc::clone(&answers), self.hosts));
        }
    }
}

/// One connection with its one request.
async fn connection(stream: TcpStream, answers: Arc<impl Answers>, hosts: Hosts) {
    let service = service_fn(|request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(respond(&request, &*answers, hosts).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_LIMIT, served).await {
        Ok(Ok(())) => {}
        // A client that misbehaves or goes is its own trouble.
        Ok(Err(error)) => log::debug!("status page: {error}"),
        Err(_) => log::debug!("status page: a client took too long"),
    }
}

async fn respond(
    request: &Request<Incoming>,
    answers: &impl Answers,
    hosts: Hosts,
) -> Response<String> {
    let mut response = match reply::wanted(request, hosts) {
        Err(why) => reply::refusal(why),
        Ok(wanted) if wanted.needs_status() => match status(answers).await {
            Some(status) => reply::answer(wanted, &status),
            None => reply::refusal(Refused::Silence),
        },
        Ok(wanted) => reply::answer(wanted, &Status::default()),
    };
    if request.method() == Method::HEAD {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.body_mut().clear();
    }
    response
}

async fn status(answers: &impl Answers) -> Option<Box<Status>> {
    match answers.answer(Asked::Status, Teller::new().0).await {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
