//! The simulated account: refuses what a person would not forgive.
use crate::api::FileUrl;
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// The account.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) folders: BTreeMap<u64, (u64, Box<OsStr>)>,
    pub(super) files: BTreeMap<String, (u64, Box<OsStr>, u64)>,
    pub(super) next: u64,
}

impl Account {
    pub(super) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn assert_free(&self, parent: u64, name: &OsStr, own: u64) {
        let taken = self
            .folders
            .iter()
            .find(|(id, (there, other))| **id != own && *there == parent && **other == *name);
        assert_eq!(taken, None, "two folders at one place");
    }

    pub(super) fn make_folder(&mut self, parent: u64, name: &OsStr) -> u64 {
        self.assert_free(parent, name, 0);
        let id = self.fresh();
        self.folders.insert(id, (parent, name.into()));
        id
    }

    pub(super) fn store(&mut self, folder: u64, name: &OsStr, version: u64) -> FileUrl {
        let url =
            FileUrl::parse(&format!("https://1fichier.com/?file{:08}", self.fresh())).unwrap();
        self.files
            .insert(url.to_string(), (folder, name.into(), version));
        url
    }

    pub(super) fn remove_folder(&mut self, id: u64) {
        let holds = self.folders.values().any(|(parent, _)| *parent == id)
            || self.files.values().any(|(folder, ..)| *folder == id);
        assert!(!holds, "a folder is removed with what it holds");
        self.folders.remove(&id);
    }

    pub(super) fn assert_not_below(&self, folder: u64, above: u64) {
        let mut next = folder;
        while next != 0 {
            assert_ne!(next, above, "a folder is moved into itself");
            next = self.folders[&next].0;
        }
    }
}
