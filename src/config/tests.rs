//! Precedence, defaults and refusals of whole configurations.
use super::*;
use std::os::unix::fs::PermissionsExt;

const KEY: &str = "0123456789abcdef0123456789abcdef";

struct World {
    dir: tempfile::TempDir,
    around: Surroundings,
}

fn world(config: &str, environment: &[(&str, &str)]) -> World {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("config")).unwrap();
    fs::write(at("config/config.toml"), config).unwrap();
    let mut environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    environment.push(("FICHIERFS_API_KEY".into(), KEY.into()));
    let around = Surroundings {
        places: Places {
            config: at("config"),
            state: at("state"),
            cache: at("cache"),
            runtime: None,
        },
        environment,
        root: false,
    };
    World { dir, around }
}

fn mount(world: &World, given: MountOptions, lists: &[&str]) -> Result<Mount, String> {
    let lists: Vec<String> = lists.iter().map(ToString::to_string).collect();
    Mount::resolve(
        given,
        &lists,
        Terms::default(),
        Path::new("/mnt/x"),
        &world.around,
    )
    .map_err(|err| err.to_string())
}

fn given(settings: &[(&str, &str)]) -> MountOptions {
    let settings: Vec<_> = settings
        .iter()
        .map(|(long, value)| Setting::new("argv", long, Some(value)))
        .collect();
    layers::parse(&settings).unwrap()
}

#[test]
fn file_table_environment_list_and_command_line_rise_in_this_order() {
    let config = "memory = \"20MiB\"\n[account.work]\nmemory = \"30MiB\"";
    let memory = |account: &str, env: &[(&str, &str)], lists: &[&str], argv: &[(&str, &str)]| {
        let mut env = env.to_vec();
        env.push(("FICHIERFS_ACCOUNT", account));
        let got = mount(&world(config, &env), given(argv), lists).unwrap();
        got.memory >> 20
    };
    let env = &[("FICHIERFS_MEMORY", "40MiB")];
    let argv = &[("memory", "60MiB")];
    assert_eq!(memory("default", &[], &[], &[]), 20);
    assert_eq!(memory("work", &[], &[], &[]), 30);
    assert_eq!(memory("work", env, &[], &[]), 40);
    assert_eq!(memory("work", env, &["memory=50MiB"], &[]), 50);
    assert_eq!(memory("work", env, &["memory=50MiB"], argv), 60);
}

#[test]
fn a_configuration_can_be_printed_without_the_key() {
    let world = world("api-key = \"another-key\"", &[]);
    private_config(&world);
    let mut account = Account::resolve(AccountOptions::default(), &world.around).unwrap();
    let before = format!("{account:?} {:?}", world.around);
    let key = account.find_key().unwrap();
    let mount = mount(&world, MountOptions::default(), &[]).unwrap();
    let printed = format!("{before} {account:?} {key:?} {mount:?}");
    assert!(
        !printed.contains(KEY) && !printed.contains("another-key"),
        "{printed}"
    );
}

/// A config file that holds a key must not be readable by others.
fn private_config(world: &World) {
    let path = world.dir.path().join("config/config.toml");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn defaults_are_those_the_help_promises() {
    let world = world("", &[]);
    let mount = mount(&world, MountOptions::default(), &[]).unwrap();
    assert_eq!(
        mount.account.api_url.to_string(),
        "https://api.1fichier.com/v1"
    );
    assert_eq!(mount.account.name.as_str(), "default");
    assert_eq!(mount.memory, 128 << 20);
    assert_eq!(mount.cache_size, 10 << 30);
    assert_eq!(mount.dir_cache_time, Duration::from_secs(300));
    assert_eq!(mount.read_timeout, Duration::from_secs(60));
    assert_eq!(mount.streams_per_file, 4);
    assert_eq!(mount.staging_size, None);
    assert_eq!(mount.settle, Duration::from_secs(5));
    assert_eq!(mount.settle_open, Duration::from_secs(300));
    assert_eq!((mount.upload, mount.drain), (Upload::Background, None));
    assert_eq!(mount.umask, Umask(0o022));
    assert_eq!(mount.root.as_str(), "/");
    assert!(!mount.read_only && !mount.allow_other && !mount.cdn && mount.crawl);
    assert_eq!(mount.key.key.expose(), KEY);
}

#[test]
fn a_list_may_take_back_what_the_file_says() {
    let world = world("read-only = true", &[]);
    assert!(
        mount(&world, MountOptions::default(), &[])
            .unwrap()
            .read_only
    );
    let rw = mount(&world, MountOptions::default(), &["rw,uid=12"]).unwrap();
    assert!(!rw.read_only);
    assert_eq!(rw.uid, 12);
}

#[test]
fn refusals_name_what_is_wrong() {
    for (argv, says) in [
        (("memory", "1MiB"), "16MiB"),
        (("dir-cache-time", "1s"), "30s"),
        (("read-timeout", "1s"), "5s"),
        (("staging-size", "1kB"), "1MiB"),
        (("ca-cert", "/nonexistent/ca.pem"), "/nonexistent/ca.pem"),
        (("ca-cert", "/dev/null"), "PEM"),
        (("api-key-file", "/nonexistent/key"), "/nonexistent/key"),
    ] {
        let err = mount(&world("", &[]), given(&[argv]), &[]).unwrap_err();
        assert!(err.contains(says), "{argv:?}: {err}");
    }
}

#[test]
fn the_key_goes_over_plain_http_on_this_machine_only() {
    let api_url = |url: &str| {
        let list = format!("api_url={url}");
        mount(&world("", &[]), MountOptions::default(), &[&list])
    };
    api_url("http://127.0.0.1:8080/v1").unwrap();
    let err = api_url("http://example.com/v1").unwrap_err();
    assert!(err.contains("https") && err.contains("-o api_url"), "{err}");
}

#[test]
fn folders_are_private_and_a_useless_one_is_told_before_anything_starts() {
    let world = world("", &[]);
    let good = mount(&world, MountOptions::default(), &[]).unwrap();
    good.make_folders().unwrap();
    for folder in [
        good.account.own_state_dir(),
        good.own_cache_dir(),
        good.staging_dir(),
    ] {
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    let file = world.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let bad = given(&[("cache-dir", file.to_str().unwrap())]);
    let bad = mount(&world, bad, &[]).unwrap();
    let err = bad.make_folders().unwrap_err().to_string();
    assert!(err.contains("--cache-dir"), "{err}");
    fs::remove_dir(good.staging_dir()).unwrap();
    fs::write(good.staging_dir(), "").unwrap();
    let err = good.make_folders().unwrap_err().to_string();
    assert!(
        err.contains("staging") && err.contains("--state-dir"),
        "{err}"
    );
}

#[test]
fn a_list_sets_what_concerns_writing() {
    let list = "settle=0s,settle_open=1m,upload=wait,drain=90s,staging_size=2GiB";
    let mount = mount(&world("", &[]), MountOptions::default(), &[list]).unwrap();
    assert_eq!(mount.settle, Duration::ZERO);
    assert_eq!(mount.settle_open, Duration::from_secs(60));
    assert_eq!(mount.drain, Some(Duration::from_secs(90)));
    assert_eq!(
        (mount.upload, mount.staging_size),
        (Upload::Wait, Some(2 << 30))
    );
}
