//! Which federation a message belongs to: its name, and the id that signatures are bound to.
//! It knows nothing of how nodes reach each other.

use std::fmt;
use std::str::FromStr;

use crate::codec::{Decode, Encode};

/// Longest name of a federation, in bytes. It is part of every protocol name, which is sent at each negotiation.
pub const NETWORK_NAME_BYTES_MAX: usize = 63;

/// The name of a federation: 1 to 63 of `a-z`, `0-9`, `.`, `_` and `-`, of which the first is a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(String);

/// Why a text is no name of a federation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkNameError {
    /// Nothing there.
    #[error("a network name is not empty")]
    Empty,
    /// More than [`NETWORK_NAME_BYTES_MAX`].
    #[error("a network name has at most {NETWORK_NAME_BYTES_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character that a name may not have.
    #[error("a network name has only a-z, 0-9, `.`, `_` and `-`; `{0}` is something else")]
    BadCharacter(char),
    /// The first character is punctuation.
    #[error("a network name starts with a-z or 0-9, not with `{0}`")]
    BadStart(char),
}

impl NetworkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for NetworkName {
    /// `main`, the federation of those who choose none.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for NetworkName {
    type Err = NetworkNameError;

    fn from_str(text: &str) -> Result<Self, NetworkNameError> {
        let first = text.chars().next().ok_or(NetworkNameError::Empty)?;
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        if let Some(other) = text.chars().find(|&c| !allowed(c)) {
            return Err(NetworkNameError::BadCharacter(other));
        }
        if text.len() > NETWORK_NAME_BYTES_MAX {
            return Err(NetworkNameError::TooLong(text.len()));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NetworkNameError::BadStart(first));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What signatures are bound to: a federation's name and, if it is closed, its key. What was signed in one
/// federation proves nothing in another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct NetworkId([u8; 32]);

impl NetworkId {
    /// Derives the id. `key_hash` is the hash of the pre-shared key of a closed federation.
    #[must_use]
    pub fn new(name: &NetworkName, key_hash: Option<&[u8; 32]>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("assetmesh 2026 network id of a name and a key");
        // The name cannot hold a zero byte, so it ends where the first one stands.
        hasher.update(name.as_str().as_bytes()).update(&[0]);
        if let Some(key_hash) = key_hash {
            hasher.update(key_hash);
        }
        Self(hasher.finalize().into())
    }

    /// The raw id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_read_back_as_written() {
        for text in ["main", "a", "0", "team-7.eu_west", &"x".repeat(63)] {
            assert_eq!(text.parse::<NetworkName>().unwrap().to_string(), text);
        }
        assert_eq!(NetworkName::default().as_str(), "main");
    }

    #[test]
    fn a_bad_name_is_told_what_is_wrong() {
        use NetworkNameError::{BadCharacter, BadStart, Empty, TooLong};
        let cases = [
            ("", Empty),
            ("Main", BadCharacter('M')),
            ("a/b", BadCharacter('/')),
            ("a b", BadCharacter(' ')),
            ("größe", BadCharacter('ö')),
            ("a\0", BadCharacter('\0')),
            ("-a", BadStart('-')),
            (".", BadStart('.')),
        ];
        for (text, fault) in cases {
            assert_eq!(text.parse::<NetworkName>(), Err(fault), "{text}");
        }
        assert_eq!("x".repeat(64).parse::<NetworkName>(), Err(TooLong(64)));
    }

    #[test]
    fn another_name_or_key_is_another_network() {
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        let ids = [
            NetworkId::new(&one, None),
            NetworkId::new(&two, None),
            NetworkId::new(&one, Some(&[1; 32])),
            NetworkId::new(&one, Some(&[2; 32])),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(id), "{at}");
        }
    }

    #[test]
    fn the_id_of_the_open_main_network_never_changes() {
        let id = NetworkId::new(&NetworkName::default(), None);
        assert_eq!(id.to_string(), "4df1ab8d3369c8387899cd453e324a5f9f104b61583b2b5a7dba5bc167d58552");
    }
}
