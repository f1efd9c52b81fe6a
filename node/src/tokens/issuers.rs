//! Whose tokens are accepted: this node's own, those of nodes that the operator trusts, and those
//! of others whose keys lie in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
use assetmesh_protocol::network::NetworkName;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::watch;
use uuid::Uuid;

use super::jwks::KeyFile;
use super::jwt::{Found, VerifyKey};
use super::{Config, StartError};

/// A node whose tokens are accepted, as the operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// By its asset database. Its key is taken from the registry; the id is made of the key, so no other fits.
    Database(AssetsDbId),
    /// By its public key.
    Key(NodeKey),
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an assets_db_id (a UUID) nor a public key (64 lower-case hex characters)")]
pub struct NotAnIssuer(String);

impl FromStr for Trusted {
    type Err = NotAnIssuer;

    fn from_str(text: &str) -> Result<Self, NotAnIssuer> {
        if let Ok(key) = text.parse() {
            return Ok(Self::Key(key));
        }
        // A database id is a UUIDv8 in the usual form.
        let id = Uuid::try_parse(text).ok().filter(|id| id.get_version_num() == 8 && text.len() == 36);
        id.map(|id| Self::Database(AssetsDbId(id))).ok_or_else(|| NotAnIssuer(text.to_owned()))
    }
}

impl Trusted {
    fn id(self) -> AssetsDbId {
        match self {
            Self::Database(id) => id,
            Self::Key(key) => key.assets_db_id(),
        }
    }
}

/// Where a token comes from, which decides how it can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node.
    Own,
    /// Anyone else.
    Foreign,
}

/// All issuers.
#[derive(Debug)]
pub(super) struct Issuers {
    own: NodeKey,
    audience: String,
    members: watch::Receiver<Arc<BTreeSet<NodeKey>>>,
    trusted: Vec<Trusted>,
    outside: BTreeMap<String, OutsideKeys>,
}

/// The keys of somebody outside of the federation.
#[derive(Debug)]
struct OutsideKeys {
    audience: String,
    keys: KeyFile,
}

impl Issuers {
    pub(super) fn new(
        own: NodeKey,
        network: &NetworkName,
        members: watch::Receiver<Arc<BTreeSet<NodeKey>>>,
        config: &Config,
    ) -> Result<Self, StartError> {
        let mut outside = BTreeMap::new();
        for one in &config.outside {
            let keys = OutsideKeys { audience: one.audience.clone(), keys: KeyFile::open(&one.jwks_file)? };
            if outside.insert(one.issuer.clone(), keys).is_some() {
                return Err(StartError::NamedTwice(one.issuer.clone()));
            }
        }
        let trusted = config.trusted_issuers.clone();
        Ok(Self { own, audience: network.to_string(), members, trusted, outside })
    }

    pub(super) fn trusts_node(&self, node: &NodeKey) -> bool {
        *node == self.own || self.trusted.iter().any(|trusted| trusted.id() == node.assets_db_id())
    }

    /// The key of this id that an issuer has.
    pub(super) fn find(&self, issuer: &str, key_id: &str) -> Option<Found> {
        let Some(node) = self.node(issuer) else {
            let outside = self.outside.get(issuer)?;
            let key = outside.keys.find(key_id)?;
            return Some(Found { key, audience: outside.audience.clone(), origin: Origin::Foreign });
        };
        // A node has one key, and both names are its id.
        if key_id != issuer {
            return None;
        }
        let origin = if node == self.own { Origin::Own } else { Origin::Foreign };
        let key = VerifyKey { key: DecodingKey::from_ed_der(node.as_bytes()), algorithm: Algorithm::EdDSA };
        Some(Found { key, audience: self.audience.clone(), origin })
    }

    fn node(&self, issuer: &str) -> Option<NodeKey> {
        let is_named = |id: AssetsDbId| id.to_string() == issuer;
        if is_named(self.own.assets_db_id()) {
            return Some(self.own);
        }
        let trusted = self.trusted.iter().find(|trusted| is_named(trusted.id()))?;
        match trusted {
            Trusted::Key(key) => Some(*key),
            Trusted::Database(id) => {
                self.members.borrow().iter().find(|key| key.assets_db_id() == *id).copied()
            }
        }
    }
}
