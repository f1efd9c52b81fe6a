//! Row numbers and the record ids made of them. Pure: the caller brings the time and the random bits.
//!
//! A record id is a UUIDv7 (RFC 9562 §5.7) whose bits after the timestamp hold the row number, so that ids sort
//! as rows were inserted and a record is found by its id without another index:
//! `48 bits milliseconds | 4 version | 12 row, high | 2 variant | 36 row, low | 26 random`.

use std::time::Duration;

use assetmesh_protocol::ids::RecordId;
use uuid::Uuid;

/// Rows that one catalog can ever number: 2^48.
pub(super) const ROW_NUMBER_MAX: u64 = (1 << 48) - 1;
const RANDOM_BITS: u32 = 26;
const LOW_BITS: u32 = 36;
const MILLIS_MAX: u128 = (1 << 48) - 1;

/// Hands out row numbers and ids that only grow, even when the clock goes back.
#[derive(Debug)]
pub(super) struct Numbers {
    next: u64,
    last_millis: u128,
}

impl Numbers {
    /// Goes on after the highest number ever given and the time of the last row.
    pub(super) fn resume(next: u64, last: Option<RecordId>) -> Self {
        Self { next, last_millis: last.map_or(0, |record| record.0.as_u128() >> 80) }
    }

    /// The number that the next row gets.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Takes the next number. `None` when all are used up.
    pub(super) fn take(&mut self, now: Duration, random: u32) -> Option<(u64, RecordId)> {
        let number = self.next;
        if number > ROW_NUMBER_MAX {
            return None;
        }
        self.next += 1;
        self.last_millis = now.as_millis().min(MILLIS_MAX).max(self.last_millis);
        Some((number, record_id(self.last_millis, number, random)))
    }
}

fn record_id(millis: u128, number: u64, random: u32) -> RecordId {
    let high = u128::from(number >> LOW_BITS);
    let low = u128::from(number & ((1 << LOW_BITS) - 1));
    let random = u128::from(random & ((1 << RANDOM_BITS) - 1));
    RecordId(Uuid::from_u128(millis << 80 | 7 << 76 | high << 64 | 2 << 62 | low << RANDOM_BITS | random))
}

/// The row number inside a record id. Any UUID gives some number: the row under it must bear the same id.
pub(super) fn row_number(record: RecordId) -> u64 {
    let bits = record.0.as_u128();
    let high = (bits >> 64) as u64 & 0xfff;
    let low = (bits as u64 >> RANDOM_BITS) & ((1 << LOW_BITS) - 1);
    high << LOW_BITS | low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn ids_are_version_7_hold_their_number_and_grow(
            start in 0..ROW_NUMBER_MAX - 8, clocks in proptest::collection::vec((0..1u64 << 48, any::<u32>()), 2..8),
        ) {
            let mut numbers = Numbers::resume(start, None);
            let mut last = None;
            for (at, (millis, random)) in clocks.into_iter().enumerate() {
                let (number, record) = numbers.take(Duration::from_millis(millis), random).unwrap();
                prop_assert_eq!(number, start + at as u64);
                prop_assert_eq!(row_number(record), number);
                prop_assert_eq!(record.0.get_version_num(), 7);
                prop_assert_eq!(record.0.get_variant(), uuid::Variant::RFC4122);
                prop_assert!(last < Some(record));
                last = Some(record);
            }
        }
    }

    #[test]
    fn a_restart_with_a_clock_set_back_still_grows() {
        let mut before = Numbers::resume(0, None);
        let (_, last) = before.take(Duration::from_secs(2_000_000_000), 1).unwrap();
        let mut after = Numbers::resume(before.next(), Some(last));
        let (_, record) = after.take(Duration::from_secs(1), 0).unwrap();
        assert!(record > last);
    }

    #[test]
    fn numbers_end() {
        let mut numbers = Numbers::resume(ROW_NUMBER_MAX, None);
        assert!(numbers.take(Duration::ZERO, 0).is_some());
        assert!(numbers.take(Duration::ZERO, 0).is_none());
    }
}
