//! The claims of a JSON Web Token (RFC 7519), each with its type, and whether they hold now. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::account::is_account;
use super::{Error, json};

/// How far clocks may differ.
pub(super) const LEEWAY: Duration = Duration::from_secs(5);
/// The longest life of a token from now on. Who needs one that lives longer takes an opaque key.
pub(super) const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The most scopes a token may name.
pub(super) const SCOPES_MAX: usize = 64;
/// The longest scope, issuer, audience and token id, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 256;

/// What a token claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    /// `iss`: who issued it.
    pub(super) issuer: String,
    /// `sub`: the account.
    pub(super) account: String,
    /// `aud`: for whom it is meant.
    pub(super) audiences: BTreeSet<String>,
    /// `exp`: from when on it is no longer valid, in seconds since 1970.
    pub(super) expires: u64,
    /// `nbf`: from when on it is valid. Many login services leave it out.
    pub(super) not_before: Option<u64>,
    /// `iat`: when it was made.
    pub(super) issued_at: Option<u64>,
    /// `jti`: its id.
    pub(super) id: Option<String>,
    /// `scopes`: what it grants.
    pub(super) scopes: BTreeSet<String>,
}

impl Claims {
    /// Reads the payload. Members that are not known are ignored.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Error> {
        let object = json::object(payload)
            .ok_or(Error::Malformed("its claims are not a JSON object without duplicates"))?;
        let account = text(&object, "sub").filter(|sub| is_account(sub));
        Ok(Self {
            issuer: text(&object, "iss").ok_or(Error::Malformed("iss must be a text"))?,
            account: account.ok_or(Error::Malformed("sub must be the name of an account"))?,
            audiences: audiences(&object).ok_or(Error::Malformed("aud must be a text or a list of texts"))?,
            expires: time(&object, "exp").ok_or(Error::Malformed("exp must be a whole number of seconds"))?,
            not_before: optional(&object, "nbf", time)
                .ok_or(Error::Malformed("nbf must be a whole number of seconds"))?,
            issued_at: optional(&object, "iat", time)
                .ok_or(Error::Malformed("iat must be a whole number of seconds"))?,
            id: optional(&object, "jti", text).ok_or(Error::Malformed("jti must be a text"))?,
            scopes: object
                .get("scopes")
                .and_then(texts)
                .ok_or(Error::Malformed("scopes must be a list of texts"))?,
        })
    }

    /// Whether they hold now, for this audience.
    pub(super) fn hold(&self, now: Duration, audience: &str) -> Result<(), Error> {
        if !self.audiences.contains(audience) {
            return Err(Error::WrongAudience);
        }
        if now >= Duration::from_secs(self.expires).saturating_add(LEEWAY) {
            return Err(Error::Expired);
        }
        if Duration::from_secs(self.expires) > now.saturating_add(LIFE_MAX) {
            return Err(Error::Malformed("it lives longer than a year"));
        }
        let begins = Duration::from_secs(self.not_before.max(self.issued_at).unwrap_or_default());
        if begins > now.saturating_add(LEEWAY) { Err(Error::NotYet) } else { Ok(()) }
    }
}

type Object = Map<String, Value>;

fn text(object: &Object, name: &str) -> Option<String> {
    object.get(name)?.as_str().filter(|text| is_text(text)).map(str::to_owned)
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX
}

/// A whole number that is not negative, and not written as a fraction.
fn time(object: &Object, name: &str) -> Option<u64> {
    object.get(name)?.as_u64()
}

/// `Some(None)` if the member is absent, `None` if it is of another type.
fn optional<T>(object: &Object, name: &str, read: fn(&Object, &str) -> Option<T>) -> Option<Option<T>> {
    if object.contains_key(name) { read(object, name).map(Some) } else { Some(None) }
}

fn audiences(object: &Object) -> Option<BTreeSet<String>> {
    match object.get("aud")? {
        Value::String(one) if is_text(one) => Some(BTreeSet::from([one.clone()])),
        list @ Value::Array(_) => texts(list).filter(|texts| !texts.is_empty()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<BTreeSet<String>> {
    let list = value.as_array().filter(|list| list.len() <= SCOPES_MAX)?;
    list.iter().map(|item| item.as_str().filter(|text| is_text(text)).map(str::to_owned)).collect()
}
