//! What cannot be told because something else was given up, or because somebody reads what is to go. Pure.
//!
//! Promises: whoever waits until all is told does not wait for these.
use super::intent::{Entry, Intents};
use crate::api::FileUrl;
use crate::tree::Ino;
use std::collections::BTreeSet;

/// What was given up, and what waits for that: what is wanted in a folder that could not be made, what
/// makes room for something that failed, the folder that still holds it, what wants its place. The same for
/// files of which nothing is left to be done but to remove what `is_read`.
pub(super) fn of(intents: &Intents, is_read: impl Fn(&FileUrl) -> bool) -> BTreeSet<Ino> {
    let entries = intents.entries();
    let is_kept = |entry: &Entry| entry.is_spent() && entry.doomed().iter().all(&is_read);
    let waiting = entries
        .iter()
        .filter(|(_, entry)| entry.failed.is_some() || is_kept(entry));
    let mut stuck: BTreeSet<Ino> = waiting.map(|(ino, _)| *ino).collect();
    // There is nothing of that, nearly always.
    while !stuck.is_empty() {
        let held: BTreeSet<_> = stuck
            .iter()
            .filter_map(|ino| Some(&entries.get(ino)?.remote.as_ref()?.place))
            .collect();
        let waits = |entry: &Entry| {
            let is_unmade = |folder: &Ino| {
                stuck.contains(folder) && entries.get(folder).is_some_and(|it| it.remote.is_none())
            };
            let is_held_up = match &entry.wanted {
                Some(wanted) => {
                    let is_there = entry.remote.as_ref().is_some_and(|it| it.place == *wanted);
                    is_unmade(&wanted.folder) || (!is_there && held.contains(wanted))
                }
                None => false,
            };
            is_held_up || entry.after.is_some_and(|after| stuck.contains(&after))
        };
        let spent = stuck.iter().filter_map(|ino| entries.get(ino));
        let spent = spent.flat_map(|entry| &entry.discard);
        let mut filled: BTreeSet<Ino> = spent.map(|spent| spent.folder).collect();
        filled.extend(held.iter().map(|place| place.folder));
        let is_filled = |ino: &Ino, entry: &Entry| {
            entry.is_folder && entry.wanted.is_none() && filled.contains(ino)
        };
        let more: Vec<Ino> = entries
            .iter()
            .filter(|(ino, entry)| !stuck.contains(ino) && (waits(entry) || is_filled(ino, entry)))
            .map(|(ino, _)| *ino)
            .collect();
        if more.is_empty() {
            break;
        }
        stuck.extend(more);
    }
    stuck
}

#[cfg(test)]
mod tests {
    use super::super::intent::{Place, Remote, Thing, Version};
    use super::*;
    use crate::api::FolderId;

    fn own(number: u64) -> Ino {
        Ino::own(number).unwrap()
    }

    fn place(folder: Ino, name: &str) -> Place {
        Place {
            folder,
            name: AsRef::<std::ffi::OsStr>::as_ref(name).into(),
        }
    }

    fn version(id: u64) -> Version {
        Version { id, size: 1 }
    }

    #[test]
    fn what_needs_something_that_failed_is_stuck_and_nothing_else() {
        let mut intents = Intents::default();
        let (folder, below, file, beside, victim) = (own(1), own(2), own(3), own(4), own(5));
        intents.make_folder(folder, place(Ino::ROOT, "folder"));
        intents.make_folder(below, place(folder, "below"));
        intents.create(file, place(below, "file"), version(1));
        intents.create(beside, place(Ino::ROOT, "beside"), version(2));
        assert!(of(&intents, |_| false).is_empty());
        intents.fail(folder, "refused");
        assert_eq!(of(&intents, |_| false), [folder, below, file].into());
        // What the file was to replace stays as long as it.
        let known = Remote {
            thing: Thing::Folder(FolderId(9)),
            place: place(Ino::ROOT, "victim"),
            size: 0,
        };
        intents.remove(victim, true, Some(known), Some(file));
        assert!(of(&intents, |_| false).contains(&victim));
        intents.retry(folder);
        assert!(of(&intents, |_| false).is_empty());
    }

    #[test]
    fn what_somebody_reads_is_not_waited_for_nor_the_folder_it_is_in() {
        let mut intents = Intents::default();
        let (folder, file) = (own(1), own(2));
        let url = FileUrl::parse("https://1fichier.com/?aaaabbbbccccddddeeee").unwrap();
        let at = place(Ino::ROOT, "folder");
        let known = |thing, place: &Place| Remote {
            thing,
            place: place.clone(),
            size: 1,
        };
        let there = known(Thing::File(url.clone()), &place(folder, "file"));
        intents.remove(file, false, Some(there), None);
        let there = known(Thing::Folder(FolderId(7)), &at);
        intents.remove(folder, true, Some(there), None);
        assert!(of(&intents, |_| false).is_empty());
        assert_eq!(of(&intents, |held| *held == url), [folder, file].into());
    }

    #[test]
    fn a_folder_that_cannot_be_emptied_and_a_place_that_does_not_come_free_are_waited_for() {
        let mut intents = Intents::default();
        let (folder, inner, newcomer) = (own(1), own(2), own(3));
        let known = |id, place: &Place| Remote {
            thing: Thing::Folder(FolderId(id)),
            place: place.clone(),
            size: 0,
        };
        let (at, within) = (place(Ino::ROOT, "folder"), place(folder, "inner"));
        intents.remove(inner, true, Some(known(2, &within)), None);
        intents.remove(folder, true, Some(known(1, &at)), None);
        intents.make_folder(newcomer, at);
        intents.fail(inner, "refused");
        assert_eq!(of(&intents, |_| false), [inner, folder, newcomer].into());
    }
}
