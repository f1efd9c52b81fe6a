//! How a request and its answer lie on a stream: a request is its length and its bytes; an answer is a status byte
//! and, if there is one, length and bytes. It understands neither. A stream that ends before the length is reached was
//! cut, by a timeout or the network, and nobody is to blame for it.

use std::io;
use std::sync::Arc;

use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Service;
use super::limits::{LONG_REQUESTS_BYTES_MAX, REQUEST_BYTES_MAX, answer_bytes_max, request_bytes_max};

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

/// A request as it came.
#[derive(Debug)]
pub(super) enum Asked {
    /// What is asked.
    Whole(Body),
    /// It is longer than it may be, and was not read. The library says nothing of a request that fails while it is
    /// read, and nobody could be blamed for it.
    TooLong,
    /// There is no room for one so long now. It was not read.
    NoRoom,
}

/// The bytes of a request. A long one holds its share of what all long ones may have until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

impl From<Vec<u8>> for Asked {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Body { bytes, room: None })
    }
}

/// What long requests may take together, in KiB.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LONG_REQUESTS_BYTES_MAX / 1024)))
    }
}

impl Room {
    /// A share for a request of so many bytes.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(kib).ok()
    }
}

/// Reads and writes the requests and answers of one service.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    service: Service,
    room: Room,
}

impl Exchange {
    pub(super) const fn new(service: Service, room: Room) -> Self {
        Self { service, room }
    }
}

impl Codec for Exchange {
    type Protocol = StreamProtocol;
    type Request = Asked;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked>
    where
        T: AsyncRead + Unpin + Send,
    {
        let length = read_length(io).await?;
        if length > request_bytes_max(self.service) {
            return Ok(Asked::TooLong);
        }
        let is_long = length > REQUEST_BYTES_MAX;
        let room = if is_long { self.room.take(length) } else { None };
        if is_long && room.is_none() {
            return Ok(Asked::NoRoom);
        }
        Ok(Asked::Whole(Body { bytes: read_exactly(io, length).await?, room }))
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
                length if length > answer_bytes_max(self.service) => {
                    let too_long = TooLong(answer_bytes_max(self.service));
                    Err(io::Error::new(io::ErrorKind::InvalidData, too_long))
                }
                length => read_exactly(io, length).await.map(Answer::Done),
            },
            BUSY => Ok(Answer::Busy),
            REFUSED => Ok(Answer::Refused),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of no known kind")),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Asked) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Asked::Whole(body) => write_sized(io, &body.bytes).await,
            Asked::TooLong | Asked::NoRoom => Err(io::ErrorKind::InvalidInput.into()),
        }
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

    fn exchange(service: Service) -> Exchange {
        Exchange::new(service, Room::default())
    }

    fn whole(asked: Asked) -> Vec<u8> {
        match asked {
            Asked::Whole(body) => body.bytes,
            other => panic!("{other:?}"),
        }
    }

    async fn sent(answer: Answer) -> Vec<u8> {
        let mut stream = Cursor::new(Vec::new());
        exchange(Service::Registry).write_response(&PROTOCOL, &mut stream, answer).await.unwrap();
        stream.into_inner()
    }

    async fn read(bytes: &[u8]) -> io::Result<Answer> {
        exchange(Service::Registry).read_response(&PROTOCOL, &mut Cursor::new(bytes)).await
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
        let mut exchange = exchange(Service::Registry);
        exchange.write_request(&PROTOCOL, &mut stream, b"abc".to_vec().into()).await.unwrap();
        let whole = stream.into_inner();
        assert_eq!(whole, b"\x03\0\0\0abc");
        for end in 0..whole.len() {
            let error = exchange.read_request(&PROTOCOL, &mut Cursor::new(&whole[..end])).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
            if end > 0 {
                let answer = [&[DONE], &whole[..end]].concat();
                assert_eq!(read(&answer).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{end}");
            }
        }
    }

    fn sized(length: usize) -> Vec<u8> {
        [&(length as u32).to_le_bytes()[..], &vec![7; length]].concat()
    }

    #[tokio::test]
    async fn requests_and_answers_end_at_the_limit_of_their_service() {
        for service in
            [Service::Registry, Service::Liveness, Service::Forward, Service::Query, Service::Write]
        {
            let mut exchange = exchange(service);
            let longest = sized(request_bytes_max(service));
            let read = exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap();
            assert_eq!(whole(read).len(), request_bytes_max(service));
            let longer = sized(request_bytes_max(service) + 1);
            let read = exchange.read_request(&PROTOCOL, &mut Cursor::new(&longer)).await.unwrap();
            assert!(matches!(read, Asked::TooLong), "{service:?}");
            let answer = [&[DONE], &sized(answer_bytes_max(service))[..]].concat();
            let read = exchange.read_response(&PROTOCOL, &mut Cursor::new(&answer)).await.unwrap();
            assert!(matches!(read, Answer::Done(body) if body.len() == answer_bytes_max(service)));
            let answer = [&[DONE], &sized(answer_bytes_max(service) + 1)[..]].concat();
            let error = exchange.read_response(&PROTOCOL, &mut Cursor::new(&answer)).await.unwrap_err();
            assert!(is_too_long(&error), "{error}");
        }
    }

    #[tokio::test]
    async fn long_requests_share_what_all_of_them_may_take() {
        let room = Room::default();
        let longest = sized(request_bytes_max(Service::Write));
        let mut held = Vec::new();
        let refused = loop {
            // Each connection and each service has a reader of its own; the room is the node's.
            let service = if held.len() % 2 == 0 { Service::Write } else { Service::Query };
            let mut exchange = Exchange::new(service, room.clone());
            match exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap() {
                Asked::Whole(body) => held.push(body),
                other => break other,
            }
        };
        assert!(matches!(refused, Asked::NoRoom), "{refused:?}");
        let bytes: usize = held.iter().map(|body| body.bytes.len()).sum();
        assert!(bytes <= LONG_REQUESTS_BYTES_MAX && bytes > LONG_REQUESTS_BYTES_MAX * 9 / 10, "{bytes}");
        let mut exchange = Exchange::new(Service::Write, room);
        let short = sized(REQUEST_BYTES_MAX);
        let read = exchange.read_request(&PROTOCOL, &mut Cursor::new(&short)).await.unwrap();
        assert!(matches!(read, Asked::Whole(_)), "a short one needs no room");
        held.pop();
        let read = exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap();
        assert!(matches!(read, Asked::Whole(_)));
        // One that is cut while it is read gives its share back.
        drop(read);
        exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest[..9])).await.unwrap_err();
        let read = exchange.read_request(&PROTOCOL, &mut Cursor::new(&longest)).await.unwrap();
        assert!(matches!(read, Asked::Whole(_)));
    }
}
