//! The account as data: folders, files, what is listed when. No locks, no HTTP, no names rules.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use fastrand::Rng;

use crate::content::Content;

/// Id of the root folder.
pub(crate) const ROOT: u64 = 0;

/// First id of a made folder; real ones have seven digits or more.
const FIRST_FOLDER: u64 = 4_100_000;

/// Folder of files of other accounts: none of this one's.
const ELSEWHERE: u64 = u64::MAX;

/// A folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) name: String,
    /// UNIX seconds.
    pub(crate) created: i64,
    /// Id of the public link, with its password.
    pub(crate) share: Option<(String, String)>,
    /// Mail, `rw`, `hide_links`.
    pub(crate) guests: Vec<(String, u64, u64)>,
    /// Whose it is, if it is not this account's, and whether links are hidden.
    pub(crate) owner: Option<(String, bool)>,
    pub(crate) folders: BTreeSet<u64>,
    pub(crate) files: BTreeSet<String>,
}

/// A folder that is listed where it is not any more.
#[derive(Debug, Clone)]
pub(crate) struct GhostFolder {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) name: String,
    pub(crate) created: i64,
    until: Duration,
}

/// Access rules of a file, as `chattr` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    pub(crate) ip: Vec<String>,
    pub(crate) country: Vec<String>,
    pub(crate) email: Vec<String>,
    pub(crate) premium: u64,
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    /// The part of the URL after `?`.
    pub(crate) id: String,
    pub(crate) domain: &'static str,
    pub(crate) folder: u64,
    /// It belongs to another account.
    foreign: bool,
    pub(crate) name: String,
    /// UNIX seconds.
    pub(crate) date: i64,
    pub(crate) content: Content,
    pub(crate) description: String,
    pub(crate) pass: String,
    pub(crate) no_ssl: u64,
    pub(crate) inline: u64,
    pub(crate) cdn: u64,
    pub(crate) acl: Acl,
    pub(crate) infected: bool,
    /// Virtual time from which it is listed.
    pub(crate) visible_from: Duration,
    /// Deleted, but listed until then.
    pub(crate) ghost_until: Option<Duration>,
}

impl StoredFile {
    /// Whether it belongs to another account.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/?{}", self.domain, self.id)
    }

    fn listed(&self, now: Duration) -> bool {
        match self.ghost_until {
            Some(until) => now < until,
            None => self.visible_from <= now,
        }
    }
}

/// Everything the account holds.
#[derive(Debug)]
pub(crate) struct State {
    folders: HashMap<u64, Folder>,
    files: HashMap<String, StoredFile>,
    ghosts: Vec<GhostFolder>,
    next_folder: u64,
    rng: Rng,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        let root = Folder {
            id: ROOT,
            parent: ROOT,
            name: "Root".to_owned(),
            created: 0,
            share: None,
            guests: Vec::new(),
            owner: None,
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        Self {
            folders: HashMap::from([(ROOT, root)]),
            files: HashMap::new(),
            ghosts: Vec::new(),
            next_folder: FIRST_FOLDER,
            rng: Rng::with_seed(seed),
        }
    }

    pub(crate) fn folder(&self, id: u64) -> Option<&Folder> {
        self.folders.get(&id)
    }

    /// A folder of this account.
    pub(crate) fn folder_mut(&mut self, id: u64) -> Option<&mut Folder> {
        self.folders.get_mut(&id).filter(|f| f.owner.is_none())
    }

    /// A folder of this account, to be changed or filled.
    pub(crate) fn own_folder(&self, id: u64) -> Option<&Folder> {
        self.folder(id).filter(|f| f.owner.is_none())
    }

    /// A file that was not deleted, also one of another account.
    pub(crate) fn file(&self, id: &str) -> Option<&StoredFile> {
        self.files.get(id).filter(|f| f.ghost_until.is_none())
    }

    /// A file of this account that was not deleted.
    pub(crate) fn file_mut(&mut self, id: &str) -> Option<&mut StoredFile> {
        let file = self.files.get_mut(id);
        file.filter(|f| f.ghost_until.is_none() && !f.is_foreign())
    }

    pub(crate) fn folder_count(&self) -> usize {
        let own = self.folders.values().filter(|f| f.owner.is_none());
        own.count() - 1
    }

    pub(crate) fn file_count(&self) -> usize {
        self.files
            .values()
            .filter(|f| f.ghost_until.is_none() && !f.is_foreign())
            .count()
    }

    /// Bytes stored.
    pub(crate) fn used(&self) -> u64 {
        self.files
            .values()
            .filter(|f| f.ghost_until.is_none() && !f.is_foreign())
            .map(|f| f.content.size())
            .sum()
    }

    /// A child folder by name.
    pub(crate) fn child(&self, parent: u64, name: &str) -> Option<u64> {
        let parent = self.folder(parent)?;
        parent
            .folders
            .iter()
            .copied()
            .find(|id| self.folder(*id).is_some_and(|f| f.name == name))
    }

    pub(crate) fn children(&self, parent: u64) -> Vec<&Folder> {
        let Some(parent) = self.folder(parent) else {
            return Vec::new();
        };
        parent
            .folders
            .iter()
            .filter_map(|id| self.folder(*id))
            .collect()
    }

    /// The files a listing of the folder shows now.
    pub(crate) fn listed(&self, folder: u64, now: Duration) -> Vec<&StoredFile> {
        let Some(folder) = self.folder(folder) else {
            return Vec::new();
        };
        folder
            .files
            .iter()
            .filter_map(|id| self.files.get(id))
            .filter(|f| f.listed(now))
            .collect()
    }

    /// All files any listing shows now.
    pub(crate) fn all_listed(&self, now: Duration) -> Vec<&StoredFile> {
        let own = self.files.values().filter(|f| !f.is_foreign());
        own.filter(|f| f.listed(now)).collect()
    }

    /// What all files hold.
    pub(crate) fn contents(&self) -> Vec<Content> {
        self.files.values().map(|f| f.content.clone()).collect()
    }

    /// Files of a folder that were not deleted, listed yet or not.
    pub(crate) fn stored(&self, folder: u64) -> Vec<&StoredFile> {
        let Some(folder) = self.folder(folder) else {
            return Vec::new();
        };
        folder.files.iter().filter_map(|id| self.file(id)).collect()
    }

    /// Makes a folder, without looking for one of the same name; `None` if the parent does not exist.
    pub(crate) fn make_folder(&mut self, parent: u64, name: &str, created: i64) -> Option<u64> {
        self.folders.get(&parent)?;
        // Ids have gaps on the service, as other accounts make folders too.
        self.next_folder += self.rng.u64(1..40);
        let id = self.next_folder;
        let owner = self.folders.get(&parent)?.owner.clone();
        let folder = Folder {
            id,
            parent,
            name: name.to_owned(),
            created,
            share: None,
            guests: Vec::new(),
            owner,
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        self.folders.insert(id, folder);
        self.folders.get_mut(&parent)?.folders.insert(id);
        Some(id)
    }

    /// Makes a folder of another account that shares it with this one; no folder of this one holds it.
    pub(crate) fn make_shared(
        &mut self,
        owner: &str,
        name: &str,
        created: i64,
        hides: bool,
    ) -> u64 {
        self.next_folder += self.rng.u64(1..40);
        let id = self.next_folder;
        let folder = Folder {
            id,
            parent: ELSEWHERE,
            name: name.to_owned(),
            created,
            share: None,
            guests: Vec::new(),
            owner: Some((owner.to_owned(), hides)),
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        self.folders.insert(id, folder);
        id
    }

    /// The folders that another account shares with this one.
    pub(crate) fn shared_by(&self, owner: &str) -> Vec<&Folder> {
        let is_owners = |f: &&Folder| f.owner.as_ref().is_some_and(|(mail, _)| mail == owner);
        let tops = self.folders.values().filter(|f| f.parent == ELSEWHERE);
        tops.filter(is_owners).collect()
    }

    /// True when `folder` is `ancestor` or below it.
    pub(crate) fn within(&self, mut folder: u64, ancestor: u64) -> bool {
        loop {
            if folder == ancestor {
                return true;
            }
            match self.folder(folder) {
                Some(f) if folder != ROOT => folder = f.parent,
                _ => return false,
            }
        }
    }

    /// Hangs a folder under another parent; the caller has checked both.
    pub(crate) fn move_folder(&mut self, id: u64, parent: u64) {
        let Some(old) = self.folders.get(&id).map(|f| f.parent) else {
            return;
        };
        if let Some(folder) = self.folders.get_mut(&old) {
            folder.folders.remove(&id);
        }
        if let Some(folder) = self.folders.get_mut(&parent) {
            folder.folders.insert(id);
        }
        if let Some(folder) = self.folders.get_mut(&id) {
            folder.parent = parent;
        }
    }

    /// A folder that is about to go from where it is stays in that listing until then.
    pub(crate) fn haunt(&mut self, id: u64, until: Duration) {
        if let Some(folder) = self.folders.get(&id) {
            let parent = folder.parent;
            self.ghosts
                .retain(|ghost| (ghost.id, ghost.parent) != (id, parent));
            self.ghosts.push(GhostFolder {
                id,
                parent,
                name: folder.name.clone(),
                created: folder.created,
                until,
            });
        }
    }

    /// The folders that are listed in one though they are not there any more.
    pub(crate) fn ghosts_in(
        &self,
        parent: u64,
        now: Duration,
    ) -> impl Iterator<Item = &GhostFolder> {
        let is_back = move |ghost: &GhostFolder| {
            let there = self.folders.get(&ghost.id);
            there.is_some_and(|folder| folder.parent == parent)
        };
        let ghosts = self.ghosts.iter();
        ghosts.filter(move |ghost| ghost.parent == parent && now < ghost.until && !is_back(ghost))
    }

    /// Removes a folder and all it holds; never the root.
    pub(crate) fn remove_folder(&mut self, id: u64) {
        if id == ROOT {
            return;
        }
        let Some(folder) = self.folders.remove(&id) else {
            return;
        };
        if let Some(parent) = self.folders.get_mut(&folder.parent) {
            parent.folders.remove(&id);
        }
        for file in &folder.files {
            self.files.remove(file);
        }
        for child in folder.folders {
            self.remove_folder(child);
        }
    }

    /// Stores a file; its URL id is new.
    pub(crate) fn add_file(
        &mut self,
        folder: u64,
        name: &str,
        content: Content,
        date: i64,
        visible_from: Duration,
    ) -> Option<&mut StoredFile> {
        self.folders.get(&folder)?;
        let foreign = self.folder(folder)?.owner.is_some();
        let id = self.new_id();
        let file = StoredFile {
            foreign,
            visible_from,
            ..new_file(&id, folder, name, content, date)
        };
        self.folders.get_mut(&folder)?.files.insert(id.clone());
        Some(self.files.entry(id).or_insert(file))
    }

    /// Stores a file of another account, which no folder of this one holds; returns its URL.
    pub(crate) fn add_foreign(
        &mut self,
        name: &str,
        content: Content,
        date: i64,
        pass: &str,
    ) -> String {
        let id = self.new_id();
        let file = StoredFile {
            pass: pass.to_owned(),
            ..new_file(&id, ELSEWHERE, name, content, date)
        };
        self.files.entry(id).or_insert(file).url()
    }

    /// Deletes a file; it stays in listings until `ghost_until`.
    pub(crate) fn remove_file(&mut self, id: &str, now: Duration, ghost_until: Duration) -> bool {
        let Some(file) = self.file_mut(id) else {
            return false;
        };
        if ghost_until > now {
            file.ghost_until = Some(ghost_until);
        } else {
            self.forget_file(id);
        }
        true
    }

    /// Moves a file; the caller has checked the folder.
    pub(crate) fn move_file(&mut self, id: &str, folder: u64) {
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut file.folder, folder);
        if let Some(f) = self.folders.get_mut(&old) {
            f.files.remove(id);
        }
        if let Some(f) = self.folders.get_mut(&folder) {
            f.files.insert(id.to_owned());
        }
    }

    /// Gives a file a new URL; returns its id.
    pub(crate) fn change_id(&mut self, id: &str) -> Option<String> {
        let mut file = self.files.remove(id)?;
        let new = self.new_id();
        if let Some(folder) = self.folders.get_mut(&file.folder) {
            folder.files.remove(id);
            folder.files.insert(new.clone());
        }
        file.id.clone_from(&new);
        self.files.insert(new.clone(), file);
        Some(new)
    }

    /// Drops files that are no longer listed after their deletion.
    pub(crate) fn forget_ghosts(&mut self, now: Duration) {
        let gone: Vec<String> = self
            .files
            .values()
            .filter(|f| f.ghost_until.is_some_and(|t| t <= now))
            .map(|f| f.id.clone())
            .collect();
        for id in gone {
            self.forget_file(&id);
        }
        self.ghosts.retain(|ghost| now < ghost.until);
    }

    /// Path of a folder from the root, without a leading slash.
    pub(crate) fn path(&self, mut folder: u64) -> String {
        let mut parts = Vec::new();
        while let Some(f) = self.folder(folder).filter(|f| f.id != ROOT) {
            parts.push(f.name.as_str());
            folder = f.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// The folder with that public link.
    pub(crate) fn shared(&self, link: &str) -> Option<&Folder> {
        self.folders
            .values()
            .find(|f| f.share.as_ref().is_some_and(|(id, _)| id == link))
    }

    /// `len` random characters of `[a-z0-9]`.
    pub(crate) fn random_id(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..len)
            .map(|_| char::from(ALPHABET[self.rng.usize(0..36)]))
            .collect()
    }

    fn new_id(&mut self) -> String {
        loop {
            let id = self.random_id(20);
            if !self.files.contains_key(&id) {
                return id;
            }
        }
    }

    fn forget_file(&mut self, id: &str) {
        if let Some(file) = self.files.remove(id)
            && let Some(folder) = self.folders.get_mut(&file.folder)
        {
            folder.files.remove(id);
        }
    }
}

fn new_file(id: &str, folder: u64, name: &str, content: Content, date: i64) -> StoredFile {
    StoredFile {
        id: id.to_owned(),
        domain: "1fichier.com",
        folder,
        foreign: folder == ELSEWHERE,
        name: name.to_owned(),
        date,
        content,
        description: String::new(),
        pass: String::new(),
        no_ssl: 0,
        inline: 0,
        cdn: 0,
        acl: Acl::default(),
        infected: false,
        visible_from: Duration::ZERO,
        ghost_until: None,
    }
}
