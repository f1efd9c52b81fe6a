//! Signs liveness statements with the node's key. It decides nothing.

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::Signature;

use super::Notary;
use crate::identity::Identity;

/// The node's own key at work.
#[derive(Debug)]
pub(super) struct NodeNotary(pub(super) Identity);

impl Notary for NodeNotary {
    fn sign(&self, statement: &[u8]) -> Signature {
        let signed = self.0.keypair().sign(statement).expect("only RSA keys can fail to sign");
        Signature(signed.try_into().expect("an ed25519 signature has 64 bytes"))
    }

    fn verify(&self, signer: &NodeKey, statement: &[u8], signature: &Signature) -> bool {
        signature.is_of(signer, statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_signs_is_known_as_its_own() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let notary = NodeNotary(Identity::load_or_create(here.path()).unwrap());
        let other = NodeNotary(Identity::load_or_create(there.path()).unwrap());
        let signature = notary.sign(b"alive");
        assert!(other.verify(&notary.0.node_key(), b"alive", &signature));
        assert!(!other.verify(&other.0.node_key(), b"alive", &signature));
        assert!(!other.verify(&notary.0.node_key(), b"down", &signature));
    }
}
