//! What the service does not let an account do, and answers that never came: said with what to do.
use super::{Way, World, both};
use crate::harness::{eventually, names};
use fake_1fichier::{Fault, FaultKind};

both! {
    networks_without_credits_are_told_what_helps
    a_locked_address_is_told_to_wait
    an_answer_that_never_came_leaves_a_doubt
}

fn ko(message: &str) -> FaultKind {
    FaultKind::Ko {
        code: 403,
        message: message.to_owned(),
    }
}

fn networks_without_credits_are_told_what_helps(way: Way) {
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
    }) else {
        return;
    };
    let path = world.at("a.txt");
    for (message, says) in [
        (
            "Premium status is only allowed to be used on residential private and dedicated internet connexion #913",
            "--cdn",
        ),
        ("Only 2 location(s) allowed at a time #887", "elsewhere"),
        ("Owner locked #620", "some minutes"),
    ] {
        let fault = Fault::on("download/get_token", ko(message)).once();
        world.fake.faults().add(fault);
        world.run(&["link", "--direct", &path]).refused(1, &[says]);
    }
    world.ends(&[]);
}

fn a_locked_address_is_told_to_wait(way: Way) {
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
    }) else {
        return;
    };
    world.run(&["link", "default:/a.txt"]);
    let locked = FaultKind::IpLocked { lock: true };
    world
        .fake
        .faults()
        .add(Fault::on("remote/ls", locked).once());
    let list = ["fetch", "--list"];
    world
        .run(&list)
        .refused(1, &["locked this address", "try again in", "waiting helps"]);
    // Nobody asks again before it is over, whoever it is.
    let calls = world.fake.log().len();
    world
        .run(&list)
        .refused(1, &["locked this address", "try again in"]);
    world
        .run(&[
            "protect",
            "--description",
            "x",
            "https://1fichier.com/?nosuchfile0",
        ])
        .refused(1, &["locked this address"]);
    assert_eq!(world.fake.log().len(), calls);
    world.fake.unlock();
    world.ends(&[]);
}

fn an_answer_that_never_came_leaves_a_doubt(way: Way) {
    let mut theirs = String::new();
    let Some(world) = World::new(way, |account| {
        account.mkdir(0, "in");
        theirs = account.add_foreign("theirs", "x", "");
    }) else {
        return;
    };
    let into = world.at("in");
    world
        .fake
        .faults()
        .add(Fault::on("file/cp", FaultKind::LostReply).once());
    world
        .run(&["import", &theirs, &into])
        .refused(1, &["is not known", "look before"]);
    // It was sent once: repeated blindly, there would be two.
    assert_eq!(world.account().files_at("in/theirs").len(), 1);
    if way == Way::Mount {
        let refreshed = world.run(&["refresh", &into]);
        assert_eq!(refreshed.code, Some(0), "{refreshed:?}");
        eventually("what came all the same is shown", || {
            names(&world.mount.path("in")).unwrap() == ["theirs"]
        });
    }
    world.ends(&[]);
}
