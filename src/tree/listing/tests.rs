//! Random histories of one folder: what is promised of every listing and of every two in a row.
use super::*;
use crate::api::{FileId, FileUrl};
use crate::tree::names::numbered;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// Names that collide with each other's numbers.
const NAMES: [&str; 6] = ["a.txt", "a (2).txt", "a (3).txt", "a", "a (2)", "B"];

/// What happens to the folder between two listings: an id gets a name and a date, or goes.
#[derive(Debug, Clone)]
struct Step {
    who: u64,
    is_folder: bool,
    what: Option<(usize, i64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop::option::weighted(0.75, (0..NAMES.len(), 0i64..4));
    (0u64..9, prop::bool::weighted(0.25), what).prop_map(|(who, is_folder, what)| Step {
        who,
        is_folder,
        what,
    })
}

/// The account's side: true name and date of everything in the folder.
type Account = BTreeMap<(bool, u64), (usize, i64)>;

fn answer(account: &Account) -> FolderListing {
    let mut answer = FolderListing {
        folder: FolderId(7),
        name: "seven".into(),
        created: Some(0),
        file_count: None,
        folders: Vec::new(),
        files: Vec::new(),
    };
    for (&(is_folder, who), &(name, date)) in account {
        let name = NAMES[name].into();
        if is_folder {
            answer.folders.push(SubFolder {
                id: FolderId(100 + who),
                name,
                created: Some(date),
                password: false,
            });
        } else {
            answer.files.push(FileItem {
                url: FileUrl::of(file_id(who)),
                name,
                size: who,
                uploaded: Some(date),
                whirlpool: None,
                content_type: Some("text/plain".into()),
                password: date == 3,
                access_list: false,
            });
        }
    }
    answer
}

fn file_id(who: u64) -> FileId {
    FileId::parse(&format!("{who:020}")).unwrap()
}

fn key(is_folder: bool, who: u64) -> NodeKey {
    if is_folder {
        NodeKey::Folder(FolderId(100 + who))
    } else {
        NodeKey::File(file_id(who))
    }
}

fn build(answer: &FolderListing, numbering: &Numbering) -> (Listing, Numbering) {
    Listing::build(
        answer,
        &Surroundings {
            ino: Ino::new(9).unwrap(),
            number: &|key, taken| Ino::of(key).filter(|ino| !taken(*ino)),
            numbering,
            fetched: Moment::from_origin(Duration::ZERO),
            kept: &[],
            is_complete: !answer.is_cut(),
        },
    )
}

fn names_by_key(listing: &Listing) -> BTreeMap<NodeKey, OsString> {
    listing
        .entries()
        .iter()
        .map(|node| (node.key(), OsString::from(&*node.name)))
        .collect()
}

/// Every entry once, under its own or a numbered name, found by name, sorted, the newest of new
/// ones plain.
fn check_alone(account: &Account, listing: &Listing, numbering_before: &Numbering) {
    let names = names_by_key(listing);
    assert_eq!(names.len(), listing.entries().len());
    assert_eq!(names.len(), account.len());
    let distinct: HashSet<&OsString> = names.values().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(
        listing
            .entries()
            .windows(2)
            .all(|pair| pair[0].ino < pair[1].ino)
    );
    for (&(is_folder, who), &(name, _)) in account {
        let key = key(is_folder, who);
        let shown = &names[&key];
        let plain = OsStr::new(NAMES[name]);
        let fits = shown == plain || (2..40).any(|n| *shown == numbered(plain, n, is_folder));
        assert!(fits, "{shown:?} for {plain:?}");
        assert_eq!(listing.get(shown).unwrap().key(), key);
        // A file that is not alone never hides a folder.
        if is_folder && numbering_before.is_empty() {
            assert!(listing.get(plain).unwrap().is_folder());
        }
    }
    for name in NAMES {
        let bearers = account.iter().filter(|(_, (n, _))| NAMES[*n] == name);
        let newest = bearers.max_by_key(|&(&(is_folder, who), &(_, date))| (is_folder, date, who));
        if numbering_before.is_empty()
            && let Some((&(is_folder, who), _)) = newest
        {
            assert_eq!(names[&key(is_folder, who)], *name);
        }
    }
    assert!(listing.get(OsStr::new("absent")).is_none());
}

/// Nobody is renamed without one of the reasons the rules know.
fn check_stable(before: (&Account, &Listing), after: (&Account, &Listing)) {
    let (old_names, new_names) = (names_by_key(before.1), names_by_key(after.1));
    for (id, (name, date)) in after.0 {
        let same = before.0.get(id).is_some_and(|(old, _)| old == name);
        let me = key(id.0, id.1);
        if !same || old_names[&me] == new_names[&me] {
            continue;
        }
        let now_mine = after
            .1
            .get(&old_names[&me])
            .expect("a name is left only to another");
        let other = now_mine.key();
        let is_new = old_names.get(&other) != Some(&OsString::from(&*now_mine.name));
        assert!(
            is_new,
            "{me:?} was renamed for {other:?}, which had the name before"
        );
        let was_plain = old_names[&me] == *NAMES[*name];
        assert!(
            was_plain || now_mine.is_folder(),
            "a number given was taken back"
        );
        if was_plain && !now_mine.is_folder() {
            assert!(
                (now_mine.created(), other) > (Some(*date), me),
                "the plain name went to an older one"
            );
        }
    }
}

fn applied(old: &Listing, changes: &[EntryChange]) -> Vec<Arc<Node>> {
    let mut entries: BTreeMap<(Ino, NodeKey), Arc<Node>> = old
        .entries()
        .iter()
        .map(|node| ((node.ino, node.key()), Arc::clone(node)))
        .collect();
    for change in changes {
        match change {
            EntryChange::Added(node) => {
                let former = entries.insert((node.ino, node.key()), Arc::clone(node));
                assert!(former.is_none(), "added what was there");
            }
            EntryChange::Removed(node) => {
                assert_eq!(entries.remove(&(node.ino, node.key())).as_ref(), Some(node));
            }
            EntryChange::Renamed { was, now } => {
                assert_ne!(was.name, now.name);
                let former = entries.insert((now.ino, now.key()), Arc::clone(now));
                assert_eq!(former.as_ref(), Some(was));
            }
            EntryChange::Altered(now) => {
                let former = entries
                    .insert((now.ino, now.key()), Arc::clone(now))
                    .unwrap();
                assert_eq!(former.name, now.name);
                assert_ne!(&former, now);
            }
        }
    }
    entries.into_values().collect()
}

/// A reader that saw the first part of the old listing goes on in the new one.
fn check_resumes(old: &Listing, new: &Listing, stop: usize) {
    let seen: Vec<NodeKey> = old.entries().iter().take(stop).map(|n| n.key()).collect();
    let cookie = old.entries().get(..stop).and_then(<[_]>::last);
    let rest = new.after(cookie.map_or(0, |node| node.ino.get()));
    let all: Vec<NodeKey> = seen
        .iter()
        .copied()
        .chain(rest.iter().map(|n| n.key()))
        .collect();
    let once: HashSet<NodeKey> = all.iter().copied().collect();
    assert_eq!(once.len(), all.len(), "an entry was seen twice");
    for node in new.entries() {
        let stayed = old.entries().iter().any(|was| was.key() == node.key());
        assert!(!stayed || once.contains(&node.key()), "an entry was missed");
    }
}

proptest! {
    #[test]
    fn listings_keep_their_promises_through_any_history(
        history in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..8),
        stop in 0usize..9,
    ) {
        let mut account = Account::new();
        let mut numbering = Numbering::default();
        let mut previous: Option<(Account, Listing)> = None;
        for steps in history {
            for step in steps {
                let id = (step.is_folder, step.who);
                match step.what {
                    Some(what) => { account.insert(id, what); }
                    None => { account.remove(&id); }
                }
            }
            let (listing, next) = build(&answer(&account), &numbering);
            check_alone(&account, &listing, &numbering);
            if let Some((old_account, old)) = &previous {
                check_stable((old_account, old), (&account, &listing));
                let changes = diff(old, &listing);
                prop_assert_eq!(applied(old, &changes), listing.entries().to_vec());
                prop_assert_eq!(changes.is_empty(), old.entries() == listing.entries());
                check_resumes(old, &listing, stop.min(old.entries().len()));
            }
            numbering = next;
            previous = Some((account.clone(), listing));
        }
    }
}

#[test]
fn the_newest_date_and_completeness_come_from_the_answer() {
    let account = Account::from([((false, 1), (0, 2)), ((true, 2), (5, 3))]);
    let mut said = answer(&account);
    let (listing, _) = build(&said, &Numbering::default());
    assert_eq!((listing.newest(), listing.is_complete()), (Some(3), true));
    said.file_count = Some(2);
    said.created = Some(10);
    let (listing, _) = build(&said, &Numbering::default());
    assert_eq!((listing.newest(), listing.is_complete()), (Some(10), false));
}

#[test]
fn a_repeated_entry_appears_once_and_a_refused_one_is_noted() {
    let mut said = answer(&Account::from([((false, 1), (0, 2)), ((true, 2), (5, 3))]));
    said.files.push(said.files[0].clone());
    let (listing, _) = build(&said, &Numbering::default());
    assert_eq!(listing.entries().len(), 2);
    assert!(!listing.has_refused());
    said.folders[0].id = FolderId(u64::MAX);
    let (listing, _) = build(&said, &Numbering::default());
    assert_eq!(listing.entries().len(), 1);
    assert!(listing.has_refused());
}

#[test]
fn cut_names_bear_six_characters_of_their_id() {
    let mut said = answer(&Account::from([((false, 1), (0, 2)), ((true, 2), (5, 3))]));
    said.files[0].name = ("é".repeat(140) + ".jpg").into();
    said.folders[0].name = "x".repeat(300).into();
    let (listing, _) = build(&said, &Numbering::default());
    let mut names: Vec<&str> = listing
        .entries()
        .iter()
        .map(|n| n.name.to_str().unwrap())
        .collect();
    names.sort_by_key(|name| name.starts_with('x'));
    assert!(names[0].ends_with("é~000001.jpg"), "{names:?}");
    assert!(names[1].ends_with("x~000102"), "{names:?}");
    assert!(names.iter().all(|name| name.len() <= names::NAME_MAX));
}
