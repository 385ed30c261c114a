//! What a person at the mountpoint sees: the real program on the fake service. Needs /dev/fuse.
#![expect(
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test"
)]
mod attributes;
mod changes;
mod comforts;
mod commands;
mod conflicts;
mod crash;
mod doctor;
mod failures;
mod harness;
mod hook;
mod hostile;
mod life;
mod memory;
mod model;
mod moving;
mod names;
mod outbox;
mod programs;
mod reading;
mod refusals;
mod restart;
mod schema;
mod secrets;
mod silence;
mod storms;
mod trouble;
mod writing;
