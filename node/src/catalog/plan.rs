//! The planner: from what a filter needs to where its rows can be found. Pure over [`Postings`].
//! It must never choose a source that misses a matching row; it may choose one that is slow.

use assetmesh_protocol::filter::Need;
use assetmesh_protocol::filter::terms::{Bound, Scalar};
use assetmesh_protocol::ids::AssetId;

use super::index;

/// Where candidates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// No row can match.
    Empty,
    /// Read every row.
    Scan,
    /// Read the rows of one run of index keys, which lie in row order.
    Stream(Vec<u8>),
    /// Gather the row numbers of all sources, then read those rows.
    Gather(Vec<Source>),
}

/// One list of row numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The row of a uri.
    Uri(String),
    /// The rows that name a blob.
    Holders(AssetId),
    /// Keys with this prefix, in row order.
    Run(Vec<u8>),
    /// Keys from the first to the last, in order of values.
    Range(Vec<u8>, Vec<u8>),
}

/// How long lists are. The planner asks only as far as it needs to compare.
pub(super) trait Postings {
    /// Why a list cannot be read.
    type Error;

    /// Rows in the catalog.
    fn rows(&self) -> u64;

    /// About how many rows a source has; counting may stop at `enough`.
    fn estimate(&self, source: &Source, enough: u64) -> Result<u64, Self::Error>;
}

/// Lists shorter than this are worth taking without asking how long the others are.
const SHORT: u64 = 128;
/// A list that holds more than one row in this many is not worth its random reads: a scan is sequential.
const DENSE: u64 = 4;

/// How long a list may be.
#[derive(Debug, Clone, Copy)]
struct Enough {
    /// One that can be read in row order, row by row.
    streamed: u64,
    /// One, or several together, that must be gathered first.
    gathered: u64,
}

/// Chooses where to look. Lists with more than `keys_max` keys in all are not gathered.
pub(super) fn choose<P: Postings>(need: &Need, postings: &P, keys_max: u64) -> Result<Plan, P::Error> {
    let worth = postings.rows() / DENSE;
    let gathered = worth.min(keys_max);
    for enough in [Enough { streamed: SHORT, gathered: SHORT }, Enough { streamed: worth, gathered }] {
        match cheapest(need, postings, enough)? {
            Choice::Nothing => return Ok(Plan::Empty),
            Choice::Sources { sources, .. } => return with_overflow(sources, postings),
            Choice::TooMany => {}
        }
    }
    Ok(Plan::Scan)
}

/// The longest list that is gathered at first for a page in row order, which is done when it is full. If one row in `n` is
/// in the list, a scan reads `page * n` of them until then, and a longer list means a shorter scan: the two meet where the
/// list is as long as the root of `page * rows`. A key takes about a fourth of a row's time.
pub(super) fn keys_for_page(page: u64, rows: u64) -> u64 {
    page.saturating_mul(rows).isqrt().saturating_mul(2)
}

/// How many rows are scanned before a list that is longer than `keys_max` is thought of: twice those that fill the page if
/// the list lies evenly among all `rows` and nothing else rejects them. Then [`longer`] lists are worth what the scan
/// has cost in vain. `None` if no list may be longer.
pub(super) fn head_rows(keys_max: u64, rows: u64) -> Option<u64> {
    (keys_max < rows / DENSE).then_some((keys_max / 2).max(1))
}

/// The longest list that is gathered once a head has not filled the page.
pub(super) const fn longer(keys_max: u64) -> u64 {
    keys_max.saturating_mul(4)
}

enum Choice {
    Nothing,
    Sources { sources: Vec<Source>, rows: u64 },
    TooMany,
}

fn cheapest<P: Postings>(need: &Need, postings: &P, enough: Enough) -> Result<Choice, P::Error> {
    match need {
        Need::Nothing => Ok(Choice::Nothing),
        Need::Anything => Ok(Choice::TooMany),
        Need::Equals { path, value } => one(equals(path, value), postings, enough),
        Need::Range { path, low, high } => one(range(path, low.as_ref(), high.as_ref()), postings, enough),
        Need::All(needs) => {
            let mut best = Choice::TooMany;
            for need in needs {
                match (cheapest(need, postings, enough)?, &best) {
                    (Choice::Nothing, _) => return Ok(Choice::Nothing),
                    (Choice::Sources { rows, .. }, Choice::Sources { rows: least, .. }) if rows >= *least => {
                    }
                    (choice @ Choice::Sources { .. }, _) => best = choice,
                    (Choice::TooMany, _) => {}
                }
            }
            Ok(best)
        }
        Need::Any(needs) => {
            let (mut all, mut sum) = (Vec::new(), 0u64);
            for need in needs {
                match cheapest(need, postings, enough)? {
                    Choice::Nothing => {}
                    Choice::TooMany => return Ok(Choice::TooMany),
                    Choice::Sources { sources, rows } => {
                        all.extend(sources);
                        sum = sum.saturating_add(rows);
                    }
                }
                if all.len() > 1 && sum > enough.gathered {
                    return Ok(Choice::TooMany);
                }
            }
            Ok(if all.is_empty() { Choice::Nothing } else { Choice::Sources { sources: all, rows: sum } })
        }
    }
}

fn one<P: Postings>(source: Option<Source>, postings: &P, enough: Enough) -> Result<Choice, P::Error> {
    let Some(source) = source else {
        return Ok(Choice::TooMany);
    };
    let enough = if matches!(source, Source::Run(_)) { enough.streamed } else { enough.gathered };
    let rows = postings.estimate(&source, enough.saturating_add(1))?;
    Ok(if rows > enough { Choice::TooMany } else { Choice::Sources { sources: vec![source], rows } })
}

fn equals(path: &str, value: &Scalar) -> Option<Source> {
    match (path, value) {
        ("asset_uri", Scalar::String(uri)) if !uri.is_empty() => Some(Source::Uri(uri.clone())),
        ("asset_id", Scalar::String(id)) => id.parse().ok().map(Source::Holders),
        _ => index::is_indexed(path).then(|| Source::Run(index::equals_prefix(path, value))),
    }
}

fn range(path: &str, low: Option<&Bound>, high: Option<&Bound>) -> Option<Source> {
    let (first, last) = index::range_bounds(path, low, high);
    (index::is_indexed(path) && first <= last).then_some(Source::Range(first, last))
}

/// Rows with too many terms stand in no other list, so they join every choice that reads the index.
fn with_overflow<P: Postings>(mut sources: Vec<Source>, postings: &P) -> Result<Plan, P::Error> {
    let overflow = Source::Run(index::overflow_prefix());
    let reads_index = sources.iter().any(|source| matches!(source, Source::Run(_) | Source::Range(..)));
    if reads_index && postings.estimate(&overflow, 1)? > 0 {
        sources.push(overflow);
    }
    match sources.as_mut_slice() {
        [Source::Run(prefix)] => Ok(Plan::Stream(std::mem::take(prefix))),
        _ => Ok(Plan::Gather(sources)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Lists {
        rows: u64,
        lists: HashMap<Vec<u8>, u64>,
    }

    impl Postings for Lists {
        type Error = std::convert::Infallible;

        fn rows(&self) -> u64 {
            self.rows
        }

        fn estimate(&self, source: &Source, enough: u64) -> Result<u64, Self::Error> {
            let rows = match source {
                Source::Uri(_) | Source::Holders(_) => 1,
                Source::Run(prefix) => self.lists.get(prefix).copied().unwrap_or(0),
                Source::Range(..) => 1000,
            };
            Ok(rows.min(enough))
        }
    }

    fn equal(path: &str, value: &str) -> Need {
        Need::Equals { path: path.to_owned(), value: Scalar::String(value.to_owned()) }
    }

    fn prefix(path: &str, value: &str) -> Vec<u8> {
        index::equals_prefix(path, &Scalar::String(value.to_owned()))
    }

    fn lists(lists: &[(&str, &str, u64)]) -> Lists {
        let lists = lists.iter().map(|(path, value, rows)| (prefix(path, value), *rows)).collect();
        Lists { rows: 100_000, lists }
    }

    #[test]
    fn the_shortest_list_of_a_conjunction_is_read() {
        let lists = lists(&[("a", "common", 20_000), ("b", "rare", 300)]);
        let need = Need::All(vec![equal("a", "common"), Need::Anything, equal("b", "rare")]);
        assert_eq!(choose(&need, &lists, u64::MAX).unwrap(), Plan::Stream(prefix("b", "rare")));
    }

    #[test]
    fn a_disjunction_needs_every_branch() {
        let lists = lists(&[("a", "x", 10), ("b", "y", 300)]);
        let both = Need::Any(vec![equal("a", "x"), equal("b", "y")]);
        let sources = vec![Source::Run(prefix("a", "x")), Source::Run(prefix("b", "y"))];
        assert_eq!(choose(&both, &lists, u64::MAX).unwrap(), Plan::Gather(sources));
        let open = Need::Any(vec![equal("a", "x"), Need::Anything]);
        assert_eq!(choose(&open, &lists, u64::MAX).unwrap(), Plan::Scan);
        assert_eq!(choose(&Need::Any(vec![Need::Nothing]), &lists, u64::MAX).unwrap(), Plan::Empty);
    }

    #[test]
    fn a_list_of_half_the_rows_is_not_worth_it() {
        let lists = lists(&[("a", "x", 50_000)]);
        assert_eq!(choose(&equal("a", "x"), &lists, u64::MAX).unwrap(), Plan::Scan);
    }

    #[test]
    fn for_a_page_in_row_order_a_list_is_gathered_only_if_that_is_less_than_a_scan_until_it_is_full() {
        let lists = lists(&[("a", "x", 400), ("a", "y", 400)]);
        let range = Need::Range { path: "n".to_owned(), low: None, high: None };
        let both = Need::Any(vec![equal("a", "x"), equal("a", "y")]);
        let of_page = |page| keys_for_page(page, lists.rows);
        for (keys_max, is_gathered) in [(u64::MAX, true), (of_page(1), false), (of_page(1000), true)] {
            for need in [&range, &both] {
                let plan = choose(need, &lists, keys_max).unwrap();
                assert_eq!(matches!(plan, Plan::Gather(_)), is_gathered, "{need:?} {keys_max:?}");
            }
            let plan = choose(&equal("a", "x"), &lists, keys_max).unwrap();
            assert_eq!(plan, Plan::Stream(prefix("a", "x")));
        }
    }

    #[test]
    fn a_list_is_gathered_at_last_for_little_more_than_it_costs() {
        let rows = 1_000_000;
        for (page, list) in [(1, 2_001), (10, 7_000), (10, 100_000), (1000, 240_000)] {
            let (mut keys_max, mut read) = (keys_for_page(page, rows), 0);
            while list > keys_max {
                let head = head_rows(keys_max, rows).unwrap();
                assert!(head >= 2 * page * rows / list, "an even list fills the page at once");
                read += head + keys_max / 4;
                keys_max = longer(keys_max);
            }
            assert!(read <= list * 5 / 4, "{page} {list}: {read}");
        }
        assert_eq!(head_rows(rows / DENSE, rows), None);
        assert_eq!(head_rows(0, rows), Some(1));
    }

    #[test]
    fn a_uri_and_a_blob_have_their_own_tables() {
        let lists = lists(&[]);
        let id = AssetId::of(b"x");
        assert_eq!(
            choose(&equal("asset_uri", "a:1-b"), &lists, u64::MAX).unwrap(),
            Plan::Gather(vec![Source::Uri("a:1-b".to_owned())])
        );
        assert_eq!(
            choose(&equal("asset_id", &id.to_string()), &lists, u64::MAX).unwrap(),
            Plan::Gather(vec![Source::Holders(id)])
        );
        assert_eq!(choose(&equal("asset_id", ""), &lists, u64::MAX).unwrap(), Plan::Scan);
        assert_eq!(choose(&equal("asset_uri", ""), &lists, u64::MAX).unwrap(), Plan::Scan);
    }

    #[test]
    fn rows_with_too_many_terms_join_every_indexed_choice() {
        let mut lists = lists(&[("a", "x", 10)]);
        lists.lists.insert(index::overflow_prefix(), 2);
        let sources = vec![Source::Run(prefix("a", "x")), Source::Run(index::overflow_prefix())];
        assert_eq!(choose(&equal("a", "x"), &lists, u64::MAX).unwrap(), Plan::Gather(sources));
    }
}
