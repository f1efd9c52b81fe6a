//! Who asks, and what they may do: checks bearer tokens. It knows no HTTP and no route, and never shows a secret.

mod account;
mod claims;
mod issuers;
mod json;
mod jwks;
mod jwt;
mod key;
mod office;
mod shelf;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::NetworkName;
use tokio::sync::watch;

pub use self::account::is_account;
pub use self::issuers::{NotAnIssuer, Trusted};
pub use self::jwks::JwksError;
pub use self::office::{Issued, Office, OfficeError, Order};
pub use self::shelf::{Kind, Record, ShelfError};

use self::claims::Claims;
use self::issuers::{Issuers, Origin};
use self::shelf::Shelf;
use crate::clock;
use crate::identity::Identity;

/// The longest token, in bytes. An account, ten scopes and a long RSA signature take a quarter of it.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Read assets and the registry, where reads are not open to all.
pub const ASSETS_READ: &str = "assets:read";
/// Upload, describe, change and delete assets.
pub const ASSETS_WRITE: &str = "assets:write";
/// Change the registry.
pub const REGISTRY_WRITE: &str = "registry:write";
/// Operate the node; includes all the others.
pub const ADMIN: &str = "admin";
/// Everything of NVCF: input assets and invocations.
pub const INVOKE_FUNCTION: &str = "invoke_function";

/// The scopes that grant something here. Others are carried and grant nothing.
pub const SCOPES: [&str; 5] = [ASSETS_READ, ASSETS_WRITE, REGISTRY_WRITE, ADMIN, INVOKE_FUNCTION];

/// Whose tokens are accepted, beside this node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Nodes whose tokens are accepted and which may speak for accounts. None by default: trust is not a matter of
    /// being a member.
    pub trusted_issuers: Vec<Trusted>,
    /// Others whose tokens are accepted, such as a login service.
    pub outside: Vec<Outside>,
}

/// Somebody outside of the federation whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// What stands in `iss`.
    pub issuer: String,
    /// What must stand in `aud`.
    pub audience: String,
    /// The file of its public keys: a JSON Web Key Set (RFC 7517).
    pub jwks_file: PathBuf,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// On whose behalf: an account name, see [`is_account`].
    pub account: String,
    /// What was granted, as it stands in the token.
    pub scopes: BTreeSet<String>,
}

impl Caller {
    /// Whether the caller has a scope, itself or within another one.
    #[must_use]
    pub fn may(&self, scope: &str) -> bool {
        let has = |scope: &str| self.scopes.contains(scope);
        has(scope) || has(ADMIN) || (scope == ASSETS_READ && (has(ASSETS_WRITE) || has(REGISTRY_WRITE)))
    }
}

/// Why a token is not accepted. Nothing of the token stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Neither a key of this node nor a JSON Web Token as it must be.
    #[error("the token is not as it must be: {0}")]
    Malformed(&'static str),
    /// Nobody whose tokens are accepted has such a key.
    #[error("the issuer of the token, or its key, is not known here")]
    UnknownIssuer,
    /// The signature is not that of the issuer's key.
    #[error("the signature of the token is wrong")]
    BadSignature,
    /// It is for another federation or service.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// It was taken back.
    #[error("the token was revoked")]
    Revoked,
    /// This node has no record of such a token.
    #[error("the token is not known here")]
    Unknown,
    /// The record of the token cannot be read: no fault of the client's.
    #[error("the record of the token cannot be read: {0}")]
    Unreadable(String),
}

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The records of tokens cannot be used.
    #[error("tokens: {0}")]
    Shelf(#[from] ShelfError),
    /// A file of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] JwksError),
    /// Two settings are for one issuer.
    #[error("the issuer {0} is named twice")]
    NamedTwice(String),
}

/// The checking side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shelf: Shelf,
    issuers: Issuers,
}

impl Tokens {
    /// Prepares to check tokens. `members` gives the keys of trusted issuers that are named by their id.
    ///
    /// # Errors
    /// When the folder of tokens or a file of keys cannot be used.
    pub fn start(
        data_dir: &Path,
        identity: &Identity,
        network: &NetworkName,
        members: watch::Receiver<Arc<BTreeSet<NodeKey>>>,
        config: &Config,
    ) -> Result<Self, StartError> {
        let issuers = Issuers::new(identity.node_key(), network, members, config)?;
        let shelf = Shelf::of(data_dir);
        shelf.remember_network(network)?;
        Ok(Self { inner: Arc::new(Inner { shelf, issuers }) })
    }

    /// Tells who sends a bearer token.
    ///
    /// # Errors
    /// When it is not accepted, or its record cannot be read.
    pub fn check(&self, bearer: &str) -> Result<Caller, Error> {
        self.check_at(bearer, clock::now())
    }

    /// Whether tokens of a node are accepted, so that it may speak for accounts: this node and its trusted issuers.
    #[must_use]
    pub fn trusts_node(&self, node: &NodeKey) -> bool {
        self.inner.issuers.trusts_node(node)
    }

    fn check_at(&self, bearer: &str, now: Duration) -> Result<Caller, Error> {
        if bearer.len() > TOKEN_BYTES_MAX {
            return Err(Error::TooLong);
        }
        if bearer.starts_with(key::PREFIX) {
            self.check_key(bearer, now)
        } else {
            self.check_jwt(bearer, now)
        }
    }

    fn check_key(&self, bearer: &str, now: Duration) -> Result<Caller, Error> {
        let key = key::parse(bearer)?;
        let record = self.inner.shelf.own(key.id())?.ok_or(Error::Unknown)?;
        if !record.is_of(&key) {
            return Err(Error::Unknown);
        }
        record.valid_at(now)?;
        Ok(Caller { account: record.account, scopes: record.scopes })
    }

    fn check_jwt(&self, bearer: &str, now: Duration) -> Result<Caller, Error> {
        let (claims, origin) =
            jwt::judge(now, bearer, |issuer, key_id| self.inner.issuers.find(issuer, key_id))?;
        self.not_revoked(&claims, origin)?;
        Ok(Caller { account: claims.account, scopes: claims.scopes })
    }

    /// A token of this node must have a record here, so that `token ls` shows all that it accepts of its own.
    fn not_revoked(&self, claims: &Claims, origin: Origin) -> Result<(), Error> {
        let shelf = &self.inner.shelf;
        let id = claims.id.as_deref();
        match origin {
            Origin::Own => {
                let id = id.and_then(|id| id.parse().ok()).ok_or(Error::Unknown)?;
                let record =
                    shelf.own(id)?.filter(|record| record.kind == Kind::Jwt).ok_or(Error::Unknown)?;
                if record.revoked.is_some() { Err(Error::Revoked) } else { Ok(()) }
            }
            Origin::Foreign => match id {
                Some(id) if shelf.foreign(&claims.issuer, id)?.is_some() => Err(Error::Revoked),
                _ => Ok(()),
            },
        }
    }
}

impl From<ShelfError> for Error {
    fn from(error: ShelfError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod jwks_tests;
#[cfg(test)]
mod test_keys;
#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod tests;
