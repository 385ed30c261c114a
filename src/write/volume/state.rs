//! How far the account is behind a file or folder.
use super::Volume;
use crate::outbox::intent::{Entry, Goal};
use crate::tree::Ino;
use std::fmt;

/// How far the account is behind a file or folder; shown as one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The account has it as it is here.
    InAccount,
    /// It was written to and not closed since: nothing is told before that.
    Changed,
    /// It is on disk here, and the account will be told.
    Waiting,
    /// It is being uploaded, or has been and is looked for in the account.
    Uploading,
    /// It is here only, because the service takes no empty files.
    HereOnly,
    /// It is here only until somebody decides, for this reason.
    Failed(Box<str>),
}

impl State {
    /// That of what is still to be told.
    fn of(entry: &Entry) -> Self {
        let goal = entry.attempt.as_ref().map(|attempt| attempt.goal);
        if let Some(failed) = &entry.failed {
            Self::Failed(failed.reason.clone())
        } else if !entry.is_pending() {
            Self::HereOnly
        } else if matches!(goal, Some(Goal::Store(_) | Goal::Copy(_))) {
            Self::Uploading
        } else if entry.is_placed() && !entry.is_kept_here() {
            // What is left to do is to remove what it replaced.
            Self::InAccount
        } else {
            Self::Waiting
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InAccount => f.write_str("clean"),
            Self::Changed => f.write_str("changed"),
            Self::Waiting => f.write_str("staged"),
            Self::Uploading => f.write_str("uploading"),
            Self::HereOnly => f.write_str("local"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl Volume {
    /// How far the account is behind a file or folder; at once.
    pub fn state(&self, ino: Ino) -> State {
        if self.fresh(ino).is_some() {
            return State::Changed;
        }
        let entry = self.inner.outbox.entry(ino);
        entry.map_or(State::InAccount, |entry| State::of(&entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FileUrl, FolderId};
    use crate::outbox::intent::{Attempt, Failure, Place, Remote, Spent, Thing, Version};
    use std::ffi::OsStr;

    fn place(name: &str) -> Place {
        Place {
            folder: Ino::ROOT,
            name: OsStr::new(name).into(),
        }
    }

    fn remote(name: &str) -> Remote {
        Remote {
            thing: Thing::File(FileUrl::parse("https://1fichier.com/?aaaaaaaaaa").unwrap()),
            place: place(name),
            size: 1,
        }
    }

    fn entry() -> Entry {
        Entry {
            is_folder: false,
            remote: None,
            wanted: Some(place("a")),
            content: Some(Version { id: 1, size: 5 }),
            copy_of: None,
            discard: Vec::new(),
            after: None,
            attempt: None,
            renames: 0,
            failed: None,
        }
    }

    fn attempt(goal: Goal) -> Attempt {
        Attempt {
            goal,
            place: place("a"),
            folder: FolderId(0),
            since: 0,
            ticket: None,
            whirlpool: None,
        }
    }

    #[test]
    fn every_stage_of_a_file_has_its_word() {
        let word = |entry: Entry| State::of(&entry).to_string();
        assert_eq!(word(entry()), "staged");
        let goal = Goal::Store(Version { id: 1, size: 5 });
        let uploading = Entry {
            attempt: Some(attempt(goal)),
            ..entry()
        };
        assert_eq!(word(uploading.clone()), "uploading");
        let failed = Entry {
            failed: Some(Failure {
                reason: "the quota is used up".into(),
            }),
            ..uploading
        };
        assert_eq!(word(failed), "failed: the quota is used up");
        let empty = Entry {
            content: Some(Version { id: 2, size: 0 }),
            ..entry()
        };
        assert_eq!(word(empty.clone()), "local");
        let emptied = Entry {
            remote: Some(remote("a")),
            ..empty
        };
        assert_eq!(
            word(emptied),
            "staged",
            "the account still has the old content"
        );
        let renamed = Entry {
            remote: Some(remote("old")),
            content: None,
            ..entry()
        };
        assert_eq!(word(renamed.clone()), "staged");
        let replacing = Entry {
            remote: Some(remote("a")),
            discard: vec![Spent {
                url: FileUrl::parse("https://1fichier.com/?bbbbbbbbbb").unwrap(),
                folder: Ino::ROOT,
            }],
            ..renamed
        };
        assert_eq!(word(replacing), "clean");
    }
}
