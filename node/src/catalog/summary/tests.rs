//! Tests of `summary`: it follows the catalog through creates, updates, deletes, restarts and being made anew.

use std::path::Path;

use assetmesh_protocol::asset::{Draft, Patch};
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::Filter;
use assetmesh_protocol::ids::AssetsDbId;
use assetmesh_protocol::summary::{Probe, Summary};
use serde_json::{Value, json};

use super::*;
use crate::blobs::{self, Blobs};
use crate::catalog::{Catalog, Config, Owner};

/// What nothing here should take, however busy the machine is.
const WITHIN: Duration = Duration::from_secs(60);

struct Home {
    catalog: Catalog,
    tasks: Tasks,
}

impl Home {
    fn open(folder: &Path) -> Self {
        let mut tasks = Tasks::default();
        let id = AssetsDbId(uuid::Uuid::nil());
        let owner = Owner { assets_db_id: id, public_url: "http://n".to_owned(), cursor_secret: [0; 32] };
        let blobs = Blobs::start(&mut tasks, folder, blobs::Config::default()).unwrap();
        let catalog = Catalog::start(&mut tasks, folder, owner, blobs, &Config::default()).unwrap();
        Self { catalog, tasks }
    }

    fn own(&self) -> OwnSummary {
        self.catalog.summary()
    }

    async fn create(&self, name: &str, metadata: &Value) {
        let body = json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": metadata});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        self.catalog.create_external(draft).await.unwrap();
    }

    /// Waits until a summary is offered that is none of the first so many.
    async fn offered(&self, build: u64) -> Summary {
        let own = self.own();
        let mut changes = own.changes();
        let known = changes.wait_for(|_| own.version().is_some_and(|version| version.build >= build));
        tokio::time::timeout(WITHIN, known).await.unwrap().unwrap();
        self.summary()
    }

    fn summary(&self) -> Summary {
        self.own().state().offered.as_ref().unwrap().summary().clone()
    }
}

fn may(summary: &Summary, filter: &Value) -> bool {
    summary.may_hold(&Probe::of(&Filter::parse(filter).unwrap().need()))
}

#[tokio::test]
async fn every_row_is_known_before_it_is_acknowledged_and_each_new_one_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path());
    home.offered(1).await;
    let mut last = home.own().version().unwrap();
    for n in 0..200 {
        home.create(&format!("a{n}"), &json!({ "n": n })).await;
        let version = home.own().version().unwrap();
        assert!(version.changes > last.changes, "{n}");
        assert!(may(&home.summary(), &json!({"asset_metadata.n": n})), "{n}");
        last = version;
    }
    assert!(!may(&home.summary(), &json!({"asset_metadata.n": 1000})));
    let patch = Patch::parse(&Document::from_value(&json!({"asset_metadata.n": 1000})).unwrap()).unwrap();
    home.catalog.update("a7:1-t", patch).await.unwrap();
    assert!(may(&home.summary(), &json!({"asset_metadata.n": 1000})));
    assert!(home.own().version().unwrap().changes > last.changes);
    home.tasks.finish().await;
}

#[tokio::test]
async fn another_life_has_another_version_and_knows_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path());
    for n in 0..50 {
        home.create(&format!("a{n}"), &json!({ "n": n })).await;
    }
    let before = (home.offered(1).await, home.own().version().unwrap().life);
    let Home { catalog, tasks } = home;
    tasks.finish().await;
    drop(catalog);
    let home = Home::open(folder.path());
    let after = (home.offered(1).await, home.own().version().unwrap().life);
    assert_ne!(before.1, after.1);
    for n in 0..50 {
        assert!(may(&after.0, &json!({"asset_metadata.n": n, "asset_uri": format!("a{n}:1-t")})), "{n}");
    }
    assert!(!may(&after.0, &json!({"asset_metadata.n": 50})));
    home.tasks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_anew_while_rows_come_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path());
    home.offered(1).await;
    for n in (0..1500).step_by(50) {
        let creates = (n..n + 50).map(|n| {
            let home = &home;
            async move { home.create(&format!("a{n}"), &json!({ "n": n })).await }
        });
        futures_util::future::join_all(creates).await;
    }
    let own = home.own();
    let mut changes = own.changes();
    let is_settled = |_: &u64| {
        let state = own.state();
        state.build >= 2 && state.coming.is_none() && !state.is_due()
    };
    tokio::time::timeout(WITHIN, changes.wait_for(is_settled)).await.unwrap().unwrap();
    let grown = home.summary();
    assert!(home.own().version().unwrap().build >= 2, "it outgrew its first size");
    for n in 0..1500 {
        assert!(may(&grown, &json!({"asset_metadata.n": n, "asset_uri": format!("a{n}:1-t")})), "{n}");
    }
    let wrong = (0..1000).filter(|n| may(&grown, &json!({"asset_uri": format!("b{n}:1-t")}))).count();
    assert!(wrong < 60, "{wrong} of 1000");
    home.tasks.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_forgotten_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path());
    let all = || 0..1100;
    let create = |n: u64| home.create(format!("a{n}").leak(), &Value::Null);
    futures_util::future::join_all(all().map(create)).await;
    let before = {
        home.offered(1).await;
        home.own().version().unwrap()
    };
    let delete = |n: u64| home.catalog.delete(format!("a{n}:1-t").leak());
    futures_util::future::join_all(all().map(delete)).await;
    let own = home.own();
    let mut changes = own.changes();
    let is_empty = |_: &u64| {
        let state = own.state();
        let offered = state.offered.as_ref().map(|offered| offered.summary().clone());
        state.build > before.build && offered.is_some_and(|s| !may(&s, &json!({"asset_uri": "a7:1-t"})))
    };
    tokio::time::timeout(WITHIN, changes.wait_for(is_empty)).await.unwrap().unwrap();
    assert!(own.version().unwrap().changes > before.changes, "copies of the one before are told");
    home.tasks.finish().await;
}

#[tokio::test]
async fn a_part_belongs_to_one_life_and_one_build() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path());
    home.offered(1).await;
    let own = home.own();
    let Version { life, build, .. } = own.version().unwrap();
    let want = |life, build, part| own.part(Want { life, build, part });
    assert_eq!(want(life, build, 0).unwrap(), own.first().unwrap().2);
    for (life, build, part) in
        [(life, build, 1), (life, build, u32::MAX), (life, build + 1, 0), (!life, build, 0)]
    {
        assert_eq!(want(life, build, part), None, "{build} {part}");
    }
    own.give_up();
    assert!(own.version().is_none() && own.first().is_none() && want(life, build, 0).is_none());
    home.tasks.finish().await;
}
