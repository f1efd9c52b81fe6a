//! What each route needs: the one table of who may do what. A new operation gets a line here; a test names those
//! without one, and until then only an operator may call it.

use assetmesh_node::tokens::{ADMIN, ASSETS_READ, ASSETS_WRITE, INVOKE_FUNCTION, REGISTRY_WRITE};

use crate::config::{Auth, Reads};

/// What a caller needs to call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing, ever: health, the API's own description, and what is signed in itself.
    Open,
    /// To see what the node knows.
    Read,
    /// To change assets.
    WriteAssets,
    /// To change the registry.
    WriteRegistry,
    /// To operate the node.
    Operate,
    /// To use NVCF, for which there is always a token.
    Invoke,
}

/// How a right is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all.
    None,
    /// By a token with this scope.
    Scope(&'static str),
    /// By not being a page of another site: what anybody may do, nobody's browser is to be tricked into.
    OwnSite,
    /// By sitting at the machine of the node.
    OwnMachine,
}

/// Operations as the API's description names them. `HEAD` is `GET`.
const TABLE: &[(&str, &str, Right)] = &[
    ("GET", "/health", Right::Open),
    ("GET", "/livez", Right::Open),
    ("GET", "/readyz", Right::Open),
    ("GET", "/openapi.json", Right::Open),
    ("GET", "/metrics", Right::Read),
    ("GET", "/v1/node", Right::Read),
    ("GET", "/v1/peers", Right::Read),
    ("PUT", "/v1/peers/blocked", Right::Operate),
    ("POST", "/v1/verify", Right::Operate),
    ("POST", "/upload_asset", Right::WriteAssets),
    ("POST", "/asset", Right::WriteAssets),
    ("GET", "/asset/{uri}", Right::Read),
    ("PUT", "/asset/{uri}", Right::WriteAssets),
    ("DELETE", "/asset/{uri}", Right::WriteAssets),
    ("POST", "/assets", Right::Read),
    ("GET", "/asset-object/{asset_id}", Right::Read),
    ("POST", "/asset_registry", Right::WriteRegistry),
    ("GET", "/asset_registry/{id}", Right::Read),
    ("PUT", "/asset_registry/{id}", Right::WriteRegistry),
    ("DELETE", "/asset_registry/{id}", Right::WriteRegistry),
    ("POST", "/asset_registries", Right::Read),
    ("GET", "/check_health/{id}", Right::Read),
    ("POST", "/v2/nvcf/assets", Right::Invoke),
    ("GET", "/v2/nvcf/assets", Right::Invoke),
    ("GET", "/v2/nvcf/assets/{asset_id}", Right::Invoke),
    ("DELETE", "/v2/nvcf/assets/{asset_id}", Right::Invoke),
    ("PUT", "/v2/nvcf/uploads/{ticket}", Right::Open),
    ("POST", "/v2/nvcf/inputs", Right::Invoke),
    ("GET", "/v2/nvcf/inputs/{asset_id}", Right::Invoke),
    ("POST", "/v2/nvcf/pexec/functions/{function_id}", Right::Invoke),
    ("POST", "/v2/nvcf/pexec/functions/{function_id}/versions/{version_id}", Right::Invoke),
    ("GET", "/v2/nvcf/pexec/status/{request_id}", Right::Invoke),
];

/// What an operation needs, if it has its line.
pub(crate) fn of(method: &str, path: &str) -> Option<Right> {
    TABLE.iter().find(|(known, at, _)| *known == method && *at == path).map(|(_, _, right)| *right)
}

impl Right {
    /// How it is to be shown, as the node is set up.
    pub(crate) fn proof(self, auth: Auth) -> Proof {
        match (self, auth) {
            (Self::Open, _) | (Self::Read, Auth::None | Auth::Token { reads: Reads::Open }) => Proof::None,
            (Self::Read, Auth::Token { reads: Reads::Token }) => Proof::Scope(ASSETS_READ),
            (Self::WriteAssets | Self::WriteRegistry, Auth::None) => Proof::OwnSite,
            (Self::WriteAssets, Auth::Token { .. }) => Proof::Scope(ASSETS_WRITE),
            (Self::WriteRegistry, Auth::Token { .. }) => Proof::Scope(REGISTRY_WRITE),
            (Self::Operate, Auth::None) => Proof::OwnMachine,
            (Self::Operate, Auth::Token { .. }) => Proof::Scope(ADMIN),
            (Self::Invoke, _) => Proof::Scope(INVOKE_FUNCTION),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const OPEN: Auth = Auth::Token { reads: Reads::Open };
    const CLOSED: Auth = Auth::Token { reads: Reads::Token };

    #[rstest]
    #[case(Right::Open, [Proof::None, Proof::None, Proof::None])]
    #[case(Right::Read, [Proof::None, Proof::None, Proof::Scope("assets:read")])]
    #[case(Right::WriteAssets, [Proof::OwnSite, Proof::Scope("assets:write"), Proof::Scope("assets:write")])]
    #[case(Right::WriteRegistry, [Proof::OwnSite, Proof::Scope("registry:write"), Proof::Scope("registry:write")])]
    #[case(Right::Operate, [Proof::OwnMachine, Proof::Scope("admin"), Proof::Scope("admin")])]
    #[case(Right::Invoke, [Proof::Scope("invoke_function"); 3])]
    fn each_right_has_its_proof(#[case] right: Right, #[case] proofs: [Proof; 3]) {
        assert_eq!([Auth::None, OPEN, CLOSED].map(|auth| right.proof(auth)), proofs);
    }

    #[test]
    fn no_operation_stands_in_the_table_twice() {
        let mut names: Vec<_> = TABLE.iter().map(|(method, path, _)| (method, path)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
