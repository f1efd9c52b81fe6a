//! Measures how many documents a second one core matches: 100 000 made-up asset documents of about 400
//! bytes, in their stored form, against filters of several kinds.
//!
//! `cargo run --release -p assetmesh-protocol --example filter_bench`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::hint::black_box;
use std::time::Instant;

use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::filter::{Filter, Sort};
use serde_json::json;

const DOCUMENTS: u64 = 100_000;
const ROUNDS: u32 = 5;

const FILTERS: [(&str, &str); 13] = [
    ("everything", r#"{}"#),
    ("first field, equal", r#"{"asset_uri":"model-500:1.2-beta"}"#),
    ("last field, equal", r#"{"asset_tags":"gpu"}"#),
    ("nested, equal", r#"{"asset_metadata.framework":"jax"}"#),
    ("nested, range", r#"{"asset_metadata.params":{"$gte":100000,"$lt":200000}}"#),
    ("two fields", r#"{"asset_metadata.type":"model","asset_version.tag":"beta"}"#),
    ("five of $in", r#"{"asset_metadata.framework":{"$in":["a","b","jax","c","d"]}}"#),
    ("missing field", r#"{"asset_metadata.nosuch":{"$exists":true}}"#),
    ("negation", r#"{"asset_tags":{"$ne":"gpu"}}"#),
    ("$or of three", r#"{"$or":[{"asset_name":"x"},{"assets_db_id":"y"},{"asset_metadata.license":"MIT"}]}"#),
    ("$elemMatch", r#"{"asset_metadata.layers":{"$elemMatch":{"type":"conv","units":{"$gte":100}}}}"#),
    ("$regex", r#"{"asset_name":{"$regex":"^model-9.*7$"}}"#),
    ("$expr", r#"{"$expr":{"$gt":["$asset_metadata.width","$asset_metadata.height"]}}"#),
];

fn main() {
    let documents: Vec<Document> = (0..DOCUMENTS).map(document).collect();
    let json: usize = documents.iter().map(|document| document.to_json().len()).sum();
    let bytes: usize = documents.iter().map(|document| document.as_bytes().len()).sum();
    let per = |total: usize| total as f64 / DOCUMENTS as f64;
    println!("{DOCUMENTS} documents, JSON {:.0} bytes, stored {:.0} bytes", per(json), per(bytes));
    for (name, text) in FILTERS {
        let filter = Filter::parse_json(text.as_bytes()).expect("the filter is legal");
        report(name, &documents, |document| filter.matches(document).expect("the filter cannot fail"));
    }
    let sort = Sort::parse("-asset_metadata.params,asset_name").expect("the sort is legal");
    report("sort key", &documents, |document| {
        !black_box(sort.key(document).expect("no parallel arrays")).as_bytes().is_empty()
    });
    let texts: Vec<String> = documents.iter().map(Document::to_json).collect();
    let start = Instant::now();
    for text in &texts {
        black_box(Document::from_json(text.as_bytes()).expect("it is JSON"));
    }
    print_rate("from JSON text", start.elapsed().as_secs_f64(), texts.len());
}

/// Runs over all documents several times and keeps the best round.
fn report(name: &str, documents: &[Document], matches: impl Fn(ValueRef<'_>) -> bool) {
    let mut best = f64::MAX;
    let mut found = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        found = (documents.iter())
            .filter(|document| matches(ValueRef::from_stored(black_box(document.as_bytes()))))
            .count();
        best = best.min(start.elapsed().as_secs_f64());
    }
    print_rate(name, best, found);
}

fn print_rate(name: &str, seconds: f64, found: usize) {
    let rate = DOCUMENTS as f64 / seconds;
    println!("{name:20} {found:7} found {:6.0} ns {:6.2} M documents/s", 1e9 / rate, rate / 1e6);
}

fn document(n: u64) -> Document {
    let pick = |list: &[&'static str], shift: u32| {
        let hash = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift;
        list[usize::try_from(hash).unwrap_or_default() % list.len()]
    };
    let version = format!("1.{}", n % 10);
    let tag = pick(&["beta", "stable", "nightly"], 40);
    let name = format!("model-{n}");
    Document::from_value(&json!({
        "asset_uri": format!("{name}:{version}-{tag}"),
        "asset_name": name,
        "asset_id": format!("{:032x}", n.wrapping_mul(0x0123_4567_89AB_CDEF)),
        "assets_db_id": "assets-db-eu-1",
        "asset_version": {"version": version, "tag": tag},
        "asset_metadata": {
            "type": pick(&["model", "image", "dataset", "policy"], 20),
            "framework": pick(&["pytorch", "jax", "onnx"], 30),
            "license": pick(&["MIT", "Apache-2.0", "proprietary"], 50),
            "params": n * 10, "width": n % 100, "height": n % 77, "accuracy": 0.5 + (n % 50) as f64 / 100.0,
            "layers": [{"type": "conv", "units": n % 128}, {"type": "dense", "units": 10}],
        },
        "asset_file_info": {"file_size": n * 1000, "file_type": "application/octet-stream"},
        "asset_tags": ["sample", pick(&["gpu", "edge", "cpu"], 10)],
    }))
    .expect("it is shallow")
}
