//! A stricter stand-in for the 1fichier.com service, for tests, demos and benchmarks.
//!
//! It is written from the published behaviour of the service alone and shares no code with any client: two
//! independent readings keep each other honest. Where the behaviour is unknown the stricter reading is the default
//! and the others are switches ([`Config`]).
//!
//! The way of a request: `server` accepts and delays it, `route` finds the endpoint, asks `rules` whether
//! the call was allowed, `faults` whether it fails, `shape` how long it takes, and hands it to one of `calls`,
//! which read and change `state`. Every request ends up in the `log`, every broken rule as a [`Violation`].
//!
//! Start reading at [`Fake`] for the use in tests, at `route` for how it works.

mod account;
mod admin;
mod body;
mod calls;
pub mod check;
mod clock;
mod config;
pub mod content;
mod fake;
mod faults;
mod log;
mod multipart;
mod names;
pub mod paris;
mod profile;
mod proxy;
mod reply;
mod route;
mod rules;
mod server;
mod shape;
mod state;
mod tls;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use account::{Account, FileView, FolderView};
pub use clock::{Clock, ClockSetting};
pub use config::{
    CapForm, Config, DuplicateFolder, EmptyArrays, ExpiredForm, FloodText, FolderMvBoth, FolderRm,
    KoStatus, ListingBreach, MimeKey, SWITCHES, SameFolderMv, StoreAt, UploadAnswer,
};
pub use content::Content;
pub use fake::{Builder, Connections, DEFAULT_KEY, Fake};
pub use faults::{Fault, FaultKind, Faults};
pub use log::{Delays, LogEntry, Violation};
pub use profile::Profile;
pub use shape::Shape;

/// Locks a mutex; what a panicking thread left behind is still used, as nothing here is half changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
