//! A tree as programs change it, and what is known of the account beside it.
use super::super::super::intent::Remote;
use super::super::*;
use super::account::Account;
use super::{Op, place};
use std::collections::HashMap;

/// Names in use: few, so that they meet.
pub(super) const NAMES: [&str; 4] = ["a", "b", "A", "c"];

/// What the mount shows of a node.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) is_folder: bool,
    pub(super) place: Place,
    pub(super) version: Version,
}

pub(super) struct World {
    pub(super) intents: Intents,
    pub(super) shown: BTreeMap<Ino, Shown>,
    pub(super) account: Account,
    /// Numbers of folders that are known, whether they have an entry or not.
    pub(super) ids: HashMap<Ino, FolderId>,
    /// Where the account has files that have no entry.
    pub(super) remotes: HashMap<Ino, Remote>,
    pub(super) flying: Vec<Batch>,
    pub(super) next: u64,
}

impl Terms for World {
    fn is_ready(&self, ino: Ino) -> bool {
        !self.flying.iter().any(|batch| batch.inos().contains(&ino))
    }
    fn is_settling(&self, _: Ino) -> bool {
        false
    }
    fn is_overdue(&self, _: Ino) -> bool {
        false
    }
    fn folder(&self, ino: Ino) -> Option<FolderId> {
        self.ids.get(&ino).copied()
    }
    fn parent(&self, folder: Ino) -> Option<Ino> {
        let (parent, _) = self.account.folders.get(&self.ids[&folder].0)?;
        Some(self.ino_of(*parent))
    }
    fn is_taken(&self, place: &Place) -> bool {
        let Some(folder) = self.ids.get(&place.folder) else {
            return false;
        };
        self.account.folders.iter().any(|(id, (parent, name))| {
            *parent == folder.0
                && *name == place.name
                && self.intents.get(self.ino_of(*id)).is_none()
        })
    }
    fn is_held(&self, _: &FileUrl) -> bool {
        false
    }
    fn most_files(&self, ino: Ino) -> usize {
        if ino.get().is_multiple_of(3) { 1 } else { 100 }
    }
}

impl World {
    /// An account with two folders and a file in each and in the root.
    pub(super) fn new() -> Self {
        let mut world = Self {
            intents: Intents::default(),
            shown: BTreeMap::new(),
            account: Account::default(),
            ids: HashMap::from([(Ino::ROOT, FolderId(0))]),
            remotes: HashMap::new(),
            flying: Vec::new(),
            next: 100,
        };
        let mut folders = vec![Ino::ROOT];
        for name in ["a", "b"] {
            let ino = world.fresh();
            let id = world.account.make_folder(0, OsStr::new(name));
            let place = place(Ino::ROOT, name);
            world.ids.insert(ino, FolderId(id));
            world.remotes.insert(
                ino,
                Remote {
                    thing: Thing::Folder(FolderId(id)),
                    place: place.clone(),
                    size: 0,
                },
            );
            world.show(ino, true, place);
            folders.push(ino);
        }
        for folder in folders {
            let ino = world.fresh();
            let version = Version {
                id: world.next,
                size: 10,
            };
            let url = world
                .account
                .store(world.ids[&folder].0, OsStr::new("c"), version.id);
            let place = place(folder, "c");
            let thing = Thing::File(url);
            world.remotes.insert(
                ino,
                Remote {
                    thing,
                    place: place.clone(),
                    size: 0,
                },
            );
            world.show(ino, false, place);
            world.shown.get_mut(&ino).unwrap().version = version;
        }
        world
    }

    pub(super) fn fresh(&mut self) -> Ino {
        self.next += 1;
        Ino::new(self.next).unwrap()
    }

    pub(super) fn ino_of(&self, folder: u64) -> Ino {
        let known = self.ids.iter().find(|(_, id)| id.0 == folder);
        known.map_or(Ino::new(u64::MAX).unwrap(), |(ino, _)| *ino)
    }

    pub(super) fn show(&mut self, ino: Ino, is_folder: bool, place: Place) {
        let version = Version { id: 0, size: 0 };
        self.shown.insert(
            ino,
            Shown {
                is_folder,
                place,
                version,
            },
        );
    }

    pub(super) fn pick(&self, which: usize, folders_only: bool) -> Option<Ino> {
        let all: Vec<Ino> = self
            .shown
            .iter()
            .filter(|(_, shown)| shown.is_folder || !folders_only)
            .map(|(ino, _)| *ino)
            .collect();
        let folders = usize::from(folders_only);
        let at = which % (all.len() + folders).max(1);
        all.get(at).copied().or(folders_only.then_some(Ino::ROOT))
    }

    pub(super) fn at(&self, place: &Place) -> Option<Ino> {
        let found = self.shown.iter().find(|(_, it)| it.place == *place);
        found.map(|(ino, _)| *ino)
    }

    pub(super) fn is_empty(&self, folder: Ino) -> bool {
        !self.shown.values().any(|it| it.place.folder == folder)
    }

    pub(super) fn known(&self, ino: Ino) -> Option<Remote> {
        self.remotes.get(&ino).cloned()
    }

    pub(super) fn op(&mut self, op: &Op) {
        match *op {
            Op::Create(dir, name, size) => {
                let place = place(self.pick(dir, true).unwrap(), NAMES[name]);
                if self.at(&place).is_some() {
                    return;
                }
                let ino = self.fresh();
                let id = self.next;
                self.show(ino, false, place.clone());
                let version = Version { id, size };
                self.shown.get_mut(&ino).unwrap().version = version;
                self.intents.create(ino, place, version);
            }
            Op::Copy(file, dir, name) => {
                let place = place(self.pick(dir, true).unwrap(), NAMES[name]);
                let Some(original) = self.pick(file, false) else {
                    return;
                };
                let Some(Thing::File(url)) = self.known(original).map(|it| it.thing) else {
                    return;
                };
                if self.at(&place).is_none() {
                    let ino = self.fresh();
                    let version = Version {
                        id: self.next,
                        size: 10,
                    };
                    self.show(ino, false, place.clone());
                    self.shown.get_mut(&ino).unwrap().version = version;
                    self.intents.create(ino, place, version);
                    self.intents.copy_of(ino, Some(url));
                }
            }
            Op::Write(file, size) => {
                let Some(ino) = self.pick(file, false) else {
                    return;
                };
                self.next += 1;
                let version = Version {
                    id: self.next,
                    size,
                };
                let known = self.known(ino);
                let shown = self.shown.get_mut(&ino).unwrap();
                if !shown.is_folder {
                    shown.version = version;
                    self.intents.rewrite(ino, known, version);
                }
            }
            Op::Mkdir(dir, name) => {
                let place = place(self.pick(dir, true).unwrap(), NAMES[name]);
                if self.at(&place).is_none() {
                    let ino = self.fresh();
                    self.show(ino, true, place.clone());
                    self.intents.make_folder(ino, place);
                }
            }
            Op::Rename(node, dir, name) => {
                let Some(ino) = self.pick(node, false) else {
                    return;
                };
                let to = place(self.pick(dir, true).unwrap(), NAMES[name]);
                self.rename(ino, to);
            }
            Op::Remove(node) => {
                let Some(ino) = self.pick(node, false) else {
                    return;
                };
                if self.is_empty(ino) {
                    self.remove(ino, None);
                }
            }
        }
    }

    pub(super) fn rename(&mut self, ino: Ino, to: Place) {
        let mut above = to.folder;
        while above != Ino::ROOT {
            if above == ino {
                return;
            }
            above = self.shown[&above].place.folder;
        }
        let is_folder = self.shown[&ino].is_folder;
        if let Some(victim) = self.at(&to) {
            if victim == ino || self.shown[&victim].is_folder != is_folder || !self.is_empty(victim)
            {
                return;
            }
            self.remove(victim, (!is_folder).then_some(ino));
        }
        let known = self.known(ino);
        self.intents.rename(ino, is_folder, known, to.clone());
        self.shown.get_mut(&ino).unwrap().place = to;
    }

    pub(super) fn remove(&mut self, ino: Ino, after: Option<Ino>) {
        let shown = self.shown.remove(&ino).unwrap();
        let known = self.known(ino);
        self.intents.remove(ino, shown.is_folder, known, after);
    }
}
