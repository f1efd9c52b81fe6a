//! Tokens of both kinds from the office to the check, over a real folder.

use std::sync::Arc;

use super::*;

/// A node's checking and issuing sides over one folder.
struct World {
    folder: tempfile::TempDir,
    tokens: Tokens,
    office: Office,
}

fn world() -> World {
    world_with(&Config::default())
}

fn world_with(config: &Config) -> World {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(folder.path()).unwrap();
    let (_, members) = watch::channel(Arc::default());
    let network = "test".parse().unwrap();
    let tokens = Tokens::start(folder.path(), &identity, &network, members, config).unwrap();
    let office = Office::open(folder.path(), None).unwrap();
    World { folder, tokens, office }
}

fn order(is_opaque: bool) -> Order {
    let scopes = BTreeSet::from([ASSETS_WRITE.to_owned(), "robots:wave".to_owned()]);
    Order { account: "acme".to_owned(), scopes, life: None, is_opaque }
}

#[test]
fn both_kinds_of_tokens_tell_account_and_scopes() {
    let world = world();
    for is_opaque in [false, true] {
        let issued = world.office.issue(&order(is_opaque)).unwrap();
        let caller = world.tokens.check(&issued.token).unwrap();
        assert_eq!((caller.account.as_str(), &caller.scopes), ("acme", &order(is_opaque).scopes));
    }
    assert!(world.folder.path().join("tokens").is_dir());
}
