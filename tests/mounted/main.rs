//! What a person at the mountpoint sees: the real program on the fake service. Needs /dev/fuse.
#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test"
)]
mod commands;
mod harness;
mod life;
mod names;
mod reading;
mod refusals;
mod secrets;
mod trouble;
