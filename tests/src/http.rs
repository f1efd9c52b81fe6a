//! A small HTTP/1.1 client over one TCP connection, with control over every byte. It never retries,
//! follows nothing, and takes an end before the announced one for an error.

pub mod multipart;
pub(crate) mod request;
pub(crate) mod response;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use request::{Method, Request};
use response::Response;

/// No answer takes longer on a loopback connection, even of a busy debug build.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read at once: large, so that a test is no brake on a download.
const BUFFER_BYTES: usize = 256 * 1024;

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nothing listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_for(address, ANSWER_TIMEOUT)
    }

    /// Connects to a node whose answers may take so long.
    ///
    /// # Errors
    /// If nothing listens there.
    pub fn open_for(address: SocketAddr, answer_within: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(answer_within))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a whole request.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let head = request.head();
        if request.body().len() < 16 * 1024 {
            // One segment, so that a small request is one packet.
            return self.send_raw(&[head.as_slice(), request.body()].concat());
        }
        self.send_raw(&head)?;
        self.send_raw(request.body())
    }

    /// Reads one answer. `method` decides whether a body follows.
    ///
    /// # Errors
    /// If the connection broke or ended before the announced end, or if this is not HTTP.
    pub fn receive(&mut self, method: Method) -> Result<Response> {
        Response::read(&mut self.stream, method)
    }

    /// Reads the head of an answer; [`Connection::receive_pieces`] reads its body.
    ///
    /// # Errors
    /// As [`Connection::receive`].
    pub fn receive_head(&mut self) -> Result<Response> {
        Response::read_head(&mut self.stream)
    }

    /// Reads a body whose length is announced, as it comes, for as long as `take` wants more.
    ///
    /// # Errors
    /// If the connection broke or ended before the announced end, or if no length is announced.
    pub fn receive_pieces(&mut self, head: &Response, mut take: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let length = head.header("content-length").context("Content-Length")?;
        let mut left: u64 = length.parse().context("Content-Length")?;
        while left > 0 {
            let piece = self.stream.fill_buf()?;
            ensure!(!piece.is_empty(), "the end, {left} of {length} bytes early");
            let taken = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let wants_more = take(&piece[..taken]);
            self.stream.consume(taken);
            left -= taken as u64;
            if !wants_more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends and reads.
    ///
    /// # Errors
    /// As [`Connection::send`] and [`Connection::receive`]. If the node refused early and closed, its
    /// answer is still read.
    pub fn call(&mut self, request: &Request) -> Result<Response> {
        let sent = self.send(request);
        match self.receive(request.method()) {
            Ok(response) => Ok(response),
            Err(unread) => Err(sent.err().map_or(unread, anyhow::Error::from)),
        }
    }

    /// What has come by now, at least one byte, as text.
    ///
    /// # Errors
    /// If the connection broke or ended.
    pub fn read_some(&mut self) -> io::Result<String> {
        let some = self.stream.fill_buf()?;
        if some.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (text, length) = (String::from_utf8_lossy(some).into_owned(), some.len());
        self.stream.consume(length);
        Ok(text)
    }

    /// Everything until the peer closes, for checks of what follows an answer.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Ends the sending side, so that the peer sees an end of file.
    ///
    /// # Errors
    /// If the connection is already gone.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write)
    }
}

/// Calls one node, over one connection for as long as it stays open.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    /// Calls the node at `address`. Connects at the first call.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// Sends and reads. A broken connection is given up, and the next call opens another.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub fn call(&mut self, request: &Request) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => Connection::open(self.address).context("connect")?,
        };
        let response = connection
            .call(request)
            .with_context(|| format!("{:?} {}", request.method(), request.target()))?;
        if !response.closes() {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers each connection once with `answer`, whatever it is asked.
    fn one_answer(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let mut line = [0; 1024];
                let _ = reader.read(&mut line);
                let _ = reader.get_mut().write_all(answer);
            }
        });
        address
    }

    #[test]
    fn a_counted_body_is_read_whole() {
        let address = one_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
        let response = Client::new(address).call(&Request::get("/")).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
        assert_eq!(response.header("x-a"), Some("b"));
    }

    #[test]
    fn a_chunked_body_is_joined() {
        let address = one_answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        );
        let response = Client::new(address).call(&Request::get("/")).unwrap();
        assert_eq!(response.body, b"abcde");
    }

    #[test]
    fn an_early_end_is_an_error_and_not_a_short_body() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"",
        ] {
            let address = one_answer(answer);
            assert!(Client::new(address).call(&Request::get("/")).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn a_head_request_has_no_body() {
        let address = one_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        let head = Request::new(Method::Head, "/");
        assert_eq!(Client::new(address).call(&head).unwrap().body, b"");
    }
}
