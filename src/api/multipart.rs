//! The body of an upload, written by hand to the letter of the API reference (6, step 2), since the
//! service's parser is picky and general libraries write what it refuses.
//!
//! Promises: the length is known before the first byte and exactly that many follow, or the
//! request breaks off; nothing is copied. Never knows hosts, answers or where contents come from.
use super::ids::FolderId;
use crate::util::flow::Flow;
use bytes::Bytes;
use futures_core::Stream;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Files one upload may hold (API reference 3).
pub const MAX_FILES: usize = 500;
/// Bytes one file may have (API reference 3).
pub const MAX_FILE_BYTES: u64 = 300_000_000_000;
/// Bytes one upload may have, all in all (API reference 3).
pub const MAX_UPLOAD_BYTES: u64 = 500_000_000_000;

/// One file to upload.
pub struct UploadFile {
    /// Its name, already in a form the service keeps.
    pub name: Box<str>,
    /// Bytes; not zero, the service refuses empty files.
    pub size: u64,
    /// Its content: exactly `size` bytes in pieces of any length, from whoever reads them (bounded,
    /// so that a fast disk does not fill the memory of a slow line). Closing it early or sending
    /// an error breaks the upload off.
    pub content: mpsc::Receiver<io::Result<Bytes>>,
}

impl fmt::Debug for UploadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadFile({:?}, {} bytes)", self.name, self.size)
    }
}

/// How many bytes of content have been handed to the connection, and how fast. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct UploadProgress(Arc<Flow>);

impl UploadProgress {
    /// The progress of one upload, as part of what is sent in all.
    pub fn part_of(whole: &Arc<Flow>) -> Self {
        Self(Arc::new(Flow::part_of(whole)))
    }

    /// Bytes of all files together so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Bytes per second lately.
    pub fn speed(&self) -> u64 {
        self.0.speed()
    }
}

/// Why an upload's content gave out.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("reading what is to be uploaded failed: {0}")]
    Read(io::Error),
    #[error("what is to be uploaded is {0} bytes shorter than announced")]
    Short(u64),
    #[error("what is to be uploaded is longer than announced")]
    Long,
}

/// What comes before, between and after the contents.
#[derive(Debug)]
pub(super) struct Form {
    boundary: String,
    heads: Vec<Bytes>,
    tail: Bytes,
    length: u64,
}

impl Form {
    /// Lays out an upload of `files` into `folder`; the error says which rule they break.
    pub(super) fn new(folder: FolderId, files: &[UploadFile]) -> Result<Self, String> {
        Self::with_boundary(random_boundary(), folder, files)
    }

    fn with_boundary(
        boundary: String,
        folder: FolderId,
        files: &[UploadFile],
    ) -> Result<Self, String> {
        if files.is_empty() || files.len() > MAX_FILES {
            return Err(format!("{} files in one upload", files.len()));
        }
        let mut heads = Vec::with_capacity(files.len());
        let mut length: u64 = 0;
        for (index, file) in files.iter().enumerate() {
            check(file)?;
            // `did` goes first, without a type of its own; a disposition is each part's first line.
            let before = if index == 0 {
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"did\"\r\n\r\n{folder}\r\n"
                )
            } else {
                "\r\n".to_owned()
            };
            let head = format!(
                "{before}--{boundary}\r\nContent-Disposition: form-data; name=\"file[]\"; \
                 filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                file.name
            );
            length = length
                .saturating_add(head.len() as u64)
                .saturating_add(file.size);
            heads.push(Bytes::from(head));
        }
        let tail = format!("\r\n--{boundary}--\r\n");
        length = length.saturating_add(tail.len() as u64);
        if length > MAX_UPLOAD_BYTES {
            return Err(format!("{length} bytes in one upload"));
        }
        Ok(Self {
            boundary,
            heads,
            tail: Bytes::from(tail),
            length,
        })
    }

    /// The `Content-Type` header; the boundary stays unquoted.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The `Content-Length` header.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The body: this layout filled with the contents of the files it was made for.
    pub(super) fn body(self, files: Vec<UploadFile>, progress: UploadProgress) -> FormBody {
        let mut parts: Vec<Part> = Vec::with_capacity(2 * files.len() + 1);
        for (head, file) in self.heads.into_iter().zip(files) {
            parts.push(Part::Text(head));
            parts.push(Part::Content(file));
        }
        parts.push(Part::Text(self.tail));
        FormBody {
            parts: parts.into_iter(),
            current: None,
            progress,
        }
    }
}

fn check(file: &UploadFile) -> Result<(), String> {
    let name = &file.name;
    if name.is_empty()
        || name
            .chars()
            .any(|c| c.is_control() || matches!(c, '"' | '\\' | '/'))
    {
        return Err(format!("the name {name:?} cannot be sent"));
    }
    if file.size == 0 {
        return Err(format!(
            "{name:?} is empty, and the service refuses empty files"
        ));
    }
    if file.size > MAX_FILE_BYTES {
        return Err(format!("{name:?} is larger than 300 GB"));
    }
    Ok(())
}

/// Dashes and 32 random hexadecimal digits, so that no content holds it.
fn random_boundary() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Each state is keyed anew from the system's randomness.
    let word = || RandomState::new().build_hasher().finish();
    format!("----{:016x}{:016x}", word(), word())
}

enum Part {
    Text(Bytes),
    Content(UploadFile),
}

/// A multipart body as it is sent.
pub(super) struct FormBody {
    parts: std::vec::IntoIter<Part>,
    current: Option<UploadFile>,
    progress: UploadProgress,
}

impl Stream for FormBody {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(file) = &mut this.current else {
                match this.parts.next() {
                    None => return Poll::Ready(None),
                    Some(Part::Text(text)) => return Poll::Ready(Some(Ok(text))),
                    Some(Part::Content(file)) => this.current = Some(file),
                }
                continue;
            };
            // From here on `size` is what is left of the file.
            if file.size == 0 {
                this.current = None;
                continue;
            }
            let piece = match ready!(file.content.poll_recv(context)) {
                None => Err(SourceError::Short(file.size)),
                Some(Err(error)) => Err(SourceError::Read(error)),
                Some(Ok(bytes)) if bytes.len() as u64 > file.size => Err(SourceError::Long),
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    file.size -= bytes.len() as u64;
                    this.progress.0.add(bytes.len() as u64);
                    Ok(bytes)
                }
            };
            return Poll::Ready(Some(piece));
        }
    }
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
