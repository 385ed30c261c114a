//! The state as a plan looks at it.
use super::State;
use crate::api::{FileUrl, FolderId};
use crate::outbox::Surroundings;
use crate::outbox::intent::Place;
use crate::outbox::plan::{self, Terms};
use crate::tree::Ino;
use crate::util::clock::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// How long a file that has settled waits for others of its folder to settle: a program that writes one
/// a second fills an upload every half minute.
pub(super) const COMPANY: Duration = Duration::from_secs(30);

/// The state as a plan looks at it.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) now: Moment,
    pub(super) around: &'a dyn Surroundings,
}

impl Terms for View<'_> {
    fn is_ready(&self, ino: Ino) -> bool {
        let waits = [&self.state.not_before, &self.state.unheard];
        let is_over =
            |wait: &&HashMap<Ino, Moment>| wait.get(&ino).is_none_or(|at| *at <= self.now);
        !self.state.busy.contains(&ino) && waits.iter().all(is_over)
    }

    fn is_settling(&self, ino: Ino) -> bool {
        !self.state.busy.contains(&ino) && !self.state.tries.has_failed(ino)
    }

    fn is_overdue(&self, ino: Ino) -> bool {
        let not_before = self.state.not_before.get(&ino);
        not_before.is_none_or(|at| at.after(COMPANY) <= self.now)
    }

    fn folder(&self, ino: Ino) -> Option<FolderId> {
        self.state.folder(ino, self.around)
    }

    fn parent(&self, folder: Ino) -> Option<Ino> {
        self.around.parent(folder)
    }

    fn is_taken(&self, place: &Place) -> bool {
        self.around
            .taken(place)
            .is_some_and(|ino| self.state.intents.get(ino).is_none())
    }

    fn is_held(&self, url: &FileUrl) -> bool {
        self.around.is_held(url)
    }

    fn most_files(&self, ino: Ino) -> usize {
        if self.state.tries.is_alone(ino) {
            1
        } else {
            plan::UPLOAD_FILES
        }
    }
}
