//! Changes made together: on disk together, and seen by what is told to the account together.
use super::Surroundings;
use super::intent::{Entry, Place, Remote, Version};
use super::state::State;
use crate::api::FileUrl;
use crate::tree::{Ino, Local};
use crate::util::clock::Moment;

/// The outbox while changes are made; see [`Outbox::with`](super::Outbox::with).
///
/// Where a method takes `known`, that is what the account has of a file or folder, and it is asked for
/// only if nothing was changed of it before.
#[derive(Debug)]
pub struct Telling<'a> {
    state: &'a mut State,
    around: &'a dyn Surroundings,
    now: Moment,
}

impl<'a> Telling<'a> {
    pub(super) fn new(state: &'a mut State, around: &'a dyn Surroundings, now: Moment) -> Self {
        Self { state, around, now }
    }

    /// What is to be told of a file or folder.
    pub fn entry(&self, ino: Ino) -> Option<&Entry> {
        self.state.entry(ino)
    }

    /// What is to be told of something that is wanted in a folder.
    pub fn wanted_in(&self, folder: Ino) -> Vec<Ino> {
        let entries = self.state.intents.entries().iter();
        let inside = entries.filter(|(_, entry)| {
            entry
                .wanted
                .as_ref()
                .is_some_and(|place| place.folder == folder)
        });
        inside.map(|(ino, _)| *ino).collect()
    }

    /// What would be where it was, were this one given up whose coming was to replace it.
    pub fn revived_by(&self, ino: Ino) -> Vec<Ino> {
        let intents = &self.state.intents;
        let place = |ino: Ino| Some(&intents.get(ino)?.remote.as_ref()?.place);
        let mut replaced = intents.replaced_by(ino);
        replaced.retain(|replaced| place(*replaced) != place(ino));
        replaced
    }

    /// A new file; `record` is what [`Surroundings`](super::Surroundings) needs to find its content after
    /// a restart.
    pub fn create(&mut self, ino: Ino, place: Place, version: Version, record: Vec<u8>) {
        self.state.keep(version, record);
        self.state.intents.create(ino, place, version);
        self.state.settle(ino, true, self.now);
    }

    /// A file holds something else.
    pub fn rewrite(
        &mut self,
        ino: Ino,
        known: impl FnOnce() -> Option<Remote>,
        version: Version,
        record: Vec<u8>,
    ) {
        let known = self.known(ino, known);
        self.state.keep(version, record);
        self.state.intents.rewrite(ino, known, version);
        self.state.settle(ino, true, self.now);
    }

    /// A file that was just handed over holds exactly what a file of the account does: the service copies
    /// that, and only if it cannot is the file sent.
    pub fn copy_of(&mut self, ino: Ino, original: FileUrl) {
        self.state.intents.copy_of(ino, Some(original));
        self.state.settle(ino, true, self.now);
    }

    /// A new folder.
    pub fn make_folder(&mut self, ino: Ino, place: Place) {
        self.state.intents.make_folder(ino, place);
        self.state.settle(ino, false, self.now);
    }

    /// A file or folder is wanted elsewhere.
    pub fn rename(
        &mut self,
        ino: Ino,
        is_folder: bool,
        known: impl FnOnce() -> Option<Remote>,
        to: Place,
    ) {
        let known = self.known(ino, known);
        self.state.intents.rename(ino, is_folder, known, to);
        self.state.settle(ino, false, self.now);
    }

    /// A file or folder is to be gone; with `after`, not before that one has taken its place.
    pub fn remove(
        &mut self,
        ino: Ino,
        is_folder: bool,
        known: impl FnOnce() -> Option<Remote>,
        after: Option<Ino>,
    ) {
        let known = self.known(ino, known);
        self.state.intents.remove(ino, is_folder, known, after);
        self.state.settle(ino, false, self.now);
    }

    /// What is kept here of an inode's attributes, by the number that is the same on every mount; `None` when
    /// nothing is any more. Nobody is told: it is written down with the rest.
    pub fn note(&mut self, ino: Ino, local: Option<&Local>) {
        self.state.note(ino, local);
    }

    /// Nothing is left to be told of something, and this is to be remembered of it, as what
    /// [`Surroundings::told`](super::Surroundings::told) says.
    pub fn remember(&mut self, ino: Ino, record: Option<Vec<u8>>) {
        self.state.remember(ino, record);
    }

    /// Tries again what was given up.
    pub fn retry(&mut self, ino: Ino) {
        self.state.intents.retry(ino);
        self.state.settle(ino, false, self.now);
    }

    /// Gives up what was not told yet of a file or folder: it is wanted as the account has it.
    pub fn give_up(&mut self, ino: Ino) {
        let around = self.around;
        if let Some(entry) = self.state.give_up(ino) {
            around.taken_back(self, ino, entry.remote.as_ref());
        }
        self.state.settle(ino, false, self.now);
    }

    fn known(&self, ino: Ino, known: impl FnOnce() -> Option<Remote>) -> Option<Remote> {
        if self.state.entry(ino).is_some() {
            return None;
        }
        let known = known();
        if known.is_none() {
            log::error!("inode {ino} is changed, and nobody knows what the account has of it");
        }
        known
    }
}
