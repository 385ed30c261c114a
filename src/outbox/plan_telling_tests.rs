//! How the account is told, in the simulation: calls leave, are carried out or lost, and end.
use super::super::super::intent::{Attempt, Done, Goal, Remote};
use super::super::super::record;
use super::super::*;
use super::Outcome;
use super::world::World;

impl World {
    /// A batch leaves; what must be written down before is.
    pub(super) fn start(&mut self, which: usize) -> bool {
        let batches = plan(&self.intents, &*self);
        let mut seen = BTreeSet::new();
        for ino in batches
            .iter()
            .flat_map(Batch::inos)
            .collect::<BTreeSet<_>>()
        {
            assert!(seen.insert(ino));
        }
        if batches.is_empty() {
            return false;
        }
        let batch = batches[which % batches.len()].clone();
        match &batch {
            Batch::Upload { folder, files } => {
                let names: BTreeSet<String> =
                    files.iter().map(|it| look_alike(&it.place.name)).collect();
                assert_eq!(
                    names.len(),
                    files.len(),
                    "names that look alike share an upload"
                );
                for file in files {
                    assert!(file.version.size > 0);
                    self.begin(
                        file.ino,
                        Goal::Store(file.version),
                        *folder,
                        file.place.clone(),
                    );
                }
            }
            Batch::Copy { folder, file, .. } => {
                let goal = Goal::Copy(file.version);
                self.begin(file.ino, goal, *folder, file.place.clone());
            }
            Batch::MakeFolder { ino, parent, place } => {
                self.begin(*ino, Goal::Make, *parent, place.clone());
            }
            Batch::MoveFiles { folder, id, files } => {
                for (ino, _) in files {
                    let name = self
                        .intents
                        .get(*ino)
                        .unwrap()
                        .remote
                        .clone()
                        .unwrap()
                        .place
                        .name;
                    self.begin(
                        *ino,
                        Goal::Place,
                        *id,
                        Place {
                            folder: *folder,
                            name,
                        },
                    );
                }
            }
            Batch::RenameFiles(files) => {
                for (ino, _, name) in files {
                    let folder = self
                        .intents
                        .get(*ino)
                        .unwrap()
                        .remote
                        .clone()
                        .unwrap()
                        .place
                        .folder;
                    let place = Place {
                        folder,
                        name: name.clone(),
                    };
                    self.begin(*ino, Goal::Place, self.ids[&folder], place);
                }
            }
            Batch::MoveFolder {
                ino, folder, to, ..
            } => {
                let name = self
                    .intents
                    .get(*ino)
                    .unwrap()
                    .remote
                    .clone()
                    .unwrap()
                    .place
                    .name;
                self.begin(
                    *ino,
                    Goal::Place,
                    *to,
                    Place {
                        folder: *folder,
                        name,
                    },
                );
            }
            Batch::RenameFolder { ino, name, .. } => {
                let folder = self
                    .intents
                    .get(*ino)
                    .unwrap()
                    .remote
                    .clone()
                    .unwrap()
                    .place
                    .folder;
                let place = Place {
                    folder,
                    name: name.clone(),
                };
                self.begin(*ino, Goal::Place, self.ids[&folder], place);
            }
            Batch::RemoveFiles(files) => {
                for (ino, url) in files {
                    self.assert_replaced(*ino, url);
                }
            }
            Batch::Resolve { .. } | Batch::RemoveFolder { .. } => {}
        }
        self.flying.push(batch);
        true
    }

    /// A batch's call comes to its end.
    pub(super) fn land(&mut self, which: usize, outcome: Outcome) {
        if self.flying.is_empty() {
            return;
        }
        let batch = self.flying.remove(which % self.flying.len());
        let resolves = matches!(batch, Batch::Resolve { .. });
        if outcome == Outcome::NotDone && !resolves {
            for ino in batch.inos() {
                self.intents.done(Done::Nothing(ino));
            }
            return;
        }
        let dones = self.carry_out(batch);
        if outcome == Outcome::Done || resolves {
            for done in dones {
                if let Done::Made { ino, id, .. } = &done {
                    self.ids.insert(*ino, *id);
                }
                self.intents.done(done);
            }
        }
        self.learn();
    }

    /// What is known of what has no entry any more.
    pub(super) fn learn(&mut self) {
        for (_, entry) in self.intents.take_changed() {
            // Bytes that are written down are read back as what was written.
            if let Some(entry) = &entry {
                assert_eq!(record::read(&record::write(entry)).as_ref(), Some(entry));
            }
        }
        self.remotes.clear();
        for (ino, shown) in &self.shown {
            let folder = self.ids.get(&shown.place.folder).map(|id| id.0);
            let thing = if shown.is_folder {
                self.ids.get(ino).map(|id| Thing::Folder(*id))
            } else {
                let file = self
                    .account
                    .files
                    .iter()
                    .find(|(_, (there, name, version))| {
                        Some(*there) == folder
                            && *name == shown.place.name
                            && *version == shown.version.id
                    });
                file.map(|(url, _)| Thing::File(FileUrl::parse(url).unwrap()))
            };
            if let Some(thing) = thing {
                let place = shown.place.clone();
                let size = shown.version.size;
                self.remotes.insert(*ino, Remote { thing, place, size });
            }
        }
    }

    pub(super) fn carry_out(&mut self, batch: Batch) -> Vec<Done> {
        match batch {
            Batch::Upload { folder, files } => {
                let store = |file: Outgoing| {
                    let name = file.place.name;
                    let url = self.account.store(folder.0, &name, file.version.id);
                    Done::Stored {
                        ino: file.ino,
                        url,
                        name,
                    }
                };
                files.into_iter().map(store).collect()
            }
            Batch::Copy {
                folder,
                file,
                original,
            } => {
                let Outgoing {
                    ino,
                    place,
                    version,
                } = file;
                if !self.account.files.contains_key(&original.to_string()) {
                    return vec![Done::Uncopied(ino)];
                }
                let url = self.account.store(folder.0, &place.name, version.id);
                let name = place.name;
                vec![Done::Stored { ino, url, name }]
            }
            Batch::Resolve { folder, inos } => inos
                .into_iter()
                .map(|ino| self.resolve(folder, ino))
                .collect(),
            Batch::MakeFolder { ino, parent, place } => {
                let id = FolderId(self.account.make_folder(parent.0, &place.name));
                let name = place.name;
                vec![Done::Made {
                    ino,
                    id,
                    name,
                    is_new: true,
                }]
            }
            Batch::MoveFiles { folder, id, files } => {
                let step = |(ino, url): (Ino, FileUrl)| {
                    let file = self.account.files.get_mut(&url.to_string()).unwrap();
                    file.0 = id.0;
                    let name = file.1.clone();
                    placed(ino, Place { folder, name })
                };
                files.into_iter().map(step).collect()
            }
            Batch::RenameFiles(files) => {
                let step = |(ino, url, name): (Ino, FileUrl, Box<OsStr>)| {
                    let file = self.account.files.get_mut(&url.to_string()).unwrap();
                    file.1 = name.clone();
                    let folder = file.0;
                    placed(
                        ino,
                        Place {
                            folder: self.ino_of(folder),
                            name,
                        },
                    )
                };
                files.into_iter().map(step).collect()
            }
            Batch::MoveFolder {
                ino,
                id,
                folder,
                to,
            } => {
                self.account.assert_not_below(to.0, id.0);
                let name = self.account.folders[&id.0].1.clone();
                self.account.assert_free(to.0, &name, id.0);
                self.account.folders.get_mut(&id.0).unwrap().0 = to.0;
                vec![placed(ino, Place { folder, name })]
            }
            Batch::RenameFolder { ino, id, name } => {
                let parent = self.account.folders[&id.0].0;
                self.account.assert_free(parent, &name, id.0);
                self.account.folders.get_mut(&id.0).unwrap().1 = name.clone();
                vec![placed(
                    ino,
                    Place {
                        folder: self.ino_of(parent),
                        name,
                    },
                )]
            }
            Batch::RemoveFiles(files) => {
                for (_, url) in &files {
                    self.account.files.remove(&url.to_string());
                }
                let done = |(ino, url)| Done::Removed {
                    ino,
                    url,
                    was_there: true,
                };
                files.into_iter().map(done).collect()
            }
            Batch::RemoveFolder { ino, id } => {
                self.account.remove_folder(id.0);
                vec![Done::FolderRemoved(ino)]
            }
        }
    }

    /// What is removed because something takes its place goes after that is there.
    pub(super) fn assert_replaced(&self, ino: Ino, url: &FileUrl) {
        let Some((entry, after)) = self.intents.get(ino).and_then(|it| Some((it, it.after?)))
        else {
            return;
        };
        let Some(Remote {
            thing: Thing::File(own),
            place,
            ..
        }) = &entry.remote
        else {
            return;
        };
        if own == url
            && let Some(shown) = self.shown.get(&after)
            && shown.place == *place
            && shown.version.size > 0
        {
            let folder = self.ids[&place.folder].0;
            let is_there = self.account.files.iter().any(|(other, (there, name, _))| {
                *other != url.to_string() && *there == folder && *name == place.name
            });
            assert!(is_there, "the replaced went before the replacing was there");
        }
    }

    pub(super) fn begin(&mut self, ino: Ino, goal: Goal, folder: FolderId, place: Place) {
        let attempt = Attempt {
            goal,
            place,
            folder,
            since: 7,
            ticket: None,
            whirlpool: None,
        };
        self.intents.begin(ino, attempt);
    }

    pub(super) fn resolve(&mut self, folder: FolderId, ino: Ino) -> Done {
        let entry = self.intents.get(ino).unwrap();
        let attempt = entry.attempt.clone().unwrap();
        let name = attempt.place.name;
        match attempt.goal {
            Goal::Make => {
                let mut all = self.account.folders.iter();
                let made = all.find(|(_, (parent, other))| *parent == folder.0 && *other == name);
                match made {
                    Some((id, _)) => {
                        let id = FolderId(*id);
                        Done::Made {
                            ino,
                            id,
                            name,
                            is_new: false,
                        }
                    }
                    None => Done::Nothing(ino),
                }
            }
            Goal::Store(version) | Goal::Copy(version) => {
                let mut all = self.account.files.iter();
                let stored = all.find(|(_, (there, other, stored))| {
                    *there == folder.0 && *other == name && *stored == version.id
                });
                match stored {
                    Some((url, _)) => {
                        let url = FileUrl::parse(url).unwrap();
                        Done::Stored { ino, url, name }
                    }
                    None => Done::Nothing(ino),
                }
            }
            Goal::Place => {
                let there = match &entry.remote.as_ref().unwrap().thing {
                    Thing::Folder(id) => self.account.folders.get(&id.0).cloned(),
                    Thing::File(url) => {
                        let file = self.account.files.get(&url.to_string());
                        file.map(|(folder, name, _)| (*folder, name.clone()))
                    }
                };
                match there.filter(|(there, _)| *there == folder.0) {
                    Some((_, name)) => {
                        let folder = attempt.place.folder;
                        placed(ino, Place { folder, name })
                    }
                    None => Done::Nothing(ino),
                }
            }
        }
    }

    /// The process ends and another goes on with what was written down.
    pub(super) fn crash(&mut self) {
        self.flying.clear();
        let read =
            |(ino, entry): (&Ino, &Entry)| (*ino, record::read(&record::write(entry)).unwrap());
        self.intents = Intents::of(self.intents.entries().iter().map(read));
    }

    pub(super) fn settle(&mut self) {
        for step in 0.. {
            assert!(step < 2_000, "never comes to rest: {}", self.brief());
            if !self.start(step) && self.flying.is_empty() {
                break;
            }
            self.land(0, Outcome::Done);
        }
    }

    /// All entries, a line each.
    pub(super) fn brief(&self) -> String {
        let place = |place: &Place| format!("{}/{}", place.folder, place.name.to_string_lossy());
        let line = |(ino, entry): (&Ino, &Entry)| {
            let at = entry.remote.as_ref().map(|remote| place(&remote.place));
            let wanted = entry.wanted.as_ref().map(place);
            let attempt = entry.attempt.as_ref().map(|attempt| place(&attempt.place));
            let kind = if entry.is_folder { "folder" } else { "file" };
            format!(
                "{kind} {ino}: {at:?} -> {wanted:?} {attempt:?} {:?} {:?}",
                entry.content, entry.discard
            )
        };
        let lines: Vec<String> = self.intents.entries().iter().map(line).collect();
        lines.join("\n")
    }

    pub(super) fn paths(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let mut shown = BTreeSet::new();
        for it in self.shown.values() {
            let mut path = it.place.name.to_string_lossy().into_owned();
            let mut above = it.place.folder;
            while above != Ino::ROOT {
                let place = &self.shown[&above].place;
                path = format!("{}/{path}", place.name.to_string_lossy());
                above = place.folder;
            }
            if it.is_folder {
                shown.insert(format!("{path}/"));
            } else if it.version.size > 0 {
                assert!(shown.insert(format!("{path}={}", it.version.id)));
            }
        }
        let path_of = |folder: u64| {
            let (mut path, mut next) = (String::new(), folder);
            while next != 0 {
                let (parent, name) = &self.account.folders[&next];
                path = format!("{}/{path}", name.to_string_lossy());
                next = *parent;
            }
            path
        };
        let mut there: BTreeSet<String> =
            self.account.folders.keys().map(|id| path_of(*id)).collect();
        for (folder, name, version) in self.account.files.values() {
            let path = format!("{}{}={version}", path_of(*folder), name.to_string_lossy());
            assert!(there.insert(path.clone()), "twice: {path}");
        }
        (shown, there)
    }
}

fn placed(ino: Ino, place: Place) -> Done {
    Done::Placed {
        ino,
        place,
        url: None,
        is_as_asked: true,
    }
}
