//! What a person decides of changes the account did not take.
use super::{Volume, VolumeError};
use crate::tree::Ino;
use crate::write::staging::StagingUsage;

impl Volume {
    /// Tries again what was given up of a file or folder.
    ///
    /// # Errors
    /// [`VolumeError::ReadOnly`]: nothing may be changed.
    pub fn retry(&self, ino: Ino) -> Result<(), VolumeError> {
        self.admit()?;
        self.inner.outbox.with(|telling| telling.retry(ino));
        Ok(())
    }

    /// Forgets what the account was not told of a file or folder: it is shown again as the account has it,
    /// or is gone if the account never had it, and then with it what was made or moved there. What it was to
    /// replace is shown again, too.
    ///
    /// # Errors
    /// [`VolumeError::ReadOnly`]: nothing may be changed.
    pub fn discard(&self, ino: Ino) -> Result<(), VolumeError> {
        self.admit()?;
        self.inner.outbox.with(|telling| {
            let mut next = vec![ino];
            while let Some(ino) = next.pop() {
                let is_new_folder = telling
                    .entry(ino)
                    .is_some_and(|entry| entry.is_folder && entry.remote.is_none());
                if is_new_folder {
                    next.extend(telling.wanted_in(ino));
                }
                next.extend(telling.revived_by(ino));
                telling.give_up(ino);
            }
        });
        Ok(())
    }

    /// How much is staged.
    pub fn staging(&self) -> StagingUsage {
        self.inner.staging.usage()
    }
}
