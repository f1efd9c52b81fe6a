//! Who this node is: an ed25519 key made at first start, the `PeerId` and the `assets_db_id` that follow from it.
//! It never shows the secret key.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
use assetmesh_protocol::network::NetworkId;
use assetmesh_protocol::registry::OwnerKey;
use libp2p_identity::{Keypair, PeerId, PublicKey};

/// File name of the key inside the data directory.
const KEY_FILE: &str = "node.key";
/// A protobuf-encoded ed25519 key pair has 68 bytes; anything much longer is not one.
const KEY_BYTES_MAX: u64 = 256;

/// The node's key and the names derived from it.
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
    assets_db_id: AssetsDbId,
}

/// Why the node key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("node key {}: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may read the file.
    #[error("node key {path} has mode {mode:03o}: others may read it. Run `chmod 600 {path}`, or move it away to start as a new node", path = path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold an ed25519 key pair.
    #[error("node key {} is damaged or not an ed25519 key: restore it from a backup, or move it away to start as a new node", .0.display())]
    NotAKey(PathBuf),
}

impl Identity {
    /// Reads the key of the data directory, or makes one (mode 0600, on disk before this returns).
    ///
    /// # Errors
    /// When the file cannot be read or written, is open to others, or holds no key.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, IdentityError> {
        match Self::load(data_dir)? {
            Some(identity) => Ok(identity),
            None => create_key(data_dir, &data_dir.join(KEY_FILE)).map(Self::of),
        }
    }

    /// Reads the key of the data directory; `None` if there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or holds no key.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(KEY_FILE);
        match File::open(&path) {
            Ok(file) => read_key(file, &path).map(Self::of).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    fn of(keypair: Keypair) -> Self {
        let assets_db_id = AssetsDbId::of_public_key(&keypair.public().encode_protobuf());
        Self { keypair, assets_db_id }
    }

    /// The libp2p name of this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// The public key, by which nodes name each other.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        NodeKey::from_encoded(&self.keypair.public().encode_protobuf()).expect("only ed25519 keys are loaded")
    }

    /// The key pair, with which the peer network proves who this node is.
    pub(crate) const fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// The name of this node's asset database.
    #[must_use]
    pub const fn assets_db_id(&self) -> AssetsDbId {
        self.assets_db_id
    }

    /// Signs this node's registry entries in one network.
    #[must_use]
    pub fn owner_key(&self, network: NetworkId) -> OwnerKey {
        let pair = self.keypair.clone().try_into_ed25519().expect("only ed25519 keys are loaded");
        let secret = pair.secret();
        let secret = secret.as_ref().try_into().expect("an ed25519 secret key has 32 bytes");
        OwnerKey::new(secret, network)
    }

    /// Signs a token of this node. What is signed begins with a base64url text, as nothing else does that the key signs.
    pub(crate) fn sign(&self, token: &[u8]) -> Vec<u8> {
        self.keypair.sign(token).expect("an ed25519 key signs everything")
    }

    /// A secret for one purpose, which nobody without the node key can compute.
    #[must_use]
    pub fn secret(&self, purpose: &'static str) -> [u8; 32] {
        let key = self.keypair.to_protobuf_encoding().expect("an ed25519 key pair always encodes");
        blake3::derive_key(purpose, &key)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("assets_db_id", &self.assets_db_id).finish_non_exhaustive()
    }
}

/// The libp2p name of any node, as text; empty for a key that no node can have.
#[must_use]
pub fn peer_id_of(key: &NodeKey) -> String {
    let key = PublicKey::try_decode_protobuf(&key.encoded());
    key.map(|key| key.to_peer_id().to_string()).unwrap_or_default()
}

fn read_key(file: File, path: &Path) -> Result<Keypair, IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    let keypair = Keypair::from_protobuf_encoding(&bytes).ok();
    let ed25519 = keypair.filter(|pair| NodeKey::from_encoded(&pair.public().encode_protobuf()).is_some());
    ed25519.ok_or_else(|| IdentityError::NotAKey(path.to_owned()))
}

/// Writes under another name first, so that a crash leaves either no key or a whole one.
fn create_key(data_dir: &Path, path: &Path) -> Result<Keypair, IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(|_| IdentityError::NotAKey(path.to_owned()))?;
    let draft = path.with_extension("key.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&draft, path).map_err(io)?;
    File::open(data_dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_another_folder_has_another() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Identity::load_or_create(here.path()).unwrap();
        let again = Identity::load_or_create(here.path()).unwrap();
        let other = Identity::load_or_create(there.path()).unwrap();
        assert_eq!(first.peer_id(), again.peer_id());
        assert_eq!(first.assets_db_id(), again.assets_db_id());
        assert_eq!(first.assets_db_id(), first.node_key().assets_db_id());
        assert_ne!(first.assets_db_id(), other.assets_db_id());
        let network = NetworkId::new(&"main".parse().unwrap(), None);
        assert_eq!(first.owner_key(network).node_key(), first.node_key());
        assert_ne!(first.secret("a"), first.secret("b"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load_or_create(dir.path()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        std::fs::write(&path, b"junk").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Identity::load_or_create(dir.path()), Err(IdentityError::NotAKey(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"junk");
    }
}
