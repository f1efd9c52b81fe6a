//! What an answer covers: what became of each member. Pure. No answer hides what it lacks.

use std::time::Duration;

use assetmesh_protocol::query::Shortfall;
use serde::Serialize;

use super::Own;
use super::peers::Known;
use crate::catalog::Gap;
use crate::{clock, swarm};

/// What became of each member that might have known more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Members that have not left, this node included.
    pub known: u64,
    /// Those believed to be up.
    pub alive: u64,
    /// Those that were asked.
    pub asked: u64,
    /// Those that answered in full.
    pub answered: u64,
    /// Those proven to hold nothing that matches, which were not asked.
    pub pruned: u64,
    /// Those that answered in part.
    pub partial: u64,
    /// Those that did not answer in time.
    pub timed_out: u64,
    /// Those that gave no acceptable answer, or are left alone because they gave none for some time.
    pub failed: u64,
    /// Those that had too much to do.
    pub busy: u64,
    /// Those that are away so long that nobody waits for them, or were given up by this node's operator.
    pub departed: u64,
}

/// A member whose answer is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its asset database.
    pub assets_db_id: String,
    /// Its name for people.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The coverage of one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True only if every member that has neither left nor departed answered in full or was pruned.
    pub complete: bool,
    /// How many did what.
    pub nodes: Counts,
    /// Those that did not.
    pub missing: Vec<Missing>,
    /// When the oldest summary that ruled a member out was asked for; RFC 3339. What that member has taken since may be
    /// missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned_as_of: Option<String>,
    /// Milliseconds from the question to this answer.
    pub took_ms: u64,
    #[serde(skip)]
    oldest: Option<Duration>,
    #[serde(skip)]
    late: bool,
}

/// What became of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered in full.
    Full,
    /// Its summary, asked for at this time since 1970, proves that it holds nothing of it.
    Pruned(Duration),
    /// It answered, and its answer lacks something.
    Partial(Shortfall),
    /// It did not answer in time.
    TimedOut,
    /// It has too much to do.
    Busy,
    /// This node asks it too much already; it was not asked this.
    NotSent,
    /// What it sent was not acceptable.
    Malformed,
    /// It cannot be reached.
    Unreachable,
    /// It does not answer this, or failed.
    Failed(&'static str),
    /// It failed so often that it was not asked.
    LeftAlone,
    /// More members may hold something than one question goes to, and others came first.
    NotChosen,
    /// It is known to be down and was not asked.
    Down,
    /// It has been down for so long that it is not missed, or was given up.
    Departed,
    /// It has left.
    Left,
}

impl Outcome {
    /// What a failed request tells.
    pub(super) fn of(error: &swarm::Error) -> Self {
        use swarm::Error;
        match error {
            Error::Timeout(_) => Self::TimedOut,
            Error::Busy => Self::Busy,
            Error::NotSent => Self::NotSent,
            Error::Unreachable(_) | Error::Interrupted => Self::Unreachable,
            Error::BadAnswer(_) => Self::Malformed,
            Error::TooLarge { .. } => Self::Failed("the question is too long to send"),
            Error::Refused => Self::Failed("refused"),
            Error::Stopped => Self::Failed("this node is stopping"),
        }
    }

    /// The word for it, in metrics too.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Pruned(_) => "pruned",
            Self::Partial(Shortfall::Deadline) => "stopped at the deadline",
            Self::Partial(Shortfall::Damaged) => "damaged rows are not served",
            Self::TimedOut => "timed_out",
            Self::Busy | Self::NotSent => "busy",
            Self::Malformed => "malformed",
            Self::Unreachable => "unreachable",
            Self::Failed(why) => why,
            Self::LeftAlone => "failed repeatedly, not asked for a while",
            Self::NotChosen => "not asked, more members may match than are asked at once",
            Self::Down => "down",
            Self::Departed => "departed",
            Self::Left => "left",
        }
    }
}

impl From<Gap> for Outcome {
    fn from(gap: Gap) -> Self {
        Self::Partial(match gap {
            Gap::Deadline => Shortfall::Deadline,
            Gap::DamagedRows(_) => Shortfall::Damaged,
        })
    }
}

impl Report {
    /// A report on this node alone so far.
    pub(super) fn begin(own: &Own, outcome: &Outcome) -> Self {
        let mut report = Self { complete: true, ..Self::default() };
        report.count(&own.id.to_string(), &own.name, outcome);
        report
    }

    /// Adds another member.
    pub(super) fn add(&mut self, peer: &Known, outcome: &Outcome) {
        self.count(&peer.id.to_string(), &peer.name, outcome);
    }

    /// Ends the report.
    pub(super) fn after(mut self, took: Duration) -> Self {
        self.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.pruned_as_of = self.oldest.and_then(clock::text);
        self
    }

    /// Whether somebody was asked and had not answered in full when the time was up.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.late
    }

    /// Whether all that are up, this node included, said in full what they have, or were proven to have nothing of it.
    #[must_use]
    pub const fn all_up_told(&self) -> bool {
        self.nodes.alive == self.nodes.answered + self.nodes.pruned
    }

    /// Who did not answer in full, in one line.
    #[must_use]
    pub fn missing_line(&self) -> String {
        let named = |missing: &Missing| format!("{} ({})", missing.name, missing.reason);
        self.missing.iter().map(named).collect::<Vec<_>>().join(", ")
    }

    fn count(&mut self, id: &str, name: &str, outcome: &Outcome) {
        let nodes = &mut self.nodes;
        match outcome {
            Outcome::Left => return,
            Outcome::Departed => {
                nodes.known += 1;
                nodes.departed += 1;
                return;
            }
            Outcome::Pruned(as_of) => {
                nodes.known += 1;
                nodes.alive += 1;
                nodes.pruned += 1;
                self.oldest = Some(self.oldest.map_or(*as_of, |oldest| oldest.min(*as_of)));
                return;
            }
            Outcome::Down => nodes.known += 1,
            Outcome::NotChosen => {
                nodes.known += 1;
                nodes.alive += 1;
            }
            Outcome::LeftAlone => {
                nodes.known += 1;
                nodes.alive += 1;
                nodes.failed += 1;
            }
            asked => {
                nodes.known += 1;
                nodes.alive += 1;
                nodes.asked += 1;
                *nodes.of(asked) += 1;
            }
        }
        if *outcome != Outcome::Full {
            self.complete = false;
            self.late |= matches!(outcome, Outcome::TimedOut | Outcome::Partial(Shortfall::Deadline));
            let reason = outcome.name().to_owned();
            self.missing.push(Missing { assets_db_id: id.to_owned(), name: name.to_owned(), reason });
        }
    }
}

impl Counts {
    /// The count that an outcome of a question goes to.
    fn of(&mut self, outcome: &Outcome) -> &mut u64 {
        match outcome {
            Outcome::Full => &mut self.answered,
            Outcome::Partial(_) => &mut self.partial,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Busy | Outcome::NotSent => &mut self.busy,
            _ => &mut self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
    use uuid::Uuid;

    use super::*;
    use crate::query::peers::Standing;

    fn report(outcomes: &[Outcome]) -> Report {
        let own = Own { id: AssetsDbId(Uuid::nil()), name: "own".to_owned() };
        let mut report = Report::begin(&own, &Outcome::Full);
        for outcome in outcomes {
            let key = NodeKey([1; 32]);
            let name = "other".to_owned();
            report.add(&Known { key, id: key.assets_db_id(), name, standing: Standing::Up }, outcome);
        }
        report.after(Duration::from_millis(7))
    }

    #[test]
    fn only_members_that_left_or_departed_are_not_missed() {
        let gone = report(&[Outcome::Left, Outcome::Departed, Outcome::Full]);
        assert!(gone.complete && gone.missing.is_empty() && gone.all_up_told());
        let expect = Counts { known: 3, alive: 2, asked: 2, answered: 2, departed: 1, ..Counts::default() };
        assert_eq!((gone.nodes, gone.took_ms), (expect, 7));
    }

    #[test]
    fn members_that_were_ruled_out_are_not_missed_and_the_oldest_proof_is_told() {
        let at = |seconds| Outcome::Pruned(Duration::from_secs(seconds));
        let told = report(&[at(30), Outcome::Full, at(20), at(25)]);
        assert!(told.complete && told.missing.is_empty() && told.all_up_told());
        assert_eq!((told.nodes.known, told.nodes.alive, told.nodes.asked), (5, 5, 2));
        assert_eq!((told.nodes.answered, told.nodes.pruned), (2, 3));
        assert_eq!(told.pruned_as_of.unwrap(), "1970-01-01T00:00:20.000Z");
        assert_eq!(report(&[Outcome::Full]).pruned_as_of, None);
    }

    #[test]
    fn every_other_outcome_makes_it_incomplete_and_names_the_member() {
        let table = [
            (Outcome::Partial(Shortfall::Deadline), true),
            (Outcome::Partial(Shortfall::Damaged), false),
            (Outcome::TimedOut, true),
            (Outcome::Busy, false),
            (Outcome::NotSent, false),
            (Outcome::Malformed, false),
            (Outcome::Unreachable, false),
            (Outcome::Failed("refused"), false),
            (Outcome::LeftAlone, false),
            (Outcome::NotChosen, false),
            (Outcome::Down, false),
        ];
        for (outcome, late) in table {
            let told = report(std::slice::from_ref(&outcome));
            assert!(!told.complete, "{outcome:?}");
            assert_eq!(told.is_late(), late, "{outcome:?}");
            assert_eq!(told.all_up_told(), outcome == Outcome::Down, "{outcome:?}");
            assert_eq!(told.missing[0].reason, outcome.name());
            let nodes = told.nodes;
            let sum = nodes.answered + nodes.partial + nodes.timed_out + nodes.failed + nodes.busy;
            let down = u64::from(matches!(outcome, Outcome::Down | Outcome::NotChosen));
            assert_eq!((nodes.known, sum), (2, 2 - down), "{outcome:?}");
        }
    }
}
