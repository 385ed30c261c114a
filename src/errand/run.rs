//! Runs an errand.
use super::asked::{Errand, Target};
use super::done::Done;
use super::refusal::Refusal;
use crate::api::{Ask, Client, FileId, FileUrl, FolderId, Priority, Requester};
use crate::util::clock::Clock;
use crate::util::deadline::Deadline;

use std::time::Duration;

/// How long one step may take: the 30 s between two listings of a folder (API reference 3), a silence
/// after a flood of the same length, and the call itself.
pub(super) const STEP: Duration = Duration::from_secs(90);

/// A file or folder that a path led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// How the person called it.
    pub path: String,
    /// What it is.
    pub what: What,
    /// The folder that lists it; absent for the account's root and for what is known by its link.
    pub parent: Option<FolderId>,
}

/// What a subject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A file.
    File(FileUrl),
    /// A folder.
    Folder(FolderId),
}

/// What an errand changed in the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Files came into a folder.
    Came {
        /// The folder.
        folder: FolderId,
        /// The files.
        files: Vec<FileId>,
    },
    /// What a folder's listing says of something in it is another.
    Altered {
        /// The folder.
        folder: FolderId,
    },
    /// Files will come into a folder.
    Fetching {
        /// The number of the request.
        id: u64,
        /// The folder.
        folder: FolderId,
    },
    /// A request to fetch was carried out.
    Fetched {
        /// Its number.
        id: u64,
        /// The files it brought.
        files: Vec<FileId>,
    },
}

/// Knows what paths lead to, and who is to hear of changes.
pub trait Places: Sync {
    /// What a path or an inode number leads to. Never asked for a link.
    fn find(&self, target: &Target) -> impl Future<Output = Result<Subject, Refusal>> + Send;

    /// Something was changed in the account. Must not wait.
    fn hear(&self, news: News);
}

/// The account an errand is run in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a, P> {
    pub(super) client: &'a Client,
    pub(super) clock: Clock,
    pub(super) places: &'a P,
}

/// Runs an errand.
pub async fn run<P: Places>(
    client: &Client,
    clock: Clock,
    places: &P,
    errand: Errand,
) -> Result<Done, Refusal> {
    let desk = Desk {
        client,
        clock,
        places,
    };
    match errand {
        Errand::Link {
            of,
            direct,
            password,
        } => desk.link(&of, direct, password.as_ref()).await,
        Errand::Shared { of } => desk.shared(&of).await,
        Errand::Share { of, with } => desk.share(&of, with).await,
        Errand::Protect {
            of,
            password,
            description,
        } => desk.protect(&of, password, description).await,
        Errand::Fetch {
            urls,
            into,
            headers,
        } => desk.fetch(urls, &into, &headers).await,
        Errand::Fetches => desk.fetches().await,
        Errand::Fetched { id } => desk.fetched(id).await,
        Errand::Import {
            links,
            into,
            name,
            password,
        } => desk.import(&links, &into, name, password.as_ref()).await,
        Errand::Info { of, password } => desk.info(&of, password.as_ref()).await,
    }
}

impl<P: Places> Desk<'_, P> {
    /// The terms of one step.
    pub(super) fn ask(&self) -> Ask {
        let deadline = Deadline::within(self.clock, STEP);
        Ask::new(Priority::Wanted, deadline, Requester::SELF)
    }

    /// What a target is.
    pub(super) async fn find(&self, target: &Target) -> Result<Subject, Refusal> {
        match target {
            Target::Link(link) => {
                let url = FileUrl::parse(link).ok_or_else(|| not_a_link(link))?;
                Ok(Subject {
                    path: link.clone(),
                    what: What::File(url),
                    parent: None,
                })
            }
            other => self.places.find(other).await,
        }
    }

    /// A folder; for a file, the refusal of `otherwise`.
    pub(super) async fn folder(
        &self,
        target: &Target,
        otherwise: &str,
    ) -> Result<(Subject, FolderId), Refusal> {
        let subject = self.find(target).await?;
        match subject.what {
            What::Folder(id) => Ok((subject, id)),
            What::File(_) => Err(Refusal(format!("{}: {otherwise}", subject.path))),
        }
    }

    /// A file; for a folder, the refusal of `otherwise`.
    pub(super) async fn file(
        &self,
        target: &Target,
        otherwise: &str,
    ) -> Result<(Subject, FileUrl), Refusal> {
        let subject = self.find(target).await?;
        match &subject.what {
            What::File(url) => {
                let url = url.clone();
                Ok((subject, url))
            }
            What::Folder(_) => Err(Refusal(format!("{}: {otherwise}", subject.path))),
        }
    }
}

/// That a text is no file's link.
pub(super) fn not_a_link(text: &str) -> Refusal {
    let hint = if text.contains("/dir/") {
        "it is a folder's public page; give the links of its files"
    } else {
        "a file's link looks like https://1fichier.com/?abcdefghij0123456789"
    };
    Refusal(format!("{text}: {hint}"))
}
