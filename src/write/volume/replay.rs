//! What an earlier life was not able to tell the account is shown as it was left.
use super::Volume;
use super::around::remote_file;
use super::recent::{Recent, Told};
use crate::outbox::intent::{Entry, Remote, Thing};
use crate::tree::{Ino, Kind, Node, NodeKey, OwnFile, Pending};
use crate::util::sync::lock;

impl Volume {
    /// Shows everything of which the account has to be told something.
    pub(super) fn replay(&self, pending: &Pending) {
        let tree = &self.inner.tree;
        for (folder, ino) in &pending.folders {
            tree.made_before(*ino, *folder);
        }
        for (key, record) in &pending.recent {
            match Ino::new(*key).zip(Recent::read(record)) {
                Some((ino, recent)) => self.replay_recent(ino, recent),
                None => log::warn!("what the account was told last of inode {key} makes no sense"),
            }
        }
        let entries = self.inner.outbox.entries();
        for (ino, entry) in &entries {
            log::debug!("inode {ino} waits: {entry:?}");
            for spent in &entry.discard {
                tree.hide(NodeKey::File(spent.url.id()), spent.folder, false);
            }
            if let Some(attempt) = &entry.attempt {
                tree.doubt(*ino, attempt.place.folder, &attempt.place.name);
            }
            self.replay_entry(*ino, entry);
        }
        if !entries.is_empty() {
            log::info!("{} changes wait to be told to the account", entries.len());
        }
    }

    /// Shows what the account was told and may not show yet.
    fn replay_recent(&self, ino: Ino, recent: Recent) {
        let tree = &self.inner.tree;
        if let Told::File { url, .. } = &recent.thing {
            tree.stored(ino, url.id());
        }
        log::debug!("inode {ino} was told: {recent:?}");
        let root = tree.lasting(Ino::ROOT);
        let recent = recent.lasting(|folder| if folder == root { Ino::ROOT } else { folder });
        let (folder, name) = (recent.place.folder, recent.place.name);
        if let Told::Folder(id) = recent.thing
            && ino.folder().is_none()
        {
            tree.made_before(ino, id);
        }
        // What was changed since is not there any more, and something else may be: its entry says where it is.
        let is_changed = self.inner.outbox.entry(ino).is_some();
        match recent.thing {
            _ if is_changed => tree.unshow(ino, folder),
            Told::Gone => tree.unshow(ino, folder),
            Told::Folder(id) => {
                tree.moved(ino, folder);
                tree.show_folder(ino, Some(id), folder, &name);
            }
            Told::File {
                url,
                size,
                modified,
            } => {
                let mut file = remote_file(url, size);
                file.uploaded = Some(modified);
                tree.show(Node {
                    ino,
                    parent: folder,
                    name,
                    kind: Kind::File(file),
                });
            }
        }
        for (key, folder) in &recent.spent {
            tree.hide(*key, *folder, true);
        }
        lock(&self.inner.around.spent).insert(ino, recent.spent);
        tree.told_before(ino, folder, recent.at);
    }

    fn replay_entry(&self, ino: Ino, entry: &Entry) {
        let tree = &self.inner.tree;
        // Of the ids that a file has had, the last has its number.
        if let Some(Remote {
            thing: Thing::File(url),
            ..
        }) = &entry.remote
        {
            tree.stored(ino, url.id());
        }
        if let Some(remote) = entry.remote.as_ref().filter(|_| entry.is_folder) {
            tree.moved(ino, remote.place.folder);
        }
        let Some(wanted) = &entry.wanted else {
            let remote = entry.remote.as_ref().map(|remote| &remote.place);
            // What is still being stored is not wanted any more, and nobody is to see it come.
            let attempted = entry.attempt.as_ref().map(|attempt| &attempt.place);
            if let Some(place) = remote.or(attempted) {
                tree.unshow(ino, place.folder);
            }
            return;
        };
        let (folder, name) = (wanted.folder, &wanted.name);
        let thing = entry.remote.as_ref().map(|remote| &remote.thing);
        let kind = match (entry.content, &entry.remote) {
            _ if entry.is_folder => {
                let id = match thing {
                    Some(Thing::Folder(id)) => Some(*id),
                    _ => None,
                };
                return tree.show_folder(ino, id, folder, name);
            }
            (Some(version), _) => Kind::Own(OwnFile {
                ino,
                size: version.size,
                modified: tree.now(),
            }),
            (
                None,
                Some(Remote {
                    thing: Thing::File(url),
                    size,
                    ..
                }),
            ) => Kind::File(remote_file(url.clone(), *size)),
            (None, _) => return,
        };
        tree.show(Node {
            ino,
            parent: folder,
            name: name.clone(),
            kind,
        });
    }
}
