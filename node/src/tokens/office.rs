//! The issuing side, for the command line: makes, lists and revokes tokens of the node that a data directory belongs
//! to, whether it runs or not.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use assetmesh_protocol::network::NetworkName;
use serde_json::json;
use uuid::Uuid;

use super::account::{ACCOUNT_BYTES_MAX, is_account};
use super::claims::{LIFE_MAX, SCOPES_MAX, TEXT_BYTES_MAX};
use super::key::Key;
use super::shelf::{Kind, Record, Shelf, ShelfError};
use super::{TOKEN_BYTES_MAX, jwt};
use crate::clock;
use crate::identity::{Identity, IdentityError};

/// How long a JSON Web Token lives if nobody says: long enough for a session, too short to be worth stealing.
const JWT_LIFE: Duration = Duration::from_secs(60 * 60);
/// Records are forgotten this long after their token's end. Then it is refused as one that is not known.
const KEPT_AFTER_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What token is wanted.
#[derive(Debug, Clone)]
pub struct Order {
    /// On whose behalf it shall ask.
    pub account: String,
    /// What it shall grant.
    pub scopes: BTreeSet<String>,
    /// How long it shall live; without it an hour, or for an opaque key without end.
    pub life: Option<Duration>,
    /// Whether it shall be an opaque key.
    pub is_opaque: bool,
}

/// A token that was just made. Its secret is shown once.
pub struct Issued {
    /// What is kept of it.
    pub record: Record,
    /// The token itself.
    pub token: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("record", &self.record).finish_non_exhaustive()
    }
}

/// Why a token cannot be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// No node has used the data directory.
    #[error("no node has run in {0}")]
    NoNode(String),
    /// The node's key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The records cannot be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// Not the name of an account.
    #[error(
        "an account is 1 to {ACCOUNT_BYTES_MAX} of ASCII letters, digits and . _ - @ + : | = and begins with a letter or digit"
    )]
    Account,
    /// A scope that no token can carry.
    #[error("a token has 1 to {SCOPES_MAX} scopes, each of 1 to {TEXT_BYTES_MAX} visible ASCII characters")]
    Scopes,
    /// A life that is too long or too short.
    #[error("a JSON Web Token lives for a second to a year; an opaque key may live longer")]
    Life,
    /// The token would be too long to be accepted.
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes: give it fewer scopes")]
    TooLong,
    /// There is no token of this id.
    #[error("this node has issued no token {0}")]
    NotFound(String),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// Issues tokens in the name of one node.
#[derive(Debug)]
pub struct Office {
    identity: Identity,
    shelf: Shelf,
    network: NetworkName,
}

impl Office {
    /// Opens the office of the node that a data directory belongs to. Without a network, tokens are for the one that the
    /// node last belonged to.
    ///
    /// # Errors
    /// When no node has used the directory, or its key or records cannot be read.
    pub fn open(data_dir: &Path, network: Option<NetworkName>) -> Result<Self, OfficeError> {
        let identity =
            Identity::load(data_dir)?.ok_or_else(|| OfficeError::NoNode(data_dir.display().to_string()))?;
        let shelf = Shelf::of(data_dir);
        let network = match network {
            Some(network) => network,
            None => shelf.network()?.unwrap_or_default(),
        };
        Ok(Self { identity, shelf, network })
    }

    /// Makes a token. Its record is on disk before the token is given out.
    ///
    /// # Errors
    /// When the order cannot be filled, or the record cannot be written.
    pub fn issue(&self, order: &Order) -> Result<Issued, OfficeError> {
        let now = clock::now();
        check(order, now)?;
        self.tidy(now)?;
        let issued = if order.is_opaque { opaque(order, now)? } else { self.jwt(order, now)? };
        self.shelf.keep(&issued.record)?;
        Ok(issued)
    }

    /// Every token of this node and every foreign one that is refused, oldest first; and the files that cannot be read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<(Vec<Record>, Vec<ShelfError>), OfficeError> {
        Ok(self.shelf.all()?)
    }

    /// Takes a token of this node back. It counts from now on; again is no fault.
    ///
    /// # Errors
    /// When there is none, or the record cannot be written.
    pub fn revoke(&self, id: &str) -> Result<Record, OfficeError> {
        let known = match Uuid::try_parse(id) {
            Ok(id) => self.shelf.own(id)?,
            Err(_) => None,
        };
        self.refuse(known.ok_or_else(|| OfficeError::NotFound(id.to_owned()))?)
    }

    /// Refuses a token of another issuer, by its `jti`, on this node.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn refuse_foreign(&self, issuer: &str, id: &str) -> Result<Record, OfficeError> {
        let known = self.shelf.foreign(issuer, id)?;
        self.refuse(known.unwrap_or_else(|| Record::foreign(issuer, id)))
    }

    fn refuse(&self, mut record: Record) -> Result<Record, OfficeError> {
        if record.revoked.is_none() {
            let now = clock::now().as_secs();
            record.revoked = Some(now);
            if record.created == 0 {
                record.created = now;
            }
            self.shelf.keep(&record)?;
        }
        Ok(record)
    }

    fn jwt(&self, order: &Order, now: Duration) -> Result<Issued, OfficeError> {
        let mut record = Record::own(Uuid::new_v4(), Kind::Jwt, &order.account, &order.scopes);
        let life = order.life.unwrap_or(JWT_LIFE);
        let issuer = self.identity.assets_db_id().to_string();
        record.created = now.as_secs();
        record.expires = Some(record.created + life.as_secs());
        let claims = json!({
            "iss": issuer,
            "sub": record.account,
            "aud": self.network.as_str(),
            "scopes": record.scopes,
            "iat": record.created,
            "nbf": record.created,
            "exp": record.expires,
            "jti": record.id,
        });
        let token = jwt::make(&claims, &issuer, |message| self.identity.sign(message));
        if token.len() > TOKEN_BYTES_MAX { Err(OfficeError::TooLong) } else { Ok(Issued { record, token }) }
    }

    /// Forgets the records of tokens that nobody can use any more.
    fn tidy(&self, now: Duration) -> Result<(), OfficeError> {
        let is_old = |record: &Record| {
            let end = record.expires.map(Duration::from_secs);
            end.is_some_and(|end| now > end.saturating_add(KEPT_AFTER_END))
        };
        let (records, _) = self.shelf.all()?;
        for record in records.iter().filter(|record| is_old(record)) {
            self.shelf.forget(record)?;
        }
        Ok(())
    }
}

fn opaque(order: &Order, now: Duration) -> Result<Issued, OfficeError> {
    let key = Key::random().map_err(|error| OfficeError::Random(error.to_string()))?;
    let mut record = Record::own(key.id(), Kind::Opaque, &order.account, &order.scopes).of_key(&key);
    record.created = now.as_secs();
    record.expires = order.life.map(|life| now.saturating_add(life).as_secs());
    Ok(Issued { record, token: key.reveal() })
}

fn check(order: &Order, now: Duration) -> Result<(), OfficeError> {
    if !is_account(&order.account) {
        return Err(OfficeError::Account);
    }
    let is_scope = |scope: &String| {
        (1..=TEXT_BYTES_MAX).contains(&scope.len()) && scope.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !(1..=SCOPES_MAX).contains(&order.scopes.len()) || !order.scopes.iter().all(is_scope) {
        return Err(OfficeError::Scopes);
    }
    let longest = if order.is_opaque { Duration::MAX - now } else { LIFE_MAX };
    match order.life {
        Some(life) if life.as_secs() == 0 || life > longest => Err(OfficeError::Life),
        _ => Ok(()),
    }
}
