//! Pages for people, from figures at hand.
use super::*;
use crate::api::{Offer, UserInfo};
use crate::control::status::{CrawlFigures, WaitingFigures};
use crate::control::unsent::WriteFigures;

/// 2026-11-21 09:00:00 UTC.
const NOW: u64 = 1_795_251_600;

fn now() -> Timestamp {
    Timestamp::from_second(i64::try_from(NOW).unwrap()).unwrap()
}

fn shown(found: &Found) -> String {
    // One hour east, as in Paris in winter.
    page(found, &TimeZone::fixed(jiff::tz::offset(1)), now())
}

fn found(status: Status) -> Found {
    Found {
        mountpoint: "/mnt/x".into(),
        account: "work".into(),
        answers: true,
        problem: None,
        status: Some(status),
    }
}

fn status() -> Status {
    Status {
        mount: Pong {
            pid: 77,
            version: "0.1.0".into(),
            since: NOW - 7_325,
            ..Pong::default()
        },
        tree: TreeFigures {
            folders: 1_000,
            listings: 40,
            listing_bytes: 3 << 20,
            refreshing: 2,
            stored_bytes: 12 << 20,
            store_damaged: 1,
            folders_listed: 40,
            crawl: CrawlFigures {
                stage: "running".into(),
                waiting: 960,
                failed: 3,
                seconds_left: 960,
            },
            large: vec![
                LargeFigures {
                    folder: 4_100_021,
                    found: 3_990,
                    expected: Some(12_000),
                    slices: 1,
                    slices_left: 2,
                    is_part: false,
                },
                LargeFigures {
                    folder: 4_100_022,
                    is_part: true,
                    ..LargeFigures::default()
                },
            ],
            ..TreeFigures::default()
        },
        calls: CallFigures {
            waiting: WaitingFigures {
                token: 1,
                crawl: 8,
                ..WaitingFigures::default()
            },
            running: 2,
            made: [("folder/ls".to_owned(), 40), ("user/info".to_owned(), 1)].into(),
            floods: 1,
            gate: GateFigures::Shut {
                cause: "flood".into(),
                until: NOW + 28,
            },
            rate: 1.25,
            ..CallFigures::default()
        },
        reading: ReadFigures {
            asked_bytes: 5 << 30,
            fetched_bytes: 1 << 30,
            memory_bytes: 100 << 20,
            memory_budget_bytes: 128 << 20,
            connections: 3,
            disk: Some(DiskFigures {
                bytes: 2 << 30,
                budget_bytes: 10 << 30,
                files: 12,
                ..DiskFigures::default()
            }),
            ..ReadFigures::default()
        },
        writing: WriteFigures {
            waiting: 2,
            waiting_bytes: 1 << 20,
            ..WriteFigures::default()
        },
        account: Some(AccountAnswer {
            info: UserInfo {
                email: "me@example.org".into(),
                offer: Offer::Premium,
                subscription_end: None,
                cold_storage: 1_500_000_000_000,
                hot_storage: 0,
                available_cold_storage: Some(500_000_000_000),
                cdn_credits: 0,
                use_cdn: false,
                over_quota: false,
                upload_forbidden: false,
            },
            age_seconds: 125,
        }),
        trouble: None,
    }
}

#[test]
fn a_page_is_short_and_aligned() {
    assert_eq!(
        shown(&found(status())),
        "/mnt/x\n\
        \x20 Account    work, Premium, 1.5 TB used, 500.0 GB free (as of 2m 5s ago)\n\
        \x20 Process    77, fichierfs 0.1.0, since 07:57:55 (2h 2m)\n\
        \x20 Names      1000 folders known, the entries of 40 in memory (3.0 MiB), 2 being looked at again\n\
        \x20 Kept       12.0 MiB on disk, 1 record set aside after damage\n\
        \x20 Tree       40 of 1000 folders listed, 3 to be tried again, the rest in 16m or more\n\
        \x20 Large      folder 4100021 is being listed: 3990 of 12000 files, 1m or more to go\n\
        \x20 Large      folder 4100022 is known in part only, the service shows no more of it\n\
        \x20 Calls      41 made, at most 1.2 a second now, 1 answered with \"too many\"\n\
        \x20 Waiting    1 token, 8 crawl; 2 under way\n\
        \x20 Gate       shut until 10:00:28 (for 28s): the service said \"too many calls\"\n\
        \x20 Contents   5.0 GiB read, 1.0 GiB of it downloaded; 100.0 MiB of 128.0 MiB memory, 3 connections\n\
        \x20 Disk cache 2.0 GiB of 10.0 GiB, 12 files\n\
        \x20 Writing    2 files and folders on their way to the account, 0 B of 1.0 MiB sent\n"
    );
}

#[test]
fn a_mount_that_does_not_answer_says_why_and_no_more() {
    let silent = Found {
        answers: false,
        problem: Some("its process is gone".into()),
        status: None,
        ..found(Status::default())
    };
    assert_eq!(
        shown(&silent),
        "/mnt/x\n  Account    work\n  Problem    its process is gone\n"
    );
}

#[test]
fn times_of_another_day_have_their_date_and_nonsense_does_no_harm() {
    let zone = TimeZone::UTC;
    assert_eq!(clock(NOW - 86_400, &zone, now()), "2026-11-20 09:00");
    assert_eq!(clock(u64::MAX, &zone, now()), "a time no clock shows");
    assert_eq!(span(0), "0s");
    let mut odd = status();
    odd.mount.since = u64::MAX;
    odd.calls.gate = GateFigures::Shut {
        cause: "\u{1b}[2J".into(),
        until: 0,
    };
    assert!(!shown(&found(odd)).contains('\u{1b}'));
}
