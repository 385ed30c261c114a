//! The parts against the fake service, over HTTP and without a mount.
#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test"
)]
mod api;
mod common;
mod read;
