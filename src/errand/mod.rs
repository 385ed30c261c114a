//! Errands: what an API key is good for beside the drive. Links, sharing, passwords, downloads by the
//! service itself, files of others, and all the service knows of a file.
//!
//! Promises: one [`Errand`] is one question with one [`Done`], or a [`Refusal`] that says what to do; the same
//! code runs it in a mount, asked through its socket, and in a command that has the account to itself; both
//! ends are JSON. Knows links and folder numbers; what a path leads to is the business of [`Places`].
//!
//! ```text
//! run ─▶ import, fetch, folders, files     one errand each
//!  ├▶ asked     what may be asked       (data)
//!  ├▶ done      what is answered        (data, promised by docs/schema)
//!  └▶ refusal   why not, and what to do
//! ```
mod asked;
mod done;
mod fetch;
mod files;
mod folders;
mod import;
mod refusal;
mod run;

pub use asked::{Errand, Guest, Headers, Sharing, Target, is_fetchable};
pub use done::{
    AccessRules, Done, FetchResult, FetchedUrl, Fetching, FileFacts, FolderFacts, Imported,
    ImportedFile, Job, Link, MissedLink, Protected, SharedFolder,
};
pub use fetch::URLS_AT_ONCE;
pub use import::LINKS_AT_ONCE;
pub use refusal::Refusal;
pub use run::{News, Places, Subject, What, run};
