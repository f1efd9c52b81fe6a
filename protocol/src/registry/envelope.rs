//! Envelopes: a record's bytes and its owner's signature over them. The bytes are kept and handed on as they came,
//! so that fields of later versions survive. Nothing in them is believed before the signature has been verified.

use std::sync::OnceLock;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::entry_id::{EntryId, EntryIdError};
use super::payload::{Payload, PayloadError};
use super::record::{Record, RecordKey, Version};
use super::{BODY_BYTES_MAX, ENVELOPE_BYTES_MAX, TTL_MS_MAX};
use crate::codec::{self, CodecError, Decode, Encode};
use crate::document::Document;
use crate::ids::NodeKey;
use crate::network::NetworkId;

/// First part of every signed message, so that no other signature of the same key can pass for one of these.
const DOMAIN: &[u8] = b"assetmesh registry envelope 1\n";

/// A signed record as it travels. Nothing about it is known to be true.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// The record's bytes.
    pub body: Vec<u8>,
    /// The owner's ed25519 signature over domain, network id and body.
    pub signature: [u8; 64],
}

impl Envelope {
    /// Its bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self).expect("an envelope is far shorter than the longest frame")
    }

    /// Reads bytes from the wire, unverified.
    ///
    /// # Errors
    /// Bytes that are too many, or are no envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::TooLong(bytes.len()));
        }
        Ok(codec::decode(bytes)?)
    }
}

/// The signed fields. Later versions append; the order of these never changes.
#[derive(Debug, Encode, Decode)]
struct Body {
    owner: NodeKey,
    entry: String,
    version: Version,
    issued_ms: u64,
    ttl_ms: u64,
    deleted: bool,
    kind: u16,
    payload: Vec<u8>,
}

/// Why an envelope is refused, whatever the time is. An honest node never sends one of these.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than any envelope.
    #[error("{0} bytes are too many for an envelope")]
    TooLong(usize),
    /// Not an envelope, or its body is no record.
    #[error("malformed: {0}")]
    Malformed(#[from] CodecError),
    /// The owner is no public key.
    #[error("the owner is not an ed25519 public key")]
    NotAKey,
    /// Not signed by its owner for this network.
    #[error("the signature does not hold in this network")]
    Signature,
    /// The entry id is not allowed.
    #[error(transparent)]
    EntryId(#[from] EntryIdError),
    /// It lives for no time, or for too long.
    #[error("a life of {0} ms is not between 1 ms and {TTL_MS_MAX} ms")]
    Ttl(u64),
    /// A node's id without a node record, or the other way round.
    #[error("a node record belongs under the id of its own node, and nothing else does")]
    Misplaced,
    /// The payload is not allowed.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Signs the records of one owner. It never shows the secret key.
#[derive(Clone)]
pub struct OwnerKey {
    key: SigningKey,
    network: NetworkId,
}

impl OwnerKey {
    /// Takes an ed25519 secret key. What it signs holds in one network only.
    #[must_use]
    pub fn new(secret: &[u8; 32], network: NetworkId) -> Self {
        Self { key: SigningKey::from_bytes(secret), network }
    }

    /// The public key.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.key.verifying_key().to_bytes())
    }

    /// Checks and signs a record of this owner.
    ///
    /// # Errors
    /// When no node would accept the record.
    pub fn sign(&self, record: &Record) -> Result<Verified, EnvelopeError> {
        let (kind, payload) = record.payload.encode()?;
        let body = Body {
            owner: self.node_key(),
            entry: record.entry.as_str().to_owned(),
            version: record.version,
            issued_ms: record.issued_ms,
            ttl_ms: record.ttl_ms,
            deleted: record.payload.is_tombstone(),
            kind,
            payload,
        };
        let bytes = codec::encode(&body).map_err(|_| EnvelopeError::TooLong(codec::ENCODED_BYTES_MAX))?;
        let signature = self.key.sign(&signed_message(&self.network, &bytes)).to_bytes();
        Verified::of(body, Envelope { body: bytes, signature })
    }
}

impl std::fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnerKey").field("node_key", &self.node_key()).finish_non_exhaustive()
    }
}

/// Verifies envelopes of one network.
#[derive(Debug, Clone)]
pub struct Verifier {
    network: NetworkId,
}

impl Verifier {
    /// For one network.
    #[must_use]
    pub const fn new(network: NetworkId) -> Self {
        Self { network }
    }

    /// Checks everything about an envelope that does not depend on time or on other envelopes.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn verify(&self, envelope: Envelope) -> Result<Verified, EnvelopeError> {
        if envelope.body.len() > BODY_BYTES_MAX {
            return Err(EnvelopeError::TooLong(envelope.body.len()));
        }
        let body: Body = codec::decode_open(&envelope.body)?;
        let key = VerifyingKey::from_bytes(&body.owner.0).map_err(|_| EnvelopeError::NotAKey)?;
        let signature = Signature::from_bytes(&envelope.signature);
        key.verify_strict(&signed_message(&self.network, &envelope.body), &signature)
            .map_err(|_| EnvelopeError::Signature)?;
        Verified::of(body, envelope)
    }

    /// Decodes, then verifies.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn verify_bytes(&self, bytes: &[u8]) -> Result<Verified, EnvelopeError> {
        self.verify(Envelope::decode(bytes)?)
    }
}

fn signed_message(network: &NetworkId, body: &[u8]) -> Vec<u8> {
    [DOMAIN, network.as_bytes(), body].concat()
}

/// An envelope whose signature holds and whose content is well formed. Only a [`Verifier`] and an [`OwnerKey`]
/// make one, so it is proof in itself.
#[derive(Debug)]
pub struct Verified {
    envelope: Envelope,
    owner: NodeKey,
    entry: EntryId,
    version: Version,
    issued_ms: u64,
    ttl_ms: u64,
    deleted: bool,
    key: RecordKey,
    hash: [u8; 32],
    shown: OnceLock<Option<Shown>>,
}

#[derive(Debug)]
struct Shown {
    created_ms: u64,
    document: Document,
}

impl Verified {
    fn of(body: Body, envelope: Envelope) -> Result<Self, EnvelopeError> {
        if envelope.body.len() > BODY_BYTES_MAX {
            return Err(EnvelopeError::TooLong(envelope.body.len()));
        }
        let entry = EntryId::new(body.entry)?;
        entry.check_owner(&body.owner)?;
        if body.ttl_ms == 0 || body.ttl_ms > TTL_MS_MAX {
            return Err(EnvelopeError::Ttl(body.ttl_ms));
        }
        let is_own_place = entry.is_node(&body.owner);
        match Payload::decode(body.deleted, body.kind, &body.payload)? {
            Payload::Node(_) if !is_own_place => return Err(EnvelopeError::Misplaced),
            Payload::Entry(_) if is_own_place => return Err(EnvelopeError::Misplaced),
            _ => {}
        }
        let hash = blake3::hash(&envelope.body).into();
        Ok(Self {
            key: RecordKey::of(&body.owner, &entry),
            envelope,
            owner: body.owner,
            entry,
            version: body.version,
            issued_ms: body.issued_ms,
            ttl_ms: body.ttl_ms,
            deleted: body.deleted,
            hash,
            shown: OnceLock::new(),
        })
    }

    /// The envelope as it came.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Who signed it.
    #[must_use]
    pub const fn owner(&self) -> NodeKey {
        self.owner
    }

    /// Which entry it is about.
    #[must_use]
    pub const fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// Its place among the envelopes of its key.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// When it was signed, in milliseconds since 1970.
    #[must_use]
    pub const fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// From when on it no longer holds, in milliseconds since 1970.
    #[must_use]
    pub const fn expires_ms(&self) -> u64 {
        self.issued_ms.saturating_add(self.ttl_ms)
    }

    /// Whether it deletes its entry.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Whether it is a node's own record.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.entry.is_node(&self.owner)
    }

    /// The key it is kept under.
    #[must_use]
    pub const fn key(&self) -> RecordKey {
        self.key
    }

    /// The BLAKE3 hash of its body.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What it holds, decoded anew.
    #[must_use]
    pub fn payload(&self) -> Payload {
        codec::decode_open::<Body>(&self.envelope.body)
            .ok()
            .and_then(|body| Payload::decode(body.deleted, body.kind, &body.payload).ok())
            .expect("a verified body was decoded before")
    }

    /// The five members of the entry it shows; nothing for a tombstone and for what this build does not know.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.shown().map(|shown| &shown.document)
    }

    /// When its entry was created, in milliseconds since 1970, if it shows one.
    #[must_use]
    pub fn created_ms(&self) -> Option<u64> {
        self.shown().map(|shown| shown.created_ms)
    }

    fn shown(&self) -> Option<&Shown> {
        let make = || match self.payload() {
            Payload::Node(node) => {
                Some(Shown { created_ms: node.created_ms, document: node.document(&self.entry) })
            }
            Payload::Entry(entry) => {
                Some(Shown { created_ms: entry.created_ms, document: entry.document(&self.entry) })
            }
            Payload::Tombstone | Payload::Unknown { .. } => None,
        };
        self.shown.get_or_init(make).as_ref()
    }
}

/// Two are equal when their signed bodies are.
impl PartialEq for Verified {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Verified {}
