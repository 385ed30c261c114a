//! The calls, one method each on [`Client`](super::Client), typed in and out. Every method passes
//! the scheduler; those that change nothing are repeated after trouble that passes, those that
//! change something are sent once.
mod detail;
mod file;
mod folder;
mod info;
mod listing;
mod remote;
mod shared;
mod token;
mod upload;
mod user;

pub use detail::FolderDetail;
pub use file::{Access, Attributes, Copied, Moved, PasswordChange, Renamed};
pub use folder::{NewFolder, Share, ShareWith};
pub use info::FileInfo;
pub use listing::SentSpan;
pub use remote::{RemoteDetail, RemoteJob, RemoteResult};
pub use upload::{UploadNode, UploadReport, UploadTicket, UploadedFile};

use super::classify::malformed;
use super::error::ApiError;
use super::ids::FileUrl;
use super::scheduler::{Call, CallClass};
use super::wire::Scalar;

/// An answer of which nothing but its success matters.
#[derive(serde::Deserialize)]
struct Done {}

/// A call that no rule but the general rate applies to.
fn plain(name: &'static str) -> Call {
    Call {
        name,
        class: CallClass::Plain,
    }
}

/// A file's URL, or an error that names what lacks it.
fn file_url(call: &'static str, value: Scalar, of: &str) -> Result<FileUrl, ApiError> {
    let text = value.text().unwrap_or_default();
    FileUrl::parse(&text).ok_or_else(|| malformed(call, &format!("{of} without a file's URL")))
}

/// A list of URLs as a request carries it.
fn urls(files: &[FileUrl]) -> Vec<String> {
    files.iter().map(FileUrl::to_string).collect()
}
