//! A mount of the fake service through the real program, in folders that vanish with the test.
use fake_1fichier::{Account, Fake};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Real time until something that takes a moment must have happened. Generous: the machine may be
/// busy with other tests, and nothing is concluded from how fast it was.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Whether mounting can work here. Says loudly when not, so that a green run does not look like more
/// than it is.
pub(crate) fn can_mount() -> bool {
    let can = Path::new("/dev/fuse").exists();
    if !can {
        eprintln!("!!! SKIPPED: /dev/fuse is missing, nothing was tested !!!");
    }
    can
}

/// The `fichierfs` command, told nothing by the surroundings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fichierfs"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("FICHIERFS_") || name.starts_with("XDG_") || name.ends_with("_PROXY") {
            command.env_remove(&*name);
        }
    }
    command
}

/// A mount that can be made again over the same state.
pub(crate) struct Mount {
    // Before the folders: what something is mounted in cannot be removed.
    disk: Option<Disk>,
    folders: TempDir,
    child: Option<Child>,
    key: String,
    api_url: String,
    /// The certificate of a fake that speaks TLS.
    ca: Option<PathBuf>,
    clock: Option<String>,
    options: Vec<String>,
    environment: Vec<(String, PathBuf)>,
}

impl Mount {
    /// Mounts `fake` with default options; ready when it returns.
    pub(crate) fn new(fake: &Fake) -> Self {
        Self::with(fake, None, &[])
    }

    /// Mounts `fake` with a clock shared with it and with options.
    pub(crate) fn with(fake: &Fake, clock: Option<&str>, options: &[&str]) -> Self {
        let mut mount = Self::prepared(fake, clock, options);
        mount.start();
        mount
    }

    /// Everything but the mount itself.
    pub(crate) fn prepared(fake: &Fake, clock: Option<&str>, options: &[&str]) -> Self {
        let folders = tempfile::Builder::new()
            .prefix("fichierfs-test")
            .tempdir()
            .unwrap();
        for folder in ["mnt", "state", "cache", "home", "run"] {
            fs::create_dir(folders.path().join(folder)).unwrap();
        }
        let ca = fake.ca_pem().map(|pem| {
            let path = folders.path().join("ca.pem");
            fs::write(&path, pem).unwrap();
            path
        });
        Self {
            disk: None,
            folders,
            child: None,
            key: fake.key(),
            api_url: fake.tls_api_url().unwrap_or_else(|| fake.api_url()),
            ca,
            clock: clock.map(str::to_owned),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    /// Where it is mounted.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folders.path().join("mnt")
    }

    /// A path on the mount.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir().join(below)
    }

    /// Where it keeps its state.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folders.path().join("state")
    }

    /// The state is kept on a small disk of its own; whether that can be.
    pub(crate) fn keep_state_on_a_disk_of(&mut self, size: &str) -> bool {
        self.disk = Disk::at(&self.state_dir(), size);
        self.disk.is_some()
    }

    /// The program's log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folders.path().join("log")).unwrap_or_default()
    }

    /// The mount command of this mount, not yet started.
    pub(crate) fn mount_command(&self) -> Command {
        self.mount_command_at(&self.dir(), &self.state_dir())
    }

    /// The same with another mountpoint and state folder.
    pub(crate) fn mount_command_at(&self, dir: &Path, state: &Path) -> Command {
        let at = |name: &str| self.folders.path().join(name);
        let mut command = command();
        command.arg("mount");
        // A test that names a service of its own says itself whom to trust.
        if !self.options.iter().any(|option| option == "--api-url") {
            command.arg("--api-url").arg(&self.api_url);
            if let Some(ca) = &self.ca {
                command.arg("--ca-cert").arg(ca);
            }
        }
        command
            .arg("--state-dir")
            .arg(state)
            .arg("--cache-dir")
            .arg(at("cache"))
            .args(&self.options)
            .arg(dir)
            .env("HOME", at("home"))
            .env("XDG_RUNTIME_DIR", at("run"))
            .env("FICHIERFS_API_KEY", &self.key)
            .stdin(Stdio::null());
        if let Some(clock) = &self.clock {
            command.env("FICHIERFS_CLOCK", clock);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// From the next start on with a config file of this text, which nobody else may read.
    pub(crate) fn configure(&mut self, text: &str) {
        let config = self.folders.path().join("config");
        let folder = config.join("fichierfs");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.environment = vec![("XDG_CONFIG_HOME".to_owned(), config)];
    }

    /// Starts the program and waits until the mountpoint answers.
    pub(crate) fn start(&mut self) {
        let log = fs::File::create(self.folders.path().join("log")).unwrap();
        let mut command = self.mount_command();
        command
            .arg("--foreground")
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + SOON;
        // A dead mount of before is listed as well, so it must answer too; and what answers may be the folder
        // below, after the dead one was taken away and before the new one is there.
        let dir = self.dir();
        while !is_mounted(&dir) || is_dead(&dir) || !is_mounted(&dir) {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the mount ended with {status}:\n{}", self.log());
            }
            if Instant::now() > end {
                let _ = child.kill();
                panic!("no mount after {SOON:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
    }

    /// A command of somebody in the mount's own surroundings.
    pub(crate) fn command(&self) -> Command {
        let mut command = command();
        command
            .env("HOME", self.folders.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.folders.path().join("run"));
        if let Some(clock) = &self.clock {
            command.env("FICHIERFS_CLOCK", clock);
        }
        command.envs(self.environment.iter().cloned());
        command
    }

    /// From the next start on with another option, or without it.
    pub(crate) fn add_option(&mut self, option: &str) {
        self.options.push(option.to_owned());
    }

    pub(crate) fn remove_option(&mut self, option: &str) {
        self.options.retain(|it| it != option);
    }

    /// Unmounts without waiting for the program, which is handed out.
    pub(crate) fn unmount_only(&mut self) -> Child {
        let status = Command::new("umount").arg(self.dir()).status().unwrap();
        assert!(status.success(), "umount: {status}");
        self.child.take().expect("a started mount")
    }

    /// The serving process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a started mount").id()
    }

    /// Unmounts as a person would and waits for the program's end.
    pub(crate) fn umount(&mut self) -> ExitStatus {
        let status = Command::new("umount").arg(self.dir()).status().unwrap();
        assert!(status.success(), "umount: {status}");
        self.wait()
    }

    /// Sends a signal to the serving process.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for the program's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a started mount");
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                panic!("still running after {SOON:?}:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Bytes of memory the serving process has resident now, and at most so far.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if is_mounted(&self.dir()) {
            let _ = Command::new("umount").arg("-l").arg(self.dir()).status();
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of the mount:\n{}", self.log());
        }
    }
}

/// A small disk of its own, taken away with the test.
struct Disk(PathBuf);

impl Disk {
    fn at(dir: &Path, size: &str) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let is_made = command.arg(dir).status().unwrap().success();
        if !is_made {
            eprintln!("!!! SKIPPED: no disk can be mounted, a full one was not tested !!!");
        }
        is_made.then(|| Self(dir.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A mount that is written to, with the account behind it.
pub(crate) struct Drive {
    pub(crate) fake: Fake,
    pub(crate) mount: Mount,
}

impl Drive {
    /// An account that `fill` puts something into, mounted; `None` where nothing can be mounted.
    pub(crate) fn new(fill: impl FnOnce(&Account)) -> Option<Self> {
        // What settles for 5 s is sent after a quarter of one.
        Self::with("20", &[], fill)
    }

    /// The same with so many virtual seconds per real second, and options.
    pub(crate) fn with(clock: &str, options: &[&str], fill: impl FnOnce(&Account)) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let fake = Fake::builder()
            .clock(clock)
            .config(|config| config.enforce_rules = true)
            .start()
            .unwrap();
        fill(fake.account());
        let mount = Mount::with(&fake, Some(clock), options);
        Some(Self { fake, mount })
    }

    /// A path on the mount.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.mount.path(below)
    }

    /// Unmounts, which waits until the account knows everything; then it must hold these files and no
    /// others, and no rule may have been broken.
    pub(crate) fn ends_with(mut self, files: &[(&str, &[u8])]) -> Fake {
        assert!(self.mount.umount().success());
        assert_well_behaved(&self.fake);
        let mut wanted: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        wanted.sort();
        let mut there = Vec::new();
        for folder in self.fake.account().tree() {
            for file in folder.files {
                let path = Path::new(&folder.path).join(&file.name);
                let path = path.to_str().unwrap().to_owned();
                let bytes = self.fake.account().read_all(&file.url).unwrap();
                if let Some((_, wanted)) = files.iter().find(|(wanted, _)| *wanted == path) {
                    assert!(bytes == *wanted, "{path} holds other bytes in the account");
                }
                there.push(path);
            }
        }
        there.sort();
        assert_eq!(there, wanted);
        self.fake
    }
}

/// The number of what the system refused.
pub(crate) fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// Whether something is mounted on `dir`, dead or alive; does not touch `dir` itself.
pub(crate) fn is_mounted(dir: &Path) -> bool {
    let dir = dir.to_string_lossy();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&dir))
}

/// Whether the mount on `dir` has lost its process. The kernel answers for attributes it remembers, so
/// the folder must be opened to know.
fn is_dead(dir: &Path) -> bool {
    const ENOTCONN: i32 = 107;
    fs::read_dir(dir).is_err_and(|error| error.raw_os_error() == Some(ENOTCONN))
}

/// Waits until `happened` says so.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !happened() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All of a file.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names in a folder, sorted.
pub(crate) fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

/// Fails when the client made a call that could have locked the account.
pub(crate) fn assert_well_behaved(fake: &Fake) {
    let violations = fake.violations();
    assert!(
        violations.is_empty(),
        "{} violations, first: {:?}",
        violations.len(),
        violations[0]
    );
}
