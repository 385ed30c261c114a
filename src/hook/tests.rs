use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Changes that a test makes.
#[derive(Default)]
struct Made {
    waiting: Mutex<Changed>,
    came: Notify,
    taken: AtomicUsize,
}

impl Made {
    fn make(&self, folder: &str) {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.folders.insert(folder.into());
        drop(waiting);
        self.came.notify_one();
    }
}

impl Source for &'static Made {
    async fn came(&self) {
        self.came.notified().await;
    }

    async fn take(&self) -> Changed {
        self.taken.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut *self.waiting.lock().unwrap())
    }
}

fn made() -> &'static Made {
    Box::leak(Box::default())
}

/// A script in a folder of its own, and a file it writes to.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        let out = dir.path().join("out");
        fs::write(&path, format!("#!/bin/sh\nout={}\n{text}\n", out.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn target(&self) -> Target {
        let path = self.dir.path().join("script");
        let path = path.to_str().unwrap().to_owned();
        Target::Program(Program::new(path, vec!["first".into()]))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }
}

/// A thousand virtual seconds per second.
fn hook(target: Target) -> Hook {
    let place = Place {
        account: "work".into(),
        mountpoint: "/mnt".into(),
    };
    Hook::new(target, place, Clock::scaled(1000.0, None))
}

async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(script: &Script, folders: &[&str], limit: Duration) -> Result<(), String> {
    let Target::Program(program) = script.target() else {
        unreachable!("a script is a program");
    };
    let folders = folders.iter().map(PathBuf::from).collect();
    program.run(&folders, limit).await
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn folders_are_arguments_whatever_is_in_their_names() {
    let script = Script::new(r#"for it; do printf '<%s>' "$it"; done > "$out""#);
    run(&script, &["/a b/$(x)", "/c\nd", "/-e; f'\""], LONG)
        .await
        .unwrap();
    assert_eq!(script.said(), "<first></-e; f'\"></a b/$(x)></c\nd>");
}

#[tokio::test]
async fn the_environment_holds_nothing_of_ours() {
    let script = Script::new(r#"env | sed 's/=.*//' > "$out"; pwd >> "$out""#);
    run(&script, &["/a"], LONG).await.unwrap();
    let said = script.said();
    let names: Vec<&str> = said.lines().collect();
    assert!(
        names.contains(&"PATH") && names.last() == Some(&"/"),
        "{said}"
    );
    // cargo sets CARGO_…, and the shell some of its own.
    let strange = names.iter().find(|name| {
        !program::is_kept(std::ffi::OsStr::new(name))
            && !["PWD", "OLDPWD", "SHLVL", "_", "/"].contains(name)
    });
    assert_eq!(strange, None);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let failed = run(&Script::new("exit 3"), &["/a"], LONG)
        .await
        .unwrap_err();
    assert!(failed.contains('3'), "{failed}");
    let missing = Program::new("/nonexistent/program".into(), Vec::new());
    assert!(missing.trouble().unwrap().contains("/nonexistent/program"));
    assert!(missing.run(&BTreeSet::new(), LONG).await.is_err());
    assert!(Program::new("/".into(), Vec::new()).trouble().is_some());
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_it_started() {
    // The grandchild holds the output open and would be found by the file it removes at its end.
    let script = Script::new(r#"(sleep 30; touch "$out") & echo $! > "$out.pid"; wait"#);
    let start = Instant::now();
    let error = run(&script, &["/a"], Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(error.contains("ended after"), "{error}");
    assert!(start.elapsed() < LONG);
    let pid = fs::read_to_string(script.dir.path().join("out.pid")).unwrap();
    let process = format!("/proc/{}/stat", pid.trim());
    until("the grandchild is gone", || {
        fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn one_that_ignores_the_end_and_talks_for_ever_is_ended_too() {
    let script = Script::new("trap '' TERM\nwhile :; do echo talk; done");
    let start = Instant::now();
    run(&script, &["/a"], Duration::from_millis(200))
        .await
        .unwrap_err();
    assert!(start.elapsed() < LONG);
}

#[tokio::test]
async fn what_changes_together_is_told_once_and_what_changes_meanwhile_later() {
    let script =
        Script::new(r#"echo "$@" >> "$out"; while [ ! -e "$out.go" ]; do sleep 0.02; done"#);
    let made = made();
    made.make("/a");
    made.make("/b");
    let hook = Hook {
        clock: Clock::scaled(50.0, None),
        ..hook(script.target())
    };
    let task = tokio::spawn(hook.run(made));
    made.make("/a");
    until("the first run", || script.said() == "first /a /b\n").await;
    made.make("/c");
    made.make("/d");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(script.said(), "first /a /b\n", "one run at a time");
    fs::write(script.dir.path().join("out.go"), "").unwrap();
    until("the second run", || {
        script.said() == "first /a /b\nfirst /c /d\n"
    })
    .await;
    task.abort();
}

#[tokio::test]
async fn what_failed_is_told_again_with_what_came_since_and_given_up_in_the_end() {
    let script = Script::new(r#"echo "$@" >> "$out"; [ -e "$out.ok" ]"#);
    let made = made();
    made.make("/a");
    let task = tokio::spawn(hook(script.target()).run(made));
    until("an attempt", || script.said().lines().count() == 1).await;
    made.make("/b");
    until("the others", || {
        script.said().lines().count() == ATTEMPTS as usize
    })
    .await;
    assert!(
        script.said().ends_with("first /a /b\n"),
        "{}",
        script.said()
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(script.said().lines().count(), ATTEMPTS as usize, "given up");
    fs::write(script.dir.path().join("out.ok"), "").unwrap();
    made.make("/c");
    until("the next is told", || script.said().ends_with("first /c\n")).await;
    task.abort();
}

#[tokio::test]
async fn a_run_ends_with_the_hook() {
    let script = Script::new(r#"echo $$ > "$out"; exec sleep 30"#);
    let made = made();
    made.make("/a");
    // A clock on which the limit is far away.
    let hook = Hook {
        clock: Clock::scaled(50.0, None),
        ..hook(script.target())
    };
    let task = tokio::spawn(hook.run(made));
    until("it runs", || !script.said().trim().is_empty()).await;
    let process = format!("/proc/{}", script.said().trim());
    task.abort();
    until("it is gone", || !Path::new(&process).exists()).await;
}

#[test]
fn too_many_folders_are_the_mount_itself() {
    let mut changed = Changed::default();
    for number in 0..=MOST {
        changed.folders.insert(format!("/mnt/{number}").into());
    }
    changed.bound(Path::new("/mnt"));
    assert!(changed.everything);
    assert_eq!(changed.folders, BTreeSet::from([PathBuf::from("/mnt")]));
}
