//! A client of few lines on a bare socket: what goes over the wire is exactly what a test writes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fake_1fichier::Fake;
use serde_json::Value;

/// How long a test waits for a byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == 200 && self.json()["status"] == "OK"
    }
}

/// Host and port of the plain listener.
pub(crate) fn authority(fake: &Fake) -> String {
    fake.base_url().trim_start_matches("http://").to_owned()
}

/// Sends raw bytes on a new connection and reads one answer.
pub(crate) fn raw(fake: &Fake, request: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(fake);
    stream.write_all(request)?;
    read_answer(&mut stream, request.starts_with(b"HEAD"))
}

pub(crate) fn connect(fake: &Fake) -> TcpStream {
    let stream = TcpStream::connect(authority(fake)).expect("the fake listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    stream
}

/// Reads head and body of one answer.
pub(crate) fn read_answer(stream: &mut impl Read, head_only: bool) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("a status line");
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    let length: usize = answer
        .header("content-length")
        .expect("a length")
        .parse()
        .expect("a number");
    if !head_only {
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

/// A JSON call with the key.
pub(crate) fn call(fake: &Fake, name: &str, params: &Value) -> Answer {
    try_call(fake, name, params).expect("an answer")
}

pub(crate) fn try_call(fake: &Fake, name: &str, params: &Value) -> io::Result<Answer> {
    patient_call(fake, name, params, PATIENCE)
}

/// A JSON call that waits that long for each byte.
pub(crate) fn patient_call(
    fake: &Fake,
    name: &str,
    params: &Value,
    patience: Duration,
) -> io::Result<Answer> {
    let body = params.to_string();
    let (host, key, length) = (authority(fake), fake.key(), body.len());
    let mut stream = connect(fake);
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "POST /v1/{name}.cgi HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    read_answer(&mut stream, false)
}

/// A request without a body, with extra header lines.
pub(crate) fn get(fake: &Fake, method: &str, path: &str, headers: &str) -> io::Result<Answer> {
    let host = authority(fake);
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    raw(fake, request.as_bytes())
}

/// The path of a fresh download URL.
pub(crate) fn token(fake: &Fake, url: &str, single: u8) -> String {
    let answer = call(
        fake,
        "download/get_token",
        &serde_json::json!({ "url": url, "single": single }),
    );
    assert!(answer.is_ok(), "{}", answer.text());
    let url = answer.json()["url"].as_str().expect("a URL").to_owned();
    url.strip_prefix(&fake.base_url())
        .expect("our own host")
        .to_owned()
}

/// A range of a download URL.
pub(crate) fn range(fake: &Fake, path: &str, range: &str) -> io::Result<Answer> {
    get(fake, "GET", path, &format!("Range: bytes={range}\r\n"))
}

/// One part of an upload.
pub(crate) fn file_part(name: &str, content: &[u8]) -> Vec<u8> {
    let mut part = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file[]\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    part.extend_from_slice(content);
    part.extend_from_slice(b"\r\n");
    part
}

/// A plain field of an upload.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        .into_bytes()
}

/// A fresh upload id.
pub(crate) fn node(fake: &Fake) -> String {
    let answer = call(fake, "upload/get_upload_server", &serde_json::json!({}));
    let answer = answer.json();
    assert_eq!(answer["url"], authority(fake));
    answer["id"].as_str().expect("an id").to_owned()
}

/// Posts parts to a fresh id.
pub(crate) fn upload(fake: &Fake, parts: &[Vec<u8>]) -> io::Result<Answer> {
    post(fake, &node(fake), parts)
}

/// Posts parts to an id.
pub(crate) fn post(fake: &Fake, id: &str, parts: &[Vec<u8>]) -> io::Result<Answer> {
    let mut body = parts.concat();
    body.extend_from_slice(b"--B--\r\n");
    let head = upload_head(fake, id, &format!("Content-Length: {}\r\n", body.len()));
    let mut request = head.into_bytes();
    request.extend_from_slice(&body);
    raw(fake, &request)
}

/// The head of an upload with extra header lines.
pub(crate) fn upload_head(fake: &Fake, id: &str, headers: &str) -> String {
    let (host, key) = (authority(fake), fake.key());
    format!(
        "POST /upload.cgi?id={id} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: multipart/form-data; boundary=B\r\n{headers}Connection: close\r\n\r\n"
    )
}

/// The report behind the redirect of an upload.
pub(crate) fn report(fake: &Fake, redirect: &Answer) -> Answer {
    assert_eq!(redirect.status, 302, "{}", redirect.text());
    let path = redirect.header("location").expect("a location").to_owned();
    assert!(path.starts_with("/end.pl?xid="), "{path}");
    get(fake, "GET", &path, "JSON: 1\r\n").expect("a report")
}
