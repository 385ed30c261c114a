//! What the facts mean, and what to do: pure.
mod disks;

use super::super::output::decimal;
use super::facts::{
    AccountFacts, ConfigFacts, Device, Facts, Gate, Machine, MountFacts, ServiceFacts,
};
use super::{Finding, State};
use crate::api::ErrorKind;
use crate::api::probe::Reach;
use crate::mount::check::FUSE_CONF;
use crate::mount::kernel::DEVICE;
use crate::mount::stale::Life;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The kernel that lets a request be larger than 128 KiB (FUSE 7.28).
const LARGE_REQUESTS: (u32, u32) = (4, 20);

/// The kernel that can read cached files by itself (FUSE 7.40).
const PASSTHROUGH: (u32, u32) = (6, 9);

/// Pages of the largest request we ask for: 1 MiB.
const WANTED_PAGES: u64 = 256;

/// Seconds a clock may differ: the service's limits are kept with it, over restarts.
const CLOCK_DIFFERS: i64 = 60;

/// 2026: no clock that is right shows less.
const NO_EARLIER: u64 = 1_767_225_600;

/// 2100: nor more.
const NO_LATER: u64 = 4_102_444_800;

/// All findings, in the order in which they should be put right.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![
        device(&facts.machine),
        fusermount(&facts.machine, facts.is_root),
        allow_other(&facts.machine, facts.is_root, facts.config.allow_other),
        kernel(&facts.machine),
        config(&facts.config),
    ];
    findings.extend(facts.key.as_ref().map(|key| key_place(key, &facts.account)));
    findings.extend(disks::cache(facts));
    findings.extend(facts.state.as_ref().map(disks::state));
    findings.push(clock(facts));
    findings.extend(way(facts));
    findings.extend(service(facts));
    findings.extend(facts.mounts.iter().map(mount));
    findings
}

fn ok(check: &'static str, says: impl Into<String>) -> Finding {
    Finding {
        check,
        state: State::Ok,
        says: says.into(),
        advice: None,
    }
}

fn warn(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        check,
        state: State::Warn,
        says: says.into(),
        advice: Some(advice.into()),
    }
}

fn fail(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        state: State::Fail,
        ..warn(check, says, advice)
    }
}

fn device(machine: &Machine) -> Finding {
    const CHECK: &str = "fuse";
    match &machine.device {
        Device::Opens => ok(CHECK, format!("{DEVICE} can be opened")),
        Device::Missing => fail(
            CHECK,
            format!("{DEVICE} does not exist: this kernel or container has no FUSE"),
            format!("run: modprobe fuse; in a container: --device {DEVICE} --cap-add SYS_ADMIN"),
        ),
        Device::Closed(why) => fail(
            CHECK,
            format!("{DEVICE} cannot be opened: {why}"),
            format!("run as root: chmod 666 {DEVICE} (as udev does with the package fuse3)"),
        ),
    }
}

fn fusermount(machine: &Machine, is_root: bool) -> Finding {
    const CHECK: &str = "fusermount3";
    const INSTALL: &str = "install the package fuse3, or mount as root";
    match &machine.fusermount {
        _ if is_root => ok(CHECK, "root needs none"),
        None => fail(
            CHECK,
            "fusermount3 is not installed; only root can mount",
            INSTALL,
        ),
        Some((path, true)) => ok(CHECK, format!("{} is set-uid root", path.display())),
        Some((path, false)) => fail(
            CHECK,
            format!(
                "{} is not set-uid root, so it cannot mount for you",
                path.display()
            ),
            format!(
                "run as root: chown root {0} && chmod 4755 {0}",
                path.display()
            ),
        ),
    }
}

fn allow_other(machine: &Machine, is_root: bool, is_wanted: bool) -> Finding {
    const CHECK: &str = "allow-other";
    let how = format!("ask root to add the line `user_allow_other` to {FUSE_CONF}");
    match (is_root || machine.user_allow_other, is_wanted) {
        (true, true) => ok(CHECK, "other users are let in"),
        (true, false) => ok(
            CHECK,
            "other users can be let in with --allow-other, and are not",
        ),
        (false, true) => fail(
            CHECK,
            "--allow-other is set, and this machine leaves it to root: mounting will fail",
            how,
        ),
        (false, false) => ok(
            CHECK,
            format!("only you can use your mounts; for a media server's own user, {how}"),
        ),
    }
}

fn kernel(machine: &Machine) -> Finding {
    const CHECK: &str = "kernel";
    let Some(version) = version(&machine.kernel) else {
        return warn(
            CHECK,
            format!(
                "Linux {:?} is no version that is understood",
                machine.kernel
            ),
            "see whether a mount works; 4.20 or later is what it wants",
        );
    };
    let release = &machine.kernel;
    if version < LARGE_REQUESTS {
        return warn(
            CHECK,
            format!("Linux {release} asks for 128 KiB at a time: reading and writing cost more"),
            "4.20 or later asks for 1 MiB",
        );
    }
    if let Some(pages) = machine.max_pages.filter(|pages| *pages < WANTED_PAGES) {
        return warn(
            CHECK,
            format!("Linux {release} is limited to requests of {pages} pages"),
            format!("run as root: sysctl fs.fuse.max_pages_limit={WANTED_PAGES}"),
        );
    }
    let passthrough = if version >= PASSTHROUGH {
        "; cached files can be read past us on a read-only mount of root's"
    } else {
        ""
    };
    ok(CHECK, format!("Linux {release}{passthrough}"))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn config(config: &ConfigFacts) -> Finding {
    const CHECK: &str = "config";
    let file = config.file.display();
    match &config.trouble {
        Some(trouble) => fail(
            CHECK,
            trouble,
            format!("put it right; the config file is {file}, see: fichierfs mount --help"),
        ),
        None if config.is_there => ok(CHECK, format!("{file} is understood")),
        None => ok(CHECK, format!("there is no {file}; the defaults count")),
    }
}

fn key_place(key: &Result<String, String>, account: &str) -> Finding {
    const CHECK: &str = "key";
    match key {
        Ok(origin) => ok(CHECK, format!("found: {origin}")),
        Err(why) => fail(
            CHECK,
            why,
            format!(
                "run: fichierfs login --account {account}; the key is on https://1fichier.com/console/params.pl"
            ),
        ),
    }
}

fn clock(facts: &Facts) -> Finding {
    const CHECK: &str = "clock";
    const SET: &str = "set the clock: timedatectl set-ntp true";
    let now = facts.clock.now;
    if !(NO_EARLIER..NO_LATER).contains(&now) {
        return fail(
            CHECK,
            format!(
                "it says {}, which cannot be: certificates will be refused",
                day(now)
            ),
            SET,
        );
    }
    match facts.clock.ahead {
        Some(ahead) if ahead.abs() > CLOCK_DIFFERS => warn(
            CHECK,
            format!(
                "it is {} s {} the service's: dates of files are wrong by as much",
                ahead.abs(),
                if ahead > 0 { "ahead of" } else { "behind" }
            ),
            SET,
        ),
        Some(_) => ok(CHECK, "it agrees with the service's"),
        None => ok(
            CHECK,
            "it is plausible; the service was not asked for its time",
        ),
    }
}

fn day(seconds: u64) -> String {
    time(seconds, "%F")
}

fn time(seconds: u64, format: &str) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(
            || "a time beyond all calendars".into(),
            |at| at.to_zoned(TimeZone::system()).strftime(format).to_string(),
        )
}

/// The way to the service, as far as it goes: a line per step.
fn way(facts: &Facts) -> Vec<Finding> {
    let reach = match &facts.way {
        None => return Vec::new(),
        Some(Err(why)) => {
            return vec![fail(
                "tls",
                why,
                "install the package ca-certificates; check --ca-cert and --proxy",
            )];
        }
        Some(Ok(reach)) => reach,
    };
    let mut findings = vec![names(reach)];
    findings.extend(reach.tcp.as_ref().map(|tcp| tcp_finding(reach, tcp)));
    findings.extend(reach.tls.as_ref().map(|tls| match tls {
        Ok(()) => ok("tls", "the service proves who it is"),
        Err(why) => fail(
            "tls",
            format!("no secure connection to the service: {why}"),
            "a wrong clock, missing ca-certificates, a proxy or a filter in between can be the cause",
        ),
    }));
    findings
}

fn whose(reach: &Reach) -> String {
    let whose = if reach.is_proxy { "the proxy " } else { "" };
    format!("{whose}{}", reach.host)
}

fn names(reach: &Reach) -> Finding {
    match &reach.names {
        Ok(count) => {
            let addresses = if *count == 1 { "address" } else { "addresses" };
            ok("dns", format!("{} has {count} {addresses}", whose(reach)))
        }
        Err(why) => fail(
            "dns",
            format!("the address of {} cannot be found: {why}", whose(reach)),
            "check the network and /etc/resolv.conf; some providers hide the service: try another DNS server",
        ),
    }
}

fn tcp_finding(reach: &Reach, tcp: &Result<(), String>) -> Finding {
    match tcp {
        Ok(()) => ok("tcp", format!("{} answers", whose(reach))),
        Err(why) => fail(
            "tcp",
            format!("{} cannot be connected to: {why}", whose(reach)),
            "check the network, the firewall and --proxy",
        ),
    }
}

fn service(facts: &Facts) -> Vec<Finding> {
    let (account, gate) = match &facts.service {
        ServiceFacts::Unknown => return Vec::new(),
        ServiceFacts::Held(why) => {
            return vec![warn("account", why, "see: fichierfs status")];
        }
        ServiceFacts::Failed(why) => {
            return vec![fail("account", why, "put that right, then run this again")];
        }
        ServiceFacts::Told { account, gate } => (account, gate),
    };
    let mut findings = Vec::new();
    match account {
        None => {}
        Some(Ok((known, age))) => findings.push(account_finding(known, *age)),
        Some(Err(trouble)) => findings.push(trouble_finding(trouble.kind, &trouble.says)),
    }
    findings.push(gate_finding(gate));
    findings
}

fn account_finding(known: &AccountFacts, age: u64) -> Finding {
    const CHECK: &str = "account";
    let AccountFacts::Known(info) = known else {
        return ok(
            CHECK,
            "the service accepts the key; of which account it is may be asked in six minutes",
        );
    };
    let who = format!("{} ({}), as of {age} s ago", info.email, info.offer);
    if !info.offer.is_paid() {
        return fail(
            CHECK,
            format!("{who}: the service's API is for paid accounts"),
            "Access, Premium or GOLD is needed; see https://1fichier.com/tarifs.html",
        );
    }
    if info.upload_forbidden {
        return warn(
            CHECK,
            format!("{who}: uploads are forbidden"),
            "ask the service why; mount with --read-only",
        );
    }
    if info.over_quota || info.available_cold_storage.is_some_and(|free| free <= 0) {
        return warn(
            CHECK,
            format!("{who}: it is full; uploads will be refused, and wait"),
            "remove something, or book more; then: fichierfs retry --all",
        );
    }
    let free = info
        .available_cold_storage
        .and_then(|free| u64::try_from(free).ok());
    let free = free.map_or_else(String::new, |free| format!("; {} free", decimal(free)));
    ok(
        CHECK,
        format!("{who}: it may be mounted and written to{free}"),
    )
}

fn trouble_finding(kind: Option<ErrorKind>, says: &str) -> Finding {
    use ErrorKind as K;
    let advice = match kind {
        Some(K::KeyRefused) => {
            return fail(
                "key",
                format!("the service refuses it: {says}"),
                "take the key from https://1fichier.com/console/params.pl and run: fichierfs login",
            );
        }
        Some(K::NotCustomer) => {
            "Access, Premium or GOLD is needed; see https://1fichier.com/tarifs.html"
        }
        Some(K::Flood | K::IpBanned | K::OwnerLocked) => {
            "wait, and make no more calls: each may extend it"
        }
        Some(K::Maintenance) => "wait: it comes back by itself",
        Some(K::TooManyLocations) => {
            "stop other programs that use this account elsewhere, then wait five minutes"
        }
        Some(K::NetworkRefused) => {
            "the service takes this address for a VPN or a data centre: use another one, or CDN credits (--cdn)"
        }
        Some(K::Tls) => {
            "a wrong clock, missing ca-certificates, a proxy or a filter in between can be the cause"
        }
        _ => "try again in a few minutes",
    };
    fail(
        "account",
        format!("the service did not answer as it should: {says}"),
        advice,
    )
}

fn gate_finding(gate: &Gate) -> Finding {
    const CHECK: &str = "lock";
    let words = |cause: &str| match cause {
        "flood" => "too many calls were made from this address",
        "banned" => "this address is banned for up to an hour",
        "owner_locked" => "the account is locked",
        "maintenance" => "the service is being maintained",
        "down" => "the service gave no good answer several times",
        _ => "it is not known what happened last",
    };
    match gate {
        Gate::Open => ok(CHECK, "no lock is known: calls may be made"),
        Gate::Shut { cause, until } => {
            let says = format!("{}: no calls until {}", words(cause), time(*until, "%T"));
            let advice = "wait; what is known is shown, and the rest goes on by itself";
            if matches!(cause.as_str(), "banned" | "owner_locked") {
                fail(CHECK, says, advice)
            } else {
                warn(CHECK, says, advice)
            }
        }
        Gate::Probing { cause } => warn(
            CHECK,
            format!(
                "{}: the next call finds out whether that is over",
                words(cause)
            ),
            "wait a minute",
        ),
    }
}

fn mount(facts: &MountFacts) -> Finding {
    const CHECK: &str = "mount";
    let place = facts.mountpoint.display();
    match (facts.life, &facts.trouble) {
        (None, _) => ok(
            CHECK,
            format!("{place} belongs to another user, and was not looked at"),
        ),
        (Some(Life::Alive), None) => ok(CHECK, format!("{place} is served")),
        (Some(Life::Alive), Some(trouble)) => warn(
            CHECK,
            format!("{place} is served, but {trouble}"),
            format!("see: fichierfs status {place}"),
        ),
        (Some(Life::Dead), _) => fail(
            CHECK,
            format!("{place} is dead: the process that served it is gone"),
            format!("run: fichierfs umount {place}; or mount again, which clears it away"),
        ),
        (Some(Life::Silent), _) => fail(
            CHECK,
            format!("{place} does not answer"),
            format!("see its log; to take it away: fichierfs umount --lazy {place}"),
        ),
    }
}
