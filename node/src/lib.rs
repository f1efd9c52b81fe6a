//! The actors of one node: blobs, catalog, swarm, registry, liveness, query, fetch, tokens, nvcf,
//! sweeper, mending. It knows nothing of HTTP.

pub mod actor;
pub mod blobs;
pub mod catalog;
pub mod clock;
pub mod fetch;
pub mod identity;
pub mod liveness;
mod members;
pub mod mending;
mod node;
pub mod nvcf;
mod peers;
pub mod query;
pub mod registry;
pub mod staging;
pub mod storage;
pub mod swarm;
mod sweeper;
pub mod tokens;
pub mod verify;

pub use node::{Config, Node, NodeFacts, StartError};
pub use peers::{EntryFacts, Peer};
