//! `--on-change`: what is told of changes made elsewhere and here.
use crate::harness::{Mount, SOON, assert_well_behaved, can_mount, eventually, names};
use crate::schema;
use fake_1fichier::Fake;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Virtual seconds per real second: a minute lasts two. Faster, and answers would be late on a busy machine.
const FACTOR: &str = "30";

/// How long changes may go unseen in these tests.
const REFRESH: [&str; 2] = ["--dir-cache-time", "30s"];

fn service() -> Fake {
    Fake::builder()
        .clock(FACTOR)
        .config(|config| config.enforce_rules = true)
        .start()
        .unwrap()
}

/// A script that notes its arguments, one run per line, and what else it is told to do.
struct Script(tempfile::TempDir);

impl Script {
    fn new(also: &str) -> Self {
        // A blank in its own path, too.
        let dir = tempfile::Builder::new()
            .prefix("on change")
            .tempdir()
            .unwrap();
        let script = Self(dir);
        let text = format!(
            "#!/bin/sh\nfor it; do printf '<%s>' \"$it\"; done >> '{out}'\necho >> '{out}'\n\
             env > '{out}.env'\n{also}\n",
            out = script.out(),
        );
        fs::write(script.path(), text).unwrap();
        fs::set_permissions(script.path(), fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("script")
    }

    fn out(&self) -> String {
        self.0.path().join("out").to_str().unwrap().to_owned()
    }

    /// As the option wants it.
    fn option(&self) -> String {
        let path = self.path().to_str().unwrap().replace(' ', "\\ ");
        format!("--on-change={path} refresh")
    }

    /// What it was called with so far.
    fn runs(&self) -> String {
        fs::read_to_string(self.out()).unwrap_or_default()
    }
}

fn mounted(fake: &Fake, option: &str) -> Mount {
    Mount::with(fake, Some(FACTOR), &[REFRESH[0], REFRESH[1], option])
}

/// A minute of the mount's time, two lives of a listing, in which nothing more may be told.
fn pause() {
    std::thread::sleep(Duration::from_secs(2));
}

fn crawled(mount: &Mount, folders: u64) {
    eventually("the tree is known", || {
        let status = mount
            .command()
            .args(["status", "--json"])
            .arg(mount.dir())
            .output();
        let document: Value = serde_json::from_slice(&status.unwrap().stdout).unwrap();
        document["mounts"][0]["status"]["tree"]["folders_listed"] == folders
    });
}

#[test]
fn a_file_added_elsewhere_is_told_once_with_its_folder() {
    if !can_mount() {
        return;
    }
    let fake = service();
    let account = fake.account();
    let films = account.mkdir(0, "My films");
    let odd = account.mkdir(films, "a\nb; $(touch x) 'c'");
    account.add_bytes(odd, "old.mkv", "x");
    account.mkdir(0, "other");
    let script = Script::new("");
    let mut mount = mounted(&fake, &script.option());
    crawled(&mount, 4);
    pause();
    assert_eq!(script.runs(), "", "what was there is no change");

    // Nobody looks at the mount: within the refresh time it must look itself.
    account.add_bytes(odd, "new.mkv", "y");
    let odd_path = mount.path("My films/a\nb; $(touch x) 'c'");
    let once = format!("<refresh><{}>\n", odd_path.display());
    eventually("the change is told", || script.runs() == once);
    assert_eq!(names(&odd_path).unwrap(), ["new.mkv", "old.mkv"]);
    pause();
    assert_eq!(script.runs(), once, "once");

    // A folder that came is told itself, and what is in it is no further change.
    let season = account.mkdir(films, "season");
    account.add_bytes(season, "one.mkv", "1");
    let twice = format!(
        "{once}<refresh><{}>\n",
        mount.path("My films/season").display()
    );
    eventually("the folder is told", || script.runs() == twice);
    crawled(&mount, 5);
    pause();
    assert_eq!(script.runs(), twice);

    // One that goes is told by the folder it was in; so is a file that moves, by both.
    let other = account.folder_at("/other").unwrap();
    account.remove_folder(season);
    let url = account.files_at("/My films/a\nb; $(touch x) 'c'/old.mkv");
    assert!(
        url.first()
            .is_none_or(|file| account.move_to(&file.url, other))
    );
    eventually("the rest is told", || {
        script
            .runs()
            .contains(&format!("<{}>", mount.path("My films").display()))
    });
    let environment = fs::read_to_string(format!("{}.env", script.out())).unwrap();
    assert!(!environment.contains("FICHIERFS"), "{environment}");
    assert!(mount.umount().success());
    assert_well_behaved(&fake);
}

#[test]
fn what_is_written_here_is_told_when_it_is_closed_and_not_again_when_it_is_listed() {
    if !can_mount() {
        return;
    }
    let fake = service();
    let films = fake.account().mkdir(0, "films");
    fake.account().add_bytes(films, "there.mkv", "x");
    let script = Script::new("");
    let mut mount = mounted(&fake, &script.option());
    crawled(&mount, 2);
    let mut film = fs::File::create(mount.path("films/film.mkv")).unwrap();
    film.write_all(b"half of it").unwrap();
    film.sync_all().unwrap();
    pause();
    assert_eq!(
        script.runs(),
        "",
        "a film that is being written is none yet"
    );
    film.write_all(b" and the rest").unwrap();
    drop(film);
    let films = format!("<refresh><{}>\n", mount.path("films").display());
    eventually("the film is told", || script.runs() == films);
    eventually("the account has it", || {
        !fake.account().files_at("/films/film.mkv").is_empty()
    });
    // Several listings show it meanwhile.
    pause();
    pause();
    assert_eq!(script.runs(), films, "once");

    fs::rename(mount.path("films/there.mkv"), mount.path("moved.mkv")).unwrap();
    let both = format!(
        "{films}<refresh><{}><{}>\n",
        mount.dir().display(),
        mount.path("films").display()
    );
    eventually("both folders are told", || script.runs() == both);
    pause();
    fs::remove_file(mount.path("moved.mkv")).unwrap();
    let all = format!("{both}<refresh><{}>\n", mount.dir().display());
    eventually("the removal is told", || script.runs() == all);
    pause();
    pause();
    assert_eq!(script.runs(), all);
    assert!(mount.umount().success());
    assert_well_behaved(&fake);
}

/// Answers every request with `status`, and hands out what was posted.
fn listener(status: &'static str, head: &'static str) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut request = String::new();
            stream.read_line(&mut request).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {status}\r\n{head}Content-Length: 0\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if tell
                .send((request, serde_json::from_slice(&body).unwrap()))
                .is_err()
            {
                return;
            }
        }
    });
    (format!("http://{address}"), told)
}

#[test]
fn an_address_gets_the_folders_as_json_and_its_token_is_nowhere() {
    if !can_mount() {
        return;
    }
    let fake = service();
    fake.account().mkdir(0, "films");
    let (base, told) = listener("204 No Content", "");
    let option = format!("--on-change={base}/Library/Media/Updated?api_key=T0KENs3cret");
    let mut mount = mounted(&fake, &option);
    crawled(&mount, 2);
    let films = fake.account().folder_at("/films").unwrap();
    fake.account().add_bytes(films, "new.mkv", "x");
    let (request, body) = told.recv_timeout(SOON).unwrap();
    assert!(
        request.starts_with("POST /Library/Media/Updated?api_key=T0KENs3cret "),
        "{request}"
    );
    schema::check("on-change", &body);
    let path = mount.path("films").to_str().unwrap().to_owned();
    assert_eq!(body["folders"], serde_json::json!([path]));
    assert_eq!(body["Updates"][0]["Path"], path);
    assert_eq!(body["mountpoint"], mount.dir().to_str().unwrap());
    assert!(told.recv_timeout(Duration::from_secs(2)).is_err(), "once");
    assert!(mount.umount().success());
    assert!(
        mount.log().contains(&base) && !mount.log().contains("T0KEN"),
        "{}",
        mount.log()
    );
    assert_well_behaved(&fake);
}

#[test]
fn a_redirect_is_not_followed_and_a_refusal_is_told_again() {
    if !can_mount() {
        return;
    }
    let fake = service();
    let (elsewhere, stolen) = listener("200 OK", "");
    let head: &'static str = Box::leak(format!("Location: {elsewhere}/\r\n").into());
    let (base, told) = listener("307 Temporary Redirect", head);
    let mut mount = mounted(&fake, &format!("--on-change={base}/"));
    crawled(&mount, 1);
    fake.account().add_bytes(0, "new", "x");
    told.recv_timeout(SOON).unwrap();
    let (_, again) = told.recv_timeout(SOON).unwrap();
    assert_eq!(again["folders"][0], mount.dir().to_str().unwrap());
    assert!(stolen.try_recv().is_err());
    eventually("the log says so", || {
        mount.log().contains("redirects are not followed")
    });
    assert!(mount.umount().success());
    assert_well_behaved(&fake);
}

#[test]
fn one_that_hangs_holds_up_nobody_and_ends_with_the_mount() {
    if !can_mount() {
        return;
    }
    let fake = service();
    let script = Script::new("echo $$ > \"$0.pid\"; exec sleep 1000");
    let mut mount = mounted(&fake, &script.option());
    crawled(&mount, 1);
    let pid = || fs::read_to_string(script.0.path().join("script.pid")).unwrap_or_default();
    fs::write(mount.path("one"), "x").unwrap();
    eventually("it hangs", || !pid().trim().is_empty());
    let first = pid();
    fs::write(mount.path("two"), "y").unwrap();
    assert_eq!(fs::read_to_string(mount.path("two")).unwrap(), "y");
    eventually("its time is up, and it is tried again", || {
        mount.log().contains("ended after") && pid() != first && !pid().trim().is_empty()
    });
    assert!(!Path::new(&format!("/proc/{}", first.trim())).exists());
    let second = pid();
    assert!(mount.umount().success());
    eventually("the second went with the mount", || {
        !Path::new(&format!("/proc/{}", second.trim())).exists()
    });
    assert_well_behaved(&fake);
}

#[test]
fn what_is_no_command_and_no_address_is_refused() {
    if !can_mount() {
        return;
    }
    let fake = service();
    for (value, says) in [
        ("refresh.sh", "absolute path"),
        ("/bin/sh -c 'x'", "no shell"),
        ("http://", "http://HOST"),
        ("http://[::1/x", "http://HOST"),
    ] {
        let mount = Mount::prepared(&fake, None, &["--on-change", value]);
        let output = mount.mount_command().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(says),
            "{value}: {said}"
        );
    }
    assert!(fake.log().is_empty(), "nobody was asked");
    let mount = Mount::with(&fake, None, &["--on-change", "/nonexistent/refresh"]);
    assert!(
        mount.log().contains("/nonexistent/refresh"),
        "{}",
        mount.log()
    );
}
