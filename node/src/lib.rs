//! The actors of one node: blobs, catalog, swarm, sweeper. It knows nothing of HTTP.

pub mod actor;
pub mod blobs;
pub mod catalog;
pub mod clock;
pub mod identity;
pub mod liveness;
mod node;
pub mod registry;
pub mod storage;
pub mod swarm;
mod sweeper;
pub mod verify;

pub use node::{Config, Node, NodeFacts, StartError};
