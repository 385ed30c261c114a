//! Programs change a tree, calls are carried out, lost and interleaved with them; in the end the account
//! is the tree.
use super::super::intent::{Attempt, Done, Goal, Remote};
use super::super::record;
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Names in use: few, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "A", "c"];

/// What the mount shows of a node.
#[derive(Debug, Clone)]
struct Shown {
    is_folder: bool,
    place: Place,
    version: Version,
}

/// The account.
#[derive(Debug, Clone, Default)]
struct Account {
    folders: BTreeMap<u64, (u64, Box<OsStr>)>,
    files: BTreeMap<String, (u64, Box<OsStr>, u64)>,
    next: u64,
}

impl Account {
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn assert_free(&self, parent: u64, name: &OsStr, own: u64) {
        let taken = self
            .folders
            .iter()
            .find(|(id, (there, other))| **id != own && *there == parent && **other == *name);
        assert_eq!(taken, None, "two folders at one place");
    }

    fn make_folder(&mut self, parent: u64, name: &OsStr) -> u64 {
        self.assert_free(parent, name, 0);
        let id = self.fresh();
        self.folders.insert(id, (parent, name.into()));
        id
    }

    fn store(&mut self, folder: u64, name: &OsStr, version: u64) -> FileUrl {
        let url =
            FileUrl::parse(&format!("https://1fichier.com/?file{:08}", self.fresh())).unwrap();
        self.files
            .insert(url.to_string(), (folder, name.into(), version));
        url
    }

    fn remove_folder(&mut self, id: u64) {
        let holds = self.folders.values().any(|(parent, _)| *parent == id)
            || self.files.values().any(|(folder, ..)| *folder == id);
        assert!(!holds, "a folder is removed with what it holds");
        self.folders.remove(&id);
    }

    fn assert_not_below(&self, folder: u64, above: u64) {
        let mut next = folder;
        while next != 0 {
            assert_ne!(next, above, "a folder is moved into itself");
            next = self.folders[&next].0;
        }
    }
}

struct World {
    intents: Intents,
    shown: BTreeMap<Ino, Shown>,
    account: Account,
    /// Numbers of folders that are known, whether they have an entry or not.
    ids: HashMap<Ino, FolderId>,
    /// Where the account has files that have no entry.
    remotes: HashMap<Ino, Remote>,
    flying: Vec<Batch>,
    next: u64,
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
    fn new() -> Self {
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

    fn fresh(&mut self) -> Ino {
        self.next += 1;
        Ino::new(self.next).unwrap()
    }

    fn ino_of(&self, folder: u64) -> Ino {
        let known = self.ids.iter().find(|(_, id)| id.0 == folder);
        known.map_or(Ino::new(u64::MAX).unwrap(), |(ino, _)| *ino)
    }

    fn show(&mut self, ino: Ino, is_folder: bool, place: Place) {
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

    fn pick(&self, which: usize, folders_only: bool) -> Option<Ino> {
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

    fn at(&self, place: &Place) -> Option<Ino> {
        let found = self.shown.iter().find(|(_, it)| it.place == *place);
        found.map(|(ino, _)| *ino)
    }

    fn is_empty(&self, folder: Ino) -> bool {
        !self.shown.values().any(|it| it.place.folder == folder)
    }

    fn known(&self, ino: Ino) -> Option<Remote> {
        self.remotes.get(&ino).cloned()
    }

    fn op(&mut self, op: &Op) {
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

    fn rename(&mut self, ino: Ino, to: Place) {
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

    fn remove(&mut self, ino: Ino, after: Option<Ino>) {
        let shown = self.shown.remove(&ino).unwrap();
        let known = self.known(ino);
        self.intents.remove(ino, shown.is_folder, known, after);
    }

    /// A batch leaves; what must be written down before is.
    fn start(&mut self, which: usize) -> bool {
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
    fn land(&mut self, which: usize, outcome: Outcome) {
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
    fn learn(&mut self) {
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

    fn carry_out(&mut self, batch: Batch) -> Vec<Done> {
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
                vec![Done::Made { ino, id, name }]
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
                let done = |(ino, url)| Done::Removed { ino, url };
                files.into_iter().map(done).collect()
            }
            Batch::RemoveFolder { ino, id } => {
                self.account.remove_folder(id.0);
                vec![Done::FolderRemoved(ino)]
            }
        }
    }

    /// What is removed because something takes its place goes after that is there.
    fn assert_replaced(&self, ino: Ino, url: &FileUrl) {
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

    fn begin(&mut self, ino: Ino, goal: Goal, folder: FolderId, place: Place) {
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

    fn resolve(&mut self, folder: FolderId, ino: Ino) -> Done {
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
                        Done::Made { ino, id, name }
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
    fn crash(&mut self) {
        self.flying.clear();
        let read =
            |(ino, entry): (&Ino, &Entry)| (*ino, record::read(&record::write(entry)).unwrap());
        self.intents = Intents::of(self.intents.entries().iter().map(read));
    }

    fn settle(&mut self) {
        for step in 0.. {
            assert!(step < 2_000, "never comes to rest: {}", self.brief());
            if !self.start(step) && self.flying.is_empty() {
                break;
            }
            self.land(0, Outcome::Done);
        }
    }

    /// All entries, a line each.
    fn brief(&self) -> String {
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

    fn paths(&self) -> (BTreeSet<String>, BTreeSet<String>) {
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

fn place(folder: Ino, name: &str) -> Place {
    Place {
        folder,
        name: OsStr::new(name).into(),
    }
}

#[derive(Debug, Clone)]
enum Op {
    Create(usize, usize, u64),
    Write(usize, u64),
    Copy(usize, usize, usize),
    Mkdir(usize, usize),
    Rename(usize, usize, usize),
    Remove(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    NotDone,
    /// Carried out, but nobody heard.
    Lost,
}

#[derive(Debug, Clone)]
enum Step {
    Op(Op),
    Start(usize),
    Land(usize, Outcome),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (any, name) = (0..40usize, 0..NAMES.len());
    let size = prop_oneof![3 => 1..1000u64, 1 => Just(0u64), 1 => Just(UPLOAD_BYTES)];
    let op = prop_oneof![
        (any.clone(), name.clone(), size.clone()).prop_map(|(d, n, s)| Op::Create(d, n, s)),
        (any.clone(), size).prop_map(|(f, s)| Op::Write(f, s)),
        (any.clone(), any.clone(), name.clone()).prop_map(|(f, d, n)| Op::Copy(f, d, n)),
        (any.clone(), name.clone()).prop_map(|(d, n)| Op::Mkdir(d, n)),
        (any.clone(), any.clone(), name).prop_map(|(x, d, n)| Op::Rename(x, d, n)),
        any.clone().prop_map(Op::Remove),
    ];
    let outcome = prop_oneof![
        3 => Just(Outcome::Done),
        1 => Just(Outcome::NotDone),
        1 => Just(Outcome::Lost),
    ];
    let step = prop_oneof![
        6 => op.prop_map(Step::Op),
        3 => any.clone().prop_map(Step::Start),
        3 => (any, outcome).prop_map(|(at, outcome)| Step::Land(at, outcome)),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn in_the_end_the_account_is_the_tree(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Op(op) => world.op(&op),
                Step::Start(which) => { world.start(which); }
                Step::Land(which, outcome) => world.land(which, outcome),
                Step::Crash => world.crash(),
            }
            world.learn();
        }
        world.settle();
        for (ino, entry) in world.intents.entries() {
            prop_assert!(!entry.is_pending(), "{ino} is left over: {}", world.brief());
        }
        let (shown, there) = world.paths();
        prop_assert_eq!(shown, there);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
        let _ = record::read(&bytes);
    }
}

/// A world in which a thousand files of a folder are to be sent.
fn many_files() -> World {
    let mut world = World::new();
    for number in 0..250u64 {
        let ino = Ino::new(1000 + 3 * number + 1).unwrap();
        let version = Version {
            id: 5000 + number,
            size: 20_480,
        };
        world
            .intents
            .create(ino, place(Ino::ROOT, &format!("f{number}")), version);
    }
    world
}

#[test]
fn many_small_files_share_uploads() {
    let world = many_files();
    let sizes: Vec<usize> = plan(&world.intents, &world)
        .iter()
        .map(|batch| batch.inos().len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn created_and_removed_is_nothing() {
    let mut world = World::new();
    world.op(&Op::Create(0, 0, 5));
    let ino = Ino::new(world.next).unwrap();
    world.rename(ino, place(Ino::ROOT, "elsewhere"));
    world.remove(ino, None);
    assert!(world.intents.entries().is_empty());
    assert_eq!(world.intents.take_released(), [world.next]);
}

#[test]
fn what_was_given_up_is_as_the_account_has_it() {
    let mut world = World::new();
    let (ino, _) = world.shown.iter().find(|(_, it)| !it.is_folder).unwrap();
    let ino = *ino;
    let known = world.known(ino);
    world.intents.remove(ino, false, known, None);
    world.intents.fail(ino, "refused");
    assert!(
        plan(&world.intents, &world).is_empty(),
        "it waits for somebody"
    );
    world.intents.retry(ino);
    assert_eq!(plan(&world.intents, &world).len(), 1);
    world.intents.give_up(ino);
    assert!(world.intents.entries().is_empty());
}
