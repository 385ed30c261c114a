//! One process per account on this machine, whatever state folder and user it works with.
//!
//! The lock in the state folder cannot see a process that was given another folder, yet both would
//! spend the one budget the service grants. So who calls the service also holds an abstract socket
//! named after the account: it needs no place on disk, is seen by every user of the network namespace,
//! and goes with its process, however that ends. Its name tells the key to nobody.
use super::budget_file::{Fingerprint, Held};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Held for as long as this lives.
#[derive(Debug)]
pub(super) struct MachineLock {
    _socket: UnixListener,
}

/// Why the lock cannot be had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it.
    Held(Held),
    /// The system has no such sockets for us.
    Io(io::Error),
}

impl MachineLock {
    /// Takes the lock on the account `account` of the service at `service`, a URL.
    pub(super) fn take(account: &Fingerprint, service: &str) -> Result<Self, LockError> {
        let name = format!("fichierfs/{account}/{service}");
        let address = SocketAddr::from_abstract_name(name).map_err(LockError::Io)?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(LockError::Held(Held {
                pid: holder(&address),
            })),
            Err(error) => Err(LockError::Io(error)),
        }
    }
}

/// The process that listens at `address`, as the kernel knows it.
fn holder(address: &SocketAddr) -> Option<u32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    let peer = getsockopt(&stream, PeerCredentials).ok()?;
    u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::ApiKey;

    #[test]
    fn one_at_a_time_per_account_and_service() {
        let account = |key: &str| Fingerprint::of(&ApiKey::parse(key).unwrap());
        let (one, two) = (account(&"a".repeat(32)), account(&"b".repeat(32)));
        let service = format!("http://127.0.0.1:1/{}", std::process::id());
        let held = MachineLock::take(&one, &service).unwrap();
        match MachineLock::take(&one, &service) {
            Err(LockError::Held(by)) => assert_eq!(by.pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        MachineLock::take(&two, &service).unwrap();
        MachineLock::take(&one, "http://127.0.0.1:2").unwrap();
        drop(held);
        MachineLock::take(&one, &service).unwrap();
    }
}
