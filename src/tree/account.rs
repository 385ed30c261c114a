//! The two calls of the client that the tree makes.
use crate::api::{ApiError, Ask, FolderId, FolderListing, UserInfo};
use std::pin::Pin;

/// An answer on its way.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send>>;

/// An account as the tree sees it; `api::Client` is one.
pub trait Account: Send + Sync + 'static {
    /// Lists one folder with its files, in one call.
    fn list_folder(&self, ask: Ask, folder: FolderId) -> Answer<FolderListing>;

    /// The account's figures, at most a quarter of an hour old.
    fn user_info(&self, ask: Ask) -> Answer<UserInfo>;
}
