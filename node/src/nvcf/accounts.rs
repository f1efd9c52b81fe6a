//! What each account has on this node, and what it may have. The writer tells of every row that comes and goes, and each
//! upload of its bytes. Pure but for [`Shared`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use super::row::{AccountTag, Key, Row};
use super::under_way::UnderWay;

/// The input assets of one account, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// Those that wait for their content.
    pub(super) waiting: u64,
    /// Those that have it.
    pub(super) stored: u64,
    /// Its size, in bytes. Equal content of two assets counts twice.
    pub(super) bytes: u64,
}

impl Holding {
    fn plus(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.saturating_add(other.waiting),
            stored: self.stored.saturating_add(other.stored),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            waiting: self.waiting.saturating_sub(other.waiting),
            stored: self.stored.saturating_sub(other.stored),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl From<&Row> for Holding {
    fn from(row: &Row) -> Self {
        match row.content {
            None => Self { waiting: 1, ..Self::default() },
            Some(content) => Self { stored: 1, bytes: content.size, ..Self::default() },
        }
    }
}

/// What one account may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) waiting_max: u64,
    /// Waiting or not.
    pub(super) assets_max: u64,
    pub(super) bytes_max: u64,
}

/// What every account has.
#[derive(Debug)]
pub(super) struct Accounts {
    quota: Quota,
    held: HashMap<AccountTag, Holding>,
    total: Holding,
    /// What the transaction that is under way has changed, as it was before.
    before: HashMap<AccountTag, Holding>,
    under_way: UnderWay,
}

/// The accounts, for the writer and for all uploads: locked for one look or change at a time, never for a transaction.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Accounts>>);

impl Shared {
    pub(super) fn new(accounts: Accounts) -> Self {
        Self(Arc::new(Mutex::new(accounts)))
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Accounts) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Accounts {
    /// Nobody has anything yet.
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            quota,
            held: HashMap::new(),
            total: Holding::default(),
            before: HashMap::new(),
            under_way: UnderWay::default(),
        }
    }

    /// Refuses one asset more.
    pub(super) fn may_create(&self, account: AccountTag) -> Result<(), Error> {
        let Quota { waiting_max, assets_max, bytes_max } = self.quota;
        let Holding { waiting, stored, bytes } = self.of(account);
        if waiting >= waiting_max {
            return Err(Error::TooManyWaiting(waiting_max));
        }
        if waiting.saturating_add(stored) >= assets_max {
            return Err(Error::TooManyAssets(assets_max));
        }
        if bytes >= bytes_max { Err(Error::TooManyBytes(bytes_max)) } else { Ok(()) }
    }

    /// Refuses so many bytes more.
    pub(super) fn may_store(&self, account: AccountTag, size: u64) -> Result<(), Error> {
        let bytes_max = self.quota.bytes_max;
        let fits = self.of(account).bytes.saturating_add(size) <= bytes_max;
        if fits { Ok(()) } else { Err(Error::TooManyBytes(bytes_max)) }
    }

    /// Lets one upload more begin, or refuses it. Gives its place among those of its asset.
    pub(super) fn begin(&mut self, key: Key) -> Result<usize, Error> {
        self.under_way.enter(key)
    }

    /// Refuses an upload so many bytes, unless they fit beside what its account has and what is on its way.
    pub(super) fn may_upload(&mut self, key: Key, place: usize, bytes: u64) -> Result<(), Error> {
        let bytes_max = self.quota.bytes_max;
        let room = bytes_max.saturating_sub(self.of(key.account()).bytes);
        let fits = self.under_way.hold(key, (place, bytes), room);
        if fits { Ok(()) } else { Err(Error::TooManyBytes(bytes_max)) }
    }

    /// An upload has ended, or was given up.
    pub(super) fn end(&mut self, key: Key, place: usize) {
        self.under_way.leave(key, place);
    }

    /// An asset that waited, or was not known, has its content.
    pub(super) fn store(&mut self, key: Key, row: &Row) {
        self.add(key.account(), Holding::from(row));
        self.under_way.stored(key);
    }

    /// The account has this as well.
    pub(super) fn add(&mut self, account: AccountTag, more: Holding) {
        self.change(account, |held| held.plus(more));
    }

    /// The account has this no longer.
    pub(super) fn remove(&mut self, account: AccountTag, less: Holding) {
        self.change(account, |held| held.minus(less));
    }

    /// The transaction is on disk, or nothing of it is.
    pub(super) fn settle(&mut self, is_kept: bool) {
        for (account, before) in std::mem::take(&mut self.before) {
            if is_kept {
                self.total = self.total.minus(before).plus(self.of(account));
            } else {
                self.set(account, before);
            }
        }
    }

    /// What all have together, as it is on disk.
    pub(super) const fn total(&self) -> Holding {
        self.total
    }

    fn of(&self, account: AccountTag) -> Holding {
        self.held.get(&account).copied().unwrap_or_default()
    }

    fn change(&mut self, account: AccountTag, change: impl FnOnce(Holding) -> Holding) {
        let before = self.of(account);
        self.before.entry(account).or_insert(before);
        self.set(account, change(before));
    }

    fn set(&mut self, account: AccountTag, holding: Holding) {
        if holding == Holding::default() {
            self.held.remove(&account);
        } else {
            self.held.insert(account, holding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { waiting_max: 2, assets_max: 3, bytes_max: 100 };
    const ONE: AccountTag = AccountTag([1; 16]);
    const OTHER: AccountTag = AccountTag([2; 16]);

    fn waiting(waiting: u64) -> Holding {
        Holding { waiting, ..Holding::default() }
    }

    fn stored(stored: u64, bytes: u64) -> Holding {
        Holding { waiting: 0, stored, bytes }
    }

    #[test]
    fn an_account_has_its_share_and_no_other_s() {
        let mut accounts = Accounts::new(QUOTA);
        accounts.add(ONE, waiting(2));
        assert!(matches!(accounts.may_create(ONE), Err(Error::TooManyWaiting(2))));
        assert!(accounts.may_create(OTHER).is_ok());
        accounts.remove(ONE, waiting(1));
        accounts.add(ONE, stored(1, 60));
        assert!(accounts.may_create(ONE).is_ok());
        assert!(accounts.may_store(ONE, 40).is_ok());
        assert!(matches!(accounts.may_store(ONE, 41), Err(Error::TooManyBytes(100))));
        accounts.add(ONE, stored(1, 0));
        assert!(matches!(accounts.may_create(ONE), Err(Error::TooManyAssets(3))));
        accounts.add(OTHER, stored(1, 100));
        assert!(matches!(accounts.may_create(OTHER), Err(Error::TooManyBytes(100))));
    }

    #[test]
    fn a_lost_transaction_counts_for_nothing() {
        let mut accounts = Accounts::new(QUOTA);
        accounts.add(ONE, waiting(2));
        assert_eq!(accounts.total(), Holding::default(), "nothing of it is on disk yet");
        accounts.settle(true);
        accounts.remove(ONE, waiting(2));
        accounts.add(ONE, stored(1, 9));
        accounts.add(OTHER, stored(2, 7));
        accounts.settle(false);
        assert_eq!((accounts.of(ONE), accounts.of(OTHER)), (waiting(2), Holding::default()));
        assert_eq!(accounts.total(), waiting(2));
        accounts.remove(ONE, waiting(1));
        accounts.add(ONE, stored(1, 9));
        accounts.add(OTHER, stored(2, 7));
        accounts.settle(true);
        assert_eq!(accounts.total(), Holding { waiting: 1, stored: 3, bytes: 16 });
        accounts.remove(ONE, Holding { waiting: 1, stored: 1, bytes: 9 });
        accounts.remove(OTHER, stored(2, 7));
        accounts.settle(true);
        assert_eq!((accounts.total(), accounts.held.len()), (Holding::default(), 0));
    }
}
