//! Tests of `filter`.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// Parses a filter that must be legal.
pub(super) fn filter(text: &str) -> Filter {
    Filter::parse_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether a filter that must be legal matches a document.
pub(super) fn matches(text: &str, document: &str) -> bool {
    let document = Document::from_json(document.as_bytes()).unwrap();
    filter(text).matches(document.root()).unwrap()
}

fn refusal(text: &str) -> FilterError {
    match Filter::parse_json(text.as_bytes()) {
        Ok(_) => panic!("{text} is accepted"),
        Err(error) => error,
    }
}

#[rstest]
#[case(r#"{}"#, "{}")]
#[case(r#"{"a.b":null}"#, "{}")]
#[case(r#"{"a.b":null}"#, r#"{"a":null}"#)]
#[case(r#"{"a.b":null}"#, r#"{"a":5}"#)]
#[case(r#"{"a.b":null}"#, r#"{"a":[1,{}]}"#)]
#[case(r#"{"a.b":1}"#, r#"{"a":[{"b":2},{"b":[0,1]}]}"#)]
#[case(r#"{"a.0.b":1}"#, r#"{"a":[[{"b":1}]]}"#)]
#[case(r#"{"a.0":"x"}"#, r#"{"a":["x"]}"#)]
#[case(r#"{"a.0":"x"}"#, r#"{"a":{"0":"x"}}"#)]
#[case(r#"{"a.0":"x"}"#, r#"{"a":[{"0":"x"}]}"#)]
#[case(r#"{"a.0":["p","q"]}"#, r#"{"a":[["p","q"]]}"#)]
#[case(r#"{"a.0":{"$size":2}}"#, r#"{"a":[["p","q"]]}"#)]
#[case(r#"{"a.0.0":"p"}"#, r#"{"a":[["p","q"]]}"#)]
#[case(r#"{"":1}"#, r#"{"":1}"#)]
#[case(r#"{"a..b":1}"#, r#"{"a":{"":{"b":1}}}"#)]
#[case(r#"{"a":["sample"]}"#, r#"{"a":[1,["sample"]]}"#)]
#[case(r#"{"a":{"x":1,"$gt":2}}"#, r#"{"a":{"x":1,"$gt":2}}"#)]
#[case(r#"{"a":{"$ref":"x","$id":1}}"#, r#"{"a":{"$ref":"x","$id":1}}"#)]
#[case(r#"{"a":{"$eq":{"$gt":1}}}"#, r#"{"a":{"$gt":1}}"#)]
#[case(r#"{"a":{"$gt":1,"$lt":3}}"#, r#"{"a":[0,5]}"#)]
#[case(r#"{"a":{"$gte":null}}"#, r#"{}"#)]
#[case(r#"{"a":{"$gt":"1.0"}}"#, r#"{"a":"1.10"}"#)]
#[case(r#"{"a":{"$gt":[1]}}"#, r#"{"a":[1,0]}"#)]
#[case(r#"{"a":{"$in":[1.0,"x",null]}}"#, r#"{"a":[7,1]}"#)]
#[case(r#"{"a":{"$in":[1,{"b":[2]}]}}"#, r#"{"a":{"b":[2.0]}}"#)]
#[case(r#"{"a":{"$nin":[]}}"#, r#"{"a":1}"#)]
#[case(r#"{"a":{"$exists":[]}}"#, r#"{"a":null}"#)]
#[case(r#"{"a":{"$exists":0.0}}"#, r#"{}"#)]
#[case(r#"{"a":{"$type":["int","array"]}}"#, r#"{"a":[2147483648]}"#)]
#[case(r#"{"a":{"$type":18}}"#, r#"{"a":2147483648}"#)]
#[case(r#"{"a":{"$size":2.0}}"#, r#"{"a":[1,2]}"#)]
#[case(r#"{"a":{"$mod":[3,-2]}}"#, r#"{"a":-5.9}"#)]
#[case(r#"{"a":{"$mod":[-1,0]}}"#, r#"{"a":-9223372036854775808}"#)]
#[case(r#"{"a":{"$bitsAllSet":[1,200]}}"#, r#"{"a":-2}"#)]
#[case(r#"{"a":{"$bitsAnyClear":5}}"#, r#"{"a":4.0}"#)]
#[case(r#"{"a":{"$all":[1,[2]]}}"#, r#"{"a":[1,[2]]}"#)]
#[case(r#"{"a":{"$all":[{"$elemMatch":{"x":1}},{"$elemMatch":{"$exists":true}}]}}"#, r#"{"a":[{"x":1}]}"#)]
#[case(r#"{"a":{"$elemMatch":{"0":1}}}"#, r#"{"a":[[1]]}"#)]
#[case(r#"{"a":{"$elemMatch":{}}}"#, r#"{"a":[[]]}"#)]
#[case(r#"{"a":{"$elemMatch":{"$size":1}}}"#, r#"{"a":[[5]]}"#)]
#[case(r#"{"a":{"$elemMatch":{"$ne":1}}}"#, r#"{"a":[1,2]}"#)]
#[case(r#"{"a":{"$not":{"$regex":"^x","$options":"i"}}}"#, r#"{"a":"y"}"#)]
#[case(r#"{"a":{"$not":{"$not":{"$gt":1}}}}"#, r#"{"a":2}"#)]
#[case(r#"{"$nor":[{"a":1},{"$alwaysFalse":1}]}"#, r#"{"a":2}"#)]
#[case(r#"{"$or":[{"$alwaysTrue":1.0}],"$comment":{"any":1}}"#, "[]")]
fn a_document_that_satisfies_the_filter_is_found(#[case] filter: &str, #[case] document: &str) {
    assert!(matches(filter, document));
}

#[rstest]
#[case(r#"{"a.b":null}"#, r#"{"a":[]}"#)]
#[case(r#"{"a.b":null}"#, r#"{"a":[1,[]]}"#)]
#[case(r#"{"a.0":null}"#, r#"{"a":[]}"#)]
#[case(r#"{"a.b":1}"#, r#"{"a":[[{"b":1}]]}"#)]
#[case(r#"{"a.0":"p"}"#, r#"{"a":[["p","q"]]}"#)]
#[case(r#"{"a.00":1}"#, r#"{"a":[1]}"#)]
#[case(r#"{"a":["sample"]}"#, r#"{"a":["sample","x"]}"#)]
#[case(r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#)]
#[case(r#"{"a":9007199254740992.0}"#, r#"{"a":9007199254740993}"#)]
#[case(r#"{"a":{"$gte":0}}"#, r#"{"a":"1"}"#)]
#[case(r#"{"a":{"$lt":null}}"#, r#"{"a":null}"#)]
#[case(r#"{"a":{"$lt":true}}"#, r#"{"a":0}"#)]
#[case(r#"{"a":{"$in":[]}}"#, r#"{"a":1}"#)]
#[case(r#"{"a":{"$nin":[null]}}"#, r#"{}"#)]
#[case(r#"{"a":{"$all":[]}}"#, r#"{"a":[]}"#)]
#[case(r#"{"a":{"$type":"null"}}"#, r#"{}"#)]
#[case(r#"{"a":{"$type":"date"}}"#, r#"{"a":"2024-01-01T00:00:00Z"}"#)]
#[case(r#"{"a":{"$size":1e300}}"#, r#"{"a":[1]}"#)]
#[case(r#"{"a":{"$mod":[2,0]}}"#, r#"{"a":1e19}"#)]
#[case(r#"{"a":{"$bitsAllSet":1}}"#, r#"{"a":1.5}"#)]
#[case(r#"{"a":{"$elemMatch":{"$gt":1}}}"#, r#"{"a":[[5]]}"#)]
#[case(r#"{"a":{"$elemMatch":{}}}"#, r#"{"a":[1,null]}"#)]
#[case(r#"{"a":{"$elemMatch":{"$exists":false}}}"#, r#"{"a":[1]}"#)]
#[case(r#"{"a":{"$elemMatch":{"$gt":1,"$lt":3}}}"#, r#"{"a":[0,5]}"#)]
#[case(r#"{"a":{"$regex":"é"}}"#, r#"{"a":"e\u0301"}"#)]
#[case(r#"{"a":{"$regex":"1"}}"#, r#"{"a":1}"#)]
fn a_document_that_does_not_is_not_found(#[case] filter: &str, #[case] document: &str) {
    assert!(!matches(filter, document));
}

#[rstest]
#[case(r#"{"$eq":1}"#, "$eq: unknown operator")]
#[case(r#"{"$AND":[{}]}"#, "$AND: unknown operator")]
#[case(r#"{"$not":{"a":1}}"#, "$not: unknown operator")]
#[case(r#"{"a":{"$gt":1,"$foo":2}}"#, "$foo at a: unknown operator")]
#[case(r#"{"a":{"$or":[{"$gt":1}]}}"#, "$or at a: unknown operator")]
#[case(r#"{"a":{"$elemMatch":{"$foo":1}}}"#, "$foo at a: unknown operator")]
#[case(r#"{"a":{"$not":{"$regexp":"x"}}}"#, "$regexp at a: unknown operator")]
#[case(r#"{"a":{"$date":"2024-01-01"}}"#, "$date at a: unknown operator")]
#[case(r#"{"$expr":{"$foo":1}}"#, "$foo at $expr: unknown operator")]
#[case(r#"{"$where":"1"}"#, "$where: this operator is not supported here")]
#[case(r#"{"a":{"$where":"1"}}"#, "$where at a: this operator is not supported here")]
#[case(r#"{"$text":{}}"#, "$text: this operator is not supported here")]
#[case(r#"{"$jsonSchema":{}}"#, "$jsonSchema: this operator is not supported here")]
#[case(r#"{"$sampleRate":0.5}"#, "$sampleRate: this operator is not supported here")]
#[case(r#"{"$_internalX":1}"#, "$_internalX: this operator is not supported here")]
#[case(r#"{"a":{"$near":[0,0]}}"#, "$near at a: this operator is not supported here")]
#[case(r#"{"a":{"$nearSphere":1}}"#, "$nearSphere at a: this operator is not supported here")]
#[case(r#"{"a":{"$geoWithin":{}}}"#, "$geoWithin at a: this operator is not supported here")]
#[case(r#"{"a":{"$geoIntersects":{}}}"#, "$geoIntersects at a: this operator is not supported here")]
#[case(r#"{"$expr":{"$function":{}}}"#, "$function at $expr: this operator is not supported here")]
#[case(r#"{"$expr":{"$accumulator":{}}}"#, "$accumulator at $expr: this operator is not supported here")]
#[case(r#"{"$expr":{"$lt":[{"$rand":{}},1]}}"#, "$rand at $expr: this operator is not supported here")]
#[case(r#"{"$expr":{"$meta":"x"}}"#, "$meta at $expr: this operator is not supported here")]
fn an_operator_that_is_unknown_or_refused_is_named(#[case] filter: &str, #[case] sentence: &str) {
    let error = refusal(filter);
    assert_eq!(error.code(), "unsupported_operator");
    assert_eq!(error.to_string(), sentence);
}

#[rstest]
#[case("5", "the filter: expected an object")]
#[case("[]", "the filter: expected an object")]
#[case(r#"{"$and":[]}"#, "$and: expected a list of at least one object")]
#[case(r#"{"$or":{"a":1}}"#, "$or: expected a list of at least one object")]
#[case(r#"{"$nor":[1]}"#, "$nor: expected a list of objects")]
#[case(r#"{"$alwaysTrue":2}"#, "$alwaysTrue: expected the number 1")]
#[case(r#"{"a":{"$gt":1,"b":2}}"#, "b at a: a plain key may not stand beside operators")]
#[case(r#"{"a":{"$in":5}}"#, "$in at a: expected a list")]
#[case(r#"{"a":{"$nin":[{"$gt":1}]}}"#, "$nin at a: a member may not be an operator")]
#[case(r#"{"a":{"$all":null}}"#, "$all at a: expected a list")]
#[case(r#"{"a":{"$all":[1,{"$in":[2]}]}}"#, "$all at a: $in may not stand in a member")]
#[case(
    r#"{"a":{"$all":[{"$elemMatch":{"x":1}},1]}}"#,
    "$all at a: expected $elemMatch in every member or in none"
)]
#[case(r#"{"a":{"$elemMatch":1}}"#, "$elemMatch at a: expected an object")]
#[case(r#"{"a":{"$all":[{"$elemMatch":1}]}}"#, "$all at a: expected an object")]
#[case(r#"{"a":{"$elemMatch":{"$expr":1}}}"#, "$expr: it may not stand inside $elemMatch")]
#[case(r#"{"asset_tags":{"$size":2.5}}"#, "$size at asset_tags: expected a whole number")]
#[case(r#"{"a":{"$size":"1"}}"#, "$size at a: expected a whole number")]
#[case(r#"{"a":{"$size":-1}}"#, "$size at a: expected a number that is not negative")]
#[case(r#"{"a":{"$size":-1.0}}"#, "$size at a: expected a number that is not negative")]
#[case(r#"{"a":{"$mod":[2]}}"#, "$mod at a: expected a list of divisor and remainder, two numbers")]
#[case(r#"{"a":{"$mod":[0.5,0]}}"#, "$mod at a: the divisor must not be 0")]
#[case(r#"{"a":{"$mod":[1e19,0]}}"#, "$mod at a: divisor and remainder must fit 64 bits")]
#[case(r#"{"a":{"$type":"str"}}"#, "$type at a: unknown type \"str\"")]
#[case(r#"{"a":{"$type":0}}"#, "$type at a: unknown type code 0")]
#[case(r#"{"a":{"$type":[]}}"#, "$type at a: expected at least one type")]
#[case(r#"{"a":{"$type":[true]}}"#, "$type at a: expected the name or code of a type, or a list of them")]
#[case(
    r#"{"a":{"$bitsAllSet":-1}}"#,
    "$bitsAllSet at a: expected a whole number or a list of bit positions, not negative"
)]
#[case(
    r#"{"a":{"$bitsAnySet":[1.5]}}"#,
    "$bitsAnySet at a: expected a whole number or a list of bit positions, not negative"
)]
#[case(r#"{"a":{"$not":{}}}"#, "$not at a: expected an object of operators")]
#[case(r#"{"a":{"$not":"x"}}"#, "$not at a: expected an object of operators")]
#[case(r#"{"a":{"$not":{"b":1}}}"#, "b at a: a plain key may not stand beside operators")]
#[case(r#"{"a":{"$options":"i"}}"#, "$options at a: expected a $regex beside it")]
#[case(r#"{"a":{"$regex":1}}"#, "$regex at a: expected a string")]
#[case(r#"{"a":{"$regex":"x","$options":1}}"#, "$regex at a: expected a string as $options")]
#[case(r#"{"a":{"$regex":"x","$options":"g"}}"#, "$regex at a: unknown flag 'g' in $options")]
#[case(r#"{"a":{"$regex":"a\u0000"}}"#, "$regex at a: the pattern holds a NUL character")]
#[case(r#"{"a":{"$regex":"(*NO_JIT)a"}}"#, "$regex at a: (*NO_JIT) may not begin the pattern")]
#[case(
    r#"{"a":{"$regex":"(*UCP)(*LIMIT_MATCH=9)a"}}"#,
    "$regex at a: (*LIMIT_MATCH) may not begin the pattern"
)]
#[case(
    r#"{"a":{"$regex":"[a"}}"#,
    "$regex at a: the pattern does not compile: missing terminating ] for character class"
)]
#[case(r#"{"a":1"#, "the filter cannot be read: line 1 column 7: the text ends too early")]
#[case(
    r#"{"a":99999999999999999999}"#,
    "the filter cannot be read: line 1 column 26: the integer does not fit 64 bits"
)]
fn a_bad_operand_is_refused_with_operator_and_path(#[case] filter: &str, #[case] sentence: &str) {
    let error = refusal(filter);
    assert_eq!(error.code(), "bad_filter");
    assert_eq!(error.to_string(), sentence);
}

/// `{"$and":[{"$and":[ ... {} ... ]}]}` of so many levels.
fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{{}}{}", open.repeat(levels), close.repeat(levels))
}

#[rstest]
#[case("{\"$and\":[", "]}", 2)]
#[case("{\"a\":", "}", 1)]
#[case("{\"a\":{\"$elemMatch\":", "}}", 2)]
#[case("{\"$nor\":[{\"$or\":[", "]}]}", 4)]
fn a_filter_of_a_hundred_levels_works_and_one_of_200_is_refused(
    #[case] open: &str,
    #[case] close: &str,
    #[case] each: usize,
) {
    let text = nested(open, close, 99 / each);
    let filter = filter(&text);
    assert!(filter.matches(ValueRef::Null).is_ok());
    assert!(Filter::parse(&serde_json::from_str(&text).unwrap()).is_ok());
    for levels in [201 / each, 1_000_000 / each] {
        let error = refusal(&nested(open, close, levels));
        assert_eq!(error.code(), "filter_too_large", "{error}");
    }
}

#[test]
fn a_tree_of_200_levels_is_refused_as_well() {
    let mut value = json!({});
    for _ in 0..200 {
        value = json!({ "a": value });
    }
    let error = Filter::parse(&value).unwrap_err();
    assert_eq!(error.code(), "filter_too_large");
}

#[test]
fn the_deepest_not_and_expression_are_evaluated() {
    let not = format!("{{\"a\":{}1{}}}", "{\"$not\":".repeat(126), "}".repeat(126));
    let not = not.replacen("{\"$not\":1}", "{\"$gt\":1}", 1);
    assert!(matches(&not, r#"{"a":1}"#) && !matches(&not, r#"{"a":2}"#));
    let expr = format!("{{\"$expr\":{}true{}}}", "{\"$not\":[".repeat(63), "]}".repeat(63));
    assert!(!matches(&expr, "{}"));
}

#[test]
fn lists_of_ten_thousand_are_fast_and_a_million_is_refused() {
    let list = |members: usize| {
        let members: Vec<String> = (0..members).map(|n| format!("\"k{n}\"")).collect();
        format!(r#"{{"a":{{"$in":[{}]}}}}"#, members.join(","))
    };
    assert!(matches(&list(LIST_MAX), r#"{"a":"k9999"}"#));
    let error = refusal(&list(1_000_000));
    assert_eq!(error.code(), "filter_too_large");
    let sentence = "the filter is too large: $in at a has more than 10000 members";
    assert_eq!(error.to_string(), sentence);
    let all = list(LIST_MAX + 1).replace("$in", "$all");
    assert_eq!(refusal(&all).code(), "filter_too_large");
}

#[rstest]
#[case(format!(r#"{{"$or":[{}{{}}]}}"#, "{\"a\":1},".repeat(5_000)))]
#[case(format!(r#"{{"$expr":{{"$and":[{}1]}}}}"#, "\"$a\",".repeat(10_000)))]
#[case(format!(r#"{{"$or":[{}{{}}]}}"#, "{\"a\":{\"$regex\":\"x\"}},".repeat(101)))]
#[case(format!(r#"{{"a":{{"$regex":"{}"}}}}"#, "x".repeat(32_765)))]
#[case(format!(r#"{{"a{}":1}}"#, ".a".repeat(200)))]
#[case(format!(r#"{{"$expr":"$a{}"}}"#, ".a".repeat(200)))]
fn what_exceeds_a_limit_is_refused(#[case] filter: String) {
    let error = refusal(&filter);
    assert_eq!(error.code(), "filter_too_large", "{error}");
}

#[test]
fn positions_that_are_keys_as_well_do_not_double_for_ever() {
    let mut document = String::from("1");
    for _ in 0..49 {
        document = format!(r#"{{"0":[{document}]}}"#);
    }
    let document = Document::from_json(document.as_bytes()).unwrap();
    let path = vec!["0"; 90].join(".");
    let filter = filter(&format!(r#"{{"{path}":"never"}}"#));
    let error = filter.matches(document.root()).unwrap_err();
    assert_eq!(error.code(), "filter_too_costly");
    let sentence = "a path with positions costs too much on one of the documents";
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_filter_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let filter = filter(r#"{"a":{"$regex":"x"},"$expr":{"$regexMatch":{"input":"$a","regex":"$b"}}}"#);
    shared(&filter);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let document = Document::from_json(br#"{"a":"xy","b":"Y|y"}"#).unwrap();
                assert!(filter.matches(document.root()).unwrap());
            });
        }
    });
}

#[test]
fn a_parsed_tree_and_its_text_are_one_filter() {
    let value: Value = json!({"a": {"$in": [1, "x"]}, "b.c": {"$gt": 1.5}});
    let (tree, text) = (Filter::parse(&value).unwrap(), filter(&value.to_string()));
    assert_eq!(tree.need(), text.need());
}
