//! Tests of the parts together, without a mount.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on shall say where"
)]
mod cli;
