//! Small things every part needs: time that tests can speed up, deadlines, locks that cannot be
//! poisoned. Knows nothing of the service, of files or of the kernel.
pub mod cached;
pub mod clock;
pub mod deadline;
pub mod retry;
pub mod sync;
