use super::*;
use crate::outbox::intent::Place;
use crate::tree::Timestamp;

#[test]
fn the_last_that_is_noted_of_attributes_is_written_down_also_after_a_failed_commit() {
    let mut state = State::new(Pending::default(), Settle::default(), Ino::ROOT);
    let ino = |number| Ino::own(number).unwrap();
    let local = |seconds| Local::new(Timestamp::new(seconds, 0));
    for second in [1, 2] {
        state.note(ino(1), Some(&local(second)));
        state.note(ino(2), Some(&local(second)));
        state.note(ino(3), Some(&local(second)));
    }
    state.note(ino(3), None);
    let (commit, released) = state.take();
    let two = Some(local(2).record());
    let key = |number| ino(number).get();
    let first = vec![(key(1), two.clone()), (key(2), two.clone()), (key(3), None)];
    assert_eq!(commit.locals, first);
    assert!(!commit.is_empty());
    assert!(state.take().0.is_empty());

    // It cannot be written down, and meanwhile there is something newer of two of them.
    state.note(ino(1), Some(&local(3)));
    state.note(ino(2), None);
    state.put_back(commit, released);
    let (commit, _) = state.take();
    let second = vec![
        (key(1), Some(local(3).record())),
        (key(2), None),
        (key(3), None),
    ];
    assert_eq!(commit.locals, second);
    assert!(state.take().0.is_empty());
}

fn place(name: &str) -> Place {
    Place {
        folder: Ino::ROOT,
        name: AsRef::<std::ffi::OsStr>::as_ref(name).into(),
    }
}

fn at(seconds: u64) -> Moment {
    Moment::from_origin(Duration::from_secs(seconds))
}

#[test]
fn what_waits_for_company_is_thought_of_when_it_has_waited_long_enough() {
    let mut state = State::new(Pending::default(), Settle::default(), Ino::ROOT);
    let ino = |number| Ino::own(number).unwrap();
    let version = |id| Version { id, size: 5 };
    state.intents.create(ino(1), place("closed"), version(1));
    state.settle(ino(1), true, at(0));
    // Held open, and flushed a moment ago.
    state.hold(ino(2), true, at(0));
    state.intents.create(ino(2), place("open"), version(2));
    state.settle(ino(2), true, at(0));
    assert_eq!(state.next_moment(at(0)), Some(at(5)));
    let overdue = at(5).after(COMPANY);
    assert_eq!(state.next_moment(at(5)), Some(overdue));
    assert_eq!(state.next_moment(overdue), Some(at(300)));
}

#[test]
fn what_is_sent_and_not_kept_again_and_again_is_left_to_a_person() {
    let mut state = State::new(Pending::default(), Settle::default(), Ino::ROOT);
    let ino = Ino::own(1).unwrap();
    let version = Version { id: 1, size: 5 };
    state.intents.create(ino, place("file"), version);
    let attempt = |whirlpool| Attempt {
        goal: Goal::Store(version),
        place: place("file"),
        folder: FolderId(0),
        since: 0,
        ticket: None,
        whirlpool,
    };
    let hash = crate::api::WhirlpoolHasher::new().finish();
    // Never sent to its end: tried for ever.
    for _ in 0..10 {
        state.intents.begin(ino, attempt(None));
        state.done(Done::Nothing(ino), at(0));
    }
    for times in 1..=Vain::Unkept.most() {
        assert!(state.entry(ino).unwrap().failed.is_none());
        state.intents.begin(ino, attempt(Some(hash)));
        state.done(Done::Nothing(ino), at(0));
        let is_left = state.entry(ino).unwrap().failed.is_some();
        assert_eq!(is_left, times == Vain::Unkept.most());
    }
    state.intents.retry(ino);
    state.intents.begin(ino, attempt(Some(hash)));
    state.done(Done::Nothing(ino), at(0));
    assert!(state.entry(ino).unwrap().failed.is_none(), "it counts anew");
}

#[test]
fn no_number_is_kept_for_a_folder_that_is_gone() {
    let mut state = State::new(Pending::default(), Settle::default(), Ino::ROOT);
    let ino = Ino::own(1).unwrap();
    let id = FolderId(9);
    state.intents.make_folder(ino, place("folder"));
    let name = place("folder").name;
    state.done(
        Done::Made {
            ino,
            id,
            name,
            is_new: true,
        },
        at(0),
    );
    assert_eq!(state.take().0.folders, [(id, ino)]);
    state.done(Done::FolderRemoved(ino), at(1));
    let (commit, released) = state.take();
    assert_eq!(commit.folders_gone, [id]);
    // Also when it cannot be written down at once.
    state.put_back(commit, released);
    assert_eq!(state.take().0.folders_gone, [id]);
}
