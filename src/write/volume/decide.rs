//! What a person decides of changes the account did not take, and what there is to know for that.
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
    /// or is gone if the account never had it.
    ///
    /// # Errors
    /// [`VolumeError::ReadOnly`]: nothing may be changed.
    pub fn discard(&self, ino: Ino) -> Result<(), VolumeError> {
        self.admit()?;
        self.inner.outbox.with(|telling| telling.give_up(ino));
        Ok(())
    }

    /// How much is staged.
    pub fn staging(&self) -> StagingUsage {
        self.inner.staging.usage()
    }
}
