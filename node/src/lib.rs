//! The actors of one node: blobs, catalog, swarm, registry, liveness, query, fetch, sweeper. It knows nothing of HTTP.

pub mod actor;
pub mod blobs;
pub mod catalog;
pub mod clock;
pub mod fetch;
mod forgotten;
pub mod identity;
pub mod liveness;
mod members;
mod node;
mod peers;
mod permits;
pub mod query;
pub mod registry;
pub mod storage;
pub mod swarm;
mod sweeper;
pub mod verify;

pub use forgotten::Error as ForgetError;
pub use node::{Config, Node, NodeFacts, StartError};
pub use peers::{EntryFacts, Peer};
