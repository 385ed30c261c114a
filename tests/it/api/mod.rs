//! The client of the service.
mod changes;
mod connections;
mod download;
mod faults;
mod listing;
mod odd;
mod spares;
mod support;
mod token;
mod upload;
mod user;
mod wire;

use fichierfs::api::{FileUrl, FolderId};

/// The URL of a file of the fake.
fn url(text: &str) -> FileUrl {
    FileUrl::parse(text).unwrap()
}

/// `n` as a folder's number.
fn folder(n: u64) -> FolderId {
    FolderId(n)
}
