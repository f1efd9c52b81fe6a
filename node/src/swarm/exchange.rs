//! How a request and its answer lie on a stream: a request is its length and its bytes; an answer is a status byte
//! and, if there is one, length and bytes. It understands neither. A stream that ends before the length is reached was
//! cut, by a timeout or the network, and nobody is to blame for it.

use std::io;

use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

use super::limits::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};

/// An answer as it crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was asked for.
    Done(Vec<u8>),
    /// Try again later.
    Busy,
    /// Nobody here answers that.
    Refused,
}

const DONE: u8 = 0;
const BUSY: u8 = 1;
const REFUSED: u8 = 2;

/// More bytes came than may come. The rest was not read.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} bytes")]
pub(super) struct TooLong(usize);

/// Whether a stream failed because the other side sent too much.
pub(super) fn is_too_long(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooLong>())
}

/// Reads and writes requests and answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Exchange;

impl Codec for Exchange {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Answer;

    /// A request that is too long is not read, and handed on as one byte more than it may have: the library says
    /// nothing of a request that fails here, and nobody could be blamed for it.
    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_length(io).await? {
            length if length > REQUEST_BYTES_MAX => Ok(vec![0; REQUEST_BYTES_MAX + 1]),
            length => read_exactly(io, length).await,
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        // The end of the stream in place of a status: the other side had no room for the request.
        if io.read(&mut status).await? == 0 {
            return Ok(Answer::Busy);
        }
        match status[0] {
            DONE => match read_length(io).await? {
                length if length > ANSWER_BYTES_MAX => {
                    Err(io::Error::new(io::ErrorKind::InvalidData, TooLong(ANSWER_BYTES_MAX)))
                }
                length => read_exactly(io, length).await.map(Answer::Done),
            },
            BUSY => Ok(Answer::Busy),
            REFUSED => Ok(Answer::Refused),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of no known kind")),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_sized(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer {
            Answer::Done(body) => {
                io.write_all(&[DONE]).await?;
                write_sized(io, &body).await
            }
            Answer::Busy => io.write_all(&[BUSY]).await,
            Answer::Refused => io.write_all(&[REFUSED]).await,
        }
    }
}

async fn write_sized<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(bytes).await
}

async fn read_length<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<usize> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)
}

/// Memory grows with what comes, not with what was claimed.
async fn read_exactly<T: AsyncRead + Unpin + Send>(io: &mut T, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");

    async fn sent(answer: Answer) -> Vec<u8> {
        let mut stream = Cursor::new(Vec::new());
        Exchange.write_response(&PROTOCOL, &mut stream, answer).await.unwrap();
        stream.into_inner()
    }

    async fn read(bytes: &[u8]) -> io::Result<Answer> {
        Exchange.read_response(&PROTOCOL, &mut Cursor::new(bytes)).await
    }

    #[tokio::test]
    async fn answers_read_back_as_written() {
        for (answer, bytes) in [
            (Answer::Done(b"abc".to_vec()), &b"\0\x03\0\0\0abc"[..]),
            (Answer::Done(Vec::new()), b"\0\0\0\0\0"),
            (Answer::Busy, b"\x01"),
            (Answer::Refused, b"\x02"),
        ] {
            assert_eq!(sent(answer.clone()).await, bytes);
            assert_eq!(read(bytes).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn an_end_before_the_status_means_busy() {
        assert_eq!(read(b"").await.unwrap(), Answer::Busy);
    }

    #[tokio::test]
    async fn an_answer_of_no_known_kind_is_an_error() {
        for bytes in [&b"\x03"[..], b"\xffabc"] {
            let error = read(bytes).await.unwrap_err();
            assert!(!is_too_long(&error) && error.kind() == io::ErrorKind::InvalidData, "{error}");
        }
    }

    /// A request that its asker gave up, and an answer that the network cut, are no messages of any kind.
    #[tokio::test]
    async fn what_was_cut_is_told_from_what_was_sent() {
        let mut stream = Cursor::new(Vec::new());
        Exchange.write_request(&PROTOCOL, &mut stream, b"abc".to_vec()).await.unwrap();
        let whole = stream.into_inner();
        assert_eq!(whole, b"\x03\0\0\0abc");
        for end in 0..whole.len() {
            let error = Exchange.read_request(&PROTOCOL, &mut Cursor::new(&whole[..end])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
            if end > 0 {
                let answer = [&[DONE], &whole[..end]].concat();
                assert_eq!(read(&answer).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{end}");
            }
        }
    }

    #[tokio::test]
    async fn requests_and_answers_end_at_their_limit() {
        let sized = |length: usize| [&(length as u32).to_le_bytes()[..], &vec![7; length]].concat();
        let longest = sized(REQUEST_BYTES_MAX);
        let read = Exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap();
        assert_eq!(read.len(), REQUEST_BYTES_MAX);
        let longer = sized(10 * REQUEST_BYTES_MAX);
        let read = Exchange.read_request(&PROTOCOL, &mut Cursor::new(&longer)).await.unwrap();
        assert_eq!(read.len(), REQUEST_BYTES_MAX + 1);
        let answer = [&[DONE], &sized(ANSWER_BYTES_MAX + 1)[..]].concat();
        let error = Exchange.read_response(&PROTOCOL, &mut Cursor::new(&answer)).await.unwrap_err();
        assert!(is_too_long(&error), "{error}");
    }
}
