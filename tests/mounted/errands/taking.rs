//! What comes into the account: `fetch` and `import`.
use super::{Way, World, both};
use crate::harness::{eventually, names, read_file};
use serde_json::Value;
use std::fs;

both! {
    the_service_fetches
    what_cannot_be_fetched_is_told
    files_of_others_are_taken_over
    what_cannot_be_taken_over_is_told
}

fn the_service_fetches(way: Way) {
    let mut id = 0;
    let Some(world) = World::new(way, |account| id = account.mkdir(0, "in")) else {
        return;
    };
    if way == Way::Mount {
        assert!(names(&world.mount.path("in")).unwrap().is_empty());
    }
    let headers = world.mount.state_dir().parent().unwrap().join("headers");
    fs::write(&headers, "X-Token: abc=1\n").unwrap();
    let into = world.at("in");
    let a = "http://example.com/a.iso";
    let fetch = [
        "fetch",
        "--json",
        a,
        "https://example.com/b.iso",
        "--headers",
    ];
    let told = world
        .run(&[&fetch[..], &[headers.to_str().unwrap(), &into]].concat())
        .one("fetch");
    let asked = world.fake.log();
    let asked = asked
        .iter()
        .find(|it| it.endpoint == "remote/request")
        .unwrap();
    assert_eq!(asked.params["headers"]["X-Token"], "abc=1");
    assert_eq!((&told["urls"][0], &told["id"]), (&a.into(), &1.into()));
    let list = world.run(&["fetch", "--list", "--json"]).one("fetch");
    assert_eq!((&list["id"], &list["executed"]), (&1.into(), &Value::Null));
    let shown = world.run(&["fetch", "--show", "1", "--json"]).one("fetch");
    assert_eq!(
        (&shown["urls"][0], &shown["results"]),
        (&a.into(), &Value::Array(vec![]))
    );

    if way == Way::Mount {
        // The mount looks for them by itself.
        eventually("what was fetched is shown", || {
            names(&world.mount.path("in")).unwrap() == ["a.iso", "b.iso"]
        });
    }
    let done = world
        .run(&["fetch", "--show", "1", "--watch", "--json"])
        .one("fetch");
    assert!(done["executed"].as_i64().is_some(), "{done}");
    let file = done["results"][0]["file"].as_str().unwrap();
    assert_eq!(world.account().file(file).unwrap().folder, id);
    // Without a folder: the root. One of them cannot be fetched.
    let watched = world.run(&[
        "fetch",
        "--watch",
        "--json",
        "http://example.com/c",
        "http://no.invalid/d",
    ]);
    assert_eq!(watched.code, Some(1), "{watched:?}");
    let lines = watched.lines("fetch");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1]["results"][1]["file"], Value::Null);
    assert_eq!(world.account().files_at("c").len(), 1);
    if way == Way::Mount {
        eventually("it is shown in the root", || {
            names(&world.mount.dir()).unwrap() == ["c", "in"]
        });
    }
    let words = world.run(&["fetch", "--show", "2"]).out;
    assert!(
        words.contains("http://no.invalid/d -> failed (KO Can't resolve host)"),
        "{words}"
    );
    assert_eq!(world.run(&["fetch", "--list", "--watch"]).code, Some(0));
    world.ends(&["abc=1"]);
}

fn what_cannot_be_fetched_is_told(way: Way) {
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
    }) else {
        return;
    };
    let good = "http://example.com/a";
    for (wrong, code, says) in [
        (&["ftp://example.com/a"][..], 1, "http:// and https://"),
        (&["http://"], 1, "http:// and https://"),
        (&["example.com/a"], 1, "no address"),
        (&[good, "x", good], 1, "x: this is no address"),
        (&[good, &world.at("a.txt")], 1, "is a file"),
        (&[good, &world.at("no")], 1, "no"),
        (&[good, "--headers", "/nonexistent"], 1, "/nonexistent"),
        (&[], 2, "required"),
        (&["--show", "x"], 2, "--show"),
        (&["--list", good], 2, "--list"),
        (&["--show", "99"], 1, "request 99"),
    ] {
        world
            .run(&[&["fetch", "--json"], wrong].concat())
            .refused(code, &[says]);
    }
    world
        .fed("A_b: x\n", &["fetch", good, "--headers", "-"])
        .refused(1, &["line 1"]);
    assert_eq!(world.fake.count("remote/request"), 0);
    world.ends(&[]);
}

fn files_of_others_are_taken_over(way: Way) {
    let (mut open, mut closed, mut id) = (String::new(), String::new(), 0);
    let Some(world) = World::new(way, |account| {
        id = account.mkdir(0, "in");
        open = account.add_foreign("open.txt", "open", "");
        closed = account.add_foreign("closed.txt", "closed", "secret6");
    }) else {
        return;
    };
    if way == Way::Mount {
        assert!(names(&world.mount.path("in")).unwrap().is_empty());
    }
    let into = world.at("in");
    let told = world.run(&["import", "--json", &open, &into]).one("import");
    assert_eq!(told["files"][0]["from"], open.as_str());
    let file = told["files"][0]["url"].as_str().unwrap();
    assert_eq!(world.account().file(file).unwrap().folder, id);
    world
        .run(&["import", &closed, &into])
        .refused(1, &["password", "--password"]);
    let with = [
        "import",
        "--json",
        "--password",
        "--name",
        "mi$e.txt",
        &closed,
        &into,
    ];
    world.fed("wrong!\n", &with).refused(1, &["password"]);
    world.fed("secret6\n", &with).one("import");
    assert_eq!(world.account().files_at("in/mi＄e.txt").len(), 1);
    if way == Way::Mount {
        eventually("what was taken over is shown", || {
            names(&world.mount.path("in")).unwrap() == ["mi$e.txt", "open.txt"]
        });
        assert_eq!(
            read_file(&world.mount.path("in/open.txt")).unwrap(),
            b"open"
        );
    }
    assert_eq!(world.fake.count_downloads(), usize::from(way == Way::Mount));
    world.ends(&["secret6", "wrong!"]);
}

fn what_cannot_be_taken_over_is_told(way: Way) {
    let (mut open, mut closed) = (String::new(), String::new());
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "text");
        open = account.add_foreign("open.txt", "open", "");
        closed = account.add_foreign("closed.txt", "closed", "secret6");
    }) else {
        return;
    };
    let unknown = "https://1fichier.com/?nosuchfile0";
    for (wrong, code, says) in [
        (&["https://example.org/x"][..], 1, "no file's link"),
        (
            &["https://1fichier.com/dir/abcdefgh"],
            1,
            "links of its files",
        ),
        (&[&open, &world.at("a.txt")], 1, "is a file"),
        (&[&open, &world.at("no")], 1, "no"),
        (&["--name", "a/b", &open], 1, "file's name"),
        (&["--name", "x", &open, &closed], 1, "one link"),
        (&[unknown], 1, "no such file"),
        (&[], 2, "required"),
    ] {
        world
            .run(&[&["import", "--json"], wrong].concat())
            .refused(code, &[says]);
    }
    // One that is left out is told; so is one that spoils the call for all.
    let some = world.run(&["import", "--json", &open, unknown]);
    assert_eq!(some.code, Some(1), "{some:?}");
    let told = &some.lines("import")[0];
    assert_eq!(told["files"][0]["from"], open.as_str());
    assert_eq!(told["missed"][0]["from"], unknown);
    let some = world.run(&["import", "--json", &open, &closed]);
    assert_eq!(some.code, Some(1), "{some:?}");
    let told = &some.lines("import")[0];
    assert_eq!(told["files"][0]["from"], open.as_str());
    assert!(
        told["missed"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("password")
    );
    // What the account cannot hold is said as such.
    world.fake.set_config(|config| config.quota_bytes = 1);
    world
        .run(&["import", &open])
        .refused(1, &["full", "make room"]);
    world.ends(&[]);
}
