//! Bytes in: staged to files at once, sealed into versions the outbox uploads.
//!
//! Promises: nothing is accepted that could not be kept. Knows files and what a program wants to do
//! with them; never HTTP, never the kernel. Start reading at [`volume`].
pub mod bytes;
pub mod content;
pub mod error;
pub mod file;
mod merge;
mod pace;
pub mod staging;
pub mod versions;
pub mod volume;
