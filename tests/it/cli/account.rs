//! `login` and `account` against the fake service.
use super::{Ended, Home, KEY, feed};
use fake_1fichier::Fake;
use fichierfs::control::{Answer, Answers, Pong, Request, Server, Teller};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

fn service() -> Fake {
    Fake::builder().start().unwrap()
}

impl Home {
    fn ask(&self, fake: &Fake, arguments: &[&str]) -> Ended {
        let mut command = self.command();
        command.args(arguments).args(["--api-url", &fake.api_url()]);
        Ended::of(command.output().unwrap())
    }

    fn login(&self, fake: &Fake, key: &str) -> Ended {
        let mut command = self.command();
        command.args(["login", "--api-url", &fake.api_url()]);
        feed(command, key)
    }
}

#[test]
fn a_login_is_checked_kept_and_used() {
    let (fake, home) = (service(), Home::new());
    let ended = home.login(&fake, &format!("{}\n", fake.key()));
    ended.succeeded();
    assert!(!ended.out.contains(&fake.key()), "the key was printed");
    let stored = home.at("config/fichierfs/keys/default");
    assert_eq!(fs::read_to_string(&stored).unwrap().trim(), fake.key());
    let mode = fs::metadata(&stored).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let account = home.ask(&fake, &["account"]);
    account.succeeded();
    for word in ["Account", "Offer", "Used", "As of"] {
        assert!(account.out.contains(word), "{account:?}");
    }
    // The answer is six minutes good, for every process: more calls would lock the key.
    home.ask(&fake, &["account"]).succeeded();
    assert_eq!(fake.count("user/info"), 1);
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn a_key_that_is_refused_is_not_kept() {
    let (fake, home) = (service(), Home::new());
    home.login(&fake, KEY).refused(1, &["not kept", "API key"]);
    assert!(!home.at("config/fichierfs/keys/default").exists());
    home.login(&fake, "").refused(1, &["empty"]);
    home.login(&fake, "two words").refused(1, &["character"]);
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

#[test]
fn a_key_can_be_checked_again_after_a_failure() {
    let (fake, home) = (service(), Home::new());
    home.login(&fake, KEY).refused(1, &["not kept"]);
    // The right key now; and the wrong one once more, which may not be asked for so soon.
    home.login(&fake, &fake.key()).succeeded();
    home.login(&fake, KEY).refused(1, &["not kept"]);
    // The service counts these by address as well, whatever the key.
    assert_eq!(fake.count("user/info"), 1);
    let mut broken = fake.violations().into_iter();
    assert!(!broken.any(|violation| violation.rule == "user_info"));
}

#[test]
fn without_a_key_nobody_is_asked() {
    let (fake, home) = (service(), Home::new());
    home.ask(&fake, &["account"])
        .refused(1, &["fichierfs login"]);
    home.ask(&fake, &["account", "--account", "work"])
        .refused(1, &["--account work"]);
    assert!(fake.log().is_empty());
}

#[test]
fn a_service_that_is_away_is_told() {
    let home = Home::new();
    let mut command = home.command();
    // A port nobody listens at: taken and given back.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    command
        .env("FICHIERFS_API_KEY", KEY)
        .env("FICHIERFS_CLOCK", "200")
        .args([
            "account",
            "--api-url",
            &format!("http://127.0.0.1:{port}/v1"),
        ]);
    Ended::of(command.output().unwrap()).refused(1, &["user/info"]);
}

#[test]
fn a_login_that_is_overridden_is_told() {
    let (fake, home) = (service(), Home::new());
    let toml = format!("api-key = \"{KEY}\"\n");
    home.write("config/fichierfs/config.toml", &toml, 0o600);
    let ended = home.login(&fake, &fake.key());
    ended.succeeded();
    assert!(ended.err.contains("config.toml"), "{ended:?}");
    assert!(!ended.err.contains(KEY));
}

/// Answers as a running mount does.
struct Mounted {
    state_dir: String,
    answer: Answer,
}

impl Answers for Mounted {
    async fn answer(&self, request: Request, _: Teller) -> Answer {
        match request {
            Request::Ping => Answer::Pong(Pong {
                pid: 7,
                account: "work".into(),
                mountpoint: "/mnt/x".into(),
                state_dir: self.state_dir.clone(),
                ..Pong::default()
            }),
            _ => self.answer.clone(),
        }
    }
}

/// Runs `account` while a mount of `work` answers with `answer`.
fn beside_a_mount(home: &Home, answer: Answer) -> Ended {
    let state = home.text("state/fichierfs");
    beside_a_mount_of(home, &state, answer, &["account", "--account", "work"])
}

/// Runs a command while a mount of `work` that keeps its state in `state_dir` answers.
fn beside_a_mount_of(home: &Home, state_dir: &str, answer: Answer, arguments: &[&str]) -> Ended {
    let socket = home.at("run/fichierfs/work.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = Server::bind(std::slice::from_ref(&socket)).unwrap();
    let mounted = Mounted {
        state_dir: state_dir.to_owned(),
        answer,
    };
    runtime.spawn(server.serve(Arc::new(mounted)));
    // No key anywhere: only the mount can know. And no state folder chosen but by the arguments.
    let mut command = home.command();
    command.env_remove("FICHIERFS_STATE_DIR").args(arguments);
    Ended::of(command.output().unwrap())
}

#[test]
fn a_running_mount_is_asked_first() {
    let home = Home::new();
    let info = serde_json::json!({"answer": "account", "age_seconds": 61, "info": {
        "email": "me@example.org", "offer": "Access", "subscription_end": null,
        "cold_storage": 5_000_000, "hot_storage": 0, "available_cold_storage": null,
        "cdn_credits": 0, "use_cdn": false, "over_quota": false, "upload_forbidden": false}});
    let answer = serde_json::from_value(info).unwrap();
    let ended = beside_a_mount(&home, answer);
    ended.succeeded();
    assert!(ended.out.contains("me@example.org") && ended.out.contains("1m 1s ago"));
    let ended = beside_a_mount(&home, Answer::error("the service is away"));
    ended.refused(1, &["running mount", "the service is away"]);
}

#[test]
fn a_mount_with_another_state_folder_is_asked_unless_that_folder_was_chosen() {
    let home = Home::new();
    let (there, here) = (home.text("elsewhere"), home.text("here"));
    let answer = || Answer::error("asked");
    let plain = ["account", "--account", "work"];
    let ended = beside_a_mount_of(&home, &there, answer(), &plain);
    ended.refused(1, &["running mount", "asked"]);
    let chosen = ["account", "--account", "work", "--state-dir", &here];
    let ended = beside_a_mount_of(&home, &there, answer(), &chosen);
    ended.refused(1, &["fichierfs login"]);
    let ended = beside_a_mount_of(&home, &here, answer(), &chosen);
    ended.refused(1, &["running mount", "asked"]);
}
