//! The registry on disks that fill up or fail.

use std::io;

use super::*;
use crate::storage::test_disk::TestDisk;
use crate::storage::{Space, StoreConfig};

fn node_on(disk: &TestDisk, hub: &Hub, seed: u8) -> Node {
    Node::on(hub, seed, disk.store("catalog", 1, StoreConfig::default()).unwrap())
}

#[tokio::test]
async fn on_a_full_disk_entries_can_be_deleted_but_not_made_until_there_is_room() {
    let (disk, hub) = (TestDisk::made("catalog", 1), Hub::default());
    let one = node_on(&disk, &hub, 1);
    one.named("a").await;
    one.named("b").await;
    let room = Space { free: 64 << 20, total: 24 << 20, taken: 0 };
    disk.set_space(Space { free: 1_000, ..room });
    // In one write with what does not fit.
    let (a, b) = (id("a"), id("b"));
    let create = one.create(json!({"asset_registry_id": "x"}));
    let (refused, deleted) = tokio::join!(create, one.registry.delete(&a));
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    deleted.unwrap();
    assert!(one.registry.get(&a).is_none() && one.registry.get(&id("x")).is_none());
    // When it is known already that the disk is full.
    one.registry.delete(&b).await.unwrap();
    let refused = one.create(json!({"asset_registry_id": "b"})).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    disk.set_space(room);
    one.named("b").await;
}

#[tokio::test]
async fn a_write_that_fails_is_not_acknowledged_not_shown_and_not_in_the_way() {
    let (disk, hub) = (TestDisk::made("catalog", 1), Hub::default());
    let (one, two) = (node_on(&disk, &hub, 1), Node::new(&hub, 2));
    hub.link_all();
    one.named("before").await;
    two.shows("before").await;
    disk.fail_sync(0, io::ErrorKind::Other);
    let failed = one.create(json!({"asset_registry_id": "a"})).await;
    assert!(matches!(failed, Err(Error::Failed(_))), "{failed:?}");
    assert!(one.registry.get(&id("a")).is_none());
    one.named("a").await;
    two.shows("a").await;
    two.agrees_with(&one).await;
}

#[tokio::test]
async fn what_peers_said_is_written_when_the_disk_is_well_again() {
    let (disk, hub) = (TestDisk::made("catalog", 1), Hub::default());
    let (one, two) = (node_on(&disk, &hub, 1), Node::new(&hub, 2));
    hub.link_all();
    one.until("two members", |registry| registry.members().len() == 2).await;
    one.is_written().await;
    disk.fail_sync(0, io::ErrorKind::Other);
    two.named("theirs").await;
    one.shows("theirs").await;
    one.is_written().await;
    hub.leave(node(1));
    let Node { registry, tasks, .. } = one;
    drop(registry);
    tasks.finish().await;
    node_on(&disk, &hub, 1).shows("theirs").await;
}
