use super::checks;
use super::facts::*;
use super::*;
use crate::api::probe::Reach;
use crate::api::{ErrorKind, Offer, UserInfo};
use crate::mount::stale::Life;

const NOW: u64 = 1_800_000_000;
const EXT4: u64 = 0xef53;

fn disk() -> Disk {
    Disk {
        folder: "/disk/fichierfs".into(),
        found: "/disk".into(),
        is_writable: true,
        kind: EXT4,
        free: 100 << 30,
        used: 0,
        makes_holes: Some(true),
    }
}

fn info() -> UserInfo {
    UserInfo {
        email: "me@example.org".into(),
        offer: Offer::Premium,
        subscription_end: None,
        cold_storage: 0,
        hot_storage: 0,
        available_cold_storage: Some(1),
        cdn_credits: 0,
        use_cdn: false,
        over_quota: false,
        upload_forbidden: false,
    }
}

fn told(account: AccountFacts, gate: Gate) -> ServiceFacts {
    ServiceFacts::Told {
        account: Some(Ok((account, 5))),
        gate,
    }
}

fn reach() -> Reach {
    Reach {
        host: "api.example:443".into(),
        is_proxy: false,
        names: Ok(2),
        tcp: Some(Ok(())),
        tls: Some(Ok(())),
    }
}

/// A machine on which everything is as it should be.
fn sound() -> Facts {
    Facts {
        account: "work".into(),
        is_root: false,
        machine: Machine {
            device: Device::Opens,
            fusermount: Some(("/usr/bin/fusermount3".into(), true)),
            user_allow_other: true,
            kernel: "6.12.1-amd64".into(),
            max_pages: Some(256),
        },
        config: ConfigFacts {
            cache_size: 10 << 30,
            ..ConfigFacts::default()
        },
        key: Some(Ok("key file /k".into())),
        cache: Some(disk()),
        state: Some(disk()),
        clock: ClockFacts {
            now: NOW,
            ahead: Some(1),
        },
        way: Some(Ok(reach())),
        service: told(AccountFacts::Known(Box::new(info())), Gate::Open),
        mounts: vec![MountFacts {
            mountpoint: "/mnt".into(),
            life: Some(Life::Alive),
            trouble: None,
        }],
    }
}

/// Spoils a sound machine and expects one finding that says so, and what to do.
fn spoilt(check: &str, state: State, says: &str, spoil: impl FnOnce(&mut Facts)) {
    let mut facts = sound();
    spoil(&mut facts);
    let findings = checks::all(&facts);
    let bad: Vec<&Finding> = findings.iter().filter(|it| it.state != State::Ok).collect();
    let [finding] = bad[..] else {
        panic!("{check}: {bad:#?}");
    };
    assert_eq!(
        (finding.check, finding.state),
        (check, state),
        "{finding:?}"
    );
    assert!(finding.says.contains(says), "{finding:?}");
    assert!(
        finding
            .advice
            .as_ref()
            .is_some_and(|advice| !advice.is_empty())
    );
}

#[test]
fn a_sound_machine_has_nothing_to_be_told() {
    let findings = checks::all(&sound());
    assert!(
        findings
            .iter()
            .all(|it| it.state == State::Ok && it.advice.is_none()),
        "{findings:#?}"
    );
    let checks: Vec<&str> = findings.iter().map(|it| it.check).collect();
    assert_eq!(
        checks,
        [
            "fuse",
            "fusermount3",
            "allow-other",
            "kernel",
            "config",
            "key",
            "cache",
            "state",
            "clock",
            "dns",
            "tcp",
            "tls",
            "account",
            "lock",
            "mount"
        ]
    );
}

#[test]
fn what_the_machine_lacks_is_told() {
    use State::{Fail, Warn};
    spoilt("fuse", Fail, "no FUSE", |it| {
        it.machine.device = Device::Missing;
    });
    spoilt("fuse", Fail, "denied", |it| {
        it.machine.device = Device::Closed("denied".into());
    });
    spoilt("fusermount3", Fail, "not installed", |it| {
        it.machine.fusermount = None;
    });
    spoilt("fusermount3", Fail, "set-uid", |it| {
        it.machine.fusermount = Some(("/x/fusermount3".into(), false));
    });
    spoilt("allow-other", Fail, "root", |it| {
        it.machine.user_allow_other = false;
        it.config.allow_other = true;
    });
    spoilt("kernel", Warn, "128 KiB", |it| {
        it.machine.kernel = "4.19.0".into();
    });
    spoilt("kernel", Warn, "32 pages", |it| {
        it.machine.max_pages = Some(32);
    });
    spoilt("kernel", Warn, "understood", |it| {
        it.machine.kernel = "odd".into();
    });
    spoilt("clock", Fail, "1970", |it| it.clock.now = 90_000);
    spoilt("clock", Warn, "ahead of", |it| it.clock.ahead = Some(3600));
    spoilt("clock", Warn, "behind", |it| it.clock.ahead = Some(-3600));
    let mut root = sound();
    root.is_root = true;
    root.machine.fusermount = None;
    root.machine.user_allow_other = false;
    root.config.allow_other = true;
    assert!(checks::all(&root).iter().all(|it| it.state == State::Ok));
}

#[test]
fn disks_that_lose_or_fill_up_are_told() {
    use State::{Fail, Warn};
    let with = |change: fn(&mut Disk)| {
        let mut disk = disk();
        change(&mut disk);
        Some(disk)
    };
    for (state, says, change) in [
        (
            Fail,
            "cannot be written",
            (|it| it.is_writable = false) as fn(&mut Disk),
        ),
        (Warn, "no holes", |it| it.makes_holes = Some(false)),
        (Warn, "tmpfs", |it| it.kind = 0x0102_1994),
        (Warn, "NFS", |it| it.kind = 0x6969),
        (Warn, "fill up", |it| it.free = 1 << 30),
    ] {
        spoilt("cache", state, says, |it| it.cache = with(change));
    }
    // What it holds already is its own room.
    let mut facts = sound();
    facts.cache = with(|it| (it.free, it.used) = (1 << 30, 9 << 30));
    assert!(checks::all(&facts).iter().all(|it| it.state == State::Ok));
    for (state, says, change) in [
        (
            Fail,
            "cannot be written",
            (|it| it.is_writable = false) as fn(&mut Disk),
        ),
        (Fail, "lost", |it| it.kind = 0x0102_1994),
        (Warn, "NFS", |it| it.kind = 0x6969),
        (Warn, "1.0 GiB", |it| it.free = 1 << 30),
        (Fail, "full", |it| it.free = 1 << 20),
    ] {
        spoilt("state", state, says, |it| it.state = with(change));
    }
}

#[test]
fn each_step_of_the_way_is_named() {
    use State::Fail;
    let refused = || Some(Err("refused".to_owned()));
    let way = |change: &dyn Fn(&mut Reach)| {
        let mut reach = reach();
        change(&mut reach);
        Some(Ok(reach))
    };
    spoilt("dns", Fail, "api.example", |it| {
        it.way = way(&|it| (it.names, it.tcp, it.tls) = (Err("none".into()), None, None));
    });
    spoilt("tcp", Fail, "refused", |it| {
        it.way = way(&|it| (it.tcp, it.tls) = (refused(), None));
    });
    spoilt("tls", Fail, "refused", |it| {
        it.way = way(&|it| it.tls = refused());
    });
    spoilt("tls", Fail, "roots", |it| {
        it.way = Some(Err("no roots".into()));
    });
    spoilt("tcp", Fail, "the proxy", |it| {
        it.way = way(&|it| (it.is_proxy, it.tcp, it.tls) = (true, refused(), None));
    });
}

#[test]
fn the_account_and_its_locks_are_told() {
    use State::{Fail, Warn};
    let known = |change: fn(&mut UserInfo)| {
        let mut info = info();
        change(&mut info);
        told(AccountFacts::Known(Box::new(info)), Gate::Open)
    };
    spoilt("account", Fail, "paid", |it| {
        it.service = known(|it| it.offer = Offer::Free);
    });
    spoilt("account", Warn, "forbidden", |it| {
        it.service = known(|it| it.upload_forbidden = true);
    });
    spoilt("account", Warn, "full", |it| {
        it.service = known(|it| it.over_quota = true);
    });
    spoilt("account", Warn, "another", |it| {
        it.service = ServiceFacts::Held("another".into());
    });
    spoilt("account", Fail, "no room", |it| {
        it.service = ServiceFacts::Failed("no room".into());
    });
    let trouble = |kind| ServiceFacts::Told {
        account: Some(Err(ServiceTrouble {
            kind: Some(kind),
            says: "said so".into(),
        })),
        gate: Gate::Open,
    };
    spoilt("key", Fail, "said so", |it| {
        it.service = trouble(ErrorKind::KeyRefused);
    });
    for kind in [
        ErrorKind::NotCustomer,
        ErrorKind::Flood,
        ErrorKind::NetworkRefused,
        ErrorKind::Server,
    ] {
        spoilt("account", Fail, "said so", |it| it.service = trouble(kind));
    }
    let shut = |cause: &str| {
        let gate = Gate::Shut {
            cause: cause.into(),
            until: NOW,
        };
        told(AccountFacts::Accepted, gate)
    };
    spoilt("lock", Warn, "too many calls", |it| {
        it.service = shut("flood");
    });
    spoilt("lock", Fail, "banned", |it| it.service = shut("banned"));
    spoilt("lock", Warn, "finds out", |it| {
        it.service = told(
            AccountFacts::Accepted,
            Gate::Probing {
                cause: "down".into(),
            },
        );
    });
}

#[test]
fn configuration_key_and_mounts_are_told() {
    use State::{Fail, Warn};
    spoilt("config", Fail, "no such option", |it| {
        it.config.trouble = Some("x: no such option".into());
    });
    spoilt("key", Fail, "no API key", |it| {
        it.key = Some(Err("there is no API key".into()));
    });
    spoilt("mount", Fail, "dead", |it| {
        it.mounts[0].life = Some(Life::Dead);
    });
    spoilt("mount", Fail, "answer", |it| {
        it.mounts[0].life = Some(Life::Silent);
    });
    spoilt("mount", Warn, "key", |it| {
        it.mounts[0].trouble = Some("the key is refused".into());
    });
}

#[test]
fn the_page_has_a_line_each_and_what_to_do_below() {
    let page = page(&[
        Finding {
            check: "fuse",
            state: State::Ok,
            says: "fine\u{1b}[2J".into(),
            advice: None,
        },
        Finding {
            check: "key",
            state: State::Fail,
            says: "none".into(),
            advice: Some("log in".into()),
        },
    ]);
    assert_eq!(
        page,
        "ok    fuse         fine?[2J\n\
         fail  key          none\n\
         \u{20}                  -> log in\n"
    );
}
