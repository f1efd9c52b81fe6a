//! The registry's words: one signed envelope a key, what it may hold, and the messages that carry it.
//! Pure: it verifies and signs, but keeps nothing and knows no time but what it is told.

mod entry;
mod entry_id;
mod envelope;
mod message;
mod node_record;
mod payload;
mod record;

pub use entry::{Draft, EntryError, MEMBERS, Patch, RegistryEntry};
pub use entry_id::{EntryId, EntryIdError};
pub use envelope::{Envelope, EnvelopeError, OwnerKey, Verified, Verifier};
pub use message::{
    BUCKETS, BucketStamps, ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Stamp, SyncAnswer,
    SyncAsk,
};
pub use node_record::NodeRecord;
pub use payload::{Payload, PayloadError};
pub use record::{Record, RecordKey, Version};

/// Longest payload of one envelope, in bytes: a description fits, a file does not, and an envelope stays well
/// below what gossip carries in one message.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024;

/// Longest signed body, in bytes: payload, entry id, fixed fields, and room for fields of later versions.
pub const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 1024;

/// Longest encoded envelope, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = BODY_BYTES_MAX + 128;

/// Longest life of an envelope, in milliseconds: 31 days. An owner that is away for longer is gone.
pub const TTL_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests;
