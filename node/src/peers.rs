//! What this node knows of the others, put together from registry, liveness and swarm. It decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use serde::Serialize;

use crate::forgotten::Error as ForgetError;
use crate::liveness::PeerFact;
use crate::node::Node;
use crate::registry::{Entry, Member};
use crate::{clock, identity};

/// Another node, as this one sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// Names its asset database.
    pub assets_db_id: String,
    /// Names it in the peer network.
    pub peer_id: String,
    /// Its name for people.
    pub name: String,
    /// `alive`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// The last round trip in milliseconds, if it is linked.
    pub rtt_ms: Option<f64>,
    /// When it last answered; RFC 3339.
    pub last_seen: Option<String>,
    /// Where clients reach it.
    pub public_url: String,
    /// When its summary was pulled; RFC 3339.
    pub summary_as_of: Option<String>,
    /// Whether this node's operator has given it up, so that nobody waits for what it holds.
    pub forgotten: bool,
}

/// What is known of an entry beyond its five members.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryFacts {
    /// The asset database of the node that signed it.
    pub owner: String,
    /// The owner's name for people, if its record is known.
    pub owner_name: Option<String>,
    /// `alive`, `suspect`, `down` or `left`: the owner, as this node sees it.
    pub state: &'static str,
    /// When the owner last answered this node; RFC 3339.
    pub last_seen: Option<String>,
    /// When the owner signed the entry; RFC 3339.
    pub signed_at: Option<String>,
    /// Other nodes with an entry of the same id, which does not show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_owned_by: Vec<String>,
}

impl Node {
    /// Every other member, alive or not, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let own = self.node_key();
        let facts = self.liveness().watch().borrow().clone();
        let members = self.registry().members().into_iter().filter(|member| member.key != own);
        let as_of = self.summaries().as_of();
        let forgotten = self.forgotten().watch().borrow().clone();
        let known = |member: Member| {
            let summary_as_of = as_of.get(&member.key).copied().and_then(clock::text);
            let is_forgotten = forgotten.contains(&member.key);
            Peer { summary_as_of, forgotten: is_forgotten, ..peer(facts.get(&member.key), member) }
        };
        let mut peers: Vec<Peer> = members.map(known).collect();
        peers.sort_by(|a, b| (&a.name, &a.assets_db_id).cmp(&(&b.name, &b.assets_db_id)));
        peers
    }

    /// What is known of an entry's owner.
    #[must_use]
    pub fn entry_facts(&self, entry: &Entry) -> EntryFacts {
        let owner = entry.owner();
        let fact = self.liveness().watch().borrow().get(&owner).copied();
        let member = self.registry().members().into_iter().find(|member| member.key == owner);
        let is_own = owner == self.node_key();
        EntryFacts {
            owner: owner.assets_db_id().to_string(),
            owner_name: member.map(|member| member.record.name),
            state: if is_own { "alive" } else { state(fact.as_ref()) },
            last_seen: if is_own { clock::text(clock::now()) } else { last_seen(fact.as_ref()) },
            signed_at: clock::text(Duration::from_millis(entry.signed_ms())),
            also_owned_by: entry.hidden_owners().iter().map(|key| key.assets_db_id().to_string()).collect(),
        }
    }

    /// Gives a member up that is away: no answer waits for what it holds until it is heard again.
    ///
    /// # Errors
    /// When no member has the id, when it is there, or when that cannot be written down.
    pub async fn forget(&self, id: &str) -> Result<(), ForgetError> {
        if id == self.assets_db_id() {
            return Err(ForgetError::Own);
        }
        let members = self.registry().members();
        let found = members.iter().find(|member| member.assets_db_id.to_string() == id);
        let peer = found.ok_or_else(|| ForgetError::Unknown(id.to_owned()))?.key;
        let members = members.iter().map(|member| member.key).collect();
        self.forgotten().forget(peer, members).await
    }

    /// Cuts this node off from the members with these ids, until it is told otherwise. Takes the place of what was
    /// told before.
    ///
    /// # Errors
    /// Names an id that no member has; nothing is changed.
    pub async fn block(&self, ids: &BTreeSet<String>) -> Result<(), String> {
        let members = self.registry().members();
        let key_of = |id: &String| {
            let found = members.iter().find(|member| member.assets_db_id.to_string() == *id);
            found.map(|member| member.key).filter(|key| *key != self.node_key()).ok_or_else(|| id.clone())
        };
        let keys = ids.iter().map(key_of).collect::<Result<BTreeSet<NodeKey>, String>>()?;
        self.swarm().block(keys).await;
        Ok(())
    }
}

fn peer(fact: Option<&PeerFact>, member: Member) -> Peer {
    let rtt = fact.and_then(|fact| fact.rtt);
    Peer {
        assets_db_id: member.assets_db_id.to_string(),
        peer_id: identity::peer_id_of(&member.key),
        name: member.record.name,
        state: state(fact),
        rtt_ms: rtt.map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
        last_seen: last_seen(fact),
        public_url: member.record.public_url,
        summary_as_of: None,
        forgotten: false,
    }
}

/// A member that liveness has not met yet was never heard.
fn state(fact: Option<&PeerFact>) -> &'static str {
    fact.map_or("down", |fact| fact.state.as_str())
}

fn last_seen(fact: Option<&PeerFact>) -> Option<String> {
    fact.and_then(|fact| fact.last_heard).and_then(clock::text)
}
