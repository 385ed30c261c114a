//! Which files are being downloaded at the moment, for the status.
use super::Reader;
use super::file::File;
use crate::api::FileId;
use crate::util::sync::lock;
use std::cmp::Reverse;
use std::sync::Arc;

/// A file some of whose bytes are on their way, or were in the last seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Which.
    pub file: FileId,
    /// Its bytes.
    pub size: u64,
    /// Up to where it was read last, or warmed.
    pub position: u64,
    /// Bytes of it that came from the service since it was opened.
    pub fetched: u64,
    /// Bytes per second lately.
    pub speed: u64,
    /// Spans on their way; each has a connection or waits for one.
    pub streams: usize,
    /// How often it is open.
    pub readers: u64,
}

impl Reader {
    /// The downloads now, the fastest first.
    pub fn downloads(&self) -> Vec<Download> {
        let files: Vec<Arc<File>> = lock(&self.shared.files).values().cloned().collect();
        let mut downloads: Vec<Download> = files
            .iter()
            .map(|file| Download {
                file: file.id,
                size: file.size,
                position: file.position(),
                fetched: file.fetched.bytes(),
                speed: file.fetched.speed(),
                streams: file.coming().len(),
                readers: file.handles(),
            })
            .filter(|it| it.streams > 0 || it.speed > 0)
            .collect();
        downloads.sort_by_key(|it| (Reverse(it.speed), it.file));
        downloads
    }
}
