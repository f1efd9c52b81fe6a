//! A node that lies, beside running the real cores: it forges, replays, accuses and equivocates with what it really
//! could have: its own key, and what it has overheard.

use std::sync::Arc;

use assetmesh_node::liveness::Notary;
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Claim, Message, Proof, Signed, Standing};
use assetmesh_protocol::registry::{EntryId, Envelope, Payload, Record, Verified, Version};

use super::clients::entry;
use super::node::{Packet, Seals, network};
use super::world::{Event, World};

/// Time between two lies, in milliseconds.
const LIE_EVERY_MS: u64 = 700;
/// Overheard packets that are kept for replays.
const OVERHEARD_MAX: usize = 64;
/// How far ahead a far-future envelope is.
const FAR_MS: u64 = 60 * 60 * 1000;

impl World {
    /// Tells one lie, and plans the next.
    pub(super) fn lie(&mut self, at: usize) {
        if self.now_ms < self.scenario.seconds * 1000 {
            let next = self.now_ms + self.random.within(LIE_EVERY_MS / 2..LIE_EVERY_MS * 2);
            self.queue.push(next, Event::Lie { at });
        }
        if !self.nodes[at].answers(self.now_ms) {
            return;
        }
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != at).collect();
        let target = *self.random.pick(&others);
        match self.random.below(8) {
            0 => self.accuse(at, target, &others),
            1 => {
                let ballot = self.own_claim(at, target);
                self.shout_liveness(at, &others, &Message::Ballot(ballot));
            }
            2 => self.doubt(at, target, &others),
            3 => self.replay(at, &others),
            4 => self.equivocate(at, &others),
            5 => self.foresee(at, &others),
            6 => self.forge(at, &others),
            _ => self.overhear(target),
        }
    }

    fn shout_liveness(&mut self, at: usize, to: &[usize], message: &Message) {
        self.measures.fault("lies");
        for &to in to {
            self.post(at, to, Packet::Liveness(message.clone()));
        }
    }

    fn life_of(&self, target: usize) -> u64 {
        self.nodes[target].cores.as_ref().map_or(1, |cores| cores.liveness.incarnation())
    }

    /// A claim with one real signature: the liar's.
    fn own_claim(&mut self, at: usize, target: usize) -> Claim {
        let standing = *self.random.pick(&[Standing::Suspect, Standing::Down]);
        let (target, incarnation) = (self.nodes[target].key, self.life_of(target));
        Claim { target, incarnation, standing, signed: vec![self.seal(at, target, incarnation, standing)] }
    }

    fn seal(&self, at: usize, target: NodeKey, incarnation: u64, standing: Standing) -> Signed {
        let by = self.nodes[at].key;
        let statement = Claim::statement(&network(), &target, incarnation, standing);
        Signed { by, signature: Seals(by).sign(&statement) }
    }

    /// Puts another's name under its own accusation.
    fn accuse(&mut self, at: usize, target: usize, others: &[usize]) {
        let mut claim = self.own_claim(at, target);
        let other = self.nodes[*self.random.pick(others)].key;
        if other != claim.target {
            let signature = claim.signed[0].signature;
            claim.signed.push(Signed { by: other, signature });
            self.shout_liveness(at, others, &Message::Claims(vec![Arc::new(claim)]));
        }
    }

    fn doubt(&mut self, at: usize, target: usize, others: &[usize]) {
        let (nonce, incarnation) = (self.random.number(), self.life_of(target));
        let by = self.nodes[at].key;
        let target = self.nodes[target].key;
        let standing = *self.random.pick(&[Standing::Suspect, Standing::Down]);
        self.shout_liveness(at, others, &Message::Doubt { target, incarnation, standing, nonce });
        let signature = Seals(by).sign(&Proof::statement(&network(), &target, incarnation, nonce));
        self.shout_liveness(at, others, &Message::Proof(Proof { target, incarnation, nonce, signature }));
    }

    fn overhear(&mut self, target: usize) {
        let Some(cores) = &self.nodes[target].cores else { return };
        let records: Vec<Arc<Verified>> = cores.registry.map().iter().cloned().collect();
        if !records.is_empty() {
            let record = self.random.pick(&records).clone();
            self.overheard.push_back(Packet::Gossip(record));
        }
        while self.overheard.len() > OVERHEARD_MAX {
            self.overheard.pop_front();
        }
    }

    fn replay(&mut self, at: usize, others: &[usize]) {
        let Some(packet) = self.overheard.pop_front() else { return };
        self.measures.fault("lies");
        for &to in others {
            self.post(at, to, packet.clone());
        }
        self.overheard.push_back(packet);
    }

    fn own_record(&self, at: usize, ahead_ms: u64, name: &str) -> Arc<Verified> {
        let node = &self.nodes[at];
        let issued_ms = node.wall_ms(self.now_ms) + ahead_ms;
        let record = Record {
            owner: node.key,
            entry: EntryId::new("of a liar").expect("a short id"),
            version: Version { epoch: 0, seq: issued_ms },
            issued_ms,
            ttl_ms: self.registry_config.timing.ttl_ms,
            payload: Payload::Entry(entry(name)),
        };
        Arc::new(node.owner.sign(&record).expect("a good record"))
    }

    /// Tells one half one thing and the other half another, under one version.
    fn equivocate(&mut self, at: usize, others: &[usize]) {
        self.measures.fault("lies");
        let (one, other) = (self.own_record(at, 0, "one"), self.own_record(at, 0, "other"));
        for &to in others {
            let record = if self.random.chance(50) { one.clone() } else { other.clone() };
            self.post(at, to, Packet::Gossip(record));
        }
    }

    fn foresee(&mut self, at: usize, others: &[usize]) {
        self.measures.fault("lies");
        let record = self.own_record(at, FAR_MS, "of tomorrow");
        for &to in others {
            self.post(at, to, Packet::Gossip(record.clone()));
        }
    }

    /// Alters an envelope of another node.
    fn forge(&mut self, at: usize, others: &[usize]) {
        let Some(Packet::Gossip(record)) = self.overheard.front() else { return };
        if record.owner() == self.nodes[at].key {
            return;
        }
        let Envelope { mut body, mut signature } = record.envelope().clone();
        if self.random.chance(50) {
            let at = self.random.below(body.len());
            body[at] ^= 1 << self.random.below(8);
        } else {
            let at = self.random.below(signature.len());
            signature[at] ^= 1 << self.random.below(8);
        }
        self.measures.fault("lies");
        let to = *self.random.pick(others);
        self.post(at, to, Packet::Raw(Envelope { body, signature }));
    }
}
