//! What a mount tells of one file or folder. Asks nobody: it is for finding out why others wait.
use super::answers::Control;
use crate::control::Answer;
use crate::control::explain::{Explained, FileReading, Listed};
use crate::tree::{Ino, Kind, ListingPlace};

/// The answer to `explain`.
pub(super) fn answer(control: &Control, inode: u64) -> Answer {
    let node = Ino::new(inode).and_then(|ino| control.tree.node(ino).ok());
    let Some(node) = node else {
        return Answer::error("the mount does not know that file any more");
    };
    let mut explained = Explained {
        inode,
        gone: control.tree.is_gone(node.ino),
        date: node.created(),
        ..Explained::default()
    };
    match &node.kind {
        Kind::Folder(folder) => {
            explained.kind = "folder".into();
            explained.id = folder.id.to_string();
            explained.listing = listed(control, node.ino);
        }
        Kind::File(file) => {
            let id = file.url.id();
            explained.kind = "file".into();
            explained.id = id.to_string();
            explained.url = Some(file.url.to_string());
            explained.size = file.size;
            explained.whirlpool = file.whirlpool.map(|hash| hash.to_string());
            explained.listing = listed(control, node.parent);
            explained.reading = Some(FileReading::of(&control.reader.explain(id)));
        }
    }
    Answer::Explained(Box::new(explained))
}

fn listed(control: &Control, folder: Ino) -> Listed {
    let pause = control.tree.pause_before(folder).unwrap_or_default();
    let place = control.tree.listing_place(folder);
    let (kept, age, entries, complete) = match place {
        ListingPlace::Memory {
            age,
            entries,
            is_complete,
        } => (
            "memory",
            Some(age.as_secs()),
            u64::try_from(entries).ok(),
            Some(is_complete),
        ),
        ListingPlace::Disk => ("disk", None, None, None),
        ListingPlace::None => ("none", None, None, None),
    };
    Listed {
        kept: kept.to_owned(),
        age,
        fresh_for: control.tree.fresh_for().as_secs(),
        pause: pause.as_secs(),
        entries,
        complete,
    }
}
