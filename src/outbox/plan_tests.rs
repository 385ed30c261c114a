//! Programs change a tree, calls are carried out, lost and interleaved with them; in the end the account
//! is the tree.
#[path = "plan_account_tests.rs"]
mod account;
#[path = "plan_telling_tests.rs"]
mod telling;
#[path = "plan_world_tests.rs"]
mod world;

use super::super::intent::{Done, Spent};
use super::super::record;
use super::*;
use proptest::prelude::*;
use world::{NAMES, World};

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

/// Nobody waits for what is not there any more.
#[test]
fn what_is_given_up_while_it_is_removed_is_gone() {
    let mut world = World::new();
    let (ino, _) = world.shown.iter().find(|(_, it)| !it.is_folder).unwrap();
    let ino = *ino;
    let known = world.known(ino);
    let earlier = FileUrl::parse("https://1fichier.com/?earlier1234").unwrap();
    world.intents.remove(ino, false, known, None);
    let spent = Spent {
        url: earlier,
        folder: Ino::ROOT,
    };
    world.intents.done(Done::Surplus { ino, spent });
    let doomed = world.intents.get(ino).unwrap().doomed();
    assert_eq!(doomed.len(), 2);
    world.intents.give_up(ino);
    for url in doomed.into_iter().rev() {
        world.intents.done(Done::Removed {
            ino,
            url,
            was_there: true,
        });
    }
    assert!(world.intents.entries().is_empty(), "{}", world.brief());
}

/// As a program saves that writes beside and moves that over the old one, and the person saves twice.
#[test]
fn what_is_replaced_twice_before_anything_was_sent_goes_when_the_last_is_there() {
    let mut world = World::new();
    let at = place(Ino::ROOT, "c");
    let old = world.at(&at).unwrap();
    for _ in 0..2 {
        world.op(&Op::Create(2, 3, 5));
        let new = Ino::new(world.next).unwrap();
        world.rename(new, place(Ino::ROOT, "beside"));
        world.rename(new, at.clone());
    }
    let is_removal = |batch: &Batch| matches!(batch, Batch::RemoveFiles(_));
    let batches = plan(&world.intents, &world);
    assert!(!batches.iter().any(is_removal), "{batches:?}");
    let last = world.at(&at).unwrap();
    assert_eq!(world.intents.get(old).unwrap().after, Some(last));
    // What was written down is the same.
    let again = Intents::of(world.intents.entries().clone());
    assert_eq!(again.replaced_by(last), [old]);

    // Whoever removes the last one wants nothing there.
    world.remove(last, None);
    let batches = plan(&world.intents, &world);
    assert!(batches.iter().any(is_removal), "{batches:?}");
}
