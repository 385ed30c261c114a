//! What is known of files and folders: `link` and `info`.
use super::{Way, World, both};
use serde_json::Value;

both! {
    links_are_printed
    a_direct_link_gives_the_bytes
    all_the_service_knows_is_shown
}

fn links_are_printed(way: Way) {
    let mut urls = Vec::new();
    let Some(world) = World::new(way, |account| {
        let films = account.mkdir(0, "films");
        urls.push(account.add_bytes(films, "Tom＇s ＄1.mkv", "a film"));
        urls.push(account.add_bytes(0, "a.txt", "text"));
    }) else {
        return;
    };
    let film = world.at("films/Tom's $1.mkv");
    let told = world
        .run(&["link", "--json", &film, &world.at("a.txt")])
        .json("link");
    assert_eq!(told.len(), 2);
    assert_eq!(
        (&told[0]["url"], &told[1]["url"]),
        (&urls[0].as_str().into(), &urls[1].as_str().into())
    );
    assert_eq!(
        told[0]["path"],
        if way == Way::Mount {
            film
        } else {
            "/films/Tom's $1.mkv".into()
        }
    );
    // All ways to name it mean the same; links need no call at all.
    let calls = world.fake.log().len();
    for typed in [
        &["link", "default:/a.txt"][..],
        &["link", "--account", "default", "a.txt"],
        &["link", "--account", "default", "/a.txt"],
        &["link", &urls[1]],
    ] {
        assert_eq!(world.run(typed).out.trim_end(), urls[1], "{typed:?}");
    }
    if way == Way::Mount {
        assert_eq!(world.fake.log().len(), calls);
    }
    world
        .run(&["link", &world.at("nowhere.txt")])
        .refused(1, &["nowhere.txt"]);
    world
        .run(&["link", "default:/a.txt/b"])
        .refused(1, &["/a.txt is a file"]);
    world
        .run(&["link", "default:/no/b"])
        .refused(1, &["there is no /no in the account"]);
    world
        .run(&["link", &world.at("films")])
        .refused(1, &["no public page", "share --public"]);
    world
        .run(&["link", "https://example.org/?x"])
        .refused(1, &["no file's link"]);
    world
        .run(&["link", "/etc/passwd"])
        .refused(1, &["lies in no mount"]);
    world.run(&["link"]).refused(2, &["PATHS"]);
    // One that fails does not hide the others.
    let some = world.run(&["link", "--json", "default:/no", "default:/a.txt"]);
    assert_eq!(some.code, Some(1), "{some:?}");
    let lines = some.lines("link");
    assert!(lines[0]["error"].as_str().unwrap().contains("/no"));
    assert_eq!(lines[1]["url"], urls[1].as_str());
    world.ends(&[]);
}

fn a_direct_link_gives_the_bytes(way: Way) {
    let mut theirs = String::new();
    let Some(world) = World::new(way, |account| {
        account.add_bytes(0, "a.txt", "the bytes");
        theirs = account.add_foreign("theirs", "their bytes", "secret6");
    }) else {
        return;
    };
    let load = |url: &Value| {
        let url = url.as_str().unwrap();
        let output = std::process::Command::new("curl")
            .args(["-s", "--noproxy", "*", url])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let told = world
        .run(&["link", "--direct", "--json", &world.at("a.txt")])
        .one("link");
    assert_eq!(load(&told["direct"]), "the bytes");
    assert_eq!(
        (&told["begin_within"], &told["continue_within"]),
        (&300.into(), &1800.into())
    );
    let plain = world.run(&["link", "--direct", &world.at("a.txt")]).out;
    assert!(plain.starts_with("http://127.0.0.1:"), "{plain}");

    let direct = ["link", "--direct", "--json", &theirs];
    world.run(&direct).refused(1, &["password", "--password"]);
    let with = ["link", "--direct", "--password", "--json", &theirs];
    world.fed("wrong!\n", &with).refused(1, &["password"]);
    world.fed("short\n", &with).refused(1, &["at least 6"]);
    let told = world.fed("secret6\n", &with).one("link");
    assert_eq!(load(&told["direct"]), "their bytes");
    world
        .run(&["link", "--direct", "default:/"])
        .refused(1, &["is a folder"]);
    world
        .run(&["link", "--password", &theirs])
        .refused(2, &["--direct"]);
    // The account may not: said with what to do.
    world.fake.set_config(|config| config.offer = 0);
    world
        .run(&["link", "--direct", "default:/a.txt"])
        .refused(1, &["paid account", "fichierfs account"]);
    world.ends(&["secret6", "wrong!"]);
}

fn all_the_service_knows_is_shown(way: Way) {
    let (mut url, mut theirs, mut id) = (String::new(), String::new(), 0);
    let Some(world) = World::new(way, |account| {
        id = account.mkdir(0, "d");
        url = account.add_bytes(id, "a.txt", "text");
        account.mkdir(id, "e");
        account.set_pass(&url, "secret6");
        theirs = account.add_foreign("theirs", "their bytes", "secret6");
    }) else {
        return;
    };
    let (file, folder) = (world.at("d/a.txt"), world.at("d"));
    let told = world.run(&["info", "--json", &file, &folder]).json("info");
    let [told, d] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        (&told["url"], &told["size"]),
        (&url.as_str().into(), &4.into())
    );
    assert_eq!(
        (&told["folder"], &told["folder_path"]),
        (&id.into(), &"/d".into())
    );
    assert_eq!(
        (&told["password"], &told["content_type"]),
        (&true.into(), &"text/plain".into())
    );
    assert_eq!(
        told["whirlpool"],
        world.account().file(&url).unwrap().checksum.as_str()
    );
    assert_eq!(
        (&d["id"], &d["files"], &d["folders"]),
        (&id.into(), &1.into(), &1.into())
    );
    let page = world.run(&["info", &file]).out;
    for says in [
        "Link          https://",
        "Size          4 B (4 bytes)",
        "has a password",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
    // Somebody else's.
    let with = ["info", "--json", "--password", &theirs];
    world.run(&["info", &theirs]).refused(1, &["--password"]);
    world.fed("wrong!\n", &with).refused(1, &["password"]);
    let told = world.fed("secret6\n", &with).one("info");
    assert_eq!(
        (&told["name"], &told["folder"]),
        (&"theirs".into(), &Value::Null)
    );
    world.run(&["info", &world.at("d/no")]).refused(1, &["no"]);
    world
        .run(&["info", "https://1fichier.com/?nosuchfile0"])
        .refused(1, &["no such file"]);
    world.run(&["info", ""]).refused(1, &["empty"]);
    world.ends(&["secret6"]);
}
