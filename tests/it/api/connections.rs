//! Hosts, TLS and the proxy.
use super::support::{Scripted, World, answer};
use super::url;
use fichierfs::api::scheduler::{Rates, Scheduler};
use fichierfs::api::{
    ApiUrl, BadApiUrl, Client, ErrorKind, FolderId, Reached, Settings, SetupError,
};
use fichierfs::secret::ApiKey;
use std::time::Duration;

#[tokio::test]
async fn the_configured_certificate_is_trusted() {
    let world = World::with_settings(
        |fake| fake.tls(true),
        |fake, settings| {
            settings.api_url = ApiUrl::parse(&fake.tls_api_url().unwrap()).unwrap();
            settings.ca_cert = Some(fake.ca_pem().unwrap().as_bytes().to_vec());
        },
    );
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    let link = world
        .client
        .download_link(&world.ask(10), &file)
        .await
        .unwrap();
    let deadline = world.deadline(10);
    let mut body = world
        .client
        .download(&link, 0..3, 3, deadline)
        .await
        .unwrap();
    assert_eq!(body.next(deadline).await.unwrap().unwrap(), "abc");
    world.done();
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_before_anything_is_sent() {
    let world = World::with_settings(
        |fake| fake.tls(true),
        |fake, settings| settings.api_url = ApiUrl::parse(&fake.tls_api_url().unwrap()).unwrap(),
    );
    let error = world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::Tls, Reached::NotSent),
        "{error}"
    );
    assert!(world.fake.log().is_empty());
    world.done();
}

/// With the proxy, the service's genuine host names are used for calls, nodes and downloads.
#[tokio::test]
async fn the_genuine_host_names_work_through_a_proxy() {
    let world = World::with_settings(
        |fake| fake.tls(true),
        |fake, settings| {
            settings.api_url = ApiUrl::service();
            settings.proxy = fake.proxy_url();
            settings.ca_cert = Some(fake.ca_pem().unwrap().as_bytes().to_vec());
        },
    );
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    let link = world
        .client
        .download_link(&world.ask(10), &file)
        .await
        .unwrap();
    let deadline = world.deadline(10);
    let mut body = world
        .client
        .download(&link, 1..3, 3, deadline)
        .await
        .unwrap();
    assert_eq!(body.next(deadline).await.unwrap().unwrap(), "bc");
    let node = world.client.upload_node(&world.ask(10)).await.unwrap();
    assert!(format!("{node:?}").contains(".1fichier.com"), "{node:?}");
    world.done();
}

#[tokio::test]
async fn a_foreign_upload_node_is_refused() {
    let answered = |body: String| async move {
        let json = |port: u16| {
            let body = body.replace("PORT", &port.to_string());
            vec![answer(200, "application/json", &body)]
        };
        let server = Scripted::new(json).await;
        server.client.upload_node(&server.ask(10)).await.map(|_| ())
    };
    for bad in [
        "evil.example",
        "up3.1fichier.com",
        "127.0.0.1:PORT/x",
        "me@127.0.0.1:PORT",
    ] {
        let body = format!(r#"{{"url":"{bad}","id":"Ab12Cd34Ef"}}"#);
        let error = answered(body).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::HostRefused, "{bad}");
    }
    for bad in [
        r#"{"url":"127.0.0.1:PORT","id":"../x"}"#,
        r#"{"url":"127.0.0.1:PORT"}"#,
        r#"{"id":"Ab12Cd34Ef"}"#,
        "{}",
    ] {
        let error = answered(bad.to_owned()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{bad}");
    }
    let good = r#"{"url":"127.0.0.1:PORT","id":"Ab12Cd34Ef"}"#;
    assert!(answered(good.to_owned()).await.is_ok());
}

#[tokio::test]
async fn nothing_listens() {
    let port = free_port();
    let world = World::with_settings(
        |fake| fake,
        |_, settings| {
            settings.api_url = ApiUrl::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap();
        },
    );
    let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
    let error = world
        .client
        .download_link(&world.ask(8), &file)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.reached),
        (ErrorKind::Network, Reached::NotSent),
        "{error}"
    );
    world.done();
}

#[test]
fn settings_that_cannot_work_are_told() {
    assert_eq!(
        ApiUrl::parse("http://api.1fichier.com/v1"),
        Err(BadApiUrl::Plain)
    );
    let settings = Settings::new(ApiKey::parse("0123456789abcdefABCDEF-_=0123456").unwrap());
    let setup = |settings: Settings| {
        let scheduler = Scheduler::new(settings.clock, Rates::default(), None);
        Client::new(settings, scheduler).map(|_| ())
    };
    let bad_pem = Settings {
        ca_cert: Some(b"-----BEGIN nothing-----".to_vec()),
        ..settings.clone()
    };
    assert!(matches!(setup(bad_pem), Err(SetupError::Certificate(_))));
    let bad_proxy = Settings {
        proxy: Some("not a proxy".into()),
        ..settings
    };
    let error = setup(bad_proxy).unwrap_err();
    assert!(matches!(error, SetupError::Proxy(_)), "{error}");
}

/// What was never sent does not hold up what comes after it.
#[tokio::test]
async fn a_network_that_comes_back_is_used_at_once() {
    let port = free_port();
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let world = World::with_settings(
        |fake| fake,
        |_, settings| {
            settings.api_url = ApiUrl::parse(&format!("http://127.0.0.1:{port}/v1")).unwrap();
        },
    );
    let start = world.clock.now();
    for _ in 0..2 {
        let error = world.client.user_info(&world.ask(3)).await.unwrap_err();
        assert_eq!(
            (error.kind, error.reached),
            (ErrorKind::Network, Reached::NotSent)
        );
        let listing = world
            .client
            .list_folder(&world.ask(3), FolderId::ROOT)
            .await;
        assert_eq!(listing.unwrap_err().kind, ErrorKind::Network);
    }
    let key = world.fake.key();
    let back = World::with(|fake| fake.listen(listen).key(&key));
    world.client.user_info(&world.ask(10)).await.unwrap();
    world
        .client
        .list_folder(&world.ask(10), FolderId::ROOT)
        .await
        .unwrap();
    assert!(world.clock.now().since(start) < Duration::from_secs(28));
    back.done();
    world.done();
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A service that was away is found again without anyone doing anything.
#[tokio::test]
async fn a_service_that_comes_back_is_found() {
    let world = World::new();
    let file = url(&world.fake.account().add_bytes(0, "f", &b"abc"[..]));
    let refuse = fake_1fichier::FaultKind::Reset;
    world
        .fake
        .faults()
        .add(fake_1fichier::Fault::on("*", refuse));
    let ask = world.ask(60);
    let back = async {
        world.clock.sleep(Duration::from_secs(6)).await;
        world.fake.faults().clear();
    };
    let (link, ()) = tokio::join!(world.client.download_link(&ask, &file), back);
    link.unwrap();
    world.done();
}
