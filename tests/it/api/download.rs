//! Bytes of files: exact or an error.
use super::support::{Scripted, World, answer, with_headers};
use super::url;
use fake_1fichier::{ExpiredForm, Fault, FaultKind, content};
use fichierfs::api::{ApiError, Body, DownloadLink, ErrorKind};
use fichierfs::util::deadline::Deadline;
use std::ops::Range;
use std::time::Duration;

const SIZE: u64 = 3_000_000;
const SEED: u64 = 7;

/// A world with one file, and a link to it.
async fn with_link() -> (World, DownloadLink) {
    let world = World::new();
    let file = url(&world
        .fake
        .account()
        .add_synthetic(0, "film.mkv", SIZE, SEED));
    let link = world
        .client
        .download_link(&world.ask(10), &file)
        .await
        .unwrap();
    (world, link)
}

async fn read(body: Result<Body, ApiError>, deadline: Deadline) -> Result<Vec<u8>, ApiError> {
    let mut body = body?;
    let mut all = Vec::new();
    while let Some(piece) = body.next(deadline).await? {
        all.extend_from_slice(&piece);
    }
    assert_eq!(body.left(), 0);
    Ok(all)
}

async fn get(world: &World, link: &DownloadLink, range: Range<u64>) -> Result<Vec<u8>, ApiError> {
    let deadline = world.deadline(20);
    read(
        world.client.download(link, range, SIZE, deadline).await,
        deadline,
    )
    .await
}

fn expected(range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
    content::fill(SEED, range.start, &mut bytes);
    bytes
}

#[tokio::test]
async fn every_range_is_exact_on_one_link_without_the_key() {
    let (world, link) = with_link().await;
    for range in [
        0..1,
        0..SIZE,
        1..2,
        12_345..999_999,
        SIZE - 1..SIZE,
        0..65_536,
    ] {
        let got = get(&world, &link, range.clone()).await.unwrap();
        assert!(got == expected(range.clone()), "{range:?}");
    }
    assert_eq!(world.fake.count("download/get_token"), 1);
    assert_eq!(world.fake.count_downloads(), 6);
    assert!(world.fake.log().iter().all(|entry| entry.notes.is_empty()));
    // Bodies read to their end leave their connection to the next one.
    let connections = world.fake.connections();
    assert!(connections.accepted <= 3, "{connections:?}");
    world.done();
}

#[tokio::test]
async fn ranges_that_do_not_exist_are_not_asked_for() {
    let (world, link) = with_link().await;
    #[expect(clippy::reversed_empty_ranges, reason = "what must be refused")]
    for range in [0..0, 5..5, 7..3, 0..SIZE + 1, SIZE..SIZE + 1] {
        let error = get(&world, &link, range).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest);
    }
    assert_eq!(world.fake.count_downloads(), 0);
    world.done();
}

#[tokio::test]
async fn wrong_answers_give_no_byte() {
    let faults = [
        FaultKind::WrongRangeStart,
        FaultKind::WrongRangeTotal,
        FaultKind::IgnoreRange,
        FaultKind::ShortBody { bytes: 10 },
    ];
    for fault in faults {
        let (world, link) = with_link().await;
        world
            .fake
            .faults()
            .add(Fault::on("download", fault.clone()).once());
        let deadline = world.deadline(20);
        let outcome = world
            .client
            .download(&link, 100..5_000, SIZE, deadline)
            .await;
        assert_eq!(
            outcome.unwrap_err().kind,
            ErrorKind::WrongBytes,
            "{fault:?}"
        );
        let again = get(&world, &link, 100..5_000).await.unwrap();
        assert!(again == expected(100..5_000));
        world.done();
    }
}

#[tokio::test]
async fn another_size_than_the_listed_one_gives_no_byte() {
    let (world, link) = with_link().await;
    let deadline = world.deadline(20);
    for (range, size) in [(0..10, SIZE + 5), (0..SIZE - 5, SIZE - 5)] {
        let outcome = world.client.download(&link, range, size, deadline).await;
        assert_eq!(outcome.unwrap_err().kind, ErrorKind::WrongBytes);
    }
    world.done();
}

#[tokio::test]
async fn a_cut_body_is_an_error_after_the_bytes_that_came() {
    let faults = [
        FaultKind::ResetAfter { bytes: 100_000 },
        FaultKind::CloseAfter { bytes: 100_000 },
        FaultKind::StallAfter { bytes: 100_000 },
    ];
    for fault in faults {
        let (world, link) = with_link().await;
        world
            .fake
            .faults()
            .add(Fault::on("download", fault.clone()).once());
        let deadline = world.deadline(6);
        let mut body = world
            .client
            .download(&link, 0..SIZE, SIZE, deadline)
            .await
            .unwrap();
        let mut got = Vec::new();
        let error = loop {
            match body.next(deadline).await {
                Ok(Some(piece)) => got.extend_from_slice(&piece),
                Ok(None) => panic!("{fault:?}: a cut body passed for a whole one"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, ErrorKind::Network, "{fault:?}");
        assert!(got.len() <= 100_000);
        assert!(got == expected(0..got.len() as u64), "{fault:?}");
        world.done();
    }
}

#[tokio::test]
async fn no_answer_is_an_error_in_time() {
    for (fault, kind) in [
        (FaultKind::Reset, ErrorKind::Network),
        (FaultKind::Close, ErrorKind::Network),
        (FaultKind::Stall, ErrorKind::Timeout),
        (FaultKind::Status { code: 502 }, ErrorKind::Server),
        (FaultKind::Maintenance, ErrorKind::Maintenance),
    ] {
        let (world, link) = with_link().await;
        world
            .fake
            .faults()
            .add(Fault::on("download", fault.clone()).once());
        let start = world.clock.now();
        let deadline = world.deadline(4);
        let outcome = world.client.download(&link, 0..10, SIZE, deadline).await;
        assert_eq!(outcome.unwrap_err().kind, kind, "{fault:?}");
        assert!(world.clock.now().since(start) < Duration::from_secs(10));
        world.done();
    }
}

#[tokio::test]
async fn a_dead_link_is_known_in_each_of_its_disguises() {
    for form in [
        ExpiredForm::NotFound,
        ExpiredForm::Gone,
        ExpiredForm::Forbidden,
        ExpiredForm::Page,
        ExpiredForm::Redirect,
    ] {
        let (world, link) = with_link().await;
        world.fake.set_config(|c| c.expired_form = form);
        assert!(get(&world, &link, 0..10).await.is_ok());
        world.fake.clock().advance(Duration::from_secs(1801));
        let error = get(&world, &link, 0..10).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::LinkExpired, "{form:?}");
        world.done();
    }
}

#[tokio::test]
async fn too_many_connections_are_told_apart() {
    for status in [200, 403] {
        let world = World::with(|fake| {
            fake.config(|c| {
                c.download_connections = 0;
                c.connections_status = status;
                c.enforce_rules = true;
            })
        });
        let file = url(&world.fake.account().add_synthetic(0, "f", SIZE, SEED));
        let link = world
            .client
            .download_link(&world.ask(10), &file)
            .await
            .unwrap();
        let error = get(&world, &link, 0..10).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooManyConnections, "{status}");
        // Going over the limit is what this test is about.
        assert!(
            world
                .fake
                .violations()
                .iter()
                .all(|v| v.rule == "connections")
        );
    }
}

/// A link to whatever `answers` say, on a file of four bytes.
async fn scripted(answers: Vec<String>) -> (Scripted, Result<Vec<u8>, ApiError>) {
    let script = |port: u16| {
        let link = format!(r#"{{"status":"OK","url":"http://127.0.0.1:{port}/p1"}}"#);
        let mut all = vec![answer(200, "application/json", &link)];
        all.extend(answers);
        all
    };
    let server = Scripted::new(script).await;
    let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
    let link = server
        .client
        .download_link(&server.ask(10), &file)
        .await
        .unwrap();
    let deadline = server.ask(5).deadline;
    let got = read(
        server.client.download(&link, 0..4, 4, deadline).await,
        deadline,
    )
    .await;
    (server, got)
}

#[tokio::test]
async fn a_whole_file_may_come_with_200() {
    let headers = "Content-Type: text/html\r\nContent-Disposition: attachment; filename=\"x\"\r\n";
    let (server, got) = scripted(vec![with_headers(200, headers, "<p>x")]).await;
    assert_eq!(got.unwrap(), b"<p>x");
    let request = &server.seen()[1];
    assert!(request.to_ascii_lowercase().contains("range: bytes=0-3"));
    assert!(
        !request.to_ascii_lowercase().contains("authorization"),
        "{request}"
    );
}

#[tokio::test]
async fn doubtful_answers_are_refused() {
    let part = |extra: &str, body: &str| {
        let headers = format!("Content-Range: bytes 0-3/4\r\n{extra}");
        with_headers(206, &headers, body)
    };
    let wrong = [
        part("Content-Encoding: gzip\r\n", "abcd"),
        part("", "abc"),
        part("", "abcde"),
        with_headers(206, "", "abcd"),
        with_headers(206, "Content-Range: bytes 0-3/*\r\n", "abcd"),
        with_headers(206, "Content-Range: bytes 1-4/5\r\n", "abcd"),
        with_headers(
            206,
            "Content-Type: multipart/byteranges; boundary=x\r\n",
            "abcd",
        ),
        with_headers(200, "Content-Encoding: br\r\n", "abcd"),
        with_headers(200, "", "abcde"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n".to_owned(),
        answer(416, "text/html", "no"),
    ];
    for text in wrong {
        let (_server, got) = scripted(vec![text.clone()]).await;
        assert_eq!(got.unwrap_err().kind, ErrorKind::WrongBytes, "{text}");
    }
    let chunked = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/4\r\n\
        Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n";
    let (_server, got) = scripted(vec![chunked.to_owned()]).await;
    assert_eq!(got.unwrap_err().kind, ErrorKind::WrongBytes);
    let (_server, got) = scripted(vec![part("Content-Encoding: identity\r\n", "abcd")]).await;
    assert_eq!(got.unwrap(), b"abcd");
}

#[tokio::test]
async fn a_page_is_never_content() {
    // As long as the file, so that only its nature tells.
    for page in [
        answer(200, "text/html", "<p/>"),
        answer(200, "text/html; charset=x", "<p/>"),
    ] {
        let (_server, got) = scripted(vec![page]).await;
        assert_eq!(got.unwrap_err().kind, ErrorKind::LinkExpired);
    }
    let database =
        "HTTP/1.1 302 Found\r\nLocation: https://1fichier.com/?c=DB\r\nContent-Length: 0\r\n\r\n";
    let (server, got) = scripted(vec![database.to_owned()]).await;
    let error = got.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (ErrorKind::Server, Some(Duration::from_secs(300)))
    );
    assert_eq!(server.seen().len(), 2, "the redirect was not followed");
}
