//! A file was changed here and by others. Both contents are kept: theirs under its name, ours under a name that
//! says what it is.
//!
//! It shows in one of two ways. Before ours was told: the tree knows that what it was made of is gone. After:
//! the account did not have the replaced file any more when it was to be removed. Then its folder is listed
//! again, and another file with that name there is theirs.
use super::names::place;
use super::{Inner, Volume};
use crate::api::Requester;
use crate::outbox::intent::Place;
use crate::tree::{Caller, Ino, Tree, TreeError, name_with};
use crate::util::deadline::Deadline;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::ffi::{OsStr, OsString};
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long looking at a folder again may take: nobody waits for it. The 30 s between two listings (API
/// reference 3), and a silence after a flood.
const LOOK: Duration = Duration::from_secs(120);

/// Something that others may have done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doubt {
    /// The replaced content of a file was gone already; its folder shows whether somebody else has replaced it.
    Replaced { ino: Ino, folder: Ino },
    /// They have put something into a folder.
    Filled { folder: Ino },
    /// What was wanted in a folder could not be put there, since something is not in the account any more.
    Missed { folder: Ino },
}

impl Doubt {
    fn folder(self) -> Ino {
        match self {
            Self::Replaced { folder, .. } | Self::Filled { folder } | Self::Missed { folder } => {
                folder
            }
        }
    }
}

impl Volume {
    /// Looks at the folders concerned, one after the other, until the volume ends.
    pub(super) async fn watch_doubts(
        volume: Weak<Inner>,
        mut doubts: mpsc::UnboundedReceiver<Doubt>,
    ) {
        while let Some(doubt) = doubts.recv().await {
            let Some(inner) = volume.upgrade() else {
                return;
            };
            let caller = Caller {
                requester: Requester::SELF,
                deadline: Deadline::within(inner.clock, LOOK),
            };
            let folder = doubt.folder();
            // What is gone is not known any more once it was looked for.
            let was = inner.tree.in_memory(folder);
            let runtime = inner.runtime.clone();
            let volume = Self { inner };
            let looked = volume.inner.tree.renew(folder, caller).await;
            // They fail only if they panic, which says so itself.
            match (doubt, looked) {
                (Doubt::Replaced { ino, .. }, Ok(_)) => {
                    let resolving = move || volume.part(ino, folder);
                    let _ = runtime.spawn_blocking(resolving).await;
                }
                (Doubt::Missed { .. }, Err(TreeError::NotFound(_) | TreeError::Stale(_))) => {
                    let rescuing = move || volume.rescue(folder, was.as_deref());
                    let _ = runtime.spawn_blocking(rescuing).await;
                }
                (_, Ok(_)) => {}
                (_, Err(error)) => {
                    log::info!("what others did in inode {folder} is not known: {error}");
                }
            }
        }
    }

    /// A file goes to another name if somebody else has another one under its own.
    fn part(&self, ino: Ino, folder: Ino) {
        let (tree, around) = (&self.inner.tree, &self.inner.around);
        let parted = self.inner.outbox.with(|tell| {
            let node = tree.own(ino)?;
            if node.parent != folder || !tree.has_namesake(&node) {
                return None;
            }
            let to = apart(tree, &place(node.parent, &node.name));
            log::warn!(
                "{} was changed by others as well; what was written here is kept as {}",
                node.name.to_string_lossy(),
                to.name.to_string_lossy()
            );
            around.place(tell, &node, to.clone());
            tree.disturb(node.ino, node.parent, &node.name);
            tree.disturb(node.ino, to.folder, &to.name);
            Some(node)
        });
        if let Some(node) = parted {
            tree.give_name_back(node.parent, &node.name);
        }
    }
}

/// Where something goes whose name is somebody else's by now.
pub(super) fn apart(tree: &Tree, place: &Place) -> Place {
    // Another one of that name may have had to go in the same second.
    let names = (0..).map(|later| conflict_name(&place.name, tree.now() + later));
    let mut free = names.filter(|name| !tree.shows(place.folder, name));
    Place {
        folder: place.folder,
        name: free.next().map_or_else(|| place.name.clone(), Into::into),
    }
}

/// `name (conflict 2026-11-21 14.30.05).ext`, in the machine's own time.
fn conflict_name(name: &OsStr, now: i64) -> OsString {
    let date = Timestamp::from_second(now).unwrap_or_default();
    let date = date.to_zoned(TimeZone::system());
    name_with(
        name,
        &format!(" (conflict {})", date.strftime("%Y-%m-%d %H.%M.%S")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_it_is_and_keeps_its_ending() {
        let name = conflict_name(OsStr::new("letter.odt"), 1_800_000_000);
        let name = name.to_str().unwrap();
        assert!(name.starts_with("letter (conflict 2027-01-1"), "{name}");
        assert!(name.ends_with(").odt"), "{name}");
    }
}
