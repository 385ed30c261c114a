//! An HTTP proxy that answers CONNECT for the hosts of the service and ends TLS inside the tunnel itself, so that
//! a real client reaches the fake under the genuine names. It forwards nothing to anywhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::server;
use crate::world::{Via, World};

/// Longest head of a CONNECT request in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// How long a client may take for that head, real time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the proxy port until the task is dropped.
pub(crate) async fn listen(world: Arc<World>, listener: TcpListener, tls: TlsAcceptor) {
    loop {
        let Some(stream) = server::accept(&listener).await else {
            continue;
        };
        let (world, tls) = (Arc::clone(&world), tls.clone());
        tokio::spawn(async move {
            if let Err(e) = tunnel(world, stream, tls).await {
                log::debug!("proxy connection ended: {e}");
            }
        });
    }
}

async fn tunnel(world: Arc<World>, mut stream: TcpStream, tls: TlsAcceptor) -> io::Result<()> {
    let head = tokio::time::timeout(PATIENCE, read_head(&mut stream)).await??;
    match target(&head) {
        Ok(host) => {
            stream
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            server::serve(world, stream, Via::Tunnel(host), Some(tls)).await;
            Ok(())
        }
        Err(status) => {
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await
        }
    }
}

/// Reads up to the empty line. Byte by byte, because what follows belongs to TLS.
async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "head of a proxy request is too long",
            ));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The host of a CONNECT request, or the refusal.
fn target(head: &str) -> Result<String, &'static str> {
    let mut words = head.split_ascii_whitespace();
    if words.next() != Some("CONNECT") {
        return Err("405 Method Not Allowed");
    }
    let host = words
        .next()
        .and_then(|t| t.strip_suffix(":443"))
        .ok_or("403 Forbidden")?;
    let ours = host == "1fichier.com" || host.ends_with(".1fichier.com");
    if ours {
        Ok(host.to_ascii_lowercase())
    } else {
        Err("403 Forbidden")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_is_reached() {
        assert_eq!(
            target("CONNECT up3.1fichier.com:443 HTTP/1.1\r\n\r\n").as_deref(),
            Ok("up3.1fichier.com")
        );
        for head in [
            "CONNECT example.com:443 HTTP/1.1",
            "CONNECT 1fichier.com:80 HTTP/1.1",
            "GET / HTTP/1.1",
            "",
        ] {
            assert!(target(head).is_err(), "{head}");
        }
    }
}
