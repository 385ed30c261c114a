//! `link`, `share`, `protect`, `fetch`, `import` and `info`: through a mount's socket, and by the command alone.
use crate::harness::{Mount, assert_well_behaved, can_mount, errno, eventually, names, read_file};
use crate::schema;
use fake_1fichier::{Account, Fake, Fault, FaultKind};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that all processes of a test share, 20 virtual seconds per real one: the 30 s between two listings
/// of a folder become one and a half. With another number of `seconds` it is 19 times as many later.
fn clock(seconds: u64) -> String {
    static START: OnceLock<u64> = OnceLock::new();
    let start = START.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    format!("20@{}", start - seconds)
}

/// Who runs the errands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A running mount.
    Mount,
    /// The command itself.
    Alone,
}

/// An account, and commands on it.
struct World {
    fake: Fake,
    mount: Mount,
    way: Way,
    clock: String,
}

/// What a command came to.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The lines of JSON it printed, as the schema of `command` has them; it must have succeeded.
    fn json(&self, command: &str) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.lines(command)
    }

    fn lines(&self, command: &str) -> Vec<Value> {
        let lines = self.out.lines();
        let lines: Vec<Value> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
        for line in &lines {
            schema::check(command, line);
        }
        lines
    }

    /// The only line.
    fn one(&self, command: &str) -> Value {
        let mut lines = self.json(command);
        assert_eq!(lines.len(), 1, "{self:?}");
        lines.remove(0)
    }

    /// Asserts that it failed with this code, said these words and printed nothing.
    fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing: {self:?}");
        }
    }
}

impl World {
    /// An account that `fill` puts something into; `None` where nothing can be mounted.
    fn new(way: Way, fill: impl FnOnce(&Account)) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let fake = Fake::builder()
            .clock(&clock(0))
            .config(|config| config.enforce_rules = true)
            .start()
            .unwrap();
        fill(fake.account());
        let mut mount = Mount::prepared(&fake, Some(&clock(0)), &[]);
        if way == Way::Mount {
            mount.start();
        }
        Some(Self {
            fake,
            mount,
            way,
            clock: clock(0),
        })
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.fed("", arguments)
    }

    /// Runs a command with `text` on its standard input.
    fn fed(&self, text: &str, arguments: &[&str]) -> Ended {
        let mut command = self.mount.command();
        command
            .args(arguments)
            .env("FICHIERFS_API_KEY", self.fake.key())
            .env("FICHIERFS_API_URL", self.fake.api_url())
            .env("FICHIERFS_CLOCK", &self.clock)
            .env("FICHIERFS_STATE_DIR", self.mount.state_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that refuses before it reads is no failure here.
        let _ = stdin.write_all(text.as_bytes());
        drop(stdin);
        Ended::of(child.wait_with_output().unwrap())
    }

    /// A path as the way wants it: in the mount, or in the account.
    fn at(&self, path: &str) -> String {
        match self.way {
            Way::Mount => self.mount.path(path).to_str().unwrap().to_owned(),
            Way::Alone => format!("default:/{path}"),
        }
    }

    fn account(&self) -> &Account {
        self.fake.account()
    }

    /// No rule was broken, and nothing secret is in the log of the mount.
    fn ends(mut self, secrets: &[&str]) {
        if self.way == Way::Mount {
            assert!(self.mount.umount().success());
        }
        let log = self.mount.log();
        for secret in secrets {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        assert_well_behaved(&self.fake);
    }
}

/// A test for each way.
macro_rules! both {
    ($($name:ident)+) => {
        mod mounted {$(
            #[test]
            fn $name() { super::$name(super::Way::Mount); }
        )+}
        mod alone {$(
            #[test]
            fn $name() { super::$name(super::Way::Alone); }
        )+}
    };
}

both! {
    links_are_printed
    a_direct_link_gives_the_bytes
    a_folder_is_shared_and_what_is_not_spoken_of_stays
    a_share_is_asked_for_and_refused_in_words
    a_password_is_set_and_taken_away
    what_cannot_be_protected_is_told
    all_the_service_knows_is_shown
    the_service_fetches
    what_cannot_be_fetched_is_told
    files_of_others_are_taken_over
    what_cannot_be_taken_over_is_told
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
