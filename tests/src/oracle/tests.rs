//! The oracle judged by hand on a handful of rows.

use serde_json::json;

use super::*;

fn row(record: &str, owner: &str, metadata: &Value) -> Row {
    let value = json!({"asset_name": format!("{record}{owner}"), "asset_metadata": metadata});
    Row {
        record: record.to_owned(),
        owner: owner.to_owned(),
        document: Document::from_value(&value).unwrap(),
    }
}

fn oracle() -> Oracle {
    let rows = [("3", "a", 1), ("1", "b", 2), ("2", "a", 1), ("1", "a", 2)];
    Oracle::of(rows.map(|(record, owner, n)| row(record, owner, &json!({"n": n}))).to_vec()).unwrap()
}

fn names(oracle: &Oracle, filter: &str, sort: Option<&str>) -> Vec<String> {
    let question = Question { filter: filter.to_owned(), sort: sort.map(str::to_owned) };
    let found = oracle.answer(&question).unwrap();
    found.into_iter().map(|at| oracle.row(at).name().unwrap().to_owned()).collect()
}

#[test]
fn rows_come_by_sort_key_then_record_then_owner() {
    let oracle = oracle();
    assert_eq!(names(&oracle, "{}", None), ["1a", "1b", "2a", "3a"]);
    assert_eq!(names(&oracle, "{}", Some("asset_metadata.n")), ["2a", "3a", "1a", "1b"]);
    assert_eq!(names(&oracle, "{}", Some("-asset_metadata.n")), ["1a", "1b", "2a", "3a"]);
    assert_eq!(names(&oracle, "{\"asset_metadata.n\":1}", None), ["2a", "3a"]);
}

#[test]
fn a_ghost_stands_right_behind_a_row() {
    for seed in 0..20 {
        let haunted = oracle().with_ghost(&mut Random::seeded(seed)).unwrap();
        let mut all = names(&haunted, "{}", None);
        let at = all.iter().position(|name| name == "ghost").unwrap();
        assert!(at > 0);
        all.remove(at);
        assert_eq!(all, ["1a", "1b", "2a", "3a"]);
    }
}

#[test]
fn a_bad_question_and_one_that_fails_on_a_document_are_told_apart() {
    let ask = |filter: &str, sort: Option<&str>| {
        oracle().answer(&Question { filter: filter.to_owned(), sort: sort.map(str::to_owned) }).unwrap_err()
    };
    assert!(matches!(ask("{\"$foo\":1}", None), Refusal::Bad(_)));
    assert!(matches!(ask("{}", Some("$")), Refusal::Bad(_)));
    let fails = "{\"$expr\":{\"$divide\":[1,{\"$subtract\":[\"$asset_metadata.n\",1]}]}}";
    assert!(matches!(ask(fails, None), Refusal::Fails(_) | Refusal::Bad(_)));
}

#[test]
fn a_row_that_differs_from_its_owners_is_found() {
    let page = |text: &str| serde_json::from_str::<Page>(text).unwrap();
    let good = page(r#"{"data":[{"asset_name":"1a","asset_metadata":{"n":2}}],"next_cursor":null}"#);
    assert_eq!(oracle().rows_of(&good).unwrap(), [0]);
    for text in [
        r#"{"data":[{"asset_name":"1a","asset_metadata":{"n":3}}],"next_cursor":null}"#,
        r#"{"data":[{"asset_name":"9a","asset_metadata":{"n":2}}],"next_cursor":null}"#,
    ] {
        assert!(oracle().rows_of(&page(text)).is_err(), "{text}");
    }
}
