//! A container as functions have it, on a raw socket: the test sees the bytes of each call, and answers as well or as badly
//! as it likes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes calls until it is dropped.
#[derive(Debug)]
pub struct Container {
    address: SocketAddr,
    calls: Receiver<Invoked>,
}

impl Container {
    /// Listens on a free port; the test takes the calls with [`Container::next`].
    ///
    /// # Errors
    /// If there is no port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (found, calls) = channel();
        thread::spawn(move || listen(&listener, &found));
        Ok(Self { address, calls })
    }

    /// Listens on a free port and answers every call with the hashes of its assets.
    ///
    /// # Errors
    /// If there is no port.
    pub fn of_hashes() -> Result<SocketAddr> {
        let Self { address, calls } = Self::start()?;
        thread::spawn(move || {
            for call in calls {
                thread::spawn(move || call.answer_hashes());
            }
        });
        Ok(address)
    }

    /// Where it takes invocations.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/infer?mode=1", self.address)
    }

    /// The next call, with its whole body.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn next(&self) -> Result<Invoked> {
        self.calls.recv_timeout(PATIENCE).context("a call of the container")
    }

    /// Whether a call has come that was not taken.
    #[must_use]
    pub fn was_called(&self) -> bool {
        self.calls.try_recv().is_ok()
    }
}

fn listen(listener: &TcpListener, found: &Sender<Invoked>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let found = found.clone();
        // What is no call is nobody's business; and nobody waits any more once the test is over.
        thread::spawn(move || Invoked::read(stream).map(|call| found.send(call)));
    }
}

/// One call, as it came over the wire.
#[derive(Debug)]
pub struct Invoked {
    /// Request line and headers, byte for byte.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
    stream: TcpStream,
}

impl Invoked {
    fn read(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut call = Self { head: String::new(), body: Vec::new(), stream };
        while !call.head.ends_with("\r\n\r\n") {
            ensure!(reader.read_line(&mut call.head)? > 0, "the connection ended within the head");
        }
        call.body = call.read_body(&mut reader)?;
        Ok(call)
    }

    fn read_body(&self, reader: &mut impl BufRead) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header_of_any_case("transfer-encoding").is_none() {
            let length = self.header_of_any_case("content-length").unwrap_or("0").parse()?;
            reader.take(length).read_to_end(&mut body)?;
            ensure!(body.len() as u64 == length, "the connection ended within the body");
            return Ok(body);
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// The value of a header whose name stands there in exactly these letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    fn header_of_any_case(&self, name: &str) -> Option<&str> {
        self.headers().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().skip(1).filter_map(|line| line.split_once(": "))
    }

    /// The folder that it was told.
    ///
    /// # Panics
    /// If it was told none.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(self.header("NVCF-ASSET-DIR").expect("NVCF-ASSET-DIR is always there"))
    }

    /// The ids that it was told.
    #[must_use]
    pub fn assets(&self) -> Vec<String> {
        let list = self.header("NVCF-FUNCTION-ASSET-IDS").unwrap_or_default();
        list.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }

    /// The BLAKE3 hash of each asset, as a container that reads the files finds it.
    ///
    /// # Errors
    /// If a file is not there.
    pub fn hashes(&self) -> Result<Value> {
        let mut hashes = Map::new();
        for id in self.assets() {
            let file = File::open(self.folder().join(&id)).with_context(|| id.clone())?;
            let mut hasher = blake3::Hasher::new();
            io::copy(&mut BufReader::with_capacity(1 << 20, file), &mut hasher)?;
            hashes.insert(id, json!(hasher.finalize().to_hex().as_str()));
        }
        Ok(Value::Object(hashes))
    }

    fn answer_hashes(mut self) {
        let answer = match self.hashes() {
            Ok(hashes) => json!({"hashes": hashes, "folder": self.folder()}),
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        // A client that has gone takes the connection with it.
        let _ = self.answer(200, &answer.to_string());
    }

    /// Answers and closes.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn answer(&mut self, status: u16, body: &str) -> io::Result<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nX-Mine: 1\r\n");
        self.send(&format!("{head}Content-Length: {length}\r\n\r\n{body}"))?;
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection broke.
    pub fn send(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes())
    }

    /// Waits until the worker has closed the connection.
    ///
    /// # Errors
    /// If it has not in time.
    pub fn wait_closed(&mut self) -> io::Result<()> {
        match self.stream.read(&mut [0; 16]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("more than a call was sent")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error),
        }
    }
}
