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
async fn rows_whose_sort_keys_are_long_come_in_several_answers() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    let long = "x".repeat(ROWS_BYTES_MAX / 60);
    for n in 0..4 {
        let body = json!({"asset_name": format!("b{n}"), "asset_metadata": {"n": n, "text": long}});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        other.queries.shared.catalog.create_external(draft).await.unwrap();
    }
    node.meet(1, other.honest());
    let sort = ["asset_metadata.text"; 25].join(",");
    let page = node.page(&sort, 10, None).await;
    assert_eq!((page.rows.len(), page.report.complete), (4, true), "{:?}", page.report);
    assert_eq!(*node.town.asked.lock().unwrap(), 2, "the keys of two rows fit an answer");
    assert!(node.town.blamed.lock().unwrap().is_empty());
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

/// Another node that refuses most of many questions that come at once, and how it does.
fn narrow(other: &TestNode, busy: Result<Vec<u8>, SwarmError>) -> Manner {
    Manner::Narrow(Arc::clone(&other.queries.shared), Arc::new(Semaphore::new(4)), busy)
}

fn ways_of_being_busy() -> [Result<Vec<u8>, SwarmError>; 3] {
    let refused = QueryAnswer::Refused(QueryRefusal::Busy).encode().unwrap();
    [Err(SwarmError::NotSent), Err(SwarmError::Busy), Ok(refused)]
}

#[tokio::test]
async fn of_many_questions_at_once_each_is_answered_in_full_while_there_is_time() {
    for busy in ways_of_being_busy() {
        let (node, other) = (TestNode::new(0), TestNode::new(1));
        for n in 0..20 {
            other.create(&format!("a{n}"), n).await;
        }
        node.meet(1, narrow(&other, busy));
        let asked = (0..64).map(|_| node.page("-asset_metadata.n", 20, None));
        for page in futures_util::future::join_all(asked).await {
            assert_eq!((page.rows.len(), page.report.complete), (20, true), "{:?}", page.report);
        }
        assert!(*node.town.asked.lock().unwrap() > 64, "some were refused first");
        let names = (0..64).map(|n| {
            let (queries, name) = (node.queries.clone(), format!("a{}:1-t", n % 20));
            async move { queries.look(&name, &Place::Anywhere).await }
        });
        for found in futures_util::future::join_all(names).await {
            assert!(found.unwrap().report.complete);
        }
    }
}

#[tokio::test]
async fn a_peer_that_stays_busy_is_asked_less_and_less_often_and_a_long_question_seldom() {
    let asked = async |blanks| {
        let node = TestNode::new(0);
        node.meet(1, Manner::Fails(SwarmError::Busy));
        let mut question = question("", 10, None, Duration::from_secs(2));
        question.filter_text.push_str(&" ".repeat(blanks));
        let page = node.queries.find(question).await.unwrap();
        assert_eq!(page.report.missing[0].reason, "busy");
        *node.town.asked.lock().unwrap()
    };
    let (short, long) = tokio::join!(asked(0), asked(100_000));
    assert!(short < 30 && long < 10, "{short} {long}");
}

#[tokio::test]
async fn members_that_fail_at_once_make_way_for_those_that_answer() {
    let node = TestNode::new(0);
    for seed in 1..=100 {
        node.meet(
            seed,
            if seed <= 30 { Manner::Fails(SwarmError::Refused) } else { says(Vec::new(), End::Whole) },
        );
    }
    let mut failed = Vec::new();
    for _ in 0..6 {
        failed.push(node.page("", 10, None).await.report.nodes.failed);
    }
    assert!(failed[0] > 8 && failed[5] <= 8, "only those that are drawn: {failed:?}");
}

#[tokio::test]
async fn each_is_asked_for_its_part_of_a_page_first_and_for_all_of_a_sorted_one() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    for n in 0..130 {
        other.create(&format!("a{n}"), n).await;
    }
    node.meet(1, other.honest());
    for seed in 2..10 {
        node.meet(seed, says(Vec::new(), End::Whole));
    }
    for (sort, limit, first) in
        [("", 1000, 200), ("", 130, 64), ("", 10, 10), ("asset_metadata.n", 1000, 1000)]
    {
        let before = node.town.rows_wanted.lock().unwrap().len();
        let page = node.page(sort, limit, None).await;
        assert_eq!((page.rows.len(), page.report.complete), (limit.min(130), true), "{sort} {limit}");
        let wanted = node.town.rows_wanted.lock().unwrap()[before..].to_vec();
        assert_eq!(wanted[..9], [first; 9], "{sort} {limit}");
        let again: &[u32] = if limit == 130 { &[66] } else { &[] };
        assert_eq!(wanted[9..], *again, "{sort} {limit}");
    }
}
