//! The exchanges printed in the API reference: the client sends the request to the letter and
//! understands the answer. Hosts are loopback ones, since the server is.
use super::support::Scripted;
use super::{folder, url};
use fichierfs::api::{ErrorKind, FileUrl, FolderId, Offer, SentSpan};
use serde_json::Value;

/// One of the files in `tests/it/wire`.
struct Exchange {
    path: String,
    request: Value,
    answer: Value,
}

macro_rules! exchange {
    ($name:literal) => {
        Exchange::read(include_str!(concat!("../wire/", $name, ".json")))
    };
}

impl Exchange {
    fn read(text: &str) -> Self {
        let mut all: Value = serde_json::from_str(text).unwrap();
        Self {
            path: all["path"].as_str().unwrap().to_owned(),
            request: all["request"].take(),
            answer: all["answer"].take(),
        }
    }

    async fn server(&self) -> Scripted {
        Scripted::json(&self.answer.to_string()).await
    }

    /// The one request was this exchange's.
    fn check(&self, server: &Scripted) {
        let seen = server.seen();
        assert_eq!(seen.len(), 1);
        let (head, body) = seen[0].split_once("\r\n\r\n").unwrap();
        let request: Value = serde_json::from_str(body).unwrap();
        assert_eq!(request, self.request);
        let mut lines = head.lines();
        assert_eq!(
            lines.next().unwrap(),
            format!("POST {} HTTP/1.1", self.path)
        );
        let headers: Vec<String> = lines.map(str::to_ascii_lowercase).collect();
        for header in [
            "content-type: application/json",
            "authorization: bearer scripted-key-of-32-characters__=",
        ] {
            assert!(
                headers.iter().any(|line| line == header),
                "{header} in {headers:?}"
            );
        }
    }
}

fn file() -> FileUrl {
    url("https://1fichier.com/?aaaabbbbccccddddeeee")
}

#[tokio::test]
async fn listings() {
    let exchange = exchange!("folder-ls");
    let server = exchange.server().await;
    let listing = server
        .client
        .list_folder(&server.ask(10), folder(4_100_021))
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!((&*listing.name, listing.file_count), ("photos", Some(1)));
    assert_eq!(
        (&*listing.files[0].name, listing.files[0].size),
        ("a.txt", 12)
    );
    assert_eq!(listing.files[0].url, file());
    assert_eq!(listing.files[0].uploaded, Some(1_738_573_920));
    assert_eq!(listing.files[0].whirlpool, None, "a shortened hash is none");

    let exchange = exchange!("folder-ls-root");
    let server = exchange.server().await;
    let listing = server
        .client
        .list_folder(&server.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!(listing.folders[0].id, folder(4_100_021));
    assert!(listing.files.is_empty() && !listing.is_cut());
}

#[tokio::test]
async fn changes() {
    let exchange = exchange!("folder-mkdir");
    let server = exchange.server().await;
    let made = server
        .client
        .mkdir(&server.ask(10), folder(4_100_021), "2026")
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!((made.id, &*made.name), (folder(4_100_099), "2026"));

    let exchange = exchange!("file-rename");
    let server = exchange.server().await;
    let names = [(file(), "b.txt".into())];
    let renamed = server
        .client
        .file_rename(&server.ask(10), &names)
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!(&*renamed[0].name, "b.txt");

    let exchange = exchange!("file-mv");
    let server = exchange.server().await;
    let (ask, to) = (server.ask(10), folder(4_100_022));
    let moved = server
        .client
        .file_move(&ask, &[file()], to, Some("c.txt"))
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!((moved.count, moved.name.as_deref()), (1, Some("c.txt")));

    let exchange = exchange!("file-cp");
    let server = exchange.server().await;
    let ask = server.ask(10);
    let copied = server
        .client
        .file_copy(&ask, &[file()], to, Some("copy.txt"))
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!(
        copied.copies[0].1,
        url("https://1fichier.com/?kkkkllllmmmmnnnnoooo")
    );

    let exchange = exchange!("file-rm");
    let server = exchange.server().await;
    let removed = server
        .client
        .file_remove(&server.ask(10), &[file()])
        .await
        .unwrap();
    exchange.check(&server);
    assert_eq!(removed, [file()]);
}

#[tokio::test]
async fn links_nodes_and_figures() {
    let exchange = exchange!("get-token");
    let server = exchange.server().await;
    server
        .client
        .download_link(&server.ask(10), &file())
        .await
        .unwrap();
    exchange.check(&server);

    let exchange = exchange!("get-token-refused");
    let server = exchange.server().await;
    let refused = server.client.download_link(&server.ask(10), &file()).await;
    exchange.check(&server);
    assert_eq!(refused.unwrap_err().kind, ErrorKind::NotCustomer);

    let exchange = exchange!("get-upload-server");
    let server = exchange.server().await;
    server.client.upload_node(&server.ask(10)).await.unwrap();
    exchange.check(&server);

    let exchange = exchange!("user-info");
    let server = exchange.server().await;
    let info = server
        .client
        .user_info(&server.ask(10))
        .await
        .unwrap()
        .value;
    exchange.check(&server);
    assert_eq!(
        (info.offer, info.cold_storage),
        (Offer::Access, 123_456_789_012)
    );
    assert_eq!(info.available_cold_storage, Some(1_876_543_210_988));
    assert_eq!(info.cdn_credits, 1_500_000_000);
}

/// Answers that must never pass for "done" or "nothing there".
#[tokio::test]
async fn an_empty_success_is_no_success() {
    let server = Scripted::json(r#"{"status":"OK"}"#).await;
    let (client, ask, one) = (&server.client, server.ask(200), [file()]);
    let names = [(file(), "x".into())];
    let kinds = [
        client.mkdir(&ask, FolderId::ROOT, "x").await.map(|_| ()),
        client.file_rename(&ask, &names).await.map(|_| ()),
        client
            .file_move(&ask, &one, FolderId::ROOT, None)
            .await
            .map(|_| ()),
        client
            .file_copy(&ask, &one, FolderId::ROOT, None)
            .await
            .map(|_| ()),
        client.file_remove(&ask, &one).await.map(|_| ()),
        client.file_info(&ask, &file()).await.map(|_| ()),
        client
            .list_files(&ask, FolderId::ROOT, SentSpan::default())
            .await
            .map(|_| ()),
        client.user_info(&ask).await.map(|_| ()),
    ];
    for outcome in kinds {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{error}");
    }
    // One request each: an answer that reads well but lacks something is not asked for again.
    assert_eq!(server.seen().len(), 8);
}
