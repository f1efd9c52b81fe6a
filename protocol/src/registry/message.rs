//! The messages of anti-entropy and of forwarded changes. `E` is an envelope as it travels, or a verified one.

use super::entry_id::EntryId;
use super::envelope::Envelope;
use super::record::{RecordKey, Version};
use crate::codec::{Decode, Encode, frames};

/// How many buckets the keys fall into, by their first byte.
pub const BUCKETS: usize = 256;

/// One step of anti-entropy.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SyncAsk<E> {
    /// Where do we differ?
    Compare {
        /// The asker's fingerprint of each of the [`BUCKETS`].
        fingerprints: Vec<u128>,
        /// Keys before this one have been compared already.
        from: RecordKey,
    },
    /// Take these, and give me those.
    Exchange {
        /// Keys whose envelopes the asker wants.
        want: Vec<RecordKey>,
        /// Envelopes that the asked should know.
        give: Vec<E>,
    },
}

/// The answer to a [`SyncAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SyncAnswer<E> {
    /// What the asked holds in buckets that differ, in the order of keys.
    Stamps {
        /// The buckets; one of which the asked holds nothing is there too.
        buckets: Vec<BucketStamps>,
        /// Where to go on, if not all fitted.
        next: Option<RecordKey>,
    },
    /// The wanted envelopes.
    Envelopes {
        /// As many as fit, in the order asked for.
        envelopes: Vec<E>,
        /// How many of the given ones were news.
        taken: u32,
    },
    /// Not now.
    Busy,
}

impl<E> SyncAsk<E> {
    /// The same with each envelope in another form.
    pub fn map<F>(self, form: impl FnMut(E) -> F) -> SyncAsk<F> {
        match self {
            Self::Compare { fingerprints, from } => SyncAsk::Compare { fingerprints, from },
            Self::Exchange { want, give } => {
                SyncAsk::Exchange { want, give: give.into_iter().map(form).collect() }
            }
        }
    }
}

impl<E> SyncAnswer<E> {
    /// The same with each envelope in another form.
    pub fn map<F>(self, form: impl FnMut(E) -> F) -> SyncAnswer<F> {
        match self {
            Self::Stamps { buckets, next } => SyncAnswer::Stamps { buckets, next },
            Self::Envelopes { envelopes, taken } => {
                SyncAnswer::Envelopes { envelopes: envelopes.into_iter().map(form).collect(), taken }
            }
            Self::Busy => SyncAnswer::Busy,
        }
    }
}

/// What lies in one bucket, without the content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BucketStamps {
    /// First byte of its keys.
    pub bucket: u8,
    /// One for each key.
    pub stamps: Vec<Stamp>,
}

/// Which version of a key a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Stamp {
    /// The key.
    pub key: RecordKey,
    /// Its version.
    pub version: Version,
    /// First bytes of the body's hash.
    pub hash: u64,
}

/// A change to an entry of the asked node, handed on by a node that a client asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ForwardAsk {
    /// The entry's id; checked by [`ForwardAsk::entry`].
    entry: String,
    /// What to do.
    pub change: ForwardedChange,
    /// The owner's word that it is there; see [`ForwardedChange::Permit`].
    pub permit: [u8; 16],
}

/// What to do to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ForwardedChange {
    /// Set members; a JSON object as in the body of `PUT /asset_registry/<id>`.
    Update(String),
    /// Delete it.
    Delete,
    /// Nothing yet: asks for the permit that a change needs. It is good for some seconds, so that a change that lay
    /// in a network or before a stopped process, and was given up by its asker, is not made later.
    Permit,
}

/// The owner's answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ForwardAnswer {
    /// Done and durable: the new envelope.
    Done(Envelope),
    /// Not done; nothing was changed, unless it failed.
    Refused(ForwardRefusal),
    /// A permit for one change, soon.
    Permit([u8; 16]),
}

/// Why an owner did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ForwardRefusal {
    /// It has no such entry.
    NotFound,
    /// It does not take changes of this entry from others.
    Forbidden,
    /// The change is not acceptable.
    Invalid {
        /// The machine-readable word.
        code: String,
        /// The sentence.
        message: String,
    },
    /// Too many changes a minute.
    TooFast,
    /// Its disk is full.
    Full,
    /// Too much is waiting.
    Busy,
    /// It failed. Whether the change is there is not known.
    Failed,
    /// The permit is too old, or none of its own.
    Late,
    /// Several nodes own an entry of this id.
    Conflict {
        /// The sentence.
        message: String,
    },
    /// It has as many entries as it may have.
    TooMany {
        /// The sentence.
        message: String,
    },
}

impl ForwardAsk {
    /// A change to an entry.
    #[must_use]
    pub fn new(entry: &EntryId, change: ForwardedChange, permit: [u8; 16]) -> Self {
        Self { entry: entry.as_str().to_owned(), change, permit }
    }

    /// The entry's id, if it is one.
    #[must_use]
    pub fn entry(&self) -> Option<EntryId> {
        EntryId::new(self.entry.as_str()).ok()
    }
}

frames! {
    SyncAsk<Envelope>: encode, decode;
    SyncAnswer<Envelope>: encode_long, decode_long;
    ForwardAsk: encode, decode;
    ForwardAnswer: encode, decode;
}
