//! Who may see them: `share` and `protect`.
use super::{Way, World, both};
use crate::harness::read_file;
use serde_json::Value;

both! {
    a_folder_is_shared_and_what_is_not_spoken_of_stays
    a_share_is_asked_for_and_refused_in_words
    a_password_is_set_and_taken_away
    what_cannot_be_protected_is_told
}

fn a_folder_is_shared_and_what_is_not_spoken_of_stays(way: Way) {
    let mut id = 0;
    let Some(world) = World::new(way, |account| id = account.mkdir_p("d/e")) else {
        return;
    };
    let path = world.at("d/e");
    let share = |text: &str, more: &[&str]| {
        let arguments = [&["share", "--json", &path], more].concat();
        world.fed(text, &arguments)
    };
    let now = share("", &[]).one("share");
    assert_eq!(
        (&now["url"], &now["guests"]),
        (&Value::Null, &Value::Array(vec![]))
    );
    // Nobody at a terminal: it must be said in so many words.
    share("", &["--public"]).refused(1, &["address will see it", "--yes"]);
    assert_eq!(world.fake.count("folder/share"), 0);

    let told = share(
        "secret6\n",
        &[
            "--public",
            "--password",
            "--yes",
            "--with",
            "a@example.org:rw",
        ],
    );
    let told = told.one("share");
    let (url, pass) = world.account().shared(id).unwrap();
    assert_eq!(
        (told["url"].as_str(), pass.as_str()),
        (Some(url.as_str()), "secret6")
    );
    assert_eq!(told["guests"][0]["writable"], true);
    assert_eq!(world.run(&["link", &path]).out.trim_end(), url);

    // The password is not known, and not lost in passing either.
    share("", &["--yes", "--with", "b@example.org:hidden"]).refused(1, &["--no-password"]);
    let told = share(
        "",
        &["--yes", "--no-password", "--with", "b@example.org:hidden"],
    )
    .one("share");
    assert_eq!(told["password"], false);
    let guests = world.account().guests(id);
    assert_eq!(
        guests,
        [
            ("a@example.org".into(), true, false),
            ("b@example.org".into(), false, true)
        ]
    );
    assert_eq!(
        world.account().shared(id),
        Some((url.clone(), String::new()))
    );
    // What is so already costs no change.
    let changes = world.fake.count("folder/share");
    share("", &["--public", "--with", "a@example.org:rw"]).one("share");
    assert_eq!(world.fake.count("folder/share"), changes);

    share("", &["--yes", "--without", "a@example.org", "--private"]).one("share");
    assert_eq!(
        (world.account().shared(id), world.account().guests(id).len()),
        (None, 1)
    );
    let told = share("", &["--yes", "--off"]).one("share");
    assert_eq!(told["guests"], Value::Array(vec![]));
    assert!(world.account().guests(id).is_empty());
    world.ends(&["secret6"]);
}

fn a_share_is_asked_for_and_refused_in_words(way: Way) {
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
        account.mkdir(0, "d");
    }) else {
        return;
    };
    let (file, folder) = (world.at("a.txt"), world.at("d"));
    world
        .run(&["share", &file])
        .refused(1, &["is a file", "fichierfs link"]);
    world.run(&["share", &world.at("no")]).refused(1, &["no"]);
    for (wrong, says) in [
        (&["--with", "nobody"][..], "mail address"),
        (&["--with", "a@b.c:admin"], "no right"),
        (&["--without", "a b@c"], "mail address"),
        (&["--public", "--private"], "--private"),
        (&["--off", "--with", "a@b.c"], "--off"),
    ] {
        world
            .run(&[&["share", &folder], wrong].concat())
            .refused(2, &[says]);
    }
    let short = ["share", "--public", "--password", "--yes", &folder];
    world.fed("12345\n", &short).refused(1, &["at least 6"]);
    world
        .run(&["share", "--password", "--yes", &folder])
        .refused(1, &["--public"]);
    world
        .run(&["share", "--without", "a@b.c", "--yes", &folder])
        .refused(1, &["not shared with a@b.c"]);
    assert_eq!(world.fake.count("folder/share"), 0);
    world.ends(&["12345"]);
}

fn a_password_is_set_and_taken_away(way: Way) {
    let mut url = String::new();
    let Some(world) = World::new(way, |account| url = account.add_bytes(0, "a.txt", "text")) else {
        return;
    };
    let path = world.at("a.txt");
    let protect = |text: &str, more: &[&str]| {
        let arguments = [&["-vv", "protect", "--json", &path], more].concat();
        let ended = world.fed(text, &arguments);
        assert!(!ended.err.contains("secret"), "{ended:?}");
        ended
    };
    let told = protect("secret 6\n", &["--password", "--description", "été"]).one("protect");
    assert_eq!(
        (&told["changed"], &told["url"]),
        (&true.into(), &url.as_str().into())
    );
    assert_eq!(world.account().pass(&url).unwrap(), "secret 6");
    assert_eq!(world.account().file(&url).unwrap().description, "été");
    let again = protect("secret 6\n", &["--password"]).one("protect");
    assert_eq!(again["changed"], false);
    if way == Way::Mount {
        // The owner reads it all the same.
        assert_eq!(read_file(&world.mount.path("a.txt")).unwrap(), b"text");
    }
    let plain = world.run(&["protect", "--no-password", &path]);
    plain.refused(1, &["able to load it", "--yes"]);
    protect("", &["--no-password", "--yes", "--description", ""]).one("protect");
    assert_eq!(world.account().pass(&url).unwrap(), "");
    assert_eq!(world.account().file(&url).unwrap().description, "");
    world.ends(&["secret"]);
}

fn what_cannot_be_protected_is_told(way: Way) {
    let mut theirs = String::new();
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
        account.mkdir(0, "d");
        theirs = account.add_foreign("theirs", "x", "");
    }) else {
        return;
    };
    let path = world.at("a.txt");
    world
        .fed("12345\n", &["protect", "--password", &path])
        .refused(1, &["at least 6"]);
    world
        .fed("", &["protect", "--password", &path])
        .refused(1, &["at least 6"]);
    world
        .fed("123\u{7}456\n", &["protect", "--password", &path])
        .refused(1, &["control"]);
    assert_eq!(world.fake.count("file/chattr"), 0);
    world.run(&["protect", &path]).refused(2, &["--password"]);
    world
        .run(&["protect", "--password", "--no-password", &path])
        .refused(2, &["--no-password"]);
    let describe = |of: &str| world.run(&["protect", "--description", "x", of]);
    describe(&world.at("d")).refused(1, &["is a folder", "share --password"]);
    describe(&world.at("no")).refused(1, &["no"]);
    describe(&theirs).refused(1, &["does not allow", "somebody else's"]);
    world.ends(&["12345"]);
}
