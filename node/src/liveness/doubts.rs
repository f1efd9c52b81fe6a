//! Doubt: nobody is given up because one node hears nothing. The doubter asks others to try, takes a proof of life from
//! any of them, and needs their silence too; monitors also sign for it. Part of the pure state.

use std::collections::BTreeMap;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Claim, Message, Proof, Signed, Standing};

use super::ring::{RANKS, Slot};
use super::state::{MONITORS, Output, State};
use super::{PeerState, Why};

/// Others of a mesh that are asked first, and at every tick after that: only one of them may still have a way.
const HELPERS: (usize, usize) = (3, 5);
/// Signatures that make a claim.
pub(super) const BALLOTS: usize = 2;
/// Attempts for others that run at once. More are refused: each costs a message to the target.
const ATTEMPTS_MAX: usize = 256;
/// Proofs that may be signed in a burst, and a second: a signature costs about 20 µs, and 64 peers may ask.
const PROOFS_BURST: u32 = 128;
/// How recently a helper must have heard a peer to refuse its ballot.
pub(super) const RECENTLY: Duration = Duration::from_millis(2500);
/// A silence that a node tells of although it may itself be at fault, and how often it does.
const ALERT_AFTER: Duration = Duration::from_secs(7);
const ALERT_EVERY: Duration = Duration::from_secs(3);
/// How much later than its monitors others take a suspect for down.
const STANDS_BY: Duration = Duration::from_secs(2);
/// How often a peer that is not heard directly is asked for a proof through others.
const RELAYED_EVERY: Duration = Duration::from_secs(2);
/// First and longest time between two attempts to reach a peer of a mesh, that is down, through others.
const KNOCK_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// A doubt that runs.
#[derive(Debug)]
struct Doubt {
    standing: Standing,
    incarnation: u64,
    nonce: u64,
    began: Duration,
    /// How often others were asked.
    round: u32,
    /// When monitors are asked again.
    next: Duration,
    ballots: Vec<Signed>,
}

/// An attempt for another node's doubt.
#[derive(Debug)]
struct Attempt {
    asker: NodeKey,
    claim: Claim,
    until: Duration,
}

/// The running doubts and attempts.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    own: BTreeMap<Slot, Doubt>,
    /// By target and nonce.
    attempts: BTreeMap<(NodeKey, u64), Attempt>,
    /// When to try a peer that is down through others, and how long to wait after that.
    knocks: BTreeMap<Slot, (Duration, Duration, u64)>,
    /// When others were last told that this node hears nothing of a peer, without judging it.
    alerts: BTreeMap<Slot, Duration>,
    /// Confirmed suspects, and when to step in for their monitors.
    suspects: BTreeMap<Slot, Duration>,
    proofs: (Duration, u32),
}

impl Doubts {
    /// The peer has answered.
    pub(super) fn drop_doubt(&mut self, slot: Slot) {
        self.own.remove(&slot);
        self.knocks.remove(&slot);
    }

    /// The peer is no member any more.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.drop_doubt(slot);
        self.alerts.remove(&slot);
        self.suspects.remove(&slot);
    }

    /// What was doubted is claimed now.
    pub(super) fn settle(&mut self, slot: Slot, claimed: (u64, Standing)) {
        if self.own.get(&slot).is_some_and(|doubt| (doubt.incarnation, doubt.standing) <= claimed) {
            self.own.remove(&slot);
        }
    }
}

impl State {
    /// This node was stopped: what it was about to conclude is worth nothing.
    pub(super) fn forget_doubts(&mut self) {
        self.doubts.own.clear();
        self.doubts.attempts.clear();
        self.put_off_holds();
    }

    /// Looks at one watched peer.
    pub(super) fn judge(&mut self, slot: Slot) {
        let Some(peer) = self.table.get(slot) else { return };
        if self.health.is_suspended(self.now) {
            self.alert(slot);
            return;
        }
        if self.doubts.own.contains_key(&slot) {
            self.next_round(slot);
            return;
        }
        // A peer that is kept by proofs alone is asked for the next one before its silence is surprising.
        let asks = peer.relayed && self.silence(slot).is_some_and(|silence| silence >= RELAYED_EVERY);
        // In a mesh nobody claimed that it is down, and those who come later must learn it.
        let unclaimed = peer.standing() == Some(Standing::Alive);
        match (peer.state, self.mesh) {
            (PeerState::Alive, true) if asks => self.doubt(slot, Standing::Suspect),
            (PeerState::Alive, _) | (PeerState::Suspect, true) if self.is_silent(slot) => {
                self.doubt(slot, Standing::Suspect);
            }
            (PeerState::Suspect, false) => self.after_suspicion(slot),
            (PeerState::Down, true) => self.knock(slot),
            (PeerState::Down, false) if unclaimed && self.is_silent(slot) => {
                self.doubt(slot, Standing::Suspect)
            }
            _ => {}
        }
    }

    /// A node that was just stopped judges nobody, and one that is stopped again and again never does. But it can say
    /// that it hears nothing, so that those who run look for themselves.
    fn alert(&mut self, slot: Slot) {
        let now = self.now;
        let Some(peer) = self.table.get(slot).filter(|_| !self.mesh && self.health.has_read_its_mail(now))
        else {
            return;
        };
        let silent = now.saturating_sub(peer.heard.unwrap_or(peer.since).max(peer.since));
        let alerted = self.doubts.alerts.get(&slot).is_some_and(|alerted| now < *alerted + ALERT_EVERY);
        if peer.state != PeerState::Alive || silent < ALERT_AFTER || alerted {
            return;
        }
        let (target, incarnation, standing) = (peer.key, peer.incarnation(), Standing::Suspect);
        self.doubts.alerts.insert(slot, now);
        let nonce = self.random.number();
        for to in self.helpers(slot, 1) {
            self.send(to, Message::Doubt { target, incarnation, standing, nonce });
        }
    }

    /// A peer is a confirmed suspect. Those who would step in for its monitors wait a little longer than these.
    pub(super) fn stand_by(&mut self, slot: Slot) {
        if !self.mesh && self.may_speak(slot, &self.me) {
            self.doubts.suspects.insert(slot, self.now + self.patience() + STANDS_BY);
        }
    }

    /// Steps in where the monitors have not come to an end with a suspect.
    pub(super) fn step_in(&mut self) {
        let now = self.now;
        if self.health.is_suspended(now) {
            return;
        }
        let due = self.doubts.suspects.iter().filter(|(_, due)| now >= **due).map(|(slot, _)| *slot);
        for slot in due.collect::<Vec<_>>() {
            self.doubts.suspects.remove(&slot);
            if !self.doubts.own.contains_key(&slot)
                && self.table.get(slot).is_some_and(|peer| peer.state == PeerState::Suspect)
            {
                self.after_suspicion(slot);
            }
        }
    }

    /// All peers that need a look: those to watch, and those that somebody else's doubt made this node doubt.
    pub(super) fn doubted(&self) -> impl Iterator<Item = Slot> {
        self.doubts.own.keys().copied()
    }

    /// A confirmed suspect has had its time to refute.
    fn after_suspicion(&mut self, slot: Slot) {
        let Some(peer) = self.table.get(slot) else { return };
        let (silent_since, over) =
            (peer.heard.is_none_or(|heard| heard < peer.since), self.now >= peer.since + self.patience());
        if peer.standing() == Some(Standing::Suspect) && silent_since && over {
            self.doubt(slot, Standing::Down);
        }
    }

    fn patience(&self) -> Duration {
        self.config.refute_within * self.health.factor(self.now)
    }

    fn doubt(&mut self, slot: Slot, standing: Standing) {
        let Some(peer) = self.table.get(slot) else { return };
        let claimed = matches!(peer.standing(), Some(Standing::Suspect | Standing::Down));
        if !self.mesh && standing == Standing::Suspect && claimed {
            // It is claimed already, and what this node makes of that is put off only.
            return;
        }
        let incarnation = peer.incarnation();
        let nonce = self.random.number();
        let (began, next) = (self.now, self.now);
        let doubt = Doubt { standing, incarnation, nonce, began, round: 0, next, ballots: Vec::new() };
        self.doubts.own.insert(slot, doubt);
        self.next_round(slot);
    }

    /// Asks, waits, concludes. Round 0 asks the first helpers; what follows depends on the size of the federation.
    fn next_round(&mut self, slot: Slot) {
        let now = self.now;
        let wait = self.config.round * self.health.factor(now);
        let Some(doubt) = self.doubts.own.get_mut(&slot) else { return };
        let (round, standing) = (doubt.round, doubt.standing);
        if self.mesh {
            // Any of several messages may have been lost: asking again is cheap, giving up is not.
            doubt.round += 1;
            if now >= doubt.began + wait {
                self.decline(slot, wait);
            }
        } else {
            if now < doubt.next {
                return;
            }
            // The first helpers' ballots are on their way after one round; later rounds ask more of them.
            doubt.round += 1;
            doubt.next = now + wait * doubt.round.min(4);
            if round == 1 {
                self.vote(slot, standing);
            }
        }
        self.ask_helpers(slot, round);
    }

    /// Asking has brought no proof: one step down, if the silence and the asking have lasted long enough for it.
    fn decline(&mut self, slot: Slot, wait: Duration) {
        let Some(peer) = self.table.get(slot) else { return };
        let silence = self.silence(slot).unwrap_or_default();
        let given_up = silence >= self.config.down_after * self.health.factor(self.now);
        match peer.state {
            PeerState::Alive if self.is_silent(slot) => {
                self.set_state(slot, PeerState::Suspect, Why::Silent(silence));
            }
            PeerState::Suspect if given_up && self.now >= peer.since + wait => {
                self.set_state(slot, PeerState::Down, Why::Silent(silence));
                self.doubts.drop_doubt(slot);
            }
            _ => {}
        }
    }

    fn ask_helpers(&mut self, slot: Slot, round: u32) {
        let (Some(peer), Some(doubt)) = (self.table.get(slot), self.doubts.own.get(&slot)) else { return };
        let (target, nonce) = (peer.key, doubt.nonce);
        let (incarnation, standing) = (doubt.incarnation, doubt.standing);
        self.send(target, Message::Challenge { nonce });
        for to in self.helpers(slot, round) {
            self.send(to, Message::Doubt { target, incarnation, standing, nonce });
        }
    }

    /// Whom to ask: in a mesh any linked members, else the other monitors, and from the second round on also those who
    /// would step in for them.
    fn helpers(&mut self, slot: Slot, round: u32) -> Vec<NodeKey> {
        let target = self.table.get(slot).map(|peer| peer.key);
        if self.mesh {
            let others = self.linked().filter(|key| Some(*key) != target && self.table.find(key).is_some());
            let others = others.collect();
            return self.random.choose(others, if round == 0 { HELPERS.0 } else { HELPERS.1 });
        }
        let ranks = if round == 0 { MONITORS } else { RANKS };
        self.ring.of(slot).iter().take(ranks).filter_map(|slot| Some(self.table.get(*slot)?.key)).collect()
    }

    /// Adds this node's own signature to its doubt, if it is one of those who may sign.
    fn vote(&mut self, slot: Slot, standing: Standing) {
        if let Some(ballot) = self.ballot(slot, standing) {
            self.count_ballot(self.me, &ballot);
        }
    }

    /// This node's signature under a claim, unless it has reason to believe otherwise.
    fn ballot(&self, slot: Slot, standing: Standing) -> Option<Claim> {
        let peer = self.table.get(slot)?;
        let hears = peer.heard.is_some_and(|heard| self.now < heard + RECENTLY);
        let waited = standing == Standing::Suspect
            || (peer.standing() == Some(Standing::Suspect)
                && peer.state == PeerState::Suspect
                && self.now + self.config.round >= peer.since + self.patience());
        if hears || !waited || self.health.is_suspended(self.now) {
            return None;
        }
        let (target, incarnation) = (peer.key, peer.incarnation());
        let statement = Claim::statement(&self.network, &target, incarnation, standing);
        let signed = vec![Signed { by: self.me, signature: self.notary.sign(&statement) }];
        Some(Claim { target, incarnation, standing, signed })
    }

    /// Takes a ballot for a doubt of this node.
    pub(super) fn count_ballot(&mut self, from: NodeKey, ballot: &Claim) {
        let Some(slot) = self.table.find(&ballot.target) else { return };
        let Some(signed) = ballot.signed.first().filter(|signed| signed.by == from) else { return };
        let own = from == self.me;
        let wanted = self.doubts.own.get(&slot).is_some_and(|doubt| {
            (doubt.incarnation, doubt.standing) == ballot.precedence()
                && doubt.ballots.iter().all(|other| other.by != from)
        });
        if !wanted || !(own || self.may_speak(slot, &from)) {
            return;
        }
        if !own && !self.is_signed(ballot, signed) {
            self.out.push(Output::Forged(from));
            return;
        }
        let Some(doubt) = self.doubts.own.get_mut(&slot) else { return };
        doubt.ballots.push(signed.clone());
        if doubt.ballots.len() >= BALLOTS && doubt.ballots.iter().any(|signed| signed.by == self.me) {
            let mut signed = std::mem::take(&mut doubt.ballots);
            signed.sort_by_key(|signed| signed.by != self.me);
            signed.truncate(BALLOTS);
            self.doubts.drop_doubt(slot);
            self.accept(None, slot, Claim { signed, ..ballot.clone() }.into());
        }
    }

    /// Another node doubts: tries to reach the target for it.
    pub(super) fn help(&mut self, asker: NodeKey, claim: &Claim, nonce: u64) {
        if claim.target == self.me {
            self.prove(asker, nonce);
            return;
        }
        let Some(slot) = self.table.find(&claim.target).filter(|_| self.table.find(&asker).is_some()) else {
            return;
        };
        if let Some(known) = self.table.get(slot).and_then(|peer| peer.claim.clone())
            && known.precedence() >= claim.precedence()
            && !self.mesh
        {
            self.send(asker, Message::Claims(vec![known]));
            return;
        }
        // One that this node of a mesh does not hear itself it cannot reach for others.
        let reaches =
            self.table.get(slot).is_some_and(|peer| peer.state == PeerState::Alive && !peer.relayed);
        if (reaches || !self.mesh) && self.doubts.attempts.len() < ATTEMPTS_MAX {
            let until = self.now + self.config.round;
            let attempt = || Attempt { asker, claim: claim.clone(), until };
            self.doubts.attempts.entry((claim.target, nonce)).or_insert_with(attempt);
            self.send(claim.target, Message::Challenge { nonce });
        }
    }

    /// Sends the ballots of attempts that ended without a proof.
    pub(super) fn cast_ballots(&mut self) {
        let now = self.now;
        let over: Vec<(NodeKey, u64)> = self
            .doubts
            .attempts
            .iter()
            .filter(|(_, attempt)| now >= attempt.until)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            let Some(attempt) = self.doubts.attempts.remove(&key) else { continue };
            let Some(slot) = self.table.find(&key.0).filter(|slot| !self.mesh && self.am_monitor(*slot))
            else {
                continue;
            };
            if let Some(ballot) = self.ballot(slot, attempt.claim.standing)
                && ballot.incarnation == attempt.claim.incarnation
            {
                self.send(attempt.asker, Message::Ballot(ballot));
                // The asker may be stopped by now. A monitor's doubt is taken over.
                if !self.doubts.own.contains_key(&slot) && self.may_speak(slot, &attempt.asker) {
                    self.doubt(slot, attempt.claim.standing);
                }
            }
        }
    }

    fn am_monitor(&self, slot: Slot) -> bool {
        // This node's slot is the only one without a row.
        self.ring.of(slot).iter().any(|slot| self.table.get(*slot).is_none())
    }

    /// Signs a nonce, so that others can show that this node lives.
    pub(super) fn prove(&mut self, asker: NodeKey, nonce: u64) {
        let (second, count) = self.doubts.proofs;
        let count = if self.now < second + Duration::from_secs(1) { count } else { 0 };
        let second = if count == 0 { self.now } else { second };
        self.doubts.proofs = (second, count + 1);
        if count >= PROOFS_BURST {
            return;
        }
        let incarnation = self.own.incarnation;
        let statement = Proof::statement(&self.network, &self.me, incarnation, nonce);
        let signature = self.notary.sign(&statement);
        self.send(asker, Message::Proof(Proof { target: self.me, incarnation, nonce, signature }));
    }

    /// Takes a proof of life: for an own doubt, or to pass it on to who doubts.
    pub(super) fn take_proof(&mut self, from: NodeKey, proof: Proof) {
        let Some(slot) = self.table.find(&proof.target) else { return };
        let asked = (proof.target, proof.nonce);
        let attempted = self.doubts.attempts.contains_key(&asked);
        let doubted = self.doubts.own.get(&slot).is_some_and(|doubt| doubt.nonce == proof.nonce);
        let knocked = self.doubts.knocks.get(&slot).is_some_and(|(_, _, nonce)| *nonce == proof.nonce);
        if !attempted && !doubted && !knocked {
            return;
        }
        let statement = Proof::statement(&self.network, &proof.target, proof.incarnation, proof.nonce);
        if !self.notary.verify(&proof.target, &statement, &proof.signature) {
            self.out.push(Output::Forged(from));
            return;
        }
        if doubted || knocked {
            self.evidence(slot, Why::Proved);
        }
        if let Some(attempt) = self.doubts.attempts.remove(&asked) {
            self.send(attempt.asker, Message::Proof(proof));
        }
    }

    /// In a mesh: a peer that this node cannot reach may still be alive for others.
    fn knock(&mut self, slot: Slot) {
        let now = self.now;
        let (first, longest) = KNOCK_EVERY;
        let (due, wait, _) = *self.doubts.knocks.entry(slot).or_insert((now + first, first, 0));
        let Some(peer) = self.table.get(slot).filter(|_| now >= due) else { return };
        let (target, incarnation, nonce) = (peer.key, peer.incarnation(), self.random.number());
        let wait = (wait * 2).min(longest);
        self.doubts.knocks.insert(slot, (now + wait, wait, nonce));
        for to in self.helpers(slot, 0) {
            self.send(to, Message::Doubt { target, incarnation, standing: Standing::Suspect, nonce });
        }
    }
}
