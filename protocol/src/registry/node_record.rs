//! What a node says of itself.

use crate::codec::{Decode, Encode};
use crate::document::{ArrayBuilder, Document, ObjectBuilder, ValueRef};

use super::entry;
use super::entry_id::EntryId;

/// A node's own record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct NodeRecord {
    /// When it first joined, by its own clock, in milliseconds since 1970.
    pub created_ms: u64,
    /// Its name for people.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Where it listens for peers, as multiaddr text.
    pub addresses: Vec<String>,
    /// Where clients reach it.
    pub public_url: String,
    /// The version of its program.
    pub version: String,
    /// What it can do beyond the first version.
    pub capabilities: Vec<String>,
    /// Which version of its summary is current.
    pub summary_version: u64,
    /// Raised to refute a suspicion.
    pub incarnation: u64,
}

impl NodeRecord {
    /// How it shows as an asset registry entry.
    #[must_use]
    pub fn document(&self, id: &EntryId) -> Document {
        let mut metadata = ObjectBuilder::new();
        metadata.push("kind", "assetmesh-node");
        metadata.push("version", self.version.as_str());
        for (key, texts) in [("addresses", &self.addresses), ("capabilities", &self.capabilities)] {
            metadata.push(key, texts_of(texts).root());
        }
        let (metadata, tags) = (metadata.finish(), texts_of(&self.labels));
        let members = [
            ValueRef::from(self.name.as_str()),
            metadata.root(),
            tags.root(),
            ValueRef::from(self.public_url.as_str()),
        ];
        entry::document(id, members)
    }
}

fn texts_of(texts: &[String]) -> Document {
    let mut array = ArrayBuilder::new();
    for text in texts {
        array.push(text.as_str());
    }
    array.finish()
}
