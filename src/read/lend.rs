//! Lending a whole file of the disk cache to the kernel.
use super::disk::{Lendable, Loan};
use super::{Handle, Reader};

impl Handle {
    /// Notes that the kernel reads the disk cache itself.
    pub fn note_lent(&self) {
        self.tally.lent();
    }
}

impl Reader {
    /// The data of an open file, if all of it is in the disk cache, was read from there and found sound
    /// since the machine started, and is certain to be on the disk. When only the last is lacking, it is seen to in
    /// the background, for the next time. Costs some system calls, never waits for the disk.
    pub fn lend(&self, handle: &Handle) -> Option<Loan> {
        let disk = self.disk()?;
        let (file, size) = (handle.id(), handle.size());
        match disk.lendable(file, size) {
            Lendable::No => None,
            Lendable::Now => disk.lend(file, size),
            Lendable::OnceDurable => {
                let disk = disk.clone();
                self.shared.runtime.spawn_blocking(move || {
                    if let Err(error) = disk.make_durable(file, size) {
                        log::debug!("disk cache: writing {file} through: {error}");
                    }
                });
                None
            }
        }
    }
}
