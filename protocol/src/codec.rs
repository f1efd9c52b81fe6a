//! The binary codec of stored headers, cursors and (later) wire messages: the only place that names `bincode`.
//! One version byte first, a size limit, the whole input consumed.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
pub(crate) use bincode::{Decode, Encode};

/// First byte of every encoded value. Another one means another layout.
pub const VERSION: u8 = 1;

/// Longest encoded value, in bytes.
pub const ENCODED_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are not one whole value of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The version byte is not [`VERSION`].
    #[error("encoded with version {0}, this build reads version {VERSION}")]
    Version(u8),
    /// Nothing there, not even a version.
    #[error("empty")]
    Empty,
    /// More bytes than the value needs, or than any value may have.
    #[error("{0} bytes are too many")]
    TooLong(usize),
    /// The bytes do not make a value.
    #[error("not a value of this kind: {0}")]
    Decode(#[from] bincode::error::DecodeError),
}

const fn layout() -> Configuration<LittleEndian, Fixint, Limit<ENCODED_BYTES_MAX>> {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<ENCODED_BYTES_MAX>()
}

/// Encodes one value behind the version byte.
///
/// # Errors
/// When it is longer than [`ENCODED_BYTES_MAX`].
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(value, &mut bytes, layout())?;
    Ok(bytes)
}

/// Decodes one value and insists that nothing follows it.
///
/// # Errors
/// When the version, the length or the bytes are not as expected.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    if rest.len() > ENCODED_BYTES_MAX {
        return Err(CodecError::TooLong(rest.len()));
    }
    let (value, used) = bincode::decode_from_slice(rest, layout())?;
    if used == rest.len() { Ok(value) } else { Err(CodecError::TooLong(rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_and_nothing_may_follow_it() {
        let bytes = encode(&(7u64, "x".to_owned())).unwrap();
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "x".to_owned()));
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(decode::<(u64, String)>(&longer), Err(CodecError::TooLong(_))));
        assert!(matches!(decode::<(u64, String)>(&bytes[..bytes.len() - 1]), Err(CodecError::Decode(_))));
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = encode(&7u64).unwrap();
        bytes[0] = 9;
        assert!(matches!(decode::<u64>(&bytes), Err(CodecError::Version(9))));
        assert!(matches!(decode::<u64>(&[]), Err(CodecError::Empty)));
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&bytes), Err(CodecError::Decode(_))));
    }
}
