//! Small things every part needs: time that tests can speed up, deadlines, locks that cannot be
//! poisoned, the bytes of records, how fast something goes, amounts in words. Knows nothing of the service, of files or of the kernel.
pub mod cached;
pub mod clock;
pub mod codec;
pub mod crypto;
pub mod deadline;
pub mod flow;
pub mod human;
pub mod paint;
pub mod retry;
pub mod sync;
