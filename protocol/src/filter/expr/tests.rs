//! Tests of `filter::expr`.

use rstest::rstest;

use crate::document::Document;
use crate::filter::Filter;

const DOCUMENT: &str = r#"{"n":7,"d":2.5,"s":"Héllo","e":"","z":null,"t":true,"o":{"p":{"q":1}},"l":[1,2,3],"m":[{"p":1},{"p":[2]},5,{"x":0}],"big":9223372036854775807}"#;

/// Whether an expression, with `'` for quotes, is true for the document.
fn holds(expression: &str) -> Result<bool, String> {
    let text = format!(r#"{{"$expr":{}}}"#, expression.replace('\'', "\""));
    let filter = Filter::parse_json(text.as_bytes()).map_err(|error| error.to_string())?;
    let document = Document::from_json(DOCUMENT.as_bytes()).unwrap();
    let result = filter.matches(document.root());
    result.map_err(|error| error.to_string())
}

/// Whether an expression has the value that another one has.
fn equals(expression: &str, expected: &str) {
    let compared = format!("{{'$eq':[{expression},{expected}]}}");
    assert_eq!(holds(&compared), Ok(true), "{expression} is not {expected}");
}

#[rstest]
#[case("'$o.p.q'", "1")]
#[case("'$m.p'", "[1,[2]]")]
#[case("'$m.0.p'", "[]")]
#[case("'$l.p'", "[]")]
#[case("'$s.x'", "'$nosuch'")]
#[case("'$$ROOT.n'", "7")]
#[case("'$$CURRENT.n'", "{'$literal':7.0}")]
#[case("[1,'$nosuch',{'a':'$n','b':'$nosuch'}]", "[1,null,{'a':7}]")]
#[case("{'$literal':'$n'}", "{'$concat':[{'$literal':'$'},'n']}")]
#[case("{'$cmp':['$nosuch',null]}", "-1")]
#[case("{'$cmp':['a',5]}", "1")]
#[case("{'$ne':['$nosuch',null]}", "true")]
#[case("{'$and':['$n','$s',{'$gt':['$d',2]}]}", "true")]
#[case("{'$and':[]}", "true")]
#[case("{'$or':['$z',0,false,'$nosuch']}", "false")]
#[case("{'$not':'$z'}", "true")]
#[case("{'$cond':['$t',1,2]}", "1")]
#[case("{'$cond':{'if':'$z','then':1,'else':2}}", "2")]
#[case("{'$ifNull':['$z','$nosuch','x']}", "'x'")]
#[case("{'$ifNull':['$z',null]}", "null")]
#[case("{'$switch':{'branches':[{'case':'$z','then':1}],'default':2}}", "2")]
#[case("{'$let':{'vars':{'a':'$n','b':2},'in':{'$add':['$$a','$$b']}}}", "9")]
#[case("{'$let':{'vars':{'CURRENT':'$o'},'in':'$p.q'}}", "1")]
#[case("{'$map':{'input':'$l','in':{'$multiply':['$$this',2]}}}", "[2,4,6]")]
#[case("{'$map':{'input':'$l','as':'x','in':'$nosuch'}}", "[null,null,null]")]
#[case("{'$map':{'input':'$z','in':1}}", "null")]
#[case("{'$filter':{'input':'$m.p','cond':{'$isArray':'$$this'}}}", "[[2]]")]
#[case(
    "{'$map':{'input':[1,2],'as':'x','in':{'$map':{'input':[3],'as':'y','in':['$$x','$$y']}}}}",
    "[[[1,3]],[[2,3]]]"
)]
fn paths_variables_and_conditions(#[case] expression: &str, #[case] expected: &str) {
    equals(expression, expected);
}

#[rstest]
#[case("{'$add':[1,2,'$d']}", "5.5")]
#[case("{'$add':[]}", "0")]
#[case("{'$add':['$big',1]}", "9223372036854775808.0")]
#[case("{'$subtract':[-9223372036854775807,2]}", "-9223372036854775809.0")]
#[case("{'$multiply':['$big',2]}", "1.8446744073709552e19")]
#[case("{'$multiply':[3,'$nosuch','$s']}", "null")]
#[case("{'$subtract':['$s',null]}", "null")]
#[case("{'$divide':['$n',2]}", "3.5")]
#[case("{'$mod':[-7,5]}", "-2")]
#[case("{'$mod':[-9223372036854775808,-1]}", "0")]
#[case("{'$mod':[-7.5,5]}", "-2.5")]
#[case("{'$abs':-9223372036854775808}", "9223372036854775808.0")]
#[case("{'$abs':[-2.5]}", "2.5")]
#[case("{'$ceil':'$d'}", "3")]
#[case("{'$floor':-2.5}", "-3")]
#[case("{'$trunc':-2.5}", "-2")]
#[case("{'$trunc':'$big'}", "'$big'")]
#[case("{'$sum':'$l'}", "6")]
#[case("{'$sum':['$n','$d','$s']}", "9.5")]
#[case("{'$sum':[0.1,0.2,-0.3]}", "{'$sum':[-0.3,0.2,0.1]}")]
#[case("{'$sum':['$big','$big']}", "1.8446744073709552e19")]
#[case("{'$avg':'$l'}", "2")]
#[case("{'$avg':['$s']}", "null")]
#[case("{'$min':['$n','$z','$d']}", "2.5")]
#[case("{'$max':'$l'}", "3")]
#[case("{'$max':['$z','$nosuch']}", "null")]
fn arithmetic(#[case] expression: &str, #[case] expected: &str) {
    equals(expression, expected);
}

#[rstest]
#[case("{'$concat':['$s','!']}", "'Héllo!'")]
#[case("{'$concat':['$z',5]}", "null")]
#[case("{'$toUpper':'$s'}", "'HéLLO'")]
#[case("{'$toLower':'$nosuch'}", "''")]
#[case("{'$toLower':['$d']}", "'2.5'")]
#[case("{'$strcasecmp':['$s','hÉLLO']}", "1")]
#[case("{'$strcasecmp':['abc','ABC']}", "0")]
#[case("{'$strLenCP':'$s'}", "5")]
#[case("{'$strLenBytes':'$s'}", "6")]
#[case("{'$substrCP':['$s',1,2]}", "'él'")]
#[case("{'$substrCP':['$s',4,9]}", "'o'")]
#[case("{'$substrCP':['$z',0,1]}", "''")]
#[case("{'$indexOfCP':['$s','l']}", "2")]
#[case("{'$indexOfCP':['$s','l',3,5]}", "3")]
#[case("{'$indexOfCP':['$s','H',1]}", "-1")]
#[case("{'$indexOfCP':['$s','',9]}", "-1")]
#[case("{'$indexOfCP':['$z','l']}", "null")]
#[case("{'$split':['a.b.','.']}", "['a','b','']")]
#[case("{'$split':['$z','.']}", "null")]
#[case("{'$regexMatch':{'input':'$s','regex':'^h','options':'i'}}", "true")]
#[case("{'$regexMatch':{'input':'$z','regex':'^h'}}", "false")]
#[case("{'$regexMatch':{'input':'$s','regex':'$s'}}", "true")]
#[case("{'$regexMatch':{'input':'$s','regex':'$z'}}", "false")]
fn strings(#[case] expression: &str, #[case] expected: &str) {
    equals(expression, expected);
}

#[rstest]
#[case("{'$size':'$l'}", "3")]
#[case("{'$size':[[1,2]]}", "2")]
#[case("{'$isArray':['$l']}", "true")]
#[case("{'$isArray':'$s'}", "false")]
#[case("{'$in':[2.0,'$l']}", "true")]
#[case("{'$in':['$n',['a',7]]}", "true")]
#[case("{'$arrayElemAt':['$l',-1]}", "3")]
#[case("{'$arrayElemAt':[['$s','$n'],0]}", "'Héllo'")]
#[case("{'$arrayElemAt':['$l',9]}", "'$nosuch'")]
#[case("{'$arrayElemAt':['$z',0]}", "null")]
#[case("{'$setIsSubset':[[1.0,1],'$l']}", "true")]
#[case("{'$setIsSubset':[[1,4],'$l']}", "false")]
#[case("{'$anyElementTrue':[[0,'$z','']]}", "true")]
#[case("{'$allElementsTrue':['$l']}", "true")]
#[case("{'$allElementsTrue':[[]]}", "true")]
#[case("{'$type':'$nosuch'}", "'missing'")]
#[case("{'$type':['$big']}", "'long'")]
#[case("{'$type':'$m'}", "'array'")]
fn arrays_and_types(#[case] expression: &str, #[case] expected: &str) {
    equals(expression, expected);
}

#[rstest]
#[case("'$'", "the condition on $expr: \"$\" is not a field path: a name is empty or begins with $")]
#[case("'$a..b'", "the condition on $expr: \"$a..b\" is not a field path: a name is empty or begins with $")]
#[case("'$$nope.x'", "the condition on $expr: unknown variable $$nope")]
#[case("{'$let':{'vars':{'a':'$$a'},'in':1}}", "the condition on $expr: unknown variable $$a")]
#[case("{'$eq':[1]}", "$eq at $expr: expected 2 arguments, found 1")]
#[case("{'$abs':[1,2]}", "$abs at $expr: expected 1 argument, found 2")]
#[case("{'$indexOfCP':['a']}", "$indexOfCP at $expr: expected 2 to 4 arguments, found 1")]
#[case("{'$ifNull':[1]}", "$ifNull at $expr: expected at least 2 arguments, found 1")]
#[case("{'$eq':[1,1],'a':2}", "$eq at $expr: it must be the only key of its object")]
#[case("{'$cond':{'if':1,'then':2}}", "$cond at $expr: expected the key \"else\"")]
#[case("{'$switch':{'branches':[]}}", "$switch at $expr: expected a list of branches")]
#[case("{'$switch':{'branches':[{'case':1,'then':2,'x':3}]}}", "$switch at $expr: unknown key \"x\"")]
#[case("{'$let':{'vars':{'A':1},'in':1}}", "$let at $expr: \"A\" is not the name of a variable")]
#[case("{'$map':{'input':[],'as':'','in':1}}", "$map at $expr: \"\" is not the name of a variable")]
#[case("{'$filter':{'input':[],'in':1}}", "$filter at $expr: unknown key \"in\"")]
#[case("{'$regexMatch':{'input':'a'}}", "$regexMatch at $expr: expected the key \"regex\"")]
#[case(
    "{'$regexMatch':{'input':'a','regex':'('}}",
    "$regexMatch: the pattern does not compile: missing closing parenthesis"
)]
#[case("{'$divide':[1,0]}", "$divide in $expr: division by zero")]
#[case("{'$mod':[1,0.0]}", "$mod in $expr: division by zero")]
#[case("{'$add':['$n','$s']}", "$add in $expr: expected numbers only")]
#[case("{'$concat':['$s','$n']}", "$concat in $expr: expected strings only")]
#[case("{'$strLenCP':'$z'}", "$strLenCP in $expr: expected a string")]
#[case("{'$substrCP':['a',-1,1]}", "$substrCP in $expr: expected a whole number that is not negative")]
#[case("{'$split':['a','']}", "$split in $expr: expected a separator that is not empty")]
#[case("{'$size':'$s'}", "$size in $expr: expected an array")]
#[case("{'$in':[1,'$n']}", "$in in $expr: expected an array")]
#[case("{'$map':{'input':'$n','in':1}}", "$map in $expr: expected an array as input")]
#[case("{'$arrayElemAt':['$l',0.5]}", "$arrayElemAt in $expr: expected a whole number as position")]
#[case("{'$anyElementTrue':['$n']}", "$anyElementTrue in $expr: expected an array")]
#[case(
    "{'$switch':{'branches':[{'case':0,'then':1}]}}",
    "$switch in $expr: no branch applies and there is no default"
)]
#[case("{'$regexMatch':{'input':'$n','regex':'a'}}", "$regexMatch in $expr: expected a string as input")]
#[case(
    "{'$regexMatch':{'input':'$s','regex':{'$concat':['(']}}}",
    "$regexMatch in $expr: the pattern does not compile: missing closing parenthesis"
)]
fn a_faulty_expression_names_its_operator(#[case] expression: &str, #[case] sentence: &str) {
    assert_eq!(holds(expression), Err(sentence.to_owned()));
}

#[test]
fn what_is_short_circuited_cannot_fail() {
    let faulty = "{'$divide':[1,0]}";
    assert_eq!(holds(&format!("{{'$or':[1,{faulty}]}}")), Ok(true));
    assert_eq!(holds(&format!("{{'$and':[0,{faulty}]}}")), Ok(false));
    assert_eq!(holds(&format!("{{'$cond':[1,2,{faulty}]}}")), Ok(true));
    assert_eq!(holds(&format!("{{'$ifNull':[1,{faulty}]}}")), Ok(true));
}

#[test]
fn nested_maps_over_a_long_list_are_cut_short() {
    let list = vec!["0"; 2000].join(",");
    let document = Document::from_json(format!(r#"{{"l":[{list}]}}"#).as_bytes()).unwrap();
    let inner = r#"{"$map":{"input":"$l","in":1}}"#;
    let all = format!(r#"{{"$expr":{{"$map":{{"input":"$l","in":{inner}}}}}}}"#);
    let filter = Filter::parse_json(all.as_bytes()).unwrap();
    let error = filter.matches(document.root()).unwrap_err();
    assert_eq!(error.code(), "filter_too_costly");
    assert_eq!(error.to_string(), "$expr costs too much on one of the documents");
}

#[test]
fn a_string_that_doubles_is_cut_short() {
    let mut doubled = String::from("'$s'");
    for _ in 0..30 {
        doubled = format!("{{'$let':{{'vars':{{'x':{doubled}}},'in':{{'$concat':['$$x','$$x']}}}}}}");
    }
    let sentence = "$expr costs too much on one of the documents";
    assert_eq!(holds(&doubled), Err(sentence.to_owned()));
}
