//! Clients of all kinds at a page.
use super::*;
use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::time::Instant;

struct Mount;

impl Answers for Mount {
    async fn answer(&self, request: Asked, _teller: Teller) -> Answer {
        assert_eq!(request, Asked::Status);
        let mut status = Status::default();
        status.mount.mountpoint = "/mnt/page".into();
        Answer::Status(Box::new(status))
    }
}

/// A page in a runtime of its own.
fn page() -> (tokio::runtime::Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let page = Page::bind(([127, 0, 0, 1], 0).into(), Hosts::Loopback).unwrap();
    let address = page.address;
    assert_eq!(page.url(), format!("http://{address}/"));
    runtime.spawn(page.serve(Arc::new(Mount)));
    (runtime, address)
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut client = Client::connect(address).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // One that was refused in mid-request may be reset.
    let _ = client.read_to_string(&mut answer);
    answer
}

#[test]
fn browsers_and_collectors_are_answered() {
    let (_runtime, address) = page();
    let page = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(
        page.contains("/mnt/page") && page.contains("content-security-policy: default-src 'none'")
    );
    let metrics = ask(
        address,
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text\r\n\r\n",
    );
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let style = ask(
        address,
        "GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert!(style.contains("content-type: text/css"), "{style}");
    let head = ask(
        address,
        "HEAD /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    let length = format!(
        "content-length: {}",
        style.split_once("\r\n\r\n").unwrap().1.len()
    );
    assert!(head.contains(&length) && body.is_empty(), "{head}");
}

#[test]
fn what_is_no_request_for_us_is_refused() {
    let (_runtime, address) = page();
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        ("GET / HTTP/1.1\r\n\r\n", "421"),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            "405",
        ),
        ("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = ask(address, request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{request}: {answer}"
        );
    }
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = ask(address, &long);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

/// Clients that say nothing are let go after a while, and then the others have their turn.
#[test]
fn silent_clients_do_not_keep_others_out() {
    let (_runtime, address) = page();
    let silent: Vec<Client> = (0..MOST_CONNECTIONS + 4)
        .map(|_| Client::connect(address).unwrap())
        .collect();
    let began = Instant::now();
    let answer = ask(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "they were not in the way"
    );
    drop(silent);
}
