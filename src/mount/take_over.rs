//! Mounting an account that another process on this machine holds: one without a mount, that only goes on
//! uploading, gives way. What it has not told is on disk, and this one's to tell.
//!
//! Promises: a process whose mount is there is left alone.
use super::mountinfo;
use crate::api::scheduler::BudgetError;
use crate::config::Account;
use crate::control::find;
use std::time::{Duration, Instant};

/// How long the other may take to end: it breaks its uploads off and writes down how far it was.
const END: Duration = Duration::from_secs(10);

/// How long what it held may stay held when it has ended, and how often that is looked at.
const FREE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// Takes what only one process may have, from one that gives way if need be. Blocks.
pub(super) fn take<T>(
    account: &Account,
    take: impl Fn() -> Result<T, BudgetError>,
) -> Result<T, BudgetError> {
    match take() {
        Err(BudgetError::Held(held)) if gives_way(account) => {
            let start = Instant::now();
            loop {
                match take() {
                    Err(BudgetError::Held(_)) if start.elapsed() < FREE => {
                        std::thread::sleep(STEP);
                    }
                    Err(BudgetError::Held(_)) => return Err(BudgetError::Held(held)),
                    taken => return taken,
                }
            }
        }
        taken => taken,
    }
}

/// Whether a process that serves the account without a mount was there, and has ended for us.
fn gives_way(account: &Account) -> bool {
    let Some(mut client) = find::of_account(account) else {
        return false;
    };
    let Ok(pong) = client.ping() else {
        return false;
    };
    if mountinfo::is_there(&pong.account, &pong.device).unwrap_or(true) {
        return false;
    }
    if let Err(error) = client.give_way() {
        log::debug!("process {} does not give way: {error}", pong.pid);
        return false;
    }
    log::info!(
        "process {} was still uploading for an earlier mount of the account; its work is taken over",
        pong.pid
    );
    let ended = client.watch_end().and_then(|end| end.wait(END));
    // That it cannot be waited for means that it has ended already.
    ended.unwrap_or(true)
}
