//! The verbs, one file each. A verb turns its checked arguments into calls and prints what comes back.

pub(crate) mod completion;
pub(crate) mod download;
pub(crate) mod filter;
pub(crate) mod ls;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod query;
pub(crate) mod registry;
pub(crate) mod rm;
pub(crate) mod show;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod upload;
pub(crate) mod verify;
pub(crate) mod worker;
