//! The words of assetmesh: ids, asset and registry records, the filter language, networks, limits and the codec.
//! It does no input or output, reads no clock, and is not async.

pub mod asset;
pub mod blob;
pub mod codec;
pub mod document;
pub mod filter;
pub mod ids;
pub mod limits;
pub mod liveness;
pub mod network;
pub mod nvcf;
pub mod query;
pub mod registry;
