//! The filter cases of `tests/data/mongo`, asked of a real node and of `assetmesh filter`: one engine,
//! one answer. Over REST each document is the `asset_metadata` of an asset, and each path is prefixed.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use assetmesh_tests::conformance::cases::{Case, Collection, collections};
use assetmesh_tests::conformance::prefix;
use assetmesh_tests::{Method, Request, Response, binary, encode_segment};
use serde_json::{Value, json};

use crate::it::support::{TestNode, assert_failure};

#[test]
fn a_node_answers_every_case() {
    let mut failures = Vec::new();
    let mut asked = 0;
    for collection in collections() {
        let node = TestNode::start();
        let mut api = node.api();
        for (number, document) in collection.documents.iter().enumerate() {
            let asset = json!({"asset_name": number.to_string(), "asset_metadata": document});
            let answer = api.create(&asset).unwrap();
            assert_eq!(answer.status, 201, "{document}: {}", answer.text());
        }
        // REST offers neither, the command line does.
        let offered = |case: &&Case| case.skip.is_none() && case.projection.is_none();
        for case in collection.cases.iter().filter(offered) {
            asked += 1;
            let answer = api.call(&request(case)).unwrap();
            failures.extend(judge_rows(case, &answer).err());
        }
    }
    assert!(asked > 900, "only {asked} cases were asked");
    assert!(failures.is_empty(), "{} of {asked} fail:\n{}", failures.len(), failures.join("\n"));
}

/// A filter over descriptions, and the numbers of the documents that match it, in order.
pub(super) struct UnionCase {
    pub(super) filter: String,
    pub(super) sort: Option<String>,
    pub(super) expect: Vec<usize>,
}

/// The largest collection of documents, and what is asked of it.
pub(super) fn union_cases() -> (Vec<Value>, Vec<UnionCase>) {
    let largest = collections().into_iter().max_by_key(|collection| collection.documents.len()).unwrap();
    let plain = |case: &Case| case.skip.is_none() && case.limit.is_none() && case.projection.is_none();
    let cases = largest.cases.into_iter().filter(plain).filter_map(|case| {
        let filter = serde_json::from_str(&case.filter).ok()?;
        Some(UnionCase {
            filter: prefix::filter(&filter).to_string(),
            sort: case.sort.as_ref().map(|sort| prefix::sort(sort).to_string()),
            expect: case.expect?,
        })
    });
    (largest.documents, cases.collect())
}

fn request(case: &Case) -> Request {
    let mut target = "/assets?".to_owned();
    if let Some(sort) = &case.sort {
        let sort = prefix::sort(sort).to_string();
        target.push_str(&format!("sort={}&", encode_segment(&sort)));
    }
    if let Some(limit) = case.limit.filter(|limit| *limit != 0) {
        target.push_str(&format!("limit={limit}"));
    }
    // What is too deep to be read here goes as it is, and is refused for its depth.
    let filter = serde_json::from_str(&case.filter)
        .map_or_else(|_| case.filter.clone(), |filter| prefix::filter(&filter).to_string());
    Request::new(Method::Post, target)
        .with_header("Content-Type", "application/json")
        .with_body(filter.into_bytes())
}

fn judge_rows(case: &Case, answer: &Response) -> Result<(), String> {
    let Some(expected) = &case.expect else {
        assert_failure(&case.id, answer);
        let told = answer.status == 400;
        return told.then_some(()).ok_or_else(|| format!("{case:?}: {} and not 400", answer.status));
    };
    if answer.status != 200 {
        return Err(format!("{case:?}: {} {}", answer.status, answer.text()));
    }
    let body = answer.json().map_err(|error| format!("{error:#}"))?;
    let rows = body["data"].as_array().into_iter().flatten();
    let found: Vec<usize> = rows.map(|row| row["asset_name"].as_str().unwrap().parse().unwrap()).collect();
    (found == *expected).then_some(()).ok_or_else(|| format!("{case:?}: found {found:?}"))
}

#[test]
fn the_command_line_answers_every_case() {
    let collections = collections();
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let failures: Vec<String> = thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|part| {
                let collections = &collections;
                scope.spawn(move || {
                    let all = collections
                        .iter()
                        .flat_map(|collection| collection.cases.iter().map(move |case| (collection, case)));
                    all.skip(part)
                        .step_by(threads)
                        .filter_map(|(collection, case)| judge_lines(collection, case).err())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        started.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

fn judge_lines(collection: &Collection, case: &Case) -> Result<(), String> {
    let output = run_filter(collection, case);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    let Some(expected) = &case.expect else {
        let told = code == Some(2) && !errors.trim().is_empty();
        return told.then_some(()).ok_or_else(|| format!("{case:?}: exit {code:?}, {errors}"));
    };
    if code != Some(0) {
        return Err(format!("{case:?}: exit {code:?}, {errors}"));
    }
    let lines = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let found: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<Value> = match &case.expect_docs {
        Some(documents) => documents.clone(),
        None => expected.iter().map(|index| collection.documents[*index].clone()).collect(),
    };
    (found == expected).then_some(()).ok_or_else(|| format!("{case:?}: found {found:?}"))
}

fn run_filter(collection: &Collection, case: &Case) -> Output {
    let mut command = Command::new(binary());
    command.arg("filter").arg(&case.filter);
    let sort = case.sort.as_ref().map(Value::to_string);
    let projection = case.projection.as_ref().map(Value::to_string);
    for (option, value) in [
        ("--sort", sort),
        ("--project", projection),
        ("--skip", case.skip.map(|skip| skip.to_string())),
        ("--limit", case.limit.map(|limit| limit.to_string())),
    ] {
        command.args(value.map(|value| format!("{option}={value}")));
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A filter that is refused is refused before anything is read.
            let _ = input.write_all(collection.lines.as_bytes());
        });
        child.wait_with_output().unwrap()
    })
}
