//! What a person decides of changes the account did not take.
use super::{Volume, VolumeError};
use crate::tree::Ino;
use crate::write::staging::StagingUsage;

impl Volume {
    /// Tries again what was given up of a file or folder.
    pub fn retry(&self, ino: Ino) {
        self.inner.outbox.with(|telling| telling.retry(ino));
    }

    /// Forgets what the account was not told of a file or folder: it is shown again as the account has it,
    /// or is gone if the account never had it.
    ///
    /// # Errors
    /// [`VolumeError::ReadOnly`]: nothing may be changed.
    pub fn discard(&self, ino: Ino) -> Result<(), VolumeError> {
        self.inner.outbox.with(|telling| telling.give_up(ino));
        self.taken_back(ino);
        Ok(())
    }

    /// How much is staged.
    pub fn staging(&self) -> StagingUsage {
        todo!()
    }

    /// A change was taken back: shows what the account has.
    fn taken_back(&self, ino: Ino) {
        let _ = ino;
        todo!()
    }
}
