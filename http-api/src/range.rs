//! Which bytes a GET asks for (RFC 9110 §14). Pure: header text and size in, a decision out.

use std::ops::Range;

/// What to answer to a `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything: no header, one that the RFC lets a server ignore, or more than one range.
    Whole,
    /// These bytes, with a 206.
    Part(Range<u64>),
    /// Nothing of the content lies in the range: a 416.
    Outside,
}

/// Reads a `Range` header for content of `size` bytes.
///
/// A header that is no valid byte range is ignored, as RFC 9110 §14.2 allows; so are lists of
/// several ranges, because no client of large objects needs the multipart answer.
pub(crate) fn asked(header: &str, size: u64) -> Asked {
    let Some((unit, set)) = header.split_once('=') else {
        return Asked::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut specs = set.split(',').map(str::trim).filter(|spec| !spec.is_empty());
    match (specs.next(), specs.next()) {
        (Some(only), None) => one(only, size),
        _ => Asked::Whole,
    }
}

fn one(spec: &str, size: u64) -> Asked {
    let Some((first, last)) = spec.split_once('-') else {
        return Asked::Whole;
    };
    match (position(first.trim()), position(last.trim())) {
        (Bound::Absent, Bound::At(length)) => suffix(length, size),
        (Bound::At(start), Bound::Absent) => within(start, size, size),
        (Bound::At(start), Bound::At(end)) if start <= end => within(start, end.saturating_add(1), size),
        _ => Asked::Whole,
    }
}

fn suffix(length: u64, size: u64) -> Asked {
    if length == 0 || size == 0 {
        return Asked::Outside;
    }
    Asked::Part(size.saturating_sub(length)..size)
}

fn within(start: u64, end: u64, size: u64) -> Asked {
    if start >= size { Asked::Outside } else { Asked::Part(start..end.min(size)) }
}

enum Bound {
    Absent,
    At(u64),
    Malformed,
}

/// A position of any length is valid; one past `u64` is as far as any can be.
fn position(digits: &str) -> Bound {
    if digits.is_empty() {
        return Bound::Absent;
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Bound::Malformed;
    }
    Bound::At(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("bytes=0-0", Asked::Part(0..1))]
    #[case("bytes=0-", Asked::Part(0..10))]
    #[case("bytes=9-", Asked::Part(9..10))]
    #[case("bytes=-1", Asked::Part(9..10))]
    #[case("bytes=-10", Asked::Part(0..10))]
    #[case("bytes=-99", Asked::Part(0..10))]
    #[case("bytes=3-99", Asked::Part(3..10))]
    #[case("Bytes = 3 - 4 ", Asked::Part(3..5))]
    #[case("bytes=0-18446744073709551615", Asked::Part(0..10))]
    #[case("bytes=0-99999999999999999999999", Asked::Part(0..10))]
    fn one_range_inside_the_content_is_served(#[case] header: &str, #[case] expect: Asked) {
        assert_eq!(asked(header, 10), expect, "{header}");
    }

    #[rstest]
    #[case("bytes=10-")]
    #[case("bytes=10-20")]
    #[case("bytes=-0")]
    #[case("bytes=99999999999999999999999-")]
    fn a_range_outside_the_content_is_refused(#[case] header: &str) {
        assert_eq!(asked(header, 10), Asked::Outside, "{header}");
    }

    #[rstest]
    #[case("")]
    #[case("bytes")]
    #[case("bytes=")]
    #[case("bytes=-")]
    #[case("bytes=5")]
    #[case("bytes=5-2")]
    #[case("bytes=a-b")]
    #[case("bytes=+1-2")]
    #[case("bytes=0x1-2")]
    #[case("items=0-1")]
    #[case("bytes=0-1,3-4")]
    fn what_is_no_single_range_is_ignored(#[case] header: &str) {
        assert_eq!(asked(header, 10), Asked::Whole, "{header}");
    }

    #[test]
    fn ten_thousand_ranges_are_ignored() {
        let header = format!("bytes={}", "0-1,".repeat(10_000));
        assert_eq!(asked(&header, 10), Asked::Whole);
    }

    #[test]
    fn empty_content_has_no_range() {
        assert_eq!(asked("bytes=0-", 0), Asked::Outside);
        assert_eq!(asked("bytes=-1", 0), Asked::Outside);
    }
}
