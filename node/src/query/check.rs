//! Checks what a peer sent before anything of it is believed. Pure. A peer can keep its own rows to itself, and no more:
//! not give another node's, none that do not match, none twice, and not more than were asked for.

use assetmesh_protocol::asset::MEMBERS;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::ids::AssetsDbId;
use assetmesh_protocol::query::{End, ROWS_BYTES_MAX, Row};
use bytes::Bytes;
use uuid::Uuid;

use crate::catalog::{Asset, Position};

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    /// More rows than were asked for.
    #[error("it has more rows than were asked for")]
    TooMany,
    /// A row is no document.
    #[error("a row is no document")]
    NotADocument,
    /// A row has not the members of an asset.
    #[error("a row is no asset")]
    NotAnAsset,
    /// A row says that it belongs to another node.
    #[error("a row belongs to another node")]
    Foreign,
    /// A row does not match.
    #[error("a row does not match")]
    NoMatch,
    /// A row does not lie behind the one before it.
    #[error("the rows are not in order")]
    Unordered,
    /// More is promised behind no row at all.
    #[error("it promises more and gives nothing")]
    NoProgress,
    /// It answers another question.
    #[error("it answers another question")]
    OffTopic,
}

/// Why the rows of an answer are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// No honest node sends them.
    Lie(Lie),
    /// Their sort keys take more memory than one answer may, [`ROWS_BYTES_MAX`].
    KeysTooLong,
}

impl From<Lie> for Unfit {
    fn from(lie: Lie) -> Self {
        Self::Lie(lie)
    }
}

/// What the rows of an answer must be.
#[derive(Debug)]
pub(super) struct Expected<'q> {
    /// Whose they are.
    pub(super) owner: AssetsDbId,
    pub(super) filter: &'q Filter,
    pub(super) sort: Option<&'q Sort>,
    pub(super) limit: usize,
    /// What they lie behind.
    pub(super) after: Option<&'q Position>,
}

/// A row with its place in the answer.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) place: Position,
    pub(super) asset: Asset,
}

/// Checks all rows of an answer.
pub(super) fn rows(expected: &Expected<'_>, rows: Vec<Row>, end: End) -> Result<Vec<Placed>, Unfit> {
    if rows.len() > expected.limit {
        return Err(Lie::TooMany.into());
    }
    if rows.is_empty() && end == End::More {
        return Err(Lie::NoProgress.into());
    }
    let mut key_bytes = 0;
    let mut checked: Vec<Placed> = Vec::with_capacity(rows.len());
    for row in rows {
        let asset = asset(expected.owner, row)?;
        let root = asset.document.root();
        if !matches!(expected.filter.matches(root), Ok(true)) {
            return Err(Lie::NoMatch.into());
        }
        let key = match expected.sort {
            Some(sort) => Bytes::from(sort.key(root).map_err(|_| Lie::NoMatch)?.into_bytes()),
            None => Bytes::new(),
        };
        key_bytes += key.len();
        if key_bytes > ROWS_BYTES_MAX {
            return Err(Unfit::KeysTooLong);
        }
        let place = Position { key, record: asset.record, owner: expected.owner };
        let before = checked.last().map(|last| &last.place).or(expected.after);
        if before.is_some_and(|before| place <= *before) {
            return Err(Lie::Unordered.into());
        }
        checked.push(Placed { place, asset });
    }
    Ok(checked)
}

/// Checks a row that was asked for by its uri or record id.
pub(super) fn named(owner: AssetsDbId, key: &str, row: Row) -> Result<Asset, Lie> {
    let asset = asset(owner, row)?;
    let is_named = asset.uri() == key || Uuid::try_parse(key).is_ok_and(|record| record == asset.record.0);
    if is_named { Ok(asset) } else { Err(Lie::NoMatch) }
}

fn asset(owner: AssetsDbId, row: Row) -> Result<Asset, Lie> {
    let record = row.record();
    let document = Document::from_bytes(row.document).map_err(|_| Lie::NotADocument)?;
    let object = document.root().as_object().ok_or(Lie::NotAnAsset)?;
    if !object.iter().map(|(member, _)| member).eq(MEMBERS) {
        return Err(Lie::NotAnAsset);
    }
    let says = object.get("assets_db_id").and_then(|id| id.as_str());
    if says != Some(owner.to_string().as_str()) {
        return Err(Lie::Foreign);
    }
    Ok(Asset { record, document })
}

#[cfg(test)]
mod tests {
    use assetmesh_protocol::asset::Draft;
    use assetmesh_protocol::ids::RecordId;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn id(number: u128) -> AssetsDbId {
        AssetsDbId(Uuid::from_u128(number))
    }

    fn document(owner: u128, name: &str) -> Vec<u8> {
        let body = Document::from_value(&json!({"asset_name": name, "asset_tags": ["t"]})).unwrap();
        Draft::external(&body).unwrap().into_external(id(owner)).unwrap().into_bytes().into_vec()
    }

    fn row(record: u128, owner: u128, name: &str) -> Row {
        Row::new(RecordId(Uuid::from_u128(record)), document(owner, name))
    }

    fn judge(filter: &Value, sort: Option<&str>, sent: Vec<Row>, end: End) -> Result<Vec<u128>, Unfit> {
        let filter = Filter::parse(filter).unwrap();
        let sort = sort.map(|text| Sort::parse(text).unwrap());
        let key = match &sort {
            Some(sort) => {
                let first = Document::from_bytes(document(1, "a")).unwrap();
                Bytes::copy_from_slice(sort.key(first.root()).unwrap().as_bytes())
            }
            None => Bytes::new(),
        };
        let after = Position { key, record: RecordId(Uuid::from_u128(10)), owner: id(2) };
        let expected =
            Expected { owner: id(1), filter: &filter, sort: sort.as_ref(), limit: 3, after: Some(&after) };
        let checked = rows(&expected, sent, end)?;
        Ok(checked.iter().map(|placed| placed.place.record.0.as_u128()).collect())
    }

    #[test]
    fn honest_rows_are_taken() {
        let rows = vec![row(11, 1, "a"), row(12, 1, "b"), row(13, 1, "a")];
        assert_eq!(judge(&json!({}), None, rows.clone(), End::Whole), Ok(vec![11, 12, 13]));
        assert_eq!(judge(&json!({}), None, rows, End::More), Ok(vec![11, 12, 13]));
        let sorted = vec![row(11, 1, "a"), row(13, 1, "a"), row(2, 1, "b")];
        assert_eq!(judge(&json!({}), Some("asset_name"), sorted, End::Whole), Ok(vec![11, 13, 2]));
        assert_eq!(judge(&json!({}), None, Vec::new(), End::Whole), Ok(Vec::new()));
    }

    #[rstest]
    #[case::too_many(vec![row(11, 1, "a"), row(12, 1, "a"), row(13, 1, "a"), row(14, 1, "a")], Lie::TooMany)]
    #[case::of_another_node(vec![row(11, 2, "a")], Lie::Foreign)]
    #[case::no_document(vec![Row::new(RecordId(Uuid::from_u128(11)), vec![0xff; 9])], Lie::NotADocument)]
    #[case::empty(vec![Row::new(RecordId(Uuid::from_u128(11)), Vec::new())], Lie::NotADocument)]
    #[case::no_match(vec![row(11, 1, "z")], Lie::NoMatch)]
    #[case::twice(vec![row(11, 1, "a"), row(11, 1, "a")], Lie::Unordered)]
    #[case::backwards(vec![row(12, 1, "a"), row(11, 1, "a")], Lie::Unordered)]
    #[case::before_the_page(vec![row(9, 1, "a")], Lie::Unordered)]
    #[case::before_the_page_by_its_owner(vec![row(10, 1, "a")], Lie::Unordered)]
    #[case::no_progress(Vec::new(), Lie::NoProgress)]
    fn a_lie_is_seen(#[case] sent: Vec<Row>, #[case] lie: Lie) {
        let filter = json!({"asset_name": {"$ne": "z"}});
        assert_eq!(judge(&filter, None, sent, End::More), Err(lie.into()));
    }

    #[rstest]
    #[case::a_number(json!(7))]
    #[case::a_member_less(json!({"assets_db_id": id(1).to_string()}))]
    fn what_is_no_asset_is_not_taken(#[case] value: Value) {
        let document = Document::from_value(&value).unwrap().into_bytes().into_vec();
        let sent = vec![Row::new(RecordId(Uuid::from_u128(11)), document)];
        assert_eq!(judge(&json!({}), None, sent, End::Whole), Err(Lie::NotAnAsset.into()));
    }

    #[test]
    fn rows_out_of_their_sort_order_are_seen() {
        let sent = vec![row(11, 1, "b"), row(12, 1, "a")];
        assert_eq!(judge(&json!({}), Some("asset_name"), sent, End::Whole), Err(Lie::Unordered.into()));
    }

    #[test]
    fn rows_with_more_bytes_of_sort_keys_than_an_answer_may_have_are_not_taken_and_no_lie() {
        let long = "x".repeat(ROWS_BYTES_MAX / 64);
        let body =
            Document::from_value(&json!({"asset_name": "a", "asset_metadata": {"text": long}})).unwrap();
        let draft = Draft::external(&body).unwrap().into_external(id(1)).unwrap();
        let document = draft.into_bytes().into_vec();
        let row = |record| Row::new(RecordId(Uuid::from_u128(record)), document.clone());
        let sent = |rows: u128| (11..11 + rows).map(row).collect();
        let sort = ["asset_metadata.text"; 30].join(",");
        assert_eq!(judge(&json!({}), Some(&sort), sent(2), End::More), Ok(vec![11, 12]));
        assert_eq!(judge(&json!({}), Some(&sort), sent(3), End::More), Err(Unfit::KeysTooLong));
    }

    #[test]
    fn only_the_asset_that_was_asked_for_is_taken() {
        let sent = row(11, 1, "a");
        let key = sent.record().to_string();
        assert!(named(id(1), &key, sent.clone()).is_ok());
        assert!(named(id(1), &key.to_uppercase(), sent.clone()).is_ok());
        assert_eq!(named(id(1), "b:1-t", sent.clone()).unwrap_err(), Lie::NoMatch);
        assert_eq!(named(id(2), &key, sent).unwrap_err(), Lie::Foreign);
    }
}
