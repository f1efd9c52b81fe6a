//! What is asked of peers for one page, how often, and what their answers leave out.

use super::*;

/// The names on all pages, and which pages say that they are whole.
async fn pages(node: &TestNode, sort: &str, limit: usize) -> (Vec<String>, Vec<bool>) {
    let (mut names, mut whole, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = node.page(sort, limit, cursor).await;
        names.extend(page.rows.iter().map(|row| row.uri().to_owned()));
        whole.push(page.report.complete);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return (names, whole);
        }
    }
}

#[tokio::test]
async fn healthy_rows_behind_a_damaged_one_of_a_peer_come_and_the_page_says_that_one_lacks() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    let mut records = Vec::new();
    for n in 0..12 {
        records.push(other.create(&format!("a{n}"), n).await);
    }
    other.queries.shared.catalog.damage(records[5]);
    node.meet(1, other.honest());
    let expect: Vec<String> = (0..12).filter(|n| *n != 5).map(|n| format!("a{n}:1-t")).collect();
    // Each page looks one row ahead.
    assert_eq!(pages(&node, "", 3).await, (expect.clone(), vec![true, false, true, true]));
    assert_eq!(pages(&node, "", 1000).await, (expect.clone(), vec![false]));
    // Sorted, each page looks at every row.
    assert_eq!(pages(&node, "asset_metadata.n", 3).await, (expect, vec![false; 4]));
}

#[tokio::test]
async fn a_row_that_lacks_in_one_answer_lacks_in_the_page_though_later_answers_are_whole() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    let long = "x".repeat(ROWS_BYTES_MAX / 3);
    let mut records = Vec::new();
    for n in 0..9 {
        let body = json!({"asset_name": format!("b{n}"), "asset_metadata": {"n": n, "text": long}});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        records.push(other.queries.shared.catalog.create_external(draft).await.unwrap().record);
    }
    other.queries.shared.catalog.damage(records[0]);
    node.meet(1, other.honest());
    let page = node.page("", 3, None).await;
    assert_eq!((page.rows.len(), page.report.complete), (3, false));
    assert!(*node.town.asked.lock().unwrap() >= 2, "three rows are longer than an answer");
    assert_eq!(page.report.missing[0].reason, "damaged rows are not served");
}

#[tokio::test]
async fn what_this_node_fails_with_is_said_without_waiting_for_peers() {
    let node = TestNode::new(0);
    let parallel = json!({"asset_metadata": {"n": 1, "a": [1], "b": [1]}});
    let draft = Draft::external(&Document::from_value(&parallel).unwrap()).unwrap();
    node.queries.shared.catalog.create_external(draft).await.unwrap();
    node.meet(1, Manner::Silent);
    let begun = Instant::now();
    let sort = "asset_metadata.a,asset_metadata.b";
    let failed = node.queries.find(question(sort, 10, None, Duration::from_secs(5))).await;
    assert!(matches!(failed, Err(Error::Catalog(catalog::Error::Sort(_)))), "{failed:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
