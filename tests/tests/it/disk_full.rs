//! A full disk: refused with 507, nothing kept, reads and deletes go on, and it heals without a restart.

use assetmesh_tests::{Content, NodeOptions, Tmpfs, description_of};
use serde_json::json;

use crate::it::support::{assert_failure, data_of};

const MIB: usize = 1 << 20;

#[test]
fn a_full_disk_is_told_and_survived() {
    let disk = match Tmpfs::new(24 * MIB as u64) {
        Ok(disk) => disk,
        Err(error) => {
            println!("no small disk can be made here, so nothing can be filled: {error:#}");
            return;
        }
    };
    let mut node = NodeOptions::new(&disk.path().join("data")).start().unwrap();
    let mut api = node.api();
    let kept = Content { seed: 1, size: 2 * MIB };
    let doomed = Content { seed: 2, size: 40 * MIB };
    let upload = |api: &mut assetmesh_tests::Api, name: &str, content: Content| {
        api.upload(&description_of(name, &json!({})), &content.bytes()).unwrap()
    };
    assert_eq!(upload(&mut api, "kept", kept).status, 201);
    for _ in 0..3 {
        let refused = upload(&mut api, "doomed", doomed);
        assert_eq!(refused.status, 507, "{}", refused.text());
        assert_failure("a full disk", &refused);
    }
    assert_eq!(api.find("doomed:1-t").unwrap().status, 404);
    assert_eq!(api.object(&doomed.id()).unwrap().status, 404);
    assert!(api.object(&kept.id()).unwrap().body == kept.bytes(), "reads go on");
    let node_facts = api.node().unwrap();
    assert_eq!(node_facts["blobs"], json!(1), "{node_facts}");
    assert_eq!(node_facts["bytes"], json!(kept.size), "{node_facts}");
    fill_with_rows(&mut api);
    assert_eq!(api.delete("kept:1-t").unwrap().status, 200, "deletes go on");
    assert_eq!(api.object(&kept.id()).unwrap().status, 404);
    disk.resize(160 * MIB as u64).unwrap();
    let roomy = upload(&mut api, "doomed", doomed);
    assert_eq!(data_of(201, &roomy)["asset_id"], json!(doomed.id()), "uploads work again");
    assert!(api.object(&doomed.id()).unwrap().body == doomed.bytes());
    assert!(node.stop().unwrap().success());
    let node = NodeOptions::new(&disk.path().join("data")).start().unwrap();
    assert!(node.api().object(&doomed.id()).unwrap().body == doomed.bytes());
    drop(node);
}

/// Descriptions until there is no room for them either.
fn fill_with_rows(api: &mut assetmesh_tests::Api) {
    let long = "x".repeat(500_000);
    for number in 0..200 {
        let metadata = json!({"number": number, "long": long});
        let answer = api.create(&description_of(&format!("row-{number}"), &metadata)).unwrap();
        match answer.status {
            201 => {}
            507 => return assert_failure("a full disk", &answer),
            status => panic!("row {number}: {status} {}", answer.text()),
        }
    }
    panic!("100 MB of rows were kept on a disk of 24 MiB");
}
