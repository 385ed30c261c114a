//! What systemd sees of a mount: its notifications, its watchdog, its credentials; and the units.
use super::harness::{Mount, SOON, assert_well_behaved, can_mount, eventually, is_mounted};
use fake_1fichier::Fake;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

/// How often systemd wants to hear from its services in the test, in microseconds.
const WATCHDOG_MICROS: &str = "300000";

#[test]
fn systemd_hears_of_every_moment_and_hands_the_key_over() {
    if !can_mount() {
        return;
    }
    let fake = Fake::builder().clock("20").start().unwrap();
    let mount = Mount::prepared(&fake, Some("20"), &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let credential = folder.path().join("fichierfs-api-key");
    fs::write(&credential, fake.key()).unwrap();
    let mut child = mount
        .mount_command()
        .arg("--foreground")
        .env_remove("FICHIERFS_API_KEY")
        .env("CREDENTIALS_DIRECTORY", folder.path())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", WATCHDOG_MICROS)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hear = || {
        let mut message = [0; 512];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let mut heard = Vec::new();
    let mut wait_for = |what: &str| {
        while !heard.iter().any(|line: &String| line.starts_with(what)) {
            heard.push(hear());
        }
        std::mem::take(&mut heard)
    };
    let first = wait_for("READY=1");
    assert_eq!(first, ["READY=1\n"], "nothing comes before it");
    assert!(is_mounted(&mount.dir()), "ready means mounted");
    let status = wait_for("STATUS=account default at ");
    assert!(status.last().unwrap().contains("/mnt"));
    for _ in 0..3 {
        wait_for("WATCHDOG=1");
    }
    fs::write(mount.path("letter"), "over the wire").unwrap();
    let stop = Command::new("kill").arg(child.id().to_string()).status();
    assert!(stop.unwrap().success());
    wait_for("STOPPING=1");
    // It asks for the time it takes, and goes on to say that it lives.
    wait_for("EXTEND_TIMEOUT_USEC=");
    assert!(child.wait().unwrap().success());
    eventually("it is gone", || !is_mounted(&mount.dir()));
    let names: Vec<String> = fake
        .account()
        .tree()
        .into_iter()
        .flat_map(|folder| folder.files)
        .map(|file| file.name)
        .collect();
    assert_eq!(names, ["letter"]);
    assert_well_behaved(&fake);
}

#[test]
fn the_units_are_sound_and_leave_the_mount_where_everybody_sees_it() {
    // systemd.exec(5): each of these gives the service a mount namespace of its own.
    const HIDE_THE_MOUNT: &[&str] = &[
        "PrivateTmp",
        "PrivateDevices",
        "PrivateMounts",
        "PrivateUsers",
        "PrivateIPC",
        "ProtectSystem",
        "ProtectHome",
        "ProtectProc",
        "ProcSubset",
        "ProtectKernelTunables",
        "ProtectKernelModules",
        "ProtectKernelLogs",
        "ProtectControlGroups",
        "ProtectHostname",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "ExecPaths",
        "NoExecPaths",
        "BindPaths",
        "BindReadOnlyPaths",
        "TemporaryFileSystem",
        "RootDirectory",
        "RootImage",
        "MountFlags",
        "MountImages",
        "DynamicUser",
    ];
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for (kind, switch) in [("system", "--system"), ("user", "--user")] {
        let text = fs::read_to_string(packaging.join(kind).join("fichierfs@.service")).unwrap();
        for option in HIDE_THE_MOUNT {
            assert!(
                !text
                    .lines()
                    .any(|line| line.starts_with(&format!("{option}="))),
                "{kind}: {option}"
            );
        }
        for line in ["Type=notify", "WatchdogSec=90", "KillMode=mixed"] {
            assert!(text.lines().any(|it| it == line), "{kind}: {line}");
        }
        // As it is installed, but for where the program is.
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("fichierfs@.service");
        let program = env!("CARGO_BIN_EXE_fichierfs");
        fs::write(&unit, text.replace("/usr/bin/fichierfs", program)).unwrap();
        let output = Command::new("systemd-analyze")
            .args([switch, "--man=no", "verify"])
            .arg(folder.path().join("fichierfs@work.service"))
            .env("XDG_RUNTIME_DIR", folder.path())
            .output();
        let Ok(output) = output else {
            eprintln!("!!! SKIPPED: systemd-analyze is not installed, no unit was verified !!!");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{kind}: {said}");
    }
}
