//! The account behind the client's back: what tests and the admin interface use to prepare and to look.
//!
//! Nothing here counts as a request, and the name rules of the service do not apply, so that oddities can be made.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use serde::Serialize;

use crate::clock::Clock;
use crate::config::Config;
use crate::content::Content;
use crate::state::{ROOT, State, StoredFile};
use crate::{lock, names, paris};

/// A file as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileView {
    /// Public URL.
    pub url: String,
    /// Name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Folder id.
    pub folder: u64,
    /// Upload date in Paris time.
    pub date: String,
    /// Whirlpool, true or arbitrary (see [`Content::checksum`]).
    pub checksum: String,
    /// Description set with `chattr`.
    pub description: String,
}

/// A folder as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderView {
    /// Folder id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Path from the root, without a leading slash.
    pub path: String,
    /// Parent's id.
    pub parent: u64,
    /// Files, by name and then URL; without those deleted, with those not listed yet.
    pub files: Vec<FileView>,
}

/// The account; shared by the server and the tests.
#[derive(Debug)]
pub struct Account {
    state: Mutex<State>,
    key: RwLock<String>,
    config: Arc<RwLock<Arc<Config>>>,
    clock: Clock,
}

impl Account {
    pub(crate) fn new(
        key: String,
        config: Arc<RwLock<Arc<Config>>>,
        clock: Clock,
        seed: u64,
    ) -> Self {
        Self {
            state: Mutex::new(State::new(seed)),
            key: RwLock::new(key),
            config,
            clock,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Makes a folder and returns its id; the id of the existing one if there is one.
    ///
    /// # Panics
    /// If the parent does not exist: a mistake of the test.
    pub fn mkdir(&self, parent: u64, name: &str) -> u64 {
        self.try_mkdir(parent, name)
            .expect("the parent folder exists")
    }

    /// Makes all folders of a path below the root; returns the last one.
    pub fn mkdir_p(&self, path: &str) -> u64 {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(ROOT, |parent, name| self.mkdir(parent, name))
    }

    /// Stores bytes; returns the URL.
    ///
    /// # Panics
    /// If the folder does not exist: a mistake of the test.
    pub fn add_bytes(&self, folder: u64, name: &str, bytes: impl Into<Bytes>) -> String {
        self.try_add(folder, name, Content::bytes(bytes))
            .expect("the folder exists")
    }

    /// Stores a file of computed content (see [`crate::content::fill`]); returns the URL.
    ///
    /// # Panics
    /// If the folder does not exist: a mistake of the test.
    pub fn add_synthetic(&self, folder: u64, name: &str, size: u64, seed: u64) -> String {
        self.try_add(folder, name, Content::synthetic(size, seed))
            .expect("the folder exists")
    }

    /// Mirrors a real folder into `folder`, under the names a careful client would give; returns the number of
    /// files. Empty files are left out, as the service cannot hold them.
    pub fn add_dir(&self, folder: u64, from: &Path) -> anyhow::Result<usize> {
        let mut count = 0;
        let listing = std::fs::read_dir(from)
            .with_context(|| format!("cannot read the folder {}", from.display()))?;
        for entry in listing {
            let entry =
                entry.with_context(|| format!("cannot read the folder {}", from.display()))?;
            let name = names::as_clients_store(&entry.file_name().to_string_lossy());
            let meta = std::fs::metadata(entry.path())
                .with_context(|| format!("cannot look at {}", entry.path().display()))?;
            if meta.is_dir() {
                count += self.add_dir(self.try_mkdir(folder, &name)?, &entry.path())?;
            } else if meta.is_file() && meta.len() > 0 {
                self.try_add(folder, &name, Content::path(entry.path(), meta.len()))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Deletes a file at once, listings included; false if it is unknown.
    pub fn remove(&self, url: &str) -> bool {
        let Some(id) = file_id(url) else { return false };
        self.state().remove_file(id, Duration::ZERO, Duration::ZERO)
    }

    /// Renames a file; false if it is unknown.
    pub fn rename(&self, url: &str, name: &str) -> bool {
        self.change(url, |file| name.clone_into(&mut file.name))
    }

    /// Moves a file; false if it or the folder is unknown.
    pub fn move_to(&self, url: &str, folder: u64) -> bool {
        let Some(id) = file_id(url) else { return false };
        let mut state = self.state();
        let known = state.file(id).is_some() && state.folder(folder).is_some();
        if known {
            state.move_file(id, folder);
        }
        known
    }

    /// Renames a folder; false if it is unknown.
    pub fn rename_folder(&self, id: u64, name: &str) -> bool {
        self.state()
            .folder_mut(id)
            .map(|f| name.clone_into(&mut f.name))
            .is_some()
    }

    /// Moves a folder; false if either is unknown or it would land below itself.
    pub fn move_folder(&self, id: u64, parent: u64) -> bool {
        let mut state = self.state();
        let legal = id != ROOT
            && state.folder(id).is_some()
            && state.folder(parent).is_some()
            && !state.within(parent, id);
        if legal {
            state.move_folder(id, parent);
        }
        legal
    }

    /// Removes a folder with all it holds; false if it is unknown.
    pub fn remove_folder(&self, id: u64) -> bool {
        let mut state = self.state();
        let known = id != ROOT && state.folder(id).is_some();
        state.remove_folder(id);
        known
    }

    /// Sets the date of a file, `YYYY-MM-DD HH:MM:SS` in Paris time; false if file or date is not known.
    pub fn set_date(&self, url: &str, date: &str) -> bool {
        paris::parse(date).is_some_and(|unix| self.change(url, |file| file.date = unix))
    }

    /// Sets the password of a file, empty for none; false if it is unknown.
    pub fn set_pass(&self, url: &str, pass: &str) -> bool {
        self.change(url, |file| pass.clone_into(&mut file.pass))
    }

    /// Stores a file of somebody else, with a password unless that is empty; returns its URL.
    pub fn add_foreign(&self, name: &str, bytes: impl Into<Bytes>, pass: &str) -> String {
        let date = self.clock.unix();
        self.state()
            .add_foreign(name, Content::bytes(bytes), date, pass)
    }

    /// Makes a folder that the account with this mail address shares with this one, read-only; returns its id. With
    /// `hides`, files in it are listed without their links. Files and folders are put in as into others.
    pub fn share_foreign(&self, owner: &str, name: &str, hides: bool) -> u64 {
        let now = self.clock.unix();
        self.state().make_shared(owner, name, now, hides)
    }

    /// The public address of a folder and its password, if it is shared.
    pub fn shared(&self, folder: u64) -> Option<(String, String)> {
        let state = self.state();
        let (link, pass) = state.folder(folder)?.share.clone()?;
        Some((format!("https://1fichier.com/dir/{link}"), pass))
    }

    /// The accounts a folder is shared with: mail, whether they may change it, whether they see no links.
    pub fn guests(&self, folder: u64) -> Vec<(String, bool, bool)> {
        let state = self.state();
        let guests = state.folder(folder).map(|f| f.guests.clone());
        let flags = |(email, rw, hide)| (email, rw == 1, hide == 1);
        guests.unwrap_or_default().into_iter().map(flags).collect()
    }

    /// The password of a file, empty for none.
    pub fn pass(&self, url: &str) -> Option<String> {
        Some(self.state().file(file_id(url)?)?.pass.clone())
    }

    /// Marks a file as infected: a scan deletes it.
    pub fn infect(&self, url: &str) -> bool {
        self.change(url, |file| file.infected = true)
    }

    /// Sets the kind of the account: 0 none, 1 Premium, 2 Access, 3 GOLD.
    pub fn set_offer(&self, offer: u32) {
        self.set_config(|c| c.offer = offer);
    }

    /// Sets the storage of the account in bytes.
    pub fn set_quota(&self, bytes: u64) {
        self.set_config(|c| c.quota_bytes = bytes);
    }

    /// The API key in force.
    pub fn key(&self) -> String {
        self.key
            .read()
            .map_or_else(|e| e.into_inner().clone(), |key| key.clone())
    }

    /// Replaces the API key; the old one is refused from now on.
    pub fn change_key(&self, key: &str) {
        match self.key.write() {
            Ok(mut current) => key.clone_into(&mut current),
            Err(poisoned) => key.clone_into(&mut poisoned.into_inner()),
        }
    }

    /// Every folder with its files, in the order of paths.
    pub fn tree(&self) -> Vec<FolderView> {
        let ids = {
            let state = self.state();
            let mut pending = vec![ROOT];
            let mut all = Vec::new();
            while let Some(id) = pending.pop() {
                pending.extend(state.children(id).iter().map(|f| f.id));
                all.push(id);
            }
            all
        };
        let mut tree: Vec<FolderView> = ids.into_iter().filter_map(|id| self.folder(id)).collect();
        tree.sort_by(|a, b| (&a.path, a.id).cmp(&(&b.path, b.id)));
        tree
    }

    /// One folder with its files.
    pub fn folder(&self, id: u64) -> Option<FolderView> {
        let (mut view, files) = {
            let state = self.state();
            let folder = state.folder(id)?;
            let view = FolderView {
                id,
                name: folder.name.clone(),
                path: state.path(id),
                parent: folder.parent,
                files: Vec::new(),
            };
            let files: Vec<StoredFile> = state.stored(id).into_iter().cloned().collect();
            (view, files)
        };
        view.files = files.iter().map(|f| self.view(f)).collect();
        view.files
            .sort_by(|a, b| (&a.name, &a.url).cmp(&(&b.name, &b.url)));
        Some(view)
    }

    /// The id of a folder by its path below the root.
    pub fn folder_at(&self, path: &str) -> Option<u64> {
        let state = self.state();
        path.split('/')
            .filter(|p| !p.is_empty())
            .try_fold(ROOT, |parent, name| state.child(parent, name))
    }

    /// The file with that URL.
    pub fn file(&self, url: &str) -> Option<FileView> {
        let file = self.state().file(file_id(url)?)?.clone();
        Some(self.view(&file))
    }

    /// The files of that path, `folder/folder/name`; several when the name exists more than once.
    pub fn files_at(&self, path: &str) -> Vec<FileView> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(folder) = self.folder_at(folder) else {
            return Vec::new();
        };
        let files: Vec<StoredFile> = self
            .state()
            .stored(folder)
            .into_iter()
            .filter(|f| f.name == name)
            .cloned()
            .collect();
        files.iter().map(|f| self.view(f)).collect()
    }

    /// All bytes of a file. Meant for small ones.
    pub fn read_all(&self, url: &str) -> Option<Bytes> {
        let content = self.state().file(file_id(url)?)?.content.clone();
        content.read(0, usize::try_from(content.size()).ok()?).ok()
    }

    /// Computes the true checksum of every file, at about 100 MB/s, so that listings show no arbitrary one.
    pub fn hash_all(&self) {
        let contents: Vec<Content> = self.state().contents();
        for content in contents {
            content.true_checksum();
        }
    }

    pub(crate) fn try_mkdir(&self, parent: u64, name: &str) -> anyhow::Result<u64> {
        let mut state = self.state();
        if let Some(id) = state.child(parent, name) {
            return Ok(id);
        }
        state
            .make_folder(parent, name, self.clock.unix())
            .with_context(|| format!("there is no folder {parent}"))
    }

    pub(crate) fn try_add(
        &self,
        folder: u64,
        name: &str,
        content: Content,
    ) -> anyhow::Result<String> {
        if content.size() == 0 {
            bail!("the service cannot hold an empty file, so {name:?} was not added");
        }
        let mut state = self.state();
        let file = state.add_file(folder, name, content, self.clock.unix(), Duration::ZERO);
        file.map(|f| f.url())
            .with_context(|| format!("there is no folder {folder}"))
    }

    fn view(&self, file: &StoredFile) -> FileView {
        let limit = self.config.read().map_or(0, |c| c.true_hash_limit);
        FileView {
            url: file.url(),
            name: file.name.clone(),
            size: file.content.size(),
            folder: file.folder,
            date: paris::format(file.date),
            checksum: file.content.checksum(limit),
            description: file.description.clone(),
        }
    }

    fn change(&self, url: &str, change: impl FnOnce(&mut StoredFile)) -> bool {
        file_id(url).is_some_and(|id| self.state().file_mut(id).map(change).is_some())
    }

    fn set_config(&self, change: impl FnOnce(&mut Config)) {
        crate::world::change_config(&self.config, change);
    }
}

/// The id in a URL `https://<domain>/?<id>`; `None` for anything else, also when parameters follow (reference 1).
pub(crate) fn file_id(url: &str) -> Option<&str> {
    let (domain, id) = url.strip_prefix("https://")?.split_once("/?")?;
    let known = DOMAINS.contains(&domain);
    let shaped = (5..=20).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (known && shaped).then_some(id)
}

/// Domains of links by their number (reference 1).
pub(crate) const DOMAINS: [&str; 11] = [
    "1fichier.com",
    "alterupload.com",
    "cjoint.net",
    "desfichiers.com",
    "dfichiers.com",
    "megadl.fr",
    "mesfichiers.org",
    "piecejointe.net",
    "pjointe.com",
    "tenvoi.com",
    "dl4free.com",
];

/// MIME type of a file.
pub(crate) fn mime_of(file: &StoredFile) -> &'static str {
    names::mime(&file.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_strictly() {
        assert_eq!(
            file_id("https://1fichier.com/?aaaabbbbccccddddeeee"),
            Some("aaaabbbbccccddddeeee")
        );
        for bad in [
            "http://1fichier.com/?aaaabbbbccccddddeeee",
            "https://1fichier.com/?aaaabbbbccccddddeeee&af=1",
            "https://example.com/?aaaabbbbccccddddeeee",
            "https://1fichier.com/?AAAA",
            "aaaabbbbccccddddeeee",
        ] {
            assert_eq!(file_id(bad), None, "{bad}");
        }
    }
}
