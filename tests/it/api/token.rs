//! `download/get_token`.
use super::support::{Scripted, World};
use super::url;
use fichierfs::api::ErrorKind;

#[tokio::test]
async fn a_link_is_asked_for_many_ranges_and_no_credits() {
    let world = World::new();
    let address = world.fake.account().add_bytes(0, "f", &b"abc"[..]);
    let link = world
        .client
        .download_link(&world.ask(10), &url(&address))
        .await
        .unwrap();
    assert_eq!(format!("{link:?}"), "DownloadLink(…)");
    let params = &world.fake.log()[0].params;
    assert_eq!((&params["single"], &params["cdn"]), (&0.into(), &0.into()));
    world.done();
}

#[tokio::test]
async fn credits_are_spent_when_the_settings_say_so() {
    let world = World::with_settings(
        |fake| fake.config(|c| c.cdn_credits = 5),
        |_, settings| settings.cdn = true,
    );
    let address = world.fake.account().add_bytes(0, "f", &b"abc"[..]);
    world
        .client
        .download_link(&world.ask(10), &url(&address))
        .await
        .unwrap();
    assert_eq!(world.fake.log()[0].params["cdn"], 1);
    world.done();
}

#[tokio::test]
async fn a_free_account_gets_no_link() {
    let world = World::with(|fake| fake.config(|c| c.offer = 0));
    let address = world.fake.account().add_bytes(0, "f", &b"abc"[..]);
    let error = world
        .client
        .download_link(&world.ask(10), &url(&address))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotCustomer);
    world.done();
}

#[tokio::test]
async fn a_link_to_a_foreign_host_is_refused() {
    for bad in [
        "https://evil.example/p1",
        "http://10.0.0.1/p1",
        "https://a-7.1fichier.com/p1",
    ] {
        let server = Scripted::json(&format!(r#"{{"status":"OK","url":"{bad}"}}"#)).await;
        let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
        let error = server
            .client
            .download_link(&server.ask(10), &file)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::HostRefused, "{bad}");
        assert!(!error.to_string().contains("/p1"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_success_without_a_link_is_none() {
    let server = Scripted::json(r#"{"status":"OK","message":""}"#).await;
    let file = url("https://1fichier.com/?aaaabbbbccccddddeeee");
    let error = server
        .client
        .download_link(&server.ask(30), &file)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
}
