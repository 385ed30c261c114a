//! fichierfs mounts a 1fichier.com account as an ordinary drive.
//!
//! # The map
//!
//! An arrow means "may use"; nothing points back up (`scripts/layering` checks it).
//!
//! ```text
//! cli ──▶ mount            assembles the parts, runs the session, ends it cleanly
//!          └▶ fs           kernel requests in, answers out; alone knows fuser and errno
//!              ├▶ tree     what exists: inodes, names, attributes, listings
//!              ├▶ read     bytes out: tokens, streams, read-ahead, memory, disk cache
//!              ├▶ write    bytes in
//!              └▶ outbox   what the account still has to be told
//!                   └▶ api the service's client: typed calls, scheduler, errors; alone knows the service's HTTP
//! errand (what commands ask of the account beside the drive) uses api alone
//! control (the mount's socket) reads snapshots the parts hand out
//!  └▶ page (status page and metrics over HTTP) shows what the socket tells
//! hook (`--on-change`) tells others which folders changed, by a command or over HTTP
//! config, logging, secret, util     beside them all
//! ```
//!
//! Good places to start: [`fs`] for what one kernel request does, [`tree::Tree`] for names,
//! [`read::Reader`] for bytes, [`api::Client`] for calls, [`api::scheduler`] for when a call may start.
pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod errand;
pub mod fs;
pub mod hook;
pub mod logging;
pub mod mount;
pub mod outbox;
pub mod page;
pub mod read;
pub mod secret;
pub mod tree;
pub mod util;
pub mod write;
