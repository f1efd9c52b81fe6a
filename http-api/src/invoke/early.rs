//! What was taken of an answer while nobody asked for it: one buffer, however small the pieces were that it came in.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// The beginning of an answer, and perhaps its trailers.
#[derive(Debug, Default)]
pub(crate) struct Early {
    data: BytesMut,
    /// They come last.
    trailers: Option<HeaderMap>,
}

impl Early {
    pub(crate) fn push(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.data.extend_from_slice(&data),
            Err(other) => self.trailers = other.into_trailers().ok(),
        }
    }

    /// All data at once, then the trailers.
    pub(crate) fn pop(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(std::mem::take(&mut self.data).freeze()))
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_came_byte_by_byte_is_kept_and_sent_as_one() {
        let mut early = Early::default();
        for byte in 0..131_072_u32 {
            early.push(Frame::data(Bytes::copy_from_slice(&[byte as u8])));
        }
        assert_eq!(early.len(), 131_072);
        let data = early.pop().unwrap().into_data().unwrap();
        assert!(data.len() == 131_072 && data[255] == 255 && data[256] == 0);
        assert!(early.pop().is_none() && early.is_empty());
    }

    #[test]
    fn trailers_come_after_the_data_and_alone_are_not_nothing() {
        let mut early = Early::default();
        early.push(Frame::data(Bytes::from_static(b"ab")));
        early.push(Frame::trailers(HeaderMap::from_iter([(
            http::header::ETAG,
            HeaderValue::from_static("x"),
        )])));
        assert_eq!(early.pop().unwrap().into_data().unwrap(), "ab");
        assert!(early.data.is_empty() && !early.is_empty());
        assert_eq!(early.pop().unwrap().into_trailers().unwrap()["etag"], "x");
        assert!(early.is_empty());
    }
}
