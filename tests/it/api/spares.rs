//! The connection that stands ready for a reader that seeks.
use super::support::World;
use super::url;
use std::time::Duration;

const SIZE: u64 = 8 << 20;

/// Waits until the fake has accepted `count` connections in all.
async fn accepted(world: &World, count: u64) {
    for _ in 0..500 {
        if world.fake.connections().accepted >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {count}", world.fake.connections());
}

async fn read(world: &World, link: &fichierfs::api::DownloadLink, at: u64) {
    let deadline = world.deadline(60);
    let mut body = world
        .client
        .download(link, at..at + 1000, SIZE, deadline)
        .await
        .unwrap();
    let mut got = 0;
    while let Some(bytes) = body.next(deadline).await.unwrap() {
        got += bytes.len();
    }
    assert_eq!(got, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stands_ready_is_used_and_is_one_only() {
    let world = World::new();
    let file = url(&world.fake.account().add_synthetic(0, "f", SIZE, 1));
    let link = world.client.download_link(&world.ask(10), &file).await;
    let link = link.unwrap();
    let before = world.fake.connections().accepted;
    for _ in 0..5 {
        world.client.prepare_download(&link);
    }
    accepted(&world, before + 1).await;
    // Time to be set up, and for a second one that must not come.
    tokio::time::sleep(Duration::from_millis(100)).await;
    read(&world, &link, 0).await;
    assert_eq!(world.fake.connections().accepted, before + 1);
    // An abandoned answer leaves its connection behind; what stands ready is there for the next.
    world.client.prepare_download(&link);
    accepted(&world, before + 2).await;
    let deadline = world.deadline(60);
    let abandoned = world.client.download(&link, 0..SIZE, SIZE, deadline).await;
    drop(abandoned.unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    read(&world, &link, 5000).await;
    assert_eq!(world.fake.connections().accepted, before + 2);
    world.done();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stood_ready_for_too_long_is_given_up() {
    let world = World::new();
    let file = url(&world.fake.account().add_synthetic(0, "f", SIZE, 1));
    let link = world.client.download_link(&world.ask(10), &file).await;
    let link = link.unwrap();
    let before = world.fake.connections().open;
    world.client.prepare_download(&link);
    open(&world, before + 1).await;
    open(&world, before).await;
    world.done();
}

/// Waits until `count` connections are open.
async fn open(world: &World, count: usize) {
    for _ in 0..500 {
        if world.fake.connections().open == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?} instead of {count} open", world.fake.connections());
}
