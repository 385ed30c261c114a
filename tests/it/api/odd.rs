//! Answers no service should give: what comes of them is an error or a listing, in time.
use super::support::{Scripted, answer};
use super::url;
use fichierfs::api::{ErrorKind, FolderId, Requester};
use fichierfs::tree::{Caller, Ino, Tree, TreeSettings};
use fichierfs::util::deadline::Deadline;
use std::time::Duration;
use tokio::runtime::Handle;

/// A tree on a server that says what it is told.
fn tree(server: &Scripted) -> Tree {
    let settings = TreeSettings {
        crawl: false,
        ..TreeSettings::new()
    };
    Tree::new(
        server.client.clone(),
        server.clock,
        settings,
        Handle::current(),
    )
}

/// On behalf of somebody who waits so many (virtual) seconds.
fn caller(server: &Scripted, seconds: u64) -> Caller {
    Caller {
        requester: Requester(1),
        deadline: Deadline::within(server.clock, Duration::from_secs(seconds)),
    }
}

/// A count that no folder can have neither keeps a thread busy for years nor the status from being told.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_beyond_all_reason_holds_nobody_up() {
    let body = format!(
        r#"{{"status":"OK","folder_id":0,"files":"{}",
            "sub_folders":[{{"id":7,"name":"d","create_date":"2024-01-01 00:00:00"}}],
            "items":[{{"url":"https://1fichier.com/?aaaabbbbccccddddeeee","filename":"f","size":1,
                       "date":"2024-01-01 00:00:00"}}]}}"#,
        u64::MAX
    );
    let server = Scripted::json(&body).await;
    let tree = tree(&server);
    // The file is all there is to be seen of so many.
    let listed = tree.children(Ino::ROOT, caller(&server, 300)).ready().await;
    assert!(listed.is_ok_and(|listing| !listing.is_complete()));
    let again = tree.refresh(Ino::ROOT, caller(&server, 300)).ready().await;
    assert!(again.is_ok_and(|listing| !listing.is_complete()));
    assert_eq!(tree.snapshot().large.len(), 1);
}

/// A server that repeats what it was sent brings no part of the key into a log, wherever its words are cut.
#[tokio::test]
async fn a_key_that_is_cut_in_the_middle_is_not_shown() {
    const KEY: &str = "Scripted-key-of-32-characters__=";
    let paddings = 165..200;
    let script = paddings.clone().map(|padding| {
        let message = format!("{} {KEY} #1", "x".repeat(padding));
        let body = format!(r#"{{"status":"KO","message":"{message}"}}"#);
        answer(200, "application/json", &body)
    });
    let script = script.collect();
    let server = Scripted::new(|_| script).await;
    let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
    for padding in paddings {
        let error = server.client.download_link(&server.ask(60), &file).await;
        let said = error.unwrap_err().to_string();
        assert!(said.contains("xxx…") || said.contains("xxx …"), "{said}");
        assert!(!said.contains("Scr"), "{padding}: {said}");
    }
}

/// A download host that says which address it does not like does not bring the link into a log.
#[tokio::test]
async fn a_link_that_a_page_repeats_is_not_shown() {
    const PATH: &str = "p1070822001abcdef";
    for (padding, repeated) in [(0, true), (0, false), (160, true), (170, false)] {
        let server = Scripted::new(|port| {
            let link = format!("http://127.0.0.1:{port}/{PATH}");
            let shown = if repeated { &link } else { PATH };
            let page = format!(
                "<h1>Forbidden</h1>{} no right to read {shown} on this server",
                "x".repeat(padding)
            );
            let token = format!(r#"{{"status":"OK","url":"{link}"}}"#);
            vec![
                answer(200, "application/json", &token),
                answer(403, "text/html", &page),
            ]
        })
        .await;
        let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
        let link = server.client.download_link(&server.ask(60), &file).await;
        let link = link.unwrap();
        let deadline = Deadline::within(server.clock, Duration::from_secs(20));
        let body = server.client.download(&link, 0..1, 1, deadline);
        let said = body.await.unwrap_err().to_string();
        assert!(said.contains("no right to read"), "{said}");
        assert!(!said.contains("p107"), "{said}");
    }
}

/// Entries that take more memory than text do not take all there is.
#[tokio::test]
async fn a_list_of_ten_million_nothings_is_refused_before_it_fills_the_memory() {
    let nothings = vec!["{}"; 10 << 20].join(",");
    let body = format!(r#"{{"status":"OK","folder_id":0,"files":1,"items":[{nothings}]}}"#);
    drop(nothings);
    let server = Scripted::json(&body).await;
    drop(body);
    let ask = server.ask(20);
    let listed = server.client.list_folder(&ask, FolderId::ROOT);
    let error = listed.await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed, "{error}");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.unwrap().trim().trim_end_matches(" kB");
    let most: u64 = most.parse().unwrap();
    // The text, once in each of its ways through this test and the client.
    assert!(most < 512 << 10, "{most} KiB");
}
