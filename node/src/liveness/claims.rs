//! Signed claims: which are believed, what they change, how they spread and are refuted. Part of the pure state.
//! A claim against a node needs two of its monitors, and the node itself can always answer it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{CLAIMS_MAX, Claim, Message, Signed, Standing};

use super::doubts::{BALLOTS, RECENTLY};
use super::ring::Slot;
use super::state::{Output, State};
use super::table::bucket_of;
use super::{PeerState, Why};

/// Linked peers that are told news at once: with monitors, all of about eleven. Some nodes have only five, of which one is
/// stopped and one has just lost its power: each of the others counts.
const TOLD_AT_ONCE: usize = 12;
/// Linked peers that are told once more at the next tick.
const TOLD_AGAIN: usize = 4;
/// Claims that are passed on at once in a burst, and a second. More, as after a partition, wait for the next tick and
/// travel together.
const BURST: u32 = 64;
/// Claims about nodes that are not known yet: they come sooner than the registry's news.
const STRANGERS_MAX: usize = 256;
/// Messages that answer one digest: 1 024 claims. What is left follows with the next digest.
const PAGES_MAX: usize = 8;
/// How often a target is told what is said of it, and a digest of one peer is answered.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Announcements of one node that are passed on within a while. A node that starts, is doubted and stops needs three.
const ANNOUNCED_MAX: u32 = 8;
/// The while.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);

/// What is about to be told.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    again: BTreeMap<NodeKey, Arc<Claim>>,
    strangers: BTreeMap<NodeKey, Arc<Claim>>,
    /// Peers that answer in spite of what is claimed, or are said to be down without having been suspects for long, and
    /// when the claim is believed.
    holds: BTreeMap<Slot, Duration>,
    /// Claims by others than the target's monitors, and when they are believed.
    doubted: BTreeMap<Slot, (Arc<Claim>, Duration)>,
    burst: (Duration, u32),
    next_digest: Duration,
    next_defence: Duration,
}

impl State {
    pub(super) fn take_claims(&mut self, from: NodeKey, claims: Vec<Arc<Claim>>) {
        for claim in claims {
            let genuine = if claim.target == self.me {
                self.defend(from, &claim)
            } else if let Some(slot) = self.table.find(&claim.target) {
                self.take_claim(from, slot, claim)
            } else {
                self.remember_stranger(claim);
                true
            };
            if !genuine {
                // Whoever passes on one forgery is not believed the rest, nor paid for with more checks.
                self.out.push(Output::Forged(from));
                return;
            }
        }
    }

    /// Believes or doubts a claim, if it is news. False if it is forged.
    fn take_claim(&mut self, from: NodeKey, slot: Slot, claim: Arc<Claim>) -> bool {
        if let Some(known) = self.table.get(slot).and_then(|peer| peer.claim.clone())
            && known.precedence() >= claim.precedence()
        {
            if from == claim.target && known.precedence() > claim.precedence() {
                // It has started again with a clock that went back: it has to count on from there.
                self.send(from, Message::Claims(vec![known]));
            }
            return true;
        }
        if claim.standing.is_own_word() && !self.may_announce(slot) {
            return true;
        }
        if !claim.signed.iter().all(|signed| self.is_signed(&claim, signed)) {
            return false;
        }
        let speakers = claim.signed.iter().filter(|signed| self.may_speak(slot, &signed.by)).count();
        if claim.standing.is_own_word() || speakers >= BALLOTS {
            self.accept(Some(from), slot, claim);
        } else {
            self.doubt_claim(slot, claim);
        }
        true
    }

    /// A node that announces itself over and over would have everybody repeat it. What is passed over here comes with
    /// a digest, once it is over.
    fn may_announce(&mut self, slot: Slot) -> bool {
        let now = self.now;
        let Some(peer) = self.table.get_mut(slot) else { return false };
        let (since, count) = peer.announced;
        let fresh = now >= since + ANNOUNCED_WITHIN;
        peer.announced = if fresh { (now, 1) } else { (since, count.saturating_add(1)) };
        fresh || count < ANNOUNCED_MAX
    }

    /// The target's monitors, as seen from here, are others. Perhaps this node knows less than the signers, perhaps they
    /// lie: the target is told, and if it says nothing against it, the claim holds.
    fn doubt_claim(&mut self, slot: Slot, claim: Arc<Claim>) {
        let until = self.now + self.config.hold;
        let known = self.rumours.doubted.get(&slot);
        if known.is_none_or(|(known, _)| known.precedence() < claim.precedence()) {
            self.rumours.doubted.insert(slot, (claim.clone(), until));
        }
        self.tell(slot, claim);
    }

    /// True if the signature is the signer's own under this claim.
    pub(super) fn is_signed(&self, claim: &Claim, signed: &Signed) -> bool {
        let statement = Claim::statement(&self.network, &claim.target, claim.incarnation, claim.standing);
        self.notary.verify(&signed.by, &statement, &signed.signature)
    }

    /// True if a node is among those who monitor a peer, or would step in for them.
    pub(super) fn may_speak(&self, slot: Slot, speaker: &NodeKey) -> bool {
        let ranks = self.ring.of(slot);
        if *speaker == self.me {
            return ranks.iter().any(|slot| self.table.get(*slot).is_none());
        }
        self.table.find(speaker).is_some_and(|speaker| ranks.contains(&speaker))
    }

    /// Believes a claim that is newer than what was known, and passes it on.
    pub(super) fn accept(&mut self, from: Option<NodeKey>, slot: Slot, claim: Arc<Claim>) {
        self.table.set_claim(slot, claim.clone());
        self.doubts.settle(slot, claim.precedence());
        if claim.standing == Standing::Suspect {
            self.stand_by(slot);
        }
        self.spread(claim.clone(), from);
        self.believe(from, slot, &claim);
    }

    fn believe(&mut self, from: Option<NodeKey>, slot: Slot, claim: &Claim) {
        match claim.standing {
            Standing::Left => self.set_state(slot, PeerState::Left, Why::Announced(claim.incarnation)),
            Standing::Alive => self.believe_alive(from, slot, claim),
            // In a mesh everybody judges for itself.
            _ if self.mesh => {}
            _ if self.hears(slot) => self.contradict(slot),
            Standing::Suspect => self.set_state(slot, PeerState::Suspect, Why::Confirmed(claim.signed.len())),
            Standing::Down => self.believe_down(slot, claim),
        }
    }

    fn hears(&self, slot: Slot) -> bool {
        let heard = self.table.get(slot).and_then(|peer| peer.heard);
        heard.is_some_and(|heard| self.now < heard + RECENTLY)
    }

    fn believe_alive(&mut self, from: Option<NodeKey>, slot: Slot, claim: &Claim) {
        if from == Some(claim.target) {
            self.evidence(slot, Why::Announced(claim.incarnation));
        } else if !self.mesh {
            // It was alive when it signed, and a life is announced once: this cannot be an old word.
            self.doubts.drop_doubt(slot);
            if let Some(peer) = self.table.get_mut(slot) {
                peer.heard = Some(self.now);
            }
            self.set_state(slot, PeerState::Alive, Why::Announced(claim.incarnation));
        }
    }

    /// A suspect had its time. One that is said to be down out of the blue is given a while to refute: after a
    /// partition the word of the other side may arrive before its own.
    fn believe_down(&mut self, slot: Slot, claim: &Claim) {
        let Some(peer) = self.table.get(slot) else { return };
        let why = Why::Confirmed(claim.signed.len());
        let from = match peer.state {
            PeerState::Suspect => peer.since,
            PeerState::Alive => self.now,
            PeerState::Down | PeerState::Left => {
                self.set_state(slot, PeerState::Down, why);
                return;
            }
        };
        let until = (from + self.config.hold).max(self.health.judges_from());
        if self.now >= until {
            self.set_state(slot, PeerState::Down, why);
        } else {
            self.set_state(slot, PeerState::Suspect, why);
            self.rumours.holds.insert(slot, until);
        }
    }

    /// A peer answers in spite of what is claimed of it: it is told, and looked at again after a while.
    pub(super) fn contradict(&mut self, slot: Slot) {
        self.rumours.holds.insert(slot, self.now + self.config.hold);
        self.tell_target(slot);
    }

    /// Believes what was put off, of those who neither refuted nor answered meanwhile.
    pub(super) fn end_holds(&mut self) {
        self.end_doubted();
        let now = self.now;
        let over: Vec<Slot> =
            self.rumours.holds.iter().filter(|(_, until)| now >= **until).map(|(slot, _)| *slot).collect();
        for slot in over {
            self.rumours.holds.remove(&slot);
            let claim = self.table.get(slot).and_then(|peer| peer.claim.clone());
            let Some(claim) = claim.filter(|claim| !claim.standing.is_own_word() && !self.mesh) else {
                continue;
            };
            let why = Why::Confirmed(claim.signed.len());
            if self.hears(slot) {
                self.contradict(slot);
            } else if claim.standing == Standing::Down {
                self.set_state(slot, PeerState::Down, why);
            } else {
                self.set_state(slot, PeerState::Suspect, why);
            }
        }
    }

    fn end_doubted(&mut self) {
        let (now, hold) = (self.now, self.config.hold);
        let over = self.rumours.doubted.iter().filter(|(_, (_, until))| now >= *until);
        for slot in over.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            let Some((claim, until)) = self.rumours.doubted.remove(&slot) else { continue };
            let Some(peer) = self.table.get(slot).filter(|peer| peer.key == claim.target) else { continue };
            let newer = peer.claim.as_ref().is_none_or(|known| known.precedence() < claim.precedence());
            if newer && peer.heard.is_none_or(|heard| heard + hold < until) {
                self.accept(None, slot, claim);
            }
        }
    }

    /// This node was stopped: refutations may wait unread.
    pub(super) fn put_off_holds(&mut self) {
        let until = self.health.judges_from() + self.config.hold;
        self.rumours.holds.values_mut().for_each(|hold| *hold = until);
        self.rumours.doubted.values_mut().for_each(|(_, hold)| *hold = until);
    }

    /// The federation has become too big for a mesh: from now on what was claimed of members that this node never heard
    /// itself counts.
    pub(super) fn believe_known(&mut self) {
        let known: Vec<(Slot, Arc<Claim>)> = self
            .table
            .iter()
            .filter(|(_, peer)| peer.heard.is_none() && peer.state == PeerState::Down)
            .filter_map(|(slot, peer)| Some((slot, peer.claim.clone()?)))
            .collect();
        for (slot, claim) in known {
            self.believe(None, slot, &claim);
        }
    }

    /// Tells a peer what is claimed of it, so that it can refute.
    fn tell_target(&mut self, slot: Slot) {
        if let Some(claim) = self.table.get(slot).and_then(|peer| peer.claim.clone()) {
            self.tell(slot, claim);
        }
    }

    fn tell(&mut self, slot: Slot, claim: Arc<Claim>) {
        let now = self.now;
        let Some(peer) = self.table.get_mut(slot) else { return };
        if peer.told.is_none_or(|told| now >= told + TELL_EVERY) {
            peer.told = Some(now);
            let to = peer.key;
            self.send(to, Message::Claims(vec![claim]));
        }
    }

    /// Somebody says something of this node that it has not said last: it says that it lives. False if that is forged.
    fn defend(&mut self, from: NodeKey, claim: &Claim) -> bool {
        let newer = claim.precedence() > self.own.precedence() && claim.incarnation < u64::MAX;
        if !newer && !claim.standing.is_own_word() {
            // Said of a former life: who passes it on has not heard of this one.
            self.send(from, Message::Claims(vec![self.own.clone()]));
        }
        if !newer || self.now < self.rumours.next_defence {
            return true;
        }
        if !claim.signed.iter().all(|signed| self.is_signed(claim, signed)) {
            return false;
        }
        let own = claim.standing.is_own_word();
        if own || claim.signed.iter().all(|signed| self.table.find(&signed.by).is_some()) {
            self.rumours.next_defence = self.now + TELL_EVERY;
            self.announce(claim.incarnation + 1);
            self.out.push(Output::Refuted(self.own.incarnation));
        }
        true
    }

    fn remember_stranger(&mut self, claim: Arc<Claim>) {
        if claim.standing != Standing::Alive {
            return;
        }
        let strangers = &mut self.rumours.strangers;
        if strangers.len() >= STRANGERS_MAX {
            strangers.clear();
        }
        let known = strangers.get(&claim.target);
        if known.is_none_or(|known| known.precedence() < claim.precedence()) {
            strangers.insert(claim.target, claim);
        }
    }

    /// A stranger has become a member: what it said before counts now.
    pub(super) fn recall(&mut self, key: NodeKey) {
        let Some(claim) = self.rumours.strangers.remove(&key) else { return };
        let Some(slot) = self.table.find(&key) else { return };
        let newer = self.table.get(slot).is_some_and(|peer| peer.incarnation() < claim.incarnation);
        if newer && claim.signed.iter().all(|signed| self.is_signed(&claim, signed)) {
            self.accept(None, slot, claim);
        }
    }

    /// Passes news on: to some linked members now, to some more at the next tick.
    pub(super) fn spread(&mut self, claim: Arc<Claim>, except: Option<NodeKey>) {
        let (second, count) = self.rumours.burst;
        let fresh = self.now >= second + Duration::from_secs(1);
        self.rumours.burst = if fresh { (self.now, 1) } else { (second, count.saturating_add(1)) };
        if fresh || count < BURST {
            for to in self.some_linked(TOLD_AT_ONCE, except) {
                self.send(to, Message::Claims(vec![claim.clone()]));
            }
        }
        self.rumours.again.insert(claim.target, claim);
    }

    fn some_linked(&mut self, count: usize, except: Option<NodeKey>) -> Vec<NodeKey> {
        let others = self.linked().filter(|key| Some(*key) != except && self.table.find(key).is_some());
        let others = others.collect();
        self.random.choose(others, count)
    }

    pub(super) fn spread_again(&mut self) {
        let mut claims = Vec::new();
        while claims.len() < CLAIMS_MAX
            && let Some((_, claim)) = self.rumours.again.pop_first()
        {
            claims.push(claim);
        }
        if !claims.is_empty() {
            for to in self.some_linked(TOLD_AGAIN, None) {
                self.send(to, Message::Claims(claims.clone()));
            }
        }
    }

    /// What a peer is told when its link comes up: that this node lives, and what it holds.
    pub(super) fn greet(&mut self, to: NodeKey) {
        self.send(to, Message::Claims(vec![self.own.clone()]));
        self.send_digest(to, false);
    }

    fn send_digest(&mut self, to: NodeKey, answer: bool) {
        let buckets = self.table.buckets().to_vec();
        self.send(to, Message::Digest { buckets, answer });
    }

    /// Compares all claims with one linked member now and then, so that lost rumours do no lasting harm.
    pub(super) fn digest_now(&mut self) {
        if self.now < self.rumours.next_digest {
            return;
        }
        let first = self.rumours.next_digest == Duration::ZERO;
        let spread = u64::try_from(self.config.digest_every.as_millis()).unwrap_or(u64::MAX).max(1);
        let jitter = Duration::from_millis(self.random.number() % spread);
        self.rumours.next_digest = self.now + if first { jitter } else { self.config.digest_every };
        if let Some(&to) = self.some_linked(1, None).first() {
            self.send_digest(to, false);
        }
    }

    /// Sends a member the claims that its digest lacks.
    pub(super) fn compare(&mut self, from: NodeKey, buckets: &[u64], answer: bool) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&from).filter(|_| self.table.find(&from).is_some()) else {
            return;
        };
        let too_soon = link.digested.is_some_and(|before| now < before + TELL_EVERY);
        if too_soon || buckets == self.table.buckets() {
            return;
        }
        link.digested = Some(now);
        let own = self.table.buckets();
        let differs = |key: &NodeKey| buckets.get(bucket_of(key)) != Some(&own[bucket_of(key)]);
        let theirs = self.table.iter().filter_map(|(_, peer)| peer.claim.clone());
        let claims: Vec<Arc<Claim>> = std::iter::once(self.own.clone())
            .chain(theirs)
            .filter(|claim| differs(&claim.target))
            .take(CLAIMS_MAX * PAGES_MAX)
            .collect();
        for page in claims.chunks(CLAIMS_MAX) {
            self.send(from, Message::Claims(page.to_vec()));
        }
        if !answer {
            self.send_digest(from, true);
        }
    }
}
