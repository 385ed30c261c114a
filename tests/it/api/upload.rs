//! Uploads: node, transfer, report.
use super::folder;
use super::support::{Scripted, World, answer};
use bytes::Bytes;
use fake_1fichier::{Fault, FaultKind, StoreAt, UploadAnswer};
use fichierfs::api::{
    ApiError, ErrorKind, FolderId, Reached, UploadFile, UploadProgress, UploadReport, UploadTicket,
    Whirlpool,
};
use std::io;
use tokio::sync::mpsc;

/// A file of `pieces`, announced with `size` bytes.
fn announced(name: &str, size: u64, pieces: Vec<io::Result<Bytes>>) -> UploadFile {
    let (tell, content) = mpsc::channel(2);
    tokio::spawn(async move {
        for piece in pieces {
            if tell.send(piece).await.is_err() {
                return;
            }
        }
    });
    UploadFile {
        name: name.into(),
        size,
        content,
    }
}

fn file(name: &str, bytes: &[u8]) -> UploadFile {
    let pieces = bytes
        .chunks(64 << 10)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    announced(name, bytes.len() as u64, pieces.collect())
}

async fn send(world: &World, to: u64, files: Vec<UploadFile>) -> Result<UploadTicket, ApiError> {
    let ask = world.ask(60);
    let node = world.client.upload_node(&ask).await?;
    let progress = UploadProgress::default();
    world
        .client
        .upload(&ask, node, folder(to), files, &progress)
        .await
}

async fn store(world: &World, to: u64, files: Vec<UploadFile>) -> Result<UploadReport, ApiError> {
    let ticket = send(world, to, files).await?;
    world.client.upload_report(&world.ask(60), &ticket).await
}

#[tokio::test]
async fn a_file_arrives_with_name_folder_size_and_hash() {
    let world = World::new();
    let to = world.fake.account().mkdir(0, "to");
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let ask = world.ask(60);
    let node = world.client.upload_node(&ask).await.unwrap();
    let progress = UploadProgress::default();
    let files = vec![file("été 1.bin", &bytes)];
    let ticket = world
        .client
        .upload(&ask, node, folder(to), files, &progress)
        .await
        .unwrap();
    assert_eq!(progress.bytes(), 1_000_000);
    let report = world.client.upload_report(&ask, &ticket).await.unwrap();
    assert!(!report.incoming);
    let stored = &report.files[0];
    assert_eq!((&*stored.name, stored.size), ("été 1.bin", Some(1_000_000)));
    assert_eq!(stored.whirlpool, Some(Whirlpool::of(&bytes)));
    let address = stored.url.to_string();
    assert_eq!(world.fake.account().file(&address).unwrap().folder, to);
    assert_eq!(world.fake.account().read_all(&address).unwrap(), bytes);
    let listing = world.client.list_folder(&ask, folder(to)).await.unwrap();
    assert_eq!(listing.files[0].whirlpool, stored.whirlpool);
    world.done();
}

#[tokio::test]
async fn many_files_go_in_one_transfer() {
    let world = World::with(|fake| fake.config(|c| c.upload_must_close = true));
    let contents: Vec<Vec<u8>> = (1..=50u8).map(|n| vec![n; usize::from(n) * 100]).collect();
    let files = contents.iter().enumerate();
    let files = files
        .map(|(n, bytes)| file(&format!("f{n:02}"), bytes))
        .collect();
    let report = store(&world, 0, files).await.unwrap();
    assert_eq!(report.files.len(), 50);
    for stored in &report.files {
        let index: usize = stored.name[1..].parse().unwrap();
        assert_eq!(stored.whirlpool, Some(Whirlpool::of(&contents[index])));
    }
    assert_eq!(world.fake.count("upload.cgi"), 1);
    world.done();
}

#[tokio::test]
async fn every_way_a_node_says_yes_is_understood() {
    type Switch = fn(&mut fake_1fichier::Config);
    let switches: [Switch; 4] = [
        |c| c.xid_differs = true,
        |c| c.upload_answer = UploadAnswer::Page,
        |c| c.store_at = StoreAt::Report,
        |c| c.wait_polls = 3,
    ];
    for switch in switches {
        let world = World::with(|fake| fake.config(switch));
        let report = store(&world, 0, vec![file("x", b"content")]).await.unwrap();
        assert_eq!(report.files[0].whirlpool, Some(Whirlpool::of(b"content")));
        world.done();
    }
}

#[tokio::test]
async fn a_report_that_takes_too_long_is_pending_and_can_be_had_later() {
    let world = World::with(|fake| fake.config(|c| c.wait_seconds = 15.0));
    let ticket = send(&world, 0, vec![file("x", b"content")]).await.unwrap();
    let error = world
        .client
        .upload_report(&world.ask(8), &ticket)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReportPending);
    // The ticket can be written down and read back.
    let ticket: UploadTicket =
        serde_json::from_str(&serde_json::to_string(&ticket).unwrap()).unwrap();
    let report = world
        .client
        .upload_report(&world.ask(90), &ticket)
        .await
        .unwrap();
    assert_eq!(report.files.len(), 1);
    assert!(world.fake.count("end.pl") < 15);
    world.done();
}

#[tokio::test]
async fn a_report_without_links_leaves_the_outcome_open() {
    let world = World::with(|fake| fake.config(|c| c.empty_report = true));
    let error = store(&world, 0, vec![file("x", b"content")])
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReportEmpty);
    assert_eq!(world.fake.account().files_at("x").len(), 1);
    world.done();
}

#[tokio::test]
async fn a_report_that_is_gone_leaves_the_outcome_open() {
    let world = World::new();
    let ticket = send(&world, 0, vec![file("x", b"content")]).await.unwrap();
    world
        .fake
        .clock()
        .advance(std::time::Duration::from_secs(7300));
    let error = world
        .client
        .upload_report(&world.ask(20), &ticket)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReportEmpty);
    world.done();
}

/// An infected file is reported like any other and never appears: the caller has to look.
#[tokio::test]
async fn an_infected_file_is_reported_all_the_same() {
    let world = World::new();
    world
        .fake
        .faults()
        .add(Fault::on("upload.cgi", FaultKind::Infected).once());
    let report = store(&world, 0, vec![file("x", b"content")]).await.unwrap();
    assert_eq!(report.files.len(), 1);
    let listing = world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    assert!(listing.files.is_empty());
    world.done();
}

#[tokio::test]
async fn a_surplus_link_is_handed_on() {
    let world = World::with(|fake| fake.config(|c| c.surplus_link = true));
    let report = store(&world, 0, vec![file("x", b"content")]).await.unwrap();
    assert_eq!(report.files.len(), 2);
    world.done();
}

#[tokio::test]
async fn trouble_with_the_report_is_waited_out() {
    for fault in [
        FaultKind::Reset,
        FaultKind::Status { code: 502 },
        FaultKind::Stall,
        FaultKind::MalformedJson,
        FaultKind::LostReply,
    ] {
        let world = World::new();
        world
            .fake
            .faults()
            .add(Fault::on("end.pl", fault.clone()).once());
        let report = store(&world, 0, vec![file("x", b"content")]).await;
        assert!(report.is_ok(), "{fault:?}: {report:?}");
        world.done();
    }
}

/// A transfer is sent once; the error says whether anything may be stored.
#[tokio::test]
async fn a_failed_transfer_is_not_repeated() {
    let faults = [
        (FaultKind::LostReply, ErrorKind::Network, Reached::Unknown),
        (
            FaultKind::ResetAfter { bytes: 1000 },
            ErrorKind::Network,
            Reached::Unknown,
        ),
        (
            FaultKind::CloseAfter { bytes: 1000 },
            ErrorKind::Network,
            Reached::Unknown,
        ),
        (
            FaultKind::Status { code: 500 },
            ErrorKind::NodeTrouble,
            Reached::Answered,
        ),
        (FaultKind::Quota, ErrorKind::OverQuota, Reached::Answered),
        (
            FaultKind::Maintenance,
            ErrorKind::Maintenance,
            Reached::Answered,
        ),
        (
            FaultKind::KeyRefused,
            ErrorKind::KeyRefused,
            Reached::Answered,
        ),
        (
            FaultKind::Flood { lock: false },
            ErrorKind::Flood,
            Reached::Answered,
        ),
    ];
    for (fault, kind, reached) in faults {
        let world = World::new();
        world
            .fake
            .faults()
            .add(Fault::on("upload.cgi", fault.clone()));
        let files = vec![file("x", &vec![7; 3_000_000])];
        let outcome = send(&world, 0, files).await;
        let error = outcome.expect_err(&format!("{fault:?}"));
        assert_eq!(
            (error.kind, error.reached),
            (kind, reached),
            "{fault:?}: {error}"
        );
        assert_eq!(world.fake.count("upload.cgi"), 1, "{fault:?}");
        world.done();
    }
}

#[tokio::test]
async fn a_node_that_falls_silent_is_given_up() {
    for fault in [FaultKind::StallAfter { bytes: 1000 }, FaultKind::Stall] {
        let world = World::new();
        world
            .fake
            .faults()
            .add(Fault::on("upload.cgi", fault.clone()));
        let node = world.client.upload_node(&world.ask(10)).await.unwrap();
        let files = vec![file("x", &vec![7; 20_000_000])];
        let progress = UploadProgress::default();
        let ask = world.ask(15);
        let outcome = world
            .client
            .upload(&ask, node, FolderId::ROOT, files, &progress)
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind, error.reached),
            (ErrorKind::Timeout, Reached::Unknown),
            "{fault:?}"
        );
        world.done();
    }
}

#[tokio::test]
async fn refusal_pages_are_understood() {
    for (page, kind) in [
        (
            "<p>Pas de fichier trouvé dans l'envoi</p>",
            ErrorKind::UploadMalformed,
        ),
        (
            "<p>Ne peut ouvrir le fichier destination</p>",
            ErrorKind::NodeTrouble,
        ),
    ] {
        let script = |port: u16| {
            let node = format!(r#"{{"url":"127.0.0.1:{port}","id":"Ab12Cd34Ef"}}"#);
            let node = answer(200, "application/json", &node);
            vec![node, answer(200, "text/html", page)]
        };
        let server = Scripted::new(script).await;
        let ask = server.ask(20);
        let node = server.client.upload_node(&ask).await.unwrap();
        let progress = UploadProgress::default();
        let files = vec![file("a b.txt", b"four")];
        let outcome = server
            .client
            .upload(&ask, node, folder(9), files, &progress)
            .await;
        assert_eq!(outcome.unwrap_err().kind, kind);
        let request = server.seen().pop().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("post /upload.cgi?id=ab12cd34ef http/1.1"),
            "{head}"
        );
        for header in [
            "connection: close",
            "authorization: bearer scripted-key",
            "content-type: multipart/form-data; boundary=----",
            &format!("content-length: {}", body.len()),
        ] {
            assert!(head.contains(header), "{header} in {head}");
        }
        assert!(!head.contains("transfer-encoding"));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let world = World::new();
    for files in [
        vec![],
        vec![file("empty", b"")],
        vec![file("a\"b", b"x")],
        vec![announced("huge", 300_000_000_001, vec![])],
    ] {
        let error = send(&world, 0, files).await.unwrap_err();
        assert_eq!(
            (error.kind, error.reached),
            (ErrorKind::BadRequest, Reached::NotSent)
        );
    }
    assert_eq!(world.fake.count("upload.cgi"), 0);
    world.done();
}

#[tokio::test]
async fn a_source_that_fails_stores_nothing() {
    let piece = |n: usize| Ok(Bytes::from(vec![1; n]));
    let sources = [
        (5_000, vec![piece(2_000)]),
        (1_000, vec![piece(2_000)]),
        (
            5_000,
            vec![piece(2_000), Err(io::Error::other("disk gone"))],
        ),
    ];
    for (size, pieces) in sources {
        let world = World::new();
        let error = send(&world, 0, vec![announced("x", size, pieces)])
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::SourceFailed, "{error}");
        assert!(world.fake.account().folder(0).unwrap().files.is_empty());
        world.done();
    }
}

#[tokio::test]
async fn a_ticket_for_a_foreign_host_is_not_followed() {
    let world = World::new();
    let ticket = UploadTicket {
        host: "evil.example".into(),
        xid: "Ab12".into(),
    };
    let error = world
        .client
        .upload_report(&world.ask(5), &ticket)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::HostRefused);
    assert!(world.fake.log().is_empty());
    world.done();
}
