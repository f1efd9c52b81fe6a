//! What nodes tell each other about who is alive: signed claims, challenges and their proofs, doubts and ballots.
//! It only names, checks the form of, encodes and decodes; who may claim what is decided by the node.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

use crate::codec::{self, CodecError, Decode, Encode};
use crate::ids::NodeKey;
use crate::network::NetworkId;

/// Most claims in one message: with four signatures each they stay below the codec's limit.
pub const CLAIMS_MAX: usize = 128;

/// Most signatures under one claim: a node has four monitors.
pub const SIGNATURES_MAX: usize = 4;

/// Fingerprints in a digest: one for every value of the first six bits of a node's key.
pub const BUCKETS: usize = 64;

const CLAIM_DOMAIN: &[u8] = b"assetmesh 2026 liveness claim\0";
const PROOF_DOMAIN: &[u8] = b"assetmesh 2026 liveness proof\0";

/// Kinds of [`Message`]. A higher number in the frame is a later version's.
const KINDS: u32 = 6;

/// An ed25519 signature (RFC 8032), raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

impl Signature {
    /// True if `signer` signed exactly these bytes, by the strict rules that leave each signature one form.
    #[must_use]
    pub fn is_of(&self, signer: &NodeKey, statement: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.0);
        VerifyingKey::from_bytes(signer.as_bytes())
            .is_ok_and(|key| key.verify_strict(statement, &signature).is_ok())
    }
}

/// What is said of a node. Within one incarnation a later one in this list overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Standing {
    /// It answers. Said by the node itself.
    Alive,
    /// Two of its monitors get no answer. The node may refute this with a higher incarnation.
    Suspect,
    /// Two of its monitors still get no answer after a time in which it could have refuted.
    Down,
    /// It stopped in order. Said by the node itself.
    Left,
}

impl Standing {
    /// True for what a node says of itself, false for what its monitors say of it.
    #[must_use]
    pub const fn is_own_word(self) -> bool {
        matches!(self, Self::Alive | Self::Left)
    }
}

/// Who stands for a claim.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Signed {
    /// The signer.
    pub by: NodeKey,
    /// Over [`Claim::statement`].
    pub signature: Signature,
}

/// One signed sentence about one node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// Of whom it is said.
    pub target: NodeKey,
    /// Which life of the target: milliseconds of the wall clock at its start, plus one for every refutation.
    pub incarnation: u64,
    /// What is said.
    pub standing: Standing,
    /// The target itself (alive, left), or different monitors of it (suspect, down).
    pub signed: Vec<Signed>,
}

impl Claim {
    /// Of two claims about one node the one with the higher precedence holds.
    #[must_use]
    pub const fn precedence(&self) -> (u64, Standing) {
        (self.incarnation, self.standing)
    }

    /// The bytes that are signed. They name the network, so that a claim proves nothing in another.
    #[must_use]
    pub fn statement(network: &NetworkId, target: &NodeKey, incarnation: u64, standing: Standing) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CLAIM_DOMAIN.len() + 73);
        bytes.extend_from_slice(CLAIM_DOMAIN);
        bytes.extend_from_slice(network.as_bytes());
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.push(standing as u8);
        bytes
    }

    fn check(&self, signatures_min: usize) -> Result<(), MessageError> {
        let signers = self.signed.len();
        if self.standing.is_own_word() {
            let own = signers == 1 && self.signed[0].by == self.target;
            return if own { Ok(()) } else { Err(MessageError::NotItsOwnWord) };
        }
        let repeated = self.signed.iter().enumerate().any(|(at, one)| {
            one.by == self.target || self.signed[..at].iter().any(|other| other.by == one.by)
        });
        if repeated || signers < signatures_min || signers > SIGNATURES_MAX {
            return Err(MessageError::Signers(signers));
        }
        Ok(())
    }
}

/// An answer to a challenge: shows that the target was alive after the nonce was chosen, whoever carries it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// Who answers.
    pub target: NodeKey,
    /// Its present life.
    pub incarnation: u64,
    /// The nonce of the challenge.
    pub nonce: u64,
    /// The target's, over [`Proof::statement`].
    pub signature: Signature,
}

impl Proof {
    /// The bytes that are signed.
    #[must_use]
    pub fn statement(network: &NetworkId, target: &NodeKey, incarnation: u64, nonce: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PROOF_DOMAIN.len() + 80);
        bytes.extend_from_slice(PROOF_DOMAIN);
        bytes.extend_from_slice(network.as_bytes());
        bytes.extend_from_slice(target.as_bytes());
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.extend_from_slice(&nonce.to_le_bytes());
        bytes
    }
}

/// One message of a node to another. None of them has an answer of its own: what follows is another message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// What the sender has newly learnt, or what the receiver lacks.
    Claims(Vec<Arc<Claim>>),
    /// Fingerprints of all claims that the sender holds.
    Digest {
        /// One for every bucket; the exclusive or of a hash of each claim.
        buckets: Vec<u64>,
        /// True if this answers a digest, and wants none in return.
        answer: bool,
    },
    /// The sender gets no answer from the target. The receiver tries, and passes on the target's proof; if it gets
    /// none either, it sends its ballot.
    Doubt {
        /// Who is silent.
        target: NodeKey,
        /// Its life that is doubted.
        incarnation: u64,
        /// What the sender would claim: suspect or down.
        standing: Standing,
        /// To be signed by the target.
        nonce: u64,
    },
    /// A monitor's own signature under a claim that still needs another.
    Ballot(Claim),
    /// Asks the receiver to sign a nonce.
    Challenge {
        /// Chosen by whoever doubts.
        nonce: u64,
    },
    /// The answer to a challenge, from the target or passed on.
    Proof(Proof),
}

/// Bytes that are no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not one whole value.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A later version's message: to be ignored, it is no offence.
    #[error("message kind {0} is not known here")]
    UnknownKind(u32),
    /// More claims than allowed.
    #[error("{0} claims in one message, at most {CLAIMS_MAX}")]
    Claims(usize),
    /// Too few, too many or repeated signers, or the target among its accusers.
    #[error("a claim by {0} signers, or by one of them twice, or by its target")]
    Signers(usize),
    /// Alive or left, but not said by the target alone.
    #[error("only a node itself can say that it is alive or has left")]
    NotItsOwnWord,
    /// Not one fingerprint a bucket.
    #[error("a digest of {0} fingerprints instead of {BUCKETS}")]
    Digest(usize),
    /// A doubt or ballot that would claim what monitors cannot.
    #[error("monitors can only say suspect or down")]
    NotForMonitors,
}

impl Message {
    /// Encodes it.
    ///
    /// # Errors
    /// When it is longer than a frame may be.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self).map_err(|_| CodecError::TooLong(codec::ENCODED_BYTES_MAX))
    }

    /// Decodes it and checks its form: counts, signers, kinds. No signature is checked here.
    ///
    /// # Errors
    /// When the bytes are no message, or one of a form that no honest node sends.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        if let Some(kind) = bytes.get(1..5)
            && bytes[0] == codec::VERSION
        {
            let kind = u32::from_le_bytes([kind[0], kind[1], kind[2], kind[3]]);
            if kind >= KINDS {
                return Err(MessageError::UnknownKind(kind));
            }
        }
        let message: Self = codec::decode(bytes)?;
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Claims(claims) if claims.len() > CLAIMS_MAX => Err(MessageError::Claims(claims.len())),
            Self::Claims(claims) => claims.iter().try_for_each(|claim| claim.check(2)),
            Self::Digest { buckets, .. } if buckets.len() != BUCKETS => {
                Err(MessageError::Digest(buckets.len()))
            }
            Self::Doubt { standing, .. } if standing.is_own_word() => Err(MessageError::NotForMonitors),
            Self::Ballot(claim) if claim.standing.is_own_word() => Err(MessageError::NotForMonitors),
            Self::Ballot(claim) if claim.signed.len() != 1 => Err(MessageError::Signers(claim.signed.len())),
            Self::Ballot(claim) => claim.check(1),
            Self::Digest { .. } | Self::Doubt { .. } | Self::Challenge { .. } | Self::Proof(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
