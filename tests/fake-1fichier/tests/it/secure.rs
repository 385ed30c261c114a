//! TLS and the proxy.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use fake_1fichier::Fake;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::client::read_answer;

fn start() -> Fake {
    Fake::builder().tls(true).start().expect("a fake")
}

/// TLS on `stream` for `host`, trusting the fake's authority alone.
fn secure(fake: &Fake, stream: TcpStream, host: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let pem = fake.ca_pem().expect("TLS is on");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"))
        .expect("accepted");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    StreamOwned::new(
        ClientConnection::new(Arc::new(config), name).expect("a client"),
        stream,
    )
}

/// A tunnel to `host` through the proxy; the proxy's refusal as an error.
fn tunnel(fake: &Fake, host: &str) -> Result<TcpStream, String> {
    let proxy = fake.proxy_url().expect("TLS is on");
    let mut stream =
        TcpStream::connect(proxy.trim_start_matches("http://")).expect("the proxy listens");
    write!(
        stream,
        "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"
    )
    .expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("HTTP/1.1 200") {
        Ok(stream)
    } else {
        Err(head)
    }
}

fn ask(
    fake: &Fake,
    stream: &mut (impl Read + Write),
    host: &str,
    name: &str,
    params: &Value,
) -> Value {
    let body = params.to_string();
    write!(
        stream,
        "POST /v1/{name}.cgi HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        fake.key(),
        body.len(),
    )
    .expect("sent");
    read_answer(stream, false).expect("an answer").json()
}

#[test]
fn tls_on_its_own_port() {
    let fake = start();
    let url = fake.account().add_bytes(0, "a", &b"secret"[..]);
    let base = fake.tls_api_url().expect("TLS is on");
    let host = base
        .trim_start_matches("https://")
        .trim_end_matches("/v1")
        .to_owned();
    let mut stream = secure(
        &fake,
        TcpStream::connect(host.replace("localhost", "127.0.0.1")).expect("listens"),
        "localhost",
    );
    let answer = ask(
        &fake,
        &mut stream,
        &host,
        "download/get_token",
        &json!({ "url": url }),
    );
    assert!(
        answer["url"]
            .as_str()
            .is_some_and(|u| u.starts_with(&format!("https://{host}/p"))),
        "{answer}"
    );
    // The connection is kept.
    let node = ask(
        &fake,
        &mut stream,
        &host,
        "upload/get_upload_server",
        &json!({}),
    );
    assert_eq!(node["url"], host);
    assert_eq!(fake.connections().accepted, 1);
}

#[test]
fn genuine_names_through_the_proxy() {
    let fake = start();
    let url = fake.account().add_bytes(0, "a", &b"secret"[..]);
    let connect = |host: &str| secure(&fake, tunnel(&fake, host).expect("a tunnel"), host);
    let mut api = connect("api.1fichier.com");
    let answer = ask(
        &fake,
        &mut api,
        "api.1fichier.com",
        "download/get_token",
        &json!({ "url": url }),
    );
    let link = answer["url"].as_str().expect("a URL").to_owned();
    let (host, path) = link
        .trim_start_matches("https://")
        .split_once('/')
        .expect("a path");
    assert!(
        host.starts_with("a-") && host.ends_with(".1fichier.com"),
        "{host}"
    );
    let mut download = connect(host);
    write!(download, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("sent");
    assert_eq!(
        read_answer(&mut download, false).expect("an answer").text(),
        "secret"
    );
    let nodes: Vec<Value> = (0..2)
        .map(|_| {
            ask(
                &fake,
                &mut api,
                "api.1fichier.com",
                "upload/get_upload_server",
                &json!({}),
            )
        })
        .collect();
    assert_ne!(nodes[0]["url"], nodes[1]["url"], "nodes rotate");
    // Each host serves its own paths only.
    write!(
        download,
        "POST /v1/folder/ls.cgi HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
    )
    .expect("sent");
    assert_eq!(
        read_answer(&mut download, false).expect("an answer").status,
        404
    );
    assert!(tunnel(&fake, "example.com").is_err());
}

#[tokio::test]
async fn it_starts_and_stops_inside_another_runtime() {
    let fake = start();
    assert!(
        tokio::net::TcpStream::connect(crate::client::authority(&fake))
            .await
            .is_ok()
    );
    drop(fake);
}

#[test]
fn dropping_the_fake_ends_open_connections() {
    let fake = start();
    let mut stream = crate::client::connect(&fake);
    let address = fake.base_url();
    drop(fake);
    assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address.trim_start_matches("http://")).is_err());
}
