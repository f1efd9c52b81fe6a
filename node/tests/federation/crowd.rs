//! Many clients of one node at once: each has a whole answer, though no more than so many questions go to a peer at once.

use std::time::Duration;

use assetmesh_node::catalog;
use assetmesh_protocol::filter::{Filter, Sort};
use futures_util::future::join_all;
use serde_json::json;

use super::pruning::{Member, WITHIN, start, stop};

/// Three times as many as go to one peer at once.
const CLIENTS: usize = 96;
const ROWS: usize = 20;

fn newest_first() -> catalog::Query {
    let filter = json!({"asset_metadata.n": {"$gte": 0}});
    catalog::Query {
        filter: Filter::parse(&filter).unwrap(),
        filter_text: filter.to_string(),
        sort: Some(Sort::parse("-asset_metadata.n").unwrap()),
        sort_text: "-asset_metadata.n".to_owned(),
        limit: 1000,
        cursor: None,
        deadline: Duration::from_secs(10),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sorted_questions_at_once_are_each_answered_in_full() {
    let mut members: Vec<Member> = Vec::new();
    for _ in 0..2 {
        members.push(start(tempfile::tempdir().unwrap(), &members));
    }
    for n in 0..ROWS {
        members[1].create(&format!("a{n}"), &json!({"n": n})).await;
    }
    let all_are_up = |page: &assetmesh_node::query::Page| page.report.complete && page.rows.len() == ROWS;
    members[0].until(&json!({}), WITHIN, all_are_up).await;
    let clients = (0..CLIENTS).map(|_| members[0].node().queries().find(newest_first()));
    for page in join_all(clients).await {
        let page = page.unwrap();
        assert_eq!((page.rows.len(), page.report.complete), (ROWS, true), "{:?}", page.report);
    }
    stop(members).await;
}
