//! The account behind a mount that did not wait for it: is the key still good, is it still paid for,
//! does the path still lead to the folder shown?
//!
//! Asked once after the start, patiently: a mount without a network is to find out when there is one,
//! and not by hammering. What is wrong is logged loudly and kept for who asks.
use crate::api::{Ask, Client, Priority, Requester};
use crate::config::AccountPath;
use crate::tree::{RootError, Store, Tree, resolve_root};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;
use crate::util::retry::Backoff;
use crate::util::sync::lock;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one question may take, its wait for a turn included.
const QUESTION: Duration = Duration::from_secs(90);

/// How long an answer that an earlier process got stands in for one of our own (API reference 3): the key
/// may have been replaced since.
const ANSWER_STANDS: Duration = Duration::from_secs(6 * 60);

/// Between two attempts, at first and at last: no one waits for the answer.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

/// What is wrong with the account, if anything is known to be.
#[derive(Debug, Default)]
pub(super) struct AccountHealth {
    trouble: Mutex<Option<String>>,
}

impl AccountHealth {
    /// What is wrong, in a line for people.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    fn tell(&self, trouble: String) {
        log::error!("{trouble}; what is known is still shown");
        *lock(&self.trouble) = Some(trouble);
    }
}

/// Asks the account after the start.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) tree: Tree,
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// What is shown as root.
    pub(super) root: AccountPath,
    /// The root was looked for a moment ago.
    pub(super) is_root_new: bool,
    pub(super) health: Arc<AccountHealth>,
}

impl Watch {
    /// Asks until there is an answer.
    pub(super) async fn run(self) {
        let mut waits = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
        let started = self.clock.unix();
        loop {
            let deadline = Deadline::within(self.clock, QUESTION);
            let ask = Ask::new(Priority::Refresh, deadline, Requester::SELF);
            match self.client.user_info(&ask).await {
                Ok(info) => {
                    self.tree.know_space(&info.value, info.at);
                    if !info.value.offer.is_paid() {
                        let email = &info.value.email;
                        self.health.tell(format!(
                            "the account {email} is not paid for any more, and the service answers no \
                             calls of free ones"
                        ));
                    }
                    self.note_owner(info.value.email).await;
                    if info.at >= started {
                        break;
                    }
                    self.clock.sleep(ANSWER_STANDS).await;
                    continue;
                }
                Err(error) if error.is_temporary() => {
                    log::info!("the account was not reached ({error}); trying again later");
                }
                Err(error) => return self.health.tell(error.to_string()),
            }
            self.clock.sleep(waits.next_wait()).await;
        }
        if !self.is_root_new {
            self.check_root().await;
        }
    }

    /// The address may have changed since.
    async fn note_owner(&self, email: Box<str>) {
        let store = self.store.clone();
        let noted = tokio::task::spawn_blocking(move || store.claim(&email)).await;
        if let Ok(Err(error)) = noted {
            self.health.tell(error.to_string());
        }
    }

    /// The path may lead to another folder by now, or nowhere.
    async fn check_root(&self) {
        let path = self.root.as_str();
        if Path::new(path) == Path::new("/") {
            return;
        }
        let deadline = Deadline::within(self.clock, QUESTION);
        match resolve_root(&self.client, Path::new(path), deadline).await {
            Ok(root) => {
                let (store, path) = (self.store.clone(), path.to_owned());
                let found = root.id;
                let known = tokio::task::spawn_blocking(move || {
                    let known = store.root(&path);
                    store.keep_root(&path, &root);
                    known
                });
                if known
                    .await
                    .ok()
                    .flatten()
                    .is_some_and(|known| known.id != found)
                {
                    self.health.tell(format!(
                        "{:?} is another folder of the account by now; mount it again to see it",
                        self.root.as_str()
                    ));
                }
            }
            Err(error @ (RootError::Missing(_) | RootError::NotAFolder(_))) => {
                self.health.tell(error.to_string());
            }
            Err(error) => log::info!("{error}"),
        }
    }
}
