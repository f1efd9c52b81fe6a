//! Parts the members into those that are asked and those that need not be: they are away, or a fresh summary proves that
//! they hold nothing of it.

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::summary::Probe;

use super::Shared;
use super::peers::{Known, Standing};
use super::report::Outcome;
use crate::summaries::Verdict;

/// The members of one question.
#[derive(Debug, Default)]
pub(super) struct Parted {
    /// Those to be asked.
    pub(super) up: Vec<Known>,
    /// Whether a summary says of each of them that it may hold something.
    pub(super) may: Vec<bool>,
    /// The others, and why they are not asked.
    pub(super) rest: Vec<(Known, Outcome)>,
}

impl Shared {
    /// Whom to ask for what a probe describes.
    pub(super) fn parted(&self, others: Vec<Known>, probe: &Probe) -> Parted {
        let members = 1 + others.iter().filter(|peer| peer.standing != Standing::Left).count();
        let (up, away): (Vec<Known>, Vec<Known>) =
            others.into_iter().partition(|peer| peer.standing == Standing::Up);
        let keys: Vec<NodeKey> = up.iter().map(|peer| peer.key).collect();
        let verdicts = self.summaries.judge(members, &keys, probe);
        let mut parted = Parted::default();
        for (peer, verdict) in up.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Not(as_of) => parted.rest.push((peer, Outcome::Pruned(as_of))),
                Verdict::May | Verdict::Unknown => {
                    parted.up.push(peer);
                    parted.may.push(verdict == Verdict::May);
                }
            }
        }
        let away = away.into_iter().map(|peer| {
            let why = self.unasked(&peer);
            (peer, why)
        });
        parted.rest.extend(away);
        parted
    }

    /// Leaves so many that one question can go to them.
    pub(super) fn chosen(&self, parted: Parted, question: &str) -> Parted {
        let Parted { up, may, rest } = parted;
        let keys: Vec<NodeKey> = up.iter().map(|peer| peer.key).collect();
        let asked = self.yields().choose(&keys, question);
        let mut chosen = Parted { rest, ..Parted::default() };
        for ((peer, may), is_asked) in up.into_iter().zip(may).zip(asked) {
            if is_asked {
                chosen.up.push(peer);
                chosen.may.push(may);
            } else {
                chosen.rest.push((peer, Outcome::NotChosen));
            }
        }
        chosen
    }

    /// What is said of a member that is not up.
    fn unasked(&self, peer: &Known) -> Outcome {
        match peer.standing {
            Standing::Left => Outcome::Left,
            Standing::Forgotten => Outcome::Departed,
            Standing::Down(time) if time >= self.config.departed_after => Outcome::Departed,
            Standing::Down(_) | Standing::Up => Outcome::Down,
        }
    }
}
