//! Which invocations their clients will ask for again, as plain bookkeeping: no clock, no task.

use std::collections::HashMap;

use uuid::Uuid;

/// The invocations that were answered 202.
#[derive(Debug)]
pub(crate) struct Board {
    seats: HashMap<Uuid, Seat>,
    finished: u64,
    kept_max: usize,
}

#[derive(Debug)]
struct Seat {
    account: String,
    /// Its place in the order of finishing.
    finished: Option<u64>,
}

impl Board {
    /// Of finished ones at most `kept_max` stay.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { seats: HashMap::new(), finished: 0, kept_max }
    }

    pub(crate) fn add(&mut self, id: Uuid, account: &str) {
        self.seats.insert(id, Seat { account: account.to_owned(), finished: None });
    }

    /// Whether the account has such an invocation.
    pub(crate) fn has(&self, id: Uuid, account: &str) -> bool {
        self.seats.get(&id).is_some_and(|seat| seat.account == account)
    }

    pub(crate) fn remove(&mut self, id: Uuid) {
        self.seats.remove(&id);
    }

    /// The container is done with one. If too many answers are kept now, one has to go: the oldest of the account that
    /// keeps most, so that no account drives out another's.
    #[must_use]
    pub(crate) fn finish(&mut self, id: Uuid) -> Option<Uuid> {
        self.seats.get_mut(&id)?.finished = Some(self.finished);
        self.finished += 1;
        let mut kept: HashMap<&str, usize> = HashMap::new();
        for seat in self.seats.values().filter(|seat| seat.finished.is_some()) {
            *kept.entry(&seat.account).or_default() += 1;
        }
        if kept.values().sum::<usize>() <= self.kept_max {
            return None;
        }
        let (account, _) = kept.into_iter().max_by_key(|(account, count)| (*count, *account))?;
        let of_account = self.seats.iter().filter(|(_, seat)| seat.account == account);
        let oldest = of_account.filter_map(|(id, seat)| Some((seat.finished?, *id))).min()?.1;
        self.remove(oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn only_its_account_sees_an_invocation() {
        let mut board = Board::new(2);
        board.add(id(1), "acme");
        assert!(board.has(id(1), "acme"));
        assert!(!board.has(id(1), "acme2") && !board.has(id(1), "") && !board.has(id(2), "acme"));
        board.remove(id(1));
        assert!(!board.has(id(1), "acme"));
    }

    #[test]
    fn the_account_that_keeps_most_loses_its_oldest_answer() {
        let mut board = Board::new(3);
        for (number, account) in [(1, "quiet"), (2, "busy"), (3, "busy"), (4, "busy")] {
            board.add(id(number), account);
        }
        let dropped: Vec<_> = [1, 3, 2, 4].into_iter().map(|number| board.finish(id(number))).collect();
        assert_eq!(dropped, [None, None, None, Some(id(3))]);
        assert!(board.has(id(1), "quiet") && !board.has(id(3), "busy") && board.has(id(2), "busy"));
    }

    #[test]
    fn what_still_runs_is_never_dropped() {
        let mut board = Board::new(1);
        for number in 0..100 {
            board.add(id(number), "acme");
        }
        assert_eq!(board.finish(id(7)), None);
        assert_eq!(board.finish(id(8)), Some(id(7)));
        assert_eq!(board.finish(id(7)), None, "one that is gone finishes without effect");
        assert!(board.has(id(0), "acme"));
    }
}
