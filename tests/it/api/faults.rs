//! Trouble with calls that change nothing: repeated within the deadline, never beyond it.
use super::support::{Scripted, World, answer};
use super::url;
use fake_1fichier::{Fault, FaultKind, FloodText};
use fichierfs::api::{ErrorKind, FolderId, Reached};
use std::time::Duration;

/// Something that passes is not felt by the caller.
#[tokio::test]
async fn passing_trouble_is_waited_out() {
    let faults = [
        FaultKind::Status { code: 500 },
        FaultKind::Status { code: 502 },
        FaultKind::Status { code: 504 },
        FaultKind::Status { code: 509 },
        FaultKind::Reset,
        FaultKind::Close,
        FaultKind::LostReply,
        FaultKind::MalformedJson,
        FaultKind::HtmlOk,
        FaultKind::Maintenance,
    ];
    for fault in faults {
        heals(fault).await;
    }
}

/// A server that does not answer costs one try, not the caller's deadline.
#[tokio::test]
async fn silence_costs_one_try() {
    for fault in [FaultKind::Stall, FaultKind::Slow { seconds: 25.0 }] {
        heals(fault).await;
    }
}

/// Meets `fault` once and then gets its answer.
async fn heals(fault: FaultKind) {
    let world = World::new();
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    world
        .fake
        .faults()
        .add(Fault::on("download/get_token", fault.clone()).once());
    let link = world.client.download_link(&world.ask(60), &file).await;
    assert!(link.is_ok(), "{fault:?}: {link:?}");
    assert_eq!(world.fake.count("download/get_token"), 2, "{fault:?}");
    world.done();
}

/// Something that stays is reported for what it is, in time.
#[tokio::test]
async fn lasting_trouble_ends_with_the_deadline() {
    for (fault, kind) in [
        (FaultKind::Status { code: 502 }, ErrorKind::Server),
        (FaultKind::Reset, ErrorKind::Network),
        (FaultKind::Stall, ErrorKind::Timeout),
    ] {
        let world = World::new();
        let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
        world.fake.faults().add(Fault::on("*", fault.clone()));
        let (start, ask) = (world.clock.now(), world.ask(12));
        let error = world.client.download_link(&ask, &file).await.unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}");
        let took = world.clock.now().since(start);
        assert!(took < Duration::from_secs(20), "{fault:?} {took:?}");
        let calls = world.fake.count("download/get_token");
        assert!((1..12).contains(&calls), "{calls} calls");
        world.done();
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_repeated() {
    let ko = |message: &str| FaultKind::Ko {
        code: 200,
        message: message.to_owned(),
    };
    let faults = [
        (FaultKind::KeyRefused, ErrorKind::KeyRefused),
        (
            ko("Must be a customer (Premium, Access) #236"),
            ErrorKind::NotCustomer,
        ),
        (ko("Resource not allowed #631"), ErrorKind::NotAllowed),
        (
            ko("Only 1 location(s) allowed at a time #887"),
            ErrorKind::TooManyLocations,
        ),
        (ko("Owner locked #649"), ErrorKind::OwnerLocked),
        (ko("Never heard of #1"), ErrorKind::Refused),
        (FaultKind::IpLocked { lock: false }, ErrorKind::IpBanned),
    ];
    for (fault, kind) in faults {
        let world = World::new();
        let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
        world
            .fake
            .faults()
            .add(Fault::on("download/get_token", fault));
        let error = world
            .client
            .download_link(&world.ask(60), &file)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.reached), (kind, Reached::Answered));
        assert_eq!(world.fake.count("download/get_token"), 1, "{kind:?}");
        world.done();
    }
}

/// One page is a hiccup; a row of them is what it says, and then calls are few.
#[tokio::test]
async fn maintenance_that_lasts_is_believed() {
    let world = World::new();
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    world
        .fake
        .faults()
        .add(Fault::on("*", FaultKind::Maintenance));
    let (start, ask) = (world.clock.now(), world.ask(60));
    let error = world.client.download_link(&ask, &file).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Maintenance);
    assert_eq!(world.fake.count("download/get_token"), 3);
    let early = world.clock.now().since(start) < Duration::from_secs(30);
    assert!(early, "waited for what cannot come in time");
    world.fake.faults().clear();
    let patient = world.ask(90);
    assert!(world.client.download_link(&patient, &file).await.is_ok());
    assert!(world.clock.now().since(start) >= Duration::from_secs(60));
    world.done();
}

/// A folder whose listing failed is listed again at once; the service may count that, and then it is
/// the last time.
#[tokio::test]
async fn a_listing_that_failed_once_is_not_felt() {
    for counts in [false, true] {
        let world = World::with(|fake| {
            fake.config(|c| {
                c.enforce_rules = true;
                c.failed_listing_counts = counts;
            })
        });
        let folders: Vec<FolderId> = (0..3)
            .map(|number| FolderId(world.fake.account().mkdir(0, &format!("folder {number}"))))
            .collect();
        let mut took = Vec::new();
        for folder in folders {
            let fault = FaultKind::Status { code: 502 };
            world
                .fake
                .faults()
                .add(Fault::on("folder/ls", fault).once());
            let (start, ask) = (world.clock.now(), world.ask(300));
            assert!(world.client.list_folder(&ask, folder).await.is_ok());
            took.push(world.clock.now().since(start));
        }
        if counts {
            assert_eq!(world.fake.violations().len(), 1);
        } else {
            let soon = took.iter().all(|took| *took < Duration::from_secs(20));
            assert!(soon, "{took:?}");
            world.done();
        }
    }
}

#[tokio::test]
async fn a_flood_under_403_is_waited_out_in_silence() {
    flood(403, FloodText::Ip).await;
}

#[tokio::test]
async fn a_flood_under_429_is_waited_out_in_silence() {
    flood(429, FloodText::User).await;
}

#[tokio::test]
async fn a_flood_under_200_is_waited_out_in_silence() {
    flood(200, FloodText::Apk).await;
}

/// A flood answer silences everything for half a minute; a call with time to wait then succeeds.
async fn flood(status: u16, text: FloodText) {
    let world = World::with(|fake| {
        fake.config(|c| {
            c.flood_status = status;
            c.flood_text = text;
            c.flood_lock_seconds = 25.0;
        })
    });
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    let flood = FaultKind::Flood { lock: true };
    world
        .fake
        .faults()
        .add(Fault::on("download/get_token", flood).once());
    let (start, patient) = (world.clock.now(), world.ask(60));
    let hurried = async {
        world.clock.sleep(Duration::from_secs(5)).await;
        world
            .client
            .list_folder(&world.ask(5), FolderId::ROOT)
            .await
    };
    let (link, hurried) = tokio::join!(world.client.download_link(&patient, &file), hurried);
    link.unwrap();
    let hurried = hurried.unwrap_err();
    assert_eq!(
        (hurried.kind, hurried.reached),
        (ErrorKind::Flood, Reached::NotSent)
    );
    assert!(hurried.retry_after.unwrap() > Duration::from_secs(10));
    assert!(world.clock.now().since(start) >= Duration::from_secs(30));
    assert_eq!(world.fake.count("folder/ls"), 0);
    world.done();
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let endless = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
        Content-Length: 99999999999\r\n\r\n{\"status\":\"OK\",\"x\":\"";
    let server = Scripted::new(|_| vec![endless.to_owned()]).await;
    let error = server
        .client
        .list_folder(&server.ask(10), FolderId::ROOT)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    let long = format!(r#"{{"status":"OK","x":"{}"}}"#, "x".repeat(33 << 20));
    let server = Scripted::json(&long).await;
    let error = server
        .client
        .list_folder(&server.ask(29), FolderId::ROOT)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere() {
    let target = Scripted::json("{}").await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{}/v1/folder/ls.cgi\r\n\
         Content-Length: 0\r\n\r\n",
        target.port
    );
    let server = Scripted::new(|_| vec![redirect]).await;
    let error = server
        .client
        .list_folder(&server.ask(10), FolderId::ROOT)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn an_echoed_key_is_not_shown() {
    let body = r#"{"status":"KO","message":"Strange: Bearer Scripted-key-of-32-characters__= #1"}"#;
    let server = Scripted::new(|_| vec![answer(403, "application/json", body)]).await;
    let error = server
        .client
        .list_folder(&server.ask(10), FolderId::ROOT)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(
        !format!("{error} {error:?}").contains("Scripted-key"),
        "{error}"
    );
    assert!(server.seen()[0].contains("Bearer Scripted-key-of-32-characters__="));
}
