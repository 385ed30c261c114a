//! `fichierfs umount` on mounts that nobody serves.
use super::{Home, can_mount};
use fichierfs::control::{Answer, Answers, Pong, Request, Server, Teller};
use fichierfs::mount::kernel::{Attached, Options, attach};
use fichierfs::mount::mountinfo;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A mount of ours that no session serves; gone when this goes.
pub(super) struct Silent(Attached);

impl Silent {
    pub(super) fn mount(mountpoint: &Path, account: &str) -> Option<Self> {
        attach(mountpoint, &options(account)?).ok().map(Self)
    }
}

fn options(account: &str) -> Option<Options> {
    Some(Options {
        account: account.parse().ok()?,
        read_only: true,
        allow_other: false,
        noexec: false,
        noatime: false,
    })
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.0.detach();
    }
}

#[test]
fn only_mounts_of_ours_are_taken_away() {
    let home = Home::new();
    home.run(["umount", &home.text("mnt")])
        .refused(1, &["nothing is mounted", &home.text("mnt")]);
    home.run(["umount", "/proc"])
        .refused(1, &["/proc", "umount(8)"]);
    home.run(["umount", &home.text("none")])
        .refused(1, &[&home.text("none")]);
}

#[test]
fn a_mount_is_taken_away_whole_or_lazily() {
    if !can_mount("a_mount_is_taken_away_whole_or_lazily") {
        return;
    }
    let home = Home::new();
    for arguments in [vec!["umount"], vec!["umount", "--lazy"]] {
        let silent = Silent::mount(&home.at("mnt"), "test").unwrap();
        let mnt = home.text("mnt");
        home.run(arguments.into_iter().chain([mnt.as_str()]))
            .succeeded();
        assert!(mountinfo::top_at(&home.at("mnt")).unwrap().is_none());
        drop(silent);
    }
}

#[test]
fn a_dead_mount_is_taken_away() {
    if !can_mount("a_dead_mount_is_taken_away") {
        return;
    }
    let home = Home::new();
    let options = options("test").unwrap();
    // The process that served it is gone, and with it the descriptor.
    drop(attach(&home.at("mnt"), &options).unwrap());
    assert!(fs::metadata(home.at("mnt")).is_err());
    home.run(["umount", &format!("{}/", home.text("mnt"))])
        .succeeded();
    assert!(fs::metadata(home.at("mnt")).is_ok());
}

#[test]
fn a_busy_mount_names_who_uses_it_and_the_way_out() {
    if !can_mount("a_busy_mount_names_who_uses_it_and_the_way_out") {
        return;
    }
    let home = Home::new();
    let silent = Silent::mount(&home.at("mnt"), "test").unwrap();
    let held = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(home.at("mnt"))
        .unwrap();
    let ended = home.run(["umount", &home.text("mnt")]);
    drop(held);
    let pid = format!("({})", std::process::id());
    ended.refused(1, &["in use by", &pid, "--lazy"]);
    drop(silent);
}

/// Says that it serves a mount.
struct Serving(Pong);

impl Answers for Serving {
    async fn answer(&self, request: Request, _: Teller) -> Answer {
        match request {
            Request::Ping => Answer::Pong(self.0.clone()),
            _ => Answer::error("not asked for here"),
        }
    }
}

/// Says on `socket` that it serves `silent`.
fn serve(runtime: &tokio::runtime::Runtime, socket: &Path, silent: &Silent) {
    let server = Server::bind(&[socket.to_owned()]).unwrap();
    let pong = Pong {
        pid: std::process::id(),
        account: "work".into(),
        device: silent.0.device().to_owned(),
        ..Pong::default()
    };
    runtime.spawn(server.serve(Arc::new(Serving(pong))));
}

/// Whatever place the serving process chose for its socket, its end is waited for: it may have been told
/// another state folder, and it may serve another mount of the same account's name.
fn waited_for(socket: &str) {
    let home = Home::new();
    let silent = Silent::mount(&home.at("mnt"), "work").unwrap();
    fs::create_dir(home.at("other")).unwrap();
    let other = Silent::mount(&home.at("other"), "work").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let entered = runtime.enter();
    serve(
        &runtime,
        &home.at("state/fichierfs/work/control.sock"),
        &other,
    );
    serve(&runtime, &home.at(socket), &silent);
    let mut command = home.command();
    command.args(["umount", &home.text("mnt")]);
    let mut umount = command.spawn().unwrap();
    let start = Instant::now();
    while silent.0.is_there().unwrap() {
        assert!(start.elapsed() < LONG, "it was not unmounted");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Unmounted, but still draining: the command must not have ended.
    std::thread::sleep(Duration::from_millis(200));
    assert!(umount.try_wait().unwrap().is_none(), "it did not wait");
    drop(entered);
    runtime.shutdown_background();
    assert!(umount.wait().unwrap().success());
    assert!(start.elapsed() < LONG);
    drop(other);
}

#[test]
fn the_end_of_the_serving_process_is_waited_for() {
    if can_mount("the_end_of_the_serving_process_is_waited_for") {
        waited_for("run/fichierfs/work.sock");
    }
}

#[test]
fn the_end_of_a_process_with_its_own_folders_is_waited_for() {
    if can_mount("the_end_of_a_process_with_its_own_folders_is_waited_for") {
        waited_for("elsewhere/work/control.sock");
    }
}
