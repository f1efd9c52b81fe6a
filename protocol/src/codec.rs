//! The binary codec of stored headers, cursors and wire messages: the only place that names `bincode`.
//! One version byte first, a size limit, the whole input consumed.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
pub(crate) use bincode::{Decode, Encode};

use crate::limits::DESCRIPTION_BYTES_MAX;

/// First byte of every encoded value. Another one means another layout.
pub const VERSION: u8 = 1;

/// Longest encoded value, in bytes.
pub const ENCODED_BYTES_MAX: usize = 64 * 1024;

/// Longest encoded value that carries a description or a filter, in bytes: the longest stored description and what
/// stands around it. Only [`encode_long`] and [`decode_long`] go so far.
pub const LONG_BYTES_MAX: usize = DESCRIPTION_BYTES_MAX + 64 * 1024;

/// Bytes that are not one whole value of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The version byte is not [`VERSION`].
    #[error("encoded with version {0}, this build reads version {VERSION}")]
    Version(u8),
    /// Nothing there, not even a version.
    #[error("empty")]
    Empty,
    /// More bytes than the value needs, or than any value may have: so many, or so many of them.
    #[error("{0} bytes are too many")]
    TooLong(usize),
    /// The bytes do not make a value.
    #[error("not a value of this kind: {0}")]
    Decode(#[from] bincode::error::DecodeError),
}

/// A message that no node would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is too long to send")]
pub struct TooLong;

/// Gives message types their bytes on the wire.
macro_rules! frames {
    ($($message:ty: $encode:ident, $decode:ident;)+) => {$(
        impl $message {
            /// Its bytes on the wire.
            ///
            /// # Errors
            /// When it is too long.
            pub fn encode(&self) -> Result<Vec<u8>, $crate::codec::TooLong> {
                $crate::codec::$encode(self).map_err(|_| $crate::codec::TooLong)
            }

            /// Reads bytes from the wire.
            ///
            /// # Errors
            /// Bytes that are not one whole message.
            pub fn decode(bytes: &[u8]) -> Result<Self, $crate::codec::CodecError> {
                $crate::codec::$decode(bytes)
            }
        }
    )+};
}
pub(crate) use frames;

type Layout<const BYTES_MAX: usize> = Configuration<LittleEndian, Fixint, Limit<BYTES_MAX>>;

const fn layout<const BYTES_MAX: usize>() -> Layout<BYTES_MAX> {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<BYTES_MAX>()
}

/// Encodes one value behind the version byte.
///
/// # Errors
/// When it is longer than [`ENCODED_BYTES_MAX`].
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    write::<T, ENCODED_BYTES_MAX>(value)
}

/// As [`encode`], for a value of up to [`LONG_BYTES_MAX`].
///
/// # Errors
/// When it is longer than that.
pub fn encode_long<T: Encode>(value: &T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    write::<T, LONG_BYTES_MAX>(value)
}

fn write<T: Encode, const BYTES_MAX: usize>(value: &T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(value, &mut bytes, layout::<BYTES_MAX>())?;
    // The library minds its limit only when it decodes.
    if bytes.len() > BYTES_MAX { Err(bincode::error::EncodeError::Other("too long")) } else { Ok(bytes) }
}

/// Decodes one value and insists that nothing follows it.
///
/// # Errors
/// When the version, the length or the bytes are not as expected.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    whole(read::<T, ENCODED_BYTES_MAX>(bytes)?)
}

/// As [`decode`], for a value of up to [`LONG_BYTES_MAX`].
///
/// # Errors
/// As [`decode`].
pub fn decode_long<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    whole(read::<T, LONG_BYTES_MAX>(bytes)?)
}

/// As [`decode`], but later versions may have put more behind the value: what is signed or forwarded as raw
/// bytes keeps fields that this build does not know.
///
/// # Errors
/// When the version, the length or the bytes are not as expected.
pub fn decode_open<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(read::<T, ENCODED_BYTES_MAX>(bytes)?.0)
}

/// The value and how many bytes follow it.
fn read<T: Decode<()>, const BYTES_MAX: usize>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let (value, used) = bincode::decode_from_slice(rest, layout::<BYTES_MAX>())?;
    Ok((value, rest.len() - used))
}

fn whole<T>((value, left): (T, usize)) -> Result<T, CodecError> {
    if left == 0 { Ok(value) } else { Err(CodecError::TooLong(left)) }
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
    fn a_signed_body_may_carry_more_than_this_build_knows() {
        let bytes = encode(&(7u64, 8u64)).unwrap();
        assert_eq!(decode_open::<u64>(&bytes).unwrap(), 7);
        assert!(decode_open::<(u64, u64, u64)>(&bytes).is_err());
    }

    #[test]
    fn only_the_long_form_is_long() {
        let long = vec![7u8; 2 * ENCODED_BYTES_MAX];
        assert!(encode(&long).is_err());
        let bytes = encode_long(&long).unwrap();
        assert_eq!(decode_long::<Vec<u8>>(&bytes).unwrap(), long);
        assert!(matches!(decode::<Vec<u8>>(&bytes), Err(CodecError::TooLong(_))));
        assert!(encode_long(&vec![7u8; LONG_BYTES_MAX]).is_err());
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
