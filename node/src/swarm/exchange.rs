//! How a request and its answer lie on a stream. A request is its bytes up to the end of the stream; an answer is a
//! status byte and then its bytes. It understands neither.

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

    /// Of a request that is too long only its first bytes are read, one more than it may have: the library says
    /// nothing of a request that fails here, and nobody could be blamed for it. One without any byte is none: its sender
    /// took it back before it could be written, as happens by the dozen while this node is stopped.
    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let request = read_at_most(io, REQUEST_BYTES_MAX + 1).await?;
        if request.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(request) }
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
        let body = read_at_most(io, ANSWER_BYTES_MAX + 1).await?;
        if body.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TooLong(ANSWER_BYTES_MAX)));
        }
        match (status[0], body.is_empty()) {
            (DONE, _) => Ok(Answer::Done(body)),
            (BUSY, true) => Ok(Answer::Busy),
            (REFUSED, true) => Ok(Answer::Refused),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of no known kind")),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match answer {
            Answer::Done(body) => {
                io.write_all(&[DONE]).await?;
                io.write_all(&body).await
            }
            Answer::Busy => io.write_all(&[BUSY]).await,
            Answer::Refused => io.write_all(&[REFUSED]).await,
        }
    }
}

async fn read_at_most<T: AsyncRead + Unpin + Send>(io: &mut T, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(bytes_max as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
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
            (Answer::Done(b"abc".to_vec()), &b"\0abc"[..]),
            (Answer::Done(Vec::new()), b"\0"),
            (Answer::Busy, b"\x01"),
            (Answer::Refused, b"\x02"),
        ] {
            assert_eq!(sent(answer.clone()).await, bytes);
            assert_eq!(read(bytes).await.unwrap(), answer);
        }
    }

    #[tokio::test]
    async fn a_request_without_a_byte_is_none() {
        let read = Exchange.read_request(&PROTOCOL, &mut Cursor::new(b"")).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn an_end_before_the_status_means_busy() {
        assert_eq!(read(b"").await.unwrap(), Answer::Busy);
    }

    #[tokio::test]
    async fn an_answer_of_no_known_kind_is_an_error() {
        for bytes in [&b"\x03"[..], b"\xffabc", b"\x01abc", b"\x02\0"] {
            let error = read(bytes).await.unwrap_err();
            assert!(!is_too_long(&error), "{error}");
        }
    }

    #[tokio::test]
    async fn requests_and_answers_end_at_their_limit() {
        let longest = vec![7; REQUEST_BYTES_MAX];
        let read = Exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap();
        assert_eq!(read.len(), REQUEST_BYTES_MAX);
        let longer = vec![7; 10 * REQUEST_BYTES_MAX];
        let read = Exchange.read_request(&PROTOCOL, &mut Cursor::new(&longer)).await.unwrap();
        assert_eq!(read.len(), REQUEST_BYTES_MAX + 1);
        let answer = vec![DONE; ANSWER_BYTES_MAX + 2];
        let error = Exchange.read_response(&PROTOCOL, &mut Cursor::new(&answer)).await.unwrap_err();
        assert!(is_too_long(&error), "{error}");
    }
}
