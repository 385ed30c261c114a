//! The key of an account is nowhere but where it was put, whatever the program writes.
use crate::harness::{self, Mount, can_mount, eventually, is_mounted};
use fake_1fichier::{Fake, Fault, FaultKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A key of the usual shape that stands out in any text.
const KEY: &str = "SECRETsecretSECRETsecretSECRET01";

/// One that begins like it and that nobody knows.
const WRONG_KEY: &str = "SECRETsecretSECRETsecretSECRET99";

/// Virtual seconds per real second.
const FACTOR: &str = "20";

/// Everything a session wrote, read or showed, to be searched at its end.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, what: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((what.into(), bytes.into()));
    }

    fn run(&mut self, what: &str, command: &mut Command) -> Output {
        let output = command.output().unwrap();
        self.add(format!("{what}: output"), output.stdout.clone());
        self.add(format!("{what}: errors"), output.stderr.clone());
        output
    }

    /// All files below `folder`.
    fn files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                self.files(&path);
            } else if kind.is_file() {
                self.add(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }

    /// Where the key, or a good part of it, is.
    fn leaks(&self) -> Vec<&str> {
        let part = &KEY.as_bytes()[..16];
        self.having(|window| window.starts_with(part))
    }

    /// Where the address of a download, an upload or a report is: whoever knows it needs no key.
    fn addresses(&self) -> Vec<&str> {
        self.having(|window| {
            window.starts_with(b"xid=")
                || window.starts_with(b"upload.cgi?id=")
                || (window.starts_with(b"/p")
                    && window
                        .iter()
                        .skip(2)
                        .take(6)
                        .filter(|byte| byte.is_ascii_digit())
                        .count()
                        == 6)
        })
    }

    fn having(&self, is_secret: impl Fn(&[u8]) -> bool) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(_, bytes)| (0..bytes.len()).any(|at| is_secret(&bytes[at..])))
            .map(|(what, _)| what.as_str())
            .collect()
    }

    /// What is known of a running process to whoever may look.
    fn process(&mut self, pid: &str) {
        for name in ["cmdline", "environ", "comm", "status", "mountinfo"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!bytes.is_empty() || name == "environ", "{name}");
            self.add(format!("{name} of {pid}"), bytes);
        }
    }
}

/// A home with nothing in it but what the session puts there.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir(home.at("mnt")).unwrap();
        home
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    /// The program at its most talkative, with all its folders here.
    pub(crate) fn command(&self) -> Command {
        let mut command = harness::command();
        command
            .env("HOME", self.at(""))
            // All of it, also of the crates below: more than -vv.
            .env("FICHIERFS_LOG", "trace,fuser=info")
            .env("FICHIERFS_CLOCK", FACTOR);
        for (name, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(name, self.at(folder));
        }
        command
    }
}

impl Drop for Home {
    /// What a test that failed has left is taken away.
    fn drop(&mut self) {
        let mnt = self.at("mnt");
        if is_mounted(&mnt) {
            let _ = Command::new("umount").arg("-l").arg(mnt).status();
        }
    }
}

#[test]
fn nothing_a_session_writes_or_shows_holds_the_key() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().key(KEY).clock(FACTOR).start().unwrap();
    fake.account().add_bytes(0, "hello.txt", "Hello world\n");
    fake.faults()
        .add(Fault::on("download", FaultKind::Reset).once());
    let home = Home::new();
    let mut seen = Seen::default();
    let mount = seen.run(
        "mount",
        home.command()
            .args(["mount", "--api-url", &fake.api_url()])
            .arg(home.at("mnt"))
            .env("FICHIERFS_API_KEY", KEY),
    );
    assert!(mount.status.success(), "{mount:?}");
    assert_eq!(
        fs::read(home.at("mnt/hello.txt")).unwrap(),
        b"Hello world\n"
    );
    let status = seen.run(
        "status",
        home.command()
            .args(["status", "--json"])
            .arg(home.at("mnt")),
    );
    let document: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let pid = &document["mounts"][0]["status"]["mount"]["pid"];
    seen.process(&pid.to_string());
    fs::write(home.at("mnt/small.txt"), "small").unwrap();
    fs::write(home.at("mnt/large.bin"), vec![7; 3 << 20]).unwrap();
    for (what, arguments) in [
        ("sync", vec!["sync"]),
        ("explain", vec!["explain", "--json"]),
        ("bwlimit", vec!["bwlimit"]),
    ] {
        let mut command = home.command();
        let ended = seen.run(what, command.args(&arguments).arg(home.at("mnt")));
        assert!(ended.status.success(), "{what}: {ended:?}");
    }
    seen.run("cache", home.command().args(["cache", "status"]));
    let mut doctor = home.command();
    doctor.args(["doctor", "--json", "--api-url", &fake.api_url()]);
    seen.run("doctor", doctor.env("FICHIERFS_API_KEY", KEY));
    let moved = home.at("mnt/large.bin");
    let mut read = Command::new("cat");
    assert!(read.arg(&moved).output().unwrap().stdout.len() == 3 << 20);
    let refusal = FaultKind::Ko {
        code: 403,
        // A server that repeats what it was sent.
        message: format!("Resource not allowed {KEY} #1"),
    };
    fake.faults().add(Fault::on("file/rm", refusal).once());
    fs::remove_file(home.at("mnt/small.txt")).unwrap();
    seen.run(
        "a refused removal",
        home.command().arg("sync").arg(home.at("mnt")),
    );
    let signal = Command::new("kill")
        .arg("-USR1")
        .arg(pid.to_string())
        .status();
    assert!(signal.unwrap().success());
    // A change of key in mid-session: the refusal is told without either.
    fake.account().change_key("another-key");
    for (what, arguments) in [
        ("status page", vec!["status"]),
        ("status document", vec!["status", "--json"]),
        ("account", vec!["account"]),
        ("refresh", vec!["refresh"]),
        ("umount", vec!["umount"]),
    ] {
        let mut command = home.command();
        command.args(&arguments);
        if what != "account" {
            command.arg(home.at("mnt"));
        }
        // The other outcomes are other tests' business; what is said is ours.
        seen.run(what, &mut command);
    }
    eventually("the mount is gone", || !is_mounted(&home.at("mnt")));
    let login = |key: &str| {
        let file = home.at("typed");
        fs::write(&file, key).unwrap();
        let input = fs::File::open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let mut command = home.command();
        command.args(["login", "--account", "other", "--api-url", &fake.api_url()]);
        command.stdin(input);
        command
    };
    let refused = seen.run("a login that is refused", &mut login(WRONG_KEY));
    assert!(!refused.status.success());
    fake.account().change_key(KEY);
    let kept = seen.run("a login", &mut login(KEY));
    assert!(kept.status.success(), "{kept:?}");
    // This is where it was put, and the only place.
    let stored = home.at("config/fichierfs/keys/other");
    assert_eq!(fs::read_to_string(&stored).unwrap().trim(), KEY);
    fs::remove_file(&stored).unwrap();

    seen.files(&home.at(""));
    let log = home.at("state/fichierfs/default/log").display().to_string();
    let log = seen.0.iter().find(|(what, _)| *what == log).unwrap();
    let log = String::from_utf8_lossy(&log.1);
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the log tells too little to be a proof"
    );
    assert_eq!(seen.leaks(), [""; 0]);
    assert_eq!(seen.addresses(), [""; 0]);
}

/// A mount that was started in the foreground shows it to nobody else either.
#[test]
fn a_mount_in_the_foreground_keeps_the_key_to_itself() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().key(KEY).start().unwrap();
    let mut mount = Mount::with(&fake, None, &["-vv"]);
    harness::names(&mount.dir()).unwrap();
    mount.signal("USR1");
    eventually("the figures are in the log", || {
        mount.log().contains("reading: ")
    });
    let mut seen = Seen::default();
    // The harness hands the key over in the environment.
    seen.process(&mount.pid().to_string());
    mount.umount();
    seen.add("log", mount.log());
    assert_eq!(seen.leaks(), [""; 0]);
}

/// The memory of a process that holds the key is nobody's: no core file, no debugger of the same user. The kernel
/// shows that by giving what is in /proc to root.
#[test]
fn the_memory_of_a_process_is_for_nobody_else() {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("!!! SKIPPED: only root can become somebody else, nothing was tested !!!");
        return;
    }
    let home = Home::new();
    fs::set_permissions(home.at(""), fs::Permissions::from_mode(0o777)).unwrap();
    // Where others may run it.
    let program = home.at("fichierfs");
    fs::copy(env!("CARGO_BIN_EXE_fichierfs"), &program).unwrap();
    let mut login = Command::new(&program);
    login
        .args(["login", "--api-url", "http://127.0.0.1:9/v1"])
        .env_clear()
        .env("FICHIERFS_CLOCK", FACTOR);
    login.env("HOME", home.at("")).uid(NOBODY).gid(NOBODY);
    login
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut login = login.spawn().unwrap();
    let process = format!("/proc/{}", login.id());
    eventually("its memory is kept private", || {
        let owner = fs::metadata(format!("{process}/environ")).unwrap().uid();
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        owner == 0 && status.contains(&format!("Uid:\t{NOBODY}"))
    });
    login
        .stdin
        .take()
        .unwrap()
        .write_all(KEY.as_bytes())
        .unwrap();
    let ended = login.wait_with_output().unwrap();
    assert!(!ended.status.success());
    let mut seen = Seen::default();
    seen.add("errors", ended.stderr);
    seen.files(&home.at(""));
    seen.0.retain(|(what, _)| !what.ends_with("/fichierfs"));
    assert_eq!(seen.leaks(), [""; 0]);
}
