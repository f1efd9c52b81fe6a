//! The actors of one node: blobs, catalog, swarm, registry, tokens, liveness, summaries, query,
//! fetch, nvcf, mending, sweeper. It knows nothing of HTTP.

pub mod actor;
pub mod blobs;
pub mod blocking;
pub mod catalog;
pub mod clock;
pub mod fetch;
mod forgotten;
pub mod identity;
pub mod liveness;
mod members;
pub mod mending;
mod node;
pub mod nvcf;
mod peers;
mod permits;
pub mod query;
pub mod registry;
pub mod staging;
pub mod storage;
pub mod summaries;
pub mod swarm;
mod sweeper;
pub mod tokens;
pub mod verify;

pub use forgotten::Error as ForgetError;
pub use node::{Config, Node, NodeFacts, StartError};
pub use peers::{EntryFacts, Peer};
