//! Who holds how much, as plain arithmetic: no clock, no disk.

use super::Error;

/// What may be held together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) invocations: usize,
    pub(super) bytes: u64,
}

/// What is held.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    invocations: usize,
    bytes: u64,
}

impl Ledger {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, invocations: 0, bytes: 0 }
    }

    /// One more invocation.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        if self.invocations >= self.limits.invocations {
            return Err(Error::Busy(self.limits.invocations));
        }
        self.invocations += 1;
        Ok(())
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
    pub(super) fn leave(&mut self, bytes: u64) {
        self.invocations -= 1;
        self.bytes -= bytes;
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
        Ledger::new(Limits { invocations: 3, bytes: 100 })
    }

    #[test]
    fn the_last_place_and_the_last_byte_are_given() {
        let mut ledger = ledger();
        for _ in 0..3 {
            ledger.enter().unwrap();
        }
        assert!(matches!(ledger.enter(), Err(Error::Busy(3))));
        ledger.claim(60).unwrap();
        assert!(matches!(ledger.claim(41), Err(Error::NoRoom(41))));
        ledger.claim(40).unwrap();
        ledger.claim(0).unwrap();
        ledger.leave(60);
        ledger.claim(60).unwrap();
        ledger.enter().unwrap();
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
        fn limits_hold_and_everything_comes_back(claims in prop::collection::vec((any::<bool>(), 0_u64..120), 0..60)) {
            let mut ledger = ledger();
            let mut held: Vec<u64> = Vec::new();
            for (goes, bytes) in claims {
                if goes && !held.is_empty() {
                    ledger.leave(held.remove(0));
                } else if ledger.enter().is_ok() {
                    held.push(if ledger.claim(bytes).is_ok() { bytes } else { 0 });
                }
                prop_assert_eq!(ledger.held(), (held.len(), held.iter().sum()));
                prop_assert!(held.len() <= 3 && ledger.held().1 <= 100);
            }
            for bytes in held {
                ledger.leave(bytes);
            }
            prop_assert_eq!(ledger.held(), (0, 0));
        }
    }
}
