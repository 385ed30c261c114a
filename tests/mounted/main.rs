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
mod conventions;
mod crash;
mod doctor;
mod errands;
mod failures;
mod fstab;
mod harness;
mod hook;
mod hostile;
mod index;
mod life;
mod memory;
mod model;
mod moving;
mod names;
mod outbox;
mod page;
mod programs;
mod reading;
mod refusals;
mod restart;
mod schema;
mod secrets;
mod shared;
mod silence;
mod state;
mod storms;
mod systemd;
mod trouble;
mod visible;
mod writing;
