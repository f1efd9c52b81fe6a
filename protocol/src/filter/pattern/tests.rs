//! Tests of `filter::pattern`.

use std::time::{Duration, Instant};

use rstest::rstest;

use super::*;

fn pattern(text: &str, flags: &str) -> Pattern {
    Pattern::new(text, flags, Some("a")).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

fn found(text: &str, flags: &str, subject: &str) -> bool {
    pattern(text, flags).is_found_in(Text::new(subject), &Patience::default()).unwrap()
}

#[rstest]
#[case(r"^\w+$", "", "abc", "é")]
#[case(r"\d", "", "7", "٧")]
#[case(r"(*UCP)\d", "", "٧", "x")]
#[case(r"(*UTF8)^é$", "", "é", "e")]
#[case("É", "i", "é", "e")]
#[case("a.b", "", "a\u{e9}b", "a\nb")]
#[case("a.b", "s", "a\nb", "ab")]
#[case("^b$", "m", "a\nb\nc", "abc")]
#[case("a$", "", "a\n", "a\nb")]
#[case("a b # c", "x", "ab", "a b")]
#[case("x", "uii", "X", "y")]
#[case(r"\Qa.b\E", "", "a.b", "axb")]
#[case(r"(a|b)\1", "", "bb", "ab")]
#[case(r"a(?=b)(?!bc)", "", "abx", "abc")]
#[case(r"a++b|\p{Han}|\R\h", "", "漢", "aa")]
#[case("[[:alpha:]]", "", "a", "é")]
#[case(r"\x{1D11E}", "", "𝄞", "a")]
#[case("(*ACCEPT)x", "", "anything", "anything else")]
#[case(".*foo", "", "a foo", "a fo")]
fn patterns_mean_what_pcre_says(
    #[case] text: &str,
    #[case] flags: &str,
    #[case] hit: &str,
    #[case] miss: &str,
) {
    assert!(found(text, flags, hit), "{hit}");
    assert!(!found(text, flags, miss) || text.contains("ACCEPT"), "{miss}");
}

/// The forms for short and for long strings give one answer.
#[rstest]
#[case("needle$")]
#[case("^x+ needle")]
#[case(r"\bneedle\b")]
#[case(".*needle.*")]
#[case(".*?needle")]
#[case("(?i)NEEDLE")]
#[case("thread|needle")]
#[case("(n)(e)\\2d")]
#[case("(?<=x )needle")]
#[case("n[^ ]*e # comment")]
#[case("nope|no way")]
fn long_strings_are_searched_as_short_ones_are(#[case] text: &str) {
    let answer = |spaces: usize| found(text, "", &format!("{} needle", "x".repeat(spaces)));
    let short = answer(3);
    for length in [250, 300, 5_000, 13_000] {
        assert_eq!(answer(length), short, "{length}");
    }
}

#[test]
fn plain_patterns_run_on_a_megabyte() {
    let long = format!("{} needle", "xy ".repeat(350_000));
    for text in
        ["needle", "y x.*needle", ".*needle$", "[a-n]eed", "(?<= )nee(?!x)", "(e)\\1dle", "needle|pin"]
    {
        let regex = pattern(text, "");
        assert!(regex.is_found_in(Text::new(&long), &Patience::default()) == Ok(true), "{text}");
    }
    assert!(!found("needles", "", &long));
    assert!(!found("pin|[0-9]+x", "", &long));
}

#[rstest]
#[case("(a+)+$", 30)]
#[case("(a+)+$", 200)]
#[case("(a+)+$", 5_000)]
#[case("(a+)+$", 1_000_000)]
#[case("(a|aa)+$", 1_000)]
#[case("(a|a?)+$", 20_000)]
#[case("(.*a){12}[cd]", 10_000)]
#[case("(?:a*)*+[cd]$", 1_000_000)]
#[case("(?=(a+))\\1[cd]", 1_000_000)]
#[case("[ab]{900}[cd]", 1_000_000)]
#[case("(?=[ab]*)(?=[ab]*)(?=[ab]*)(?=[ab]*)[cd]", 16_000)]
#[case("(*PRUNE)(a+)+[cd]", 16_000)]
fn a_pattern_that_explodes_is_refused_soon(#[case] text: &str, #[case] length: usize) {
    let subject = format!("{}!", "a".repeat(length));
    let pattern = pattern(text, "");
    let start = Instant::now();
    let error = pattern.is_found_in(Text::new(&subject), &Patience::default()).unwrap_err();
    // The aim is 0.1 s of one core. A busy machine takes longer, an unbounded search for ever.
    assert!(start.elapsed() < Duration::from_secs(5));
    let bytes = length + 1;
    let sentence = format!("$regex at a: the pattern costs too much on a string of {bytes} bytes");
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_search_that_needs_more_stack_than_the_compiler_has_is_still_answered() {
    assert!(found("(?:a|b)*c$", "", &format!("{}c", "ab".repeat(20_000))));
}

#[test]
fn a_document_full_of_costly_strings_is_refused_before_all_are_searched() {
    let pattern = pattern("(a|aa)+$", "");
    let subject = format!("{}!", "a".repeat(24));
    let patience = Patience::default();
    let search = || pattern.is_found_in(Text::new(&subject), &patience);
    for _ in 0..SECOND_SEARCHES_MAX {
        assert_eq!(search(), Ok(false));
    }
    assert!(search().is_err());
    assert_eq!(pattern.is_found_in(Text::new("aa"), &patience), Ok(true));
}

#[rstest]
#[case("", "")]
#[case("abc", "abc")]
#[case(".*abc", "abc")]
#[case(".*.*?abc", "abc")]
#[case(".*+abc", ".*+abc")]
#[case(".+abc", ".+abc")]
#[case("^.*abc", "^.*abc")]
fn a_leading_dot_star_is_dropped(#[case] text: &str, #[case] rest: &str) {
    assert_eq!(without_leading_dot_star(text), rest);
}
