//! What paths lead to: what is only here, what lies outside the mount, what a mount has left.
use super::{Way, World, clock};
use crate::harness::{Mount, can_mount, read_file};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::fs;
use std::time::Duration;

#[test]
fn what_is_only_here_has_no_link_yet() {
    let Some(world) = World::new(Way::Mount, |account| {
        account.add_bytes(0, "a.txt", "text");
    }) else {
        return;
    };
    // The account takes nothing: what is written stays here.
    for call in ["upload/get_upload_server", "folder/mkdir"] {
        let fault = Fault::on(call, FaultKind::Status { code: 503 });
        world.fake.faults().add(fault);
    }
    fs::write(world.mount.path("new.txt"), "new").unwrap();
    fs::write(world.mount.path("a.txt"), "rewritten").unwrap();
    fs::write(world.mount.path("empty"), "").unwrap();
    fs::create_dir(world.mount.path("made")).unwrap();
    for name in ["new.txt", "a.txt"] {
        for command in [&["link"][..], &["info"], &["protect", "--description", "x"]] {
            let path = world.at(name);
            world
                .run(&[command, &[&path]].concat())
                .refused(1, &[name, "fichierfs sync"]);
        }
        let path = format!("default:/{name}");
        world.run(&["link", &path]).refused(1, &["fichierfs sync"]);
    }
    world
        .run(&["link", &world.at("empty")])
        .refused(1, &["no empty files"]);
    let made = world.at("made");
    for command in [
        &["share", &made][..],
        &["fetch", "http://example.com/a", &made],
        &["import", "https://1fichier.com/?nosuchfile0", &made],
    ] {
        world.run(command).refused(1, &["made", "fichierfs sync"]);
    }
    world.fake.faults().clear();
    assert_eq!(world.run(&["sync", &world.at("new.txt")]).code, Some(0));
    let told = world
        .run(&["link", "--json", &world.at("new.txt")])
        .one("link");
    assert!(
        world
            .account()
            .file(told["url"].as_str().unwrap())
            .is_some()
    );
    world.ends(&[]);
}

#[test]
fn a_mount_of_a_folder_runs_errands_all_over_the_account() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder()
        .clock(&clock(0))
        .config(|config| config.enforce_rules = true)
        .start()
        .unwrap();
    let films = fake.account().mkdir(0, "films");
    let inside = fake.account().add_bytes(films, "a.mkv", "a film");
    let outside = fake.account().add_bytes(0, "b.txt", "text");
    let mount = Mount::with(&fake, Some(&clock(0)), &["--root", "/films"]);
    let world = World {
        fake,
        mount,
        way: Way::Mount,
        clock: clock(0),
    };
    assert_eq!(
        world.run(&["link", "default:/films/a.mkv"]).out.trim_end(),
        inside
    );
    assert_eq!(
        world.run(&["link", &world.at("a.mkv")]).out.trim_end(),
        inside
    );
    assert_eq!(
        world.run(&["link", "default:/b.txt"]).out.trim_end(),
        outside
    );
    world
        .run(&["link", "default:/c.txt"])
        .refused(1, &["there is no /c.txt"]);
    let told = world.run(&["info", "--json", "default:/films"]).one("info");
    assert_eq!(told["id"], films);
    world.ends(&[]);
}

#[test]
fn what_a_mount_has_left_is_used_without_one() {
    let mut url = String::new();
    let Some(mut world) = World::new(Way::Mount, |account| {
        let deep = account.mkdir_p("a/b/c");
        url = account.add_bytes(deep, "file", "text");
    }) else {
        return;
    };
    read_file(&world.mount.path("a/b/c/file")).unwrap();
    world.mount.umount();
    world.way = Way::Alone;
    world.fake.clear_log();
    assert_eq!(
        world.run(&["link", "default:/a/b/c/file"]).out.trim_end(),
        url
    );
    assert_eq!(world.fake.log().len(), 0, "{:?}", world.fake.log());
    // What is old is looked at again, by whoever lives a quarter of an hour later.
    world.account().rename(&url, "renamed");
    world.fake.clock().advance(Duration::from_secs(19 * 60));
    world.clock = clock(60);
    world
        .run(&["link", "default:/a/b/c/file"])
        .refused(1, &["there is no /a/b/c/file"]);
    assert_eq!(world.fake.count("folder/ls"), 4);
    world.ends(&[]);
}
