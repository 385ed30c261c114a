//! Assembles the parts, runs the session, ends it cleanly.
pub mod background;
pub mod check;
mod fusermount;
pub mod kernel;
pub mod mountinfo;
pub mod signals;
pub mod stale;
pub mod users;
