//! Assembles the parts, runs the session, ends it cleanly.
pub mod check;
mod fusermount;
pub mod kernel;
pub mod mountinfo;
pub mod stale;
