//! The pre-shared key that closes a federation, as read from its file. It never shows the key.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assetmesh_protocol::network::{NetworkId, NetworkName};
use libp2p::pnet::PreSharedKey;

/// The file has about 100 bytes; anything much longer is not one.
const FILE_BYTES_MAX: u64 = 1024;
/// First line of the usual form.
const KIND: &str = "/key/swarm/psk/1.0.0/";
/// Second line of the usual form: how the third is written.
const ENCODING: &str = "/base16/";

/// A key that all nodes of a closed federation hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct NetworkKey([u8; 32]);

/// Why the file of a network key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkKeyError {
    /// The file cannot be read.
    #[error("network key {}: {source}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may read the file.
    #[error("network key {path} has mode {mode:03o}: others may read it. Run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("network key {}: {reason}; it is either 64 hex characters, or the three lines {KIND}, {ENCODING} and 64 hex characters", path.display())]
    NotAKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What everything in a federation is bound to: its name, and its key if it is closed.
///
/// # Errors
/// When the key file cannot be used.
pub fn network_id(name: &NetworkName, key_file: Option<&Path>) -> Result<NetworkId, NetworkKeyError> {
    let key = key_file.map(NetworkKey::load).transpose()?;
    Ok(NetworkId::new(name, key.map(|key| key.hash()).as_ref()))
}

impl NetworkKey {
    /// Reads the key file.
    pub(super) fn load(path: &Path) -> Result<Self, NetworkKeyError> {
        let io = |source| NetworkKeyError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(NetworkKeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        parse(&bytes).map_err(|reason| NetworkKeyError::NotAKey { path: path.to_owned(), reason })
    }

    /// The key as the transport takes it.
    pub(super) fn pre_shared(&self) -> PreSharedKey {
        PreSharedKey::new(self.0)
    }

    /// What may be shown and signed in the key's place.
    pub(super) fn hash(&self) -> [u8; 32] {
        blake3::derive_key("assetmesh 2026 hash of a network key", &self.0)
    }
}

impl std::fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NetworkKey")
    }
}

fn parse(bytes: &[u8]) -> Result<NetworkKey, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("it is too long");
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let hex = match lines[..] {
        [] => return Err("it is empty"),
        [hex] => hex,
        [KIND, ENCODING, hex] => hex,
        [KIND, _, _] => return Err("its second line names another encoding"),
        _ => return Err("its lines are others"),
    };
    let key = blake3::Hash::from_hex(hex).map_err(|_| "it has no 64 hex characters")?;
    if key.as_bytes() == &[0; 32] { Err("it is all zeros") } else { Ok(NetworkKey(key.into())) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swarm.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn both_forms_of_a_key_are_read() {
        let hex = "5a".repeat(32);
        for text in [hex.clone(), format!("{hex}\n"), format!("{KIND}\n{ENCODING}\n{hex}\n")] {
            let (_dir, path) = file(&text, 0o600);
            assert_eq!(NetworkKey::load(&path).unwrap(), NetworkKey([0x5a; 32]));
        }
        let (_dir, path) = file(&NetworkKey([0x5a; 32]).pre_shared().to_key_file(), 0o400);
        assert_eq!(NetworkKey::load(&path).unwrap(), NetworkKey([0x5a; 32]));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, path) = file(&"5a".repeat(32), 0o640);
        let error = NetworkKey::load(&path).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_with_the_reason() {
        let hex = "5a".repeat(32);
        let cases = [
            (String::new(), "empty"),
            ("5a".to_owned(), "no 64 hex"),
            ("é".repeat(32), "no 64 hex"),
            ("00".repeat(32), "all zeros"),
            (format!("{KIND}\n/base64/\n{hex}"), "another encoding"),
            (format!("/key/other/\n{ENCODING}\n{hex}"), "lines are others"),
            ("x".repeat(2000), "too long"),
        ];
        for (text, reason) in cases {
            let (_dir, path) = file(&text, 0o600);
            let error = NetworkKey::load(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("swarm.key"), "{error}");
        }
        let missing = NetworkKey::load(Path::new("/nowhere/swarm.key")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/swarm.key"));
    }

    #[test]
    fn the_hash_tells_keys_apart_and_the_key_is_not_shown() {
        assert_ne!(NetworkKey([1; 32]).hash(), NetworkKey([2; 32]).hash());
        assert_eq!(format!("{:?}", NetworkKey([1; 32])), "NetworkKey");
        let golden = blake3::Hash::from_bytes(NetworkKey([1; 32]).hash());
        assert_eq!(golden.to_string(), "08d96332fe8fe15d1b4e5702d2d0973bcc7243a780e7dd371245eb552b559bdb");
    }
}
