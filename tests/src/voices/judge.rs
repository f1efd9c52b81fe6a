//! Is an answer as whole as it says? Pure. What is missing must be the rows of nodes that are named.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

/// One page, in indexes of the oracle's rows.
#[derive(Debug)]
pub(super) struct Seen<'s> {
    /// What a complete answer would hold from here on, however many pages that takes.
    pub(super) expect: &'s [usize],
    pub(super) limit: usize,
    pub(super) found: &'s [usize],
    pub(super) complete: bool,
    /// The nodes that are named.
    pub(super) missing: &'s BTreeSet<String>,
    /// Whether another page is offered.
    pub(super) more: bool,
}

/// Holds an answer to what it says. `owner` tells whose a row is.
pub(super) fn judge<'o>(seen: &Seen<'_>, owner: impl Fn(usize) -> &'o str) -> Result<()> {
    let Seen { expect, limit, found, complete, missing, more } = seen;
    ensure!(found.len() <= *limit, "{} rows in a page of {limit}", found.len());
    ensure!(*complete == missing.is_empty(), "complete: {complete}, and {missing:?} are named as missing");
    let mut rest = expect.iter();
    for row in *found {
        let mut skipped = Vec::new();
        loop {
            match rest.next() {
                Some(expected) if expected == row => break,
                Some(expected) => skipped.push(*expected),
                None => bail!("row {row} does not belong where it stands"),
            }
        }
        must_be_excused(&skipped, missing, &owner)?;
    }
    let rest: Vec<usize> = rest.copied().collect();
    match more {
        true if *complete => ensure!(!rest.is_empty(), "it offers a page behind the last row"),
        true => {}
        // It says that nothing comes behind.
        false => must_be_excused(&rest, missing, &owner)?,
    }
    Ok(())
}

fn must_be_excused<'o>(
    skipped: &[usize],
    missing: &BTreeSet<String>,
    owner: impl Fn(usize) -> &'o str,
) -> Result<()> {
    match skipped.iter().find(|row| !missing.contains(owner(**row))) {
        Some(row) => bail!("row {row} of {} is not there, and only {missing:?} are named", owner(*row)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNERS: [&str; 6] = ["a", "b", "a", "c", "b", "a"];

    fn told(found: &[usize], missing: &[&str], limit: usize, more: bool) -> bool {
        let missing: BTreeSet<String> = missing.iter().map(|name| (*name).to_owned()).collect();
        let complete = missing.is_empty();
        let seen = Seen { expect: &[0, 1, 2, 3, 4, 5], limit, found, complete, missing: &missing, more };
        judge(&seen, |row| OWNERS[row]).is_ok()
    }

    #[test]
    fn whole_answers_are_exactly_the_expected_rows() {
        assert!(told(&[0, 1, 2, 3, 4, 5], &[], 9, false));
        assert!(told(&[0, 1], &[], 2, true));
        for (found, more) in [
            (&[0, 1, 2, 3, 4][..], false),
            (&[0, 2, 3, 4, 5], false),
            (&[0, 1, 2, 3, 4, 5], true),
            (&[1, 0], true),
            (&[0, 0], true),
            (&[0, 1, 2, 3, 4, 5, 0], false),
            (&[0, 1, 2, 3, 4, 5, 6], false),
            (&[], false),
        ] {
            assert!(!told(found, &[], 9, more), "{found:?} {more}");
        }
    }

    #[test]
    fn rows_may_lack_only_if_their_owner_is_named() {
        assert!(told(&[1, 3, 4], &["a"], 9, false));
        assert!(told(&[0, 1], &["c"], 2, true));
        assert!(told(&[1, 3], &["a"], 2, true));
        assert!(!told(&[1, 4], &["a"], 9, false), "c is not named");
        assert!(!told(&[1, 3], &["a"], 9, false), "the last of b");
        assert!(!told(&[1, 3, 4], &[], 9, false), "complete");
        assert!(!told(&[3, 1, 4], &["a", "b", "c"], 9, false), "not in order");
        assert!(!told(&[1, 3, 4, 4], &["a", "b", "c"], 9, false), "twice");
    }

    #[test]
    fn nobody_is_named_in_a_complete_answer_and_somebody_in_any_other() {
        let all = [0, 1, 2, 3, 4, 5];
        for (complete, named) in [(true, true), (false, false)] {
            let missing: BTreeSet<String> = named.then(|| "a".to_owned()).into_iter().collect();
            let seen = Seen { expect: &all, limit: 9, found: &all, complete, missing: &missing, more: false };
            assert!(judge(&seen, |row| OWNERS[row]).is_err());
        }
    }
}
