//! `user/info`.
use super::support::World;
use fichierfs::api::{ErrorKind, Offer};
use std::time::Duration;

#[tokio::test]
async fn the_account_is_asked_once_in_six_minutes() {
    let world = World::new();
    let first = world.client.user_info(&world.ask(10)).await.unwrap();
    assert_eq!(first.value.offer, Offer::Premium);
    assert!(first.value.available_cold_storage.is_some());
    for _ in 0..5 {
        let again = world.client.user_info(&world.ask(10)).await.unwrap();
        assert_eq!(again.value, first.value);
        assert!(first.at.abs_diff(again.at) < Duration::from_secs(1));
    }
    assert_eq!(world.fake.count("user/info"), 1);
    // Nothing was set: no field at all was sent.
    assert_eq!(world.fake.log()[0].params, serde_json::json!({}));
    world.done();
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_answer() {
    let world = World::with(|fake| fake.config(|c| c.user_info_strings = false));
    let ask = world.ask(20);
    let (a, b, c) = tokio::join!(
        world.client.user_info(&ask),
        world.client.user_info(&ask),
        world.client.user_info(&ask)
    );
    assert_eq!(a.unwrap().value, b.unwrap().value);
    assert!(c.is_ok());
    assert_eq!(world.fake.count("user/info"), 1);
    world.done();
}

#[tokio::test]
async fn every_offer_is_known() {
    for (number, offer) in [
        (0, Offer::Free),
        (2, Offer::Access),
        (3, Offer::Gold),
        (9, Offer::Other(9)),
    ] {
        let world = World::with(|fake| fake.config(|c| c.offer = number));
        let info = world.client.user_info(&world.ask(10)).await.unwrap();
        assert_eq!(info.value.offer, offer);
        world.done();
    }
}

#[tokio::test]
async fn a_replaced_key_is_refused_once_and_never_shown() {
    let world = World::new();
    let key = world.fake.key();
    world
        .fake
        .account()
        .change_key("another-key-another-key-another-");
    let error = world.client.user_info(&world.ask(30)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::KeyRefused);
    assert!(!format!("{error} {error:?} {:?}", world.client.scheduler()).contains(&key));
    assert_eq!(world.fake.count("user/info"), 1);
    world.done();
}
