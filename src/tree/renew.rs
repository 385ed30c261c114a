//! Looking at a folder again because a person says so: not served from memory, and not over before the
//! kernel knows.
use super::fetch::LISTING_GAP;
use super::listing::{EntryChange, Listing, diff};
use super::{Caller, Ino, Tree, TreeError};
use crate::util::sync::lock;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may take to hear of changes, real time. It waits while somebody else's request in
/// that folder waits; then that request brings the news.
const KERNEL_LIMIT: Duration = Duration::from_secs(2);

/// What looking again brought.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// What the folder holds now.
    pub listing: Arc<Listing>,
    /// What changed; `None` when it was not known before.
    pub changes: Option<Vec<EntryChange>>,
}

impl Tree {
    /// How long the service wants us to wait before `folder` may be listed again; zero when it may, or
    /// is being listed now.
    pub fn pause_before(&self, folder: Ino) -> Result<Duration, TreeError> {
        let id = self.folder_of(folder)?;
        let now = self.inner.clock.now();
        let folders = lock(&self.inner.folders);
        Ok(folders
            .get(id)
            .filter(|state| state.alive().is_none())
            .and_then(|state| state.asked)
            .map_or(Duration::ZERO, |asked| {
                LISTING_GAP.saturating_sub(now.since(asked))
            }))
    }

    /// Lists `folder` again, after the pause the service wants, and tells the kernel what changed.
    pub async fn renew(&self, folder: Ino, caller: Caller) -> Result<Renewed, TreeError> {
        let id = self.folder_of(folder)?;
        let pause = self.pause_before(folder)?;
        if pause >= caller.deadline.remaining() {
            return Err(TreeError::Timeout(id));
        }
        self.inner.clock.sleep(pause).await;
        let before = match self.inner.cache.get(id) {
            None => self.recall(id).await,
            known => known,
        };
        let listing = self.refresh(folder, caller).ready().await?;
        let changes = before.map(|before| diff(&before, &listing));
        self.inner.changes.told(KERNEL_LIMIT).await;
        Ok(Renewed { listing, changes })
    }
}
