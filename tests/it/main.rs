//! The parts against the fake service, over HTTP and without a mount.
mod common;
mod read;
mod tree;
