//! Round trips between the two ends, and clients that mean no good.
use super::super::client::AskError;
use super::super::{AccountAnswer, Client, Pong, WarmedFile};
use super::*;
use crate::api::{Offer, UserInfo};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::sync::LazyLock;
use std::time::Instant;

struct Known;

/// Counts the long work that was given up.
static ENDED: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Answers for Known {
    async fn answer(&self, request: Request, teller: Teller) -> Answer {
        match request {
            Request::Ping => Answer::Pong(Pong {
                pid: 7,
                account: "work".into(),
                mountpoint: "/mnt/x".into(),
                ..Pong::default()
            }),
            Request::Account => Answer::Account(AccountAnswer {
                info: info(),
                age_seconds: 12,
            }),
            Request::Warm { inode, .. } => {
                // As many lines as the file's number says; for 0, for ever.
                for done in 0..inode {
                    teller.say(Answer::Progress { done, total: inode }).await;
                }
                if inode == 0 {
                    let _gone = Gone(Arc::clone(&ENDED));
                    std::future::pending::<()>().await;
                }
                Answer::Warmed(WarmedFile::default())
            }
            _ => Answer::error("never asked for"),
        }
    }
}

fn info() -> UserInfo {
    UserInfo {
        email: "me@example.org".into(),
        offer: Offer::Premium,
        subscription_end: None,
        cold_storage: 1,
        hot_storage: 2,
        available_cold_storage: Some(-3),
        cdn_credits: 4,
        use_cdn: false,
        over_quota: true,
        upload_forbidden: false,
    }
}

/// A server on a thread of its own, ended when this goes.
struct Running {
    _dir: tempfile::TempDir,
    path: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        Self::for_users(vec![nix::unistd::geteuid().as_raw()], "x.sock")
    }

    fn for_users(permitted: Vec<u32>, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let server = Server::bind_for(std::slice::from_ref(&path), permitted).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    served = server.serve(Arc::new(Known)) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            _dir: dir,
            path,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn connect(&self) -> Client {
        connect(&self.path).unwrap()
    }

    fn raw(&self) -> Blocking {
        let stream = Blocking::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(LINE_LIMIT)).unwrap();
        stream
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn connect(path: &Path) -> Option<Client> {
    Client::connect_to(path, &[nix::unistd::geteuid().as_raw()])
}

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn requests_are_answered_one_after_the_other() {
    let running = Running::start();
    let mut client = running.connect();
    assert_eq!(client.ping().unwrap().pid, 7);
    let answer = client.ask(&Request::Account, LIMIT).unwrap();
    let expected = AccountAnswer {
        info: info(),
        age_seconds: 12,
    };
    assert_eq!(answer, Answer::Account(expected));
    assert_eq!(client.ping().unwrap().account, "work");
}

#[test]
fn the_socket_is_private_and_goes_with_the_server() {
    let mut running = Running::start();
    let mode = fs::metadata(&running.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.end();
    assert!(!running.path.exists());
    assert!(connect(&running.path).is_none());
}

#[test]
fn waiting_ends_with_the_server_and_not_before() {
    let mut running = Running::start();
    let early = running.connect().watch_end().unwrap();
    assert!(!early.wait(Duration::from_millis(100)).unwrap());
    let end = running.connect().watch_end().unwrap();
    // The request must have been read before the server goes; a later answer proves it.
    running.connect().ping().unwrap();
    running.end();
    assert!(end.wait(LIMIT).unwrap());
}

#[test]
fn only_so_many_may_wait_and_others_are_still_served() {
    let running = Running::start();
    let waiting: Vec<_> = (0..MOST_WAITING)
        .map(|_| {
            let mut client = running.connect();
            client.ping().unwrap();
            client.watch_end().unwrap()
        })
        .collect();
    running.connect().ping().unwrap();
    let refused = running.connect().watch_end().unwrap().wait(LIMIT);
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
    drop(waiting);
}

#[test]
fn unknown_requests_and_nonsense_are_refused_and_the_connection_lives() {
    let running = Running::start();
    let mut stream = running.raw();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for bad in ["{\"request\":\"dance\"}\n", "\n", "\u{0}\n", "[]\n"] {
        stream.write_all(bad.as_bytes()).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("does not know"), "{line}");
    }
    stream.write_all(b"{\"request\":\"ping\"}\n").unwrap();
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("pong"), "{line}");
}

#[test]
fn a_line_without_end_is_cut_off() {
    let running = Running::start();
    let mut stream = running.raw();
    // The server may hang up before all is written.
    let _ = stream.write_all(&vec![b'x'; 4 * LONGEST_REQUEST]);
    let mut said = String::new();
    // It resets the connection if some of the line was not read.
    let _ = stream.read_to_string(&mut said);
    assert!(said.contains("too long") || said.is_empty(), "{said}");
    running.connect().ping().unwrap();
}

#[test]
fn idle_clients_cannot_lock_others_out_for_long() {
    let running = Running::start();
    let idle: Vec<_> = (0..MOST_CLIENTS).map(|_| running.raw()).collect();
    let crowd = running.connect().ping();
    assert!(crowd.is_err(), "one client more than allowed was served");
    drop(idle);
    let start = Instant::now();
    while running.connect().ping().is_err() {
        assert!(start.elapsed() < LIMIT, "the places were not given back");
    }
}

#[test]
fn another_user_is_not_heard() {
    // A user nobody is; root's own right is not tested here, so root may run this.
    let running = Running::for_users(vec![u32::MAX - 1], "x.sock");
    assert!(running.connect().ping().is_err());
}

#[test]
fn a_mount_of_another_user_is_not_asked() {
    let running = Running::start();
    assert!(Client::connect_to(&running.path, &[u32::MAX - 1]).is_none());
    assert!(connect(&running.path).is_some());
}

#[test]
fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = [dir.path().join("x.sock")];
    drop(std::os::unix::net::UnixListener::bind(&place[0]).unwrap());
    assert!(place[0].exists());
    let first = Server::bind(&place).unwrap();
    let second = Server::bind(&place).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    Server::bind(&place).unwrap();
}

#[test]
fn a_place_that_cannot_be_used_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let places = [file.join("x.sock"), dir.path().join("y.sock")];
    assert_eq!(Server::bind(&places).unwrap().path(), places[1]);
}

#[test]
fn a_long_path_is_no_obstacle() {
    let name = format!("{}/{}/x.sock", "a".repeat(90), "b".repeat(90));
    let running = Running::for_users(vec![nix::unistd::geteuid().as_raw()], &name);
    assert_eq!(running.connect().ping().unwrap().pid, 7);
}

#[test]
fn long_work_tells_how_far_it_is_and_ends_with_its_client() {
    let server = Running::start();
    let mut client = server.connect();
    let mut told = Vec::new();
    let request = Request::Warm {
        inode: 40,
        edges: false,
    };
    let answer = client.ask_long(&request, |answer| told.push(answer));
    assert_eq!(answer.unwrap(), Answer::Warmed(WarmedFile::default()));
    assert_eq!(told.len(), 40);
    assert_eq!(told[7], Answer::Progress { done: 7, total: 40 });
    // The connection is good for the next request.
    client.ping().unwrap();

    let before = ENDED.load(Ordering::Relaxed);
    let mut stream = Blocking::connect(&server.path).unwrap();
    stream
        .write_all(b"{\"request\":\"warm\",\"inode\":0,\"edges\":true}\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(stream);
    let end = Instant::now() + Duration::from_secs(10);
    while ENDED.load(Ordering::Relaxed) == before {
        assert!(Instant::now() < end, "it goes on for nobody");
        std::thread::sleep(Duration::from_millis(5));
    }
}
