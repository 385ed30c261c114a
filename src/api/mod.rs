//! The client of the service: URLs, JSON, HTTP, rates, and nothing of inodes, paths or the kernel.
pub mod ask;
pub mod error;
pub mod ids;
pub mod scheduler;
pub mod types;

pub use ask::{Ask, Priority, Requester};
pub use error::{ApiError, ErrorKind, Reached};
pub use ids::{FileId, FileUrl, FolderId};
pub use types::{
    DownloadLink, FileItem, FileListing, FolderListing, LISTING_CAP, Offer, SubFolder, UnixSeconds,
    UserInfo, Whirlpool,
};
