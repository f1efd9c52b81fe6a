//! JSON Web Tokens in compact form (RFC 7515, RFC 8725): takes one apart, finds the one key that may have signed it, and
//! makes one. Pure: the caller brings the time and the keys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value, json};

use super::claims::Claims;
use super::issuers::Origin;
use super::{Error, TOKEN_BYTES_MAX, json as strict};

/// What may stand in a header. Everything that names a key by address or brings one along is refused, and so is all
/// that would change the meaning of the rest (`crit`, `b64`, `zip`).
const HEADER_MEMBERS: [&str; 5] = ["alg", "kid", "typ", "x5t", "x5t#S256"];

/// A key that verifies tokens of one issuer: it has one algorithm, which the token must name.
#[derive(Debug, Clone)]
pub(super) struct VerifyKey {
    pub(super) key: DecodingKey,
    pub(super) algorithm: Algorithm,
}

/// The key of an issuer, and for whom its tokens must be meant.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: VerifyKey,
    pub(super) audience: String,
    pub(super) origin: Origin,
}

/// Checks everything that can be known without records: form, key, signature, claims, time. `find` looks a key up by
/// issuer and key id, and does nothing else with them.
pub(super) fn judge(
    now: Duration,
    token: &str,
    find: impl FnOnce(&str, &str) -> Option<Found>,
) -> Result<(Claims, Origin), Error> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(NOT_THREE)?;
    let (header, payload) = signed.split_once('.').ok_or(NOT_THREE)?;
    if payload.contains('.') {
        return Err(NOT_THREE);
    }
    let header = Header::parse(&decode(header)?)?;
    let claims = Claims::parse(&decode(payload)?)?;
    decode(signature)?;
    let found = find(&claims.issuer, &header.key_id).ok_or(Error::UnknownIssuer)?;
    if header.algorithm != name(found.key.algorithm) {
        return Err(Error::Malformed("its algorithm is not that of the key"));
    }
    let verified =
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &found.key.key, found.key.algorithm);
    if !verified.unwrap_or(false) {
        return Err(Error::BadSignature);
    }
    claims.hold(now, &found.audience)?;
    Ok((claims, found.origin))
}

const NOT_THREE: Error = Error::Malformed("it has no three parts");

struct Header {
    algorithm: String,
    key_id: String,
}

impl Header {
    fn parse(text: &[u8]) -> Result<Self, Error> {
        let object = strict::object(text)
            .ok_or(Error::Malformed("its header is not a JSON object without duplicates"))?;
        if object.keys().any(|name| !HEADER_MEMBERS.contains(&name.as_str())) {
            return Err(Error::Malformed("its header has a member that is refused"));
        }
        if !is_jwt(&object) {
            return Err(Error::Malformed("typ must be JWT"));
        }
        let text = |name| object.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: text("alg").ok_or(Error::Malformed("alg must be a text"))?,
            key_id: text("kid").ok_or(Error::Malformed("kid must be a text"))?,
        })
    }
}

fn is_jwt(header: &Map<String, Value>) -> bool {
    let known = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    header.get("typ").is_none_or(|typ| typ.as_str().is_some_and(known))
}

/// The names of the algorithms that a key can have here.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDSA => "EdDSA",
        Algorithm::ES256 => "ES256",
        Algorithm::RS256 => "RS256",
        _ => "none that is used here",
    }
}

/// Exactly one text stands for some bytes: no padding, no spare bits.
fn decode(part: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed("a part is not base64url"))
}

/// Makes a token that [`judge`] takes apart again. `sign` is an ed25519 key (RFC 8037).
pub(super) fn make(claims: &Value, key_id: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": key_id});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
