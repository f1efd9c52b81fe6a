//! Prints how fast a catalog takes in assets, starts, and answers filters: `cargo run --release -p assetmesh-node
//! --example catalog_bench -- [ROWS] [DIR]`. It measures only; it asserts nothing.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints")]

use std::time::{Duration, Instant};

use assetmesh_node::catalog::{Catalog, Query};
use assetmesh_node::{Config, Node};
use assetmesh_protocol::asset::Draft;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort};

const LOADERS: u64 = 64;

fn main() {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(100_000, |rows| rows.parse().unwrap());
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("assetmesh-catalog-bench"), Into::into);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { data_dir: dir, ..Config::default() };
    let started = Instant::now();
    let node = runtime.block_on(async { Node::start(config) }).unwrap();
    println!("start: {:?}, {} assets", started.elapsed(), node.catalog().assets().unwrap());
    let have = node.catalog().assets().unwrap();
    runtime.block_on(load(node.catalog(), have, rows));
    println!("{}", resident());
    runtime.block_on(ask(node.catalog(), rows));
    println!("{}", resident());
}

async fn load(catalog: &Catalog, have: u64, rows: u64) {
    let step = 100_000;
    for first in (have..rows).step_by(step) {
        let started = Instant::now();
        let last = rows.min(first + step as u64);
        let loaders = (0..LOADERS).map(|loader| {
            let catalog = catalog.clone();
            async move {
                for at in (first + loader..last).step_by(LOADERS as usize) {
                    let draft = Draft::external(&Document::from_json(body(at).as_bytes()).unwrap()).unwrap();
                    catalog.create_external(draft).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(loaders).await;
        let rate = (last - first) as f64 / started.elapsed().as_secs_f64();
        println!("rows {first}..{last}: {rate:.0} inserts/s, {LOADERS} at a time, each durable");
    }
}

/// About 430 bytes, as a model's description is.
fn body(at: u64) -> String {
    let kind = ["model", "image", "policy", "dataset"][(at % 4) as usize];
    let group = at % 10_000;
    format!(
        r#"{{"asset_name":"asset-{at}","asset_version":{{"version":"{}.{}","tag":"prod"}},"asset_metadata":{{"type":"{kind}","group":{group},"framework":"pytorch","license":"Apache-2.0","author":"Ana Müller","params":{},"metrics":{{"accuracy":0.{},"loss":1.{}}},"description":"a synthetic asset for the benchmark, number {at}","created_at":"2024-04-28T05:32:00Z"}},"asset_public_url":"https://cdn.example.org/asset-{at}","asset_tags":["{kind}","bench","g{}"]}}"#,
        at % 9,
        at % 7,
        at * 31,
        at % 1000,
        at % 997,
        at % 100
    )
}

async fn ask(catalog: &Catalog, rows: u64) {
    let questions = [
        ("indexed, 1 in 10 000", r#"{"asset_metadata.group":77}"#, ""),
        ("indexed, two conjuncts", r#"{"asset_metadata.type":"image","asset_metadata.group":77}"#, ""),
        ("indexed, sorted", r#"{"asset_metadata.group":77}"#, "-asset_metadata.params"),
        ("first page of a common value", r#"{"asset_metadata.type":"image"}"#, ""),
        ("regex, no index", r#"{"asset_metadata.description":{"$regex":"number 77777$"}}"#, ""),
        ("$ne, no index", r#"{"asset_metadata.framework":{"$ne":"pytorch"}}"#, ""),
        ("absent field, no index", r#"{"asset_metadata.nothing":{"$exists":true}}"#, ""),
        ("$expr, no index", r#"{"$expr":{"$lt":["$asset_metadata.params",0]}}"#, ""),
        ("sorted scan", r"{}", "asset_metadata.params"),
    ];
    for (name, filter, sort) in questions {
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..20 {
            let started = Instant::now();
            let page = catalog.query(query(filter, sort)).await.unwrap();
            times.push(started.elapsed());
            found = page.rows.len();
            if times.iter().sum::<Duration>() > Duration::from_secs(8) {
                break;
            }
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        let rate = rows as f64 / median.as_secs_f64() / 1e6;
        println!("{name}: {found} rows, median {median:?} ({rate:.2} M rows/s if it read all)");
    }
}

fn query(filter: &str, sort: &str) -> Query {
    Query {
        filter: Filter::parse_json(filter.as_bytes()).unwrap(),
        filter_text: filter.to_owned(),
        sort: (!sort.is_empty()).then(|| Sort::parse(sort).unwrap()),
        sort_text: sort.to_owned(),
        limit: 1000,
        cursor: None,
        deadline: Duration::from_secs(60),
    }
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
        .collect::<Vec<_>>()
        .join("  ")
}
