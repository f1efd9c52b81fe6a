//! Opaque keys: `nvapi-` and 64 characters of 48 random bytes. The node keeps a hash; the key is shown once.
//! A plain BLAKE3 is enough: it is passwords that need a slow hash, and nobody guesses 384 random bits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::Error;

/// How every opaque key begins.
pub(super) const PREFIX: &str = "nvapi-";
/// Random bytes of a key: a multiple of three, so that each of the characters counts whole.
const SECRET_BYTES: usize = 48;

/// What the node keeps of a key. Comparing two takes the same time wherever they differ.
pub(super) type KeyHash = blake3::Hash;

/// A key in clear.
pub(super) struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A new key from the system's random numbers.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))))
    }

    /// Names the key's record. It tells nothing of the key.
    pub(super) fn id(&self) -> Uuid {
        let hash = blake3::derive_key("assetmesh 2026 id of an opaque key", self.0.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Uuid::new_v8(id)
    }

    /// What is kept of it.
    pub(super) fn hash(&self) -> KeyHash {
        blake3::derive_key("assetmesh 2026 hash of an opaque key", self.0.as_bytes()).into()
    }

    /// The key itself, to be shown to its owner.
    pub(super) fn reveal(self) -> String {
        self.0
    }
}

/// Reads a key as a client sends it.
pub(super) fn parse(text: &str) -> Result<Key, Error> {
    let secret = text.strip_prefix(PREFIX).and_then(|secret| URL_SAFE_NO_PAD.decode(secret).ok());
    match secret {
        Some(secret) if secret.len() == SECRET_BYTES => Ok(Key(text.to_owned())),
        _ => Err(Error::Malformed("it is no key of an assetmesh node")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_each_is_another() {
        let (one, two) = (Key::random().unwrap(), Key::random().unwrap());
        assert_ne!((one.id(), one.hash()), (two.id(), two.hash()));
        let (id, hash) = (one.id(), one.hash());
        let again = parse(&one.reveal()).unwrap();
        assert_eq!((again.id(), again.hash()), (id, hash));
        assert_eq!(again.reveal().len(), PREFIX.len() + 64);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let good = Key::random().unwrap().reveal();
        for text in ["nvapi-", "nvapi-abc", &good[6..], &good[..69], &format!("{good}A"), &format!("{good}=")]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
