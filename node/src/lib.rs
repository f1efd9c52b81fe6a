//! The actors of one node. It knows nothing of HTTP.

pub mod actor;

pub mod storage;
