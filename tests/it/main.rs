//! The parts against the fake service, over HTTP and without a mount; and the program's commands.
#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test"
)]
mod api;
mod cli;
mod common;
mod crawl;
mod fairness;
mod large;
mod messages;
mod outbox;
mod own;
mod read;
mod read_trouble;
mod store;
mod tree;
mod views;
mod walk;
mod warm;
