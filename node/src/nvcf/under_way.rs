//! The uploads under way: how many of each asset, and how much room they hold of what their account may have. Pure: it is
//! told of every upload that comes and goes.

use std::collections::HashMap;

use super::Error;
use super::row::{AccountTag, Key};

/// Uploads of one asset at once: one that hangs, and the one that the client tries instead.
const AT_ONCE_MAX: usize = 2;

/// The uploads of one asset.
#[derive(Debug, Default)]
struct Uploads {
    /// The bytes of each, in its place.
    bytes: [Option<u64>; AT_ONCE_MAX],
    /// One has ended: the account has its bytes, and no other adds any.
    is_stored: bool,
}

impl Uploads {
    /// Only one of them is ever stored, so the largest counts alone.
    fn counted(&self) -> u64 {
        if self.is_stored { 0 } else { self.bytes.iter().flatten().copied().max().unwrap_or(0) }
    }
}

/// The uploads of all assets.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    uploads: HashMap<Key, Uploads>,
    /// What those of an account count together; only accounts that have some.
    of_accounts: HashMap<AccountTag, u64>,
}

impl UnderWay {
    /// One upload more, of no bytes yet. Gives its place.
    pub(super) fn enter(&mut self, key: Key) -> Result<usize, Error> {
        let uploads = self.uploads.entry(key).or_default();
        let place = uploads.bytes.iter().position(Option::is_none).ok_or(Error::Busy)?;
        uploads.bytes[place] = Some(0);
        Ok(place)
    }

    /// It has ended, or was given up.
    pub(super) fn leave(&mut self, key: Key, place: usize) {
        self.change(key, |uploads| uploads.bytes[place] = None);
        if self.uploads.get(&key).is_some_and(|uploads| uploads.bytes.iter().all(Option::is_none)) {
            self.uploads.remove(&key);
        }
    }

    /// It is to have so many bytes. Whether its account may have that: `bytes_max` under way, and no more.
    pub(super) fn hold(&mut self, key: Key, (place, bytes): (usize, u64), bytes_max: u64) -> bool {
        let Some(uploads) = self.uploads.get(&key) else { return false };
        let counted = uploads.counted();
        let more = if uploads.is_stored { 0 } else { bytes.saturating_sub(counted) };
        let fits = more == 0 || self.of(key.account()).saturating_add(more) <= bytes_max;
        if fits {
            self.change(key, |uploads| uploads.bytes[place] = Some(bytes));
        }
        fits
    }

    /// The asset has its content: its account has the bytes from now on.
    pub(super) fn stored(&mut self, key: Key) {
        self.change(key, |uploads| uploads.is_stored = true);
    }

    fn of(&self, account: AccountTag) -> u64 {
        self.of_accounts.get(&account).copied().unwrap_or(0)
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Uploads)) {
        let Some(uploads) = self.uploads.get_mut(&key) else { return };
        let before = uploads.counted();
        change(uploads);
        let after = uploads.counted();
        let account = key.account();
        match self.of(account).saturating_sub(before).saturating_add(after) {
            0 => self.of_accounts.remove(&account),
            bytes => self.of_accounts.insert(account, bytes),
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ONE: AccountTag = AccountTag([1; 16]);
    const OTHER: AccountTag = AccountTag([2; 16]);

    fn key(account: AccountTag, id: u128) -> Key {
        Key::new(account, Uuid::from_u128(id))
    }

    #[test]
    fn uploads_hold_the_room_of_their_account_and_give_it_back() {
        let mut all = UnderWay::default();
        let (a, b, c) = (key(ONE, 1), key(ONE, 2), key(OTHER, 1));
        let places = [a, b, c].map(|key| all.enter(key).unwrap());
        assert!(all.hold(a, (places[0], 60), 100) && !all.hold(b, (places[1], 41), 100));
        assert!(all.hold(b, (places[1], 40), 100) && all.hold(c, (places[2], 100), 100));
        assert!(!all.hold(b, (places[1], u64::MAX), 100), "the sum does not wrap");
        assert_eq!((all.of(ONE), all.of(OTHER)), (100, 100));
        all.leave(a, places[0]);
        assert!(all.hold(b, (places[1], 100), 100));
        all.leave(b, places[1]);
        all.leave(c, places[2]);
        assert!(all.uploads.is_empty() && all.of_accounts.is_empty());
    }

    #[test]
    fn of_the_uploads_of_one_asset_the_largest_counts_until_one_is_stored() {
        let mut all = UnderWay::default();
        let key = key(ONE, 1);
        let (first, second) = (all.enter(key).unwrap(), all.enter(key).unwrap());
        assert!(matches!(all.enter(key), Err(Error::Busy)));
        assert!(all.hold(key, (first, 60), 60) && all.hold(key, (second, 60), 60));
        all.leave(key, first);
        assert_eq!(all.of(ONE), 60);
        let first = all.enter(key).unwrap();
        all.stored(key);
        assert!(all.hold(key, (first, 60), 0), "it adds nothing");
        all.leave(key, first);
        all.leave(key, second);
        assert!(all.uploads.is_empty() && all.of_accounts.is_empty());
    }
}
