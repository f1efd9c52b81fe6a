//! How a node finds the input assets of an account on its peers. Who may ask is the asked node's business: only a peer
//! that may speak for accounts gets an answer, and only from a peer that the asker trusts as well is one believed.

use uuid::Uuid;

use crate::codec::{Decode, Encode, frames};
use crate::ids::AssetId;

/// Assets in one question.
pub const NVCF_IDS_MAX: usize = 256;

/// Which of these input assets of an account does the asked node hold?
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NvcfAsk {
    /// The account.
    pub account: String,
    ids: Vec<[u8; 16]>,
}

impl NvcfAsk {
    /// Asks for at most [`NVCF_IDS_MAX`] assets.
    #[must_use]
    pub fn new(account: &str, ids: &[Uuid]) -> Self {
        Self { account: account.to_owned(), ids: ids.iter().map(|id| id.into_bytes()).collect() }
    }

    /// The assets.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.ids.iter().map(|id| Uuid::from_bytes(*id))
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.ids.len()
    }
}

/// The answer to a [`NvcfAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum NvcfAnswer {
    /// Those that are there, uploaded and alive.
    Held(Vec<HeldAsset>),
    /// No answer.
    Refused(NvcfRefusal),
}

/// One input asset, as its holder describes it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeldAsset {
    id: [u8; 16],
    blob: [u8; 32],
    /// Its size in bytes: a claim until all of it has come.
    pub size: u64,
    /// Its media type.
    pub content_type: String,
}

impl HeldAsset {
    /// Describes an asset.
    #[must_use]
    pub const fn new(id: Uuid, blob: &AssetId, size: u64, content_type: String) -> Self {
        Self { id: id.into_bytes(), blob: *blob.as_bytes(), size, content_type }
    }

    /// The asset.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// Its content.
    #[must_use]
    pub const fn blob(&self) -> AssetId {
        AssetId::from_bytes(self.blob)
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum NvcfRefusal {
    /// The asker may not speak for accounts here.
    Forbidden,
    /// Too many assets are asked for.
    TooMany,
    /// It failed.
    Failed,
}

frames! {
    NvcfAsk: encode, decode;
    NvcfAnswer: encode_long, decode_long;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes() {
        let ask = NvcfAsk::new("ac", &[Uuid::from_u128(7)]);
        assert_eq!(
            hex(&ask.encode().unwrap()),
            "0102000000000000006163010000000000000000000000000000000000000000000007"
        );
        assert_eq!(NvcfAsk::decode(&ask.encode().unwrap()).unwrap(), ask);
        let blob = AssetId::from_bytes([9; 32]);
        let held = HeldAsset::new(Uuid::from_u128(7), &blob, 5, "a/b".to_owned());
        let table = [
            (
                NvcfAnswer::Held(vec![held]),
                "0100000000010000000000000000000000000000000000000000000007\
                 09090909090909090909090909090909090909090909090909090909090909090500000000000000\
                 0300000000000000612f62",
            ),
            (NvcfAnswer::Refused(NvcfRefusal::Forbidden), "010100000000000000"),
            (NvcfAnswer::Refused(NvcfRefusal::TooMany), "010100000001000000"),
            (NvcfAnswer::Refused(NvcfRefusal::Failed), "010100000002000000"),
        ];
        for (answer, expect) in table {
            let bytes = answer.encode().unwrap();
            assert_eq!(hex(&bytes), expect, "{answer:?}");
            assert_eq!(NvcfAnswer::decode(&bytes).unwrap(), answer);
        }
    }

    #[test]
    fn the_most_that_may_be_asked_and_answered_fits() {
        let id = Uuid::from_u128(u128::MAX);
        assert!(NvcfAsk::new(&"a".repeat(256), &[id; NVCF_IDS_MAX]).encode().is_ok());
        let held = HeldAsset::new(id, &AssetId::of(b""), u64::MAX, "t".repeat(255));
        assert!(NvcfAnswer::Held(vec![held; NVCF_IDS_MAX]).encode().is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let framed = [&[crate::codec::VERSION][..], &bytes].concat();
            if let Ok(ask) = NvcfAsk::decode(&framed) {
                prop_assert!(ask.encode().is_ok());
            }
            if let Ok(answer) = NvcfAnswer::decode(&framed) {
                prop_assert!(answer.encode().is_ok());
            }
        }
    }
}
