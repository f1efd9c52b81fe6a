//! Assets and URLs whose time is up, on a node where that is soon.

use std::fs;
use std::time::Duration;

use assetmesh_tests::wait_until;

use super::account::{Account, put, xml};
use crate::it::support::TestNode;

#[test]
fn what_has_expired_is_gone_and_its_bytes_are_freed() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("node.toml");
    fs::write(&file, "[nvcf]\nasset_lifetime = \"3s\"\nupload_within = \"1s\"\nwaiting_max = 2\n").unwrap();
    let node = TestNode::start_with(|options| options.argument("--config").argument(file.as_os_str()));
    let mut acme = Account::of(&node, "acme");
    let waiting = acme.create();
    let stored = acme.store(b"content");
    assert_eq!(acme.ids(), [stored.id.as_str()]);
    let refused = wait_until(Duration::from_secs(10), || {
        let answer =
            acme.api.call(&put(&waiting.target, b"late").with_header("Content-Length", "4")).unwrap();
        // Each time before it is late stores the same content.
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(xml(&refused.unwrap(), 403), "AccessDenied");
    let gone = wait_until(Duration::from_secs(10), || acme.ids().is_empty().then_some(()));
    assert!(gone.is_some());
    assert_eq!((acme.get(&stored.id).status, acme.delete(&stored.id).status), (404, 404));
    node.assert_holds(0, 0, 0);
}
