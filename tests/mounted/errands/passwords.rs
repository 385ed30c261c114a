//! Passwords of files in the config file: the mount reads with them, and so do errands.
use super::{Way, World};
use crate::harness::{errno, read_file};

const EACCES: i32 = 13;

#[test]
fn files_with_a_password_are_read_with_what_the_config_says() {
    let mut urls = Vec::new();
    let Some(mut world) = World::new(Way::Alone, |account| {
        let films = account.mkdir(0, "films");
        for (folder, name, pass) in [
            (films, "by path", "of place"),
            (films, "by id", "of the id"),
            (films, "tried", "second 2"),
            (films, "unknown", "nobody knows"),
            (0, "plain", ""),
        ] {
            let url = account.add_bytes(folder, name, name.as_bytes().to_vec());
            account.set_pass(&url, pass);
            urls.push(url);
        }
    }) else {
        return;
    };
    world
        .fake
        .set_config(|config| config.own_files_need_password = true);
    let id = urls[1].split_once('?').unwrap().1;
    world.mount.configure(&format!(
        "[passwords]\ndefault = ['first 1', 'second 2']\n{id} = 'of the id'\n\
         '/films/by path' = 'of place'\n"
    ));
    world.mount.start();
    let tokens = || world.fake.count("download/get_token");
    for (name, calls) in [
        ("films/by path", 1),
        ("films/by id", 1),
        ("plain", 1),
        ("films/tried", 3),
    ] {
        let before = tokens();
        let bytes = read_file(&world.mount.path(name)).unwrap();
        assert_eq!(bytes, name.trim_start_matches("films/").as_bytes());
        assert_eq!(tokens() - before, calls, "{name}");
    }
    let before = tokens();
    for _ in 0..3 {
        let refused = errno(read_file(&world.mount.path("films/unknown")));
        assert_eq!(refused, EACCES);
    }
    assert_eq!(
        tokens() - before,
        3,
        "refused once, tried twice, then left alone"
    );
    // Errands use them as well, in a mount and without; what is typed goes before.
    world.way = Way::Mount;
    let info = |name: &str| world.run(&["info", "--json", name]);
    assert_eq!(info("default:/films/by path").one("info")["password"], true);
    assert_eq!(info("default:/films/tried").one("info")["password"], true);
    info("default:/films/unknown").refused(1, &["password", "--password"]);
    let typed = ["info", "--json", "--password", "default:/films/unknown"];
    world.fed("nobody knows\n", &typed).one("info");
    world.mount.umount();
    let info = |name: &str| world.run(&["info", "--json", name]);
    info("default:/films/by path").one("info");
    let link = world.run(&["link", "--direct", "default:/films/tried"]);
    assert_eq!(link.code, Some(0), "{link:?}");
    world.way = Way::Alone;
    world.ends(&["of place", "of the id", "second 2", "nobody knows"]);
}

#[test]
fn the_passwords_of_a_mount_of_a_folder_go_by_the_accounts_paths() {
    let Some(mut world) = World::new(Way::Alone, |account| {
        let films = account.mkdir(0, "films");
        let url = account.add_bytes(films, "a", "a film");
        account.set_pass(&url, "of place");
    }) else {
        return;
    };
    world
        .fake
        .set_config(|config| config.own_files_need_password = true);
    world.mount.add_option("--root");
    world.mount.add_option("/films");
    world
        .mount
        .configure("[passwords]\n'/films/a' = 'of place'\n'/a' = 'wrong one'\n");
    world.mount.start();
    assert_eq!(read_file(&world.mount.path("a")).unwrap(), b"a film");
    assert_eq!(world.fake.count("download/get_token"), 1);
    world.way = Way::Mount;
    world.ends(&["of place"]);
}
