//! Tests of `document`.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn doc(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap()
}

/// The reason why a text is refused, with line and column.
fn refusal(text: &[u8]) -> String {
    Document::from_json(text).unwrap_err().to_string()
}

#[rstest]
#[case("null")]
#[case("true")]
#[case("-9223372036854775808")]
#[case("9223372036854775807")]
#[case("[0,1,-1,127,128,-128,-129,2147483647,2147483648,-2147483649]")]
#[case("[1.0,-0.0,0.1,5e-324,1.7976931348623157e308,1e16]")]
#[case(r#"{"b":1,"a":{"":[[],{}]},"é":"日本𝄞","\u0000":"\u0001\"\\"}"#)]
fn a_value_prints_as_it_was_written(#[case] text: &str) {
    let document = doc(text);
    let expected: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document.to_value().to_string(), expected.to_string());
    assert_eq!(document.to_json(), expected.to_string());
    assert_eq!(Document::from_value(&expected).unwrap(), document);
    assert_eq!(Document::from_bytes(document.as_bytes()).unwrap(), document);
}

#[test]
fn integers_stay_integers_and_minus_zero_is_one() {
    assert!(matches!(doc("-0").root(), ValueRef::Int(0)));
    assert!(matches!(doc("-0.0").root(), ValueRef::Double(_)));
    assert!(matches!(doc("1e0").root(), ValueRef::Double(_)));
    assert!(matches!(doc("100000000000").root(), ValueRef::Int(_)));
}

#[test]
fn a_repeated_key_keeps_its_first_position_and_its_last_value() {
    let text = r#"{"a":1,"b":{"x":1,"x":[2]},"a":3,"c":4,"b":5}"#;
    assert_eq!(doc(text).to_json(), r#"{"a":3,"b":5,"c":4}"#);
    let many: String = (0..100).map(|n| format!("\"k{}\":{n},", n % 40)).collect();
    let document = doc(&format!("{{{many}\"k7\":\"last\"}}"));
    let object = document.root().as_object().unwrap();
    assert_eq!(object.len(), 40);
    assert_eq!(object.iter().nth(7).unwrap().0, "k7");
    assert_eq!(object.get("k7").unwrap().as_str(), Some("last"));
    assert!(matches!(object.get("k39"), Some(ValueRef::Int(79))));
}

#[rstest]
#[case("", "line 1 column 1: the text ends too early")]
#[case("[1,", "line 1 column 4: the text ends too early")]
#[case("{\n \"é\": tru}", "line 2 column 7: expected a value")]
#[case("{a:1}", "line 1 column 2: expected a key in double quotes")]
#[case("{\"a\" 1}", "line 1 column 6: expected `:` after the key")]
#[case("[1 2]", "line 1 column 4: expected `,` or the closing bracket")]
#[case("[1,]", "line 1 column 4: expected a value")]
#[case("{} x", "line 1 column 4: unexpected text after the value")]
#[case("01", "line 1 column 2: unexpected text after the value")]
#[case("-", "line 1 column 2: malformed number")]
#[case("1.", "line 1 column 3: malformed number")]
#[case("1e+", "line 1 column 4: malformed number")]
#[case("NaN", "line 1 column 1: expected a value")]
#[case("-Infinity", "line 1 column 2: malformed number")]
#[case("1e400", "line 1 column 6: the number is too large")]
#[case("9223372036854775808", "line 1 column 20: the integer does not fit 64 bits")]
#[case("-9223372036854775809", "line 1 column 21: the integer does not fit 64 bits")]
#[case("\"\u{1}\"", "line 1 column 2: a control character in a string must be escaped")]
#[case(r#""\x""#, "line 1 column 3: unknown escape sequence")]
#[case(r#""\ud800""#, "line 1 column 8: half of a surrogate pair")]
#[case(r#""\ud800\u0041""#, "line 1 column 14: half of a surrogate pair")]
#[case(r#""\udc00""#, "line 1 column 8: half of a surrogate pair")]
#[case("'a'", "line 1 column 1: expected a value")]
fn a_text_that_is_not_json_is_refused_with_its_place(#[case] text: &str, #[case] sentence: &str) {
    assert_eq!(refusal(text.as_bytes()), sentence);
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_eq!(refusal(b"[\"\xff\"]"), "line 1 column 3: the text is not UTF-8");
    assert_eq!(doc(r#""\ud834\udd1e""#).root().as_str(), Some("𝄞"));
}

#[test]
fn a_hundred_levels_are_taken_and_more_are_refused_whatever_their_number() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Document::from_json(nested(DEPTH_MAX).as_bytes()).is_ok());
    for levels in [DEPTH_MAX + 1, 1_000_000] {
        let error = Document::from_json(nested(levels).as_bytes()).unwrap_err();
        assert_eq!(error.fault(), JsonFault::TooDeep(DEPTH_MAX));
    }
    let mut value = json!(1);
    for _ in 0..DEPTH_MAX {
        value = json!({ "k": value });
    }
    assert!(Document::from_value(&value).is_ok());
    let error = Document::from_value(&json!({ "a": [value] })).unwrap_err();
    assert!(error.to_string().starts_with("a.k.k"), "{error}");
}

#[test]
fn a_tree_with_an_integer_beyond_64_bits_names_the_member() {
    let error = Document::from_value(&json!({"a": {"b": [u64::MAX]}})).unwrap_err();
    let sentence = "a.b: the integer does not fit 64 bits";
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn members_and_elements_are_found_in_place() {
    let document = doc(r#"{"a":[10,"x",null],"b":{"c":true},"":0}"#);
    let object = document.root().as_object().unwrap();
    let array = object.get("a").unwrap().as_array().unwrap();
    assert_eq!((array.len(), object.len()), (3, 3));
    assert_eq!(array.get(1).unwrap().as_str(), Some("x"));
    assert!(array.get(3).is_none());
    assert!(object.get("").is_some());
    assert!(object.get("c").is_none());
    let keys: Vec<_> = object.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", ""]);
}

#[test]
fn keys_and_strings_of_any_length_are_found() {
    for length in [0, 1, 254, 255, 256, 70_000] {
        let text = "k".repeat(length);
        let document = doc(&format!(r#"{{"x":1,"{text}":"{text}"}}"#));
        let object = document.root().as_object().unwrap();
        assert_eq!(object.get(&text).unwrap().as_str(), Some(&*text));
        assert!(Document::from_bytes(document.as_bytes()).is_ok());
    }
}

#[rstest]
#[case("1", "1.0", "=")]
#[case("-0.0", "0", "=")]
#[case("9007199254740993", "9007199254740992.0", ">")]
#[case("9223372036854775807", "9223372036854775807.0", "<")]
#[case("-9223372036854775808", "-9223372036854775808.0", "=")]
#[case("-9223372036854775808", "-9.3e18", ">")]
#[case("2", "2.5", "<")]
#[case("-2", "-2.5", ">")]
#[case("null", "0", "<")]
#[case("1e308", "\"\"", "<")]
#[case(r#""1.10""#, r#""1.9""#, "<")]
#[case(r#""Z""#, r#""a""#, "<")]
#[case(r#""\uffee""#, r#""\ud834\udd1e""#, "<")]
#[case(r#""z""#, "{}", "<")]
#[case(r#"{"b":1}"#, "[]", "<")]
#[case("[9]", "false", "<")]
#[case("false", "true", "<")]
#[case(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, "<")]
#[case(r#"{"a":"x"}"#, r#"{"b":1}"#, ">")]
#[case(r#"{"a":1}"#, r#"{"a":1.0,"b":null}"#, "<")]
#[case("[1,2]", "[1.0,2.0]", "=")]
#[case("[1]", "[1,null]", "<")]
#[case("[[]]", "[1]", ">")]
fn values_compare_in_the_total_order(#[case] a: &str, #[case] b: &str, #[case] order: &str) {
    let (a, b) = (doc(a), doc(b));
    let order = match order {
        "<" => std::cmp::Ordering::Less,
        "=" => std::cmp::Ordering::Equal,
        _ => std::cmp::Ordering::Greater,
    };
    assert_eq!(a.root().cmp_total(&b.root()), order);
    assert_eq!(b.root().cmp_total(&a.root()), order.reverse());
    assert_eq!(a.root().eq_total(&b.root()), order.is_eq());
}

#[rstest]
#[case(&[], Malformed::Structure)]
#[case(&[11], Malformed::Structure)]
#[case(&[0, 0], Malformed::Trailing)]
#[case(&[5, 1, 0, 0, 0, 0, 0, 0, 0], Malformed::NotCanonical)]
#[case(&[4, 1, 0, 0, 0], Malformed::NotCanonical)]
#[case(&[6, 0, 0, 0, 0, 0, 0, 0xF0, 0x7F], Malformed::NotCanonical)]
#[case(&[7, 1, 0xFF], Malformed::Utf8)]
#[case(&[7, 2, b'a'], Malformed::Structure)]
#[case(&[8, 1, 0, 0, 0, b'a'], Malformed::NotCanonical)]
#[case(&[9, 3, 0, 0, 0, 0, 1, 0xFF], Malformed::Utf8)]
#[case(&[9, 6, 0, 0, 0, 0, 1, b'a', 0, 1, b'a'], Malformed::RepeatedKey)]
#[case(&[9, 7, 0, 0, 0, 0, 255, 1, 0, 0, 0, b'a'], Malformed::NotCanonical)]
#[case(&[10, 255, 255, 255, 255], Malformed::Structure)]
fn bytes_that_are_no_document_are_refused(#[case] bytes: &[u8], #[case] reason: Malformed) {
    assert_eq!(Document::from_bytes(bytes), Err(reason));
}

#[test]
fn bytes_nested_too_deep_are_refused_and_read_without_harm() {
    let mut bytes = vec![0];
    for _ in 0..20_000 {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes.splice(0..0, [&[10], &length[..]].concat());
    }
    assert_eq!(Document::from_bytes(&*bytes), Err(Malformed::TooDeep));
    let value = ValueRef::from_stored(&bytes);
    assert!(value.cmp_total(&value).is_eq());
    let mut out = Vec::new();
    value.write_json(&mut out);
    assert!(out.len() < 1000);
}

#[test]
fn builders_put_documents_together() {
    let mut tags = ArrayBuilder::new();
    tags.push("gpu");
    tags.push(7_i64);
    let mut object = ObjectBuilder::new();
    object.push("a", ValueRef::Null);
    object.push("tags", &tags.finish());
    object.push("a", true);
    let document = object.finish();
    assert_eq!(document.to_json(), r#"{"a":true,"tags":["gpu",7]}"#);
    assert!(Document::from_bytes(document.into_bytes()).is_ok());
}

#[rstest]
#[case("a", r#"{"a":9,"b":{"c":[1,{"d":2}]}}"#)]
#[case("z", r#"{"a":1,"b":{"c":[1,{"d":2}]},"z":9}"#)]
#[case("b.x.y", r#"{"a":1,"b":{"c":[1,{"d":2}],"x":{"y":9}}}"#)]
#[case("b.c.0", r#"{"a":1,"b":{"c":[9,{"d":2}]}}"#)]
#[case("b.c.1.e", r#"{"a":1,"b":{"c":[1,{"d":2,"e":9}]}}"#)]
#[case("b.c.3", r#"{"a":1,"b":{"c":[1,{"d":2},null,9]}}"#)]
#[case("n.0", r#"{"a":1,"b":{"c":[1,{"d":2}]},"n":{"0":9}}"#)]
fn a_value_is_set_at_a_path(#[case] path: &str, #[case] expected: &str) {
    let document = doc(r#"{"a":1,"b":{"c":[1,{"d":2}]}}"#);
    let changed = set_path(&document, path, ValueRef::Int(9)).unwrap();
    assert_eq!(changed.to_json(), expected);
    assert!(Document::from_bytes(changed.as_bytes()).is_ok());
}

#[rstest]
#[case("a.b", "`a` is not an object")]
#[case("n.x", "`n` is not an object")]
#[case("b.x", "`b` is an array, and the next component is not a position in it")]
#[case("b.01", "`b` is an array, and the next component is not a position in it")]
#[case("b.0.x", "`b.0` is not an object")]
#[case("b.1502", "more than 1500 elements would have to be made up")]
#[case("", "a component is empty or begins with `$`")]
#[case("a..b", "a component is empty or begins with `$`")]
#[case("a.$set", "a component is empty or begins with `$`")]
fn a_path_that_cannot_be_set_is_named(#[case] path: &str, #[case] sentence: &str) {
    let document = doc(r#"{"a":1,"b":[1],"n":null}"#);
    let error = set_path(&document, path, ValueRef::Int(9)).unwrap_err();
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_path_may_not_nest_a_document_too_deep() {
    let value = doc(&format!("{}{}", "[".repeat(60), "]".repeat(60)));
    let path = |levels: usize| vec!["k"; levels].join(".");
    let empty = ObjectBuilder::new().finish();
    let deepest = set_path(&empty, &path(40), value.root()).unwrap();
    assert!(Document::from_bytes(deepest.as_bytes()).is_ok());
    let error = set_path(&empty, &path(41), value.root()).unwrap_err();
    assert!(matches!(error, SetPathError::TooDeep { .. }));
}

#[test]
fn the_end_of_an_array_may_be_padded_up_to_the_bound() {
    let document = doc(r#"{"b":[1]}"#);
    let padded = set_path(&document, "b.1501", ValueRef::Int(9)).unwrap();
    let padded = padded.root().as_object().unwrap().get("b").unwrap();
    assert_eq!(padded.as_array().unwrap().len(), 1502);
}

/// Any JSON value, with keys and scalars that meet often.
fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-300_i64..300).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ab\u{0}\u{1}é]{0,3}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_value_comes_back_unchanged(value in any_value()) {
        let document = Document::from_value(&value).unwrap();
        prop_assert_eq!(document.to_value().to_string(), value.to_string());
        let text = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(&Document::from_json(text.as_bytes()).unwrap(), &document);
        prop_assert_eq!(&Document::from_bytes(document.as_bytes()).unwrap(), &document);
        prop_assert_eq!(Document::from(document.root()), document);
    }

    #[test]
    fn the_reader_takes_what_the_common_reader_takes(text in r#"[\[\]{}:,"\\ub0-9eE+.\-tnl ]{0,12}"#) {
        let common = serde_json::from_str::<Value>(&text);
        match (Document::from_json(text.as_bytes()), common) {
            (Ok(document), Ok(value)) => {
                // Integers beyond 64 bits and `-0` are what the readers differ in on purpose.
                let (ours, theirs) = (document.to_json(), value.to_string());
                prop_assert!(ours == theirs || text.contains("-0"), "{text}");
            }
            (Err(error), Ok(_)) => prop_assert_eq!(error.fault(), JsonFault::IntegerRange),
            (Ok(_), Err(error)) => prop_assert!(false, "{text}: {error}"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn damaged_bytes_are_read_without_a_panic(value in any_value(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = Document::from_value(&value).unwrap().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let damaged = ValueRef::from_stored(&bytes);
        let mut out = Vec::new();
        damaged.write_json(&mut out);
        prop_assert!(out.len() < 1_000_000);
        if let Ok(document) = Document::from_bytes(&*bytes) {
            let again = Document::from_json(document.to_json().as_bytes()).unwrap();
            prop_assert!(again.root().eq_total(&document.root()));
        }
    }

    #[test]
    fn the_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
        let (a, b, c) = (Document::from_value(&a).unwrap(), Document::from_value(&b).unwrap(), Document::from_value(&c).unwrap());
        let (a, b, c) = (a.root(), b.root(), c.root());
        prop_assert_eq!(a.cmp_total(&b), b.cmp_total(&a).reverse());
        prop_assert!(a.cmp_total(&a).is_eq());
        if a.cmp_total(&b).is_le() && b.cmp_total(&c).is_le() {
            prop_assert!(a.cmp_total(&c).is_le());
        }
    }
}
