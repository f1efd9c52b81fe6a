//! What the tests of tokens share: a node's checking and issuing sides over one folder, and a forge.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{ASSETS_WRITE, Config, Office, Order, Tokens};
use crate::identity::Identity;

/// A node's checking and issuing sides.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) identity: Identity,
    pub(super) tokens: Tokens,
    pub(super) office: Office,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(&Config::default(), &[])
    }

    /// A node that trusts others; `members` are those that it knows.
    pub(super) fn with(config: &Config, members: &[&Identity]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(folder.path()).unwrap();
        let members = members.iter().map(|identity| identity.node_key()).collect();
        let (_, members) = watch::channel(Arc::new(members));
        let network = "test".parse().unwrap();
        let tokens = Tokens::start(folder.path(), &identity, &network, members, config).unwrap();
        let office = Office::open(folder.path(), None).unwrap();
        Self { folder, identity, tokens, office }
    }

    /// The claims of a token that was issued here, so that a forged one fails for nothing but its forgery.
    pub(super) fn claims(&self) -> Value {
        claims_of(&self.office.issue(&order(false)).unwrap().token)
    }

    /// A token with these parts, signed by this node.
    pub(super) fn signed(&self, header: &str, claims: &str) -> String {
        forge(header, claims, |message| self.identity.sign(message))
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.identity.assets_db_id().to_string()})
    }
}

pub(super) fn order(is_opaque: bool) -> Order {
    let scopes = BTreeSet::from([ASSETS_WRITE.to_owned(), "robots:wave".to_owned()]);
    Order { account: "acme".to_owned(), scopes, life: None, is_opaque }
}

pub(super) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

pub(super) fn claims_of(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// A token with these parts and whatever stands for its signature.
pub(super) fn forge(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// An object with one member replaced, added or, without a value, taken away.
pub(super) fn changed(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut object = object.as_object().unwrap().clone();
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
    Value::Object(object)
}

/// How many were tried, all of them refused.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    pub(super) tried: usize,
}

impl Trial<'_> {
    pub(super) fn refused(&mut self, what: &str, token: &str) {
        let checked = self.world.tokens.check(token);
        assert!(checked.is_err(), "accepted: {what}: {}", &token[..token.len().min(2000)]);
        self.tried += 1;
    }

    pub(super) fn refused_header(&mut self, header: &Value, claims: &Value) {
        self.refused(&header.to_string(), &self.world.signed(&header.to_string(), &claims.to_string()));
    }

    pub(super) fn refused_claims(&mut self, claims: &Value) {
        let header = self.world.header().to_string();
        self.refused(&claims.to_string(), &self.world.signed(&header, &claims.to_string()));
    }
}

pub(super) fn trial(world: &World) -> Trial<'_> {
    let (header, claims) = (world.header(), world.claims());
    let control = world.signed(&header.to_string(), &claims.to_string());
    assert!(world.tokens.check(&control).is_ok(), "the control is refused");
    Trial { world, tried: 0 }
}

/// Values of every other type.
pub(super) fn oddities() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!([[]]),
        json!(""),
        json!(-1),
        json!(0.5),
        json!(1e300),
    ]
}
