//! The mount's end of the socket.
//!
//! Promises: clients, their lines and their time are bounded, so that no client can hold up the
//! mount or another client for long; only permitted users are heard; a socket left by a dead
//! process is replaced, one that is served is not.
use super::place::ShortPath;
use super::{Answer, LONGEST_REQUEST, Request};
use crate::config::private;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Clients at once, at most.
const MOST_CLIENTS: usize = 32;

/// Clients that wait for the end or for long work, at most; the other places stay free for those who
/// ask.
const MOST_WAITING: usize = 16;

/// How long a client may take to send a line, or to take an answer.
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer may take to find. The service may have to be asked, at its own pace.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How often a client hears that long work goes on.
pub(super) const BEAT: Duration = Duration::from_secs(5);

/// Lines that may wait for a client that takes them slowly.
const TOLD: usize = 16;

/// How long to rest when no connection can be taken, e.g. because descriptors have run out.
const REST: Duration = Duration::from_millis(100);

/// Gives the answers.
pub trait Answers: Send + Sync + 'static {
    /// The answer to `request`. Called by several clients at once. A long one tells how far it is; its
    /// future is dropped when the client goes.
    fn answer(&self, request: Request, teller: Teller) -> impl Future<Output = Answer> + Send;
}

/// Tells the client of a long request how far it is.
#[derive(Debug, Clone)]
pub struct Teller(mpsc::Sender<Answer>);

impl Teller {
    /// One that nobody listens to, and a listener if one is wanted.
    pub fn new() -> (Self, mpsc::Receiver<Answer>) {
        let (tell, told) = mpsc::channel(TOLD);
        (Self(tell), told)
    }

    /// Tells how far it is, unless the client is still busy with what it was told before. Whether there
    /// still is a client.
    pub fn progress(&self, done: u64, total: u64) -> bool {
        self.offer(Answer::Progress { done, total })
    }

    /// The same in another form.
    pub fn offer(&self, answer: Answer) -> bool {
        let told = self.0.try_send(answer);
        !matches!(told, Err(mpsc::error::TrySendError::Closed(_)))
    }

    /// Tells something that must be heard, from a thread that may wait for the client to take it. Whether there
    /// still is a client.
    pub fn say_blocking(&self, answer: Answer) -> bool {
        self.0.blocking_send(answer).is_ok()
    }

    /// Tells something that must be heard.
    pub async fn say(&self, answer: Answer) {
        // A client that has gone ends the work anyway.
        let _ = self.0.send(answer).await;
    }
}

/// A socket that listens. It is removed when this goes.
#[derive(Debug)]
pub struct Server {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
    permitted: Vec<u32>,
}

impl Server {
    /// Listens at the first of `places` where it can: not where a living process listens already, as
    /// when a mount with another state folder bears the same account name.
    pub fn bind(places: &[PathBuf]) -> io::Result<Self> {
        let own = nix::unistd::geteuid().as_raw();
        Self::bind_for(places, vec![own, 0])
    }

    /// The same, heard by these users only.
    fn bind_for(places: &[PathBuf], permitted: Vec<u32>) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in places {
            match listen(place) {
                Ok((listener, file)) => {
                    return Ok(Self {
                        listener,
                        file,
                        permitted,
                    });
                }
                Err(err) => {
                    log::debug!("no control socket at {}: {err}", place.display());
                    last = err;
                }
            }
        }
        Err(last)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Serves clients until dropped. Dropping ends all connections, which is what those hear who
    /// wait for the mount's end: so this goes last.
    pub async fn serve(self, answers: Arc<impl Answers>) -> io::Result<()> {
        let Self {
            listener,
            file: _file,
            permitted,
        } = self;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(err) => {
                    log::warn!("control socket: {err}");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            if !is_permitted(&stream, &permitted) {
                log::warn!("control socket: a connection of another user was refused");
                continue;
            }
            if clients.len() >= MOST_CLIENTS {
                log::warn!("control socket: too many clients at once");
                continue;
            }
            let client = Client {
                answers: Arc::clone(&answers),
                waiting: Arc::clone(&waiting),
            };
            clients.spawn(client.serve(stream));
        }
    }
}

fn is_permitted(stream: &UnixStream, permitted: &[u32]) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| permitted.contains(&peer.uid()))
}

/// Makes the socket at `path`, replacing one nobody listens at any more. Two mounts of one account
/// cannot get here at once: the account's lock comes before.
fn listen(path: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketFile)> {
    if let Some(folder) = path.parent() {
        private::make_folder(folder)?;
    }
    let short = ShortPath::of(path)?;
    if fs::symlink_metadata(path).is_ok() {
        if std::os::unix::net::UnixStream::connect(short.path()).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(short.path())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let inode = fs::symlink_metadata(path)?.ino();
    let file = SocketFile {
        path: path.to_owned(),
        inode,
    };
    Ok((listener, file))
}

/// The socket in the tree of files, removed when this goes, unless it was replaced meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode);
        if ours && let Err(err) = fs::remove_file(&self.path) {
            log::debug!("control socket {}: {err}", self.path.display());
        }
    }
}

struct Client<A> {
    answers: Arc<A>,
    waiting: Arc<AtomicUsize>,
}

impl<A: Answers> Client<A> {
    async fn serve(self, stream: UnixStream) {
        // A client that misbehaves or goes is its own trouble.
        if let Err(err) = self.talk(stream).await {
            log::debug!("control client: {err}");
        }
    }

    async fn talk(&self, mut stream: UnixStream) -> io::Result<()> {
        let (reading, mut writing) = stream.split();
        let mut reading = BufReader::new(reading);
        loop {
            let line = match read_line(&mut reading).await? {
                Line::Whole(line) => line,
                Line::End => return Ok(()),
                Line::TooLong => {
                    let answer = Answer::error("the request is too long");
                    return write(&mut writing, &answer).await;
                }
            };
            let answer = match serde_json::from_slice(&line) {
                Ok(Request::Wait) => match self.wait_place() {
                    Some(_place) => {
                        // Until the client goes, or this task is dropped with the server.
                        let mut byte = [0];
                        while reading.read(&mut byte).await? > 0 {}
                        return Ok(());
                    }
                    None => Answer::error("too many commands wait for this mount already"),
                },
                Ok(request) if request.is_long() => match self.wait_place() {
                    Some(_place) => match self.work(request, &mut reading, &mut writing).await? {
                        Some(answer) => answer,
                        None => return Ok(()),
                    },
                    None => Answer::error("too many commands wait for this mount already"),
                },
                Ok(request) => timeout(ANSWER_LIMIT, self.answers.answer(request, Teller::new().0))
                    .await
                    .unwrap_or_else(|_| Answer::error("no answer in time")),
                Err(_) => Answer::error(format!(
                    "fichierfs {} does not know this request",
                    env!("CARGO_PKG_VERSION")
                )),
            };
            write(&mut writing, &answer).await?;
        }
    }

    /// Does long work for as long as the client is there; `None` when it has gone.
    async fn work(
        &self,
        request: Request,
        reading: &mut (impl AsyncBufReadExt + Unpin),
        writing: &mut (impl AsyncWriteExt + Unpin),
    ) -> io::Result<Option<Answer>> {
        let (teller, mut told) = Teller::new();
        let mut last = Answer::Progress { done: 0, total: 0 };
        let mut work = pin!(self.answers.answer(request, teller));
        let mut has_more = false;
        loop {
            tokio::select! {
                answer = &mut work => {
                    while let Ok(line) = told.try_recv() {
                        write(writing, &line).await?;
                    }
                    return Ok(Some(answer));
                }
                Some(line) = told.recv() => {
                    write(writing, &line).await?;
                    if matches!(line, Answer::Progress { .. } | Answer::Left(_)) {
                        last = line;
                    }
                }
                () = tokio::time::sleep(BEAT) => write(writing, &last).await?,
                bytes = reading.fill_buf(), if !has_more => {
                    // The next request may be here already.
                    has_more = !bytes?.is_empty();
                    if !has_more {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// A place among those who wait, given back when dropped.
    fn wait_place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.waiting));
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

async fn read_line(reading: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Line> {
    let mut line = Vec::new();
    let longest = LONGEST_REQUEST as u64 + 1;
    let mut bounded = reading.take(longest);
    timeout(LINE_LIMIT, bounded.read_until(b'\n', &mut line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(match line.last() {
        Some(b'\n') => Line::Whole(line),
        Some(_) if line.len() > LONGEST_REQUEST => Line::TooLong,
        // The client went, perhaps in mid-line.
        _ => Line::End,
    })
}

async fn write(writing: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(LINE_LIMIT, writing.write_all(&line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests;
