//! Makes one page of what many nodes give, each in order: smallest place first, each row once. Pure. It says from whom
//! more is needed before the next row can be told.

use std::collections::VecDeque;

use super::check::Placed;
use crate::catalog::{Asset, Position};

/// Rows of several sources under way to one page.
#[derive(Debug)]
pub(super) struct Merge {
    limit: usize,
    bytes_max: usize,
    bytes: usize,
    sources: Vec<Source>,
    page: Vec<Asset>,
    /// The place of the page's last row. Those of the others may be long and are needed no more.
    last: Option<Position>,
}

#[derive(Debug, Default)]
struct Source {
    rows: VecDeque<Placed>,
    /// Whether it may give more behind `last`.
    is_open: bool,
    last: Option<Position>,
}

impl Merge {
    /// A page of at most so many rows, from sources that all begin behind `after`. It ends early once it has so many
    /// bytes of descriptions.
    pub(super) fn new(limit: usize, bytes_max: usize, sources: usize, after: Option<&Position>) -> Self {
        let source = || Source { is_open: true, last: after.cloned(), ..Source::default() };
        let sources = std::iter::repeat_with(source).take(sources).collect();
        Self { limit, bytes_max, bytes: 0, sources, page: Vec::new(), last: None }
    }

    /// Takes what a source gave: rows in order, behind those that it gave before.
    pub(super) fn give(&mut self, source: usize, rows: Vec<Placed>, more: bool) {
        let source = &mut self.sources[source];
        if let Some(last) = rows.last() {
            source.last = Some(last.place.clone());
        }
        source.rows.extend(rows);
        source.is_open = more;
    }

    /// Moves rows into the page while it is certain which comes next. Names the sources that must give more before
    /// that can go on; none when the page is done.
    pub(super) fn advance(&mut self) -> Vec<usize> {
        while self.page.len() < self.limit && self.bytes < self.bytes_max {
            let waiting = self
                .sources
                .iter()
                .enumerate()
                .filter(|(_, source)| source.is_open && source.rows.is_empty());
            let waiting: Vec<usize> = waiting.map(|(at, _)| at).collect();
            if !waiting.is_empty() {
                return waiting;
            }
            let heads = self.sources.iter_mut().filter(|source| !source.rows.is_empty());
            let Some(next) = heads.min_by(|a, b| a.rows[0].place.cmp(&b.rows[0].place)) else { break };
            let Some(Placed { place, asset }) = next.rows.pop_front() else { break };
            self.bytes += asset.document.as_bytes().len();
            self.page.push(asset);
            self.last = Some(place);
        }
        Vec::new()
    }

    /// Where a source must go on.
    pub(super) fn last_of(&self, source: usize) -> Option<&Position> {
        self.sources[source].last.as_ref()
    }

    /// Rows that the page still has room for.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.page.len())
    }

    /// The page, and its end if there may be more behind it.
    pub(super) fn finish(self) -> (Vec<Asset>, Option<Position>) {
        let more = self.sources.iter().any(|source| source.is_open || !source.rows.is_empty());
        (self.page, self.last.filter(|_| more))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use assetmesh_protocol::document::Document;
    use assetmesh_protocol::ids::{AssetsDbId, RecordId};
    use bytes::Bytes;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
    use uuid::Uuid;

    use super::*;

    fn placed(place: &Position) -> Placed {
        let document = Document::from_json(b"{}").unwrap();
        Placed { place: place.clone(), asset: Asset { record: place.record, document } }
    }

    fn place(owner: u128, (key, record): (u8, u8)) -> Position {
        let key = Bytes::from(vec![key]);
        Position {
            key,
            record: RecordId(Uuid::from_u128(record.into())),
            owner: AssetsDbId(Uuid::from_u128(owner)),
        }
    }

    /// Some nodes with some rows each; keys and record ids often fall together.
    fn nodes() -> impl Strategy<Value = Vec<BTreeSet<Position>>> {
        let rows = proptest::collection::btree_set((0..4u8, 0..12u8), 0..20);
        proptest::collection::vec(rows, 1..5).prop_map(|nodes| {
            let of_node = |(owner, rows): (usize, BTreeSet<(u8, u8)>)| {
                rows.into_iter().map(|row| place(owner as u128, row)).collect()
            };
            nodes.into_iter().enumerate().map(of_node).collect()
        })
    }

    /// What a node gives behind a place: at most `most` rows, and whether there are more.
    fn give(node: &BTreeSet<Position>, after: Option<&Position>, most: usize) -> (Vec<Placed>, bool) {
        let mut rest = node.iter().filter(|row| after.is_none_or(|after| *row > after));
        let rows = rest.by_ref().take(most).map(placed).collect();
        (rows, rest.next().is_some())
    }

    fn page(
        nodes: &[BTreeSet<Position>],
        after: Option<&Position>,
        limit: usize,
        most: &[u8],
    ) -> (Vec<RecordId>, Option<Position>) {
        let mut merge = Merge::new(limit, usize::MAX, nodes.len(), after);
        let mut turns = most.iter().cycle();
        loop {
            let wanted = merge.advance();
            if wanted.is_empty() {
                break;
            }
            for at in wanted {
                let most = usize::from(*turns.next().unwrap()).max(1).min(merge.room());
                let (rows, more) = give(&nodes[at], merge.last_of(at), most);
                merge.give(at, rows, more);
            }
        }
        let (rows, next) = merge.finish();
        (rows.into_iter().map(|asset| asset.record).collect(), next)
    }

    proptest! {
        #[test]
        fn pages_are_the_sorted_union_whoever_gives_how_much(
            nodes in nodes(), limit in 1..7usize, most in proptest::collection::vec(any::<u8>().prop_map(|n| n % 5), 1..9),
        ) {
            let union: BTreeSet<&Position> = nodes.iter().flatten().collect();
            let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let (rows, next) = page(&nodes, after.as_ref(), limit, &most);
                pages += 1;
                prop_assert!(rows.len() <= limit && pages <= union.len() + 1);
                prop_assert!(next.is_none() || rows.len() == limit, "only the last page is short");
                all.extend(rows);
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let expect: Vec<RecordId> = union.iter().map(|place| place.record).collect();
            prop_assert_eq!(all, expect);
            prop_assert!(union.is_empty() || pages == union.len().div_ceil(limit));
        }

        #[test]
        fn the_order_in_which_nodes_answer_changes_nothing(nodes in nodes(), limit in 1..30usize) {
            let records = |order: Vec<usize>| {
                let mut merge = Merge::new(limit, usize::MAX, nodes.len(), None);
                for at in order {
                    let (rows, more) = give(&nodes[at], None, limit);
                    merge.give(at, rows, more);
                }
                assert_eq!(merge.advance(), Vec::<usize>::new());
                let (rows, next) = merge.finish();
                (rows.iter().map(|asset| asset.record).collect::<Vec<_>>(), next)
            };
            prop_assert_eq!(records((0..nodes.len()).collect()), records((0..nodes.len()).rev().collect()));
        }
    }

    #[test]
    fn a_page_ends_early_when_it_has_enough_bytes_and_says_where() {
        let rows: Vec<Position> = (0..5).map(|record| place(0, (0, record))).collect();
        let mut merge = Merge::new(10, 2 * placed(&rows[0]).asset.document.as_bytes().len(), 1, None);
        merge.give(0, rows.iter().map(placed).collect(), false);
        assert_eq!(merge.advance(), Vec::<usize>::new());
        let (page, next) = merge.finish();
        assert_eq!((page.len(), next), (2, Some(rows[1].clone())));
    }
}
