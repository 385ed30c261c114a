//! Distinct names for entries that bear the same one: the service allows duplicates, directories do
//! not (API reference 5, ten facts).
//!
//! Rules, in this order:
//! 1. A folder keeps its name over a file.
//! 2. Who once got a number keeps it as long as it keeps its name, even when it is alone.
//! 3. Of those without a number the newest bears the plain name; so a newer arrival takes it, and the
//!    former bearer gets the next number. Same second: the greater id counts as newer.
//! 4. The others become `name (2).ext`, `name (3).ext`, ... from the newest to the oldest; a number
//!    whose name is the true name of another entry is skipped.
//!
//! Pure: what must be remembered is a [`Numbering`] that goes from one listing of a folder to the next.
use super::names;
use super::node::{Node, NodeKey};
use crate::api::UnixSeconds;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};

/// First number an entry can get.
const FIRST_NUMBER: u32 = 2;

/// An entry that needs a name.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Who it is.
    pub(super) key: NodeKey,
    /// Its true name, decoded.
    pub(super) name: OsString,
    /// Since when it is there; unknown counts as oldest.
    pub(super) since: Option<UnixSeconds>,
}

/// The numbers given in one folder, with the name each belongs to. Empty for nearly every folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Numbering {
    given: HashMap<NodeKey, (Box<OsStr>, u32)>,
}

impl Numbering {
    /// Whether no number was given.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The numbers given, with whom and the name they belong to.
    pub(super) fn given(&self) -> impl Iterator<Item = (NodeKey, &OsStr, u32)> {
        let given = self.given.iter();
        given.map(|(key, (name, number))| (*key, &**name, *number))
    }

    /// Notes a number that was given in an earlier life.
    pub(super) fn give(&mut self, key: NodeKey, name: &OsStr, number: u32) {
        self.given.insert(key, (name.into(), number));
    }

    /// The same with an entry that bears none any more.
    pub(super) fn without(&self, key: NodeKey) -> Self {
        let mut next = self.clone();
        next.given.remove(&key);
        next
    }

    /// The name of a node before it got a number.
    pub(super) fn true_name(&self, node: &Node) -> OsString {
        let numbered = self.given.get(&node.key());
        numbered.map_or(&node.name, |(name, _)| name).to_os_string()
    }

    /// Makes the candidates' names distinct, and returns the numbers to remember: those of the
    /// candidates, and also those of absent entries when the candidates are not all (`complete` false).
    pub(super) fn assign(&self, candidates: &mut [Candidate], complete: bool) -> Self {
        let names: HashSet<OsString> = candidates.iter().map(|c| c.name.clone()).collect();
        let mut next = if complete {
            Self::default()
        } else {
            self.clone()
        };
        if self.is_empty() && names.len() == candidates.len() {
            return next;
        }
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_unstable_by_key(|&at| {
            let candidate = &candidates[at];
            let is_file = matches!(candidate.key, NodeKey::File(_));
            (is_file, Reverse((candidate.since, candidate.key)))
        });
        let files_at = order
            .iter()
            .position(|&at| matches!(candidates[at].key, NodeKey::File(_)))
            .unwrap_or(order.len());
        let (folders, files) = order.split_at(files_at);

        let mut taken = HashSet::with_capacity(candidates.len());
        for class in [folders, files] {
            let mut numbers: Vec<(usize, u32, OsString)> = Vec::new();
            let mut open = Vec::new();
            for &at in class {
                match self.kept(&candidates[at], &taken) {
                    Some((number, name)) => {
                        taken.insert(name.clone());
                        numbers.push((at, number, name));
                    }
                    None => open.push(at),
                }
            }
            // The newest comes first and takes the plain name; whoever finds it taken gets a number.
            open.retain(|&at| !taken.insert(candidates[at].name.clone()));
            let mut free = HashMap::new();
            for at in open {
                let candidate = &candidates[at];
                let number = free.entry(candidate.name.clone()).or_insert(FIRST_NUMBER);
                let name = loop {
                    let name = numbered(candidate, *number);
                    if !names.contains(&name) && !taken.contains(&name) {
                        break name;
                    }
                    *number += 1;
                };
                taken.insert(name.clone());
                numbers.push((at, *number, name));
            }
            for (at, number, name) in numbers {
                let candidate = &mut candidates[at];
                let plain = std::mem::replace(&mut candidate.name, name);
                next.given
                    .insert(candidate.key, (plain.into_boxed_os_str(), number));
            }
        }
        next
    }

    /// The number a candidate had, if it still applies.
    fn kept(&self, candidate: &Candidate, taken: &HashSet<OsString>) -> Option<(u32, OsString)> {
        let (name, number) = self.given.get(&candidate.key)?;
        if **name != *candidate.name {
            return None;
        }
        let name = numbered(candidate, *number);
        (!taken.contains(&name)).then_some((*number, name))
    }
}

fn numbered(candidate: &Candidate, number: u32) -> OsString {
    let is_folder = matches!(candidate.key, NodeKey::Folder(_));
    names::numbered(&candidate.name, number, is_folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FileId, FolderId};

    fn file(id: &str, name: &str, since: UnixSeconds) -> Candidate {
        Candidate {
            key: NodeKey::File(FileId::parse(id).unwrap()),
            name: name.into(),
            since: Some(since),
        }
    }

    fn folder(id: u64, name: &str) -> Candidate {
        Candidate {
            key: NodeKey::Folder(FolderId(id)),
            name: name.into(),
            since: Some(0),
        }
    }

    /// Names in the order of the candidates, and the numbering for the next time.
    fn assign(former: &Numbering, mut all: Vec<Candidate>) -> (Vec<String>, Numbering) {
        let next = former.assign(&mut all, true);
        let names = all
            .into_iter()
            .map(|c| c.name.into_string().unwrap())
            .collect();
        (names, next)
    }

    #[test]
    fn first_seen_together_the_newest_is_plain() {
        let all = vec![
            file("aaaaa", "x.txt", 1),
            file("bbbbb", "x.txt", 3),
            file("ccccc", "x.txt", 2),
            file("ddddd", "y.txt", 2),
        ];
        let (names, _) = assign(&Numbering::default(), all);
        assert_eq!(names, ["x (3).txt", "x.txt", "x (2).txt", "y.txt"]);
    }

    #[test]
    fn numbers_are_kept_and_a_newer_arrival_is_plain() {
        let old = || [file("aaaaa", "x.txt", 1), file("bbbbb", "x.txt", 2)];
        let (names, numbering) = assign(&Numbering::default(), old().into());
        assert_eq!(names, ["x (2).txt", "x.txt"]);
        let (names, numbering) = assign(
            &numbering,
            old()
                .into_iter()
                .chain([file("ccccc", "x.txt", 3)])
                .collect(),
        );
        assert_eq!(names, ["x (2).txt", "x (3).txt", "x.txt"]);
        // The plain one goes: nobody is renamed. A new one is plain again, also an old one.
        let (names, numbering) = assign(&numbering, old().into());
        assert_eq!(names, ["x (2).txt", "x (3).txt"]);
        let (names, _) = assign(
            &numbering,
            old()
                .into_iter()
                .chain([file("ddddd", "x.txt", 0)])
                .collect(),
        );
        assert_eq!(names, ["x (2).txt", "x (3).txt", "x.txt"]);
    }

    #[test]
    fn same_second_is_decided_by_id_and_an_older_arrival_gets_a_number() {
        let (names, numbering) = assign(
            &Numbering::default(),
            vec![file("bbbbb", "x", 5), file("aaaaa", "x", 5)],
        );
        assert_eq!(names, ["x", "x (2)"]);
        let (names, _) = assign(
            &numbering,
            vec![
                file("bbbbb", "x", 5),
                file("aaaaa", "x", 5),
                file("ccccc", "x", 4),
            ],
        );
        assert_eq!(names, ["x", "x (2)", "x (3)"]);
    }

    #[test]
    fn a_true_name_is_never_given_as_a_number() {
        let (names, _) = assign(
            &Numbering::default(),
            vec![
                file("aaaaa", "x.txt", 1),
                file("bbbbb", "x.txt", 2),
                file("ccccc", "x (2).txt", 0),
            ],
        );
        assert_eq!(names, ["x (3).txt", "x.txt", "x (2).txt"]);
    }

    #[test]
    fn a_number_given_stands_against_a_true_name_that_comes_later() {
        let pair = || [file("aaaaa", "x", 1), file("bbbbb", "x", 2)];
        let (_, numbering) = assign(&Numbering::default(), pair().into());
        let late = pair().into_iter().chain([file("ccccc", "x (2)", 9)]);
        let (names, _) = assign(&numbering, late.collect());
        assert_eq!(names, ["x (2)", "x", "x (2) (2)"]);
    }

    #[test]
    fn a_folder_keeps_its_name() {
        let (names, numbering) = assign(
            &Numbering::default(),
            vec![file("aaaaa", "x", 9), folder(1, "x"), folder(2, "x")],
        );
        assert_eq!(names, ["x (3)", "x (2)", "x"]);
        // Also over a number a file was given; the file moves on.
        let (names, _) = assign(&numbering, vec![file("aaaaa", "x", 9), folder(3, "x (3)")]);
        assert_eq!(names, ["x", "x (3)"]);
    }

    #[test]
    fn a_renamed_file_loses_its_number_and_an_incomplete_view_forgets_nobody() {
        let (_, numbering) = assign(
            &Numbering::default(),
            vec![file("aaaaa", "x", 1), file("bbbbb", "x", 2)],
        );
        let (names, _) = assign(&numbering, vec![file("aaaaa", "y", 1)]);
        assert_eq!(names, ["y"]);
        let seen = numbering.assign(&mut [file("bbbbb", "x", 2)], false);
        assert_eq!(seen, numbering);
    }
}
