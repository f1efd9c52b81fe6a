//! The messages that let any node answer for all: a filter or a name that is asked of a peer, and a change that is
//! handed to the node that owns the asset. Nothing here is believed: the asker checks each row that comes back.

use uuid::Uuid;

use crate::codec::{Decode, Encode, frames};
use crate::ids::{AssetsDbId, RecordId};
use crate::limits::DESCRIPTION_BYTES_MAX;

/// Bytes of rows in one answer, as many as fit a message: each answer to a sorted question may be a look at every row.
/// A row that is longer than this comes alone.
pub const ROWS_BYTES_MAX: usize = DESCRIPTION_BYTES_MAX;

/// Bytes that stand around a row's description: its record id and a length.
const ROW_FRAME_BYTES: usize = 16 + 8;

/// A question to one peer, which answers for itself alone and asks nobody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum QueryAsk {
    /// Which of your assets match?
    Find(FindAsk),
    /// Have you an asset of this name?
    Look {
        /// Names the question in the logs of both sides.
        id: [u8; 16],
        /// A uri or a record id.
        key: String,
    },
}

/// A filter and a place to begin at.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FindAsk {
    /// Names the question in the logs of both sides.
    pub id: [u8; 16],
    /// The filter as JSON text.
    pub filter: String,
    /// The sort as text; empty for the order of record ids.
    pub sort: String,
    /// Rows wanted, at most [`crate::limits::PAGE_ROWS_MAX`].
    pub limit: u32,
    /// Only rows behind this place.
    pub after: Option<After>,
    /// How long the asked may take, from when it has the question, in milliseconds.
    pub deadline_ms: u32,
}

/// The place of a row in the order of an answer: sort key, record id, owner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct After {
    /// The sort key; empty without a sort.
    pub key: Vec<u8>,
    record: [u8; 16],
    owner: [u8; 16],
}

impl After {
    /// The place of a row of some node.
    #[must_use]
    pub fn new(key: &[u8], record: RecordId, owner: AssetsDbId) -> Self {
        Self { key: key.to_vec(), record: record.0.into_bytes(), owner: owner.0.into_bytes() }
    }

    /// The row.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        RecordId(Uuid::from_bytes(self.record))
    }

    /// The node that holds it.
    #[must_use]
    pub const fn owner(&self) -> AssetsDbId {
        AssetsDbId(Uuid::from_bytes(self.owner))
    }
}

/// The answer to a [`QueryAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum QueryAnswer {
    /// Rows that match, in order, at most as many as were asked for.
    Rows {
        /// The rows.
        rows: Vec<Row>,
        /// What lies behind them.
        end: End,
    },
    /// The asset of that name, if there is one.
    Looked(Option<Row>),
    /// No answer.
    Refused(QueryRefusal),
}

/// One asset of the answering node. Its sort key is not sent: the asker makes it from the description.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Row {
    record: [u8; 16],
    /// The description in its stored form; to be checked before use.
    pub document: Vec<u8>,
}

impl Row {
    /// A row.
    #[must_use]
    pub const fn new(record: RecordId, document: Vec<u8>) -> Self {
        Self { record: record.0.into_bytes(), document }
    }

    /// Names the row.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        RecordId(Uuid::from_bytes(self.record))
    }

    /// What it takes of [`ROWS_BYTES_MAX`].
    #[must_use]
    pub const fn bytes(&self) -> usize {
        ROW_FRAME_BYTES + self.document.len()
    }
}

/// What lies behind the rows of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum End {
    /// Nothing: these are all.
    Whole,
    /// More; to be asked for behind the last row.
    More,
    /// Rows are lacking, or may be.
    Partial(Shortfall),
}

/// Why rows may be lacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Shortfall {
    /// The time was up; asking again is of no use now.
    Deadline,
    /// Some are damaged. Behind the last row there may be more, to be asked for; behind no row there are none.
    Damaged,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum QueryRefusal {
    /// Too much is waiting.
    Busy,
    /// Filter, sort or limit are not acceptable, or fail on some asset.
    BadQuestion(String),
    /// It failed.
    Failed,
}

/// A change of an asset of the asked node, handed on by a node that a client asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WriteAsk {
    /// Names the request in the logs of both sides.
    pub id: [u8; 16],
    record: [u8; 16],
    /// What to do.
    pub change: AssetChange,
    /// The owner's word that it is there; see [`AssetChange::Permit`].
    pub permit: [u8; 16],
}

impl WriteAsk {
    /// A change of one record.
    #[must_use]
    pub const fn new(id: [u8; 16], record: RecordId, change: AssetChange, permit: [u8; 16]) -> Self {
        Self { id, record: record.0.into_bytes(), change, permit }
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        RecordId(Uuid::from_bytes(self.record))
    }
}

/// What to do to an asset.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AssetChange {
    /// Set members; a JSON object as in the body of `PUT /asset/<uri>`.
    Update(String),
    /// Delete it.
    Delete,
    /// Nothing yet: asks for the permit that a change needs. It is good for some seconds, so that a change that lay
    /// in a network or before a stopped process, and was given up by its asker, is not made later.
    Permit,
}

/// The owner's answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WriteAnswer {
    /// Done and durable.
    Done {
        /// The asset's uri: after an update, before a delete.
        uri: String,
    },
    /// Not done; nothing was changed, unless it failed.
    Refused(WriteRefusal),
    /// A permit for changes, soon.
    Permit([u8; 16]),
}

/// Why an owner did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WriteRefusal {
    /// It has no such asset.
    NotFound,
    /// It takes no changes from others.
    Forbidden,
    /// The new uri is taken.
    Conflict {
        /// That uri.
        uri: String,
    },
    /// The change is not acceptable.
    Invalid {
        /// The machine-readable word.
        code: String,
        /// The sentence.
        message: String,
    },
    /// Its disk is full.
    Full,
    /// Too much is waiting.
    Busy,
    /// It failed. Whether the change is there is not known.
    Failed,
    /// The permit is too old, or none of its own.
    Late,
}

frames! {
    QueryAsk: encode_long, decode_long;
    QueryAnswer: encode_long, decode_long;
    WriteAsk: encode_long, decode_long;
    WriteAnswer: encode, decode;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const ID: [u8; 16] = [9; 16];

    fn record() -> RecordId {
        RecordId(Uuid::from_u128(7))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes_of_questions() {
        let after = After::new(b"k", record(), AssetsDbId(Uuid::from_u128(8)));
        let find = QueryAsk::Find(FindAsk {
            id: ID,
            filter: "{}".to_owned(),
            sort: "a".to_owned(),
            limit: 10,
            after: Some(after),
            deadline_ms: 500,
        });
        let expect = "01000000000909090909090909090909090909090902000000000000007b7d010000000000000061\
                      0a0000000101000000000000006b0000000000000000000000000000000700000000000000000000000000000008f4010000";
        assert_eq!(hex(&find.encode().unwrap()), expect);
        let look = QueryAsk::Look { id: ID, key: "a:1-t".to_owned() };
        assert_eq!(
            hex(&look.encode().unwrap()),
            "0101000000090909090909090909090909090909090500000000000000613a312d74"
        );
        for ask in [find, look] {
            assert_eq!(QueryAsk::decode(&ask.encode().unwrap()).unwrap(), ask);
        }
    }

    #[test]
    fn golden_bytes_of_answers() {
        let row = Row::new(record(), vec![1, 2]);
        let table = [
            (
                QueryAnswer::Rows { rows: vec![row.clone()], end: End::More },
                "01000000000100000000000000000000000000000000000000000000070200000000000000010201000000",
            ),
            (
                QueryAnswer::Rows { rows: Vec::new(), end: End::Partial(Shortfall::Damaged) },
                "010000000000000000000000000200000001000000",
            ),
            (
                QueryAnswer::Looked(Some(row)),
                "010100000001000000000000000000000000000000070200000000000000 0102",
            ),
            (QueryAnswer::Looked(None), "010100000000"),
            (QueryAnswer::Refused(QueryRefusal::Busy), "010200000000000000"),
        ];
        for (answer, expect) in table {
            let bytes = answer.encode().unwrap();
            assert_eq!(hex(&bytes), expect.replace(' ', ""), "{answer:?}");
            assert_eq!(QueryAnswer::decode(&bytes).unwrap(), answer);
        }
    }

    #[test]
    fn golden_bytes_of_writes() {
        let head = "010909090909090909090909090909090900000000000000000000000000000007";
        for (change, expect) in [
            (AssetChange::Update("{}".to_owned()), "0000000002000000000000007b7d"),
            (AssetChange::Delete, "01000000"),
            (AssetChange::Permit, "02000000"),
        ] {
            let ask = WriteAsk::new(ID, record(), change, [5; 16]);
            assert_eq!(hex(&ask.encode().unwrap()), [head, expect, &"05".repeat(16)].concat());
            assert_eq!(WriteAsk::decode(&ask.encode().unwrap()).unwrap(), ask);
        }
        let refused = WriteAnswer::Refused(WriteRefusal::Forbidden);
        assert_eq!(hex(&refused.encode().unwrap()), "010100000001000000");
        let late = WriteAnswer::Refused(WriteRefusal::Late);
        assert_eq!(hex(&late.encode().unwrap()), "010100000007000000");
        let permit = WriteAnswer::Permit([5; 16]);
        assert_eq!(hex(&permit.encode().unwrap()), ["0102000000", &"05".repeat(16)].concat());
        let done = WriteAnswer::Done { uri: "u".to_owned() };
        assert_eq!(hex(&done.encode().unwrap()), "0100000000010000000000000075");
    }

    #[test]
    fn as_many_rows_as_an_answer_may_have_fit_it() {
        let row = Row::new(record(), vec![0; ROWS_BYTES_MAX - ROW_FRAME_BYTES]);
        assert_eq!(row.bytes(), ROWS_BYTES_MAX);
        let longest = Row::new(record(), vec![0; DESCRIPTION_BYTES_MAX]);
        for row in [row, longest] {
            let answer = QueryAnswer::Rows { rows: vec![row], end: End::Partial(Shortfall::Damaged) };
            assert_eq!(QueryAnswer::decode(&answer.encode().unwrap()).unwrap(), answer);
        }
        let document = vec![0; ROWS_BYTES_MAX / crate::limits::PAGE_ROWS_MAX - ROW_FRAME_BYTES];
        let rows = vec![Row::new(record(), document); crate::limits::PAGE_ROWS_MAX];
        let answer = QueryAnswer::Rows { rows, end: End::Partial(Shortfall::Damaged) };
        assert_eq!(QueryAnswer::decode(&answer.encode().unwrap()).unwrap(), answer);
        let rows = vec![Row::new(record(), Vec::new()); crate::limits::PAGE_ROWS_MAX];
        let answer = QueryAnswer::Rows { rows, end: End::Whole };
        assert_eq!(QueryAnswer::decode(&answer.encode().unwrap()).unwrap(), answer);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let framed = [&[crate::codec::VERSION][..], &bytes].concat();
            // A message either reads back as itself or is refused.
            if let Ok(answer) = QueryAnswer::decode(&framed) {
                prop_assert!(answer.encode().is_ok());
            }
            if let Ok(ask) = QueryAsk::decode(&framed) {
                prop_assert!(ask.encode().is_ok());
            }
        }
    }
}
