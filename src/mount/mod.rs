//! Assembles the parts, runs the session, ends it cleanly.
pub mod background;
pub mod check;
mod fusermount;
pub mod kernel;
pub mod mountinfo;
pub mod signals;
pub mod stale;
pub mod users;

use crate::config;
use std::process::ExitCode;

/// PLACEHOLDER until the parts are assembled: tells that it cannot mount yet.
#[expect(clippy::needless_pass_by_value, reason = "the assembly consumes it")]
pub fn run(config: config::Mount, ready: background::Ready) -> anyhow::Result<ExitCode> {
    drop(ready);
    anyhow::bail!(
        "mounting {} is not assembled yet",
        config.mountpoint.display()
    )
}
