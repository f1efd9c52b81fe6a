//! What only the operator of a node may ask, and who that is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddr(pub(crate) Option<SocketAddr>);

impl ClientAddr {
    /// Whether the client sits at this machine: until there are tokens, that is what makes an operator.
    pub(crate) fn is_operator(self) -> bool {
        self.0.is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// Refuses whoever is none.
    pub(crate) fn must_be_operator(self) -> Result<(), ApiError> {
        let sentence = "this may be asked only from the machine that the node runs on";
        if self.is_operator() { Ok(()) } else { Err(ApiError::forbidden(sentence)) }
    }
}

/// The nodes that a node shall not talk to. The list takes the place of the one before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blocked {
    /// Names their asset databases.
    pub(crate) assets_db_ids: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_sits_at_this_machine() {
        let is_operator = |text: &str| ClientAddr(Some(text.parse().unwrap())).is_operator();
        assert!(is_operator("127.0.0.1:1") && is_operator("[::1]:1") && is_operator("[::ffff:127.0.0.1]:1"));
        assert!(!is_operator("10.0.0.1:1") && !is_operator("[::ffff:10.0.0.1]:1"));
        assert!(!ClientAddr(None).is_operator());
    }
}
