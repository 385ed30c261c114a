//! The client of the service: URLs, JSON, HTTP, rates, and nothing of inodes, paths or the kernel.
//!
//! ```text
//! calls/      one method per call: typed in, typed out
//!  └▶ client  one exchange: permit, request, answer, repetition, verdict
//!      ├▶ scheduler   when a call may start
//!      ├▶ transport   connections, TLS, timeouts      hosts     who may be talked to
//!      ├▶ classify    what an answer means            wire      lenient JSON
//!      └▶ error       what a failure means
//! download    bytes of a file      multipart   the body of an upload
//!  └▶ data    requests to download hosts
//!      └▶ dial   their connections, one of them in reserve
//! passwords   of files, as somebody wrote them down
//! probe       how far the way to the service goes
//! hash, paris the service's hash and dates
//! ```
pub mod ask;
mod calls;
pub mod classify;
mod client;
mod data;
mod dial;
mod download;
pub mod error;
pub mod hash;
pub mod hosts;
pub mod ids;
mod multipart;
pub mod paris;
mod passwords;
pub mod probe;
pub mod scheduler;
mod text;
mod timing;
mod transport;
pub mod types;
pub mod wire;

pub use ask::{Ask, Priority, Requester};
pub use calls::{
    Access, Attributes, Copied, FileInfo, FolderDetail, Moved, NewFolder, PasswordChange,
    RemoteDetail, RemoteJob, RemoteResult, Renamed, SentSpan, Share, ShareWith, UploadNode,
    UploadReport, UploadTicket, UploadedFile,
};
pub use client::{Client, Settings};
pub use download::Body;
pub use error::{ApiError, ErrorKind, Reached};
pub use hash::WhirlpoolHasher;
pub use hosts::{ApiUrl, BadApiUrl};
pub use ids::{FileId, FileUrl, FolderId};
pub use multipart::{MAX_FILE_BYTES, MAX_FILES, MAX_UPLOAD_BYTES, UploadFile, UploadProgress};
pub use passwords::{MOST_TRIED, PasswordList, Passwords};
pub use timing::{Timing, measured};
pub use transport::SetupError;
pub use types::{
    Dated, DownloadLink, FileItem, FileListing, FolderListing, LISTING_CAP, Offer, SubFolder,
    UnixSeconds, UserInfo, Whirlpool,
};
