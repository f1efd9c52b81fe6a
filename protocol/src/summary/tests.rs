//! Tests of `summary`: what is proven and what is not, how often it errs, its bytes on the wire, and hostile ones.

use proptest::prelude::{any, prop_assert, proptest};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::document::Document;
use crate::filter::Filter;
use crate::ids::{AssetId, RecordId};

fn record(number: u128) -> RecordId {
    RecordId(Uuid::from_u128(number))
}

fn marks(number: u128, value: &Value) -> Marks {
    Marks::of(record(number), Document::from_value(value).unwrap().root())
}

fn of(values: &[Value]) -> Growing {
    let mut growing = Growing::new(0);
    for (number, value) in values.iter().enumerate() {
        growing.insert(&marks(number as u128, value));
    }
    growing
}

fn may(growing: &Growing, filter: &Value) -> bool {
    growing.summary().may_hold(&Probe::of(&Filter::parse(filter).unwrap().need()))
}

/// A summary as an asker puts it together.
fn sent(growing: &Growing) -> Result<Summary, Unacceptable> {
    let mut assembly = Assembly::begin(&growing.shape(), &growing.part(0))?;
    while let Some(next) = assembly.next() {
        assembly.push(&growing.part(next as usize))?;
    }
    Ok(assembly.finish().unwrap())
}

#[test]
fn only_a_filter_that_proves_it_rules_a_node_out() {
    let growing = of(&[
        json!({"a": 1, "b": {"c": ["x", "y"]}, "when": "2026-01-01", "n": [1, 9]}),
        json!({"a": 2.5, "flag": true}),
    ]);
    let table = [
        (json!({"a": 1}), true),
        (json!({"a": 1.0}), true),
        (json!({"a": 3}), false),
        (json!({"a": "1"}), false),
        (json!({"b.c": "y"}), true),
        (json!({"b.c": "z"}), false),
        (json!({"b": {"c": ["x", "y"]}}), true),
        (json!({"b": {"c": ["x", "z"]}}), false),
        (json!({"b.c.0": "z"}), true),
        (json!({"nowhere": 1}), false),
        (json!({"a": null}), true),
        (json!({"a": {"$ne": 1}}), true),
        (json!({"a": {"$nin": [1]}}), true),
        (json!({"a": {"$not": {"$eq": 1}}}), true),
        (json!({"$nor": [{"a": 1}]}), true),
        (json!({"a": {"$exists": false}}), true),
        (json!({"b.c": {"$regex": "^q"}}), true),
        (json!({"$or": [{"a": 3}, {"a": 4}]}), false),
        (json!({"$or": [{"a": 3}, {"a": 1}]}), true),
        (json!({"$or": [{"a": 3}, {"a": {"$ne": 1}}]}), true),
        (json!({"$and": [{"a": 1}, {"a": 3}]}), false),
        (json!({"a": {"$ne": 1}, "b.c": "z"}), false),
        (json!({"a": {"$in": [3, 4]}}), false),
        (json!({"a": {"$in": [3, null]}}), true),
        (json!({"a": {"$in": []}}), false),
        (json!({"b.c": {"$all": ["x", "z"]}}), false),
        (json!({"a": {"$gt": 2.5}}), true),
        (json!({"a": {"$gt": 2.6}}), false),
        (json!({"a": {"$lt": 1}}), true),
        (json!({"a": {"$lt": 0.5}}), false),
        (json!({"a": {"$gte": 1.1, "$lte": 1.2}}), true),
        (json!({"n": {"$elemMatch": {"$gt": 9, "$lt": 20}}}), true),
        (json!({"n": {"$elemMatch": {"$gt": 10, "$lt": 20}}}), false),
        (json!({"when": {"$gt": "2027"}}), true),
        (json!({"nowhere": {"$gt": 1}}), false),
        (json!({"asset_public_url": "http://nowhere"}), true),
        (json!({"asset_file_info.checksum": "nowhere"}), true),
        (json!({}), true),
    ];
    for (filter, expect) in table {
        assert_eq!(may(&growing, &filter), expect, "{filter}");
    }
}

#[test]
fn names_are_found_by_uri_record_and_content() {
    let blob = AssetId::of(b"x");
    let growing = of(&[json!({"asset_uri": "a:1-t", "asset_id": blob.to_string()})]);
    let may = |probe: &Probe| growing.summary().may_hold(probe);
    assert!(may(&Probe::of_name("a:1-t")) && !may(&Probe::of_name("a:2-t")));
    let id = record(0).0;
    assert!(may(&Probe::of_name(&id.to_string())) && may(&Probe::of_name(&id.simple().to_string())));
    assert!(!may(&Probe::of_name(&record(1).0.to_string())));
    assert!(may(&Probe::of_blob(&blob)) && !may(&Probe::of_blob(&AssetId::of(b"y"))));
}

#[test]
fn rows_that_hold_too_much_prove_less_and_keep_their_names() {
    let vector: Vec<f64> = (0..100).map(|n| f64::from(n) / 7.0).collect();
    let growing = of(&[json!({"asset_uri": "v:1-t", "vector": vector, "kind": "v"})]);
    assert!(may(&growing, &json!({"vector": 12345})) && may(&growing, &json!({"vector": {"$gt": 1e9}})));
    assert!(!may(&growing, &json!({"kind": "w"})) && may(&growing, &json!({"kind": "v"})));

    let wide: serde_json::Map<String, Value> = (0..1500).map(|n| (format!("k{n}"), json!(n))).collect();
    let growing = of(&[json!({"wide": wide, "asset_uri": "w:1-t"})]);
    assert!(may(&growing, &json!({"kind": "w"})) && may(&growing, &json!({"kind": {"$gt": 7}})));
    assert!(!may(&growing, &json!({"asset_uri": "v:1-t"})) && may(&growing, &json!({"asset_uri": "w:1-t"})));
}

#[test]
fn a_question_of_very_many_terms_is_put_to_all() {
    let growing = of(&[]);
    let values: Vec<u32> = (0..100).collect();
    assert!(!may(&growing, &json!({"a": {"$in": values}})));
    let values: Vec<u32> = (0..1000).collect();
    assert!(may(&growing, &json!({"a": {"$in": values}})));
}

#[test]
fn only_what_is_new_is_news() {
    let mut growing = of(&[json!({"a": 1, "b": "x"})]);
    assert!(!growing.insert(&marks(0, &json!({"a": 1, "b": "x"}))));
    assert!(growing.insert(&marks(1, &json!({"a": 1, "b": "x"}))), "another record");
    assert!(growing.insert(&marks(1, &json!({"a": -7}))), "another reach");
    let crowd: Vec<u32> = (0..100).collect();
    assert!(
        growing.insert(&marks(1, &json!({"c": crowd}))) && !growing.insert(&marks(1, &json!({"c": crowd})))
    );
}

/// Row after row, made anew whenever it says so.
fn grown(rows: u64, row: impl Fn(u64) -> Value) -> Growing {
    let mut growing = Growing::new(0);
    for number in 0..rows {
        growing.insert(&marks(number.into(), &row(number)));
        if growing.is_outgrown() {
            growing = growing.successor();
            for number in 0..=number {
                growing.insert(&marks(number.into(), &row(number)));
            }
            assert!(!growing.is_outgrown());
        }
    }
    growing
}

#[test]
fn it_grows_with_its_rows_and_errs_in_one_question_of_fifty_at_most() {
    let row =
        |n: u64| json!({"asset_uri": format!("n{n}:1-t"), "asset_name": format!("n{n}"), "kind": n % 5});
    for (rows, bytes_max) in [(0, 1100), (100, 1100), (3_000, 33_000)] {
        let growing = grown(rows, row);
        let asked = 20_000;
        let wrong = (0..asked).filter(|n| growing.summary().may_hold(&Probe::of_name(&format!("m{n}:1-t"))));
        let wrong = wrong.count();
        assert!(wrong * 40 <= asked, "{wrong} of {asked} with {rows} rows");
        assert!(
            growing.summary().bytes() <= bytes_max,
            "{} bytes for {rows} rows",
            growing.summary().bytes()
        );
    }
}

#[test]
fn the_largest_gives_up_the_paths_that_hold_most_and_keeps_the_names() {
    let mut growing = Growing::new(u64::MAX);
    assert_eq!(growing.summary().bits.len(), 1 << SIZE_MAX);
    let path = |name| mark::place(name).0;
    let heavy = |growing: &mut Growing, name, terms: u64| {
        growing.of_path.insert(path(name), terms);
        growing.terms += terms;
    };
    heavy(&mut growing, "asset_uri", 2_600_000);
    heavy(&mut growing, "heavy", 2_000_000);
    heavy(&mut growing, "light", 900_000);
    assert!(!growing.is_outgrown());
    heavy(&mut growing, "more", 200_000);
    growing.insert(&marks(1, &json!({"new": 1})));
    assert!(growing.is_outgrown());
    let next = growing.successor();
    assert!(!next.is_outgrown());
    for growing in [&growing, &next] {
        let open = |name| growing.summary().is_open(path(name));
        assert!(open("heavy") && !open("light") && !open("asset_uri") && !open("more"));
    }
}

#[test]
fn a_summary_arrives_as_it_was_sent() {
    let crowd: Vec<u32> = (0..100).collect();
    for terms in [0, 1 << 20] {
        let mut growing = Growing::new(terms);
        growing.insert(&marks(1, &json!({"a": 1, "b": crowd, "c": -2.5})));
        let received = sent(&growing).unwrap();
        assert_eq!(&received, growing.summary());
        let first = SummaryAnswer::First {
            version: Version { life: 1, build: 2, changes: 3 },
            shape: growing.shape(),
            bits: growing.part(0),
        };
        assert_eq!(SummaryAnswer::decode(&first.encode().unwrap()).unwrap(), first);
    }
}

#[test]
fn what_no_honest_node_sends_is_not_taken() {
    let growing = Growing::new(1 << 20);
    let (shape, bits) = (growing.shape(), growing.part(0));
    let begin = |shape: Shape, bits: &[u8]| Assembly::begin(&shape, bits).map(drop);
    assert_eq!(begin(Shape { form: 2, ..shape.clone() }, &bits), Err(Unacceptable::Form));
    for size in [0, SIZE_MIN - 1, SIZE_MAX + 1, 63, 64, 255] {
        assert_eq!(begin(Shape { size, ..shape.clone() }, &bits), Err(Unacceptable::Size), "{size}");
    }
    let open = (0..=PATHS_MAX as u32).collect();
    assert_eq!(begin(Shape { open, ..shape.clone() }, &bits), Err(Unacceptable::Paths));
    let ranges = vec![Reach { path: 1, least: [0; 8], greatest: [0; 8] }; PATHS_MAX + 1];
    assert_eq!(begin(Shape { ranges, ..shape.clone() }, &bits), Err(Unacceptable::Paths));
    for length in [0, 1, bits.len() - 1] {
        assert_eq!(begin(shape.clone(), &bits[..length]), Err(Unacceptable::Part), "{length}");
    }
    assert_eq!(begin(shape.clone(), &[&bits[..], &[0]].concat()), Err(Unacceptable::Part));
    assert_eq!(begin(Shape { size: SIZE_MIN, ..shape.clone() }, &bits), Err(Unacceptable::Part));

    let mut endless = Assembly::begin(&shape, &bits).unwrap();
    assert!(endless.next() == Some(1) && endless.push(&bits[..8]) == Err(Unacceptable::Part));
    while endless.next().is_some() {
        endless.push(&bits).unwrap();
    }
    assert_eq!(endless.push(&bits), Err(Unacceptable::Part));
    assert!(Assembly::begin(&shape, &bits).unwrap().finish().is_none());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All nodes must set the same bits for the same row.
#[test]
fn golden_marks() {
    let row =
        json!({"asset_uri": "a:1-t", "n": 1, "ok": true, "text": "a long text that is cut in the index"});
    let growing = of(&[row]);
    let bits = growing.part(0);
    let places = (0..bits.len() * 8).filter(|at| bits[at / 8] >> (at % 8) & 1 == 1).collect::<Vec<_>>();
    let expect = [
        550, 577, 746, 1755, 2128, 2643, 2995, 3441, 3464, 3787, 4556, 4610, 5689, 5882, 6649, 6772, 7465,
        7710, 7855, 8056,
    ];
    assert_eq!(places, expect);
    let (least, greatest) = ([191, 240, 0, 0, 0, 0, 0, 0], [191, 240, 0, 0, 0, 0, 0, 0]);
    assert_eq!(growing.shape().ranges, [Reach { path: 615_418_634, least, greatest }]);
}

#[rstest]
#[case::pull(SummaryAsk::Pull { known: None }, "010000000000")]
#[case::pull_again(
    SummaryAsk::Pull { known: Some(Version { life: 1, build: 2, changes: 3 }) },
    "010000000001010000000000000002000000000000000300000000000000"
)]
#[case::part(SummaryAsk::Part(Want { life: 1, build: 2, part: 3 }), "01010000000100000000000000020000000000000003000000")]
#[case::changed(SummaryAsk::Changed, "0102000000")]
fn golden_bytes_of_questions(#[case] ask: SummaryAsk, #[case] expect: &str) {
    assert_eq!(hex(&ask.encode().unwrap()), expect);
    assert_eq!(SummaryAsk::decode(&ask.encode().unwrap()).unwrap(), ask);
}

#[test]
fn golden_bytes_of_answers() {
    let shape = Shape {
        form: FORM,
        size: 13,
        open: vec![7],
        is_open: false,
        ranges: vec![Reach { path: 8, least: [1; 8], greatest: [2; 8] }],
        knows_all_ranges: true,
    };
    let first =
        SummaryAnswer::First { version: Version { life: 1, build: 2, changes: 3 }, shape, bits: vec![9] };
    let table = [
        (SummaryAnswer::Same, "0100000000"),
        (
            first,
            "0101000000 010000000000000002000000000000000300000000000000 01 0d 010000000000000007000000 00 \
             0100000000000000 08000000 0101010101010101 0202020202020202 01 010000000000000009",
        ),
        (SummaryAnswer::Part(vec![9]), "0102000000 010000000000000009"),
        (SummaryAnswer::Gone, "0103000000"),
        (SummaryAnswer::None, "0104000000"),
        (SummaryAnswer::Noted, "0105000000"),
    ];
    for (answer, expect) in table {
        let bytes = answer.encode().unwrap();
        assert_eq!(hex(&bytes), expect.replace(' ', ""), "{answer:?}");
        assert_eq!(SummaryAnswer::decode(&bytes).unwrap(), answer);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&[crate::codec::VERSION][..], &bytes].concat();
        if let Ok(SummaryAnswer::First { shape, bits, .. }) = SummaryAnswer::decode(&framed) {
            // A size that is claimed takes no memory.
            if let Ok(assembly) = Assembly::begin(&shape, &bits) {
                prop_assert!(assembly.summary.bits.bytes() <= bytes.len());
            }
        }
        if let Ok(ask) = SummaryAsk::decode(&framed) {
            prop_assert!(ask.encode().is_ok());
        }
    }
}
