//! Who holds how much, as plain arithmetic: no clock, no disk. It never waits for the turns that it keeps for an account.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Error;

/// What may be held together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) invocations: usize,
    /// Of these, by one account.
    pub(super) of_account: usize,
    /// Files of one account that are received at once.
    pub(super) receivers_of_account: usize,
    pub(super) bytes: u64,
}

/// What an account has that has entered.
#[derive(Debug)]
struct Account {
    invocations: usize,
    /// Its turns to receive a file.
    receivers: Arc<Semaphore>,
}

/// What is held.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    invocations: usize,
    /// Only accounts that have some.
    of_accounts: HashMap<Arc<str>, Account>,
    bytes: u64,
}

impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, invocations: 0, of_accounts: HashMap::new(), bytes: 0 }
    }

    /// One more invocation of an account. Gives the turns of its account to receive a file.
    pub(super) fn enter(&mut self, account: &Arc<str>) -> Result<Arc<Semaphore>, Error> {
        let has = self.of_accounts.get(account).map_or(0, |has| has.invocations);
        if has >= self.limits.of_account {
            return Err(Error::AccountBusy(self.limits.of_account));
        }
        if self.invocations >= self.limits.invocations {
            return Err(Error::Busy(self.limits.invocations));
        }
        self.invocations += 1;
        let receivers = self.limits.receivers_of_account;
        let has = self
            .of_accounts
            .entry(Arc::clone(account))
            .or_insert_with(|| Account { invocations: 0, receivers: Arc::new(Semaphore::new(receivers)) });
        has.invocations += 1;
        Ok(Arc::clone(&has.receivers))
    }

    /// More bytes for one that has entered.
    pub(super) fn claim(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > self.limits.bytes {
            return Err(Error::TooLarge(bytes));
        }
        if bytes > self.limits.bytes - self.bytes {
            return Err(Error::NoRoom(bytes));
        }
        self.bytes += bytes;
        Ok(())
    }

    /// One that has entered goes, with all it has claimed.
    pub(super) fn leave(&mut self, account: &Arc<str>, bytes: u64) {
        self.invocations -= 1;
        self.bytes -= bytes;
        if let Entry::Occupied(mut left) = self.of_accounts.entry(Arc::clone(account)) {
            left.get_mut().invocations -= 1;
            if left.get().invocations == 0 {
                left.remove();
            }
        }
    }

    pub(super) const fn held(&self) -> (usize, u64) {
        (self.invocations, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Limits { invocations: 3, of_account: 2, receivers_of_account: 1, bytes: 100 })
    }

    #[test]
    fn the_last_place_and_the_last_byte_are_given() {
        let (mut ledger, acme, beta) = (ledger(), Arc::from("acme"), Arc::from("beta"));
        for account in [&acme, &acme, &beta] {
            ledger.enter(account).unwrap();
        }
        assert!(matches!(ledger.enter(&beta), Err(Error::Busy(3))));
        ledger.claim(60).unwrap();
        assert!(matches!(ledger.claim(41), Err(Error::NoRoom(41))));
        ledger.claim(40).unwrap();
        ledger.claim(0).unwrap();
        ledger.leave(&acme, 60);
        ledger.claim(60).unwrap();
        ledger.enter(&acme).unwrap();
    }

    #[test]
    fn one_account_leaves_places_to_others() {
        let (mut ledger, acme, beta) = (ledger(), Arc::from("acme"), Arc::from("beta"));
        ledger.enter(&acme).unwrap();
        ledger.enter(&acme).unwrap();
        assert!(matches!(ledger.enter(&acme), Err(Error::AccountBusy(2))));
        ledger.enter(&beta).unwrap();
        ledger.leave(&acme, 0);
        assert!(ledger.enter(&acme).is_ok(), "its own place is free again");
        for account in [&acme, &acme, &beta] {
            ledger.leave(account, 0);
        }
        assert!(ledger.of_accounts.is_empty(), "who has none is forgotten");
    }

    #[test]
    fn the_invocations_of_an_account_share_its_turns() {
        let (mut ledger, acme, beta) = (ledger(), Arc::from("acme"), Arc::from("beta"));
        let first = ledger.enter(&acme).unwrap();
        let _turn = first.try_acquire().unwrap();
        assert!(ledger.enter(&acme).unwrap().try_acquire().is_err());
        assert!(ledger.enter(&beta).unwrap().try_acquire().is_ok());
    }

    #[test]
    fn what_never_fits_is_told_apart_from_what_does_not_fit_now() {
        let mut ledger = ledger();
        assert!(matches!(ledger.claim(101), Err(Error::TooLarge(101))));
        assert!(matches!(ledger.claim(u64::MAX), Err(Error::TooLarge(_))));
        assert_eq!(ledger.held(), (0, 0));
    }

    proptest! {
        #[test]
        fn limits_hold_and_everything_comes_back(
            steps in prop::collection::vec((any::<bool>(), 0_usize..3, 0_u64..120), 0..60)
        ) {
            let accounts: [Arc<str>; 3] = ["acme", "beta", "gamma"].map(Arc::from);
            let mut ledger = ledger();
            let mut held: Vec<(usize, u64)> = Vec::new();
            for (goes, account, bytes) in steps {
                if goes && !held.is_empty() {
                    let (account, bytes) = held.remove(0);
                    ledger.leave(&accounts[account], bytes);
                } else if ledger.enter(&accounts[account]).is_ok() {
                    held.push((account, if ledger.claim(bytes).is_ok() { bytes } else { 0 }));
                }
                let of_account = |wanted| held.iter().filter(|(account, _)| *account == wanted).count();
                prop_assert_eq!(ledger.held(), (held.len(), held.iter().map(|(_, bytes)| bytes).sum()));
                prop_assert!(held.len() <= 3 && ledger.held().1 <= 100);
                prop_assert!((0..3).all(|account| of_account(account) <= 2));
            }
            for (account, bytes) in held {
                ledger.leave(&accounts[account], bytes);
            }
            prop_assert_eq!(ledger.held(), (0, 0));
            prop_assert!(ledger.of_accounts.is_empty());
        }
    }
}
